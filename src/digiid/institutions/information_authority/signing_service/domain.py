"""What the signing service decides: forms, states of a prepared signature, what a client signs to be known by."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from digiid.kernel.errors import Conflict, Refused

PREPARED_LIFETIME: Final = timedelta(minutes=15)
CLOCK_WINDOW: Final = timedelta(seconds=60)


class Form(StrEnum):
    """What lies under which path."""

    ASICE = "containers"
    HASHCODE = "hashcodecontainers"
    PDF = "pdfs"


class PreparedState(StrEnum):
    """WAITING for its value; TAKEN by who brought one; FINISHED: it is in the container."""

    WAITING = "waiting"
    TAKEN = "taken"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class KnownClient:
    """A client as it is listed. It may call until it is closed."""

    client_id: str
    name: str
    created_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredContainer:
    """A container as it is now. `version` grows with every change of its content."""

    container_id: str
    client_id: str
    form: Form
    name: str
    content: bytes
    version: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class StoredPrepared:
    """A signature that waits for its value, or had it."""

    signature_id: str
    container_id: str
    prepared: bytes
    level: str
    state: PreparedState
    value_hash: bytes | None
    prepared_at: datetime


def decide_take(stored: StoredPrepared, value_hash: bytes, *, at: datetime) -> bool:
    """Whether a value may be used: True the first time, False for a repeat of what was finished with the same value.

    Raises: Conflict `signing.prepared.used`; Refused `signing.prepared.expired`.
    """
    if stored.state is PreparedState.FINISHED and stored.value_hash == value_hash:
        return False
    if stored.state is not PreparedState.WAITING:
        raise Conflict(
            "signing.prepared.used",
            "A value was used for this prepared signature already. Prepare the signature again.",
        )
    if not timedelta(0) <= at - stored.prepared_at <= PREPARED_LIFETIME:
        raise Refused(
            "signing.prepared.expired",
            "The signature was prepared more than 15 minutes ago. Prepare it again.",
        )
    return True


def canonical_request(*, client_id: str, timestamp: str, method: str, path: str, body: bytes) -> bytes:
    """The octets that a client's HMAC covers. `path` is the request target as it was sent, with its query."""
    return f"{client_id}:{timestamp}:{method}:{path}:".encode() + body
