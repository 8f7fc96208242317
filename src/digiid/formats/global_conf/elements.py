"""Reading and writing the XML of configurations: one way for all four documents.

Children are found by name: order is only promised in what we write. Elements that are not known are passed over, so
that a newer version can add some; what is known and may stand once is refused when it stands twice.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from lxml import etree

from digiid.formats.hardened_xml import base64_of, escape_attribute, escape_text, parse_xml, text_of
from digiid.formats.x509.parts import MAX_CERTIFICATE_BYTES, certificate_der, load_certificate
from digiid.kernel.errors import Malformed

CODE: Final = "exchange.global_conf"
NS_XROAD: Final = "http://x-road.eu/xsd/xroad.xsd"
NS_IDENTIFIERS: Final = "http://x-road.eu/xsd/identifiers"
NAMESPACES: Final = f'xmlns:ns2="{NS_IDENTIFIERS}" xmlns:ns3="{NS_XROAD}"'
DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
OBJECT_TYPE: Final = f"{{{NS_IDENTIFIERS}}}objectType"

_MAX_TEXT: Final = 4096
_PEM: Final = b"-----BEGIN"
_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


# ------------------------------------------------------------------ reading


def parse_root(data: bytes, name: str, *, max_bytes: int) -> etree._Element:
    """The root element, which is `name` in X-Road's namespace. Raises: Malformed `exchange.global_conf.…`."""
    root = parse_xml(data, code=CODE, max_bytes=max_bytes)
    if root.tag != f"{{{NS_XROAD}}}{name}":
        raise Malformed("exchange.global_conf.root", f"the document is not {name}")
    return root


def children(parent: etree._Element, name: str) -> Iterator[etree._Element]:
    """The children of that name, comments between them passed over."""
    return parent.iterchildren(name)


def child(parent: etree._Element, name: str) -> etree._Element | None:
    """The one child of that name. Raises: Malformed `exchange.global_conf.twice`."""
    found = list(parent.iterchildren(name))
    if len(found) > 1:
        raise Malformed("exchange.global_conf.twice", f"{name} stands {len(found)} times")
    return found[0] if found else None


def needed(parent: etree._Element, name: str) -> etree._Element:
    """The one child of that name. Raises: Malformed `exchange.global_conf.absent`, `.twice`."""
    found = child(parent, name)
    if found is None:
        raise Malformed("exchange.global_conf.absent", f"there is no {name}")
    return found


def text(parent: etree._Element, name: str) -> str:
    """The text of a child that has to be there and not be empty. Raises: Malformed `exchange.global_conf.…`."""
    value = maybe_text(parent, name)
    if not value:
        raise Malformed("exchange.global_conf.absent", f"there is no {name}, or it is empty")
    return value


def maybe_text(parent: etree._Element, name: str) -> str | None:
    """The text of a child, stripped; None when it is not there. Raises: Malformed `exchange.global_conf.…`."""
    found = child(parent, name)
    return None if found is None else content(found)


def content(element: etree._Element) -> str:
    """An element's own text, stripped. Raises: Malformed `exchange.global_conf.value`."""
    return text_of(element, code=CODE, max_chars=_MAX_TEXT).strip()


def number(parent: etree._Element, name: str, *, default: int) -> int:
    """A whole number of at most nine digits. Raises: Malformed `exchange.global_conf.value`."""
    value = maybe_text(parent, name)
    if value is None:
        return default
    if not _NUMBER.fullmatch(value):
        raise Malformed("exchange.global_conf.value", f"{name} is not a number of at most nine digits")
    return int(value)


def flag(parent: etree._Element, name: str, *, default: bool) -> bool:
    """An xs:boolean. Raises: Malformed `exchange.global_conf.value`."""
    value = maybe_text(parent, name)
    if value is None:
        return default
    if value not in ("true", "false", "1", "0"):
        raise Malformed("exchange.global_conf.value", f"{name} is not true or false")
    return value in ("true", "1")


def parse_instant(value: str) -> datetime:
    """An xs:dateTime with its zone, in UTC. Raises: Malformed `exchange.global_conf.time`."""
    if not _INSTANT.fullmatch(value):
        raise Malformed("exchange.global_conf.time", f"not an instant with a zone: {value[:40]!r}")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Malformed("exchange.global_conf.time", f"not an instant: {value[:40]!r}") from error


def certificate(element: etree._Element) -> x509.Certificate:
    """base64 of DER, or base64 of a PEM text: real files have both. Raises: Malformed `exchange.global_conf.…`."""
    data = base64_of(element, code=CODE, max_bytes=2 * MAX_CERTIFICATE_BYTES)
    try:
        if data.lstrip().startswith(_PEM):
            data = certificate_der(x509.load_pem_x509_certificate(data))
        return load_certificate(data)
    except (ValueError, Malformed) as error:
        name = etree.QName(element).localname
        raise Malformed("exchange.global_conf.certificate", f"{name} holds no certificate that can be read") from error


def certificates(parent: etree._Element, name: str) -> tuple[x509.Certificate, ...]:
    return tuple(certificate(element) for element in parent.iterchildren(name))


# ------------------------------------------------------------------ writing


def element(name: str, value: str | None) -> str:
    """`<name>value</name>`, nothing when there is no value."""
    return "" if value is None else f"<{name}>{escape_text(value)}</{name}>"


def wrap(name: str, *inside: str, **attributes: str) -> str:
    """`<name a="…">…</name>` around what is XML already."""
    told = "".join(f' {key}="{escape_attribute(value)}"' for key, value in attributes.items())
    return f"<{name}{told}>{''.join(inside)}</{name}>"


def base64_element(name: str, value: bytes) -> str:
    return f"<{name}>{base64.b64encode(value).decode('ascii')}</{name}>"


def certificate_element(name: str, value: x509.Certificate | None) -> str:
    """base64 of DER; nothing when there is none."""
    return "" if value is None else base64_element(name, certificate_der(value))


def certificate_elements(name: str, values: Iterable[x509.Certificate]) -> str:
    return "".join(certificate_element(name, one) for one in values)


def document(root: str, *inside: str) -> bytes:
    """The whole document: root in X-Road's namespace, children unqualified."""
    return f"{DECLARATION}<ns3:{root} {NAMESPACES}>{''.join(inside)}</ns3:{root}>\n".encode()


def build_instant(at: datetime) -> str:
    """An instant in UTC with milliseconds. Raises: ValueError when it has no zone."""
    if at.tzinfo is None:
        raise ValueError("an instant needs a zone")
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
