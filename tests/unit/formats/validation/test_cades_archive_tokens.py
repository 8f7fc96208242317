"""Tokens over ASiCArchiveManifests in ASiC-E with CAdES (EN 319 162-1 §A.7): what they prove across the years."""

import hashlib
import io
from datetime import datetime, timedelta

import pytest

from digiid.formats.asic.manifest import ARCHIVE_MANIFEST_NAME, DataObject, build_asic_manifest
from digiid.formats.validation import SignatureReport, revocation, validate_container
from tests.support.archived import YEAR, make_unit, make_units_of_years, trust_in, with_unit
from tests.support.cades import Archiver, CadesMaker, manifest_of
from tests.support.containers import changed, unpack
from tests.support.pki import (
    AT,
    DAY,
    FILES,
    Identity,
    shared_pki,
)

PKI = shared_pki()
AUTHORITY, UNITS = make_units_of_years(PKI, 4)
TRUST = trust_in(PKI, AUTHORITY.certificate)
P7S = "META-INF/signature001.p7s"
FIRST = CadesMaker(pki=with_unit(PKI, UNITS[0]), signed_at=AT).extended(FILES)
STRANGER = make_unit(PKI, "TEST Stranger", since=AT - YEAR, until=AT + 10 * YEAR)
GONE = DataObject("gone.txt", "", "sha256", bytes(32))
PASSED, AGED = ("TOTAL-PASSED", ""), ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")


def stamped(
    container: bytes,
    *,
    at: datetime,
    unit: Identity,
    without: frozenset[str] = frozenset(),
    hash_name: str = "sha256",
) -> bytes:
    """One more token over a manifest of everything; the former manifest gets a number, as the newest has none."""
    files = unpack(container)
    number = sum(name.endswith(".tst") for name in files)
    renamed = {f"META-INF/ASiCArchiveManifest{number:03}.xml": files.get(ARCHIVE_MANIFEST_NAME)}
    kept = {name: content for name, content in files.items() if name != ARCHIVE_MANIFEST_NAME}
    kept |= {name: content for name, content in renamed.items() if content is not None}
    objects = [
        DataObject(name, "", hash_name, hashlib.new(hash_name, content).digest())
        for name, content in kept.items()
        if name != "mimetype" and name not in without
    ]
    name = f"META-INF/timestamp{number + 1:03}.tst"
    manifest = build_asic_manifest(name, objects)
    token = PKI.time_stamp(hashlib.sha256(manifest).digest(), gen_at=at, unit=unit)
    return changed(container, {**renamed, ARCHIVE_MANIFEST_NAME: manifest, name: token})


def renewed(count: int) -> bytes:
    """Stamped anew every two years, each time by the unit of that time."""
    container = FIRST
    for n in range(1, count + 1):
        container = stamped(container, at=AT + n * 2 * YEAR, unit=UNITS[n])
    return container


def only(container: bytes, *, at: datetime) -> SignatureReport:
    (found,) = validate_container(io.BytesIO(container), trust=TRUST, at=at).signatures
    return found


def verdict(container: bytes, *, at: datetime) -> tuple[str, str]:
    found = only(container, at=at)
    return str(found.indication), str(found.sub_indication or "")


def test_without_a_token_a_units_end_is_the_end() -> None:
    assert verdict(FIRST, at=AT + 3 * YEAR - 2 * DAY) == PASSED
    assert verdict(FIRST, at=AT + 3 * YEAR + DAY) == AGED


def test_each_token_carries_the_proof_on() -> None:
    for count in range(1, 4):
        container, last = renewed(count), AT + (count * 2 + 3) * YEAR
        assert verdict(container, at=last - DAY) == PASSED
        found = only(container, at=last - DAY)
        assert found.signature_format == "CAdES_BASELINE_LTA"
        assert found.best_signature_at == AT
        assert found.time_stamps[0].proven_at == AT + 2 * YEAR
        assert [stamp.gen_at for stamp in found.archive_time_stamps] == [AT + n * 2 * YEAR for n in range(1, count + 1)]
        assert verdict(container, at=last + DAY) == AGED


def test_a_token_that_came_too_late_proves_nothing() -> None:
    assert verdict(stamped(FIRST, at=AT + 4 * YEAR, unit=UNITS[2]), at=AT + 4 * YEAR + DAY) == AGED


def test_a_renewal_that_leaves_the_former_token_out_proves_only_what_it_covers() -> None:
    first = stamped(FIRST, at=AT + 2 * YEAR, unit=UNITS[1])
    later = stamped(first, at=AT + 4 * YEAR, unit=UNITS[2], without=frozenset({"META-INF/timestamp001.tst"}))
    assert verdict(later, at=AT + 5 * YEAR - 2 * DAY) == PASSED  # the first still stands by itself
    assert verdict(later, at=AT + 5 * YEAR + DAY) == AGED


