"""What a signature carries to prove itself by, and what each level asks of the trust services' answers."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from cryptography import x509

from digiid.formats.ocsp import CertStatus, VerifiedOcsp
from digiid.formats.x509.parts import certificate_der
from digiid.formats.xades import StreamFile, plan_archive_time_stamp
from digiid.kernel.errors import Refused
from digiid.platform.trust import TsaClient


class Level(StrEnum):
    """EN 319 132-1 §6: what a signature carries to prove itself by."""

    B = "B"  # the signature alone
    T = "T"  # with a time-stamp
    LT = "LT"  # with the status of the certificate as well
    LTA = "LTA"  # with an archive time-stamp over all of it and the files


def check_status(status: VerifiedOcsp, *, stamped_at: datetime) -> None:
    """The certificate was good when its holder signed. Raises: Refused `documents.certificate.…`."""
    if status.status is CertStatus.REVOKED and status.reason == "certificateHold":
        raise Refused(
            "documents.certificate.suspended", "on hold", public="The certificate is suspended. Nothing was signed."
        )
    if status.status is CertStatus.REVOKED:
        raise Refused(
            "documents.certificate.revoked", "revoked", public="The certificate is revoked. Nothing was signed."
        )
    if status.status is not CertStatus.GOOD:
        raise Refused("documents.certificate.unknown", "unknown", public="The certificate's status is not known.")
    if status.produced_at < stamped_at.replace(microsecond=0):
        raise Refused("documents.ocsp.too_early", "the confirmation is older than the time-stamp")


def certificate_values(certificates: Iterable[x509.Certificate]) -> list[bytes]:
    """What goes into CertificateValues: each certificate once, in the order given."""
    return list(dict.fromkeys(certificate_der(certificate) for certificate in certificates))


def add_archive_time_stamp(xml: bytes, signature_id: str, *, stream: StreamFile, tsa: TsaClient) -> bytes:
    """A signature file with an archive time-stamp more on one of its signatures, which is of level LT or LTA.

    `stream` gives the octets of a data file by its name.

    Raises:
        Malformed: `xades.…`, `xml.…`, `tsp.…`.
        Refused: `xades.archive.…`, `tsp.…`, `trust.…`.
        Unavailable: the time-stamping authority does not answer.
    """
    plan = plan_archive_time_stamp(xml, signature_id, stream=stream)
    token_der, _ = tsa.fetch(plan.imprint, plan.hash_name)
    return plan.apply(token_der)
