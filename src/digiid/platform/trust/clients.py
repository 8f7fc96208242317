"""OCSP (RFC 6960) and time-stamp (RFC 3161) clients over HTTP: nonce, freshness, size and host are always checked."""

from datetime import timedelta

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from digiid.formats import ocsp, tsp
from digiid.formats.x509.parts import parts_of
from digiid.kernel.errors import Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy
from digiid.platform.http import HttpClient
from digiid.platform.trust.hosts import AllowedHosts

_MAX_OCSP_BYTES = 64 * 1024
_MAX_TOKEN_BYTES = 256 * 1024
_OCSP_NONCE_BYTES = 32  # RFC 8954 §2.1
MAX_OCSP_AGE = timedelta(minutes=15)
MAX_SKEW = timedelta(minutes=2)


class OcspClient:
    """Asks the responder that a certificate names, or the one address that the configuration names."""

    def __init__(
        self, http: HttpClient, entropy: Entropy, clock: Clock, *, hosts: AllowedHosts, address: str | None = None
    ) -> None:
        self._http, self._entropy, self._clock = http, entropy, clock
        self._hosts, self._address = hosts, address

    def fetch(self, certificate: x509.Certificate, issuer: x509.Certificate) -> tuple[bytes, ocsp.VerifiedOcsp]:
        """The response as it came, and what it says: good, revoked or unknown is the caller's to judge.

        Raises:
            Unavailable: `http.unreachable`, `trust.ocsp.http`.
            Refused: `trust.host`, `trust.ocsp.no_address`, `ocsp.…` (not authorised, other nonce, not fresh, …).
            Malformed: `ocsp.…`, `der.…`, `http.too_large`.
        """
        address = self._address or find_ocsp_address(certificate)
        if address is None:
            raise Refused("trust.ocsp.no_address", "the certificate names no OCSP responder")
        self._hosts.check(address)
        nonce = self._entropy.token_bytes(_OCSP_NONCE_BYTES)
        certificate_parts, issuer_parts = parts_of(certificate), parts_of(issuer)
        request = ocsp.build_request(
            certificate=certificate,
            issuer=issuer,
            nonce=nonce,
            certificate_parts=certificate_parts,
            issuer_parts=issuer_parts,
        )
        answer = self._http.request(
            "POST",
            address,
            content=request,
            headers={"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"},
            max_bytes=_MAX_OCSP_BYTES,
        )
        if answer.status != 200:
            raise Unavailable("trust.ocsp.http", f"the responder answered HTTP {answer.status}")
        verified = ocsp.verify_response(
            answer.body,
            certificate=certificate,
            issuer=issuer,
            nonce=nonce,
            certificate_parts=certificate_parts,
            issuer_parts=issuer_parts,
        )
        ocsp.check_fresh(verified, now=self._clock.now(), max_age=MAX_OCSP_AGE, max_skew=MAX_SKEW)
        return answer.body, verified


class TsaClient:
    """Asks one time-stamping authority. Whether its unit is trusted is for the trusted list to say."""

    def __init__(
        self, http: HttpClient, entropy: Entropy, clock: Clock, *, address: str, hosts: AllowedHosts | None = None
    ) -> None:
        self._http, self._entropy, self._clock = http, entropy, clock
        self._hosts, self._address = hosts or AllowedHosts.of_urls(address), address

    def fetch(self, imprint: bytes, hash_name: str) -> tuple[bytes, tsp.VerifiedTimeStamp]:
        """A token over `imprint`, verified against it and our nonce.

        Raises:
            Unavailable: `http.unreachable`, `trust.tsa.http`.
            Refused: `trust.host`, `trust.tsa.time` (the unit's clock and ours disagree), `tsp.…`.
            Malformed: `tsp.…`, `der.…`, `http.too_large`.
        """
        self._hosts.check(self._address)
        nonce = int.from_bytes(self._entropy.token_bytes(8), "big") | 1 << 63  # the same length every time
        answer = self._http.request(
            "POST",
            self._address,
            content=tsp.build_request(imprint=imprint, hash_name=hash_name, nonce=nonce),
            headers={"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
            max_bytes=_MAX_TOKEN_BYTES,
        )
        if answer.status != 200:
            raise Unavailable("trust.tsa.http", f"the authority answered HTTP {answer.status}")
        token_der = tsp.parse_response(answer.body)
        verified = tsp.verify_token(token_der, imprint=imprint, hash_name=hash_name, nonce=nonce)
        if abs(verified.gen_at - self._clock.now()) > MAX_SKEW:
            raise Refused("trust.tsa.time", "the time-stamp is not of now")
        return token_der, verified


def find_ocsp_address(certificate: x509.Certificate) -> str | None:
    """The first OCSP address in the certificate's authority information access (RFC 5280 §4.2.2.1)."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None
    for description in access:
        location = description.access_location
        if description.access_method == AuthorityInformationAccessOID.OCSP and isinstance(
            location, x509.UniformResourceIdentifier
        ):
            return location.value
    return None
