import base64
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.global_conf import (
    AnchorSource,
    ManagementService,
    PrivateParams,
    anchor_fingerprint,
    build_anchor,
    build_fetch_interval,
    build_monitoring,
    build_next_update,
    build_private_params,
    parse_anchor,
    parse_fetch_interval,
    parse_monitoring,
    parse_next_update,
    parse_private_params,
)
from digiid.kernel.errors import Malformed
from tests.support.global_conf import BANK, INSTANCE, PKI, POLICE, Central, Web
from tests.unit.formats.fuzz import damaged, only_raises

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "xroad"
ANCHOR = Central(Web()).anchor


def test_x_roads_anchor_is_read() -> None:
    anchor = parse_anchor((VECTORS / "configuration-anchor1.xml").read_bytes())
    assert (anchor.instance, anchor.generated_at) == ("EE", None)
    assert [(source.url, len(source.certificates)) for source in anchor.sources] == [
        ("http://www.bar.com/conf", 2),
        ("http://node-0x.example.com/internalconf", 1),
        ("http://node-1x.example.com/internalconf", 1),
    ]


def test_an_anchor_is_written_and_read_again() -> None:
    two = (PKI.root.certificate, PKI.ca.certificate)
    anchor = replace(ANCHOR, sources=(*ANCHOR.sources, AnchorSource("https://cs2.test/internalconf", two)))
    assert parse_anchor(build_anchor(anchor)) == anchor


def test_the_fingerprint_is_sha224_as_a_person_compares_it() -> None:
    assert anchor_fingerprint(b"abc") == (
        "23:09:7D:22:34:05:D8:22:86:42:A4:77:BD:A2:55:B3:2A:AD:BC:E4:BD:A0:B3:F7:E3:6C:9D:A7"
    )


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://cs/internalconf",
        "http://user@cs/internalconf",
        "http:///internalconf",
        "http://cs/internalconf?version=2",
        "http://cs/internalconf#x",
        "http://cs/ internalconf",
        "http://cs:0/internalconf",
        "http://cs:99999/internalconf",
        "http://[::1/internalconf",
        "http://cs\\@evil/internalconf",
        "",
    ],
)
def test_tm08_an_anchor_leads_to_http_addresses_only(url: str) -> None:
    data = build_anchor(ANCHOR).replace(ANCHOR.sources[0].url.encode(), url.encode())
    with pytest.raises(Malformed):
        parse_anchor(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<source>", b"<sauce>"),
        (b"<verificationCert>", b"<verificationCert>AAAA"),
        (b"downloadURL>", b"downloadURI>"),
        (b"Z</generatedAt>", b"</generatedAt>"),
        (b"-11-", b"-13-"),
        (b"<instanceIdentifier>TEST", b"<instanceIdentifier>T/T"),
    ],
)
def test_an_anchor_that_says_too_little_is_malformed(old: bytes, new: bytes) -> None:
    data = build_anchor(ANCHOR)
    changed = data.replace(old, new).replace(old.replace(b"<", b"</"), new.replace(b"<", b"</"))
    assert changed != data
    with pytest.raises(Malformed):
        parse_anchor(changed)


def test_an_anchor_has_few_sources() -> None:
    with pytest.raises(Malformed):
        parse_anchor(build_anchor(replace(ANCHOR, sources=ANCHOR.sources * 17)))


def test_private_parameters_are_written_and_read_again() -> None:
    management = ManagementService("https://cs.test:4001", PKI.tsu.certificate, POLICE)
    full = PrivateParams(INSTANCE, (ANCHOR,), management, 30)
    assert parse_private_params(build_private_params(full)) == full
    assert parse_private_params(build_private_params(PrivateParams(INSTANCE))) == PrivateParams(INSTANCE)


def test_another_instances_anchor_that_cannot_be_read_is_passed_over() -> None:
    """X-Road's own private parameters have one whose certificate is the text "bar"."""
    other = replace(ANCHOR, instance="FI")
    written = build_private_params(PrivateParams(INSTANCE, (ANCHOR, other)))
    start, end = b"<verificationCert>", b"</verificationCert>"
    head, _, rest = written.partition(start)
    spoilt = head + start + base64.b64encode(b"bar\n") + end + rest.partition(end)[2]
    assert parse_private_params(spoilt) == PrivateParams(INSTANCE, (other,))


def test_the_provider_of_management_services_may_be_a_member_in_configurations_of_others() -> None:
    member = POLICE.member
    written = build_private_params(PrivateParams(INSTANCE, management=ManagementService(provider=member)))
    assert parse_private_params(written).management.provider == member


def test_optional_parts_are_written_and_read_again() -> None:
    for client in (None, POLICE, BANK):
        assert parse_monitoring(build_monitoring(client)) == client
    assert parse_fetch_interval(build_fetch_interval(600)) == 600
    assert [parse_next_update(build_next_update(verify=each)) for each in (True, False)] == [True, False]


def test_a_next_update_part_of_x_road_is_read() -> None:
    told = b'<xro:conf xmlns:xro="http://x-road.eu/xsd/xroad.xsd">%b</xro:conf>'
    assert parse_next_update(told % b"<verifyNextUpdate>false</verifyNextUpdate>") is False
    assert parse_next_update(told % b"") is True


@pytest.mark.parametrize("seconds", [b"0", b"-5", b"1e9", b"", b"9999999999"])
def test_a_fetch_interval_is_a_positive_number(seconds: bytes) -> None:
    with pytest.raises(Malformed):
        parse_fetch_interval(build_fetch_interval(600).replace(b"600", seconds))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_only_malformed_escapes(data: st.DataObject) -> None:
    only_raises(Malformed, lambda: parse_anchor(data.draw(damaged(build_anchor(ANCHOR)))))
    private = build_private_params(PrivateParams(INSTANCE, (ANCHOR,), ManagementService(provider=POLICE)))
    only_raises(Malformed, lambda: parse_private_params(data.draw(damaged(private))))
    only_raises(Malformed, lambda: parse_monitoring(data.draw(damaged(build_monitoring(POLICE)))))
