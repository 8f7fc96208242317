"""The signer's certificate: EN 319 102-1 V1.4.1 §5.2.6, one hop to a CA that a trusted list names."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from digiid.formats.trusted_list import CA_QC, ServiceCertificate, ServicePeriod, VerifiedTrust, granted_period
from digiid.formats.validation.facts import FAILED, INDETERMINATE, SHA1_UNTIL, Facts, NotValid, Sub
from digiid.formats.validation.policy import find_weak_key
from digiid.formats.validation.qualification import assess
from digiid.formats.x509.parts import CONTENT_COMMITMENT, CertificateParts, names_match, parts_of, public_key_of
from digiid.formats.x509.path import verify_path
from digiid.kernel.errors import Refused

# What `verify_path` refuses.
_PATH: Final = {
    "x509.path.extension": Sub.CHAIN_CONSTRAINTS_FAILURE,
    "x509.path.not_a_ca": Sub.CHAIN_CONSTRAINTS_FAILURE,
    "x509.path.length": Sub.CHAIN_CONSTRAINTS_FAILURE,
    "x509.path.algorithm": Sub.CHAIN_CONSTRAINTS_FAILURE,
    "x509.algorithm": Sub.CRYPTO_CONSTRAINTS_FAILURE,
    "x509.public_key": Sub.CRYPTO_CONSTRAINTS_FAILURE,
}


def find_issuer(
    facts: Facts,
    certificate: x509.Certificate,
    parts: CertificateParts,
    trust: VerifiedTrust,
    best_at: datetime,
    *,
    has_proof: bool,
) -> ServiceCertificate:
    """The listed CA that issued the certificate, granted and valid when it was used; sets the qualification.

    `best_at` is when the signature is proven to have existed, or, without `has_proof`, the time of validation.

    Raises: NotValid.
    """
    candidates = trust.find_issuers(
        parts.issuer_der, key_identifier=parts.authority_key_identifier(), service_type=CA_QC
    )
    problem: NotValid | None = None
    # The path is checked at a moment inside the leaf's validity; whether signing was inside it comes next.
    path_at = min(max(best_at, parts.not_before_at), parts.not_after_at)
    for item in candidates:
        if granted_period(item.service, (CA_QC,), best_at) is None:
            problem = NotValid(
                INDETERMINATE,
                Sub.NO_CERTIFICATE_CHAIN_FOUND if has_proof else Sub.NO_CERTIFICATE_CHAIN_FOUND_NO_POE,
                "validation.service_not_granted",
                "The issuing service was not granted as a qualified one at the time of signing",
            )
            continue
        try:
            if not _issued_with_sha1(facts, certificate, item.certificate, best_at, has_proof=has_proof):
                verify_path(certificate, intermediates=(), anchors=item.anchors, at=path_at, leaf_parts=parts)
        except Refused as error:
            sub = _PATH.get(error.code, Sub.NO_CERTIFICATE_CHAIN_FOUND)
            text = f"The signer's certificate does not come from the listed CA: {error.detail}"
            problem = NotValid(INDETERMINATE, sub, error.code, text)
            continue
        facts.issuer = item
        facts.issuers.append(item.certificate)
        facts.qualification = assess(parts, _periods(item, parts.not_before_at, best_at))
        _check_validity(parts, best_at, has_proof=has_proof)
        return item
    raise problem or NotValid(
        INDETERMINATE,
        Sub.NO_CERTIFICATE_CHAIN_FOUND,
        "validation.no_chain",
        "The certificate chain for signature is not trusted, it does not contain a trust anchor.",
    )


def check_issuer_key(facts: Facts, best_at: datetime) -> None:
    """The CA's key was strong enough when its certificate was used (§5.2.8). Raises: NotValid."""
    for issuer in facts.issuers[:1]:
        weakness = find_weak_key(public_key_of(issuer), at=best_at)
        if weakness:
            raise NotValid(
                INDETERMINATE,
                Sub.CRYPTO_CONSTRAINTS_FAILURE,
                "validation.weak_issuer_key",
                f"The key of the CA was too weak at the time of signing: {weakness}",
            )


def check_usage(parts: CertificateParts) -> None:
    """The certificate is one for signing documents (§5.2.6: key usage). Raises: NotValid."""
    usage = parts.key_usage()
    if usage is None or CONTENT_COMMITMENT not in usage:
        raise NotValid(
            INDETERMINATE,
            Sub.CHAIN_CONSTRAINTS_FAILURE,
            "validation.key_usage",
            "The signer's certificate has not expected key-usage!",
        )


def _issued_with_sha1(
    facts: Facts, certificate: x509.Certificate, issuer: x509.Certificate, best_at: datetime, *, has_proof: bool
) -> bool:
    """True for a certificate that its CA signed with SHA-1 and that is proven to have been used before collisions of
    SHA-1 were in reach (EN 319 102-1 §5.2.8: algorithms are judged at the best signature time). One hop, RSA only.
    """
    if not has_proof or best_at >= SHA1_UNTIL:
        return False
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return False  # the path refuses it
    if algorithm is None or algorithm.name != "sha1":
        return False
    key = public_key_of(issuer)
    if not isinstance(key, rsa.RSAPublicKey) or not names_match(
        parts_of(certificate).issuer_der, parts_of(issuer).subject_der
    ):
        return False
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), algorithm)
    except InvalidSignature as error:
        raise Refused("x509.signature", "the listed CA did not sign this certificate") from error
    facts.warn("validation.weak_hash", "The signer's certificate was signed with SHA-1, which was accepted at the time")
    return True


def _periods(item: ServiceCertificate, *moments: datetime) -> Sequence[ServicePeriod]:
    found = [granted_period(item.service, (CA_QC,), moment) for moment in moments]
    return [period for period in found if period is not None]


def _check_validity(parts: CertificateParts, best_at: datetime, *, has_proof: bool) -> None:
    if parts.not_before_at <= best_at <= parts.not_after_at:
        return
    if not has_proof:
        raise NotValid(
            INDETERMINATE,
            Sub.OUT_OF_BOUNDS_NO_POE,
            "validation.out_of_bounds",
            "The current time is not in the validity range of the signer's certificate!",
        )
    if best_at > parts.not_after_at:
        # §5.5.4: a time-stamp says that the signature is not younger, so it may be older than the certificate's end.
        raise NotValid(
            INDETERMINATE,
            Sub.OUT_OF_BOUNDS_NO_POE,
            "validation.expired",
            "The best-signature-time is not before the expiration date of the signing certificate!",
        )
    raise NotValid(
        FAILED,
        Sub.NOT_YET_VALID,
        "validation.not_yet_valid",
        "The best-signature-time is not at or after the issuance date of the signing certificate!",
    )
