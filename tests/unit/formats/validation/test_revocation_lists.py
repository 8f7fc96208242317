"""Revocation lists in a signature (EN 319 102-1 §5.2.5): which clears the signer's certificate, and which does not."""

import io
import re
from base64 import b64encode
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.asic import build_container
from digiid.formats.validation import Indication, SignatureReport, validate_container
from digiid.formats.validation.pades import validate_pdf
from digiid.formats.x509.crl import RevokedEntry, build_crl
from digiid.platform.pdf import read_pdf
from tests.support.cades import CadesMaker
from tests.support.pdf import pades_maker, sign_inside, simple_pdf
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    DAY,
    FILES,
    SIGNED_AT,
    Identity,
    distinguished_name,
    make_certificate,
    new_key,
    person,
    shared_pki,
)

PKI = shared_pki()
TRUST = PKI.trust()
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
SERIAL = PKI.signer.certificate.serial_number
STRANGER = make_certificate(distinguished_name("TEST Other CA", organization="TEST"), new_key(), None, CA_EXTENSIONS)
NAMESAKE = make_certificate(
    distinguished_name("TEST EID CA", organization="TEST", identifier="NTREE-10000001"), new_key(), None, CA_EXTENSIONS
)


def crl(
    *revoked: tuple[int, datetime, str | None], at: datetime = SIGNED_AT + HOUR / 2, issuer: Identity = PKI.ca
) -> bytes:
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    return build_crl(
        issuer=issuer.certificate,
        key=issuer.key,
        entries=[RevokedEntry(*entry) for entry in revoked],
        number=7,
        this_update_at=at,
        next_update_at=at + DAY,
    )


STRANGERS = crl(issuer=STRANGER)


def limited_list() -> bytes:
    """Of the right CA, and about certificates of CAs only: the signer's could not stand there."""
    assert isinstance(PKI.ca.key, ec.EllipticCurvePrivateKey)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(PKI.ca.certificate.subject)
        .last_update(SIGNED_AT + HOUR / 2)
        .next_update(AT + DAY)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.IssuingDistributionPoint(None, None, False, True, None, False, False), critical=True)
    )
    return builder.sign(PKI.ca.key, hashes.SHA384()).public_bytes(Encoding.DER)


def with_lists(*lists: bytes, keep_ocsp: bool = False, level: str = "LT", signer: Identity = PKI.signer) -> bytes:
    """A container whose signature carries these lists, beside its OCSP answer or in its place."""
    xml = PKI.sign(FILES, signer=signer, level="LT").decode()
    values = "".join(
        f"<xades:EncapsulatedCRLValue>{b64encode(one).decode()}</xades:EncapsulatedCRLValue>" for one in lists
    )
    answers = re.search(r"<xades:OCSPValues>.*</xades:OCSPValues>", xml)
    assert answers is not None
    kept = answers.group() if keep_ocsp else ""
    xml = xml.replace(answers.group(), f"<xades:CRLValues>{values}</xades:CRLValues>{kept}")
    if level == "B":
        xml = re.sub(r"<xades:SignatureTimeStamp .*</xades:SignatureTimeStamp>", "", xml)
    return build_container(FILES, [("META-INF/signatures0.xml", xml.encode())], at=SIGNED_AT)


def judge(container: bytes, *, at: datetime = AT) -> SignatureReport:
    report = validate_container(io.BytesIO(container), trust=TRUST, at=at)
    return report.signatures[0]


def codes(report: SignatureReport) -> set[str]:
    return {message.code for message in report.messages}


def test_a_list_of_the_ca_made_after_the_signature_clears_the_certificate() -> None:
    report = judge(with_lists(crl((4711, SIGNED_AT - DAY, "keyCompromise"))))
    assert report.is_valid, report
    assert report.signature_format == "XAdES_BASELINE_LT"
    assert (report.ocsp_produced_at, report.responder) == (None, None)


def test_a_revocation_after_the_signature_changes_nothing() -> None:
    assert judge(with_lists(crl((SERIAL, SIGNED_AT + 60 * SECOND, "keyCompromise")))).is_valid


@pytest.mark.parametrize("keep_ocsp", [False, True])
def test_a_revocation_before_the_signature_counts_whatever_an_answer_says(keep_ocsp: bool) -> None:
    report = judge(with_lists(crl((SERIAL, SIGNED_AT - DAY, "keyCompromise")), keep_ocsp=keep_ocsp))
    assert (report.indication, report.sub_indication) == (Indication.INDETERMINATE, "REVOKED_NO_POE")


def test_a_certificate_on_hold_is_no_proof_either_way() -> None:
    report = judge(with_lists(crl((SERIAL, SIGNED_AT - DAY, "certificateHold"))))
    assert (report.indication, report.sub_indication) == (Indication.INDETERMINATE, "TRY_LATER")


