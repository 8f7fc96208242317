"""The officers' pages: what is shown, who may press what, empty states and errors. No socket is opened."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import inspect

from digiid.contracts.members import INFORMATION_AUTHORITY
from digiid.exchange.central_server import store
from digiid.exchange.central_server.app import SITE, CentralServer, build
from digiid.exchange.central_server.domain import RequestState
from digiid.exchange.central_server.use_cases import members, officers, requests
from digiid.exchange.central_server.web.words import DETAILS
from digiid.exchange.client import Client
from digiid.formats.exchange.management import Operation
from digiid.formats.global_conf import anchor_fingerprint, parse_anchor
from digiid.kernel.identifiers import ClientId
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Surroundings
from digiid.platform.pools import Pools
from digiid.platform.trust import AllowedHosts, OcspClient
from digiid.platform.web.sessions import SessionStore
from tests.support.central import (
    ADMINISTRATOR,
    BANKING,
    BOARD,
    OBSERVER,
    POLICE,
    REGISTRAR,
    SECURITY,
    CentralRoom,
)
from tests.support.page_client import PageClient
from tests.support.schema import schema_differences
from tests.unit.institutions.trust_services.ca_setup import shared_hierarchy

ORIGIN = "http://central.localhost:8800"
PAGES = ("/", "/members", "/servers", "/groups", "/groups/security-server-owners", "/configuration", "/journal")


@dataclass
class Pages:
    room: CentralRoom
    central: CentralServer
    clients: list[PageClient]

    def as_officer(self, personal_code: str | None, language: str = "en") -> PageClient:
        client = PageClient(self.central.running.sites[SITE], ORIGIN, language=language)
        self.clients.append(client)
        if personal_code is not None:
            sessions = SessionStore(SITE, self.room.deps.db, store.schema.SESSIONS, self.room.clock, SystemEntropy())
            cookie, _ = sessions.start(personal_code, {"kind": "card", "name": "TEST OFFICER"})
            client.cookies.set("digiid_session", cookie)
        return client


@pytest.fixture
def pages(room: CentralRoom, tmp_path: Path) -> Iterator[Pages]:
    pools, http = Pools(pages=2, services=1), HttpClient(timeout_seconds=1)
    entropy = SystemEntropy()
    around = Surroundings(
        room.clock, entropy, pools, http, tmp_path, {SITE: ORIGIN, "agent": "http://127.0.0.1:1", "programs": ORIGIN}
    )
    central = build(
        room.deps,
        around,
        issuers=[shared_hierarchy().issuing.certificate],
        ocsp=OcspClient(http, entropy, room.clock, hosts=AllowedHosts.of_urls("http://127.0.0.1:1")),
        exchange=Client(INFORMATION_AUTHORITY, server_url="http://127.0.0.1:1", http=http, entropy=entropy),
        csrf_secret="x" * 32,
    )
    made = Pages(room, central, [])
    yield made
    for client in made.clients:
        client.close()
    pools.close()
    http.close()


def text_of(html: str) -> str:
    whole = html.replace("<wbr>", "")  # where a long identifier may be broken is no end of a word
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", whole))


def test_the_migrated_schema_is_what_the_code_says(new_database: Callable[[str], Database]) -> None:
    database = new_database("digiid.exchange.central_server")
    assert schema_differences(database, store.schema.metadata) == []
    with database.read() as tx:
        assert inspect(tx).get_table_names()


def test_nobody_but_an_officer_sees_anything(pages: Pages) -> None:
    for path in (*PAGES, "/anchor", "/requests/x"):
        assert pages.as_officer(None).get(path).status_code in (303, 401)
        assert pages.as_officer("37605030299").get(path).status_code == 403
    officers.remove_officer(pages.room.deps, REGISTRAR, reason="changed jobs", by=ADMINISTRATOR)
    assert pages.as_officer(REGISTRAR).get("/").status_code == 403


@pytest.mark.parametrize("language", ["en", "et"])
@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_every_page_is_there_in_both_languages(pages: Pages, language: str, filled: bool) -> None:
    room = pages.room
    if filled:
        room.register_server()
        room.register_client(POLICE)
        room.submit(room.request(Operation.MAINTENANCE_ON, message="until noon"))
        room.submit(room.request(Operation.CLIENT_REGISTRATION, client=BANKING))
    for path in PAGES:
        answer = pages.as_officer(SECURITY, language).get(path)
        assert answer.status_code == 200 and f'lang="{language}"' in answer.text, path
        assert answer.text.count("<h1") == 1
    home = text_of(pages.as_officer(OBSERVER, language).get("/").text)
    waits = {"en": "Nothing waits for a decision.", "et": "Miski ei oota otsust."}[language]
    assert (waits in home) is not filled
    if filled:
        assert "EE/COM/10000201/bank" in home and "EE/GOV/70000105, EE/COM/10000201" in home
        assert "until noon" in pages.as_officer(OBSERVER, language).get("/servers").text


def test_an_officer_approves_after_seeing_what_is_asked_and_by_whom(pages: Pages) -> None:
    submitted = pages.room.submit(pages.room.registration())
    client = pages.as_officer(REGISTRAR)
    assert f"/requests/{submitted.request_id}" in client.get("/").text
    shown = text_of(client.get(f"/requests/{submitted.request_id}").text)
    for told in ("EE/GOV/70000105/state", "127.0.0.1:5500", "TEST Information Authority", "SHA256withECDSA"):
        assert told in shown
    assert submitted.request.auth_cert_hash is not None and submitted.request.auth_cert_hash in shown
    assert client.post_form(f"/requests/{submitted.request_id}/approve", {}).status_code == 303
    shown = text_of(client.get(f"/requests/{submitted.request_id}").text)
    assert "approved" in shown and "TEST REGISTRATION_OFFICER" in shown
    assert requests.get_request(pages.room.deps, submitted.request_id).decided_by == REGISTRAR
    assert client.post_form(f"/requests/{submitted.request_id}/approve", {}).status_code == 409


def test_a_decline_needs_its_reason_beside_the_field(pages: Pages) -> None:
    submitted = pages.room.submit(pages.room.registration())
    client = pages.as_officer(REGISTRAR)
    path = f"/requests/{submitted.request_id}"
    client.get(path)
    answer = client.post_form(f"{path}/decline", {"reason": "no"})
    assert answer.status_code == 422 and 'id="reason-error"' in answer.text
    assert client.post_form(f"{path}/decline", {"reason": "No agreement yet"}).status_code == 303
    assert requests.get_request(pages.room.deps, submitted.request_id).state is RequestState.DECLINED


def test_tm01_who_may_not_decide_has_no_button_and_is_refused_without_one(pages: Pages) -> None:
    submitted = pages.room.submit(pages.room.registration())
    path = f"/requests/{submitted.request_id}"
    for code in (OBSERVER, SECURITY, ADMINISTRATOR):
        client = pages.as_officer(code)
        assert f"{path}/approve" not in client.get(path).text
        assert client.post_form(f"{path}/approve", {}).status_code == 403
    assert requests.get_request(pages.room.deps, submitted.request_id).state is RequestState.SUBMITTED_FOR_APPROVAL


def test_tm01_a_form_without_its_token_changes_nothing(pages: Pages) -> None:
    submitted = pages.room.submit(pages.room.registration())
    client = pages.as_officer(REGISTRAR)
    answer = client.request("POST", f"/requests/{submitted.request_id}/approve", data={}, headers={"Origin": ORIGIN})
    assert answer.status_code == 403
    assert requests.get_request(pages.room.deps, submitted.request_id).state is RequestState.SUBMITTED_FOR_APPROVAL


def test_a_member_is_entered_and_its_waiting_request_goes_on(pages: Pages) -> None:
    shop = ClientId("EE", "COM", "10000999", "shop")
    pages.room.register_server()
    waiting = pages.room.submit(pages.room.request(Operation.CLIENT_REGISTRATION, client=shop))
    client = pages.as_officer(REGISTRAR)
    assert "not in the list of members yet" in client.get(f"/requests/{waiting.request_id}").text
    client.get("/members")
    for wrong in ("", "100/00999", "10000201"):
        answer = client.post_form("/members", {"member_class": "COM", "member_code": wrong, "name": "TEST Shop"})
        assert answer.status_code == 422 and 'id="member_code-error"' in answer.text
    answer = client.post_form("/members", {"member_class": "COM", "member_code": "10000999", "name": "TEST Shop"})
    assert answer.status_code == 303
    assert requests.get_request(pages.room.deps, waiting.request_id).state is RequestState.SUBMITTED_FOR_APPROVAL


def test_classes_of_members_are_named_in_the_language_of_the_page(pages: Pages) -> None:
    assert "COM: Companies" in pages.as_officer(REGISTRAR).get("/members").text
    assert "COM: ettevõtted" in pages.as_officer(REGISTRAR, "et").get("/members").text


def test_the_journal_tells_its_details_in_the_language_of_the_page(pages: Pages) -> None:
    room = pages.room
    room.register_server()
    group = "ministries"
    members.add_group(room.deps, group, "Ministries", by=REGISTRAR)
    members.add_to_group(room.deps, group, POLICE.member, by=REGISTRAR)
    members.remove_member(room.deps, BANKING.member, reason="the agreement ended", by=REGISTRAR)
    told = {name for line in members.recent_journal(room.deps) for name in line.payload}
    assert {"by", "operation", "roles", "party", "key", "certificate", "reason"} <= told
    assert told - {"by", "envelope_sha256"} <= DETAILS.keys()
    shown = text_of(pages.as_officer(SECURITY, "et").get("/journal").text)
    for words in (
        "toiming: Registreerida autentimissertifikaat",
        "rollid: turvaametnik",
        "liige või alamsüsteem: EE/GOV/70000101",
        "põhjendus: the agreement ended",
        "allkirjastas EE/GOV/70000105",
        "keskserver",
        "paigaldus",
    ):
        assert words in shown
    assert not re.search(r"\b(by|client|member|officer|operation|parts|reason|request|roles|server|signed):? ", shown)
    assert "operation: Register an authentication certificate" in text_of(
        pages.as_officer(SECURITY).get("/journal").text
    )


def test_groups_are_made_filled_emptied_and_removed(pages: Pages) -> None:
    client = pages.as_officer(REGISTRAR)
    client.get("/groups")
    assert client.post_form("/groups", {"code": "a b", "description": "x"}).status_code == 422
    assert client.post_form("/groups", {"code": "security-server-owners", "description": "x"}).status_code == 422
    assert client.post_form("/groups", {"code": "boards", "description": "Boards"}).status_code == 303
    assert client.get("/groups/boards").status_code == 200
    for wrong in ("EE/GOV/70000101", "x", "EE/GOV/1/2/3", "FI/GOV/70000101", "EE/GOV/99999999"):
        answer = client.post_form("/groups/boards/add", {"party": wrong})
        if wrong == "EE/GOV/70000101":
            assert answer.status_code == 303
        else:
            assert answer.status_code == 422 and 'id="party-error"' in answer.text
    assert str(BOARD) in client.get("/groups/boards").text
    assert client.post_form("/groups/boards/remove", {"party": str(BOARD)}).status_code == 303
    assert client.post_form("/groups/boards/delete", {}).status_code == 303
    assert client.get("/groups/boards").status_code == 404
    assert len(members.list_groups(pages.room.deps)) == 1


def test_the_configuration_shows_its_age_and_the_anchor_to_compare(pages: Pages) -> None:
    room = pages.room
    client = pages.as_officer(SECURITY)
    room.clock.advance(timedelta(seconds=42))
    shown = client.get("/configuration").text
    assert "42 seconds" in text_of(shown)
    anchor = client.get("/anchor").content
    assert parse_anchor(anchor).instance == "EE"
    assert anchor_fingerprint(anchor) in shown
    assert client.post_form("/keys", {}).status_code == 303
    assert client.post_form("/keys/2/activate", {}).status_code == 403  # not every server knows it yet
    room.clock.advance(timedelta(minutes=20))
    expired = text_of(client.get("/configuration").text)
    assert "The configuration has run out" in expired
    pages.central.publisher.run()
    assert client.post_form("/keys/2/activate", {}).status_code == 303


def test_health_says_how_long_the_configuration_holds(pages: Pages) -> None:
    assert pages.central.running.health()["configuration"] == "holds for 600 s"
    pages.room.clock.advance(timedelta(seconds=600))
    assert pages.central.running.health()["configuration"] == "expired"
