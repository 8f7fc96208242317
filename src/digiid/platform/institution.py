"""What a composition root hands to an institution, and what it gets back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy
from digiid.platform.http import HttpClient
from digiid.platform.outbox import Worker
from digiid.platform.pools import Pools
from digiid.platform.timers import Timer

if TYPE_CHECKING:
    from litestar.types import ASGIApp

ServiceT_co = TypeVar("ServiceT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine and the state around an institution. The exchange client is handed in beside it.

    `origins` maps a site's name to its origin (`"portal"` → `http://portal.localhost:8800`), and
    `"agent"` and `"programs"` to the card agent's and the programs' addresses.
    """

    clock: Clock
    entropy: Entropy
    pools: Pools
    http: HttpClient
    state_folder: Path
    origins: Mapping[str, str]

    @property
    def database_folder(self) -> Path:
        return self.state_folder / "db"

    def open_database(self, name: str, url: str, package: str) -> Database:
        """The database at `url`, or in a file of this name when that is empty; with the newest schema of `package`."""
        db = Database(url) if url else Database.sqlite(self.database_folder / f"{name}.sqlite")
        db.migrate(package)
        return db


@dataclass(frozen=True)
class Running(Generic[ServiceT_co]):
    """A built institution: what to serve, what to run beside it, how to ask after its health, how to stop it."""

    name: str
    sites: "Mapping[str, ASGIApp]"
    services: Sequence[ServiceT_co]
    workers: Sequence[Worker]
    timers: Sequence[Timer]
    health: Callable[[], Mapping[str, Any]]
    close: Callable[[], None]
