"""A small hierarchy made with the product's own builders, for tests of what reads certificates."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats.x509.build import Plan, build_candidate, sign_tbs
from digiid.formats.x509.lint import lint_candidate
from digiid.formats.x509.parts import load_certificate
from digiid.formats.x509.profile import (
    CertificateKind,
    DocumentPolicy,
    HierarchyNames,
    HierarchyProfile,
    Holder,
    end_of_day_in_tallinn,
    member_attributes,
    serial_number_from,
)

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
HOLDER = Holder("38001085718", "JÕEORG", "JAAK-KRISTJAN")
P256, P384, P521 = ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()
HONEST_NAMES = HierarchyNames(
    organization="Digiid Trust Services",
    root_ca="Digiid Root CA 2026",
    issuing_ca="Digiid Issuing CA 2026",
    tsa_ca="Digiid Time-Stamping CA 2026",
    ocsp_responder="Digiid OCSP Responder 2026",
    time_stamping_unit="Digiid Time-Stamping Unit 2026",
    trusted_list_signer="Digiid Trusted List Signer 2026",
)


@dataclass
class Member:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    kind: CertificateKind | None = None


@dataclass
class SmallHierarchy:
    """Root, issuing CA, TSA CA, responder, TSU and as many leaves as a test asks for."""

    base_url: str = "http://pki.digiid.ee"
    names: HierarchyNames = field(default_factory=HierarchyNames)
    ca_curve: ec.EllipticCurve = P384
    made: int = 0

    def __post_init__(self) -> None:
        host = self.base_url.removeprefix("http://")
        self.profile = HierarchyProfile(self.names, self.base_url, f"https://{host}/repository")
        self.root = self.member(CertificateKind.ROOT_CA, None, curve=self.ca_curve, years=20)
        self.issuing = self.member(CertificateKind.ISSUING_CA, self.root, curve=self.ca_curve, years=12)
        self.tsa_ca = self.member(CertificateKind.TSA_CA, self.root, curve=self.ca_curve, years=12)
        self.responder = self.member(CertificateKind.OCSP_RESPONDER, self.issuing, curve=P256, years=1)
        self.tsu = self.member(CertificateKind.TIME_STAMPING_UNIT, self.tsa_ca, curve=P384, years=6)
        self.tl_signer = self.member(CertificateKind.TRUSTED_LIST_SIGNER, None, curve=P384, years=6)
        self.authentication = self.leaf(CertificateKind.AUTHENTICATION)
        self.signature = self.leaf(CertificateKind.SIGNATURE)

    def next_serial(self) -> int:
        self.made += 1
        return serial_number_from(sha256(b"serial %d" % self.made).digest()[:16])

    def member(
        self, kind: CertificateKind, issuer: Member | None, *, curve: ec.EllipticCurve, years: int, **changes: object
    ) -> Member:
        key = ec.generate_private_key(curve)
        plan = Plan(
            kind=kind,
            subject_attributes=member_attributes(self.profile, kind),
            public_key=key.public_key(),
            serial_number=self.next_serial(),
            not_before_at=NOW - timedelta(hours=1),
            not_after_at=NOW + timedelta(days=365 * years),
            issuer=issuer.certificate if issuer else None,
            issuer_kind=issuer.kind if issuer else None,
        )
        return self.certify(plan, key, issuer)

    def certify(self, plan: Plan, key: ec.EllipticCurvePrivateKey, issuer: Member | None) -> Member:
        issuer_key = issuer.key if issuer else key
        candidate = build_candidate(plan, self.profile, throwaway_key=ec.generate_private_key(issuer_key.curve))
        linted = lint_candidate(candidate, plan.expected(self.profile))
        return Member(load_certificate(sign_tbs(linted, key=issuer_key)), key, plan.kind)

    def leaf_plan(
        self,
        kind: CertificateKind,
        *,
        key: ec.EllipticCurvePrivateKey,
        holder: Holder = HOLDER,
        policy: DocumentPolicy = DocumentPolicy.E_RESIDENT,
        not_before_at: datetime = NOW,
        expires_on: date = date(2031, 11, 22),
    ) -> Plan:
        return Plan(
            kind=kind,
            subject_attributes=holder.subject_attributes,
            public_key=key.public_key(),
            serial_number=self.next_serial(),
            not_before_at=not_before_at,
            not_after_at=end_of_day_in_tallinn(expires_on),
            issuer=self.issuing.certificate,
            issuer_kind=CertificateKind.ISSUING_CA,
            document_policy=policy,
        )

    def leaf(
        self, kind: CertificateKind, holder: Holder = HOLDER, policy: DocumentPolicy = DocumentPolicy.E_RESIDENT
    ) -> Member:
        key = ec.generate_private_key(P384)
        return self.certify(self.leaf_plan(kind, key=key, holder=holder, policy=policy), key, self.issuing)
