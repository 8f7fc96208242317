import io
import zipfile
from datetime import timedelta

import pytest

from digiid.exchange.global_conf.evidence import verify_evidence
from digiid.exchange.message_log.containers import (
    ContainerQuery,
    build_verification_conf,
    get_containers,
    name_of,
    parse_container_query,
)
from digiid.formats.exchange.message_signature import BODY, MESSAGE
from digiid.kernel.errors import Conflict, DigiidError, Malformed, NotFound, Refused
from tests.support.global_conf import BANK, BOARD, LOANS, POLICE
from tests.support.logged import make_entry, read_conf, record_all

MAX = 10**6
ABSENT = frozenset((MESSAGE, BODY))
OURS = {"xRoadInstance": ["TEST"], "memberClass": ["COM"], "memberCode": ["10000201"], "subsystemCode": ["loans"]}


def files(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def log(started):
    log = started(log_bodies_of=(str(POLICE),))
    entries = [make_entry("one"), make_entry("one", is_response=True, body=b"{}", use_hash_chain=True, party=LOANS)]
    record_all(log, [*entries, make_entry("one", is_response=True, party=POLICE), make_entry("two", is_response=True)])
    return log


def test_request_and_response_come_as_containers_that_verify_with_full_trust(log, tmp_path):
    log.stamper.stamp_pending()
    conf = read_conf(tmp_path / "conf")
    answer = get_containers(log.db, ContainerQuery("one"), client=LOANS)
    held = files(answer.content)
    assert (answer.name, answer.media_type) == ("one.zip", "application/zip")
    assert list(held) == ["one-request-ae.asice", "one-response-ai.asice"]
    verified = [verify_evidence(each, conf, max_part_bytes=MAX) for each in held.values()]
    assert [(each.member, each.is_response) for each in verified] == [(BANK, False), (BOARD, True)]
    assert verified[1].container.signature.covered == {MESSAGE, BODY}


def test_only_requests_or_only_responses(log):
    log.stamper.stamp_pending()
    request = get_containers(log.db, ContainerQuery("one", request_only=True), client=LOANS)
    response = get_containers(log.db, ContainerQuery("one", response_only=True), client=LOANS)
    assert (list(files(request.content)), list(files(response.content))) == (
        ["one-request-ae.asice"],
        ["one-response-ai.asice"],
    )


def test_a_unique_message_comes_as_its_container(log):
    log.stamper.stamp_pending()
    answer = get_containers(log.db, ContainerQuery("one", request_only=True, unique=True), client=LOANS)
    assert (answer.name, answer.media_type) == ("one-request-ae.asice", "application/vnd.etsi.asic-e+zip")
    assert "META-INF/timestamp.tst" in files(answer.content)
    with pytest.raises(Conflict) as refused:
        get_containers(log.db, ContainerQuery("one", unique=True), client=LOANS)
    assert refused.value.code == "exchange.message_log.not_unique"


def test_nobody_gets_the_messages_of_somebody_else(log):
    log.stamper.stamp_pending()
    assert list(files(get_containers(log.db, ContainerQuery("one"), client=POLICE).content)) == [
        "one-response-am.asice"
    ]
    with pytest.raises(NotFound):
        get_containers(log.db, ContainerQuery("two"), client=LOANS)
    with pytest.raises(NotFound):
        get_containers(log.db, ContainerQuery("three"), client=LOANS)


def test_a_message_without_a_time_stamp_is_refused_unless_forced(log):
    with pytest.raises(Conflict) as refused:
        get_containers(log.db, ContainerQuery("one"), client=LOANS)
    assert refused.value.code == "exchange.message_log.not_stamped"
    forced = files(get_containers(log.db, ContainerQuery("one", force=True), client=LOANS).content)
    assert all("META-INF/timestamp.tst" not in files(each) for each in forced.values())


def test_a_reduced_message_still_proves_who_signed_what_digest_and_when(started, tmp_path):
    log = started(reduce_message=True)
    record_all(log, [make_entry("one", body=b"{}"), make_entry("one", is_response=True, party=LOANS)])
    log.stamper.stamp_pending()
    conf = read_conf(tmp_path / "conf")
    held = files(get_containers(log.db, ContainerQuery("one"), client=LOANS).content)
    verified = [verify_evidence(each, conf, max_part_bytes=MAX, may_be_absent=ABSENT) for each in held.values()]
    assert [each.member for each in verified] == [BANK, BOARD]
    assert verified[0].container.signature.absent == ABSENT
    for each in held.values():
        with pytest.raises(Refused):
            verify_evidence(each, conf, max_part_bytes=MAX)


def test_a_message_without_its_body_says_so(started, tmp_path):
    log = started()
    record_all(log, [make_entry("one", body=b'{"secret": 1}')])
    log.stamper.stamp_pending()
    answer = get_containers(log.db, ContainerQuery("one", unique=True), client=LOANS)
    conf = read_conf(tmp_path / "conf")
    verified = verify_evidence(answer.content, conf, max_part_bytes=MAX, may_be_absent=ABSENT)
    assert verified.container.signature.absent == {BODY} and verified.container.message is not None


def test_the_configuration_goes_with_it(tmp_path, log, clock):
    log.stamper.stamp_pending()
    answer = build_verification_conf(read_conf(tmp_path / "conf"), at=clock.now())
    held = files(answer.content)
    assert set(held) == {
        "verificationconf/instance-identifier",
        "verificationconf/TEST/shared-params.xml",
        "verificationconf/TEST/shared-params.xml.metadata",
    }


def test_names_hold_nothing_that_a_file_system_would_read_differently(started):
    log = started()
    for i, message_id in enumerate(("../../etc/passwd", "a b/ü", "-rf", "x" * 500)):
        record_all(log, [make_entry(message_id)])
        (message,) = log.find(message_id)
        name = name_of(message)
        assert message.number == i + 1 and "/" not in name and name[0] not in ".-" and len(name) < 200
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")


@pytest.mark.parametrize(
    ("changed", "query"),
    [
        ({}, ContainerQuery("one")),
        ({"requestOnly": [""], "unique": ["true"]}, ContainerQuery("one", request_only=True, unique=True)),
        ({"responseOnly": [""], "force": [""]}, ContainerQuery("one", response_only=True, force=True)),
        ({"force": ["false"]}, ContainerQuery("one")),
    ],
)
def test_the_parameters_of_asic(changed, query):
    assert parse_container_query({"queryId": ["one"], **OURS} | changed, client=LOANS) == query


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"memberCode": ["70000101"]}, Refused),
        ({"subsystemCode": ["cards"]}, Refused),
        ({"queryId": ["one", "two"]}, Malformed),
        ({"other": ["x"]}, Malformed),
        ({"requestOnly": [""], "responseOnly": [""]}, Malformed),
    ],
)
def test_other_parameters_are_refused(changed, kind):
    with pytest.raises(kind):
        parse_container_query({"queryId": ["one"], **OURS} | changed, client=LOANS)


def test_parameters_that_are_missing():
    for name in ("queryId", "xRoadInstance", "memberClass", "memberCode"):
        given = {"queryId": ["one"], **OURS}
        given.pop(name)
        with pytest.raises(DigiidError):
            parse_container_query(given, client=LOANS)


def test_the_time_of_the_container_is_that_of_the_message(log, clock):
    log.stamper.stamp_pending()
    clock.advance(timedelta(days=1))
    once = get_containers(log.db, ContainerQuery("one"), client=LOANS).content
    assert get_containers(log.db, ContainerQuery("one"), client=LOANS).content == once
