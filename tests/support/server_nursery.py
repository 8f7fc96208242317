"""Starts security servers as processes of their own, quickly: what they import is there before they are forked.

`python -m tests.support.server_nursery`. Lines on standard input: `CONFIG.toml` or `CONFIG.toml TRAP`; each is answered
by a line with the pid of a process that then runs `digiid.apps.security_server`. When the input ends all are killed.

With a trap the process kills itself when it calls a function: as soon as the file TRAP is there, and with its first
line naming the function, `name` or `name<caller`, and the second how often it is called before that. No hooks in what
is tested: calls are seen from outside, by `sys.settrace`.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from digiid.apps import security_server
from digiid.exchange.security_server import server as _imported_before_forking

assert _imported_before_forking is not None


def _set_trap(trap: Path, functions: frozenset[str]) -> None:
    seen = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal seen
        if event != "call" or frame.f_code.co_name not in functions or not trap.exists():
            return
        wanted, times = trap.read_text("utf-8").split("\n")[:2]
        name, _, caller = wanted.partition("<")
        back = frame.f_back
        if frame.f_code.co_name != name or (caller and (back is None or back.f_code.co_name != caller)):
            return
        if frame.f_lineno != frame.f_code.co_firstlineno:
            return  # a coroutine that goes on
        seen += 1
        if seen > int(times):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.settrace(trace)


def _run(settings: str, trap: str | None, functions: frozenset[str]) -> None:
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if trap is not None:
            _set_trap(Path(trap), functions)
        os._exit(security_server.main([settings]))
    finally:
        os._exit(99)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    functions = frozenset(sys.argv[1:])
    children = []
    for line in sys.stdin:
        settings, *trap = line.split()
        child = os.fork()
        if child == 0:
            _run(settings, trap[0] if trap else None, functions)
        children.append(child)
        print(child, flush=True)
    for child in children:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            pass


if __name__ == "__main__":
    main()
