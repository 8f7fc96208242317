"""DER reading and writing: only the one correct encoding is read."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from digiid.formats import der
from digiid.kernel.errors import Malformed


@example(-128)
@example(-32768)
@given(st.integers(min_value=-(2**200), max_value=2**200))
def test_integer_is_read_back(value: int) -> None:
    element = der.Reader(der.integer(value)).take(der.INTEGER)
    assert der.read_integer(element) == value


@given(st.lists(st.integers(0, 2**70), max_size=8), st.integers(0, 2), st.integers(0, 39))
def test_oid_is_read_back(arcs: list[int], first: int, second: int) -> None:
    dotted = ".".join(map(str, (first, second, *arcs)))
    if len(der.oid(dotted)) <= 66:
        assert der.read_oid(der.Reader(der.oid(dotted)).take()) == dotted


@given(st.frozensets(st.integers(0, 40)))
def test_named_bits_are_read_back(bits: frozenset[int]) -> None:
    assert der.read_named_bits(der.Reader(der.named_bits(bits)).take()) == bits


@given(st.datetimes(datetime(1950, 1, 1), datetime(2049, 12, 31)))
def test_times_are_read_back_to_the_second(value: datetime) -> None:
    at = value.replace(tzinfo=UTC, microsecond=0)
    assert der.read_time(der.Reader(der.utc_time(at)).take()) == at
    assert der.read_time(der.Reader(der.generalized_time(at)).take()) == at


@given(st.integers(0, 70_000))
def test_length_is_written_in_its_shortest_form(size: int) -> None:
    encoded = der.octet_string(bytes(size))
    assert der.Reader(encoded).take().content == bytes(size)


@pytest.mark.parametrize(
    ("encoded", "code"),
    [
        ("30", "der.truncated"),
        ("3001", "der.truncated"),
        ("3080", "der.length"),
        ("308100", "der.length"),
        ("30810100", "der.length"),
        ("3085000000000100", "der.length"),
        ("3084ffffffff", "der.truncated"),
        ("1f01", "der.tag"),
        ("", "der.truncated"),
    ],
)
def test_what_is_not_der_is_malformed(encoded: str, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        der.Reader(bytes.fromhex(encoded)).take()
    assert caught.value.code == code


@pytest.mark.parametrize("encoded", ["0200", "02020001", "0202ffff"])
def test_integers_not_in_their_shortest_form_are_malformed(encoded: str) -> None:
    with pytest.raises(Malformed, match=r"der\.integer"):
        der.read_integer(der.Reader(bytes.fromhex(encoded)).take())


@pytest.mark.parametrize("encoded", ["0600", "060180", "06028001", "060181"])
def test_oids_not_in_their_shortest_form_are_malformed(encoded: str) -> None:
    with pytest.raises(Malformed, match=r"der\.oid"):
        der.read_oid(der.Reader(bytes.fromhex(encoded)).take())


@pytest.mark.parametrize(
    "content", [b"2611231200Z", b"261123120000+0200", b"261323120000Z", b"20261123120000", b"20261123120000.5Z"]
)
def test_times_without_seconds_or_z_are_malformed(content: bytes) -> None:
    for tag in (der.UTC_TIME, der.GENERALIZED_TIME):
        with pytest.raises(Malformed, match=r"der\.time"):
            der.read_time(der.Reader(der.tlv(tag, content)).take())


def test_something_behind_the_end_is_malformed() -> None:
    with pytest.raises(Malformed, match=r"der\.trailing"):
        der.read_whole(der.sequence() + b"\x00", max_bytes=100)


def test_more_elements_than_the_limit_are_malformed() -> None:
    with pytest.raises(Malformed, match=r"der\.too_many"):
        der.read_whole(der.sequence(der.integer(1) * 4), max_bytes=100).all(limit=3)


def test_an_element_may_not_leave_the_one_around_it() -> None:
    # the inner OCTET STRING claims four bytes, its SEQUENCE ends after two
    with pytest.raises(Malformed, match=r"der\.truncated"):
        der.Reader(bytes.fromhex("3004040461620000")).take().enter().take()


@given(st.binary(max_size=60))
def test_reading_any_bytes_raises_nothing_but_malformed(data: bytes) -> None:
    readers = (
        der.read_integer,
        der.read_oid,
        der.read_bit_string,
        der.read_named_bits,
        der.read_time,
        der.read_boolean,
    )
    try:
        element = der.Reader(data).take()
    except Malformed:
        return
    for read in readers:
        try:
            read(element)
        except Malformed:
            pass


@pytest.mark.parametrize("content", [b"\x05\x00", b"\x04\x81\x80" + b"x" * 128, b"\x04\x82\x01\x00" + b"x" * 256])
def test_what_is_identified_is_read_in_every_length(content: bytes) -> None:
    data = b"??" + der.sequence(der.oid("2.5.29.15"), content) + b"behind"
    identifier, oid_end, end = der.identified(data, 2, len(data))
    assert (identifier, data[oid_end:end], data[end:]) == ("2.5.29.15", content, b"behind")


@given(st.binary(max_size=24), st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=300)
def test_reading_by_offsets_says_what_reading_one_by_one_says(tail: bytes, before: int, behind: int) -> None:
    data = der.sequence(der.oid("2.5.29.15"), tail)[:before] + tail
    end = len(data) - min(behind, len(data))

    def one_by_one() -> tuple[str, int, int]:
        outer = der.Reader(data, 0, end).take(der.SEQUENCE)
        first = outer.enter().take(der.OBJECT_IDENTIFIER)
        return der.read_oid(first), first.end, outer.end

    try:
        expected = one_by_one()
    except Malformed:
        with pytest.raises(Malformed):
            der.identified(data, 0, end)
    else:
        assert der.identified(data, 0, end) == expected


@given(
    st.lists(st.sampled_from([b"\x02\x01\x05", b"\x05\x00", b"\x04\x81\x80" + b"x" * 128]), max_size=4),
    st.integers(0, 6),
)
@settings(max_examples=200)
def test_fields_are_the_elements_one_after_the_other(elements: list[bytes], cut: int) -> None:
    data = b"".join(elements)
    end = len(data) - min(cut, len(data))
    tags = bytes(element[0] for element in elements)
    try:
        reader = der.Reader(data, 0, end)
        expected = [place for tag in tags for element in (reader.take(tag),) for place in (element.body, element.end)]
    except Malformed:
        with pytest.raises(Malformed):
            der.fields(data, 0, end, tags)
    else:
        assert der.fields(data, 0, end, tags) == expected
