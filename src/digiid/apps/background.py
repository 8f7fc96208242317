"""`digiid up`, `down`, `status`: the e-state as a process in the background, told apart from others by its lock."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from digiid.apps.state import OCSP_ABOVE_MESSAGES, StateFolder, StateSettings
from digiid.kernel.errors import Conflict, Unavailable
from digiid.platform.http import HttpClient

READY_TIMEOUT_SECONDS = 90.0
STOP_TIMEOUT_SECONDS = 20.0
# Of platform/checkpoints, apps/seals and central_server/renewing: somebody has to act, and the parts themselves work.
_TOLD_ONLY = frozenset({"journal.not_sealed", "seal.not_renewed", "central.not_renewed"})


@dataclass(frozen=True, slots=True)
class PortOwner:
    """Which program holds a port, as far as this machine lets us see."""

    port: int
    program: str


def is_serving(folder: StateFolder) -> bool:
    """True while a process holds the state's lock; a stale pid file does not count."""
    lock = folder.path / "state.lock"
    if not lock.exists():
        return False
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(file, fcntl.LOCK_UN)
    return False


def is_ready(settings: StateSettings) -> bool:
    """True when the state has begun and every part of it answers. A journal that is not sealed, as when somebody
    changed it, or a seal or a certificate that comes to its end is told by `digiid status` and keeps no state from
    starting.
    """
    http = HttpClient(timeout_seconds=2)
    try:
        told = json.loads(http.request("GET", f"http://127.0.0.1:{settings.port}/health").body)
        parts = told["institutions"].values()
        return told["ready"] is True and all(each["status"] == "ok" or each["code"] in _TOLD_ONLY for each in parts)
    except (Unavailable, ValueError, KeyError, TypeError, AttributeError):  # another program may answer there
        return False
    finally:
        http.close()


def find_port_owner(port: int) -> PortOwner | None:
    """Who listens on a loopback port, or None when it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return PortOwner(port, _listening_program(port) or "another program")
    return None


def start(folder: StateFolder, settings: StateSettings) -> None:
    """Start the state in the background and wait until it is ready.

    Raises:
        Conflict: `state.port_taken`, naming the port and its owner.
        Unavailable: `state.not_ready`, with the end of the log.
    """
    ports = [settings.port, settings.agent_port] + [settings.tls_port] * settings.tls
    for server in (settings.state_server, settings.private_server):
        ports += [server.message, server.message + OCSP_ABOVE_MESSAGES]
        ports += [server.information_system, server.health, server.gate]
    for port in ports:
        if owner := find_port_owner(port):
            raise Conflict(
                "state.port_taken",
                f"port {port} is held by {owner.program}; stop that program, "
                "or start a new state with --port (and --state, if this one has been up before)",
            )
    folder.log_file.parent.mkdir(parents=True, exist_ok=True)
    with folder.log_file.open("ab") as log:
        begins_at = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(  # noqa: S603  our own interpreter and module
            [sys.executable, "-m", "digiid.apps.all_in_one", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Unavailable(
                "state.not_ready",
                f"the state ended at its start; {folder.log_file} says:\n{_tail(folder.log_file, begins_at)}",
            )
        if is_ready(settings):
            return
        time.sleep(0.1)
    process.terminate()
    raise Unavailable("state.not_ready", f"not ready in {READY_TIMEOUT_SECONDS:.0f} s; see {folder.log_file}")


def stop(folder: StateFolder) -> bool:
    """Stop the state and wait until it has let go of its lock. Returns False when it did not run."""
    if not is_serving(folder):
        folder.pid_file.unlink(missing_ok=True)
        return False
    pid = int(folder.pid_file.read_text(encoding="ascii"))
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while is_serving(folder):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        time.sleep(0.05)
    folder.pid_file.unlink(missing_ok=True)
    return True


def forget(folder: StateFolder) -> None:
    """Remove a stopped state. Only a folder that is a state is removed."""
    if folder.exists:
        shutil.rmtree(folder.path)


def _listening_program(port: int) -> str | None:
    """Find the listener in /proc: its socket's inode, then the process that has it open."""
    inode = None
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inode = fields[9]
    if inode is None:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if any(str(fd.readlink()) == f"socket:[{inode}]" for fd in (process / "fd").iterdir()):
                name = (process / "comm").read_text(encoding="utf-8").strip()
                return f"{name} (process {process.name})"
        except OSError:
            continue
    return None


def _tail(file: Path, begins_at: int, lines: int = 15) -> str:
    """The end of what was written since the file was `begins_at` bytes long."""
    try:
        with file.open("rb") as stream:
            stream.seek(begins_at)
            return "\n".join(stream.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ""
