"""After the hand-over: losses, suspension, lifting, annulment, and the cases that reports open."""

from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.engine import Connection

from digiid.contracts.police_board import LIST_DOCUMENTS
from digiid.institutions.police_board import peers, store
from digiid.institutions.police_board.domain import N_, form
from digiid.institutions.police_board.domain import case as cases
from digiid.institutions.police_board.domain.application import Step
from digiid.institutions.police_board.domain.case import CaseEvent, CaseKind, CaseState
from digiid.institutions.police_board.domain.document import NOT_HANDED_OUT, DocumentEvent, DocumentState
from digiid.institutions.police_board.domain.law import (
    ANNULMENT_BASES,
    LIFTING_BASES,
    MEASURE_BASES,
    SUSPENSION_BASES,
    MeasureBasis,
)
from digiid.institutions.police_board.domain.right import RightEvent, RightState
from digiid.institutions.police_board.store.accounts import Account
from digiid.institutions.police_board.store.cases import Case, CaseNote, CaseReport
from digiid.institutions.police_board.store.deliveries import HandOver
from digiid.institutions.police_board.store.documents import Document
from digiid.institutions.police_board.store.history import HistoryEntry
from digiid.institutions.police_board.store.look_delays import LookDelay
from digiid.institutions.police_board.store.officers import Officer
from digiid.institutions.police_board.store.rights import Right
from digiid.institutions.police_board.use_cases.deps import (
    SYSTEM,
    Actor,
    Deps,
    disclose,
    lapse_right_without_documents,
    move_document,
    move_right,
    record_journal,
    require_role,
)
from digiid.kernel.errors import Conflict, NotFound
from digiid.kernel.states import take_edge
from digiid.platform.disclosures import Disclosed, Look
from digiid.platform.entropy import new_id

log = structlog.get_logger("police_board")
_LIVING = (DocumentState.ACTIVE, DocumentState.SUSPENDED)


# --- documents -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DocumentView:
    document: Document
    right: Right
    holder: str
    hand_over: HandOver | None
    history: list[HistoryEntry]
    right_history: list[HistoryEntry]
    cases: list[Case]


def list_documents(deps: Deps, *, text: str = "") -> list[Document]:
    """The newest documents, or those of one number or person."""
    with deps.db.read() as tx:
        return store.documents.find_documents(tx, text=text.strip())


def get_document(deps: Deps, document_number: str) -> DocumentView:
    """Raises: NotFound `document.unknown`."""
    with deps.db.read() as tx:
        return view_document(tx, document_number)


def view_document(tx: Connection, document_number: str) -> DocumentView:
    """Raises: NotFound `document.unknown`."""
    document = store.documents.get_document(tx, document_number)
    personal = store.applications.find_steps(tx, document.application_id).get(Step.PERSONAL, {})
    return DocumentView(
        document=document,
        right=store.rights.get_right(tx, document.right_id),
        holder=f"{personal.get('given_names', '')} {personal.get('surname', '')}".strip(),
        hand_over=store.deliveries.find_hand_over(tx, document.order_id),
        history=store.history.find_history(tx, "document", document_number),
        right_history=store.history.find_history(tx, "right", document.right_id),
        cases=store.cases.find_cases_of(tx, document_number=document_number, person_code=document.person_code),
    )


def list_documents_of_person(deps: Deps, personal_code: str, *, look: Look) -> Disclosed[list[tuple[Document, Right]]]:
    """A holder's own documents with the right behind each, and the look at them on record."""

    def work() -> Disclosed[list[tuple[Document, Right]]]:
        with deps.db.write() as tx:
            documents = store.documents.find_documents_of_person(tx, personal_code)
            found = [(document, store.rights.get_right(tx, document.right_id)) for document in documents]
            return disclose(deps, tx, found, personal_code, look=look, categories=LIST_DOCUMENTS.discloses)

    return deps.db.retry(work)


def suspend_document(deps: Deps, officer: Officer, document_number: str, *, basis: MeasureBasis, reason: str) -> None:
    """Suspend: its certificates go on hold as soon as the commit is done. Raises: InvalidForm, Conflict, Refused."""
    text = _basis_text(officer, basis, SUSPENSION_BASES, reason)
    _measure(deps, officer, document_number, DocumentEvent.SUSPEND, reason=text)


def lift_suspension(deps: Deps, officer: Officer, document_number: str, *, basis: MeasureBasis, reason: str) -> None:
    """Lift a suspension. Raises: Conflict `right.not_granted` while the right itself is suspended."""
    text = _basis_text(officer, basis, LIFTING_BASES, reason)
    _measure(deps, officer, document_number, DocumentEvent.LIFT, reason=text)


