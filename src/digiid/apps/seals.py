"""Organisations' own seals in a state: key and certificate in a PKCS#12 file, made at the first asking.

Those of the state's own services and journals are renewed by the running state when a third of their life is left, or
when the CA revoked them or does not know them any more. The renewed one is put in the former's place in one step, so
that at every moment there is one that can be used, and the former key is gone then: what it sealed carries its
certificate and needs no key any more.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.x509.profile import Organization
from digiid.formats.x509.request import MAX_REQUEST_BYTES
from digiid.institutions.trust_services.app import get_number, is_revoked, issue_seal
from digiid.institutions.trust_services.ca.domain import SealOrder
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.kernel.errors import Conflict, DigiidError, Malformed, NotFound, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.documents.files import make_folder, read_file, write_whole
from digiid.platform.documents.signers import signer_from_pkcs12
from digiid.platform.documents.signing import KeySigner
from digiid.platform.entropy import Entropy
from digiid.platform.institution import Running
from digiid.platform.keys import (
    FileIdentity,
    generate_ec_key,
    load_or_create_passphrase,
    load_pkcs12_file,
    write_pkcs12_file,
)
from digiid.platform.timers import Timer

_VALID_YEARS: Final = 3
_LOOKS: Final = timedelta(minutes=10)
_LATE: Final = timedelta(days=30)  # with so little time left it is told as a failure
# After the year in a renewed seal's number: nobody needs more seals of one name in one year.
_WITHIN_A_YEAR: Final = ("", *"bcdefghij")
log = structlog.get_logger("seals")


@dataclass(frozen=True)
class SealAuthority:
    """The state's own CA, asked directly: nothing has to listen."""

    settings: TrustServicesSettings
    open_database: Callable[[str], Database]
    clock: Clock
    entropy: Entropy

    def complete(
        self, file: Path, password_file: Path, *, seal_number: str, organization: Organization, curve_name: str
    ) -> KeySigner:
        """The seal in `file`. What was interrupted goes on: the key is written before it is certified, and the same
        order gives the same certificate.

        Raises: Malformed `keys.unreadable`; what the CA refuses (`trust.…`).
        """
        password = load_or_create_passphrase(password_file, self.entropy)
        # 1 the key, kept before anybody hears of it
        if not file.exists():
            identity = FileIdentity(generate_ec_key(curve_name), None)
            write_pkcs12_file(file, identity, password=password, name=seal_number)
        identity = load_pkcs12_file(file, password_file)
        # 2 its certificate
        if identity.certificate is None:
            request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
            request_der = request.sign(identity.key, hashes.SHA512()).public_bytes(Encoding.DER)
            certificate = self.issue(_order(seal_number, organization, request_der, clock=self.clock))
            sealed = FileIdentity(identity.key, certificate)
            write_pkcs12_file(file, sealed, password=password, name=seal_number)
        return signer_from_pkcs12(file, password_file)

    def issue(self, order: SealOrder) -> x509.Certificate:
        return issue_seal(
            self.settings, order, open_database=self.open_database, clock=self.clock, entropy=self.entropy
        )

    def has_revoked(self, certificate: x509.Certificate) -> bool:
        return is_revoked(
            self.settings, certificate, open_database=self.open_database, clock=self.clock, entropy=self.entropy
        )

    def number_of(self, certificate: x509.Certificate) -> str:
        return get_number(
            self.settings, certificate, open_database=self.open_database, clock=self.clock, entropy=self.entropy
        )

    def answers_for(self, certificate: x509.Certificate) -> bool:
        """Whether the CA issued it and did not revoke it. A CA that came back from an older backup does not know what
        it issued since, and its responder says so to everybody."""
        try:
            return not self.has_revoked(certificate)
        except NotFound as error:
            if error.code != "trust.document":
                raise
            return False


def load_or_make_seal(
    folder: Path,
    settings: TrustServicesSettings,
    *,
    seal_number: str,
    organization: Organization,
    open_database: Callable[[str], Database],
    clock: Clock,
    entropy: Entropy,
    curve_name: str = "secp256r1",
) -> KeySigner:
    """The seal in `folder/<seal_number>.p12`, its password in a file of mode 0600 beside it.

    Raises: Conflict `seal.revoked`, it lies there and was revoked; and as `SealAuthority.complete`.
    """
    authority = SealAuthority(settings, open_database, clock, entropy)
    file, password_file = folder / f"{seal_number}.p12", folder / f"{seal_number}.password"
    with _held(folder):
        signer = authority.complete(
            file, password_file, seal_number=seal_number, organization=organization, curve_name=curve_name
        )
    if authority.has_revoked(signer.certificate):
        raise Conflict(
            "seal.revoked", f"{seal_number} was revoked for good; have another one issued under another number"
        )
    return signer


