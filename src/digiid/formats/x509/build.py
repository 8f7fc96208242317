"""Certificates of the hierarchy, from an order to a candidate, and from linted bytes to a certificate.

The library has no way to say "to-be-signed bytes, please": a candidate is signed with a throw-away
key of the CA's curve. What the CA's key signs later are exactly the candidate's to-be-signed bytes.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ObjectIdentifier

from digiid.formats import der
from digiid.formats.x509 import parts as x509_parts
from digiid.formats.x509.lint import Expected, LintedTbs
from digiid.formats.x509.parts import load_certificate, parse_parts, parts_of
from digiid.formats.x509.profile import PROFILES, CertificateKind, DocumentPolicy, HierarchyProfile
from digiid.formats.x509.signature import (
    hash_algorithm,
    hash_name_for,
    load_public_key,
    sign_ecdsa,
    sign_ecdsa_deterministic,
    signature_identifier,
    verify_signature,
)
from digiid.kernel.errors import Broken, Refused

_QC_STATEMENTS: Final = ObjectIdentifier(x509_parts.QC_STATEMENTS)
_ACCESS_OCSP: Final = x509.oid.AuthorityInformationAccessOID.OCSP
_ACCESS_CA_ISSUERS: Final = x509.oid.AuthorityInformationAccessOID.CA_ISSUERS


SubjectKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Plan:
    """One certificate to be made. `issuer` is the CA's certificate, `issuer_kind` its kind; None: self-signed."""

    kind: CertificateKind
    subject_attributes: tuple[tuple[str, str], ...]
    public_key: SubjectKey
    serial_number: int
    not_before_at: datetime
    not_after_at: datetime
    issuer: x509.Certificate | None
    issuer_kind: CertificateKind | None
    document_policy: DocumentPolicy | None = None

    def expected(self, hierarchy: HierarchyProfile) -> Expected:
        """The same order as lint wants it."""
        return Expected(
            kind=self.kind,
            hierarchy=hierarchy,
            subject_attributes=self.subject_attributes,
            spki_der=spki_der(self.public_key),
            serial_number=self.serial_number,
            not_before_at=self.not_before_at,
            not_after_at=self.not_after_at,
            issuer=parts_of(self.issuer) if self.issuer else None,
            issuer_kind=self.issuer_kind,
            document_policy=self.document_policy,
        )


def spki_der(key: SubjectKey) -> bytes:
    """SubjectPublicKeyInfo, of an EC key with a named curve and an uncompressed point."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def build_candidate(plan: Plan, hierarchy: HierarchyProfile, *, throwaway_key: ec.EllipticCurvePrivateKey) -> bytes:
    """A complete certificate signed with `throwaway_key`, which is of the issuer's curve and used once."""
    subject = _name(plan.subject_attributes)
    issuer_key = load_public_key(parts_of(plan.issuer).spki_der) if plan.issuer else plan.public_key
    if not isinstance(issuer_key, ec.EllipticCurvePublicKey) or issuer_key.curve.name != throwaway_key.curve.name:
        raise Broken("trust.issue.throwaway", "the throw-away key is not of the issuer's curve")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(plan.issuer.subject if plan.issuer else subject)
        .public_key(plan.public_key)
        .serial_number(plan.serial_number)
        .not_valid_before(plan.not_before_at)
        .not_valid_after(plan.not_after_at)
    )
    for extension, critical in _extensions(plan, hierarchy, issuer_key):
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(throwaway_key, hash_algorithm(hash_name_for(throwaway_key)))
    return certificate.public_bytes(Encoding.DER)


def rebuild_candidate(tbs_der: bytes, *, throwaway_key: ec.EllipticCurvePrivateKey) -> bytes:
    """Stored to-be-signed bytes as a candidate again, to be linted once more after a restart."""
    signature = sign_ecdsa(throwaway_key, tbs_der)
    return der.sequence(tbs_der, signature_identifier(throwaway_key), der.bit_string(signature))


