import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from digiid.exchange.security_server.local_conf import EVERYTHING, Endpoint
from digiid.exchange.security_server.monitoring import (
    Monitoring,
    MonitoringService,
    MonitoringSettings,
    OperationalRecord,
    store,
)
from digiid.exchange.security_server.monitoring.records import FIELDS, published, storable_path
from digiid.kernel.errors import DigiidError, Malformed
from digiid.kernel.identifiers import MemberId, ServerId, ServiceId, parse_client_id
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from tests.unit.exchange.security_server.rooms import BANK, POPULATION, SHOP

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SERVER = ServerId("EE", "GOV", "70000105", "state")
OWNER = MemberId("EE", "GOV", "70000105")
ADDRESS = ServiceId(POPULATION, "address")
DATA = ServiceId(POPULATION, "getSecurityServerOperationalData")
HEALTH = ServiceId(POPULATION, "getSecurityServerHealthData")
CENTRAL = parse_client_id("EE/GOV/70000999/monitoring")


def record(at=AT, *, client=BANK, succeeded=True, **fields) -> OperationalRecord:
    values = {
        "role": "Producer",
        "service": ADDRESS,
        "service_type": "REST",
        "response_out_at": at + timedelta(milliseconds=40),
        "request_size": 100,
        "path": ADDRESS.path + "/v1/persons/38001085718",
        **fields,
    }
    return OperationalRecord(request_in_at=at, succeeded=succeeded, client=client, **values)


@pytest.fixture
def clock():
    return ManualClock(AT)


@pytest.fixture
def monitoring(new_database, clock):
    return Monitoring(new_database(store.PACKAGE), clock, MonitoringSettings(buffer_records=100))


def read(monitoring, clock, *, reader=OWNER, service=DATA, max_records=10_000, below="", method="GET", **fields):
    query = "&".join(f"{name}={value}" for name, value in fields.items())
    target = service.path + below + (f"?{query}" if query else "")
    answering = MonitoringService(monitoring, SERVER, clock, max_records=max_records)
    return json.loads(answering.answer(reader, service, method, target, monitoring_client=CENTRAL).body)


def seconds(at=AT) -> int:
    return int(at.timestamp())


def stored(monitoring, clock, *records):
    for each in records:
        monitoring.record(each)
    monitoring.flush()
    clock.advance(timedelta(seconds=61))


# ------------------------------------------------------------------ what a record holds


def test_a_record_has_the_published_names_and_milliseconds():
    made = published(
        OperationalRecord(
            role="Client",
            request_in_at=AT,
            request_out_at=AT + timedelta(milliseconds=1),
            response_in_at=AT + timedelta(milliseconds=2),
            response_out_at=AT + timedelta(milliseconds=3),
            succeeded=False,
            client=OWNER,
            service=ADDRESS,
            method="GET",
            path=ADDRESS.path,
            represented_party="COM/10000201",
            message_id="m-1",
            user_id="EE38001085718",
            issue="case 12",
            request_size=0,
            fault_code="server.serverproxy.access_denied",
            fault_string="no right",
            status_code=500,
            request_id="r-1",
        ),
        internal_ip="10.0.0.1",
        version="7.8.0",
        stores_user_and_issue=False,
    )
    assert set(made) <= set(FIELDS)
    assert list(made) == [name for name in FIELDS if name in made]
    base = seconds() * 1000
    assert [made[f"{name}Ts"] for name in ("requestIn", "requestOut", "responseIn", "responseOut")] == [
        base,
        base + 1,
        base + 2,
        base + 3,
    ]
    assert (made["clientMemberCode"], "clientSubsystemCode" in made) == ("70000105", False)
    assert (made["representedPartyClass"], made["representedPartyCode"]) == ("COM", "10000201")
    assert (made["requestSize"], "responseSize" in made) == (0, False)
    assert "messageUserId" not in made
    assert "messageIssue" not in made


