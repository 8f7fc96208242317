"""The chip as clients see it: bytes in, bytes out. Sequences are those that OpenSC, Web eID and DigiDoc4 send."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.card import Chip, LifeCycle, build_chip_file, parse_chip_file, power_off
from digiid.kernel.errors import Malformed
from digiid.platform import eid_card
from digiid.platform.eid_card import CardKey
from tests.support.cards import DOCUMENT, PIN1, PIN2, PUK, ChipInMemory, TestCa, new_ca, personalise

MAIN = "00A4040C10A000000077010800070000FE00000100"
AWP = "00A4040C0DE828BD080FF2504F5420415750"
QSCD = "00A4040C1051534344204170706C69636174696F6E"
DIGEST = bytes(range(48))


@pytest.fixture(scope="module")
def ca() -> TestCa:
    return new_ca()


@pytest.fixture(scope="module")
def personalised(ca: TestCa) -> Chip:
    card = ChipInMemory()
    personalise(card, ca)
    return card.chip


@pytest.fixture
def card(personalised: Chip) -> ChipInMemory:
    return ChipInMemory(personalised)


@pytest.fixture
def send(card: ChipInMemory) -> Callable[[str], str]:
    return lambda text: card.transmit(bytes.fromhex(text)).hex().upper()


def field(pin: str) -> str:
    return pin.encode().ljust(12, b"\xff").hex()


def verify(reference: str, pin: str) -> str:
    return f"002000{reference}0C{field(pin)}"


Send = Callable[[str], str]


def test_binding_of_opensc_finds_document_number_certificate_and_counters(send: Send, card: ChipInMemory) -> None:
    assert send(MAIN) == "9000"
    assert send("00A4000C") == "9000"
    assert send("00A4020C02D003") == "9000"
    assert send("00B000000B") == "04094E53303030303030399000"
    assert [send(c) for c in ("00A4000C", "00A4010C02ADF1", "00A4020C023401")] == ["9000"] * 3
    certificate = ""
    while True:
        answer = send(f"00B0{len(certificate) // 2:04X}E9")
        if answer == "6B00":
            break
        assert answer.endswith("9000")
        certificate += answer[:-4]
    assert bytes.fromhex(certificate) == card.chip.memory.files[0xADF1, 0x3401]
    assert send("00CB3FFF0A4D087006BF810102A08000") == (
        "701EBF81011AA0189A01039B0103A1108C06F3000073430" + "09C06F30000734300" + "9000"
    )
    assert send("00CB3FFF0A4D087006BF810502A08000") == "6A88"  # PIN2 is local to the signature application
    assert send("00A4000C") + send("00A4010C02ADF2") == "90009000"
    assert send("00CB3FFF0A4D087006BF810502A08000") == (
        "701EBF81051AA0189A01039B0103A1108C06F3000073FF00" + "9C06F3000073FF00" + "9000"
    )


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("00A4020C", "6A87"),  # EF.DIR as OpenSC 0.23 asks for it: must not be 9000
        ("00A4020C022F00", "6A82"),
        ("00A40004023F00", "621C82013883023F008410"),
        ("00A40904063F00ADF13401", "620E8002"),
        ("00A4090C043F00D003", "9000"),
        ("00A4090C043F00ADF2", "9000"),
        ("00A4090C043F005000", "9000"),
        ("00A4090C033F00AD", "6A87"),
        ("00A4040C04DEADBEEF", "6A82"),
        ("00A4050C00", "6A86"),
        ("00B0000000", "6986"),
        ("00B0800000", "6A82"),
        ("80460081", "6E00"),  # personalisation is over
        ("0C20000100", "6E00"),
        ("00FF0000", "6D00"),
        ("00200001", "63C3"),
        ("00200085", "6A88"),
        ("00200009", "6A88"),
        ("0020010100", "6A86"),
        ("002000010431323334", "6700"),
        ("008800000130", "6985"),
        ("002241A403840181", "9000"),
        ("002241A40384019F", "6A88"),  # PIN1 must never open the signature key
        ("002241B603840181", "6A88"),
        ("002241A403840281", "6A80"),
        ("002240A403840181", "6A86"),
        ("002C02010C" + field("9876"), "6982"),
        ("00CB3FFF0A4D087006BF810902A08000", "6A88"),
        ("002A000000", "6A86"),
        ("00A4", "6700"),
    ],
)
def test_answers_of_a_card_just_powered_up(send: Send, command: str, answer: str) -> None:
    got = send(command)
    assert got.startswith(answer) if len(answer) > 4 else got == answer


def test_web_eid_reads_the_exact_size_from_the_control_parameters(send: Send, card: ChipInMemory) -> None:
    send(MAIN)
    size = len(card.chip.memory.files[0xADF1, 0x3401])
    assert send("00A4090404ADF1340100") == f"620E8002{size:04X}8201018302{0x3401:04X}8A01059000"
    send(MAIN)
    assert send("00A4090404ADF2341F00").startswith("620E8002")


def test_offsets_at_and_beyond_the_end_are_wrong_and_a_short_rest_is_not_an_error(send: Send) -> None:
    send("00A4020C02D003")
    assert send("00B0000900") == "30399000"
    assert send("00B0000B00") == "6B00"


def test_web_eid_signs_in_with_the_authentication_key(send: Send, card: ChipInMemory) -> None:
    send(AWP)
    assert send("002241A406800104840181") == "9000"
    assert send("0088000030" + DIGEST.hex() + "00") == "6982"
    assert send(verify("01", PIN1)) == "9000"  # VERIFY does not clear the security environment
    answer = bytes.fromhex(send("0088000030" + DIGEST.hex() + "00"))
    check_signature(card, CardKey.AUTHENTICATION, DIGEST, answer)


def test_opensc_verifies_then_selects_then_signs(send: Send, card: ChipInMemory) -> None:
    send("00A4000C")
    assert send(verify("01", PIN1)) == "9000"
    for command in ("00A4000C", "00A4010C02ADF1", "002241A4098004FF200800840181"):
        assert send(command) == "9000"
    check_signature(card, CardKey.AUTHENTICATION, DIGEST, bytes.fromhex(send("0088000030" + DIGEST.hex() + "60")))
    send("00A4010C02ADF2")
    assert send(verify("85", PIN2)) == "9000"
    for command in ("00A4000C", "00A4010C02ADF2", "002241B6098004FF15080084019F"):
        assert send(command) == "9000"
    check_signature(card, CardKey.SIGNATURE, DIGEST, bytes.fromhex(send("002A9E9A30" + DIGEST.hex() + "60")))


def test_one_pin2_is_good_for_one_signature(send: Send) -> None:
    send(QSCD)
    send("002241B60680015484019F")
    send(verify("85", PIN2))
    assert send("002A9E9A30" + DIGEST.hex() + "00").endswith("9000")
    assert send("002A9E9A30" + DIGEST.hex() + "00") == "6982"


@pytest.mark.parametrize("size", [1, 7, 20, 47])
def test_short_digests_are_the_same_integer(send: Send, card: ChipInMemory, size: int) -> None:
    send(AWP)
    send("002241A406800104840181")
    send(verify("01", PIN1))
    answer = bytes.fromhex(send(f"00880000{size:02X}" + DIGEST[1 : size + 1].hex() + "00"))
    check_signature(card, CardKey.AUTHENTICATION, DIGEST[1 : size + 1].rjust(48, b"\0"), answer)


def test_selecting_the_main_application_is_a_logout(send: Send) -> None:
    send(AWP)
    send("002241A406800104840181")
    send(verify("01", PIN1))
    send(MAIN)
    send(AWP)
    assert send("0088000030" + DIGEST.hex() + "00") == "6982"


def test_three_wrong_pins_block_and_the_right_one_does_not_help(send: Send, card: ChipInMemory) -> None:
    assert [send(verify("01", "9999")) for _ in range(3)] == ["63C2", "63C1", "6983"]
    assert send(verify("01", PIN1)) == "6983"
    card.chip = power_off(card.chip)
    assert send("00200001") == "6983"


def test_wrong_pin_withdraws_the_right_one_shown_before(send: Send) -> None:
    send(verify("01", PIN1))
    assert send("00200001") == "9000"
    send(verify("01", "0000"))
    assert send("00200001") == "63C2"


def test_right_pin_gives_the_tries_back_and_power_off_does_not(send: Send, card: ChipInMemory) -> None:
    send(verify("01", "9999"))
    card.chip = power_off(card.chip)
    assert send("00200001") == "63C2"
    send(verify("01", PIN1))
    card.chip = power_off(card.chip)
    assert send("00200001") == "63C3"


def test_a_right_pin_also_makes_a_memory_that_waits_for_the_disk(send: Send, card: ChipInMemory) -> None:
    before = card.chip.memory
    assert send(verify("01", PIN1)) == "9000"
    assert card.chip.memory is not before


def test_puk_unblocks_and_sets_a_new_pin(send: Send) -> None:
    for _ in range(3):
        send(verify("01", "9999"))
    assert send(verify("02", PUK)) == "9000"
    assert send("002C02010C" + field("4321")) == "9000"
    assert send(verify("01", PIN1)) == "63C2"
    assert send(verify("01", "4321")) == "9000"
    assert send("002C02850C" + field("54321")) == "6A88"
    send(QSCD)
    assert send("002C02850C" + field("54321")) == "9000"
    assert send("002C0385") == "9000"
    assert send("002C0202" + "0C" + field(PUK)) == "6A88"


def test_changed_pin_replaces_the_old_one_and_is_not_shown_by_the_change(send: Send) -> None:
    assert send("0024000118" + field(PIN1) + field("4321")) == "9000"
    assert send("00200001") == "63C3"
    assert send(verify("01", PIN1)) == "63C2"
    assert send(verify("01", "4321")) == "9000"
    assert send("0024000118" + field("4321") + field("4321")) == "6A80"
    assert send("0024000118" + field("4321") + field("12")) == "6700"
    assert send("0024000118" + field("0000") + field("7777")) == "63C2"
    assert send("0024000218" + field(PUK) + field("87654321") + "00") == "9000"
    assert send(verify("02", "87654321")) == "9000"


def test_ecdh_answers_the_shared_x_coordinate_and_refuses_points_off_the_curve(send: Send, card: ChipInMemory) -> None:
    peer = ec.generate_private_key(ec.SECP384R1())
    point = peer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    send(AWP)
    assert send("002241B80680010B840181") == "9000"
    assert send("002A80866200" + point.hex() + "00") == "6982"
    send(verify("01", PIN1))
    own = card.chip.memory.keys[0x81].public_key()
    expected = peer.exchange(ec.ECDH(), own).hex().upper()
    assert send("002A80866200" + point.hex() + "00") == expected + "9000"
    bad = point[:-1] + bytes([point[-1] ^ 1])
    assert send("002A80866200" + bad.hex() + "00") == "6A80"


def test_challenges_have_the_length_asked_for_and_differ(send: Send) -> None:
    first, second = send("0084000010"), send("0084000010")
    assert len(first) == len(second) == 36
    assert first != second


def test_personalisation_ends_for_good(card: ChipInMemory) -> None:
    assert card.chip.memory.life_cycle is LifeCycle.OPERATIONAL
    for ins in range(256):
        assert card.transmit(bytes([0x80, ins, 0, 0x81])).hex() == "6e00"


def test_an_unfinished_chip_neither_closes_nor_signs(ca: TestCa) -> None:
    card = ChipInMemory()
    assert card.transmit(bytes.fromhex("80440000")).hex() == "6985"
    personalise(card, ca, close=False)
    assert card.transmit(bytes.fromhex(verify("01", PIN1))).hex() == "6985"
    eid_card.generate_key(card, CardKey.SIGNATURE)  # a new key: its certificate is gone
    assert card.transmit(bytes.fromhex("80440000")).hex() == "6985"


def test_a_certificate_of_another_key_is_not_written(ca: TestCa) -> None:
    card, other = ChipInMemory(seed=b"one"), ChipInMemory(seed=b"two")
    eid_card.generate_key(card, CardKey.SIGNATURE)
    foreign = ca.certify(CardKey.SIGNATURE, eid_card.generate_key(other, CardKey.SIGNATURE), DOCUMENT)
    with pytest.raises(eid_card.Refused, match=r"card\.status"):
        eid_card.write_certificate(card, CardKey.SIGNATURE, foreign)


def test_a_certificate_of_an_unknown_version_is_answered_and_not_raised(ca: TestCa) -> None:
    card = ChipInMemory()
    certificate = ca.certify(CardKey.SIGNATURE, eid_card.generate_key(card, CardKey.SIGNATURE), DOCUMENT)
    version = bytes.fromhex("A003020102")
    assert version in certificate
    with pytest.raises(eid_card.Refused, match=r"card\.status"):
        eid_card.write_certificate(card, CardKey.SIGNATURE, certificate.replace(version, version[:4] + b"\x05", 1))


def test_stored_chip_is_the_same_chip(card: ChipInMemory) -> None:
    stored = build_chip_file(card.chip)
    again = parse_chip_file(stored)
    assert build_chip_file(again) == stored
    assert again.memory.files == card.chip.memory.files
    assert again.memory.pins == card.chip.memory.pins


def test_no_pin_and_no_key_stands_in_the_text_of_a_chip(card: ChipInMemory) -> None:
    text = repr(card.chip)
    assert "EllipticCurve" not in text
    assert card.chip.memory.pins[1].verifier.hex() not in text


@given(st.binary(max_size=300))
def test_nothing_but_malformed_escapes_reading_a_stored_chip(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_chip_file(raw)


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_stored_chip_is_malformed(personalised: Chip, data: st.DataObject) -> None:
    stored = bytearray(build_chip_file(personalised))
    position = data.draw(st.integers(0, len(stored) - 1))
    stored[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Malformed):
        parse_chip_file(bytes(stored))


@settings(max_examples=300)
@given(
    st.lists(
        st.binary(max_size=60)
        | st.builds(
            lambda ins, p, body: bytes([0, ins, *p, len(body)]) + body,
            st.sampled_from([0xA4, 0xB0, 0xCB, 0x20, 0x24, 0x2C, 0x22, 0x88, 0x2A, 0x84]),
            st.tuples(st.sampled_from([0, 1, 2, 3, 4, 8, 9, 0x41, 0x9E, 0x80, 0xFF]), st.integers(0, 255)),
            st.binary(min_size=1, max_size=40),
        ),
        max_size=8,
    )
)
def test_every_sequence_of_bytes_gets_an_answer_and_never_a_signature(
    personalised: Chip, commands: list[bytes]
) -> None:
    card = ChipInMemory(personalised)
    for command in commands:
        response = card.transmit(command)
        assert len(response) >= 2
        if command[1:2] in (b"\x88", b"\x2a"):
            assert response[-2:] != b"\x90\x00"


def check_signature(card: ChipInMemory, kind: CardKey, digest: bytes, answer: bytes) -> None:
    assert len(answer) == 98
    assert answer[-2:] == b"\x90\x00"
    r, s = int.from_bytes(answer[:48], "big"), int.from_bytes(answer[48:96], "big")
    key = eid_card.read_certificate(card, kind).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(hashes.SHA384())))
