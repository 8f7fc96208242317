"""What a file is, is read from its content; its name says nothing."""

import io

import pytest

from digiid.formats.validation import Report
from digiid.kernel.errors import Malformed
from digiid.platform.documents.judging import validate_document
from tests.support.ddoc import DdocMaker
from tests.support.pdf import good_pdf, plain_pdf
from tests.support.pki import AT, shared_pki
from tests.support.time_stamped import stamped

PKI = shared_pki()


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (PKI.container(), "ASiC-E"),
        (stamped(b"x"), "ASiC-S"),
        (DdocMaker().document(), "DIGIDOC_XML_1.3"),
        (DdocMaker(version="1.0", hashcode=True).document(), "DIGIDOC_XML_1.0_hashcode"),
    ],
)
def test_each_form_is_judged_by_its_content(content: bytes, form: str) -> None:
    report = validate_document(io.BytesIO(content), trust=PKI.trust(), at=AT, file_name="anything.txt")
    assert report.form == form
    assert report.is_valid


@pytest.mark.parametrize("content", [b"", b"x", b"<a/>", b"\x89PNG", b"SignedDoc"])
def test_what_is_no_signed_document(content: bytes) -> None:
    with pytest.raises(Malformed, match="unknown_form"):
        validate_document(io.BytesIO(content), trust=PKI.trust(), at=AT)


def judge(content: bytes) -> Report:
    return validate_document(io.BytesIO(content), trust=PKI.trust(), at=AT)


def codes(report: Report) -> set[str]:
    return {message.code for message in report.messages}


def test_a_signed_pdf_inside_a_time_stamped_container_is_judged_as_of_its_stamp() -> None:
    report = judge(stamped(good_pdf(), name="contract.pdf", at=AT))
    assert report.is_valid, report
    (signature,) = report.signatures
    assert signature.signature_format == "PAdES_BASELINE_LT"
    assert "validation.nested.pdf" not in codes(report)


def test_a_pdf_inside_that_was_changed_after_it_was_signed_makes_the_container_not_valid() -> None:
    content = good_pdf()
    report = judge(stamped(content.replace(b"/MediaBox", b"/MediaBux", 1), name="contract.pdf", at=AT))
    assert not report.is_valid
    assert [one.is_valid for one in report.time_stamp_tokens] == [True]
    assert [one.is_valid for one in report.signatures] == [False]


def test_a_pdf_that_nobody_signed_was_stamped_as_it_is() -> None:
    report = judge(stamped(plain_pdf(), name="minutes.pdf"))
    assert report.is_valid
    assert "validation.no_signature" in codes(report)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"%PDF-1.7\n", id="cut off"),
        pytest.param(good_pdf() + b"behind the end", id="something behind the end"),
        pytest.param(b"%PDF-1.7\n" + bytes(1_000_000), id="zeros"),
        pytest.param(good_pdf()[:-200], id="without its end"),
    ],
)
def test_a_pdf_inside_that_is_not_read_here_keeps_its_stamp_and_is_told_of(content: bytes) -> None:
    report = judge(stamped(content, name="strange.pdf"))
    assert report.is_valid
    assert report.signatures == ()
    assert "validation.nested.pdf" in codes(report)


def test_a_pdf_inside_a_container_inside_a_container_is_judged_too() -> None:
    inner = stamped(good_pdf(), name="contract.pdf", at=AT)
    report = judge(stamped(inner, name="inner.asics", at=AT))
    assert report.is_valid, report
    assert [one.signature_format for one in report.signatures] == ["PAdES_BASELINE_LT"]


def test_without_a_proof_of_time_nothing_inside_is_judged() -> None:
    report = judge(stamped(good_pdf(), name="contract.pdf", over=b"something else"))
    assert not report.is_valid
    assert report.signatures == ()
