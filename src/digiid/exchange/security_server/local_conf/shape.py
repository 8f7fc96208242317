"""The shape of the file, docs/reference/local-conf.md, and what is wrong in one by itself."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from digiid.exchange.security_server.local_conf.globs import ANY_METHOD, ANY_PATH, compile_glob
from digiid.kernel.errors import DigiidError
from digiid.kernel.identifiers import ClientId, Party, parse_party
from digiid.platform.config import Settings

MAX_CERTIFICATE_BYTES: Final = 64 * 1024
Mode = Literal["NOSSL", "SSLNOAUTH", "SSLAUTH"]
Text = Annotated[str, Field(max_length=2000)]
Code = Annotated[str, Field(max_length=100)]
# Answered by the security server itself (X-Road service metadata and monitoring): no information system has them.
RESERVED_CODES: Final = frozenset(
    (
        "listClients",
        "listMethods",
        "allowedMethods",
        "getOpenAPI",
        "getWsdl",
        "listCentralServices",
        "getSecurityServerOperationalData",
        "getSecurityServerHealthData",
        "getSecurityServerMetrics",
    )
)
_CODE = re.compile("[^\x00-\x1f\x7f-\x9f%:;/\\\\\u200b\ufeff\\s]{1,100}")


class EndpointSettings(Settings):
    """A method (or `*`) and a path below the service code: `/persons/*`; `**` alone is every path."""

    method: Literal["*", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"] = "*"
    path: Annotated[str, Field(max_length=1000)] = ANY_PATH

    @field_validator("path")
    @classmethod
    def _glob(cls, value: str) -> str:
        compile_glob(value)
        return value


class ServiceSettings(Settings):
    """A service and the information system behind it."""

    code: Code
    type: Literal["REST", "OPENAPI"] = "REST"
    base_url: Annotated[str, Field(max_length=1000)]
    tls_certificate: Annotated[str, Field(max_length=MAX_CERTIFICATE_BYTES)] = ""
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    endpoints: Annotated[tuple[EndpointSettings, ...], Field(max_length=1000)] = ()
    description_url: Annotated[str, Field(max_length=1000)] = ""
    disabled_notice: Text = ""

    @field_validator("code")
    @classmethod
    def _service_code(cls, value: str) -> str:
        if value in RESERVED_CODES:
            raise ValueError(f"{value} is answered by the security server itself")
        return _checked_code(value)

    @field_validator("base_url")
    @classmethod
    def _base(cls, value: str) -> str:
        if urlsplit(_checked_url(value)).path not in ("", "/"):
            raise ValueError("a base URL is scheme, host and port: the signed path is sent on as it is")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.base_url.startswith("https:") != bool(self.tls_certificate):
            raise ValueError("tls_certificate belongs to an https base_url, and every https base_url needs it")
        if (self.type == "OPENAPI") != bool(self.description_url):
            raise ValueError("description_url belongs to type OPENAPI, and every OPENAPI service needs it")
        if self.description_url and _origin(_checked_url(self.description_url)) != _origin(self.base_url):
            raise ValueError("description_url is at the information system of base_url")
        _check_unique(((each.method, each.path) for each in self.endpoints), "endpoint")
        return self


class GroupSettings(Settings):
    """A local group: clients of others that one client of this server gives rights to together."""

    code: Code
    description: Text = ""
    members: Annotated[tuple[str, ...], Field(max_length=10_000)] = ()

    @field_validator("code")
    @classmethod
    def _group_code(cls, value: str) -> str:
        return _checked_code(value)

    @field_validator("members")
    @classmethod
    def _parties(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        _check_unique(map(read_party, value), "member")
        return value


class RightSettings(EndpointSettings):
    """One right. Exactly one of `client`, `global_group` and `local_group` says whose."""

    client: str = ""
    global_group: Annotated[str, Field(max_length=100)] = ""
    local_group: Annotated[str, Field(max_length=100)] = ""
    service: Code

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if len([subject for subject in (self.client, self.global_group, self.local_group) if subject]) != 1:
            raise ValueError("a right has exactly one of client, global_group and local_group")
        if self.client:
            read_party(self.client)
        return self


class ClientSettings(Settings):
    """A client of this security server: how its information system proves itself, what it offers, to whom."""

    id: str
    mode: Mode = "SSLAUTH"
    certificates: Annotated[tuple[Annotated[str, Field(max_length=MAX_CERTIFICATE_BYTES)], ...], Field(max_length=100)]
    enabled: bool = True
    groups: Annotated[tuple[GroupSettings, ...], Field(max_length=1000)] = ()
    services: Annotated[tuple[ServiceSettings, ...], Field(max_length=1000)] = ()
    rights: Annotated[tuple[RightSettings, ...], Field(max_length=20_000)] = ()

    @model_validator(mode="before")
    @classmethod
    def _no_certificates(cls, values: Any) -> Any:
        return {"certificates": (), **values} if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _fits(self) -> Self:
        party = read_party(self.id)
        if self.services and not isinstance(party, ClientId):
            raise ValueError("only a subsystem offers services")
        if (self.mode == "SSLAUTH") and not self.certificates:
            raise ValueError("mode SSLAUTH needs the certificates of the information system")
        _check_unique((each.code for each in self.services), "service")
        _check_unique((each.code for each in self.groups), "group")
        groups = {each.code for each in self.groups}
        offered = {each.code: {(e.method, e.path) for e in each.endpoints} for each in self.services}
        for number, right in enumerate(self.rights):
            endpoint = (right.method, right.path)
            if right.service not in offered:
                raise ValueError(f"right {number}: there is no service {right.service}")
            if endpoint != (ANY_METHOD, ANY_PATH) and endpoint not in offered[right.service]:
                raise ValueError(f"right {number}: {right.service} has no endpoint {right.method} {right.path}")
            if right.local_group and right.local_group not in groups:
                raise ValueError(f"right {number}: there is no local group {right.local_group}")
        return self


class LocalConfSettings(Settings):
    """The whole file."""

    version: Literal[1] = 1
    clients: Annotated[tuple[ClientSettings, ...], Field(max_length=1000)] = ()

    @model_validator(mode="after")
    def _unique(self) -> Self:
        _check_unique((each.id for each in self.clients), "client")
        return self


def read_party(text: str) -> Party:
    try:
        return parse_party(text)
    except DigiidError as error:
        raise ValueError(f"{text[:80]!r} is not class/code or class/code/subsystem after an instance") from error


def _checked_code(value: str) -> str:
    if not _CODE.fullmatch(value) or value in (".", ".."):
        raise ValueError("a code has 1 to 100 characters and no white space, percent sign, colon, semicolon or slash")
    return value


def _checked_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits or not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        raise ValueError("not an http or https URL with a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("a URL here has no user, query or fragment")
    return value


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def _check_unique(items: Iterable[object], what: str) -> None:
    seen = set()
    for item in items:
        if item in seen:
            raise ValueError(f"{what} {item} is there twice")
        seen.add(item)
