"""The room's two security servers as processes of their own, which can be killed, starved of disk, and started anew."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from digiid.exchange.message_log import LoggedMessage
from digiid.exchange.message_log.store import RECORDS, find_messages
from digiid.exchange.security_server.settings import SecurityServerSettings
from digiid.kernel.identifiers import ServerId
from digiid.platform.db import Database
from digiid.platform.ports import free_ports
from tests.support.exchange_room import ExchangeRoom, exchange_room, wait_until, write_toml
from tests.support.global_conf import PRIVATE, STATE

READY_SECONDS = 60


class Nursery:
    """See tests/support/server_nursery.py. `functions` are those that a trap may name."""

    def __init__(self, functions: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "tests.support.server_nursery", *functions]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, settings: Path, trap: Path | None = None) -> int:
        """The pid of a new security server."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{settings}{f' {trap}' if trap else ''}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


class ServerProcess:
    """What RunningServer is to a thread, this is to a process."""

    def __init__(self, settings: SecurityServerSettings, nursery: Nursery) -> None:
        self.settings, self._nursery = settings, nursery
        self.file = settings.folder / "server.toml"
        self.trap = settings.folder / "trap"
        self.process_log = settings.folder / "process.log"
        self.pid = 0

    def start(self) -> None:
        settings = self.settings
        settings.folder.mkdir(parents=True, exist_ok=True)
        write_toml(self.file, settings)
        self.pid = self._nursery.start(self.file, self.trap)
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_healthy():
            assert self.is_running(), self.process_log.read_text("utf-8")
            assert time.monotonic() < deadline, self.process_log.read_text("utf-8")
            time.sleep(0.02)

    def is_healthy(self) -> bool:
        try:
            return self._ask_health("/")[0] == 200
        except (OSError, HTTPException):
            return False

    def clocks(self) -> dict[str, str]:
        """The state of each clock."""
        told = json.loads(self._ask_health("/status")[1])
        return {each["name"]: each["state"] for each in told["clocks"]}

    def _ask_health(self, path: str) -> tuple[int, bytes]:
        with closing(HTTPConnection("127.0.0.1", self.settings.listeners.health_port, timeout=10)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def is_running(self) -> bool:
        return self.pid != 0 and Path(f"/proc/{self.pid}").exists()

    def set_trap(self, function: str, *, after: int = 0) -> None:
        """The process kills itself before it calls the function, `name` or `name<caller`, once more than `after`."""
        draft = self.trap.with_suffix(".draft")
        draft.write_text(f"{function}\n{after}\n", "utf-8")
        draft.rename(self.trap)

    def wait_for_end(self) -> None:
        wait_until(lambda: not self.is_running(), seconds=20)
        self.trap.unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait_for_end()

    def stop(self) -> None:
        if self.is_running():
            os.kill(self.pid, signal.SIGTERM)
            self.wait_for_end()

    def close(self) -> None:
        if self.is_running():
            self.kill()

    def reload(self) -> None:
        """Asks for it; when it is done is not told."""
        os.kill(self.pid, signal.SIGHUP)

    @contextmanager
    def full_disk(self, *, left: int = 0) -> Iterator[None]:
        """No file of the process may grow beyond `left` bytes: every write to a larger one fails."""
        before = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (left, before[1]))
        try:
            yield
        finally:
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, before)

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1])
        return pages * resource.getpagesize()

    def logged(self, message_id: str) -> list[LoggedMessage]:
        """What is on its disk, also while it is down."""
        database = Database(self.settings.database)
        try:
            with database.read() as tx:
                return find_messages(tx, message_id, party=None, is_response=None, limit=100)
        finally:
            database.close()

    def count_logged(self) -> int:
        database = Database(self.settings.database)
        try:
            with database.read() as tx:
                return int(tx.scalar(select(func.count()).select_from(RECORDS)) or 0)
        finally:
            database.close()

    def directions(self, message_id: str) -> list[str]:
        return [each.direction for each in self.logged(message_id)]


@contextmanager
def process_room(
    folder: Path,
    *,
    changes: Mapping[str, Mapping[str, object]] | None = None,
    functions: Sequence[str] = (),
    **options: Any,
) -> Iterator[ExchangeRoom]:
    """An exchange room whose servers are processes; `functions` are those that traps may name."""
    nursery = Nursery(functions)
    given = options.pop("prepare", None)

    def prepare(room: ExchangeRoom) -> None:
        for server, running in room.servers.items():
            listeners = running.settings.listeners.model_copy(update={"health_port": free_ports(1)[0]})
            log = running.settings.log.model_copy(update={"file": running.settings.folder / "process.log"})
            settings = running.settings.model_copy(update={"listeners": listeners, "log": log})
            room.servers[server] = ServerProcess(settings, nursery)  # type: ignore[assignment]
        if given is not None:
            given(room)

    try:
        with exchange_room(folder, changes=changes, prepare=prepare, **options) as room:
            yield room
    finally:
        nursery.close()


def process_of(room: ExchangeRoom, server: ServerId) -> ServerProcess:
    found = room.servers[server]
    assert isinstance(found, ServerProcess)
    return found


def both(room: ExchangeRoom) -> tuple[ServerProcess, ServerProcess]:
    """Who asks, and who answers."""
    return process_of(room, PRIVATE), process_of(room, STATE)
