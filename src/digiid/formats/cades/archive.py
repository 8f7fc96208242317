"""What an archive time-stamp of a CAdES signature covers: EN 319 122-1 V1.2.1 §5.5.2 (ats-hash-index-v3) and §5.5.3
(archive-time-stamp-v3); the ats-hash-index of TS 101 733 V2.2.1 §6.4.2 in its place is read too.

The token's own signer carries the index, a list of digests; the imprint is over the signed fields of the archived
signature and that index. So a stamp covers the signature value, and of all that stands beside it what the index names.
Digests are over DER: of a file in BER, over what `ber` makes of it. Not supported: archive-time-stamp (version 2, TS
101 733 §6.4.1), which covers whole structures in the order of the file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from digiid.formats import cms, der
from digiid.formats.x509.signature import HASH_FUNCTIONS, read_hash_identifier
from digiid.kernel.errors import Malformed

ID_ARCHIVE_TIME_STAMP_V3: Final = "0.4.0.1733.2.4"  # EN 319 122-1 §5.5.3
ID_ATS_HASH_INDEX_V3: Final = "0.4.0.19122.1.5"  # §5.5.2
ID_ATS_HASH_INDEX: Final = "0.4.0.1733.2.5"  # TS 101 733 §6.4.2, deprecated
_HASHES: Final = ("sha256", "sha384", "sha512")
_MAX_ENTRIES: Final = 256  # in each list of an index
_MAX_MEMBERS: Final = 64  # certificates, revocation values, unsigned attributes, as in `cms`
_MAX_SIGNERS: Final = 32
_MAX_FIELDS: Final = 8


class HashIndex(NamedTuple):
    """One ATSHashIndexV3 or ATSHashIndex as it stands in a token; nothing says yet that its digests belong to anything.
    Of version 3 each digest of an attribute is of one value, before that it was of the whole attribute."""

    encoded_der: bytes
    hash_name: str
    is_v3: bool
    certificates: frozenset[bytes]
    revocation_values: frozenset[bytes]
    attributes: frozenset[bytes]


def parse_hash_index(token_der: bytes) -> HashIndex:
    """The one index that the signer of a time-stamp token carries among its unsigned attributes.

    Raises: Malformed `cades.hash_index`, `cms.…`, `der.…`, `x509.…`.
    """
    signers = cms.parse_signed_data(token_der).signers
    if len(signers) != 1:
        raise Malformed("cades.hash_index", f"{len(signers)} signers of a time-stamp, not one")
    known = (ID_ATS_HASH_INDEX_V3, ID_ATS_HASH_INDEX)
    found = [(name, values) for name, values in signers[0].unsigned_attributes if name in known]
    if len(found) != 1:
        raise Malformed("cades.hash_index", f"{len(found)} hash indexes in an archive time-stamp, not one")
    name, values = found[0]
    value = values.only(der.SEQUENCE)
    # hashIndAlgorithm may be left out when it is SHA-256: TS 101 733 has it as the default.
    parts = value.enter().all(limit=4, tag=der.SEQUENCE)
    hash_name = read_hash_identifier(parts.pop(0)) if len(parts) == 4 else "sha256"
    if len(parts) != 3:
        raise Malformed("cades.hash_index", "an index has three lists")
    certificates, revocation_values, attributes = map(_read_digests, parts)
    is_v3 = name == ID_ATS_HASH_INDEX_V3
    return HashIndex(value.raw, hash_name, is_v3, certificates, revocation_values, attributes)


def _read_digests(element: der.Element) -> frozenset[bytes]:
    listed = element.enter().all(limit=_MAX_ENTRIES, tag=der.OCTET_STRING)
    return frozenset(digest.content for digest in listed)


class Covered(NamedTuple):
    """What an index names of a signature, by its octets. `values` has an attribute's type and one value behind it."""

    certificates: frozenset[bytes]
    revocation_values: frozenset[bytes]
    values: frozenset[bytes]

    def has(self, identifier: str, value_der: bytes) -> bool:
        """Whether one value of an unsigned attribute is covered."""
        return der.oid(identifier) + value_der in self.values


NOTHING_COVERED: Final = Covered(frozenset(), frozenset(), frozenset())


class _Digests(NamedTuple):
    """Every member that an index may name, by its digest with one hash."""

    certificates: Mapping[bytes, bytes]
    revocation_values: Mapping[bytes, bytes]
    values: Mapping[bytes, tuple[bytes, ...]]
    attributes: Mapping[bytes, tuple[bytes, ...]]


