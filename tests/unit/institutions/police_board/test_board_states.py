"""The state tables: every event that a table does not list is refused and changes nothing."""

from enum import StrEnum
from typing import Any

import pytest

from digiid.institutions.police_board.domain import application, case, document, right
from digiid.kernel.errors import Conflict, Refused
from digiid.kernel.states import take_edge

TABLES: list[tuple[str, Any, type[StrEnum], type[StrEnum]]] = [
    ("application", application.TABLE, application.ApplicationState, application.ApplicationEvent),
    ("document", document.TABLE, document.DocumentState, document.DocumentEvent),
    ("right", right.TABLE, right.RightState, right.RightEvent),
    ("case", case.TABLE, case.CaseState, case.CaseEvent),
]
ILLEGAL = [
    pytest.param(table, state, event, id=f"{name}-{state}-{event}")
    for name, table, states, events in TABLES
    for state in states
    for event in events
    if event not in table.get(state, {})
]
LEGAL = [
    pytest.param(table, state, event, edge, id=f"{name}-{state}-{event}")
    for name, table, _, _ in TABLES
    for state, edges in table.items()
    for event, edge in edges.items()
]


@pytest.mark.parametrize(("table", "state", "event"), ILLEGAL)
def test_an_event_that_the_table_does_not_list_is_a_conflict(table: Any, state: StrEnum, event: StrEnum) -> None:
    for actor in ("applicant", "officer", "deciding_officer", "system", "holder", "card_bureau"):
        with pytest.raises(Conflict):
            take_edge(table, state, event, actor=actor)


@pytest.mark.parametrize(("table", "state", "event", "edge"), LEGAL)
def test_an_edge_is_taken_by_its_actors_only_and_names_its_legal_basis(
    table: Any, state: StrEnum, event: StrEnum, edge: Any
) -> None:
    assert edge.legal_basis and edge.actors
    for actor in edge.actors:
        assert take_edge(table, state, event, actor=actor) is edge
    with pytest.raises(Refused):
        take_edge(table, state, event, actor="a passer-by")


@pytest.mark.parametrize(("name", "table", "states", "events"), TABLES, ids=[t[0] for t in TABLES])
def test_every_state_is_in_the_table_and_can_be_reached(
    name: str, table: Any, states: type[StrEnum], events: type[StrEnum]
) -> None:
    assert set(table) == set(states)
    reached = {next(iter(states))}
    while more := {e.to for s in reached for e in table[s].values()} - reached:
        reached |= more
    assert reached == set(states), name
    assert {event for edges in table.values() for event in edges} == set(events)


def test_nothing_leaves_an_end() -> None:
    for state in ("revoked", "expired", "superseded", "uncollected"):
        assert document.TABLE[document.DocumentState(state)] == {}
    for state in ("annulled", "lapsed"):
        assert right.TABLE[right.RightState(state)] == {}


def test_only_a_deciding_officer_decides_lifts_or_annuls() -> None:
    decides = application.TABLE[application.ApplicationState.CHECKS_RUNNING][application.ApplicationEvent.DECIDE_ISSUE]
    lifts = document.TABLE[document.DocumentState.SUSPENDED][document.DocumentEvent.LIFT]
    annuls = document.TABLE[document.DocumentState.ACTIVE][document.DocumentEvent.REVOKE]
    for edge in (decides, lifts, annuls):
        assert edge.actors == {"deciding_officer"}
