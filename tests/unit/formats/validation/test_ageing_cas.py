"""Keys of CAs age as those of units and responders do (EN 319 102-1 §5.2.8, §5.6.2.2): whoever has broken the key of a
CA makes certificates of units and responders as of any year, with keys of their own that are strong.

The CAs here have RSA keys of 2048 bits, which are accepted until 2029; everybody below them has P-384.
"""

import io
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from digiid.formats.trusted_list import GRANTED, OCSP_QC, TSA_QTST, ListedService, VerifiedTrust
from digiid.formats.validation import Report, validate_container
from digiid.formats.validation.pades import validate_pdf
from digiid.platform.documents.extending import find_due
from digiid.platform.pdf import read_pdf
from tests.support.archived import YEAR, archived, make_unit, with_unit
from tests.support.cades import CadesMaker
from tests.support.containers import edited
from tests.support.pdf import pades_maker, plain_pdf, sign_inside, with_store, with_time_stamp
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    DAY,
    FILES,
    RESPONDER_EXTENSIONS,
    SIGNED_AT,
    Identity,
    distinguished_name,
    make_certificate,
    new_key,
    person,
    shared_pki,
)
from tests.support.time_stamped import renewed, stamped

WEAK_AT = datetime(2029, 1, 1, tzinfo=UTC)
BEFORE, AFTER = WEAK_AT - DAY, WEAK_AT + DAY
SHARED = shared_pki()


def rsa_ca(name: str) -> Identity:
    subject = distinguished_name(name, organization="TEST", identifier="NTREE-10000001")
    return make_certificate(subject, new_key("rsa"), SHARED.root, CA_EXTENSIONS, not_after=AT + 40 * YEAR)


SIGNERS_CA, UNITS_CA = rsa_ca("TEST RSA CA"), rsa_ca("TEST RSA TSA CA")
RESPONDER = make_certificate(distinguished_name("TEST Delegate"), new_key(), SIGNERS_CA, RESPONDER_EXTENSIONS)
UNIT = make_unit(SHARED, "TEST Unit of RSA CA", issuer=UNITS_CA, since=AT - YEAR, until=AT + 30 * YEAR)
LISTED_UNIT = make_unit(SHARED, "TEST Listed Unit", since=AT - YEAR, until=AT + 30 * YEAR)
PKI = replace(SHARED, ca=SIGNERS_CA, responder=RESPONDER, tsu=LISTED_UNIT)
SIGNER = PKI.issue(person("AGEING", "38001085718"), not_after=AT + 30 * YEAR)
ANSWER = PKI.ocsp(SIGNER.certificate, at=SIGNED_AT + timedelta(seconds=1))


def trust(*, names_responder: bool = False) -> VerifiedTrust:
    services = [service for service in PKI.services() if service.service_type != OCSP_QC]
    if names_responder:
        services.append(ListedService(OCSP_QC, "TEST Delegate", RESPONDER.certificate, GRANTED, AT - 390 * DAY))
    for listed in (UNITS_CA, LISTED_UNIT):
        services.append(ListedService(TSA_QTST, "TEST TSA", listed.certificate, GRANTED, AT - 390 * DAY))
    return PKI.trust(services=services)


TRUST = trust()


def judge(document: bytes, *, at: datetime, trust: VerifiedTrust = TRUST) -> Report:
    if document.startswith(b"%PDF-"):
        return validate_pdf(read_pdf(document), trust=trust, at=at)
    return validate_container(io.BytesIO(document), trust=trust, at=at)


def error_codes(report: Report) -> set[str]:
    (signature,) = report.signatures
    return {message.code for message in signature.messages if message.severity == "error"}


def xades(unit: Identity = LISTED_UNIT) -> bytes:
    return with_unit(PKI, unit).container(signer=SIGNER, ocsp_der=ANSWER)


def cades(unit: Identity = LISTED_UNIT) -> bytes:
    return CadesMaker(pki=with_unit(PKI, unit), signer=SIGNER, ocsp_der=ANSWER).extended(FILES)


def pdf(unit: Identity = LISTED_UNIT) -> bytes:
    maker = pades_maker(pki=with_unit(PKI, unit), signer=SIGNER)
    return with_store(sign_inside(plain_pdf(), maker), maker=maker, ocsp_der=ANSWER)


def archive(document: bytes, *, at: datetime = AT) -> bytes:
    if document.startswith(b"%PDF-"):
        return with_time_stamp(document, at=at, unit=LISTED_UNIT)
    return archived(document, PKI, at=at)


FORMS = pytest.mark.parametrize("make", [xades, cades, pdf])


@FORMS
def test_an_answer_of_a_delegate_rests_on_the_key_of_the_ca_too(make) -> None:  # type: ignore[no-untyped-def]
    document = make()
    assert judge(document, at=BEFORE).is_valid
    late = judge(document, at=AFTER)
    assert str(late.signatures[0].sub_indication) == "CRYPTO_CONSTRAINTS_FAILURE_NO_POE"
    assert error_codes(late) == {"validation.ocsp_weak_key"}
    # a list that names the responder vouches for it, and the CA does not matter
    assert judge(document, at=AFTER, trust=trust(names_responder=True)).is_valid


