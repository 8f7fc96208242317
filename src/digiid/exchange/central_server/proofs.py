"""Are the proofs of a management request what its operation asks for? pr-mserv's rules, and where ours are stricter.

Every request is signed by the owner of its server, and by the member that it is about where that is another one: in
X-Road the owner's signature is that of the message that carries the request. A registration of an authentication
certificate is signed by its key too. Deletions are signed like everything else. Certificates are judged as every
security server judges them when a message comes, so that nothing is registered that would then be refused.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from cryptography import x509

from digiid.exchange.central_server.domain import concerned_member
from digiid.exchange.global_conf.trust import TrustJudge
from digiid.formats.exchange.management import (
    ManagementRequest,
    Operation,
    ProofBy,
    UnverifiedEnvelope,
    verify_management_signature,
)
from digiid.formats.x509.parts import (
    CONTENT_COMMITMENT,
    DIGITAL_SIGNATURE,
    load_certificate,
    parts_of,
    public_key_of,
)
from digiid.kernel.errors import Refused

BASIC_PROFILE: Final = "ee.ria.xroad.common.certificateprofile.impl.BasicCertificateProfileInfoProvider"
_CODE: Final = "exchange.management"


@dataclass(frozen=True, slots=True)
class VerifiedManagementRequest:
    """A request whose proofs hold. `auth_certificate` is the one to be registered, None for every other operation."""

    request: ManagementRequest
    request_bytes: bytes
    auth_certificate: x509.Certificate | None


def needed_proofs(request: ManagementRequest) -> frozenset[ProofBy]:
    """Whose signatures this request has to carry; no others may stand in it."""
    needed = {ProofBy.OWNER}
    if concerned_member(request) is not None:
        needed.add(ProofBy.MEMBER)
    if request.operation is Operation.AUTH_CERT_REGISTRATION:
        needed.add(ProofBy.AUTHENTICATION)
    return frozenset(needed)


def verify_proofs(unverified: UnverifiedEnvelope, *, judge: TrustJudge, at: datetime) -> VerifiedManagementRequest:
    """Verify every proof of a request at `at`.

    Raises: Refused `exchange.management.proofs` (one is missing or too many), `….certificate` (for another use),
        `….possession`, `….signature`; `exchange.trust.…`, the certificate is not of an approved CA, not the member's,
        or not good now; Malformed for certificates that cannot be read.
    """
    request, proofs = unverified.request, unverified.proofs

    # 1 exactly the proofs that the operation asks for
    needed = needed_proofs(request)
    if proofs.keys() != needed:
        wrong = sorted(needed - proofs.keys()) or sorted(proofs.keys() - needed)
        raise Refused(f"{_CODE}.proofs", f"{request.operation}: missing or needless proofs: {', '.join(wrong)}")

    # 2 members: certificate of an approved CA, good now, in the member's name; then the signature
    signers = {ProofBy.OWNER: request.server.owner}
    concerned = concerned_member(request)
    if concerned is not None:
        signers[ProofBy.MEMBER] = concerned
    signing_keys = set()
    for by, member in signers.items():
        proof = proofs[by]
        certificate = load_certificate(proof.certificate_der)
        if DIGITAL_SIGNATURE in (parts_of(certificate).key_usage() or ()):
            raise Refused(f"{_CODE}.certificate", "a certificate for signatures is for nothing else")
        judge.verify_signer(certificate, extra_certificates=(), ocsp_ders=[proof.ocsp_der], member=member, at=at)
        verify_management_signature(proof, public_key_of(certificate), unverified.request_bytes)
        signing_keys.add(parts_of(certificate).spki_der)

    # 3 the server: the certificate that the request names, of an approved CA, good now; the key signs for itself
    auth_certificate: x509.Certificate | None = None
    if ProofBy.AUTHENTICATION in needed:
        proof = proofs[ProofBy.AUTHENTICATION]
        if sha256(proof.certificate_der).hexdigest() != request.auth_cert_hash:
            raise Refused(f"{_CODE}.possession", "the proof is by another certificate than the request names")
        auth_certificate = load_certificate(proof.certificate_der)
        check_authentication_certificate(auth_certificate, judge, at)
        if parts_of(auth_certificate).spki_der in signing_keys:
            raise Refused(f"{_CODE}.possession", "one key for transport and for signatures")
        judge.verify_authentication(auth_certificate, ocsp_ders=[proof.ocsp_der], at=at)
        verify_management_signature(proof, public_key_of(auth_certificate), unverified.request_bytes)
    return VerifiedManagementRequest(request, unverified.request_bytes, auth_certificate)


def check_authentication_certificate(certificate: x509.Certificate, judge: TrustJudge, at: datetime) -> None:
    """For TLS and never for signatures, of an approved CA, valid at `at`; its status apart.

    Raises: Refused `exchange.management.certificate`, `exchange.trust.…`.
    """
    if CONTENT_COMMITMENT in (parts_of(certificate).key_usage() or ()):
        raise Refused(f"{_CODE}.certificate", "a certificate for authentication signs nothing")
    judge.check_path(certificate, is_signing=False, at=at)
