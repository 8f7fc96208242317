"""What every use case of the board is given, and how a case takes a step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.engine import Connection

from digiid.exchange.client import Client
from digiid.institutions.police_board import store
from digiid.institutions.police_board.domain import N_
from digiid.institutions.police_board.domain import application as applications
from digiid.institutions.police_board.domain import document as documents
from digiid.institutions.police_board.domain import right as rights
from digiid.institutions.police_board.domain.application import ApplicationEvent
from digiid.institutions.police_board.domain.document import DocumentEvent
from digiid.institutions.police_board.domain.right import RightEvent
from digiid.institutions.police_board.peers import ListFiles, PaymentProvider
from digiid.institutions.police_board.store.applications import Application
from digiid.institutions.police_board.store.documents import Document
from digiid.institutions.police_board.store.officers import Officer
from digiid.institutions.police_board.store.rights import Right
from digiid.institutions.police_board.store.schema import DISCLOSURES, JOURNAL, OUTBOX
from digiid.kernel.errors import Refused
from digiid.kernel.states import Edge, StateTable, take_edge
from digiid.platform import journal, outbox
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.disclosures import Disclosed, Look, record_disclosure
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.mail import MailTransport
from digiid.platform.outbox import Bell
from digiid.platform.web.dates import TIME_ZONE

OFFICER_ROLES = ("officer", "deciding_officer")


@dataclass(frozen=True, slots=True)
class Deps:
    """`fee_cents` and `currency`: the state fee. `apply_url`: origin of the applicant's pages, for letters.

    `longest_delay`: for how long a look may at most be kept back from the person.
    """

    db: Database
    clock: Clock
    entropy: Entropy
    exchange: Client
    payments: PaymentProvider
    lists: ListFiles
    mail: MailTransport
    apply_url: str
    fee_cents: int = 15_000
    currency: str = "EUR"
    accepts_specimens: bool = False
    longest_delay: timedelta = timedelta(days=365)
    wake_outbox: Bell = field(default_factory=Bell)

    def today(self) -> date:
        """The day in Tallinn: the law's periods run by its calendar."""
        return self.clock.now().astimezone(TIME_ZONE).date()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who takes a step: `role` is what the state tables name, `name` is what the history shows."""

    role: str
    name: str
    officer_id: str = ""

    @classmethod
    def of(cls, officer: Officer) -> "Actor":
        return cls(officer.role, officer.name, officer.officer_id)


APPLICANT = Actor("applicant", N_("applicant"))
SYSTEM = Actor("system", N_("system"))
BUREAU = Actor("card_bureau", N_("Card Bureau"))

T = TypeVar("T")
S = TypeVar("S", bound=applications.ApplicationState | documents.DocumentState | rights.RightState)
E = TypeVar("E", bound=ApplicationEvent | DocumentEvent | RightEvent)


def move_application(
    deps: Deps,
    tx: Connection,
    case: Application,
    event: ApplicationEvent,
    actor: Actor,
    *,
    note: str = "",
    **values: Any,
) -> Application:
    """Take one edge of the application's table: new state, history, journal and what the edge publishes."""
    edge = _take(applications.TABLE, case.state, event, actor)
    now = deps.clock.now()
    store.applications.change_application(tx, case.application_id, state=edge.to.value, changed_at=now, **values)
    _record(tx, "application", case.application_id, case.state, event=event, edge=edge, actor=actor, note=note, at=now)
    moved = store.applications.get_application(tx, case.application_id)
    for name in edge.publishes:
        if name.startswith("mail."):
            put_letter(deps, tx, name.removeprefix("mail."), moved)
        else:
            put_message(deps, tx, name, {"application_id": case.application_id}, key=case.application_id)
    return moved


def move_document(
    deps: Deps,
    tx: Connection,
    document: Document,
    event: DocumentEvent,
    actor: Actor,
    *,
    reason: str = "",
    **values: Any,
) -> Document:
    """Take one edge of the document's table. What each receiver must hear keeps its order per document."""
    edge = _take(documents.TABLE, document.state, event, actor)
    now = deps.clock.now()
    values = {"state": edge.to.value, "state_reason": reason, "changed_at": now, **values}
    store.documents.change_document(tx, document.document_number, **values)
    _record(
        tx,
        "document",
        document.document_number,
        document.state,
        event=event,
        edge=edge,
        actor=actor,
        note=reason,
        at=now,
    )
    for name in edge.publishes:
        if name.startswith("mail."):
            case = store.applications.get_application(tx, document.application_id)
            put_letter(deps, tx, name.removeprefix("mail."), case, document_number=document.document_number)
        else:
            payload = {"document_number": document.document_number, "order_id": document.order_id, "event": event.value}
            # each receiver hears in order, and none waits for another: a revocation never stands behind a notice
            receiver = name.split(".", 1)[0]
            put_message(deps, tx, name, payload, key=f"{receiver}-{document.document_number}")
    return store.documents.get_document(tx, document.document_number)


