"""Which sites may ask, and what is remembered of the person's yes."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.devices.agent.origins import KnownOrigins, check_origin
from digiid.kernel.errors import Malformed, Refused

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "origin",
    [
        "https://bank.example",
        "https://bank.example:8843",
        "https://xn--jeorg-dua.ee",
        "https://192.0.2.7",
        "https://[2001:db8::1]:8443",
        "http://localhost",
        "http://portal.localhost:8800",
        "http://127.0.0.1:8802",
        "http://127.9.9.9",
        "http://[::1]:8080",
    ],
)
def test_secure_origins_and_those_of_this_machine_may_ask(origin: str) -> None:
    assert check_origin(origin) == origin


@pytest.mark.parametrize(
    "origin",
    [
        "http://bank.example",
        "http://localhost.bank.example",
        "http://notlocalhost",
        "http://192.0.2.7",
        "http://127.0.0.1.bank.example",
        "http://[2001:db8::1]",
    ],
)
def test_plain_http_from_elsewhere_is_refused(origin: str) -> None:
    with pytest.raises(Refused) as refused:
        check_origin(origin)
    assert refused.value.code == "agent.insecure_origin"


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "https://",
        "https://bank.example/",
        "https://bank.example:443",
        "http://localhost:80",
        "https://bank.example:0",
        "https://bank.example:65536",
        "https://Bank.example",
        "https://user@bank.example",
        "https://bank..example",
        "https://-bank.example",
        "https://bank.example ",
        "https://bank.example\n",
        "https://[::1",
        "https://[zz::]",
        "chrome-extension://abcdef",
        "file://",
        "javascript:alert(1)",
        "https://" + "a" * 300,
    ],
)
def test_what_no_browser_calls_an_origin_is_malformed(origin: str) -> None:
    with pytest.raises(Malformed):
        check_origin(origin)


@given(st.text(max_size=60) | st.from_regex(r"https?://[a-z0-9.\[\]:@/-]{0,40}", fullmatch=True))
def test_any_text_is_an_origin_or_a_named_refusal(text: str) -> None:
    try:
        assert check_origin(text) == text
    except (Malformed, Refused):
        pass


def test_allowed_origin_is_known_after_a_restart_and_no_other_is(tmp_path: Path) -> None:
    file = tmp_path / "agent-origins.json"
    KnownOrigins(file).allow("https://bank.example", at=AT)
    again = KnownOrigins(file)
    assert again.require("https://bank.example") == "https://bank.example"
    assert again.all() == {"https://bank.example": AT}
    for other in ("https://bank.example:8443", "https://www.bank.example", "http://localhost"):
        with pytest.raises(Refused) as refused:
            again.require(other)
        assert refused.value.code == "agent.origin_not_allowed"
    assert file.stat().st_mode & 0o777 == 0o600


def test_forgotten_origin_is_asked_about_again(tmp_path: Path) -> None:
    known = KnownOrigins(tmp_path / "agent-origins.json")
    known.allow("https://bank.example", at=AT)
    known.forget("https://bank.example")
    known.forget("https://never.example")
    assert not known.is_known("https://bank.example")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"https://bank.example": 7}',
        b'{"https://bank.example": "yesterday"}',
        b'{"http://bank.example": "2026-11-23T10:00:00+00:00"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_damaged_file_allows_nobody(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "agent-origins.json"
    file.write_bytes(content)
    assert KnownOrigins(file).all() == {}


def test_insecure_origin_cannot_be_allowed(tmp_path: Path) -> None:
    known = KnownOrigins(tmp_path / "agent-origins.json")
    with pytest.raises(Refused):
        known.allow("http://bank.example", at=AT)
    assert not (tmp_path / "agent-origins.json").exists()


def test_oldest_origin_makes_room_when_the_list_is_full(tmp_path: Path) -> None:
    file = tmp_path / "agent-origins.json"
    many = {f"https://s{n}.example": AT.replace(year=1990 + n // 500, minute=n % 60).isoformat() for n in range(1000)}
    many["https://s0.example"] = AT.replace(year=1980).isoformat()
    file.write_text(json.dumps(many))
    known = KnownOrigins(file)
    known.allow("https://new.example", at=AT)
    assert known.is_known("https://new.example")
    assert not known.is_known("https://s0.example")
    assert len(known.all()) == 1000
