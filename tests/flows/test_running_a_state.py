"""`digiid up`, `down`, `status`, `backup`, `restore` as an operator runs them, each in a process of its own."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from digiid.apps.demonstration import read_people
from digiid.apps.state import OCSP_ABOVE_MESSAGES, StateFolder, StatePorts
from digiid.institutions.information_authority.signing_service.clients import ClientCredentials, sign_request
from digiid.platform.ports import free_ports, is_free
from tests.support.pdf import plain_pdf


def digiid(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "digiid.apps.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateFolder]:
    """A state that has been up once, and is up when a test begins."""
    folder = StateFolder(tmp_path_factory.mktemp("operator") / "state")
    up = digiid("up", "--state", str(folder.path), "--port", str(usual_free_ports()))
    assert up.returncode == 0, up.stderr
    assert "NS0000001" in up.stdout
    yield folder
    digiid("down", "--state", str(folder.path))


def usual_free_ports() -> int:
    """A first port whose followers, as `up --port` takes them, are free too."""
    for _ in range(200):
        first = free_ports(1)[0]
        ports = StatePorts.from_first(first)
        servers = [ports.state_server.model_dump().values(), ports.private_server.model_dump().values()]
        taken = [ports.programs, ports.agent, ports.tls, *servers[0], *servers[1]]
        taken += [each.message + OCSP_ABOVE_MESSAGES for each in (ports.state_server, ports.private_server)]
        if len(set(taken)) == len(taken) and all(map(is_free, taken)):
            return first
    raise RuntimeError("no free ports")


def ensure_up(state: StateFolder) -> None:
    up = digiid("up", "--state", str(state.path))
    assert up.returncode == 0, up.stderr


def test_a_second_up_says_that_it_runs_already(state: StateFolder) -> None:
    again = digiid("up", "--state", str(state.path))
    assert again.returncode == 0
    assert "already running" in again.stdout


def test_status_tells_each_institution(state: StateFolder) -> None:
    ensure_up(state)
    answer = digiid("status", "--json", "--state", str(state.path))
    told = json.loads(answer.stdout)
    assert answer.returncode == 0
    assert told["running"]
    assert {"trust_services", "police_board", "card_bureau", "population_register", "bank"} <= set(told["institutions"])
    assert all(entry["status"] == "ok" for entry in told["institutions"].values())
    assert {entry["status"] for entry in told["security_servers"].values()} == {"ok"}


def test_status_tells_a_security_server_that_stands_still(state: StateFolder) -> None:
    ensure_up(state)
    process = process_of(state.path / "exchange" / "private")
    os.kill(process, signal.SIGSTOP)
    try:
        answer = digiid("status", "--json", "--state", str(state.path))
    finally:
        os.kill(process, signal.SIGCONT)
    told = json.loads(answer.stdout)
    assert answer.returncode == 1
    assert [name for name, entry in told["security_servers"].items() if entry["status"] != "ok"] == [
        "security server (private)"
    ]
    assert all(entry["status"] == "ok" for entry in told["institutions"].values())


def process_of(folder: Path) -> int:
    """The security server whose settings lie there, by command line."""
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes() if process.name.isdigit() else b""
            if b"digiid.apps.security_server" in command and str(folder).encode() in command:
                return int(process.name)
    raise AssertionError(f"no security server runs with {folder}")


def test_the_journals_are_sealed_and_verified_also_against_a_copy_of_their_checkpoints(
    state: StateFolder, tmp_path: Path
) -> None:
    own = ("--state", str(state.path))
    deadline = time.monotonic() + 60
    while True:
        told = json.loads(digiid("journal", "verify", "--json", *own).stdout)
        assert all(each["valid"] for each in told.values()), told
        if told["trust_ca"]["sealed_entries"] and told["central_server"]["sealed_entries"]:
            break
        assert time.monotonic() < deadline, told
        time.sleep(1)
    copy = tmp_path / "copy.jsonl"
    assert digiid("journal", "export", str(copy), *own).returncode == 0
    with_copy = ("journal", "verify", "trust_ca", "--checkpoints", str(copy), *own)
    assert digiid(*with_copy).returncode == 0
    # a checkpoint that somebody takes away shows in the copy, and what is no copy is said
    line = json.loads(next(each for each in copy.read_text().splitlines() if '"trust_ca"' in each))
    copy.write_text(json.dumps(line | {"number": line["number"] + 1}))
    gone = digiid(*with_copy, "--json")
    assert (gone.returncode, json.loads(gone.stdout)["trust_ca"]["code"]) == (1, "journal.checkpoints")
    copy.write_text("{}")
    assert digiid(*with_copy).returncode == 2
    assert digiid("journal", "verify", "nobody", *own).returncode == 2


def test_a_port_of_another_program_is_named_with_its_owner(state: StateFolder, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = digiid("up", "--state", str(tmp_path / "x"), "--port", str(port))
    assert refused.returncode == 1
    told = " ".join(refused.stderr.split())
    assert f"port {port} is held by" in told
    assert str(os.getpid()) in told
    assert "--port" in told
    assert not StateFolder(tmp_path / "x").exists  # or the next `up --port` would keep to the port that is taken


def test_secrets_and_databases_are_private(state: StateFolder) -> None:
    for folder in ("secrets", "db", "cards", "hierarchy"):
        files = [file for file in (state.path / folder).rglob("*") if file.is_file() and file.suffix != ".crt"]
        assert files, folder
        assert [f for f in files if f.stat().st_mode & 0o077 and f.suffix in (".key", ".sqlite", ".chip", "")] == []


def test_no_pin_and_no_whole_personal_code_is_in_the_log(state: StateFolder) -> None:
    log = state.log_file.read_text(encoding="utf-8")
    for person in read_people(state.path):
        assert person.personal_code not in log


def test_a_seal_is_issued_beside_a_running_state_and_revoked_for_good(state: StateFolder, tmp_path: Path) -> None:
    ensure_up(state)
    own, folder = ("--state", str(state.path)), tmp_path / "seals"
    folder.mkdir()
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(plain_pdf())
    issue = ("seal", "issue", "TEST Pagariäri OÜ", "--registry-code", "12345678", "-d", str(folder), "--json", *own)
    issued = json.loads(digiid(*issue).stdout)
    assert issued["number"] == "SEAL-12345678"
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o600"}
    assert json.loads(digiid(*issue).stdout) == issued  # the same order gives the same certificate
    key = ("--p12", issued["file"], "--password-file", issued["passwordFile"], *own)
    signed = tmp_path / "sealed.pdf"
    assert digiid("sign", "--pdf", str(paper), "-o", str(signed), *key).returncode == 0
    report = json.loads(digiid("verify", "--json", str(signed), *own).stdout)
    assert report["signatures"][0]["signatureLevel"] == "ADESEAL_QC"

    revoke = ("seal", "revoke", "SEAL-12345678", "--reason", "superseded", *own)
    assert digiid(*revoke).returncode == 0
    assert digiid(*revoke).returncode == 0  # again is the same
    after = digiid("sign", "--json", "--pdf", str(paper), "-o", str(tmp_path / "later.pdf"), *key)
    assert after.returncode == 1
    assert json.loads(after.stdout)["error"]["code"] == "documents.certificate.revoked"
    assert digiid("verify", str(signed), *own).returncode == 0  # what was sealed before stays valid
    unknown = digiid("seal", "revoke", "SEAL-0", "--reason", "superseded", *own)
    assert (unknown.returncode, "trust.document" in unknown.stderr) == (2, True)
    assert digiid("seal", "revoke", "SEAL-12345678", "--reason", "because", *own).returncode == 2


def test_a_key_that_stays_where_it_is_is_certified_for_a_request(state: StateFolder, tmp_path: Path) -> None:
    ensure_up(state)
    own, key = ("--state", str(state.path)), ec.generate_private_key(ec.SECP384R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA384())
    requests = {tmp_path / "pem.csr": Encoding.PEM, tmp_path / "der.csr": Encoding.DER}
    for file, encoding in requests.items():
        file.write_bytes(request.public_bytes(encoding))
    order = ("seal", "issue", "TEST Token OÜ", "--registry-code", "87654321", "-d", str(tmp_path), "--on-device", *own)
    for file in requests:  # the same order gives the same certificate
        issued = json.loads(digiid(*order, "--request", str(file), "--json").stdout)
    file = tmp_path / "SEAL-87654321.crt"
    assert (issued["file"], issued["passwordFile"]) == (str(file), None)
    assert not (tmp_path / "SEAL-87654321.p12").exists(), "no key of ours"
    p12, paper = tmp_path / "mine.p12", tmp_path / "paper.txt"
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    p12.write_bytes(serialize_key_and_certificates(b"", key, certificate, None, BestAvailableEncryption(b"a password")))
    (tmp_path / "password").write_text("a password")
    paper.write_text("Leping.")
    digiid("sign", str(paper), "--p12", str(p12), "--password-file", str(tmp_path / "password"), *own)
    report = json.loads(digiid("verify", "--json", str(tmp_path / "paper.asice"), *own).stdout)
    assert report["signatures"][0]["signatureLevel"] == "QESEAL"
    (tmp_path / "junk.csr").write_text("junk")
    assert digiid(*order, "--request", str(tmp_path / "junk.csr")).returncode == 2
    assert digiid(*order).returncode == 2, "a device is claimed only for a request"


def test_a_client_of_the_signing_service_is_added_renewed_and_closed(state: StateFolder, tmp_path: Path) -> None:
    ensure_up(state)
    own, first, second = ("--state", str(state.path)), tmp_path / "first.json", tmp_path / "second.json"

    def call(file: Path) -> int:
        told = json.loads(file.read_text())
        credentials = ClientCredentials(told["serviceUuid"], "", told["signingSecret"])
        path, at = "/signing/containers/none", datetime.now(UTC)
        headers = sign_request(credentials, method="GET", path=path, body=b"", at=at)
        return httpx.get(f"http://127.0.0.1:{state.load().port}{path}", headers=headers).status_code

    added = digiid("signing-client", "add", "TEST pood", "-o", str(first), *own)
    secret = json.loads(first.read_text())["signingSecret"]
    assert secret not in added.stdout + added.stderr
    assert first.stat().st_mode & 0o777 == 0o600
    assert call(first) == 404  # known, and there is no such container
    listed = json.loads(digiid("signing-client", "list", "--json", *own).stdout)
    (client,) = (one for one in listed if one["name"] == "TEST pood")
    assert client["closedAt"] is None

    assert (
        digiid("signing-client", "add", "TEST pood", "-o", str(first), *own).returncode == 2
    )  # nothing is overwritten
    assert digiid("signing-client", "renew", client["serviceUuid"], "-o", str(second), *own).returncode == 0
    assert (call(first), call(second)) == (401, 404)
    assert digiid("signing-client", "close", client["serviceUuid"], *own).returncode == 0
    assert call(second) == 401
    assert digiid("signing-client", "close", client["serviceUuid"], *own).returncode == 2
    assert "TEST pood" in digiid("signing-client", "list", *own).stdout


def test_a_backup_made_while_it_runs_restores_to_the_same_state(state: StateFolder, tmp_path: Path) -> None:
    ensure_up(state)
    file = tmp_path / "state.tar.gz"
    made = digiid("backup", str(file), "--state", str(state.path))
    assert made.returncode == 0, made.stderr
    assert file.stat().st_mode & 0o077 == 0
    assert digiid("backup", str(file), "--state", str(state.path)).returncode == 1, "it overwrites nothing"
    digiid("down", "--state", str(state.path))
    elsewhere = StateFolder(tmp_path / "restored")
    assert digiid("restore", str(file), "--state", str(elsewhere.path)).returncode == 0
    assert digiid("restore", str(file), "--state", str(elsewhere.path)).returncode == 1, "it restores over nothing"
    up = digiid("up", "--state", str(elsewhere.path))
    try:
        assert up.returncode == 0, up.stderr
        assert read_people(elsewhere.path) == read_people(state.path)
        text = tmp_path / "a.txt"
        text.write_text("after the restore\n")
        signed = digiid("sign", str(text), "-o", str(tmp_path / "a.asice"), "--card", "NS0000001", "--pin2", "12345",
                        "--state", str(elsewhere.path))  # fmt: skip
        assert signed.returncode == 0, signed.stderr
    finally:
        digiid("down", "--state", str(elsewhere.path))


def test_tm07_no_secret_of_a_state_is_in_a_log_an_argument_or_open_in_a_backup(
    state: StateFolder, tmp_path: Path
) -> None:
    ensure_up(state)
    places = [*(state.path / "secrets").rglob("*"), *state.path.rglob("*passphrase*")]
    secrets = {file: file.read_bytes().strip() for file in places if file.is_file()}
    assert len(secrets) > 5 and min(map(len, secrets.values())) >= 16
    # 1 what its processes were started with, and what they wrote
    shown = {file: file.read_bytes() for file in (state.path / "log").rglob("*") if file.is_file()}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(state.path).encode() in (arguments := (process / "cmdline").read_bytes()):
                shown |= {process / "cmdline": arguments, process / "environ": (process / "environ").read_bytes()}
        except OSError:
            continue
    assert sum(path.name == "cmdline" for path in shown) >= 3  # the state and two security servers
    for place, data in shown.items():
        assert b"PRIVATE KEY" not in data, place
        assert [file for file, secret in secrets.items() if secret in data] == [], place
    # 2 its backup, which is as secret as the state: nobody else may read it, and keys in it are encrypted still
    backup = tmp_path / "state.tar.gz"
    assert digiid("backup", str(backup), "--state", str(state.path)).returncode == 0
    assert backup.stat().st_mode & 0o077 == 0
    with tarfile.open(backup) as archive:
        keys = 0
        for member in archive:
            if (content := archive.extractfile(member)) and b"PRIVATE KEY" in (data := content.read()):
                keys += 1
                assert data.count(b"BEGIN ENCRYPTED PRIVATE KEY") == data.count(b"PRIVATE KEY") / 2, member.name
    assert keys > 5


@pytest.mark.parametrize("damage", [b"", b"not a backup", b"\x1f\x8b\x08\x00 cut"])
def test_something_else_than_a_backup_is_refused(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "x.tar.gz"
    file.write_bytes(damage)
    assert digiid("restore", str(file), "--state", str(tmp_path / "s")).returncode == 2


def test_a_killed_process_comes_back_with_everything(state: StateFolder) -> None:
    ensure_up(state)
    people = read_people(state.path)
    os.kill(int(state.pid_file.read_text()), signal.SIGKILL)
    ensure_up(state)
    assert read_people(state.path) == people
    for file in (state.path / "db").glob("*.sqlite"):
        assert sqlite3.connect(file).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_state_killed_while_its_first_people_are_made_goes_on_without_doubles(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.create(StatePorts.free())
    moments = (
        lambda: len(read_people(folder.path)) >= 1,
        lambda: len(read_people(folder.path)) >= 5,
        lambda: count(folder, "police_board", "SELECT count(*) FROM application_steps s JOIN applications a "
                      "USING (application_id) WHERE a.kind <> 'citizen'") >= 3,
        lambda: count(folder, "card_bureau", "SELECT count(*) FROM orders WHERE state = 'handed_out'") == 6,
    )  # fmt: skip
    for is_reached in moments:
        process = subprocess.Popen([sys.executable, "-m", "digiid.apps.all_in_one", str(folder.path)])
        deadline = time.monotonic() + 120
        while not is_reached() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        process.wait()
        assert is_reached()
    try:
        up = digiid("up", "--state", str(folder.path))
        assert up.returncode == 0, up.stderr
        people = read_people(folder.path)
        assert len({person.role for person in people}) == len(people) == 6
        assert len({person.personal_code for person in people}) == 6
        with sqlite3.connect(folder.path / "db" / "population_register.sqlite") as db:
            assert db.execute("SELECT count(*) FROM persons").fetchone() == (7,)  # and the citizen's child
    finally:
        digiid("down", "--state", str(folder.path))


def count(folder: StateFolder, institution: str, query: str) -> int:
    file = folder.path / "db" / f"{institution}.sqlite"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return int(db.execute(query).fetchone()[0])


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    file = tmp_path / "state.toml"
    file.write_text("prot = 8800\n")
    checked = digiid("config", "check", str(file))
    assert checked.returncode == 2
    assert "prot" in checked.stderr


def test_a_state_that_cannot_start_says_why_in_words(state: StateFolder) -> None:
    digiid("down", "--state", str(state.path))
    settings = state.settings_file.read_text()
    missing = state.path / "declarations.toml"
    try:
        state.settings_file.write_text(f'consent_declarations = ["{missing}"]\n{settings}')
        refused = digiid("up", "--state", str(state.path))
    finally:
        state.settings_file.write_text(settings)
    assert refused.returncode == 1
    said = refused.stderr.replace("\n", "")
    assert "the state ended at its start" in said and "Traceback" not in said and " line " not in said
    assert f"consent.declaration: {missing}: No such file or directory" in said
    ensure_up(state)
