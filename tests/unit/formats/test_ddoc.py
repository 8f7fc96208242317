"""DigiDoc documents read: what is one, what is refused, and that damage ends in Malformed."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from digiid.formats.asic import DataFile
from digiid.formats.ddoc import NS_DDOC_13, parse_ddoc
from digiid.kernel.errors import Malformed
from tests.support.ddoc import DdocMaker
from tests.support.pki import FILES
from tests.unit.formats.fuzz import damaged, only_raises

GOOD = DdocMaker().document()
BASE64 = '<Transforms><Transform Algorithm="http://www.w3.org/2000/09/xmldsig#base64"/></Transforms>'
VERSIONS = ("1.0", "1.1", "1.2", "1.3")
SMALL = [DdocMaker(version=version, files=FILES[:1]).document() for version in VERSIONS]


def edited(old: str, new: str, *, document: bytes = GOOD, count: int = 1) -> bytes:
    text = document.decode()
    assert old in text, old
    return text.replace(old, new, count).encode()


@pytest.mark.parametrize("version", VERSIONS)
def test_files_and_signatures_are_read(version: str) -> None:
    document = parse_ddoc(DdocMaker(version=version).document())
    assert document.form == f"DIGIDOC_XML_{version}"
    assert document.broken == ()
    assert [(file.name, file.content()) for file in document.data_files] == [(f.name, f.content) for f in FILES]
    (signature,) = document.signatures
    assert signature.claimed_roles == ("CEO",)
    assert signature.production_place is not None
    assert signature.production_place.city == "Tartu"
    assert [reference.name for reference in signature.references] == [file.name for file in FILES]


def test_a_document_with_digests_in_the_place_of_files() -> None:
    document = parse_ddoc(DdocMaker(hashcode=True).document())
    assert document.form == "DIGIDOC_XML_1.3_hashcode"
    assert document.is_hashcode
    with pytest.raises(Malformed, match=r"ddoc\.data_file"):
        document.data_files[0].content()


def test_xml_may_be_embedded_as_it_is() -> None:
    data = edited(base64.encodebytes(FILES[0].content).decode(), "<a xmlns=''><b/>c</a>", document=GOOD).replace(
        b'ContentType="EMBEDDED_BASE64"', b'ContentType="EMBEDDED"', 1
    )
    assert parse_ddoc(data).data_files[0].content() == b'<a xmlns=""><b/>c</a>'


def embedded(content: str, *, above: str = "", version: str = "1.3") -> bytes:
    """A document whose first file is XML as it is; `above` stands in the root's tag."""
    data = DdocMaker(version=version).document()
    data = edited(base64.encodebytes(FILES[0].content).decode(), content, document=data)
    data = edited('ContentType="EMBEDDED_BASE64"', 'ContentType="EMBEDDED"', document=data)
    return edited("<SignedDoc ", f"<SignedDoc {above} ", document=data)


@pytest.mark.parametrize(
    ("content", "above"),
    [
        ("<a><b/>c</a>", ""),
        ("first <a/> &amp; then <z:b/>", 'xmlns:z="urn:z"'),
        ("<a/>", "xmlns:z='urn:z?a=b'"),
        ("a &gt; b", ""),
        ("", ""),
    ],
)
def test_embedded_xml_comes_out_as_it_stands(content: str, above: str) -> None:
    expected = "a > b" if content == "a &gt; b" else content  # text alone is the file's text
    data = edited(' Filename="contract.txt"', """ Filename='"a">b'""", document=embedded(content, above=above))
    assert parse_ddoc(data).data_files[0].content() == expected.encode()


def test_a_long_namespace_above_many_elements_does_not_make_the_file_grow() -> None:
    content = "<a/>" * 5000
    data = edited("<DataFile ", f'<DataFile xmlns:z="{"u" * 16_000}" ', document=embedded(content))
    assert parse_ddoc(data).data_files[0].content() == content.encode()


