"""The data provider's side of consent: judge the receipt that came with a question, know what was revoked since.

Consent is judged by the owner of the data, offline: the receipt's seal, its scope, purpose, client, person and time;
and a table of revocations that the consent service pushes and that is polled besides. How old that table may be is
said by each receipt (`validation_cache_seconds`): when it is older, nothing is answered. A withdrawal therefore works
at once when the push arrives, and after that many seconds at the latest, whatever is down.

A provider's use case:

    consent = verify_consent(caller.consent, seal=…, service=GET_ADDRESS.service, client=caller.client,
                             subject_code=code, purpose=caller.purpose, revoked=cache.view(tx), at=now)
    answer = {field: value for field, value in address.items() if consent.opens(f"address.{field}")}

and around it, once: `RevocationCache` with its table, `revocation_service` for the push, `revocation_timer` for the
poll, `put_transmission` and `transmission_handler` for the report that every transfer is followed by.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, update
from sqlalchemy.engine import Connection

from digiid.contracts.consents import RevocationNotice, consents_revoked
from digiid.contracts.operation import Done
from digiid.exchange.consent_client import ConsentClient
from digiid.exchange.gate import Caller, Service
from digiid.formats.consent_receipt import (
    ConsentReceipt,
    ConsentSeal,
    Revocation,
    RevocationStatement,
    verify_receipt,
    verify_revocations,
)
from digiid.kernel.errors import Broken, Malformed, Refused, Unavailable
from digiid.kernel.identifiers import ClientId, ServiceId
from digiid.platform import outbox
from digiid.platform.clock import Clock
from digiid.platform.db import Database, UtcDateTime
from digiid.platform.outbox import Handler, OutboxMessage
from digiid.platform.timers import Timer
from digiid.platform.web import N_

POLL_EVERY: Final = timedelta(minutes=2)
TRANSMISSION: Final = "consent_transmission"  # the kind of outbox message
_MAX_PAGES: Final = 1000
log = structlog.get_logger("consent")


@dataclass(frozen=True, slots=True)
class VerifiedConsent:
    """A consent that covers this question. `data_categories` are dotted; `address` opens all below `address.`."""

    consent_reference: str
    receipt_id: str
    subject_code: str
    representative_code: str | None
    purpose_declaration: str
    purpose_sha256: str
    service_declaration: str
    data_categories: frozenset[str]
    granted_at: datetime
    expires_at: datetime

    def opens(self, category: str) -> bool:
        """May what falls under this category (`address.street`) be answered?"""
        parts = category.split(".")
        return any(".".join(parts[:count]) in self.data_categories for count in range(1, len(parts) + 1))


@dataclass(frozen=True, slots=True)
class RevocationView:
    """What a provider knows in one transaction: everything up to `as_of`; None when it was never told anything."""

    as_of: datetime | None
    find: Callable[[str], Revocation | None]


_PUBLIC: Final = {
    "missing": N_("The person's consent is needed, and no consent receipt came with the question."),
    "unreadable": N_("The consent receipt cannot be read."),
    "seal": N_("The consent receipt was not sealed by the consent service, or was changed."),
    "audience": N_("The consent receipt is for data of another institution."),
    "expired": N_("The consent has expired. Ask the person for a new one."),
    "not_yet_valid": N_("The consent receipt is not valid yet. Check the clocks."),
    "client": N_("The consent was given to somebody else than the asker."),
    "person": N_("The consent is another person's."),
    "service": N_("The consent does not cover this service."),
    "purpose": N_("The consent was given for another purpose."),
    "revoked": N_("The person has withdrawn the consent, or it does not hold any more."),
}


def verify_consent(
    receipt: str | None,
    *,
    seal: ConsentSeal,
    service: ServiceId,
    client: ClientId,
    subject_code: str,
    purpose: str | None,
    revoked: RevocationView,
    at: datetime,
) -> VerifiedConsent:
    """Judge the receipt that came with a question about `subject_code` to `service` from `client`.

    `client` is the one that the exchange established. `purpose` is the purpose declaration that the asker names
    (X-Digiid-Purpose); None when it names none, which leaves the receipt's.

    Raises:
        Malformed: `exchange.consent.unreadable`.
        Refused: `exchange.consent.` `missing`, `seal`, `audience`, `not_yet_valid`, `expired`, `client`, `person`,
            `service`, `purpose`, `revoked`; the public text may be shown.
        Unavailable: `exchange.consent.revocations_outdated`, nothing new was heard of revocations for longer than the
            receipt allows.
    """
    # 1 there is one
    if not receipt:
        raise _refused("missing", "no receipt")
    # 2 sealed by the consent service, for data of ours, in its time
    found = _verified(receipt, seal, service, at)
    # 3 for this asker, this person, this service, this purpose
    if found.client != str(client):
        raise _refused("client", f"given to {found.client}")
    if found.subject_code != subject_code:
        raise _refused("person", "given by another")
    if str(service) not in found.services:
        raise _refused("service", f"covers {', '.join(found.services)}")
    if purpose is not None and purpose != found.purpose_declaration:
        raise _refused("purpose", f"given for {found.purpose_declaration}")
    # 4 not ended since
    if revocation := revoked.find(found.consent_reference):
        raise _refused("revoked", f"{revocation.reason} at {revocation.at.isoformat()}")
    # 5 and we would know
    allowed = timedelta(seconds=found.validation_cache_seconds)
    if revoked.as_of is None or at - revoked.as_of > allowed:
        known = revoked.as_of.isoformat() if revoked.as_of else "never"
        raise Unavailable(
            "exchange.consent.revocations_outdated",
            f"last complete news of revocations: {known}",
            public="Whether the consent still holds cannot be checked now. Try again in a minute.",
        )
    return VerifiedConsent(
        found.consent_reference,
        found.receipt_id,
        found.subject_code,
        found.representative_code,
        found.purpose_declaration,
        found.purpose_sha256,
        found.service_declaration,
        frozenset(found.data_categories),
        found.granted_at,
        found.expires_at,
    )


def _verified(receipt: str, seal: ConsentSeal, service: ServiceId, at: datetime) -> ConsentReceipt:
    try:
        return verify_receipt(receipt, seal=seal, audience=str(service.provider), at=at).receipt
    except Malformed as error:
        raise Malformed("exchange.consent.unreadable", str(error), public=_PUBLIC["unreadable"]) from error
    except Refused as error:
        which = error.code.removeprefix("consent_receipt.")
        raise _refused(which if which in _PUBLIC else "seal", str(error)) from error


def _refused(which: str, detail: str) -> Refused:
    return Refused(f"exchange.consent.{which}", detail, public=_PUBLIC[which])


# ------------------------------------------------------------------ what was revoked


@dataclass(frozen=True, slots=True)
class RevocationTables:
    """The tables `consent_revocations` and `consent_news` of one institution."""

    revocations: Table
    news: Table


def revocation_tables(metadata: MetaData) -> RevocationTables:
    """What an institution keeps of revocations. May be lost (it is fetched again), may not be rolled back unseen:
    an older table knows less, and `consent_news` says of when it is."""
    revocations = Table(
        "consent_revocations",
        metadata,
        Column("consent_reference", String(64), primary_key=True),
        Column("number", Integer, nullable=False),
        Column("reason", String(40), nullable=False),
        Column("revoked_at", UtcDateTime, nullable=False),
    )
    news = Table(
        "consent_news",
        metadata,
        Column("audience", String(420), primary_key=True),
        Column("up_to", Integer, nullable=False),
        Column("as_of", UtcDateTime),
    )
    return RevocationTables(revocations, news)


class RevocationCache:
    """One subsystem's table of revocations: told by the consent service, asked for besides, there after a restart."""

    def __init__(
        self, db: Database, tables: RevocationTables, *, seal: ConsentSeal, audience: ClientId, clock: Clock
    ) -> None:
        self._db, self._tables, self._seal, self._clock = db, tables, seal, clock
        self.audience = audience

    def view(self, tx: Connection) -> RevocationView:
        """What is known now, for `verify_consent` in the same transaction as the answer."""
        _, as_of = self._news(tx)
        t = self._tables.revocations.c

        def find(reference: str) -> Revocation | None:
            query = select(t.number, t.consent_reference, t.reason, t.revoked_at)
            row = tx.execute(query.where(t.consent_reference == reference)).one_or_none()
            return Revocation(*row) if row else None

        return RevocationView(as_of, find)

    def take(self, statement: str) -> None:
        """Take in a statement, pushed or polled, new or repeated or out of order: what it says once stays known.

        Raises: Malformed and Refused as `verify_revocations`; Broken `exchange.consent.rolled_back` when the consent
            service has forgotten revocations that it told before.
        """
        told = verify_revocations(statement, seal=self._seal, audience=str(self.audience), at=self._clock.now())
        self._db.retry(lambda: self._take(told))

    def _take(self, told: RevocationStatement) -> None:
        with self._db.write() as tx:
            up_to, as_of = self._news(tx)
            # 1 a newer statement with fewer revocations: somebody has set the service's database back
            if told.head < up_to and (as_of is None or told.issued_at > as_of):
                raise Broken("exchange.consent.rolled_back", f"{told.head} revocations after {up_to} were told")
            # 2 what it tells is true whatever is missing before it
            t = self._tables.revocations
            for revocation in told.revocations:
                known = select(t.c.number).where(t.c.consent_reference == revocation.consent_reference)
                if tx.execute(known).one_or_none() is None:
                    tx.execute(
                        insert(t).values(
                            consent_reference=revocation.consent_reference,
                            number=revocation.number,
                            reason=revocation.reason,
                            revoked_at=revocation.at,
                        )
                    )
            # 3 without a gap behind what we have, we know more
            if told.after > up_to:
                return
            up_to = max(up_to, told.up_to)
            # 4 and up to the end, we know everything as of then; never of a time that is still to come
            if told.is_complete and told.head == up_to:
                heard = min(told.issued_at, self._clock.now())
                as_of = heard if as_of is None else max(as_of, heard)
            self._remember(tx, up_to, as_of)

    def poll(self, fetch: Callable[[int], str]) -> None:
        """Ask (`ConsentClient.fetch_revocations`) for everything that we do not have yet, outside any transaction."""
        for _ in range(_MAX_PAGES):
            with self._db.read() as tx:
                before, _ = self._news(tx)
            statement = fetch(before)
            self.take(statement)
            with self._db.read() as tx:
                up_to, _ = self._news(tx)
            if up_to == before:
                return

    def as_of(self) -> datetime | None:
        """Until when everything is known: for a status page."""
        with self._db.read() as tx:
            return self._news(tx)[1]

    def _news(self, tx: Connection) -> tuple[int, datetime | None]:
        t = self._tables.news.c
        row = tx.execute(select(t.up_to, t.as_of).where(t.audience == str(self.audience))).one_or_none()
        return (row.up_to, row.as_of) if row else (0, None)

    def _remember(self, tx: Connection, up_to: int, as_of: datetime | None) -> None:
        t = self._tables.news
        changed = tx.execute(update(t).where(t.c.audience == str(self.audience)).values(up_to=up_to, as_of=as_of))
        if changed.rowcount == 0:
            tx.execute(insert(t).values(audience=str(self.audience), up_to=up_to, as_of=as_of))


