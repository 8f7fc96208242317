"""The folder of a running state: its settings, its secrets, where everything lies."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from digiid.institutions.information_authority.signing_service.settings import Limits as SigningLimits
from digiid.institutions.information_authority.validation_service.settings import Settings as ValidationSettings
from digiid.kernel.errors import Conflict
from digiid.platform.config import Settings, load_settings
from digiid.platform.entropy import Entropy, token_urlsafe

Port = Annotated[int, Field(ge=1024, le=65535)]
SITES = ("portal", "apply", "police", "bureau", "population", "business", "consent", "bank", "central", "pay", "mail")


class MailSettings(Settings):
    """Where letters go: into the mailbox page's folder, or to an SMTP server."""

    transport: Literal["mailbox", "smtp"] = "mailbox"
    host: str = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    username: str = ""
    password_file: Path | None = None
    sender: str = "digiid <no-reply@digiid.example>"


class DatabaseSettings(Settings):
    """`{institution}` in the URL is replaced by its name. Empty means SQLite in the state's folder."""

    url: Annotated[str, Field(pattern=r"^$|^postgresql\+psycopg://.*\{institution\}.*$")] = ""


class ScreeningSettings(Settings):
    """Sanctions lists in the UN consolidated format. The TEST list of invented names ships with the program."""

    lists: tuple[Path, ...] = ()
    test_list: bool = True


class StateSettings(Settings):
    """`state.toml`. The ports and `base_url` are fixed once certificates name them."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9 -]{1,60}$")] = "TEST digiid"
    port: Port = 8800
    exchange_port: Port = 8801
    agent_port: Port = 8802
    tls: bool = False
    tls_port: Port = 8843
    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/[^\s]*[^/])?$")] = "http://127.0.0.1:8800"
    demonstration: bool = True
    mail: MailSettings = MailSettings()
    database: DatabaseSettings = DatabaseSettings()
    screening: ScreeningSettings = ScreeningSettings()
    consent_declarations: tuple[Path, ...] = ()
    validation: ValidationSettings = ValidationSettings()
    signing: SigningLimits = SigningLimits()

    def origin(self, site: str) -> str:
        """The origin of a site as browsers see it."""
        if self.tls:
            return f"https://{site}.localhost:{self.tls_port}"
        return f"http://{site}.localhost:{self.port}"

    @property
    def origins(self) -> Mapping[str, str]:
        origins = {site: self.origin(site) for site in SITES}
        origins["agent"] = f"http://127.0.0.1:{self.agent_port}"
        origins["programs"] = self.base_url
        return origins


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths inside one state's folder."""

    path: Path

    @property
    def settings_file(self) -> Path:
        return self.path / "state.toml"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    @property
    def log_file(self) -> Path:
        return self.path / "log" / "digiid.log"

    @property
    def pid_file(self) -> Path:
        return self.path / "digiid.pid"

    @property
    def cards(self) -> Path:
        return self.path / "cards"

    @property
    def exists(self) -> bool:
        return self.settings_file.exists()

    def load(self) -> StateSettings:
        """Read the settings. Raises: Malformed `config.…`."""
        return load_settings(self.settings_file, StateSettings)

    def create(self, *, port: int, exchange_port: int, agent_port: int, tls: bool, tls_port: int) -> StateSettings:
        """Write the settings of a new state. Everything else is made when it first starts."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = (
            "# The settings of this state; `digiid config check` explains every error.\n"
            "# Certificates name the ports: they stay what they are for this state's whole life.\n"
            'name = "TEST digiid"\n'
            f"port = {port}\nexchange_port = {exchange_port}\nagent_port = {agent_port}\n"
            f"tls = {str(tls).lower()}\ntls_port = {tls_port}\n"
            f'base_url = "http://127.0.0.1:{port}"\n'
        )
        write_new(self.settings_file, text.encode(), 0o644)
        return self.load()

    def secret(self, name: str, entropy: Entropy) -> str:
        """A secret of this state, made at the first asking and kept in a file of mode 0600."""
        self.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.secrets / name
        if not file.exists():
            write_new(file, token_urlsafe(entropy, 32).encode(), 0o600)
        return file.read_text(encoding="ascii")

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Hold the state for this process. Raises: Conflict `state.in_use` when another one serves it."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.path / "state.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Conflict("state.in_use", f"another process serves {self.path}") from error
            yield


def write_new(file: Path, content: bytes, mode: int) -> None:
    """Write a file that is whole or not there at all, also after a power cut."""
    part = file.with_name(file.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
