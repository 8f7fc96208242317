"""A whole e-state for tests: the composition root's own, on free ports, with the demonstration's people."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from digiid.apps.all_in_one import EState, build_state
from digiid.apps.demonstration import PIN1, PIN2, TestPerson, read_people
from digiid.apps.seed import seed
from digiid.apps.serving import ServerGroup
from digiid.apps.state import StateFolder, StatePorts
from digiid.apps.story import CardHolder
from digiid.apps.visitor import Visitor
from digiid.platform.clock import SystemClock
from digiid.platform.entropy import SystemEntropy


@dataclass(frozen=True)
class RunningEState:
    state: EState

    @property
    def origins(self) -> dict[str, str]:
        return dict(self.state.settings.origins)

    def person(self, role_begins: str) -> TestPerson:
        people = read_people(self.state.folder.path)
        return next(person for person in people if person.role.startswith(role_begins))

    def holder(self, role_begins: str) -> CardHolder:
        """The person with this role at a browser, the card at hand."""
        person = self.person(role_begins)
        return CardHolder(Visitor(), self.state.shelf.open(person.document_number), PIN1, PIN2)


@contextmanager
def running_estate(folder: Path, *, settings: str = "") -> Iterator[RunningEState]:
    """Build, serve and seed a state in `folder`; stop it at the end. One that is there starts as it is.

    `settings`: lines for the top of a new state's settings.
    """
    state_folder = StateFolder(folder)
    if not state_folder.exists:
        state_folder.create(StatePorts.free())
        written = state_folder.settings_file.read_text(encoding="utf-8")
        state_folder.settings_file.write_text(settings + written, encoding="utf-8")
    state = build_state(state_folder, clock=SystemClock(), entropy=SystemEntropy())
    servers = ServerGroup(state.listeners, before_stop=state.security_servers.stop)
    try:
        with servers.running():
            state.start()
            seed(state.seeder)
            state.ready.set()
            yield RunningEState(state)
    finally:
        state.close()