def revocation_service(cache: RevocationCache) -> Service:
    """The service by which the consent service pushes revocations to this subsystem."""

    def take(_: Caller, notice: RevocationNotice) -> Done:
        cache.take(notice.statement)
        return Done()

    return Service(consents_revoked(cache.audience), take)


def revocation_timer(cache: RevocationCache, consents: ConsentClient, every: timedelta = POLL_EVERY) -> Timer:
    """The poll. Also what keeps the table fresh: shorter than the shortest `validation_cache_seconds`."""

    def poll() -> None:
        try:
            cache.poll(consents.fetch_revocations)
        except Unavailable as error:
            log.warning("consent.poll", audience=str(cache.audience), code=error.code)

    return Timer("consent_revocations", every, poll)


# ------------------------------------------------------------------ what went out under a consent


def put_transmission(tx: Connection, table: Table, consent_reference: str, *, message_id: str, at: datetime) -> None:
    """In the transaction of the answer: the consent service, and so the person, is told that data went out.

    `message_id` is a new one, not the caller's: a question that is repeated is answered again.
    """
    payload = {"consent_reference": consent_reference, "at": at.isoformat()}
    outbox.put(tx, table, message_id=message_id, kind=TRANSMISSION, payload=payload, at=at)


def transmission_handler(consents: ConsentClient) -> Handler:
    """The outbox handler for `TRANSMISSION`."""

    def deliver(message: OutboxMessage) -> None:
        at = datetime.fromisoformat(str(message.payload["at"]))
        consents.report_transmission(str(message.payload["consent_reference"]), at)

    return deliver
