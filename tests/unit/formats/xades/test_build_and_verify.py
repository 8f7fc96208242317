"""Signatures of level B: built in two steps, verified by fixed paths, refused for every deviation."""

import base64
import hashlib
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from digiid.formats.hardened_xml import C14N_11, canonicalize
from digiid.formats.xades import (
    FileDigest,
    ProductionPlace,
    Reference,
    build_xades,
    canonical_signature_value,
    choose_method,
    parse_signatures,
    prepare_xades,
    raw_from_der,
    sign_digest,
    sign_xades,
    verify_prepared_value,
    verify_signature,
)
from digiid.formats.xades.algorithms import verify_value
from digiid.formats.xades.parse import parse_date_time
from digiid.kernel.errors import DigiidError, Malformed, Refused
from tests.support.pki import FILES, SIGNED_AT, person, shared_pki

DIGESTS = [FileDigest(file.name, file.media_type, hashlib.sha256(file.content).digest()) for file in FILES]


def find_digest(reference: Reference) -> bytes | None:
    by_name = {file.name: file.content for file in FILES}
    content = by_name.get(reference.name)
    return None if content is None else hashlib.new(reference.hash_name, content).digest()


def level_b(**changes: object) -> str:
    return shared_pki().sign(FILES, level="B", **changes).decode()  # type: ignore[arg-type]


def outcome(xml: str | bytes) -> str:
    """The code of the first thing that is wrong."""
    data = xml.encode() if isinstance(xml, str) else xml
    with pytest.raises(DigiidError) as caught:
        for signature in parse_signatures(data):
            verify_signature(signature, find_digest)
    assert isinstance(caught.value, Malformed | Refused)
    return caught.value.code


@pytest.mark.parametrize(
    ("kind", "pss"), [("p256", False), ("p384", False), ("p521", False), ("rsa", False), ("rsa", True)]
)
def test_every_kind_of_key_signs_and_verifies(kind: str, pss: bool) -> None:
    signer = shared_pki().issue(person("KEY", "38001085718"), kind=kind)
    method = choose_method(signer.certificate.public_key(), pss=pss)
    xml = sign_xades(
        DIGESTS, key=signer.key, certificate=signer.certificate, claimed_signing_at=SIGNED_AT, method=method
    )
    (signature,) = parse_signatures(xml)
    verified = verify_signature(signature, find_digest)
    assert verified.certificate == signer.certificate
    assert signature.method.uri == method.uri
    if kind != "rsa":
        assert len(signature.signature_value) == {"p256": 64, "p384": 96, "p521": 132}[kind]


def test_what_is_written_is_canonical_already() -> None:
    xml = level_b()
    root = etree.fromstring(xml.encode())
    assert etree.tostring(root, method="c14n").decode() == xml.partition("\n")[2]
    (signature,) = parse_signatures(xml.encode())
    assert hashlib.sha256(signature.signed_properties).digest() == signature.properties_digest


def test_what_the_device_signs_is_the_canonical_signed_info() -> None:
    signer = shared_pki().signer
    prepared = prepare_xades(DIGESTS, certificate=signer.certificate, claimed_signing_at=SIGNED_AT)
    assert prepared.hash_name == "sha384"
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    value = raw_from_der(signer.key.sign(prepared.digest, ec.ECDSA(Prehashed(hashes.SHA384()))), 384)
    verify_prepared_value(prepared, signer.certificate, value)
    (signature,) = parse_signatures(build_xades(prepared, value))
    assert hashlib.sha384(signature.signed_info).digest() == prepared.digest
    assert signature.canonical_signature_value(C14N_11) == canonical_signature_value(prepared, value)


def test_a_value_of_another_key_is_refused_before_anything_is_built() -> None:
    signer, other = shared_pki().signer, shared_pki().issue(person("OTHER", "38001085718"))
    prepared = prepare_xades(DIGESTS, certificate=signer.certificate, claimed_signing_at=SIGNED_AT)
    with pytest.raises(Refused, match="signature_value"):
        verify_prepared_value(prepared, signer.certificate, sign_digest(prepared.method, other.key, prepared.digest))