def test_a_hold_in_an_older_list_says_nothing_about_the_time_of_signing() -> None:
    old = crl((SERIAL, SIGNED_AT - 2 * DAY, "certificateHold"), at=SIGNED_AT - DAY)
    assert judge(with_lists(old, keep_ocsp=True)).is_valid
    report = judge(with_lists(old))  # and clears nobody
    assert (report.indication, report.sub_indication) == (Indication.INDETERMINATE, "TRY_LATER")
    assert "validation.crl_before_time_stamp" in codes(report)
    assert "validation.on_hold" in codes(judge(with_lists(old, level="B")))  # with no time proven it is the last word
    newer = crl((SERIAL, SIGNED_AT - 2 * DAY, "certificateHold"))
    assert not judge(with_lists(newer, keep_ocsp=True)).is_valid
    final = crl((SERIAL, SIGNED_AT - 2 * DAY, "keyCompromise"), at=SIGNED_AT - DAY)
    assert not judge(with_lists(final, keep_ocsp=True)).is_valid


@pytest.mark.parametrize(
    ("made", "code", "sub"),
    [
        (lambda: crl(at=SIGNED_AT - SECOND), "validation.crl_before_time_stamp", "TRY_LATER"),
        (lambda: crl(at=AT + HOUR), "validation.crl_from_future", "TRY_LATER"),
        (lambda: crl(issuer=NAMESAKE), "x509.signature", "CERTIFICATE_CHAIN_GENERAL_FAILURE"),
        (lambda: crl(issuer=STRANGER), "validation.no_revocation_data", "CERTIFICATE_CHAIN_GENERAL_FAILURE"),
        (lambda: crl()[:-1], "der.truncated", "CERTIFICATE_CHAIN_GENERAL_FAILURE"),
        (lambda: b"", "der.truncated", "CERTIFICATE_CHAIN_GENERAL_FAILURE"),
        (limited_list, "x509.crl", "CERTIFICATE_CHAIN_GENERAL_FAILURE"),
    ],
    ids=[
        "older than the signature",
        "from the future",
        "by a namesake",
        "by another CA",
        "cut off",
        "empty",
        "limited",
    ],
)
def test_a_list_that_clears_nothing(made, code: str, sub: str) -> None:  # type: ignore[no-untyped-def]
    report = judge(with_lists(made()))
    assert (report.indication, report.sub_indication) == (Indication.INDETERMINATE, sub)
    assert code in codes(report)


def test_what_clears_nothing_does_no_harm_beside_an_answer_that_does() -> None:
    for one in (crl(at=SIGNED_AT - DAY), crl(issuer=STRANGER), b"\x30\x00", limited_list()):
        assert judge(with_lists(one, keep_ocsp=True)).is_valid


def test_one_good_list_among_others_is_enough() -> None:
    assert judge(with_lists(crl(at=SIGNED_AT - DAY), crl(), crl(issuer=STRANGER))).is_valid


def test_from_a_list_made_after_its_end_a_certificate_may_be_gone() -> None:
    signer = PKI.issue(person("BRIEF", "38001085718"), not_after=SIGNED_AT + HOUR / 4)
    report = judge(with_lists(crl(), signer=signer))
    assert "validation.crl_after_expiry" in codes(report)
    assert report.indication is Indication.INDETERMINATE


def test_a_list_is_no_proof_of_time() -> None:
    report = judge(with_lists(crl(), level="B"))
    assert (report.indication, report.sub_indication) == (Indication.INDETERMINATE, "SIG_CONSTRAINTS_FAILURE")


def test_lists_beyond_what_is_read_are_told_of() -> None:
    many = tuple((number, SIGNED_AT - DAY, None) for number in range(1, 12_000))
    report = judge(with_lists(*[crl(*many)] * 2))  # a signature file has at most a megabyte
    assert report.is_valid


@pytest.mark.parametrize("in_attribute", [False, True])
def test_a_list_in_a_cms_signature_counts_as_one_in_xml(in_attribute: bool) -> None:
    for crl_der, is_valid in ((crl(), True), (crl((SERIAL, SIGNED_AT - DAY, None)), False), (STRANGERS, False)):
        maker = CadesMaker(crl_der=crl_der, revocation_in_attribute=in_attribute)
        report = judge(maker.extended(FILES))
        assert report.is_valid is is_valid, report
        assert report.signature_format == "CAdES_BASELINE_LT"
        maker = pades_maker(level="LT", crl_der=crl_der, revocation_in_attribute=in_attribute)
        content = sign_inside(simple_pdf(), maker)
        (inside,) = validate_pdf(read_pdf(content), trust=TRUST, at=AT).signatures
        assert inside.is_valid is is_valid, inside