def move_right(
    deps: Deps, tx: Connection, right: Right, event: RightEvent, actor: Actor, *, reason: str, **values: Any
) -> Right:
    """Take one edge of the right's table. What follows for the documents is the caller's to do: they live apart."""
    edge = _take(rights.TABLE, right.state, event, actor)
    now = deps.clock.now()
    store.rights.change_right(tx, right.right_id, state=edge.to.value, state_reason=reason, changed_at=now, **values)
    _record(tx, "right", right.right_id, right.state, event=event, edge=edge, actor=actor, note=reason, at=now)
    return store.rights.get_right(tx, right.right_id)


def lapse_right_without_documents(deps: Deps, tx: Connection, right_id: str) -> None:
    """A right ends with its last document: expired, or never collected. Whoever wants a new one applies again."""
    ended = (
        documents.DocumentState.EXPIRED,
        documents.DocumentState.UNCOLLECTED,
        documents.DocumentState.REVOKED,
        documents.DocumentState.SUPERSEDED,
    )
    right = store.rights.get_right(tx, right_id)
    if RightEvent.LAPSE in rights.TABLE[right.state] and all(
        document.state in ended for document in store.documents.find_documents_of_right(tx, right_id)
    ):
        move_right(deps, tx, right, RightEvent.LAPSE, SYSTEM, reason="")


def put_message(deps: Deps, tx: Connection, kind: str, payload: Mapping[str, Any], *, key: str) -> None:
    """A message to another institution, in the transaction of the act."""
    message_id = new_id(deps.entropy)
    outbox.put(tx, OUTBOX, message_id=message_id, kind=kind, payload=payload, at=deps.clock.now(), ordering_key=key)


def put_letter(deps: Deps, tx: Connection, letter: str, case: Application, *, document_number: str = "") -> None:
    """A letter to the applicant; without an account (entered at the counter) there is nobody to write to."""
    account = store.accounts.find_account(tx, account_id=case.account_id) if case.account_id else None
    if account is None:
        return
    payload = {
        "letter": letter,
        "to": account.email,
        "language": case.language,
        "number": case.number,
        "document_number": document_number,
        "due_on": case.applicant_due_on.isoformat() if case.applicant_due_on else "",
        "challenge_until_on": case.challenge_until_on.isoformat() if case.challenge_until_on else "",
    }
    put_message(deps, tx, "mail", payload, key=f"mail-{account.account_id}")


def record_journal(tx: Connection, kind: str, *, at: datetime, **payload: journal.JsonValue) -> None:
    journal.record(tx, JOURNAL, kind=kind, payload=payload, at=at)


def disclose(
    deps: Deps, tx: Connection, value: T, person_code: str, *, look: Look, categories: Sequence[str]
) -> Disclosed[T]:
    """`look` at one person is on record with the answer, in the same transaction."""
    return record_disclosure(
        tx,
        DISCLOSURES,
        JOURNAL,
        value,
        personal_code=person_code,
        look=look,
        categories=categories,
        at=deps.clock.now(),
    )


def require_role(officer: Officer, *roles: str) -> Officer:
    """Raises: Refused `officer.not_allowed`."""
    if not officer.active or officer.role not in (roles or OFFICER_ROLES):
        raise Refused("officer.not_allowed", officer.officer_id, public="Your role does not allow this.")
    return officer


def _take(table: StateTable[S, E], state: S, event: E, actor: Actor) -> Edge[S]:
    edge = table.get(state, {}).get(event)
    # a deciding officer is an officer: what an officer may do, that one may too
    role = "officer" if edge and actor.role == "deciding_officer" and actor.role not in edge.actors else actor.role
    return take_edge(table, state, event, actor=role)


def _record(
    tx: Connection,
    kind: str,
    subject_id: str,
    state: str,
    *,
    event: str,
    edge: Edge[Any],
    actor: Actor,
    note: str,
    at: datetime,
) -> None:
    store.history.record_history(
        tx,
        store.history.HistoryEntry(
            kind, subject_id, at, actor.name, str(event), str(state), str(edge.to), edge.legal_basis, note
        ),
    )
    by = actor.officer_id or actor.role
    record_journal(tx, f"{kind}.{event}", at=at, subject=subject_id, by=by, state=str(edge.to))
