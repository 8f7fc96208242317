"""What is told of a signature that does not hold: times as far as they are proven, certificates, the level. The verdict
and its reasons are those of the ladder alone.
"""

import hashlib
import io
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from digiid.formats.cms import ID_SIGNING_TIME
from digiid.formats.trusted_list import TSA_QTST, VerifiedTrust
from digiid.formats.validation import Report, SignatureReport, validate_container
from digiid.formats.validation.ddoc import validate_ddoc
from digiid.formats.validation.facts import ContainerFiles
from digiid.formats.validation.pades import validate_pdf
from digiid.platform.pdf import read_pdf
from tests.support.archived import archived
from tests.support.cades import CadesMaker
from tests.support.containers import changed, edited
from tests.support.ddoc import DdocMaker
from tests.support.pdf import good_pdf, object_with, pades_maker, plain_pdf, sign_inside, update, with_store
from tests.support.pki import (
    AT,
    DAY,
    FILES,
    QC_COMPLIANCE,
    QC_TYPE_ESIGN,
    SIGNED_AT,
    key_usage,
    person,
    qc_statements,
    shared_pki,
)
from tests.support.time_marked import TimeMarkMaker

PKI = shared_pki()
TRUST = PKI.trust()
SECOND = timedelta(seconds=1)
CONFIRMED_AT = SIGNED_AT + SECOND
NAME = FILES[0].name
FILE_CHANGED = {NAME: b"I, the undersigned, do not agree.\n"}
ALL = ["SIGNING", "REVOCATION", "SIGNATURE_TIMESTAMP"]
SIGNING = key_usage(content_commitment=True)
NO_TSA = PKI.trust(services=[service for service in PKI.services() if service.service_type != TSA_QTST])
ONLY_TSA = PKI.trust(services=[service for service in PKI.services() if service.service_type == TSA_QTST])


def only(report: Report) -> tuple[SignatureReport, dict[str, Any]]:
    (signature,) = report.signatures
    (simple,) = report.to_simple_report()["signatures"]
    return signature, simple


def judge(
    container: bytes, trust: VerifiedTrust = TRUST, *, at: datetime = AT
) -> tuple[SignatureReport, dict[str, Any]]:
    return only(validate_container(io.BytesIO(container), trust=trust, at=at))


def codes(signature: SignatureReport) -> list[str]:
    return [message.code for message in signature.messages]


def types(simple: dict[str, Any]) -> list[str]:
    return [item["type"] for item in simple["certificates"]]


def with_other_value(text: str) -> str:
    """The signature value with its last octet changed; the time-stamp over it does not hold any more."""
    found = re.search(r"(<ds:SignatureValue[^>]*>)([^<]+)", text)
    assert found is not None
    value = bytearray(b64decode(found[2]))
    value[-1] ^= 1
    return text.replace(found[2], b64encode(value).decode())


# ------------------------------------------------------------------ ASiC-E with XAdES


def test_a_changed_file_takes_no_times_and_certificates_from_the_report() -> None:
    signature, simple = judge(changed(PKI.container(), FILE_CHANGED))
    assert (simple["indication"], simple["subIndication"]) == ("TOTAL-FAILED", "HASH_FAILURE")
    assert codes(signature) == ["xades.reference.digest"]
    assert signature.best_signature_at == SIGNED_AT
    assert simple["info"]["timestampCreationTime"] == simple["info"]["bestSignatureTime"] == "2026-11-23T09:00:00Z"
    assert simple["info"]["ocspResponseCreationTime"] == "2026-11-23T09:00:01Z"
    assert b64decode(simple["info"]["timeAssertionMessageImprint"])
    assert simple["signatureLevel"] == "NOT_ADES_QC_QSCD"
    assert types(simple) == ALL
    assert b64decode(simple["certificates"][0]["issuer"]["content"]) == PKI.ca.der


@pytest.mark.parametrize(
    ("extensions", "level"),
    [((SIGNING, qc_statements(QC_COMPLIANCE, QC_TYPE_ESIGN)), "NOT_ADES_QC"), ((SIGNING,), "NOT_ADES")],
)
def test_the_level_is_that_of_the_certificate(extensions: tuple[Any, ...], level: str) -> None:
    signer = PKI.issue(person("PLAIN", "38001085718"), extensions=extensions)
    _, simple = judge(changed(PKI.container(signer=signer), FILE_CHANGED))
    assert simple["signatureLevel"] == level


def test_a_missing_file_leaves_the_level_open() -> None:
    _, simple = judge(changed(PKI.container(), {NAME: None}))
    assert (simple["subIndication"], simple["signatureLevel"]) == ("SIGNED_DATA_NOT_FOUND", "INDETERMINATE_QESIG")
    assert simple["info"]["bestSignatureTime"] == "2026-11-23T09:00:00Z"


