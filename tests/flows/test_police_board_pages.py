"""Through the board's pages as people use them: the form, the fee, the officers' desk, with the real register."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from digiid.apps.visitor import Page, Visitor
from digiid.contracts.card_bureau import TravelDocument
from digiid.institutions.police_board import store
from digiid.institutions.police_board.domain.application import ApplicationState, Step
from digiid.institutions.police_board.use_cases import issue, payments
from digiid.platform.clock import ManualClock
from tests.flows.board_room import OFFICER_CODES, BoardRoom, form_pages, jpeg_photo, open_board_room

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock(AT)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock) -> Iterator[BoardRoom]:
    with open_board_room(Path(tmp_path_factory.mktemp("board")), clock) as opened:
        yield opened


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    person = Visitor()
    yield person
    person.close()


def fill_in(room: BoardRoom, visitor: Visitor, name: str, **person: object) -> tuple[str, str]:
    """A complete draft: its address and its id. The bureau's list of pick-up points is not there, so it is stored."""
    page = visitor.submit(room.sign_in(visitor, f"{name}@example.org"), action="/applications")
    base = page.url
    for step, values in form_pages(**person).items():  # type: ignore[arg-type]
        if step != "pick_up":
            page = visitor.submit(visitor.open(f"{base}/step/{step}"), values, action="/step/")
            assert page.url == base, page.errors
    photo = {"photo": ("me.jpg", jpeg_photo(), "image/jpeg")}
    visitor.submit(visitor.open(f"{base}/step/photo"), files=photo, action="/step/")
    application_id = base.rsplit("/", 1)[1]
    with room.deps.db.write() as tx:
        point = {"point_code": "tallinn", "point_name": "Tallinn service point"}
        store.applications.save_step(tx, application_id, Step.PICK_UP, point, at=room.deps.clock.now())
    return base, application_id


def state_of(room: BoardRoom, application_id: str) -> ApplicationState:
    with room.deps.db.read() as tx:
        return store.applications.get_application(tx, application_id).state


def payment_states(room: BoardRoom, application_id: str) -> list[str]:
    with room.deps.db.read() as tx:
        return [payment.state for payment in store.payments.find_payments(tx, application_id)]


def to_payment(visitor: Visitor, base: str) -> Page:
    return visitor.submit(visitor.open(f"{base}/review"), action="/submit")


def officer(room: BoardRoom, number: int) -> Visitor:
    person = Visitor()
    host = room.origin("police")[7:].split(":")[0]
    person._client.cookies.set("digiid_session", room.officer_cookie(OFFICER_CODES[number]), domain=host)
    return person


def test_a_mail_scanner_that_opens_the_link_uses_nothing_up(room: BoardRoom, visitor: Visitor) -> None:
    page = visitor.open(room.origin("apply") + "/sign-in")
    sent = visitor.submit(page, {"email": "scanned@example.org"}, action="/sign-in")
    room.deliver()
    link = room.letter_link("scanned@example.org")
    scanner = Visitor()
    for _ in range(3):
        assert scanner.look(link).status == 200
    opened = visitor.submit(visitor.open(link), action="/link/")
    assert opened.heading == "Your applications"
    again = scanner.submit(scanner.open(link), action="/link/", expect_error=True)
    assert again.status == 403 and "does not work any more" in again.text
    unknown = visitor.submit(visitor.open(room.origin("apply") + "/sign-in"), {"email": "nobody@example.org"})
    assert unknown.text == sent.text, "the answer is the same whether or not the address is known"


def test_wrong_input_is_named_beside_its_field_and_nothing_is_lost(room: BoardRoom, visitor: Visitor) -> None:
    page = visitor.submit(room.sign_in(visitor, "slips@example.org"), action="/applications")
    base = page.url
    values = form_pages()
    wrong = visitor.submit(
        visitor.open(f"{base}/step/personal"),
        {**values["personal"], "born_on": "12.4.1985"},
        action="/step/",
        expect_error=True,
    )
    assert wrong.status == 422
    assert "Enter a date" in wrong.errors
    assert wrong.tree.xpath("//input[@name='surname']/@value") == ["Example"]
    visitor.submit(visitor.open(f"{base}/step/personal"), values["personal"], action="/step/")
    zone = visitor.submit(
        visitor.open(f"{base}/step/travel_document"),
        {**values["travel_document"], "number": "UT1234568"},
        action="/step/",
        expect_error=True,
    )
    assert "The zone has another document number" in zone.errors
    photo = visitor.submit(
        visitor.open(f"{base}/step/photo"),
        files={"photo": ("x.jpg", b"\xff\xd8\xff not a picture", "image/jpeg")},
        action="/step/",
        expect_error=True,
    )
    assert photo.status == 422 and "JPEG" in photo.errors
    assert "Not started" in visitor.open(base).text


