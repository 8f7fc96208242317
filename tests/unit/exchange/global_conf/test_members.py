import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from digiid.exchange.global_conf.members import read_member
from digiid.formats.x509.parts import CertificateParts, parts_of
from digiid.kernel.errors import Refused
from digiid.kernel.identifiers import MemberId
from tests.support.pki import make_certificate, new_key

KEY = new_key("p256")
OIDS = {
    "C": NameOID.COUNTRY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "CN": NameOID.COMMON_NAME,
    "SN": NameOID.SERIAL_NUMBER,
    "BC": NameOID.BUSINESS_CATEGORY,
    "ID": ObjectIdentifier("2.5.4.97"),
}


def subject(**values: str) -> CertificateParts:
    name = x509.Name([x509.NameAttribute(OIDS[key], value) for key, value in values.items()])
    return parts_of(make_certificate(name, KEY, None, ()).certificate)


def read(rule: str, **values: str) -> MemberId:
    return read_member(subject(**values), profile=f"ee.ria.{rule}CertificateProfileInfoProvider", instance="XX")


def test_the_basic_rule() -> None:
    assert read("Basic", BC="GOV", SN="70000101", CN="Board") == MemberId("XX", "GOV", "70000101")


def test_the_rule_of_ejbca() -> None:
    assert read("Ejbca", C="AA", O="GOV", CN="foo") == MemberId("AA", "GOV", "foo")


def test_the_finnish_rule() -> None:
    values = {"C": "FI", "O": "x", "SN": "DEV/ss2/COM", "CN": "4321"}
    assert read("FiVRK", **values) == MemberId("DEV", "COM", "4321")
    for change in ({"C": "SE"}, {"SN": "DEV/COM"}, {"SN": "DEV/a/b/COM"}, {"SN": "DEV//"}, {"SN": "../a/COM"}):
        with pytest.raises(Refused):
            read("FiVRK", **(values | change))
    with pytest.raises(Refused):
        read("FiVRK", **{key: value for key, value in values.items() if key != "O"})


@pytest.mark.parametrize(
    ("identifier", "member"),
    [
        ("NTREE-12345678", ("COM", "12345678")),
        ("GO:EE-70000101", ("GOV", "70000101")),
        ("NP:EE-80000001", ("NGO", "80000001")),
        ("NTRFI-1234567-8", ("NEE", "NTRFI-1234567-8")),
    ],
)
def test_the_estonian_rule(identifier: str, member: tuple[str, str]) -> None:
    assert read("SkKlass3", ID=identifier, SN="1") == MemberId("XX", *member)


@pytest.mark.parametrize(("code", "member_class"), [("16543212", "COM"), ("70000101", "GOV"), ("90000101", "NGO")])
def test_the_estonian_rule_for_older_certificates(code: str, member_class: str) -> None:
    assert read("SkKlass3", SN=code) == MemberId("XX", member_class, code)


@pytest.mark.parametrize("code", ["06543212", "1654321", "165432123", "1654321x"])
def test_tm02_a_serial_number_that_is_no_register_code_names_nobody(code: str) -> None:
    with pytest.raises(Refused) as refused:
        read("SkKlass3", SN=code)
    assert refused.value.code == "exchange.trust.member"


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("Basic", {"BC": "GOV", "CN": "x"}),
        ("Basic", {"SN": "1", "CN": "x"}),
        ("Basic", {"BC": "GOV/X", "SN": "1"}),
        ("Ejbca", {"C": "AA", "O": "GOV"}),
        ("SkKlass3", {"ID": "GO:EE-"}),
        ("SkKlass3", {"CN": "x"}),
    ],
)
def test_tm02_a_name_that_lacks_something_names_nobody(rule: str, values: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        read(rule, **values)
    assert refused.value.code == "exchange.trust.member"


def test_tm02_an_attribute_that_stands_twice_names_nobody() -> None:
    name = x509.Name([x509.NameAttribute(OIDS[key], value) for key, value in (("BC", "A"), ("BC", "B"), ("SN", "1"))])
    parts = parts_of(make_certificate(name, KEY, None, ()).certificate)
    with pytest.raises(Refused):
        read_member(parts, profile="BasicCertificateProfileInfoProvider", instance="XX")


@pytest.mark.parametrize("rule", ["Is", "Fo", "SkEsteId", "", "basic"])
def test_tm02_a_rule_that_is_not_known_names_nobody(rule: str) -> None:
    with pytest.raises(Refused) as refused:
        read(rule, BC="GOV", SN="1", CN="x")
    assert refused.value.code == "exchange.trust.profile"
