"""Archive time-stamps of CAdES signatures (EN 319 122-1 §5.5.2, §5.5.3): across the years, and what breaks them."""

import hashlib
import io
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings

from digiid.formats import cms, der
from digiid.formats.asic import MEDIA_TYPE_ASIC_S
from digiid.formats.cades import ID_SIGNATURE_TIME_STAMP, parse_cades, parse_hash_index
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import (
    Report,
    SignatureReport,
    container,
    list_findings,
    revocation,
    validate_container,
)
from digiid.kernel.errors import Malformed
from tests.support.archived import YEAR, list_with, make_unit, make_units_of_years, trust_in, with_unit
from tests.support.cades import (
    ATS_V3,
    INDEX_OLD,
    INDEX_V3,
    Archiver,
    CadesMaker,
    add_unsigned,
    attribute,
    manifest_of,
    with_unsigned,
)
from tests.support.containers import changed, pack
from tests.support.pki import (
    AT,
    DAY,
    FILES,
    SIGNED_AT,
    shared_pki,
)
from tests.support.time_stamped import as_ber
from tests.unit.formats.fuzz import damaged, only_raises

PKI = shared_pki()
FILE = FILES[0]
AUTHORITY, UNITS = make_units_of_years(PKI, 4)
TRUST = trust_in(PKI, AUTHORITY.certificate)
LT = CadesMaker().sign(FILE.content)
FIRST = CadesMaker(pki=with_unit(PKI, UNITS[0]), signed_at=AT).sign(FILE.content)
V2 = "1.2.840.113549.1.9.16.2.48"


def stamped(signature: bytes, *, at: datetime = AT, **how: object) -> bytes:
    return Archiver(**how).stamp(signature, FILE.content, at=at)  # type: ignore[arg-type]


LTA = stamped(LT)


def packed(signature: bytes) -> bytes:
    return pack({"mimetype": MEDIA_TYPE_ASIC_S.encode(), FILE.name: FILE.content, "META-INF/signature.p7s": signature})


def judge(signature: bytes, *, at: datetime = AT + 2 * DAY, trust: VerifiedTrust = TRUST) -> Report:
    report = validate_container(io.BytesIO(packed(signature)), trust=trust, at=at)
    report.to_simple_report()
    list_findings(report)
    return report


def only(signature: bytes, **how: object) -> SignatureReport:
    (found,) = judge(signature, **how).signatures  # type: ignore[arg-type]
    return found


def verdict(signature: bytes, **how: object) -> tuple[str, str]:
    found = only(signature, **how)
    return str(found.indication), str(found.sub_indication or "")


def told(signature: bytes, **how: object) -> list[str]:
    return [message.code for message in only(signature, **how).messages]


def edited(signature: bytes, tag: int, change: Callable[[bytes], bytes]) -> bytes:
    """The same SignedData with another content of its certificates [0] or its revocation values [1]."""
    outer = der.read_whole(signature, max_bytes=1_000_000)
    outer.take(der.OBJECT_IDENTIFIER)
    parts = outer.take(der.CONTEXT_0).enter().take(der.SEQUENCE).enter().all(limit=8)
    members = (der.tlv(tag, change(one.content)) if one.tag == tag else one.raw for one in parts)
    return der.sequence(der.oid(cms.ID_SIGNED_DATA), der.tlv(der.CONTEXT_0, der.sequence(*members)))


PASSED = ("TOTAL-PASSED", "")
BROKEN = ("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE")


# ------------------------------------------------------------------ what is right


def test_an_archive_time_stamp_does_not_stand_in_for_a_signature_time_stamp_that_does_not_hold() -> None:
    other = PKI.time_stamp(hashlib.sha256(b"another value").digest(), gen_at=SIGNED_AT)
    signature = only(stamped(CadesMaker(token_der=other).sign(FILE.content)))
    assert (signature.indication, signature.sub_indication) == ("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE")
    assert signature.archive_time_stamps[0].indication == "PASSED"
    assert signature.best_signature_at is None


def test_an_archive_time_stamp_is_judged_and_told() -> None:
    signature = only(LTA)
    assert signature.is_valid
    assert signature.messages == ()
    assert signature.signature_format == "CAdES_BASELINE_LTA"
    (stamp,) = signature.archive_time_stamps
    assert (stamp.indication, stamp.gen_at, stamp.text) == ("PASSED", AT, "")
    assert signature.best_signature_at == SIGNED_AT
    # what it covers is proven since then, the stamp itself only now
    assert signature.time_stamps[0].proven_at == AT
    assert stamp.proven_at == AT + 2 * DAY
    (told_of,) = judge(LTA).to_simple_report()["signatures"][0]["info"]["archiveTimeStamps"]
    assert told_of["indication"] == "PASSED"


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("index_oid", [INDEX_V3, INDEX_OLD])
def test_every_hash_and_both_indexes(hash_name: str, index_oid: str) -> None:
    signature = only(stamped(LT, hash_name=hash_name, index_oid=index_oid))
    assert [stamp.indication for stamp in signature.archive_time_stamps] == ["PASSED"]
    assert signature.time_stamps[0].proven_at == AT


