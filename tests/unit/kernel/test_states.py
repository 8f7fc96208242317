from enum import StrEnum

import pytest

from digiid.kernel.errors import Conflict, DigiidError, Refused
from digiid.kernel.states import Edge, StateTable, take_edge


class Lamp(StrEnum):
    OFF = "off"
    ON = "on"


class Press(StrEnum):
    SWITCH = "switch"
    BREAK = "break"


TABLE: StateTable[Lamp, Press] = {Lamp.OFF: {Press.SWITCH: Edge(Lamp.ON, "house rules § 1", frozenset({"owner"}))}}


def test_an_edge_of_the_table_is_taken() -> None:
    assert take_edge(TABLE, Lamp.OFF, Press.SWITCH, actor="owner").to is Lamp.ON


@pytest.mark.parametrize(("state", "event"), [(Lamp.OFF, Press.BREAK), (Lamp.ON, Press.SWITCH)])
def test_an_event_that_the_table_does_not_list_is_a_conflict(state: Lamp, event: Press) -> None:
    with pytest.raises(Conflict, match=r"state\.illegal_event"):
        take_edge(TABLE, state, event, actor="owner")


def test_an_edge_is_refused_to_whom_it_does_not_belong() -> None:
    with pytest.raises(Refused, match=r"state\.actor_not_allowed"):
        take_edge(TABLE, Lamp.OFF, Press.SWITCH, actor="guest")


@pytest.mark.parametrize("code", ["", "one", "Upper.case", "a..b", "a.b c"])
def test_an_error_code_is_dotted_lower_case_words(code: str) -> None:
    with pytest.raises(ValueError, match="error code"):
        DigiidError(code, "x")
