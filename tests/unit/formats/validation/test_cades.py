"""CAdES in ASiC: one case per rule, over containers that we make."""

import hashlib
import io
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats import cms, der
from digiid.formats.asic import DataFile
from digiid.formats.asic.manifest import DataObject, build_asic_manifest
from digiid.formats.cades import ID_SIGNATURE_POLICY, ID_SIGNER_LOCATION, parse_cades
from digiid.formats.validation import POLV3, POLV4, Policy, Report, list_findings, validate_container
from digiid.kernel.errors import Malformed
from tests.support.archived import YEAR, make_unit
from tests.support.cades import CadesMaker, manifest_of
from tests.support.containers import changed, pack, unpack
from tests.support.pki import (
    AT,
    DAY,
    FILES,
    QC_COMPLIANCE,
    QC_TYPE_ESIGN,
    SIGNED_AT,
    UNIT_EXTENSIONS,
    distinguished_name,
    key_usage,
    make_certificate,
    new_key,
    person,
    qc_statements,
    shared_pki,
)
from tests.support.time_stamped import as_ber
from tests.unit.formats.fuzz import damaged, only_raises

PKI = shared_pki()
TRUST = PKI.trust()
FILE = FILES[0]
P7S, MANIFEST = "META-INF/signature001.p7s", "META-INF/ASiCManifest001.xml"
EXTENDED = CadesMaker().extended(FILES)
SIMPLE = CadesMaker().simple(FILE)


def judge(container: bytes, *, policy: Policy = POLV4) -> Report:
    report = validate_container(io.BytesIO(container), trust=TRUST, at=AT, policy=policy, file_name="x.asice")
    report.to_simple_report()
    list_findings(report)
    return report


def verdict(container: bytes, **how: Policy) -> str:
    report = judge(container, **how)
    (signature,) = report.signatures
    assert report.is_valid == (signature.indication == "TOTAL-PASSED")
    return f"{signature.indication}/{signature.sub_indication or ''}"


PASSED = "TOTAL-PASSED/"


# ------------------------------------------------------------------ what is right


@pytest.mark.parametrize("container", [EXTENDED, SIMPLE], ids=["ASiC-E", "ASiC-S"])
def test_a_signature_of_level_lt_is_valid_and_qualified(container: bytes) -> None:
    report = judge(container)
    (signature,) = report.signatures
    assert report.is_valid
    assert report.messages == ()
    assert (signature.signature_format, signature.level) == ("CAdES_BASELINE_LT", "QESIG")
    assert signature.method_uri == "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
    assert signature.messages == ()
    assert signature.best_signature_at == SIGNED_AT
    assert signature.ocsp_produced_at == SIGNED_AT + timedelta(seconds=1)
    assert signature.claimed_signing_at == SIGNED_AT
    assert {scope.name for scope in signature.scopes} == set(report.data_files)


@pytest.mark.parametrize("kind", ["p256", "p521", "rsa"])
def test_every_kind_of_key(kind: str) -> None:
    signer = PKI.issue(person("KEY", "38001085718"), kind=kind)
    hash_name = {"p521": "sha512"}.get(kind, "sha256")
    assert verdict(CadesMaker(signer=signer, hash_name=hash_name).simple(FILE)) == PASSED


def test_revocation_data_may_stand_in_an_attribute() -> None:
    assert verdict(CadesMaker(revocation_in_attribute=True).simple(FILE)) == PASSED


def test_the_outer_encoding_may_be_ber() -> None:
    assert verdict(changed(EXTENDED, {P7S: as_ber(unpack(EXTENDED)[P7S])})) == PASSED


def test_place_and_implied_policy_are_read() -> None:
    location = der.sequence(
        der.tlv(der.context(0), der.tlv(der.UTF8_STRING, b"EE")),
        der.tlv(der.context(1), der.tlv(der.UTF8_STRING, "Võru".encode())),
    )
    container = CadesMaker(extra={ID_SIGNER_LOCATION: location, ID_SIGNATURE_POLICY: b"\x05\x00"}).simple(FILE)
    (signature,) = judge(container).signatures
    assert signature.is_valid
    assert signature.place == (("countryName", "EE"), ("city", "Võru"))