def sign_tbs(linted: LintedTbs, *, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The certificate: the CA's signature over exactly the linted bytes, checked before it is handed out.

    Raises: Broken `trust.issue.wrong_key` when `key` is not the CA's that the bytes were linted for,
    `trust.issue.bad_signature` when what the key produced does not verify.
    """
    if spki_der(key.public_key()) != linted.issuer_spki_der:
        raise Broken("trust.issue.wrong_key", "not the key of the issuer that was linted for")
    # Deterministic: what was interrupted and is signed again is the same certificate, not a second one.
    signature = sign_ecdsa_deterministic(key, linted.tbs_der)
    try:
        # A fault in a signing device can leak the key through one wrong signature: look before it leaves.
        verify_signature(
            load_public_key(linted.issuer_spki_der),
            algorithm_der=linted.algorithm_der,
            signature=signature,
            message=linted.tbs_der,
        )
    except Refused as error:
        raise Broken(
            "trust.issue.bad_signature", "the signing key produced a signature that does not verify"
        ) from error
    certificate_der = der.sequence(linted.tbs_der, linted.algorithm_der, der.bit_string(signature))
    load_certificate(certificate_der)
    return certificate_der


def tbs_of(certificate_der: bytes) -> bytes:
    """The to-be-signed bytes inside a certificate. Raises: Malformed."""
    return parse_parts(certificate_der).tbs_der


def _name(attributes: tuple[tuple[str, str], ...]) -> x509.Name:
    return x509.Name([x509.NameAttribute(ObjectIdentifier(oid), text) for oid, text in attributes])


def _extensions(
    plan: Plan, hierarchy: HierarchyProfile, issuer_key: ec.EllipticCurvePublicKey
) -> list[tuple[x509.ExtensionType, bool]]:
    profile = PROFILES[plan.kind]
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(profile.is_ca, profile.path_length), profile.basic_constraints_critical),
        (_key_usage(profile.key_usage), True),
    ]
    if profile.extended_key_usage:
        usages = [ObjectIdentifier(oid) for oid in profile.extended_key_usage]
        found.append((x509.ExtendedKeyUsage(usages), profile.extended_key_usage_critical))
    if policies := hierarchy.policies(plan.kind, plan.document_policy):
        first, *others = policies
        statement = x509.PolicyInformation(ObjectIdentifier(first), [hierarchy.practice_statement_url])
        rest = [x509.PolicyInformation(ObjectIdentifier(oid), None) for oid in others]
        found.append((x509.CertificatePolicies([statement, *rest]), False))
    found.append((x509.SubjectKeyIdentifier.from_public_key(plan.public_key), False))
    found.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False))
    if statements := hierarchy.qc_statements(plan.kind):
        found.append((x509.UnrecognizedExtension(_QC_STATEMENTS, statements), False))
    if plan.issuer_kind is not None:
        access: list[x509.AccessDescription] = []
        if profile.has_ocsp_url:
            access.append(x509.AccessDescription(_ACCESS_OCSP, _uri(hierarchy.ocsp_url)))
        if profile.has_ca_issuers_url:
            url = _uri(hierarchy.certificate_url(plan.issuer_kind))
            access.append(x509.AccessDescription(_ACCESS_CA_ISSUERS, url))
        if access:
            found.append((x509.AuthorityInformationAccess(access), False))
        if profile.has_crl_url:
            point = x509.DistributionPoint([_uri(hierarchy.crl_url(plan.issuer_kind))], None, None, None)
            found.append((x509.CRLDistributionPoints([point]), False))
    if profile.has_no_check:
        found.append((x509.OCSPNoCheck(), False))
    return found


def _uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def _key_usage(bits: frozenset[int]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=x509_parts.DIGITAL_SIGNATURE in bits,
        content_commitment=x509_parts.CONTENT_COMMITMENT in bits,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=x509_parts.KEY_AGREEMENT in bits,
        key_cert_sign=x509_parts.KEY_CERT_SIGN in bits,
        crl_sign=x509_parts.CRL_SIGN in bits,
        encipher_only=False,
        decipher_only=False,
    )