@pytest.mark.parametrize(
    ("button", "number"), [("Pay, and the callback comes twice", "UT2000001"), ("pay", "UT2000002")]
)
def test_a_paid_application_is_received_once(room: BoardRoom, visitor: Visitor, button: str, number: str) -> None:
    base, application_id = fill_in(
        room, visitor, f"paid-{number.lower()}", number=number, surname=f"Payer{'abc'[int(number[-1])]}"
    )
    visitor.submit(to_payment(visitor, base), button=button)
    room.deliver()
    assert state_of(room, application_id) is ApplicationState.CHECKS_RUNNING
    assert payment_states(room, application_id) == ["paid"]
    assert "being examined" in visitor.open(base).text


def test_a_lost_callback_is_asked_for_when_the_person_comes_back(room: BoardRoom, visitor: Visitor) -> None:
    base, application_id = fill_in(room, visitor, "lost", number="UT2000003", surname="Loster")
    back = visitor.submit(to_payment(visitor, base), button="callback is lost")
    assert back.url == base and "being examined" in back.text
    assert payment_states(room, application_id) == ["paid"]


def test_a_lost_callback_is_asked_for_by_itself_when_nobody_comes_back(
    room: BoardRoom, visitor: Visitor, clock: ManualClock
) -> None:
    base, application_id = fill_in(room, visitor, "gone", number="UT2000004", surname="Leaver")
    payment = to_payment(visitor, base)
    with room.deps.db.read() as tx:
        payment_id = store.payments.find_payments(tx, application_id)[0].payment_id
    away = Visitor()  # somebody else's browser at the provider: the board's page is never opened again
    away.submit(away.open(payment.url), button="callback is lost", expect_error=True)
    payments.ask_about_pending(room.deps)
    assert payment_states(room, application_id) == ["pending"], f"{payment_id} is too young to ask about"
    clock.advance(timedelta(seconds=30))
    payments.ask_about_pending(room.deps)
    assert payment_states(room, application_id) == ["paid"]


def test_declined_can_be_paid_anew(room: BoardRoom, visitor: Visitor) -> None:
    base, application_id = fill_in(room, visitor, "declined", number="UT2000005", surname="Decliner")
    visitor.submit(to_payment(visitor, base), button="decline")
    room.deliver()
    assert "did not go through" in visitor.open(base).text
    visitor.submit(to_payment(visitor, base), button="pay")
    room.deliver()
    assert payment_states(room, application_id) == ["declined", "paid"]


def test_a_forged_callback_gets_403(room: BoardRoom, visitor: Visitor) -> None:
    answer = room.around.http.request("POST", room.origin("apply") + "/payment/callback", content=b"v1.e30.AAAA")
    assert answer.status == 403
    assert room.around.http.request("POST", room.origin("apply") + "/payment/callback", content=b"x").status == 400


def test_from_the_decision_to_the_lost_card(room: BoardRoom, visitor: Visitor) -> None:
    base, application_id = fill_in(room, visitor, "whole", number="UT3000001", surname="Wholestory")
    visitor.submit(to_payment(visitor, base), button="pay")
    room.deliver()
    # 1 one officer proposes
    mari, otto = officer(room, 0), officer(room, 1)
    desk = f"{room.origin('police')}/applications/{application_id}"
    page = mari.open(desk)
    assert "Nothing found" in page.text
    page = mari.submit(page, {"outcome": "issue"}, action="/propose")
    assert "Another officer has to decide" in page.text
    # 2 another decides
    otto.submit(otto.open(desk), {"verdict": "agree"}, action="/decide")
    room.deliver()
    assert "Your card is being made" in visitor.open(base).text
    # 3 the register has given a code, the order waits for the bureau
    with room.deps.db.read() as tx:
        application, delivery = (
            store.applications.get_application(tx, application_id),
            store.deliveries.find_delivery(tx, application_id=application_id),
        )
    assert application.person_code and application.person_code.startswith("485041")
    assert delivery is not None
    issue.register_person(room.deps, application_id)  # the message again, as after a crash before its receipt
    with room.deps.db.read() as tx:
        again = store.deliveries.find_delivery(tx, application_id=application_id)
        orders = [row for row in tx.execute(store.schema.OUTBOX.select()) if delivery.order_id in row.payload]
    assert again == delivery and len(orders) <= 1
    # 4 what the bureau reports
    for state in ("produced", "in_transit", "at_point"):
        issue.record_movement(
            room.deps,
            movement_id=f"{application_id}-{state}",
            order_id=delivery.order_id,
            document_number="EA7000001",
            state=state,
            expires_on=date(2031, 11, 22),
            at=room.deps.clock.now(),
        )
    assert "waits for you until 23 May 2027" in visitor.open(base).text
    shown = TravelDocument(kind="passport", number="UT3000001", issuing_country="UTO", expires_on=date(2031, 1, 31))
    evidence = store.deliveries.HandOver(
        "evidence-whole",
        delivery.order_id,
        "EA7000001",
        "Pille Punkt",
        "48001019004",
        "tallinn",
        "passport",
        "UT3000001",
        "UTO",
        room.deps.clock.now(),
    )
    issue.record_hand_over(room.deps, evidence=evidence, shown=shown)
    # 5 lost: suspended by the account, lifted only by an officer
    page = visitor.submit(visitor.open(f"{base}/lost"), {"note": "On a train."}, action="/lost")
    assert "is suspended" in page.text
    document = f"{room.origin('police')}/documents/EA7000001"
    page = mari.submit(
        mari.open(document), {"basis-lift": "found", "reason-lift": "Shown at the counter."}, button="Lift"
    )
    assert "Active" in page.text
    assert "Card reported lost" in mari.open(room.origin("police") + "/cases").text


