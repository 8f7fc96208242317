"""What is signed in a PDF file (EN 319 142-1 V1.2.1, ISO 32000-2 §12.8), once somebody has taken the file apart.

Nothing here reads PDF syntax. A signature is a byte range and a CMS; that both are what they say is checked against the
bytes of the file.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from digiid.formats import der
from digiid.kernel.errors import Malformed

CADES_DETACHED: Final = "ETSI.CAdES.detached"
RFC3161: Final = "ETSI.RFC3161"
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


class Changes(StrEnum):
    """What was appended to the file after it was signed."""

    NONE = "none"
    VALIDATION_DATA = "validation_data"  # security stores, document time-stamps
    SIGNATURES = "signatures"  # further signatures, and validation data
    FILLED = "filled"  # forms were filled in
    OTHER = "other"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class SecurityStore:
    """A document security store, EN 319 142-1 §5.4.2: encoded certificates, OCSP responses and CRLs."""

    certificates_der: tuple[bytes, ...] = field(default=(), repr=False)
    ocsp_der: tuple[bytes, ...] = field(default=(), repr=False)
    crls_der: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class PdfSignature:
    """The value of one signature field. `revision` counts from 0; what is before it in the file is older. It is -1 when
    the value cannot be read.

    `contents` is what stands in the gap of the byte range, zeros behind the CMS included. `changes` is None when
    that could not be found out; `problem` says why the signature cannot be judged at all. `store` is the security store
    as it was when a document time-stamp was made.
    """

    field_name: str
    is_time_stamp: bool
    revision: int
    byte_range: tuple[int, ...]
    contents: bytes = field(repr=False)
    filter: str
    sub_filter: str
    changes: Changes | None
    changed: str
    problem: str
    claimed_at: datetime | None
    name: str | None
    reason: str | None
    location: str | None
    store: SecurityStore | None = field(default=None, repr=False)

    @property
    def cms_der(self) -> bytes:
        """The CMS without the zeros that fill the place reserved for it.

        Raises: Malformed `der.…`; `pades.contents`, something else than zeros is behind it.
        """
        _, _, end = der.header(self.contents, 0, len(self.contents))
        if any(self.contents[end:]):
            raise Malformed("pades.contents", "there is something behind the signature in its place")
        return self.contents[:end]


@dataclass(frozen=True, slots=True)
class UnverifiedPdf:
    """A PDF file and what is signed in it, oldest first. Nothing of it has been verified."""

    content: bytes = field(repr=False)
    revisions: int
    signatures: tuple[PdfSignature, ...]
    store: SecurityStore

    def digest(self, signature: PdfSignature, hash_name: str) -> bytes:
        """The digest of what a signature covers.

        Raises: Malformed `pades.byte_range`, it does not leave out exactly the signature's own value.
        """
        first, second = self._covered(signature)
        hashed = hashlib.new(hash_name)
        hashed.update(first)
        hashed.update(second)
        return hashed.digest()

    def _covered(self, signature: PdfSignature) -> tuple[memoryview, memoryview]:
        # ISO 32000-2 §12.8.1: two pairs of offset and length around the string, the string being < digits >.
        if len(signature.byte_range) != 4:
            raise Malformed("pades.byte_range", "a byte range that is not two pairs")
        start, first_bytes, resumes, second_bytes = signature.byte_range
        gap = self.content[first_bytes:resumes]
        is_ordered = start == 0 and 0 < first_bytes < resumes <= resumes + second_bytes <= len(self.content)
        if not is_ordered or gap[:1] != b"<" or gap[-1:] != b">" or not _HEX.issuperset(gap[1:-1]):
            raise Malformed("pades.byte_range", "the byte range does not leave out one string and nothing else")
        if len(gap) % 2 or bytes.fromhex(gap[1:-1].decode("ascii")) != signature.contents:
            raise Malformed("pades.byte_range", "the signature is not what the byte range leaves out")
        view = memoryview(self.content)
        return view[:first_bytes], view[resumes : resumes + second_bytes]
