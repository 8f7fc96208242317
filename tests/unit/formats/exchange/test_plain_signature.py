"""The quick reader of message signatures accepts nothing that the general one refuses, and agrees with it otherwise."""

import hashlib
import re
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.exchange.hash_chain import HashChain, digests_of
from digiid.formats.exchange.message_signature import (
    BODY,
    DIGEST_METHOD,
    MESSAGE,
    NAMESPACES,
    build_message_signature,
    prepare_message_signature,
    verify_message_signature,
)
from digiid.formats.exchange.plain_signature import (
    _BEFORE_INFO,
    _BEFORE_PROPERTIES,
    _MAX_FRAMES,
    _MAX_LENGTHS,
    _PATTERN,
    _frames,
    _load,
    _read,
    _verify_framed,
    verify_wire_signature,
)
from digiid.formats.xades import sign_digest
from digiid.formats.xades.algorithms import SIGNATURE_METHODS, hash_bytes
from digiid.kernel.errors import DigiidError, Malformed, Refused
from tests.unit.formats.exchange.signing import KINDS, NOW, sign, signer

PARTS = {MESSAGE: b"GET\r\n/r1/a\r\nx:y\r\n", BODY: b'{"todo": true}'}
SIGNED, _ = sign(PARTS)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def verify(xml: bytes, parts: dict[str, bytes] = PARTS, chain: HashChain | None = None):
    return verify_wire_signature(xml, {uri: digests_of(data) for uri, data in parts.items()}, hash_chain=chain)


def assert_no_other_than_the_general_reader_says(
    xml: bytes, parts: dict[str, bytes] = PARTS, chain: HashChain | None = None
) -> bool:
    """Whether it was accepted; then the general reader accepts it as well, and finds the same in it."""
    try:
        verified = verify(xml, parts, chain)
    except DigiidError:
        return False
    finders = {uri: digests_of(data) for uri, data in parts.items()}
    general = verify_message_signature(xml, finders, hash_chain=chain).verified
    signature = general.signature
    assert (verified.certificate, verified.certificates_der, verified.ocsp_ders) == (
        general.certificate,
        signature.certificate_values_der,
        signature.ocsp_values_der,
    )
    return True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use_hash_chain", [False, True])
@pytest.mark.parametrize("parts", [PARTS, {MESSAGE: PARTS[MESSAGE]}])
def test_what_our_writer_writes_is_read_without_a_parser(kind, use_hash_chain, parts):
    xml, chain = sign(parts, kind=kind, use_hash_chain=use_hash_chain)
    assert _PATTERN.fullmatch(xml)
    verified = verify(xml, parts, chain)
    assert verified.certificate == signer(kind)[1]
    assert verified.ocsp_ders == (b"not read here",)


@pytest.mark.parametrize("day", [datetime(2026, 11, 30, tzinfo=UTC), datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)])
def test_it_is_read_so_on_every_day(day):
    key, certificate = signer("p256")
    digests = {uri: hash_bytes("sha512", data) for uri, data in PARTS.items()}
    prepared = prepare_message_signature(digests, certificate=certificate, claimed_signing_at=day, use_hash_chain=False)
    xml = build_message_signature(prepared, sign_digest(prepared.method, key, prepared.digest), ocsp_der=[b"x" * 99])
    found = _PATTERN.fullmatch(xml)
    assert found
    assert _read(found) is not None


def test_a_day_that_is_none_is_left_to_the_general_reader():
    found = _PATTERN.fullmatch(SIGNED.replace(b"2026-11-01T", b"2026-11-31T"))
    assert found
    assert _read(found) is None


def test_another_form_goes_the_general_way():
    spaced = SIGNED.replace(b"<ds:Object>", b"<ds:Object >")
    assert not _PATTERN.fullmatch(spaced)
    assert verify(spaced).certificate == signer("p256")[1]


@pytest.mark.parametrize("change", [{MESSAGE: b"other"}, {BODY: b"other"}, {"/attachment2": b"more"}])
def test_altered_and_added_parts_are_refused(change):
    with pytest.raises(Refused):
        verify(SIGNED, PARTS | change)


