"""The worker processes: started when there is work, replaced when they fail, ended when there is none for long."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import BinaryIO, Final

from digiid.formats.trusted_list import VerifiedTrust
from digiid.institutions.information_authority.validation_service import worker as worker_process
from digiid.institutions.information_authority.validation_service.worker import ANSWER, HEAD, write_trust
from digiid.kernel.errors import Broken, Unavailable
from digiid.platform.clock import Clock

_START_SECONDS: Final = 30.0
_IDLE_SECONDS: Final = 300.0


class _Worker:
    """One process and our end of its socket."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module in our own interpreter
                [sys.executable, "-m", worker_process.__name__, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.trust: VerifiedTrust | None = None
        self.used = False
        self.free_since = time.monotonic()

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, head: Mapping[str, object], trust_bytes: bytes, file: BinaryIO, seconds: float) -> tuple[int, bytes]:
        """Raises: TimeoutError, OSError, EOFError."""
        ends_at = time.monotonic() + seconds + (0 if self.used else _START_SECONDS)
        self.used = True
        self._channel.settimeout(seconds + _START_SECONDS)
        text = json.dumps(head).encode()
        message = HEAD.pack(len(text)) + text + trust_bytes
        sent = socket.send_fds(self._channel, [message[: HEAD.size]], [file.fileno()])
        self._channel.sendall(message[sent:])
        status, size = ANSWER.unpack(self._receive(ANSWER.size, ends_at))
        return int(status), self._receive(int(size), ends_at)

    def _receive(self, count: int, ends_at: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            left = ends_at - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._channel.settimeout(left)
            part = self._channel.recv(min(count - len(data), 1 << 20))
            if not part:
                raise EOFError("the worker ended")
            data += part
        return bytes(data)

    def end(self) -> None:
        self._channel.close()
        self._process.kill()
        self._process.wait()


class Workers:
    """At most `count` processes judge at once and `max_waiting` requests wait for one of them."""

    def __init__(self, *, trust: Callable[[], VerifiedTrust], clock: Clock, count: int, max_waiting: int) -> None:
        self._trust, self._clock = trust, clock
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="digiid-validation")
        self._limit, self._running = count + max_waiting, 0
        self._lock = threading.Lock()
        self._free: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._written: tuple[VerifiedTrust, bytes] | None = None

    async def run(
        self, kind: str, file: BinaryIO, parameters: Mapping[str, str], *, seconds: float
    ) -> tuple[int, bytes]:
        """Status and body from a worker. The file is taken over and closed.

        Raises:
            Unavailable: `validation.busy`; what keeps the trusted lists from being had.
            Broken: `validation.time_limit`, `validation.worker`.
        """
        with self._lock:
            if self._running >= self._limit:
                file.close()
                raise Unavailable("validation.busy", "too many documents wait to be judged")
            self._running += 1
        future = self._executor.submit(self._call, kind, file, parameters, seconds)
        future.add_done_callback(lambda _: self._finished(file))
        return await asyncio.wrap_future(future)

    def _finished(self, file: BinaryIO) -> None:
        file.close()
        with self._lock:
            self._running -= 1

    def _call(self, kind: str, file: BinaryIO, parameters: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
        # 1 whom to trust now; the lists may be fetched here
        trust, written = self._current_trust()
        at: datetime = self._clock.now()
        # 2 a worker that runs, or a new one
        worker = self._take()
        told = worker.trust is trust
        head = {
            "kind": kind,
            "at": at.isoformat(),
            "parameters": dict(parameters),
            "trust_bytes": 0 if told else len(written),
        }
        # 3 ask; whoever fails is not asked again
        try:
            found = worker.ask(head, b"" if told else written, file, seconds)
        except TimeoutError as error:
            self._give_up(worker)
            raise Broken("validation.time_limit", f"judging took longer than {seconds:.0f} s") from error
        except (OSError, EOFError) as error:
            self._give_up(worker)
            raise Broken("validation.worker", "the process that judged the document ended") from error
        worker.trust, worker.free_since = trust, time.monotonic()
        with self._lock:
            self._busy.discard(worker)
            self._free.append(worker)
        return found

    def _current_trust(self) -> tuple[VerifiedTrust, bytes]:
        trust = self._trust()
        with self._lock:
            if self._written is None or self._written[0].lists != trust.lists:
                self._written = (trust, write_trust(trust))
            return self._written

    def _take(self) -> _Worker:
        with self._lock:
            while self._free:
                worker = self._free.pop()
                if worker.is_alive:
                    self._busy.add(worker)
                    return worker
                worker.end()
        worker = _Worker()
        with self._lock:
            self._busy.add(worker)
        return worker

    def _give_up(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
        worker.end()

    @property
    def process_ids(self) -> list[int]:
        with self._lock:
            return [worker.process_id for worker in (*self._free, *self._busy)]

    def end_idle(self) -> None:
        """End the processes that nobody needed for minutes."""
        before = time.monotonic() - _IDLE_SECONDS
        with self._lock:
            idle = [worker for worker in self._free if worker.free_since < before]
            self._free = [worker for worker in self._free if worker not in idle]
        for worker in idle:
            worker.end()

    def close(self) -> None:
        """End all; whoever still waits is told that it failed."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            ending = [*self._free, *self._busy]
            self._free = []
        for worker in ending:
            worker.end()
