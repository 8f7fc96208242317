"""The integrators' sample site in Chromium, with the card agent's window."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from digiid.devices.agent.app import AgentSettings, build_agent
from digiid.devices.wallet import write_inserted
from digiid.platform.entropy import SystemEntropy
from tests.flows.test_sample_site import open_stage
from tests.support.browser import assert_accessible
from tests.support.cards import DOCUMENT, PIN1
from tests.support.serve import free_port, serving

pytestmark = pytest.mark.browser


def test_a_holder_signs_in_with_the_agents_window_and_out(browser_page: Page, tmp_path: Path) -> None:
    agent_port = free_port()
    agent_origin = f"http://127.0.0.1:{agent_port}"
    with open_stage(tmp_path, agent_origin) as stage:
        write_inserted(tmp_path / "cards", DOCUMENT.document_number)
        settings = AgentSettings(folder=tmp_path, origin=agent_origin, pcsc=False)
        with serving(build_agent(stage.shelf, stage.clock, SystemEntropy(), settings), agent_port):
            browser_page.goto(stage.origin)
            assert_accessible(browser_page)
            with browser_page.expect_popup() as opened:
                browser_page.get_by_role("button", name="Sign in with a card").click()
            agent = opened.value
            expect(agent.locator("#allow")).to_be_visible(timeout=20_000)
            expect(agent.locator("body")).to_contain_text(stage.origin)
            agent.wait_for_timeout(700)  # the agent takes no yes that comes before it could be considered
            agent.locator("#allow-yes").click()
            agent.locator("#card-list label", has_text=DOCUMENT.document_number).first.click()
            agent.locator("#pin").fill(PIN1)
            agent.wait_for_timeout(700)
            agent.locator("#go").click()
            expect(browser_page.get_by_role("main")).to_contain_text(DOCUMENT.personal_code)
            assert_accessible(browser_page)
            browser_page.get_by_role("button", name="Sign out").click()
            expect(browser_page.get_by_role("button", name="Sign in with a card")).to_be_visible()
