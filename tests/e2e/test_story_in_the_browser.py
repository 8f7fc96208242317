"""The whole story by clicking, in Chromium, with the card agent: English pages judged by axe-core, then Estonian.

Set DIGIID_SCREENSHOTS to a folder to keep a picture of every page, at desktop and at phone width.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from digiid.apps import story
from digiid.apps.demonstration import PIN1, PIN2
from digiid.apps.tour import APPLICANT
from tests.support.browser import DESKTOP, PHONE, assert_accessible, assert_accessible_everywhere
from tests.support.estate import RunningEState, running_estate

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEState]:
    with running_estate(tmp_path_factory.mktemp("estate") / "state") as running:
        yield running


@pytest.fixture
def person(browser: Browser) -> Iterator["People"]:
    people = People(browser)
    yield people
    people.close()


class People:
    """One browser profile for each person, so that sessions do not mix."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: dict[str, BrowserContext] = {}
        self.visited: dict[str, list[str]] = {}

    def page(self, name: str) -> Page:
        if name not in self._contexts:
            context = self._browser.new_context(viewport=DESKTOP, locale="en-GB")  # type: ignore[arg-type]
            context.set_default_timeout(20_000)
            self._contexts[name] = context
            self.visited[name] = []
        return self._contexts[name].new_page()

    def look(self, name: str, page: Page) -> None:
        """The page as it is: accessible at both widths, kept as a picture, remembered for the Estonian round."""
        assert_accessible_everywhere(page)
        picture(page, "en")
        if page.url not in self.visited[name]:
            self.visited[name].append(page.url)

    def in_estonian(self) -> None:
        """Every page that was looked at, once more in Estonian."""
        for name, context in self._contexts.items():
            page = context.new_page()
            for url in self.visited[name]:
                page.goto(url)
                if page.locator("html").get_attribute("lang") != "et":
                    page.get_by_role("button", name="Eesti keeles").click()
                expect(page.locator("html")).to_have_attribute("lang", "et")
                assert_accessible(page)
                picture(page, "et")
            page.close()

    def close(self) -> None:
        for context in self._contexts.values():
            context.close()


def picture(page: Page, language: str) -> None:
    folder = os.environ.get("DIGIID_SCREENSHOTS")
    if not folder:
        return
    name = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", page.url.split("://")[1])
    name = re.sub(r"[^A-Za-z0-9]+", "-", re.sub(r":\d+", "", name)).strip("-")[:90]
    for width, size in (("desktop", DESKTOP), ("phone", PHONE)):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.screenshot(path=Path(folder) / f"{name}.{language}.{width}.png", full_page=True)
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]


def use_card(page: Page, button: str, document_number: str, pins: list[str]) -> None:
    """Press a card button, and in the agent's window allow the site, choose the card, type the PIN of each question."""
    with page.expect_popup() as opened:
        page.locator(button).click()
    agent = opened.value
    agent.set_default_timeout(20_000)
    agent.locator("#allow:visible, #use:visible").first.wait_for()
    if agent.locator("#allow").is_visible():
        assert_accessible(agent)
        agent.wait_for_timeout(700)  # the agent takes no yes that comes before it could be considered
        agent.locator("#allow-yes").click()
    for pin in pins:
        agent.locator("#use").wait_for()
        agent.locator("#card-list label", has_text=document_number).first.click()
        if pin:
            expect(agent.locator("#pin")).to_be_visible()
            agent.locator("#pin").fill(pin)
        assert_accessible(agent)
        picture(agent, "en")
        agent.wait_for_timeout(700)
        agent.locator("#go").click()
        if pin is not pins[-1]:
            agent.locator("#pin-label", has_text="PIN2").wait_for()


def sign_in(page: Page, origin: str, document_number: str, pin1: str, *, then: str = "/") -> None:
    page.goto(f"{origin}/sign-in")
    use_card(page, "#card-sign-in", document_number, [pin1])
    page.wait_for_url(f"{origin}{then}")


