"""BDOC time-marks: what makes one, and what the published tests of digidoc4j and SiVa refuse."""

import io
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace

import pytest

from digiid.formats.trusted_list import GRANTED, OCSP_QC, ListedService, VerifiedTrust
from digiid.formats.validation import SignatureReport, validate_container
from tests.support.archived import archived
from tests.support.containers import edited
from tests.support.pki import AT, DAY, SIGNED_AT, shared_pki
from tests.support.time_marked import POLICY, TimeMarkMaker, digest_info, mark_responder

PKI = shared_pki()
TRUST = PKI.trust()
URI = "https://www.sk.ee/repository/bdoc-spec21.pdf"
_NO_URL = "The URL in signature policy is empty or not available"
_NOT_QUALIFIED = "The policy's identifier is not qualified as OIDAsURN"


def only(container: bytes, *, trust: VerifiedTrust = TRUST) -> SignatureReport:
    report = validate_container(io.BytesIO(container), trust=trust, at=AT)
    (signature,) = report.signatures
    assert report.is_valid == signature.is_valid
    return signature


def verdict(signature: SignatureReport) -> tuple[str, str]:
    return str(signature.indication), str(signature.sub_indication)


def codes(signature: SignatureReport) -> list[str]:
    return [message.code for message in signature.messages]


def trust_in_the_responder() -> VerifiedTrust:
    service = ListedService(OCSP_QC, "TEST Time-Marks", mark_responder().certificate, GRANTED, AT - 390 * DAY)
    return PKI.trust(services=[*PKI.services(), service])


def test_a_time_mark_is_proof_of_when() -> None:
    signature = only(TimeMarkMaker().container())
    assert signature.is_valid
    assert signature.signature_format == "XAdES_BASELINE_LT_TM"
    assert signature.best_signature_at == TimeMarkMaker().marked_at


@pytest.mark.parametrize(
    "maker",
    [
        TimeMarkMaker(nonce=lambda value: digest_info(b"x")),
        TimeMarkMaker(nonce=lambda value: b"random octets"),
        TimeMarkMaker(responder=PKI.responder),
    ],
    ids=["over another value", "an ordinary nonce", "by a responder that makes none"],
)
def test_what_is_no_time_mark_proves_nothing(maker: TimeMarkMaker) -> None:
    signature = only(maker.container())
    assert verdict(signature) == ("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE")
    assert codes(signature) == ["validation.time_mark", "validation.no_time_stamp"]


def test_an_ordinary_answer_of_the_same_responder_does_no_harm_beside_the_time_mark() -> None:
    ordinary = PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT, nonce=b"random octets", responder=mark_responder())
    value = f"<xades:EncapsulatedOCSPValue>{b64encode(ordinary).decode()}</xades:EncapsulatedOCSPValue>"
    marked = TimeMarkMaker().container()
    assert only(edited(marked, lambda xml: xml.replace("<xades:OCSPValues>", f"<xades:OCSPValues>{value}"))).is_valid
    assert only(edited(marked, lambda xml: xml.replace("</xades:OCSPValues>", f"{value}</xades:OCSPValues>"))).is_valid


def test_the_responders_certificate_has_to_be_in_the_signature() -> None:
    trust = trust_in_the_responder()
    nowhere = TimeMarkMaker(include=())
    signature = only(nowhere.container(), trust=trust)
    assert verdict(signature) == ("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE")
    assert "its certificate is not in the signature" in signature.messages[0].text
    assert only(replace(nowhere, certificate_values=(mark_responder(),)).container(), trust=trust).is_valid
    # A confirmation beside a time-stamp is another matter: there the list may name the responder alone.
    listed = PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT, include=())
    assert only(PKI.container(ocsp_der=listed)).is_valid


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda policy: policy.replace(URI, ""), _NO_URL),
        (lambda policy: policy.replace(f"<xades:SPURI>{URI}</xades:SPURI>", ""), _NO_URL),
        (lambda policy: policy.replace("OIDAsURN", "x" * 100_000), _NOT_QUALIFIED),
        (lambda policy: policy.replace(' Qualifier="OIDAsURN"', ""), _NOT_QUALIFIED),
    ],
    ids=["an empty URL", "no URL", "another qualifier", "no qualifier"],
)
def test_the_policy_is_named_as_it_has_to_be(edit: Callable[[str], str], told: str) -> None:
    policy = edit(POLICY)
    assert policy != POLICY
    signature = only(TimeMarkMaker(policy=policy).container())
    assert verdict(signature) == ("INDETERMINATE", "POLICY_PROCESSING_ERROR")
    assert [(message.code, message.text) for message in signature.messages] == [("validation.time_mark_policy", told)]


def test_another_policy_makes_no_time_mark() -> None:
    policy = POLICY.replace("1000.3.2.1", "1000.3.4.3")
    assert verdict(only(TimeMarkMaker(policy=policy).container())) == ("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE")
    stamped = TimeMarkMaker(policy=policy, keep_stamp=True).container()
    assert verdict(only(stamped)) == ("INDETERMINATE", "SIGNATURE_POLICY_NOT_AVAILABLE")


def test_a_signature_that_promises_a_time_mark_is_not_archived() -> None:
    stamped = TimeMarkMaker(keep_stamp=True).container()
    assert only(stamped).is_valid
    signature = only(archived(stamped, PKI, at=AT))
    assert verdict(signature) == ("TOTAL-FAILED", "FORMAT_FAILURE")
    assert signature.signature_format == "XAdES_BASELINE_LTA"
    assert codes(signature) == ["validation.time_mark_archived"]
