"""DigiDoc documents judged: the time-mark, SHA-1 as at its time, and what was changed."""

import base64
import hashlib
import io
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings

from digiid.formats import der, ocsp
from digiid.formats.asic import DataFile
from digiid.formats.ddoc import parse_ddoc
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import POLV3, POLV4, Policy, Report, list_findings, validate_container
from digiid.formats.validation.ddoc import validate_ddoc
from digiid.formats.x509.signature import hash_identifier
from digiid.kernel.errors import Malformed, Refused
from tests.support.ddoc import DdocMaker, ocsp_with_sha1, rsa_signer
from tests.support.pki import AT, DAY, FILES, SIGNED_AT, Identity, key_usage, person, shared_pki
from tests.support.time_stamped import stamped
from tests.unit.formats.fuzz import damaged

PKI = shared_pki()
TRUST = PKI.trust()
GOOD = DdocMaker().document()
VERSIONS = ("1.0", "1.1", "1.2", "1.3")
DOCUMENTS = {
    (version, hashcode): DdocMaker(version=version, hashcode=hashcode).document()
    for version in VERSIONS
    for hashcode in (False, True)
}
SECOND = timedelta(seconds=1)
BEFORE_2017 = datetime(2014, 5, 1, 12, 0, tzinfo=UTC)


def judge(document: bytes, *, at: datetime = AT, trust: VerifiedTrust = TRUST, policy: Policy = POLV4) -> Report:
    report = validate_ddoc(io.BytesIO(document), trust=trust, at=at, policy=policy, file_name="x.ddoc")
    report.to_simple_report()
    list_findings(report)
    return report


def verdict(document: bytes, **how: object) -> str:
    report = judge(document, **how)  # type: ignore[arg-type]
    (signature,) = report.signatures
    assert report.is_valid == (signature.indication == "TOTAL-PASSED")
    return f"{signature.indication}/{signature.sub_indication or ''}"


def edited(old: str, new: str, document: bytes = GOOD) -> bytes:
    assert old in document.decode()
    return document.decode().replace(old, new, 1).encode()


PASSED = "TOTAL-PASSED/"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("hashcode", [False, True])
def test_every_version_is_judged(version: str, hashcode: bool) -> None:
    report = judge(DOCUMENTS[version, hashcode])
    (signature,) = report.signatures
    assert report.is_valid
    assert report.form == f"DIGIDOC_XML_{version}" + ("_hashcode" if hashcode else "")
    assert signature.signature_format == ("SK_XML_1.0" if version == "1.0" else f"DIGIDOC_XML_{version}")
    assert signature.level == "QESIG"
    assert signature.best_signature_at == SIGNED_AT + SECOND
    assert signature.claimed_signing_at == SIGNED_AT
    old = {"1.0": "SK-XML version: 1.0", "1.1": "DIGIDOC-XML version: 1.1", "1.2": "DIGIDOC-XML version: 1.2"}.get(
        version
    )
    texts = {message.code: message.text for message in signature.messages}
    assert texts.keys() == {"validation.weak_hash"} | ({"validation.ddoc.old_format"} if old else set())
    assert texts.get("validation.ddoc.old_format") == (f"Old and unsupported format: {old}" if old else None)
    assert {scope.kind for scope in signature.scopes} == {"DIGEST" if hashcode else "FULL"}
    told = report.to_simple_report()["signatures"][0]
    value = parse_ddoc(DOCUMENTS[version, hashcode]).signatures[0].signature_value
    nonce = hashlib.sha1(value, usedforsecurity=False).digest()
    assert told["info"]["timeAssertionMessageImprint"] == base64.b64encode(nonce).decode()
    codes = {message.code for message in report.messages}
    assert codes == {"validation.ddoc.sha1"} | ({"validation.ddoc.detached"} if hashcode else set()) | (
        {"validation.ddoc.name_unsigned"} if version == "1.0" else set()
    )