def test_the_whole_story_by_clicking(estate: RunningEState, person: People, tmp_path: Path) -> None:
    origins = estate.origins
    # --- 1 apply
    applicant = person.page("applicant")
    applicant.goto(origins["apply"])
    person.look("applicant", applicant)
    applicant.goto(f"{origins['apply']}/sign-in")
    person.look("applicant", applicant)
    applicant.get_by_label("E-mail").fill(APPLICANT.email)
    applicant.get_by_role("button", name="Send the link").click()
    mail = person.page("mail")
    mail.goto(origins["mail"])
    mail.get_by_role("link", name=re.compile("sign", re.I)).first.click()
    person.look("mail", mail)
    applicant.goto(mail.locator("a[href*='/link/']").get_attribute("href") or "")
    person.look("applicant", applicant)
    applicant.get_by_role("main").get_by_role("button", name="Sign in").click()
    person.look("applicant", applicant)
    applicant.get_by_role("button", name="Start a new application").click()
    person.look("applicant", applicant)
    tasks = applicant.url
    for step, values in story.form_values(APPLICANT).items():
        applicant.goto(f"{tasks}/step/{step}")
        if step == "personal":  # what a person sees who leaves everything out
            applicant.get_by_role("button", name="Save and continue").click()
            expect(applicant.get_by_role("alert")).to_be_visible()
            person.look("applicant", applicant)
        fill(applicant, values, tmp_path)
        person.look("applicant", applicant)
        applicant.get_by_role("button", name="Save and continue").click()
        expect(applicant.locator(".govuk-error-summary")).to_have_count(0)
    applicant.goto(f"{tasks}/review")
    person.look("applicant", applicant)
    applicant.get_by_role("button", name="Submit and pay").click()
    assert applicant.url.startswith(origins["pay"])
    assert_accessible_everywhere(applicant)
    picture(applicant, "en")
    applicant.get_by_role("button", name="Pay", exact=True).click()
    applicant.get_by_role("link", name="Back to the application").or_(
        applicant.get_by_text("being examined")
    ).first.wait_for()
    applicant.goto(tasks)
    expect(applicant.get_by_role("main")).to_contain_text("examined")
    person.look("applicant", applicant)
    number = tasks.rsplit("/", 1)[-1]
    # --- 2 check and decide: two officers
    at_police = f"{origins['police']}/applications/{number}"
    proposer = person.page("proposer")
    proposer.goto(f"{origins['police']}/sign-in")
    person.look("proposer", proposer)
    sign_in(proposer, origins["police"], estate.person("officer: proposes").document_number, PIN1)
    person.look("proposer", proposer)
    proposer.goto(at_police)
    person.look("proposer", proposer)
    proposer.locator("form[action$='/propose'] input[value='issue']").check()
    proposer.locator("form[action$='/propose'] textarea[name='reasons']").fill("All checks are clear.")
    proposer.get_by_role("button", name="Propose").click()
    decider = person.page("decider")
    sign_in(decider, origins["police"], estate.person("deciding").document_number, PIN1)
    decider.goto(at_police)
    person.look("decider", decider)
    decider.locator("form[action$='/decide'] input[value='agree']").check()
    decider.get_by_role("button", name="Decide").click()
    expect(decider.get_by_role("main")).to_contain_text("Decided")
    # --- 3 hand over
    desk = person.page("desk")
    sign_in(desk, origins["bureau"], estate.person("pick-up").document_number, PIN1)
    story.wait_for(lambda: _find_card(desk, origins["bureau"]), "the card at the desk")
    story.wait_for(lambda: _is_told(applicant, tasks), "the board to hear of it")
    person.look("desk", desk)
    desk.get_by_role("button", name="Hand over").or_(desk.get_by_role("link", name="Hand over")).first.click()
    person.look("desk", desk)
    desk.get_by_label("Passport").check()
    desk.get_by_label("Document number").fill(APPLICANT.passport_number)
    desk.get_by_label("Issuing country").fill("UTO")
    desk.get_by_label("Date of expiry").fill(APPLICANT.passport_expires_on.isoformat())
    desk.locator("input[name='face']").check()
    desk.locator("input[name='accepted']").check()
    desk.get_by_role("button", name="Hand over and activate").click()
    expect(desk.get_by_role("main")).to_contain_text("Certificates good since")
    person.look("desk", desk)
    document_number = desk.locator("h1").inner_text().rsplit(" ", 1)[-1]
    # --- the PIN envelope
    applicant.goto(f"{tasks}/pins")
    person.look("applicant", applicant)
    applicant.get_by_role("button", name="Open the envelope").click()
    found = re.search(r"PIN1\s*(\d+)\s*PIN2\s*(\d+)\s*PUK\s*(\d+)", applicant.get_by_role("main").inner_text())
    assert found
    pin1, pin2, _puk = found.groups()
    assert_accessible_everywhere(applicant)
    applicant.get_by_role("button", name=re.compile("written them down")).click()
    # --- 4 use: portal
    holder = person.page("holder")
    holder.goto(origins["portal"])
    person.look("holder", holder)
    sign_in(holder, origins["portal"], document_number, pin1)
    expect(holder.get_by_role("main")).to_contain_text("signed in as an e-resident")
    person.look("holder", holder)
    holder.goto(f"{origins['portal']}/sign-ins")
    person.look("holder", holder)
    holder.goto(f"{origins['portal']}/sign")
    person.look("holder", holder)
    file = tmp_path / "agreement.txt"
    file.write_text("An agreement of test persons.\n")
    holder.locator("input[type='file']").set_input_files(file)
    holder.get_by_role("button", name="Continue").click()
    person.look("holder", holder)
    use_card(holder, "#card-sign", document_number, ["", pin2])
    holder.get_by_role("button", name="Download the container").or_(
        holder.get_by_role("link", name="Download the container")
    ).first.wait_for()
    person.look("holder", holder)
    with holder.expect_download() as downloading:
        holder.locator("a[href$='/container']").click()
    container = tmp_path / "agreement.asice"
    downloading.value.save_as(container)
    # somebody else verifies it
    somebody = person.page("somebody")
    somebody.goto(f"{origins['portal']}/validate")
    person.look("somebody", somebody)
    somebody.locator("input[type='file']").set_input_files(container)
    somebody.get_by_role("button", name="Validate").click()
    expect(somebody.get_by_role("main")).to_contain_text("The signature is valid.")
    assert_accessible_everywhere(somebody)
    picture(somebody, "en")
    for path in ("/report-misuse", "/help"):
        somebody.goto(origins["portal"] + path)
        person.look("somebody", somebody)
    # the bank
    customer = person.page("customer")
    customer.goto(origins["bank"])
    person.look("customer", customer)
    sign_in(customer, origins["bank"], document_number, pin1)
    customer.goto(f"{origins['bank']}/open")
    person.look("customer", customer)
    customer.get_by_label("Business").check()
    customer.get_by_label("EUR").check()
    customer.locator("textarea").fill("invoices of a small company")
    customer.get_by_role("button", name="Continue").click()
    person.look("customer", customer)
    use_card(customer, "#card-sign", document_number, ["", pin2])
    expect(customer.get_by_role("main")).to_contain_text("Your account is open")
    person.look("customer", customer)
    # an address under a consent: refused before, answered under it, refused after; the person sees all three
    share_an_address(estate, person)
    # other desks
    bureau = person.page("bureau")
    sign_in(bureau, origins["bureau"], estate.person("bureau officer").document_number, PIN1)
    person.look("bureau", bureau)
    bureau.goto(f"{origins['bureau']}/points")
    person.look("bureau", bureau)
    register = person.page("register")
    sign_in(register, origins["population"], estate.person("bureau officer").document_number, PIN1)
    register.get_by_label("Personal code or beginning").fill("TOURIST")
    register.get_by_label("Purpose").fill("test 1")
    register.get_by_role("button", name="Search").click()
    expect(register.get_by_role("main")).to_contain_text("TEST ANNA MARIA")
    person.look("register", register)
    register.goto(f"{origins['population']}/look-ups")
    person.look("register", register)
    for path in ("/documents", f"/documents/{document_number}", "/cases"):
        decider.goto(origins["police"] + path)
        person.look("decider", decider)
    # every page once more in Estonian
    person.in_estonian()
    # --- 5 lose
    holder.goto(f"{origins['portal']}/lost/{document_number}")
    assert_accessible_everywhere(holder)
    holder.locator("form[action^='/lost/'] button").click()
    expect(holder.get_by_role("main")).to_contain_text(document_number)
    late = person.page("late")
    late.goto(f"{origins['portal']}/sign-in")
    use_card(late, "#card-sign-in", document_number, [pin1])
    expect(late.locator("#card-error")).to_contain_text("suspended")
    assert_accessible_everywhere(late)
    picture(late, "en")


