"""Whose servers stand behind this security server, and who may ask them what: one TOML file, read anew when it changes.

The rules of X-Road (reference: access rights): a right belongs to a provider, names a service, an endpoint (method or
`*`, path glob) and a subject (client, global group, local group); what no right allows is refused. Ours differ where
theirs could be left: the path is matched as it was signed and as it is sent on, and what two programs could read
differently was refused before (formats/exchange/paths).

The file is docs/reference/local-conf.md; the `…Settings` classes are its shape, `LocalConf` is what they compile to.
"""

import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, Self
from urllib.parse import urlsplit

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field, ValidationError, field_validator, model_validator

from digiid.formats.exchange.paths import check_unambiguous_path
from digiid.formats.exchange.rest_message import METHODS, Header
from digiid.kernel.errors import DigiidError, Malformed, Refused
from digiid.kernel.identifiers import ClientId, Party, ServiceId, parse_client_id, parse_party, parse_service_path
from digiid.platform.clock import Clock
from digiid.platform.config import Settings

log = structlog.get_logger("security_server")

Mode = Literal["NOSSL", "SSLNOAUTH", "SSLAUTH"]

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_CERTIFICATE_BYTES: Final = 64 * 1024
ANY_METHOD: Final = "*"
ANY_PATH: Final = "**"
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
# Frameworks obey them in place of the method or the path that was signed and matched.
_OVERRIDING: Final = frozenset(
    (
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
        "x-original-uri",
        "x-rewrite-uri",
        "x-forwarded-uri",
        "x-forwarded-path",
        "x-forwarded-prefix",
        "x-original-method",
        "x-forwarded-method",
        "x-override-url",
    )
)
_CODE = re.compile("[^\x00-\x1f\x7f-\x9f%:;/\\\\\u200b\ufeff\\s]{1,100}")
_GLOB_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})*")
_RACY_SECONDS = 2.0  # a file changed twice within a file system's tick has one modification time
_RETRY: Final = timedelta(seconds=5)

Text = Annotated[str, Field(max_length=2000)]
Code = Annotated[str, Field(max_length=100)]


class Groups(Protocol):
    """The part of a global configuration (exchange.global_conf.GlobalConf) that rights depend on."""

    def is_in_group(self, client: Party, code: str) -> bool: ...


# ------------------------------------------------------------------ the file's shape


