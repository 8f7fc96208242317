"""What each kind of certificate of this hierarchy says: ETSI EN 319 412-1/-2/-3/-5, EN 319 411-1/-2, RFC 5280.

The shapes are those of the Estonian identity documents (ESTEID2018, ESTEID2025), with two deliberate
differences: the extended key usage of the authentication certificate is not critical (EN 319 412-2
§4.3.10), and claims of a secure signature device are made only in a hierarchy all of whose names
start with TEST, because a chip made of software is not one.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509

from digiid.formats import der
from digiid.formats.x509 import parts as x509_parts
from digiid.formats.x509.parts import parts_of
from digiid.kernel.errors import Malformed, Refused

SERIAL_NUMBER_BYTES: Final = 16
MAX_LEAF_BYTES: Final = 1536  # what the chip's certificate files hold
# X.520 ub-common-name is 64 characters; deployed software counts the bytes of UTF-8.
_MAX_COMMON_NAME_BYTES: Final = 64

COUNTRY, COMMON_NAME, SURNAME, GIVEN_NAME, SERIAL_NUMBER = "2.5.4.6", "2.5.4.3", "2.5.4.4", "2.5.4.42", "2.5.4.5"
ORGANIZATION, ORGANIZATION_IDENTIFIER, BUSINESS_CATEGORY = "2.5.4.10", "2.5.4.97", "2.5.4.15"

ANY_POLICY: Final = "2.5.29.32.0"
NCP: Final = "0.4.0.2042.1.1"  # EN 319 411-1 §5.3
NCP_PLUS: Final = "0.4.0.2042.1.2"  # the same, with a secure cryptographic device
QCP_N: Final = "0.4.0.194112.1.0"  # EN 319 411-2 §5.3
QCP_L: Final = "0.4.0.194112.1.1"
QCP_N_QSCD: Final = "0.4.0.194112.1.2"
QCP_L_QSCD: Final = "0.4.0.194112.1.3"

EKU_SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
EKU_CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
EKU_EMAIL_PROTECTION: Final = "1.3.6.1.5.5.7.3.4"
EKU_TIME_STAMPING: Final = "1.3.6.1.5.5.7.3.8"
EKU_OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"
EKU_TSL_SIGNING: Final = "0.4.0.2231.3.0"  # TS 119 612 §5.7.1

QC_COMPLIANCE: Final = "0.4.0.1862.1.1"  # EN 319 412-5 §4.2.1
QC_SSCD: Final = "0.4.0.1862.1.4"
QC_PDS: Final = "0.4.0.1862.1.5"
QC_TYPE: Final = "0.4.0.1862.1.6"
QC_TYPE_ESIGN: Final = "0.4.0.1862.1.6.1"
QC_TYPE_ESEAL: Final = "0.4.0.1862.1.6.2"

_PERSON_NAME: Final = re.compile(r"[^\W\d_]+(?:[ '’.\-]+[^\W\d_]+)*[.'’]?")
_PERSONAL_CODE: Final = re.compile(r"[1-8][0-9]{10}")
_REGISTRY_CODE: Final = re.compile(r"[1-9][0-9]{7}")
_MEMBER_CLASS: Final = re.compile(r"[A-Z][A-Z0-9-]{0,19}")


class DocumentPolicy(StrEnum):
    """Which document a certificate belongs to. The official test arc, known to deployed software."""

    CITIZEN = "citizen"
    RESIDENT = "resident"
    E_RESIDENT = "e_resident"

    @property
    def oid(self) -> str:
        return _DOCUMENT_OIDS[self]


_DOCUMENT_OIDS: Final = {
    DocumentPolicy.CITIZEN: "1.3.6.1.4.1.51361.1.2.1",
    DocumentPolicy.RESIDENT: "1.3.6.1.4.1.51361.1.2.3",
    DocumentPolicy.E_RESIDENT: "1.3.6.1.4.1.51361.1.2.4",
}
_DOCUMENT_OF_OID: Final = {oid: policy for policy, oid in _DOCUMENT_OIDS.items()}


class CertificateKind(StrEnum):
    ROOT_CA = "root_ca"
    ISSUING_CA = "issuing_ca"
    TSA_CA = "tsa_ca"
    OCSP_RESPONDER = "ocsp_responder"
    TIME_STAMPING_UNIT = "time_stamping_unit"
    TRUSTED_LIST_SIGNER = "trusted_list_signer"
    AUTHENTICATION = "authentication"
    SIGNATURE = "signature"
    SEAL = "seal"  # the key may lie in a file
    DEVICE_SEAL = "device_seal"  # the key was made in a device and stays there
    EXCHANGE_AUTHENTICATION = "exchange_authentication"  # a security server, towards other ones
    EXCHANGE_SIGNING = "exchange_signing"  # a member, for the messages of all its subsystems


@dataclass(frozen=True, slots=True)
class Profile:
    """The rules for one kind. `policies` are (with device claims, without); the document OID comes on top."""

    curves: tuple[str, ...]
    key_usage: frozenset[int]
    max_validity: timedelta
    accepts_rsa: bool = False  # 2048 to 4096 bits; otherwise only EC keys are certified
    extended_key_usage: tuple[str, ...] = ()
    extended_key_usage_critical: bool = False
    is_ca: bool = False
    path_length: int | None = None
    basic_constraints_critical: bool = True
    policies: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    is_self_signed: bool = False
    is_personal: bool = False
    has_ocsp_url: bool = False
    has_ca_issuers_url: bool = False
    has_crl_url: bool = False
    has_no_check: bool = False
    qc_type: str | None = None  # of a qualified certificate
    claims_device: bool = False

    @property
    def has_qc_statements(self) -> bool:
        return self.is_personal or self.qc_type is not None


_YEAR: Final = timedelta(days=366)
_CA_USAGE: Final = frozenset({x509_parts.KEY_CERT_SIGN, x509_parts.CRL_SIGN})
_P256, _P384, _P521 = "secp256r1", "secp384r1", "secp521r1"

PROFILES: Final[Mapping[CertificateKind, Profile]] = {
    CertificateKind.ROOT_CA: Profile(
        curves=(_P384, _P521), key_usage=_CA_USAGE, max_validity=20 * _YEAR, is_ca=True, is_self_signed=True
    ),
    CertificateKind.ISSUING_CA: Profile(
        curves=(_P384, _P521),
        key_usage=_CA_USAGE,
        max_validity=15 * _YEAR,
        is_ca=True,
        path_length=0,
        policies=((ANY_POLICY,), (ANY_POLICY,)),
        has_ca_issuers_url=True,
        has_crl_url=True,
    ),
    CertificateKind.TSA_CA: Profile(
        curves=(_P384, _P521),
        key_usage=_CA_USAGE,
        max_validity=15 * _YEAR,
        is_ca=True,
        path_length=0,
        policies=((ANY_POLICY,), (ANY_POLICY,)),
        has_ca_issuers_url=True,
        has_crl_url=True,
    ),
    CertificateKind.OCSP_RESPONDER: Profile(
        curves=(_P256, _P384),
        key_usage=frozenset({x509_parts.DIGITAL_SIGNATURE}),
        max_validity=2 * _YEAR,
        extended_key_usage=(EKU_OCSP_SIGNING,),
        extended_key_usage_critical=True,
        has_no_check=True,
    ),
    CertificateKind.TIME_STAMPING_UNIT: Profile(
        curves=(_P256, _P384),
        key_usage=frozenset({x509_parts.DIGITAL_SIGNATURE}),
        max_validity=7 * _YEAR,
        extended_key_usage=(EKU_TIME_STAMPING,),
        extended_key_usage_critical=True,
        policies=((NCP_PLUS,), (NCP,)),
        has_ca_issuers_url=True,
        has_crl_url=True,
    ),
    CertificateKind.TRUSTED_LIST_SIGNER: Profile(
        curves=(_P256, _P384),
        key_usage=frozenset({x509_parts.DIGITAL_SIGNATURE, x509_parts.CONTENT_COMMITMENT}),
        max_validity=10 * _YEAR,
        extended_key_usage=(EKU_TSL_SIGNING,),
        is_self_signed=True,
    ),
    CertificateKind.AUTHENTICATION: Profile(
        curves=(_P384,),
        # keyAgreement beside digitalSignature: documents are encrypted to this key (ECDH), as on real cards.
        key_usage=frozenset({x509_parts.DIGITAL_SIGNATURE, x509_parts.KEY_AGREEMENT}),
        max_validity=6 * _YEAR,
        extended_key_usage=(EKU_CLIENT_AUTH, EKU_EMAIL_PROTECTION),
        basic_constraints_critical=False,
        policies=((NCP_PLUS,), (NCP,)),
        is_personal=True,
        has_ocsp_url=True,
        has_ca_issuers_url=True,
        has_crl_url=True,
    ),
    CertificateKind.SIGNATURE: Profile(
        curves=(_P384,),
        key_usage=frozenset({x509_parts.CONTENT_COMMITMENT}),
        max_validity=6 * _YEAR,
        basic_constraints_critical=False,
        policies=((QCP_N_QSCD,), (QCP_N,)),
        is_personal=True,
        has_ocsp_url=True,
        has_ca_issuers_url=True,
        has_crl_url=True,
        qc_type=QC_TYPE_ESIGN,
        claims_device=True,
    ),
    CertificateKind.SEAL: Profile(
        curves=(_P256, _P384, _P521),
        key_usage=frozenset({x509_parts.CONTENT_COMMITMENT}),
        max_validity=6 * _YEAR,
        basic_constraints_critical=False,
        policies=((QCP_L,), (QCP_L,)),
        has_ocsp_url=True,
        has_ca_issuers_url=True,
        has_crl_url=True,
        qc_type=QC_TYPE_ESEAL,
    ),
    CertificateKind.DEVICE_SEAL: Profile(
        curves=(_P256, _P384, _P521),
        key_usage=frozenset({x509_parts.CONTENT_COMMITMENT}),
        max_validity=6 * _YEAR,
        basic_constraints_critical=False,
        policies=((QCP_L_QSCD,), (QCP_L,)),
        has_ocsp_url=True,
        has_ca_issuers_url=True,
        has_crl_url=True,
        qc_type=QC_TYPE_ESEAL,
        claims_device=True,
    ),
    # X-Road's two kinds (UG-CS, certificate profiles): transport identity and evidence identity never share a key.
    CertificateKind.EXCHANGE_AUTHENTICATION: Profile(
        curves=(_P256, _P384),
        # Without keyEncipherment, RSA keys too: every suite that we speak has a Diffie-Hellman exchange that is signed,
        # and EN 319 412-2 §4.3.2 advises against mixing the two uses.
        key_usage=frozenset({x509_parts.DIGITAL_SIGNATURE}),
        accepts_rsa=True,
        max_validity=3 * _YEAR,
        extended_key_usage=(EKU_CLIENT_AUTH, EKU_SERVER_AUTH),
        basic_constraints_critical=False,
        policies=((NCP,), (NCP,)),
        has_ocsp_url=True,
        has_ca_issuers_url=True,
        has_crl_url=True,
    ),
    CertificateKind.EXCHANGE_SIGNING: Profile(
        curves=(_P256, _P384),
        key_usage=frozenset({x509_parts.CONTENT_COMMITMENT}),
        accepts_rsa=True,
        max_validity=4 * _YEAR,
        basic_constraints_critical=False,
        policies=((NCP,), (NCP,)),
        has_ocsp_url=True,
        has_ca_issuers_url=True,
        has_crl_url=True,
    ),
}

# The file names under /certs and /crl, and the names by which the units know the members.
SLUGS: Final[Mapping[CertificateKind, str]] = {
    CertificateKind.ROOT_CA: "root",
    CertificateKind.ISSUING_CA: "issuing",
    CertificateKind.TSA_CA: "tsa-ca",
    CertificateKind.OCSP_RESPONDER: "ocsp",
    CertificateKind.TIME_STAMPING_UNIT: "tsu",
    CertificateKind.TRUSTED_LIST_SIGNER: "tl-signer",
}


@dataclass(frozen=True, slots=True)
class HierarchyNames:
    """The common names of the members and the organisation that all of them name."""

    organization: str = "TEST Digiid Trust Services"
    organization_identifier: str = "NTREE-10000001"
    root_ca: str = "TEST Digiid Root CA 2026"
    issuing_ca: str = "TEST Digiid Issuing CA 2026"
    tsa_ca: str = "TEST Digiid Time-Stamping CA 2026"
    ocsp_responder: str = "TEST Digiid OCSP Responder 2026"
    time_stamping_unit: str = "TEST Digiid Time-Stamping Unit 2026"
    trusted_list_signer: str = "TEST Digiid Trusted List Signer 2026"

    def common_name(self, kind: CertificateKind) -> str:
        return str(getattr(self, kind.value))


@dataclass(frozen=True, slots=True)
class HierarchyProfile:
    """What is fixed when a hierarchy is made: its names and the addresses that certificates carry.

    `base_url` has no slash at its end. `documents_url` is https: practice statement and disclosure statement.
    """

    names: HierarchyNames
    base_url: str
    documents_url: str

    @property
    def claims_device(self) -> bool:
        """Whether certificates may claim a secure device: only when every name says TEST."""
        names = self.names
        members = (names.common_name(kind) for kind in SLUGS)
        return all(name.startswith("TEST ") for name in (names.organization, *members))

    @property
    def ocsp_url(self) -> str:
        return f"{self.base_url}/ocsp"

    def crl_url(self, ca: CertificateKind) -> str:
        return f"{self.base_url}/crl/{SLUGS[ca]}.crl"

    def certificate_url(self, kind: CertificateKind) -> str:
        return f"{self.base_url}/certs/{SLUGS[kind]}.crt"

    @property
    def practice_statement_url(self) -> str:
        return f"{self.documents_url}/cps"

    @property
    def disclosure_statement_url(self) -> str:
        return f"{self.documents_url}/pds-en"

    def policies(self, kind: CertificateKind, document: DocumentPolicy | None) -> tuple[str, ...]:
        """The policy OIDs of a certificate, the document's own first."""
        with_claims, without = PROFILES[kind].policies
        generic = with_claims if self.claims_device else without
        return (document.oid, *generic) if document else generic

    def qc_statements(self, kind: CertificateKind) -> bytes | None:
        """The QcStatements value of a person's or an organisation's certificate; None for every other kind."""
        profile = PROFILES[kind]
        if not profile.has_qc_statements:
            return None
        statements: list[bytes] = []
        if profile.qc_type is not None:
            statements.append(der.sequence(der.oid(QC_COMPLIANCE)))
            if self.claims_device and profile.claims_device:
                statements.append(der.sequence(der.oid(QC_SSCD)))
            statements.append(der.sequence(der.oid(QC_TYPE), der.sequence(der.oid(profile.qc_type))))
        location = der.sequence(
            der.tlv(der.IA5_STRING, self.disclosure_statement_url.encode("ascii")),
            der.tlv(der.PRINTABLE_STRING, b"en"),
        )
        statements.append(der.sequence(der.oid(QC_PDS), der.sequence(location)))
        return der.sequence(*statements)