class ServiceSeal:
    """A seal of the state's own in a running state: made at the first asking, renewed by the clock, taken up at once.

    A renewed one has a number of its own, that of the first and the year, and lies where the first lay. `needed_for`
    says what cannot be sealed without it.
    """

    def __init__(
        self,
        folder: Path,
        authority: SealAuthority,
        *,
        seal_number: str,
        organization: Organization,
        needed_for: str,
    ) -> None:
        self.number, self._organization, self._needed_for = seal_number, organization, needed_for
        self._folder, self._authority = folder, authority
        self._file, self._password_file = folder / f"{seal_number}.p12", folder / f"{seal_number}.password"
        self._signer: KeySigner | None = None
        self._present_number: str | None = None  # as of the last look
        self._failure: tuple[datetime, str] | None = None  # since when, and why
        self._lock = threading.Lock()

    def open(self) -> KeySigner:
        """The seal in force.

        Raises: as `SealAuthority.complete`.
        """
        signer = self._signer
        if signer is None or not self._is_usable(signer):
            with self._lock, _held(self._folder):
                signer = self._signer = self._present()
                # a state that rested for years has no time to wait for its timer
                if not self._is_usable(signer):
                    signer = self._renew()
        return signer

    def look(self) -> None:
        """Take up what lies there now, and renew what has less than a third of its life left or the CA does not answer
        for. What fails is told and tried again; the former seal goes on meanwhile."""
        if not self._file.exists():
            return  # nobody has needed it yet
        try:
            with self._lock, _held(self._folder):
                signer = self._present()
                if self._signer is None or signer.certificate != self._signer.certificate:
                    self._signer = signer
                    log.info("seal.taken_up", seal=self.number, ends_at=_day(signer.certificate.not_valid_after_utc))
                if self._is_due(signer):
                    signer = self._renew()
                self._present_number = self._authority.number_of(signer.certificate)
        except DigiidError as error:
            log.error("seal.not_renewed", seal=self.number, code=error.code, reason=error.detail)
            self._failed(f"{error.code}: {error.detail}")
        except Exception as error:  # the loop's edge: a full disk must be told too, and keep no other seal from renewal
            log.exception("seal.not_renewed", seal=self.number, error=type(error).__name__)
            self._failed(f"{type(error).__name__}, see the log")
        else:
            self._failure = None

    def health(self) -> str:
        """Until when it can be used, by which number it is revoked when that is another than the first, and what keeps
        it from being renewed.

        Raises: Unavailable `seal.not_renewed`: it cannot be used, or will not be for longer than _LATE.
        """
        signer, failure = self._signer, self._failure
        why = f"not renewed since {_minute(failure[0])} ({failure[1]})" if failure else ""
        if signer is None:
            if failure:
                raise Unavailable("seal.not_renewed", f"{self.number} cannot be used: {why}. {self._remedy()}")
            return "not in use yet"
        if self._authority.clock.now() < signer.certificate.not_valid_before_utc:
            raise Unavailable(
                "seal.not_renewed", f"{self.number} is not valid yet: is the clock right? {self._remedy()}"
            )
        left = self._left(signer)
        until = f"until {_day(signer.certificate.not_valid_after_utc)}, {max(left, timedelta(0)).days} days left"
        if self._present_number not in (None, self.number):
            until += f", its number is {self._present_number}"
        if left < _LATE:
            told = "; ".join(filter(None, (until, why)))
            raise Unavailable("seal.not_renewed", f"{self.number} {told}. {self._remedy()}")
        return f"{until}; {why}, see that the CA issues seals" if why else until

    def _remedy(self) -> str:
        return (
            f"See that the CA issues seals and the disk has space; it is tried every {_LOOKS.seconds // 60} minutes. "
            f"Without it {self._needed_for} cannot be sealed"
        )

    def _present(self) -> KeySigner:
        """What lies there now. A number that was certified for a key which is lost is given up for another."""
        try:
            return self._complete(self._file, self.number)
        except Conflict as error:
            log.error("seal.number_lost", seal=self.number, code=error.code, reason=error.detail)
            return self._renew()

    def _renew(self) -> KeySigner:
        # 1 another key with a certificate, beside the one in use
        following, number = self._next()
        # 2 in its place
        following.replace(self._file)
        # 3 taken up
        signer = self._signer = signer_from_pkcs12(self._file, self._password_file)
        log.info("seal.renewed", seal=number, ends_at=_day(signer.certificate.not_valid_after_utc))
        # 4 what was begun before and never finished
        for left_over in self._folder.glob(f"{self.number}[0-9][0-9][0-9][0-9]*.next.p12*"):
            left_over.unlink()
        return signer

    def _next(self) -> tuple[Path, str]:
        """A file with a seal that was never in use and can be, and its number: of the year, or the next of the year
        when that one was used before, certified for a key that is lost, or revoked before it was put in its place."""
        of_the_year = f"{self.number}{self._authority.clock.now():%Y}"
        for suffix in _WITHIN_A_YEAR:
            number = of_the_year + suffix
            file = self._folder / f"{number}.next.p12"
            try:
                signer = self._complete(file, number)
            except Conflict as error:
                log.warning("seal.number_lost", seal=number, code=error.code, reason=error.detail)
                continue
            if self._is_usable(signer) and self._authority.answers_for(signer.certificate):
                return file, number
            log.warning("seal.number_spent", seal=number)
        raise Unavailable("seal.not_renewed", f"all {len(_WITHIN_A_YEAR)} numbers of this year were used before")

    def _complete(self, file: Path, number: str) -> KeySigner:
        return self._authority.complete(
            file, self._password_file, seal_number=number, organization=self._organization, curve_name="secp256r1"
        )

    def _is_usable(self, signer: KeySigner) -> bool:
        certificate = signer.certificate
        return certificate.not_valid_before_utc <= self._authority.clock.now() < certificate.not_valid_after_utc

    def _is_due(self, signer: KeySigner) -> bool:
        begins_at, ends_at = signer.certificate.not_valid_before_utc, signer.certificate.not_valid_after_utc
        if not self._is_usable(signer) or self._left(signer) <= (ends_at - begins_at) / 3:
            return True
        return not self._authority.answers_for(signer.certificate)

    def _left(self, signer: KeySigner) -> timedelta:
        return signer.certificate.not_valid_after_utc - self._authority.clock.now()

    def _failed(self, why: str) -> None:
        since_at = self._failure[0] if self._failure else self._authority.clock.now()
        self._failure = since_at, why


