"""ASiC-E: type, manifest, data files, oddities; and what the writer promises."""

import io
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.asic import (
    MEDIA_TYPE_ASIC_E,
    DataFile,
    add_signature_file,
    build_container,
    build_manifest,
    decode_uri,
    encode_uri,
    next_signature_name,
    parse_container,
    parse_manifest,
)
from digiid.formats.asic import container as reader
from digiid.formats.asic.archive import Part, build_archive, build_part
from digiid.kernel.errors import Malformed

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
FILE = DataFile("a.txt", "text/plain", b"hello\n")


def rebuilt(*parts: Part) -> bytes:
    return build_archive(parts)


def part(name: str, content: bytes, *, compress: bool = True) -> Part:
    return build_part(name, content, at=AT, compress=compress)


MIMETYPE = part("mimetype", MEDIA_TYPE_ASIC_E.encode(), compress=False)
MANIFEST = part("META-INF/manifest.xml", build_manifest([("a.txt", "text/plain")]))
DATA = part("a.txt", b"hello\n")


def problems(data: bytes) -> dict[str, bool]:
    return {problem.code: problem.is_error for problem in parse_container(io.BytesIO(data)).problems}


def test_the_first_bytes_name_the_type() -> None:
    data = build_container([FILE], [], at=AT)
    assert data[30:38] == b"mimetype"
    assert data[38 : 38 + len(MEDIA_TYPE_ASIC_E)] == MEDIA_TYPE_ASIC_E.encode()
    assert data[6:8] == b"\x00\x00"  # no data descriptor
    assert data[28:30] == b"\x00\x00"  # no extra field


def test_what_is_built_has_no_oddity() -> None:
    container = parse_container(io.BytesIO(build_container([FILE], [], at=AT)))
    assert container.problems == ()
    assert container.manifest == {"a.txt": "text/plain"}
    assert [entry.name for entry in container.data_files] == ["a.txt"]


def test_oddities_of_the_type_file_are_shown_and_not_fatal() -> None:
    white = part("mimetype", MEDIA_TYPE_ASIC_E.encode() + b"\n", compress=False)
    assert problems(rebuilt(white, DATA, MANIFEST)) == {"asic.mimetype.white_space": False}
    assert problems(rebuilt(DATA, MIMETYPE, MANIFEST)) == {"asic.mimetype.not_first": False}
    long = part("mimetype", (MEDIA_TYPE_ASIC_E + " " * 100).encode())
    assert problems(rebuilt(long, DATA, MANIFEST)) == {
        "asic.mimetype.compressed": False,
        "asic.mimetype.white_space": False,
    }


def test_manifest_and_container_must_agree() -> None:
    two = part("META-INF/manifest.xml", build_manifest([("a.txt", "text/plain"), ("b.txt", "text/plain")]))
    assert problems(rebuilt(MIMETYPE, DATA, two)) == {"asic.manifest.mismatch": True}
    assert problems(rebuilt(MIMETYPE, DATA, part("b.txt", b"x"), MANIFEST)) == {"asic.manifest.mismatch": True}


def test_files_that_nobody_signs_are_pointed_out() -> None:
    stray = part("META-INF/readme.txt", b"pay here instead")
    assert problems(rebuilt(MIMETYPE, DATA, MANIFEST, stray)) == {"asic.unknown_meta_file": False}


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ((DATA, MANIFEST), "asic.mimetype.missing"),
        ((part("mimetype", b"application/zip"), DATA, MANIFEST), "asic.mimetype.unknown"),
        ((MIMETYPE, DATA), "asic.manifest.missing"),
        ((MIMETYPE, part("META-INF/manifest.xml", b"<a/>")), "asic.manifest.root"),
    ],
)
def test_what_is_no_container(parts: tuple[Part, ...], code: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_container(io.BytesIO(rebuilt(*parts)))
    assert caught.value.code == code


NAMESPACE = 'xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"'


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        (f"<!DOCTYPE x []><m:manifest {NAMESPACE}/>", "asic.manifest.doctype"),
        (f'<m:manifest {NAMESPACE}><m:file-entry m:full-path="" m:media-type=""/></m:manifest>', "asic.manifest.entry"),
        (
            f"<m:manifest {NAMESPACE}>" + '<m:file-entry m:full-path="a" m:media-type="b/c"/>' * 2 + "</m:manifest>",
            "asic.manifest.duplicate",
        ),
        (f"<m:manifest {NAMESPACE}><!-- hidden --></m:manifest>", "asic.manifest.comment"),
        ("<m:manifest", "asic.manifest.xml"),
    ],
)
def test_manifests_that_are_refused(xml: str, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_manifest(xml.encode())
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("begin", "entry", "end"),
    [
        (
            f'<manifest:manifest xmlns:manifest="{reader.NS_MANIFEST}">',
            '<manifest:file-entry manifest:full-path="%x" manifest:media-type=""/>',
            "</manifest:manifest>",
        ),
        (
            f'<manifest xmlns="{reader.NS_MANIFEST}" xmlns:m="{reader.NS_MANIFEST}">',
            '<file-entry m:full-path="%x" m:media-type=""/>',
            "</manifest>",
        ),
    ],
    ids=["plain", "xml"],
)
def test_one_file_twice_among_very_many_is_found_at_once(begin: str, entry: str, end: str) -> None:
    count = (reader.MAX_MANIFEST_BYTES - len(begin + end)) // len(entry % 0xFFFF) - 1
    manifest = begin + "".join(entry % number for number in range(0x1000, 0x1000 + count)) + entry % 0x1003 + end
    started = time.process_time()
    with pytest.raises(Malformed, match="'1003' is listed twice") as caught:
        parse_manifest(manifest.encode())
    assert caught.value.code == "asic.manifest.duplicate"
    assert time.process_time() - started < 1.5  # 0.1 s; quadratic it was 4 to 9


