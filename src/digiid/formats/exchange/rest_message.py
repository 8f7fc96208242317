"""The signed parts of a REST message (X-Road REST message protocol, version r1).

A part is text: a request begins with method and target, a response with status and reason; one `Name:Value` line per
header follows. Every line ends with CRLF and nothing follows the last one. What a parser read is written again byte
for byte, because these bytes are what is signed.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from digiid.kernel.errors import Malformed, Refused

Header = tuple[str, str]

METHODS: Final = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))
METHODS_WITH_BODY: Final = frozenset(("PATCH", "POST", "PUT"))  # only these are forwarded with a body

CLIENT: Final = "x-road-client"
SERVICE: Final = "x-road-service"
MESSAGE_ID: Final = "x-road-id"
REQUEST_ID: Final = "x-road-request-id"
REQUEST_HASH: Final = "x-road-request-hash"

# They belong to one connection; a part that has one of them is refused by every receiver.
HOP_BY_HOP: Final = frozenset(
    (
        "transfer-encoding",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
        "connection",
        "user-agent",
        "host",
        "content-length",
        "server",
        "expect",
    )
)
_NOT_FROM_CONSUMER = HOP_BY_HOP | {REQUEST_ID, REQUEST_HASH}
_NOT_FROM_PROVIDER = HOP_BY_HOP | {MESSAGE_ID, CLIENT, SERVICE, REQUEST_ID, REQUEST_HASH}

MAX_PART_BYTES: Final = 256 * 1024
MAX_LINE_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 256

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_TARGET = re.compile(r"/[\x21\x22\x24-\x7e]*")  # no white space, no fragment, ASCII as RFC 9112 §3.2 has it
_STATUS = re.compile(r"[1-9][0-9]{2}", re.ASCII)
_IDENTIFIER = re.compile("[^\x00-\x1f\x7f/\\\\\u200b\ufeff]+")
_IDENTIFIER_SAFE = "'()+,-.="
_MAX_IDENTIFIER_CHARS = 255


class _Part:
    """What is asked of a part's headers many times on a message's way is looked up once."""

    headers: tuple[Header, ...]

    @cached_property
    def _values(self) -> dict[str, list[str]]:
        values: dict[str, list[str]] = {}
        for name, value in self.headers:
            values.setdefault(name.lower(), []).append(value)
        return values

    def find_all(self, name: str) -> list[str]:
        """The values of a header; `name` in lower case."""
        return self._values.get(name, [])

    def get_only(self, name: str) -> str:
        """The value of a header that is there exactly once. Raises: Malformed `exchange.message.header`."""
        return _only(self.find_all(name), name)


@dataclass(frozen=True)
class RestRequest(_Part):
    """A request as it is signed. `target` is the raw path and query, percent-encoding untouched."""

    method: str
    target: str
    headers: tuple[Header, ...]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @cached_property
    def client(self) -> tuple[str, ...]:
        """The sender's identifier, decoded: three parts for a member, four for a subsystem."""
        return parse_identifier(self.get_only(CLIENT), parts=(3, 4))

    @cached_property
    def service(self) -> tuple[str, ...]:
        """The service's identifier, decoded: instance, class, code, subsystem, service code."""
        return parse_identifier("/".join(self._segments[2:7]), parts=(5,))

    @cached_property
    def _segments(self) -> list[str]:
        return self.path.split("/", 7)

    @property
    def message_id(self) -> str:
        return self.get_only(MESSAGE_ID)

    @property
    def request_id(self) -> str:
        return self.get_only(REQUEST_ID)

    def encode(self) -> bytes:
        """The bytes that are signed as `/message.xml`."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        return _encode_lines((self.method, self.target), self.headers)


@dataclass(frozen=True)
class RestResponse(_Part):
    """A response as it is signed. `reason` may be empty."""

    status: int
    reason: str
    headers: tuple[Header, ...]

    def encode(self) -> bytes:
        """The bytes that are signed as `/message.xml`."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        return _encode_lines((str(self.status), self.reason), self.headers)


# ------------------------------------------------------------------ building


