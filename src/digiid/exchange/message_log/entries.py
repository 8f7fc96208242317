"""What is logged of one message, and what is read back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from digiid.formats.exchange.hash_chain import HashChain

# What stays readable of a reduced message: who, what for, under which consent, and whether the look was to be kept
# back (X-Road's fixed set and ours).
EVIDENCE_HEADERS: Final = frozenset(
    (
        "x-road-client",
        "x-road-service",
        "x-road-id",
        "x-road-request-id",
        "x-road-request-hash",
        "x-road-userid",
        "x-road-issue",
        "x-road-security-server",
        "x-road-represented-party",
        "x-digiid-consent",
        "x-digiid-purpose",
        "x-digiid-hidden-until",
        "x-digiid-hidden-reason",
        "content-type",
    )
)
_SERVICE_PATH = re.compile(rb"/r1(?:/[^/?]*){5}")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One message as one side has it, about to be logged. Identifiers as text, parts joined by `/`.

    `party` is the subsystem of this side whose message it is: the client at the consumer's server, the provider's
    subsystem at the provider's. `digests`: SHA-512 of each part by its URI, `/message.xml` and, when there was a body
    part, `/attachment1`. `body` may be a file; it is read before `record` returns.
    """

    message_id: str
    request_id: str
    is_response: bool
    party: str
    client: str
    service: str
    message: bytes = field(repr=False)
    body: Path | bytes | None = field(repr=False)
    digests: Mapping[str, bytes] = field(repr=False)
    signature_xml: bytes = field(repr=False)
    hash_chain: HashChain | None = field(repr=False)
    at: datetime


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A record as it is kept. `message` is the reduced one when `is_reduced`; of a body mostly only the digest is."""

    number: int
    at: datetime
    message_id: str
    request_id: str
    is_response: bool
    party: str
    client: str
    service: str
    is_reduced: bool
    message: bytes = field(repr=False)
    message_sha512: bytes = field(repr=False)
    body: bytes | None = field(repr=False)
    body_sha512: bytes | None = field(repr=False)
    signature_xml: bytes = field(repr=False)
    signature_sha512: bytes = field(repr=False)
    hash_chain: HashChain | None = field(repr=False)

    @property
    def direction(self) -> str:
        return "response" if self.is_response else "request"


@dataclass(frozen=True, slots=True)
class StampingState:
    """How the time-stamping of the log stands. `refuses_at`: from then on messages are refused, or None."""

    oldest_unstamped_at: datetime | None
    refuses_at: datetime | None
    unstamped: int
    last_success_at: datetime | None
    last_error: str | None
    is_configured: bool


@dataclass(frozen=True, slots=True)
class ArchivingState:
    """How the archiver stands. `oldest_waiting_at`: of the time-stamped messages that are in no archive yet."""

    oldest_waiting_at: datetime | None
    last_success_at: datetime | None
    last_error: str | None
    interval: timedelta


def reduce_message(message: bytes) -> bytes:
    """The first line, the path as far as the service code, and the evidence headers, in the message's own spelling."""
    first, _, rest = message.partition(b"\r\n")
    second, _, headers = rest.partition(b"\r\n")
    path = _SERVICE_PATH.match(second)
    kept = [first, path.group() if path else b"" if second.startswith(b"/") else second]
    for line in headers.split(b"\r\n"):
        if line.partition(b":")[0].decode("latin-1").lower() in EVIDENCE_HEADERS:
            kept.append(line)
    return b"".join(line + b"\r\n" for line in kept)
