"""The central server's pages in a real browser: nothing serious for axe-core, and a decision needs neither script nor
mouse."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from digiid.contracts.members import INFORMATION_AUTHORITY
from digiid.exchange.central_server import store
from digiid.exchange.central_server.app import SITE, build
from digiid.exchange.central_server.domain import RequestState
from digiid.exchange.central_server.use_cases import configuration, requests
from digiid.exchange.client import Client
from digiid.formats.exchange.management import Operation
from digiid.platform.clock import ManualClock
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Surroundings
from digiid.platform.pools import Pools
from digiid.platform.trust import AllowedHosts, OcspClient
from digiid.platform.web.sessions import SessionStore
from tests.conftest import AT
from tests.support.browser import assert_accessible_everywhere, complaints_of
from tests.support.central import (
    BANKING,
    POLICE,
    REGISTRAR,
    SECURITY,
    CentralRoom,
    central_room,
)
from tests.support.serve import free_port, serving
from tests.unit.institutions.trust_services.ca_setup import shared_hierarchy

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CentralRoom, str]]:
    folder = Path(tmp_path_factory.mktemp("central"))
    room = central_room(folder, ManualClock(AT), SystemEntropy())
    room.register_server()
    room.register_client(POLICE)
    room.submit(room.request(Operation.MAINTENANCE_ON, message="until noon"))
    configuration.add_signing_key(room.deps, by=SECURITY)
    port = free_port()
    origin = f"http://central.localhost:{port}"
    pools, http, entropy = Pools(pages=2, services=1), HttpClient(timeout_seconds=1), SystemEntropy()
    origins = {SITE: origin, "agent": "http://127.0.0.1:1", "programs": origin}
    central = build(
        room.deps,
        Surroundings(room.clock, entropy, pools, http, folder, origins),
        issuers=[shared_hierarchy().issuing.certificate],
        ocsp=OcspClient(http, entropy, room.clock, hosts=AllowedHosts.of_urls("http://127.0.0.1:1")),
        exchange=Client(INFORMATION_AUTHORITY, server_url="http://127.0.0.1:1", http=http, entropy=entropy),
        csrf_secret="x" * 32,
    )
    with serving(central.running.sites[SITE], port):
        yield room, origin
    pools.close()
    http.close()


def open_page(
    browser: Browser,
    served: tuple[CentralRoom, str],
    code: str,
    path: str,
    *,
    language: str = "en",
    script: bool = True,
) -> Page:
    room, origin = served
    sessions = SessionStore(SITE, room.deps.db, store.schema.SESSIONS, room.clock, SystemEntropy())
    cookie, _ = sessions.start(code, {"kind": "card", "name": "TEST OFFICER"})
    locale = "et-EE" if language == "et" else "en-GB"
    context = browser.new_context(locale=locale, java_script_enabled=script)
    context.add_cookies([{"name": "digiid_session", "value": cookie, "url": origin}])
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto(origin + path)
    return page


@pytest.mark.parametrize("language", ["en", "et"])
def test_every_page_is_accessible(browser: Browser, served: tuple[CentralRoom, str], language: str) -> None:
    room, origin = served
    waiting = requests.list_requests(room.deps, only_open=True) or [
        room.submit(room.request(Operation.CLIENT_REGISTRATION, client=BANKING))
    ]
    pages = ["/", f"/requests/{waiting[0].request_id}", "/members", "/servers", "/groups"]
    pages += ["/groups/security-server-owners", "/configuration", "/journal", "/requests/none"]
    for code in (REGISTRAR, SECURITY):
        page = open_page(browser, served, code, "/", language=language)
        complaints = complaints_of(page)
        for path in pages:
            page.goto(origin + path)
            assert page.locator("html").get_attribute("lang") == language
            assert_accessible_everywhere(page)
        assert [one for one in complaints if "404" not in one] == []
        page.context.close()


def test_a_request_is_declined_and_approved_with_the_keyboard_and_without_script(
    browser: Browser, served: tuple[CentralRoom, str]
) -> None:
    room, _ = served
    for one in requests.list_requests(room.deps, only_open=True):
        requests.decline_request(room.deps, one.request_id, reason="of another test", by=REGISTRAR)
    ends = {"Decline": RequestState.DECLINED, "Approve": RequestState.APPROVED}
    for button, state in ends.items():
        submitted = room.submit(room.request(Operation.CLIENT_REGISTRATION, client=BANKING))
        page = open_page(browser, served, REGISTRAR, "/", script=False)
        page.get_by_role("region", name="Waiting").get_by_role("link").press("Enter")
        if button == "Decline":
            page.get_by_role("button", name=button).press("Enter")
            assert page.get_by_role("alert").count() >= 1
            page.get_by_role("textbox", name="Reason for declining").fill("No agreement yet")
        page.get_by_role("button", name=button, exact=True).press("Enter")
        page.wait_for_url(f"**/requests/{submitted.request_id}")
        assert requests.get_request(room.deps, submitted.request_id).state is state
        page.context.close()