def test_who_asked_and_why_is_kept_only_where_the_operator_wants_it():
    made = published(
        record(user_id="EE38001085718", issue="12"), internal_ip="", version="", stores_user_and_issue=True
    )
    assert (made["messageUserId"], made["messageIssue"]) == ("EE38001085718", "12")


@pytest.mark.parametrize(
    ("rest", "endpoint", "kept"),
    [
        ("/v1/persons/38001085718", Endpoint("GET", "/v1/persons/*"), "/v1/persons/*"),
        ("/v1/persons/38001085718", EVERYTHING, "/v1/persons/*"),
        ("/v1/persons/38001085718/family", None, "/v1/persons/*/family"),
        ("/v1/open/38001085718", Endpoint("*", "/v1/open/**"), "/v1/open/*"),
        ("/p/%33%38001085718", None, "/p/*"),
        ("/p/EE38001085718", None, "/p/*"),
        ("/p/1990-01-08", None, "/p/*"),
        ("/p/a@example.com", None, "/p/*"),
        ("/v2/findUsage", None, "/v2/findUsage"),
        ("", None, ""),
        ("/", None, "/"),
    ],
)
def test_no_personal_code_stays_in_a_path(rest, endpoint, kept):
    assert storable_path(ADDRESS.path + rest, endpoint) == kept


def test_no_personal_code_stays_in_any_text():
    made = published(
        record(message_id="ask-38001085718", fault_string="38001085718 is not here", fault_code="x", request_id="1"),
        internal_ip="",
        version="",
        stores_user_and_issue=False,
    )
    assert "38001085718" not in json.dumps(made)


def test_texts_of_strangers_are_short():
    made = published(record(message_id="x" * 10_000), internal_ip="", version="", stores_user_and_issue=False)
    assert len(made["messageId"]) == 255


# ------------------------------------------------------------------ the buffer


def test_recording_waits_for_nothing_and_the_oldest_is_lost_first(monitoring, clock):
    for number in range(150):
        monitoring.record(record(message_id=str(number)))
    assert monitoring.waiting == 100
    stored(monitoring, clock)
    found = read(monitoring, clock, recordsFrom=0, recordsTo=seconds())["records"]
    assert [each["messageId"] for each in found] == [str(number) for number in range(50, 150)]
    assert b"digiid_exchange_monitoring_dropped_total 50.0" in monitoring.statistics.prometheus()


def test_a_database_that_is_gone_costs_records_only_when_the_buffer_is_full(monitoring, clock):
    with monitoring.db.write() as tx:
        store.metadata.drop_all(tx)
    for number in range(80):
        monitoring.record(record(message_id=str(number)))
    assert monitoring.flush() == 0
    assert (monitoring.waiting, monitoring.is_failing) == (80, True)
    for number in range(80, 120):
        monitoring.record(record(message_id=str(number)))
    with monitoring.db.write() as tx:
        store.metadata.create_all(tx)
    assert monitoring.flush() == 100
    assert not monitoring.is_failing
    clock.advance(timedelta(seconds=61))
    found = read(monitoring, clock, recordsFrom=0, recordsTo=seconds())["records"]
    assert (found[0]["messageId"], found[-1]["messageId"]) == ("20", "119")


def test_a_record_that_cannot_be_counted_fails_no_message(monitoring):
    monitoring.record(None)
    monitoring.record(record(client="no party"))
    monitoring.record(record())
    monitoring.flush()
    assert (monitoring.waiting, monitoring.is_failing) == (0, False)
    with monitoring.db.read() as tx:
        found = store.list_records(tx, first=0, last=2 * seconds(), reader=None, client=None, skip=0, limit=9)
    assert len(found) == 1


def test_records_are_forgotten_after_seven_days(monitoring, clock):
    stored(monitoring, clock, record())
    clock.advance(timedelta(days=7) - timedelta(seconds=61))
    assert monitoring.purge() == 0
    clock.advance(timedelta(seconds=1))
    assert monitoring.purge() == 1


