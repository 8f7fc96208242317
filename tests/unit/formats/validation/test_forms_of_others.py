"""What other programs write, and the published tests of SiVa, digidoc4j and libdigidocpp assert to be valid."""

import base64
import io
from collections.abc import Callable

import pytest

from digiid.formats.asic import MEDIA_TYPE_ASIC_E, DataFile, build_container, build_manifest
from digiid.formats.validation import Report, validate_container
from tests.support.containers import MANIFEST, SIGNATURES, changed, edited, pack, raw_entries, raw_zip, unpack
from tests.support.pki import AT, SIGNED_AT, person, shared_pki

PKI = shared_pki()
GOOD = PKI.container()
TRUST = PKI.trust()
CA = f"<ds:X509Certificate>{base64.b64encode(PKI.ca.der).decode()}</ds:X509Certificate>"
KEY_VALUE = (
    "<ds:KeyValue><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus><ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue>"
    "</ds:KeyValue>"
)
SERIAL = (
    "<ds:X509IssuerSerial><ds:X509IssuerName>CN=x</ds:X509IssuerName><ds:X509SerialNumber>1</ds:X509SerialNumber>"
    "</ds:X509IssuerSerial>"
)


def judge(container: bytes) -> Report:
    return validate_container(io.BytesIO(container), trust=TRUST, at=AT)


def is_plainly_valid(container: bytes) -> bool:
    report = judge(container)
    assert not report.messages and not [one.messages for one in report.signatures if one.messages], report
    return report.is_valid


@pytest.mark.parametrize(
    "edit",
    [
        lambda xml: xml.replace("<ds:X509Data>", f"{KEY_VALUE}<ds:X509Data>"),
        lambda xml: xml.replace("<ds:X509Data>", f"<ds:X509Data>{SERIAL}"),
        lambda xml: xml.replace("<ds:X509Data>", f"<ds:X509Data>{CA}"),
        lambda xml: xml.replace("</ds:X509Data>", f"{CA}</ds:X509Data>"),
        lambda xml: xml.replace("<ds:X509Certificate>", "<ds:X509Certificate>\n    ", 1),
        lambda xml: xml.replace("<ds:KeyInfo", '<ds:KeyInfo Id="K0"'),
        lambda xml: xml.replace("<ds:Object>", '<ds:Object Id="O0">'),
        lambda xml: xml.replace("<xades:UnsignedProperties>", '<xades:UnsignedProperties Id="U0">'),
        lambda xml: "\ufeff" + xml,
        lambda xml: xml + "\r\n",
    ],
    ids=[
        "a key value beside the certificate",
        "issuer and serial number before the certificate",
        "the CA before the signer",
        "the CA behind the signer",
        "white space in base64",
        "an Id at KeyInfo",
        "an Id at Object",
        "an Id at the unsigned properties",
        "a byte order mark",
        "a line break behind",
    ],
)
def test_signature_files_of_others(edit: Callable[[str], str]) -> None:
    assert is_plainly_valid(edited(GOOD, edit))


@pytest.mark.parametrize(
    "name",
    ["!~#¤%%&()=+-_.txt", "0123456789~#%&()=`@{[]}'.txt", "Šužlikud sõid ühe õuna ära.txt", "a/b/c.txt", "100%.txt"],
)
def test_names_of_files(name: str) -> None:
    signed = {
        "mimetype": MEDIA_TYPE_ASIC_E.encode(),
        name: b"x",
        MANIFEST: build_manifest([(name, "text/plain")]),
        SIGNATURES: PKI.sign([DataFile(name, "text/plain", b"x")]),
    }
    assert is_plainly_valid(pack(signed))


def test_a_reference_from_the_root_of_the_container() -> None:
    file = DataFile("a.txt", "text/plain", b"x")
    xml = PKI.sign([DataFile("/a.txt", "text/plain", b"x")])
    assert b'URI="/a.txt"' in xml
    container = build_container([file], [(SIGNATURES, xml)], at=SIGNED_AT)
    assert is_plainly_valid(container)
    twice = PKI.sign([DataFile("/a.txt", "text/plain", b"x"), file])
    assert not judge(changed(container, {SIGNATURES: twice})).is_valid


@pytest.mark.parametrize("media_type", ["", "file", "application\\octet-stream", "TEXT/plain", "text/plain; a=b"])
def test_media_types_that_are_none_hold_when_both_say_the_same(media_type: str) -> None:
    xml = PKI.sign([DataFile("a.txt", media_type, b"x")])
    container = build_container([DataFile("a.txt", "text/plain", b"x")], [(SIGNATURES, xml)], at=SIGNED_AT)
    manifest = build_manifest([("a.txt", "text/plain")]).replace(b'"text/plain"', f'"{media_type}"'.encode())
    assert is_plainly_valid(changed(container, {MANIFEST: manifest}))
    assert not media_type or not judge(container).is_valid


@pytest.mark.parametrize(
    "edit",
    [
        lambda xml: xml.replace('version="1.2"', 'version="1.0"'),
        lambda xml: xml.replace('"text/plain"', '"text/plain" manifest:size="27"'),
        lambda xml: xml.replace(
            "</manifest:manifest>",
            '<manifest:file-entry manifest:full-path="META-INF/" manifest:media-type=""/></manifest:manifest>',
        ),
    ],
    ids=["version 1.0", "sizes", "a folder"],
)
def test_manifests_of_others(edit: Callable[[str], str]) -> None:
    assert is_plainly_valid(edited(GOOD, edit, MANIFEST))


def test_a_comment_of_the_archive_and_its_entries() -> None:
    comment = b"LIBDIGIDOCPP/3.14 format: application/vnd.etsi.asic-e+zip"
    assert is_plainly_valid(raw_zip(raw_entries(GOOD), comment=comment))


def test_as_many_files_and_signatures_as_there_are() -> None:
    files = [DataFile(f"{n}.txt", "text/plain", b"%d" % n) for n in range(300)]
    container = PKI.container(files)
    second = PKI.sign(files, signer=PKI.issue(person("SECOND", "38001085718"), kind="rsa"), signature_id="S1")
    third = PKI.sign(files, signer=PKI.issue(person("THIRD", "49403136526"), kind="p521"), signature_id="S2")
    added = {"META-INF/signatures1.xml": second, "META-INF/signatures_3.xml": third}
    report = judge(changed(container, added))
    assert report.is_valid and report.valid_count == 3
    assert len(unpack(container)) == 303
