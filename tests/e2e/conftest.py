"""Chromium for every end-to-end test."""

from tests.support.browser import browser, browser_context, browser_page

__all__ = ["browser", "browser_context", "browser_page"]
