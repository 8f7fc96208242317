"""What is made of a certificate once, for those that come again with every message."""

from collections.abc import Callable
from functools import wraps
from typing import Final, TypeVar

from cryptography import x509

_MAX_REMEMBERED: Final = 1024

_V = TypeVar("_V")


def once_per_certificate(make: Callable[[x509.Certificate], _V]) -> Callable[[x509.Certificate], _V]:
    """Remember what `make` gives, by the object: hashing a certificate, as lru_cache would, walks all of its names.

    A certificate that was read twice is another object, and is asked about anew. What is remembered is bounded.
    """
    known: dict[int, tuple[x509.Certificate, _V]] = {}

    @wraps(make)
    def find(certificate: x509.Certificate) -> _V:
        found = known.get(id(certificate))
        if found is not None and found[0] is certificate:  # held here, so that no other object can have its number
            return found[1]
        value = make(certificate)
        if len(known) >= _MAX_REMEMBERED:
            known.clear()
        known[id(certificate)] = certificate, value
        return value

    return find
