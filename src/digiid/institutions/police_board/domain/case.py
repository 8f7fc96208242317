"""Deviation cases: a card that is not what it says, a report of misuse, a lost card. Opened by reports, closed by
an officer with a reason."""

from enum import StrEnum

from digiid.institutions.police_board.domain import law
from digiid.kernel.states import Edge, StateTable

OFFICER = "officer"


class CaseState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class CaseEvent(StrEnum):
    CLOSE = "close"


class CaseKind(StrEnum):
    ANOMALY = "anomaly"
    MISUSE = "misuse"
    LOSS = "loss"


TABLE: StateTable[CaseState, CaseEvent] = {
    CaseState.OPEN: {CaseEvent.CLOSE: Edge(CaseState.CLOSED, law.ITDS_SUPERVISION, frozenset({OFFICER}))},
    CaseState.CLOSED: {},
}


def subject_of_anomaly(*, certificate_sha256: str | None, personal_code: str | None, report_id: str) -> str:
    """What tells two reports of the same card: its certificate, otherwise its holder, otherwise nothing."""
    if certificate_sha256:
        return f"certificate:{certificate_sha256}"
    if personal_code:
        return f"person:{personal_code}"
    return f"report:{report_id}"


def subject_of_misuse(*, document_number: str, report_id: str) -> str:
    """Reports that name the same document belong together; one that names none stands alone."""
    number = "".join(c for c in document_number.upper() if c.isalnum())
    return f"document:{number}" if number else f"report:{report_id}"
