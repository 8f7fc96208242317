"""The signing service's tables, one function per question."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Connection

from digiid.institutions.information_authority.signing_service.domain import (
    Form,
    KnownClient,
    PreparedState,
    StoredContainer,
    StoredPrepared,
)
from digiid.platform.db import UtcDateTime
from digiid.platform.journal import journal_table

metadata: Final = MetaData()
JOURNAL: Final = journal_table(metadata)

# No secret: it is derived from the service's own secret, the identifier and the generation.
CLIENTS: Final = Table(
    "clients",
    metadata,
    Column("client_id", String(36), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
)
SEEN_REQUESTS: Final = Table(
    "seen_requests",
    metadata,
    Column("request_hash", LargeBinary(32), primary_key=True),
    Column("seen_at", UtcDateTime, nullable=False),
)
Index("seen_requests_age", SEEN_REQUESTS.c.seen_at)
CONTAINERS: Final = Table(
    "containers",
    metadata,
    Column("container_id", String(36), primary_key=True),
    Column("client_id", String(36), nullable=False),
    Column("form", String(20), nullable=False),
    Column("name", String(260), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("version", Integer, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)
Index("containers_client", CONTAINERS.c.client_id)
Index("containers_age", CONTAINERS.c.changed_at)
PREPARED: Final = Table(
    "prepared_signatures",
    metadata,
    Column("signature_id", String(36), primary_key=True),
    Column("container_id", String(36), nullable=False),
    Column("prepared", LargeBinary, nullable=False),
    Column("level", String(3), nullable=False),
    Column("state", String(10), nullable=False),
    Column("value_hash", LargeBinary(32)),
    Column("prepared_at", UtcDateTime, nullable=False),
)
Index("prepared_signatures_container", PREPARED.c.container_id)


# ---------------------------------------------------------------------------------------------- clients


def find_generation(tx: Connection, client_id: str) -> int | None:
    """The generation of an open client's secret; None for a client that is not known or was closed."""
    c = CLIENTS.c
    query = select(c.generation).where(c.client_id == client_id, c.closed_at.is_(None))
    return tx.execute(query).scalar_one_or_none()


def list_clients(tx: Connection) -> list[KnownClient]:
    c = CLIENTS.c
    query = select(c.client_id, c.name, c.created_at, c.closed_at).order_by(c.created_at, c.client_id)
    return [KnownClient(*row) for row in tx.execute(query)]


def insert_client(tx: Connection, *, client_id: str, name: str, at: datetime) -> None:
    tx.execute(insert(CLIENTS).values(client_id=client_id, name=name, generation=1, created_at=at))


def renew_client(tx: Connection, client_id: str) -> bool:
    """The next generation: the present secret ends. False when there is no such open client."""
    c = CLIENTS.c
    where = (c.client_id == client_id) & c.closed_at.is_(None)
    return tx.execute(update(CLIENTS).where(where).values(generation=c.generation + 1)).rowcount == 1


def close_client(tx: Connection, client_id: str, *, at: datetime) -> bool:
    c = CLIENTS.c
    where = (c.client_id == client_id) & c.closed_at.is_(None)
    return tx.execute(update(CLIENTS).where(where).values(closed_at=at)).rowcount == 1


def is_request_seen(tx: Connection, request_hash: bytes) -> bool:
    s = SEEN_REQUESTS.c
    return tx.execute(select(s.request_hash).where(s.request_hash == request_hash)).first() is not None


def record_request(tx: Connection, request_hash: bytes, *, at: datetime) -> None:
    tx.execute(insert(SEEN_REQUESTS).values(request_hash=request_hash, seen_at=at))


def forget_requests(tx: Connection, *, before: datetime) -> None:
    tx.execute(delete(SEEN_REQUESTS).where(SEEN_REQUESTS.c.seen_at < before))


# ---------------------------------------------------------------------------------------------- containers


