"""A journal held against its checkpoints, offline."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import MetaData, inspect
from sqlalchemy.engine import Connection

from digiid.formats.journal_checkpoint import VerifiedCheckpoint, verify_checkpoint
from digiid.formats.organization_seal import SealOwner
from digiid.formats.x509.path import TrustAnchors
from digiid.kernel.errors import Broken
from digiid.platform import journal as journals
from digiid.platform.checkpoints.store import StoredCheckpoint
from digiid.platform.disclosures import disclosures_table, verify_disclosures


@dataclass(frozen=True, slots=True)
class JournalReport:
    """A journal in which everything follows. `unsealed`: entries behind the last checkpoint, whose end could be cut."""

    entries: int
    disclosures: int
    checkpoints: int
    sealed_entries: int
    sealed_at: datetime | None

    @property
    def unsealed(self) -> int:
        return self.entries - self.sealed_entries


def verify_journal(
    tx: Connection,
    unit: str,
    checkpoints: Sequence[StoredCheckpoint],
    *,
    owner: SealOwner,
    time_stamping: TrustAnchors,
) -> JournalReport:
    """Verify every checkpoint and hold the whole journal, and the records of disclosures in it, against them.

    Raises:
        Broken: `journal.checkpoints` (one is another journal's, missing in between, there twice, or out of order),
            `journal.chain` (an entry was changed, or what was sealed is gone), `disclosures.…`.
        Malformed, Refused: as `verify_checkpoint`.
    """
    # 1 the checkpoints themselves, each following from the one before it
    verified: list[VerifiedCheckpoint] = []
    for stored in sorted(checkpoints, key=lambda each: each.number):
        found = verify_checkpoint(stored.statement, stored.time_stamp_der, owner=owner, time_stamping=time_stamping)
        _check_order(unit, stored, found, verified[-1] if verified else None)
        verified.append(found)
    # 2 the chain, which contains what each of them says
    metadata = MetaData()
    table = journals.journal_table(metadata)
    heads = {each.checkpoint.number: each.checkpoint.hash for each in verified}
    last = journals.verify_chain(tx, table, trusted_heads=heads)
    # 3 the records of disclosures, each of which has an entry
    recorded = 0
    if inspect(tx).has_table("disclosures"):
        recorded = verify_disclosures(tx, disclosures_table(metadata), table)
    return JournalReport(
        entries=last.number if last is not None else 0,
        disclosures=recorded,
        checkpoints=len(verified),
        sealed_entries=verified[-1].checkpoint.number if verified else 0,
        sealed_at=verified[-1].stamped_at if verified else None,
    )


def _check_order(
    unit: str, stored: StoredCheckpoint, found: VerifiedCheckpoint, before: VerifiedCheckpoint | None
) -> None:
    said = found.checkpoint
    if (said.journal, said.number) != (unit, stored.number):
        raise Broken("journal.checkpoints", f"the checkpoint kept as {unit}/{stored.number} is of another entry")
    if said.previous != (before.digest if before is not None else None):
        raise Broken("journal.checkpoints", f"the checkpoint before {unit}/{stored.number} is missing or another one")
    if before is not None and said.number == before.checkpoint.number:
        raise Broken("journal.checkpoints", f"there are two checkpoints of {unit}/{stored.number}")
    if before is not None and found.stamped_at < before.stamped_at:
        raise Broken("journal.checkpoints", f"{unit}/{stored.number} was stamped before the one that it follows")