@dataclass(frozen=True, slots=True)
class Holder:
    """The person that a pair of certificates is for. Names in upper case; given names may be empty."""

    personal_code: str
    surname: str
    given_names: str

    def __post_init__(self) -> None:
        if not _PERSONAL_CODE.fullmatch(self.personal_code):
            raise Refused("trust.profile.personal_code", "a personal code has 11 digits")
        for name in (self.surname, self.given_names):
            if unicodedata.normalize("NFC", name) != name or name.upper() != name or len(name) > 100:
                raise Refused("trust.profile.name", "names are upper-case NFC text of at most 100 characters")
        if not _PERSON_NAME.fullmatch(self.surname) or (
            self.given_names and not _PERSON_NAME.fullmatch(self.given_names)
        ):
            raise Refused("trust.profile.name", "a name holds letters, spaces, hyphens, apostrophes and full stops")

    @property
    def common_name(self) -> str:
        """`SURNAME,GIVEN NAMES,CODE`, given names cut first when it is longer than 64 bytes."""
        room = _MAX_COMMON_NAME_BYTES - len(self.personal_code) - 1
        surname = _cut(self.surname, room)
        given = _cut(self.given_names, room - len(surname.encode()) - 1)
        return ",".join(part for part in (surname, given, self.personal_code) if part)

    @property
    def subject_attributes(self) -> tuple[tuple[str, str], ...]:
        """The subject in encoded order, as (OID, text)."""
        attributes = [(COUNTRY, "EE"), (COMMON_NAME, self.common_name), (SURNAME, self.surname)]
        if self.given_names:
            attributes.append((GIVEN_NAME, self.given_names))
        return (*attributes, (SERIAL_NUMBER, f"PNOEE-{self.personal_code}"))


