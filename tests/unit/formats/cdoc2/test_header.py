"""The header and its FlatBuffers: written and read back, and what a hostile one may try."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.cdoc2 import (
    EcCapsule,
    KeyServerCapsule,
    KeySharesCapsule,
    PasswordCapsule,
    Recipient,
    RsaCapsule,
    SymmetricCapsule,
    UnknownCapsule,
    build_header,
    parse_header,
)
from digiid.formats.cdoc2.flatbuffers import Buffer, Byte, Int32, Table, build_buffer
from digiid.formats.cdoc2.header import MAX_HEADER_BYTES, MAX_RECIPIENTS
from digiid.kernel.errors import Malformed
from tests.unit.formats.fuzz import damaged, only_raises

FMK = bytes(range(32))
POINT = b"\x04" + bytes(96)
ALL = (
    Recipient("an EC key", EcCapsule("secp384r1", POINT, POINT[:-1] + b"\x01"), FMK),
    Recipient("P-256", EcCapsule("secp256r1", bytes(65), bytes(65)), FMK),
    Recipient("P-521", EcCapsule("secp521r1", bytes(133), bytes(133)), FMK),
    Recipient("an RSA key", RsaCapsule(b"der", b"kek"), FMK),
    Recipient("a key", SymmetricCapsule(bytes(32)), FMK),
    Recipient("õ parool", PasswordCapsule(bytes(32), bytes(range(32)), 600_000), FMK),
)


def record(kind: int, capsule: Table, *, label: str = "x", fmk: bytes = FMK, method: int = 1) -> Table:
    return Table([Byte(kind), capsule, label, fmk, Byte(method)])


def header_of(*records: Table, method: int = 1) -> bytes:
    return build_buffer(Table([list(records), Byte(method)]))


def parse_one(*arguments: Table) -> Recipient:
    [found] = parse_header(header_of(*arguments))
    return found


def test_every_kind_of_recipient_is_read_back() -> None:
    assert parse_header(build_header(ALL)) == ALL


def test_the_layout_is_that_of_flatbuffers() -> None:
    # Written out by hand from the format's description: root offset, vtable, table, vector, string.
    buffer = build_buffer(Table([b"\x01\x02\x03", Int32(-2), "é", Byte(7)]))
    assert buffer == bytes.fromhex(
        "10000000 0c001100 04000800 0c001000 0c000000 10000000 feffffff 10000000 "
        "07000000 03000000 01020300 02000000 c3a900"
    )
    table = Buffer(buffer).root()
    assert (table.octets(0), table.int32(1), table.string(2), table.byte(3)) == (b"\x01\x02\x03", -2, "é", 7)
    assert table.byte(9) == 0  # a field newer than the writer is absent


def test_recipients_that_need_a_server_are_named() -> None:
    details = Table([Byte(1), POINT])
    found = parse_one(record(3, Table([Byte(1), details, "ria-test", "KC1"])))
    assert found.capsule == KeyServerCapsule(POINT, "ria-test", "KC1")
    rsa = parse_one(record(3, Table([Byte(2), Table([b"der"]), "ria-test", "KC1"])))
    assert rsa.capsule == KeyServerCapsule(b"der", "ria-test", "KC1")
    shares = [Table(["https://a.example", "1"]), Table(["https://b.example", "2"])]
    split = parse_one(record(6, Table([shares, bytes(32), Byte(1), Byte(1), "etsi/PNOEE-38001085718"])))
    assert split.capsule == KeySharesCapsule("etsi/PNOEE-38001085718", ("https://a.example", "https://b.example"))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (record(9, Table([])), "kind 9"),
        (record(1, Table([Byte(9), POINT, POINT])), "elliptic curve 9"),
        (record(4, Table([bytes(32)]), method=2), "method 2"),
        (record(5, Table([bytes(32), bytes(32), Byte(2), Int32(600_000)])), "password function 2"),
    ],
)
def test_an_unknown_recipient_does_not_lock_out_the_others(entry: Table, reason: str) -> None:
    unknown, known = parse_header(header_of(entry, record(4, Table([bytes(32)]))))
    assert isinstance(unknown.capsule, UnknownCapsule) and reason in unknown.capsule.reason
    assert known.capsule == SymmetricCapsule(bytes(32))


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (b"", "offset"),
        (bytes(MAX_HEADER_BYTES + 1), "size"),
        (header_of(record(4, Table([bytes(32)])), method=2), "method"),
        (header_of(), "recipients"),
        (build_buffer(Table([None, Byte(1)])), "recipients"),
        (header_of(*[record(4, Table([bytes(32)]))] * (MAX_RECIPIENTS + 1)), "count"),
        (header_of(record(4, Table([bytes(32)]), fmk=bytes(31))), "length"),
        (header_of(record(4, Table([bytes(32)]), label="x" * 5000)), "label"),
        (header_of(record(4, Table([bytes(4)]))), "length"),
        (header_of(record(4, Table([None]))), "missing"),
        (header_of(record(1, Table([Byte(1), POINT[:-1], POINT]))), "length"),
        (header_of(record(2, Table([b"der", bytes(5000)]))), "length"),
        (header_of(record(5, Table([bytes(32), bytes(32), Byte(1), Int32(1)]))), "iterations"),
        (header_of(record(5, Table([bytes(32), bytes(32), Byte(1), Int32(2_000_000_000)]))), "iterations"),
        (header_of(record(5, Table([bytes(32), bytes(32), Byte(1), Int32(-1)]))), "iterations"),
        (header_of(record(6, Table([[Table(["a", "b"])] * 17, bytes(32), Byte(1), Byte(1), "x"]))), "count"),
    ],
)
def test_what_a_header_may_not_be(header: bytes, code: str) -> None:
    with pytest.raises(Malformed, match=rf"cdoc2\.header\.{code}"):
        parse_header(header)


def test_strings_end_with_zero_and_are_utf8() -> None:
    valid = header_of(record(4, Table([bytes(32)]), label="label"))
    for hostile in (valid.replace(b"label\x00", b"label\x01"), valid.replace(b"label\x00", b"lab\xffl\x00")):
        with pytest.raises(Malformed, match=r"cdoc2\.header\.string"):
            parse_header(hostile)


def test_one_part_named_by_many_offsets_is_not_read_again_and_again() -> None:
    big = bytes(3000)
    entry = record(2, Table([b"der", b"kek"]), label="x" * 4000)
    valid = bytearray(build_buffer(Table([[entry, *[record(4, Table([big[:32]]))] * 200], Byte(1)])))
    # All 201 offsets of the vector of recipients are made to point at the first record.
    count_at = valid.index((201).to_bytes(4, "little"))
    first = count_at + 4 + int.from_bytes(valid[count_at + 4 : count_at + 8], "little")
    for index in range(201):
        at = count_at + 4 + 4 * index
        valid[at : at + 4] = (first - at).to_bytes(4, "little")
    with pytest.raises(Malformed, match=r"cdoc2\.header\.overlap"):
        parse_header(bytes(valid))


VALID = build_header(ALL)


@given(data=st.data())
def test_damaged_headers_raise_malformed_and_nothing_else(data: st.DataObject) -> None:
    hostile = data.draw(damaged(VALID))
    only_raises(Malformed, lambda: parse_header(hostile))


@given(st.binary(max_size=200))
def test_noise_raises_malformed_and_nothing_else(noise: bytes) -> None:
    only_raises(Malformed, lambda: parse_header(noise))


@settings(max_examples=50)
@given(st.lists(st.integers(-64, 64), min_size=1, max_size=8), st.integers(0, len(VALID) // 4 - 1))
def test_moved_offsets_raise_malformed_and_nothing_else(moves: Sequence[int], start: int) -> None:
    hostile = bytearray(VALID)
    for index, move in enumerate(moves):
        at = 4 * ((start + 7 * index) % (len(VALID) // 4))
        moved = (int.from_bytes(hostile[at : at + 4], "little") + move) % 2**32
        hostile[at : at + 4] = moved.to_bytes(4, "little")
    only_raises(Malformed, lambda: parse_header(bytes(hostile)))
