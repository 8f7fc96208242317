"""The security store of a PDF file: many signers with what each of them brings, and how much is too much."""

from dataclasses import replace
from datetime import timedelta

import pytest

from digiid.formats import ocsp
from digiid.formats.pades import SecurityStore, UnverifiedPdf
from digiid.formats.validation import Report
from digiid.formats.validation.pades import MAX_PROOFS, validate_pdf
from digiid.kernel.errors import Malformed
from digiid.platform.pdf import add_store, read_pdf
from tests.support.pdf import good_pdf, pades_maker, plain_pdf, sign_inside
from tests.support.pki import AT, SIGNED_AT, Identity, person, shared_pki

PKI = shared_pki()
TRUST = PKI.trust()


def judge(pdf: UnverifiedPdf) -> Report:
    return validate_pdf(pdf, trust=TRUST, at=AT)


def answers(signer: Identity, count: int) -> list[bytes]:
    return [PKI.ocsp(signer.certificate, at=SIGNED_AT + timedelta(seconds=1 + n)) for n in range(count)]


def with_answers(*ocsp_der: bytes, crls_der: tuple[bytes, ...] = ()) -> UnverifiedPdf:
    """The good document as if it had another store."""
    return replace(read_pdf(good_pdf()), store=SecurityStore(ocsp_der=ocsp_der, crls_der=crls_der))


def test_many_signers_who_bring_a_few_answers_each_are_judged() -> None:
    """Each is held against the answers about its own certificate: 96 times, and not 1,152."""
    content = plain_pdf()
    for number in range(12):
        signer = PKI.issue(person(f"SIGNER {number}", "38001085718"))
        content = sign_inside(content, pades_maker(signer=signer))
        content = add_store(content, certificates_der=[PKI.ca.der], ocsp_der=answers(signer, 8))
    pdf = read_pdf(content)
    assert len(pdf.signatures) * len(pdf.store.ocsp_der) > MAX_PROOFS
    report = judge(pdf)
    assert report.is_valid
    assert report.valid_count == 12
    assert {signature.ocsp_produced_at for signature in report.signatures} == {SIGNED_AT + timedelta(seconds=1)}


def test_answers_about_others_say_nothing_and_take_no_room() -> None:
    other = answers(PKI.issue(person("OTHER", "38001085718")), 1)
    assert judge(with_answers(*other * (MAX_PROOFS - 1), *answers(PKI.signer, 1))).is_valid
    (signature,) = judge(with_answers(*other)).signatures
    assert [message.code for message in signature.messages] == ["validation.no_revocation_data"]


def test_an_answer_that_cannot_be_read_is_held_against_every_signature() -> None:
    (signature,) = judge(with_answers(b"\x30\x00")).signatures
    assert (signature.indication, signature.sub_indication) == ("TOTAL-FAILED", "FORMAT_FAILURE")
    refused = ocsp.build_error_response(ocsp.ResponseStatus.TRY_LATER)
    (signature,) = judge(with_answers(refused)).signatures
    assert [message.code for message in signature.messages] == ["ocsp.response_status"]


@pytest.mark.parametrize(
    ("answers_count", "lists_count", "text"),
    [
        (MAX_PROOFS + 1, 0, "OCSP responses: 1025, revocation lists: 0; at most 1024 are judged in one file"),
        (0, MAX_PROOFS, "signatures: 1, revocation lists: 1024; at most 1024 pairs of them are judged"),
    ],
)
def test_the_refusal_says_what_there_is_too_much_of(answers_count: int, lists_count: int, text: str) -> None:
    pdf = with_answers(*[b"\x30\x00"] * answers_count, crls_der=(b"\x30\x00",) * lists_count)
    with pytest.raises(Malformed, match=r"validation\.too_many_proofs") as refused:
        judge(pdf)
    assert refused.value.detail == text


def test_signatures_by_one_certificate_are_held_against_all_answers_about_it() -> None:
    content = sign_inside(sign_inside(plain_pdf(), pades_maker()), pades_maker())
    store = SecurityStore(ocsp_der=tuple(answers(PKI.signer, 1)) * (MAX_PROOFS // 2 + 1))
    with pytest.raises(Malformed, match="OCSP responses and revocation lists 1024 times at most"):
        judge(replace(read_pdf(content), store=store))