class EndpointSettings(Settings):
    """A method (or `*`) and a path below the service code: `/persons/*`; `**` alone is every path."""

    method: Literal["*", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"] = "*"
    path: Annotated[str, Field(max_length=1000)] = ANY_PATH

    @field_validator("path")
    @classmethod
    def _glob(cls, value: str) -> str:
        _compile_glob(value)
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
        _check_unique(map(_party, value), "member")
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
            _party(self.client)
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
        party = _party(self.id)
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


# ------------------------------------------------------------------ what it compiles to


@dataclass(frozen=True, slots=True)
class LocalClient:
    """A client of this server. `certificates` are those of its information systems, DER."""

    id: Party
    mode: Mode
    certificates: frozenset[bytes]
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method or `*`, and a path glob."""

    method: str
    path: str


EVERYTHING: Final = Endpoint(ANY_METHOD, ANY_PATH)


@dataclass(frozen=True, slots=True)
class Target:
    """Where an allowed request goes: `base_url`, then the signed target as it is.

    `tls_certificate` is the only one accepted there (DER; None for plain http). `endpoint` is what allowed the request.
    """

    base_url: str
    tls_certificate: bytes | None
    timeout_seconds: float
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class LocalService:
    """A service of a client of this server. `disabled_notice` is None while it runs."""

    id: ServiceId
    type: Literal["REST", "OPENAPI"]
    target: Target
    endpoints: tuple[Endpoint, ...]
    description_url: str
    disabled_notice: str | None


@dataclass(frozen=True, slots=True)
class _Grant:
    method: str | None
    matches: Callable[[str], object]
    target: Target


@dataclass(frozen=True, slots=True)
class _Rights:
    """Of one service: by client, local groups taken apart into their members; by global group."""

    service: LocalService
    prefix: str
    by_client: Mapping[Party, tuple[_Grant, ...]]
    by_global_group: Mapping[str, tuple[_Grant, ...]]

    def grants_of(self, client: Party, conf: Groups) -> Iterator[_Grant]:
        yield from self.by_client.get(client, ())
        for code, grants in self.by_global_group.items():
            if conf.is_in_group(client, code):
                yield from grants


class LocalConf:
    """One file's content, compiled. Immutable: a change of the file makes another one."""

    __slots__ = ("_clients", "_services", "digest")

    def __init__(
        self, clients: Iterable[LocalClient] = (), services: Iterable[_Rights] = (), *, digest: bytes = b""
    ) -> None:
        self._clients = {client.id: client for client in clients}
        self._services = {rights.service.id: rights for rights in services}
        self.digest = digest

    @property
    def clients(self) -> tuple[LocalClient, ...]:
        return tuple(self._clients.values())

    def find_client(self, client: Party) -> LocalClient | None:
        """The client of this server with this identifier, also one that is not enabled."""
        return self._clients.get(client)

    def find_service(self, service: ServiceId) -> LocalService | None:
        found = self._services.get(service)
        return found.service if found else None

    def services_of(self, provider: Party) -> tuple[LocalService, ...]:
        """What this client of ours offers, in the file's order."""
        return tuple(each.service for key, each in self._services.items() if key.provider == provider)

    def authorise(
        self,
        client: Party,
        service: ServiceId,
        method: str,
        path: str,
        conf: Groups,
        *,
        headers: Iterable[Header] = (),
    ) -> Target:
        """Where this request may go. `path` is the whole signed path, `/r1/…` without query, percent-encoding as it
        is; `headers` are the signed ones: one that would make the information system see another method or path is
        refused. Takes microseconds.

        Raises: Refused `exchange.path`, `exchange.method_override`, `exchange.unknown_service`,
            `exchange.access_denied`, `exchange.service_disabled` (with the notice as `public`).
        """
        # 1 the path means one thing, and is this service's
        check_unambiguous_path(path)
        found = self._services.get(service)
        rest = _rest_of(path, service, found.prefix if found else "")
        # 2 nothing beside the path and the method says where it goes
        for name, _ in headers:
            if name[:1] in "xX" and name.lower().replace("_", "-") in _OVERRIDING:
                raise Refused("exchange.method_override", f"the header {name.lower()[:40]} would change the request")
        # 3 the service is there
        if found is None:
            raise Refused("exchange.unknown_service", f"no service {service}")
        # 4 a right allows it: the method to the letter, so that GET is not HEAD
        for grant in found.grants_of(client, conf):
            if (grant.method is None or grant.method == method) and method in METHODS and grant.matches(rest):
                break
        else:
            raise Refused("exchange.access_denied", f"{client} has no right to {method} of {service}")
        # 5 it is not switched off: only who may use it is told so
        provider = self._clients[service.provider]
        if not provider.is_enabled:
            raise Refused("exchange.service_disabled", f"{service.provider} is switched off")
        if (notice := found.service.disabled_notice) is not None:
            raise Refused("exchange.service_disabled", notice, public=notice)
        return grant.target

    def allowed_endpoints(self, client: Party, service: ServiceId, conf: Groups) -> tuple[Endpoint, ...] | None:
        """What the client may use of the service: `EVERYTHING` alone for a right to all of it; None: nothing."""
        found = self._services.get(service)
        if found is None:
            return None
        allowed = {grant.target.endpoint for grant in found.grants_of(client, conf)}
        if EVERYTHING in allowed:
            return (EVERYTHING,)
        return tuple(each for each in found.service.endpoints if each in allowed) or None


def _rest_of(path: str, service: ServiceId, prefix: str) -> str:
    """What stands below the service code: "" or from a slash on. `prefix` is how paths of the service mostly begin."""
    if prefix and path.startswith(f"{prefix}/"):
        return path[len(prefix) :]
    try:
        named, rest = parse_service_path(path)
    except Malformed as error:
        raise Refused("exchange.path", error.detail) from error
    if named != service:
        raise Refused("exchange.path", f"the path is not one of {service}")
    return rest


# ------------------------------------------------------------------ reading


def load_local_conf(file: Path) -> LocalConf:
    """Read and compile a file; certificates that it names by path are read beside it.

    Raises: Malformed `exchange.local_conf.unreadable`, `….invalid` (naming each wrong key), `….certificate`.
    """
    return _load(file)[0]


def parse_local_conf(content: bytes, *, name: str = "local configuration") -> LocalConfSettings:
    """The settings in a file's content. Raises: Malformed `exchange.local_conf.unreadable`, `….invalid`."""
    if len(content) > MAX_FILE_BYTES:
        raise Malformed("exchange.local_conf.unreadable", f"{name} is larger than {MAX_FILE_BYTES} bytes")
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise Malformed("exchange.local_conf.unreadable", f"{name}: {error}") from error
    try:
        return LocalConfSettings.model_validate(values)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in wrong[:20])
        more = f"; and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise Malformed("exchange.local_conf.invalid", f"{name}: {problems}{more}") from error


