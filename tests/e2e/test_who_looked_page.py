"""The page of looks in a real browser: accessible at both widths and in both languages, and it needs no script."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from digiid.contracts.members import POLICE_BOARD
from digiid.institutions.information_authority.store import SESSIONS
from digiid.platform.clock import ManualClock
from digiid.platform.entropy import SystemEntropy
from digiid.platform.web.dispatch import HostDispatch
from digiid.platform.web.sessions import SessionStore
from tests.flows.provider_room import ProviderRoom, open_provider_room
from tests.flows.test_who_looked import CODE, bank_asked, board_tells, database_of
from tests.support.browser import DESKTOP, assert_accessible_everywhere, complaints_of
from tests.support.serve import free_port, serving

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderRoom]:
    """Half a year of looks, one of which the bank denies."""
    clock, port = ManualClock(datetime(2026, 7, 1, 10, tzinfo=UTC)), free_port()
    with open_provider_room(Path(tmp_path_factory.mktemp("looks")), clock, site_port=port) as opened:
        for n in range(30):
            clock.advance(timedelta(days=5))
            if n % 2:
                board_tells(opened, None, receiver=str(POLICE_BOARD), receiver_user="EE38001085718")
            else:
                bank_asked(opened, f"m-{n}")
                board_tells(opened, f"m-{n}", consent_reference="c-1")
        board_tells(opened, "m-denied")
        clock.advance(timedelta(minutes=6))
        sites = {f"portal.localhost:{port}": opened.portal.sites["portal"]}
        with serving(HostDispatch(sites, programs={}), port):
            yield opened


def opened(room: ProviderRoom, browser: Browser, *, language: str = "en", script: bool = True) -> Page:
    with database_of(room, "information_authority") as db:
        sessions = SessionStore("portal", db, SESSIONS, room.clock, SystemEntropy())
        cookie, _ = sessions.start(CODE, {"kind": "card", "name": "Mary Änn", "policy": "e_resident"})
    locale = "et-EE" if language == "et" else "en-GB"
    context = browser.new_context(locale=locale, java_script_enabled=script)
    origin = f"http://portal.localhost:{room.port}"
    context.add_cookies([{"name": "digiid_session", "value": cookie, "url": origin}])
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto(f"{origin}/who-looked")
    return page


def lines_of(page: Page, selector: str) -> set[int]:
    """How many lines the texts of these elements take."""
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    counted = page.locator(selector).evaluate_all(
        """cells => cells.map(cell => {
            const range = document.createRange();
            range.selectNodeContents(cell);
            return new Set([...range.getClientRects()].map(line => line.top)).size;
        })"""
    )
    assert counted
    return set(counted)


@pytest.mark.parametrize("language", ["en", "et"])
def test_the_page_of_looks_is_accessible(room: ProviderRoom, browser: Browser, language: str) -> None:
    page = opened(room, browser, language=language)
    complaints = complaints_of(page)
    page.reload()
    assert page.locator("html").get_attribute("lang") == language
    assert page.locator("svg[role=img]").count() == 1
    assert lines_of(page, "tbody tr td:first-child") <= {1, 2}, "a day or a time is broken"
    assert_accessible_everywhere(page)
    assert complaints == []
    page.context.close()


def test_looks_are_filtered_and_paged_with_the_keyboard_and_without_script(
    room: ProviderRoom, browser: Browser
) -> None:
    page = opened(room, browser, script=False)
    assert "The records do not agree" in page.locator("main").inner_text()
    assert page.locator("tbody tr").count() == 20
    page.get_by_role("link", name="Older").press("Enter")
    assert page.locator("tbody tr").count() == 10
    page.get_by_label("Who looked").select_option(label="Test Bank")
    page.get_by_role("button", name="Show").press("Enter")
    assert page.locator("tbody tr").count() == 15
    assert "Police and Border Guard Board" not in page.locator("tbody tr td:nth-child(2)").first.inner_text()
    page.context.close()