@pytest.mark.parametrize("make", [xades, pdf])
def test_an_archive_time_stamp_from_before_proves_the_answer(make) -> None:  # type: ignore[no-untyped-def]
    assert judge(archive(make()), at=AFTER).is_valid
    assert judge(archive(make(), at=BEFORE), at=AFTER + YEAR).is_valid
    assert not judge(archive(make(), at=AFTER), at=AFTER + YEAR).is_valid


def test_validation_data_behind_an_archive_time_stamp_takes_nothing_from_what_it_covers() -> None:
    """Each answer by itself: others that somebody put behind are as old as today, and so are those alone."""

    def behind(document: bytes, *answers: bytes) -> bytes:
        values = "".join(
            f"<xades:EncapsulatedOCSPValue>{b64encode(one).decode()}</xades:EncapsulatedOCSPValue>" for one in answers
        )
        more = f"<xades:RevocationValues><xades:OCSPValues>{values}</xades:OCSPValues></xades:RevocationValues>"
        end = "</xades:UnsignedSignatureProperties>"
        return edited(document, lambda xml: xml.replace(end, more + end))

    another = PKI.ocsp(SIGNER.certificate, at=SIGNED_AT + timedelta(seconds=2))
    covered = archive(xades())
    for answers in ((), (ANSWER,), (another,), (another, ANSWER)):
        assert judge(behind(covered, *answers), at=AFTER).is_valid
    stale = PKI.ocsp(SIGNER.certificate, at=SIGNED_AT - DAY)
    late = behind(archive(with_unit(PKI, LISTED_UNIT).container(signer=SIGNER, ocsp_der=stale)), ANSWER)
    assert judge(late, at=BEFORE).is_valid
    assert error_codes(judge(late, at=AFTER)) == {"validation.ocsp_weak_key"}
    assert judge(archive(late, at=BEFORE), at=AFTER).is_valid


@FORMS
def test_a_unit_of_a_listed_ca_rests_on_the_key_of_the_ca_too(make) -> None:  # type: ignore[no-untyped-def]
    listed = trust(names_responder=True)
    document = make(UNIT)
    assert judge(document, at=BEFORE, trust=listed).is_valid
    (stamp,) = judge(document, at=AFTER, trust=listed).signatures[0].time_stamps
    assert (stamp.indication, str(stamp.sub_indication)) == ("INDETERMINATE", "CRYPTO_CONSTRAINTS_FAILURE_NO_POE")
    assert "of the unit's CA" in stamp.text
    if make is not cades:
        assert judge(archive(document), at=AFTER, trust=listed).is_valid


def test_so_does_one_that_stamped_a_file() -> None:
    container = stamped(b"a letter", at=AT, unit=UNIT)
    assert judge(container, at=BEFORE).is_valid
    (token,) = judge(container, at=AFTER).time_stamp_tokens
    assert str(token.sub_indication) == "CRYPTO_CONSTRAINTS_FAILURE_NO_POE"
    assert judge(renewed(container, at=AT + DAY, unit=LISTED_UNIT), at=AFTER).is_valid


def test_what_is_due_knows_keys_of_cas() -> None:
    near = WEAK_AT - 364 * DAY
    for document in (xades(), xades(UNIT), pdf(), pdf(UNIT), stamped(b"a letter", at=AT, unit=UNIT)):
        report = judge(document, at=near)
        assert find_due(report, WEAK_AT - 366 * DAY) is None
        due = find_due(report, near)
        assert due is not None
        assert (due.due_at, due.code) == (WEAK_AT, "documents.due.weak_key")
    again = renewed(stamped(b"a letter", at=AT, unit=UNIT), at=AT + DAY, unit=LISTED_UNIT)
    for document in (archive(xades(UNIT)), archive(pdf(UNIT)), again):
        assert find_due(judge(document, at=near), near) is None


def test_the_signers_ca_is_judged_at_the_time_of_signing() -> None:
    """What was signed in time stays: the time-stamp proves the certificate with the signature."""
    in_time = archive(xades())
    assert judge(in_time, at=AT + 20 * YEAR).is_valid
    late = PKI.ocsp(SIGNER.certificate, at=AFTER + timedelta(seconds=1))
    long_lived = PKI.container(signer=SIGNER, signed_at=AFTER, ocsp_der=late)
    report = judge(long_lived, at=AFTER + DAY, trust=trust(names_responder=True))
    assert str(report.signatures[0].sub_indication) == "CRYPTO_CONSTRAINTS_FAILURE"
    assert error_codes(report) == {"validation.weak_issuer_key"}
    maker = pades_maker(pki=PKI, signer=SIGNER, signed_at=AFTER)
    inside = with_store(sign_inside(plain_pdf(), maker), maker=maker, ocsp_der=late)
    assert error_codes(judge(inside, at=AFTER + DAY, trust=trust(names_responder=True))) == {
        "validation.weak_issuer_key"
    }
