"""Security servers, their authentication certificates, and the clients registered at them."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.domain import StoredServer
from digiid.exchange.central_server.store.schema import is_member, metadata, party_of, party_values
from digiid.kernel.identifiers import MemberId, Party, ServerId
from digiid.platform.db import UtcDateTime

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


def find_server(tx: Connection, server: ServerId) -> StoredServer | None:
    c = SERVERS.c
    where = is_member(SERVERS, server.owner) & (c.server_code == server.server_code)
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
        tx.execute(select(table.c.member_code).where(is_member(table, member)).limit(1)).first() is not None
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
        tx.execute(insert(SERVER_CLIENTS).values(server=server, **party_values(client), enabled=enabled))


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
    return [(row.server, party_of(row, instance), row.enabled) for row in rows]


def _is_client(server: int, client: Party) -> Any:
    c = SERVER_CLIENTS.c
    subsystem = party_values(client)["subsystem"]
    return (c.server == server) & is_member(SERVER_CLIENTS, client.member) & (c.subsystem == subsystem)