# ------------------------------------------------------------------ what is not


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("B", "INDETERMINATE/CERTIFICATE_CHAIN_GENERAL_FAILURE"),
        ("T", "INDETERMINATE/CERTIFICATE_CHAIN_GENERAL_FAILURE"),
    ],
)
def test_lower_levels_are_not_enough(level: str, expected: str) -> None:
    container = CadesMaker(level=level).simple(FILE)
    assert verdict(container) == expected
    assert judge(container).signatures[0].signature_format.startswith(f"CAdES_BASELINE_{level}")


@pytest.mark.parametrize("container", [EXTENDED, SIMPLE], ids=["ASiC-E", "ASiC-S"])
def test_a_file_that_was_changed(container: bytes) -> None:
    assert verdict(changed(container, {FILE.name: b"other"})) == "TOTAL-FAILED/HASH_FAILURE"


def test_a_manifest_that_was_changed() -> None:
    manifest = unpack(EXTENDED)[MANIFEST].replace(b"text/plain", b"text/other")
    assert verdict(changed(EXTENDED, {MANIFEST: manifest})) == "TOTAL-FAILED/HASH_FAILURE"


def test_a_file_that_is_not_in_the_manifest() -> None:
    assert verdict(changed(EXTENDED, {"extra.txt": b"x"})) == "TOTAL-FAILED/FORMAT_FAILURE"


def test_a_file_that_is_missing() -> None:
    assert verdict(changed(EXTENDED, {FILE.name: None})) == "INDETERMINATE/SIGNED_DATA_NOT_FOUND"


def test_no_manifest_or_one_for_another_signature() -> None:
    assert verdict(changed(EXTENDED, {MANIFEST: None, "META-INF/ASiCManifest002.xml": b"<x/>"})) == (
        "TOTAL-FAILED/FORMAT_FAILURE"
    )
    renamed = unpack(EXTENDED)[MANIFEST].replace(b"signature001", b"signature002")
    report = judge(changed(EXTENDED, {MANIFEST: renamed}))
    assert "asic.asic_manifest.no_signature" in {message.code for message in report.messages}
    assert not report.is_valid


def test_what_belongs_to_cades_says_nothing_about_xades() -> None:
    files = {"META-INF/ASiCManifest.xml": b"junk", "META-INF/timestamp.tst": b"junk"}
    report = judge(changed(PKI.container(), files))
    assert report.is_valid
    told = [message.text for message in report.messages if message.code == "asic.unknown_meta_file"]
    assert told == [f"'{name}' is not covered by any signature" for name in files]


def test_xades_and_cades_side_by_side_are_judged_each() -> None:
    signed = unpack(PKI.container())
    manifest = manifest_of(FILES)
    both = {**signed, MANIFEST: manifest, P7S: CadesMaker().sign(manifest)}
    report = judge(pack(both))
    assert [signature.signature_format for signature in report.signatures] == [
        "XAdES_BASELINE_LT",
        "CAdES_BASELINE_LT",
    ]
    assert report.is_valid
    assert not judge(pack({**both, P7S: CadesMaker(over=b"x").sign(manifest)})).is_valid


def test_two_manifests_for_one_signature() -> None:
    manifest = unpack(EXTENDED)[MANIFEST]
    assert verdict(changed(EXTENDED, {"META-INF/ASiCManifest2.xml": manifest})) == "TOTAL-FAILED/FORMAT_FAILURE"


def test_a_weak_digest_in_the_manifest_is_told() -> None:
    container = CadesMaker().extended(FILES, manifest=manifest_of(FILES, hash_name="sha1"))
    (signature,) = judge(container).signatures
    assert "validation.weak_hash" in {message.code for message in signature.messages}