def insert_container(tx: Connection, container: StoredContainer) -> None:
    tx.execute(
        insert(CONTAINERS).values(
            container_id=container.container_id,
            client_id=container.client_id,
            form=container.form.value,
            name=container.name,
            content=container.content,
            version=container.version,
            changed_at=container.changed_at,
        )
    )


def find_container(tx: Connection, container_id: str, *, client_id: str, form: Form) -> StoredContainer | None:
    """A container if it is this client's own and of this form."""
    c = CONTAINERS.c
    query = select(c.container_id, c.client_id, c.form, c.name, c.content, c.version, c.changed_at)
    row = tx.execute(
        query.where(c.container_id == container_id, c.client_id == client_id, c.form == form.value)
    ).one_or_none()
    if row is None:
        return None
    return StoredContainer(
        row.container_id, row.client_id, Form(row.form), row.name, bytes(row.content), row.version, row.changed_at
    )


def count_containers(tx: Connection, client_id: str) -> int:
    query = select(func.count()).select_from(CONTAINERS).where(CONTAINERS.c.client_id == client_id)
    return int(tx.execute(query).scalar_one())


def change_content(tx: Connection, container_id: str, content: bytes, *, version: int, at: datetime) -> bool:
    """Replace the content if it still has this version. False when somebody was first."""
    c = CONTAINERS.c
    where = (c.container_id == container_id) & (c.version == version)
    values: dict[str, Any] = {"content": content, "version": version + 1, "changed_at": at}
    return tx.execute(update(CONTAINERS).where(where).values(**values)).rowcount == 1


def delete_container(tx: Connection, container_id: str) -> None:
    tx.execute(delete(PREPARED).where(PREPARED.c.container_id == container_id))
    tx.execute(delete(CONTAINERS).where(CONTAINERS.c.container_id == container_id))


def containers_unchanged_since(tx: Connection, at: datetime, *, limit: int) -> list[str]:
    c = CONTAINERS.c
    return list(tx.execute(select(c.container_id).where(c.changed_at < at).limit(limit)).scalars())


# ------------------------------------------------------------------------------------ prepared signatures


def insert_prepared(tx: Connection, prepared: StoredPrepared) -> None:
    tx.execute(
        insert(PREPARED).values(
            signature_id=prepared.signature_id,
            container_id=prepared.container_id,
            prepared=prepared.prepared,
            level=prepared.level,
            state=prepared.state.value,
            prepared_at=prepared.prepared_at,
        )
    )


def find_prepared(tx: Connection, signature_id: str, *, container_id: str) -> StoredPrepared | None:
    p = PREPARED.c
    query = select(p.signature_id, p.container_id, p.prepared, p.level, p.state, p.value_hash, p.prepared_at)
    row = tx.execute(query.where(p.signature_id == signature_id, p.container_id == container_id)).one_or_none()
    if row is None:
        return None
    return StoredPrepared(
        row.signature_id,
        row.container_id,
        bytes(row.prepared),
        row.level,
        PreparedState(row.state),
        bytes(row.value_hash) if row.value_hash is not None else None,
        row.prepared_at,
    )


def count_prepared(tx: Connection, container_id: str) -> int:
    query = select(func.count()).select_from(PREPARED).where(PREPARED.c.container_id == container_id)
    return int(tx.execute(query).scalar_one())


def move_prepared(
    tx: Connection, signature_id: str, *, before: PreparedState, after: PreparedState, value_hash: bytes | None
) -> bool:
    """Take a step. False when it is not in the state that the step begins in."""
    p = PREPARED.c
    where = (p.signature_id == signature_id) & (p.state == before.value)
    return tx.execute(update(PREPARED).where(where).values(state=after.value, value_hash=value_hash)).rowcount == 1


def forget_prepared(tx: Connection, *, before: datetime) -> None:
    tx.execute(delete(PREPARED).where(PREPARED.c.prepared_at < before))