def build_request(
    method: str, target: str, headers: Iterable[Header], *, fresh_message_id: str, request_id: str
) -> RestRequest:
    """What an information system asked for, as its security server signs it.

    Headers keep their order and case. `fresh_message_id` is used when the information system gave none.

    Raises: Malformed `exchange.message.…`.
    """
    kept = tuple(header for header in headers if header[0].lower() not in _NOT_FROM_CONSUMER)
    if not find_all(kept, MESSAGE_ID):
        kept += ((MESSAGE_ID, fresh_message_id),)
    request = _checked_request(RestRequest(method, target, (*kept, (REQUEST_ID, request_id))))
    _check_length(request.encode())
    return request


def build_response(
    status: int, reason: str, headers: Iterable[Header], *, request: RestRequest, request_hash: str
) -> RestResponse:
    """What the provider answered, as its security server signs it: five headers that bind it to the request are last.

    Raises: Malformed `exchange.message.…`.
    """
    kept = tuple(header for header in headers if header[0].lower() not in _NOT_FROM_PROVIDER)
    binding = (
        (MESSAGE_ID, request.message_id),
        (CLIENT, request.get_only(CLIENT)),
        (SERVICE, encode_identifier(request.service)),
        (REQUEST_ID, request.request_id),
        (REQUEST_HASH, request_hash),
    )
    response = _checked_response(RestResponse(status, reason, (*kept, *binding)))
    _check_length(response.encode())
    return response


# ------------------------------------------------------------------ parsing


def parse_request(part: bytes) -> RestRequest:
    """Read a received request part. Raises: Malformed `exchange.message.…`."""
    (method, target), headers = _decode_lines(part)
    return _checked_request(RestRequest(method, target, headers))


def parse_response(part: bytes) -> RestResponse:
    """Read a received response part. Raises: Malformed `exchange.message.…`."""
    (status, reason), headers = _decode_lines(part)
    if not _STATUS.fullmatch(status):
        raise Malformed("exchange.message.status", "the status is not three digits")
    return _checked_response(RestResponse(int(status), reason, headers))


def _checked_request(request: RestRequest) -> RestRequest:
    if request.method not in METHODS:
        raise Malformed("exchange.message.method", "not a method of the protocol")
    segments = request._segments
    if not _TARGET.fullmatch(request.target) or len(segments) < 7 or segments[1] != "r1":
        raise Malformed("exchange.message.target", "the target is not /r1/ and a service of five parts")
    _check_headers(request.headers, once=(CLIENT, MESSAGE_ID, REQUEST_ID))
    _ = request.client, request.service  # reading them is the check
    return request


def _checked_response(response: RestResponse) -> RestResponse:
    if not 100 <= response.status <= 999 or _CONTROL.search(response.reason):
        raise Malformed("exchange.message.status", "not a status and a reason")
    _check_headers(response.headers, once=(MESSAGE_ID, CLIENT, SERVICE, REQUEST_ID, REQUEST_HASH))
    parse_identifier(response.get_only(CLIENT), parts=(3, 4))
    parse_identifier(response.get_only(SERVICE), parts=(5,))
    return response


def _check_headers(headers: tuple[Header, ...], *, once: tuple[str, ...]) -> None:
    if len(headers) > MAX_HEADERS:
        raise Malformed("exchange.message.header_count", f"{len(headers)} headers, at most {MAX_HEADERS}")
    values: dict[str, str] = {}
    repeated = set()
    if _CONTROL.search("".join([value for _, value in headers])):
        raise Malformed("exchange.message.header", "not a header")
    for name, value in headers:
        lower = _lower(name)
        if not lower:
            raise Malformed("exchange.message.header", "not a header")
        if lower in HOP_BY_HOP:
            raise Malformed("exchange.message.header", f"the header {lower} belongs to one connection")
        if lower in values:
            repeated.add(lower)
        values[lower] = value
    for name in once:
        if name in repeated or name not in values:
            raise Malformed("exchange.message.header", f"the header {name} is not there once")
        if not values[name]:
            raise Malformed("exchange.message.header", f"the header {name} is empty")
    if all(name != REQUEST_ID for name, _ in headers):
        # Peers look this one up by its exact spelling.
        raise Malformed("exchange.message.header", f"the header {REQUEST_ID} is not in lower case")


@lru_cache(maxsize=1024)
def _lower(name: str) -> str:
    """A header's name in lower case; nothing when it is not one."""
    return name.lower() if _TOKEN.fullmatch(name) else ""


def _check_length(part: bytes) -> None:
    if len(part) <= MAX_LINE_BYTES:
        return
    if len(part) > MAX_PART_BYTES or max(map(len, part.split(b"\r\n"))) > MAX_LINE_BYTES:
        raise Malformed("exchange.message.too_large", "a line or the whole part is too long")


