"""A delay of disclosure ordered over the exchange: obeyed for who may, refused for others, and over by itself."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from digiid.contracts import population_register as contract
from digiid.contracts.members import INFORMATION_AUTHORITY, POLICE_BOARD, POPULATION_REGISTER
from digiid.exchange.client import Client
from digiid.exchange.delay import DelayOrder, DelayRules
from digiid.exchange.gate import Caller, Gate
from digiid.exchange.usage import Tracker, tracker_services
from digiid.institutions.bank.store import SENT_REQUESTS
from digiid.institutions.population_register import api, store, use_cases
from digiid.institutions.population_register.settings import Settings
from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import ClientId
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.disclosures import verify_disclosures
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpAnswer, HttpClient
from digiid.platform.pools import Pools
from digiid.platform.sent_requests import SentRequests, find_sent, sent_messages
from tests.support.serve import free_port, serving

OFFICIAL = "EE38001085718"
REASON = "criminal proceedings 26230100001, “õ”"
BORN_ON = date(1990, 5, 31)
UNTIL = date(2027, 3, 1)  # the clock stands at 2026-11-23
FIND = contract.FindPersons(given_names="MARY", surname="TEST", born_on=BORN_ON, purpose="investigation of a case")


@dataclass
class Room:
    """The population register behind its gate, and the board that asks and keeps its own record."""

    clock: ManualClock
    register: use_cases.Deps
    own: Database
    http: HttpClient
    url: str
    person: str

    def client(self, me: ClientId = POLICE_BOARD) -> Client:
        client = Client(me, server_url=self.url, http=self.http, entropy=SystemEntropy())
        return client.recording(SentRequests(self.own, SENT_REQUESTS, self.clock))

    def ask(self, delay: DelayOrder | None, *, message_id: str = "m-1", user_id: str | None = OFFICIAL) -> None:
        self.client().call(contract.FIND_PERSONS, FIND, user_id=user_id, message_id=message_id, delay=delay)

    def send(self, headers: dict[str, str], *, operation: Any = contract.FIND_PERSONS, **changes: str) -> HttpAnswer:
        """What a program that is not ours may send."""
        sent = {"X-Road-Client": str(POLICE_BOARD), "X-Road-Id": "m-2", "X-Road-UserId": OFFICIAL} | changes | headers
        sent = {name: value for name, value in sent.items() if value}
        return self.http.request(
            "POST", self.url + operation.path, content=FIND.model_dump_json().encode(), headers=sent
        )

    def usages(self) -> list[dict[str, Any]]:
        """What the register tells the person now."""
        query = {"userCode": f"EE{self.person}"}
        user = f"EE{self.person}"
        service = contract.GET_PERSON.service
        find_usage = type(service)(POPULATION_REGISTER, "findUsage")
        portal = Client(INFORMATION_AUTHORITY, server_url=self.url, http=self.http, entropy=SystemEntropy())
        answer = portal.rest(find_usage, "GET", "/v2/findUsage", query=query, user_id=user)
        return [usage for usage in answer.json()["usages"] if usage["action"] == FIND.purpose]

    def asked_about(self) -> list[str]:
        """What the board tells the person that it asked."""
        with self.own.read() as tx:
            return [each.outcome for each in find_sent(tx, SENT_REQUESTS, self.person, now=self.clock.now())]


@pytest.fixture
def room(tmp_path: Path, clock: ManualClock) -> Iterator[Room]:
    with ExitStack() as stack:
        pools, http = Pools(pages=1, services=2), HttpClient(timeout_seconds=5)
        own, db = Database.sqlite(tmp_path / "own.sqlite"), Database.sqlite(tmp_path / "register.sqlite")
        for close in (own.close, db.close, pools.close, http.close):
            stack.callback(close)
        own.migrate("digiid.institutions.bank")
        db.migrate("digiid.institutions.population_register")
        deps = use_cases.Deps(db, clock, SystemEntropy(), Settings())
        tracker = Tracker(POPULATION_REGISTER, db, clock, store.DISCLOSURES, store.SENT_REQUESTS)
        services = [*api.services(deps), *tracker_services(tracker)]
        rules = DelayRules(clock, timedelta(days=365))
        port = free_port()
        stack.enter_context(serving(Gate(services, pools=pools, delays=rules), port))
        request = contract.RegisterPerson(
            application_id="a-1",
            given_names="MARY",
            surname="TEST",
            sex="F",
            born_on=BORN_ON,
            citizenships=("UTO",),
            residence_country="UTO",
            basis="e_resident",
        )
        person = use_cases.register_person(deps, request, caller=Caller(POLICE_BOARD, "EE-1")).value
        yield Room(clock, deps, own, http, f"http://127.0.0.1:{port}", person)


def test_a_look_that_is_kept_back_appears_by_itself_on_both_sides_after_its_day(room: Room) -> None:
    room.ask(DelayOrder(UNTIL, REASON))
    assert (room.usages(), room.asked_about()) == ([], [])
    # who already has the message's identifier, as each party's other half has, is told that it is on record
    with room.own.read() as tx:
        assert sent_messages(tx, SENT_REQUESTS, room.person, ["m-1"]) == {"m-1"}
    end = datetime(2027, 3, 1, 22, 0, tzinfo=UTC)  # midnight in Tallinn
    room.clock.advance(end - timedelta(seconds=1) - room.clock.now())
    assert (room.usages(), room.asked_about()) == ([], [])
    room.clock.advance(timedelta(seconds=1))
    [usage] = room.usages()
    assert usage["hiddenReason"] == REASON
    assert usage["hiddenUntil"].startswith("2027-03-01T21:59:59")
    assert usage["xRoadMessageId"] == "m-1"
    assert room.asked_about() == ["answered"]


def test_the_journal_says_who_ordered_it_and_why_and_no_whole_personal_code(room: Room) -> None:
    room.ask(DelayOrder(UNTIL, REASON))
    with room.register.db.read() as tx:
        row = tx.execute(store.JOURNAL.select().where(store.JOURNAL.c.kind == "disclosure.delayed")).one()
        assert verify_disclosures(tx, store.DISCLOSURES, store.JOURNAL) == 2
    payload = json.loads(row.payload)
    assert (payload["reason"], payload["ordered_by"]) == (REASON, f"{POLICE_BOARD}, 3800108****")
    assert OFFICIAL[2:] not in row.payload


def test_without_an_order_the_look_is_shown_at_once(room: Room) -> None:
    room.ask(None)
    [usage] = room.usages()
    assert usage.get("hiddenUntil") is None
    assert room.asked_about() == ["answered"]


RIGHT = {"X-Digiid-Hidden-Until": "2027-03-01", "X-Digiid-Hidden-Reason": "criminal proceedings"}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-Digiid-Hidden-Until": "2027-03-01"}, "exchange.delay"),
        ({"X-Digiid-Hidden-Reason": "criminal proceedings"}, "exchange.delay"),
        (RIGHT | {"X-Digiid-Hidden-Reason": ""}, "exchange.delay"),
        (RIGHT | {"X-Digiid-Hidden-Reason": "short"}, "exchange.delay"),
        (RIGHT | {"X-Digiid-Hidden-Reason": "%20" * 30}, "exchange.delay"),
        (RIGHT | {"X-Digiid-Hidden-Reason": "x" * 201}, "exchange.delay"),
        (RIGHT | {"X-Digiid-Hidden-Reason": "two lines%0Ain it"}, "exchange.delay"),
        (RIGHT | {"X-Digiid-Hidden-Reason": "not UTF-8 %ff%ff"}, "exchange.delay"),
        (RIGHT | {"X-Digiid-Hidden-Until": "2027-02-30"}, "exchange.delay"),
        (RIGHT | {"X-Digiid-Hidden-Until": "forever"}, "exchange.delay"),
        (RIGHT | {"X-Digiid-Hidden-Until": "2027-03-01T00:00:00Z"}, "exchange.delay"),
        (RIGHT | {"X-Digiid-Hidden-Until": "2027-3-1"}, "exchange.delay"),
        (RIGHT | {"X-Digiid-Hidden-Until": "2026-11-22"}, "disclosures.delay_length"),
        (RIGHT | {"X-Digiid-Hidden-Until": "2027-11-24"}, "disclosures.delay_length"),
        (RIGHT | {"X-Digiid-Hidden-Until": "9999-12-31"}, "disclosures.delay_length"),
        (RIGHT | {"X-Road-UserId": "somebody"}, "exchange.delay"),
        (RIGHT | {"X-Road-UserId": ""}, "exchange.delay"),
    ],
)
def test_an_order_that_cannot_be_obeyed_is_refused_and_nothing_is_answered(
    room: Room, headers: dict[str, str], code: str
) -> None:
    answer = room.send(headers)
    assert answer.status in (400, 403)
    assert json.loads(answer.body)["code"] == code
    assert room.usages() == []


def test_an_order_to_the_last_allowed_day_is_obeyed(room: Room) -> None:
    assert room.send(RIGHT | {"X-Digiid-Hidden-Until": "2027-11-22"}).status == 200
    assert room.usages() == []


def test_who_may_not_have_a_look_kept_back_is_refused(room: Room) -> None:
    # another client of a service that the board may delay, and a service that nobody may
    for changes, operation in (
        ({"X-Road-Client": str(INFORMATION_AUTHORITY)}, contract.GET_PERSON),
        ({}, contract.REGISTER_PERSON),
    ):
        answer = room.send(RIGHT, operation=operation, **changes)
        assert (answer.status, json.loads(answer.body)["code"]) == (403, "exchange.delay_not_allowed")


def test_a_service_with_paths_of_its_own_obeys_no_order(room: Room) -> None:
    portal = room.client(INFORMATION_AUTHORITY)
    service = contract.GET_PERSON.service
    answer = portal.rest(
        type(service)(POPULATION_REGISTER, "findUsage"),
        "GET",
        "/v2/findUsage",
        query={"userCode": f"EE{room.person}"},
        user_id=f"EE{room.person}",
        delay=DelayOrder(UNTIL, REASON),
    )
    assert (answer.status, answer.json()["code"]) == (403, "exchange.delay_not_allowed")


def test_the_kit_refuses_before_anything_is_sent(room: Room) -> None:
    order = DelayOrder(UNTIL, REASON)
    with pytest.raises(Refused, match=r"exchange\.delay_not_allowed"):
        room.client(INFORMATION_AUTHORITY).call(
            contract.GET_PERSON, contract.GetPerson(personal_code=room.person), user_id=OFFICIAL, delay=order
        )
    with pytest.raises(Malformed, match=r"exchange\.delay"):
        room.ask(DelayOrder(UNTIL, "short"))
    with pytest.raises(Malformed, match=r"exchange\.delay"):
        room.ask(order, user_id=None)
    assert room.asked_about() == []
    assert room.usages() == []
