"""EN 319 102-1 verdicts over containers that we make: one case per rule."""

import hashlib
import io
import re
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from lxml import etree

from digiid.formats.asic import DataFile, add_signature_file, build_container, parse_container
from digiid.formats.trusted_list import CA_QC, GRANTED, OCSP_QC, WITHDRAWN, ListedPeriod, ListedService
from digiid.formats.validation import POLV3, POLV4, Policy, Report, SignatureReport, list_findings, validate_container
from digiid.formats.xades import (
    FileDigest,
    build_xades,
    canonical_signature_value,
    choose_method,
    prepare_xades,
    sign_digest,
)
from digiid.kernel.errors import Malformed
from tests.support.containers import MANIFEST, SIGNATURES, changed, edited, pack, unpack
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    DAY,
    FILES,
    NATURAL_QSCD,
    QC_COMPLIANCE,
    QC_TYPE_ESIGN,
    RESPONDER_EXTENSIONS,
    SEAL_QSCD,
    SIGNED_AT,
    UNIT_EXTENSIONS,
    Identity,
    distinguished_name,
    key_usage,
    make_certificate,
    new_key,
    person,
    policies,
    qc_statements,
    shared_pki,
)

PKI = shared_pki()
TRUST = PKI.trust()
GOOD = PKI.container()
SIGNING = key_usage(content_commitment=True)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def judge(container: bytes, *, at=AT, trust=TRUST, policy: Policy = POLV4) -> Report:  # type: ignore[no-untyped-def]
    return validate_container(io.BytesIO(container), trust=trust, at=at, policy=policy, file_name="x.asice")


def verdict(container: bytes, **how: object) -> tuple[str, str]:
    report = judge(container, **how)  # type: ignore[arg-type]
    (signature,) = report.signatures
    assert report.is_valid == (signature.indication == "TOTAL-PASSED")
    return str(signature.indication), str(signature.sub_indication or "")


def codes(signature: SignatureReport) -> set[str]:
    return {message.code for message in signature.messages}


PASSED = ("TOTAL-PASSED", "")


def failed(sub: str) -> tuple[str, str]:
    return "TOTAL-FAILED", sub


def unknown(sub: str) -> tuple[str, str]:
    return "INDETERMINATE", sub


# ------------------------------------------------------------------ what is right


def test_a_signature_of_level_lt_is_valid_and_qualified() -> None:
    report = judge(GOOD)
    (signature,) = report.signatures
    assert report.is_valid
    assert (signature.indication, signature.level) == ("TOTAL-PASSED", "QESIG")
    assert signature.messages == ()
    assert signature.best_signature_at == SIGNED_AT
    assert signature.ocsp_produced_at == SIGNED_AT + timedelta(seconds=1)


def test_the_simple_report_has_the_fields_of_the_service() -> None:
    simple = judge(GOOD).to_simple_report()
    assert simple["signaturesCount"] == simple["validSignaturesCount"] == 1
    assert simple["signatureForm"] == "ASiC-E"
    (signature,) = simple["signatures"]
    assert signature["signatureFormat"] == "XAdES_BASELINE_LT"
    assert signature["indication"] == "TOTAL-PASSED"
    assert "subIndication" not in signature
    assert signature["signedBy"] == "O’CONNEŽ-ŠUSLIK,MARY ÄNN,60001019906"
    assert signature["subjectDistinguishedName"]["serialNumber"] == "PNOEE-60001019906"
    assert signature["info"]["bestSignatureTime"] == "2026-11-23T09:00:00Z"
    assert signature["info"]["ocspResponseCreationTime"] == "2026-11-23T09:00:01Z"
    assert [scope["name"] for scope in signature["signatureScopes"]] == [file.name for file in FILES]
    assert [item["type"] for item in signature["certificates"]] == ["SIGNING", "REVOCATION", "SIGNATURE_TIMESTAMP"]


@pytest.mark.parametrize("kind", ["p256", "p521", "rsa"])
def test_every_kind_of_key_is_judged(kind: str) -> None:
    signer = PKI.issue(person("KEY", "38001085718"), kind=kind)
    assert verdict(PKI.container(signer=signer)) == PASSED


def test_pss_is_judged() -> None:
    signer = PKI.issue(person("KEY", "38001085718"), kind="rsa")
    method = choose_method(signer.certificate.public_key(), pss=True)
    assert verdict(PKI.container(signer=signer, method=method)) == PASSED


def test_a_signature_stays_valid_when_the_certificate_has_run_out() -> None:
    assert verdict(GOOD, at=AT + 160 * DAY) == PASSED
    signer = PKI.issue(person("SHORT", "38001085718"), not_after=AT + DAY)
    assert verdict(PKI.container(signer=signer), at=AT + 100 * DAY) == PASSED


def test_a_signature_stays_valid_when_the_certificate_is_revoked_later() -> None:
    response = PKI.ocsp(
        PKI.signer.certificate, at=SIGNED_AT + 5 * MINUTE, status="revoked", revoked_at=SIGNED_AT + 2 * MINUTE
    )
    assert verdict(PKI.container(ocsp_der=response)) == PASSED


