"""Names, policies, serial numbers and validity of certificates, and what is read back from them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats.x509.parts import certificate_der, parse_parts, parts_of
from digiid.formats.x509.profile import (
    MAX_LEAF_BYTES,
    NCP,
    NCP_PLUS,
    QC_SSCD,
    QCP_N,
    QCP_N_QSCD,
    CertificateKind,
    DocumentPolicy,
    HierarchyNames,
    HierarchyProfile,
    Holder,
    document_policy,
    end_of_day_in_tallinn,
    has_policy,
    holder_names,
    personal_code,
    serial_number_from,
)
from digiid.kernel.errors import Malformed, Refused
from tests.unit.formats.fuzz import damaged, only_raises
from tests.unit.formats.x509.hierarchy import HONEST_NAMES, SmallHierarchy


@given(st.dates(date(2024, 1, 1), date(2060, 12, 31)))
def test_the_last_second_of_a_day_is_that_of_the_time_zone_database(day: date) -> None:
    local = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=ZoneInfo("Europe/Tallinn"))
    if day.year < 2037 or local.utcoffset() is not None:
        assert end_of_day_in_tallinn(day) == local.astimezone(UTC)


@given(st.binary(min_size=16, max_size=16))
def test_serial_numbers_have_sixteen_bytes_and_are_positive(random_bytes: bytes) -> None:
    number = serial_number_from(random_bytes)
    assert number > 0 and number.bit_length() == 127


def test_document_policies_are_those_of_the_official_test_arc() -> None:
    assert DocumentPolicy.CITIZEN.oid == "1.3.6.1.4.1.51361.1.2.1"
    assert DocumentPolicy.E_RESIDENT.oid == "1.3.6.1.4.1.51361.1.2.4"


@pytest.mark.parametrize("policy", list(DocumentPolicy))
def test_a_leaf_tells_its_document_person_and_names(pki: SmallHierarchy, policy: DocumentPolicy) -> None:
    holder = Holder("60001019906", "O’CONNEŽ-ŠUSLIK", "MARY ÄNN")
    for kind in (CertificateKind.AUTHENTICATION, CertificateKind.SIGNATURE):
        certificate = pki.leaf(kind, holder, policy).certificate
        assert document_policy(certificate) is policy
        assert personal_code(certificate) == "60001019906"
        assert holder_names(certificate) == ("MARY ÄNN", "O’CONNEŽ-ŠUSLIK")


def test_a_certificate_that_is_no_documents_has_no_document_policy(pki: SmallHierarchy) -> None:
    assert document_policy(pki.tsu.certificate) is None
    with pytest.raises(Malformed, match=r"x509\.personal_code"):
        personal_code(pki.tsu.certificate)


def test_device_claims_are_made_in_a_hierarchy_named_test(pki: SmallHierarchy) -> None:
    assert has_policy(pki.authentication.certificate, NCP_PLUS)
    assert has_policy(pki.signature.certificate, QCP_N_QSCD)
    assert pki.profile.claims_device


def test_no_device_claims_are_made_outside_test() -> None:
    honest = SmallHierarchy(names=HONEST_NAMES)
    assert has_policy(honest.authentication.certificate, NCP) and not has_policy(
        honest.authentication.certificate, NCP_PLUS
    )
    assert has_policy(honest.signature.certificate, QCP_N)
    assert not has_policy(honest.signature.certificate, QCP_N_QSCD)
    statements = parts_of(honest.signature.certificate).extensions["1.3.6.1.5.5.7.1.3"].value
    assert bytes.fromhex("06060400 8e460104".replace(" ", "")) not in statements
    assert QC_SSCD.endswith(".1.4")


def test_one_member_without_test_in_its_name_ends_the_device_claims() -> None:
    names = HierarchyNames(issuing_ca="Digiid Issuing CA")
    assert not HierarchyProfile(names, "http://x", "https://x").claims_device


def test_leaves_fit_the_chip(pki: SmallHierarchy) -> None:
    long_names = Holder("60001019906", "Ü" * 100, "Õ" * 100)
    for kind in (CertificateKind.AUTHENTICATION, CertificateKind.SIGNATURE):
        assert len(certificate_der(pki.leaf(kind, long_names).certificate)) <= MAX_LEAF_BYTES


@given(st.integers(1, 99), st.integers(0, 99))
def test_common_names_never_pass_their_limit_and_keep_the_code(surname: int, given_names: int) -> None:
    holder = Holder("60001019906", "SÜ" * (surname // 2) + "S", "GÕ" * (given_names // 2))
    assert len(holder.common_name.encode()) <= 64
    assert holder.common_name.startswith("S") and holder.common_name.endswith(",60001019906")


def test_a_person_with_one_name_has_no_given_name(pki: SmallHierarchy) -> None:
    certificate = pki.leaf(CertificateKind.SIGNATURE, Holder("60001019906", "SUKARNO", "")).certificate
    assert holder_names(certificate) == ("", "SUKARNO")
    assert parts_of(certificate).subject_value("2.5.4.3") == "SUKARNO,60001019906"


@pytest.mark.parametrize(
    ("code", "surname", "given_names"),
    [
        ("3800108571", "TAMM", "JAAN"),
        ("38001085718", "Tamm", "JAAN"),
        ("38001085718", "", "JAAN"),
        ("38001085718", "TAMM,PEETER", "JAAN"),
        ("38001085718", "TAMM", "JAAN\x00"),
        ("38001085718", "TAMM", "JAAN=CN"),
        ("38001085718", "A\u030aS", "JAAN"),
        ("38001085718", "T" * 101, "JAAN"),
    ],
)
def test_names_that_could_be_mistaken_are_refused(code: str, surname: str, given_names: str) -> None:
    with pytest.raises(Refused, match=r"trust\.profile"):
        Holder(code, surname, given_names)


def test_validity_ends_with_the_last_second_in_tallinn(pki: SmallHierarchy) -> None:
    certificate = pki.signature.certificate
    assert certificate.not_valid_after_utc == datetime(2031, 11, 22, 21, 59, 59, tzinfo=UTC)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(days=5 * 366)


def test_parts_agree_with_the_library(pki: SmallHierarchy) -> None:
    for member in (pki.root, pki.issuing, pki.responder, pki.tsu, pki.authentication, pki.signature):
        certificate, parts = member.certificate, parts_of(member.certificate)
        assert parts.tbs_der == certificate.tbs_certificate_bytes
        assert parts.serial_number == certificate.serial_number
        assert parts.subject_der == certificate.subject.public_bytes()
        assert parts.issuer_der == certificate.issuer.public_bytes()
        assert (parts.not_before_at, parts.not_after_at) == (
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )
        assert parts.signature == certificate.signature
        assert {oid: extension.critical for oid, extension in parts.extensions.items()} == {
            extension.oid.dotted_string: extension.critical for extension in certificate.extensions
        }
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert parts.basic_constraints() == (constraints.ca, constraints.path_length)


@given(st.data())
def test_damaged_certificates_raise_only_malformed(pki: SmallHierarchy, data: st.DataObject) -> None:
    valid = _valid(pki)
    encoded = data.draw(damaged(valid))

    def read() -> None:
        parts = parse_parts(encoded)
        parts.basic_constraints()
        parts.key_usage()
        parts.extended_key_usage()
        parts.policies()
        parts.subject_key_identifier()
        parts.authority_key_identifier()
        parts.subject_value("2.5.4.5")

    only_raises(Malformed, read)


def _valid(pki: SmallHierarchy) -> bytes:
    return certificate_der(pki.authentication.certificate)