def annul_document(deps: Deps, officer: Officer, document_number: str, *, basis: MeasureBasis, reason: str) -> None:
    """Annul a document for good; one that nobody has yet is stopped at the bureau. The right stays as it is."""
    text = _basis_text(officer, basis, ANNULMENT_BASES, reason)
    _measure(deps, officer, document_number, DocumentEvent.REVOKE, reason=text)


def _measure(deps: Deps, officer: Officer, document_number: str, event: DocumentEvent, *, reason: str) -> None:
    with deps.db.write() as tx:
        document = store.documents.get_document(tx, document_number)
        if event is DocumentEvent.LIFT:
            right = store.rights.get_right(tx, document.right_id)
            if right.state not in (RightState.GRANTED, RightState.LIMITED):
                raise Conflict(
                    "right.not_granted", right.state, public="The right itself is suspended. Lift that first."
                )
        move_document(deps, tx, document, event, Actor.of(officer), reason=reason)
    deps.wake_outbox()


def suspend_right(deps: Deps, officer: Officer, right_id: str, *, basis: MeasureBasis, reason: str) -> None:
    """Suspend what the person is entitled to: every active document is suspended with it."""
    text = _basis_text(officer, basis, SUSPENSION_BASES, reason)
    with deps.db.write() as tx:
        right = move_right(
            deps, tx, store.rights.get_right(tx, right_id), RightEvent.SUSPEND, Actor.of(officer), reason=text
        )
        for document in store.documents.find_documents_of_right(tx, right.right_id):
            if document.state is DocumentState.ACTIVE:
                move_document(deps, tx, document, DocumentEvent.SUSPEND, Actor.of(officer), reason=text)
    deps.wake_outbox()


def lift_right(deps: Deps, officer: Officer, right_id: str, *, basis: MeasureBasis, reason: str) -> None:
    """Lift the suspension of a right. Each document's own suspension is lifted by itself: it may have another cause."""
    text = _basis_text(officer, basis, LIFTING_BASES, reason)
    with deps.db.write() as tx:
        move_right(deps, tx, store.rights.get_right(tx, right_id), RightEvent.LIFT, Actor.of(officer), reason=text)
    deps.wake_outbox()


def annul_right(deps: Deps, officer: Officer, right_id: str, *, basis: MeasureBasis, reason: str) -> None:
    """Annul the right, and every document that still could be used or handed over."""
    text = _basis_text(officer, basis, ANNULMENT_BASES, reason)
    with deps.db.write() as tx:
        right = move_right(
            deps, tx, store.rights.get_right(tx, right_id), RightEvent.ANNUL, Actor.of(officer), reason=text
        )
        for document in store.documents.find_documents_of_right(tx, right.right_id):
            if document.state in (*_LIVING, DocumentState.HANDED_OUT, *NOT_HANDED_OUT):
                move_document(deps, tx, document, DocumentEvent.REVOKE, Actor.of(officer), reason=text)
    deps.wake_outbox()


def _basis_text(officer: Officer, basis: MeasureBasis, allowed: tuple[MeasureBasis, ...], reason: str) -> str:
    require_role(officer)
    text = form.parse_text({"reason": reason}, "reason", shortest=10, longest=1000)
    if basis not in allowed:
        raise form.InvalidForm({"basis": "choose"})
    return f"{MEASURE_BASES[basis]}\n{text}"  # two lines: the basis is shown in the reader's language


def expire_documents(deps: Deps) -> None:
    """The timer: documents whose last day is over."""
    with deps.db.write() as tx:
        for document in store.documents.find_documents_expired(tx, before=deps.today()):
            move_document(deps, tx, document, DocumentEvent.EXPIRE, SYSTEM)
            lapse_right_without_documents(deps, tx, document.right_id)


# --- loss ------------------------------------------------------------------------------------------------------------


_REPORTERS = {"holder": N_("holder"), "account": N_("holder's account"), "officer": N_("officer")}


def report_loss_by_holder(
    deps: Deps, *, personal_code: str, document_number: str, reported_by: str, note: str
) -> datetime:
    """The holder reports the own document lost: suspended at once. Repeating it changes nothing.

    Returns when it was suspended. Raises: NotFound `document.unknown`; Conflict when it cannot be suspended.
    """
    with deps.db.write() as tx:
        document = store.documents.get_document(tx, document_number)
        if document.person_code != personal_code:
            raise NotFound("document.unknown", "another person's", public="There is no such document.")
        suspended_at = _suspend_lost(
            deps, tx, document, actor=Actor(reported_by, _REPORTERS.get(reported_by, reported_by)), note=note
        )
    deps.wake_outbox()
    return suspended_at


