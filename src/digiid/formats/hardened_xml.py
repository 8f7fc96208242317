"""XML from strangers: no DTD, no entities, no network, no processing instructions, bounded in size and depth.

Canonicalization is limited to what lxml does exactly: Canonical XML 1.0 (W3C REC 2001-03-15) and Exclusive
Canonical XML 1.0. Canonical XML 1.1 gives the same bytes as 1.0 unless an ancestor of the apex carries an
attribute of the xml namespace; such documents are refused instead of being canonicalized wrongly.
"""

import binascii
import re
from collections.abc import Mapping

from lxml import etree

from digiid.kernel.errors import Malformed

C14N_10 = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
C14N_11 = "http://www.w3.org/2006/12/xml-c14n11"
C14N_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"

# Documents with comments in the canonicalized part are refused, so the WithComments forms give the same bytes.
_IS_EXCLUSIVE = {
    C14N_10: False,
    C14N_10 + "#WithComments": False,
    C14N_11: False,
    C14N_11 + "#WithComments": False,
    C14N_EXCLUSIVE: True,
    C14N_EXCLUSIVE + "WithComments": True,
}

_MAX_DEPTH = 64
# libxml2 canonicalizes in time that grows with the square of these; no document of the field comes near.
_MAX_NAMESPACES = 48  # in scope of one element
_MAX_NAMESPACES_BYTES = 16 * 1024  # of their prefixes and names: each part that is signed is written with all of them
_MAX_ATTRIBUTES = 48  # of one element
_SMALL_BYTES = 16 * 1024  # attributes and namespaces in so little cost nothing, wherever they are


def _parser(*, huge_tree: bool) -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=huge_tree,
        remove_pis=False,
        remove_comments=False,
        remove_blank_text=False,
        collect_ids=False,
        recover=False,
    )


_PARSER = _parser(huge_tree=False)
_LONG_TEXT_PARSER = _parser(huge_tree=True)
_TOO_DEEP = etree.XPath("boolean(" + "/*" * _MAX_DEPTH + ")")
_TOO_MANY_ATTRIBUTES = etree.XPath(f"boolean(//*[count(@*) > {_MAX_ATTRIBUTES}])")
_HAS_BRACE = etree.XPath("boolean(//*[contains(namespace-uri(), '}')] | //@*[contains(namespace-uri(), '}')])")
_XML_ATTRIBUTE = "{http://www.w3.org/XML/1998/namespace}"
_WHITE = re.compile(r"[ \t\r\n]+")
_DECLARATION = re.compile(
    rb"xmlns(?::[^\s=]{1,%(most)d}+)?+\s{0,99}+=\s{0,99}+(?:\"[^\"]{0,%(most)d}+\"|'[^']{0,%(most)d}+')"
    % {b"most": _MAX_NAMESPACES_BYTES}
)


