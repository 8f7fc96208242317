"""findUsage and askedAbout: the published form, and whatever else somebody might send."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from digiid.contracts.data_tracker import ALLOWED, FIND_USAGE_ENDPOINTS
from digiid.contracts.members import BANK, INFORMATION_AUTHORITY
from digiid.exchange.gate import Caller, RestAnswer, RestCall
from digiid.exchange.usage import Tracker, tracker_services, tracker_timers
from digiid.institutions.bank.store import DISCLOSURES, JOURNAL, SENT_REQUESTS
from digiid.kernel.errors import Broken
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.disclosures import Look, order_delay, record_disclosure
from digiid.platform.sent_requests import SentRequests

MARI, JAAN = "60001019906", "38001085718"
PORTAL = str(INFORMATION_AUTHORITY)


class Room:
    def __init__(self, db: Database, clock: ManualClock) -> None:
        self.db, self.clock = db, clock
        self.tracker = Tracker(BANK, db, clock, DISCLOSURES, SENT_REQUESTS)
        self.services = tracker_services(self.tracker)
        self.sent = SentRequests(db, SENT_REQUESTS, clock)

    def record(self, message_id: str | None = "m-1", person: str = MARI, **changes: Any) -> None:
        look = Look(
            receiver="EE/GOV/70000101/police", purpose="background check", legal_basis="a law", service="get-person"
        )
        values = {name: getattr(look, name) for name in Look.__dataclass_fields__} | {"message_id": message_id}
        with self.db.write() as tx:
            record_disclosure(
                tx,
                DISCLOSURES,
                JOURNAL,
                None,
                personal_code=person,
                look=Look(**values | changes),
                categories=("name", "birth_date"),
                at=self.clock.now(),
            )

    def ask(self, path: str, user: str | None = f"EE{MARI}", **query: Any) -> RestAnswer:
        service = self.services[1 if path.startswith("/v1") else 0]
        call = RestCall("GET", path, {k: (v if isinstance(v, tuple) else (v,)) for k, v in query.items()}, {}, b"")
        return service.answer(Caller(INFORMATION_AUTHORITY, "x-1", user), call)

    def body(self, path: str, **query: Any) -> Any:
        answer = self.ask(path, **query)
        assert (answer.status, answer.media_type) == (200, "application/json"), answer.body
        return json.loads(answer.body)


@pytest.fixture
def room(new_database: Callable[[str], Database], clock: ManualClock) -> Room:
    return Room(new_database("digiid.institutions.bank"), clock)


def test_only_the_portal_may_ask_at_the_published_paths(room: Room) -> None:
    usage, asked = room.services
    assert usage.service.service_code == "findUsage"
    assert usage.allowed == asked.allowed == ALLOWED == {INFORMATION_AUTHORITY}
    assert set(usage.endpoints) == set(FIND_USAGE_ENDPOINTS)
    assert {("GET", "/v2/findUsage"), ("GET", "/v2/usagePeriod"), ("GET", "/v2/heartbeat")} < set(usage.endpoints)


def test_a_usage_has_the_published_fields_and_ours(room: Room) -> None:
    room.record(receiver_user="EE38001085718", consent_reference="c-1")
    answer = room.body("/v2/findUsage", userCode=f"EE{MARI}")
    (usage,) = answer["usages"]
    assert answer["totalUsages"] == 1
    assert usage.pop("officialPseudonym")
    assert usage == {
        "logtime": "2026-11-23T10:00:00.000Z",
        "action": "background check",
        "receiverCode": "70000101",
        "receiverName": "Police and Border Guard Board",
        "receiverSystem": "EE/GOV/70000101/police",
        "xRoadMessageId": "m-1",
        "consentReference": "c-1",
        "legalBasis": "a law",
        "dataCategories": ["name", "birth_date"],
    }
    assert "38001085718" not in json.dumps(answer)


def test_a_look_by_the_person_says_so_and_has_no_pseudonym(room: Room) -> None:
    room.record(receiver=PORTAL, receiver_user=f"EE{MARI}")
    (usage,) = room.body("/v2/findUsage", userCode=f"EE{MARI}")["usages"]
    assert usage["byThePerson"] is True
    assert "officialPseudonym" not in usage


def test_nobody_but_the_portal_is_believed_that_the_person_asked(room: Room) -> None:
    room.record(receiver=str(BANK), receiver_user=f"EE{MARI}")
    (usage,) = room.body("/v2/findUsage", userCode=f"EE{MARI}")["usages"]
    assert "byThePerson" not in usage


def test_what_is_absent_is_left_out(room: Room) -> None:
    room.record(message_id=None, receiver="another registry")
    (usage,) = room.body("/v2/findUsage", userCode=f"EE{MARI}")["usages"]
    assert usage["receiverCode"] == usage["receiverSystem"] == "another registry"
    assert not {"receiverName", "xRoadMessageId", "consentReference", "officialPseudonym"} & set(usage)


def test_somebody_else_is_asked_about_when_acting_by_representation(room: Room) -> None:
    room.record()
    assert room.ask("/v2/findUsage", f"EE{JAAN}", userCode=f"EE{MARI}").status == 200
    assert json.loads(room.ask("/v2/findUsage", f"EE{MARI}", userCode=f"EE{JAAN}").body)["totalUsages"] == 0


def test_the_newest_comes_first_and_the_total_is_of_the_period_not_of_the_page(room: Room) -> None:
    for n in range(5):
        room.record(f"m-{n}")
        room.clock.advance(timedelta(minutes=1))
    code = f"EE{MARI}"
    page = room.body("/v2/findUsage", userCode=code, limit="2", offset="1")
    assert page["totalUsages"] == 5
    assert [usage["xRoadMessageId"] for usage in page["usages"]] == ["m-3", "m-2"]
    late = room.body("/v2/findUsage", userCode=code, periodStart="2026-11-23T12:03:00+02:00", limit="1")
    assert late["totalUsages"] == 2
    early = room.body("/v2/findUsage", userCode=code, periodEnd="2026-11-23T10:01:00Z")
    assert [usage["xRoadMessageId"] for usage in early["usages"]] == ["m-1", "m-0"]
    assert room.body("/v2/findUsage", userCode=code, offset="5") == {"totalUsages": 5, "usages": []}


@pytest.mark.parametrize(
    "text",
    ["2026-11-23T10:00:00", "2026-11-23T10:00:00Z", "2026-11-23T10:00:00.000000999Z", "2026-11-23T05:00:00-05:00"],
)
def test_a_time_may_have_a_zone_a_fraction_or_neither(room: Room, text: str) -> None:
    room.record()
    assert room.body("/v2/findUsage", userCode=f"EE{MARI}", periodStart=text, periodEnd=text)["totalUsages"] == 1


@pytest.mark.parametrize(
    ("user", "query"),
    [
        (None, {"userCode": f"EE{MARI}"}),
        (MARI, {"userCode": f"EE{MARI}"}),
        ("EE" + MARI + "1", {"userCode": f"EE{MARI}"}),
        (f"EE{MARI}", {}),
        (f"EE{MARI}", {"userCode": MARI}),
        (f"EE{MARI}", {"userCode": "EE6000101990٦"}),
        (f"EE{MARI}", {"userCode": "EE' OR 1=1 --"}),
        (f"EE{MARI}", {"userCode": f"EE{MARI}\n"}),
        (f"EE{MARI}", {"userCode": (f"EE{MARI}", f"EE{JAAN}")}),
        *(
            (f"EE{MARI}", {"userCode": f"EE{MARI}", **more})
            for more in (
                {"limit": "0"},
                {"limit": "-1"},
                {"limit": "10001"},
                {"limit": "1e3"},
                {"limit": "٣"},
                {"limit": ""},
                {"limit": ("1", "2")},
                {"limit": "9" * 5000},
                {"offset": "-1"},
                {"offset": "2147483648"},
                {"offset": "1; DROP TABLE disclosures"},
                {"periodStart": "yesterday"},
                {"periodStart": "2026-11-23"},
                {"periodStart": "2026-W48-1T10:00:00Z"},
                {"periodStart": "2026-11-23 10:00:00Z"},
                {"periodStart": "2026-11-23T10:00:00 02:00"},
                {"periodStart": "2026-02-30T10:00:00Z"},
                {"periodStart": "2026-11-23T25:00:00Z"},
                {"periodStart": "2026-11-23T10:00:60Z"},
                {"periodStart": "0000-01-01T00:00:00Z"},
                {"periodStart": "0001-01-01T00:00:00+14:00"},
                {"periodEnd": "9999-12-31T23:59:59-14:00"},
                {"periodStart": "2026-11-23T10:00:01Z", "periodEnd": "2026-11-23T10:00:00Z"},
                {"periodEnd": ("2026-11-23T10:00:00Z",) * 2},
            )
        ),
    ],
)
def test_what_is_not_to_the_protocol_is_400_and_says_why(room: Room, user: str | None, query: dict[str, Any]) -> None:
    answer = room.ask("/v2/findUsage", user, **query)
    assert answer.status == 400
    assert json.loads(answer.body)["message"]
    assert room.ask("/v1/askedAbout", user, **query).status == 400


def test_a_failure_is_500_in_the_same_form(room: Room) -> None:
    room.db.close()
    broken = Room(Database("sqlite:////nowhere/at/all.sqlite"), room.clock)
    answer = broken.ask("/v2/findUsage", userCode=f"EE{MARI}")
    assert (answer.status, json.loads(answer.body)) == (500, {"message": "db.busy"})
    assert json.loads(broken.ask("/v2/heartbeat").body) == {"status": "FAIL", "message": "db.busy"}


def test_the_period_and_the_heartbeat(room: Room) -> None:
    assert room.body("/v2/usagePeriod") == {"periodStart": "2026-11-23T10:00:00.000Z"}
    room.record()
    room.clock.advance(timedelta(days=1))
    assert room.body("/v2/usagePeriod") == {"periodStart": "2026-11-23T10:00:00.000Z"}
    assert room.body("/v2/heartbeat") == {"status": "OK"}


def test_a_delayed_look_is_told_from_its_day_on_with_its_reason(room: Room) -> None:
    until = room.clock.now() + timedelta(days=10)
    delay = order_delay(
        until=until, reason="investigation 17", ordered_by="D-1", at=room.clock.now(), longest=timedelta(days=30)
    )
    room.record(delay=delay)
    code = f"EE{MARI}"
    assert room.body("/v2/findUsage", userCode=code) == {"totalUsages": 0, "usages": []}
    assert room.body("/v2/isRecorded", userCode=code, xRoadMessageId=("m-1", "m-2")) == {"recorded": ["m-1"]}
    room.clock.advance(timedelta(days=10))
    (usage,) = room.body("/v2/findUsage", userCode=code)["usages"]
    assert (usage["hiddenUntil"], usage["hiddenReason"]) == ("2026-12-03T10:00:00.000Z", "investigation 17")


@pytest.mark.parametrize("messages", [(), ("m",) * 41, ("a b",), ("",), ("x" * 129,)])
def test_messages_asked_after_are_bounded(room: Room, messages: tuple[str, ...]) -> None:
    for path in ("/v2/isRecorded", "/v1/isRecorded"):
        assert room.ask(path, userCode=f"EE{MARI}", xRoadMessageId=messages).status == 400


def test_what_was_asked_of_others_is_told_with_its_outcome(room: Room) -> None:
    service = "EE/GOV/70000103/population/get-address"
    room.sent.begin("m-1", service, [MARI])
    room.clock.advance(timedelta(minutes=1))
    room.sent.begin("m-2", service, [MARI])
    room.sent.begin("m-2", service, [MARI])
    room.sent.settle("m-2", service, [MARI], "answered")
    answer = room.body("/v1/askedAbout", userCode=f"EE{MARI}")
    assert answer["totalRequests"] == 2
    assert [(each["xRoadMessageId"], each["outcome"]) for each in answer["requests"]] == [
        ("m-2", "answered"),
        ("m-1", "sent"),
    ]
    assert answer["requests"][0]["service"] == service
    assert room.body("/v1/askedAbout", userCode=f"EE{JAAN}")["requests"] == []
    assert room.body("/v1/isRecorded", userCode=f"EE{MARI}", xRoadMessageId=("m-1", "m-3")) == {"recorded": ["m-1"]}


def test_a_request_that_is_kept_back_is_kept_back_on_both_sides(room: Room) -> None:
    until = datetime(2026, 12, 1, tzinfo=UTC)
    room.sent.begin("m-1", "EE/GOV/70000103/population/get-person", [MARI], hidden_until=until)
    assert room.body("/v1/askedAbout", userCode=f"EE{MARI}") == {"totalRequests": 0, "requests": []}
    assert room.body("/v1/isRecorded", userCode=f"EE{MARI}", xRoadMessageId=("m-1",)) == {"recorded": ["m-1"]}
    room.clock.advance(timedelta(days=8))
    assert room.body("/v1/askedAbout", userCode=f"EE{MARI}")["totalRequests"] == 1


def test_a_search_is_known_by_its_message_before_its_answer_says_about_whom(room: Room) -> None:
    service = "EE/GOV/70000103/population/find-persons"
    room.sent.begin("m-1", service, [""])
    assert room.body("/v1/isRecorded", userCode=f"EE{MARI}", xRoadMessageId=("m-1",)) == {"recorded": ["m-1"]}
    room.sent.settle("m-1", service, [MARI, JAAN], "answered")
    assert room.body("/v1/askedAbout", userCode=f"EE{MARI}")["requests"][0]["outcome"] == "answered"


def test_the_daily_check_passes_whole_records_and_fails_on_an_altered_one(room: Room) -> None:
    (timer,) = tracker_timers(room.tracker)
    assert timer.every == timedelta(days=1)
    room.record()
    timer.run()
    with room.db.write() as tx:
        tx.execute(update(DISCLOSURES).values(purpose="another"))
    with pytest.raises(Broken, match=r"disclosures\.altered"):
        timer.run()
