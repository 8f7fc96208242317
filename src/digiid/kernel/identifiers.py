"""X-Road identifiers: members, subsystems, services and security servers (X-Road REST message protocol §4.1).

The forbidden characters are X-Road's own list of what no new identifier may contain. Comparison is exact.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from digiid.kernel.errors import Malformed

_MAX_PART_LENGTH = 100
_MAX_EXISTING_LENGTH = 255
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f%:;/\\\\\u200b\ufeff]")
_NEVER = re.compile("[\x00-\x1f\x7f-\x9f/]")  # even in an instance that was there before that list


def _decoded(part: str) -> str:
    try:
        return _checked(unquote(part, errors="strict"))
    except UnicodeDecodeError as error:
        raise Malformed("exchange.identifier", "an identifier part is not UTF-8") from error


def _checked(part: str) -> str:
    if not part or len(part) > _MAX_PART_LENGTH or _FORBIDDEN.search(part) or part in (".", ".."):
        raise Malformed("exchange.identifier", f"not an identifier part: {part!r}")
    return part


def check_existing_part(part: str) -> str:
    """A part that a signed global configuration names: existing instances hold characters that new ones may not.

    Raises: Malformed `exchange.identifier`: empty, over 255 characters, a dot segment, a control character or `/`.
    """
    if not part or len(part) > _MAX_EXISTING_LENGTH or _NEVER.search(part) or part in (".", ".."):
        raise Malformed("exchange.identifier", f"not an identifier part: {part!r}")
    return part


@dataclass(frozen=True, slots=True)
class MemberId:
    """An organisation on the exchange: `EE/GOV/70000101`."""

    instance: str
    member_class: str
    member_code: str

    def __str__(self) -> str:
        return "/".join((self.instance, self.member_class, self.member_code))

    @property
    def member(self) -> "MemberId":
        return self


@dataclass(frozen=True, slots=True)
class ClientId:
    """A subsystem on the exchange: `EE/GOV/70000101/police`."""

    instance: str
    member_class: str
    member_code: str
    subsystem: str

    def __str__(self) -> str:
        return "/".join((self.instance, self.member_class, self.member_code, self.subsystem))

    @property
    def member(self) -> MemberId:
        """The organisation whose subsystem this is."""
        return MemberId(self.instance, self.member_class, self.member_code)


Party = MemberId | ClientId


@dataclass(frozen=True, slots=True)
class ServerId:
    """A security server: `EE/GOV/70000105/state`. Its owner is a member, never a subsystem."""

    instance: str
    member_class: str
    owner_code: str
    server_code: str

    def __str__(self) -> str:
        return "/".join((self.instance, self.member_class, self.owner_code, self.server_code))

    @property
    def owner(self) -> MemberId:
        return MemberId(self.instance, self.member_class, self.owner_code)


@dataclass(frozen=True, slots=True)
class ServiceId:
    """A service that a subsystem offers: `EE/GOV/70000101/police/document-status`."""

    provider: ClientId
    service_code: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.service_code}"

    @property
    def path(self) -> str:
        """The request path `/r1/…`, every part percent-encoded on its own."""
        provider = self.provider
        parts = (provider.instance, provider.member_class, provider.member_code, provider.subsystem, self.service_code)
        return "/r1/" + "/".join(quote(part, safe="'()+,-.=") for part in parts)


def parse_client_id(text: str) -> ClientId:
    """Read `instance/class/code/subsystem`. Raises: Malformed `exchange.identifier`."""
    parts = [_decoded(part) for part in _split(text, 4)]
    return ClientId(*parts)


def parse_member_id(text: str) -> MemberId:
    """Read `instance/class/code`. Raises: Malformed `exchange.identifier`."""
    return MemberId(*(_decoded(part) for part in _split(text, 3)))


def parse_server_id(text: str) -> ServerId:
    """Read `instance/class/ownerCode/serverCode`. Raises: Malformed `exchange.identifier`."""
    return ServerId(*(_decoded(part) for part in _split(text, 4)))


def parse_party(text: str) -> Party:
    """Read a member (three parts) or a subsystem (four). Raises: Malformed `exchange.identifier`."""
    return parse_member_id(text) if text.count("/") == 2 else parse_client_id(text)


def parse_service_path(path: str) -> tuple[ServiceId, str]:
    """Read `/r1/…` into the service and the rest of the path (`""` or starting with `/`).

    Raises: Malformed `exchange.identifier`.
    """
    head, _, tail = path.partition("/r1/")
    if head or not tail:
        raise Malformed("exchange.identifier", "a service path starts with /r1/")
    parts = tail.split("/", 5)
    if len(parts) < 5:
        raise Malformed("exchange.identifier", "a service path has five parts after /r1/")
    names = [_decoded(part) for part in parts[:5]]
    rest = "/" + parts[5] if len(parts) == 6 else ""
    return ServiceId(ClientId(*names[:4]), names[4]), rest


def _split(text: str, count: int) -> list[str]:
    if len(text) > 5 * _MAX_PART_LENGTH * 3:
        raise Malformed("exchange.identifier", "identifier too long")
    parts = text.split("/")
    if len(parts) != count:
        raise Malformed("exchange.identifier", f"expected {count} parts, found {len(parts)}")
    return parts
