"""How other processes reach the chips of the process that owns the shelf: a unix socket, mode 0600.

Frames both ways: length u32 ‖ payload. The first frame of a connection is a request in JSON:

    {"do": "list"}                     -> {"ok": [[document number, personalised], …]}
    {"do": "open", "card": number}     -> {"ok": null}; from here on each frame is a command APDU
    {"do": "insert", "card": number}   -> {"ok": null}   put the card into the virtual reader
    {"do": "remove"}                   -> {"ok": null}   take it out

An opened card answers 00 ‖ response APDU; an empty frame powers it off and on and is answered 00 alone.
An error is {"error": […]}, on an opened card 01 ‖ that. One connection is one power-up.
"""

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from digiid.devices.card_shelf import CardShelf, CardSource, OpenCard, ShelfCard
from digiid.formats.apdu import MAX_COMMAND_BYTES, MAX_RESPONSE_BYTES
from digiid.kernel.errors import Broken, Conflict, DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.entropy import Entropy

CARDS_FOLDER: Final = "cards"
SOCKET_NAME: Final = "reader.sock"
_MAX_FRAME_BYTES: Final = max(MAX_COMMAND_BYTES, MAX_RESPONSE_BYTES) + 1
_MAX_CONNECTIONS: Final = 32
_TIMEOUT_SECONDS: Final = 30.0
_KINDS: Final[dict[str, type[DigiidError]]] = {
    kind.kind: kind for kind in (Malformed, Refused, NotFound, Conflict, Unavailable, Broken)
}
_log = structlog.get_logger(__name__)


class ReaderServer:
    """Answers on the socket while the owner of the shelf lives.

    `on_insert` and `on_remove` are what the owner does with its virtual reader; without them the
    requests are refused.
    """

    def __init__(
        self,
        path: Path,
        source: CardSource,
        *,
        on_insert: Callable[[str], None] | None = None,
        on_remove: Callable[[], None] | None = None,
    ) -> None:
        self._path = path
        self._source = source
        self._on_insert = on_insert
        self._on_remove = on_remove
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)  # left by a killed owner: whoever owns the shelf owns this name
        with _short_path(path) as address:
            self._listener.bind(address)
        path.chmod(0o600)  # before listen: nobody can have connected yet
        self._listener.listen(_MAX_CONNECTIONS)
        self._thread = threading.Thread(target=self._accept, name="digiid-reader", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering; open connections end."""
        with self._lock:
            connections = [self._listener, *self._open]
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._path.unlink(missing_ok=True)
        self._thread.join(timeout=_TIMEOUT_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            if _peer_user(connection) != os.getuid() or not self._places.acquire(blocking=False):
                connection.close()
                continue
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="digiid-reader-card", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._converse(connection)
        except (OSError, EOFError, Malformed):
            pass  # the other side went away or speaks something else
        except Exception:
            _log.exception("reader.failed")  # the edge of a thread: one connection ends, the others go on
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()
            self._places.release()

    def _converse(self, connection: socket.socket) -> None:
        try:
            card = self._begin(connection)
        except DigiidError as error:
            _send_frame(connection, json.dumps(_describe(error)).encode())
            return
        if card is None:
            return
        while True:
            command = _receive_frame(connection)
            try:
                if command:
                    answer = b"\x00" + card.transmit(command)
                else:
                    card.reset()
                    answer = b"\x00"
            except DigiidError as error:
                answer = b"\x01" + json.dumps(_describe(error)).encode()
            _send_frame(connection, answer)

    def _begin(self, connection: socket.socket) -> OpenCard | None:
        request = _parse_request(_receive_frame(connection))
        number = request.get("card", "")
        answer: list[list[str | bool]] | None = None
        card = None
        match request.get("do"):
            case "list":
                answer = [[entry.document_number, entry.personalised] for entry in self._source.list()]
            case "open":
                card = self._source.open(number)
            case "insert" if self._on_insert is not None:
                self._on_insert(number)
            case "remove" if self._on_remove is not None:
                self._on_remove()
            case _:
                raise Refused("card.reader.request", "the reader does not do that")
        _send_frame(connection, json.dumps({"ok": answer}).encode())
        return card


class ReaderClient:
    """The shelf of another process.

    Raises (every method): Unavailable `card.reader.unreachable`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def list(self) -> Sequence[ShelfCard]:
        """As `CardShelf.list`."""
        entries = self._ask({"do": "list"})
        if not isinstance(entries, list):
            raise Malformed("card.reader.answer", "a list of cards was expected")
        return [ShelfCard(str(number), bool(personalised)) for number, personalised in entries]

    def open(self, document_number: str) -> OpenCard:
        """As `CardShelf.open`. Raises: NotFound `card.unknown`."""
        connection = self._connect()
        try:
            _request(connection, {"do": "open", "card": document_number})
        except BaseException:
            connection.close()
            raise
        return RemoteCard(connection)

    def insert(self, document_number: str) -> None:
        """Put a card into the owner's virtual reader."""
        self._ask({"do": "insert", "card": document_number})

    def remove(self) -> None:
        """Take the card out of the owner's virtual reader."""
        self._ask({"do": "remove"})

    def close(self) -> None:
        """Nothing to give back: each request has a connection of its own."""

    def _ask(self, request: dict[str, str]) -> object:
        with self._connect() as connection:
            return _request(connection, request)

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_TIMEOUT_SECONDS)
        try:
            with _short_path(self._path) as address:
                connection.connect(address)
        except OSError as error:
            connection.close()
            raise Unavailable(
                "card.reader.unreachable", f"no process answers at {self._path}: {error.strerror}"
            ) from error
        return connection


