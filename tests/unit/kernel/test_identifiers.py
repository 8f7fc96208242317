import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import (
    ClientId,
    MemberId,
    ServerId,
    ServiceId,
    check_existing_part,
    parse_client_id,
    parse_member_id,
    parse_party,
    parse_server_id,
    parse_service_path,
)

POLICE = ClientId("EE", "GOV", "70000101", "police")


def test_a_service_path_is_read_back() -> None:
    service = ServiceId(POLICE, "document-status")
    assert service.path == "/r1/EE/GOV/70000101/police/document-status"
    assert parse_service_path(service.path + "/v1?x=%2F") == (service, "/v1?x=%2F")


def test_each_part_is_percent_encoded_on_its_own() -> None:
    service = ServiceId(ClientId("EE", "GOV", "7", "süsteem ä"), "päring?")
    assert parse_service_path(service.path) == (service, "")
    assert "?" not in service.path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/r1/",
        "/r1/EE/GOV/7/s",
        "/r1/EE//7/s/x",
        "/r1/EE/GOV/7/../x",
        "/r1/EE/GOV/7/s%2Fx/y",
        "/x/r1/EE/GOV/7/s/x",
        "/r1/EE/GOV/7/%ff/x",
        "/r1/EE/GOV/7/a%00b/x",
        "/r1/EE/GOV/7/a%3Bb/x",
        "/r1/EE/GOV/7/a%5Cb/x",
    ],
)
def test_a_path_that_could_be_read_two_ways_is_malformed(path: str) -> None:
    with pytest.raises(Malformed):
        parse_service_path(path)


@given(st.text(max_size=80))
def test_only_malformed_escapes_the_parsers(text: str) -> None:
    for parse in (parse_client_id, parse_service_path, parse_member_id, parse_server_id, parse_party):
        try:
            parse(text)
        except Malformed:
            pass


def test_members_subsystems_and_servers_are_read_back() -> None:
    member = MemberId("EE", "GOV", "70000101")
    server = ServerId("EE", "GOV", "70000101", "state")
    assert parse_member_id(str(member)) == parse_party(str(member)) == POLICE.member == server.owner == member
    assert parse_party(str(POLICE)) == POLICE
    assert parse_server_id(str(server)) == server


@pytest.mark.parametrize("text", ["EE/GOV", "EE/GOV/7/s/x", "EE//7", "EE/GOV/7/a%2Fb", "EE/GOV/.."])
def test_a_party_has_three_or_four_plain_parts(text: str) -> None:
    with pytest.raises(Malformed):
        parse_party(text)


def test_an_existing_instance_may_hold_what_a_new_one_may_not() -> None:
    assert check_existing_part("7:;%\\") == "7:;%\\"
    for part in ("", "a/b", "a\nb", "..", "x" * 256):
        with pytest.raises(Malformed):
            check_existing_part(part)
