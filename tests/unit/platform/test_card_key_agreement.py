"""ECDH on the card, against the chip itself and against cards that lie."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from digiid.kernel.errors import Malformed, Refused
from digiid.platform import eid_card
from digiid.platform.eid_card import CardKey, PinRefused
from tests.support.cards import PIN1, PIN2, ChipInMemory, new_ca, personalise


@pytest.fixture(scope="module")
def card() -> ChipInMemory:
    chip = ChipInMemory()
    personalise(chip, new_ca())
    return chip


def test_both_sides_compute_the_same_secret(card: ChipInMemory) -> None:
    peer = ec.generate_private_key(ec.SECP384R1())
    own = eid_card.read_certificate(card, CardKey.AUTHENTICATION).public_key()
    assert isinstance(own, ec.EllipticCurvePublicKey)
    assert eid_card.derive(card, pin1=PIN1, peer=peer.public_key()) == peer.exchange(ec.ECDH(), own)


class Recorder:
    """A card that writes down what it is asked, and may answer one command otherwise."""

    def __init__(self, card: ChipInMemory, *, instruction: int = -1, answer: bytes = b"") -> None:
        self.commands: list[bytes] = []
        self._card = card
        self._instruction, self._answer = instruction, answer

    def transmit(self, command: bytes) -> bytes:
        self.commands.append(command)
        if command[1] == self._instruction:
            return self._answer
        return self._card.transmit(command)


def test_the_commands_are_those_of_the_chip_specification(card: ChipInMemory) -> None:
    recorder = Recorder(card)
    peer = ec.generate_private_key(ec.SECP384R1()).public_key()
    eid_card.derive(recorder, pin1=PIN1, peer=peer)
    point = peer.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    select, security_environment, verify, decipher, forget = recorder.commands
    assert select.hex() == "00a4040c0de828bd080ff2504f5420415750"
    assert security_environment.hex() == "002241b80680010b840181"
    assert verify.hex() == "002000010c" + PIN1.encode().hex() + "ff" * (12 - len(PIN1))
    assert decipher == bytes.fromhex("002a80866200") + point + b"\x00"
    assert forget[:4].hex() == "0020ff01"


@pytest.mark.parametrize("pin", ["", "12", "12345678901234", "12a4"])
def test_what_is_no_pin_costs_no_try(card: ChipInMemory, pin: str) -> None:
    recorder = Recorder(card)
    with pytest.raises(Refused, match=r"card\.pin\.format"):
        eid_card.derive(recorder, pin1=pin, peer=ec.generate_private_key(ec.SECP384R1()).public_key())
    assert not recorder.commands


def test_a_wrong_pin_is_counted_and_other_curves_never_reach_the_card(card: ChipInMemory) -> None:
    recorder = Recorder(card)
    with pytest.raises(Refused, match=r"card\.peer"):
        eid_card.derive(recorder, pin1=PIN1, peer=ec.generate_private_key(ec.SECP256R1()).public_key())
    assert not recorder.commands
    peer = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(PinRefused) as caught:
        eid_card.derive(card, pin1=PIN2, peer=peer)
    assert caught.value.tries_left == 2
    assert len(eid_card.derive(card, pin1=PIN1, peer=peer)) == 48


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (bytes(47) + b"\x90\x00", Malformed, r"card\.shared_secret"),
        (bytes(49) + b"\x90\x00", Malformed, r"card\.shared_secret"),
        (b"\x90\x00", Malformed, r"card\.shared_secret"),
        (b"\x6a\x80", Refused, r"card\.status"),
        (b"\x69\x82", Refused, r"card\.status"),
        (b"\x90", Malformed, r"apdu\.response"),
    ],
)
def test_what_a_lying_card_answers(card: ChipInMemory, answer: bytes, kind: type[Exception], code: str) -> None:
    recorder = Recorder(card, instruction=0x2A, answer=answer)
    with pytest.raises(kind, match=code):
        eid_card.derive(recorder, pin1=PIN1, peer=ec.generate_private_key(ec.SECP384R1()).public_key())
    assert recorder.commands[-1][:4].hex() == "0020ff01"  # the PIN is forgotten all the same
