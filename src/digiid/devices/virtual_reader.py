"""A card in vsmartcard's virtual reader, so that pcscd and every program that uses it see a card.

The reader driver vpcd listens on TCP 35963; the card is the client. A message is a big-endian length
of two bytes and that many bytes: one byte is a control (00 power off, 01 power on, 02 reset, 04 asks
for the ATR, the only one with an answer), more are a command APDU. Closing the connection takes the
card out. vpcd listens on every address and knows no login: keep its ports behind a firewall.
"""

import contextlib
import socket
import threading
from typing import Final, Protocol

import structlog

from digiid.formats.card import ATR
from digiid.kernel.errors import DigiidError, Unavailable

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 35963  # vpcd's first slot
_POWER_OFF, _POWER_ON, _RESET, _GET_ATR = 0x00, 0x01, 0x02, 0x04
_CONNECT_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 2.0
_MEMORY_FAILURE: Final = b"\x65\x81"
_NO_DIAGNOSIS: Final = b"\x6f\x00"

log = structlog.get_logger("virtual_reader")


class PoweredCard(Protocol):
    """An opened card that can be reset: a chip of the shelf, here or behind the reader socket."""

    def transmit(self, command: bytes) -> bytes: ...

    def reset(self) -> None: ...


class VirtualReader:
    """Keeps one card in the virtual reader until it is taken out, across restarts of pcscd."""

    def __init__(
        self,
        card: PoweredCard,
        *,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self._card = card
        self._address = (host, port)
        self._retry_seconds = retry_seconds
        self._removed = threading.Event()
        self._inserted = threading.Event()
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def inserted(self) -> bool:
        """Is the card in the reader now, as far as the reader's driver is concerned?"""
        return self._inserted.is_set()

    def wait_until_inserted(self, timeout_seconds: float) -> bool:
        """Wait for the reader to take the card; False when no reader listens in that time."""
        return self._inserted.wait(timeout_seconds)

    def insert(self) -> None:
        """Put the card in, on a thread of its own; where no reader listens yet, as soon as one does."""
        self._thread = threading.Thread(target=self.run, name="digiid-virtual-reader", daemon=True)
        self._thread.start()

    def remove(self) -> None:
        """Take the card out."""
        self._removed.set()
        with self._lock:
            if self._connection is not None:
                _shut(self._connection)
        if self._thread is not None:
            self._thread.join(timeout=_CONNECT_SECONDS + 1)

    def run(self) -> None:
        """Serve the reader on this thread until `remove`."""
        while not self._removed.is_set():
            try:
                connection = socket.create_connection(self._address, timeout=_CONNECT_SECONDS)
            except OSError:
                self._removed.wait(self._retry_seconds)
                continue
            with connection:
                with self._lock:
                    self._connection = connection
                try:
                    if not self._removed.is_set():
                        self._serve(connection)
                finally:
                    self._inserted.clear()
                    with self._lock:
                        self._connection = None
            self._removed.wait(self._retry_seconds)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._card.reset()
        self._inserted.set()
        log.info("card_inserted", host=self._address[0], port=self._address[1])
        try:
            while (message := _receive(connection)) is not None:
                answer = self._answer(message)
                if answer is not None:
                    connection.sendall(len(answer).to_bytes(2) + answer)
        except OSError as error:
            log.info("reader_connection_ended", reason=error.strerror or type(error).__name__)
        except Unavailable as error:
            log.info("card_gone", code=error.code)  # without the card the connection ends: the reader sees it taken out
            self._removed.set()
        self._card_off()

    def _answer(self, message: bytes) -> bytes | None:
        if len(message) > 1:
            return self._transmit(message)
        if message in (bytes((_POWER_OFF,)), bytes((_POWER_ON,)), bytes((_RESET,))):
            self._card.reset()
            return None
        if message == bytes((_GET_ATR,)):
            return ATR
        return None

    def _transmit(self, command: bytes) -> bytes:
        try:
            return self._card.transmit(command)
        except Unavailable as error:
            if error.code == "card.removed":
                raise
            return _MEMORY_FAILURE  # the chip's change could not be stored: it did not happen
        except DigiidError as error:
            log.error("card_failed", code=error.code)
            return _NO_DIAGNOSIS

    def _card_off(self) -> None:
        try:
            self._card.reset()
        except DigiidError as error:
            log.info("card_gone", code=error.code)


def _receive(connection: socket.socket) -> bytes | None:
    """One message, None at the end of the connection or of sense (a message without length)."""
    header = _receive_exactly(connection, 2)
    if header is None:
        return None
    return _receive_exactly(connection, int.from_bytes(header)) or None


def _receive_exactly(connection: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        # vpcd writes length and body apart: without this, Nagle and delayed acknowledgement cost 44 ms a command
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        part = connection.recv(count - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side may have been faster
        connection.shutdown(socket.SHUT_RDWR)
