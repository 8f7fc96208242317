"""A security server of one's own beside a state, by the commands of docs/how-to/join-the-exchange.md, word by word."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from digiid.apps import story
from digiid.apps.all_in_one import EState
from digiid.apps.exchange_registry_cli import opened_central
from digiid.apps.seed import E_RESIDENT_ROLE
from digiid.contracts.business_register import FIND_COMPANIES, FindCompanies
from digiid.contracts.population_register import GET_ADDRESS, GET_PERSON, GetAddress
from digiid.exchange.central_server.use_cases import members
from digiid.exchange.client import Client
from digiid.exchange.consent_client import ConsentClient
from digiid.exchange.problems import ACCESS_DENIED
from digiid.kernel.errors import DigiidError, Refused
from digiid.kernel.identifiers import parse_server_id
from digiid.platform.ports import free_ports
from tests.support.estate import RunningEState, running_estate

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "join-the-exchange.md").read_text(encoding="utf-8")
RIGHTS_PAGE = (ROOT / "docs" / "how-to" / "give-a-right.md").read_text(encoding="utf-8")
SCHOOL, LIBRARY = "EE/COM/10000298/school", "EE/COM/10000299/library"
COMPANIES = "EE/GOV/70000106/business/find-companies"
PURPOSE, CALLBACK = "library-letters", "http://127.0.0.1:8499/"
DECLARATION = f"""
[[purpose]]
identifier = "{PURPOSE}"
client = "{SCHOOL}"
recipient_name = "TEST School"
recipient_code = "10000298"
service_declaration = "population-address"
privacy_policy_url = ""
callbacks = ["{CALLBACK}"]
expires_at = 2099-01-01T00:00:00Z
service_name = {{ en = "Library", et = "Raamatukogu" }}
name = {{ en = "To send books", et = "Raamatute saatmiseks" }}
purpose = {{ en = "The school sends books to your address.", et = "Kool saadab raamatud Teie aadressile." }}
refusal = {{ en = "You fetch the books.", et = "Tulete raamatutele järele." }}
"""


class RestartableEState:
    """The state of this module's tests, with a purpose declaration of a member that is still to join."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stack = folder / "state", ExitStack()
        declarations = folder / "declarations.toml"
        declarations.write_text(DECLARATION, encoding="utf-8")
        self._settings = f'consent_declarations = ["{declarations}"]\n'
        self.now = self._start()

    def _start(self) -> RunningEState:
        return self._stack.enter_context(running_estate(self._folder, settings=self._settings))

    @property
    def state(self) -> EState:
        return self.now.state

    def restart(self) -> None:
        self.stop()
        self.now = self._start()

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestartableEState]:
    running = RestartableEState(tmp_path_factory.mktemp("own-server"))
    try:
        yield running
    finally:
        running.stop()


def blocks(page: str, heading: str) -> list[str]:
    section = page.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [textwrap.dedent(found) for found in re.findall(r"^ *```sh\n(.*?)```", section, re.DOTALL | re.MULTILINE)]


def commands() -> list[str]:
    """Those of the page below "Try it": register, serve and provide, ask, ask the state."""
    return blocks(PAGE, "Try it")


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "COLUMNS": "200"}


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=120
    )


