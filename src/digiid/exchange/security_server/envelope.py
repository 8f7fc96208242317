"""One message between two security servers: its envelope read into parts, and written part by part.

The signature is over digests, so nothing but the small parts is held in memory; a body goes into its spool as it comes.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from digiid.exchange.security_server.connections import Body
from digiid.exchange.security_server.signing_keys import Signed
from digiid.exchange.security_server.spool import Spool, SpoolFolder
from digiid.formats.exchange.faults import MAX_FAULT_BYTES
from digiid.formats.exchange.hash_chain import MAX_CHAIN_BYTES, FindDigest, HashChain, digests_of
from digiid.formats.exchange.message_signature import BODY, MESSAGE
from digiid.formats.exchange.multipart import (
    MultipartLimits,
    MultipartParser,
    PartData,
    PartStart,
    close_envelope,
    open_part,
)
from digiid.formats.exchange.part_order import (
    FAULT,
    HASH_CHAIN,
    HASH_CHAIN_RESULT,
    OCSP,
    REST_BODY,
    REST_REQUEST,
    REST_RESPONSE,
    SIGNATURE,
    PartOrder,
)
from digiid.formats.exchange.rest_message import MAX_PART_BYTES
from digiid.formats.ocsp import MAX_RESPONSE_BYTES
from digiid.kernel.errors import Malformed
from digiid.platform.entropy import Entropy

MAX_PARTS: Final = 16
MAX_SIGNATURE_BYTES: Final = 512 * 1024
MAX_SMALL_PARTS_BYTES: Final = 2 * 1024**2  # all parts but the body
ENVELOPE_OVERHEAD_BYTES: Final = MAX_SMALL_PARTS_BYTES + MAX_PARTS * 1024  # what an envelope has beside its body
_LETTERS: Final = bytes(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"[i % 32] for i in range(256))


@dataclass(slots=True)
class Envelope:
    """What came. `body` is None when there was no body part, which is not the same as an empty one. `sender` is the
    member whose body it is, as far as that is known when the body begins."""

    sender: Hashable = None
    ocsp_ders: tuple[bytes, ...] = ()
    message: bytes = field(default=b"", repr=False)
    body: Spool | None = None
    hash_chain: HashChain | None = None
    signature_xml: bytes = field(default=b"", repr=False)
    fault: bytes | None = field(default=None, repr=False)

    def parts(self) -> dict[str, FindDigest]:
        """The signed parts, by URI."""
        found: dict[str, FindDigest] = {MESSAGE: digests_of(self.message)}
        if self.body is not None:
            found[BODY] = self.body.find_digest
        return found

    def close(self) -> None:
        if self.body is not None:
            self.body.close()


CheckMessage = Callable[[Envelope], Awaitable[None]]


async def read_envelope(
    stream: Body,
    boundary: str,
    order: Mapping[str, frozenset[str]],
    *,
    spools: SpoolFolder,
    max_body_bytes: int,
    sender: Hashable = None,
    check_message: CheckMessage | None = None,
) -> Envelope:
    """Read the whole envelope. `check_message` is called when the REST part is complete: what it raises ends the
    reading before the body has come; it may set the envelope's `sender`. The caller closes the envelope.

    Raises: Malformed `exchange.multipart.…`, `exchange.part_order`, `exchange.http.…`, `exchange.body_too_large`;
        Unavailable `exchange.spool…`; what `check_message` raises.
    """
    parser, parts = MultipartParser(boundary, _limits(max_body_bytes)), PartOrder(dict(order))
    envelope, small = Envelope(sender), bytearray()
    kind, chain_result, held = "", b"", 0
    try:
        while data := await stream.read():
            for event in parser.feed(data):
                if isinstance(event, PartData):
                    if kind == REST_BODY:
                        assert envelope.body is not None
                        envelope.body.write(event.data)
                        continue
                    held += len(event.data)
                    if held > MAX_SMALL_PARTS_BYTES:
                        raise Malformed("exchange.multipart.too_large", "the parts beside the body are too long")
                    small += event.data
                elif isinstance(event, PartStart):
                    kind = event.content_type
                    parts.accept(kind)
                    small = bytearray()
                    if kind == REST_BODY:
                        envelope.body = spools.open(max_bytes=max_body_bytes, of=envelope.sender)
                elif kind in (REST_REQUEST, REST_RESPONSE):
                    envelope.message = bytes(small)
                    if check_message is not None:
                        await check_message(envelope)
                elif kind == OCSP:
                    envelope.ocsp_ders += (bytes(small),)
                elif kind == HASH_CHAIN_RESULT:
                    chain_result = bytes(small)
                elif kind == HASH_CHAIN:
                    envelope.hash_chain = HashChain(chain_result, bytes(small))
                elif kind == SIGNATURE:
                    envelope.signature_xml = bytes(small)
                elif kind == FAULT:
                    envelope.fault = bytes(small)
        parser.finish()
        parts.finish()
    except BaseException:
        envelope.close()
        raise
    return envelope


@lru_cache(maxsize=8)
def _limits(max_body_bytes: int) -> MultipartLimits:
    return MultipartLimits(
        max_parts=MAX_PARTS,
        max_bytes_of={
            OCSP: MAX_RESPONSE_BYTES,
            REST_REQUEST: MAX_PART_BYTES,
            REST_RESPONSE: MAX_PART_BYTES,
            REST_BODY: max_body_bytes,
            HASH_CHAIN_RESULT: MAX_CHAIN_BYTES,
            HASH_CHAIN: MAX_CHAIN_BYTES,
            SIGNATURE: MAX_SIGNATURE_BYTES,
            FAULT: MAX_FAULT_BYTES,
        },
    )


# ------------------------------------------------------------------ writing


def new_boundary(entropy: Entropy) -> str:
    """X-Road's form. It is new for every message and unpredictable, or a body could be made to hold it."""
    return "xtop" + entropy.token_bytes(30).translate(_LETTERS).decode("ascii")


def encode_beginning(boundary: str, ocsp_ders: Sequence[bytes], message_type: str, message: bytes) -> bytes:
    """The parts before the body."""
    pieces: list[bytes] = []
    for response in ocsp_ders:
        pieces += (open_part(boundary, OCSP, is_first=not pieces), response)
    pieces += (open_part(boundary, message_type, is_first=not pieces), message)
    return b"".join(pieces)


def encode_body_start(boundary: str) -> bytes:
    return open_part(boundary, REST_BODY, is_first=False)


def encode_end(boundary: str, signed: Signed) -> bytes:
    """The parts behind the body, and the end."""
    pieces = []
    if signed.hash_chain is not None:
        pieces += [open_part(boundary, HASH_CHAIN_RESULT, is_first=False), signed.hash_chain.result]
        pieces += [open_part(boundary, HASH_CHAIN, is_first=False), signed.hash_chain.chain]
    pieces += [open_part(boundary, SIGNATURE, is_first=False), signed.signature_xml, close_envelope(boundary)]
    return b"".join(pieces)


def encode_fault_end(boundary: str, fault: bytes) -> bytes:
    """The end of an answer that failed after it began."""
    return open_part(boundary, FAULT, is_first=False) + fault + close_envelope(boundary)
