"""What officers look at on their desk: every look at a person is on record, and the person can see it.

A look in a case may be kept back from the person for a time: a deciding officer orders that, with an end and a reason.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from typing import TypeVar

from sqlalchemy.engine import Connection

from digiid.contracts.members import POLICE_BOARD
from digiid.institutions.police_board import store
from digiid.institutions.police_board.domain import form
from digiid.institutions.police_board.domain.case import CaseState
from digiid.institutions.police_board.store.look_delays import LookDelay
from digiid.institutions.police_board.store.officers import Officer
from digiid.institutions.police_board.use_cases.decide import OfficerView, view_application
from digiid.institutions.police_board.use_cases.deps import Deps, record_journal, require_role
from digiid.institutions.police_board.use_cases.supervise import CaseView, DocumentView, view_case, view_document
from digiid.kernel.errors import Conflict
from digiid.platform.disclosures import Delay, Disclosed, Look, order_delay, record_disclosures
from digiid.platform.entropy import new_id
from digiid.platform.web.dates import TIME_ZONE

_EXAMINATION = "Identity Documents Act § 20^6: checks before and after the issue of a digi-ID"
_SUPERVISION = "Identity Documents Act § 15: issue and annulment of documents"
T = TypeVar("T")


def look_at_application(deps: Deps, officer: Officer, application_id: str) -> Disclosed[OfficerView]:
    """Everything about an application. Before the person has a personal code there is nobody to record a look at.

    Raises: NotFound `application.unknown`.
    """

    def read(tx: Connection) -> tuple[OfficerView, str | None]:
        view = view_application(tx, application_id)
        return view, view.application.person_code

    return _look(
        deps,
        officer,
        read,
        purpose="examination of an application",
        legal_basis=_EXAMINATION,
        categories=("application", "photo"),
    )


def look_at_document(deps: Deps, officer: Officer, document_number: str) -> Disclosed[DocumentView]:
    """Everything about a document. Raises: NotFound `document.unknown`."""

    def read(tx: Connection) -> tuple[DocumentView, str | None]:
        view = view_document(tx, document_number)
        return view, view.document.person_code

    return _look(
        deps,
        officer,
        read,
        purpose="supervision of a document",
        legal_basis=_SUPERVISION,
        categories=("name", "document", "right", "case"),
    )


def look_at_case(deps: Deps, officer: Officer, case_id: str) -> Disclosed[CaseView]:
    """A case with the documents of its person. Raises: NotFound `case.unknown`."""

    def read(tx: Connection) -> tuple[CaseView, str | None]:
        view = view_case(tx, case_id, at=deps.clock.now())
        person = view.case.person_code or next((document.person_code for document in view.documents), None)
        return view, person

    return _look(
        deps,
        officer,
        read,
        purpose="investigation of a case",
        legal_basis=_SUPERVISION,
        categories=("case", "document"),
    )


def keep_looks_back(deps: Deps, officer: Officer, case_id: str, *, until_on: date, reason: str) -> None:
    """From now on the looks at the case's person are shown to the person only after `until_on`, at latest then.

    Only a deciding officer may. Looks before the order stay visible.

    Raises: Refused `officer.not_allowed`, `disclosures.delay_length`; InvalidForm; Conflict `case.closed`,
    `case.nobody` when the case is about nobody.
    """
    # 1 who may order it, and why
    require_role(officer, "deciding_officer")
    text = form.parse_text({"delay_reason": reason}, "delay_reason", shortest=10, longest=200)
    now = deps.clock.now()
    until = datetime.combine(until_on, time.max, TIME_ZONE)
    by = f"{officer.name} ({officer.officer_id})"
    delay = order_delay(until=until, reason=text, ordered_by=by, at=now, longest=deps.longest_delay)
    with deps.db.write() as tx:
        # 2 in a case that is open and about somebody
        case = store.cases.get_case(tx, case_id)
        if case.state is CaseState.CLOSED:
            raise Conflict("case.closed", case_id, public="The case is closed.")
        if case.person_code is None:
            raise Conflict("case.nobody", case_id, public="The case is about nobody whose looks could be kept back.")
        # 3 written down, with who and why in the journal
        order = LookDelay(new_id(deps.entropy), case.person_code, case_id, delay.until, text, by, now)
        store.look_delays.add_look_delay(tx, order)
        record_journal(
            tx,
            "looks.kept_back",
            at=now,
            subject=case_id,
            until=until.isoformat(),
            reason=text,
            by=officer.officer_id,
        )


def _look(
    deps: Deps,
    officer: Officer,
    read: Callable[[Connection], tuple[T, str | None]],
    *,
    purpose: str,
    legal_basis: str,
    categories: Sequence[str],
) -> Disclosed[T]:
    def work() -> Disclosed[T]:
        with deps.db.write() as tx:
            value, person = read(tx)
            look = Look(
                receiver=str(POLICE_BOARD),
                purpose=purpose,
                legal_basis=legal_basis,
                service="desk",
                receiver_user=f"EE{officer.personal_code}",
                delay=_delay_in_force(deps, tx, person) if person else None,
            )
            return record_disclosures(
                tx,
                store.schema.DISCLOSURES,
                store.schema.JOURNAL,
                value,
                personal_codes=(person,) if person else (),
                look=look,
                categories=categories,
                at=deps.clock.now(),
            )

    return deps.db.retry(work)


def _delay_in_force(deps: Deps, tx: Connection, person: str) -> Delay | None:
    now = deps.clock.now()
    order = store.look_delays.find_look_delay(tx, person, now)
    if order is None:
        return None
    until, reason, by = order.until, order.reason, order.ordered_by
    return order_delay(until=until, reason=reason, ordered_by=by, at=now, longest=max(deps.longest_delay, until - now))