def report_loss_by_account(deps: Deps, account: Account, application_id: str, *, note: str) -> datetime:
    """The same without the card: whoever has the account's mailbox can suspend, and only an officer lifts."""
    with deps.db.write() as tx:
        application = store.applications.get_application(tx, application_id)
        document = store.documents.find_document_of_application(tx, application_id)
        if application.account_id != account.account_id or document is None:
            raise NotFound("document.unknown", application_id, public="There is no such document.")
        suspended_at = _suspend_lost(deps, tx, document, actor=Actor("account", N_("holder's account")), note=note)
    deps.wake_outbox()
    return suspended_at


def _suspend_lost(deps: Deps, tx: Connection, document: Document, *, actor: Actor, note: str) -> datetime:
    now = deps.clock.now()
    text = note.strip()[:1000]
    if document.state is DocumentState.SUSPENDED:
        suspended_at = document.changed_at
    else:
        reason = MEASURE_BASES[MeasureBasis.LOSS]
        suspended_at = move_document(deps, tx, document, DocumentEvent.SUSPEND, actor, reason=reason).changed_at
    _add_to_case(
        deps,
        tx,
        kind=CaseKind.LOSS,
        subject=f"document:{document.document_number}",
        title=N_("Card reported lost"),
        document_number=document.document_number,
        person_code=document.person_code,
        report=CaseReport(new_id(deps.entropy), "", "loss", actor.name, text, "", now),
    )
    return suspended_at


# --- cases -----------------------------------------------------------------------------------------------------------

_ANOMALY_TITLES = {
    "counterfeit": N_("A card that we did not issue was presented"),
    "foreign": N_("A card of a foreign issuer was presented"),
    "cloned": N_("A copy of a card was presented"),
    "suspended_used": N_("A suspended card was presented"),
    "revoked_used": N_("An annulled card was presented"),
}


def open_anomaly_case(
    deps: Deps,
    *,
    report_id: str,
    kind: str,
    place: str,
    observed_at: datetime,
    personal_code: str | None,
    certificate_sha256: str | None,
    note: str,
) -> str:
    """A card that is not what it says was presented somewhere. Adds to the open case of that card. Returns its number.

    The same `report_id` gives the same case.
    """
    with deps.db.write() as tx:
        case = _add_to_case(
            deps,
            tx,
            kind=CaseKind.ANOMALY,
            subject=cases.subject_of_anomaly(
                certificate_sha256=certificate_sha256, personal_code=personal_code, report_id=report_id
            ),
            title=_ANOMALY_TITLES[kind],
            document_number=None,
            person_code=personal_code,
            report=CaseReport(report_id, "", kind, place, note, "", observed_at),
        )
    return case.case_number


def open_misuse_case(
    deps: Deps,
    *,
    report_id: str,
    what_happened: str,
    document_number: str,
    service: str,
    contact: str,
    reported_at: datetime,
) -> str:
    """Somebody tells of misuse. Reports that name the same document belong to one case. Returns its number."""
    with deps.db.write() as tx:
        subject = cases.subject_of_misuse(document_number=document_number, report_id=report_id)
        named = subject.removeprefix("document:")
        known = store.documents.find_documents(tx, text=named, limit=1) if document_number else []
        case = _add_to_case(
            deps,
            tx,
            kind=CaseKind.MISUSE,
            subject=subject,
            title=N_("Misuse reported"),
            document_number=known[0].document_number if known else None,
            person_code=known[0].person_code if known else None,
            report=CaseReport(report_id, "", "misuse", service, what_happened, contact, reported_at),
        )
    return case.case_number


def _add_to_case(
    deps: Deps,
    tx: Connection,
    *,
    kind: CaseKind,
    subject: str,
    title: str,
    document_number: str | None,
    person_code: str | None,
    report: CaseReport,
) -> Case:
    # 1 the same report again
    before = store.cases.find_report(tx, report.report_id)
    if before is not None:
        return store.cases.get_case(tx, before.case_id)
    # 2 the open case of the same card, or a new one
    now = deps.clock.now()
    case = store.cases.find_open_case(tx, kind=kind, subject=subject)
    if case is None:
        number = f"C-{now:%Y}-{store.counters.next_number(tx, 'case'):05d}"
        case = Case(
            case_id=new_id(deps.entropy),
            case_number=number,
            kind=kind,
            subject=subject,
            title=title,
            state=CaseState.OPEN,
            document_number=document_number,
            person_code=person_code,
            opened_at=now,
            changed_at=now,
        )
        store.cases.add_case(tx, case)
        record_journal(tx, "case.opened", at=now, subject=case.case_id, case_kind=kind.value)
    # 3 the report
    store.cases.add_report(
        tx,
        CaseReport(
            report.report_id,
            case.case_id,
            report.kind,
            report.place[:200],
            report.text,
            report.contact[:200],
            report.at,
        ),
    )
    store.cases.change_case(tx, case.case_id, changed_at=now)
    return case


