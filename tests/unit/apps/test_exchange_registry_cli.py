"""`digiid exchange members|servers|requests|approve|decline|group|anchor`, beside a state that is stopped."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from digiid.apps import exchange_registry_cli
from digiid.apps.central import open_central
from digiid.apps.cli import app
from digiid.apps.state import StateFolder
from digiid.exchange.central_server.domain import RequestState, Role
from digiid.exchange.central_server.use_cases import members, officers, provisioned, requests
from digiid.formats.exchange.management import Operation
from digiid.formats.global_conf import anchor_fingerprint, parse_anchor
from digiid.kernel.errors import Conflict, DigiidError, Malformed, NotFound, Refused
from digiid.platform.clock import ManualClock
from digiid.platform.entropy import SeededEntropy
from tests.support.central import BANKING, POLICE, REGISTRAR, SECURITY, CentralRoom, central_room
from tests.unit.institutions.trust_services.ca_setup import shared_hierarchy


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.path.mkdir()
    folder.settings_file.write_text("", encoding="ascii")  # everything as it is by default
    return folder


@pytest.fixture
def room(state: StateFolder, tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> CentralRoom:
    """The state's own central server, at the time of the tests' certificates."""
    opened = open_central(state, clock=clock, entropy=entropy)
    return central_room(
        tmp_path,
        clock,
        entropy,
        database=opened.db,
        settings=opened.settings,
    )


def test_what_the_state_entered_and_somebody_removed_is_listed_and_brought_back(
    state: StateFolder, room: CentralRoom
) -> None:
    for code in ("NEW", "OLD"):
        provisioned.enter_once(room.deps, f"class {code}", lambda: None)
    members.add_member_class(room.deps, "NEW", "new", by=REGISTRAR)
    assert {each["item"]: each["isThere"] for each in told(state, "provisioned")} == {
        "class NEW": True,
        "class OLD": False,
    }
    assert "removed  class OLD" in run(state, "provisioned").output
    assert told(state, "bring-back", "class OLD", "--officer", REGISTRAR) == {"enteredAgain": ["class OLD"]}
    assert [each["item"] for each in told(state, "provisioned")] == ["class NEW"]
    assert refusal(state, "bring-back", "class OLD", "--officer", REGISTRAR).code == "central.provisioned"


def run(state: StateFolder, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["exchange", *arguments, "--state", str(state.path)])


def told(state: StateFolder, *arguments: str) -> Any:
    result = run(state, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(state: StateFolder, *arguments: str) -> DigiidError:
    error = run(state, *arguments).exception
    assert isinstance(error, DigiidError)
    return error


def test_empty_lists_say_so(state: StateFolder) -> None:
    assert "no members yet" in run(state, "members").stdout
    assert "No security server" in run(state, "servers").stdout
    assert "No request waits" in run(state, "requests").stdout
    assert told(state, "members") == told(state, "servers") == told(state, "requests") == []


def test_lists_tell_people_and_programs_the_same(state: StateFolder, room: CentralRoom) -> None:
    room.register_server()
    room.register_client(POLICE)
    waiting = room.submit(room.request(Operation.CLIENT_REGISTRATION, client=BANKING))
    assert {row["id"] for row in told(state, "members")} >= {"EE/GOV/70000101"}
    [server] = told(state, "servers")
    assert (server["id"], server["address"]) == ("EE/GOV/70000105/state", "127.0.0.1:5500")
    assert server["clients"] == [{"id": "EE/GOV/70000101/police", "enabled": True}]
    assert len(server["authenticationCertificates"]) == 1
    [request] = told(state, "requests")
    assert request["id"] == waiting.request_id
    assert request["signedBy"] == ["EE/GOV/70000105", "EE/COM/10000201"]
    assert len(told(state, "requests", "--all")) == 3
    for command in ("members", "servers", "requests"):
        assert run(state, command).exit_code == 0
    assert waiting.request_id in run(state, "requests").stdout


def test_a_named_officer_approves_and_declines(state: StateFolder, room: CentralRoom) -> None:
    first = room.submit(room.registration())
    assert refusal(state, "approve", first.request_id, "--officer", SECURITY).code == "central.not_allowed"
    assert refusal(state, "approve", first.request_id, "--officer", "37605030299").code == "central.not_an_officer"
    assert isinstance(refusal(state, "approve", "unknown", "--officer", REGISTRAR), NotFound)
    # the only one who has the right need not be named
    declined = told(state, "decline", first.request_id, "--reason", "No agreement yet")
    assert (declined["state"], declined["reason"]) == ("declined", "No agreement yet")
    assert isinstance(refusal(state, "approve", first.request_id), Conflict)
    stored = requests.get_request(room.deps, first.request_id)
    assert (stored.state, stored.decided_by) == (RequestState.DECLINED, REGISTRAR)


def test_with_several_officers_one_has_to_be_named(state: StateFolder, room: CentralRoom) -> None:
    officers.enter_first_officer(room.deps, "37605030299", "TEST SECOND", frozenset({Role.REGISTRATION_OFFICER}))
    first = room.submit(room.registration())
    error = refusal(state, "approve", first.request_id)
    assert isinstance(error, Malformed) and "TEST SECOND" in (error.public or "")


def test_groups(state: StateFolder, room: CentralRoom) -> None:
    room.register_server()
    room.register_client(POLICE)
    assert told(state, "group", "add", "boards", str(POLICE))["inside"] is True
    [built_in, boards] = told(state, "group", "list")
    assert built_in["builtIn"] and boards["members"] == [str(POLICE)]
    assert run(state, "group", "list").exit_code == 0
    assert told(state, "group", "remove", "boards", str(POLICE))["inside"] is False
    assert members.list_groups(room.deps)[1].members == ()
    assert isinstance(refusal(state, "group", "add", "boards", "police"), Malformed)
    assert isinstance(refusal(state, "group", "add", "security-server-owners", str(POLICE)), Refused)


def test_the_first_officers_are_entered_from_the_machine(state: StateFolder) -> None:
    arguments = ("officer", "38001085718", "TEST MARI", "--role", "registration_officer", "--role", "security_officer")
    assert told(state, *arguments)["roles"] == ["registration_officer", "security_officer"]
    assert told(state, *arguments)["name"] == "TEST MARI"  # again is the same
    assert isinstance(refusal(state, *arguments[:3], "--role", "observer"), Conflict)
    assert isinstance(refusal(state, "officer", "38001085719", "TEST MARI", "--role", "observer"), Malformed)
    assert run(state, "officer", "38001085718", "TEST MARI", "--role", "king").exit_code == 2


def test_trust_services_are_approved_and_withdrawn(state: StateFolder, room: CentralRoom, tmp_path: Path) -> None:
    pki = shared_hierarchy()
    for name, certificate in (("ca", pki.root.certificate), ("tsu", pki.tsu.certificate)):
        (tmp_path / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    ocsp = ("--ocsp", "http://127.0.0.1:8800/ocsp")
    assert run(state, "trust", "approve-ca", "Other CA", str(tmp_path / "ca.pem"), *ocsp).exit_code == 0
    assert (
        refusal(state, "trust", "approve-ca", "No CA", str(tmp_path / "tsu.pem"), *ocsp).code == "central.trust_service"
    )
    tsa = ("trust", "approve-tsa", "Other TSA", "http://127.0.0.1:8800/tsa", str(tmp_path / "tsu.pem"))
    assert run(state, *tsa).exit_code == 0
    listed = told(state, "trust", "list")
    assert {one["name"] for one in listed["cas"]} == {"TEST CA", "Other CA"}
    assert {one["name"] for one in listed["tsas"]} == {"TEST TSA", "Other TSA"}
    for name in ("Other CA", "Other TSA"):
        assert run(state, "trust", "withdraw", name, "--reason", "it has ended").exit_code == 0
    assert isinstance(refusal(state, "trust", "withdraw", "Other CA", "--reason", "it has ended"), NotFound)
    assert "TEST TSA" in run(state, "trust", "list").stdout


def test_the_anchor_is_printed_with_its_fingerprint(state: StateFolder, tmp_path: Path) -> None:
    answer = told(state, "anchor", "-o", str(tmp_path / "anchor.xml"))
    content = (tmp_path / "anchor.xml").read_bytes()
    assert parse_anchor(content).sources[0].url == "http://127.0.0.1:8800/internalconf"
    assert answer["sha224"] == anchor_fingerprint(content)
    assert answer["anchor"].encode() == content
    shown = run(state, "anchor")
    assert answer["sha224"] in shown.stdout and "configurationAnchor" in shown.stdout


def test_a_fingerprint_is_printed_as_it_is_whatever_its_bytes_are(capsys: pytest.CaptureFixture[str]) -> None:
    exchange_registry_cli.out.print("SHA-224 A3:AB:33:CL:82:OK:BB", highlight=False)
    assert "A3:AB:33:CL:82:OK:BB" in capsys.readouterr().out


def test_without_a_state_nothing_is_made(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["exchange", "members", "--state", str(tmp_path / "none")])
    assert isinstance(result.exception, NotFound)
    assert not (tmp_path / "none").exists()