@dataclass(slots=True)
class ArchivedParts:
    """The octets of one signature, as they stand in its file, that archive time-stamps are about."""

    content_type_der: bytes
    signed_fields: bytes = field(repr=False)  # version to signature of the SignerInfo
    certificates: tuple[bytes, ...] = field(repr=False)  # whole CertificateChoices
    revocation_values: tuple[bytes, ...] = field(repr=False)  # whole RevocationInfoChoices
    attributes: tuple[tuple[bytes, der.Element], ...] = field(repr=False)  # encoded attrType, and the SET of values
    _digests: dict[str, _Digests] = field(default_factory=dict, repr=False)

    def find_covered(self, index: HashIndex) -> Covered:
        """What the index names beside the signed fields.

        Raises: Malformed `cades.hash_index`: it names what is not there (§5.5.2), or with a hash that is not accepted.
        """
        if index.hash_name not in _HASHES:
            raise Malformed("cades.hash_index", f"the hash {index.hash_name} of the index is not accepted")
        known = self._digested(index.hash_name)
        values = known.values if index.is_v3 else known.attributes
        missing = (
            len(index.certificates - known.certificates.keys())
            + len(index.revocation_values - known.revocation_values.keys())
            + len(index.attributes - values.keys())
        )
        if missing:
            raise Malformed("cades.hash_index", f"{missing} of the values that were archived are not there any more")
        return Covered(
            frozenset(known.certificates[digest] for digest in index.certificates),
            frozenset(known.revocation_values[digest] for digest in index.revocation_values),
            frozenset(octets for digest in index.attributes for octets in values[digest]),
        )

    def imprint(self, index: HashIndex, hash_name: str, content_digest: Callable[[str], bytes]) -> bytes:
        """What the token has to be over (§5.5.3). `content_digest` makes that of the signed content, with a hash.

        Raises: Malformed `cades.hash_index`: the index was made with another hash than the imprint.
        """
        if index.hash_name != hash_name:
            raise Malformed("cades.hash_index", "the index was made with another hash than the time-stamp")
        digest = HASH_FUNCTIONS[hash_name](self.content_type_der)
        for octets in (content_digest(hash_name), self.signed_fields, index.encoded_der):
            digest.update(octets)
        return digest.digest()

    def _digested(self, hash_name: str) -> _Digests:
        found = self._digests.get(hash_name)
        if found is not None:
            return found
        function = HASH_FUNCTIONS[hash_name]

        def by_digest(members: tuple[bytes, ...]) -> dict[bytes, bytes]:
            return {function(octets).digest(): octets for octets in members}

        values: dict[bytes, tuple[bytes, ...]] = {}
        attributes: dict[bytes, tuple[bytes, ...]] = {}
        for kind, held in self.attributes:
            octets = tuple(kind + value.raw for value in held.enter().all(limit=_MAX_MEMBERS))
            values |= {function(one).digest(): (one,) for one in octets}
            attributes[function(der.sequence(kind, held.raw)).digest()] = octets
        found = _Digests(by_digest(self.certificates), by_digest(self.revocation_values), values, attributes)
        self._digests[hash_name] = found
        return found


def read_archived_parts(cms_der: bytes, position: int) -> ArchivedParts:
    """Of the signer at that position in a signature file that `parse_cades` has read. Raises: Malformed `der.…`."""
    reader = der.read_whole(cms_der, max_bytes=len(cms_der))
    reader.take(der.OBJECT_IDENTIFIER)
    reader = reader.take(der.CONTEXT_0).enter().take(der.SEQUENCE).enter()
    reader.take(der.INTEGER)
    reader.take(der.SET)
    content_type = reader.take(der.SEQUENCE).enter().take(der.OBJECT_IDENTIFIER)
    certificates, revocation_values = reader.take_if(der.CONTEXT_0), reader.take_if(der.CONTEXT_1)
    signer = reader.take(der.SET).enter().all(limit=_MAX_SIGNERS, tag=der.SEQUENCE)[position]
    fields = signer.enter().all(limit=_MAX_FIELDS)
    unsigned = fields.pop() if fields[-1].tag == der.CONTEXT_1 else None
    return ArchivedParts(
        content_type_der=content_type.raw,
        signed_fields=b"".join(one.raw for one in fields),
        certificates=_members(certificates),
        revocation_values=_members(revocation_values),
        attributes=() if unsigned is None else tuple(_attributes(unsigned)),
    )


def _members(element: der.Element | None) -> tuple[bytes, ...]:
    return () if element is None else tuple(one.raw for one in element.enter().all(limit=_MAX_MEMBERS))


def _attributes(unsigned: der.Element) -> list[tuple[bytes, der.Element]]:
    found = []
    for attribute in unsigned.enter().all(limit=_MAX_MEMBERS, tag=der.SEQUENCE):
        inside = attribute.enter()
        found.append((inside.take(der.OBJECT_IDENTIFIER).raw, inside.take(der.SET)))
    return found