@dataclass(frozen=True, slots=True)
class Organization:
    """The legal person that a seal is for (EN 319 412-3 §4.2.1). `seal_name` tells its seals apart."""

    registry_code: str
    name: str
    seal_name: str

    def __post_init__(self) -> None:
        if not _REGISTRY_CODE.fullmatch(self.registry_code):
            raise Refused("trust.profile.registry_code", "a registry code has 8 digits")
        for text in (self.name, self.seal_name):
            if not (
                unicodedata.normalize("NFC", text) == text == text.strip()
                and text.isprintable()
                and 1 <= len(text.encode()) <= _MAX_COMMON_NAME_BYTES
            ):
                raise Refused("trust.profile.name", "names are printable NFC text of at most 64 bytes")

    @property
    def subject_attributes(self) -> tuple[tuple[str, str], ...]:
        """The subject in encoded order, as (OID, text)."""
        return (
            (COUNTRY, "EE"),
            (ORGANIZATION, self.name),
            (ORGANIZATION_IDENTIFIER, f"NTREE-{self.registry_code}"),
            (COMMON_NAME, self.seal_name),
        )


@dataclass(frozen=True, slots=True)
class ExchangeSubject:
    """A member of the exchange in the subject of its certificates, by X-Road's basic rule: `businessCategory` is the
    member's class and `serialNumber` its code, so that who signed is read from the certificate alone.

    `common_name` tells a member's certificates apart: the server's name, or the member's.
    """

    member_class: str
    member_code: str
    name: str
    common_name: str

    def __post_init__(self) -> None:
        if not _MEMBER_CLASS.fullmatch(self.member_class):
            raise Refused("trust.profile.member_class", "a member class has at most 20 letters, digits and hyphens")
        Organization(self.member_code, self.name, self.common_name)  # the same rules for code and names

    @property
    def subject_attributes(self) -> tuple[tuple[str, str], ...]:
        """The subject in encoded order, as (OID, text). EN 319 412-3 §4.2.1 asks for the identifier beside the code."""
        return (
            (COUNTRY, "EE"),
            (ORGANIZATION, self.name),
            (ORGANIZATION_IDENTIFIER, f"NTREE-{self.member_code}"),
            (BUSINESS_CATEGORY, self.member_class),
            (SERIAL_NUMBER, self.member_code),
            (COMMON_NAME, self.common_name),
        )