def test_an_index_that_names_no_hash_has_sha_256() -> None:
    signature = only(stamped(LT, hash_name="sha256", index_oid=INDEX_OLD, names_hash=False))
    assert [stamp.indication for stamp in signature.archive_time_stamps] == ["PASSED"]
    assert verdict(stamped(LT, names_hash=False)) == BROKEN


def test_over_a_manifest_in_asic_e() -> None:
    manifest = manifest_of(FILES)
    unstamped = CadesMaker().extended(FILES)
    signature = Archiver().stamp(CadesMaker().sign(manifest), manifest, at=AT)
    report = validate_container(
        io.BytesIO(changed(unstamped, {"META-INF/signature001.p7s": signature})), trust=TRUST, at=AT + DAY
    )
    assert [stamp.indication for stamp in report.signatures[0].archive_time_stamps] == ["PASSED"]
    assert report.is_valid


def test_the_outer_encoding_may_be_ber() -> None:
    assert verdict(as_ber(LTA)) == PASSED


def test_revocation_data_in_an_attribute_or_a_list_is_covered() -> None:
    in_attribute = CadesMaker(revocation_in_attribute=True).sign(FILE.content)
    (cades,) = parse_cades(stamped(in_attribute))
    parts = cades.archived_parts()
    covered = parts.find_covered(parse_hash_index(cades.archive_time_stamps_der[0]))
    assert cades.find_covered_revocation(covered) == cades.ocsp_der
    assert verdict(stamped(in_attribute)) == PASSED
    (cades,) = parse_cades(LTA)
    covered = cades.archived_parts().find_covered(parse_hash_index(cades.archive_time_stamps_der[0]))
    assert cades.find_covered_revocation(covered) == cades.ocsp_der
    (cades,) = parse_cades(stamped(LT, keeps=lambda octets: octets[:1] != b"\xa1"))
    covered = cades.archived_parts().find_covered(parse_hash_index(cades.archive_time_stamps_der[0]))
    assert cades.find_covered_revocation(covered) == ()


# ------------------------------------------------------------------ years


def renewed(count: int, *, first: bytes = FIRST) -> bytes:
    """Stamped anew every two years, each time by the unit of that time."""
    signature = first
    for n in range(1, count + 1):
        signature = stamped(signature, at=AT + n * 2 * YEAR, unit=UNITS[n])
    return signature


def test_without_an_archive_time_stamp_a_units_end_is_the_end() -> None:
    assert verdict(FIRST, at=AT + 3 * YEAR - 2 * DAY) == PASSED
    assert verdict(FIRST, at=AT + 3 * YEAR + DAY) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")


def test_each_renewal_carries_the_proof_on() -> None:
    for count in range(1, 4):
        signature, last = renewed(count), AT + (count * 2 + 3) * YEAR
        assert PKI.signer.certificate.not_valid_after_utc < last - DAY  # the signer's certificate has run out long ago
        assert verdict(signature, at=last - DAY) == PASSED
        found = only(signature, at=last - DAY)
        assert found.best_signature_at == AT
        assert [stamp.gen_at for stamp in found.archive_time_stamps] == [AT + n * 2 * YEAR for n in range(1, count + 1)]
        assert verdict(signature, at=last + DAY) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")


@pytest.mark.parametrize("turn", [lambda values: values[::-1], sorted])
def test_the_order_in_the_file_says_nothing(turn: Callable[[list[bytes]], list[bytes]]) -> None:
    signature = with_unsigned(renewed(3), turn)
    assert verdict(signature, at=AT + 9 * YEAR - DAY) == PASSED
    gen_at = [stamp.gen_at for stamp in only(signature, at=AT + 9 * YEAR - DAY).archive_time_stamps]
    assert gen_at == [AT + n * 2 * YEAR for n in (1, 2, 3)]