# ------------------------------------------------------------------ reading


def test_records_younger_than_60_seconds_are_held_back(monitoring, clock):
    monitoring.record(record())
    monitoring.flush()
    clock.advance(timedelta(seconds=59))
    answer = read(monitoring, clock, recordsFrom=seconds(), recordsTo=seconds() + 1000)
    assert (answer["recordsCount"], answer["nextRecordsFrom"]) == (0, seconds())
    clock.advance(timedelta(seconds=1))
    answer = read(monitoring, clock, recordsFrom=seconds(), recordsTo=seconds() + 1000)
    assert (answer["recordsCount"], answer["nextRecordsFrom"]) == (1, seconds() + 1)


def test_the_owner_and_the_central_client_read_all_and_others_their_own(monitoring, clock):
    stored(monitoring, clock, record(), record(client=SHOP), record(client=SHOP, service=ServiceId(BANK, "rates")))
    window = {"recordsFrom": 0, "recordsTo": seconds()}
    counts = {
        reader: read(monitoring, clock, reader=reader, **window)["recordsCount"]
        for reader in (OWNER, CENTRAL, POPULATION, BANK, SHOP, parse_client_id("EE/GOV/70000105/portal"))
    }
    assert list(counts.values()) == [3, 3, 2, 2, 2, 0]
    assert read(monitoring, clock, reader=OWNER, client=BANK, **window)["recordsCount"] == 2
    assert read(monitoring, clock, reader=BANK, client=SHOP, **window)["recordsCount"] == 1


def test_only_the_fields_asked_for(monitoring, clock):
    stored(monitoring, clock, record())
    answer = read(monitoring, clock, recordsFrom=0, recordsTo=seconds(), outputSpec="restPath,succeeded")
    assert answer["records"] == [{"monitoringDataTs": seconds(), "restPath": "/v1/persons/*", "succeeded": True}]


def test_an_answer_is_compressed_when_that_is_asked_for(monitoring, clock):
    stored(monitoring, clock, *(record(message_id=str(number)) for number in range(90)))
    service = MonitoringService(monitoring, SERVER, clock)
    target = f"{DATA.path}?recordsFrom=0&recordsTo={seconds()}"
    plain = service.answer(OWNER, DATA, "GET", target, monitoring_client=None)
    packed = service.answer(OWNER, DATA, "GET", f"{target}&compress=gzip", monitoring_client=None)
    assert (packed.status, packed.media_type) == (200, "application/gzip")
    assert dict(packed.headers)["Content-Disposition"].endswith('"operational-monitoring-data.json.gz"')
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 5
    again = service.answer(OWNER, DATA, "GET", f"{target}&compress=gzip", monitoring_client=None)
    assert again.body == packed.body  # the same records are the same bytes
    for wrong in ("", "br", "GZIP", "gzip&compress=gzip"):
        with pytest.raises(Malformed):
            service.answer(OWNER, DATA, "GET", f"{target}&compress={wrong}", monitoring_client=None)


def test_an_answer_is_whole_seconds_and_says_where_to_go_on(monitoring, clock):
    for at in range(4):
        for number in range(3):
            monitoring.record(record(message_id=f"{at}-{number}"))
        monitoring.flush()
        clock.advance(timedelta(seconds=1))
    clock.advance(timedelta(minutes=2))
    window = {"recordsTo": seconds() + 100, "max_records": 7}
    first = read(monitoring, clock, recordsFrom=0, **window)
    assert (first["recordsCount"], first["nextRecordsFrom"]) == (6, seconds() + 2)
    second = read(monitoring, clock, recordsFrom=first["nextRecordsFrom"], **window)
    assert [each["messageId"] for each in second["records"]][0::3] == ["2-0", "3-0"]


