"""ChaCha20-Poly1305 (RFC 8439 §2.8) over a payload of any size, in constant memory.

The library's own AEAD takes a whole message at once. Here the two primitives are put together as §2.8 does it:
block 0 of the key stream is the Poly1305 key, the message starts with block 1, and the tag covers the additional
data, the ciphertext and both lengths.
"""

import hmac
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.poly1305 import Poly1305

from digiid.kernel.errors import Malformed, Refused

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
MAX_PAYLOAD_BYTES: Final = (2**32 - 1) * 64  # §2.8: the block counter has 32 bits
CHUNK_BYTES: Final = 256 * 1024
_BLOCK_BYTES: Final = 64
_POLY1305_KEY_BYTES: Final = 32
Progress = Callable[[int], None]  # called with how many more bytes are done


class PayloadCipher:
    """One direction over one message: `transform` all of it in order, then `tag`."""

    def __init__(self, key: bytes, nonce: bytes, *, aad: bytes, encrypts: bool) -> None:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
        self._stream = Cipher(ChaCha20(key, bytes(4) + nonce), mode=None).encryptor()
        self._mac = Poly1305(self._stream.update(bytes(_BLOCK_BYTES))[:_POLY1305_KEY_BYTES])
        self._mac.update(aad + bytes(-len(aad) % 16))
        self._aad_bytes = len(aad)
        self._message_bytes = 0
        self._encrypts = encrypts

    def transform(self, chunk: bytes) -> bytes:
        """Encrypt or decrypt the next part. What is decrypted is nobody's until the tag was checked."""
        self._count(chunk)
        if self._encrypts:
            encrypted = self._stream.update(chunk)
            self._mac.update(encrypted)
            return encrypted
        self._mac.update(chunk)
        return self._stream.update(chunk)

    def authenticate(self, chunk: bytes) -> None:
        """Pass the next part of a ciphertext through the MAC alone."""
        self._count(chunk)
        self._mac.update(chunk)

    def tag(self) -> bytes:
        """The tag over everything; nothing may follow."""
        lengths = self._aad_bytes.to_bytes(8, "little") + self._message_bytes.to_bytes(8, "little")
        self._mac.update(bytes(-self._message_bytes % 16) + lengths)
        return self._mac.finalize()

    def _count(self, chunk: bytes) -> None:
        self._message_bytes += len(chunk)
        if self._message_bytes > MAX_PAYLOAD_BYTES:
            raise Malformed("cdoc2.payload.size", "the payload is larger than one key may encrypt")


def encrypt_payload(chunks: Iterable[bytes], key: bytes, nonce: bytes, *, aad: bytes) -> Iterator[bytes]:
    """The ciphertext and at its end the tag. `nonce` is fresh, as is `key`."""
    cipher = PayloadCipher(key, nonce, aad=aad, encrypts=True)
    for chunk in chunks:
        yield cipher.transform(chunk)
    yield cipher.tag()


def verify_payload(file: BinaryIO, key: bytes, nonce: bytes, *, aad: bytes, span: range, progress: Progress) -> None:
    """Check the tag over the ciphertext in `span` of the file, without decrypting anything.

    Raises: Refused `cdoc2.payload.changed`; Malformed `cdoc2.payload.size`.
    """
    cipher = PayloadCipher(key, nonce, aad=aad, encrypts=False)
    for chunk in read_span(file, span):
        cipher.authenticate(chunk)
        progress(len(chunk))
    _check_tag(cipher, file)


def decrypt_payload(
    file: BinaryIO, key: bytes, nonce: bytes, *, aad: bytes, span: range, progress: Progress
) -> Iterator[bytes]:
    """The plaintext in parts. It is checked once more at the end, so that a file that changes meanwhile is noticed:
    nothing may be shown to anybody before the last part was taken.

    Raises: as `verify_payload`.
    """
    cipher = PayloadCipher(key, nonce, aad=aad, encrypts=False)
    for chunk in read_span(file, span):
        yield cipher.transform(chunk)
        progress(len(chunk))
    _check_tag(cipher, file)


def read_span(file: BinaryIO, span: range) -> Iterator[bytes]:
    """The bytes of a part of a file, and the file stands behind it. Raises: Malformed `cdoc2.envelope.cut`."""
    file.seek(span.start)
    left = len(span)
    while left:
        chunk = file.read(min(CHUNK_BYTES, left))
        if not chunk:
            raise Malformed("cdoc2.envelope.cut", "the container ends early")
        left -= len(chunk)
        yield chunk


def _check_tag(cipher: PayloadCipher, file: BinaryIO) -> None:
    if not hmac.compare_digest(cipher.tag(), file.read(TAG_BYTES)):
        text = "The container was changed or is damaged: nothing is decrypted."
        raise Refused("cdoc2.payload.changed", "the payload's tag does not fit", public=text)
