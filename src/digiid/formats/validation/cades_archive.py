"""Archive time-stamps of CAdES signatures: EN 319 102-1 V1.4.1 §5.6.3 over EN 319 122-1 §5.5.

As in XAdES the newest is judged now, and each that holds proves what it covers, and so the ones before it. Attributes
have no order in CMS: newer is the one that covers the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from digiid.formats.cades import (
    ID_ARCHIVE_TIME_STAMP_V3,
    ID_SIGNATURE_TIME_STAMP,
    NOTHING_COVERED,
    ArchivedParts,
    Covered,
    HashIndex,
    UnverifiedCades,
    parse_hash_index,
)
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation.facts import INDETERMINATE, Facts, NotValid, Sub
from digiid.formats.validation.time_stamps import AboutUnits, judge_token, tell_of_archive_time_stamp
from digiid.kernel.errors import Malformed


@dataclass(slots=True)
class CadesProofs:
    """When what stands in a signature is proven to have existed: at the time of an archive time-stamp that holds and
    covers it, or with all of the signature file at `known_at`."""

    known_at: datetime
    holding: list[tuple[Covered, datetime]] = field(default_factory=list)

    def proven_at(self, identifier: str, value_der: bytes) -> datetime:
        """For one value of an unsigned attribute."""
        found = (gen_at for covered, gen_at in self.holding if covered.has(identifier, value_der))
        return min(found, default=self.known_at)

    def of_revocation(self, cades: UnverifiedCades) -> Mapping[bytes, datetime]:
        """For each OCSP response and CRL that is covered. Raises: Malformed `der.…`."""
        proven: dict[bytes, datetime] = {}
        for covered, gen_at in self.holding:
            for value_der in cades.find_covered_revocation(covered):
                proven[value_der] = min(proven.get(value_der, gen_at), gen_at)
        return proven


@dataclass(frozen=True, slots=True)
class _Stamp:
    """One archive time-stamp, and what its index says it covers; nothing when the index will not do."""

    token_der: bytes
    index: HashIndex | None
    problem: Malformed | None
    covered: Covered

    def covers(self, other: "_Stamp") -> bool:
        return self.covered.has(ID_ARCHIVE_TIME_STAMP_V3, other.token_der)


def judge_archive_time_stamps(
    facts: Facts,
    cades: UnverifiedCades,
    content_digest: Callable[[str], bytes],
    about_units: AboutUnits,
    *,
    trust: VerifiedTrust,
    at: datetime,
    known_at: datetime,
) -> CadesProofs:
    """Judge every archive time-stamp, newest first. `content_digest` makes that of what is signed, with a hash;
    `known_at` is when the file with the signature is proven to have existed.

    Raises: Malformed `der.…`, or what `content_digest` raises.
    """
    proofs = CadesProofs(known_at)
    if cades.archive_time_stamps_der:
        parts = cades.archived_parts()
        for stamp in _newest_first([_read(token_der, parts) for token_der in cades.archive_time_stamps_der]):
            report = judge_token(
                stamp.token_der,
                partial(_imprint, parts, stamp, content_digest),
                trust=trust,
                at=at,
                proven_at=proofs.proven_at(ID_ARCHIVE_TIME_STAMP_V3, stamp.token_der),
                certificates_der=cades.signed_data.certificates_der,
                about_units=about_units,
            )
            facts.archive_time_stamps.insert(0, report)
            if report.indication == "PASSED" and report.gen_at is not None:
                proofs.holding.append((stamp.covered, report.gen_at))
            else:
                tell_of_archive_time_stamp(facts, report)
    return proofs


def _read(token_der: bytes, parts: ArchivedParts) -> _Stamp:
    try:
        index = parse_hash_index(token_der)
        return _Stamp(token_der, index, None, parts.find_covered(index))
    except Malformed as error:
        return _Stamp(token_der, None, error, NOTHING_COVERED)


def _imprint(parts: ArchivedParts, stamp: _Stamp, content_digest: Callable[[str], bytes], hash_name: str) -> bytes:
    if stamp.index is None:
        raise stamp.problem or Malformed("cades.hash_index", "there is no index")
    return parts.imprint(stamp.index, hash_name, content_digest)


def _newest_first(stamps: list[_Stamp]) -> list[_Stamp]:
    """Each before the ones that it covers. They cannot cover one another: each has the digest of what it covers."""
    covering = [{n for n, other in enumerate(stamps) if other.covers(stamp)} for stamp in stamps]
    waiting, found = list(range(len(stamps))), []
    while waiting:
        place = next((n for n in waiting if covering[n].isdisjoint(waiting)), waiting[0])
        waiting.remove(place)
        found.append(stamps[place])
    return found


def check_order(facts: Facts, proofs: CadesProofs) -> None:
    """§5.5.4: what a time-stamp covers is not younger than it. Raises: NotValid."""
    stamps = [(ID_ARCHIVE_TIME_STAMP_V3, report) for report in facts.archive_time_stamps]
    stamps += [(ID_SIGNATURE_TIME_STAMP, report) for report in facts.time_stamps]
    for identifier, report in stamps:
        if report.indication != "PASSED" or report.gen_at is None:
            continue
        if proofs.proven_at(identifier, report.token_der) < report.gen_at:
            raise NotValid(
                INDETERMINATE,
                Sub.TIMESTAMP_ORDER_FAILURE,
                "validation.time_stamp_order",
                "An archive time-stamp is older than a time-stamp that it covers",
            )