@pytest.mark.parametrize("left_out", [MESSAGE, BODY])
def test_a_part_left_out_is_refused(left_out):
    with pytest.raises(Refused, match="coverage"):
        verify(SIGNED, {uri: data for uri, data in PARTS.items() if uri != left_out})


def test_a_chain_that_nobody_signed_is_refused():
    _, chain = sign(PARTS, use_hash_chain=True)
    with pytest.raises(Refused, match="coverage"):
        verify(SIGNED, chain=chain)
    chained, _ = sign(PARTS, use_hash_chain=True)
    with pytest.raises(Refused, match="coverage"):
        verify(chained)


def test_another_keys_value_is_refused():
    other, _ = sign({MESSAGE: b"other"})

    def value(xml: bytes) -> bytes:
        return xml.partition(b'"signature-value">')[2].partition(b"<")[0]

    with pytest.raises(Refused, match="signature_value"):
        verify(SIGNED.replace(value(SIGNED), value(other)))


def test_a_certificate_on_a_curve_that_nobody_knows_is_malformed():
    der = signer("p256")[1].public_bytes(Encoding.DER)
    strange = der.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030177"))
    assert strange != der
    digests = [(der, strange), (hash_bytes("sha512", der), hash_bytes("sha512", strange))]
    changed = SIGNED
    for before, after in digests:
        changed = changed.replace(b64encode(before), b64encode(after))
    declared = re.search(rb"<xades:SignedProperties( Id=.*</xades:SignedProperties>)", changed)
    assert declared
    digest = hash_bytes("sha512", f"<xades:SignedProperties{NAMESPACES}".encode() + declared[1])
    changed = re.sub(
        rb'(URI="#signed-properties">.*?<ds:DigestValue>)[^<]+', lambda found: found[1] + b64encode(digest), changed
    )
    with pytest.raises(Malformed, match=r"xades\.certificate"):
        verify(changed)


def test_certificates_too_large_for_any_path_fill_no_memory():
    key, own = signer("p256")
    builder = x509.CertificateBuilder(own.issuer, own.subject, key.public_key(), 18, NOW, NOW + timedelta(days=9))
    large = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x" * 17_000)
    certificate = builder.add_extension(large, critical=False).sign(key, hashes.SHA256())
    digests = {uri: hash_bytes("sha512", data) for uri, data in PARTS.items()}
    prepared = prepare_message_signature(digests, certificate=certificate, claimed_signing_at=NOW, use_hash_chain=False)
    xml = build_message_signature(prepared, sign_digest(prepared.method, key, prepared.digest), ocsp_der=[b"x" * 99])
    before = _load.cache_info().currsize
    assert verify(xml).certificate == certificate
    assert _load.cache_info().currsize == before


LATER = NOW + timedelta(days=1, milliseconds=7)
OTHER = {MESSAGE: b"GET\r\n/r1/b\r\nx:z\r\n", BODY: b"[]"}


