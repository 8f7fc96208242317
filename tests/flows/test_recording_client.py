"""The consumer's half of the data tracker: written before a request leaves, settled by its answer."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import pytest

from digiid.contracts import card_bureau, population_register
from digiid.contracts.members import INFORMATION_AUTHORITY, POLICE_BOARD
from digiid.exchange.client import Client
from digiid.exchange.gate import Caller, Gate, Service
from digiid.institutions.bank.store import SENT_REQUESTS
from digiid.kernel.errors import Broken, NotFound, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.pools import Pools
from digiid.platform.sent_requests import SentRequests
from tests.support.serve import free_port, serving

MARI, JAAN = "60001019906", "38001085718"
GET = population_register.GetPerson(personal_code=MARI)
FIND = population_register.FindPersons(given_names="A", surname="B", born_on=date(1980, 1, 1), purpose="a test")


class Room:
    """A provider whose answers a test sets, and a consumer that keeps its record."""

    def __init__(self, db: Database, clock: ManualClock, http: HttpClient) -> None:
        self.db, self.clock, self.http, self.port = db, clock, http, free_port()
        self.seen_by_provider: list[tuple[str, str, str]] = []
        self.failure: Exception | None = None

    def client(self, me: object = POLICE_BOARD, port: int | None = None) -> Client:
        url = f"http://127.0.0.1:{port or self.port}"
        client = Client(me, server_url=url, http=self.http, entropy=SystemEntropy())  # type: ignore[arg-type]
        return client.recording(SentRequests(self.db, SENT_REQUESTS, self.clock))

    def sent(self) -> list[tuple[str, str, str]]:
        t = SENT_REQUESTS.c
        with self.db.read() as tx:
            rows = tx.execute(SENT_REQUESTS.select().order_by(t.message_id, t.personal_code)).all()
        return [(row.personal_code, row.service.rpartition("/")[2], row.outcome) for row in rows]

    def get(self, _caller: Caller, request: population_register.GetPerson) -> population_register.Person:
        self.seen_by_provider = self.sent()
        if self.failure:
            raise self.failure
        return population_register.Person(
            personal_code=request.personal_code,
            given_names="A",
            surname="B",
            born_on=date(1980, 1, 1),
            citizenships=("UTO",),
            basis="e_resident",
        )

    def find(self, _caller: Caller, _request: population_register.FindPersons) -> population_register.PersonsFound:
        self.seen_by_provider = self.sent()
        match = {"given_names": "A", "surname": "B", "born_on": date(1980, 1, 1), "similarity": 1}
        codes = (MARI, JAAN)
        return population_register.PersonsFound.model_validate(
            {"matches": tuple({**match, "personal_code": code} for code in codes)}
        )


@pytest.fixture
def room(tmp_path: Path, clock: ManualClock) -> Iterator[Room]:
    with ExitStack() as stack:
        db, pools, http = (
            Database.sqlite(tmp_path / "c.sqlite"),
            Pools(pages=1, services=2),
            HttpClient(timeout_seconds=5),
        )
        for close in (db.close, pools.close, http.close):
            stack.callback(close)
        db.migrate("digiid.institutions.bank")
        made = Room(db, clock, http)
        services = [
            Service(population_register.GET_PERSON, made.get),
            Service(population_register.FIND_PERSONS, made.find),
        ]
        stack.enter_context(serving(Gate(services, pools=pools), made.port))
        yield made


def test_a_request_is_on_record_before_it_leaves(room: Room) -> None:
    room.client(INFORMATION_AUTHORITY).call(population_register.GET_PERSON, GET, purpose="a test")
    assert room.seen_by_provider == [(MARI, "get-person", "sent")]
    assert room.sent() == [(MARI, "get-person", "answered")]


def test_whom_a_search_found_is_on_record_when_the_answer_is_there(room: Room) -> None:
    room.client().call(population_register.FIND_PERSONS, FIND, purpose="a test")
    assert room.seen_by_provider == [("", "find-persons", "sent")]
    assert {(code, outcome) for code, _, outcome in room.sent()} == {
        ("", "answered"),
        (JAAN, "answered"),
        (MARI, "answered"),
    }


def test_a_refusal_is_settled_and_a_silence_stays_open(room: Room) -> None:
    room.failure = NotFound("population.person", "nobody")
    with pytest.raises(NotFound):
        room.client(INFORMATION_AUTHORITY).call(population_register.GET_PERSON, GET, message_id="m-1")
    with pytest.raises(Unavailable):
        room.client(INFORMATION_AUTHORITY, port=free_port()).call(population_register.GET_PERSON, GET, message_id="m-2")
    room.failure = RuntimeError()  # it may have told before it failed
    with pytest.raises((Unavailable, Broken)):
        room.client(INFORMATION_AUTHORITY).call(population_register.GET_PERSON, GET, message_id="m-3")
    assert [outcome for _, _, outcome in room.sent()] == ["refused", "sent", "sent"]


def test_a_repeat_of_a_message_is_one_request_and_takes_its_last_outcome(room: Room) -> None:
    client = room.client(INFORMATION_AUTHORITY)
    room.failure = Unavailable("db.busy", "x")
    with pytest.raises(Unavailable):
        client.call(population_register.GET_PERSON, GET, message_id="m-1")
    room.failure = None
    client.call(population_register.GET_PERSON, GET, message_id="m-1")
    assert room.sent() == [(MARI, "get-person", "answered")]


def test_who_asks_by_another_identifier_says_about_whom(room: Room) -> None:
    request = card_bureau.GetDelivery(order_id="order-1")
    with pytest.raises(Broken, match=r"exchange\.about_whom"):
        room.client().call(card_bureau.GET_DELIVERY, request)
    with pytest.raises((Unavailable, Broken)):
        room.client().call(card_bureau.GET_DELIVERY, request, about=(JAAN,))  # nobody serves it here
    assert room.sent() == [(JAAN, "get-delivery", "sent")]


def test_a_rest_service_is_on_record_when_the_caller_says_about_whom(room: Room) -> None:
    service = population_register.GET_PERSON.service
    with pytest.raises(Unavailable):
        room.client().rest(service, "GET", "/v2/none", about=(MARI,))
    with pytest.raises(Unavailable):
        room.client().rest(service, "GET", "/v2/none")
    assert room.sent() == [(MARI, "get-person", "sent")]
