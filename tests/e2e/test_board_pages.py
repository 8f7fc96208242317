"""The board's pages in a real browser: nothing serious for axe-core at desktop and phone width, in both languages."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from digiid.apps.visitor import Visitor
from digiid.contracts.card_bureau import TravelDocument
from digiid.institutions.police_board import store
from digiid.institutions.police_board.domain.application import Outcome, Step
from digiid.institutions.police_board.domain.case import CaseState
from digiid.institutions.police_board.domain.law import RefusalGround
from digiid.institutions.police_board.use_cases import decide, issue, officers, supervise
from digiid.platform.clock import SystemClock
from tests.flows.board_room import OFFICER_CODES, BoardRoom, form_pages, jpeg_photo, open_board_room
from tests.support.browser import assert_accessible_everywhere, complaints_of

pytestmark = pytest.mark.browser
STEPS = ("personal", "travel_document", "photo", "motivation", "business", "declarations", "acceptance")


class Story:
    """Three applications: a draft, one on its way to a card, one with a hit and a hearing."""

    def __init__(self, room: BoardRoom) -> None:
        self.room = room
        self.applicants: dict[str, tuple[str, str]] = {}

    def apply(self, name: str, *, paid: bool = True, **person: object) -> str:
        visitor = Visitor()
        page = visitor.submit(self.room.sign_in(visitor, f"{name}@example.org"), action="/applications")
        base, application_id = page.url, page.url.rsplit("/", 1)[1]
        for step, values in form_pages(**person).items():  # type: ignore[arg-type]
            if step != "pick_up":
                visitor.submit(visitor.open(f"{base}/step/{step}"), values, action="/step/")
        photo = {"photo": ("me.jpg", jpeg_photo(), "image/jpeg")}
        visitor.submit(visitor.open(f"{base}/step/photo"), files=photo, action="/step/")
        with self.room.deps.db.write() as tx:
            point = {"point_code": "tallinn", "point_name": "Tallinn service point"}
            store.applications.save_step(tx, application_id, Step.PICK_UP, point, at=self.room.deps.clock.now())
        host = self.room.origin("apply")[7:].split(":")[0]
        self.applicants[name] = (base, str(visitor._client.cookies.get("digiid_session", domain=host)))
        if paid:
            payment = visitor.submit(visitor.open(f"{base}/review"), action="/submit")
            visitor.submit(payment, button="pay")
            self.room.deliver()
        return application_id


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with open_board_room(Path(tmp_path_factory.mktemp("board")), SystemClock()) as room:
        yield Story(room)


def look(browser: Browser, url: str, *, cookie: tuple[str, str] | None = None, language: str = "en") -> None:
    context: BrowserContext = browser.new_context(locale="et-EE" if language == "et" else "en-GB")
    if cookie:
        context.add_cookies([{"name": "digiid_session", "value": cookie[1], "url": cookie[0]}])
    page = context.new_page()
    complaints = complaints_of(page)
    page.goto(url)
    assert_accessible_everywhere(page)
    assert page.locator("html").get_attribute("lang") == language
    assert complaints == []
    context.close()


def test_the_applicants_pages(browser: Browser, story: Story) -> None:
    story.apply("draft", paid=False, number="UT1000001", surname="Drafter")
    apply_site, (base, session) = story.room.origin("apply"), story.applicants["draft"]
    own = (apply_site, session)
    for path in ("/", "/sign-in", "/link-sent", "/link/anything"):
        look(browser, apply_site + path, language="et")
    for step in STEPS:
        look(browser, f"{base}/step/{step}", cookie=own)
    for path in ("", "/review"):
        look(browser, base + path, cookie=own, language="et")
    look(browser, apply_site + "/", cookie=own)


def test_a_page_with_errors_leads_to_its_fields_by_keyboard(browser: Browser, story: Story) -> None:
    story.apply("slips", paid=False, number="UT1000009", surname="Slipper")
    base, session = story.applicants["slips"]
    context = browser.new_context(locale="en-GB")
    context.add_cookies([{"name": "digiid_session", "value": session, "url": story.room.origin("apply")}])
    page = context.new_page()
    page.goto(f"{base}/step/travel_document")
    page.locator("#number").fill("??")
    page.locator("#mrz").fill("")
    page.locator("#expires_on").fill("")
    page.locator("#number").press("Enter")
    assert_accessible_everywhere(page)
    said = page.locator(".govuk-error-summary a").all_inner_texts()
    assert "Valid until: Fill in this field" in said
    page.locator(".govuk-error-summary a").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "number"
    context.close()


def test_the_desk_and_what_follows(browser: Browser, story: Story) -> None:
    room = story.room
    deps, police = room.deps, room.origin("police")
    mari, otto = (officers.get_officer(deps, code) for code in OFFICER_CODES)
    good = story.apply("good", number="UT1000002", surname="Goodcase")
    listed = story.apply(
        "listed", number="UT7654321", surname="Testovsky", given_names="Viktor", born_on=date(1975, 3, 14)
    )
    desk = (police, room.officer_cookie(OFFICER_CODES[1]))
    decide.propose(deps, mari, good, outcome=Outcome.ISSUE, reasons="")
    look(browser, f"{police}/", cookie=desk, language="et")
    look(browser, f"{police}/applications/{good}", cookie=desk)
    look(browser, f"{police}/applications/{listed}", cookie=desk, language="et")
    reasons = "Name, birth date and passport number are those of a person on the list."
    grounds = [RefusalGround.SECURITY]
    decide.propose(deps, mari, listed, outcome=Outcome.REFUSE, reasons=reasons, grounds=grounds)
    apply_site = room.origin("apply")
    base, session = story.applicants["listed"]
    for path in ("", "/hearing", "/withdraw"):
        look(browser, base + path, cookie=(apply_site, session))
    decide.decide(deps, otto, good, agreed=True)
    room.deliver()
    with deps.db.read() as tx:
        delivery = store.deliveries.find_delivery(tx, application_id=good)
    assert delivery is not None
    issue.record_movement(
        deps,
        movement_id="m",
        order_id=delivery.order_id,
        document_number="EA7000009",
        state="at_point",
        expires_on=date(2031, 11, 22),
        at=deps.clock.now(),
    )
    shown = TravelDocument(kind="passport", number="UT1000002", issuing_country="UTO", expires_on=date(2031, 1, 31))
    evidence = store.deliveries.HandOver(
        "e", delivery.order_id, "EA7000009", "Pille Punkt", "48001019004", "tallinn", "passport", "UT1000002", "UTO",
        deps.clock.now(),
    )  # fmt: skip
    issue.record_hand_over(deps, evidence=evidence, shown=shown)
    base, session = story.applicants["good"]
    for path in ("", "/pins", "/lost"):
        look(browser, base + path, cookie=(apply_site, session), language="et")
    supervise.suspend_right(
        deps, mari, supervise.get_document(deps, "EA7000009").right.right_id,
        basis=supervise.SUSPENSION_BASES[1], reason="A reason that is long enough.",
    )  # fmt: skip
    supervise.open_misuse_case(
        deps,
        report_id="r",
        what_happened="Somebody sells cards with PINs.",
        document_number="EA7000009",
        service="a forum",
        contact="",
        reported_at=deps.clock.now(),
    )
    case = supervise.list_cases(deps, CaseState.OPEN)[0][0]
    for path in ("/documents", "/documents/EA7000009", "/cases", f"/cases/{case.case_id}", "/applications"):
        look(browser, police + path, cookie=desk, language="et")


def test_the_test_payment_and_the_mailbox(browser: Browser, story: Story) -> None:
    story.apply("payer", paid=False, number="UT1000003", surname="Payer")
    base, session = story.applicants["payer"]
    visitor = Visitor()
    host = story.room.origin("apply")[7:].split(":")[0]
    visitor._client.cookies.set("digiid_session", session, domain=host)
    payment = visitor.submit(visitor.open(f"{base}/review"), action="/submit")
    look(browser, payment.url, language="et")
    look(browser, base, cookie=(story.room.origin("apply"), session))
    box = visitor.open(story.room.origin("mail") + "/")
    look(browser, box.url, language="et")
    look(browser, box.links(href="/letters/")[0])
