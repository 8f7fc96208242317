"""The legal level of a signature: QESIG, QESEAL, ADESIG_QC … (TS 119 615; EN 319 412-5 for what certificates say)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from digiid.formats import der
from digiid.formats.trusted_list import ServicePeriod, qualifiers_for
from digiid.formats.x509.parts import QC_STATEMENTS, CertificateParts
from digiid.kernel.errors import Malformed

QC_COMPLIANCE: Final = "0.4.0.1862.1.1"
QC_SSCD: Final = "0.4.0.1862.1.4"
QC_TYPE: Final = "0.4.0.1862.1.6"
QC_TYPE_ESIGN: Final = "0.4.0.1862.1.6.1"
QC_TYPE_ESEAL: Final = "0.4.0.1862.1.6.2"
QC_TYPE_WEB: Final = "0.4.0.1862.1.6.3"
# EN 319 411-2 §5.3, and TS 101 456 for certificates from before eIDAS
_QUALIFIED_POLICIES: Final = {f"0.4.0.194112.1.{n}" for n in range(4)} | {"0.4.0.1456.1.1", "0.4.0.1456.1.2"}
_QSCD_POLICIES: Final = {"0.4.0.194112.1.2", "0.4.0.194112.1.3", "0.4.0.1456.1.1"}
_SEAL_POLICIES: Final = {"0.4.0.194112.1.1", "0.4.0.194112.1.3"}
_MAX_STATEMENTS: Final = 32
_ORGANIZATION_IDENTIFIER: Final = "2.5.4.97"
_GIVEN_NAME: Final = "2.5.4.42"


class Qualification(NamedTuple):
    """What the certificate was for."""

    is_qualified: bool
    is_on_qscd: bool
    is_seal: bool

    @property
    def level(self) -> str:
        kind = "SEAL" if self.is_seal else "SIG"
        if self.is_qualified:
            return f"QE{kind}" if self.is_on_qscd else f"ADE{kind}_QC"
        return f"ADE{kind}"

    @property
    def failed_level(self) -> str:
        if self.is_qualified:
            return "NOT_ADES_QC_QSCD" if self.is_on_qscd else "NOT_ADES_QC"
        return "NOT_ADES"


def parse_qc_statements(parts: CertificateParts) -> dict[str, tuple[str, ...]]:
    """Statement OIDs of the certificate; for QcType the types it names.

    Raises: Malformed `der.…`.
    """
    extension = parts.extensions.get(QC_STATEMENTS)
    found: dict[str, tuple[str, ...]] = {}
    if extension is None:
        return found
    data = extension.value
    size = len(data)
    if size > 8192:
        raise Malformed("der.too_large", f"{size} bytes of statements")
    at, end = der.expect(data, 0, size, der.SEQUENCE)
    if end != size:
        raise Malformed("der.trailing", "something after the statements")
    count = 0
    while at < end:
        if (count := count + 1) > _MAX_STATEMENTS:
            raise Malformed("der.too_many", f"more than {_MAX_STATEMENTS} statements")
        identifier, oid_end, at = der.identified(data, at, end)
        found[identifier] = _read_types(der.Reader(data, oid_end, at)) if identifier == QC_TYPE else ()
    return found


def _read_types(reader: der.Reader) -> tuple[str, ...]:
    named = reader.take(der.SEQUENCE).enter().all(limit=8, tag=der.OBJECT_IDENTIFIER)
    return tuple([der.read_oid(name) for name in named])


def assess(parts: CertificateParts, periods: Sequence[ServicePeriod]) -> Qualification:
    """Combine certificate and trusted list. `periods` are the issuing service's at issuance and at signing; a service
    that was not granted as CA/QC at both makes nothing qualified.

    Raises: Malformed `der.…`.
    """
    statements = parse_qc_statements(parts)
    policies = parts.policies()
    key_usage = parts.key_usage() or frozenset()
    qualified = QC_COMPLIANCE in statements or not _QUALIFIED_POLICIES.isdisjoint(policies)
    on_qscd = QC_SSCD in statements or not _QSCD_POLICIES.isdisjoint(policies)
    types = statements.get(QC_TYPE, ())
    if types:
        seal = QC_TYPE_ESEAL in types and QC_TYPE_ESIGN not in types
        qualified = qualified and types != (QC_TYPE_WEB,)
    elif not _SEAL_POLICIES.isdisjoint(policies):
        seal = True
    else:
        seal = _names_organization(parts)
    # The list has the last word, as of the time of issuance (TS 119 615 §4.4.4).
    if periods:
        named = qualifiers_for(periods[0], key_usage=key_usage, policies=policies)
        qualified = (qualified or "QCStatement" in named) and "NotQualified" not in named
        if named & {"QCWithQSCD", "QCWithSSCD", "QCQSCDManagedOnBehalf"}:
            on_qscd = True
        elif named & {"QCNoQSCD", "QCNoSSCD"}:
            on_qscd = False
        if named & {"QCForESeal", "QCForLegalPerson"}:
            seal = True
        elif "QCForESig" in named:
            seal = False
        elif "QCForWSA" in named:
            qualified = False
    qualified = qualified and len(periods) == 2
    return Qualification(is_qualified=qualified, is_on_qscd=on_qscd and qualified, is_seal=seal)


def _names_organization(parts: CertificateParts) -> bool:
    try:
        return bool(parts.subject_value(_ORGANIZATION_IDENTIFIER)) and not parts.subject_value(_GIVEN_NAME)
    except Malformed:
        return False
