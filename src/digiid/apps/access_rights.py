"""Access rights of a state's services: what the contracts give, and what its operator gives beside them.

What the contracts give is written anew at each start (`offered.toml` of a security server); what the operator gave is
kept (`granted-rights.toml`). What the server judges by, `rights.toml`, is always made of both, here and nowhere else.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import structlog

from digiid.apps.central import PRIVATE_SERVER, STATE_SERVER
from digiid.apps.state import StateFolder, write_new
from digiid.contracts.openings import Endpoint, list_openings
from digiid.exchange.central_server.use_cases import access_rights as central
from digiid.exchange.central_server.use_cases.deps import Deps
from digiid.exchange.granted_rights import (
    FILE_NAME,
    MAX_RIGHTS,
    GrantedRight,
    dump_granted_rights,
    load_granted_rights,
    locked,
)
from digiid.exchange.security_server.local_conf import (
    LocalConfSettings,
    RightSettings,
    add_rights,
    parse_local_conf,
    write_local_conf,
)
from digiid.kernel.errors import Conflict, Malformed, NotFound, Refused
from digiid.kernel.identifiers import ClientId, Party, ServiceId, parse_client_id

OFFERED: Final = "offered.toml"
RIGHTS: Final = "rights.toml"
_NOTE: Final = "Written by the state at each start and by `digiid exchange grant` and `revoke`. Changes are lost."
_SERVERS: Final = (STATE_SERVER, PRIVATE_SERVER)
log = structlog.get_logger("exchange")


class Origin(StrEnum):
    """Whence a right is, or why one that was given does not count."""

    CONTRACT = "contract"
    GRANTED = "granted"
    NOT_OPEN = "not_open"  # the contracts of this version do not open it any more


@dataclass(frozen=True, slots=True)
class Right:
    """One right, for who looks. `subject` is a subsystem or a global group's code. Of a granted one: `basis` by what
    right its holder is answered, None when it does not count any more; when it was given, and by whom."""

    subject: str
    service: str
    endpoint: Endpoint
    origin: Origin
    basis: str | None = None
    granted_at: datetime | None = None
    granted_by: str | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """What a command did: the endpoints that it changed, those that it found so, and those that a contract gives."""

    changed: tuple[Endpoint, ...]
    unchanged: tuple[Endpoint, ...]
    by_contract: tuple[Endpoint, ...]
    basis: str


# ------------------------------------------------------------------ what the servers are given


def put_in_force(exchange: Path) -> None:
    """Make the rights of the state's servers of what the contracts and the operator give. A server that runs takes them
    up with its next message. Call it under `locked`.

    Raises: Malformed `config.…` when the operator's file cannot be read, `exchange.local_conf.…`.
    """
    granted, openings = load_granted_rights(exchange / FILE_NAME), list_openings()
    for server in _SERVERS:
        folder = exchange / server.server_code
        if not (folder / OFFERED).exists():
            continue
        offered = _read_offered(folder)
        services = _services(offered)
        own = [right for right in granted if right.service_id in services]
        for right in own:
            if not _is_open(right, services, openings):
                log.warning("exchange.right_not_open", subject=right.subject, service=right.service, path=right.path)
        counting = [right for right in own if _is_open(right, services, openings)]
        write_local_conf(folder / RIGHTS, add_rights(offered, map(_settings_of, counting)), note=_NOTE)


def _settings_of(right: GrantedRight) -> tuple[ServiceId, RightSettings]:
    service = right.service_id
    values = {"client": right.client, "global_group": right.global_group, "method": right.method, "path": right.path}
    return service, RightSettings.model_validate({**values, "service": service.service_code})


def _is_open(
    right: GrantedRight,
    services: Mapping[ServiceId, tuple[Endpoint, ...]],
    openings: Mapping[ServiceId, Mapping[Endpoint, str]],
) -> bool:
    return right.endpoint in services.get(right.service_id, ()) and right.endpoint in openings.get(right.service_id, ())


def _read_offered(folder: Path) -> LocalConfSettings:
    file = folder / OFFERED
    return parse_local_conf(file.read_bytes(), name=str(file))


def _services(offered: LocalConfSettings) -> dict[ServiceId, tuple[Endpoint, ...]]:
    return {
        ServiceId(parse_client_id(client.id), service.code): tuple(
            (each.method, each.path) for each in service.endpoints
        )
        for client in offered.clients
        for service in client.services
    }


# ------------------------------------------------------------------ what the operator does


Subject = ClientId | str
"""A subsystem, or the code of a global group."""


def grant(
    folder: StateFolder, deps: Deps, subject: Subject, service: ServiceId, wanted: Sequence[Endpoint], *, by: str
) -> Changed:
    """Give a subject the right to endpoints of a service. What is there stays.

    `wanted` may be empty where the service has one endpoint. The change is in the central server's journal before it is
    made; what was interrupted is finished by calling again.

    Raises: NotFound `exchange.rights.no_state_yet`, `….service`, `….endpoint`, `central.subject`; Malformed
    `exchange.rights.which_endpoint`; Refused `exchange.rights.closed`, `central.…`; Conflict
    `exchange.rights.too_many`.
    """
    exchange = folder.path / "exchange"
    with locked(exchange):
        offered = _all_offered(exchange)
        # 1 there is such a service, and its institution opens these endpoints to others
        asked = _find_endpoints(offered, service, wanted)
        basis = _check_open(service, asked)
        # 2 what it has already
        granted = load_granted_rights(exchange / FILE_NAME)
        has = [each.endpoint for each in granted if _is_of(each, subject, service)]
        by_contract = tuple(each for each in asked if each in _contract_endpoints(offered, subject, service))
        new = tuple(each for each in asked if each not in has and each not in by_contract)
        if len(granted) + len(new) > MAX_RIGHTS:
            raise Conflict(
                "exchange.rights.too_many",
                f"there are {len(granted)} rights already: revoke some, or give them to a global group",
            )
        # 3 on record, the subject and the officer looked up in the same transaction
        texts = [endpoint_text(each) for each in new]
        name = central.note_granted(deps, subject, texts, service=str(service), basis=basis, by=by)
        # 4 kept, and in force
        at = deps.clock.now()
        made = [_new_right(subject, service, endpoint, at=at, by=name) for endpoint in new]
        _keep(exchange, [*granted, *made])
        put_in_force(exchange)
    return Changed(new, tuple(each for each in asked if each in has), by_contract, basis)


def revoke(
    folder: StateFolder, deps: Deps, subject: Subject, service: ServiceId, wanted: Sequence[Endpoint], *, by: str
) -> Changed:
    """Take a subject's rights at a service back: those to the endpoints named, or all that an operator gave it there.

    Neither the subject nor the service has to be known any more. Raises: NotFound `exchange.rights.none`; Refused
    `exchange.rights.by_contract`, `central.…`.
    """
    exchange = folder.path / "exchange"
    with locked(exchange):
        granted = load_granted_rights(exchange / FILE_NAME)
        ended = [each for each in granted if _is_of(each, subject, service) and (not wanted or each.endpoint in wanted)]
        if not ended:
            put_in_force(exchange)  # a revocation that was interrupted is finished
            raise _nothing_to_revoke(exchange, subject, service, wanted)
        texts = [endpoint_text(each.endpoint) for each in ended]
        central.note_revoked(deps, subject, texts, service=str(service), by=by)
        _keep(exchange, [each for each in granted if each not in ended])
        put_in_force(exchange)
    gone = tuple(each.endpoint for each in ended)
    return Changed(gone, tuple(each for each in wanted if each not in gone), (), "")


def list_rights(folder: StateFolder, *, by_contract: bool = False) -> list[Right]:
    """The rights that an operator gave, also those that do not count any more; and those of the contracts.

    Raises: NotFound `exchange.rights.no_state_yet`.
    """
    exchange = folder.path / "exchange"
    with locked(exchange):
        offered = _all_offered(exchange)
        granted = load_granted_rights(exchange / FILE_NAME)
    services, openings = _all_services(offered), list_openings()
    found = []
    for each in granted:
        is_open = _is_open(each, services, openings)
        origin = Origin.GRANTED if is_open else Origin.NOT_OPEN
        basis = openings[each.service_id][each.endpoint] if is_open else None
        found.append(Right(each.subject, each.service, each.endpoint, origin, basis, each.granted_at, each.granted_by))
    if by_contract:
        found += [
            Right(right.client, f"{client.id}/{right.service}", (right.method, right.path), Origin.CONTRACT)
            for settings in offered
            for client in settings.clients
            for right in client.rights
        ]
    return found


def endpoint_text(endpoint: Endpoint) -> str:
    """As `parse_endpoint` reads it."""
    return " ".join(endpoint)


def parse_endpoint(text: str) -> Endpoint:
    """Read `POST /v1`. Raises: Malformed `exchange.rights.endpoint_form`."""
    method, _, path = text.strip().partition(" ")
    if not method.isalpha() or not path.startswith("/"):
        raise Malformed(
            "exchange.rights.endpoint_form",
            f'{text[:80]!r} is no endpoint: that is a method and a path below the service, as "POST /v1"',
        )
    return method.upper(), path


@dataclass(frozen=True, slots=True)
class GroupsNow:
    """Who is in a global group, by the central server of the same state."""

    deps: Deps

    def is_in_group(self, client: Party, code: str) -> bool:
        return central.is_in_group(self.deps, client, code)


# ------------------------------------------------------------------ inside


def _all_offered(exchange: Path) -> list[LocalConfSettings]:
    folders = [exchange / server.server_code for server in _SERVERS]
    if not all((folder / OFFERED).exists() for folder in folders):
        raise NotFound(
            "exchange.rights.no_state_yet",
            "this version has not started the state yet, which tells what its institutions offer: `digiid up`",
        )
    return [_read_offered(folder) for folder in folders]


def _all_services(offered: Iterable[LocalConfSettings]) -> dict[ServiceId, tuple[Endpoint, ...]]:
    return {service: endpoints for settings in offered for service, endpoints in _services(settings).items()}


def _find_endpoints(
    offered: Iterable[LocalConfSettings], service: ServiceId, wanted: Sequence[Endpoint]
) -> tuple[Endpoint, ...]:
    services = _all_services(offered)
    endpoints = services.get(service)
    if endpoints is None:
        own = sorted(each.service_code for each in services if each.provider == service.provider)
        hint = (
            f"{service.provider} offers {', '.join(own)}."
            if own
            else f"{service.provider} is no institution of this state: whose service it is gives the right, in the "
            "local configuration of their own security server."
        )
        raise NotFound("exchange.rights.service", f"there is no {service}. {hint}")
    told = _quoted(endpoints)
    if unknown := [endpoint_text(each) for each in wanted if each not in endpoints]:
        text = f"{service} has no endpoint {', '.join(unknown)}; it has {told}."
        raise NotFound("exchange.rights.endpoint", text)
    opened = list_openings().get(service)
    if opened and not wanted and len(endpoints) > 1:
        text = f"{service} has several endpoints; name each with --endpoint. Open to others: {_quoted(opened)}."
        raise Malformed("exchange.rights.which_endpoint", text)
    return tuple(dict.fromkeys(wanted)) or endpoints


def _quoted(endpoints: Iterable[Endpoint]) -> str:
    return ", ".join(f'"{endpoint_text(each)}"' for each in endpoints)


def _check_open(service: ServiceId, asked: Sequence[Endpoint]) -> str:
    """By what right it will be answered. Raises: Refused `exchange.rights.closed`."""
    openings = list_openings()
    opened = openings.get(service, {})
    if closed := [endpoint_text(each) for each in asked if each not in opened]:
        raise Refused(
            "exchange.rights.closed",
            f"{', '.join(closed)} of {service} is for those whom its contract names: a law has to say by what "
            "right anybody else would be answered, so that an operator cannot open it. `digiid exchange rights --open` "
            "lists what can be opened.",
        )
    return opened[asked[0]]


def _contract_endpoints(
    offered: Iterable[LocalConfSettings], subject: Subject, service: ServiceId
) -> frozenset[Endpoint]:
    """Of the service, what the subject may use by the contract."""
    return frozenset(
        (right.method, right.path)
        for settings in offered
        for client in settings.clients
        if client.id == str(service.provider)
        for right in client.rights
        if right.service == service.service_code and right.client == str(subject)
    )


def _is_of(right: GrantedRight, subject: Subject, service: ServiceId) -> bool:
    return right.subject == str(subject) and right.service == str(service)


def _new_right(subject: Subject, service: ServiceId, endpoint: Endpoint, *, at: datetime, by: str) -> GrantedRight:
    method, path = endpoint
    is_client = isinstance(subject, ClientId)
    return GrantedRight(
        client=str(subject) if is_client else "",
        global_group="" if is_client else str(subject),
        service=str(service),
        method=method,
        path=path,
        granted_at=at.replace(microsecond=0),
        granted_by=by,
    )


def _keep(exchange: Path, rights: Sequence[GrantedRight]) -> None:
    write_new(exchange / FILE_NAME, dump_granted_rights(rights), 0o600)


def _nothing_to_revoke(
    exchange: Path, subject: Subject, service: ServiceId, wanted: Sequence[Endpoint]
) -> NotFound | Refused:
    by_contract = _contract_endpoints(_all_offered(exchange), subject, service)
    if by_contract and (not wanted or by_contract & set(wanted)):
        return Refused(
            "exchange.rights.by_contract",
            f"{subject} has this right by the contract of {service.provider}; only a contract takes it away",
        )
    return NotFound(
        "exchange.rights.none",
        f"no operator gave {subject} this right at {service}; `digiid exchange rights` lists those given",
    )