def test_a_renewal_that_came_too_late_proves_nothing() -> None:
    late = stamped(FIRST, at=AT + 4 * YEAR, unit=UNITS[2])
    assert verdict(late, at=AT + 4 * YEAR + DAY) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")
    gap = stamped(renewed(1), at=AT + 6 * YEAR, unit=UNITS[3])
    found = only(gap, at=AT + 6 * YEAR + DAY)
    assert str(found.sub_indication) == "OUT_OF_BOUNDS_NO_POE"
    assert [stamp.indication for stamp in found.archive_time_stamps] == ["INDETERMINATE", "PASSED"]


def test_each_renewal_needs_what_the_former_covers() -> None:
    def drop_oldest(values: list[bytes]) -> list[bytes]:
        first = next(value for value in values if der.oid(ATS_V3) in value[:20])
        return [value for value in values if value != first]

    # the newer one has the digest of the older one
    found = only(with_unsigned(renewed(2), drop_oldest), at=AT + 5 * YEAR)
    assert [stamp.indication for stamp in found.archive_time_stamps] == ["FAILED"]
    assert str(found.sub_indication) == "OUT_OF_BOUNDS_NO_POE"


def test_what_the_index_leaves_out_is_not_protected() -> None:
    """A stamp that names nothing holds, and proves nothing but the signature value."""
    bare = stamped(FIRST, at=AT + 2 * YEAR, unit=UNITS[1], keeps=lambda _octets: False)
    assert verdict(bare, at=AT + 3 * YEAR - 2 * DAY) == PASSED
    found = only(bare, at=AT + 4 * YEAR)
    assert [stamp.indication for stamp in found.archive_time_stamps] == ["PASSED"]
    assert str(found.sub_indication) == "OUT_OF_BOUNDS_NO_POE"


def test_a_certificate_that_the_index_leaves_out_changes_nothing() -> None:
    without = stamped(FIRST, at=AT + 2 * YEAR, unit=UNITS[1], keeps=lambda octets: octets != PKI.ca.der)
    assert verdict(without, at=AT + 4 * YEAR) == PASSED


def test_a_time_stamp_that_was_added_later_is_not_protected() -> None:
    (cades,) = parse_cades(FIRST)
    again = PKI.time_stamp(hashlib.sha256(cades.signer.signature).digest(), gen_at=AT + DAY, unit=UNITS[0])
    archived = stamped(FIRST, at=AT + 2 * YEAR, unit=UNITS[1])
    found = only(add_unsigned(archived, attribute(ID_SIGNATURE_TIME_STAMP, again)), at=AT + 4 * YEAR)
    assert [(stamp.indication, stamp.proven_at) for stamp in found.time_stamps] == [
        ("PASSED", AT + 2 * YEAR),
        ("INDETERMINATE", AT + 4 * YEAR),
    ]
    assert found.is_valid


def test_an_attribute_that_was_added_later_is_no_matter() -> None:
    added = add_unsigned(LTA, attribute("1.2.3.4", der.octet_string(b"later")))
    assert verdict(added) == PASSED
    assert [stamp.indication for stamp in only(added).archive_time_stamps] == ["PASSED"]


def answer_about_the_unit() -> bytes:
    how = {"issuer": AUTHORITY, "responder": AUTHORITY}
    answer = PKI.ocsp(UNITS[0].certificate, at=AT + DAY, status="revoked", revoked_at=AT + DAY, **how)  # type: ignore[arg-type]
    return der.tlv(der.CONTEXT_1, der.oid(cms.ID_RI_OCSP_RESPONSE) + answer)


def list_with_the_unit() -> bytes:
    return list_with(UNITS[0], issuer=AUTHORITY, revoked_at=AT + DAY)


@pytest.mark.parametrize("made", [answer_about_the_unit, list_with_the_unit])
def test_answers_and_lists_about_units_are_heeded(made: Callable[[], bytes]) -> None:
    inner = made()
    signature = edited(FIRST, der.CONTEXT_1, lambda content: content + inner)
    assert verdict(signature) == ("INDETERMINATE", "REVOKED_NO_POE")
    proven = stamped(FIRST, at=AT + timedelta(hours=1), unit=PKI.tsu)
    assert verdict(proven) == PASSED
    with_answer = stamped(signature, at=AT + timedelta(hours=1), unit=PKI.tsu)
    assert verdict(with_answer) == PASSED


