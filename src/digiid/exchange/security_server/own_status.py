"""OCSP responses about this server's own certificates and those above them: fetched ahead, kept, attached, told.

They are refreshed long before they are too old, so that a responder may be away for a while; once one is older than the
configuration allows (`ocspFreshnessSeconds`), nothing is signed with it any more. What was fetched lies in a folder as
well, so that a restart while the responder is away changes nothing.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.exchange.global_conf import GlobalConf
from digiid.formats import ocsp
from digiid.formats.global_conf import CaInfo
from digiid.formats.x509.remembered import once_per_certificate
from digiid.kernel.errors import DigiidError, NotFound, Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy
from digiid.platform.http import HttpClient
from digiid.platform.trust.clients import OcspClient, find_ocsp_address
from digiid.platform.trust.hosts import AllowedHosts

log = structlog.get_logger("exchange.security_server")


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A verified response that says good."""

    response_der: bytes = field(repr=False)
    this_update_at: datetime
    next_update_at: datetime | None


class OwnStatus:
    """Asked on the event loop, refreshed on a thread of its own: entries are replaced whole."""

    def __init__(
        self,
        folder: Path,
        certificates: Iterable[x509.Certificate],
        *,
        http: HttpClient,
        entropy: Entropy,
        clock: Clock,
        find_conf: Callable[[], GlobalConf],
    ) -> None:
        self._folder, self._certificates = folder, tuple(certificates)
        self._http, self._entropy, self._clock, self._find_conf = http, entropy, clock, find_conf
        self._kept: dict[bytes, KeptResponse] = {}  # by SHA-1 of the certificate, as peers ask for it
        self._chains: dict[bytes, tuple[bytes, ...]] = {}  # by SHA-1 of the leaf: SHA-1 of it and those above it
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    # ------------------------------------------------------------------ on the event loop

    def responses_for(self, certificate: x509.Certificate, *, at: datetime) -> tuple[bytes, ...]:
        """The responses about a certificate of ours and those above it, leaf first, without the root's.

        Raises: Unavailable `exchange.ocsp.missing`, `exchange.ocsp.stale`.
        """
        conf = self._find_conf()
        oldest = at - timedelta(seconds=conf.shared.ocsp_freshness_seconds)
        found = []
        for fingerprint in self._chains.get(sha1_of(certificate), ()):
            kept = self._kept.get(fingerprint)
            if kept is None:
                break
            if kept.this_update_at < oldest:
                raise Unavailable("exchange.ocsp.stale", "the OCSP response about a certificate of ours is too old")
            found.append(kept.response_der)
        else:
            if found:
                return tuple(found)
        raise Unavailable("exchange.ocsp.missing", "there is no OCSP response about a certificate of ours yet")

    def find_by_sha1(self, fingerprint: bytes) -> bytes:
        """For the port that peers ask. Raises: NotFound `exchange.ocsp.unknown_certificate`."""
        kept = self._kept.get(fingerprint)
        if kept is None:
            raise NotFound("exchange.ocsp.unknown_certificate", "no response about this certificate is kept here")
        return kept.response_der

    def oldest_update(self) -> datetime | None:
        """When the oldest of the kept responses was made; None when one is missing."""
        found = self._kept_in_use()
        return None if not found or None in found else min(each.this_update_at for each in found if each)

    def first_next_update(self) -> datetime | None:
        """The earliest nextUpdate of the kept responses, after which peers may refuse them; None when none says one."""
        said = [each.next_update_at for each in self._kept_in_use() if each and each.next_update_at]
        return min(said, default=None)

    def _kept_in_use(self) -> list[KeptResponse | None]:
        """Of our certificates and those above them; what is still told about former ones counts no more."""
        chains = [self._chains.get(sha1_of(leaf), ()) for leaf in self._certificates]
        return [self._kept.get(each) for each in {each for chain in chains for each in chain}]

    # ------------------------------------------------------------------ on the refreshing thread

    def refresh(self) -> bool:
        """Fetch all anew. What cannot be fetched stays as it is; False when something could not.

        A response that says revoked or unknown takes the place of a good one: nothing is signed any more.
        """
        conf = self._find_conf()
        complete = True
        for leaf in self._certificates:
            complete = self._refresh_leaf(conf, leaf) and complete
        return complete

    def fetch_for(self, certificates: Iterable[x509.Certificate]) -> None:
        """Responses about certificates that are to take the place of those in use.

        Raises: Unavailable `exchange.ocsp.missing`, one of them is not good or its responder does not answer.
        """
        conf = self._find_conf()
        for leaf in certificates:
            self._refresh_leaf(conf, leaf)
            try:
                self.responses_for(leaf, at=self._clock.now())
            except Unavailable:
                if leaf not in self._certificates:  # nobody waits for its responses
                    self._chains.pop(sha1_of(leaf), None)
                raise

    def replace_certificates(self, certificates: Iterable[x509.Certificate]) -> None:
        """Keep these fresh from now on. What is in hand about the former ones is still told to who asks."""
        self._certificates = tuple(certificates)
        wanted = set(map(sha1_of, self._certificates))
        self._chains = {leaf: chain for leaf, chain in list(self._chains.items()) if leaf in wanted}

    def _refresh_leaf(self, conf: GlobalConf, leaf: x509.Certificate) -> bool:
        try:
            chain = conf.chain_of(leaf)
        except DigiidError as error:
            log.error("exchange.ocsp_own_chain", code=error.code, reason=error.detail)
            return False
        complete = True
        for certificate in chain:
            complete = self._refresh_one(certificate, conf.issuer_of(certificate)) and complete
        self._chains[sha1_of(leaf)] = tuple(map(sha1_of, chain))
        return complete

    def _refresh_one(self, certificate: x509.Certificate, authority: CaInfo) -> bool:
        fingerprint = sha1_of(certificate)
        file = self._folder / f"{fingerprint.hex()}.der"
        try:
            response_der, verified = self._fetch(certificate, authority)
        except DigiidError as error:
            log.warning("exchange.ocsp_not_fetched", code=error.code, reason=error.detail)
            if fingerprint not in self._kept:
                self._take_from_file(file, certificate, authority)
            return False
        if verified.status is not ocsp.CertStatus.GOOD:
            log.error("exchange.ocsp_own_certificate", status=verified.status.value, serial=certificate.serial_number)
            self._kept.pop(fingerprint, None)
            file.unlink(missing_ok=True)
            return False
        part = file.with_suffix(".part")
        part.write_bytes(response_der)
        part.replace(file)
        self._kept[fingerprint] = KeptResponse(response_der, verified.this_update_at, verified.next_update_at)
        return True

    def _fetch(self, certificate: x509.Certificate, authority: CaInfo) -> tuple[bytes, ocsp.VerifiedOcsp]:
        named = find_ocsp_address(certificate)
        addresses = list(dict.fromkeys(([named] if named else []) + [each.url for each in authority.ocsp]))
        if not addresses:
            raise Refused("exchange.ocsp.no_address", "neither the certificate nor the configuration names a responder")
        failure: DigiidError | None = None
        for address in addresses:
            client = OcspClient(
                self._http, self._entropy, self._clock, hosts=AllowedHosts.of_urls(address), address=address
            )
            try:
                return client.fetch(certificate, authority.certificate)
            except DigiidError as error:
                failure = error
        assert failure is not None
        raise failure

    def _take_from_file(self, file: Path, certificate: x509.Certificate, authority: CaInfo) -> None:
        try:
            response_der = file.read_bytes()
            verified = self._find_conf().check_response(
                response_der, certificate=certificate, issuer=authority.certificate, at=self._clock.now()
            )
        except (OSError, DigiidError):
            return
        if verified.status is ocsp.CertStatus.GOOD:
            kept = KeptResponse(response_der, verified.this_update_at, verified.next_update_at)
            self._kept[sha1_of(certificate)] = kept


@once_per_certificate  # our own certificates and those of peers, several times in every message
def sha1_of(certificate: x509.Certificate) -> bytes:
    """How peers name a certificate on port 5577; it protects nothing."""
    return hashlib.sha1(certificate.public_bytes(Encoding.DER), usedforsecurity=False).digest()
