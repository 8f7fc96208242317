"""Gives the chip its randomness from an Entropy."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from digiid.platform.entropy import Entropy

_P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16
)
_EXTRA_BITS_BYTES: Final = 56  # 64 bits more than the order: FIPS 186-5 §A.2.1


class EntropyHost:
    """A chip's Host on any Entropy: the system's for real cards, a seeded one for drills."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def random(self, count: int) -> bytes:
        return self._entropy.token_bytes(count)

    def new_key(self) -> ec.EllipticCurvePrivateKey:
        """A P-384 key by extra random bits, FIPS 186-5 §A.2.1."""
        wide = int.from_bytes(self._entropy.token_bytes(_EXTRA_BITS_BYTES), "big")
        return ec.derive_private_key(wide % (_P384_ORDER - 1) + 1, ec.SECP384R1())
