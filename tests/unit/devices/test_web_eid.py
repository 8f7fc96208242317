"""The Web eID operations on a chip, judged by this program's own verifier and by bare ECDSA."""

import base64
import hashlib
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from digiid.devices import web_eid
from digiid.formats.webeid import parse_token
from digiid.kernel.errors import Malformed, Refused
from digiid.platform.eid_card import PinRefused
from tests.support.cards import PIN1, PIN2, ChipInMemory, new_ca, personalise

NONCE = base64.b64encode(bytes(range(32))).decode()
# a hash longer or shorter than the key: FIPS 186-5 §6.4 takes the leftmost 384 bits, a short one as it is
FUNCTIONS = {28: hashes.SHA224, 32: hashes.SHA256, 48: hashes.SHA384, 64: hashes.SHA512}


@pytest.fixture(scope="module")
def card() -> ChipInMemory:
    chip = ChipInMemory()
    personalise(chip, new_ca())
    return chip


def verify(certificate: x509.Certificate, raw: bytes, digest: bytes) -> None:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    value = encode_dss_signature(int.from_bytes(raw[:48]), int.from_bytes(raw[48:]))
    key.verify(value, digest, ec.ECDSA(Prehashed(FUNCTIONS[len(digest)]())))


def test_token_parses_and_is_bound_to_origin_and_nonce(card: ChipInMemory) -> None:
    token = web_eid.authenticate(card, origin="https://bank.example", nonce=NONCE, pin1=PIN1)
    unverified = parse_token(json.dumps(token))
    both = hashlib.sha384(b"https://bank.example").digest() + hashlib.sha384(NONCE.encode()).digest()
    verify(unverified.unverified_certificate, unverified.signature, hashlib.sha384(both).digest())


@pytest.mark.parametrize("function", sorted(web_eid.HASH_BYTES))
def test_every_offered_hash_function_is_signed_so_that_ecdsa_verifies(card: ChipInMemory, function: str) -> None:
    certificate = web_eid.get_signing_certificate(card)["certificate"]
    digest = hashlib.shake_256(function.encode()).digest(web_eid.HASH_BYTES[function])
    checked = web_eid.check_hash(base64.b64encode(digest).decode(), function)
    answer = web_eid.sign(card, certificate=certificate, digest=checked, hash_function=function, pin2=PIN2)
    assert answer["signatureAlgorithm"]["hashFunction"] == function
    loaded = x509.load_der_x509_certificate(base64.b64decode(certificate))
    verify(loaded, base64.b64decode(answer["signature"]), digest)


def test_certificate_of_another_card_is_refused_before_the_pin_is_tried(card: ChipInMemory) -> None:
    with pytest.raises(Refused) as refused:
        web_eid.sign(card, certificate="MAA=", digest=bytes(48), hash_function="SHA-384", pin2="00000")
    assert refused.value.code == "agent.other_card"
    with pytest.raises(PinRefused) as wrong:
        certificate = web_eid.get_signing_certificate(card)["certificate"]
        web_eid.sign(card, certificate=certificate, digest=bytes(48), hash_function="SHA-384", pin2="00000")
    assert wrong.value.tries_left == 2


@given(st.one_of(st.none(), st.integers(), st.text(max_size=200), st.binary(max_size=20), st.lists(st.text())))
def test_any_value_is_a_nonce_and_a_hash_or_malformed(value: object) -> None:
    for check in (web_eid.check_nonce, lambda given: web_eid.check_hash(given, "SHA-384")):
        try:
            check(value)
        except Malformed:
            pass
