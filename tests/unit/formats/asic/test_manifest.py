"""ASiCManifest files: what they cover, and what is refused."""

import hashlib

import pytest
from hypothesis import given, settings

from digiid.formats.asic.manifest import DataObject, build_asic_manifest, parse_asic_manifest
from digiid.kernel.errors import Malformed
from tests.unit.formats.fuzz import damaged, only_raises

OBJECTS = (
    DataObject("META-INF/timestamp.tst", "application/vnd.etsi.timestamp-token", "sha512", bytes(64)),
    DataObject("META-INF/ASiCArchiveManifest001.xml", "text/xml", "sha384", bytes(48), is_root=True),
    DataObject("õ ä+b%.bin", "application/octet-stream", "sha256", hashlib.sha256(b"x").digest()),
)
GOOD = build_asic_manifest("META-INF/timestamp002.tst", OBJECTS)


def edited(old: str, new: str) -> bytes:
    assert old in GOOD.decode()
    return GOOD.decode().replace(old, new).encode()


def test_what_is_built_is_read_back() -> None:
    manifest = parse_asic_manifest(GOOD)
    assert manifest.signature_name == "META-INF/timestamp002.tst"
    assert manifest.objects == OBJECTS
    assert manifest.find("õ ä+b%.bin") == OBJECTS[2]
    assert manifest.find("other") is None


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("a b.txt", "a b.txt"),
        ("a%20b.txt", "a b.txt"),
        ("a+b.txt", "a+b.txt"),
        ("100%.txt", ""),
        ("%zz", ""),
        ("%ff", ""),
        ("http://example.test/a.txt", ""),
        ("file:a.txt", ""),
        ("", ""),
    ],
)
def test_a_uri_names_one_file_or_none(uri: str, name: str) -> None:
    good = "%C3%B5%20%C3%A4%2Bb%25.bin"
    assert parse_asic_manifest(edited(good, uri)).objects[2].name == name


CRITICAL = '<asic:ASiCManifestExtensions><x Critical="true"/></asic:ASiCManifestExtensions></asic:ASiCManifest>'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("asic:ASiCManifest", "asic:Other"),
        ("<asic:SigReference", "<asic:Other"),
        ("META-INF/ASiCArchiveManifest001.xml", "META-INF/timestamp.tst"),
        ("xmlenc#sha256", "xmlenc#ripemd160"),
        ('Rootfile="true"', 'Rootfile="maybe"'),
        ("<ds:DigestValue>", "<ds:DigestValue><!-- -->"),
        ("</asic:ASiCManifest>", CRITICAL),
        ("<?xml", "<!DOCTYPE a><?xml"),
    ],
)  # fmt: skip
def test_what_is_refused(old: str, new: str) -> None:
    with pytest.raises(Malformed):
        parse_asic_manifest(edited(old, new))


def test_an_extension_that_is_not_critical_is_left_alone() -> None:
    extensions = '<asic:ASiCManifestExtensions><x Critical="false"/></asic:ASiCManifestExtensions></asic:ASiCManifest>'
    assert parse_asic_manifest(edited("</asic:ASiCManifest>", extensions)).objects == OBJECTS


@settings(max_examples=200, deadline=None)
@given(damaged(GOOD))
def test_damaged_manifests(data: bytes) -> None:
    only_raises(Malformed, lambda: parse_asic_manifest(data))