ABOVE = 'xmlns:z="urn:z" xmlns:y="urn:y?a&amp;b" xmlns:xml="http://www.w3.org/XML/1998/namespace"'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<z:a/>", '<z:a xmlns:z="urn:z"/>'),
        ("<a><z:b/><z:b/></a>", '<a xmlns:z="urn:z"><z:b/><z:b/></a>'),
        ('<a z:b="1"/>', '<a xmlns:z="urn:z" z:b="1"/>'),
        ('\n <a c="1"><y:b/></a> \n', '\n <a xmlns:y="urn:y?a&amp;b" c="1"><y:b/></a> \n'),
        # a name in a value is meant as well, where the document leans on what is above it
        ('<z:a type="y:b"/>', '<z:a xmlns:y="urn:y?a&amp;b" xmlns:z="urn:z" type="y:b"/>'),
        # what the root declares itself stays, whatever a value looks like
        ('<a xmlns:y="urn:own"><y:b/><z:b/></a>', '<a xmlns:z="urn:z" xmlns:y="urn:own"><y:b/><z:b/></a>'),
        ("<a b='c xmlns:z=\"d\"'><z:b/></a>", '<a xmlns:z="urn:z" b="c xmlns:z=&quot;d&quot;"><z:b/></a>'),
    ],
)
def test_a_prefix_that_is_declared_above_the_file_comes_out_with_it(content: str, expected: str) -> None:
    document = parse_ddoc(embedded(content, above=ABOVE))
    (inside,) = document.data_files[0].element
    found = document.data_files[0].content()
    assert found == expected.encode()

    def names(root: etree._Element) -> list[tuple[str, dict[str, str]]]:
        own = f"{{{NS_DDOC_13}}}"  # the default namespace of DigiDoc, which no file meant
        return [(str(one.tag).removeprefix(own), dict(one.attrib)) for one in root.iter()]

    assert names(etree.fromstring(found)) == names(inside)


@pytest.mark.parametrize(
    "content",
    [
        "<a/>",
        '<z:a xmlns:z="urn:z"/>',
        '<a><z:b xmlns:z="urn:z"/></a>',
        '<a xml:lang="et">z: y:</a>',
        '<a xmlns="urn:own"/>',
        "<z:a/><z:b/>",  # no document: nobody can say where a declaration belongs
        "first <z:a/>",
        "<z:a/> last",
    ],
)
def test_what_is_well_formed_by_itself_or_no_document_stays_as_it_stands(content: str) -> None:
    assert parse_ddoc(embedded(content, above=ABOVE)).data_files[0].content() == content.encode()


def test_in_the_first_version_nothing_comes_out_but_what_is_digested_between_the_tags() -> None:
    """Nobody signed what is declared above it there: whoever changes that must not change the file."""
    document = parse_ddoc(embedded("<z:a/>", above=ABOVE, version="1.0"))
    file = document.data_files[0]
    assert file.content() == b"<z:a/>"
    assert document.digest(file, "sha1") == hashlib.sha1(b"<z:a/>", usedforsecurity=False).digest()


def test_a_declaration_comes_out_once_however_often_it_is_used() -> None:
    content, uri = "<z:a>" + "<z:b/>" * 5000 + "</z:a>", "u" * 4000
    declared = content.replace("<z:a", f'<z:a xmlns:z="{uri}"').encode()
    above_all = embedded(content, above=f'xmlns:z="{uri}"')
    above_one = edited("<DataFile ", f'<DataFile xmlns:z="{uri}" ', document=embedded(content))
    for data in (above_all, above_one):
        assert parse_ddoc(data).data_files[0].content() == declared


def test_namespaces_above_all_files_are_short() -> None:
    """A thousand files under one of a megabyte would be read, digested and taken out as a gigabyte."""
    for above in (
        f'xmlns:z="{"u" * 5000}"',
        f'xmlns:{"z" * 5000}="urn:z"',
        " ".join(f'xmlns:p{n}="{"u" * 400}"' for n in range(12)),
    ):
        with pytest.raises(Malformed, match=r"ddoc\.namespaces"):
            parse_ddoc(embedded("<a/>", above=above))


