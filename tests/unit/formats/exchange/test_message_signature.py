import hashlib
import re

import pytest

from digiid.formats.exchange.hash_chain import build_hash_chain, digests_of
from digiid.formats.exchange.message_signature import verify_message_signature
from digiid.kernel.errors import DigiidError, Malformed, Refused
from tests.unit.formats.exchange.signing import KINDS, NOW, sign, signer

PARTS = {"/message.xml": b"GET\r\n", "/attachment1": b'{"todo": true}', "/attachment2": b""}
FOUND = {uri: digests_of(data) for uri, data in PARTS.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use_hash_chain", [False, True])
def test_both_forms_verify_with_every_key(kind, use_hash_chain):
    xml, chain = sign(PARTS, kind=kind, use_hash_chain=use_hash_chain)
    assert (chain is not None) == use_hash_chain
    found = verify_message_signature(xml, FOUND, hash_chain=chain)
    assert found.covered == PARTS.keys()
    assert found.verified.certificate == signer(kind)[1]
    assert found.verified.signature.claimed_signing_at == NOW.replace(microsecond=0)
    assert found.verified.signature.ocsp_values_der == (b"not read here",)


def test_one_part_needs_no_chain():
    xml, chain = sign({"/message.xml": b"x"}, use_hash_chain=True)
    assert chain is None
    verify_message_signature(xml, {"/message.xml": digests_of(b"x")}, hash_chain=None)


@pytest.mark.parametrize("use_hash_chain", [False, True])
@pytest.mark.parametrize("uri", PARTS)
def test_a_part_left_out_is_refused(uri, use_hash_chain):
    xml, chain = sign(PARTS, use_hash_chain=use_hash_chain)
    with pytest.raises(Refused):
        verify_message_signature(xml, {key: FOUND[key] for key in PARTS if key != uri}, hash_chain=chain)


@pytest.mark.parametrize("use_hash_chain", [False, True])
@pytest.mark.parametrize("uri", PARTS)
def test_a_part_that_the_signer_did_not_sign_is_refused(uri, use_hash_chain):
    xml, chain = sign({key: value for key, value in PARTS.items() if key != uri}, use_hash_chain=use_hash_chain)
    with pytest.raises(Refused) as refused:
        verify_message_signature(xml, FOUND, hash_chain=chain)
    assert refused.value.code == "exchange.signature.coverage"


@pytest.mark.parametrize("use_hash_chain", [False, True])
def test_a_part_added_is_refused(use_hash_chain):
    xml, chain = sign(PARTS, use_hash_chain=use_hash_chain)
    with pytest.raises(Refused) as refused:
        verify_message_signature(xml, FOUND | {"/attachment3": digests_of(b"")}, hash_chain=chain)
    assert refused.value.code == "exchange.signature.coverage"


@pytest.mark.parametrize("use_hash_chain", [False, True])
@pytest.mark.parametrize("uri", PARTS)
def test_a_part_altered_is_refused(uri, use_hash_chain):
    xml, chain = sign(PARTS, use_hash_chain=use_hash_chain)
    with pytest.raises(Refused):
        verify_message_signature(xml, FOUND | {uri: digests_of(b"altered")}, hash_chain=chain)


def test_a_chain_beside_direct_references_or_none_beside_its_result_is_refused():
    direct, _ = sign(PARTS)
    chained, chain = sign(PARTS, use_hash_chain=True)
    for xml, given in ((direct, chain), (chained, None)):
        with pytest.raises(Refused) as refused:
            verify_message_signature(xml, FOUND, hash_chain=given)
        assert refused.value.code == "exchange.signature.coverage"


def test_a_chain_of_another_message_is_refused():
    xml, _ = sign(PARTS, use_hash_chain=True)
    other = PARTS | {"/attachment1": b"other"}
    chain = build_hash_chain({uri: hashlib.sha512(data).digest() for uri, data in other.items()})
    with pytest.raises(Refused):
        verify_message_signature(xml, {uri: digests_of(data) for uri, data in other.items()}, hash_chain=chain)


def test_a_body_that_was_not_kept_is_told_and_only_where_it_may_be_absent():
    for use_hash_chain in (False, True):
        xml, chain = sign(PARTS, use_hash_chain=use_hash_chain)
        kept = {"/message.xml": FOUND["/message.xml"]}
        bodies = frozenset(("/attachment1", "/attachment2"))
        found = verify_message_signature(xml, kept, hash_chain=chain, may_be_absent=bodies)
        assert (found.covered, found.absent) == (PARTS.keys(), bodies)
        with pytest.raises(Refused):
            verify_message_signature(xml, {}, hash_chain=chain, may_be_absent=bodies)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<xades:SigningTime>2026", b"<xades:SigningTime>2025"),
        (b"ecdsa-sha512", b"ecdsa-sha256"),
        (b"ecdsa-sha512", b"ecdsa-sha1"),
        (b"#sha512", b"#sha1"),
        (b'Id="signature-value"', b'Id="signed-properties"'),
        (b"</asic:XAdESSignatures>", b"<ds:Signature/></asic:XAdESSignatures>"),
    ],
)
def test_a_changed_signature_is_refused(old, new):
    xml, chain = sign(PARTS, use_hash_chain=True)
    changed = xml.replace(old, new)
    assert changed != xml
    with pytest.raises((Refused, Malformed)):
        verify_message_signature(changed, FOUND, hash_chain=chain)


@pytest.mark.parametrize(
    "pattern",
    [
        rb"<ds:Signature .*</ds:Signature>",
        rb"<ds:Object>.*</ds:Object>",
        rb"<ds:KeyInfo.*</ds:KeyInfo>",
        rb"<ds:X509Certificate>.*?</ds:X509Certificate>",
        rb"<xades:SigningCertificate>.*</xades:SigningCertificate>",
        rb"<ds:Reference [^>]*SignedProperties.*?</ds:Reference>",
        rb"(?<=<ds:SignatureValue Id=\"signature-value\">)[^<]*",
        rb".*",
    ],
)
def test_a_signature_without_one_of_its_parts_is_refused(pattern):
    xml, chain = sign(PARTS, use_hash_chain=True)
    changed = re.sub(pattern, b"", xml, count=1, flags=re.DOTALL)
    assert changed != xml
    with pytest.raises((Refused, Malformed)):
        verify_message_signature(changed, FOUND, hash_chain=chain)


@pytest.mark.parametrize("use_hash_chain", [False, True])
def test_the_value_of_another_message_is_refused(use_hash_chain):
    xml, chain = sign(PARTS, use_hash_chain=use_hash_chain)
    other, _ = sign(PARTS | {"/message.xml": b"other"}, use_hash_chain=use_hash_chain)
    value = re.compile(rb"<ds:SignatureValue [^>]*>[^<]*</ds:SignatureValue>")
    changed = value.sub(value.search(other)[0], xml)
    assert changed != xml
    with pytest.raises(Refused) as refused:
        verify_message_signature(changed, FOUND, hash_chain=chain)
    assert refused.value.code == "xades.signature_value"


def test_only_our_errors_escape():
    xml, chain = sign(PARTS, use_hash_chain=True)
    for at in range(0, len(xml), 37):
        with pytest.raises(DigiidError):
            verify_message_signature(xml[:at], FOUND, hash_chain=chain)
