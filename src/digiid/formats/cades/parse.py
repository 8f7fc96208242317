"""Reading CAdES baseline signatures beside what they sign: levels B, T, LT and LTA. What an archive time-stamp covers
is in `archive`.

The outer encoding may be BER, as CMS allows; what is signed is DER. Not supported: content inside the signature,
counter-signatures, attribute certificates, content time-stamps, CRLs.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from digiid.formats import ber, cms, der
from digiid.formats.cades.archive import (
    ID_ARCHIVE_TIME_STAMP_V3,
    ArchivedParts,
    Covered,
    read_archived_parts,
)
from digiid.formats.x509.signature import HASH_NAMES, RSASSA_PSS
from digiid.formats.xades.algorithms import SIGNATURE_METHODS, SignatureMethod
from digiid.kernel.errors import Malformed

ID_DATA: Final = "1.2.840.113549.1.7.1"
ID_SIGNATURE_TIME_STAMP: Final = "1.2.840.113549.1.9.16.2.14"  # EN 319 122-1 §5.3
ID_SIGNATURE_POLICY: Final = "1.2.840.113549.1.9.16.2.15"  # §5.2.9
ID_SIGNER_LOCATION: Final = "1.2.840.113549.1.9.16.2.17"  # §5.2.5
ID_SIGNER_ATTRIBUTES: Final = "1.2.840.113549.1.9.16.2.18"  # TS 101 733 §5.11.3
ID_SIGNER_ATTRIBUTES_V2: Final = "0.4.0.19122.1.1"  # §5.2.6.1
# Archive time-stamps of versions 1 and 2 (RFC 3126 §3.12.1, TS 101 733 §6.4.1): counted, not read.
_OLD_ARCHIVE_TIME_STAMPS: Final = ("1.2.840.113549.1.9.16.2.27", "1.2.840.113549.1.9.16.2.48")
_KNOWN_SIGNED: Final = frozenset(
    (
        cms.ID_CONTENT_TYPE,
        cms.ID_MESSAGE_DIGEST,
        cms.ID_SIGNING_TIME,
        cms.ID_SIGNING_CERTIFICATE,
        cms.ID_SIGNING_CERTIFICATE_V2,
        cms.ID_CMS_ALGORITHM_PROTECT,
        ID_SIGNATURE_POLICY,
        ID_SIGNER_LOCATION,
        ID_SIGNER_ATTRIBUTES,
        ID_SIGNER_ATTRIBUTES_V2,
        "0.4.0.1862.1.1",  # mime-type of TS 101 733, what DSS puts beside the content
        "0.4.0.1733.2.1",
        "1.2.840.113549.1.9.16.2.4",  # content hints
    )
)
# Unsigned attributes that are not read, by the names that EN 319 122-1 and TS 101 733 give them.
_UNREAD: Final = {
    "1.2.840.113549.1.9.6": "countersignature",
    "1.2.840.113549.1.9.16.2.21": "complete-certificate-references",
    "1.2.840.113549.1.9.16.2.22": "complete-revocation-references",
    "1.2.840.113549.1.9.16.2.23": "certificate-values",
    "1.2.840.113549.1.9.16.2.25": "CAdES-C-time-stamp",
    "1.2.840.113549.1.9.16.2.26": "time-stamped-certs-crls-references",
    "1.2.840.113549.1.9.16.2.44": "attribute-certificate-references",
    "1.2.840.113549.1.9.16.2.45": "attribute-revocation-references",
    "0.4.0.1733.2.2": "long-term-validation",
}

MAX_CADES_BYTES: Final = 1024 * 1024
_MAX_TIME_STAMPS: Final = 8
_MAX_ARCHIVE_TIME_STAMPS: Final = 16
_MAX_OCSP: Final = 32
_MAX_ROLES: Final = 32

_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_MORE_2007: Final = "http://www.w3.org/2007/05/xmldsig-more#"
_METHODS: Final = {
    "1.2.840.10045.4.3.2": _MORE + "ecdsa-sha256",
    "1.2.840.10045.4.3.3": _MORE + "ecdsa-sha384",
    "1.2.840.10045.4.3.4": _MORE + "ecdsa-sha512",
    "1.2.840.113549.1.1.11": _MORE + "rsa-sha256",
    "1.2.840.113549.1.1.12": _MORE + "rsa-sha384",
    "1.2.840.113549.1.1.13": _MORE + "rsa-sha512",
}


@dataclass(frozen=True, slots=True)
class UnverifiedCades:
    """One signer of one signature file. Nothing in it has been checked against anything."""

    signed_data: cms.SignedData = field(repr=False)
    signer: cms.SignerInfo = field(repr=False)
    method: SignatureMethod | None
    claimed_signing_at: datetime | None
    policy: str | None
    place: tuple[tuple[str, str], ...]
    roles: tuple[str, ...]
    signature_time_stamps_der: tuple[bytes, ...] = field(repr=False)
    archive_time_stamps_der: tuple[bytes, ...] = field(repr=False)  # version 3, in the order of the file
    unread_archive_count: int  # of versions 1 and 2
    ocsp_der: tuple[bytes, ...] = field(repr=False)
    crls_der: tuple[bytes, ...] = field(repr=False)
    unknown_attributes: tuple[str, ...]  # not read; the unsigned ones by name where they have one
    encoded_der: bytes = field(repr=False)  # the whole signature file in DER
    position: int  # of the signer in it

    @property
    def hash_name(self) -> str:
        """The hash that the digest of the content is made with."""
        return self.signer.digest_name

    @property
    def level(self) -> str:
        """B, T, LT or LTA by the attributes that are there; whether they are right is not said."""
        if not self.signature_time_stamps_der:
            return "B"
        if not (self.ocsp_der or self.crls_der):
            return "T"
        return "LTA" if self.archive_time_stamps_der or self.unread_archive_count else "LT"

    def archived_parts(self) -> ArchivedParts:
        """What archive time-stamps are about. Raises: Malformed `der.…`."""
        return read_archived_parts(self.encoded_der, self.position)

    def find_covered_revocation(self, covered: Covered) -> tuple[bytes, ...]:
        """The OCSP responses and CRLs that an archive time-stamp covers, as in `ocsp_der` and `crls_der`.

        Raises: Malformed `der.…`.
        """
        choices = [der.Reader(choice).take() for choice in covered.revocation_values]
        responses, crls = cms.read_revocation_choices(choices)
        found = [*responses, *crls]
        for identifier, values in self.signer.unsigned_attributes:
            # Of several values only the first is read, here and in `ocsp_der`.
            if identifier == cms.ID_REVOCATION_VALUES and covered.has(identifier, values.enter().take().raw):
                more_responses, more_crls = cms.read_revocation_values(values)
                found += [*more_responses, *more_crls]
        return tuple(found)


def parse_cades(data: bytes) -> tuple[UnverifiedCades, ...]:
    """Every signer of a detached signature file.

    Raises: Malformed `ber.…`, `der.…`, `cms.…`, `cades.…`, `x509.…`.
    """
    encoded = ber.to_der(data, max_bytes=MAX_CADES_BYTES)
    signed_data = cms.parse_signed_data(encoded, is_detached=True, max_bytes=MAX_CADES_BYTES)
    if signed_data.content_type != ID_DATA:
        raise Malformed("cades.content_type", "the content that is signed is not plain data")
    if not signed_data.signers:
        raise Malformed("cades.signers", "a signature file without a signer")
    return tuple(_parse_signer(encoded, signed_data, position) for position in range(len(signed_data.signers)))


def _parse_signer(encoded: bytes, signed_data: cms.SignedData, position: int) -> UnverifiedCades:
    signer = signed_data.signers[position]
    tokens: list[bytes] = []
    archive_tokens: list[bytes] = []
    responses = list(signed_data.ocsp_der)
    crls = list(signed_data.crls_der)
    unread_count = 0
    unknown = [name for name in signer.attributes if name not in _KNOWN_SIGNED]
    for identifier, values in signer.unsigned_attributes:
        if identifier == ID_SIGNATURE_TIME_STAMP:
            tokens += [value.raw for value in values.enter().all(limit=_MAX_TIME_STAMPS, tag=der.SEQUENCE)]
        elif identifier == ID_ARCHIVE_TIME_STAMP_V3:
            limit = _MAX_ARCHIVE_TIME_STAMPS
            archive_tokens += [value.raw for value in values.enter().all(limit=limit, tag=der.SEQUENCE)]
        elif identifier in _OLD_ARCHIVE_TIME_STAMPS:
            unread_count += 1
        elif identifier == cms.ID_REVOCATION_VALUES:
            more_responses, more_crls = cms.read_revocation_values(values)
            responses += more_responses
            crls += more_crls
        else:
            unknown.append(_UNREAD.get(identifier, identifier))
    too_many = len(tokens) > _MAX_TIME_STAMPS or len(archive_tokens) > _MAX_ARCHIVE_TIME_STAMPS
    if too_many or max(len(responses), len(crls)) > _MAX_OCSP:
        raise Malformed("cades.value_count", "more validation values than are read")
    return UnverifiedCades(
        signed_data=signed_data,
        signer=signer,
        method=_method(signer),
        claimed_signing_at=_signing_time(signer),
        policy=_policy(signer),
        place=_place(signer),
        roles=_roles(signer),
        signature_time_stamps_der=tuple(tokens),
        archive_time_stamps_der=tuple(archive_tokens),
        unread_archive_count=unread_count,
        ocsp_der=tuple(responses),
        crls_der=tuple(crls),
        unknown_attributes=tuple(dict.fromkeys(unknown)),
        encoded_der=encoded,
        position=position,
    )


def _method(signer: cms.SignerInfo) -> SignatureMethod | None:
    """The method by the name that XML signatures give it; None when it has none there. Only told, not decided upon."""
    reader = der.read_whole(signer.algorithm_der, max_bytes=256)
    identifier = der.read_oid(reader.take(der.OBJECT_IDENTIFIER))
    uri = _METHODS.get(identifier, "")
    if identifier == RSASSA_PSS:
        uri = f"{_MORE_2007}{signer.digest_name}-rsa-MGF1"
    elif identifier == "1.2.840.113549.1.1.1" and signer.digest_name in HASH_NAMES.values():
        uri = f"{_MORE}rsa-{signer.digest_name}"
    return SIGNATURE_METHODS.get(uri)


def _signing_time(signer: cms.SignerInfo) -> datetime | None:
    value = cms.single_value(signer, cms.ID_SIGNING_TIME)
    return None if value is None else der.read_time(value)


def _policy(signer: cms.SignerInfo) -> str | None:
    value = cms.single_value(signer, ID_SIGNATURE_POLICY)
    if value is None:
        return None
    if value.tag == der.NULL:
        return "implied"
    return der.read_oid(value.enter().take(der.OBJECT_IDENTIFIER))


def _place(signer: cms.SignerInfo) -> tuple[tuple[str, str], ...]:
    # SignerLocation ::= SEQUENCE { [0] countryName, [1] localityName, [2] postalAddress SEQUENCE SIZE(1..6) }
    value = cms.single_value(signer, ID_SIGNER_LOCATION)
    if value is None:
        return ()
    reader = value.enter()
    country = reader.take_if(der.context(0))
    locality = reader.take_if(der.context(1))
    found = []
    for name, element in (("countryName", country), ("city", locality)):
        if element is not None:
            found.append((name, _text(element.enter().take())))
    return tuple(found)


def _roles(signer: cms.SignerInfo) -> tuple[str, ...]:
    """Claimed roles: every text among the claimed attributes, under whatever name. Certified ones are not read."""
    found: list[str] = []
    for identifier in (ID_SIGNER_ATTRIBUTES, ID_SIGNER_ATTRIBUTES_V2):
        value = cms.single_value(signer, identifier)
        if value is None or value.tag != der.SEQUENCE:
            continue
        claimed = value.enter().take_if(der.context(0))
        if claimed is None:
            continue
        # ClaimedAttributes ::= SEQUENCE OF Attribute, and version 1 was written with and without the SEQUENCE.
        inner = claimed.enter()
        reader = inner.take(der.SEQUENCE).enter()
        first = reader.take() if reader.peek() == der.OBJECT_IDENTIFIER else None
        attributes = [(first, reader.take(der.SET))] if first else _attributes(reader)
        for _, values in attributes:
            found += [
                _text(text)
                for text in values.enter().all(limit=_MAX_ROLES)
                if text.tag in (der.UTF8_STRING, der.PRINTABLE_STRING)
            ]
    return tuple(found[:_MAX_ROLES])


def _attributes(reader: der.Reader) -> list[tuple[der.Element, der.Element]]:
    pairs = []
    for attribute in reader.all(limit=_MAX_ROLES, tag=der.SEQUENCE):
        inside = attribute.enter()
        pairs.append((inside.take(der.OBJECT_IDENTIFIER), inside.take(der.SET)))
    return pairs


def _text(element: der.Element) -> str:
    if element.tag not in (der.UTF8_STRING, der.PRINTABLE_STRING) or len(element.content) > 1024:
        raise Malformed("cades.value", "a text that is not UTF-8")
    try:
        return element.content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("cades.value", "a text that is not UTF-8") from error
