"""What the board tells of documents and rights, to whom and by what right."""

from datetime import date, timedelta
from typing import Any

import pytest

from digiid.contracts import police_board as contract
from digiid.contracts.members import BANK, BUSINESS_REGISTER
from digiid.exchange.gate import Caller
from digiid.institutions.police_board import api, store
from digiid.institutions.police_board.domain.document import DocumentState
from digiid.institutions.police_board.domain.form import Personal
from digiid.institutions.police_board.domain.right import RightState
from digiid.institutions.police_board.store.deliveries import DeliveryRecord
from digiid.institutions.police_board.store.documents import Document
from digiid.institutions.police_board.store.rights import Right
from digiid.institutions.police_board.use_cases import issue, statuses
from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.kernel.errors import NotFound, Refused, Unavailable
from digiid.platform.disclosures import find_usages, verify_disclosures
from tests.support.board import add_account, checked
from tests.support.described import ask_described

CODE, NUMBER = "47408129000", "EA0000001"
TODAY = date(2026, 11, 23)


def add(deps: Deps, state: DocumentState, *, number: str = NUMBER, expires: date | None = TODAY) -> None:
    """A document of the person at this state, with the application and the right behind it."""
    application = checked(deps, add_account(deps, f"{number.lower()}@example.org")).application_id
    order, right, now = f"order-{number}", f"right-{number}", deps.clock.now()
    with deps.db.write() as tx:
        store.rights.add_right(tx, Right(right, CODE, "citizen", RightState.GRANTED, "", (), now, now))
        store.deliveries.add_delivery(tx, DeliveryRecord(order, application, None, now))
        store.documents.add_document(
            tx,
            Document(number, order, application, right, CODE, "citizen", state, "", TODAY, expires, None, now),
        )


def ask(deps: Deps, code: str, request: Any, *, client: Any = BANK, purpose: str | None = "a new customer") -> Any:
    caller = Caller(client, "EE-7", user_id="EE38001085718", purpose=purpose)
    return ask_described(api.services(deps), code, caller, request)


def status(deps: Deps, number: str = NUMBER, code: str = CODE) -> tuple[str, date | None]:
    request = contract.GetDocumentStatus(document_number=number, personal_code=code)
    answer = ask(deps, "document-status", request)
    return answer.status, answer.valid_until


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (DocumentState.ACTIVE, ("valid", TODAY)),
        (DocumentState.SUSPENDED, ("suspended", TODAY)),
        (DocumentState.REVOKED, ("not_valid", None)),
        (DocumentState.EXPIRED, ("not_valid", None)),
        (DocumentState.SUPERSEDED, ("not_valid", None)),
        (DocumentState.ORDERED, ("unknown", None)),
        (DocumentState.AT_POINT, ("unknown", None)),
        (DocumentState.UNCOLLECTED, ("unknown", None)),
    ],
)
def test_a_document_is_valid_suspended_not_valid_or_unknown(
    deps: Deps, state: DocumentState, told: tuple[str, date | None]
) -> None:
    add(deps, state)
    assert status(deps) == told


def test_a_document_past_its_day_is_not_valid_before_the_timer_has_seen_it(deps: Deps) -> None:
    add(deps, DocumentState.ACTIVE, expires=TODAY - timedelta(days=1))
    assert status(deps) == ("not_valid", None)


def test_another_persons_document_is_as_unknown_as_none(deps: Deps) -> None:
    add(deps, DocumentState.ACTIVE)
    assert status(deps, code="38001085718") == status(deps, number="EA0000009") == ("unknown", None)


def test_every_answer_is_on_record_of_the_person_asked_about(deps: Deps) -> None:
    add(deps, DocumentState.ACTIVE)
    status(deps)
    ask(deps, "e-residency-status", contract.GetEResidencyStatus(personal_code=CODE), client=BUSINESS_REGISTER)
    with deps.db.read() as tx:
        verify_disclosures(tx, store.schema.DISCLOSURES, store.schema.JOURNAL)
        right, document = find_usages(tx, store.schema.DISCLOSURES, CODE, now=deps.clock.now())
    assert (document.service, document.categories, document.receiver) == (
        "document-status",
        ("document_status",),
        str(BANK),
    )
    assert "Money Laundering" in document.legal_basis
    assert (right.service, right.categories) == ("e-residency-status", ("right",))
    assert "Commercial Register" in right.legal_basis


def test_without_a_purpose_nothing_is_told(deps: Deps) -> None:
    request = contract.GetDocumentStatus(document_number=NUMBER, personal_code=CODE)
    with pytest.raises(Refused, match="no_purpose"):
        ask(deps, "document-status", request, purpose=None)
    with pytest.raises(Refused, match="no_purpose"):
        ask(deps, "e-residency-status", contract.GetEResidencyStatus(personal_code=CODE), purpose=" ")


def test_of_a_right_its_state_and_its_limits_are_told(deps: Deps) -> None:
    request = contract.GetEResidencyStatus(personal_code=CODE)
    assert ask(deps, "e-residency-status", request).model_dump() == {
        "right": "none",
        "limited_to": (),
        "since_on": None,
    }
    now = deps.clock.now()
    first = Right("r1", CODE, "e_resident", RightState.ANNULLED, "", (), now - timedelta(days=9), now)
    second = Right("r2", CODE, "e_resident", RightState.LIMITED, "", ("tax", "bank"), now - timedelta(days=3), now)
    other = Right("r3", CODE, "citizen", RightState.GRANTED, "", (), now, now)
    with deps.db.write() as tx:
        for right in (second, first, other):
            store.rights.add_right(tx, right)
    told = ask(deps, "e-residency-status", request)
    assert (told.right, told.limited_to, told.since_on) == ("limited", ("tax", "bank"), TODAY)


def test_the_register_is_told_until_it_answers_and_never_of_a_card_that_nobody_has(deps: Deps) -> None:
    add(deps, DocumentState.SUSPENDED)
    with pytest.raises(Unavailable):
        statuses.tell_population_register(deps, NUMBER, "m1")
    add(deps, DocumentState.IN_TRANSIT, number="EA0000002")
    statuses.tell_population_register(deps, "EA0000002", "m2")
    with pytest.raises(NotFound):
        statuses.tell_population_register(deps, "EA0000003", "m3")


@pytest.mark.parametrize(
    ("typed", "street", "locality"),
    [
        ("Example street 1\nHelsinki", "Example street 1", "Helsinki"),
        ("Testi 1, Tallinn", "Testi 1", "Tallinn"),
        ("House A\n Flat 2,\n\nUtopolis ", "House A, Flat 2", "Utopolis"),
        ("Utopolis", "Utopolis", ""),
        ("x" * 500 + "\n" + "y" * 500, "x" * 200, "y" * 100),
    ],
)
def test_a_typed_address_becomes_street_and_place(typed: str, street: str, locality: str) -> None:
    personal = Personal("A", "B", (), "F", TODAY, "C", ("UTO",), "", "FIN", typed, "")
    place = issue._place_of(personal)
    assert place is not None
    assert (place.country, place.street, place.locality) == ("FIN", street, locality)


def test_no_address_is_no_address() -> None:
    assert issue._place_of(Personal("A", "B", (), "F", TODAY, "C", ("UTO",), "", "FIN", " \n, ", "")) is None