def framed(xml: bytes, parts: dict[str, bytes], chain: HashChain | None = None) -> bool:
    """Whether a text that was verified before is enough to verify this one."""
    finders = {uri: digests_of(data) for uri, data in parts.items()}
    return any(_verify_framed(frame, xml, finders, chain) for frame in _frames.get(len(xml), ()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use_hash_chain", [False, True])
def test_the_next_message_of_a_signer_needs_no_pattern(kind, use_hash_chain):
    _frames.clear()
    first, chain = sign(PARTS, kind=kind, use_hash_chain=use_hash_chain)
    assert not framed(first, PARTS, chain)
    verify(first, PARTS, chain)
    second, chain = sign(OTHER, kind=kind, use_hash_chain=use_hash_chain, at=LATER)
    assert framed(second, OTHER, chain)
    assert verify(second, OTHER, chain) == verify(
        first, PARTS, sign(PARTS, kind=kind, use_hash_chain=use_hash_chain)[1]
    )


@pytest.mark.parametrize("what", ["reference0", "reference1", "properties_digest", "certificate_digest", "value"])
def test_what_differs_in_a_frame_is_still_verified(what):
    verify(SIGNED)
    second, _ = sign(OTHER, at=LATER)
    found = _PATTERN.fullmatch(second)
    assert found
    begin, end = found.span(what)
    wrong = b64encode(bytes(64))
    assert end - begin == len(wrong)
    with pytest.raises(Refused):
        verify(second[:begin] + wrong + second[end:], OTHER)
    assert verify(second, OTHER)


def signed_otherwise(*, time: bytes | None = None, properties_digest: bytes | None = None) -> bytes:
    """The text of SIGNED with another time or properties' digest, and a value that is right for it."""
    found = _PATTERN.fullmatch(SIGNED)
    assert found
    time = time or found["time"]
    properties = found["properties"].replace(found["time"], time)
    properties_digest = properties_digest or b64encode(hashlib.sha512(_BEFORE_PROPERTIES + properties).digest())
    info = found["info"].replace(found["properties_digest"], properties_digest)
    method = SIGNATURE_METHODS[found["method"].decode()]
    value = b64encode(sign_digest(method, signer("p256")[0], hashlib.sha512(_BEFORE_INFO + info).digest()))
    changed = SIGNED.replace(found["info"], info).replace(found["properties"], properties)
    return changed.replace(found["value"], value)


def test_a_text_that_is_signed_otherwise_fits_the_frame():
    verify(SIGNED)
    assert framed(signed_otherwise(time=b"2026-11-02T12:00:00.123Z"), PARTS)


@pytest.mark.parametrize(
    "time", [b"2026-11-31T12:00:00.123Z", b"2026-11-01 12:00:00.123Z", b"2026-11-01T12:00:00,123Z"]
)
def test_a_time_of_another_form_does_not_fit_a_frame(time):
    verify(SIGNED)
    assert not framed(signed_otherwise(time=time), PARTS)


def test_properties_that_were_not_signed_are_refused_in_a_frame():
    verify(SIGNED)
    changed = signed_otherwise(properties_digest=b64encode(bytes(64)))
    assert not framed(changed, PARTS)
    with pytest.raises(Refused, match=r"xades\.reference\.digest"):
        verify(changed)


@pytest.mark.parametrize("parts", [{MESSAGE: b"x"}, {BODY: b"x"}, PARTS | {"/attachment2": b"x"}, {}])
def test_other_parts_do_not_fit_a_frame(parts):
    verify(SIGNED)
    assert not framed(SIGNED, parts)
    with pytest.raises(Refused, match=r"exchange\.signature\.coverage"):
        verify(SIGNED, parts)


def test_a_chain_fits_no_frame_without_it():
    xml, chain = sign(PARTS, use_hash_chain=True)
    verify(xml, PARTS, chain)
    assert framed(xml, PARTS, chain)
    assert not framed(xml, PARTS)
    assert not framed(xml, {"/sig-hashchainresult.xml": chain.result})
    assert not framed(SIGNED, PARTS, chain)


def test_frames_are_bounded():
    _frames.clear()
    for number in range(_MAX_LENGTHS + 5):
        verify(signed_anew(b"x" * 3 * (number + 1)))
    assert 0 < len(_frames) <= _MAX_LENGTHS
    _frames.clear()
    for number in range(_MAX_FRAMES + 2):
        verify(signed_anew(bytes([number]) * 3))
    assert [len(each) for each in _frames.values()] == [_MAX_FRAMES]
    verify(signed_anew(b"x" * 17_000))
    assert [len(each) for each in _frames.values()] == [_MAX_FRAMES]


def signed_anew(response: bytes) -> bytes:
    key, certificate = signer("p256")
    digests = {uri: hash_bytes("sha512", data) for uri, data in PARTS.items()}
    prepared = prepare_message_signature(digests, certificate=certificate, claimed_signing_at=NOW, use_hash_chain=False)
    return build_message_signature(prepared, sign_digest(prepared.method, key, prepared.digest), ocsp_der=[response])


def test_a_frame_is_remembered_once() -> None:
    _frames.clear()
    found = _PATTERN.fullmatch(SIGNED)
    assert found
    digest = found["reference0"].decode()
    # Base64 whose last letter has bits that stand for nothing: the same digest, and not as the frame writes it
    other = digest[:-3] + _LETTERS[_LETTERS.index(digest[-3]) + 1] + "=="
    verify(SIGNED)
    odd = signed_over(SIGNED.replace(digest.encode(), other.encode()))
    assert not framed(odd, PARTS)
    for _ in range(3):
        assert verify(odd) == verify(SIGNED)
    assert [len(each) for each in _frames.values()] == [1]


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_no_changed_byte_is_accepted_that_the_general_reader_refuses(position, difference):
    verify(SIGNED)  # whatever fits its frame is verified by it
    changed = SIGNED[:position] + bytes([SIGNED[position] ^ difference]) + SIGNED[position + 1 :]
    assert_no_other_than_the_general_reader_says(changed)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SIGNED) - 1), st.integers(0, 40), st.binary(max_size=12))