def test_a_value_that_was_tampered_with() -> None:
    maker = CadesMaker()
    signature = maker.sign(FILE.content)
    value = parse_cades(signature)[0].signer.signature
    bad = bytes([*value[:-1], value[-1] ^ 1])
    assert signature.count(value) == 1
    container = changed(SIMPLE, {"META-INF/signature.p7s": signature.replace(value, bad)})
    assert verdict(container) == "TOTAL-FAILED/SIG_CRYPTO_FAILURE"


@pytest.mark.parametrize(
    ("maker", "expected"),
    [
        (CadesMaker(over=b"other"), "TOTAL-FAILED/HASH_FAILURE"),
        (CadesMaker(without=[cms.ID_MESSAGE_DIGEST]), "TOTAL-FAILED/FORMAT_FAILURE"),
        (CadesMaker(without=[cms.ID_CONTENT_TYPE]), "TOTAL-FAILED/FORMAT_FAILURE"),
        (CadesMaker(without=[cms.ID_SIGNING_CERTIFICATE_V2]), "INDETERMINATE/NO_SIGNING_CERTIFICATE_FOUND"),
        (CadesMaker(ess_of=PKI.ca.certificate), "INDETERMINATE/NO_SIGNING_CERTIFICATE_FOUND"),
        (CadesMaker(without=[cms.ID_SIGNING_TIME]), "INDETERMINATE/SIG_CONSTRAINTS_FAILURE"),
        (
            CadesMaker(extra={ID_SIGNATURE_POLICY: der.sequence(der.oid("1.2.3"))}),
            "INDETERMINATE/SIGNATURE_POLICY_NOT_AVAILABLE",
        ),
        (
            CadesMaker(ocsp_der=PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT, status="revoked")),
            "INDETERMINATE/REVOKED_NO_POE",
        ),
        (
            CadesMaker(ocsp_der=PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT - timedelta(hours=1))),
            "INDETERMINATE/TRY_LATER",
        ),
        (
            CadesMaker(ocsp_der=PKI.ocsp(PKI.ca.certificate, at=SIGNED_AT)),
            "INDETERMINATE/CERTIFICATE_CHAIN_GENERAL_FAILURE",
        ),
        (
            CadesMaker(token_der=PKI.time_stamp(bytes(32), gen_at=SIGNED_AT)),
            "INDETERMINATE/SIG_CONSTRAINTS_FAILURE",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(maker: CadesMaker, expected: str) -> None:
    assert verdict(maker.simple(FILE)) == expected


def test_certificates_that_will_not_do() -> None:
    seal_only = PKI.issue(person("AUTH", "38001085718"), extensions=(key_usage(digital_signature=True),))
    assert verdict(CadesMaker(signer=seal_only).simple(FILE)) == "INDETERMINATE/CHAIN_CONSTRAINTS_FAILURE"
    lone = make_certificate(person("LONE", "38001085718"), new_key(), None, (key_usage(content_commitment=True),))
    assert verdict(CadesMaker(signer=lone).simple(FILE)) == "INDETERMINATE/NO_CERTIFICATE_CHAIN_FOUND"
    expired = PKI.issue(person("OLD", "38001085718"), not_before=AT - 60 * DAY, not_after=SIGNED_AT - DAY)
    assert verdict(CadesMaker(signer=expired).simple(FILE)) == "INDETERMINATE/OUT_OF_BOUNDS_NO_POE"


def test_a_unit_that_is_not_listed() -> None:
    unit = make_certificate(distinguished_name("TEST Unlisted Unit"), new_key(), PKI.root, UNIT_EXTENSIONS)
    container = CadesMaker(pki=replace(PKI, tsu=unit), signer=PKI.signer).simple(FILE)
    assert verdict(container) == "INDETERMINATE/NO_CERTIFICATE_CHAIN_FOUND"


def test_the_policy_is_asked() -> None:
    signer = PKI.issue(
        person("ADV", "38001085718"),
        extensions=(key_usage(content_commitment=True),),
    )
    container = CadesMaker(signer=signer).simple(FILE)
    assert verdict(container, policy=POLV3) == PASSED
    assert verdict(container, policy=POLV4) == "TOTAL-FAILED/"


@pytest.mark.parametrize("junk", [b"", b"junk", b"\x30\x80\x00\x00", b"\x30\x00", PKI.time_stamp(bytes(32), gen_at=AT)])
def test_a_signature_file_that_is_none(junk: bytes) -> None:
    assert verdict(changed(EXTENDED, {P7S: junk})) == "TOTAL-FAILED/FORMAT_FAILURE"


def test_several_signatures_are_judged_one_by_one() -> None:
    files = unpack(EXTENDED)
    second = files[MANIFEST].replace(b"signature001", b"signature002")
    container = changed(
        EXTENDED,
        {"META-INF/ASiCManifest002.xml": second, "META-INF/signature002.p7s": CadesMaker(level="B").sign(second)},
    )
    assert [signature.is_valid for signature in judge(container).signatures] == [True, False]


def test_the_report_carries_one_identifier_for_one_signature() -> None:
    (signature,) = judge(SIMPLE).signatures
    value = parse_cades(unpack(SIMPLE)["META-INF/signature.p7s"])[0].signer.signature
    assert signature.id == "S-" + hashlib.sha256(value).hexdigest().upper()


@settings(max_examples=150, deadline=None)
@given(damaged(CadesMaker().sign(FILE.content)))
def test_damaged_signature_files(data: bytes) -> None:
    only_raises(Malformed, lambda: parse_cades(data))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damaged_containers(data: st.DataObject) -> None:
    files = unpack(EXTENDED)
    name = data.draw(st.sampled_from([P7S, MANIFEST]))
    judge(changed(EXTENDED, {name: data.draw(damaged(files[name]))}))


def test_names_of_files_are_no_surprise() -> None:
    files = [DataFile("õ ä+b%.txt", "text/plain", b"x"), *FILES]
    assert verdict(CadesMaker().extended(files)) == PASSED


def test_statements_make_the_level() -> None:
    advanced = (key_usage(content_commitment=True), qc_statements(QC_COMPLIANCE, QC_TYPE_ESIGN))
    signer = PKI.issue(person("QC", "38001085718"), extensions=advanced)
    assert judge(CadesMaker(signer=signer).simple(FILE)).signatures[0].level == "ADESIG_QC"


@pytest.mark.parametrize(
    ("unit_is_listed", "over", "expected", "told"),
    [
        (True, None, ("TOTAL-PASSED", ""), []),
        (
            False,
            None,
            ("INDETERMINATE", "NO_CERTIFICATE_CHAIN_FOUND"),
            ["validation.archive_time_stamp_not_qualified"],
        ),
        (True, b"x", ("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE"), ["validation.archive_time_stamp_broken"]),
    ],
    ids=["that holds", "by a unit that nobody listed", "over something else"],
)
def test_a_token_over_the_signature_through_a_manifest(
    unit_is_listed: bool, over: bytes | None, expected: tuple[str, str], told: list[str]
) -> None:
    unit = None if unit_is_listed else make_unit(PKI, "TEST Stranger", since=AT - YEAR, until=AT + YEAR)
    container = CadesMaker().extended(FILES)
    covered = [name for name in unpack(container) if name != "mimetype"]
    objects = [DataObject(name, "", "sha256", hashlib.sha256(unpack(container)[name]).digest()) for name in covered]
    manifest = build_asic_manifest("META-INF/timestamp001.tst", objects)
    token = PKI.time_stamp(hashlib.sha256(over or manifest).digest(), gen_at=AT - timedelta(minutes=1), unit=unit)
    added = {"META-INF/ASiCArchiveManifest.xml": manifest, "META-INF/timestamp001.tst": token}
    (signature,) = judge(changed(container, added)).signatures
    assert (str(signature.indication), str(signature.sub_indication or "")) == expected
    assert [message.code for message in signature.messages] == told
    assert signature.signature_format == ("CAdES_BASELINE_LTA" if not told else "CAdES_BASELINE_LT")
    assert signature.level == ("QESIG" if not told else "INDETERMINATE_QESIG")
