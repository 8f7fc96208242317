"""One security server in a process of its own: `python -m digiid.apps.security_server CONFIG.toml`.

With `--with-parent` it waits for a line on its standard input before it begins, so that the parent can have it load
beside its own start; and it stops when that input ends, since the parent that holds the other end is gone then.
"""

import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import uvloop

from digiid.exchange.security_server.server import SecurityServer
from digiid.exchange.security_server.server_health import health_port_of
from digiid.exchange.security_server.settings import SecurityServerSettings, load_security_server_settings
from digiid.kernel.errors import DigiidError, Malformed, NotFound
from digiid.platform.clock import Clock, SystemClock
from digiid.platform.entropy import SystemEntropy
from digiid.platform.log import configure_logging

_DESCRIPTORS = 16_384
EXIT_DONE, EXIT_REFUSED, EXIT_USAGE = 0, 1, 2


async def serve(
    settings: SecurityServerSettings,
    *,
    clock: Clock,
    on_ready: Callable[[SecurityServer], None] | None = None,
    with_parent: bool = False,
) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP fetches configuration and OCSP responses at once."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    server = SecurityServer(settings, clock=clock, entropy=SystemEntropy())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if with_parent:
        loop.add_reader(sys.stdin, stopped.set)
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(server.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        await server.start()
        if health_port := settings.listeners.health_port:
            await server.listen_also("health", health_port_of(server, clock).answer, health_port)
        # What was made to serve lives as long as the process: collections of garbage need not walk over it.
        gc.collect()
        gc.freeze()
        if on_ready is not None:
            on_ready(server)
        await stopped.wait()
    finally:
        await server.stop()


def main(arguments: list[str] | None = None) -> int:
    """The process. Returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with_parent = "--with-parent" in arguments
    if with_parent:
        arguments.remove("--with-parent")
    if len(arguments) != 1:
        print("usage: python -m digiid.apps.security_server [--with-parent] CONFIG.toml", file=sys.stderr)
        return EXIT_USAGE
    if with_parent and not sys.stdin.buffer.readline():
        return EXIT_DONE
    _raise_descriptor_limit()
    try:
        settings = load_security_server_settings(Path(arguments[0]))
        configure_logging(settings.log.file, level=settings.log.level)
        uvloop.run(serve(settings, clock=SystemClock(), on_ready=_say_ready, with_parent=with_parent))
    except DigiidError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, Malformed | NotFound) else EXIT_REFUSED
    return EXIT_DONE


def _raise_descriptor_limit() -> None:
    """Every connection and spooled body is a descriptor; the usual 1024 are fewer than the settings allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say_ready(server: SecurityServer) -> None:
    listeners = server.settings.listeners
    print(f"{server.settings.server_id} is ready: messages {listeners.message_port}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