def test_parallel_signatures_are_judged_one_by_one() -> None:
    second = PKI.issue(person("SECOND", "38001085718"))
    container = parse_container(io.BytesIO(GOOD))
    xml = PKI.sign(FILES, signer=second, signature_id="S1")
    report = judge(add_signature_file(container, "META-INF/signatures1.xml", xml, at=AT))
    assert [signature.signed_by.split(",")[0] for signature in report.signatures] == ["O’CONNEŽ-ŠUSLIK", "SECOND"]
    assert report.is_valid
    broken = xml.replace(b"T09:00:00Z", b"T09:00:01Z")
    report = judge(add_signature_file(container, "META-INF/signatures1.xml", broken, at=AT))
    assert [str(signature.indication) for signature in report.signatures] == ["TOTAL-PASSED", "TOTAL-FAILED"]
    assert (report.valid_count, report.is_valid) == (1, False)


# ------------------------------------------------------------------ levels


def test_levels_below_lt_are_not_valid_and_say_what_is_missing() -> None:
    (basic,) = judge(PKI.container(level="B")).signatures
    assert (basic.indication, basic.sub_indication) == unknown("CERTIFICATE_CHAIN_GENERAL_FAILURE")
    assert codes(basic) == {"validation.no_time_stamp", "validation.no_revocation_data"}
    (stamped,) = judge(PKI.container(level="T")).signatures
    assert (stamped.indication, stamped.sub_indication) == unknown("CERTIFICATE_CHAIN_GENERAL_FAILURE")
    assert codes(stamped) == {"validation.no_revocation_data"}


def test_a_confirmation_without_a_time_stamp_is_not_enough() -> None:
    def drop(xml: str) -> str:
        start, end = xml.index("<xades:SignatureTimeStamp"), xml.index("<xades:CertificateValues>")
        return xml[:start] + xml[end:]

    assert verdict(edited(GOOD, drop)) == unknown("SIG_CONSTRAINTS_FAILURE")


@pytest.mark.parametrize(
    ("extensions", "level", "policy", "expected"),
    [
        (NATURAL_QSCD, "QESIG", POLV4, PASSED),
        (SEAL_QSCD, "QESEAL", POLV4, PASSED),
        (
            (
                key_usage(content_commitment=True),
                policies("0.4.0.194112.1.0"),
                qc_statements(QC_COMPLIANCE, QC_TYPE_ESIGN),
            ),
            "ADESIG_QC",
            POLV4,
            PASSED,
        ),
        ((SIGNING, policies("0.4.0.2042.1.2")), "ADESIG", POLV4, failed("")),
        ((SIGNING, policies("0.4.0.2042.1.2")), "ADESIG", POLV3, PASSED),
    ],
)
def test_the_policy_decides_over_the_legal_level(
    extensions: Sequence[tuple[x509.ExtensionType, bool]], level: str, policy: Policy, expected: tuple[str, str]
) -> None:
    signer = PKI.issue(person("LEVEL", "38001085718"), extensions=extensions)
    container = PKI.container(signer=signer)
    assert verdict(container, policy=policy) == expected
    (signature,) = judge(container, policy=policy).signatures
    assert signature.level == level
    assert ("validation.policy.level_tolerated" in codes(signature)) == (level == "ADESIG_QC")


# ------------------------------------------------------------------ the container


def test_an_altered_file() -> None:
    assert verdict(changed(GOOD, {"contract.txt": b"I agree to pay more.\n"})) == failed("HASH_FAILURE")


def test_a_removed_file() -> None:
    assert verdict(changed(GOOD, {"contract.txt": None})) == unknown("SIGNED_DATA_NOT_FOUND")


def test_a_renamed_file() -> None:
    assert verdict(changed(GOOD, {"contract.txt": None, "Contract.txt": FILES[0].content})) == unknown(
        "SIGNED_DATA_NOT_FOUND"
    )


def test_an_added_file() -> None:
    assert verdict(changed(GOOD, {"more.txt": b"x"})) == failed("FORMAT_FAILURE")
    with_entry = edited(
        changed(GOOD, {"more.txt": b"x"}),
        lambda xml: xml.replace(
            "</manifest:manifest>",
            '<manifest:file-entry manifest:full-path="more.txt" manifest:media-type="text/plain"/></manifest:manifest>',
        ),
        MANIFEST,
    )
    (signature,) = judge(with_entry).signatures
    assert (signature.indication, signature.sub_indication) == failed("FORMAT_FAILURE")
    assert "validation.file_not_signed" in codes(signature)


def test_a_media_type_that_differs() -> None:
    container = edited(GOOD, lambda xml: xml.replace("text/plain", "text/html"), MANIFEST)
    assert verdict(container) == failed("FORMAT_FAILURE")


def test_no_signature_is_not_valid() -> None:
    report = judge(build_container(FILES, [], at=AT))
    assert not report.is_valid
    assert report.signatures == ()
    assert [message.code for message in report.messages] == ["validation.no_signature"]
    assert report.to_simple_report()["signaturesCount"] == 0


