"""The platform's pages in Chromium: accessible at both widths, by keyboard, without script, without a policy hit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from digiid.platform.clock import SystemClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from digiid.platform.web.dispatch import HostDispatch
from tests.support.browser import assert_accessible, assert_accessible_everywhere, complaints_of, find_violations
from tests.support.reference_site import METADATA, build_reference_site
from tests.support.serve import free_port, serving

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    database = Database.sqlite(tmp_path_factory.mktemp("reference") / "reference.sqlite")
    with database.write() as tx:
        METADATA.create_all(tx)
    port = free_port()
    host = f"reference.localhost:{port}"
    reference = build_reference_site(database, SystemClock(), SystemEntropy(), origin=f"http://{host}")
    with serving(HostDispatch({host: reference.app}, programs={}), port):
        yield f"http://{host}"
    reference.pools.close()
    database.close()


@pytest.mark.parametrize("path", ["/", "/table", "/no-such-page"])
def test_pages_are_accessible_at_both_widths_in_both_languages(origin: str, browser_page: Page, path: str) -> None:
    complaints = complaints_of(browser_page)
    for switch in (None, "Eesti keeles"):
        browser_page.goto(origin + path)
        if switch:
            browser_page.get_by_role("button", name=switch).click()
            browser_page.goto(origin + path)
        assert_accessible_everywhere(browser_page)
    assert [text for text in complaints if "404" not in text] == []


def test_errors_are_announced_focused_and_lead_to_their_field(origin: str, browser_page: Page) -> None:
    browser_page.goto(origin)
    browser_page.get_by_role("button", name="Continue").click()
    summary = browser_page.locator(".govuk-error-summary")
    expect(summary).to_be_focused()
    assert_accessible_everywhere(browser_page)
    summary.get_by_role("link", name="Enter the surname").click()
    expect(browser_page.get_by_label("Surname")).to_be_focused()


def test_a_form_is_filled_in_by_keyboard_alone(origin: str, browser_page: Page) -> None:
    browser_page.goto(origin)
    browser_page.keyboard.press("Tab")
    expect(browser_page.get_by_role("link", name="Skip to main content")).to_be_focused()
    browser_page.get_by_label("Surname").focus()
    browser_page.keyboard.type("Õun")
    browser_page.get_by_label("Female").focus()
    browser_page.keyboard.press("Space")
    browser_page.get_by_label("Estonian").focus()
    browser_page.keyboard.press("Space")
    browser_page.get_by_role("button", name="Continue").focus()
    browser_page.keyboard.press("Enter")
    expect(browser_page.locator("#wanted")).to_contain_text("Õun")


def test_everything_but_the_card_works_without_script(origin: str, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False, locale="en-GB")
    page = context.new_page()
    page.goto(origin)
    page.get_by_label("Surname").fill("Õun")
    page.get_by_label("Male", exact=True).check()
    page.get_by_label("English").check()
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#wanted")).to_contain_text("Õun")
    page.goto(origin)
    page.get_by_role("button", name="Enter").click()
    expect(page.locator("#wanted")).to_have_text("account-1")
    page.get_by_role("button", name="Eesti keeles").click()
    page.get_by_role("button", name="Välju").click()
    page.goto(f"{origin}/own")
    expect(page.locator("#wanted")).to_have_count(0)
    context.close()


def test_an_inaccessible_page_is_found(browser_page: Page, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text("<html lang=en><title>x</title><h1>x</h1><input><p style='color:#ccc;background:#fff'>pale</p>")
    browser_page.goto(file.as_uri())
    assert {found["id"] for found in find_violations(browser_page)} >= {"label", "color-contrast"}
    with pytest.raises(AssertionError, match="label"):
        assert_accessible(browser_page)
