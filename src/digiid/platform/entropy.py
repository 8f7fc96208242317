"""Where randomness comes from. Keys, nonces, identifiers and PINs are made from an Entropy that is handed in."""

import base64
import hashlib
import secrets
import threading
from typing import Protocol


class Entropy(Protocol):
    """Gives unpredictable bytes."""

    def token_bytes(self, count: int) -> bytes: ...


class SystemEntropy:
    """The operating system's generator."""

    def token_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)


class SeededEntropy:
    """The same bytes for the same seed: for vectors and reproducible drills, never for a running state."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._counter = 0
        self._lock = threading.Lock()

    def token_bytes(self, count: int) -> bytes:
        with self._lock:
            number = self._counter
            self._counter += 1
        return hashlib.shake_256(self._seed + number.to_bytes(8, "big")).digest(count)


def new_id(entropy: Entropy) -> str:
    """A random UUID (RFC 9562 version 4) in lower-case text."""
    number = bytearray(entropy.token_bytes(16))
    number[6], number[8] = number[6] & 0x0F | 0x40, number[8] & 0x3F | 0x80  # §4.1 variant, §4.2 version
    text = number.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def token_urlsafe(entropy: Entropy, count: int = 32) -> str:
    """`count` random bytes as unpadded base64url text."""
    return base64.urlsafe_b64encode(entropy.token_bytes(count)).rstrip(b"=").decode()


def random_below(entropy: Entropy, limit: int) -> int:
    """A uniform integer in `range(limit)`; draws beyond the last whole multiple are thrown away, so no bias."""
    if limit < 1:
        raise ValueError("limit must be positive")
    size = (limit.bit_length() + 7) // 8 + 1
    span = 256**size
    while True:
        value = int.from_bytes(entropy.token_bytes(size), "big")
        if value < span - span % limit:
            return value % limit


def random_digits(entropy: Entropy, count: int) -> str:
    """`count` uniform decimal digits, as a PIN or a code typed by a person has them."""
    return str(random_below(entropy, 10**count)).zfill(count)