def test_a_container_without_its_manifest_says_who_signed_and_is_not_valid() -> None:
    report = judge(changed(GOOD, {MANIFEST: None}))
    (signature,) = report.signatures
    assert not report.is_valid
    assert report.form == "ASiC-E"
    assert [message.code for message in report.messages] == ["asic.manifest.missing"]
    assert (signature.indication, signature.sub_indication) == failed("FORMAT_FAILURE")
    assert signature.signed_by == "O’CONNEŽ-ŠUSLIK,MARY ÄNN,60001019906"
    for nothing_signed in ({SIGNATURES: None}, {SIGNATURES: None, "META-INF/timestamp.tst": b"x"}):
        with pytest.raises(Malformed, match=r"asic\.manifest\.missing"):
            judge(changed(GOOD, {MANIFEST: None, **nothing_signed}))


def test_a_signature_file_that_cannot_be_read_still_counts() -> None:
    container = changed(GOOD, {"META-INF/signatures1.xml": b"<!DOCTYPE x><x/>"})
    report = judge(container)
    assert [str(signature.sub_indication) for signature in report.signatures] == ["None", "FORMAT_FAILURE"]
    assert not report.is_valid


@pytest.mark.parametrize(
    "junk", [b"", b"<x/>", b"\x00\xff", b"<asic:XAdESSignatures xmlns:asic='http://uri.etsi.org/02918/v1.2.1#'/>"]
)
def test_signature_files_that_are_none(junk: bytes) -> None:
    assert verdict(changed(GOOD, {SIGNATURES: junk})) == failed("FORMAT_FAILURE")


def test_a_container_of_another_type_than_its_files_is_refused() -> None:
    files = {**unpack(GOOD), "mimetype": b"application/vnd.etsi.asic-s+zip"}
    with pytest.raises(Malformed, match=r"asic\.simple\.data_file"):
        judge(pack(files))


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7", GOOD[:-1], GOOD[1:], GOOD + b"x"])
def test_what_is_no_container_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        judge(data)


# ------------------------------------------------------------------ the signature


def test_a_changed_value() -> None:
    assert verdict(edited(GOOD, _change_value)) == failed("SIG_CRYPTO_FAILURE")


def _change_value(xml: str) -> str:
    start = xml.index('-SIG">') + 6
    return xml[:start] + ("B" if xml[start] == "A" else "A") + xml[start + 1 :]


@pytest.mark.parametrize("instead", ["", "<ds:KeyInfo/>", "<ds:KeyInfo><ds:X509Data/></ds:KeyInfo>"])
def test_a_signature_without_its_certificate_is_nobodys(instead: str) -> None:
    container = edited(GOOD, lambda xml: re.sub("<ds:KeyInfo>.*</ds:KeyInfo>", instead, xml))
    assert verdict(container) == unknown("NO_SIGNING_CERTIFICATE_FOUND")
    (signature,) = judge(container).signatures
    assert (signature.signed_by, signature.signature_format) == ("", "XAdES_BASELINE_LT")
    assert signature.claimed_signing_at == SIGNED_AT


def test_the_certificate_must_be_for_signing() -> None:
    extensions = (key_usage(digital_signature=True), *NATURAL_QSCD[1:])
    signer = PKI.issue(person("AUTH", "38001085718"), extensions=extensions)
    assert verdict(PKI.container(signer=signer)) == unknown("CHAIN_CONSTRAINTS_FAILURE")


def test_the_certificate_must_be_valid_when_it_signs() -> None:
    late = PKI.issue(person("LATE", "38001085718"), not_before=SIGNED_AT + MINUTE)
    assert verdict(PKI.container(signer=late)) == failed("NOT_YET_VALID")
    expired = PKI.issue(person("EXPIRED", "38001085718"), not_after=SIGNED_AT - MINUTE)
    # a time-stamp is an upper bound: it does not say that the signature is younger than the certificate's end
    assert verdict(PKI.container(signer=expired)) == unknown("OUT_OF_BOUNDS_NO_POE")
    assert codes(judge(PKI.container(signer=expired)).signatures[0]) == {"validation.expired"}
    assert verdict(PKI.container(signer=expired, level="B")) == unknown("OUT_OF_BOUNDS_NO_POE")


def test_a_ca_with_the_right_name_and_another_key_is_not_trusted() -> None:
    twin = make_certificate(PKI.ca.certificate.subject, new_key(), None, CA_EXTENSIONS)
    impostor = make_certificate(
        person("EVIL", "38001085718"), new_key(), twin, [(x509.BasicConstraints(False, None), True), *NATURAL_QSCD]
    )
    assert verdict(PKI.container(signer=impostor)) == unknown("NO_CERTIFICATE_CHAIN_FOUND")


def test_a_self_signed_certificate_is_not_trusted() -> None:
    lone = make_certificate(person("LONE", "38001085718"), new_key(), None, NATURAL_QSCD)
    assert verdict(PKI.container(signer=lone)) == unknown("NO_CERTIFICATE_CHAIN_FOUND")