def test_a_second_with_more_than_an_answer_holds_is_read_in_parts(monitoring, clock):
    stored(monitoring, clock, *(record(message_id=str(number)) for number in range(25)))
    found, window = [], {"recordsFrom": 0}
    for _ in range(9):
        answer = read(monitoring, clock, recordsTo=seconds(), max_records=10, **window)
        found += [int(each["messageId"]) for each in answer["records"]]
        if "nextRecordsFrom" not in answer:
            break
        window = {"recordsFrom": answer["nextRecordsFrom"], "recordsOffset": answer.get("nextRecordsOffset", 0)}
    assert found == list(range(25))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"recordsFrom": 1},
        {"recordsFrom": "x", "recordsTo": 1},
        {"recordsFrom": -1, "recordsTo": 1},
        {"recordsFrom": "9" * 300, "recordsTo": 1},
        {"recordsFrom": "١", "recordsTo": 1},
        {"recordsFrom": 2, "recordsTo": 1},
        {"recordsFrom": 1, "recordsTo": 2, "outputSpec": "body"},
        {"recordsFrom": 1, "recordsTo": 2, "outputSpec": ""},
        {"recordsFrom": 1, "recordsTo": 2, "client": "EE"},
        {"recordsFrom": 1, "recordsTo": 2, "else": "1"},
    ],
)
def test_hostile_questions_are_malformed(monitoring, clock, fields):
    with pytest.raises(Malformed):
        read(monitoring, clock, **fields)


def test_there_is_one_way_to_ask(monitoring, clock):
    for options in ({"method": "POST"}, {"below": "/x"}, {"service": ADDRESS}):
        with pytest.raises(DigiidError) as error:
            read(monitoring, clock, recordsFrom=0, recordsTo=1, **options)
        assert error.value.code.startswith("exchange.metadata.")


# ------------------------------------------------------------------ health data


def test_health_data_counts_a_services_last_ten_minutes(monitoring, clock):
    for milliseconds in (10, 20, 30):
        monitoring.record(record(response_out_at=AT + timedelta(milliseconds=milliseconds)))
    monitoring.record(record(succeeded=False))
    monitoring.record(record(role="Client"))  # the asker's side is no service of this server
    monitoring.record(record(service=ServiceId(POPULATION, "invented"), service_type=None, succeeded=False))
    answer = read(monitoring, clock, service=HEALTH)
    assert answer["statisticsPeriodSeconds"] == 600
    (event,) = answer["servicesEvents"]
    assert event["service"]["service_code"] == "address"
    statistics = event["lastPeriodStatistics"]
    assert (statistics["successfulRequestCount"], statistics["unsuccessfulRequestCount"]) == (3, 1)
    assert (
        statistics["requestMinDuration"],
        statistics["requestAverageDuration"],
        statistics["requestMaxDuration"],
    ) == (10, 20, 30)
    assert statistics["requestDurationStdDev"] == pytest.approx(8.165)
    clock.advance(timedelta(minutes=11))
    (event,) = read(monitoring, clock, service=HEALTH)["servicesEvents"]
    assert event["lastPeriodStatistics"] == {"successfulRequestCount": 0, "unsuccessfulRequestCount": 0}
    assert event["lastSuccessfulRequestTimestamp"] == seconds() * 1000 + 30


def test_health_data_of_others_is_not_told(monitoring, clock):
    monitoring.record(record())
    assert read(monitoring, clock, reader=BANK, service=HEALTH)["servicesEvents"] == []
    assert len(read(monitoring, clock, reader=POPULATION, service=HEALTH)["servicesEvents"]) == 1
    with pytest.raises(DigiidError) as error:
        read(monitoring, clock, reader=BANK, service=HEALTH, client=POPULATION)
    assert error.value.code == "exchange.access_denied"


def test_the_migration_makes_the_table_that_the_store_uses(tmp_path, clock):
    from sqlalchemy import inspect

    db = Database.sqlite(tmp_path / "m.sqlite")
    Monitoring(db, clock, MonitoringSettings())
    columns = {column["name"] for column in inspect(db.engine).get_columns("records")}
    assert columns == {column.name for column in store.RECORDS.columns}
    db.close()
