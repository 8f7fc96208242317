"""A checkpoint of a hash-chained journal: its head, sealed by the institution and time-stamped. Ours, version 1.

The statement is a compact JWS (ES256 or ES384) of the type below, the time stamp an RFC 3161 token over the SHA-256 of
its characters. A checkpoint says that entry `number` had the hash `hash` and that nothing was behind it; `previous` is
the SHA-256 of the statement before it, so that none can be taken away in between.

Specification: docs/protocols/journal-checkpoints.md.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats import tsp
from digiid.formats.jws import parse_compact, sign_compact, verify_compact
from digiid.formats.organization_seal import SealOwner, verify_seal_owner
from digiid.formats.x509.path import TrustAnchors, verify_path
from digiid.kernel.errors import DigiidError, Malformed, Refused

TYPE: Final = "digiid-journal-checkpoint+jws"
HASH_NAME: Final = "sha256"
MAX_STATEMENT_CHARS: Final = 16 * 1024
MAX_TIME_STAMP_BYTES: Final = 64 * 1024
_FIELDS: Final = frozenset({"journal", "number", "hash", "at", "previous"})
_UNIT: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_SECONDS: Final = 253_402_300_799  # the end of the year 9999


@dataclass(frozen=True, slots=True)
class JournalCheckpoint:
    """What a statement says. `previous` is None in a journal's first one."""

    journal: str
    number: int
    hash: bytes
    at: datetime
    previous: bytes | None


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint that the institution sealed before `stamped_at`."""

    checkpoint: JournalCheckpoint
    stamped_at: datetime
    digest: bytes


def sign_checkpoint(
    checkpoint: JournalCheckpoint, *, key: ec.EllipticCurvePrivateKey, certificates: Sequence[x509.Certificate]
) -> str:
    """The statement. Raises: Refused `jws.key`; Malformed `checkpoint.field`."""
    payload = {
        "journal": checkpoint.journal,
        "number": checkpoint.number,
        "hash": checkpoint.hash.hex(),
        "at": int(checkpoint.at.timestamp()),
        "previous": checkpoint.previous.hex() if checkpoint.previous else "",
    }
    statement = sign_compact(payload, typ=TYPE, key=key, certificates=certificates)
    parse_checkpoint(statement)
    return statement


def parse_checkpoint(statement: str | bytes) -> JournalCheckpoint:
    """Read a statement of which nothing is proven. Raises: Malformed `jws.…`, `checkpoint.field`."""
    return _checkpoint_of(parse_compact(statement, typ=TYPE, max_chars=MAX_STATEMENT_CHARS).unverified_payload)


def digest_of(statement: str) -> bytes:
    """SHA-256 of a statement: what is time-stamped, and what the next one names."""
    return hashlib.sha256(statement.encode()).digest()


def verify_checkpoint(
    statement: str, time_stamp_der: bytes, *, owner: SealOwner, time_stamping: TrustAnchors
) -> VerifiedCheckpoint:
    """Verify that the owner sealed the statement, when at latest, and with a seal that was valid then.

    Raises:
        Malformed: `jws.…`, `checkpoint.field`, `tsp.…`, `der.…`, `cms.…`.
        Refused: `checkpoint.time_stamp`, `tsp.…`, `seal.owner`, `jws.signature`.
    """
    # 1 the form
    unverified = parse_compact(statement, typ=TYPE, max_chars=MAX_STATEMENT_CHARS)
    if len(time_stamp_der) > MAX_TIME_STAMP_BYTES:
        raise Malformed("checkpoint.field", "the time stamp is too long")
    # 2 when it was there already, by a unit that counts
    digest = digest_of(statement)
    stamp = tsp.verify_token(time_stamp_der, imprint=digest, hash_name=HASH_NAME)
    try:
        verify_path(stamp.tsu, intermediates=stamp.certificates, anchors=time_stamping, at=stamp.gen_at)
    except DigiidError as error:
        raise Refused("checkpoint.time_stamp", f"the time-stamping unit does not count: {error.code}") from error
    # 3 whose seal, valid then
    verify_seal_owner(unverified.certificates, owner, at=stamp.gen_at)
    # 4 the signature over these bytes
    return VerifiedCheckpoint(_checkpoint_of(verify_compact(unverified)), stamp.gen_at, digest)


def _checkpoint_of(payload: Mapping[str, Any]) -> JournalCheckpoint:
    if payload.keys() != _FIELDS:
        raise Malformed("checkpoint.field", "a checkpoint has five fields")
    number, seconds = payload["number"], payload["at"]
    if not _is_integer(number) or number < 1 or not _is_integer(seconds) or not 0 <= seconds <= _MAX_SECONDS:
        raise Malformed("checkpoint.field", "a number is out of its range")
    previous = payload["previous"]
    return JournalCheckpoint(
        _text(payload["journal"], _UNIT),
        number,
        bytes.fromhex(_text(payload["hash"], _SHA256)),
        datetime.fromtimestamp(seconds, UTC),
        bytes.fromhex(_text(previous, _SHA256)) if previous != "" else None,
    )


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Malformed("checkpoint.field", "a value is not of its form")
    return value