def test_a_ca_counts_while_it_is_granted() -> None:
    def trust_with(status: str, since):  # type: ignore[no-untyped-def]
        past = (ListedPeriod(GRANTED, AT - 390 * DAY),)
        others = PKI.services()[1:]
        return PKI.trust(services=[ListedService(CA_QC, "TEST CA", PKI.ca.certificate, status, since, past), *others])

    assert verdict(GOOD, trust=trust_with(WITHDRAWN, SIGNED_AT - DAY)) == unknown("NO_CERTIFICATE_CHAIN_FOUND")
    assert verdict(GOOD, trust=trust_with(WITHDRAWN, SIGNED_AT + MINUTE)) == PASSED
    assert verdict(GOOD, trust=PKI.trust(services=PKI.services()[1:])) == unknown("NO_CERTIFICATE_CHAIN_FOUND")


# ------------------------------------------------------------------ time-stamps


def test_a_time_stamp_over_something_else() -> None:
    token = PKI.time_stamp(bytes(32), gen_at=SIGNED_AT)
    container = PKI.container(token_der=token)
    assert verdict(container) == unknown("SIG_CONSTRAINTS_FAILURE")
    (signature,) = judge(container).signatures
    assert [(stamp.indication, stamp.sub_indication) for stamp in signature.time_stamps] == [("FAILED", "HASH_FAILURE")]


def test_a_time_stamp_that_was_tampered_with() -> None:
    token = bytearray(PKI.time_stamp(bytes(32), gen_at=SIGNED_AT))
    token[-10] ^= 1
    (signature,) = judge(PKI.container(token_der=bytes(token))).signatures
    assert signature.time_stamps[0].indication == "FAILED"
    assert not signature.is_valid


def stamped_by(unit: Identity) -> bytes:
    from dataclasses import replace

    return replace(PKI, tsu=unit).container(signer=PKI.signer)


def test_a_unit_that_is_not_listed() -> None:
    unit = make_certificate(distinguished_name("TEST Unlisted Unit"), new_key(), PKI.root, UNIT_EXTENSIONS)
    assert verdict(stamped_by(unit)) == unknown("NO_CERTIFICATE_CHAIN_FOUND")


def test_a_unit_of_a_listed_authority() -> None:
    authority = make_certificate(distinguished_name("TEST TSA CA"), new_key(), PKI.root, CA_EXTENSIONS)
    unit = make_certificate(distinguished_name("TEST Unit of a CA"), new_key(), authority, UNIT_EXTENSIONS)
    services = PKI.services()
    listed = ListedService(services[2].service_type, "TEST TSA CA", authority.certificate, GRANTED, AT - 390 * DAY)
    assert verdict(stamped_by(unit), trust=PKI.trust(services=[*services[:2], listed])) == PASSED


def test_a_unit_that_was_withdrawn() -> None:
    withdrawn = PKI.trust(services=PKI.services(tsa_status=WITHDRAWN))
    assert verdict(GOOD, trust=withdrawn) == unknown("NO_CERTIFICATE_CHAIN_FOUND")


def test_a_property_with_two_tokens() -> None:
    def double(xml: str) -> str:
        start, end = xml.index("<xades:EncapsulatedTimeStamp>"), xml.index("</xades:SignatureTimeStamp>")
        return xml[:end] + xml[start:end] + xml[end:]

    assert verdict(edited(GOOD, double)) == failed("FORMAT_FAILURE")


# ------------------------------------------------------------------ revocation


def confirmed(**how: object) -> bytes:
    at = how.pop("at", SIGNED_AT + timedelta(seconds=1))
    about = how.pop("about", PKI.signer.certificate)
    return PKI.container(ocsp_der=PKI.ocsp(about, at=at, **how))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"status": "revoked", "revoked_at": SIGNED_AT - DAY, "reason": "key_compromise"}, unknown("REVOKED_NO_POE")),
        ({"status": "revoked", "revoked_at": SIGNED_AT}, unknown("REVOKED_NO_POE")),
        ({"status": "revoked", "revoked_at": SIGNED_AT - DAY, "reason": "certificate_hold"}, unknown("TRY_LATER")),
        ({"status": "unknown"}, unknown("CERTIFICATE_CHAIN_GENERAL_FAILURE")),
        ({"at": SIGNED_AT - timedelta(seconds=1)}, unknown("TRY_LATER")),
        ({"at": SIGNED_AT}, PASSED),
        ({"at": SIGNED_AT + 2 * DAY}, PASSED),
        ({"this_update": SIGNED_AT - timedelta(hours=1)}, unknown("TRY_LATER")),
        ({"next_update": SIGNED_AT + DAY}, PASSED),
        ({"this_update": SIGNED_AT - 2 * MINUTE, "next_update": SIGNED_AT - MINUTE}, unknown("TRY_LATER")),
        ({"hash_name": "sha256"}, PASSED),
        ({"about": PKI.ca.certificate}, unknown("CERTIFICATE_CHAIN_GENERAL_FAILURE")),
    ],
)  # fmt: skip
def test_what_the_responder_says(how: dict[str, object], expected: tuple[str, str]) -> None:
    assert verdict(confirmed(**how), at=AT + 3 * DAY) == expected


