"""State tables: `{State: {Event: Edge}}`, one per case type.

An event that the table does not list raises and changes nothing. Every edge says on which legal
basis it is taken, who may take it and what is published because of it, so that one table answers
the officer, the auditor and the code alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from digiid.kernel.errors import Conflict, Refused

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Edge(Generic[S]):
    """One permitted step. `actors` are role names; `publishes` names the messages that follow from it."""

    to: S
    legal_basis: str
    actors: frozenset[str]
    publishes: tuple[str, ...] = ()


StateTable = Mapping[S, Mapping[E, Edge[S]]]


def take_edge(table: StateTable[S, E], state: S, event: E, *, actor: str) -> Edge[S]:
    """Return the edge that `event` takes from `state`.

    Raises:
        Conflict: `state.illegal_event`, the table has no such edge.
        Refused: `state.actor_not_allowed`, the edge exists and is not this actor's to take.
    """
    edge = table.get(state, {}).get(event)
    if edge is None:
        raise Conflict("state.illegal_event", f"{event} is not possible from {state}")
    if actor not in edge.actors:
        raise Refused("state.actor_not_allowed", f"{actor} may not take {event} from {state}")
    return edge