def parse_xml(data: bytes, *, code: str, max_bytes: int, has_long_text: bool = False) -> etree._Element:
    """The root element of a UTF-8 document. `has_long_text` lifts libxml2's limit of 10 MB on one text.

    Raises: Malformed `<code>.too_large`, `.encoding`, `.doctype`, `.xml`, `.depth`, `.namespaces`,
        `.attributes`.
    """
    if len(data) > max_bytes:
        raise Malformed(f"{code}.too_large", f"{len(data)} bytes, at most {max_bytes}")
    # Only UTF-8 is read, so a DOCTYPE cannot hide from this search behind another encoding.
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"{code}.encoding", "not UTF-8") from error
    if b"!" in data and (b"<!DOCTYPE" in data or b"<!ENTITY" in data):
        raise Malformed(f"{code}.doctype", "a document type declaration is not allowed")
    try:
        root = etree.fromstring(data, _LONG_TEXT_PARSER if has_long_text else _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Malformed(f"{code}.xml", f"not well-formed: {error}") from error
    info = root.getroottree().docinfo
    if (info.encoding or "UTF-8").upper() not in ("UTF-8", "US-ASCII", "ASCII"):
        raise Malformed(f"{code}.encoding", f"declares encoding {info.encoding}, only UTF-8 is read")
    if info.internalDTD is not None:
        raise Malformed(f"{code}.doctype", "a document type declaration is not allowed")
    if has_long_text and _TOO_DEEP(root):
        raise Malformed(f"{code}.depth", f"elements nested more than {_MAX_DEPTH} deep")
    # No URI has one, and lxml, which writes a name as {namespace}local, could not tell where such a namespace ends.
    if (b"}" in data or b"&#" in data) and _HAS_BRACE(root):
        raise Malformed(f"{code}.namespaces", "a namespace with a brace in its name")
    _check_width(root, data, code)
    return root


def _check_width(root: etree._Element, data: bytes, code: str) -> None:
    if len(data) <= _SMALL_BYTES and data.count(b"xmlns") <= _MAX_NAMESPACES:
        return
    if _may_declare_much(data):
        for element in root.iter(etree.Element):
            namespaces = element.nsmap
            if len(namespaces) > _MAX_NAMESPACES:
                raise Malformed(f"{code}.namespaces", f"more than {_MAX_NAMESPACES} namespaces in scope of one element")
            if namespaces_bytes(namespaces) > _MAX_NAMESPACES_BYTES:
                text = f"namespaces of more than {_MAX_NAMESPACES_BYTES} bytes in scope of one element"
                raise Malformed(f"{code}.namespaces", text)
    if len(data) > _SMALL_BYTES and _TOO_MANY_ATTRIBUTES(root):
        raise Malformed(f"{code}.attributes", f"more than {_MAX_ATTRIBUTES} attributes on one element")


def _may_declare_much(data: bytes) -> bool:
    """False where all declarations together are few and short, as in nearly every document; then no element has to be
    asked what is in scope of it."""
    if data.count(b"xmlns") > _MAX_NAMESPACES:
        return True
    at, total = data.find(b"xmlns"), 0
    while at >= 0 and total <= _MAX_NAMESPACES_BYTES:
        found = _DECLARATION.match(data, at)
        if found is None:
            return True
        total += found.end() - at
        at = data.find(b"xmlns", at + 1)  # not behind what was found: in a value it may reach over a true one
    return total > _MAX_NAMESPACES_BYTES


def namespaces_bytes(namespaces: Mapping[str | None, str]) -> int:
    """How long prefixes and names are together, in UTF-8."""
    return sum(len((prefix or "").encode()) + len(name.encode()) for prefix, name in namespaces.items())


def check_no_foreign_nodes(element: etree._Element, *, code: str) -> None:
    """Inside `element` there are only elements and text: a comment could split a value, a PI is never needed.

    Raises: Malformed `<code>.comment`, `<code>.processing_instruction`, `<code>.entity`.
    """
    if next(element.iter(etree.Comment, etree.ProcessingInstruction, etree.Entity), None) is None:
        return
    for kind, name in (
        (etree.Comment, "comment"),
        (etree.ProcessingInstruction, "processing_instruction"),
        (etree.Entity, "entity"),
    ):
        if next(element.iter(kind), None) is not None:
            raise Malformed(f"{code}.{name}", f"a {name.replace('_', ' ')} inside {etree.QName(element).localname}")


def is_c14n(algorithm: str) -> bool:
    """True if `canonicalize` knows the algorithm."""
    return algorithm in _IS_EXCLUSIVE


def canonicalize(element: etree._Element, algorithm: str) -> bytes:
    """Canonical bytes of the subtree. The caller has checked `is_c14n` and `check_no_foreign_nodes`.

    Raises: Malformed `xml.inherited_attribute`, an ancestor has an xml:* attribute (C14N 1.0 and 1.1 differ there);
        `xml.c14n`, it has no canonical form: a relative namespace URI (Canonical XML §1.1).
    """
    exclusive = _IS_EXCLUSIVE[algorithm]
    if not exclusive and _has_xml_above(element):
        raise Malformed("xml.inherited_attribute", "an xml:* attribute above a signed element")
    if not exclusive and None in element.nsmap and element.getparent() is not None:
        # libxml2 2.14 forgets an inherited default namespace below the second level and writes xmlns="" there; as a
        # document of its own, with its inherited declarations written out, the same element comes out right.
        element = etree.fromstring(etree.tostring(element, encoding="utf-8", with_tail=False), _LONG_TEXT_PARSER)
    return write_canonical(element, exclusive=exclusive)


def _has_xml_above(element: etree._Element) -> bool:
    for ancestor in element.iterancestors():
        for name in ancestor.keys():  # noqa: SIM118 - an element's attributes, and its children without it
            if name.startswith(_XML_ATTRIBUTE):
                return True
    return False


def canonicalize_root_without(root: etree._Element, child: etree._Element, algorithm: str) -> bytes:
    """Canonical bytes of the document element without `child`: the enveloped-signature transform. Removes `child`.

    Raises: Malformed `xml.c14n`.
    """
    tail, previous = child.tail, child.getprevious()
    root.remove(child)
    if tail:  # lxml drops the text after a removed element; the transform keeps it
        if previous is None:
            root.text = (root.text or "") + tail
        else:
            previous.tail = (previous.tail or "") + tail
    return write_canonical(root, exclusive=_IS_EXCLUSIVE[algorithm])


def write_canonical(element: etree._Element, *, exclusive: bool = False) -> bytes:
    """Canonical bytes of an element of which the caller knows that libxml2 sees all that is in scope of it.

    Raises: Malformed `xml.c14n`.
    """
    try:
        return etree.tostring(element, method="c14n", exclusive=exclusive, with_comments=False)
    except etree.C14NError as error:
        raise Malformed("xml.c14n", "it has no canonical form: a relative namespace URI?") from error


def text_of(element: etree._Element, *, code: str, max_chars: int = 4096) -> str:
    """The text of an element that has no child.

    Raises: Malformed `<code>.value`.
    """
    if len(element):
        raise Malformed(f"{code}.value", f"{etree.QName(element).localname} has children")
    text = element.text or ""
    if len(text) > max_chars:
        raise Malformed(f"{code}.value", f"{etree.QName(element).localname} is longer than {max_chars} characters")
    return text


def base64_of(element: etree._Element, *, code: str, max_bytes: int) -> bytes:
    """The decoded base64Binary of an element; white space is allowed (XML Schema §3.2.16), nothing else is.

    Raises: Malformed `<code>.base64`, `<code>.value`.
    """
    text = element.text or ""
    if len(element) or len(text) > max_bytes * 2 + 64:
        text = text_of(element, code=code, max_chars=max_bytes * 2 + 64)  # which says what is wrong
    try:
        value = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # white space, or not base64 at all
        text = _WHITE.sub("", text)
        try:
            value = binascii.a2b_base64(text, strict_mode=True)
        except ValueError as error:
            raise Malformed(f"{code}.base64", f"{etree.QName(element).localname} is not base64") from error
    if len(text) != 4 * ((len(value) + 2) // 3):  # strict mode lets superfluous padding pass
        raise Malformed(f"{code}.base64", f"{etree.QName(element).localname} has too much padding")
    if len(value) > max_bytes:
        raise Malformed(f"{code}.value", f"{etree.QName(element).localname} is longer than {max_bytes} bytes")
    return value


_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_ATTRIBUTE = str.maketrans(
    {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"},
)
_PLAIN = re.compile(r"[A-Za-z0-9 ._~/%+-]*")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escape_text(value: str) -> str:
    """Text as Canonical XML writes it (§2.3).

    Raises: Malformed `xml.character`, the value has a character that XML cannot carry.
    """
    if _PLAIN.fullmatch(value):
        return value
    if _NOT_XML.search(value):
        raise Malformed("xml.character", "a character that XML does not allow")
    return value.translate(_TEXT)


def escape_attribute(value: str) -> str:
    """An attribute value as Canonical XML writes it (§2.3), to stand between double quotes.

    Raises: Malformed `xml.character`.
    """
    if _PLAIN.fullmatch(value):
        return value
    if _NOT_XML.search(value):
        raise Malformed("xml.character", "a character that XML does not allow")
    return value.translate(_ATTRIBUTE)
