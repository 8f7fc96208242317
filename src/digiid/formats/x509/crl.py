"""Certificate revocation lists, RFC 5280 §5: complete v2 lists with CRLNumber, AKI and reason codes.

Not supported, and refused when critical: delta lists, indirect lists, lists limited to some reasons.
A certificate that was on hold and is free again is simply absent from the next list.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats import der
from digiid.formats.x509 import parts as x509_parts
from digiid.formats.x509.parts import CertificateParts, names_match, parts_of
from digiid.formats.x509.signature import hash_algorithm, hash_name_for, verify_signature
from digiid.kernel.errors import Malformed, Refused

MAX_CRL_BYTES: Final = 16 * 1024 * 1024
_MAX_ENTRIES: Final = 400_000
_MAX_EXTENSIONS: Final = 16
CRL_NUMBER: Final = "2.5.29.20"
REASON_CODE: Final = "2.5.29.21"
_KNOWN_CRITICAL: Final = frozenset({CRL_NUMBER, REASON_CODE})

_FLAGS: Final[Mapping[str, x509.ReasonFlags]] = {flag.value: flag for flag in x509.ReasonFlags}
_REASON_NAMES: Final = {
    0: "unspecified",
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    6: "certificateHold",
    8: "removeFromCRL",
    9: "privilegeWithdrawn",
    10: "aACompromise",
}


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """`reason` is one of RFC 5280's names, or None when the list gives none."""

    serial_number: int
    revoked_at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True)
class ParsedCrl:
    """A list as it reads; nothing about it has been checked."""

    issuer_der: bytes
    this_update_at: datetime
    next_update_at: datetime | None
    number: int | None
    authority_key_identifier: bytes | None
    entries: Mapping[int, RevokedEntry]
    tbs_der: bytes
    inner_algorithm_der: bytes
    algorithm_der: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class VerifiedCrl:
    """A complete list that its issuer signed."""

    issuer_der: bytes
    this_update_at: datetime
    next_update_at: datetime | None
    number: int | None
    entries: Mapping[int, RevokedEntry]

    def find(self, serial_number: int) -> RevokedEntry | None:
        return self.entries.get(serial_number)


