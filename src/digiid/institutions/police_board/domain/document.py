"""A digi-ID document: where the card is and whether it counts. The right behind it and its certificates live apart."""

from datetime import date
from enum import StrEnum
from typing import TypeAlias

from digiid.institutions.police_board.domain import N_, law
from digiid.kernel.states import Edge, StateTable

BUREAU, HOLDER, ACCOUNT, SYSTEM = "card_bureau", "holder", "account", "system"
OFFICER, DECIDER = "officer", "deciding_officer"


class DocumentState(StrEnum):
    ORDERED = "ordered"
    PRODUCED = "produced"
    IN_TRANSIT = "in_transit"
    AT_POINT = "at_point"
    HANDED_OUT = "handed_out"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    UNCOLLECTED = "uncollected"


class DocumentEvent(StrEnum):
    PRODUCE = "produce"
    SEND = "send"
    ARRIVE = "arrive"
    LEAVE_UNCOLLECTED = "leave_uncollected"
    HAND_OUT = "hand_out"
    ACTIVATE = "activate"
    SUSPEND = "suspend"
    LIFT = "lift"
    REVOKE = "revoke"
    EXPIRE = "expire"
    SUPERSEDE = "supersede"


S: TypeAlias = DocumentState
E: TypeAlias = DocumentEvent


def _edge(to: S, basis: str, actors: tuple[str, ...], *publishes: str) -> Edge[S]:
    return Edge(to, basis, frozenset(actors), publishes)


_CANCEL = _edge(S.REVOKED, law.ITDS_ISSUE, (DECIDER,), "card_bureau.cancel_order", "trust_services.revoke")
_TELL = "population_register.record_document_status"
_REVOKE = _edge(S.REVOKED, law.ITDS_ISSUE, (DECIDER,), "trust_services.revoke", "mail.document_annulled", _TELL)
_EXPIRE = _edge(S.EXPIRED, N_("ITDS: the document's term of five years has ended"), (SYSTEM,), _TELL)
_SUPERSEDE = _edge(S.SUPERSEDED, N_("ITDS: a new document takes its place"), (SYSTEM,), "trust_services.revoke", _TELL)
_SEND = _edge(S.IN_TRANSIT, law.ITDS_HAND_OVER, (BUREAU,))
_ARRIVE = _edge(S.AT_POINT, law.ITDS_HAND_OVER, (BUREAU,), "mail.at_point")
_UNCOLLECTED = _edge(S.UNCOLLECTED, law.ITDS_UNCOLLECTED, (BUREAU, SYSTEM), "trust_services.revoke")

TABLE: StateTable[S, E] = {
    S.ORDERED: {
        E.PRODUCE: _edge(S.PRODUCED, law.ITDS_ISSUE, (BUREAU,)),
        E.REVOKE: _CANCEL,
    },
    S.PRODUCED: {E.SEND: _SEND, E.ARRIVE: _ARRIVE, E.REVOKE: _CANCEL},
    S.IN_TRANSIT: {E.ARRIVE: _ARRIVE, E.REVOKE: _CANCEL},
    S.AT_POINT: {
        E.HAND_OUT: _edge(S.HANDED_OUT, law.ITDS_HAND_OVER, (BUREAU,)),
        E.LEAVE_UNCOLLECTED: _UNCOLLECTED,
        E.REVOKE: _CANCEL,
    },
    S.HANDED_OUT: {
        E.ACTIVATE: _edge(S.ACTIVE, law.ITDS_HAND_OVER, (SYSTEM,), "mail.handed_over", _TELL),
        E.REVOKE: _REVOKE,
    },
    S.ACTIVE: {
        E.SUSPEND: _edge(
            S.SUSPENDED,
            law.ITDS_LOSS,
            (HOLDER, ACCOUNT, OFFICER),
            "trust_services.suspend",
            "mail.document_suspended",
            _TELL,
        ),
        E.REVOKE: _REVOKE,
        E.EXPIRE: _EXPIRE,
        E.SUPERSEDE: _SUPERSEDE,
    },
    S.SUSPENDED: {
        # found again: the person who suspended in a hurry cannot lift; an officer looks first
        E.LIFT: _edge(
            S.ACTIVE, law.ITDS_SUPERVISION, (DECIDER,), "trust_services.resume", "mail.document_lifted", _TELL
        ),
        E.REVOKE: _REVOKE,
        E.EXPIRE: _EXPIRE,
        E.SUPERSEDE: _SUPERSEDE,
    },
    S.REVOKED: {},
    S.EXPIRED: {},
    S.SUPERSEDED: {},
    S.UNCOLLECTED: {},
}

NOT_HANDED_OUT = frozenset({S.ORDERED, S.PRODUCED, S.IN_TRANSIT, S.AT_POINT})
MOVEMENT_EVENTS: dict[str, DocumentEvent] = {
    "produced": E.PRODUCE,
    "in_transit": E.SEND,
    "at_point": E.ARRIVE,
    "uncollected": E.LEAVE_UNCOLLECTED,
}


def add_months(day: date, months: int) -> date:
    """The same day `months` later, or the month's last day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    for candidate in (day.day, 30, 29, 28):
        try:
            return date(year, month + 1, candidate)
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")
