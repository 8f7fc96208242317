"""What a message log is told: what it keeps, who time-stamps it, where its archives go."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from digiid.platform.config import Settings

Grouping = Literal["none", "member", "subsystem"]
MAX_ARCHIVE_BYTES_LIMIT = 256 * 1024**2  # an archive is put together in memory


class ArchiveSettings(Settings):
    """Where archives go and to whom they are encrypted. Without archives nothing is ever deleted from the log."""

    folder: Path
    grouping: Grouping = "none"
    max_archive_bytes: Annotated[int, Field(ge=64 * 1024, le=MAX_ARCHIVE_BYTES_LIMIT)] = 32 * 1024**2
    interval_seconds: Annotated[int, Field(ge=1)] = 6 * 3600
    recipient_certificates: tuple[Path, ...] = ()
    """PEM files: whoever has the key of one of them can open the archives."""
    key_file: Path | None = None
    """A file of base64: a key of at least 32 bytes that both sides have."""
    key_label: str = "message-log-archives"
    allow_plain: bool = False
    """Archives that anybody can read who gets them. Only said on purpose."""
    keep_days: Annotated[int, Field(ge=0)] = 30
    """Rows stay in the log for so long after they were written, archived or not."""
    clean_interval_seconds: Annotated[int, Field(ge=1)] = 12 * 3600

    @model_validator(mode="after")
    def _is_encrypted(self) -> Self:
        if not (self.recipient_certificates or self.key_file or self.allow_plain):
            raise ValueError("name recipient_certificates or key_file, or say allow_plain = true")
        return self


class MessageLogSettings(Settings):
    """Defaults are those of X-Road 7 where it has the setting; bodies are off, as personal data wants it."""

    tsa_urls: tuple[str, ...] = ()
    """Time-stamping authorities, tried in this order. Without one no message is accepted."""
    stamping_interval_seconds: Annotated[int, Field(ge=1)] = 60
    stamping_batch_records: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    stamp_immediately: bool = False
    """Every message waits for its time stamp; those that wait at the same time share one."""
    acceptable_timestamp_failure_seconds: Annotated[int, Field(ge=0)] = 14_400
    """So old the oldest record without a time stamp may become before messages are refused. 0: they never are."""

    log_bodies_of: tuple[str, ...] = ()
    """Clients, subsystems, members or services, `EE/COM/10000201/bank`: their message bodies are kept. Else digests."""
    max_body_bytes: Annotated[int, Field(ge=0, le=1024**3)] = 10 * 1024**2
    larger_bodies: Literal["refuse", "digest"] = "refuse"
    """What happens to a body that should be kept and is larger."""
    reduce_message: bool = False
    """Keep of the message part only method, service and evidence headers, and its digest."""

    record_timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    """After so long without an answer of the database a message counts as not logged."""
    max_waiting_records: Annotated[int, Field(ge=1)] = 10_000
    max_waiting_bytes: Annotated[int, Field(ge=1024**2)] = 256 * 1024**2
    archive: ArchiveSettings | None = None

    def keeps_body(self, *, client: str, service: str) -> bool:
        """Whether the body of a message between these two is kept: whole parts of identifiers are compared."""
        return any(
            identifier == named or identifier.startswith(named + "/")
            for named in self.log_bodies_of
            for identifier in (client, service)
        )