def test_a_person_who_applies_twice_is_noticed(room: BoardRoom) -> None:
    person = {"surname": "Twice", "given_names": "Doubla", "born_on": date(1979, 7, 8)}
    pages = []
    for name, number in (("twice-a", "UT4000001"), ("twice-b", "UT4000002")):
        applicant = Visitor()
        base, application_id = fill_in(room, applicant, name, number=number, **person)
        applicant.submit(to_payment(applicant, base), button="pay")
        room.deliver()
        pages.append(officer(room, 0).open(f"{room.origin('police')}/applications/{application_id}"))
    assert "Doubla Twice" not in pages[0].text.split("Background check")[1].split("Form and machine")[0]
    assert "A hit is not cleared" in pages[1].text
    refused = officer(room, 0).submit(pages[1], {"outcome": "issue"}, action="/propose", expect_error=True)
    assert refused.status == 403


def test_a_refusal_without_grounds_or_reasons_comes_back_with_the_page(room: BoardRoom, visitor: Visitor) -> None:
    base, application_id = fill_in(room, visitor, "refusal", number="UT5000001", surname="Nogrounds")
    visitor.submit(to_payment(visitor, base), button="pay")
    room.deliver()
    mari = officer(room, 0)
    page = mari.open(f"{room.origin('police')}/applications/{application_id}")
    page = mari.submit(page, {"outcome": "refuse"}, action="/propose", expect_error=True)
    assert page.status == 422 and "Choose the legal basis" in page.errors
    page = mari.submit(page, {"outcome": "refuse", "grounds": ["purpose"]}, action="/propose", expect_error=True)
    assert page.status == 422 and "Write the reasons" in page.errors
    assert state_of(room, application_id) is ApplicationState.CHECKS_RUNNING


def test_each_site_keeps_to_its_own_people(room: BoardRoom, visitor: Visitor) -> None:
    base, application_id = fill_in(room, visitor, "own", number="UT6000001", surname="Ownpages")
    stranger = Visitor()
    room.sign_in(stranger, "stranger@example.org")
    assert stranger.look(base).status == 404
    assert stranger.look(f"{base}/photo.jpg").status == 404
    anonymous = Visitor()
    assert anonymous.look(base).heading == "Sign in by e-mail"
    assert anonymous.look(room.origin("police") + "/").heading == "Sign in"
    assert visitor.look(room.origin("police") + f"/applications/{application_id}").heading == "Sign in"
    # an officer struck from the list has no access from that moment
    mari = officer(room, 0)
    assert mari.look(room.origin("police") + "/").status == 200
    with room.deps.db.write() as tx:
        known = store.officers.find_officer(tx, OFFICER_CODES[0])
        assert known is not None
        store.officers.save_officer(
            tx, store.officers.Officer(known.personal_code, known.officer_id, known.name, known.role, False)
        )
    try:
        assert mari.look(room.origin("police") + "/").status == 403
    finally:
        with room.deps.db.write() as tx:
            store.officers.save_officer(tx, known)


def test_the_mailbox_shows_letters_and_nothing_else(room: BoardRoom, visitor: Visitor) -> None:
    room.sign_in(visitor, "letters@example.org")
    box = visitor.open(room.origin("mail") + "/")
    assert "Sign in to your application" in box.text
    letter = visitor.open(box.links(href="/letters/")[0])
    assert letter.status == 200
    for name in ("..%2Fdb%2Fpolice_board.sqlite", "%2e%2e", "x.eml", ".hidden.eml"):
        assert visitor.look(f"{room.origin('mail')}/letters/{name}").status == 404
