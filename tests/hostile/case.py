"""One hostile input: what it is, how it is made, and what must come of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from digiid.formats.trusted_list import VerifiedTrust
from tests.support.pki import AT, shared_pki

PKI = shared_pki()
TRUST = PKI.trust()
GOOD = PKI.container()


@dataclass(frozen=True)
class Case:
    """`code` is that of the Malformed, or of a message about the container, a signature or a time-stamp; `says` is
    part of the sentence beside it. `indication` None: the container is refused as a whole; "": not valid although no
    signature failed. A case `is_odd` is valid,
    and the report says what is strange.
    """

    kind: str
    name: str
    make: Callable[[], bytes] = field(repr=False)
    code: str = ""
    says: str = ""
    indication: str | None = None
    sub_indication: str | None = None
    is_odd: bool = False
    trust: VerifiedTrust = field(default=TRUST, repr=False)
    at: datetime = AT
    seconds: float = 2.0  # processor time on a slow machine

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


def refused(
    kind: str, name: str, make: Callable[[], bytes], code: str, says: str = "", *, seconds: float = 2.0
) -> Case:
    """The container cannot be read in one single way: Malformed."""
    return Case(kind, name, make, code, says, seconds=seconds)


def failed(kind: str, name: str, make: Callable[[], bytes], sub: str, code: str, says: str = "") -> Case:
    """A signature that is TOTAL-FAILED."""
    return Case(kind, name, make, code, says, "TOTAL-FAILED", sub)


def unproven(kind: str, name: str, make: Callable[[], bytes], sub: str, code: str, says: str = "") -> Case:
    """A signature that is INDETERMINATE."""
    return Case(kind, name, make, code, says, "INDETERMINATE", sub)


def odd(kind: str, name: str, make: Callable[[], bytes], code: str, says: str = "") -> Case:
    """Valid, and the report says what is strange about it."""
    return Case(kind, name, make, code, says, "TOTAL-PASSED", None, is_odd=True)
