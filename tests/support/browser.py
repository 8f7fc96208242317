"""Chromium for tests: started once in a test run, without reaching for the network, and axe-core to judge pages.

Use the fixtures by importing them in a conftest: `from tests.support.browser import browser, browser_page`.
They skip, and say why, where there is no Chromium.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
_QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
_SERIOUS = ("serious", "critical")


@cache
def why_no_chromium() -> str | None:
    """None if Chromium can be started here, else the reason."""
    if not CHROMIUM.exists():
        return f"{CHROMIUM} is not installed"
    try:
        done = subprocess.run([CHROMIUM, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"chromium --version: {error}"
    return None if done.returncode == 0 else f"chromium --version ended with {done.returncode}"


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """A headless Chromium. It is sandboxed unless the test runs as root, where Chromium refuses to."""
    arguments = [*_QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments, timeout=60_000)
        try:
            yield started
        finally:
            started.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, once for all tests of a run."""
    if reason := why_no_chromium():
        pytest.skip(f"no browser: {reason}")
    with running_chromium() as started:
        yield started


@pytest.fixture
def browser_context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile: no cookies, English, desktop width."""
    context = browser.new_context(viewport=DESKTOP, locale="en-GB")  # type: ignore[arg-type]
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def browser_page(browser_context: BrowserContext) -> Page:
    return browser_context.new_page()


def find_violations(page: Page) -> list[dict[str, Any]]:
    """What axe-core finds on the page as it is now."""
    # evaluated by the debugger, so that the page's own policy against foreign scripts stays in force
    page.evaluate(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found: dict[str, Any] = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    violations: list[dict[str, Any]] = found["violations"]
    return violations


def assert_accessible(page: Page) -> None:
    """Fail if axe-core finds something serious, or if the page is wider than its window."""
    problems = [
        f"{found['id']} ({found['impact']}): {found['help']}\n    "
        + "\n    ".join(node["html"][:200] for node in found["nodes"][:5])
        for found in find_violations(page)
        if found["impact"] in _SERIOUS
    ]
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wider > 0:
        problems.append(f"the page is {wider} px wider than its window of {page.viewport_size}")
    headings = page.locator("h1").count()
    if headings != 1:
        problems.append(f"{headings} headings of the first level")
    assert not problems, f"{page.url}:\n" + "\n".join(problems)


def assert_accessible_everywhere(page: Page) -> None:
    """`assert_accessible` at desktop and at phone width."""
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert_accessible(page)
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]


def complaints_of(page: Page) -> list[str]:
    """Collects from now on what the page's console calls an error: a policy that was hit, a script that failed."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found
