"""Errors on the exchange: their codes, and the JSON, XML and SOAP 1.1 bodies that carry them.

Codes are written in the spelling of X-Road 7.8 (`server.serverproxy.access_denied`); the spelling up to 7.7
(`Server.ServerProxy.AccessDenied`) is read as well. Nothing may depend on the case of a code or on an HTTP status.
"""

import json
import re
from dataclasses import dataclass
from typing import Final

from lxml import etree

from digiid.formats.hardened_xml import check_no_foreign_nodes, escape_text, parse_xml, text_of
from digiid.kernel.errors import Malformed

NS_SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
NS_XROAD: Final = "http://x-road.eu/xsd/xroad.xsd"
MAX_FAULT_BYTES: Final = 64 * 1024
MAX_TEXT_CHARS: Final = 4096

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*){0,7}", re.ASCII)
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PREFIXES: Final = frozenset(("server", "client", "signer", "serverproxy", "clientproxy", "opmonitor"))
_RENAMED: Final = {
    "outdated_global_conf": "global_conf_outdated",
    "hash_chain_unused_inputs": "hashchain_unused_inputs",
}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Fault:
    """An error made by the exchange. `detail` is an identifier for the log of where it happened."""

    code: str
    message: str
    detail: str = ""

    @property
    def http_status(self) -> int:
        """What an information system is told: 500 if the other side or its service failed, else 400."""
        return 500 if self.code.startswith("server.") else 400


def normalise_code(code: str) -> str:
    """A code in the spelling of 7.8, whichever spelling it came in. Raises: Malformed `exchange.fault.code`."""
    if len(code) > 256 or not _CODE.fullmatch(code):
        raise Malformed("exchange.fault.code", "not an error code")
    return ".".join(_normalise_word(word) for word in code.split("."))


def _normalise_word(word: str) -> str:
    if word.lower() in _PREFIXES:
        return word.lower()
    snake = _WORD.sub("_", word).lower()
    return _RENAMED.get(snake, snake)


def wants_xml(accept: str | None) -> bool:
    """Whether an information system's Accept header asks for XML; JSON is what it gets otherwise."""
    ranges = (each.partition(";")[0].strip().lower() for each in (accept or "").split(","))
    return any(each in ("text/xml", "application/xml", "text/*") for each in ranges)


def build_json_error(fault: Fault) -> bytes:
    """The body for `application/json;charset=utf-8`."""
    fields = {"type": fault.code, "message": fault.message, "detail": fault.detail}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def build_xml_error(fault: Fault) -> bytes:
    """The body for `text/xml` and `application/xml`."""
    code, message, detail = map(_text, (fault.code, fault.message, fault.detail))
    return f"<error><type>{code}</type><message>{message}</message><detail>{detail}</detail></error>".encode()


def build_soap_fault(fault: Fault) -> bytes:
    """The SOAP 1.1 fault that security servers tell each other errors with."""
    code, message, detail = map(_text, (fault.code, fault.message, fault.detail))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="{NS_SOAP}"><SOAP-ENV:Body>'
        f"<SOAP-ENV:Fault><faultcode>{code}</faultcode><faultstring>{message}</faultstring><faultactor></faultactor>"
        f'<detail><faultDetail xmlns="">{detail}</faultDetail></detail>'
        "</SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>"
    ).encode()


def parse_soap_fault(xml: bytes) -> Fault:
    """Read a peer's fault; its code comes out in the spelling of 7.8.

    Raises: Malformed `exchange.fault.…`.
    """
    root = parse_xml(xml, code="exchange.fault", max_bytes=MAX_FAULT_BYTES)
    check_no_foreign_nodes(root, code="exchange.fault")
    if root.tag != f"{{{NS_SOAP}}}Envelope":
        raise Malformed("exchange.fault.structure", "not a SOAP 1.1 envelope")
    fault = _only(_only(root, f"{{{NS_SOAP}}}Body"), f"{{{NS_SOAP}}}Fault")
    return Fault(
        code=normalise_code(_read(_only(fault, "faultcode")).strip()),
        message=_read(_only(fault, "faultstring")),
        detail=_read_detail(fault),
    )


def _read_detail(fault: etree._Element) -> str:
    details = [
        element
        for holder in fault.iterchildren("detail")
        for element in holder.iterchildren("faultDetail", f"{{{NS_XROAD}}}faultDetail")
    ]
    if len(details) > 1:
        raise Malformed("exchange.fault.structure", "more than one faultDetail")
    return _read(details[0]) if details else ""


def _only(parent: etree._Element, tag: str) -> etree._Element:
    found = list(parent.iterchildren(tag))
    if len(found) != 1:
        raise Malformed("exchange.fault.structure", f"{len(found)} elements {tag.rpartition('}')[2]}")
    return found[0]


def _read(element: etree._Element) -> str:
    return text_of(element, code="exchange.fault", max_chars=MAX_TEXT_CHARS)


def _text(value: str) -> str:
    """Text for a body that must come out whatever the message quotes."""
    return escape_text(_NOT_XML.sub("\ufffd", value))