class RemoteCard:
    """A card powered up in another process, for as long as this connection lives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def transmit(self, command: bytes) -> bytes:
        """As `Transport.transmit`."""
        return self._exchange(command)

    def reset(self) -> None:
        """Power off and on."""
        self._exchange(b"")

    def close(self) -> None:
        """Power off."""
        self._connection.close()

    def __del__(self) -> None:
        self._connection.close()

    def _exchange(self, frame: bytes) -> bytes:
        with self._lock:
            try:
                _send_frame(self._connection, frame)
                answer = _receive_frame(self._connection)
            except (OSError, EOFError) as error:
                raise Unavailable("card.removed", "the reader went away", public="The card was removed.") from error
        if answer[:1] == b"\x00":
            return answer[1:]
        raise _error_in(_parse_answer(answer[1:]))


def open_source(state_folder: Path, entropy: Entropy) -> CardSource:
    """The cards of a state, whether it runs or not: own the shelf, or ask the process that does. Close it after use.

    Raises:
        NotFound: `card.no_shelf`: no state was ever made there. Unavailable: `card.reader.unreachable`.
    """
    cards = state_folder / CARDS_FOLDER
    if not cards.is_dir():
        text = f"There are no cards in {state_folder}."
        raise NotFound("card.no_shelf", text, public=text)
    try:
        return CardShelf(cards, entropy)
    except Conflict:
        return ReaderClient(state_folder / SOCKET_NAME)


def _request(connection: socket.socket, request: dict[str, str]) -> object:
    try:
        _send_frame(connection, json.dumps(request).encode())
        answer = _parse_answer(_receive_frame(connection))
    except (OSError, EOFError) as error:
        raise Unavailable("card.reader.unreachable", "the reader ended the connection") from error
    if "ok" not in answer:
        raise _error_in(answer)
    return answer["ok"]


def _send_frame(connection: socket.socket, payload: bytes) -> None:
    connection.sendall(struct.pack(">I", len(payload)) + payload)


def _receive_frame(connection: socket.socket) -> bytes:
    (length,) = struct.unpack(">I", _receive(connection, 4))
    if length > _MAX_FRAME_BYTES:
        raise Malformed("card.reader.frame", "a frame longer than any command")
    return _receive(connection, length)


def _receive(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _parse_request(frame: bytes) -> dict[str, str]:
    try:
        request = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise Malformed("card.reader.request", "the first frame is no JSON") from error
    if not isinstance(request, dict) or not all(isinstance(value, str) for value in request.values()):
        raise Malformed("card.reader.request", "a request is an object of texts")
    return request


def _parse_answer(frame: bytes) -> dict[str, object]:
    try:
        answer = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise Malformed("card.reader.answer", "the answer is no JSON") from error
    if not isinstance(answer, dict):
        raise Malformed("card.reader.answer", "an answer is an object")
    return answer


def _describe(error: DigiidError) -> dict[str, list[str | None]]:
    return {"error": [error.kind, error.code, error.detail, error.public]}


def _error_in(answer: dict[str, object]) -> DigiidError:
    match answer.get("error"):
        case [str(kind), str(code), str(detail), str() | None as public] if kind in _KINDS:
            return _KINDS[kind](code, detail, public=public)
        case _:
            return Malformed("card.reader.answer", "neither a result nor an error")


def _peer_user(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    user: int = struct.unpack("3i", credentials)[1]
    return user


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """A name for `path` that fits into a socket address (108 bytes), through the descriptor of its folder."""
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