def _load(file: Path) -> tuple[LocalConf, tuple[Path, ...]]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Malformed("exchange.local_conf.unreadable", f"{file}: {error.strerror}") from error
    settings = parse_local_conf(content, name=str(file))
    certificates = _Certificates(file.parent)
    return _compile(settings, certificates, content), tuple(certificates.files)


class _Certificates:
    """Reads certificates that stand in the file (PEM) or beside it, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, bytes] = {}
        self.files: list[Path] = []

    @property
    def seen(self) -> bytes:
        return b"".join(self._known.values())

    def read(self, place: str) -> bytes:
        if place not in self._known:
            self._known[place] = self._read(place)
        return self._known[place]

    def _read(self, place: str) -> bytes:
        name = "a certificate in the file"
        if "-----BEGIN" in place:
            content = place.encode("utf-8")
        else:
            name = place
            file = self._folder / place
            self.files.append(file)
            try:
                with file.open("rb") as stream:
                    content = stream.read(MAX_CERTIFICATE_BYTES + 1)
            except (OSError, ValueError) as error:
                raise Malformed("exchange.local_conf.certificate", f"{name}: {error}") from error
        try:
            if len(content) > MAX_CERTIFICATE_BYTES:
                raise ValueError("too large")
            load = x509.load_pem_x509_certificate if b"-----BEGIN" in content else x509.load_der_x509_certificate
            return load(content).public_bytes(Encoding.DER)
        except ValueError as error:
            raise Malformed("exchange.local_conf.certificate", f"{name} is not a certificate: {error}") from error


def _compile(settings: LocalConfSettings, certificates: _Certificates, content: bytes) -> LocalConf:
    clients, services = [], []
    for client in settings.clients:
        ders = frozenset(certificates.read(each) for each in client.certificates)
        clients.append(LocalClient(_party(client.id), client.mode, ders, client.enabled))
        services += [_compile_service(client, each, certificates) for each in client.services]
    return LocalConf(clients, services, digest=hashlib.sha256(content + certificates.seen).digest())


def _compile_service(client: ClientSettings, service: ServiceSettings, certificates: _Certificates) -> _Rights:
    certificate = certificates.read(service.tls_certificate) if service.tls_certificate else None
    target = Target(service.base_url, certificate, service.timeout_seconds, EVERYTHING)
    members = {group.code: tuple(map(_party, group.members)) for group in client.groups}
    by_client: dict[Party, list[_Grant]] = {}
    by_global_group: dict[str, list[_Grant]] = {}
    for right in client.rights:
        if right.service != service.code:
            continue
        allowed = Target(
            target.base_url, target.tls_certificate, target.timeout_seconds, Endpoint(right.method, right.path)
        )
        grant = _Grant(None if right.method == ANY_METHOD else right.method, _compile_glob(right.path), allowed)
        if right.global_group:
            by_global_group.setdefault(right.global_group, []).append(grant)
            continue
        for party in (_party(right.client),) if right.client else members[right.local_group]:
            by_client.setdefault(party, []).append(grant)
    compiled = LocalService(
        id=ServiceId(parse_client_id(client.id), service.code),
        type=service.type,
        target=target,
        endpoints=tuple(Endpoint(each.method, each.path) for each in service.endpoints),
        description_url=service.description_url,
        disabled_notice=service.disabled_notice or None,
    )
    return _Rights(
        compiled,
        compiled.id.path,
        {party: tuple(grants) for party, grants in by_client.items()},
        {code: tuple(grants) for code, grants in by_global_group.items()},
    )


def _compile_glob(glob: str) -> Callable[[str], object]:
    """A function from a path to whether it fits. Raises: ValueError, not a glob of ours.

    One `*` at most in a segment, so that matching is linear; a segment that is `*` alone is never empty.
    """
    if glob == ANY_PATH:
        return _always
    if not glob.startswith("/"):
        raise ValueError("a path begins with a slash, or is ** alone")
    segments = glob.split("/")[1:]
    rest = segments[-1] == ANY_PATH
    patterns = []
    for segment in segments[:-1] if rest else segments:
        head, star, tail = segment.partition("*")
        if "*" in tail:
            raise ValueError("a segment has one * at most, and ** stands alone at the end")
        if not _GLOB_SEGMENT.fullmatch(head) or not _GLOB_SEGMENT.fullmatch(tail):
            raise ValueError("a path has only characters that may stand in one, percent-encoded where they must be")
        any_of_it = "[^/]*" if head or tail else "[^/]+"
        patterns.append(re.escape(head) + any_of_it + re.escape(tail) if star else re.escape(head))
    try:
        check_unambiguous_path(glob)
    except Refused as error:
        raise ValueError(error.detail) from error
    if "*" not in glob:
        return glob.__eq__
    pattern = "".join(f"/{each}" for each in patterns) + ("/.*" if rest else "")
    return re.compile(pattern, re.DOTALL).fullmatch


def _always(_path: str) -> bool:
    return True


def _party(text: str) -> Party:
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


# ------------------------------------------------------------------ the file that changes


@dataclass(frozen=True, slots=True)
class LocalConfAlarm:
    """The file is not what is in force: it broke at `since`, and the last good one still holds."""

    code: str
    detail: str
    since: datetime


class LocalConfFile:
    """The file as it is now. Thread-safe without a lock: a reload is done whole and then put in place.

    A new file that is broken, or gone, never opens anything: what was read last holds, `alarm` says so, and it is
    logged once. The first reading must succeed.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        """Raises: Malformed `exchange.local_conf.…`."""
        self._file, self._clock = file, clock
        self._alarm: LocalConfAlarm | None = None
        self._retry_at = datetime.max.replace(tzinfo=UTC)
        self._loaded = _load(file)
        self._seen: tuple[object, ...] | None = None

    @property
    def alarm(self) -> LocalConfAlarm | None:
        return self._alarm

    def current(self) -> LocalConf:
        """What holds now; a changed file is read first."""
        conf, files = self._loaded
        signature = self._signature(files)
        if (
            signature is not None
            and signature == self._seen
            and (not self._alarm or self._clock.now() < self._retry_at)
        ):
            return conf
        try:
            loaded = _load(self._file)
        except Malformed as error:
            self._keep_old(error, signature)
            return conf
        self._alarm = None
        if loaded[0].digest == conf.digest and loaded[1] == files:
            self._seen = signature
            return conf
        log.info("exchange.local_conf.changed", file=str(self._file), digest=loaded[0].digest.hex()[:16])
        self._loaded = loaded
        self._seen = signature if loaded[1] == files else None  # other certificates to watch: looked at once more
        return loaded[0]

    def _keep_old(self, error: Malformed, signature: tuple[object, ...] | None) -> None:
        now = self._clock.now()
        if self._alarm is None or (self._alarm.code, self._alarm.detail) != (error.code, error.detail):
            log.error("exchange.local_conf.broken", file=str(self._file), code=error.code, detail=error.detail)
            self._alarm = LocalConfAlarm(error.code, error.detail, now)
        self._seen = signature
        self._retry_at = now + _RETRY  # what is wrong may be a certificate's file, which is not watched yet

    def _signature(self, certificates: Sequence[Path]) -> tuple[object, ...] | None:
        """What changes when a file does; None while one is so new that a second change could look the same."""
        found: list[object] = []
        newest = 0.0
        for file in (self._file, *certificates):
            try:
                stat = os.stat(file)  # noqa: PTH116 for every message: pathlib's costs twice as much
            except OSError:
                found.append(None)
                continue
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
            newest = max(newest, stat.st_mtime)
        age = self._clock.now().timestamp() - newest
        return None if abs(age) < _RACY_SECONDS else tuple(found)


