"""At the pick-up desk of a whole running state: certificates, the board and the CA as they really answer."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import pytest

from digiid.apps import story
from digiid.apps.story import Applicant, CardHolder
from digiid.apps.visitor import Page
from digiid.formats.ocsp import CertStatus, VerifiedOcsp
from digiid.institutions.card_bureau import store as bureau_store
from digiid.institutions.card_bureau.domain import HandOver, Officer, Order, OrderState
from digiid.institutions.card_bureau.use_cases import hand_over
from digiid.institutions.police_board import store as board_store
from digiid.institutions.police_board.domain import form
from digiid.institutions.police_board.domain.law import MeasureBasis
from digiid.institutions.police_board.use_cases import issue, supervise
from digiid.kernel.errors import Refused, Unavailable
from digiid.platform import eid_card
from digiid.platform.clock import SystemClock
from digiid.platform.eid_card import CardKey
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Running
from digiid.platform.trust import AllowedHosts, OcspClient
from tests.support.estate import RunningEState, running_estate

CLERK = board_store.officers.Officer("", "PB-1", "Test clerk", "deciding_officer", True)
REASON = "A reason that is long enough."
PASSPORT_VALID_UNTIL = date(2035, 12, 31)


@dataclass
class Desk:
    """The pick-up officer at a browser, and what a test may look at behind the pages."""

    estate: RunningEState
    officer: CardHolder
    made: int = 0

    def document_at_point(self) -> tuple[Applicant, Order]:
        """Another citizen's card, ordered at the board's counter, made, and waiting for its holder."""
        self.made += 1
        person = Applicant(
            "TEST TIINA",
            f"OOTAJA{chr(64 + self.made)}",
            "F",
            date(1979, 4, self.made),
            "",
            f"TW000000{self.made}",
            PASSPORT_VALID_UNTIL,
        )
        personal = form.Personal(
            given_names=person.given_names,
            surname=person.surname,
            previous_names=(),
            sex="F",
            born_on=person.born_on,
            place_of_birth="Tallinn",
            citizenships=("EST",),
            personal_code="",
            residence_country="EST",
            address="Testi 1, Tallinn",
            phone="+372 5550000",
        )
        travel = form.TravelDocumentData("passport", person.passport_number, "UTO", person.passport_expires_on, "")
        pick_up = form.PickUp(person.point_code, "Tallinn (test point)")
        board = self.estate.state.seeder.police
        entered = issue.CounterApplication(personal, travel, pick_up)
        application_id = issue.enter_citizen(board, CLERK, entered)
        return person, story.wait_for(lambda: self._find_at_point(application_id), "the card at its point")

    def _find_at_point(self, application_id: str) -> Order | None:
        document = issue.find_document_of_application(self.estate.state.seeder.police, application_id)
        return self.order(document.order_id) if document and document.state == "at_point" else None

    def order(self, order_id: str) -> Order:
        with self.estate.state.seeder.bureau.db.read() as tx:
            return bureau_store.get_order(tx, order_id)

    def evidence(self, order: Order) -> HandOver | None:
        with self.estate.state.seeder.bureau.db.read() as tx:
            return bureau_store.find_hand_over(tx, order.order_id)

    def url(self, order: Order) -> str:
        return f"{self.estate.origins['bureau']}/orders/{order.order_id}"

    def hand_over(self, person: Applicant, order: Order) -> Page:
        return story.hand_over(self.officer, self.url(order), person)

    def right_id(self, order: Order) -> str:
        with self.estate.state.seeder.police.db.read() as tx:
            document = board_store.documents.find_document_of_order(tx, order.order_id)
        assert document is not None
        return document.right_id

    def board_state(self, order: Order) -> str:
        with self.estate.state.seeder.police.db.read() as tx:
            return board_store.documents.get_document(tx, order.document_number).state.value

    def statuses(self, order: Order) -> list[VerifiedOcsp]:
        """What OCSP says about the certificates on the chip."""
        state = self.estate.state
        card = state.shelf.open(order.document_number)
        hosts = AllowedHosts.of_urls(state.settings.base_url)
        http = HttpClient()
        try:
            client = OcspClient(http, SystemEntropy(), SystemClock(), hosts=hosts)
            return [client.fetch(eid_card.read_certificate(card, kind), state.hierarchy.issuing)[1] for kind in CardKey]
        finally:
            http.close()

    def on_hold(self, order: Order) -> bool:
        return [(status.status, status.reason) for status in self.statuses(order)] == [
            (CertStatus.REVOKED, "certificateHold")
        ] * 2

    def good(self, order: Order) -> bool:
        return {status.status for status in self.statuses(order)} == {CertStatus.GOOD}

    def institution(self, name: str) -> Running[object]:
        return next(each for each in self.estate.state.institutions if each.name == name)

    @contextmanager
    def busy(self, unit: str) -> Iterator[None]:
        """Somebody else holds the write lock of a unit's database: whoever must write there answers Unavailable."""
        file = self.estate.state.folder.path / "db" / f"{unit}.sqlite"
        assert file.exists()
        holder = sqlite3.connect(file, isolation_level=None, timeout=20)
        try:
            holder.execute("BEGIN IMMEDIATE")
            yield
        finally:
            holder.close()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running_estate(tmp_path_factory.mktemp("hand-over") / "state") as estate:
        officer = estate.holder("pick-up officer")
        story.sign_in(officer, estate.origins["bureau"])
        yield Desk(estate, officer)