def _encode_lines(first: tuple[str, str], headers: tuple[Header, ...]) -> bytes:
    lines = (*first, *(f"{name}:{value}" for name, value in headers))
    try:
        return "".join(f"{line}\r\n" for line in lines).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Malformed("exchange.message.encoding", "text that UTF-8 cannot carry") from error


def _decode_lines(part: bytes) -> tuple[tuple[str, str], tuple[Header, ...]]:
    _check_length(part)
    if part.count(b"\n") > MAX_HEADERS + 2:
        raise Malformed("exchange.message.header_count", f"more than {MAX_HEADERS} headers")
    try:
        lines = part.decode("utf-8").split("\r\n")
    except UnicodeDecodeError as error:
        raise Malformed("exchange.message.encoding", "not UTF-8") from error
    if len(lines) < 3 or lines.pop():
        raise Malformed("exchange.message.lines", "the last line does not end with CRLF, or lines are missing")
    return (lines[0], lines[1]), tuple(_split_header(line) for line in lines[2:])


def _split_header(line: str) -> Header:
    name, colon, value = line.partition(":")
    if not colon:
        raise Malformed("exchange.message.header", "a header line without a colon")
    return name, value


# ------------------------------------------------------------------ headers and identifiers


def find_all(headers: Iterable[Header], name: str) -> list[str]:
    """The values of a header, its name compared without case."""
    return [value for key, value in headers if key.lower() == name]


def get_only(headers: Iterable[Header], name: str) -> str:
    """The value of a header that is there exactly once. Raises: Malformed `exchange.message.header`."""
    return _only(find_all(headers, name), name)


def _only(values: list[str], name: str) -> str:
    if len(values) != 1:
        raise Malformed("exchange.message.header", f"the header {name} is there {len(values)} times")
    return values[0]


@lru_cache(maxsize=4096)  # the same few come with every message
def parse_identifier(text: str, *, parts: tuple[int, ...]) -> tuple[str, ...]:
    """An identifier of so many parts, each decoded once. Raises: Malformed `exchange.message.identifier`."""
    encoded = text.split("/")
    if len(encoded) not in parts:
        raise Malformed("exchange.message.identifier", f"an identifier of {len(encoded)} parts")
    return tuple(_decode_identifier_part(part) for part in encoded)


@lru_cache(maxsize=4096)
def encode_identifier(parts: tuple[str, ...]) -> str:
    """The parts percent-encoded one by one and joined by slashes."""
    return "/".join(quote(part, safe=_IDENTIFIER_SAFE) for part in parts)


def _decode_identifier_part(part: str) -> str:
    try:
        decoded = unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("exchange.message.identifier", "an identifier part is not UTF-8") from error
    if not _IDENTIFIER.fullmatch(decoded) or decoded in (".", "..") or len(decoded) > _MAX_IDENTIFIER_CHARS:
        raise Malformed("exchange.message.identifier", "not an identifier part")
    return decoded


# ------------------------------------------------------------------ request and response belong together


def hash_request(part: bytes, *, body_sha512: bytes | None) -> str:
    """The value of x-road-request-hash: always SHA-512, whatever signs. None means that no body part was sent, which
    is not the same as an empty one.
    """
    digest = hashlib.sha512(part).digest()
    if body_sha512 is not None:
        digest = hashlib.sha512(digest + body_sha512).digest()
    return base64.b64encode(digest).decode("ascii")


def check_consistent(response: RestResponse, *, request: RestRequest, request_hash: str) -> None:
    """The response is the answer to this very request.

    Raises: Refused `exchange.inconsistent_response`, naming the first header that differs.
    """
    same = {
        CLIENT: parse_identifier(response.get_only(CLIENT), parts=(3, 4)) == request.client,
        MESSAGE_ID: response.get_only(MESSAGE_ID) == request.message_id,
        SERVICE: parse_identifier(response.get_only(SERVICE), parts=(5,)) == request.service,
        REQUEST_ID: response.get_only(REQUEST_ID) == request.request_id,
        REQUEST_HASH: hmac.compare_digest(response.get_only(REQUEST_HASH).encode(), request_hash.encode()),
    }
    for name, is_same in same.items():
        if not is_same:
            raise Refused("exchange.inconsistent_response", f"{name} is not the request's")