# ------------------------------------------------------------------ writing


@dataclass(frozen=True, slots=True)
class Offer:
    """Endpoints of a service and who may use them; several offers of one service are put together."""

    service: ServiceId
    endpoints: tuple[tuple[str, str], ...]  # (method, path below the service code); none: the whole service
    allowed: frozenset[Party]
    base_url: str
    tls_certificate: bytes | None = None  # DER
    description_url: str = ""
    timeout_seconds: float = 60.0


def build_local_conf(
    clients: Mapping[Party, Iterable[bytes]], offers: Iterable[Offer] = (), *, mode: Mode = "SSLAUTH"
) -> LocalConfSettings:
    """The settings of a server with these clients (certificates of their information systems, DER) and their offers.

    Raises: Malformed `exchange.local_conf.invalid`.
    """
    by_service: dict[ServiceId, list[Offer]] = {}
    for offer in offers:
        by_service.setdefault(offer.service, []).append(offer)
    unknown = [str(service) for service in by_service if service.provider not in clients]
    if unknown:
        raise Malformed("exchange.local_conf.invalid", f"services of no client of this server: {', '.join(unknown)}")
    try:
        return LocalConfSettings(
            clients=tuple(
                ClientSettings(
                    id=str(client),
                    mode=mode,
                    certificates=tuple(map(_pem, certificates)),
                    services=tuple(
                        _service_settings(service, found)
                        for service, found in by_service.items()
                        if service.provider == client
                    ),
                    rights=tuple(
                        right
                        for service, found in by_service.items()
                        if service.provider == client
                        for right in _right_settings(service, found)
                    ),
                )
                for client, certificates in clients.items()
            )
        )
    except ValidationError as error:
        raise Malformed("exchange.local_conf.invalid", str(error)) from error


