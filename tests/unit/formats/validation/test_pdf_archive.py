"""Revocation data under document time-stamps (EN 319 102-1 §5.6.2.3, EN 319 142-1 §5.4): what a time-stamp that holds
covers is proven to have existed then, an OCSP answer and a revocation list alike, and nothing else is.

The signer's CA has an RSA key of 2048 bits, which is accepted until 2029: what it signed before counts afterwards only
where something proves that it is as old as it says.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats import cms
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import SignatureReport
from digiid.formats.validation.pades import validate_pdf
from digiid.platform.pdf import read_pdf
from tests.support.archived import YEAR, make_units_of_years, trust_in
from tests.support.cades import ATS_V3, Archiver, CadesMaker, add_unsigned, attribute
from tests.support.pdf import pades_maker, plain_pdf, sign_inside, with_store, with_stored_lists, with_time_stamp
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    DAY,
    SIGNED_AT,
    UNIT_EXTENSIONS,
    Identity,
    distinguished_name,
    make_certificate,
    new_key,
    person,
    shared_pki,
)

Add = Callable[[bytes], bytes]
SECOND = timedelta(seconds=1)
WEAK_AT = datetime(2029, 1, 1, tzinfo=UTC)
RSA_CA = make_certificate(
    distinguished_name("TEST RSA CA", organization="TEST", identifier="NTREE-10000001"),
    new_key("rsa"),
    shared_pki().root,
    CA_EXTENSIONS,
)
PKI = replace(shared_pki(), ca=RSA_CA)
SIGNER = PKI.issue(person("ARCHIVED", "38001085718"))
AUTHORITY, UNITS = make_units_of_years(PKI, 4)  # by n * 2 years from AT on, for three years each
TRUST = trust_in(PKI, AUTHORITY.certificate)


def crl(*revoked: tuple[Identity, datetime], at: datetime = SIGNED_AT + SECOND, issuer: Identity = RSA_CA) -> bytes:
    """A list that is in force for a day."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(at)
        .next_update(at + DAY)
        .add_extension(x509.CRLNumber(7), critical=False)
    )
    for identity, revoked_at in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(identity.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(revoked_at).build())
    return builder.sign(issuer.key, hashes.SHA384()).public_bytes(Encoding.DER)


def maker(**changes: object) -> CadesMaker:
    return pades_maker(**{"pki": PKI, "signer": SIGNER, **changes})


SIGNED = sign_inside(plain_pdf(), maker())
GOOD = crl()
ANSWER = PKI.ocsp(SIGNER.certificate, at=SIGNED_AT + SECOND, responder=RSA_CA, include=())  # by the CA itself


def with_list(content: bytes) -> bytes:
    return with_stored_lists(content, GOOD)


def with_answer(content: bytes) -> bytes:
    return with_store(content, maker=maker(), ocsp_der=ANSWER)


KINDS = pytest.mark.parametrize(
    ("with_data", "code"),
    [(with_list, "validation.crl_weak_key"), (with_answer, "validation.ocsp_weak_key")],
    ids=["list", "answer"],
)


STORED = with_list(SIGNED)


def judge(content: bytes, *, at: datetime, trust: VerifiedTrust = TRUST) -> SignatureReport:
    (signature,) = validate_pdf(read_pdf(content), trust=trust, at=at).signatures
    return signature


def verdict(content: bytes, *, at: datetime) -> tuple[str, str, set[str]]:
    signature = judge(content, at=at)
    codes = {message.code for message in signature.messages if message.severity == "error"}
    return str(signature.indication), str(signature.sub_indication or ""), codes


PASSED: tuple[str, str, set[str]] = ("TOTAL-PASSED", "", set())


def unproven(code: str = "validation.crl_weak_key") -> tuple[str, str, set[str]]:
    return "INDETERMINATE", "CRYPTO_CONSTRAINTS_FAILURE_NO_POE", {code}


@KINDS
def test_revocation_data_counts_as_of_the_document_time_stamp_that_covers_it(with_data: Add, code: str) -> None:
    stored = with_data(SIGNED)
    assert verdict(stored, at=WEAK_AT - DAY) == PASSED  # years after the list's own end
    assert verdict(stored, at=WEAK_AT + DAY) == unproven(code)
    archived = with_time_stamp(stored, at=AT)
    for at in (AT + DAY, WEAK_AT - DAY, WEAK_AT + DAY, AT + 30 * YEAR):
        assert verdict(archived, at=at) == PASSED
    signature = judge(archived, at=WEAK_AT + DAY)
    assert (signature.signature_format, signature.best_signature_at) == ("PAdES_BASELINE_LTA", SIGNED_AT)


