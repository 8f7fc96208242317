"""Loopback ports for servers that are started now."""

import secrets
import socket
from collections.abc import Sequence
from typing import Final

# Below what the system hands out to outgoing connections, one of which could take a port between probing and serving.
FIRST, AFTER_LAST = 12_000, 32_000
_TRIES: Final = 1000

_range = [FIRST, AFTER_LAST]
_given: set[int] = set()  # by this process: such a port looks free until its server listens


def choose_from(first: int, after_last: int) -> None:
    """Give ports of this range from now on: processes that start servers side by side have one each."""
    _range[:] = first, after_last


def free_ports(count: int, *, beside: Sequence[int] = ()) -> list[int]:
    """`count` different ports that nobody uses now, and that were not given before.

    `beside`: so far above each of them is one more that is free, and is given with it.

    Raises: OSError when none can be found.
    """
    first, after_last = _range
    found: list[int] = []
    for _ in range(_TRIES):
        if len(found) == count:
            return found
        port = first + secrets.randbelow(after_last - first - max(beside, default=0))
        wanted = {port, *(port + each for each in beside)}
        if wanted & _given or not all(map(is_free, wanted)):
            continue
        _given.update(wanted)
        found.append(port)
    raise OSError("no free port")


def is_free(port: int) -> bool:
    """Whether nobody listens on a loopback port now."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