def test_a_revocation_before_the_time_stamp_is_told_as_one() -> None:
    report = judge(confirmed(status="revoked", revoked_at=SIGNED_AT - DAY))
    assert "had been revoked at the time that is proven" in report.signatures[0].messages[-1].text
    (meaning,) = (each.meaning for each in list_findings(report) if each.code == "finding.signature.revoked_no_poe")
    assert meaning == "The certificate is revoked, and nothing proves that it was used before that."


def with_answers(*answers: bytes) -> bytes:
    """A container whose signature carries these answers in this order."""
    values = "".join(
        f"<xades:EncapsulatedOCSPValue>{b64encode(one).decode()}</xades:EncapsulatedOCSPValue>" for one in answers
    )
    return edited(GOOD, lambda xml: re.sub("(?<=<xades:OCSPValues>).*(?=</xades:OCSPValues>)", values, xml))


def about_signer(**how: object) -> bytes:
    return PKI.ocsp(PKI.signer.certificate, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"revoked_at": SIGNED_AT - DAY}, unknown("REVOKED_NO_POE")),
        ({"revoked_at": SIGNED_AT, "reason": "key_compromise"}, unknown("REVOKED_NO_POE")),
        ({"revoked_at": SIGNED_AT + timedelta(seconds=1)}, PASSED),
        ({"revoked_at": SIGNED_AT - DAY, "reason": "certificate_hold"}, PASSED),  # not when the good word was given
        ({"revoked_at": SIGNED_AT - DAY, "responder": PKI.tsu}, PASSED),  # nobody who may answer
    ],
)
def test_one_answer_that_says_revoked_is_not_passed_over_for_a_good_one(
    other: dict[str, object], expected: tuple[str, str]
) -> None:
    good, told_later = about_signer(at=SIGNED_AT), about_signer(at=SIGNED_AT + DAY, status="revoked", **other)
    assert verdict(with_answers(good), at=AT + 3 * DAY) == PASSED
    assert verdict(with_answers(good, told_later), at=AT + 3 * DAY) == expected
    assert verdict(with_answers(told_later, good), at=AT + 3 * DAY) == expected


def test_a_certificate_on_hold_when_it_was_used_is_not_cleared_by_an_answer_from_after_the_hold() -> None:
    def on_hold(at: datetime) -> bytes:
        since = SIGNED_AT - 2 * DAY
        return about_signer(at=at, status="revoked", revoked_at=since, reason="certificate_hold")

    later = about_signer(at=SIGNED_AT + DAY)
    told_then, told_before = on_hold(SIGNED_AT + MINUTE), on_hold(SIGNED_AT - DAY)
    assert verdict(with_answers(told_then, later), at=AT + 3 * DAY) == unknown("TRY_LATER")
    assert verdict(with_answers(later, told_then), at=AT + 3 * DAY) == unknown("TRY_LATER")
    assert verdict(with_answers(told_before, later), at=AT + 3 * DAY) == PASSED  # it may have been taken off by then
    assert verdict(with_answers(about_signer(at=SIGNED_AT), told_then), at=AT + 3 * DAY) == PASSED


@pytest.mark.parametrize("junk", [b"junk", b"\x30\x00", b"\x30\x80"])
def test_an_answer_that_cannot_be_read_does_no_harm_beside_one_that_can(junk: bytes) -> None:
    good = about_signer(at=SIGNED_AT)
    assert verdict(with_answers(junk, good)) == verdict(with_answers(good, junk)) == PASSED
    assert verdict(with_answers(junk, junk)) == failed("FORMAT_FAILURE")
    revoked = about_signer(at=SIGNED_AT, status="revoked", revoked_at=SIGNED_AT - DAY)
    assert verdict(with_answers(junk, revoked)) == unknown("REVOKED_NO_POE")
    assert verdict(with_answers(junk, about_signer(at=SIGNED_AT - DAY))) == unknown("TRY_LATER")


def test_a_confirmation_that_is_late_is_valid_with_a_warning() -> None:
    for late, warned in ((15 * MINUTE, False), (15 * MINUTE + timedelta(seconds=1), True)):
        (signature,) = judge(confirmed(at=SIGNED_AT + late)).signatures
        assert signature.is_valid
        assert ("validation.ocsp_late" in codes(signature)) == warned


def responder(
    issuer: Identity | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = RESPONDER_EXTENSIONS,
    **how: object,
) -> Identity:
    return make_certificate(
        distinguished_name("TEST OCSP Responder"),
        new_key(),
        issuer or PKI.ca,
        extensions,
        **how,  # type: ignore[arg-type]
    )