def share_an_address(estate: RunningEState, person: People) -> None:
    origins, card = estate.origins, estate.person("e-resident").document_number
    at_bank, at_consents, at_portal = (person.page("sharer") for _ in range(3))
    # 1 the bank asks, the register refuses, the person is led to the question
    sign_in(at_consents, origins["consent"], card, PIN1)
    person.look("sharer", at_consents)
    sign_in(at_bank, origins["bank"], card, PIN1)
    at_bank.goto(f"{origins['bank']}/address")
    person.look("sharer", at_bank)
    at_bank.get_by_role("button", name="Use my registered address").click()
    at_bank.wait_for_url(f"{origins['consent']}/consents/*")
    person.look("sharer", at_bank)
    consent = at_bank.url
    # 2 granted with PIN2
    use_card(at_bank, "#card-sign", card, ["", PIN2])
    go_on = at_bank.get_by_role("button", name=re.compile("Go on to"))
    go_on.wait_for()
    person.look("sharer", at_bank)
    go_on.click()
    at_bank.wait_for_url(f"{origins['bank']}/address")
    expect(at_bank.get_by_role("main")).to_contain_text("Helsinki")
    person.look("sharer", at_bank)
    # 3 taken back; the register hears of it at once
    at_consents.goto(f"{consent.split('?')[0]}/withdraw")
    person.look("sharer", at_consents)
    at_consents.locator("form[action$='/withdraw'] button").click()
    expect(at_consents.get_by_role("main")).to_contain_text("withdr")
    story.wait_for(lambda: _is_refused(at_bank, origins["bank"]), "the withdrawal to reach the register")
    # 4 seen
    sign_in(at_portal, origins["portal"], card, PIN1)
    at_portal.goto(f"{origins['portal']}/who-looked")
    looks = at_portal.get_by_role("main")
    expect(looks).to_contain_text("with your consent")
    expect(looks).to_contain_text("Asked, and refused")
    expect(looks).not_to_contain_text("do not agree")
    person.look("sharer", at_portal)
    # and what carried it all
    operator = person.page("operator")
    operator.goto(origins["exchange"])
    expect(operator.get_by_role("main")).to_contain_text("Global configuration")
    person.look("operator", operator)