def test_roles_and_place_are_carried_with_every_character() -> None:
    place = ProductionPlace(city='Tart<u> & "Co"', street_address="a\rb", country_name="EE", postal_code="1")
    (signature,) = parse_signatures(level_b(roles=("Chair <of> the & board", "ämm"), place=place).encode())
    assert signature.claimed_roles == ("Chair <of> the & board", "ämm")
    assert signature.production_place == place
    verify_signature(signature, find_digest)


def test_characters_that_xml_cannot_carry_are_refused() -> None:
    with pytest.raises(Malformed, match="does not allow"):
        level_b(roles=("a\x00b",))


def test_validation_data_without_a_time_stamp_are_refused() -> None:
    signer = shared_pki().signer
    prepared = prepare_xades(DIGESTS, certificate=signer.certificate, claimed_signing_at=SIGNED_AT)
    with pytest.raises(ValueError, match="time-stamped"):
        build_xades(prepared, b"x", ocsp_der=b"y")


DOCUMENT = level_b()
VALUE = parse_signatures(DOCUMENT.encode())[0].signature_value
OTHER_NAMESPACE = 'xmlns:e="urn:e"'
C14N = 'Algorithm="http://www.w3.org/2006/12/xml-c14n11"'
ECDSA = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
DSIG = "http://www.w3.org/2000/09/xmldsig#"


def transforms(name: str) -> str:
    return f'<ds:Transforms><ds:Transform Algorithm="{DSIG}{name}"/></ds:Transforms>'


def twice(part: str, *, old: str = '"S0-SignedProperties"', new: str = '"X"') -> str:
    """The part, and behind it a copy with another Id."""
    return DOCUMENT.replace(part, part + part.replace(old, new))


def replaced(old: str, new: str, count: int = 1) -> str:
    assert old in DOCUMENT, old
    return DOCUMENT.replace(old, new, count)


def cut(start: str, end: str) -> str:
    begin = DOCUMENT.index(start)
    return DOCUMENT[begin : DOCUMENT.index(end, begin) + len(end)]


def wrapped(part: str) -> str:
    return DOCUMENT.replace(part, f"<e:wrap {OTHER_NAMESPACE}>{part}</e:wrap>")