def test_who_may_answer() -> None:
    """RFC 6960 §4.2.2.2: the CA itself, its delegate, or a responder that the list names; nobody else."""
    refused = unknown("CERTIFICATE_CHAIN_GENERAL_FAILURE")
    ca_signs = make_certificate(
        PKI.ca.certificate.subject,
        PKI.ca.key,
        PKI.root,
        [CA_EXTENSIONS[0], key_usage(key_cert_sign=True, digital_signature=True)],
    )
    assert verdict(confirmed(responder=ca_signs)) == PASSED  # by its own key, whichever of its certificates is shown
    assert verdict(confirmed(responder=responder())) == PASSED
    another_ca = make_certificate(distinguished_name("TEST Another CA"), new_key(), PKI.root, CA_EXTENSIONS)
    twin = make_certificate(PKI.ca.certificate.subject, new_key(), None, CA_EXTENSIONS)
    ordinary = (key_usage(digital_signature=True),)
    for stranger in (
        responder(another_ca),
        responder(twin),
        responder(extensions=ordinary),
        responder(not_before=AT - 100 * DAY, not_after=SIGNED_AT - DAY),
        make_certificate(distinguished_name("TEST Lone Responder"), new_key(), None, RESPONDER_EXTENSIONS),
        PKI.tsu,
    ):
        assert verdict(confirmed(responder=stranger)) == refused


_ORDINARY = (key_usage(digital_signature=True, content_commitment=True),)
_WITHOUT_NOCHECK = (RESPONDER_EXTENSIONS[0], RESPONDER_EXTENSIONS[2])
_WITHOUT_EKU = RESPONDER_EXTENSIONS[1:]
_ANOTHER_CA = make_certificate(distinguished_name("TEST Another CA"), new_key(), PKI.root, CA_EXTENSIONS)


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (PKI.ca, None),
        (responder(), None),
        (responder(extensions=_WITHOUT_EKU), "ocsp.responder_unauthorized"),
        (responder(_ANOTHER_CA), "ocsp.responder_unauthorized"),
        (responder(extensions=_ORDINARY), "ocsp.responder_unauthorized"),
        (responder(not_before=AT - 100 * DAY, not_after=SIGNED_AT - DAY), "ocsp.responder_expired"),
        (responder(not_before=AT, not_after=AT + DAY), "ocsp.responder_expired"),
        (responder(extensions=_WITHOUT_NOCHECK), "ocsp.responder_revocation_unknown"),
    ],
    ids=[
        "the CA itself",
        "delegated with OCSPSigning",
        "delegated without OCSPSigning",
        "delegated by another CA",
        "an ordinary certificate of the same CA",
        "expired",
        "not valid yet",
        "possibly revoked: neither nocheck nor anything that says it is not",
    ],
)
def test_each_rule_about_responders(who: Identity, code: str | None) -> None:
    """RFC 6960 §4.2.2.2, one case each, and the reason that is told."""
    (signature,) = judge(confirmed(responder=who)).signatures
    assert signature.is_valid == (code is None)
    if code is not None:
        assert str(signature.sub_indication) == "CERTIFICATE_CHAIN_GENERAL_FAILURE"
        assert code in codes(signature)


def test_an_answer_has_to_name_the_certificate_by_all_three_values() -> None:
    """CertID (RFC 6960 §4.1.1): the issuer's name, the issuer's key, the serial number."""
    same_name = make_certificate(PKI.ca.certificate.subject, new_key(), PKI.root, CA_EXTENSIONS)
    same_key = make_certificate(distinguished_name("TEST Other"), PKI.ca.key, PKI.root, CA_EXTENSIONS)
    other = PKI.issue(person("OTHER", "38001085718"))
    for hash_name in ("sha1", "sha256"):
        for how in ({"issuer": same_name}, {"issuer": same_key}, {"about": other.certificate}):
            container = confirmed(responder=PKI.responder, hash_name=hash_name, **how)
            assert verdict(container) == unknown("CERTIFICATE_CHAIN_GENERAL_FAILURE")
            assert codes(judge(container).signatures[0]) == {"validation.no_revocation_data"}


def test_what_is_revoked_without_proof_of_time() -> None:
    response = PKI.ocsp(PKI.signer.certificate, at=AT, status="revoked", revoked_at=SIGNED_AT + DAY / 48)

    def drop(xml: str) -> str:
        start, end = xml.index("<xades:SignatureTimeStamp"), xml.index("<xades:CertificateValues>")
        return xml[:start] + xml[end:]

    assert verdict(edited(PKI.container(ocsp_der=response), drop)) == unknown("REVOKED_NO_POE")


def test_a_ca_that_is_not_granted_any_more_without_proof_of_time() -> None:
    past = (ListedPeriod(GRANTED, AT - 390 * DAY),)
    withdrawn = ListedService(CA_QC, "TEST CA", PKI.ca.certificate, WITHDRAWN, AT - DAY, past)
    trust = PKI.trust(services=[withdrawn, *PKI.services()[1:]])
    assert verdict(PKI.container(level="B"), trust=trust) == unknown("NO_CERTIFICATE_CHAIN_FOUND_NO_POE")


