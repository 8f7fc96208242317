"""ASiC-S: what is one, what is refused, and that a renewal changes no byte of what was there."""

import hashlib
import io

import pytest

from digiid.formats.asic import MEDIA_TYPE_ASIC_S, Container, DataFile, build_manifest, parse_container
from digiid.formats.asic.manifest import ARCHIVE_MANIFEST_NAME, parse_asic_manifest
from digiid.formats.asic.simple import apply_renewal, build_time_stamped_container, plan_renewal
from digiid.kernel.errors import Malformed
from tests.support.containers import changed, pack, unpack
from tests.support.pki import SIGNED_AT

FILE = DataFile("Lepin g.txt", "text/plain", b"agreed\n")
TOKEN = b"\x30\x03\x02\x01\x01"
GOOD = build_time_stamped_container(FILE, TOKEN, at=SIGNED_AT)


def parsed(data: bytes) -> Container:
    return parse_container(io.BytesIO(data))


def renewed(data: bytes, token: bytes) -> bytes:
    container = parsed(data)
    return apply_renewal(container, plan_renewal(container), token, at=SIGNED_AT)


def test_a_new_container_has_no_oddity() -> None:
    container = parsed(GOOD)
    assert container.form == "ASiC-S"
    assert container.problems == ()
    assert [entry.name for entry in container.token_files] == ["META-INF/timestamp.tst"]
    assert GOOD[30:38] == b"mimetype"
    assert container.manifest == {FILE.name: "text/plain"}


def test_a_renewal_covers_all_that_was_there_and_changes_none_of_it() -> None:
    first = renewed(GOOD, b"second")
    second = renewed(first, b"third")
    third = renewed(second, b"fourth")
    files = unpack(third)
    assert files["META-INF/timestamp.tst"] == TOKEN
    assert files["META-INF/timestamp002.tst"] == b"second"
    assert files["META-INF/timestamp003.tst"] == b"third"
    assert files["META-INF/ASiCArchiveManifest001.xml"] == unpack(first)[ARCHIVE_MANIFEST_NAME]
    assert files["META-INF/ASiCArchiveManifest002.xml"] == unpack(second)[ARCHIVE_MANIFEST_NAME]
    for name, content in unpack(GOOD).items():
        assert files[name] == content
    newest = parse_asic_manifest(files[ARCHIVE_MANIFEST_NAME])
    assert newest.signature_name == "META-INF/timestamp004.tst"
    covered = {item.name for item in newest.objects}
    assert covered == files.keys() - {"mimetype", "META-INF/manifest.xml", ARCHIVE_MANIFEST_NAME, newest.signature_name}
    assert [item.name for item in newest.objects if item.is_root] == ["META-INF/ASiCArchiveManifest002.xml"]
    for item in newest.objects:
        assert item.digest == hashlib.sha512(files[item.name]).digest()


def test_packed_bytes_stay_as_they_are() -> None:
    before, after = parsed(GOOD), parsed(renewed(GOOD, b"second"))
    for entry in before.archive.entries:
        again = after.archive.find(entry.name)
        assert again is not None
        assert after.archive.read_packed(again) == before.archive.read_packed(entry)


def test_names_that_are_taken_are_left_alone() -> None:
    odd = changed(GOOD, {"META-INF/TIMESTAMP002.tst": b"x"})
    container = parsed(odd)
    assert plan_renewal(container).token_name == "META-INF/timestamp003.tst"


MIMETYPE = MEDIA_TYPE_ASIC_S.encode()


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "asic.simple.data_file"),
        ({"a.txt": b"x", "b.txt": b"x"}, "asic.simple.data_file"),
        ({"sub/a.txt": b"x"}, "asic.simple.folder"),
        ({"a.txt": b"x", "sub/META-INF/timestamp.tst": b"x"}, "asic.simple.folder"),
        ({"a.txt": b"x", "META-INF/timestamp.tst": b"x", "META-INF/signatures.xml": b"x"}, "asic.simple.mixed"),
        ({"a.txt": b"x", "META-INF/timestamp.tst": b"x", "META-INF/SIGNATURE.P7S": b"x"}, "asic.simple.mixed"),
        ({"a.txt": b"x", "META-INF/signature.p7s": b"x", "META-INF/signatures.xml": b"x"}, "asic.simple.mixed"),
        ({"a.txt": b"x", "META-INF/evidencerecord.ers": b"x"}, "asic.simple.evidence_record"),
        ({"a.txt": b"x", "META-INF/EvidenceRecord.XML": b"x"}, "asic.simple.evidence_record"),
    ],
)
def test_what_is_no_asic_s_container(files: dict[str, bytes], code: str) -> None:
    with pytest.raises(Malformed) as caught:
        parsed(pack({"mimetype": MIMETYPE, **files}))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("manifest", "code"),
    [
        (build_manifest([("other.txt", "text/plain")], media_type=MEDIA_TYPE_ASIC_S), "asic.manifest.mismatch"),
        (build_manifest([(FILE.name, "text/plain")]), "asic.manifest.mismatch"),
        (b"<x/>", "asic.manifest.root"),
        (b"", "asic.manifest.xml"),
    ],
)
def test_a_wrong_manifest_is_told_and_counts_for_nothing(manifest: bytes, code: str) -> None:
    container = parsed(changed(GOOD, {"META-INF/manifest.xml": manifest}))
    assert code in {problem.code for problem in container.problems}
    assert not any(problem.is_error for problem in container.problems)


def test_a_manifest_is_not_asked_for() -> None:
    assert parsed(changed(GOOD, {"META-INF/manifest.xml": None})).problems == ()


def test_only_time_stamped_containers_are_renewed() -> None:
    with pytest.raises(Malformed, match="not_time_stamped"):
        plan_renewal(parsed(changed(GOOD, {"META-INF/timestamp.tst": None})))