def test_certificates_are_on_hold_until_the_hand_over_and_good_after_it(desk: Desk) -> None:
    person, order = desk.document_at_point()
    assert desk.on_hold(order)
    refused = story.hand_over(desk.officer, desk.url(order), person, number="TW9999999")
    assert "not the travel document" in refused.errors and desk.on_hold(order)
    assert desk.hand_over(person, order).errors == ""
    assert desk.good(order)
    assert desk.order(order.order_id).state is OrderState.HANDED_OUT and desk.board_state(order) == "active"


def test_a_right_suspended_after_the_order_stops_the_hand_over(desk: Desk) -> None:
    person, order = desk.document_at_point()
    board = desk.estate.state.seeder.police
    right_id = desk.right_id(order)
    supervise.suspend_right(board, CLERK, right_id, basis=MeasureBasis.SUPERVISION, reason=REASON)
    page = desk.hand_over(person, order)
    assert page.status == 422 and "suspended" in page.errors
    assert desk.evidence(order) is None and desk.on_hold(order) and desk.board_state(order) == "at_point"
    # the same card is handed over when the right is back
    supervise.lift_right(board, CLERK, right_id, basis=MeasureBasis.CLEARED, reason=REASON)
    assert desk.hand_over(person, order).errors == ""
    assert desk.good(order)


def test_a_hand_over_that_the_ca_did_not_answer_is_finished_by_the_outbox(desk: Desk) -> None:
    person, order = desk.document_at_point()
    with desk.busy("trust_ca"):
        page = desk.hand_over(person, order)
        assert page.status == 200 and "it is being finished" in page.text
        begun = desk.evidence(order)
        assert begun is not None and begun.finished_at is None
        assert desk.board_state(order) == "active" and desk.on_hold(order)
        assert desk.order(order.order_id).problem is None
    story.wait_for(
        lambda: True if desk.order(order.order_id).state is OrderState.HANDED_OUT else None, "the outbox to finish it"
    )
    finished = desk.evidence(order)
    assert finished is not None and finished.evidence_id == begun.evidence_id and finished.finished_at is not None
    assert desk.good(order)


def test_what_the_board_refuses_in_the_middle_is_withdrawn_shown_and_can_begin_anew(desk: Desk) -> None:
    person, order = desk.document_at_point()
    board, bureau = desk.estate.state.seeder.police, desk.estate.state.seeder.bureau
    (worker,) = desk.institution("card_bureau").workers
    worker.stop()  # from here on the bureau's outbox delivers when the test says so
    # permitted, begun, and then the board cannot write: a permit is on record too, so it was given before
    check = hand_over.DeskCheck(order.travel_document, face_compared=True, accepted=True, accepted_text="accepted")
    hand_over._begin(bureau, pick_up_officer(desk), desk.order(order.order_id), check)
    with desk.busy("police_board"):
        assert "it is being finished" in desk.hand_over(person, order).text
    right_id = desk.right_id(order)
    supervise.suspend_right(board, CLERK, right_id, basis=MeasureBasis.SUPERVISION, reason=REASON)
    worker.deliver_due()
    # nothing is active, nothing is half-done, and it is seen
    assert desk.evidence(order) is None and desk.order(order.order_id).problem == "hand_over.not_permitted"
    assert desk.on_hold(order) and desk.board_state(order) == "at_point"
    page = desk.officer.visitor.open(desk.url(order))
    assert "the board refused it" in page.text and "hand_over.not_permitted" in page.text
    clerk = desk.estate.holder("bureau officer")
    assert order.document_number in story.sign_in(clerk, desk.estate.origins["bureau"]).text
    with pytest.raises(Unavailable, match=r"outbox\.stuck"):
        desk.institution("card_bureau").health()
    # refused again while it is so, with all checks from the beginning
    with pytest.raises(Refused, match="not_permitted"):
        hand_over.hand_over(
            bureau,
            pick_up_officer(desk),
            order.order_id,
            check,
        )
    supervise.lift_right(board, CLERK, right_id, basis=MeasureBasis.CLEARED, reason=REASON)
    assert desk.hand_over(person, order).errors == ""
    assert desk.good(order) and desk.order(order.order_id).problem is None
    desk.institution("card_bureau").health()  # nobody has to look any more


def pick_up_officer(desk: Desk) -> Officer:
    with desk.estate.state.seeder.bureau.db.read() as tx:
        officer = bureau_store.find_officer(tx, desk.estate.person("pick-up officer").personal_code)
    assert officer is not None
    return officer