def test_a_file_of_more_than_ten_megabytes() -> None:
    large = DataFile("large.bin", "application/octet-stream", bytes(12_000_000))
    document = parse_ddoc(DdocMaker(files=[large]).document())
    assert len(document.data_files[0].content()) == 12_000_000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('format="DIGIDOC-XML"', 'format="OTHER"'),
        ('version="1.3"', 'version="1.4"'),
        ('version="1.3"', 'version="2.0"'),
        ("<SignedDoc", "<!DOCTYPE x><SignedDoc"),
        ('Id="D1"', 'Id="D0"'),
        ('Id="D1"', 'Id="S0"'),
        ("</SignedDoc>", "<Other/></SignedDoc>"),
        ("</SignedDoc>", "<DataFile xmlns='urn:x'/></SignedDoc>"),
        ('ContentType="EMBEDDED_BASE64"', 'ContentType="ELSEWHERE"'),
        ("</DataFile>", "<x/></DataFile>"),
        ("<Signature", "<!-- --><Signature"),
        ("<Signature", "<?x?><Signature"),
        (' Filename="contract.txt"', ""),
    ],
)
def test_what_is_no_digidoc_document(old: str, new: str) -> None:
    with pytest.raises(Malformed):
        parse_ddoc(edited(old, new))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("<KeyInfo>", "<KeyInfo/><KeyInfo>", "ddoc.structure"),
        ('Target="#S0"', 'Target="#S1"', "ddoc.target"),
        ('Id="S0-SignedProperties"', 'Id="D0"', "ddoc.duplicate_id"),
        ("REC-xml-c14n-20010315", "REC-xml-c14n-20010315#WithComments", "ddoc.algorithm"),
        ("rsa-sha1", "rsa-md5", "ddoc.algorithm"),
        ('URI="#D0"', 'URI="#S0"', "ddoc.reference"),
        ('URI="#D0"', 'URI="D0"', "ddoc.reference"),
        ('URI="#D1"', 'URI="#D0"', "ddoc.reference"),
        ('URI="#S0-SignedProperties"', 'URI="#D7"', "ddoc.reference"),
        ("<DigestValue>", BASE64 + "<DigestValue>", "ddoc.transform"),
        ("</SignedSignatureProperties>", "<SigningTime/></SignedSignatureProperties>", "ddoc.structure"),
        ("<SigningTime>20", "<SigningTime>x", "xades.date_time"),
        ("</Object>", "<QualifyingProperties xmlns='http://uri.etsi.org/01903/v1.1.1#'/></Object>", "ddoc.structure"),
    ],
)  # fmt: skip
def test_a_signature_that_cannot_be_read_is_counted(old: str, new: str, code: str) -> None:
    document = parse_ddoc(edited(old, new))
    assert document.signatures == ()
    ((signature_id, error),) = document.broken
    assert (signature_id, error.code) == ("S0", code)


def test_transforms_belong_to_the_versions_that_prescribe_them() -> None:
    old = parse_ddoc(DdocMaker(version="1.0").document())
    assert len(old.signatures) == 1
    moved = edited('format="SK-XML" version="1.0"', 'format="DIGIDOC-XML" version="1.1"', document=DdocMaker(
        version="1.0").document())  # fmt: skip
    assert parse_ddoc(moved).signatures == ()


def test_media_types_are_signed_in_the_first_version() -> None:
    changed = edited('MimeType="text/plain"', 'MimeType="text/other"', document=DdocMaker(version="1.0").document())
    ((_, error),) = parse_ddoc(changed).broken
    assert error.code == "ddoc.media_type"


def test_entities_cannot_grow() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    with pytest.raises(Malformed, match="doctype"):
        parse_ddoc(GOOD.replace(b"<SignedDoc", bomb + b"<SignedDoc", 1))


@settings(max_examples=150, deadline=None)
@given(st.one_of([damaged(document) for document in SMALL]))
def test_damaged_documents(document: bytes) -> None:
    only_raises(Malformed, lambda: parse_ddoc(document))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_noise(noise: bytes) -> None:
    only_raises(Malformed, lambda: parse_ddoc(noise))
