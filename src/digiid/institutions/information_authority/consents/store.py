"""The consent service's tables, one function per question."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection

from digiid.formats.consent_receipt import Revocation
from digiid.institutions.information_authority.consents.domain import (
    Consent,
    ConsentGroup,
    ConsentState,
    DataCategory,
    HistoryEntry,
    PurposeDeclaration,
    ServiceDeclaration,
    Snapshot,
    Texts,
    parse_snapshot,
)
from digiid.platform.db import UtcDateTime
from digiid.platform.disclosures import disclosures_table
from digiid.platform.journal import journal_table
from digiid.platform.outbox import outbox_table
from digiid.platform.sent_requests import sent_requests_table
from digiid.platform.web.sessions import sessions_table
from digiid.platform.web.sign_ins import sign_ins_table
from digiid.platform.web.signing import pending_signatures_table

metadata: Final = MetaData()
JOURNAL: Final = journal_table(metadata)
OUTBOX: Final = outbox_table(metadata)
SESSIONS: Final = sessions_table(metadata)
SIGN_INS: Final = sign_ins_table(metadata)
PENDING_SIGNATURES: Final = pending_signatures_table(metadata)
DISCLOSURES: Final = disclosures_table(metadata)
SENT_REQUESTS: Final = sent_requests_table(metadata)

# `content` is the declaration as JSON; what is asked for by is in columns beside it.
SERVICE_DECLARATIONS: Final = Table(
    "service_declarations",
    metadata,
    Column("identifier", String(40), primary_key=True),
    Column("provider", String(420), nullable=False),
    Column("content", Text, nullable=False),
    Column("is_valid", Boolean, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)
PURPOSE_DECLARATIONS: Final = Table(
    "purpose_declarations",
    metadata,
    Column("identifier", String(40), primary_key=True),
    Column("service_declaration", String(40), nullable=False),
    Column("client", String(420), nullable=False),
    Column("content", Text, nullable=False),
    Column("is_valid", Boolean, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)
Index("purpose_declarations_service", PURPOSE_DECLARATIONS.c.service_declaration)
GROUPS: Final = Table(
    "consent_groups",
    metadata,
    Column("group_reference", String(64), primary_key=True),
    Column("link_hash", LargeBinary(32), nullable=False, unique=True),
    Column("client", String(420), nullable=False),
    Column("actor_code", String(11), nullable=False),
    Column("callback", String(500), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("link_expires_at", UtcDateTime, nullable=False),
    Column("opened_at", UtcDateTime),
)
Index("consent_groups_actor", GROUPS.c.actor_code, GROUPS.c.client, GROUPS.c.created_at)
CONSENTS: Final = Table(
    "consents",
    metadata,
    Column("consent_id", String(36), primary_key=True),
    Column("consent_reference", String(64), nullable=False, unique=True),
    Column("group_reference", String(64), nullable=False),
    Column("purpose_declaration", String(40), nullable=False),
    Column("service_declaration", String(40), nullable=False),
    Column("client", String(420), nullable=False),
    Column("provider", String(420), nullable=False),
    Column("subject_code", String(11), nullable=False),
    Column("actor_code", String(11), nullable=False),
    Column("relation", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("decided_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("locale", String(2)),
    Column("replaces", String(36)),
    # the texts shown, and what was made of the decision
    Column("snapshot", Text, nullable=False),
    Column("receipt", Text),
    Column("signed_consent", LargeBinary),
    Column("signed_withdrawal", LargeBinary),
)
Index("consents_actor", CONSENTS.c.actor_code, CONSENTS.c.requested_at)
Index("consents_subject", CONSENTS.c.subject_code, CONSENTS.c.purpose_declaration)
Index("consents_group", CONSENTS.c.group_reference)
Index("consents_purpose", CONSENTS.c.purpose_declaration, CONSENTS.c.state)
Index("consents_due", CONSENTS.c.state, CONSENTS.c.expires_at)
HISTORY: Final = Table(
    "consent_history",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("consent_id", String(36), nullable=False),
    Column("event", String(20), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
Index("consent_history_consent", HISTORY.c.consent_id, HISTORY.c.position)
# Numbered for each receiver from 1 on, without gaps: who holds 1 to n has missed nothing.
REVOCATIONS: Final = Table(
    "revocations",
    metadata,
    Column("audience", String(420), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("consent_reference", String(64), nullable=False),
    Column("reason", String(40), nullable=False),
    Column("revoked_at", UtcDateTime, nullable=False),
)


# ---------------------------------------------------------------------------------------------- declarations


def put_service_declaration(tx: Connection, declaration: ServiceDeclaration, at: datetime) -> None:
    """Write a declaration, new or changed."""
    values = {
        "provider": declaration.provider,
        "content": _content(declaration),
        "is_valid": declaration.is_valid,
        "changed_at": at,
    }
    _put(tx, SERVICE_DECLARATIONS, declaration.identifier, values)


def put_purpose_declaration(tx: Connection, declaration: PurposeDeclaration, at: datetime) -> None:
    values = {
        "service_declaration": declaration.service_declaration,
        "client": declaration.client,
        "content": _content(declaration),
        "is_valid": declaration.is_valid,
        "changed_at": at,
    }
    _put(tx, PURPOSE_DECLARATIONS, declaration.identifier, values)


def find_service_declaration(tx: Connection, identifier: str) -> ServiceDeclaration | None:
    content = _find(tx, SERVICE_DECLARATIONS, identifier)
    if content is None:
        return None
    content["categories"] = tuple(
        DataCategory(category["code"], Texts(**category["label"])) for category in content["categories"]
    )
    for name in ("name", "description"):
        content[name] = Texts(**content[name])
    return ServiceDeclaration(**content)


def find_purpose_declaration(tx: Connection, identifier: str) -> PurposeDeclaration | None:
    content = _find(tx, PURPOSE_DECLARATIONS, identifier)
    if content is None:
        return None
    for name in ("service_name", "name", "purpose", "refusal"):
        content[name] = Texts(**content[name])
    content["callbacks"] = tuple(content["callbacks"])
    return PurposeDeclaration(**content)


def list_purposes_of_service(tx: Connection, service_declaration: str) -> list[str]:
    t = PURPOSE_DECLARATIONS.c
    query = select(t.identifier).where(t.service_declaration == service_declaration).order_by(t.identifier)
    return list(tx.execute(query).scalars())


def _put(tx: Connection, table: Table, identifier: str, values: Mapping[str, Any]) -> None:
    changed = tx.execute(update(table).where(table.c.identifier == identifier).values(**values))
    if changed.rowcount == 0:
        tx.execute(insert(table).values(identifier=identifier, **values))


def _find(tx: Connection, table: Table, identifier: str) -> dict[str, Any] | None:
    query = select(table.c.content, table.c.is_valid).where(table.c.identifier == identifier)
    row = tx.execute(query).one_or_none()
    if row is None:
        return None
    content: dict[str, Any] = json.loads(row.content)
    content["expires_at"] = datetime.fromisoformat(content["expires_at"])
    return content | {"is_valid": row.is_valid}


def _content(declaration: ServiceDeclaration | PurposeDeclaration) -> str:
    return json.dumps(asdict(declaration), default=datetime.isoformat, sort_keys=True, ensure_ascii=False)


# ---------------------------------------------------------------------------------------------- groups and links


def insert_group(tx: Connection, group: ConsentGroup, link_hash: bytes) -> None:
    tx.execute(insert(GROUPS).values(link_hash=link_hash, **asdict(group)))


def find_group_of_link(tx: Connection, link_hash: bytes) -> ConsentGroup | None:
    row = tx.execute(_groups().where(GROUPS.c.link_hash == link_hash)).one_or_none()
    return ConsentGroup(*row) if row else None


def find_group(tx: Connection, group_reference: str) -> ConsentGroup | None:
    row = tx.execute(_groups().where(GROUPS.c.group_reference == group_reference)).one_or_none()
    return ConsentGroup(*row) if row else None


def mark_opened(tx: Connection, group_reference: str, at: datetime) -> None:
    tx.execute(update(GROUPS).where(GROUPS.c.group_reference == group_reference).values(opened_at=at))


def count_groups_since(tx: Connection, *, actor_code: str, client: str, since_at: datetime) -> int:
    g = GROUPS.c
    query = select(func.count()).select_from(GROUPS)
    query = query.where(g.actor_code == actor_code, g.client == client, g.created_at > since_at)
    return int(tx.execute(query).scalar_one())


def delete_empty_groups(tx: Connection, before_at: datetime) -> None:
    """Links that lead nowhere any more: their consents were asked for anew by later ones."""
    used = select(CONSENTS.c.group_reference)
    tx.execute(delete(GROUPS).where(GROUPS.c.link_expires_at < before_at, GROUPS.c.group_reference.not_in(used)))


def _groups() -> Any:
    g = GROUPS.c
    return select(g.group_reference, g.client, g.actor_code, g.callback, g.created_at, g.link_expires_at, g.opened_at)


# ---------------------------------------------------------------------------------------------- consents


def insert_consent(tx: Connection, consent: Consent, snapshot: Snapshot) -> None:
    values = asdict(consent) | {"state": consent.state.value, "snapshot": snapshot.to_json()}
    tx.execute(insert(CONSENTS).values(**values))


def update_consent(tx: Connection, consent: Consent) -> None:
    """Write what may change: the state with its instants, the group, the language of the decision."""
    tx.execute(
        update(CONSENTS)
        .where(CONSENTS.c.consent_id == consent.consent_id)
        .values(
            state=consent.state.value,
            group_reference=consent.group_reference,
            decided_at=consent.decided_at,
            ended_at=consent.ended_at,
            locale=consent.locale,
        )
    )


def find_consent(tx: Connection, consent_id: str) -> Consent | None:
    return _one(tx, CONSENTS.c.consent_id == consent_id)


def find_consent_by_reference(tx: Connection, consent_reference: str) -> Consent | None:
    return _one(tx, CONSENTS.c.consent_reference == consent_reference)


def find_extension(tx: Connection, consent_id: str) -> Consent | None:
    """The request that would replace this consent, if one is waiting."""
    c = CONSENTS.c
    rows = _many(tx, c.replaces == consent_id, c.state == ConsentState.REQUESTED.value)
    return rows[0] if rows else None


def list_consents_of_person(tx: Connection, personal_code: str) -> list[Consent]:
    """Those that the person decides on, and those about the person, the newest first."""
    c = CONSENTS.c
    return _many(tx, or_(c.actor_code == personal_code, c.subject_code == personal_code))


def list_consents_of_group(tx: Connection, group_reference: str) -> list[Consent]:
    return _many(tx, CONSENTS.c.group_reference == group_reference)


def list_consents_for(
    tx: Connection, *, subject_code: str, purpose_declaration: str, states: Sequence[ConsentState]
) -> list[Consent]:
    c = CONSENTS.c
    return _many(
        tx,
        c.subject_code == subject_code,
        c.purpose_declaration == purpose_declaration,
        c.state.in_([state.value for state in states]),
    )


def list_consents_of_purpose(tx: Connection, purpose_declaration: str, states: Sequence[ConsentState]) -> list[Consent]:
    c = CONSENTS.c
    return _many(tx, c.purpose_declaration == purpose_declaration, c.state.in_([state.value for state in states]))


def list_consents_by_references(tx: Connection, references: Sequence[str]) -> list[Consent]:
    found: list[Consent] = []
    for start in range(0, len(references), 500):  # parameters of a statement are limited
        found += _many(tx, CONSENTS.c.consent_reference.in_(references[start : start + 500]))
    return found


def list_due(tx: Connection, *, at: datetime, requested_before_at: datetime, limit: int) -> list[Consent]:
    """Approved consents whose time is over, and requests that nobody answered."""
    c = CONSENTS.c
    query = _consents().where(
        or_(
            (c.state == ConsentState.APPROVED.value) & (c.expires_at <= at),
            (c.state == ConsentState.REQUESTED.value) & or_(c.requested_at <= requested_before_at, c.expires_at <= at),
        )
    )
    return [_consent(row) for row in tx.execute(query.order_by(c.expires_at).limit(limit))]


def read_snapshot(tx: Connection, consent_id: str) -> Snapshot:
    text = tx.execute(select(CONSENTS.c.snapshot).where(CONSENTS.c.consent_id == consent_id)).scalar_one()
    return parse_snapshot(text)


def read_receipt(tx: Connection, consent_id: str) -> str | None:
    return tx.execute(select(CONSENTS.c.receipt).where(CONSENTS.c.consent_id == consent_id)).scalar_one_or_none()


def keep_receipt(tx: Connection, consent_id: str, receipt: str) -> None:
    tx.execute(update(CONSENTS).where(CONSENTS.c.consent_id == consent_id).values(receipt=receipt))


def keep_signed(
    tx: Connection, consent_id: str, *, consent: bytes | None = None, withdrawal: bytes | None = None
) -> None:
    """The container that the person signed."""
    values = {"signed_consent": consent} if consent is not None else {"signed_withdrawal": withdrawal}
    tx.execute(update(CONSENTS).where(CONSENTS.c.consent_id == consent_id).values(**values))


def read_signed(tx: Connection, consent_id: str) -> tuple[bytes | None, bytes | None]:
    """The signed consent and the signed withdrawal."""
    c = CONSENTS.c
    row = tx.execute(select(c.signed_consent, c.signed_withdrawal).where(c.consent_id == consent_id)).one()
    return row.signed_consent, row.signed_withdrawal


def _one(tx: Connection, condition: Any) -> Consent | None:
    row = tx.execute(_consents().where(condition)).one_or_none()
    return _consent(row) if row else None


def _many(tx: Connection, *conditions: Any) -> list[Consent]:
    query = _consents().where(*conditions).order_by(CONSENTS.c.requested_at.desc(), CONSENTS.c.consent_id)
    return [_consent(row) for row in tx.execute(query)]


def _consents() -> Any:
    c = CONSENTS.c
    return select(
        c.consent_id,
        c.consent_reference,
        c.group_reference,
        c.purpose_declaration,
        c.service_declaration,
        c.client,
        c.provider,
        c.subject_code,
        c.actor_code,
        c.relation,
        c.state,
        c.requested_at,
        c.expires_at,
        c.decided_at,
        c.ended_at,
        c.locale,
        c.replaces,
    )


def _consent(row: Any) -> Consent:
    return Consent(**(dict(row._mapping) | {"state": ConsentState(row.state)}))


# ---------------------------------------------------------------------------------------------- history, revocations


def add_history(tx: Connection, consent_id: str, event: str, at: datetime) -> None:
    tx.execute(insert(HISTORY).values(consent_id=consent_id, event=event, at=at))


def has_history(tx: Connection, consent_id: str, event: str, at: datetime) -> bool:
    h = HISTORY.c
    query = select(h.position).where(h.consent_id == consent_id, h.event == event, h.at == at).limit(1)
    return tx.execute(query).one_or_none() is not None


def list_history(tx: Connection, consent_id: str, *, limit: int) -> list[HistoryEntry]:
    """What happened, the newest first."""
    h = HISTORY.c
    query = select(h.event, h.at).where(h.consent_id == consent_id).order_by(h.at.desc(), h.position.desc())
    return [HistoryEntry(*row) for row in tx.execute(query.limit(limit))]


def add_revocation(tx: Connection, audience: str, consent_reference: str, reason: str, at: datetime) -> int:
    """Number a revocation for one receiver. Returns the number."""
    number = revocation_head(tx, audience) + 1
    tx.execute(
        insert(REVOCATIONS).values(
            audience=audience, number=number, consent_reference=consent_reference, reason=reason, revoked_at=at
        )
    )
    return number


def revocation_head(tx: Connection, audience: str) -> int:
    r = REVOCATIONS.c
    return int(tx.execute(select(func.coalesce(func.max(r.number), 0)).where(r.audience == audience)).scalar_one())


def list_revocations(tx: Connection, audience: str, *, after: int, limit: int) -> list[Revocation]:
    r = REVOCATIONS.c
    query = select(r.number, r.consent_reference, r.reason, r.revoked_at)
    query = query.where(r.audience == audience, r.number > after).order_by(r.number).limit(limit)
    return [Revocation(*row) for row in tx.execute(query)]