def _cut(name: str, max_bytes: int) -> str:
    """As many whole characters as fit, without a separator at the end."""
    return name.encode()[: max(0, max_bytes)].decode(errors="ignore").rstrip(" -'’")


def member_attributes(hierarchy: HierarchyProfile, kind: CertificateKind) -> tuple[tuple[str, str], ...]:
    """The subject of a member of the hierarchy in encoded order, as (OID, text)."""
    names = hierarchy.names
    return (
        (COUNTRY, "EE"),
        (ORGANIZATION, names.organization),
        (ORGANIZATION_IDENTIFIER, names.organization_identifier),
        (COMMON_NAME, names.common_name(kind)),
    )


def serial_number_from(random_bytes: bytes) -> int:
    """A positive serial number of exactly 16 bytes from 16 random ones (126 bits of them count)."""
    if len(random_bytes) != SERIAL_NUMBER_BYTES:
        raise ValueError("a serial number is made from 16 random bytes")
    return int.from_bytes(bytes((random_bytes[0] & 0x3F | 0x40, *random_bytes[1:])), "big")


def end_of_day_in_tallinn(day: date) -> datetime:
    """23:59:59 Europe/Tallinn of `day`, in UTC (Directive 2000/84/EC: summer time by the last Sundays)."""
    is_summer = _last_sunday(day.year, 3) <= day < _last_sunday(day.year, 10)
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC) - timedelta(hours=3 if is_summer else 2)


