"""The outermost layer of a CDOC2 file, version 2.

    "CDOC" 02 ‖ header length u32 big-endian ‖ header ‖ HMAC-SHA-256(HHK, header) ‖ nonce 12 ‖ ciphertext ‖ tag 16

The payload's additional data is "CDOC20payload" ‖ header ‖ HMAC, so header and payload belong together.
"""

from dataclasses import dataclass, field
from typing import BinaryIO, Final

from digiid.formats.cdoc2.header import MAX_HEADER_BYTES, Recipient, parse_header
from digiid.formats.cdoc2.payload import NONCE_BYTES, TAG_BYTES
from digiid.kernel.errors import Malformed

MAGIC: Final = b"CDOC\x02"
_LENGTH_BYTES: Final = 4
_HMAC_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class UnverifiedEnvelope:
    """What a file says before any key was tried. `ciphertext` are its places in the file."""

    recipients: tuple[Recipient, ...]
    header: bytes = field(repr=False)
    header_hmac: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    ciphertext: range

    @property
    def aad(self) -> bytes:
        return build_aad(self.header, self.header_hmac)


def parse_envelope(file: BinaryIO) -> UnverifiedEnvelope:
    """Read everything but the payload from a seekable file.

    Raises: Malformed `cdoc2.envelope.…`, `cdoc2.header.…`.
    """
    size = file.seek(0, 2)
    file.seek(0)
    prefix = file.read(len(MAGIC) + _LENGTH_BYTES)
    if prefix[: len(MAGIC)] != MAGIC or len(prefix) != len(MAGIC) + _LENGTH_BYTES:
        raise Malformed("cdoc2.envelope.magic", "not a CDOC2 file", public="This is not a CDOC2 container.")
    header_bytes = int.from_bytes(prefix[len(MAGIC) :])
    if header_bytes > MAX_HEADER_BYTES:
        raise Malformed("cdoc2.header.size", f"a header has at most {MAX_HEADER_BYTES} bytes")
    start = len(prefix) + header_bytes + _HMAC_BYTES + NONCE_BYTES
    if size < start + TAG_BYTES:
        raise Malformed("cdoc2.envelope.cut", "the container ends early")
    content = file.read(start - len(prefix))
    if len(content) != start - len(prefix):
        raise Malformed("cdoc2.envelope.cut", "the container ends early")
    header, rest = content[:header_bytes], content[header_bytes:]
    return UnverifiedEnvelope(
        recipients=parse_header(header),
        header=header,
        header_hmac=rest[:_HMAC_BYTES],
        nonce=rest[_HMAC_BYTES:],
        ciphertext=range(start, size - TAG_BYTES),
    )


def build_prefix(header: bytes, header_hmac: bytes, nonce: bytes) -> bytes:
    """Everything before the ciphertext."""
    return MAGIC + len(header).to_bytes(_LENGTH_BYTES) + header + header_hmac + nonce


def build_aad(header: bytes, header_hmac: bytes) -> bytes:
    """The additional data of the payload."""
    return b"CDOC20payload" + header + header_hmac