def _is_refused(page: Page, bank: str) -> bool | None:
    page.goto(f"{bank}/address")
    page.get_by_role("button", name="Ask the register again").click()
    return True if "does not hold any more" in page.get_by_role("main").inner_text() else None


def _is_told(page: Page, application: str) -> bool | None:
    page.goto(application)
    return True if "waits for you" in page.get_by_role("main").inner_text() else None


def _find_card(desk: Page, bureau: str) -> bool | None:
    desk.goto(f"{bureau}/?q={APPLICANT.surname}")
    link = desk.locator("a[href^='/orders/']")
    if link.count() == 0:
        return None
    link.first.click()
    return True if desk.locator("a[href$='/hand-over']").count() else None


def fill(page: Page, values: dict[str, str | list[str]], folder: Path) -> None:
    """Fill in a step's fields as a person would, whatever kind of field each is."""
    for name, value in values.items():
        assert isinstance(value, str)
        field = page.locator(f"main [name='{name}']").first
        kind = field.evaluate("e => e.type || e.tagName.toLowerCase()")
        if kind in ("radio", "checkbox"):
            page.locator(f"main [name='{name}'][value='{value}']").check()
        elif kind.startswith("select"):
            field.select_option(value)
        else:
            field.fill(value)
    if page.locator("main input[type='file']").count():
        photo = folder / "me.jpg"
        photo.write_bytes(story.portrait())
        page.locator("main input[type='file']").set_input_files(photo)


def test_after_a_consent_the_way_leads_back_to_the_address_also_over_a_sign_in(
    estate: RunningEState, person: People
) -> None:
    bank, consent, card = estate.origins["bank"], estate.origins["consent"], estate.person("citizen").document_number
    page = person.page("citizen")
    sign_in(page, bank, card, PIN1)
    sign_in(page, consent, card, PIN1)
    page.goto(f"{bank}/address")
    page.get_by_role("button", name="Use my registered address").click()
    page.wait_for_url(f"{consent}/consents/*")
    use_card(page, "#card-sign", card, ["", PIN2])
    go_on = page.get_by_role("button", name="Go on to TEST Bank")
    go_on.wait_for()
    page.context.clear_cookies(name="digiid_session", domain="bank.localhost")  # as if it had run out meanwhile
    go_on.click()
    page.wait_for_url(f"{bank}/sign-in?next=/address/back")
    use_card(page, "#card-sign-in", card, [PIN1])
    page.wait_for_url(f"{bank}/address")
    expect(page.get_by_role("main")).to_contain_text("Told to the bank")
