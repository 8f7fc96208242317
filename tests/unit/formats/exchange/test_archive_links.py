import hashlib

import pytest

from digiid.formats.exchange.archive_links import build_archive_links, parse_archive_links, verify_archive_links
from digiid.kernel.errors import Malformed, Refused


def digest(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


FILES = {"a-request-1.asice": digest(b"1"), "a-response-2.asice": digest(b"2"), "b-request-3.asice": digest(b"3")}
FIRST = build_archive_links(list(FILES.items())[:2], previous=None)
SECOND = build_archive_links(list(FILES.items())[2:], previous=(FIRST.last_digest or "", "mlog-1.zip"))


def test_the_chain_is_what_the_formula_says():
    one = hashlib.sha512(digest(b"1").hex().encode()).hexdigest()
    two = hashlib.sha512((one + digest(b"2").hex()).encode()).hexdigest()
    three = hashlib.sha512((two + digest(b"3").hex()).encode()).hexdigest()
    assert FIRST.encode().decode() == f"- - SHA-512\n{one} a-request-1.asice\n{two} a-response-2.asice\n"
    assert SECOND.encode().decode() == f"{two} mlog-1.zip SHA-512\n{three} b-request-3.asice\n"


def test_two_linked_archives_verify():
    first, second = parse_archive_links(FIRST.encode()), parse_archive_links(SECOND.encode())
    assert (first, second) == (FIRST, SECOND)
    verify_archive_links(first, dict(list(FILES.items())[:2]))
    verify_archive_links(second, dict(list(FILES.items())[2:]))


@pytest.mark.parametrize("name", list(FILES)[:2])
def test_a_file_left_out_altered_or_added_is_refused(name):
    files = dict(list(FILES.items())[:2])
    for changed in (
        {key: value for key, value in files.items() if key != name},
        files | {name: digest(b"other")},
        files | {"added.asice": digest(b"")},
    ):
        with pytest.raises(Refused):
            verify_archive_links(FIRST, changed)


def test_links_in_another_order_are_refused():
    head, one, two = FIRST.encode().splitlines(keepends=True)
    with pytest.raises(Refused):
        verify_archive_links(parse_archive_links(head + two + one), dict(list(FILES.items())[:2]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"- - SHA-1\n",
        b"- x.zip SHA-512\n",
        b"- - SHA-512\n\n",
        b"- - SHA-512\r\n",
        FIRST.encode() + FIRST.encode().splitlines(keepends=True)[1],
        FIRST.encode().replace(b"a-request", b"../a"),
        FIRST.encode().replace(b"a-request", b"\xc3\xb5"),
    ],
)
def test_anything_else_is_malformed(data):
    with pytest.raises(Malformed):
        parse_archive_links(data)