@dataclass(frozen=True, slots=True)
class CaseView:
    case: Case
    reports: list[CaseReport]
    notes: list[CaseNote]
    documents: list[Document]
    delay: LookDelay | None = None


def list_cases(deps: Deps, state: CaseState) -> list[tuple[Case, int]]:
    """Cases with the number of their reports, the one that changed last on top."""
    with deps.db.read() as tx:
        counts = store.cases.count_reports(tx)
        return [(case, counts.get(case.case_id, 0)) for case in store.cases.find_cases(tx, state)]


def count_open_cases(deps: Deps) -> int:
    with deps.db.read() as tx:
        return store.cases.count_open_cases(tx)


def get_case(deps: Deps, case_id: str) -> CaseView:
    """Raises: NotFound `case.unknown`."""
    with deps.db.read() as tx:
        return view_case(tx, case_id, at=deps.clock.now())


def view_case(tx: Connection, case_id: str, *, at: datetime) -> CaseView:
    """Raises: NotFound `case.unknown`."""
    case = store.cases.get_case(tx, case_id)
    documents = store.documents.find_documents_of_person(tx, case.person_code) if case.person_code else []
    if case.document_number and not documents:
        documents = [store.documents.get_document(tx, case.document_number)]
    delay = store.look_delays.find_look_delay(tx, case.person_code, at) if case.person_code else None
    return CaseView(case, store.cases.find_reports(tx, case_id), store.cases.find_notes(tx, case_id), documents, delay)


def add_note(deps: Deps, officer: Officer, case_id: str, *, text: str) -> None:
    """Raises: InvalidForm; Conflict when the case is closed."""
    require_role(officer)
    note = form.parse_text({"text": text}, "text")
    with deps.db.write() as tx:
        case = store.cases.get_case(tx, case_id)
        if case.state is CaseState.CLOSED:
            raise Conflict("case.closed", case_id, public="The case is closed.")
        now = deps.clock.now()
        store.cases.add_note(tx, CaseNote(new_id(deps.entropy), case_id, officer.name, note, now))
        store.cases.change_case(tx, case_id, changed_at=now)


def close_case(deps: Deps, officer: Officer, case_id: str, *, reason: str) -> None:
    """Close a case with a reason. Raises: InvalidForm; Conflict when it is closed already."""
    require_role(officer)
    text = form.parse_text({"reason": reason}, "reason", shortest=10)
    with deps.db.write() as tx:
        case = store.cases.get_case(tx, case_id)
        edge = take_edge(cases.TABLE, case.state, CaseEvent.CLOSE, actor="officer")
        now = deps.clock.now()
        store.cases.change_case(
            tx, case_id, state=edge.to.value, changed_at=now, closed_by=officer.name, close_reason=text
        )
        record_journal(tx, "case.closed", at=now, subject=case_id, by=officer.officer_id)


# --- what the outbox delivers ----------------------------------------------------------------------------------------


def tell_trust_services(deps: Deps, kind: str, document_number: str, event: str, message_id: str) -> None:
    """Suspend, resume or revoke the certificates of a document. A suspension that was lifted since, or the lifting of
    one after which another came, is not told any more: sent again for a refusal, it would come behind what is newer.

    Raises: Unavailable, to be tried again.
    """
    with deps.db.read() as tx:
        state = store.documents.get_document(tx, document_number).state
    match kind:
        case "trust_services.suspend":
            if state is not DocumentState.ACTIVE:
                peers.suspend_certificates(deps.exchange, document_number=document_number, message_id=message_id)
        case "trust_services.resume":
            if state is DocumentState.ACTIVE:
                peers.resume_certificates(deps.exchange, document_number=document_number, message_id=message_id)
        case _:
            superseded = event == DocumentEvent.SUPERSEDE.value
            try:
                peers.revoke_certificates(
                    deps.exchange,
                    document_number=document_number,
                    reason="superseded" if superseded else "privilegeWithdrawn",
                    message_id=message_id,
                )
            except NotFound:
                # stopped before the chip had certificates: nothing to revoke
                log.info("trust_services.nothing_to_revoke", document_number=document_number)