@pytest.mark.parametrize(
    ("policy", "expected", "format_name"),
    [
        ("urn:oid:1.2.3.4", unknown("SIGNATURE_POLICY_NOT_AVAILABLE"), "XAdES_BASELINE_LT"),
        ("https://example.test/policy", unknown("SIGNATURE_POLICY_NOT_AVAILABLE"), "XAdES_BASELINE_LT"),
        ("", unknown("POLICY_PROCESSING_ERROR"), "XAdES_BASELINE_LT"),
        (None, PASSED, "XAdES_BASELINE_LT"),
    ],
)
def test_signature_policies(policy: str | None, expected: tuple[str, str], format_name: str) -> None:
    """A signer's own rules that this program does not know are told; rules that are only implied are none."""
    container = resigned(_with_policy(policy))
    assert verdict(container) == expected
    assert judge(container).signatures[0].signature_format == format_name


def _with_policy(identifier: str | None) -> str:
    if identifier is None:
        inner = "<xades:SignaturePolicyImplied/>"
    else:
        inner = (
            f"<xades:SignaturePolicyId><xades:SigPolicyId><xades:Identifier>{identifier}</xades:Identifier>"
            "</xades:SigPolicyId></xades:SignaturePolicyId>"
        )
    return f"<xades:SignaturePolicyIdentifier>{inner}</xades:SignaturePolicyIdentifier>"


def resigned(more: str) -> bytes:
    """A signature of level LT with one more signed property, signed as it stands."""
    xml = etree.fromstring(unpack(PKI.container(level="B"))[SIGNATURES])
    ds, xades = "{http://www.w3.org/2000/09/xmldsig#}", "{http://uri.etsi.org/01903/v1.3.2#}"
    info, value = xml[0][0], xml[0][1]
    properties = xml.find(f".//{xades}SignedProperties")
    signed = xml.find(f".//{xades}SignedSignatureProperties")
    assert properties is not None and signed is not None
    signed.append(etree.fromstring(f'<x xmlns:xades="{xades[1:-1]}">{more}</x>')[0])
    etree.cleanup_namespaces(signed)
    digest = info.findall(f".//{ds}DigestValue")[-1]
    digest.text = b64encode(hashlib.sha256(etree.tostring(properties, method="c14n")).digest()).decode()
    method = choose_method(PKI.signer.certificate.public_key())
    hashed = hashlib.new(method.hash_name, etree.tostring(info, method="c14n")).digest()
    raw = sign_digest(method, PKI.signer.key, hashed)
    value.text = b64encode(raw).decode()
    imprint = hashlib.sha256(etree.tostring(value, method="c14n")).digest()
    token, answer = PKI.time_stamp(imprint, gen_at=SIGNED_AT), PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT)
    unsigned = (
        f'<x xmlns:xades="{xades[1:-1]}" xmlns:ds="{ds[1:-1]}"><xades:UnsignedProperties>'
        "<xades:UnsignedSignatureProperties><xades:SignatureTimeStamp><ds:CanonicalizationMethod "
        'Algorithm="http://www.w3.org/2006/12/xml-c14n11"/><xades:EncapsulatedTimeStamp>'
        f"{b64encode(token).decode()}</xades:EncapsulatedTimeStamp></xades:SignatureTimeStamp>"
        f"<xades:RevocationValues><xades:OCSPValues><xades:EncapsulatedOCSPValue>{b64encode(answer).decode()}"
        "</xades:EncapsulatedOCSPValue></xades:OCSPValues></xades:RevocationValues>"
        "</xades:UnsignedSignatureProperties></xades:UnsignedProperties></x>"
    )
    holder = properties.getparent()
    assert holder is not None
    holder.append(etree.fromstring(unsigned)[0])
    return changed(GOOD, {SIGNATURES: etree.tostring(xml)})


def test_signature_files_of_any_name_are_found() -> None:
    """EN 319 162-1 §A.4: `*signatures*.xml`, as eDoc and DSS name them; several of them, or several in one."""
    xml = unpack(GOOD)[SIGNATURES]
    for name in ("META-INF/edoc-signatures-S1.xml", "META-INF/signatures001.xml", "META-INF/xsignatures.xml"):
        assert verdict(changed(GOOD, {SIGNATURES: None, name: xml})) == PASSED


@pytest.mark.parametrize("name", ["CounterSignature", "AttributeCertificateRefs", "ArchiveTimeStamp", "NeverHeardOf"])
def test_an_odd_property_is_shown_and_never_hidden(name: str) -> None:
    def add(xml: str) -> str:
        return xml.replace("<xades:CertificateValues>", f"<xades:{name}></xades:{name}><xades:CertificateValues>")

    (signature,) = judge(edited(GOOD, add)).signatures
    assert signature.is_valid
    (message,) = signature.messages
    assert message.code == "validation.property_ignored"
    assert name in message.text


@pytest.mark.parametrize("hash_name", ["sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"])
def test_every_digest_of_files_is_read(hash_name: str) -> None:
    digests = [FileDigest(f.name, f.media_type, hashlib.new(hash_name, f.content).digest()) for f in FILES]
    certificate = PKI.signer.certificate
    prepared = prepare_xades(digests, certificate=certificate, claimed_signing_at=SIGNED_AT, file_hash_name=hash_name)
    value = sign_digest(prepared.method, PKI.signer.key, prepared.digest)
    imprint = hashlib.sha256(canonical_signature_value(prepared, value)).digest()
    xml = build_xades(
        prepared,
        value,
        time_stamp_der=PKI.time_stamp(imprint, gen_at=SIGNED_AT),
        certificates_der=[PKI.ca.der],
        ocsp_der=PKI.ocsp(certificate, at=SIGNED_AT),
    )
    assert verdict(changed(GOOD, {SIGNATURES: xml})) == PASSED


