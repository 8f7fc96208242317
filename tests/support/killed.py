"""A child process that kills itself before its n-th statement: lines are counted from outside, without hooks."""

import ast
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any


def statements_of(files: Iterable[str]) -> dict[str, frozenset[int]]:
    """The lines of each file on which a statement begins: a call written over ten lines is one place to be killed."""
    return {
        file: frozenset(
            node.lineno
            for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))
            if isinstance(node, ast.stmt)
        )
        for file in files
    }


def run_until(
    work: Callable[[], Callable[[], object]],
    *,
    statements: dict[str, frozenset[int]],
    is_traced: Callable[[CodeType], bool],
    kill_at: int | None,
    log: Path,
) -> bool:
    """Do the work in a forked child that kills itself before its `kill_at`-th traced statement.

    `work` prepares, untraced, and returns what is traced. True when the child was killed; else `log` holds how many
    statements were executed.
    """
    child = os.fork()
    if child == 0:
        _work_and_exit(work, statements, is_traced, kill_at, log)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, log.read_text() if log.exists() else "the child failed"
    return False


def _work_and_exit(
    work: Callable[[], Callable[[], object]],
    statements: dict[str, frozenset[int]],
    is_traced: Callable[[CodeType], bool],
    kill_at: int | None,
    log: Path,
) -> None:
    executed = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal executed
        if not is_traced(frame.f_code):
            return None
        if event == "line" and frame.f_lineno in statements[frame.f_code.co_filename]:
            executed += 1
            if executed == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    try:
        gc.disable()
        traced = work()
        sys.settrace(trace)
        traced()
        sys.settrace(None)
        log.write_text(str(executed))
        os._exit(0)
    except BaseException as error:  # the child must never return into pytest
        log.write_text(repr(error))
        os._exit(1)