def renewal(seals: Sequence[ServiceSeal]) -> Running[Any]:
    """What renews the seals of the state's own services, by the clock."""

    def look() -> None:
        for seal in seals:
            seal.look()

    def health() -> Mapping[str, Any]:
        return {"name": "Seals of the services", **{seal.number: seal.health() for seal in seals}}

    return Running(
        name="seals",
        sites={},
        services=(),
        workers=(),
        timers=(Timer("seals", _LOOKS, look),),
        health=health,
        close=lambda: None,
    )


def certify_seal(
    request_file: Path,
    file: Path,
    settings: TrustServicesSettings,
    *,
    seal_number: str,
    organization: Organization,
    on_device: bool,
    open_database: Callable[[str], Database],
    clock: Clock,
    entropy: Entropy,
) -> x509.Certificate:
    """The certificate, written to `file` as PEM, of a key that stays where it is: in a token for one. `on_device`: the
    caller saw it made in a device that it cannot leave.

    Raises: NotFound `documents.file`; Malformed `x509.request`; what the CA refuses (`trust.…`).
    """
    content = read_file(request_file, max_bytes=MAX_REQUEST_BYTES)
    is_pem = content.lstrip().startswith(b"-----BEGIN")
    try:
        request = x509.load_pem_x509_csr(content) if is_pem else x509.load_der_x509_csr(content)
    except ValueError as error:
        raise Malformed("x509.request", f"{request_file} is no PKCS#10 request") from error
    request_der = request.public_bytes(Encoding.DER)
    order = _order(seal_number, organization, request_der, clock=clock, on_device=on_device)
    certificate = SealAuthority(settings, open_database, clock, entropy).issue(order)
    make_folder(file.parent)
    write_whole(file, certificate.public_bytes(Encoding.PEM))
    return certificate


def _order(
    seal_number: str, organization: Organization, request_der: bytes, *, clock: Clock, on_device: bool = False
) -> SealOrder:
    return SealOrder(
        order_id=f"seal:{seal_number}",
        seal_number=seal_number,
        organization=organization,
        # the same day however often it is asked for within a year
        expires_on=date(clock.now().year + _VALID_YEARS, 12, 31),
        request_der=request_der,
        on_device=on_device,
    )


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Nobody else makes a seal in this folder meanwhile: of two keys for one order one would stay without a
    certificate."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d}"


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
