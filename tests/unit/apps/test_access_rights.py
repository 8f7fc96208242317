"""`digiid exchange grant|revoke|rights`, beside a state that is stopped: what is in force, what is refused and why."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from digiid.apps import access_rights
from digiid.apps.access_rights import OFFERED, RIGHTS
from digiid.apps.central import open_central
from digiid.apps.cli import app
from digiid.apps.state import StateFolder
from digiid.contracts import business_register, consents, population_register
from digiid.contracts.members import BUSINESS_REGISTER, CONSENT_SERVICE, INFORMATION_AUTHORITY, POPULATION_REGISTER
from digiid.exchange.central_server.use_cases import members
from digiid.exchange.granted_rights import FILE_NAME
from digiid.exchange.security_server.local_conf import Offer, build_local_conf, load_local_conf, write_local_conf
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused
from digiid.kernel.identifiers import ClientId, Party, ServiceId
from digiid.platform.clock import ManualClock
from digiid.platform.entropy import SeededEntropy
from tests.support.central import (
    ADMINISTRATOR,
    BANKING,
    OBSERVER,
    PRIVATE,
    REGISTRAR,
    SECURITY,
    CentralRoom,
    central_room,
)

FIND, GET = business_register.FIND_COMPANIES, business_register.GET_COMPANY
ADDRESS, PERSON = population_register.GET_ADDRESS, population_register.GET_PERSON
OPERATIONS = (FIND, GET, business_register.ROLES_OF_PERSON, ADDRESS, PERSON)
CLIENTS = (BUSINESS_REGISTER, POPULATION_REGISTER, CONSENT_SERVICE, INFORMATION_AUTHORITY)
SCHOOL = ClientId("EE", "COM", "10000201", "school")  # of the bank's, and named by no contract


class InGroups:
    """Whom a global configuration has in which group."""

    def __init__(self, *inside: tuple[Party, str]) -> None:
        self._inside = inside

    def is_in_group(self, client: Party, code: str) -> bool:
        return (client, code) in self._inside


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    """A state that has been started once: its servers have what the contracts give."""
    folder = StateFolder(tmp_path / "state")
    folder.path.mkdir()
    folder.settings_file.write_text("", encoding="ascii")
    offers = [
        Offer(
            each.service, (("POST", "/v1"),), each.allowed, "http://127.0.0.1:1", description_url="http://127.0.0.1:1/x"
        )
        for each in OPERATIONS
    ]
    offers.append(Offer(consents.CONSENT, consents.ENDPOINTS, consents.CALLERS, "http://127.0.0.1:1"))
    exchange = folder.path / "exchange"
    write_local_conf(exchange / "state" / OFFERED, build_local_conf(dict.fromkeys(CLIENTS, ()), offers, mode="NOSSL"))
    write_local_conf(exchange / "private" / OFFERED, build_local_conf({BANKING: ()}, mode="NOSSL"))
    access_rights.put_in_force(exchange)
    return folder


@pytest.fixture(autouse=True)
def room(state: StateFolder, tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> CentralRoom:
    opened = open_central(state, clock=clock, entropy=entropy)
    made = central_room(tmp_path, clock, entropy, database=opened.db, settings=opened.settings)
    made.register_server(PRIVATE, "127.0.0.1:5510")
    for client in (BANKING, SCHOOL):
        made.register_client(client, PRIVATE)
    members.add_group(made.deps, "schools", "Schools", by=REGISTRAR)
    return made


def run(state: StateFolder, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["exchange", *arguments, "--state", str(state.path)])


def change(state: StateFolder, verb: str, subject: object, service: object, *more: str) -> dict[str, Any]:
    result = run(state, verb, str(subject), str(service), "--officer", REGISTRAR, *more, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def refusal(state: StateFolder, *arguments: str, officer: str = REGISTRAR) -> DigiidError:
    before = (state.path / "exchange" / "state" / RIGHTS).read_bytes()
    error = run(state, *arguments, "--officer", officer).exception
    assert isinstance(error, DigiidError), error
    assert (state.path / "exchange" / "state" / RIGHTS).read_bytes() == before
    return error


def may(
    state: StateFolder, client: ClientId, service: ServiceId, *inside: tuple[Party, str], path: str = "/v1"
) -> bool:
    conf = load_local_conf(state.path / "exchange" / "state" / RIGHTS)
    method = "POST" if path == "/v1" else "GET"
    try:
        conf.authorise(client, service, method, service.path + path, InGroups(*inside))
    except Refused as error:
        assert error.code == "exchange.access_denied"
        return False
    return True


def journal(room: CentralRoom) -> list[tuple[str, dict[str, Any]]]:
    lines = members.recent_journal(room.deps)
    return [(line.kind, line.payload) for line in reversed(lines) if line.kind.startswith("access_right.")]


def test_a_right_is_there_from_the_grant_to_the_revocation_and_on_record(state: StateFolder, room: CentralRoom) -> None:
    assert not may(state, SCHOOL, ADDRESS.service)
    told = change(state, "grant", SCHOOL, ADDRESS.service)
    assert (told["granted"], told["basis"]) == (["POST /v1"], "consent of the person")
    assert may(state, SCHOOL, ADDRESS.service)
    assert not may(state, BANKING, PERSON.service) and not may(state, SCHOOL, PERSON.service)
    [listed] = json.loads(run(state, "rights", "--json").stdout)
    assert (listed["subject"], listed["origin"], listed["endpoint"]) == (str(SCHOOL), "granted", "POST /v1")
    assert change(state, "revoke", SCHOOL, ADDRESS.service)["revoked"] == ["POST /v1"]
    assert not may(state, SCHOOL, ADDRESS.service)
    assert json.loads(run(state, "rights", "--json").stdout) == []
    [(granted, what), (revoked, _)] = journal(room)
    assert (granted, revoked) == ("access_right.granted", "access_right.revoked")
    assert what["client"] == str(SCHOOL) and what["service"] == str(ADDRESS.service)
    assert what["endpoint"] == "POST /v1" and REGISTRAR[:7] in what["by"]


def test_what_is_so_already_is_told_and_not_written_again(state: StateFolder, room: CentralRoom) -> None:
    change(state, "grant", SCHOOL, ADDRESS.service)
    kept = (state.path / "exchange" / FILE_NAME).read_bytes()
    assert change(state, "grant", SCHOOL, ADDRESS.service)["unchanged"] == ["POST /v1"]
    assert change(state, "grant", BANKING, ADDRESS.service)["byContract"] == ["POST /v1"]
    assert (state.path / "exchange" / FILE_NAME).read_bytes() == kept
    assert len(journal(room)) == 1


def test_what_the_contracts_give_stays_as_it_is(state: StateFolder) -> None:
    change(state, "grant", SCHOOL, ADDRESS.service)
    assert refusal(state, "revoke", str(BANKING), str(ADDRESS.service)).code == "exchange.rights.by_contract"
    change(state, "revoke", SCHOOL, ADDRESS.service)
    assert may(state, BANKING, ADDRESS.service)
    assert (state.path / "exchange" / "state" / RIGHTS).read_text().count("[[clients.rights]]") == (
        state.path / "exchange" / "state" / OFFERED
    ).read_text().count("[[clients.rights]]")


def test_a_group_is_a_subject_by_its_code(state: StateFolder) -> None:
    change(state, "grant", "schools", ADDRESS.service)
    assert may(state, SCHOOL, ADDRESS.service, (SCHOOL, "schools"))
    assert not may(state, SCHOOL, ADDRESS.service, (SCHOOL, "others"))
    change(state, "revoke", "schools", ADDRESS.service)
    assert not may(state, SCHOOL, ADDRESS.service, (SCHOOL, "schools"))


def test_endpoints_are_given_and_taken_one_by_one(state: StateFolder) -> None:
    receipt, health = "GET /api/consent/receipt", "GET /api/consent/health"
    named = refusal(state, "grant", str(SCHOOL), str(consents.CONSENT))
    assert named.code == "exchange.rights.which_endpoint"
    assert receipt in named.detail and "/api/reporting/consent" not in named.detail
    assert change(state, "grant", BANKING, consents.CONSENT, "--endpoint", health)["byContract"] == [health]
    change(state, "grant", SCHOOL, consents.CONSENT, "--endpoint", receipt, "--endpoint", health)
    assert may(state, SCHOOL, consents.CONSENT, path="/api/consent/receipt")
    assert not may(state, SCHOOL, consents.CONSENT, path="/api/consent/revocations")
    told = change(
        state, "revoke", SCHOOL, consents.CONSENT, "--endpoint", health, "--endpoint", "GET /api/openapi.json"
    )
    assert (told["revoked"], told["unchanged"]) == ([health], ["GET /api/openapi.json"])
    assert may(state, SCHOOL, consents.CONSENT, path="/api/consent/receipt")
    change(state, "revoke", SCHOOL, consents.CONSENT)
    assert not may(state, SCHOOL, consents.CONSENT, path="/api/consent/receipt")


REFUSED = (
    ("EE/COM/10000298/school", FIND.service, (), "central.subject", "new-server"),
    ("nobody", FIND.service, (), "central.subject", "group list"),
    ("security-server-owners", FIND.service, (), "central.subject", "group list"),
    ("EE/COM/10000201", FIND.service, (), "exchange.rights.subject", "four parts"),
    ("EE/COM/10000201/school/x", FIND.service, (), "exchange.rights.subject", "four parts"),
    ("XX/COM/10000201/school", ADDRESS.service, (), "central.instance", "not of EE"),
    (SCHOOL, "EE/GOV/70000103/population", (), "exchange.rights.service_form", "five parts"),
    (SCHOOL, f"{ADDRESS.service}/v1", (), "exchange.rights.service_form", "five parts"),
    (SCHOOL, "EE/GOV/70000103/population/listMethods", (), "exchange.rights.service", "get-address, get-person"),
    (SCHOOL, "EE/COM/10000299/library/loans", (), "exchange.rights.service", "their own security server"),
    (SCHOOL, ADDRESS.service, ("--endpoint", "GET /v1"), "exchange.rights.endpoint", '"POST /v1"'),
    (SCHOOL, ADDRESS.service, ("--endpoint", "* **"), "exchange.rights.endpoint_form", '"POST /v1"'),
    (SCHOOL, ADDRESS.service, ("--endpoint", "/v1"), "exchange.rights.endpoint_form", '"POST /v1"'),
    (SCHOOL, PERSON.service, (), "exchange.rights.closed", "rights --open"),
    (
        SCHOOL,
        consents.CONSENT,
        ("--endpoint", "POST /api/reporting/consent"),
        "exchange.rights.closed",
        "rights --open",
    ),
)


def test_what_cannot_be_granted_is_refused_with_what_to_do(state: StateFolder, room: CentralRoom) -> None:
    for subject, service, more, code, told in REFUSED:
        error = refusal(state, "grant", str(subject), str(service), *more)
        assert (error.code, told in error.detail) == (code, True), error.detail
    assert not (state.path / "exchange" / FILE_NAME).exists()
    assert journal(room) == []


def test_only_an_officer_who_may_gives_and_takes(state: StateFolder) -> None:
    asked = (str(SCHOOL), str(ADDRESS.service))
    others = (OBSERVER, SECURITY, ADMINISTRATOR, "60001029906")
    assert all(isinstance(refusal(state, "grant", *asked, officer=officer), Refused) for officer in others)
    change(state, "grant", SCHOOL, ADDRESS.service)
    assert all(isinstance(refusal(state, "revoke", *asked, officer=officer), Refused) for officer in others)
    assert may(state, SCHOOL, ADDRESS.service)


def test_what_was_not_given_cannot_be_revoked(state: StateFolder) -> None:
    error = refusal(state, "revoke", str(SCHOOL), str(ADDRESS.service))
    assert isinstance(error, NotFound) and "digiid exchange rights" in error.detail


def test_a_subject_that_left_keeps_no_right_that_cannot_be_taken(state: StateFolder, room: CentralRoom) -> None:
    change(state, "grant", "schools", ADDRESS.service)
    members.remove_group(room.deps, "schools", by=REGISTRAR)
    assert change(state, "revoke", "schools", ADDRESS.service)["revoked"] == ["POST /v1"]


def test_a_right_that_the_contracts_do_not_open_does_not_count_and_is_listed_as_such(state: StateFolder) -> None:
    change(state, "grant", SCHOOL, ADDRESS.service)
    file = state.path / "exchange" / FILE_NAME
    for service in (PERSON.service, ServiceId(POPULATION_REGISTER, "gone"), ServiceId(SCHOOL, "gone")):
        text = file.read_text().replace(str(ADDRESS.service), str(service))
        file.write_text(text)
        access_rights.put_in_force(state.path / "exchange")
        assert not may(state, SCHOOL, PERSON.service)
        [listed] = json.loads(run(state, "rights", "--json").stdout)
        assert (listed["origin"], listed["basis"]) == ("not_open", None)
        assert "does not count" in run(state, "rights").stdout
        file.write_text(text.replace(str(service), str(ADDRESS.service)))
    change(state, "revoke", SCHOOL, ADDRESS.service)


def right(**changes: str) -> str:
    """One right as the file has it, with changes; an empty one is left out."""
    values = {"client": str(SCHOOL), "service": str(ADDRESS.service), "method": "POST", "path": "/v1"}
    lines = [f'{name} = "{value}"' for name, value in ({**values, "granted_by": "TEST"} | changes).items() if value]
    return "\n".join(["[[rights]]", *lines, "granted_at = 2026-11-29T12:00:00Z", ""])


BROKEN = (
    "rights = 1",
    "version = 2",
    "\x00",
    right(global_group="all"),
    right(client=""),
    right(client="EE/COM/10000201"),
    right(service="EE/COM/10000201"),
    right(method="*"),
    right(path="/**"),
    right(path=""),
    right(granted_by=""),
    right(more="x"),
)


def test_a_file_that_cannot_be_read_changes_nothing_and_is_named(state: StateFolder) -> None:
    file = state.path / "exchange" / FILE_NAME
    for broken in BROKEN:
        file.write_text(broken)
        for verb in ("grant", "revoke"):
            error = refusal(state, verb, str(SCHOOL), str(ADDRESS.service))
            assert isinstance(error, Malformed) and str(file) in error.detail, broken
        assert file.read_text() == broken
        with pytest.raises(Malformed, match=FILE_NAME):
            access_rights.put_in_force(state.path / "exchange")
    file.write_text(right())
    access_rights.put_in_force(state.path / "exchange")
    assert may(state, SCHOOL, ADDRESS.service)


def test_a_state_that_was_never_started_has_no_services_yet(state: StateFolder) -> None:
    (state.path / "exchange" / "state" / OFFERED).unlink()
    error = refusal(state, "grant", str(SCHOOL), str(ADDRESS.service))
    assert error.code == "exchange.rights.no_state_yet" and "digiid up" in error.detail


def test_the_lists_tell_people_what_was_given_and_what_can_be(state: StateFolder) -> None:
    assert "rights --open" in run(state, "rights").stdout
    opened = run(state, "rights", "--open").stdout
    assert str(FIND.service) in opened and str(PERSON.service) not in opened and "consent of the person" in opened
    change(state, "grant", SCHOOL, ADDRESS.service)
    assert "consent of the person" in run(state, "rights").stdout
    everything = run(state, "rights", "--all").stdout
    assert f"{BANKING}: POST /v1 of {ADDRESS.service}" in everything and "by contract" in everything
