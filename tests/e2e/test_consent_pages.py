"""The consent pages in a real browser: nothing serious for axe-core, and all but signing works without script."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
from playwright.sync_api import Browser, Page

from digiid.platform.clock import ManualClock
from tests.flows.consent_room import ConsentRoom, open_consent_room
from tests.support.browser import assert_accessible_everywhere, complaints_of
from tests.support.page_client import PageClient
from tests.support.serve import free_port

pytestmark = pytest.mark.browser
P = ParamSpec("P")
R = TypeVar("R")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsentRoom]:
    folder = Path(tmp_path_factory.mktemp("consents"))
    clock = ManualClock(datetime(2026, 11, 23, 10, 0, tzinfo=UTC))
    with open_consent_room(folder, clock, site_port=free_port()) as opened:
        yield opened


class Visit:
    """Mary in Chromium, signed in beside it on a thread of its own: the card is not what these tests are about."""

    def __init__(self, room: ConsentRoom, browser: Browser) -> None:
        self.room, self.browser = room, browser
        self.holder = room.holder()
        self._thread = ThreadPoolExecutor(1)
        origin = room.around.origins["consent"]
        self._beside = self._aside(PageClient, room.consents.sites["consent"], origin)
        self._aside(self.holder.sign_in, self._beside)

    def _aside(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return self._thread.submit(work, *args, **kwargs).result(timeout=60)

    def open_link(self, path: str) -> str:
        return self._aside(self.room.open_link, self._beside, path)

    def sign(self, consent_id: str) -> None:
        self._aside(self._beside.get, f"/consents/{consent_id}")
        assert self._aside(self.holder.sign, self._beside, f"{consent_id}?en").status_code == 200

    def close(self) -> None:
        self._aside(self._beside.close)
        self._thread.shutdown()

    def page(self, path: str, *, language: str = "en", script: bool = True, signed_in: bool = True) -> Page:
        origin = self.room.around.origins["consent"]
        locale = "et-EE" if language == "et" else "en-GB"
        context = self.browser.new_context(locale=locale, java_script_enabled=script)
        if signed_in:
            session = str(self._beside.cookies.get("digiid_session"))
            context.add_cookies([{"name": "digiid_session", "value": session, "url": origin}])
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.goto(origin + path)
        return page

    def look(self, path: str, *, signed_in: bool = True) -> None:
        for language in ("en", "et"):
            page = self.page("/", language=language, signed_in=signed_in)
            complaints = complaints_of(page)
            page.goto(self.room.around.origins["consent"] + path)
            assert page.locator("html").get_attribute("lang") == language
            assert_accessible_everywhere(page)
            assert complaints == []
            page.context.close()


@pytest.fixture
def visit(browser: Browser, room: ConsentRoom) -> Iterator[Visit]:
    made = Visit(room, browser)
    yield made
    made.close()


def test_every_page_is_accessible_in_both_languages(room: ConsentRoom, visit: Visit) -> None:
    for path in ("/", "/sign-in", "/help", "/requests/none"):
        visit.look(path, signed_in=False)
    asked = visit.open_link(room.link())
    visit.look("/")
    visit.look(f"/consents/{asked}")
    visit.sign(asked)
    for path in ("/", f"/consents/{asked}", f"/consents/{asked}/withdraw"):
        visit.look(path)
    for_child = visit.open_link(room.link_for(room.child, "LAPS"))
    visit.look(f"/consents/{for_child}")


def test_refusing_and_withdrawing_need_no_script(room: ConsentRoom, visit: Visit) -> None:
    held = room.bank_consents.find_references(room.mary, ["bank-card-and-letters"])
    if not held:
        visit.sign(visit.open_link(room.link()))
    page = visit.page("/", script=False)
    page.get_by_role("table", name="In force").get_by_role("link").first.click()
    page.get_by_role("button", name="Withdraw").click()
    page.get_by_role("button", name="Withdraw").click()
    assert page.get_by_role("heading", level=1).inner_text() == "You have withdrawn your consent"
    page.goto(room.around.origins["consent"] + room.link())
    assert "Signing with a card on a page needs JavaScript" in page.locator("main").inner_text()
    page.get_by_role("button", name="No, I refuse").press("Enter")
    assert page.get_by_role("heading", level=1).inner_text() == "You have refused"
    page.context.close()