@pytest.mark.parametrize("in_attribute", [False, True])
def test_an_answer_by_a_key_that_has_aged_is_good_when_it_is_covered(
    monkeypatch: pytest.MonkeyPatch, in_attribute: bool
) -> None:
    def find_weak_key(_key: object, *, at: datetime) -> str | None:
        return "too short" if at > AT + DAY else None

    monkeypatch.setattr(revocation, "find_weak_key", find_weak_key)
    signature = CadesMaker(revocation_in_attribute=in_attribute).sign(FILE.content)
    assert verdict(stamped(signature)) == PASSED
    holder = der.oid(cms.ID_REVOCATION_VALUES) if in_attribute else b"\xa1"
    without = stamped(signature, keeps=lambda octets: not octets.startswith(holder))
    assert verdict(without) == ("INDETERMINATE", "CRYPTO_CONSTRAINTS_FAILURE_NO_POE")


def test_time_stamps_and_answers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MAX_PROOFS", 3)
    assert verdict(LTA) == PASSED
    with pytest.raises(Malformed, match=r"validation\.too_many_proofs"):
        judge(stamped(LTA))


# ------------------------------------------------------------------ what breaks one


def _is_time_stamp(octets: bytes) -> bool:
    return octets.startswith(der.oid(ID_SIGNATURE_TIME_STAMP))


@pytest.mark.parametrize(
    "how",
    [
        {"also": [b"another certificate"]},
        {"index_count": 0},
        {"index_count": 2},
        {"index_oid": "1.2.3.4"},
        {"index_hash_name": "sha256"},
        {"index_hash_name": "sha1", "hash_name": "sha256"},
        {"fields": ("version", "sid", "digest_algorithm", "signed_attrs", "signature_algorithm")},
        {"edit_token": lambda token: token[:-4] + bytes(4)},
    ],
    ids=["something else", "no index", "two indexes", "unknown index", "other hash", "weak hash", "fields", "token"],
)
def test_an_archive_time_stamp_that_is_not_intact_is_never_passed_over(how: dict[str, object]) -> None:
    broken = stamped(LT, **how)
    assert verdict(broken) == BROKEN
    assert told(broken) == ["validation.archive_time_stamp_broken"]
    assert [stamp.indication for stamp in only(broken).archive_time_stamps] == ["FAILED"]
    needed = stamped(FIRST, at=AT + 2 * YEAR, unit=UNITS[1], **how)
    assert verdict(needed, at=AT + 4 * YEAR) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")


def test_over_another_content() -> None:
    other = Archiver().stamp(LT, b"another content", at=AT)
    assert verdict(other) == BROKEN
    assert only(other).archive_time_stamps[0].sub_indication == "HASH_FAILURE"


def test_of_another_signature() -> None:
    other = add_unsigned(LT, attribute(ATS_V3, Archiver().token(FIRST, FILE.content, at=AT)))
    assert verdict(other) == BROKEN


def test_the_digest_of_a_member_counts_only_in_its_own_list() -> None:
    assert verdict(stamped(LT, also=[PKI.signer.der])) == PASSED  # twice is once
    (cades,) = parse_cades(LT)
    value = der.oid(ID_SIGNATURE_TIME_STAMP) + cades.signature_time_stamps_der[0]
    assert verdict(stamped(LT, also=[value])) == BROKEN


def test_what_was_archived_and_taken_away_is_noticed() -> None:
    taken = edited(LTA, der.CONTEXT_0, lambda _certificates: PKI.signer.der)
    assert verdict(taken) == BROKEN
    assert "not there any more" in only(taken).messages[-1].text


def test_an_answer_that_was_exchanged_is_noticed() -> None:
    answer = PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT + timedelta(seconds=2))
    choice = der.tlv(der.CONTEXT_1, der.oid(cms.ID_RI_OCSP_RESPONSE) + answer)
    assert verdict(edited(LT, der.CONTEXT_1, lambda _content: choice)) == PASSED
    assert verdict(edited(LTA, der.CONTEXT_1, lambda _content: choice)) == BROKEN


def test_a_signature_time_stamp_that_was_exchanged_is_noticed() -> None:
    (cades,) = parse_cades(LTA)
    other = PKI.time_stamp(hashlib.sha256(cades.signer.signature).digest(), gen_at=SIGNED_AT, nonce=7)

    def exchange(values: list[bytes]) -> list[bytes]:
        return [attribute(ID_SIGNATURE_TIME_STAMP, other), *values[1:]]

    assert verdict(with_unsigned(LTA, exchange)) == BROKEN


def test_a_unit_that_nobody_listed() -> None:
    stranger = make_unit(PKI, "TEST Stranger", since=AT - YEAR, until=AT + 20 * YEAR)
    found = only(stamped(LT, unit=stranger))
    assert str(found.sub_indication) == "NO_CERTIFICATE_CHAIN_FOUND"
    assert [message.code for message in found.messages] == ["validation.archive_time_stamp_not_qualified"]
    found = only(stamped(FIRST, at=AT + 2 * YEAR, unit=stranger), at=AT + 4 * YEAR)
    assert str(found.sub_indication) == "OUT_OF_BOUNDS_NO_POE"
    assert found.archive_time_stamps[0].sub_indication == "NO_CERTIFICATE_CHAIN_FOUND"


