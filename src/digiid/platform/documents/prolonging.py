"""What making signatures last has in common, whichever form they have: what may be prolonged, and its status now."""

from typing import Final

from cryptography import x509

from digiid.formats.ocsp import CertStatus, VerifiedOcsp
from digiid.formats.validation import SignatureReport
from digiid.kernel.errors import Refused
from digiid.platform.documents.services import TrustServices

_NO_REVOCATION_DATA: Final = {"validation.no_revocation_data"}  # the one thing that level T may lack


def check_prolongable(signature: SignatureReport) -> None:
    """It is valid, or of level T with nothing wrong but what that level lacks.

    Raises: Refused `documents.container.not_valid`.
    """
    errors = {message.code for message in signature.messages if message.severity == "error"}
    is_level_t = signature.signature_format.endswith("_T")
    if not signature.is_valid and not (is_level_t and errors == _NO_REVOCATION_DATA):
        raise Refused(
            "documents.container.not_valid",
            f"{signature.id}: {', '.join(sorted(errors))}",
            public="A signature that is not valid is not prolonged.",
        )


def confirm_status(signature: SignatureReport, services: TrustServices) -> tuple[bytes, x509.Certificate, VerifiedOcsp]:
    """An OCSP response of now that the signer's certificate is good, with its issuer: what level T lacks.

    Raises: Refused `documents.container.not_valid`, `documents.certificate.not_good`, `ocsp.…`; Unavailable.
    """
    if signature.certificate is None or not signature.issuers:
        raise Refused("documents.container.not_valid", f"{signature.id}: the issuer is not known")
    issuer = signature.issuers[0]
    response_der, status = services.ocsp.fetch(signature.certificate, issuer)
    if status.status is not CertStatus.GOOD:
        raise Refused(
            "documents.certificate.not_good",
            f"the responder says {status.status}",
            public="The signer's certificate is not in force any more, so its status then cannot be confirmed now.",
        )
    return response_der, issuer, status
