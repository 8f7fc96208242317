"""What the file compiles to: clients, services, and who may ask them what."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from digiid.exchange.security_server.local_conf.globs import ANY_METHOD, ANY_PATH
from digiid.exchange.security_server.local_conf.shape import Mode
from digiid.formats.exchange.paths import check_unambiguous_path
from digiid.formats.exchange.rest_message import METHODS, Header
from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import Party, ServiceId, parse_service_path

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


class Groups(Protocol):
    """The part of a global configuration (exchange.global_conf.GlobalConf) that rights depend on."""

    def is_in_group(self, client: Party, code: str) -> bool: ...


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
class Grant:
    method: str | None
    matches: Callable[[str], object]
    target: Target


@dataclass(frozen=True, slots=True)
class Rights:
    """Of one service: by client, local groups taken apart into their members; by global group."""

    service: LocalService
    prefix: str
    by_client: Mapping[Party, tuple[Grant, ...]]
    by_global_group: Mapping[str, tuple[Grant, ...]]

    def grants_of(self, client: Party, conf: Groups) -> Iterator[Grant]:
        yield from self.by_client.get(client, ())
        for code, grants in self.by_global_group.items():
            if conf.is_in_group(client, code):
                yield from grants


class LocalConf:
    """One file's content, compiled. Immutable: a change of the file makes another one."""

    __slots__ = ("_clients", "_services", "digest")

    def __init__(
        self, clients: Iterable[LocalClient] = (), services: Iterable[Rights] = (), *, digest: bytes = b""
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