def test_utf16_cannot_hide_a_doctype() -> None:
    xml = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x><x/>'
    with pytest.raises(Malformed) as caught:
        parse_manifest(xml.encode("utf-16"))
    assert caught.value.code == "asic.manifest.encoding"


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (DataFile("a/b.txt", "text/plain", b"x"), "asic.data_file.name"),
        (DataFile("mimetype", "text/plain", b"x"), "asic.data_file.name"),
        (DataFile("META-INF", "text/plain", b"x"), "asic.data_file.name"),
        (DataFile("..", "text/plain", b"x"), "asic.data_file.name"),
        (DataFile("a\u202etxt.exe", "text/plain", b"x"), "asic.data_file.name"),
        (DataFile("A.TXT", "text/plain", b"x"), "asic.data_file.duplicate"),
        (DataFile("b.txt", "text/plain", b""), "asic.data_file.empty"),
        (DataFile("b.txt", 'text"plain', b"x"), "asic.data_file.media_type"),
    ],
)
def test_files_that_are_not_put_into_a_container(file: DataFile, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        build_container([FILE, file], [], at=AT)
    assert caught.value.code == code


def test_adding_a_signature_leaves_every_other_byte_as_it_is() -> None:
    first = build_container([FILE], [("META-INF/signatures0.xml", b"<first/>")], at=AT)
    container = parse_container(io.BytesIO(first))
    assert next_signature_name(container) == "META-INF/signatures1.xml"
    second = add_signature_file(container, "META-INF/signatures1.xml", b"<second/>", at=AT)
    central = first.index(b"PK\x01\x02")
    assert second[:central] == first[:central]
    names = [entry.name for entry in parse_container(io.BytesIO(second)).signature_files]
    assert names == ["META-INF/signatures0.xml", "META-INF/signatures1.xml"]


def test_a_taken_signature_name_is_not_overwritten() -> None:
    container = parse_container(io.BytesIO(build_container([FILE], [("META-INF/signatures0.xml", b"<x/>")], at=AT)))
    with pytest.raises(Malformed, match="signature_name"):
        add_signature_file(container, "META-INF/signatures0.xml", b"<y/>", at=AT)


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() and text[0] != "/"))
def test_names_survive_the_way_through_a_uri(name: str) -> None:
    assert decode_uri(encode_uri(name)) == name


def test_uris_of_other_programs() -> None:
    assert decode_uri("a+b.txt") == "a+b.txt"
    assert decode_uri("a%2Bb%20c.txt") == "a+b c.txt"
    assert decode_uri("õ.txt") == "õ.txt"
    assert decode_uri("/a.txt") == "a.txt"
    assert decode_uri("//a.txt") == "//a.txt"
    assert decode_uri("%2Fa.txt") == "/a.txt"


PLAIN = build_manifest([("a.txt", "text/plain"), ("b c.txt", "")])
FIELD = (
    b'<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n'
    b'<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">\n'
    b'  <manifest:file-entry manifest:full-path="/" manifest:media-type="application/vnd.etsi.asic-e+zip" />\n'
    b'  <manifest:file-entry manifest:full-path="a.txt" manifest:media-type="text/plain" />\n'
    b"</manifest:manifest>\n"
)


@pytest.mark.parametrize("manifest", [PLAIN, FIELD])
def test_what_the_field_writes_needs_no_xml_parser(manifest: bytes) -> None:
    assert reader._read_plain_manifest(manifest) == reader._read_xml_manifest(manifest)


@given(
    st.sampled_from([PLAIN, FIELD]),
    st.integers(0, len(FIELD)),
    st.integers(0, 3),
    st.one_of(
        st.binary(max_size=3), st.sampled_from([b"&amp;", b"<!---->", b"\t", b"\r\n", b' x="1"', b"/", b"\xc3\xa4"])
    ),
)
@settings(max_examples=300)
def test_a_manifest_is_read_without_a_parser_only_when_a_parser_says_the_same(
    manifest: bytes, at: int, dropped: int, put: bytes
) -> None:
    changed = manifest[:at] + put + manifest[at + dropped :]
    plain = reader._read_plain_manifest(changed)
    assert plain is None or plain == reader._read_xml_manifest(changed)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_only_malformed_escapes_from_the_manifest_parser(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_manifest(data)
