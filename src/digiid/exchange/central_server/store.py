"""The central server's tables, one function per question. Every row is of one instance, which the settings name."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.domain import (
    OPEN_STATES,
    KeyState,
    Officer,
    RequestState,
    Role,
    StoredKey,
    StoredRequest,
    StoredServer,
)
from digiid.formats.exchange.management import Operation, parse_envelope
from digiid.kernel.identifiers import ClientId, MemberId, Party, ServerId
from digiid.platform.db import UtcDateTime
from digiid.platform.journal import journal_table
from digiid.platform.outbox import outbox_table
from digiid.platform.web.sessions import sessions_table

metadata: Final = MetaData()
JOURNAL: Final = journal_table(metadata)
SESSIONS: Final = sessions_table(metadata)
OUTBOX: Final = outbox_table(metadata)

OFFICERS: Final = Table(
    "officers",
    metadata,
    Column("personal_code", String(11), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("roles", String(200), nullable=False),
    Column("active", Boolean, nullable=False),
)
PARAMETERS: Final = Table(
    "parameters",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("value", String(400), nullable=False),
)
CLASSES: Final = Table(
    "member_classes",
    metadata,
    Column("code", String(100), primary_key=True),
    Column("description", String(200), nullable=False),
)
MEMBERS: Final = Table(
    "members",
    metadata,
    Column("member_class", String(100), primary_key=True),
    Column("member_code", String(100), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("entered_at", UtcDateTime, nullable=False),
)
SUBSYSTEMS: Final = Table(
    "subsystems",
    metadata,
    Column("member_class", String(100), primary_key=True),
    Column("member_code", String(100), primary_key=True),
    Column("subsystem", String(100), primary_key=True),
    Column("name", String(200)),
)
SERVERS: Final = Table(
    "servers",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("member_class", String(100), nullable=False),
    Column("member_code", String(100), nullable=False),
    Column("server_code", String(100), nullable=False),
    Column("address", String(300), nullable=False),
    Column("maintenance", String(200)),
    Column("registered_at", UtcDateTime, nullable=False),
    UniqueConstraint("member_class", "member_code", "server_code"),
)
AUTH_CERTIFICATES: Final = Table(
    "authentication_certificates",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("server", Integer, nullable=False),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("registered_at", UtcDateTime, nullable=False),
)
# `subsystem` is empty when the client is the member itself.
SERVER_CLIENTS: Final = Table(
    "server_clients",
    metadata,
    Column("server", Integer, primary_key=True, autoincrement=False),
    Column("member_class", String(100), primary_key=True),
    Column("member_code", String(100), primary_key=True),
    Column("subsystem", String(100), primary_key=True),
    Column("enabled", Boolean, nullable=False),
)
GROUPS: Final = Table(
    "global_groups",
    metadata,
    Column("code", String(100), primary_key=True),
    Column("description", String(200), nullable=False),
)
GROUP_MEMBERS: Final = Table(
    "global_group_members",
    metadata,
    Column("code", String(100), primary_key=True),
    Column("member_class", String(100), primary_key=True),
    Column("member_code", String(100), primary_key=True),
    Column("subsystem", String(100), primary_key=True),
)
APPROVED_CAS: Final = Table(
    "approved_cas",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("ocsp_urls", Text, nullable=False),
    Column("certificate_profile", String(300), nullable=False),
    Column("authentication_only", Boolean, nullable=False),
)
INTERMEDIATE_CAS: Final = Table(
    "intermediate_cas",
    metadata,
    Column("top", String(200), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("ocsp_urls", Text, nullable=False),
)
APPROVED_TSAS: Final = Table(
    "approved_tsas",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("url", String(400), nullable=False),
    Column("certificate_der", LargeBinary, nullable=False),
)
REQUESTS: Final = Table(
    "management_requests",
    metadata,
    Column("request_id", String(36), primary_key=True),
    Column("operation", String(40), nullable=False),
    Column("state", String(30), nullable=False),
    Column("server", String(410), nullable=False),
    Column("client", String(410)),
    Column("envelope", LargeBinary, nullable=False),
    Column("auth_certificate_der", LargeBinary),
    Column("received_at", UtcDateTime, nullable=False),
    Column("decided_at", UtcDateTime),
    Column("decided_by", String(200)),
    Column("reason", String(500)),
)
Index("management_requests_state", REQUESTS.c.state, REQUESTS.c.received_at)
# What the program entered by itself, by name (`use_cases/provisioned`); rows stay when it is gone.
PROVISIONED: Final = Table(
    "provisioned",
    metadata,
    Column("item", String(900), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)
SIGNING_KEYS: Final = Table(
    "signing_keys",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("source", String(400), nullable=False),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("state", String(20), nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)
PARTS: Final = Table(
    "configuration_parts",
    metadata,
    Column("location", String(200), primary_key=True),
    Column("content_id", String(60), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("last_listed_at", UtcDateTime, nullable=False),
)
# One row: the directory that is served now.
DIRECTORY: Final = Table(
    "configuration_directory",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("generated_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("content", LargeBinary, nullable=False),
)


# ------------------------------------------------------------------ officers


def find_officer(tx: Connection, personal_code: str) -> Officer | None:
    """An officer, also one whose rights were taken away."""
    o = OFFICERS.c
    row = tx.execute(
        select(o.personal_code, o.name, o.roles, o.active).where(o.personal_code == personal_code)
    ).one_or_none()
    return _officer(row) if row else None


def list_officers(tx: Connection) -> list[Officer]:
    o = OFFICERS.c
    return [_officer(row) for row in tx.execute(select(o.personal_code, o.name, o.roles, o.active).order_by(o.name))]


def _officer(row: Any) -> Officer:
    return Officer(row.personal_code, row.name, frozenset(map(Role, row.roles.split())), row.active)


def put_officer(tx: Connection, officer: Officer) -> None:
    """Enter an officer, or change name, roles and whether they are active."""
    o = OFFICERS.c
    values = {"name": officer.name, "roles": " ".join(sorted(officer.roles)), "active": officer.is_active}
    if not tx.execute(update(OFFICERS).where(o.personal_code == officer.personal_code).values(**values)).rowcount:
        tx.execute(insert(OFFICERS).values(personal_code=officer.personal_code, **values))


# ------------------------------------------------------------------ parameters


def find_parameter(tx: Connection, name: str) -> str | None:
    return tx.execute(select(PARAMETERS.c.value).where(PARAMETERS.c.name == name)).scalar_one_or_none()


def put_parameter(tx: Connection, name: str, value: str) -> None:
    where = PARAMETERS.c.name == name
    if not tx.execute(update(PARAMETERS).where(where).values(value=value)).rowcount:
        tx.execute(insert(PARAMETERS).values(name=name, value=value))


# ------------------------------------------------------------------ members


@dataclass(frozen=True, slots=True)
class MemberRow:
    id: MemberId
    name: str
    subsystems: tuple[tuple[str, str | None], ...]  # code, name


def list_classes(tx: Connection) -> list[tuple[str, str]]:
    return [tuple(row) for row in tx.execute(select(CLASSES.c.code, CLASSES.c.description).order_by(CLASSES.c.code))]


def put_class(tx: Connection, code: str, description: str) -> None:
    if not tx.execute(update(CLASSES).where(CLASSES.c.code == code).values(description=description)).rowcount:
        tx.execute(insert(CLASSES).values(code=code, description=description))


def has_class(tx: Connection, code: str) -> bool:
    return tx.execute(select(CLASSES.c.code).where(CLASSES.c.code == code)).first() is not None


def find_member_name(tx: Connection, member: MemberId) -> str | None:
    return tx.execute(select(MEMBERS.c.name).where(_is_member(MEMBERS, member))).scalar_one_or_none()


def insert_member(tx: Connection, member: MemberId, name: str, *, at: datetime) -> None:
    values = {"member_class": member.member_class, "member_code": member.member_code}
    tx.execute(insert(MEMBERS).values(**values, name=name, entered_at=at))


def rename_member(tx: Connection, member: MemberId, name: str) -> None:
    tx.execute(update(MEMBERS).where(_is_member(MEMBERS, member)).values(name=name))


def delete_member(tx: Connection, member: MemberId) -> None:
    """The member, its subsystems, and its places in groups. Its servers and registrations have to be gone before."""
    for table in (GROUP_MEMBERS, SUBSYSTEMS, MEMBERS):
        tx.execute(delete(table).where(_is_member(table, member)))


def list_members(tx: Connection, instance: str) -> list[MemberRow]:
    s, m = SUBSYSTEMS.c, MEMBERS.c
    below: dict[tuple[str, str], list[tuple[str, str | None]]] = {}
    query = select(s.member_class, s.member_code, s.subsystem, s.name)
    for row in tx.execute(query.order_by(s.member_class, s.member_code, s.subsystem)):
        below.setdefault((row.member_class, row.member_code), []).append((row.subsystem, row.name))
    rows = tx.execute(select(m.member_class, m.member_code, m.name).order_by(m.member_class, m.member_code))
    return [
        MemberRow(MemberId(instance, row.member_class, row.member_code), row.name, tuple(below.get(tuple(row)[:2], ())))
        for row in rows
    ]


def put_subsystem(tx: Connection, subsystem: ClientId, name: str | None) -> None:
    """A subsystem that is there keeps its name when none is given."""
    where = _is_member(SUBSYSTEMS, subsystem.member) & (SUBSYSTEMS.c.subsystem == subsystem.subsystem)
    if tx.execute(select(SUBSYSTEMS.c.subsystem).where(where)).first() is None:
        tx.execute(insert(SUBSYSTEMS).values(**_party_values(subsystem), name=name))
    elif name is not None:
        tx.execute(update(SUBSYSTEMS).where(where).values(name=name))


def has_party(tx: Connection, party: Party) -> bool:
    """Whether this member, or this subsystem, is known."""
    if isinstance(party, MemberId):
        return find_member_name(tx, party) is not None
    where = _is_member(SUBSYSTEMS, party.member) & (SUBSYSTEMS.c.subsystem == party.subsystem)
    return tx.execute(select(SUBSYSTEMS.c.subsystem).where(where)).first() is not None


# ------------------------------------------------------------------ security servers


def find_server(tx: Connection, server: ServerId) -> StoredServer | None:
    c = SERVERS.c
    where = _is_member(SERVERS, server.owner) & (c.server_code == server.server_code)
    row = tx.execute(_SERVER_QUERY.where(where)).one_or_none()
    return _server(row, server.instance) if row else None


def list_servers(tx: Connection, instance: str) -> list[StoredServer]:
    return [_server(row, instance) for row in tx.execute(_SERVER_QUERY.order_by(SERVERS.c.number))]


_SERVER_QUERY: Final = select(
    SERVERS.c.number,
    SERVERS.c.member_class,
    SERVERS.c.member_code,
    SERVERS.c.server_code,
    SERVERS.c.address,
    SERVERS.c.maintenance,
    SERVERS.c.registered_at,
)


def _server(row: Any, instance: str) -> StoredServer:
    server_id = ServerId(instance, row.member_class, row.member_code, row.server_code)
    return StoredServer(row.number, server_id, row.address, row.maintenance, row.registered_at)


def insert_server(tx: Connection, server: ServerId, address: str, *, at: datetime) -> StoredServer:
    number = int(tx.execute(select(func.max(SERVERS.c.number))).scalar_one() or 0) + 1
    values = {"member_class": server.member_class, "member_code": server.owner_code, "server_code": server.server_code}
    tx.execute(insert(SERVERS).values(number=number, **values, address=address, registered_at=at))
    return StoredServer(number, server, address, None, at)


def change_server(tx: Connection, number: int, **values: str | None) -> None:
    """Change `address` or `maintenance` (None: not in maintenance)."""
    tx.execute(update(SERVERS).where(SERVERS.c.number == number).values(**values))


def change_owner(tx: Connection, number: int, owner: MemberId) -> None:
    values = {"member_class": owner.member_class, "member_code": owner.member_code}
    tx.execute(update(SERVERS).where(SERVERS.c.number == number).values(**values))


def delete_server(tx: Connection, number: int) -> None:
    tx.execute(delete(AUTH_CERTIFICATES).where(AUTH_CERTIFICATES.c.server == number))
    tx.execute(delete(SERVER_CLIENTS).where(SERVER_CLIENTS.c.server == number))
    tx.execute(delete(SERVERS).where(SERVERS.c.number == number))


def has_server_of(tx: Connection, member: MemberId) -> bool:
    """Whether this member owns a server or is a client of one, itself or by a subsystem."""
    return any(
        tx.execute(select(table.c.member_code).where(_is_member(table, member)).limit(1)).first() is not None
        for table in (SERVERS, SERVER_CLIENTS)
    )


def insert_auth_certificate(tx: Connection, server: int, sha256: str, certificate_der: bytes, *, at: datetime) -> None:
    values = {"sha256": sha256, "server": server, "certificate_der": certificate_der}
    tx.execute(insert(AUTH_CERTIFICATES).values(**values, registered_at=at))


def find_server_of_certificate(tx: Connection, sha256: str) -> int | None:
    """The number of the server that this authentication certificate is registered for."""
    c = AUTH_CERTIFICATES.c
    return tx.execute(select(c.server).where(c.sha256 == sha256)).scalar_one_or_none()


def find_registered_at(tx: Connection, sha256: str) -> datetime | None:
    """Since when a server has this certificate."""
    a = AUTH_CERTIFICATES.c
    return tx.execute(select(a.registered_at).where(a.sha256 == sha256)).scalar_one_or_none()


def delete_auth_certificate(tx: Connection, server: int, sha256: str) -> bool:
    c = AUTH_CERTIFICATES.c
    return tx.execute(delete(AUTH_CERTIFICATES).where((c.server == server) & (c.sha256 == sha256))).rowcount == 1


def list_auth_certificates(tx: Connection) -> list[tuple[int, bytes]]:
    """(server, DER) of every registered authentication certificate."""
    c = AUTH_CERTIFICATES.c
    rows = tx.execute(select(c.server, c.certificate_der).order_by(c.server, c.sha256))
    return [(row.server, bytes(row.certificate_der)) for row in rows]


def put_client(tx: Connection, server: int, client: Party, *, enabled: bool) -> None:
    where = _is_client(server, client)
    if not tx.execute(update(SERVER_CLIENTS).where(where).values(enabled=enabled)).rowcount:
        tx.execute(insert(SERVER_CLIENTS).values(server=server, **_party_values(client), enabled=enabled))


def find_client(tx: Connection, server: int, client: Party) -> bool | None:
    """Whether the client is enabled at this server; None when it is not registered there."""
    return tx.execute(select(SERVER_CLIENTS.c.enabled).where(_is_client(server, client))).scalar_one_or_none()


def delete_client(tx: Connection, server: int, client: Party) -> bool:
    return tx.execute(delete(SERVER_CLIENTS).where(_is_client(server, client))).rowcount == 1


def list_clients(tx: Connection, instance: str) -> list[tuple[int, Party, bool]]:
    """(server, client, enabled) of every registration."""
    c = SERVER_CLIENTS.c
    query = select(c.server, c.member_class, c.member_code, c.subsystem, c.enabled)
    rows = tx.execute(query.order_by(c.server, c.member_class, c.member_code, c.subsystem))
    return [(row.server, _party(row, instance), row.enabled) for row in rows]


def _is_client(server: int, client: Party) -> Any:
    c = SERVER_CLIENTS.c
    subsystem = _party_values(client)["subsystem"]
    return (c.server == server) & _is_member(SERVER_CLIENTS, client.member) & (c.subsystem == subsystem)


# ------------------------------------------------------------------ global groups


def list_groups(tx: Connection, instance: str) -> list[tuple[str, str, tuple[Party, ...]]]:
    """(code, description, members) of every global group that somebody made."""
    c = GROUP_MEMBERS.c
    inside: dict[str, list[Party]] = {}
    query = select(c.code, c.member_class, c.member_code, c.subsystem)
    for row in tx.execute(query.order_by(c.code, c.member_class, c.member_code, c.subsystem)):
        inside.setdefault(row.code, []).append(_party(row, instance))
    rows = tx.execute(select(GROUPS.c.code, GROUPS.c.description).order_by(GROUPS.c.code))
    return [(row.code, row.description, tuple(inside.get(row.code, ()))) for row in rows]


def put_group(tx: Connection, code: str, description: str) -> None:
    if not tx.execute(update(GROUPS).where(GROUPS.c.code == code).values(description=description)).rowcount:
        tx.execute(insert(GROUPS).values(code=code, description=description))


def has_group(tx: Connection, code: str) -> bool:
    return tx.execute(select(GROUPS.c.code).where(GROUPS.c.code == code)).first() is not None


def delete_group(tx: Connection, code: str) -> bool:
    tx.execute(delete(GROUP_MEMBERS).where(GROUP_MEMBERS.c.code == code))
    return tx.execute(delete(GROUPS).where(GROUPS.c.code == code)).rowcount == 1


def insert_group_member(tx: Connection, code: str, party: Party) -> bool:
    """False when it was in the group already."""
    if tx.execute(select(GROUP_MEMBERS.c.code).where(_is_group_member(code, party))).first() is not None:
        return False
    tx.execute(insert(GROUP_MEMBERS).values(code=code, **_party_values(party)))
    return True


def delete_group_member(tx: Connection, code: str, party: Party) -> bool:
    return tx.execute(delete(GROUP_MEMBERS).where(_is_group_member(code, party))).rowcount == 1


def _is_group_member(code: str, party: Party) -> Any:
    c = GROUP_MEMBERS.c
    subsystem = _party_values(party)["subsystem"]
    return (c.code == code) & _is_member(GROUP_MEMBERS, party.member) & (c.subsystem == subsystem)


# ------------------------------------------------------------------ trust services


@dataclass(frozen=True, slots=True)
class CaRow:
    """A CA and those below it. OCSP addresses stand beside each."""

    name: str
    certificate_der: bytes
    ocsp_urls: tuple[str, ...]
    certificate_profile: str
    is_authentication_only: bool
    intermediates: tuple[tuple[bytes, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class TsaRow:
    name: str
    url: str
    certificate_der: bytes


def list_cas(tx: Connection) -> list[CaRow]:
    i, c = INTERMEDIATE_CAS.c, APPROVED_CAS.c
    below: dict[str, list[tuple[bytes, tuple[str, ...]]]] = {}
    for row in tx.execute(select(i.top, i.certificate_der, i.ocsp_urls).order_by(i.top, i.position)):
        below.setdefault(row.top, []).append((bytes(row.certificate_der), tuple(json.loads(row.ocsp_urls))))
    query = select(c.name, c.certificate_der, c.ocsp_urls, c.certificate_profile, c.authentication_only)
    return [
        CaRow(
            row.name,
            bytes(row.certificate_der),
            tuple(json.loads(row.ocsp_urls)),
            row.certificate_profile,
            row.authentication_only,
            tuple(below.get(row.name, ())),
        )
        for row in tx.execute(query.order_by(c.name))
    ]


def put_ca(tx: Connection, ca: CaRow) -> None:
    """Enter a CA, or replace what stands under this name."""
    delete_ca(tx, ca.name)
    tx.execute(
        insert(APPROVED_CAS).values(
            name=ca.name,
            certificate_der=ca.certificate_der,
            ocsp_urls=json.dumps(ca.ocsp_urls),
            certificate_profile=ca.certificate_profile,
            authentication_only=ca.is_authentication_only,
        )
    )
    for position, (certificate_der, urls) in enumerate(ca.intermediates):
        values = {"top": ca.name, "position": position, "certificate_der": certificate_der}
        tx.execute(insert(INTERMEDIATE_CAS).values(**values, ocsp_urls=json.dumps(urls)))


def delete_ca(tx: Connection, name: str) -> bool:
    tx.execute(delete(INTERMEDIATE_CAS).where(INTERMEDIATE_CAS.c.top == name))
    return tx.execute(delete(APPROVED_CAS).where(APPROVED_CAS.c.name == name)).rowcount == 1


def list_tsas(tx: Connection) -> list[TsaRow]:
    c = APPROVED_TSAS.c
    rows = tx.execute(select(c.name, c.url, c.certificate_der).order_by(c.name))
    return [TsaRow(row.name, row.url, bytes(row.certificate_der)) for row in rows]


def put_tsa(tx: Connection, tsa: TsaRow) -> None:
    delete_tsa(tx, tsa.name)
    tx.execute(insert(APPROVED_TSAS).values(name=tsa.name, url=tsa.url, certificate_der=tsa.certificate_der))


def delete_tsa(tx: Connection, name: str) -> bool:
    return tx.execute(delete(APPROVED_TSAS).where(APPROVED_TSAS.c.name == name)).rowcount == 1


# ------------------------------------------------------------------ what was provisioned


def is_provisioned(tx: Connection, item: str) -> bool:
    return tx.execute(select(PROVISIONED.c.at).where(PROVISIONED.c.item == item)).one_or_none() is not None


def put_provisioned(tx: Connection, item: str, *, at: datetime) -> None:
    if not is_provisioned(tx, item):
        tx.execute(insert(PROVISIONED).values(item=item, at=at))


def delete_provisioned(tx: Connection, item: str) -> bool:
    return tx.execute(delete(PROVISIONED).where(PROVISIONED.c.item == item)).rowcount == 1


def list_provisioned(tx: Connection) -> list[tuple[str, datetime]]:
    query = select(PROVISIONED.c.item, PROVISIONED.c.at).order_by(PROVISIONED.c.item)
    return [(row.item, row.at) for row in tx.execute(query)]


# ------------------------------------------------------------------ management requests


def insert_request(tx: Connection, stored: StoredRequest) -> None:
    """Take a request in; its id is a primary key, so that the same one is never taken twice."""
    request = stored.request
    tx.execute(
        insert(REQUESTS).values(
            request_id=request.request_id,
            operation=request.operation.value,
            state=stored.state.value,
            server=str(request.server),
            client=str(request.client) if request.client else None,
            envelope=stored.envelope,
            auth_certificate_der=stored.auth_certificate_der,
            received_at=stored.received_at,
            decided_at=stored.decided_at,
            decided_by=stored.decided_by,
            reason=stored.reason,
        )
    )


def find_request(tx: Connection, request_id: str) -> StoredRequest | None:
    row = tx.execute(_REQUEST_QUERY.where(REQUESTS.c.request_id == request_id)).one_or_none()
    return _request(row) if row else None


def list_requests(
    tx: Connection, *, states: Collection[RequestState] = tuple(RequestState), limit: int = 200
) -> list[StoredRequest]:
    """The newest first."""
    r = REQUESTS.c
    query = _REQUEST_QUERY.where(r.state.in_([state.value for state in states]))
    return [_request(row) for row in tx.execute(query.order_by(r.received_at.desc(), r.request_id).limit(limit))]


def find_open_requests(
    tx: Connection, *, operations: Sequence[Operation], server: ServerId | None = None
) -> list[StoredRequest]:
    """Registrations that nobody has decided, oldest first."""
    r = REQUESTS.c
    where = r.state.in_([state.value for state in OPEN_STATES]) & r.operation.in_([one.value for one in operations])
    if server is not None:
        where &= r.server == str(server)
    return [_request(row) for row in tx.execute(_REQUEST_QUERY.where(where).order_by(r.received_at).limit(1000))]


def list_asked_certificates(tx: Connection, server: str) -> list[bytes]:
    """Every authentication certificate that was ever to be registered at this server (`str` of its identifier)."""
    r = REQUESTS.c
    query = select(r.auth_certificate_der).where((r.server == server) & r.auth_certificate_der.is_not(None))
    return [bytes(der) for der in tx.execute(query).scalars()]


def count_open_requests(tx: Connection) -> int:
    where = REQUESTS.c.state.in_([state.value for state in OPEN_STATES])
    return int(tx.execute(select(func.count()).select_from(REQUESTS).where(where)).scalar_one())


def decide_request(
    tx: Connection,
    request_id: str,
    *,
    before: RequestState,
    after: RequestState,
    at: datetime | None,
    by: str | None,
    reason: str | None = None,
) -> bool:
    """Take a step. False when the request is not in the state that the step begins in."""
    r = REQUESTS.c
    where = (r.request_id == request_id) & (r.state == before.value)
    values = {"state": after.value, "decided_at": at, "decided_by": by, "reason": reason}
    return tx.execute(update(REQUESTS).where(where).values(**values)).rowcount == 1


_REQUEST_QUERY: Final = select(
    REQUESTS.c.state,
    REQUESTS.c.envelope,
    REQUESTS.c.auth_certificate_der,
    REQUESTS.c.received_at,
    REQUESTS.c.decided_at,
    REQUESTS.c.decided_by,
    REQUESTS.c.reason,
)


def _request(row: Any) -> StoredRequest:
    envelope = bytes(row.envelope)
    return StoredRequest(
        request=parse_envelope(envelope).request,
        state=RequestState(row.state),
        envelope=envelope,
        received_at=row.received_at,
        auth_certificate_der=bytes(row.auth_certificate_der) if row.auth_certificate_der is not None else None,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        reason=row.reason,
    )


# ------------------------------------------------------------------ keys and configuration


def list_keys(tx: Connection) -> list[StoredKey]:
    k = SIGNING_KEYS.c
    rows = tx.execute(select(k.number, k.source, k.certificate_der, k.state, k.changed_at).order_by(k.number))
    return [
        StoredKey(row.number, row.source, bytes(row.certificate_der), KeyState(row.state), row.changed_at)
        for row in rows
    ]


def insert_key(tx: Connection, key: StoredKey) -> None:
    tx.execute(
        insert(SIGNING_KEYS).values(
            number=key.number,
            source=key.source,
            certificate_der=key.certificate_der,
            state=key.state.value,
            changed_at=key.changed_at,
        )
    )


def change_key(tx: Connection, number: int, *, before: KeyState, after: KeyState, at: datetime) -> bool:
    k = SIGNING_KEYS.c
    where = (k.number == number) & (k.state == before.value)
    return tx.execute(update(SIGNING_KEYS).where(where).values(state=after.value, changed_at=at)).rowcount == 1


@dataclass(frozen=True, slots=True)
class PartRow:
    """One part of the configuration. Its content never changes under its location."""

    location: str
    content_id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class DirectoryRow:
    version: int
    generated_at: datetime
    expires_at: datetime
    content: bytes


def find_directory(tx: Connection, *, version: int) -> DirectoryRow | None:
    d = DIRECTORY.c
    query = select(d.version, d.generated_at, d.expires_at, d.content).where(d.version == version)
    row = tx.execute(query).one_or_none()
    return DirectoryRow(row.version, row.generated_at, row.expires_at, bytes(row.content)) if row else None


def put_directory(tx: Connection, directory: DirectoryRow) -> None:
    tx.execute(delete(DIRECTORY).where(DIRECTORY.c.version == directory.version))
    tx.execute(
        insert(DIRECTORY).values(
            version=directory.version,
            generated_at=directory.generated_at,
            expires_at=directory.expires_at,
            content=directory.content,
        )
    )


def list_parts(tx: Connection) -> list[PartRow]:
    """Every part that is still served, the newest last."""
    p = PARTS.c
    rows = tx.execute(select(p.location, p.content_id, p.content).order_by(p.last_listed_at, p.location))
    return [PartRow(row.location, row.content_id, bytes(row.content)) for row in rows]


def put_part(tx: Connection, part: PartRow, *, at: datetime) -> None:
    """A part listed now; what is there under its location stays as it is."""
    p = PARTS.c
    if not tx.execute(update(PARTS).where(p.location == part.location).values(last_listed_at=at)).rowcount:
        values = {"location": part.location, "content_id": part.content_id, "content": part.content}
        tx.execute(insert(PARTS).values(**values, last_listed_at=at))


def forget_parts(tx: Connection, *, not_listed_since: datetime) -> None:
    tx.execute(delete(PARTS).where(PARTS.c.last_listed_at < not_listed_since))


# ------------------------------------------------------------------ what rows share


@dataclass(frozen=True, slots=True)
class JournalLine:
    number: int
    kind: str
    at: datetime
    payload: dict[str, Any]


def recent_journal(tx: Connection, *, limit: int = 100) -> list[JournalLine]:
    """The newest first."""
    j = JOURNAL.c
    rows = tx.execute(select(j.number, j.kind, j.at, j.payload).order_by(j.number.desc()).limit(limit))
    return [JournalLine(row.number, row.kind, row.at, json.loads(row.payload)) for row in rows]


def _is_member(table: Table, member: MemberId) -> Any:
    return (table.c.member_class == member.member_class) & (table.c.member_code == member.member_code)


def _party_values(party: Party) -> dict[str, str]:
    return {
        "member_class": party.member_class,
        "member_code": party.member_code,
        "subsystem": party.subsystem if isinstance(party, ClientId) else "",
    }


def _party(row: Any, instance: str) -> Party:
    if row.subsystem:
        return ClientId(instance, row.member_class, row.member_code, row.subsystem)
    return MemberId(instance, row.member_class, row.member_code)
