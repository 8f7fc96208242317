"""The page that asks every security server how it stands, with servers that answer well, badly and not at all."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from digiid.apps.cli import app as cli
from digiid.exchange.security_server.clocks import ClockState, ExchangeClock
from digiid.exchange.security_server.status import ServerStatus, status_json, write_status_addresses
from digiid.exchange.status_site import app
from digiid.platform.clock import ManualClock
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Surroundings
from digiid.platform.pools import Pools
from digiid.platform.ports import free_ports
from tests.support.page_client import PageClient
from tests.support.serve import serving

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
ORIGIN = "http://exchange.localhost:8800"
STATE, PRIVATE = "EE/GOV/70000105/state", "EE/COM/10000201/private"
TEN_MINUTES = timedelta(minutes=10)


class Server:
    """A health port that tells what it is given; `body` instead of a status is told as it is."""

    def __init__(self, name: str) -> None:
        self.name, self.body, self.http_status = name, b"", 200
        self.port = free_ports(1)[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/status"

    def tell(self, *clocks: ExchangeClock) -> None:
        self.body = json.dumps(status_json(ServerStatus(self.name, AT, clocks))).encode()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": self.http_status, "headers": headers})
            await send({"type": "http.response.body", "body": self.body})


def running(name: str, left: timedelta, state: ClockState, subject: str = "", detail: str = "") -> ExchangeClock:
    return ExchangeClock(name, state, subject, AT + left, left, TEN_MINUTES, detail)


FINE = running("configuration", timedelta(minutes=9), ClockState.OK)


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    state, private = Server(STATE), Server(PRIVATE)
    state.tell(FINE)
    private.tell(FINE)
    with serving(state, state.port), serving(private, private.port):
        yield state, private


@pytest.fixture
def addresses(tmp_path: Path) -> Path:
    return tmp_path / "exchange" / "status-addresses.json"


@pytest.fixture
def open_page(tmp_path: Path, addresses: Path):
    pools, http = Pools(pages=2, services=1), HttpClient()
    origins = {"exchange": ORIGIN, "agent": "http://127.0.0.1:8802", "programs": "http://127.0.0.1:8800"}
    around = Surroundings(ManualClock(AT), SystemEntropy(), pools, http, tmp_path, origins)
    built = app.build(around, addresses_file=addresses, csrf_secret="x" * 43)
    opened: list[PageClient] = []

    def page(language: str = "en") -> str:
        opened.append(PageClient(built.sites["exchange"], ORIGIN, language=language))
        answer = opened[-1].get("/")
        assert answer.status_code == 200
        return answer.text

    yield page
    for client in opened:
        client.close()
    built.close()
    pools.close()
    http.close()


def text_of(page: str) -> str:
    main = page[page.index("<main") : page.index("</main>")]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main))


def write(addresses: Path, *servers: Server) -> None:
    write_status_addresses(addresses, {server.name: server.url for server in servers})


def test_when_all_is_well_it_says_so(open_page, servers, addresses):
    write(addresses, *servers)
    page = open_page()
    text = text_of(page)
    assert "The exchange runs, and nothing is about to stop it" in text
    assert text.count("Global configuration") >= 2
    assert "9 min" in text
    assert 'aria-label="90 % of the time is left"' in page


def test_the_next_to_stop_comes_first_with_what_then_and_what_to_do(open_page, servers, addresses):
    state, private = servers
    state.tell(
        FINE,
        running("time_stamps", timedelta(minutes=3), ClockState.WARNING, detail="http.unreachable: TSA <b>gone</b>"),
        running("certificate_signing", timedelta(0), ClockState.STOPPED, subject="EE/GOV/70000101"),
    )
    private.tell(running("time_stamps", timedelta(minutes=2), ClockState.WARNING))
    write(addresses, state, private)
    page = open_page()
    clocks = re.findall(r'<li class="status-clock status-clock--(\w+)">(.*?)</li>', page, re.DOTALL)
    found = [(kind, "EE/COM" in body, re.sub(r"<[^>]+>", "", body).split("\n")[3].strip()) for kind, body in clocks]
    assert [(kind, private) for kind, private, _ in found] == [
        ("stopped", False),
        ("warning", True),
        ("warning", False),
        ("ok", False),
    ]
    text = text_of(page)
    assert "1 thing has stopped" in text
    assert "Messages of this member are neither signed nor accepted by others." in text
    assert "Have a new signing certificate issued" in text
    assert "TSA &lt;b&gt;gone" in page  # what a server tells is text


def test_a_server_that_does_not_answer_is_named_with_what_to_do(open_page, servers, addresses):
    state, _ = servers
    silent = Server(PRIVATE)  # nobody listens there
    write(addresses, state, silent)
    text = text_of(open_page())
    assert "1 server does not answer" in text
    assert PRIVATE in text
    assert silent.url in text
    assert "See that its process runs" in text
    assert "Global configuration" in text  # the others are shown all the same


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 200_000, b"x" * 600_000])
def test_a_server_that_tells_nonsense_does_not_answer(open_page, servers, addresses, body):
    state, private = servers
    private.body = body
    write(addresses, state, private)
    assert "1 server does not answer" in text_of(open_page())


def test_a_server_that_is_another_one_does_not_answer(open_page, servers, addresses):
    state, private = servers
    private.body = state.body
    write(addresses, state, private)
    assert f"it says that it is {STATE}" in text_of(open_page())


def test_without_servers_it_says_where_they_are_looked_for(open_page, addresses):
    text = text_of(open_page())
    assert "No security server is known" in text
    assert str(addresses) in text


def test_it_is_asked_anew_at_every_look(open_page, servers, addresses):
    state, private = servers
    write(addresses, state, private)
    assert "nothing is about to stop it" in open_page()
    private.tell(running("ocsp", timedelta(0), ClockState.STOPPED))
    assert "1 thing has stopped" in text_of(open_page())


def test_it_works_without_script_and_in_estonian(open_page, servers, addresses):
    state, private = servers
    state.tell(running("disk", timedelta(minutes=1), ClockState.WARNING, detail="100 MiB of 1000 MiB"))
    write(addresses, state, private)
    page = open_page("et")
    assert 'lang="et"' in page
    text = text_of(page)
    for words in ("Kettaruum", "Viige arhiivid mujale", "1 min jäänud", "vajab varsti kedagi", "Turvaserverid"):
        assert words in text
    scripts = re.findall(r"<script[^>]*>", page)
    assert all("digiid.js" in script for script in scripts)
    assert "style=" not in page
    assert '<a class="govuk-link" href="/">Vaata uuesti</a>' in page


# ------------------------------------------------------------------ the command line


def status(*arguments: str):
    return CliRunner().invoke(cli, ["exchange", "status", *arguments], env={"COLUMNS": "160"})


def test_the_command_line_shows_the_same_and_its_exit_code_says_whether_something_stopped(servers, tmp_path, addresses):
    state, private = servers
    assert status("--state", str(tmp_path)).exit_code == 2
    write(addresses, state, private)
    shown = status("--state", str(tmp_path))
    assert (shown.exit_code, shown.output.count("Global configuration")) == (0, 2)
    private.tell(running("log", timedelta(0), ClockState.STOPPED, detail="exchange.logging_failed: gone"), FINE)
    shown = status("--state", str(tmp_path))
    assert shown.exit_code == 1
    lines = [line for line in shown.output.splitlines() if line.startswith(("stopped", "ok"))]
    assert lines[0].startswith("stopped  Message log database")
    assert "What to do: See that the database runs" in shown.output


def test_in_a_narrow_terminal_whole_names_stand_and_a_silent_server_comes_first(servers, tmp_path, addresses):
    state, _ = servers
    write(addresses, state, Server(PRIVATE))
    shown = CliRunner().invoke(cli, ["exchange", "status", "--state", str(tmp_path)], env={"COLUMNS": "80"})
    lines = shown.output.splitlines()
    assert "does not answer" in lines[1] and PRIVATE in lines[1]
    assert sum(STATE in line for line in lines) == shown.output.count("ok ") and "█" not in shown.output


def test_the_command_line_tells_programs_as_json(servers, tmp_path, addresses):
    state, _ = servers
    silent = Server(PRIVATE)
    write(addresses, state, silent)
    shown = status("--state", str(tmp_path), "--json")
    told = json.loads(shown.output)
    assert (shown.exit_code, told["state"]) == (1, "stopped")
    assert [each["server"] for each in told["servers"]] == [STATE, PRIVATE]
    assert told["servers"][0]["clocks"][0]["leftSeconds"] == 540
    assert told["servers"][1]["problem"]


def test_the_command_line_asks_servers_that_are_named(servers):
    state, _ = servers
    assert status("--server", f"{state.name}={state.url}").exit_code == 0
    assert status("--server", "nonsense").exit_code == 2
