"""Loopback ports for servers that are started now."""

import secrets
import socket
from typing import Final

# Below what the system hands out to outgoing connections, one of which could take a port between probing and serving.
_FIRST, _AFTER_LAST = 12_000, 32_000
_TRIES: Final = 1000


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody uses now. Raises: OSError when none can be found."""
    probes: list[socket.socket] = []
    try:
        for _ in range(_TRIES):
            if len(probes) == count:
                return [probe.getsockname()[1] for probe in probes]
            probe = socket.socket()
            try:
                probe.bind(("127.0.0.1", _FIRST + secrets.randbelow(_AFTER_LAST - _FIRST)))
            except OSError:
                probe.close()
                continue
            probes.append(probe)
        raise OSError("no free port")
    finally:
        for probe in probes:
            probe.close()


def is_free(port: int) -> bool:
    """Whether nobody listens on a loopback port now."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