def test_names_that_mislead_are_told() -> None:
    files = [DataFile(name, "text/plain", b"x") for name in ("../a.txt", "b.txt", "B.txt", "c\u202etxt.exe")]
    report = judge(DdocMaker(files=files).document())
    assert report.is_valid
    codes = {message.code for message in report.messages}
    assert {"validation.ddoc.path", "asic.name.alike", "asic.name.hidden"} <= codes


def test_a_size_that_is_not_the_file_s_is_told() -> None:
    document = DdocMaker(edit_file=lambda text: text.replace('Size="27"', 'Size="28"')).document()
    report = judge(document)
    assert report.is_valid
    assert "validation.ddoc.size" in {message.code for message in report.messages}


def test_a_namespace_that_is_only_inherited_is_told() -> None:
    (signature,) = judge(DdocMaker(own_namespace=False).document()).signatures
    texts = {message.text for message in signature.messages}
    assert signature.is_valid
    assert "Bad digest for DataFile: D0 alternate digest matches!" in texts


def test_signed_properties_with_their_own_namespace() -> None:
    assert verdict(DdocMaker(properties_namespace=True).document()) == PASSED


@pytest.mark.parametrize("version", ["1.0", "1.3"])
def test_a_file_that_was_changed(version: str) -> None:
    content = base64.encodebytes(FILES[0].content).decode()
    other = base64.encodebytes(b"J" + FILES[0].content[1:]).decode()
    assert verdict(edited(content, other, DdocMaker(version=version).document())) == "TOTAL-FAILED/HASH_FAILURE"


def test_a_digest_that_was_changed_in_a_document_without_files() -> None:
    document = DdocMaker(hashcode=True).document()
    value = document.decode().split('DigestValue="', 1)[1].split('"', 1)[0]
    assert verdict(edited(value, base64.b64encode(bytes(20)).decode(), document)) == "TOTAL-FAILED/HASH_FAILURE"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('Filename="contract.txt"', 'Filename="other.txt"', "TOTAL-FAILED/HASH_FAILURE"),
        ('MimeType="text/plain"', 'MimeType="text/html"', "TOTAL-FAILED/HASH_FAILURE"),
        ("<City>Tartu</City>", "<City>Narva</City>", "TOTAL-FAILED/HASH_FAILURE"),
        ("<ClaimedRole>CEO", "<ClaimedRole>King", "TOTAL-FAILED/HASH_FAILURE"),
        ('Algorithm="http://www.w3.org/2000/09/xmldsig#rsa-sha1"',
         'Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"', "TOTAL-FAILED/SIG_CRYPTO_FAILURE"),
        ('Algorithm="http://www.w3.org/2000/09/xmldsig#rsa-sha1"',
         'Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"', "TOTAL-FAILED/SIG_CRYPTO_FAILURE"),
    ],
)  # fmt: skip
def test_what_was_signed_cannot_be_changed(old: str, new: str, expected: str) -> None:
    assert verdict(edited(old, new)) == expected


def test_a_file_that_is_not_signed() -> None:
    assert verdict(DdocMaker(signed=["D0"]).document()) == "TOTAL-FAILED/FORMAT_FAILURE"


@pytest.mark.parametrize(
    ("file_id", "expected"),
    [("D00", "TOTAL-PASSED/"), ("DO", "TOTAL-PASSED/"), ("X0", "TOTAL-FAILED/FORMAT_FAILURE")],
)
def test_a_file_has_an_id_of_the_form_of_the_format(file_id: str, expected: str) -> None:
    maker = DdocMaker(
        edit_file=lambda text: text.replace('Id="D0"', f'Id="{file_id}"'),
        edit_info=lambda text: text.replace('#D0"', f'#{file_id}"'),
    )
    assert verdict(maker.document()) == expected


def test_names_without_a_namespace_in_the_issuers_serial_number_are_read() -> None:
    class Older(DdocMaker):
        def _properties(self, signer: Identity, signature_id: str) -> str:
            text = super()._properties(signer, signature_id)
            return re.sub(' xmlns="[^"]*xmldsig#"(?=>(?:CN|[0-9]))', "", text)

    document = Older().document()
    assert b"<X509IssuerName>" in document and b"<X509SerialNumber>" in document
    assert verdict(document) == "TOTAL-PASSED/"