def build_crl(
    *,
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    entries: Iterable[RevokedEntry],
    number: int,
    this_update_at: datetime,
    next_update_at: datetime,
) -> bytes:
    """Sign a complete list. `number` only ever grows."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(this_update_at)
        .next_update(next_update_at)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
    )
    for entry in entries:
        revoked = x509.RevokedCertificateBuilder().serial_number(entry.serial_number).revocation_date(entry.revoked_at)
        # RFC 5280 §5.3.1: `unspecified` is said by leaving the extension out.
        if entry.reason not in (None, "unspecified"):
            revoked = revoked.add_extension(x509.CRLReason(_FLAGS[entry.reason]), critical=False)
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(key, hash_algorithm(hash_name_for(key))).public_bytes(Encoding.DER)


def parse_crl(crl_der: bytes, *, only: CertificateParts | None = None) -> ParsedCrl:
    """Read a complete v2 list; with `only`, of its entries at most that about this certificate.

    Raises: Malformed `der.…`, `x509.crl`.
    """
    outer = der.read_whole(crl_der, max_bytes=MAX_CRL_BYTES)
    tbs = outer.take(der.SEQUENCE)
    algorithm = outer.take(der.SEQUENCE)
    signature = der.read_bit_string(outer.take(der.BIT_STRING))
    outer.finish()

    reader = tbs.enter()
    if der.read_integer(reader.take(der.INTEGER)) != 1:
        raise Malformed("x509.crl", "not a version 2 list")
    inner_algorithm = reader.take(der.SEQUENCE)
    issuer = reader.take(der.SEQUENCE)
    this_update_at = der.read_time(reader.take())
    has_next = reader.peek() in (der.UTC_TIME, der.GENERALIZED_TIME)
    next_update_at = der.read_time(reader.take()) if has_next else None
    entries = _read_entries(listed, only) if (listed := reader.take_if(der.SEQUENCE)) else {}
    wrapped = reader.take_if(der.context(0))
    reader.finish()

    extensions = x509_parts.read_extensions(wrapped.enter().take(der.SEQUENCE)) if wrapped else {}
    for identifier, extension in extensions.items():
        if extension.critical and identifier not in _KNOWN_CRITICAL:
            raise Malformed("x509.crl", f"unknown critical extension {identifier}")
    number = extensions.get(CRL_NUMBER)
    authority = extensions.get(x509_parts.AUTHORITY_KEY_IDENTIFIER)
    key_id = None
    if authority:
        element = der.read_whole(authority.value, max_bytes=4096).take_if(der.context(0, constructed=False))
        key_id = element.content if element else None
    return ParsedCrl(
        issuer_der=issuer.raw,
        this_update_at=this_update_at,
        next_update_at=next_update_at,
        number=der.read_integer(der.Reader(number.value).take(der.INTEGER)) if number else None,
        authority_key_identifier=key_id,
        entries=entries,
        tbs_der=tbs.raw,
        inner_algorithm_der=inner_algorithm.raw,
        algorithm_der=algorithm.raw,
        signature=signature,
    )


def _read_entries(listed: der.Element, only: CertificateParts | None) -> dict[int, RevokedEntry]:
    found: dict[int, RevokedEntry] = {}
    if only is not None and only.serial_der not in listed.raw:
        return found  # a list of the field has tens of thousands of entries
    for element in listed.enter().all(limit=_MAX_ENTRIES, tag=der.SEQUENCE):
        reader = element.enter()
        serial_number = der.read_integer(reader.take(der.INTEGER))
        revoked_at = der.read_time(reader.take())
        listed_extensions = reader.take_if(der.SEQUENCE)
        reader.finish()
        reason: str | None = None
        for identifier, extension in (
            x509_parts.read_extensions(listed_extensions) if listed_extensions else {}
        ).items():
            if identifier == REASON_CODE:
                code = der.read_integer(der.Reader(extension.value).take(der.ENUMERATED))
                if code not in _REASON_NAMES:
                    raise Malformed("x509.crl", f"no such reason {code}")
                reason = _REASON_NAMES[code]
            elif extension.critical:
                raise Malformed("x509.crl", f"unknown critical entry extension {identifier}")
        found[serial_number] = RevokedEntry(serial_number, revoked_at, reason)
    return found


def verify_crl(crl_der: bytes, *, issuer: x509.Certificate, only: CertificateParts | None = None) -> VerifiedCrl:
    """Verify that `issuer` signed the list and may do so (cRLSign). Freshness is the caller's question. With `only`, no
    other entries are read than, perhaps, that about this certificate.

    Raises:
        Malformed: `der.…`, `x509.crl`.
        Refused: `x509.crl_issuer`, `x509.signature`, `x509.algorithm`.
    """
    crl = parse_crl(crl_der, only=only)
    parts = parts_of(issuer)
    if not names_match(crl.issuer_der, parts.subject_der):
        raise Refused("x509.crl_issuer", "another CA issued this list")
    usage = parts.key_usage()
    if usage is not None and x509_parts.CRL_SIGN not in usage:
        raise Refused("x509.crl_issuer", "the issuer's key may not sign lists")
    if crl.inner_algorithm_der != crl.algorithm_der:
        raise Refused("x509.crl_issuer", "the two signature algorithms of the list differ")
    verify_signature(
        x509_parts.public_key_of(issuer),
        algorithm_der=crl.algorithm_der,
        signature=crl.signature,
        message=crl.tbs_der,
    )
    return VerifiedCrl(crl.issuer_der, crl.this_update_at, crl.next_update_at, crl.number, crl.entries)