def test_older_than_what_it_covers() -> None:
    order = ("INDETERMINATE", "TIMESTAMP_ORDER_FAILURE")
    assert verdict(stamped(LT, at=SIGNED_AT - DAY)) == order
    assert verdict(stamped(stamped(LT, at=AT), at=AT - timedelta(minutes=10))) == order
    uncovered = stamped(LT, at=SIGNED_AT - DAY, keeps=lambda octets: not _is_time_stamp(octets))
    assert verdict(uncovered) == PASSED  # it does not say that the time-stamp was there


def test_from_the_future() -> None:
    assert only(stamped(LT, at=AT + 3 * DAY)).archive_time_stamps[0].indication == "INDETERMINATE"


def test_version_two_is_told_of_and_not_judged() -> None:
    signature = add_unsigned(LT, attribute(V2, PKI.time_stamp(bytes(32), gen_at=AT)))
    found = only(signature)
    assert found.is_valid
    assert found.archive_time_stamps == ()
    (message,) = found.messages
    assert (message.code, message.text) == (
        "validation.archive_time_stamp",
        "An archive time-stamp of version 1 or 2 was not judged",
    )
    # what it would have proven stays unproven
    aged = add_unsigned(FIRST, attribute(V2, PKI.time_stamp(bytes(32), gen_at=AT + 2 * YEAR, unit=UNITS[1])))
    assert verdict(aged, at=AT + 4 * YEAR) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")
    assert "validation.archive_time_stamp" in told(aged, at=AT + 4 * YEAR)


def test_unsigned_attributes_that_are_not_read_are_told_of() -> None:
    more = {
        "1.2.840.113549.1.9.6": "countersignature",
        "1.2.840.113549.1.9.16.2.23": "certificate-values",
        "1.2.840.113549.1.9.16.2.21": "complete-certificate-references",
        "1.2.3.4": "1.2.3.4",
    }
    for signature, is_valid in ((LT, True), (FIRST, False)):  # told whatever the verdict: one could have mattered
        crowded = add_unsigned(signature, *(attribute(oid, der.sequence()) for oid in more))
        found = only(crowded, at=AT + 4 * YEAR if signature is FIRST else AT + DAY)
        assert found.is_valid is is_valid
        texts = {message.text for message in found.messages if message.code == "validation.property_ignored"}
        assert texts == {f"The attribute {name} was not taken into account" for name in more.values()}


def test_too_many_are_refused() -> None:
    token = Archiver().token(LT, FILE.content, at=AT)
    many = add_unsigned(LT, *(attribute(ATS_V3, token) for _ in range(17)))
    with pytest.raises(Malformed, match=r"cades\.value_count"):
        parse_cades(many)
    assert verdict(add_unsigned(LT, *(attribute(ATS_V3, token) for _ in range(16)))) == PASSED


def test_an_index_that_is_none() -> None:
    def with_index(value: bytes) -> bytes:
        token = PKI.time_stamp(bytes(32), gen_at=AT)
        return add_unsigned(token, attribute(INDEX_V3, value))

    lists = der.sequence() * 3
    assert parse_hash_index(with_index(der.sequence(lists))).hash_name == "sha256"
    for value in (
        der.sequence(),
        der.sequence(der.sequence() * 2),
        der.sequence(der.sequence() * 5),
        der.sequence(lists, der.integer(1)),
        der.sequence(der.sequence() * 2, der.octet_string(b"x")),
        der.sequence(der.sequence() * 2, der.sequence(der.integer(1))),
        der.sequence(der.sequence(der.octet_string(b"x") * 257), der.sequence() * 2),
        der.octet_string(b"x"),
        der.sequence(lists) * 2,
        b"",
    ):
        with pytest.raises(Malformed):
            parse_hash_index(with_index(value))
    with pytest.raises(Malformed):
        parse_hash_index(b"junk")


@settings(max_examples=150, deadline=None)
@given(damaged(LTA))
def test_damaged_signature_files(data: bytes) -> None:
    def read() -> None:
        for cades in parse_cades(data):
            parts = cades.archived_parts()
            for token_der in cades.archive_time_stamps_der:
                cades.find_covered_revocation(parts.find_covered(parse_hash_index(token_der)))

    only_raises(Malformed, read)
    judge(data)
