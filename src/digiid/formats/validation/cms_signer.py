"""What the ladders of CAdES in containers and in PDF files share: EN 319 102-1 §5.2.3, §5.2.7 and §5.2.8 for CMS."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from lxml import etree

from digiid.formats import cms
from digiid.formats.cades import UnverifiedCades
from digiid.formats.validation.certificate import check_issuer_key
from digiid.formats.validation.facts import FAILED, INDETERMINATE, Facts, NotValid
from digiid.formats.validation.policy import find_weak_key
from digiid.formats.validation.report import SubIndication
from digiid.formats.x509.parts import public_key_of
from digiid.formats.xades import UnverifiedSignature
from digiid.formats.xades.algorithms import SignatureMethod
from digiid.kernel.errors import Refused

Sub = SubIndication

# What `verify_signer` refuses, in the words of EN 319 102-1 §5.2.3 and §5.2.7.
_NOT_INTACT: Final = (FAILED, Sub.SIG_CRYPTO_FAILURE, "The signature is not intact!")
_REFUSED: Final = {
    "cms.signer_certificate": (
        INDETERMINATE,
        Sub.NO_SIGNING_CERTIFICATE_FOUND,
        "It is not certain whose certificate the signature was made with",
    ),
    "cms.attributes": (FAILED, Sub.FORMAT_FAILURE, "The signed attributes do not say what they must"),
    "cms.digest": (FAILED, Sub.HASH_FAILURE, "The reference data object is not intact!"),
    "cms.algorithm": (INDETERMINATE, Sub.CRYPTO_CONSTRAINTS_FAILURE, "An algorithm that is not accepted"),
    "x509.algorithm": (INDETERMINATE, Sub.CRYPTO_CONSTRAINTS_FAILURE, "An algorithm that is not accepted"),
}
_UNNAMED_METHOD: Final = SignatureMethod("", "", "")


def as_signature(
    cades: UnverifiedCades, ocsp_der: Sequence[bytes] = (), crls_der: Sequence[bytes] = ()
) -> UnverifiedSignature:
    """What the ladder reads of any signature. What only XML has is empty; `ocsp_der` and `crls_der` come beside what is
    inside."""
    signature_id = "S-" + hashlib.sha256(cades.signer.signature).hexdigest().upper()
    return UnverifiedSignature(
        id=signature_id,
        method=cades.method or _UNNAMED_METHOD,
        c14n="",
        references=(),
        properties_hash_name=cades.hash_name,
        properties_digest=b"",
        signed_info=b"",
        signed_properties=b"",
        signature_value=cades.signer.signature,
        certificates_der=(),
        certificate_references=(),
        claimed_signing_at=cades.claimed_signing_at,
        claimed_roles=cades.roles,
        production_place=None,
        policy=cades.policy,
        media_types={},
        signature_time_stamps=(),
        archive_time_stamps=(),
        certificate_values_der=(),
        ocsp_values_der=(*cades.ocsp_der, *ocsp_der),
        crl_values_der=(*cades.crls_der, *crls_der),
        unknown_properties=cades.unknown_attributes,
        element=etree.Element("none"),
    )


def check_hash(cades: UnverifiedCades) -> None:
    """Raises: NotValid, the content is digested with a hash that is not accepted."""
    if cades.hash_name not in ("sha256", "sha384", "sha512"):
        raise NotValid(
            INDETERMINATE,
            Sub.CRYPTO_CONSTRAINTS_FAILURE,
            "cms.algorithm",
            f"The hash {cades.hash_name} is not accepted",
        )


def verify_cades(facts: Facts, cades: UnverifiedCades, content_digest: bytes) -> cms.VerifiedSigner:
    """Who signed, and is the value theirs (§5.2.3, §5.2.7); tells of what is not read. Raises: NotValid."""
    try:
        verified = cms.verify_signer(cades.signed_data, cades.signer, content_digest=content_digest)
    except Refused as error:
        indication, sub, text = _REFUSED.get(error.code, _NOT_INTACT)
        raise NotValid(indication, sub, error.code, f"{text} ({error.detail})") from error
    facts.certificate = verified.certificate
    for name in cades.unknown_attributes:
        facts.warn("validation.property_ignored", f"The attribute {name} was not taken into account")
    return verified


def find_certificate(cades: UnverifiedCades) -> tuple[x509.Certificate, bytes]:
    """Whose certificate the signed attributes name, whether or not the signature holds. Raises: Refused; Malformed."""
    certificate, certificate_der, _ = cms.find_signing_certificate(cades.signed_data, cades.signer)
    return certificate, certificate_der


def check_signing_time(claimed_at: datetime | None) -> None:
    """Raises: NotValid."""
    if claimed_at is None:
        raise NotValid(
            INDETERMINATE, Sub.SIG_CONSTRAINTS_FAILURE, "validation.signing_time", "The signing time is not stated"
        )


def check_attributes(facts: Facts, cades: UnverifiedCades, verified: cms.VerifiedSigner, best_at: datetime) -> None:
    """What the policy asks of the signed attributes and of the key (§5.2.8). Raises: NotValid."""
    if cades.policy not in (None, "implied"):
        raise NotValid(
            INDETERMINATE,
            Sub.SIGNATURE_POLICY_NOT_AVAILABLE,
            "validation.signature_policy",
            f"The signature policy {cades.policy} is not judged by this program",
        )
    weakness = find_weak_key(public_key_of(verified.certificate), at=best_at)
    if weakness:
        raise NotValid(
            INDETERMINATE,
            Sub.CRYPTO_CONSTRAINTS_FAILURE,
            "validation.weak_key",
            f"The signer's key was too weak at the time of signing: {weakness}",
        )
    check_issuer_key(facts, best_at)