def _last_sunday(year: int, month: int) -> date:
    last = date(year, month, 31)
    return last - timedelta(days=(last.weekday() + 1) % 7)


def document_policy(certificate: x509.Certificate) -> DocumentPolicy | None:
    """The document that a certificate belongs to; None when it names none of ours, or more than one.

    Raises: Malformed `der.…` or `x509.…` when the extension cannot be read.
    """
    found = {_DOCUMENT_OF_OID[oid] for oid in parts_of(certificate).policies() if oid in _DOCUMENT_OF_OID}
    return found.pop() if len(found) == 1 else None


def has_policy(certificate: x509.Certificate, *oids: str) -> bool:
    """Whether the certificate names at least one of these policies. Raises: Malformed."""
    return not frozenset(oids).isdisjoint(parts_of(certificate).policies())


def personal_code(certificate: x509.Certificate) -> str:
    """The personal code in the subject's serialNumber `PNOEE-…` (EN 319 412-1 §5.1.3).

    Raises: Malformed `x509.personal_code`, `x509.name`.
    """
    value = parts_of(certificate).subject_value(SERIAL_NUMBER) or ""
    prefix, _, code = value.partition("-")
    if prefix != "PNOEE" or not _PERSONAL_CODE.fullmatch(code):
        raise Malformed("x509.personal_code", "the subject has no Estonian personal code")
    return code


def holder_names(certificate: x509.Certificate) -> tuple[str, str]:
    """(given names, surname) of the subject; either may be empty. Raises: Malformed `x509.name`."""
    parts = parts_of(certificate)
    return parts.subject_value(GIVEN_NAME) or "", parts.subject_value(SURNAME) or ""