def test_a_signature_that_cannot_be_read_is_one_that_failed() -> None:
    assert verdict(edited('Target="#S0"', 'Target="#S1"')) == "TOTAL-FAILED/FORMAT_FAILURE"


def test_a_document_without_signatures_proves_nothing() -> None:
    start, end = GOOD.index(b"<Signature "), GOOD.index(b"</Signature>") + len(b"</Signature>")
    report = judge(GOOD[:start] + GOOD[end:])
    assert not report.is_valid
    assert "validation.no_signature" in {message.code for message in report.messages}


def test_a_thousand_signatures_are_judged_in_bounded_time() -> None:
    maker = DdocMaker()
    one = maker.signature()
    many = "".join(one.replace("S0", f"S{number}") for number in range(1, 1000))
    document = GOOD.decode().replace("</SignedDoc>", f"{many}</SignedDoc>").encode()
    started = time.process_time()
    report = judge(document)
    assert time.process_time() - started < 20
    assert len(report.signatures) == 1000
    assert report.valid_count == 1  # the others say other Ids than were signed
    with pytest.raises(Malformed, match=r"ddoc\.count"):
        judge(document.replace(b"</SignedDoc>", one.replace("S0", "X").encode() * 30 + b"</SignedDoc>"))


# ------------------------------------------------------------------ the time-mark


@pytest.mark.parametrize(
    ("nonce", "expected"),
    [
        (lambda value: hashlib.sha1(value, usedforsecurity=False).digest(), PASSED),
        (
            lambda value: der.sequence(hash_identifier("sha256"), der.octet_string(hashlib.sha256(value).digest())),
            PASSED,
        ),
        (lambda _value: bytes(20), "INDETERMINATE/SIG_CONSTRAINTS_FAILURE"),
        (lambda value: hashlib.sha256(value).digest(), "INDETERMINATE/SIG_CONSTRAINTS_FAILURE"),
        (lambda value: value[:20], "INDETERMINATE/SIG_CONSTRAINTS_FAILURE"),
    ],
)
def test_the_nonce_is_the_digest_of_the_value(nonce, expected: str) -> None:  # type: ignore[no-untyped-def]
    assert verdict(DdocMaker(nonce=nonce).document()) == expected


def test_without_a_confirmation_nothing_is_proven() -> None:
    document = DdocMaker(ocsp=lambda _value: None).document()
    assert verdict(document) == "INDETERMINATE/CERTIFICATE_CHAIN_GENERAL_FAILURE"


def confirmed(**how: object) -> bytes:
    def response(value: bytes) -> bytes:
        at = how.get("at", SIGNED_AT + SECOND)
        rest = {key: item for key, item in how.items() if key != "at"}
        nonce = hashlib.sha1(value, usedforsecurity=False).digest()
        return PKI.ocsp(rsa_signer().certificate, at=at, nonce=nonce, **rest)  # type: ignore[arg-type]

    return DdocMaker(ocsp=response).document()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"status": "revoked", "revoked_at": SIGNED_AT - DAY}, "TOTAL-FAILED/REVOKED"),
        ({"status": "revoked", "revoked_at": SIGNED_AT - DAY, "reason": "certificate_hold"}, "INDETERMINATE/TRY_LATER"),
        ({"status": "unknown"}, "INDETERMINATE/CERTIFICATE_CHAIN_GENERAL_FAILURE"),
        ({"this_update": SIGNED_AT - DAY}, "INDETERMINATE/TRY_LATER"),
        ({"responder": PKI.tsu}, "INDETERMINATE/CERTIFICATE_CHAIN_GENERAL_FAILURE"),
        ({"at": AT - 60 * DAY}, "TOTAL-FAILED/NOT_YET_VALID"),
        ({"at": AT + 301 * DAY}, "TOTAL-FAILED/EXPIRED"),  # the signer's certificate is good for 300
        ({"at": AT + DAY}, "INDETERMINATE/TRY_LATER"),
    ],
)
def test_what_the_responder_says(how: dict[str, object], expected: str) -> None:
    assert verdict(confirmed(**how)) == expected