@KINDS
def test_what_is_stored_after_a_document_time_stamp_is_not_proven_by_it(with_data: Add, code: str) -> None:
    late = with_data(with_time_stamp(SIGNED, at=AT))
    assert verdict(late, at=WEAK_AT - DAY) == PASSED
    assert verdict(late, at=WEAK_AT + DAY) == unproven(code)
    # the next time-stamp covers it: in time, or when its key was too weak already
    assert verdict(with_time_stamp(late, at=WEAK_AT - DAY), at=WEAK_AT + DAY) == PASSED
    assert verdict(with_time_stamp(late, at=WEAK_AT + DAY), at=WEAK_AT + YEAR / 4) == unproven(code)


def test_a_list_that_is_covered_proves_no_other_list() -> None:
    older = crl(at=SIGNED_AT - SECOND)  # says nothing about the time of signing
    archived = with_time_stamp(with_stored_lists(SIGNED, older), at=AT)
    assert verdict(archived, at=WEAK_AT - DAY) == ("INDETERMINATE", "TRY_LATER", {"validation.crl_before_time_stamp"})
    both = with_stored_lists(archived, GOOD)
    assert verdict(both, at=WEAK_AT - DAY) == PASSED
    assert verdict(both, at=WEAK_AT + DAY) == unproven()


@pytest.mark.parametrize("in_attribute", [False, True])
@pytest.mark.parametrize("values", [{"crl_der": GOOD}, {"ocsp_der": ANSWER}], ids=["list", "answer"])
def test_revocation_data_inside_the_signature_is_covered_with_it(values: dict[str, bytes], in_attribute: bool) -> None:
    inside = sign_inside(plain_pdf(), maker(level="LT", revocation_in_attribute=in_attribute, **values))
    code = "validation.crl_weak_key" if "crl_der" in values else "validation.ocsp_weak_key"
    assert verdict(inside, at=WEAK_AT + DAY) == unproven(code)
    assert verdict(with_time_stamp(inside, at=AT), at=WEAK_AT + DAY) == PASSED


def test_archive_time_stamps_of_cades_are_told_of_and_prove_nothing_in_a_pdf_file() -> None:
    """EN 319 142-1 §6.3: document time-stamps take their place; no other reader of PDF files would rely on them."""

    class Archived(CadesMaker):
        kind = ATS_V3

        def sign(self, content: bytes) -> bytes:
            signed = super().sign(content)
            if self.kind == ATS_V3:
                return Archiver(pki=PKI).stamp(signed, content, at=AT)
            return add_unsigned(signed, attribute(self.kind, PKI.time_stamp(bytes(32), gen_at=AT)))

    class ArchivedV2(Archived):
        kind = "1.2.840.113549.1.9.16.2.48"

    for kind in (Archived, ArchivedV2):
        inside = sign_inside(
            plain_pdf(), kind(level="LT", crl_der=GOOD, pki=PKI, signer=SIGNER, without=(cms.ID_SIGNING_TIME,))
        )
        for at, expected in ((AT + DAY, PASSED), (WEAK_AT + DAY, unproven())):
            assert verdict(inside, at=at) == expected
            (told,) = [message for message in judge(inside, at=at).messages if message.severity == "warning"]
            assert told.code == "validation.archive_time_stamp"
            assert "document time-stamps" in told.text
        assert judge(inside, at=AT + DAY).signature_format == "PAdES_BASELINE_LT"


def test_a_document_time_stamp_from_after_the_signers_certificate_proves_too_little() -> None:
    """§5.5.4: the signature may be older than the certificate's end; nothing says that it was made after it."""
    late = with_list(with_time_stamp(sign_inside(plain_pdf(), maker(level="B")), at=AT + YEAR))
    assert verdict(late, at=AT + YEAR + DAY) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE", {"validation.expired"})


def broken(content: bytes) -> bytes:
    return with_time_stamp(content, at=AT, over=b"something else")


def by_a_stranger(content: bytes) -> bytes:
    unit = make_certificate(distinguished_name("TEST Stranger"), new_key(), None, UNIT_EXTENSIONS)
    return with_time_stamp(content, at=AT, unit=unit)


@KINDS
@pytest.mark.parametrize(
    ("stamp", "also"),
    [
        (broken, "validation.archive_time_stamp_broken"),
        (by_a_stranger, "validation.archive_time_stamp_not_qualified"),
    ],
)
def test_a_document_time_stamp_that_does_not_hold_proves_nothing(
    with_data: Add, code: str, stamp: Add, also: str
) -> None:
    indication, sub, codes = unproven(code)
    # what is wrong with the time-stamp is told as well: with it the rest would be in order
    assert verdict(stamp(with_data(SIGNED)), at=WEAK_AT + DAY) == (indication, sub, codes | {also})


