"""Making checkpoints by the clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import MetaData

from digiid.formats.journal_checkpoint import (
    HASH_NAME,
    JournalCheckpoint,
    digest_of,
    parse_checkpoint,
    sign_checkpoint,
)
from digiid.kernel.errors import Broken, DigiidError, Unavailable
from digiid.platform import journal as journals
from digiid.platform.checkpoints import store
from digiid.platform.checkpoints.store import StoredCheckpoint
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.documents.signing import KeySigner
from digiid.platform.timers import Timer
from digiid.platform.trust import TsaClient

EVERY: Final = timedelta(hours=1)
_LOOKED_AFTER: Final = timedelta(minutes=5)  # so soon is tried again what a time stamp was missing for
LATE: Final = timedelta(minutes=30)  # so long may the time stamps or the seals be away before it is told as a failure
_JOURNAL: Final = journals.journal_table(MetaData())  # the same in every institution's database
log = structlog.get_logger("journal")


@dataclass(frozen=True, slots=True)
class KeptJournal:
    """One institution's journal. `open_seal` gives the seal in force, with a key on P-256 or P-384."""

    unit: str
    db: Database
    open_seal: Callable[[], KeySigner]


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a journal is not sealed, and since when each try ended so. `is_broken`: no later try can help."""

    since_at: datetime
    code: str
    reason: str
    is_broken: bool


class CheckpointKeeper:
    """Seals what the journals have grown by since the last time."""

    def __init__(
        self, journals_kept: list[KeptJournal], *, db: Database, tsa: TsaClient, clock: Clock, every: timedelta = EVERY
    ) -> None:
        self._journals, self._db, self._tsa, self._clock, self._every = journals_kept, db, tsa, clock, every
        self._failing: dict[str, _Failure] = {}
        self._passed_at = clock.now()  # when all journals were last gone through

    def timers(self) -> tuple[Timer, ...]:
        return (Timer("journal.checkpoints", min(_LOOKED_AFTER, self._every), self.keep_all),)

    def keep_all(self) -> None:
        """A checkpoint of every journal that is due one. What goes wrong at one is told and tried again next time."""
        for kept in self._journals:
            try:
                self.keep(kept)
            except Broken as error:
                log.error("journal.not_sealed", unit=kept.unit, code=error.code, reason=error.detail)
                self._failed(kept.unit, error)
            except DigiidError as error:
                log.warning("journal.checkpoint_missing", unit=kept.unit, code=error.code, reason=error.detail)
                self._failed(kept.unit, error)
            except Exception as error:  # the loop's edge: one journal's fault must not keep the others unsealed
                log.exception("journal.not_sealed", unit=kept.unit, error=type(error).__name__)
                self._failed(kept.unit, Unavailable("journal.fault", f"{type(error).__name__}, see the log"))
            else:
                self._failing.pop(kept.unit, None)
        self._passed_at = self._clock.now()

    def _failed(self, unit: str, error: DigiidError) -> None:
        before = self._failing.get(unit)
        since_at = before.since_at if before else self._clock.now()
        self._failing[unit] = _Failure(since_at, error.code, error.detail, isinstance(error, Broken))

    def health(self) -> Mapping[str, Any]:
        """Whether the journals are sealed by the clock; of one that is not, how long it may still take.

        Raises: Unavailable `journal.not_sealed`: one does not follow from its last checkpoint, one could not be sealed
            for LATE, or none was looked at for so long.
        """
        now, failing = self._clock.now(), dict(self._failing)
        if now - self._passed_at >= LATE:
            raise Unavailable(
                "journal.not_sealed",
                f"no journal was looked at since {_minute(self._passed_at)}: see the log, and start the state again",
            )
        late = {unit: why for unit, why in failing.items() if why.is_broken or now - why.since_at >= LATE}
        if late:
            told = "; ".join(
                f"{unit} since {_minute(why.since_at)} ({why.code}: {why.reason})" for unit, why in late.items()
            )
            remedy = (
                "digiid journal verify tells what does not follow"
                if any(why.is_broken for why in late.values())
                else "what is written meanwhile can be changed unseen; see that time stamps and seals can be had"
            )
            raise Unavailable("journal.not_sealed", f"not sealed: {told}. {remedy}")
        tried = {
            unit: f"since {_minute(why.since_at)}, {(why.since_at + LATE - now) // timedelta(minutes=1)} min left"
            for unit, why in failing.items()
        }
        return {"journals": len(self._journals), **({"not sealed yet": tried} if tried else {})}

    def keep(self, kept: KeptJournal) -> StoredCheckpoint | None:
        """Seal and time-stamp the journal's head. None when nothing is new, or the last one is young.

        Raises: Broken `journal.chain`, nothing is sealed that does not follow from the checkpoint before; Unavailable
            and Refused as TsaClient.fetch; what `open_seal` raises.
        """
        now = self._clock.now()
        # 1 the last one
        with self._db.read() as tx:
            last = store.find_last(tx, kept.unit)
        if last is not None and now - last.at < self._every:
            return None
        before = parse_checkpoint(last.statement) if last is not None else None
        # 2 what has come since follows from it
        known = (before.number, before.hash) if before is not None else None
        with kept.db.read() as tx:
            head = journals.verify_since(tx, _JOURNAL, known)
        if head is None or head == known:
            return None
        number, head_hash = head
        # 3 sealed
        signer = kept.open_seal()
        if not isinstance(signer.key, ec.EllipticCurvePrivateKey):
            raise Broken("journal.seal", "the seal's key is not on a curve")
        previous = digest_of(last.statement) if last is not None else None
        checkpoint = JournalCheckpoint(kept.unit, number, head_hash, now, previous)
        statement = sign_checkpoint(checkpoint, key=signer.key, certificates=[signer.certificate])
        # 4 time-stamped
        token_der, _ = self._tsa.fetch(digest_of(statement), HASH_NAME)
        # 5 kept
        stored = StoredCheckpoint(kept.unit, number, statement, token_der, now)
        with self._db.write() as tx:
            store.insert_checkpoint(tx, stored)
        log.info("journal.sealed", unit=kept.unit, number=number)
        return stored


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