SIGNED_PROPERTIES = cut("<xades:SignedProperties ", "</xades:SignedProperties>")
OBJECT = cut("<ds:Object>", "</ds:Object>")
SIGNED_INFO = cut("<ds:SignedInfo>", "</ds:SignedInfo>")
REFERENCE = cut('<ds:Reference Id="S0-RefId0"', "</ds:Reference>")
SIGNATURE = cut("<ds:Signature ", "</ds:Signature>")
CERTIFICATE = cut("<ds:X509Certificate>", "</ds:X509Certificate>")


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        # what the parser never lets in (§16.1 of the checklist of the field)
        (DOCUMENT.replace("?>\n", "?>\n<!DOCTYPE asic:XAdESSignatures>"), "xades.doctype"),
        (DOCUMENT.replace("?>\n", '?>\n<!DOCTYPE a [<!ENTITY x "y">]>'), "xades.doctype"),
        (replaced("<ds:SignedInfo>", "<ds:SignedInfo><?target data?>"), "xades.processing_instruction"),
        (replaced(">text/plain<", ">text/<!-- -->plain<"), "xades.comment"),
        (replaced(">2026-", "><!-- x -->2026-"), "xades.comment"),
        (DOCUMENT.replace('encoding="UTF-8"', 'encoding="ISO-8859-1"'), "xades.encoding"),
        (DOCUMENT + " " * (1024 * 1024), "xades.too_large"),
        (DOCUMENT[:-1], "xades.xml"),
        (DOCUMENT.replace("asic:XAdESSignatures", "asic:Signatures"), "xades.root"),
        # only one shape of signature (§16.2)
        (replaced(ECDSA, "urn:x"), "xades.signature_method"),
        (replaced(ECDSA, DSIG + "hmac-sha1"), "xades.signature_method"),
        (replaced("xmlenc#sha256", "xmldsig-more#md5"), "xades.digest_method"),
        (replaced(f"CanonicalizationMethod {C14N}", 'CanonicalizationMethod Algorithm="urn:x"'), "xades.c14n"),
        (replaced(f"<ds:Transform {C14N}>", '<ds:Transform Algorithm="urn:xslt">'), "xades.c14n"),
        (replaced("</ds:Transform>", "</ds:Transform>" + transforms("x")[15:-16]), "xades.transform"),
        (DOCUMENT.replace(REFERENCE, REFERENCE.replace(">", ">" + transforms("base64"), 1)), "xades.transform"),
        (replaced('URI="contract.txt"', 'URI="http://example.test/contract.txt"'), "xades.reference_uri"),
        (replaced('URI="contract.txt"', 'URI="file:///etc/passwd"'), "xades.reference_uri"),
        (replaced('URI="contract.txt"', 'URI=""'), "xades.reference_uri"),
        (replaced('URI="contract.txt"', 'URI="#S0-SignedProperties"'), "xades.reference_uri"),
        (replaced(' URI="contract.txt"', ""), "xades.reference_uri"),
        (replaced('URI="contract.txt"', 'URI="%FF"'), "asic.uri"),
        (replaced(' Type="http://uri.etsi.org/01903#SignedProperties"', ""), "xades.transform"),
        (DOCUMENT.replace(REFERENCE, REFERENCE + REFERENCE.replace("RefId0", "RefId9")), "xades.reference_count"),
        # wrapping and moving (§16.3)
        (replaced('Id="S0-RefId1"', 'Id="S0-RefId0"'), "xades.duplicate_id"),
        (replaced('Target="#S0"', 'Target="#S1"'), "xades.target"),
        (twice(OBJECT), "xades.structure"),
        (twice(SIGNED_PROPERTIES), "xades.structure"),
        (wrapped(SIGNED_PROPERTIES), "xades.structure"),
        (twice(SIGNED_INFO, old=' Id="', new=' Id="X'), "xades.structure"),
        (wrapped(SIGNATURE), "xades.structure"),
        (
            DOCUMENT.replace(SIGNED_PROPERTIES, SIGNED_PROPERTIES.replace('"S0-SignedProperties"', '"evil"')).replace(
                "</ds:Object>", f"</ds:Object><ds:Object>{SIGNED_PROPERTIES}</ds:Object>"
            ),
            "xades.structure",
        ),
        (replaced(' URI="#S0-SignedProperties"', ' URI="#other"'), "xades.signed_properties"),
        (DOCUMENT.replace('<ds:Signature Id="S0">', '<ds:Signature>'), "xades.structure"),
        # signer (§16.4)
        (DOCUMENT.replace(CERTIFICATE, ""), "xades.certificate.missing"),
        (
            DOCUMENT.replace(
                CERTIFICATE, "<ds:X509Certificate>AAAA</ds:X509Certificate>"
            ),
            "xades.certificate.mismatch",
        ),
        (DOCUMENT.replace("SigningCertificateV2", "Signing"), "xades.certificate.unsigned"),
        # what was signed
        (replaced(">text/plain<", ">text/html<"), "xades.reference.digest"),
        (replaced("T09:00:00Z", "T09:00:01Z"), "xades.reference.digest"),
        (replaced('URI="contract.txt"', 'URI="contract2.txt"'), "xades.reference.missing"),
        (replaced("<ds:SignatureValue Id", "<ds:SignatureValue X"), ""),
    ],
)  # fmt: skip
def test_deviations_are_refused(xml: str, code: str) -> None:
    if not code:  # an attribute of the value's element is not signed: nothing that is shown comes from it
        (signature,) = parse_signatures(xml.encode())
        verify_signature(signature, find_digest)
        return
    assert outcome(xml) == code


@pytest.mark.parametrize("padding", [0, 64 * 1024], ids=["small", "not small"])
@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        *(('Id="S0-SIG"', f'{name}="S0"', "xades.duplicate_id") for name in ("Id", "ID", "id", "xml:id")),
        ("<ds:KeyInfo>", "<ds:KeyInfo><!-- x -->", "xades.comment"),
        ("<ds:KeyInfo>", "<ds:KeyInfo><?x y?>", "xades.processing_instruction"),
    ],
)
def test_what_may_not_be_in_a_document_is_found_in_one_of_any_size(padding: int, old: str, new: str, code: str) -> None:
    assert outcome(replaced(old, new) + " " * padding) == code
    (signature,) = parse_signatures((DOCUMENT + " " * padding).encode())
    verify_signature(signature, find_digest)