def test_a_time_that_no_valid_token_proves_is_no_best_signature_time() -> None:
    for container, trust in (
        (edited(PKI.container(), with_other_value), TRUST),  # the token is over another value
        (changed(PKI.container(), FILE_CHANGED), NO_TSA),  # its unit is listed nowhere
    ):
        signature, simple = judge(container, trust)
        assert signature.indication == "TOTAL-FAILED"
        assert signature.best_signature_at is None
        assert "bestSignatureTime" not in simple["info"]
        assert simple["info"]["timestampCreationTime"] == "2026-11-23T09:00:00Z"
        assert len(signature.messages) == 1  # why it failed, and nothing besides
        assert simple["signatureLevel"] == "NOT_ADES_QC_QSCD"


def test_a_token_that_is_broken_itself_tells_no_time_at_all() -> None:
    token = bytearray(PKI.time_stamp(hashlib.sha256(b"").digest(), gen_at=SIGNED_AT))
    token[-1] ^= 1
    _, simple = judge(changed(PKI.container(token_der=bytes(token)), FILE_CHANGED))
    assert set(simple["info"]) == {"ocspResponseCreationTime"}


def test_without_a_certificate_that_the_signer_named_neither_level_nor_confirmation_is_told() -> None:
    other = PKI.issue(person("OTHER", "38001085718"))
    own, taken = (b64encode(one.der).decode() for one in (PKI.signer, other))

    def exchanged(text: str) -> str:
        joined = re.sub(r"\s+", "", own)
        found = re.search(r"<ds:X509Certificate>([^<]+)", text)
        assert found is not None
        assert re.sub(r"\s+", "", found[1]) == joined
        return text.replace(found[1], taken)

    signature, simple = judge(edited(PKI.container(), exchanged))
    assert simple["subIndication"] == "NO_SIGNING_CERTIFICATE_FOUND"
    assert simple["signatureLevel"] == "NA"
    assert signature.best_signature_at == SIGNED_AT  # of the value, whoever made it
    assert "ocspResponseCreationTime" not in simple["info"]
    assert types(simple) == ["SIGNING", "SIGNATURE_TIMESTAMP"]


def test_a_certificate_of_no_listed_ca_has_no_level() -> None:
    _, simple = judge(changed(PKI.container(), FILE_CHANGED), ONLY_TSA)
    assert simple["signatureLevel"] == "NA"
    assert simple["info"]["bestSignatureTime"] == "2026-11-23T09:00:00Z"
    assert "ocspResponseCreationTime" not in simple["info"]


def test_archive_time_stamps_of_a_signature_that_fails_are_told_and_their_files_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []

    class Files(ContainerFiles):
        def stream(self, name: str) -> Iterator[bytes] | None:
            read.append(name)
            return super().stream(name)

    monkeypatch.setattr("digiid.formats.validation.container.ContainerFiles", Files)
    container, at = archived(PKI.container(), PKI, at=SIGNED_AT + DAY), AT + 2 * DAY
    assert judge(container, at=at)[0].is_valid
    assert read == [file.name for file in FILES]
    read.clear()
    signature, simple = judge(changed(container, FILE_CHANGED), at=at)
    assert not read
    assert codes(signature) == ["xades.reference.digest"]
    (stamp,) = simple["info"]["archiveTimeStamps"]
    assert (stamp["signedTime"], stamp["indication"]) == ("2026-11-24T09:00:00Z", "INDETERMINATE")
    assert "subIndication" not in stamp
    assert types(simple) == [*ALL, "ARCHIVE_TIMESTAMP"]


def test_a_time_mark_is_told_of_a_signature_that_fails() -> None:
    maker = TimeMarkMaker()
    signature, simple = judge(changed(maker.container(), FILE_CHANGED))
    assert (simple["subIndication"], simple["signatureLevel"]) == ("HASH_FAILURE", "NOT_ADES_QC_QSCD")
    assert simple["signatureFormat"] == "XAdES_BASELINE_LT_TM"
    assert signature.best_signature_at == maker.marked_at
    assert b64decode(simple["info"]["timeAssertionMessageImprint"]) == signature.time_mark_nonce


