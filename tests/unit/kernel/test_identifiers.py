import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import ClientId, ServiceId, parse_client_id, parse_service_path

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
    for parse in (parse_client_id, parse_service_path):
        try:
            parse(text)
        except Malformed:
            pass
