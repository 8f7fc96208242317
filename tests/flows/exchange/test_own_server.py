"""A security server of one's own beside a state, by the commands of docs/how-to/join-the-exchange.md, word by word."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from digiid.apps.exchange_registry_cli import opened_central
from digiid.exchange.central_server.use_cases import members
from digiid.kernel.identifiers import parse_server_id
from digiid.platform.ports import free_ports
from tests.support.estate import RunningEState, running_estate

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "join-the-exchange.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEState]:
    with running_estate(tmp_path_factory.mktemp("own-server") / "state") as running:
        yield running


def commands() -> list[str]:
    """Those of the page below "Try it": register, serve and provide, ask, ask the state."""
    return re.findall(r"```sh\n(.*?)```", PAGE.split("## Try it\n", 1)[1].split("\n## ", 1)[0], re.DOTALL)


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


def test_a_program_joins_the_exchange_by_the_commands_of_the_page(estate: RunningEState, tmp_path: Path) -> None:
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
        # 6 archived at once, as soon as all have time stamps
        archived = _until_answered(tmp_path, "digiid exchange archive servers/own/server.toml")
        assert archived.returncode == 0, archived.stdout + archived.stderr
    key = "--key message-log-archives:servers/own/message-log-archives"
    judged = run(tmp_path, f"digiid exchange verify servers/own/archives --conf servers/own/global-conf {key}")
    assert judged.returncode == 0 and "EE_COM_10000298" in judged.stdout, judged.stdout


def test_what_cannot_be_registered_is_said(estate: RunningEState, tmp_path: Path) -> None:
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
    estate: RunningEState, tmp_path: Path
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
