"""Whose seal a signed statement carries: one organisation's, by one name, under issuers that count.

EN 319 412-3 for the certificate. Not supported: seals of natural persons' certificates, revocation (a statement that is
kept for long says by its time stamp when the seal was valid).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from digiid.formats.x509.parts import CONTENT_COMMITMENT, parts_of
from digiid.formats.x509.path import TrustAnchors, verify_path
from digiid.formats.x509.profile import COMMON_NAME, ORGANIZATION_IDENTIFIER, QCP_L, QCP_L_QSCD
from digiid.kernel.errors import DigiidError, Refused


@dataclass(frozen=True, slots=True)
class SealOwner:
    """The seal that counts. A renewed one of the same owner and name counts too."""

    anchors: TrustAnchors
    organization_identifier: str
    seal_name: str


def verify_seal_owner(certificates: Sequence[x509.Certificate], owner: SealOwner, *, at: datetime) -> x509.Certificate:
    """The seal's certificate, the first of them, valid at `at` and the owner's.

    Raises: Refused `seal.owner`.
    """
    leaf, others = certificates[0], certificates[1:]
    try:
        path = verify_path(leaf, intermediates=others, anchors=owner.anchors, at=at)
        parts = parts_of(leaf)
        names = parts.subject_value(ORGANIZATION_IDENTIFIER), parts.subject_value(COMMON_NAME)
    except DigiidError as error:
        raise Refused("seal.owner", f"the seal is not one that counts: {error.code}") from error
    usage = parts.key_usage() or frozenset()
    if CONTENT_COMMITMENT not in usage or path.policies.isdisjoint((QCP_L, QCP_L_QSCD)):
        raise Refused("seal.owner", "not a certificate for an organisation's seal")
    if len(path.certificates) < 2 or names != (owner.organization_identifier, owner.seal_name):
        raise Refused("seal.owner", f"the seal is of somebody else than {owner.seal_name}")
    return leaf