def test_a_revocation_is_told_without_time_stamps_which_the_format_has_not() -> None:
    (signature,) = judge(confirmed(status="revoked", revoked_at=SIGNED_AT - DAY)).signatures
    told = [message.text for message in signature.messages if message.code == "validation.revoked"]
    assert told == ["The signer's certificate had been revoked when its confirmation was given"]


def test_a_certificate_that_is_not_for_signing() -> None:
    other = PKI.issue(person("AUTH", "38001085718"), kind="rsa", extensions=(key_usage(digital_signature=True),))
    assert verdict(DdocMaker(signer=other).document()) == "INDETERMINATE/CHAIN_CONSTRAINTS_FAILURE"


def test_the_mark_outlives_the_certificate() -> None:
    assert verdict(GOOD, at=AT + 160 * DAY) == PASSED


# ------------------------------------------------------------------ SHA-1 as at its time


def test_a_response_signed_with_sha1_counts_before_2017_only() -> None:
    old = ocsp_with_sha1(rsa_signer(), b"value", at=BEFORE_2017)
    new = ocsp_with_sha1(rsa_signer(), b"value", at=SIGNED_AT)
    until = datetime(2017, 1, 1, tzinfo=UTC)

    def verify(response: bytes, **how: object) -> ocsp.VerifiedOcsp:
        return ocsp.verify_response(
            response,
            certificate=rsa_signer().certificate,
            issuer=PKI.ca.certificate,
            **how,  # type: ignore[arg-type]
        )

    # The test responder's certificate is younger than 2014: the signature is accepted, the certificate is not.
    with pytest.raises(Refused, match="responder_expired"):
        verify(old, sha1_until=until)
    with pytest.raises(Refused, match=r"ocsp\.signature"):
        verify(old)
    with pytest.raises(Refused, match=r"ocsp\.signature"):
        verify(new, sha1_until=until)
    assert verify(new, sha1_until=AT).status is ocsp.CertStatus.GOOD
    tampered = bytearray(new)
    tampered[-2000 if len(tampered) > 2000 else 60] ^= 1
    with pytest.raises((Refused, Malformed)):
        verify(bytes(tampered), sha1_until=AT)


def test_a_mark_of_today_signed_with_sha1_proves_nothing() -> None:
    document = DdocMaker(ocsp=lambda value: ocsp_with_sha1(rsa_signer(), value, at=SIGNED_AT + SECOND)).document()
    assert verdict(document) == "INDETERMINATE/CERTIFICATE_CHAIN_GENERAL_FAILURE"


# ------------------------------------------------------------------ policy, containers, damage


def test_levels_are_told_and_not_asked() -> None:
    signer = PKI.issue(person("ADV", "38001085718"), kind="rsa", extensions=(key_usage(content_commitment=True),))
    document = DdocMaker(signer=signer).document()
    assert verdict(document, policy=POLV3) == PASSED
    (signature,) = judge(document, policy=POLV4).signatures
    assert signature.is_valid
    assert "validation.policy.level_not_asked" in {message.code for message in signature.messages}


def test_inside_a_time_stamped_container() -> None:
    report = validate_container(io.BytesIO(stamped(GOOD, name="old.ddoc")), trust=TRUST, at=AT)
    assert report.is_valid
    assert report.form == "ASiC-S"
    assert [signature.signature_format for signature in report.signatures] == ["DIGIDOC_XML_1.3"]
    changed = edited("<City>Tartu</City>", "<City>Narva</City>")
    report = validate_container(io.BytesIO(stamped(changed, name="old.ddoc")), trust=TRUST, at=AT)
    assert not report.is_valid


@settings(max_examples=100, deadline=None)
@given(damaged(DdocMaker(files=FILES[:1]).document()))
def test_damaged_documents(document: bytes) -> None:
    try:
        judge(document)
    except Malformed:
        pass
