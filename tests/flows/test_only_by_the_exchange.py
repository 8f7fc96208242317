"""No institution has another way to another one: the sockets of a whole running state, read from the system."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from digiid.apps import story
from digiid.apps.seed import E_RESIDENT_ROLE
from tests.support.estate import RunningEState, running_estate

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are read from /proc")
_ESTABLISHED, _LISTENING = "01", "0A"


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEState]:
    with running_estate(tmp_path_factory.mktemp("sockets") / "state") as running:
        yield running


@dataclass(frozen=True)
class Socket:
    local: int
    remote: int
    state: str
    inode: str


def sockets() -> list[Socket]:
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = [int(fields[at].rsplit(":", 1)[1], 16) for at in (1, 2)]
        found.append(Socket(*ports, fields[3], fields[9]))
    return found


def inodes_of(process: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


class Watch:
    """Every connection that was there at some moment: (who opened it, to which port)."""

    def __init__(self, estate: RunningEState) -> None:
        children = estate.state.security_servers.process_ids
        self._owners = {"state": os.getpid(), **{str(server): pid for server, pid in children.items()}}
        self.seen: set[tuple[str, int]] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            self.look()

    def look(self) -> None:
        own = {name: inodes_of(pid) for name, pid in self._owners.items()}
        table = sockets()
        listening = {each.local for each in table if each.state == _LISTENING}
        for each in table:
            if each.state == _ESTABLISHED and each.local not in listening:  # the side that opened it
                self.seen |= {(name, each.remote) for name, inodes in own.items() if each.inode in inodes}

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def test_institutions_reach_one_another_through_the_security_servers_alone(estate: RunningEState) -> None:
    settings = estate.state.settings
    servers = (settings.state_server, settings.private_server)
    gates = {server.gate for server in servers}
    messages = {server.message for server in servers}
    inside = {server.information_system for server in servers}
    # people at the portal and the bank make every institution be asked, some by others
    with Watch(estate) as watch, ThreadPoolExecutor(4) as people:
        holder = estate.holder(E_RESIDENT_ROLE)
        for site in ("portal", "bank"):
            story.sign_in(holder, estate.origins[site])
        list(people.map(holder.visitor.open, [f"{estate.origins['portal']}/who-looked"] * 4))
        holder.visitor.submit(holder.visitor.open(f"{estate.origins['bank']}/address"), action="/address")
        watch.look()
    # 1 nobody but a security server opens a connection to a gate
    assert {who for who, port in watch.seen if port in gates} == {
        str(server) for server in estate.state.security_servers.process_ids
    }
    # 2 messages travel between servers, never from an institution
    assert {who for who, port in watch.seen if port in messages} <= {
        str(server) for server in estate.state.security_servers.process_ids
    }
    # 3 institutions open connections to their own server, and otherwise to what is everybody's: OCSP, time stamps, the
    #   trusted list and pages at the programs' port (where this test's own browsers go too), and the servers' health
    allowed = inside | {settings.port} | {server.health for server in servers}
    assert {port for who, port in watch.seen if who == "state"} <= allowed
    assert inside <= {port for who, port in watch.seen if who == "state"}
