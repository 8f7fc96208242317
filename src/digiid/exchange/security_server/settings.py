"""The configuration of one security server: one TOML file, checked by `digiid config check`."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from digiid.exchange.message_log import MessageLogSettings
from digiid.exchange.security_server.connections import Timeouts
from digiid.exchange.security_server.monitoring import MonitoringSettings
from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import MemberId, ServerId, parse_member_id, parse_server_id
from digiid.platform.config import Settings, load_settings

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]

OCSP_PORT_OFFSET = 77  # 5577 is 5500 + 77; servers that share a machine keep that distance


class KeySettings(Settings):
    """A key with its certificate. `key`: an encrypted PEM file, or a PKCS#11 URI (signing keys only)."""

    key: str
    passphrase_file: Path | None = None
    certificate: Path


class SigningSettings(KeySettings):
    """What one member signs its messages with; all its subsystems share it."""

    member: str

    @field_validator("member")
    @classmethod
    def _member(cls, value: str) -> str:
        return _checked(value, parse_member_id)

    @property
    def member_id(self) -> MemberId:
        return parse_member_id(self.member)


class AuthenticationSettings(KeySettings):
    """What the server proves itself with to other servers. TLS wants a file: X-Road's own model says the same."""

    @field_validator("key")
    @classmethod
    def _file(cls, value: str) -> str:
        if value.startswith("pkcs11:"):
            raise ValueError("an authentication key is a file")
        return value


class ListenerSettings(Settings):
    """Where the server listens. A port that is 0 is not opened."""

    host: str = "0.0.0.0"  # noqa: S104 - other members come from outside
    message_port: Port = 5500
    information_system_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535)] = 0
    https_port: Annotated[int, Field(ge=0, le=65535)] = 8443
    health_port: Annotated[int, Field(ge=0, le=65535)] = 0
    names: tuple[str, ...] = ("localhost", "127.0.0.1")  # of the certificate for information systems

    @property
    def ocsp_port(self) -> int:
        return self.message_port + OCSP_PORT_OFFSET


class LimitSettings(Settings):
    """What strangers and members may cost. Bytes and counts."""

    max_body_bytes: Annotated[int, Field(ge=1024, le=2**40)] = 128 * 1024**2
    memory_body_bytes: Annotated[int, Field(ge=1024, le=16 * 1024**2)] = 256 * 1024
    max_spooled_bytes: Annotated[int, Field(ge=1024)] = 4 * 1024**3
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1024
    max_connections_of_server: Annotated[int, Field(ge=1, le=100_000)] = 256
    max_messages: Annotated[int, Field(ge=1, le=10_000)] = 256
    max_messages_of_member: Annotated[int, Field(ge=1, le=10_000)] = 128
    max_waiting: Annotated[int, Field(ge=0, le=100_000)] = 1024
    max_idle_connections: Annotated[int, Field(ge=0, le=10_000)] = 64

    @model_validator(mode="after")
    def _no_member_takes_all(self) -> Self:
        if self.max_messages > 1 and self.max_messages_of_member >= self.max_messages:
            raise ValueError("max_messages_of_member is below max_messages, or one member could take all places")
        if self.max_connections > 1 and self.max_connections_of_server >= self.max_connections:
            raise ValueError("max_connections_of_server is below max_connections, or one server could take them all")
        return self


class TimeoutSettings(Settings):
    """How long each stage may take."""

    handshake_seconds: Seconds = 10.0
    idle_seconds: Seconds = 60.0
    head_seconds: Seconds = 10.0
    body_seconds: Seconds = 20.0
    lowest_bytes_per_second: Annotated[int, Field(ge=1)] = 16 * 1024
    connect_seconds: Seconds = 30.0
    shortest_connect_seconds: Seconds = 5.0
    answer_seconds: Seconds = 90.0
    kept_connection_seconds: Seconds = 30.0  # shorter than a peer's idle_seconds: a kept connection is not yet closed
    fastest_remembered_seconds: Seconds = 3600.0
    stop_seconds: Seconds = 15.0

    def of_connections(self) -> Timeouts:
        return Timeouts(
            self.handshake_seconds,
            self.idle_seconds,
            self.head_seconds,
            self.body_seconds,
            self.lowest_bytes_per_second,
        )


class OcspSettings(Settings):
    refresh_seconds: Seconds = 1200.0
    retry_seconds: Seconds = 60.0


class ConfigurationSettings(Settings):
    """The global configuration: the anchor is checked by hand, out of band, when it is put there."""

    anchor: Path
    refresh_seconds: Seconds = 60.0


class LogSettings(Settings):
    """The log of the process; what the exchange keeps as evidence is the section `message_log`."""

    file: Path | None = None
    level: Literal["debug", "info", "warning", "error"] = "info"


class SecurityServerSettings(Settings):
    """One process, one security server."""

    server: str
    folder: Path
    database: str
    """The message log's, as an SQLAlchemy URL."""
    monitoring_database: str = ""
    """Of operational records; an SQLite file in the folder when it is left out."""
    local_conf: Path
    configuration: ConfigurationSettings
    authentication: AuthenticationSettings
    signing: Annotated[tuple[SigningSettings, ...], Field(min_length=1, max_length=1000)]
    signature_form: Literal["direct", "hash_chain"] = "direct"
    accepts_tls12: bool = False  # with the three CBC suites that X-Road 7 speaks
    lowest_peer_version: Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")] | None = None
    listeners: ListenerSettings = ListenerSettings()
    limits: LimitSettings = LimitSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    ocsp: OcspSettings = OcspSettings()
    message_log: MessageLogSettings = MessageLogSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    log: LogSettings = LogSettings()

    @field_validator("server")
    @classmethod
    def _server(cls, value: str) -> str:
        return _checked(value, parse_server_id)

    @model_validator(mode="after")
    def _members_once(self) -> Self:
        members = [each.member for each in self.signing]
        if len(set(members)) != len(members):
            raise ValueError("two signing keys for one member")
        return self

    @property
    def monitoring_url(self) -> str:
        """Where the operational records are, as an SQLAlchemy URL."""
        return self.monitoring_database or f"sqlite:///{(self.folder / 'monitoring.sqlite').resolve()}"

    @property
    def server_id(self) -> ServerId:
        return parse_server_id(self.server)


def load_security_server_settings(file: Path) -> SecurityServerSettings:
    """Read and check the file. Raises: Malformed `config.…`."""
    return load_settings(file, SecurityServerSettings)


def _checked(value: str, parse: object) -> str:
    assert callable(parse)
    try:
        parse(value)
    except Malformed as error:
        raise ValueError(error.detail) from error
    return value
