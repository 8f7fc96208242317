"""A bureau that dies: carries out one act in a process of its own and ends it before a given line.

The lines are counted from outside, by sys.settrace; the product knows nothing of it. `os._exit` runs no
handler and flushes nothing, as a kill does.
"""

import ast
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from digiid.institutions.card_bureau import peers, store
from digiid.institutions.card_bureau.settings import Settings
from digiid.institutions.card_bureau.use_cases import deps as bureau_deps
from digiid.institutions.card_bureau.use_cases import hand_over, movements, orders
from digiid.institutions.card_bureau.use_cases.orders import NewOrder
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from tests.support.bureau import ATTESTED, OFFICER, make_deps, shelf_in

KILLED = 77
_WRITING = ("insert_", "set_", "next_", "finish_")


@dataclass(frozen=True)
class Act:
    """What the process does: makes `new` and personalises it, or (without `new`) hands the order over."""

    folder: Path
    gate_url: str
    at: datetime
    order_id: str
    new: NewOrder | None
    kill_at: int | None

    @property
    def count_file(self) -> Path:
        return self.folder / "lines"


@cache
def statements_of(file: str) -> frozenset[int]:
    """The lines on which a statement begins: a call written over ten lines is one place to die, not ten."""
    tree = ast.parse(Path(file).read_text("utf-8"))
    return frozenset(node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt))


_LADDERS = frozenset(module.__file__ for module in (orders, hand_over, movements, bureau_deps, peers))


def is_traced(code: CodeType) -> bool:
    """The ladders, and what writes for them; reading a row back has nothing to interrupt."""
    return code.co_filename in _LADDERS or (code.co_filename == store.__file__ and code.co_name.startswith(_WRITING))


def run(act: Act) -> None:
    """The process. Ends with KILLED before its line, with 0 when it came to its end."""
    executed = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal executed
        if not is_traced(frame.f_code):
            return None
        if event == "line" and frame.f_lineno in statements_of(frame.f_code.co_filename):
            executed += 1
            if executed == act.kill_at:
                os._exit(KILLED)
        return trace

    perform = _prepare(act)
    sys.settrace(trace)
    perform()
    sys.settrace(None)
    act.count_file.write_text(str(executed))


def _prepare(act: Act) -> Callable[[], None]:
    shelf = shelf_in(act.folder, SystemEntropy())
    deps = make_deps(
        Database.sqlite(act.folder / "bureau.sqlite"),
        ManualClock(act.at),
        SystemEntropy(),
        shelf,
        gate_url=act.gate_url,
        settings=Settings(auto_ship=True),
    )

    def make() -> None:
        assert act.new is not None
        orders.order_document(deps, act.new)
        orders.personalise(deps, act.order_id)

    return make if act.new else lambda: hand_over.hand_over(deps, OFFICER, act.order_id, ATTESTED)