@pytest.mark.parametrize(
    "value",
    [
        VALUE[:-1],
        VALUE + b"\x00",
        b"",
        bytes(96),
        VALUE[48:] + VALUE[:48],
        b"\xff" * 96,
    ],
    ids=["short", "long", "empty", "zeros", "swapped", "out of range"],
)
def test_values_of_wrong_length_or_content_are_refused(value: bytes) -> None:
    old, new = base64.b64encode(VALUE).decode(), base64.b64encode(value).decode()
    assert outcome(replaced(old, new)) == "xades.signature_value"


def test_an_ecdsa_value_in_der_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    r, s = int.from_bytes(VALUE[:48], "big"), int.from_bytes(VALUE[48:], "big")
    der = base64.b64encode(encode_dss_signature(r, s)).decode()
    assert outcome(replaced(base64.b64encode(VALUE).decode(), der)) == "xades.signature_value"


@pytest.mark.parametrize("junk", ["!", "=", "====", "A", "é", "<e:x xmlns:e='urn:e'/>"])
def test_base64_is_strict(junk: str) -> None:
    old = base64.b64encode(VALUE).decode()
    assert outcome(replaced(old, old + junk)) in ("xades.base64", "xades.value")


def test_white_space_inside_base64_is_allowed() -> None:
    old = base64.b64encode(VALUE).decode()
    (signature,) = parse_signatures(replaced(old, f"\n{old[:64]}\r\n\t{old[64:]} ").encode())
    verify_signature(signature, find_digest)


def test_the_certificate_of_another_person_cannot_be_put_into_key_info() -> None:
    """Key substitution: the same key certified for somebody else still is not whom the signer named."""
    pki = shared_pki()
    other = pki.issue(person("MALLORY", "38001085718"))
    swapped = f"<ds:X509Certificate>{base64.b64encode(other.der).decode()}</ds:X509Certificate>"
    assert outcome(DOCUMENT.replace(CERTIFICATE, swapped)) == "xades.certificate.mismatch"


def test_xml_attributes_above_a_signed_element_are_refused() -> None:
    """Canonical XML 1.0 and 1.1 differ about them, so two programs could see two documents."""
    assert (
        outcome(replaced('<ds:Signature Id="S0">', '<ds:Signature Id="S0" xml:lang="en">')) == "xml.inherited_attribute"
    )


def test_a_second_signature_file_root_does_not_lend_its_ids() -> None:
    two = DOCUMENT.replace(SIGNATURE, SIGNATURE + SIGNATURE)
    assert outcome(two) == "xades.duplicate_id"


def test_dates_of_other_programs() -> None:
    assert parse_date_time("2026-11-23T10:00:00+02:00") == datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    assert parse_date_time(" 2026-11-23T10:00:00.123456789Z ") == datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)
    for text in ("2026-02-30T10:00:00Z", "0001-01-01T00:00:00+23:59", "2026-11-23", "２026-11-23T10:00:00Z"):
        with pytest.raises(Malformed, match="date_time"):
            parse_date_time(text)


def test_exclusive_canonicalization_is_understood() -> None:
    root = etree.fromstring(DOCUMENT.encode())
    info = root[0][0]
    exclusive = canonicalize(info, "http://www.w3.org/2001/10/xml-exc-c14n#")
    assert b"xmlns:asic" not in exclusive
    assert b"xmlns:asic" in canonicalize(info, C14N_11)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_only_malformed_and_refused_escape_from_damaged_signatures(data: st.DataObject) -> None:
    damaged = bytearray(DOCUMENT.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        length = data.draw(st.integers(0, 8))
        damaged[at : at + length] = data.draw(st.binary(max_size=8))
    try:
        for signature in parse_signatures(bytes(damaged)):
            verify_signature(signature, find_digest)
    except (Malformed, Refused):
        pass


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_only_malformed_escapes_from_noise(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_signatures(data)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_values_of_our_own_have_both_numbers_at_their_full_length(curve: ec.EllipticCurve) -> None:
    key, digest = ec.generate_private_key(curve), bytes(64)
    method = choose_method(key.public_key(), hash_name="sha512")
    size = (curve.key_size + 7) // 8
    begin_with_zero = {"r": False, "s": False}  # every 256th does, and DER leaves the zero away
    while not all(begin_with_zero.values()):
        value = sign_digest(method, key, digest)
        assert len(value) == 2 * size
        verify_value(method, key.public_key(), value, digest=digest)
        begin_with_zero["r"] |= value[0] == 0
        begin_with_zero["s"] |= value[size] == 0