def test_no_replaced_piece_is_accepted_that_the_general_reader_refuses(position, length, piece):
    verify(SIGNED)
    changed = SIGNED[:position] + piece + SIGNED[position + length :]
    assert_no_other_than_the_general_reader_says(changed)


def signed_over(text: bytes) -> bytes:
    """The text with the properties' digest and the value that are right for what stands in it, whatever that is."""

    def between(begin: bytes, end: bytes) -> bytes:
        return begin + text.partition(begin)[2].partition(end)[0] + end

    def put(before: bytes, value: bytes) -> None:
        nonlocal text
        head, mark, rest = text.partition(before)
        text = head + mark + b64encode(value) + rest[rest.find(b"<") :] if mark else text

    def canonical(name: bytes) -> bytes:
        return between(b"<" + name, b"</" + name + b">").replace(b"<" + name, b"<" + name + NAMESPACES.encode(), 1)

    digest = hashlib.sha512(canonical(b"xades:SignedProperties")).digest()
    put(f'URI="#signed-properties">{DIGEST_METHOD}<ds:DigestValue>'.encode(), digest)
    method = SIGNATURE_METHODS["http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512"]
    signed = hashlib.sha512(canonical(b"ds:SignedInfo")).digest()
    put(b'Id="signature-value">', sign_digest(method, signer("p256")[0], signed))
    return text


def test_what_is_signed_over_anew_is_accepted_where_it_says_the_same():
    verify(SIGNED)
    assert framed(signed_over(SIGNED), PARTS)
    later = signed_over(SIGNED.replace(b"2026-11-01T", b"2026-11-02T"))
    assert later != SIGNED
    assert framed(later, PARTS)
    assert assert_no_other_than_the_general_reader_says(later)


_CHANGES = st.one_of(
    st.sampled_from(
        [b"", b" ", b"\n", b"<!---->", b"<?x?>", b"&amp;", b"&#65;", b"=", b"A", b"0", b"/", b'"', b"<x/>", b"Z"]
    ),
    st.binary(max_size=3),
)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(SIGNED) - 1), st.integers(0, 3), _CHANGES)
def test_nothing_that_a_key_holder_signs_is_accepted_that_the_general_reader_refuses(position, length, piece):
    verify(SIGNED)
    assert_no_other_than_the_general_reader_says(signed_over(SIGNED[:position] + piece + SIGNED[position + length :]))


@settings(max_examples=60, deadline=None)
@given(
    st.binary(min_size=1, max_size=40),
    st.none() | st.binary(max_size=40),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)),
    st.booleans(),
)
def test_whatever_our_writer_writes_is_read_alike(message, body, at, use_hash_chain):
    parts = {MESSAGE: message} if body is None else {MESSAGE: message, BODY: body}
    xml, chain = sign(parts, use_hash_chain=use_hash_chain, at=at.replace(tzinfo=UTC))
    for _ in range(2):
        assert assert_no_other_than_the_general_reader_says(xml, parts, chain)
    assert framed(xml, parts, chain)
