"""The board's tables and one function per question, in modules named for what they hold. Nothing here decides.

Importing any of them imports all, so that `schema.metadata` always knows every table.
"""

from digiid.institutions.police_board.store import (
    accounts,
    applications,
    cases,
    checks,
    counters,
    decisions,
    deliveries,
    documents,
    history,
    look_delays,
    officers,
    payments,
    questions,
    rights,
    schema,
)

__all__ = [
    "accounts",
    "applications",
    "cases",
    "checks",
    "counters",
    "decisions",
    "deliveries",
    "documents",
    "history",
    "look_delays",
    "officers",
    "payments",
    "questions",
    "rights",
    "schema",
]
