"""Validation policies, as the Estonian validation service names them, and what they ask of algorithms."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from digiid.formats.validation.report import Indication, Message, Severity, SignatureReport
from digiid.formats.x509.signature import is_ec_key
from digiid.formats.xades import SignatureMethod


@dataclass(frozen=True, slots=True)
class Policy:
    """`accepted_levels` and `tolerated_levels` are None when every legal level will do."""

    name: str
    description: str
    accepted_levels: frozenset[str] | None = None
    tolerated_levels: frozenset[str] = frozenset()


POLV3: Final = Policy(
    "POLv3",
    "Policy for validating Electronic Signatures and Electronic Seals regardless of the legal type of the signature or "
    "seal (according to Regulation (EU) No 910/2014): the signature or seal may be advanced or qualified.",
)
POLV4: Final = Policy(
    "POLv4",
    "Policy for validating Qualified Electronic Signatures and Electronic Seals (according to Regulation (EU) No "
    "910/2014): a signature has to be qualified, or advanced on a qualified certificate; a seal likewise.",
    accepted_levels=frozenset({"QESIG", "QESEAL", "ADESEAL_QC"}),
    tolerated_levels=frozenset({"ADESIG_QC"}),
)
POLICIES: Final = {policy.name: policy for policy in (POLV3, POLV4)}


def apply_policy(report: SignatureReport, policy: Policy) -> SignatureReport:
    """The last step: a valid signature of a level that the policy does not want is not accepted."""
    if report.indication is not Indication.TOTAL_PASSED or policy.accepted_levels is None:
        return report
    if report.level in policy.accepted_levels:
        return report
    if report.level in policy.tolerated_levels:
        message = Message(
            Severity.WARNING,
            "validation.policy.level_tolerated",
            "The signature is not in the Qualified Electronic Signature level",
        )
        return report._replace(messages=(*report.messages, message))
    message = Message(
        Severity.ERROR,
        "validation.policy.level",
        "Signature/seal level do not meet the minimal level required by applied policy",
    )
    return report._replace(
        indication=Indication.TOTAL_FAILED, sub_indication=None, messages=(*report.messages, message)
    )


_WEAK_HASHES: Final = frozenset({"sha1", "sha224"})
_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
_RSA_1900_FROM: Final = datetime(2019, 10, 1, tzinfo=UTC)
_RSA_3000_FROM: Final = datetime(2029, 1, 1, tzinfo=UTC)


def find_weak_key(key: PublicKeyTypes, *, at: datetime) -> str | None:
    """Why a key was too weak at that time (SOG-IS agreed mechanisms, as the state's policy dates them); else None."""
    if is_ec_key(key):
        return f"ECDSA on {key.curve.name}" if key.curve.key_size < 256 else None
    if isinstance(key, rsa.RSAPublicKey):
        least = 1024 if at < _RSA_1900_FROM else 1900 if at < _RSA_3000_FROM else 3000
        return f"RSA with {key.key_size} bits; {least} were needed" if key.key_size < least else None
    return "a kind of key that is not accepted"


def weak_from(key: PublicKeyTypes) -> datetime | None:
    """When a key becomes too weak by the same table; None when no date is set."""
    if isinstance(key, rsa.RSAPublicKey):
        steps = ((1024, _ALWAYS), (1900, _RSA_1900_FROM), (3000, _RSA_3000_FROM))
        return next((at for least, at in steps if key.key_size < least), None)
    if is_ec_key(key):
        return _ALWAYS if key.curve.key_size < 256 else None
    return _ALWAYS


def find_weak_hashes(method: SignatureMethod, reference_hashes: frozenset[str]) -> frozenset[str]:
    """Hashes in use that are only tolerated in old signatures."""
    return (reference_hashes | {method.hash_name}) & _WEAK_HASHES
