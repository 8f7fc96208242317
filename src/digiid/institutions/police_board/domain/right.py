"""The right to use an e-resident's digi-ID: what the person is entitled to, whatever is in the person's hand."""

from enum import StrEnum
from typing import TypeAlias

from digiid.institutions.police_board.domain import N_, law
from digiid.kernel.states import Edge, StateTable

OFFICER, SYSTEM = "deciding_officer", "system"


class RightState(StrEnum):
    GRANTED = "granted"
    SUSPENDED = "suspended"
    LIMITED = "limited"
    ANNULLED = "annulled"
    LAPSED = "lapsed"


class RightEvent(StrEnum):
    SUSPEND = "suspend"
    LIFT = "lift"
    LIMIT = "limit"
    UNLIMIT = "unlimit"
    ANNUL = "annul"
    LAPSE = "lapse"


S: TypeAlias = RightState
E: TypeAlias = RightEvent


def _edge(to: S, basis: str, actor: str = OFFICER, *publishes: str) -> Edge[S]:
    return Edge(to, basis, frozenset({actor}), publishes)


_ANNUL = _edge(S.ANNULLED, law.ITDS_ISSUE, OFFICER, "trust_services.revoke", "card_bureau.cancel_order")
_LAPSE = _edge(S.LAPSED, N_("ITDS: the right ends with its last document"), SYSTEM)

TABLE: StateTable[S, E] = {
    S.GRANTED: {
        E.SUSPEND: _edge(S.SUSPENDED, law.ITDS_SUPERVISION, OFFICER, "trust_services.suspend"),
        E.LIMIT: _edge(S.LIMITED, law.ITDS_SUPERVISION),
        E.ANNUL: _ANNUL,
        E.LAPSE: _LAPSE,
    },
    S.SUSPENDED: {
        E.LIFT: _edge(S.GRANTED, law.ITDS_SUPERVISION, OFFICER, "trust_services.resume"),
        E.ANNUL: _ANNUL,
        E.LAPSE: _LAPSE,
    },
    S.LIMITED: {E.UNLIMIT: _edge(S.GRANTED, law.ITDS_SUPERVISION), E.ANNUL: _ANNUL, E.LAPSE: _LAPSE},
    S.ANNULLED: {},
    S.LAPSED: {},
}