def _service_settings(service: ServiceId, offers: Sequence[Offer]) -> ServiceSettings:
    first = offers[0]
    endpoints = dict.fromkeys(endpoint for offer in offers for endpoint in offer.endpoints)
    return ServiceSettings(
        code=service.service_code,
        type="OPENAPI" if first.description_url else "REST",
        base_url=first.base_url,
        tls_certificate=_pem(first.tls_certificate) if first.tls_certificate else "",
        timeout_seconds=first.timeout_seconds,
        endpoints=tuple(_endpoint_settings(each) for each in endpoints),
        description_url=first.description_url,
    )


def _right_settings(service: ServiceId, offers: Sequence[Offer]) -> Iterator[RightSettings]:
    for offer in offers:
        for client in sorted(offer.allowed, key=str):
            for method, path in offer.endpoints or ((ANY_METHOD, ANY_PATH),):
                # validated as what a file says, since a method is any text here
                yield RightSettings.model_validate(
                    {"client": str(client), "service": service.service_code, "method": method, "path": path}
                )


def _endpoint_settings(endpoint: tuple[str, str]) -> EndpointSettings:
    return EndpointSettings.model_validate({"method": endpoint[0], "path": endpoint[1]})


def _pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii")


def dump_local_conf(settings: LocalConfSettings) -> bytes:
    """The settings as TOML; what is as by default is left out."""
    lines = ["# Clients, services and rights of a security server: docs/reference/local-conf.md", "version = 1"]
    for client in settings.clients:
        lines += ["", "[[clients]]", *_pairs(client, ("id", "mode", "certificates", "enabled"))]
        for name, entries in (("groups", client.groups), ("services", client.services), ("rights", client.rights)):
            for entry in entries:
                lines += ["", f"[[clients.{name}]]", *_pairs(entry, type(entry).model_fields)]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _pairs(model: Settings, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        value, default = getattr(model, name), type(model).model_fields[name].default
        if value not in (default, ()):
            yield f"{name} = {_toml(value)}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, EndpointSettings):
        return f"{{ method = {_toml(value.method)}, path = {_toml(value.path)} }}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    text = str(value)
    if text.startswith("-----BEGIN") and "'" not in text:
        return f"'''\n{text}'''"
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in text) + '"'


def write_local_conf(file: Path, settings: LocalConfSettings) -> None:
    """Write the file whole or not at all; a running server takes it up with its next message.

    Raises: Malformed `exchange.local_conf.…` when what would be written cannot be read again.
    """
    content = dump_local_conf(settings)
    _compile(parse_local_conf(content, name=str(file)), _Certificates(file.parent), content)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_bytes(content)
    part.replace(file)
