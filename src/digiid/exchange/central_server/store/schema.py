"""What the tables share: one metadata, the platform's tables, and members and subsystems as columns."""

from typing import Any, Final

from sqlalchemy import MetaData, Table

from digiid.kernel.identifiers import ClientId, MemberId, Party
from digiid.platform.journal import journal_table
from digiid.platform.outbox import outbox_table
from digiid.platform.web.sessions import sessions_table

metadata: Final = MetaData()
JOURNAL: Final = journal_table(metadata)
SESSIONS: Final = sessions_table(metadata)
OUTBOX: Final = outbox_table(metadata)


def is_member(table: Table, member: MemberId) -> Any:
    """The condition that a row is of this member, in any table with columns for one."""
    return (table.c.member_class == member.member_class) & (table.c.member_code == member.member_code)


def party_values(party: Party) -> dict[str, str]:
    """The columns that name a member, whose `subsystem` is empty, or a subsystem. `party_of` reads them."""
    return {
        "member_class": party.member_class,
        "member_code": party.member_code,
        "subsystem": party.subsystem if isinstance(party, ClientId) else "",
    }


def party_of(row: Any, instance: str) -> Party:
    if row.subsystem:
        return ClientId(instance, row.member_class, row.member_code, row.subsystem)
    return MemberId(instance, row.member_class, row.member_code)
