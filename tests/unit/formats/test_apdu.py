"""Command and response APDUs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats.apdu import CommandApdu, build_command, parse_command, parse_response
from digiid.kernel.errors import Malformed

CASES = {
    "00A40000": CommandApdu(0, 0xA4, 0, 0),
    "00B0000000": CommandApdu(0, 0xB0, 0, 0, ne=256),
    "00B00000E9": CommandApdu(0, 0xB0, 0, 0, ne=0xE9),
    "00A4020C02D003": CommandApdu(0, 0xA4, 2, 0x0C, b"\xd0\x03"),
    "00A4090404ADF1340100": CommandApdu(0, 0xA4, 9, 4, b"\xad\xf1\x34\x01", 256),
    "00B00000000000": CommandApdu(0, 0xB0, 0, 0, ne=65536),
    "00A4020C000002D003": CommandApdu(0, 0xA4, 2, 0x0C, b"\xd0\x03"),
    "00A4020C000002D0030100": CommandApdu(0, 0xA4, 2, 0x0C, b"\xd0\x03", 256),
}


@pytest.mark.parametrize("text", CASES)
def test_every_case_of_iso_7816_3_is_read(text: str) -> None:
    assert parse_command(bytes.fromhex(text)) == CASES[text]


@pytest.mark.parametrize("text", ["", "00A400", "00A4020C03D003", "00A4020C02D0030000", "00A4020C0000"])
def test_lengths_that_do_not_add_up_are_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse_command(bytes.fromhex(text))


@given(
    data=st.binary(max_size=600),
    ne=st.none() | st.integers(1, 65536),
    header=st.tuples(*[st.integers(0, 255)] * 4),
)
def test_what_is_built_is_read_again(data: bytes, ne: int | None, header: tuple[int, int, int, int]) -> None:
    assert parse_command(build_command(*header, data, ne)) == CommandApdu(*header, data, ne)


@given(st.binary(max_size=400))
def test_nothing_but_malformed_escapes_the_parsers(raw: bytes) -> None:
    for parse in (parse_command, parse_response):
        try:
            parse(raw)
        except Malformed:
            pass
