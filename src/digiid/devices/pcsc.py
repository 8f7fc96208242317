"""Smart-card readers through PC/SC (libpcsclite), by ctypes: list, connect, transmit.

Only what a card session needs, of PC/SC Workgroup part 5 as pcsc-lite 1.9 and 2.x offer it on Linux.
The library is looked for when it is first needed: a machine without it has no readers, and says so.
"""

import ctypes
import ctypes.util
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Final

from digiid.formats.apdu import MAX_RESPONSE_BYTES
from digiid.kernel.errors import Unavailable

_SCOPE_SYSTEM: Final = 2
_SHARE_SHARED: Final = 2
_PROTOCOL_T0, _PROTOCOL_T1 = 1, 2
_LEAVE_CARD, _RESET_CARD = 0, 1
_STATE_PRESENT: Final = 0x20
_MAX_ATR_BYTES: Final = 33
_MAX_READER_NAME: Final = 128
_MAX_READERS_TEXT: Final = 16 * _MAX_READER_NAME

_DWORD = ctypes.c_ulong
_LONG = ctypes.c_long

# pcsc-lite's pcsclite.h
_SUCCESS: Final = 0
_NO_READERS: Final = 0x8010002E
_REMOVED: Final = frozenset({0x80100069, 0x8010000C, 0x80100017, 0x80100068})  # removed, none, reader gone, reset
_NAMES: Final = {
    0x8010001D: "the card service (pcscd) is not running",
    0x8010001E: "the card service (pcscd) stopped",
    0x8010000B: "another program uses the card alone",
    0x80100066: "the card does not answer",
    0x80100067: "the card has no power",
    0x8010006A: "this user may not use the reader",
}


class _IoRequest(ctypes.Structure):
    _fields_ = (("protocol", _DWORD), ("length", _DWORD))


class _ReaderState(ctypes.Structure):
    _fields_ = (
        ("reader", ctypes.c_char_p),
        ("user_data", ctypes.c_void_p),
        ("current_state", _DWORD),
        ("event_state", _DWORD),
        ("atr_length", _DWORD),
        ("atr", ctypes.c_ubyte * _MAX_ATR_BYTES),
    )


@dataclass(frozen=True, slots=True)
class ReaderStatus:
    """A reader; `atr` is that of the card in it, empty without one."""

    name: str
    atr: bytes


class PcscCard:
    """A session with the card in a reader. A Transport; no other program's commands come between while it is open."""

    def __init__(self, library: Any, reader: str) -> None:
        self._library = library
        self._lock = threading.Lock()
        self._context = _establish(library)
        self._handle = _LONG()
        protocol = _DWORD()
        try:
            _check(
                library.SCardConnect(
                    self._context,
                    reader.encode(),
                    _DWORD(_SHARE_SHARED),
                    _DWORD(_PROTOCOL_T0 | _PROTOCOL_T1),
                    ctypes.byref(self._handle),
                    ctypes.byref(protocol),
                )
            )
        except Unavailable:
            library.SCardReleaseContext(self._context)
            raise
        self._open = True
        self._request = _IoRequest(protocol.value, ctypes.sizeof(_IoRequest))
        self._buffer = ctypes.create_string_buffer(MAX_RESPONSE_BYTES)
        try:
            _check(library.SCardBeginTransaction(self._handle))
        except Unavailable:
            self.close()
            raise

    def transmit(self, command: bytes) -> bytes:
        """Send one command. Raises: Unavailable `card.removed`, `card.reader`."""
        with self._lock:
            if not self._open:
                raise Unavailable("card.removed", "the session with the reader is closed")
            length = _DWORD(len(self._buffer))
            _check(
                self._library.SCardTransmit(
                    self._handle,
                    ctypes.byref(self._request),
                    command,
                    _DWORD(len(command)),
                    None,
                    self._buffer,
                    ctypes.byref(length),
                )
            )
            return self._buffer.raw[: length.value]

    def close(self) -> None:
        """End the session; the card is reset, so that no PIN shown here stays open for the next program."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            self._library.SCardEndTransaction(self._handle, _DWORD(_LEAVE_CARD))
            self._library.SCardDisconnect(self._handle, _DWORD(_RESET_CARD))
            self._library.SCardReleaseContext(self._context)

    def __enter__(self) -> "PcscCard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def list_readers() -> Sequence[ReaderStatus]:
    """Readers and the cards in them; none when there is no PC/SC on this machine or its service does not run."""
    library = _load()
    if library is None:
        return []
    try:
        context = _establish(library)
    except Unavailable:
        return []
    try:
        return [ReaderStatus(name, _atr(library, context, name)) for name in _reader_names(library, context)]
    except Unavailable:
        return []  # a reader was unplugged between two calls
    finally:
        library.SCardReleaseContext(context)


def connect(reader: str) -> PcscCard:
    """Open a session with the card in `reader`.

    Raises: Unavailable `card.reader` (no PC/SC, no such reader, card in use), `card.removed` (no card in it).
    """
    library = _load()
    if library is None:
        raise Unavailable("card.reader", "libpcsclite is not installed", public="No card reader software is installed.")
    return PcscCard(library, reader)


@cache
def _load() -> Any:
    name = ctypes.util.find_library("pcsclite") or "libpcsclite.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return None
    for function in (
        "SCardEstablishContext",
        "SCardReleaseContext",
        "SCardListReaders",
        "SCardGetStatusChange",
        "SCardConnect",
        "SCardDisconnect",
        "SCardBeginTransaction",
        "SCardEndTransaction",
        "SCardTransmit",
    ):
        getattr(library, function).restype = _LONG
    return library


def _establish(library: Any) -> ctypes.c_long:
    context = _LONG()
    _check(library.SCardEstablishContext(_DWORD(_SCOPE_SYSTEM), None, None, ctypes.byref(context)))
    return context


def _reader_names(library: Any, context: ctypes.c_long) -> list[str]:
    buffer = ctypes.create_string_buffer(_MAX_READERS_TEXT)
    length = _DWORD(len(buffer))
    answer = library.SCardListReaders(context, None, buffer, ctypes.byref(length)) & 0xFFFFFFFF
    if answer == _NO_READERS:
        return []
    _check(answer)
    names = buffer.raw[: length.value].split(b"\x00")
    return [name.decode("utf-8", errors="replace") for name in names if name]


def _atr(library: Any, context: ctypes.c_long, reader: str) -> bytes:
    state = _ReaderState(reader=reader.encode())
    _check(library.SCardGetStatusChange(context, _DWORD(0), ctypes.byref(state), _DWORD(1)))
    if not state.event_state & _STATE_PRESENT:
        return b""
    return bytes(state.atr[: min(state.atr_length, _MAX_ATR_BYTES)])


def _check(answer: int) -> None:
    code = answer & 0xFFFFFFFF
    if code == _SUCCESS:
        return
    if code in _REMOVED:
        raise Unavailable("card.removed", f"PC/SC {code:08X}", public="The card was removed from the reader.")
    text = _NAMES.get(code, "the reader answered with an error")
    raise Unavailable("card.reader", f"PC/SC {code:08X}: {text}", public=f"The card reader cannot be used: {text}.")
