"""What a ladder of validation has established so far, and how it ends early."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from cryptography import x509

from digiid.formats.asic import Container
from digiid.formats.trusted_list import ServiceCertificate
from digiid.formats.validation.qualification import Qualification
from digiid.formats.validation.report import (
    Indication,
    Message,
    Severity,
    SubIndication,
    TimeStampReport,
)
from digiid.formats.xades import HashedFiles, Reference, UnverifiedSignature
from digiid.kernel.errors import Refused

MAX_ARCHIVED_BYTES: Final = 4 * 1024**3  # read again for archive time-stamps, in all signatures of a container
CLOCK_SKEW: Final = timedelta(minutes=5)  # how far another clock may be ahead of ours
SHA1_UNTIL: Final = datetime(2017, 1, 1, tzinfo=UTC)
TIME_MARK_POLICIES: Final = frozenset({"1.3.6.1.4.1.10015.1000.3.2.1", "1.3.6.1.4.1.10015.1000.3.2.3"})

FAILED, INDETERMINATE = Indication.TOTAL_FAILED, Indication.INDETERMINATE
Sub = SubIndication


class NotValid(Exception):
    """The ladder ends here."""

    def __init__(self, indication: Indication, sub: SubIndication, code: str, text: str) -> None:
        super().__init__(text)
        self.indication, self.sub, self.code, self.text = indication, sub, code, text


@dataclass(slots=True)
class Proofs:
    """When what stands in a signature is proven to have existed (EN 319 102-1 §5.6.2.3): now, or at the time of an
    archive time-stamp that covers it. `covering` has the place of each such time-stamp among the unsigned properties.
    """

    at: datetime
    covering: list[tuple[int, datetime]] = field(default_factory=list)

    def proven_at(self, place: int) -> datetime:
        """For the unsigned property at that place."""
        if not self.covering:
            return self.at
        return min((gen_at for covered_until, gen_at in self.covering if place < covered_until), default=self.at)


@dataclass(slots=True)
class Facts:
    """What the ladder has established so far; becomes the report wherever the ladder ends."""

    signature: UnverifiedSignature
    certificate: x509.Certificate | None = None
    responder: x509.Certificate | None = None
    messages: list[Message] = field(default_factory=list)
    time_stamps: list[TimeStampReport] = field(default_factory=list)
    archive_time_stamps: list[TimeStampReport] = field(default_factory=list)
    best_signature_at: datetime | None = None
    ocsp_produced_at: datetime | None = None
    crl_issued_at: datetime | None = None  # of the list that was relied on
    status_signers: tuple[x509.Certificate, ...] = ()  # whose keys the answer or list that was relied on rests on
    status_proven_at: datetime | None = None  # since when that answer or list is proven to exist
    ocsp_proven_at: datetime | None = None  # None: nothing depends on when answers and lists are proven to have existed
    ocsp_proofs: Mapping[bytes, datetime] = field(default_factory=dict)  # for single ones, before ocsp_proven_at
    time_mark_nonce: bytes | None = None
    qualification: Qualification | None = None
    issuers: list[x509.Certificate] = field(default_factory=list)
    issuer: ServiceCertificate | None = None  # the listed CA of the signer's certificate
    is_time_judged: bool = False
    is_status_judged: bool = False

    @property
    def is_time_mark(self) -> bool:
        return self.signature.policy in TIME_MARK_POLICIES

    def warn(self, code: str, text: str) -> None:
        self.messages.append(Message(Severity.WARNING, code, text))

    def error(self, code: str, text: str) -> None:
        self.messages.append(Message(Severity.ERROR, code, text))


class SignedFiles(Protocol):
    """The data files beside a signature, or what is known of them."""

    @property
    def names(self) -> Sequence[str]:
        """Every file that has to be signed."""
        ...

    @property
    def is_odd(self) -> bool:
        """Whether something is wrong with what holds them, so that no signature can be called valid."""
        ...

    @property
    def kind(self) -> str:
        """FULL or DIGEST, as in `Scope`."""
        ...

    @property
    def hashed(self) -> HashedFiles:
        """What archive time-stamps of one signature have hashed, for those of the next one."""
        ...

    def find_digest(self, reference: Reference) -> bytes | None: ...

    def stream(self, name: str) -> Iterator[bytes] | None: ...

    def media_type(self, name: str) -> str | None:
        """What the manifest says; None when it says nothing."""
        ...


class ContainerFiles:
    """The data files of a container."""

    kind = "FULL"

    def __init__(self, container: Container) -> None:
        self._container = container
        self._archived_bytes = 0
        self.hashed: HashedFiles = {}

    @property
    def names(self) -> Sequence[str]:
        return [entry.name for entry in self._container.data_files]

    @property
    def is_odd(self) -> bool:
        return any(problem.is_error for problem in self._container.problems)

    def find_digest(self, reference: Reference) -> bytes | None:
        entry = self._container.find_data_file(reference.name)
        return None if entry is None else self._container.digest(entry, reference.hash_name)

    def stream(self, name: str) -> Iterator[bytes] | None:
        """The content of a file. Raises: Refused `xades.archive.too_much`, by many signatures over other orders."""
        entry = self._container.find_data_file(name)
        if entry is None:
            return None
        self._archived_bytes += entry.size_bytes
        if self._archived_bytes > MAX_ARCHIVED_BYTES:
            raise Refused("xades.archive.too_much", f"more than {MAX_ARCHIVED_BYTES} bytes to read again")
        return self._container.archive.stream(entry)

    def media_type(self, name: str) -> str | None:
        return self._container.manifest.get(name)
