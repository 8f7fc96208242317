"""Checkpoints of the institutions' journals: sealed, time-stamped, kept in a database of their own.

A journal's chain shows that an entry was changed; it does not show that its end was cut off, or that all of it was
written anew. A checkpoint does, for everything before it: whoever wants to change the past after that needs the
institution's seal and a time stamp of then. They are kept beside the journals and not in them, so that who can write to
an institution's database cannot take them away; who wants to be sure keeps a copy elsewhere (`digiid journal export`).
"""

from digiid.platform.checkpoints.keeping import CheckpointKeeper, KeptJournal
from digiid.platform.checkpoints.store import DATABASE, PACKAGE, StoredCheckpoint, list_checkpoints
from digiid.platform.checkpoints.verifying import JournalReport, verify_journal

__all__ = [
    "DATABASE",
    "PACKAGE",
    "CheckpointKeeper",
    "JournalReport",
    "KeptJournal",
    "StoredCheckpoint",
    "list_checkpoints",
    "verify_journal",
]
