"""Canonical XML of a part of a document, checked against the Recommendation by hand; and what the parser refuses."""

import pytest
from lxml import etree

from digiid.formats.hardened_xml import C14N_10, C14N_11, C14N_EXCLUSIVE, canonicalize, parse_xml
from digiid.kernel.errors import Malformed


def part(document: str, *path: int, algorithm: str = C14N_10) -> str:
    element = parse_xml(document.encode(), code="test.xml", max_bytes=10_000)
    for index in path:
        element = element[index]
    return canonicalize(element, algorithm).decode()


@pytest.mark.parametrize("algorithm", [C14N_10, C14N_11])
@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        # A default namespace that is inherited is written once, at the apex, however deep the rest is.
        (
            '<a xmlns="u:a"><b xmlns="u:b"><c><d><e>x</e></d></c></b></a>',
            (0, 0),
            '<c xmlns="u:b"><d><e>x</e></d></c>',
        ),
        (
            '<a xmlns="u:a"><b xmlns="u:b"><c><d><e>x</e></d></c></b></a>',
            (0,),
            '<b xmlns="u:b"><c><d><e>x</e></d></c></b>',
        ),
        ('<a xmlns="u:a"><b><c xmlns=""><d/></c></b></a>', (0,), '<b xmlns="u:a"><c xmlns=""><d></d></c></b>'),
        # Prefixes of ancestors come along in the inclusive form.
        (
            '<p:a xmlns:p="u:p" xmlns="u:a"><b y="2" x="1&#10;"><q:c xmlns:q="u:q">&#13;</q:c></b></p:a>',
            (0,),
            '<b xmlns="u:a" xmlns:p="u:p" x="1&#xA;" y="2"><q:c xmlns:q="u:q">&#xD;</q:c></b>',
        ),
        ("<a><b><c><d/></c></b></a>", (0,), "<b><c><d></d></c></b>"),
    ],
)
def test_a_part_with_what_it_inherits(algorithm: str, document: str, path: tuple[int, ...], expected: str) -> None:
    assert part(document, *path, algorithm=algorithm) == expected


def test_the_exclusive_form_leaves_out_what_is_not_used() -> None:
    document = '<p:a xmlns:p="u:p" xmlns="u:a"><b><c><d/></c></b></p:a>'
    assert part(document, 0, algorithm=C14N_EXCLUSIVE) == '<b xmlns="u:a"><c><d></d></c></b>'


def test_text_after_the_element_is_not_part_of_it() -> None:
    assert part('<a xmlns="u:a"><b/>tail</a>', 0) == '<b xmlns="u:a"></b>'


def test_long_text_is_read_only_where_it_is_expected() -> None:
    document = b"<a>" + b"x" * 10_000_001 + b"</a>"
    with pytest.raises(Malformed):
        parse_xml(document, code="test.xml", max_bytes=20_000_000)
    root = parse_xml(document, code="test.xml", max_bytes=20_000_000, has_long_text=True)
    assert len(root.text or "") == 10_000_001
    assert isinstance(root, etree._Element)


def test_depth_is_bounded_for_long_text_as_well() -> None:
    with pytest.raises(Malformed, match="depth"):
        parse_xml(b"<a>" * 100 + b"</a>" * 100, code="test.xml", max_bytes=10_000, has_long_text=True)
    with pytest.raises(Malformed):
        parse_xml(b"<a>" * 10_000 + b"</a>" * 10_000, code="test.xml", max_bytes=100_000)


@pytest.mark.parametrize(
    "declared",
    [
        f'xmlns:a="{"u" * 20_000}"',
        f"xmlns:a = '{'u' * 20_000}'",
        f'xmlns:{"p" * 20_000}="u:a"',
        " ".join(f'xmlns:p{n}="{"u" * 1000}"' for n in range(20)),
        # what looks like one and is none hides none
        f"""b='xmlns:c="' xmlns:a="{"u" * 20_000}\"""",
        f'b="xmlns" xmlns:a="{"u" * 20_000}"',
        f'xmlns="{"u" * 10_000}"><b xmlns:b="{"u" * 10_000}"/></a><a',
    ],
)
def test_long_namespaces_in_scope_of_an_element_are_refused(declared: str) -> None:
    """Every part that is signed would be written with all of them."""
    document = f"<r><a {declared}/></r>"
    with pytest.raises(Malformed, match=r"test\.xml\.namespaces"):
        parse_xml(document.encode(), code="test.xml", max_bytes=100_000)


@pytest.mark.parametrize(
    "document",
    [
        b'<a xmlns="ht}p://x"/>',
        b'<a xmlns="ht&#125;p://x"/>',
        b'<a xmlns="ht&#x7d;p://x"/>',
        b'<a><b xmlns="}"/></a>',
        b'<a xmlns:p="x}y" p:b=""/>',
    ],
)
@pytest.mark.parametrize("before", [b"", b"<?x?>", b"<?xm enc-8?>"])
@pytest.mark.parametrize("has_long_text", [False, True])
def test_a_namespace_with_a_brace_is_refused(document: bytes, before: bytes, has_long_text: bool) -> None:
    """libxml2 refuses most of them as no URIs, and not all."""
    with pytest.raises(Malformed, match=r"test\.xml\.(xml|namespaces)"):
        parse_xml(before + document, code="test.xml", max_bytes=1000, has_long_text=has_long_text)


@pytest.mark.parametrize("has_long_text", [False, True])
def test_a_namespace_with_a_brace_that_the_library_takes_is_refused(has_long_text: bool) -> None:
    """Behind the complaint about another namespace libxml2 forgets the one about the brace."""
    document = b'<a xmlns="ht}p://x#"><b xmlns="httv1.3.0#">d</b></a>'
    assert etree.fromstring(document) is not None
    with pytest.raises(Malformed, match=r"test\.xml\.namespaces"):
        parse_xml(document, code="test.xml", max_bytes=1000, has_long_text=has_long_text)


def test_a_brace_elsewhere_is_read() -> None:
    root = parse_xml(b'<a b="}">{}&#125;</a>', code="test.xml", max_bytes=1000)
    assert (root.get("b"), root.text) == ("}", "{}}")


def test_long_namespaces_that_no_element_shares_are_read() -> None:
    document = "<a>" + "".join(f'<b xmlns:c="{"u" * 10_000}" d="xmlns"/>' for _ in range(5)) + "</a>"
    assert len(parse_xml(document.encode(), code="test.xml", max_bytes=100_000)) == 5
