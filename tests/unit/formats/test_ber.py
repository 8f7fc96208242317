"""BER to DER: what is inside keeps its bytes, and hostile lengths end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats import ber, der
from digiid.kernel.errors import Malformed
from tests.unit.formats.fuzz import damaged, only_raises

PLAIN = der.sequence(
    der.integer(1), der.octet_string(b"hello world"), der.sequence(der.boolean(True)), der.tlv(der.context(0), b"")
)
# The same with indefinite lengths, lengths that are too long, and the string in pieces.
LOOSE = (
    b"\x30\x80\x02\x81\x01\x01"
    b"\x24\x80\x04\x06hello \x24\x07\x04\x05world\x00\x00"
    b"\x30\x83\x00\x00\x03\x01\x01\xff"
    b"\xa0\x80\x00\x00"
    b"\x00\x00"
)


def test_both_give_the_same() -> None:
    assert ber.to_der(LOOSE, max_bytes=1000) == PLAIN
    assert ber.to_der(PLAIN, max_bytes=1000) == PLAIN


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x80",
        b"\x30\x80\x00",
        b"\x04\x80\x00\x00",
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"\x30\x05\x04\x01",
        b"\x3f\x81\x00\x00",
        LOOSE + b"\x00",
        b"\x24\x80\x02\x01\x01\x00\x00",
        b"\x30\x80" * 1000 + b"\x00\x00" * 1000,
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        ber.to_der(data, max_bytes=10_000)


def test_size_and_count_are_bounded() -> None:
    with pytest.raises(Malformed, match="too_large"):
        ber.to_der(LOOSE, max_bytes=10)
    with pytest.raises(Malformed, match="depth"):
        ber.to_der(b"\x30\x80" + b"\x05\x00" * 200_000 + b"\x00\x00", max_bytes=1_000_000)


@settings(max_examples=300, deadline=None)
@given(damaged(LOOSE))
def test_damaged(data: bytes) -> None:
    only_raises(Malformed, lambda: ber.to_der(data, max_bytes=1000))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_what_comes_out_is_der_to_our_reader(data: bytes) -> None:
    try:
        encoded = ber.to_der(data, max_bytes=64)
    except Malformed:
        return
    reader = der.Reader(encoded)
    reader.take()
    reader.finish()
    assert ber.to_der(encoded, max_bytes=1000) == encoded