@contextmanager
def in_a_terminal_of_its_own(folder: Path, command: str) -> Iterator[None]:
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command}"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
        assert process.poll() is None, f"{command} has ended by itself"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def test_a_program_joins_the_exchange_by_the_commands_of_the_page(estate: RestartableEState, tmp_path: Path) -> None:
    message, http, health, provider = free_ports(4)
    register, beside, ask, ask_the_state = commands()
    serve, provide = beside.strip().splitlines()
    register = register.rstrip() + f" --port {message} --http-port {http} --health-port {health}"
    register += f" --state {estate.state.folder.path}"
    ports = {"8480": str(http), "8810": str(provider)}

    def own(text: str) -> str:
        for written, free in ports.items():
            text = text.replace(written, free)
        return text.replace(".venv/bin/python docs", f"{sys.executable} {ROOT}/docs")

    # 1 registered; once more changes nothing
    done = run(tmp_path, register)
    assert done.returncode == 0 and "Registered: EE/COM/10000299/own" in done.stdout, done.stdout + done.stderr
    own_folder = tmp_path / "servers" / "own"
    settings = (own_folder / "server.toml").read_bytes()
    assert run(tmp_path, register).returncode == 0
    assert (own_folder / "server.toml").read_bytes() == settings
    for secret in ("auth.pem", "sign-COM-10000298.pem", "passphrase", "message-log-archives", "server.toml"):
        assert (own_folder / secret).stat().st_mode & 0o777 == 0o600
    # 2 the file of step 4
    (registration,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (own_folder / "local.toml").write_text(own(registration), encoding="utf-8")
    assert run(tmp_path, "digiid config check servers/own/local.toml").returncode == 0
    assert run(tmp_path, register).returncode == 0
    assert (own_folder / "local.toml").read_text(encoding="utf-8") == own(registration)  # it is its owner's by now
    # 3 served and asked
    with (
        in_a_terminal_of_its_own(tmp_path, serve),
        in_a_terminal_of_its_own(tmp_path, f"{own(provide)} --port {provider}"),
    ):
        said = _until_answered(tmp_path, own(ask))
        assert (said.returncode, said.stdout) == (0, "3 on loan\n"), said.stderr
        taken = run(tmp_path, serve)
        assert taken.returncode == 1 and "exchange.port_taken" in taken.stderr
        # 4 on record
        listed = run(tmp_path, "digiid exchange messages servers/own/server.toml")
        assert "Every request has its response." in listed.stdout
        # 5 known to the servers of the state, which say until then that one has to wait
        first = run(tmp_path, own(ask_the_state)).stdout
        assert first == '{"service":[]}' or "known everywhere in two minutes" in first
        said = _until_answered(tmp_path, own(ask_the_state).rstrip() + " | grep -F '{\"service\":[]}'")
        assert said.returncode == 0, run(tmp_path, own(ask_the_state)).stdout
        # 6 given rights, and deprived of them
        _rights_are_given_and_taken(estate, tmp_path, f"http://127.0.0.1:{http}")
        # 7 what was refused has no response, and is told as refused
        refused = _until_answered(tmp_path, "digiid exchange messages servers/own/server.toml")
        assert refused.returncode == 0 and "refused: server.serverproxy.access_denied" in refused.stdout, refused.stdout
        # 8 archived at once, as soon as all have time stamps
        archived = _until_answered(tmp_path, "digiid exchange archive servers/own/server.toml")
        assert archived.returncode == 0, archived.stdout + archived.stderr
    key = "--key message-log-archives:servers/own/message-log-archives"
    judged = run(tmp_path, f"digiid exchange verify servers/own/archives --conf servers/own/global-conf {key}")
    assert judged.returncode == 0 and "EE_COM_10000298" in judged.stdout, judged.stdout


def _rights_are_given_and_taken(estate: RestartableEState, folder: Path, server: str) -> None:
    """By the commands of docs/how-to/give-a-right.md, word by word."""
    school, library = Client.connect(SCHOOL, server=server), Client.connect(LIBRARY, server=server)
    find, no_right = FindCompanies(text="TEST"), "exchange.access_denied"

    def operator(command: str) -> str:
        done = run(folder, f"{command.strip()} --state {estate.state.folder.path}")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(client: Client) -> str:
        with pytest.raises(DigiidError) as error:
            client.call(FIND_COMPANIES, find)
        return error.value.code

    (give, look, take) = blocks(RIGHTS_PAGE, "Give it, take it back")[0].strip().splitlines()
    (of_address,) = blocks(RIGHTS_PAGE, "Open a service that needs a consent")
    of_data, of_consents = of_address.strip().split("\n", 1)
    # 1 refused before, answered after, refused after it was taken back
    assert refused(school) == no_right
    assert COMPANIES in operator(blocks(RIGHTS_PAGE, "See what can be given")[0])
    assert f"Granted to {SCHOOL}" in operator(give)
    assert school.call(FIND_COMPANIES, find).companies
    assert refused(library) == no_right
    assert f"{SCHOOL}: POST /v1 of {COMPANIES}" in operator(look)
    operator(take)
    assert refused(school) == no_right
    # 2 what no operator can give
    denied = run(folder, give.replace(COMPANIES, str(GET_PERSON.service)) + f" --state {estate.state.folder.path}")
    assert denied.returncode == 1 and "exchange.rights.closed" in denied.stderr
    # 3 a right in the security server's file alone opens nothing: the institution's gate has its own look
    rights = estate.state.folder.path / "exchange" / "state" / "rights.toml"
    operator(give)
    forged = rights.read_text(encoding="utf-8").replace(SCHOOL, LIBRARY)
    part = rights.with_suffix(".forged")
    part.write_text(forged, encoding="utf-8")
    part.replace(rights)
    assert refused(library) == ACCESS_DENIED
    # 4 as set after a restart, when what stood in that file alone is gone
    for given in (of_data, of_consents):
        operator(given)
    estate.restart()
    assert school.call(FIND_COMPANIES, find).companies
    assert refused(library) == no_right and LIBRARY not in rights.read_text(encoding="utf-8")
    # 5 data of a person only under the person's consent, and while it holds
    _asks_under_a_consent(estate.now, school)
    operator(take)
    assert refused(school) == no_right


def _asks_under_a_consent(estate: RunningEState, school: Client) -> None:
    holder, code = estate.holder(E_RESIDENT_ROLE), estate.person(E_RESIDENT_ROLE).personal_code
    consents, origins = ConsentClient(school), estate.origins

    def address(receipt: str | None) -> str | None:
        asked = GetAddress(personal_code=code)
        return school.call(GET_ADDRESS, asked, user_id=f"EE{code}", consent=receipt, purpose=PURPOSE).locality

    with pytest.raises(Refused, match=r"exchange\.consent\.missing"):
        address(None)
    link = consents.request(code, [PURPOSE], callback=CALLBACK).url
    story.sign_in(holder, origins["consent"])
    signed = story.sign(holder, holder.visitor.open(link))
    held = consents.find_receipt(code, PURPOSE)
    assert held is not None
    assert address(held.receipt) == "Helsinki"
    story.sign_in(holder, origins["portal"])
    known_as = school.list_names()[school.me]
    assert known_as in holder.visitor.open(f"{origins['portal']}/who-looked").text
    consent = signed.url.split("?")[0]
    holder.visitor.submit(holder.visitor.open(f"{consent}/withdraw"), action="/withdraw")
    refusal = story.wait_for(lambda: _refusal(address, held.receipt), "the withdrawal to reach the register")
    assert refusal == "exchange.consent.revoked"


def _refusal(address: Callable[[str], object], receipt: str) -> str | None:
    """By which code the register refuses; None while it answers."""
    try:
        address(receipt)
    except Refused as error:
        return error.code
    return None


def test_what_cannot_be_registered_is_said(estate: RestartableEState, tmp_path: Path) -> None:
    command = f"digiid exchange new-server {{}} -d servers --state {estate.state.folder.path} --officer 48801209001"
    nameless = run(tmp_path, command.format("EE/COM/10000297/x --client EE/COM/10000297/shop"))
    assert nameless.returncode == 2 and "--member EE/COM/10000297=NAME" in nameless.stderr
    taken = run(
        tmp_path, command.format("EE/COM/10000297/state --client EE/COM/10000297/shop --member EE/COM/10000297=Shop")
    )
    assert taken.returncode == 1 and "EE/GOV/70000105/state has that server code" in taken.stderr
    stranger = command.replace("48801209001", "38001085718")
    refused = run(
        tmp_path, stranger.format("EE/COM/10000297/x --client EE/COM/10000297/shop --member EE/COM/10000297=Shop")
    )
    assert refused.returncode == 1, refused.stdout + refused.stderr
    missing = run(tmp_path, "digiid exchange serve servers/none/server.toml")
    assert missing.returncode == 2 and "No such file" in missing.stderr
    assert not (tmp_path / "servers" / "state").exists()


def test_what_an_officer_removed_is_entered_again_when_it_is_brought_back(
    estate: RestartableEState, tmp_path: Path
) -> None:
    state, server = f"--state {estate.state.folder.path}", "EE/COM/10000296/shop"
    by = f"--officer 48801209001 {state}"
    register = f"digiid exchange new-server {server} -d servers --client {server} --member EE/COM/10000296=Shop {by}"
    assert run(tmp_path, register).returncode == 0
    with opened_central(estate.state.folder.path) as central:
        members.remove_server(central, parse_server_id(server), reason="it misbehaves", by="48801209001")
    refused = run(tmp_path, register)
    assert refused.returncode == 1 and "bring-back" in refused.stderr
    listed = run(tmp_path, f"digiid exchange provisioned {state}").stdout
    assert f"removed  server {server}" in listed
    back = run(tmp_path, f'digiid exchange bring-back "server {server}" {by}')
    assert back.returncode == 0 and "new-server" in back.stdout
    assert run(tmp_path, register).returncode == 0
    assert f"removed  server {server}" not in run(tmp_path, f"digiid exchange provisioned {state}").stdout


def _until_answered(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """The programs need a moment to come up, and the servers a global configuration that names the new one."""
    deadline = time.monotonic() + 150
    while True:
        said = run(folder, command)
        if said.returncode == 0 or time.monotonic() > deadline:
            return said
        time.sleep(1)
