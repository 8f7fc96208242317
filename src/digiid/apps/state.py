"""The folder of a running state: its settings, its secrets, where everything lies."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from digiid.exchange.central_server.settings import Limits as CentralLimits
from digiid.institutions.information_authority.signing_service.settings import Limits as SigningLimits
from digiid.institutions.information_authority.validation_service.settings import Settings as ValidationSettings
from digiid.kernel.errors import Conflict, Malformed
from digiid.platform.config import Settings, load_settings
from digiid.platform.entropy import Entropy, token_urlsafe
from digiid.platform.ports import free_ports, is_free

Port = Annotated[int, Field(ge=1024, le=65535)]
SITES = (
    "portal",
    "apply",
    "police",
    "bureau",
    "population",
    "business",
    "consent",
    "bank",
    "central",
    "exchange",
    "pay",
    "mail",
)


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

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        if url:
            from sqlalchemy import make_url
            from sqlalchemy.exc import ArgumentError

            try:
                make_url(url.replace("{institution}", "bank"))
            except (ValueError, ArgumentError) as error:
                raise ValueError("host and port of the databases cannot be read") from error
        return url


class ScreeningSettings(Settings):
    """Sanctions lists in the UN consolidated format. The TEST list of invented names ships with the program."""

    lists: tuple[Path, ...] = ()
    test_list: bool = True


class ServerPorts(Settings):
    """Of one security server on this machine: messages of other servers (OCSP responses 77 above), its information
    systems, health and status; and the gate behind it."""

    message: Annotated[int, Field(ge=1024, le=65535 - 77)]
    information_system: Port
    health: Port
    gate: Port


class StateSettings(Settings):
    """`state.toml`. The ports and `base_url` are fixed once certificates name them."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9 -]{1,60}$")] = "TEST digiid"
    port: Port = 8800
    agent_port: Port = 8802
    state_server: ServerPorts = ServerPorts(message=5500, information_system=8811, health=8812, gate=8801)
    private_server: ServerPorts = ServerPorts(message=5510, information_system=8813, health=8814, gate=8803)
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
    central: CentralLimits = CentralLimits()

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


OCSP_ABOVE_MESSAGES = 77


@dataclass(frozen=True, slots=True)
class StatePorts:
    """Every port of a new state."""

    programs: int
    agent: int
    tls: int
    state_server: ServerPorts
    private_server: ServerPorts

    @classmethod
    def from_first(cls, first: int = 8800) -> "StatePorts":
        """The usual ones, for the first port that a person names. X-Road's own ports where that is the usual one."""
        messages = 5500 if first == 8800 else first + 100
        return cls(
            first,
            first + 2,
            first + 43,
            ServerPorts(message=messages, information_system=first + 11, health=first + 12, gate=first + 1),
            ServerPorts(message=messages + 10, information_system=first + 13, health=first + 14, gate=first + 3),
        )

    @classmethod
    def free(cls) -> "StatePorts":
        """Any that nobody uses now."""
        programs, agent, tls, *others = free_ports(9)
        first, second = (_free_message_port({programs, agent, tls, *others}) for _ in range(2))
        return cls(
            programs,
            agent,
            tls,
            ServerPorts(message=first, information_system=others[0], health=others[1], gate=others[2]),
            ServerPorts(message=second, information_system=others[3], health=others[4], gate=others[5]),
        )


def _free_message_port(taken: set[int]) -> int:
    """A port with the one that belongs to it, both free; they are taken then."""
    while True:
        (port,) = free_ports(1)
        pair = {port, port + OCSP_ABOVE_MESSAGES}
        if not pair & taken and is_free(port + OCSP_ABOVE_MESSAGES):
            taken |= pair
            return port


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

    def create(self, ports: StatePorts, *, tls: bool = False, database_url: str = "") -> StateSettings:
        """Write the settings of a new state. Everything else is made when it first starts.

        Raises: Malformed `config.database_url`.
        """
        _check_database_url(database_url)
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = (
            "# The settings of this state; `digiid config check` explains every error.\n"
            "# Certificates name the ports: they stay what they are for this state's whole life.\n"
            'name = "TEST digiid"\n'
            f"port = {ports.programs}\nagent_port = {ports.agent}\n"
            f"tls = {str(tls).lower()}\ntls_port = {ports.tls}\n"
            f'base_url = "http://127.0.0.1:{ports.programs}"\n'
        )
        for name, server in (("state_server", ports.state_server), ("private_server", ports.private_server)):
            text += f"\n[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in server.model_dump().items())
        if database_url:
            text += f"\n[database]\nurl = {json.dumps(database_url)}\n"
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


def _check_database_url(url: str) -> None:
    try:
        DatabaseSettings(url=url)
    except ValidationError as error:
        raise Malformed(
            "config.database_url",
            "the address of the databases is postgresql+psycopg://USER@HOST/{institution}, where {institution} stands "
            "for the name of each; passwords belong into the role's ~/.pgpass",
        ) from error


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
