"""The host's side of the card, against the chip itself and against cards that lie."""

import hashlib
from dataclasses import replace
from datetime import date

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats.card import Chip
from digiid.formats.x509.request import verify_certificate_request
from digiid.kernel.errors import DigiidError, Malformed, Refused
from digiid.platform import eid_card
from digiid.platform.eid_card import CardKey, CardPin, PinRefused, RetryCounters
from tests.support.cards import DOCUMENT, PIN1, PIN2, PUK, ChipInMemory, new_ca, personalise


@pytest.fixture(scope="module")
def personalised() -> Chip:
    card = ChipInMemory()
    personalise(card, new_ca())
    return card.chip


@pytest.fixture
def card(personalised: Chip) -> ChipInMemory:
    return ChipInMemory(personalised)


def verify(card: ChipInMemory, kind: CardKey, signature: bytes, digest: bytes) -> None:
    key = eid_card.read_certificate(card, kind).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    half = len(signature) // 2
    der = encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
    key.verify(der, digest[:48].rjust(48, b"\0"), ec.ECDSA(Prehashed(hashes.SHA384())))


def test_personal_data_is_read_as_it_was_written(card: ChipInMemory) -> None:
    assert eid_card.read_document(card) == DOCUMENT


def test_birth_data_of_a_citizen_is_kept() -> None:
    card = ChipInMemory()
    citizen = replace(DOCUMENT, sex="M", citizenship="EST", born_on=date(1980, 1, 8), birth_place="EST")
    personalise(card, new_ca(), document=citizen)
    assert eid_card.read_document(card) == citizen


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_signatures_verify_with_the_certificate_on_the_card(card: ChipInMemory, hash_name: str) -> None:
    digest = hashlib.new(hash_name, b"document").digest()
    verify(card, CardKey.SIGNATURE, eid_card.sign(card, pin2=PIN2, digest=digest), digest)


def test_authentication_verifies_and_leaves_no_pin_behind(card: ChipInMemory) -> None:
    digest = hashlib.sha384(b"challenge").digest()
    verify(card, CardKey.AUTHENTICATION, eid_card.authenticate(card, pin1=PIN1, digest=digest), digest)
    assert not card.chip.session.verified


def test_tm01_wrong_pins_say_how_many_tries_are_left_and_then_that_it_is_blocked(card: ChipInMemory) -> None:
    seen = []
    for _ in range(4):
        with pytest.raises(PinRefused) as caught:
            eid_card.sign(card, pin2="99999", digest=bytes(32))
        seen.append((caught.value.code, caught.value.tries_left))
    assert seen == [("card.pin.wrong", 2), ("card.pin.wrong", 1), ("card.pin.blocked", 0), ("card.pin.blocked", 0)]
    assert eid_card.read_retry_counters(card) == RetryCounters(pin1=3, pin2=0, puk=3)
    eid_card.unblock_pin(card, CardPin.PIN2, puk=PUK, new="54321")
    assert eid_card.read_retry_counters(card) == RetryCounters(pin1=3, pin2=3, puk=3)
    assert len(eid_card.sign(card, pin2="54321", digest=bytes(32))) == 96


@pytest.mark.parametrize("pin", ["", "123", "1234567890123", "12a4", "１２３４", "1234 "])
def test_what_cannot_be_a_pin_costs_no_try(card: ChipInMemory, pin: str) -> None:
    with pytest.raises(Refused, match=r"card\.pin\.format"):
        eid_card.authenticate(card, pin1=pin, digest=bytes(48))
    assert eid_card.read_retry_counters(card).pin1 == 3


@pytest.mark.parametrize(
    ("which", "old", "new"), [("pin1", PIN1, "4321"), ("pin2", PIN2, "54321"), ("puk", PUK, "87654321")]
)
def test_pins_can_be_changed_and_must_differ(card: ChipInMemory, which: str, old: str, new: str) -> None:
    with pytest.raises(Refused, match=r"card\.pin\.unchanged"):
        eid_card.change_pin(card, CardPin(which), old=old, new=old)
    eid_card.change_pin(card, CardPin(which), old=old, new=new)
    with pytest.raises(PinRefused):
        eid_card.change_pin(card, CardPin(which), old=old, new="99999999")
    eid_card.change_pin(card, CardPin(which), old=new, new=old)


def test_certificate_request_proves_possession_of_the_key_in_the_chip() -> None:
    card = ChipInMemory()
    key = eid_card.generate_key(card, CardKey.SIGNATURE)
    request = eid_card.build_certificate_request(card, CardKey.SIGNATURE)
    assert verify_certificate_request(request).public_key == key
    assert x509.load_der_x509_csr(request).is_signature_valid


def test_a_closed_card_takes_no_bureau_command(card: ChipInMemory) -> None:
    with pytest.raises(Refused, match=r"card\.status"):
        eid_card.generate_key(card, CardKey.SIGNATURE)


def test_an_oversized_certificate_is_refused_before_it_is_written() -> None:
    with pytest.raises(Refused, match=r"card\.certificate\.too_large"):
        eid_card.write_certificate(ChipInMemory(), CardKey.SIGNATURE, bytes(1537))


class LyingCard:
    def __init__(self, answers: list[bytes]) -> None:
        self.answers = iter(answers)

    def transmit(self, command: bytes) -> bytes:
        return next(self.answers, b"\x90\x00")


@given(st.lists(st.binary(max_size=40) | st.binary(max_size=260).map(lambda b: b + b"\x90\x00"), max_size=12))
def test_a_card_that_lies_causes_only_our_errors(answers: list[bytes]) -> None:
    for use in (
        lambda card: eid_card.read_certificate(card, CardKey.SIGNATURE),
        eid_card.read_document,
        eid_card.read_retry_counters,
        lambda card: eid_card.authenticate(card, pin1=PIN1, digest=bytes(48)),
        lambda card: eid_card.generate_key(card, CardKey.SIGNATURE),
    ):
        try:
            use(LyingCard(answers))
        except DigiidError as error:
            assert isinstance(error, Malformed | Refused)