@KINDS
def test_each_document_time_stamp_is_judged_as_of_the_next_one(with_data: Add, code: str) -> None:
    """Each by a unit of a listed CA: nothing but the next time-stamp proves what a unit did in its years."""
    first = with_time_stamp(with_data(SIGNED), at=AT + DAY, unit=UNITS[0])
    assert verdict(first, at=AT + 3 * YEAR - DAY) == PASSED
    # when the unit's certificate has run out, the time-stamp proves nothing, and what it covers is as old as today
    assert verdict(first, at=AT + 3 * YEAR + DAY) == unproven(code)
    renewed = with_time_stamp(first, at=AT + 2 * YEAR, unit=UNITS[1])
    assert verdict(renewed, at=AT + 5 * YEAR - DAY) == PASSED
    assert verdict(renewed, at=AT + 5 * YEAR + DAY) == unproven(code)
    again = with_time_stamp(renewed, at=AT + 4 * YEAR, unit=UNITS[2])
    assert verdict(again, at=AT + 7 * YEAR - DAY) == PASSED
    # too late: nobody knows whether the first one was made in its unit's years
    assert verdict(with_time_stamp(first, at=AT + 4 * YEAR, unit=UNITS[2]), at=AT + 4 * YEAR + DAY) == unproven(code)


def test_a_list_that_has_a_unit_is_heeded_as_of_what_is_proven_for_its_time_stamp() -> None:
    revoked = crl((UNITS[0], AT + 2 * DAY), at=AT + 3 * DAY, issuer=AUTHORITY)
    told = with_stored_lists(with_time_stamp(STORED, at=AT + DAY, unit=UNITS[0]), revoked)
    (stamp,) = judge(told, at=AT + 4 * DAY).archive_time_stamps
    assert (stamp.indication, stamp.sub_indication) == ("INDETERMINATE", "REVOKED_NO_POE")
    assert verdict(told, at=AT + 4 * DAY) == PASSED  # by the signature's own time-stamp
    assert verdict(told, at=WEAK_AT + DAY) == unproven()
    # another unit's time-stamp proves that it was made before
    in_time = with_time_stamp(STORED, at=AT + DAY, unit=UNITS[0])
    in_time = with_stored_lists(with_time_stamp(in_time, at=AT + 2 * DAY - SECOND), revoked)
    assert verdict(in_time, at=WEAK_AT + DAY) == PASSED
    assert [one.indication for one in judge(in_time, at=WEAK_AT + DAY).archive_time_stamps] == ["PASSED", "PASSED"]
    # about another unit, by another CA, about nobody
    others = (crl((UNITS[1], AT), issuer=AUTHORITY), crl((UNITS[0], AT)), crl(issuer=AUTHORITY))
    other = with_stored_lists(with_time_stamp(STORED, at=AT + DAY, unit=UNITS[0]), *others)
    assert judge(other, at=AT + 4 * DAY).archive_time_stamps[0].indication == "PASSED"


def test_a_list_that_has_the_unit_of_the_signatures_own_time_stamp() -> None:
    own = sign_inside(plain_pdf(), maker(pki=replace(PKI, tsu=UNITS[0]), signed_at=AT))
    unit = crl((UNITS[0], AT + DAY), at=AT + DAY, issuer=AUTHORITY)
    told = with_stored_lists(own, crl(at=AT + SECOND), unit)
    assert verdict(told, at=AT + DAY - SECOND) == PASSED
    assert verdict(told, at=AT + 2 * DAY)[:2] == ("INDETERMINATE", "REVOKED_NO_POE")
    assert verdict(with_time_stamp(told, at=AT + DAY - SECOND), at=AT + 2 * DAY) == PASSED


def test_a_revocation_before_the_signature_counts_from_a_covered_list_too() -> None:
    revoked = with_time_stamp(with_stored_lists(SIGNED, crl((SIGNER, SIGNED_AT - DAY))), at=AT)
    for at in (AT + DAY, WEAK_AT + DAY):
        assert verdict(revoked, at=at) == ("INDETERMINATE", "REVOKED_NO_POE", {"validation.revoked"})
    since = with_time_stamp(
        with_stored_lists(SIGNED, crl((SIGNER, SIGNED_AT + SECOND), at=SIGNED_AT + 2 * SECOND)), at=AT
    )
    assert verdict(since, at=WEAK_AT + DAY) == PASSED


def test_a_document_time_stamp_stands_in_for_a_time_stamp_inside_that_does_not_hold() -> None:
    """It is the only one that level T needs in a PDF file. A status from before it does not count, as ever."""
    other = PKI.time_stamp(hashlib.sha256(b"another value").digest(), gen_at=SIGNED_AT)
    signed = sign_inside(plain_pdf(), maker(token_der=other))
    signature = judge(with_answer(with_time_stamp(signed, at=SIGNED_AT + SECOND)), at=AT)
    assert signature.is_valid
    assert signature.best_signature_at == SIGNED_AT + SECOND
    assert [message.code for message in signature.messages] == ["validation.time_stamp"]
    stored_before = with_time_stamp(with_answer(signed), at=SIGNED_AT + 2 * SECOND)
    assert verdict(stored_before, at=AT) == ("INDETERMINATE", "TRY_LATER", {"validation.ocsp_before_time_stamp"})
