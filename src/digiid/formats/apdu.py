"""Command and response APDUs, ISO/IEC 7816-4:2020 §5: short and extended length, cases 1 to 4.

Not supported: command chaining, secure messaging and logical channels other than the basic one
(the card of this package answers class byte 00 only), and GET RESPONSE, which T=1 does not need.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from digiid.kernel.errors import Malformed

MAX_COMMAND_BYTES: Final = 4 + 3 + 65535 + 2
MAX_RESPONSE_BYTES: Final = 65536 + 2
MAX_SHORT_NC: Final = 255
MAX_SHORT_NE: Final = 256


class Transport(Protocol):
    """A way to a card: the virtual chip in this process, behind a socket, or a PC/SC reader."""

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU, return response data followed by SW1 SW2.

        Raises: Unavailable `card.removed` when no card is there any more.
        """
        ...


class StatusWord(IntEnum):
    """Status words that this program gives or understands, ISO/IEC 7816-4 §5.6 and the chip specification."""

    OK = 0x9000
    END_OF_FILE = 0x6282
    MEMORY_FAILURE = 0x6581
    WRONG_LENGTH = 0x6700
    SECURITY_STATUS_NOT_SATISFIED = 0x6982
    AUTHENTICATION_BLOCKED = 0x6983
    REFERENCE_DATA_NOT_USABLE = 0x6984
    CONDITIONS_NOT_SATISFIED = 0x6985
    NO_CURRENT_EF = 0x6986
    INCORRECT_DATA = 0x6A80
    NOT_FOUND = 0x6A82
    INCORRECT_P1_P2 = 0x6A86
    NC_INCONSISTENT_WITH_P1_P2 = 0x6A87
    REFERENCED_DATA_NOT_FOUND = 0x6A88
    WRONG_OFFSET = 0x6B00
    INS_NOT_SUPPORTED = 0x6D00
    CLA_NOT_SUPPORTED = 0x6E00
    NO_PRECISE_DIAGNOSIS = 0x6F00


def tries_left_status(tries_left: int) -> int:
    """63Cx, "verification failed, x further tries"; 6983 when none is left."""
    return 0x63C0 | tries_left if tries_left else StatusWord.AUTHENTICATION_BLOCKED


def describe_status(status: int) -> str:
    """A status word for a log or a message: its number and its name."""
    if status & 0xFFF0 == 0x63C0:
        return f"{status:04X} ({status & 0xF} tries left)"
    try:
        return f"{status:04X} ({StatusWord(status).name.lower().replace('_', ' ')})"
    except ValueError:
        return f"{status:04X}"


@dataclass(frozen=True, slots=True)
class CommandApdu:
    """`ne` is the expected number of response bytes (Ne); None when the command has no Le field."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    ne: int | None = None

    @property
    def p1_p2(self) -> int:
        return self.p1 << 8 | self.p2


@dataclass(frozen=True, slots=True)
class ResponseApdu:
    """What a card answers: data, then the status word."""

    data: bytes
    status: int


def parse_command(command: bytes) -> CommandApdu:
    """Read a command APDU, ISO/IEC 7816-4 §5.2 table 3.

    Raises: Malformed `apdu.command`, when the header is cut or the length fields disagree with the bytes.
    """
    if len(command) < 4:
        raise Malformed("apdu.command", f"{len(command)} bytes are no header")
    if len(command) > MAX_COMMAND_BYTES:
        raise Malformed("apdu.command", "longer than any command")
    cla, ins, p1, p2 = command[:4]
    body = command[4:]
    if not body:  # case 1
        return CommandApdu(cla, ins, p1, p2)
    if len(body) == 1:  # case 2, short
        return CommandApdu(cla, ins, p1, p2, ne=body[0] or MAX_SHORT_NE)
    if body[0]:
        data, ne = _short_data(body)
    else:
        data, ne = _extended_data(body)
    return CommandApdu(cla, ins, p1, p2, data, ne)


def _short_data(body: bytes) -> tuple[bytes, int | None]:
    nc = body[0]
    if len(body) == 1 + nc:  # case 3
        return body[1:], None
    if len(body) == 2 + nc:  # case 4
        return body[1:-1], body[-1] or MAX_SHORT_NE
    raise Malformed("apdu.command", f"Lc {nc} does not fit {len(body)} bytes of body")


def _extended_data(body: bytes) -> tuple[bytes, int | None]:
    if len(body) == 3:  # case 2
        return b"", int.from_bytes(body[1:]) or 65536
    nc = int.from_bytes(body[1:3])
    if nc and len(body) == 3 + nc:  # case 3
        return body[3:], None
    if nc and len(body) == 5 + nc:  # case 4
        return body[3:-2], int.from_bytes(body[-2:]) or 65536
    raise Malformed("apdu.command", f"extended Lc {nc} does not fit {len(body)} bytes of body")


def build_command(  # noqa: PLR0917 - the six fields of a command in their order on the wire
    cla: int, ins: int, p1: int, p2: int, data: bytes = b"", ne: int | None = None
) -> bytes:
    """Encode a command APDU, short where it fits."""
    if len(data) > 65535 or (ne is not None and not 1 <= ne <= 65536):
        raise ValueError("Nc is at most 65535, Ne 1 to 65536")
    header = bytes((cla, ins, p1, p2))
    if len(data) <= MAX_SHORT_NC and (ne is None or ne <= MAX_SHORT_NE):
        lc = bytes((len(data),)) if data else b""
        le = b"" if ne is None else bytes((ne % 256,))
        return header + lc + data + le
    lc = b"\x00" + len(data).to_bytes(2) if data else b""
    le = b"" if ne is None else (b"" if data else b"\x00") + (ne % 65536).to_bytes(2)
    return header + lc + data + le


def parse_response(response: bytes) -> ResponseApdu:
    """Split an answer into data and status word. Raises: Malformed `apdu.response`."""
    if not 2 <= len(response) <= MAX_RESPONSE_BYTES:
        raise Malformed("apdu.response", f"{len(response)} bytes are no response")
    return ResponseApdu(response[:-2], int.from_bytes(response[-2:]))


def build_response(data: bytes, status: int) -> bytes:
    """Encode an answer."""
    return data + status.to_bytes(2)
