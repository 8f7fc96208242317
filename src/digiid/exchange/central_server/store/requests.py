"""Management requests, with the bytes that prove them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Index, LargeBinary, String, Table, func, insert, select, update
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.domain import OPEN_STATES, RequestState, StoredRequest
from digiid.exchange.central_server.store.schema import metadata
from digiid.formats.exchange.management import Operation, parse_envelope
from digiid.kernel.identifiers import ServerId
from digiid.platform.db import UtcDateTime

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