def test_a_listed_responder_may_answer_while_it_is_granted() -> None:
    foreign = make_certificate(distinguished_name("TEST Foreign Responder"), new_key(), None, RESPONDER_EXTENSIONS[2:])
    container = confirmed(responder=foreign)
    for status, expected in ((GRANTED, PASSED), (WITHDRAWN, unknown("CERTIFICATE_CHAIN_GENERAL_FAILURE"))):
        listed = ListedService(OCSP_QC, "TEST Foreign", foreign.certificate, status, AT - 390 * DAY)
        assert verdict(container, trust=PKI.trust(services=[*PKI.services(), listed])) == expected


def test_a_response_that_was_tampered_with() -> None:
    response = bytearray(PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT))
    where = bytes(response).index(b"20261123")
    response[where + 7] = ord("4")
    assert not judge(PKI.container(ocsp_der=bytes(response))).is_valid


@pytest.mark.parametrize("junk", [b"", b"\x30\x03\x0a\x01\x06", b"\x30\x80", b"junk"])
def test_responses_that_are_none(junk: bytes) -> None:
    (signature,) = judge(PKI.container(ocsp_der=junk or b"\x00")).signatures
    assert not signature.is_valid


# ------------------------------------------------------------------ for a person


def test_findings_say_who_when_what_and_whether_it_matters() -> None:
    good = list_findings(judge(GOOD))
    assert not any(finding.matters for finding in good)
    assert "MARY ÄNN" in good[1].text
    assert "2026-11-23 09:00:00 UTC" in good[1].text
    bad = list_findings(judge(changed(GOOD, {"contract.txt": b"other"})))
    assert bad[0].matters
    assert bad[1].code == "finding.signature.hash_failure"
    assert "changed after it was signed" in bad[1].meaning
    late = list_findings(judge(confirmed(at=SIGNED_AT + DAY), at=AT + 3 * DAY))
    assert [finding.code for finding in late if not finding.matters][-1] == "validation.ocsp_late"
    assert not any(finding.matters for finding in late)


def odd_property(xml: str) -> str:
    return xml.replace("<xades:CertificateValues", "<xades:Odd/><xades:CertificateValues")


def meanings(report: Report) -> dict[str, str]:
    return {finding.code: finding.meaning for finding in list_findings(report) if not finding.matters}


def test_what_may_be_set_aside_is_called_so_only_where_something_is_valid() -> None:
    """With nothing valid, that "the signatures are not affected" would be a comfort that nobody may give."""
    odd = {"META-INF/note.txt": b"x", "mimetype": b"application/vnd.etsi.asic-e+zip\n"}
    container = edited(GOOD, odd_property)
    good = judge(changed(container, odd))
    assert good.is_valid
    told = meanings(good)
    assert "the signatures are not affected" in told["asic.mimetype.white_space"]
    assert told["validation.property_ignored"] == "It does not change the verdict."

    revoked = confirmed(status="revoked", revoked_at=SIGNED_AT - DAY)
    revoked = edited(revoked, odd_property)
    for bad in (
        judge(changed(container, {**odd, "contract.txt": b"other"})),
        judge(changed(revoked, odd)),
        judge(changed(container, {**odd, SIGNATURES: b"<none/>"})),
    ):
        assert bad.valid_count == 0
        told = meanings(bad)
        assert told.pop("asic.unknown_meta_file") == "Nobody signed that file. Do not rely on it."
        assert "asic.mimetype.white_space" in told
        assert set(told.values()) == {""}

    # of two signatures each is told of by itself, and the container as something that one signature still holds in
    one_bad = confirmed(status="revoked", revoked_at=SIGNED_AT - DAY)
    both = add_signature_file(
        parse_container(io.BytesIO(one_bad)),
        "META-INF/signatures1.xml",
        PKI.sign(FILES, signature_id="S1", confirmed_at=SIGNED_AT + DAY),
        at=AT,
    )
    report = judge(changed(both, {"mimetype": odd["mimetype"]}), at=AT + 3 * DAY)
    assert [one.is_valid for one in report.signatures] == [False, True]
    told = meanings(report)
    assert told["validation.ocsp_late"].endswith("it was in force all the same.")
    assert "the signatures are not affected" in told["asic.mimetype.white_space"]


def test_every_verdict_has_a_meaning_for_a_person() -> None:
    from digiid.formats.validation import SubIndication
    from digiid.formats.validation.findings import _MEANING

    assert set(_MEANING) == {*SubIndication, None}


def test_an_empty_data_file_is_pointed_out() -> None:
    files = [DataFile("empty.txt", "text/plain", b"x")]
    container = PKI.container(files)
    report = judge(changed(container, {"empty.txt": b""}))
    assert "asic.empty_file" in {message.code for message in report.messages}
    assert not report.is_valid