def test_a_confirmation_is_told_where_the_ladder_ended_at_the_certificate() -> None:
    """Its usage is judged before its status."""
    signer = PKI.issue(person("OTHER USE", "38001085718"), extensions=(key_usage(digital_signature=True),))
    signature, simple = judge(PKI.container(signer=signer))
    assert (simple["indication"], simple["subIndication"]) == ("INDETERMINATE", "CHAIN_CONSTRAINTS_FAILURE")
    assert codes(signature) == ["validation.key_usage"]
    assert simple["info"]["ocspResponseCreationTime"] == "2026-11-23T09:00:01Z"
    assert types(simple) == ALL


# ------------------------------------------------------------------ CAdES, PDF files, DigiDoc


def test_cades_over_a_changed_file() -> None:
    container = CadesMaker().simple(FILES[0])
    signature, simple = judge(changed(container, FILE_CHANGED))
    assert (simple["subIndication"], simple["signatureLevel"]) == ("HASH_FAILURE", "NOT_ADES_QC_QSCD")
    assert codes(signature) == ["cms.digest"]
    assert (signature.best_signature_at, signature.ocsp_produced_at) == (SIGNED_AT, CONFIRMED_AT)
    assert simple["signedBy"].startswith("O’CONNEŽ-ŠUSLIK")
    assert types(simple) == ALL


def test_cades_that_names_another_certificate() -> None:
    other = PKI.issue(person("OTHER", "38001085718"))
    signature, simple = judge(CadesMaker(ess_of=other.certificate).simple(FILES[0]))
    assert (simple["subIndication"], simple["signatureLevel"]) == ("NO_SIGNING_CERTIFICATE_FOUND", "NA")
    assert signature.certificate is None
    assert signature.best_signature_at == SIGNED_AT


def judge_pdf(content: bytes) -> tuple[SignatureReport, dict[str, Any]]:
    return only(validate_pdf(read_pdf(content), trust=TRUST, at=AT))


def changed_pdf() -> bytes:
    number, page = object_with(good_pdf(), b"/Type /Page\n")
    return update(good_pdf(), {number: page.replace(b"/Type /Page\n", b"/Type /Page /Rotate 90\n")})


def test_a_pdf_file_that_was_changed_afterwards() -> None:
    signature, simple = judge_pdf(changed_pdf())
    assert (simple["subIndication"], simple["signatureLevel"]) == ("FORMAT_FAILURE", "NOT_ADES_QC_QSCD")
    assert codes(signature) == ["validation.pades.changed"]
    assert (signature.best_signature_at, signature.ocsp_produced_at) == (SIGNED_AT, CONFIRMED_AT)
    assert simple["signedBy"].startswith("O’CONNEŽ-ŠUSLIK")
    assert simple["signatureFormat"] == "PAdES_BASELINE_LT"
    assert types(simple) == ALL


def test_a_pdf_signature_over_something_else() -> None:
    maker = pades_maker(over=b"another document")
    signature, simple = judge_pdf(with_store(sign_inside(plain_pdf(), maker), maker=maker))
    assert (simple["subIndication"], simple["signatureLevel"]) == ("HASH_FAILURE", "NOT_ADES_QC_QSCD")
    assert (signature.best_signature_at, signature.ocsp_produced_at) == (SIGNED_AT, CONFIRMED_AT)


def test_of_a_changed_pdf_file_no_more_is_told_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One time-stamp and one answer inside the signature; the verdict stands whatever is told."""
    inside = sign_inside(plain_pdf(), CadesMaker(level="LT", without=(ID_SIGNING_TIME,)))
    number, page = object_with(inside, b"/Type /Page\n")
    content = update(inside, {number: page.replace(b"/Type /Page\n", b"/Type /Page /Rotate 90\n")})
    for room, level in ((2, "NOT_ADES_QC_QSCD"), (1, "NA")):
        monkeypatch.setattr("digiid.formats.validation.pades.MAX_PROOFS", room)
        signature, simple = judge_pdf(content)
        assert (simple["subIndication"], simple["signatureLevel"]) == ("FORMAT_FAILURE", level)
        assert codes(signature) == ["validation.pades.changed"]


def test_a_digidoc_document_with_a_changed_file() -> None:
    document = DdocMaker(hashcode=False).document().decode()
    found = re.search(r"(<DataFile [^>]*>)([A-Za-z0-9+/])", document)
    assert found is not None
    other = "T" if found[2] != "T" else "S"
    content = document.replace(found[0], found[1] + other).encode()
    signature, simple = only(validate_ddoc(io.BytesIO(content), trust=TRUST, at=AT))
    assert (simple["subIndication"], simple["signatureLevel"]) == ("HASH_FAILURE", "NOT_ADES_QC_QSCD")
    assert codes(signature) == ["xades.reference.digest"]
    assert signature.best_signature_at == signature.ocsp_produced_at is not None
    assert types(simple) == ["SIGNING", "REVOCATION"]
