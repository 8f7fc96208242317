"""What the tables share: one metadata, kinds of columns, and the platform's tables in this database."""

from typing import Any

from sqlalchemy import MetaData, String

from digiid.platform.disclosures import disclosures_table
from digiid.platform.journal import journal_table
from digiid.platform.outbox import outbox_table
from digiid.platform.sent_requests import sent_requests_table
from digiid.platform.web.sessions import sessions_table

metadata = MetaData()
JOURNAL = journal_table(metadata)
DISCLOSURES = disclosures_table(metadata)
SENT_REQUESTS = sent_requests_table(metadata)
OUTBOX = outbox_table(metadata)
SESSIONS = sessions_table(metadata)
ID, CODE, NAME = String(36), String(40), String(200)


def column_values(record: Any) -> dict[str, Any]:
    """A record's fields as column values; a StrEnum is stored as its text."""
    values = {name: getattr(record, name) for name in record.__dataclass_fields__}
    return {name: str(value) if isinstance(value, str) else value for name, value in values.items()}