def test_a_token_over_the_files_without_the_signature_proves_nothing_of_it() -> None:
    container = stamped(FIRST, at=AT + 2 * YEAR, unit=UNITS[1], without=frozenset({P7S}))
    assert verdict(container, at=AT + 3 * YEAR + DAY) == AGED


def test_a_manifest_with_digests_of_sha_1_proves_nothing() -> None:
    container = stamped(FIRST, at=AT + 2 * YEAR, unit=UNITS[1], hash_name="sha1")
    assert verdict(container, at=AT + 3 * YEAR + DAY) == AGED
    (stamp,) = only(container, at=AT + 2 * YEAR + DAY).archive_time_stamps
    assert stamp.indication == "INDETERMINATE"


@pytest.mark.parametrize(
    ("unit", "odd", "expected"),
    [
        (STRANGER, [], "NO_CERTIFICATE_CHAIN_FOUND"),
        (STRANGER, [GONE], "NO_CERTIFICATE_CHAIN_FOUND"),
        (STRANGER, [DataObject(FILES[0].name, "", "sha1", hashlib.sha1(FILES[0].content).digest())],
         "NO_CERTIFICATE_CHAIN_FOUND"),
        (UNITS[0], [GONE, DataObject(FILES[0].name, "", "sha256", bytes(32))], "SIG_CONSTRAINTS_FAILURE"),
    ],
    ids=["a stranger's", "over a file that is gone", "with a weak digest", "over a file that was changed, one gone"],
)  # fmt: skip
def test_an_unfit_token_is_not_passed_over_for_something_else_in_its_manifest(
    unit: Identity, odd: list[DataObject], expected: str
) -> None:
    files = unpack(FIRST)
    taken = {item.name for item in odd} | {"mimetype"}
    objects = odd + [
        DataObject(name, "", "sha256", hashlib.sha256(content).digest())
        for name, content in files.items()
        if name not in taken
    ]
    manifest = build_asic_manifest("META-INF/timestamp001.tst", objects)
    token = PKI.time_stamp(hashlib.sha256(manifest).digest(), gen_at=AT + DAY, unit=unit)
    container = changed(FIRST, {ARCHIVE_MANIFEST_NAME: manifest, "META-INF/timestamp001.tst": token})
    assert verdict(container, at=AT + 2 * DAY) == ("INDETERMINATE", expected)


def test_older_than_the_signatures_time_stamp() -> None:
    container = stamped(FIRST, at=AT - timedelta(hours=1), unit=UNITS[0])
    assert verdict(container, at=AT + DAY) == ("INDETERMINATE", "TIMESTAMP_ORDER_FAILURE")


def test_older_than_the_token_that_it_covers() -> None:
    container = stamped(FIRST, at=AT + 2 * DAY, unit=UNITS[0])
    container = stamped(container, at=AT + DAY, unit=UNITS[0])
    indications = sorted(stamp.indication for stamp in only(container, at=AT + 3 * DAY).archive_time_stamps)
    assert indications == ["INDETERMINATE", "PASSED"]


def test_a_signature_file_that_was_exchanged_is_noticed() -> None:
    container = stamped(FIRST, at=AT + 2 * DAY, unit=UNITS[0])
    other = CadesMaker(pki=with_unit(PKI, UNITS[0]), signed_at=AT).sign(manifest_of(FILES))
    found = verdict(changed(container, {P7S: other}), at=AT + 3 * DAY)
    assert found == ("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE")


def test_a_token_proves_the_archive_time_stamps_inside_the_signature() -> None:
    manifest = manifest_of(FILES)
    inner = CadesMaker(pki=with_unit(PKI, UNITS[0]), signed_at=AT).sign(manifest)
    inner = Archiver(unit=UNITS[1]).stamp(inner, manifest, at=AT + 2 * YEAR)
    container = changed(FIRST, {P7S: inner})
    assert verdict(container, at=AT + 5 * YEAR + DAY) == AGED
    container = stamped(container, at=AT + 4 * YEAR, unit=UNITS[2])
    assert verdict(container, at=AT + 5 * YEAR + DAY) == PASSED
    found = only(container, at=AT + 5 * YEAR + DAY)
    assert found.time_stamps[0].proven_at == AT + 2 * YEAR
    assert [stamp.indication for stamp in found.archive_time_stamps] == ["PASSED", "PASSED"]


def test_an_answer_by_a_key_that_has_aged_is_good_when_a_token_covers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = AT + YEAR
    monkeypatch.setattr(revocation, "find_weak_key", lambda _key, at: "too short by now" if at > ends else None)
    later = AT + 2 * YEAR + 2 * DAY
    covered = stamped(FIRST, at=AT + 2 * DAY, unit=UNITS[0])
    covered = stamped(covered, at=AT + 2 * YEAR, unit=UNITS[1])
    assert verdict(covered, at=later) == PASSED
    late = stamped(FIRST, at=AT + 2 * YEAR, unit=UNITS[1])
    for uncovered in (late, FIRST):
        assert verdict(uncovered, at=later) == ("INDETERMINATE", "CRYPTO_CONSTRAINTS_FAILURE_NO_POE")
