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

from digiid.platform.ports import free_ports
from tests.support.estate import RunningEState, running_estate

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "join-the-exchange.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEState]:
    with running_estate(tmp_path_factory.mktemp("own-server") / "state") as running:
        yield running


def commands() -> list[str]:
    """Those of the page below "Try it": register, serve and provide, ask."""
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
    register, beside, ask = commands()
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


def _until_answered(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """The programs need a moment to come up, and the server its first global configuration."""
    deadline = time.monotonic() + 90
    while True:
        said = run(folder, command)
        if said.returncode == 0 or time.monotonic() > deadline:
            return said
        time.sleep(1)
