"""Trusted lists: our own round trip, every way to tamper, lists of lists, services through time."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from digiid.formats.trusted_list import (
    CA_QC,
    GRANTED,
    NS_DS,
    NS_TSL,
    TSA_QTST,
    TYPE_LIST_OF_LISTS,
    WITHDRAWN,
    Criteria,
    ListedPeriod,
    ListedPointer,
    ListedService,
    Qualification,
    ServicePeriod,
    VerifiedTrust,
    build_trusted_list,
    check_current,
    granted_period,
    parse_trusted_list,
    qualifiers_for,
    resolve_trusted_lists,
    sign_trusted_list,
    verify_trusted_list,
)
from digiid.kernel.errors import DigiidError, Malformed, Refused
from tests.support.pki import AT, DAY, Identity, distinguished_name, key_usage, make_certificate, new_key, shared_pki

PKI = shared_pki()
LIST = PKI.trusted_list()
SIGNERS = [PKI.list_signer.certificate]


def other_signer() -> Identity:
    return make_certificate(
        distinguished_name("TEST Other Signer"), new_key(), None, (key_usage(digital_signature=True),)
    )


def code_of(xml: bytes, signers: list[x509.Certificate] | None = None) -> str:
    with pytest.raises(DigiidError) as caught:
        verify_trusted_list(xml, signers=SIGNERS if signers is None else signers)
    return caught.value.code


def test_what_is_built_and_signed_verifies_and_says_the_same() -> None:
    verified = verify_trusted_list(LIST, signers=SIGNERS)
    content = verified.content
    assert (content.version, content.sequence_number, content.territory) == (6, 1, "EE")
    assert "TEST" in content.scheme_name
    assert content.next_update_at == AT + 170 * DAY
    assert [service.name for service in content.services] == ["TEST CA", "TEST OCSP", "TEST TSA"]
    assert content.services[0].certificates_der == (PKI.ca.der,)
    assert content.services[0].periods[0].additional == ("ForeSignatures", "ForeSeals")
    check_current(verified, at=AT)


def test_a_list_that_does_not_say_test_is_not_built() -> None:
    with pytest.raises(Refused, match="not_test"):
        build_trusted_list(PKI.list_content(scheme_name="EE:The real list"))


def test_elements_stand_in_the_order_of_the_schema() -> None:
    scheme = etree.fromstring(LIST).find(f"{{{NS_TSL}}}SchemeInformation")
    assert scheme is not None
    assert [etree.QName(child).localname for child in scheme] == [
        "TSLVersionIdentifier",
        "TSLSequenceNumber",
        "TSLType",
        "SchemeOperatorName",
        "SchemeOperatorAddress",
        "SchemeName",
        "SchemeInformationURI",
        "StatusDeterminationApproach",
        "SchemeTypeCommunityRules",
        "SchemeTerritory",
        "PolicyOrLegalNotice",
        "HistoricalInformationPeriod",
        "ListIssueDateTime",
        "NextUpdate",
        "DistributionPoints",
    ]


@pytest.mark.parametrize("version", [5, 6])
def test_both_versions_are_read(version: int) -> None:
    assert verify_trusted_list(PKI.trusted_list(version=version), signers=SIGNERS).content.version == version


def test_other_versions_are_refused() -> None:
    assert code_of(PKI.trusted_list(version=4)) == "trusted_list.version"


def test_unsigned_tampered_and_foreign_lists_are_refused() -> None:
    unsigned = build_trusted_list(PKI.list_content())
    assert code_of(unsigned) == "trusted_list.unsigned"
    assert code_of(LIST.replace(b"TEST TSA", b"EVIL TSA")) == "trusted_list.digest"
    assert code_of(LIST.replace(b"SvcInfoExt/ForeSeals", b"SvcInfoExt/ForeSeal_")) == "trusted_list.digest"
    assert code_of(LIST, [other_signer().certificate]) == "trusted_list.signer"
    assert code_of(LIST, []) == "trusted_list.signer"
    other = other_signer()
    foreign = sign_trusted_list(unsigned, key=other.key, certificate=other.certificate)
    assert code_of(foreign) == "trusted_list.signer"
    assert verify_trusted_list(foreign, signers=[other.certificate]).signer == other.certificate


def test_a_stranger_who_shows_the_right_certificate_is_refused() -> None:
    forged = sign_trusted_list(
        build_trusted_list(PKI.list_content()), key=new_key("p256"), certificate=PKI.list_signer.certificate
    )
    assert code_of(forged) == "trusted_list.signature_value"


def test_the_signed_time_cannot_be_changed() -> None:
    assert (
        code_of(LIST.replace(b"<xades:SigningTime>2026-11-13", b"<xades:SigningTime>2026-11-12"))
        == "trusted_list.digest"
    )


def test_structure_that_could_be_read_twice_is_refused() -> None:
    doubled = LIST.replace(b"<TSLSequenceNumber>1<", b"<TSLSequenceNumber>9</TSLSequenceNumber><TSLSequenceNumber>1<")
    assert code_of(doubled) == "trusted_list.digest"
    with pytest.raises(Malformed, match="structure"):
        parse_trusted_list(doubled)
    signature = LIST[LIST.index(b"<ds:Signature ") : LIST.index(b"</ds:Signature>") + 15]
    assert code_of(LIST.replace(signature, signature * 2)) == "trusted_list.reference"
    assert code_of(LIST.replace(b'URI=""', b'URI="#TL-Signature"')) == "trusted_list.signature_value"
    assert code_of(b"<!DOCTYPE a>" + LIST.partition(b"\n")[2]) == "trusted_list.doctype"
    assert code_of(LIST.replace(b"<TSLType>", b"<TSLType><!-- x -->")) == "trusted_list.comment"


@pytest.mark.parametrize("edit", ["reference", "transform"])
def test_signatures_over_something_else_are_refused(edit: str) -> None:
    """Signed by the right key, but over less than the whole list."""
    from digiid.formats.hardened_xml import C14N_EXCLUSIVE, canonicalize
    from digiid.formats.xades.algorithms import choose_method, hash_bytes, sign_digest

    root = etree.fromstring(LIST)
    info = root.find(f"{{{NS_DS}}}Signature/{{{NS_DS}}}SignedInfo")
    value = root.find(f"{{{NS_DS}}}Signature/{{{NS_DS}}}SignatureValue")
    assert info is not None and value is not None
    reference = info.find(f"{{{NS_DS}}}Reference")
    assert reference is not None
    if edit == "reference":
        reference.set("URI", "#TL-Signature")
    else:
        reference[0][0].set("Algorithm", "http://www.w3.org/TR/1999/REC-xpath-19991116")
    import base64

    method = choose_method(PKI.list_signer.certificate.public_key())
    digest = hash_bytes(method.hash_name, canonicalize(info, C14N_EXCLUSIVE))
    value.text = base64.b64encode(sign_digest(method, PKI.list_signer.key, digest)).decode()
    assert code_of(etree.tostring(root)) == "trusted_list.reference"


def test_a_list_that_has_run_out_is_not_trusted() -> None:
    verified = verify_trusted_list(LIST, signers=SIGNERS)
    for at, code in ((AT + 171 * DAY, "trusted_list.expired"), (AT - 11 * DAY, "trusted_list.not_yet")):
        with pytest.raises(Refused) as caught:
            VerifiedTrust([verified], at=at)
        assert caught.value.code == code
    trust = VerifiedTrust([verified], at=AT)
    with pytest.raises(Refused, match="expired"):
        trust.check_current(at=AT + 171 * DAY)


# ------------------------------------------------------------------ lists of lists


def list_of_lists(signer: Identity, *pinned: x509.Certificate, territory: str = "EE") -> bytes:
    pointer = ListedPointer("http://127.0.0.1/tl.xml", territory, "TEST Operator", tuple(pinned))
    content = PKI.list_content(
        list_type=TYPE_LIST_OF_LISTS,
        territory="EU",
        scheme_name="EU:TEST list of lists",
        providers=(),
        pointers=(pointer,),
    )
    return sign_trusted_list(build_trusted_list(content), key=signer.key, certificate=signer.certificate)


def test_a_pointer_names_the_signers_of_the_list_it_points_to() -> None:
    top = other_signer()
    lists = resolve_trusted_lists(
        [LIST, list_of_lists(top, PKI.list_signer.certificate)], signers=[top.certificate], at=AT
    )
    assert {verified.content.territory for verified in lists} == {"EE", "EU"}


def test_a_pointer_to_another_signer_or_territory_does_not_help() -> None:
    top = other_signer()
    for pointing in (
        list_of_lists(top, other_signer().certificate),
        list_of_lists(top, PKI.list_signer.certificate, territory="FI"),
    ):
        with pytest.raises(Refused, match="signer"):
            resolve_trusted_lists([LIST, pointing], signers=[top.certificate], at=AT)


def test_an_unverified_list_of_lists_pins_nobody() -> None:
    forged = list_of_lists(other_signer(), PKI.list_signer.certificate)
    with pytest.raises(Refused, match="signer"):
        resolve_trusted_lists([LIST, forged], signers=[other_signer().certificate], at=AT)


def test_a_national_list_cannot_vouch_for_another() -> None:
    top = other_signer()
    pointer = ListedPointer("http://127.0.0.1/x", "EE", "TEST Operator", (PKI.list_signer.certificate,))
    generic = sign_trusted_list(
        build_trusted_list(PKI.list_content(territory="FI", pointers=(pointer,))),
        key=top.key,
        certificate=top.certificate,
    )
    with pytest.raises(Refused, match="signer"):
        resolve_trusted_lists([LIST, generic], signers=[top.certificate], at=AT)


# ------------------------------------------------------------------ services through time


def test_a_service_is_what_it_was_at_the_time() -> None:
    changed_at = AT - 5 * DAY
    service = ListedService(
        CA_QC, "TEST CA", PKI.ca.certificate, WITHDRAWN, changed_at, (ListedPeriod(GRANTED, AT - 100 * DAY),)
    )
    trust = PKI.trust(services=[service])
    (item,) = trust.find_services(PKI.ca.der, service_type=CA_QC)
    assert granted_period(item.service, (CA_QC,), AT) is None
    assert granted_period(item.service, (CA_QC,), changed_at) is None
    assert granted_period(item.service, (CA_QC,), changed_at - timedelta(seconds=1)) is not None
    assert granted_period(item.service, (CA_QC,), AT - 101 * DAY) is None
    assert granted_period(item.service, (TSA_QTST,), changed_at - DAY) is None


def test_issuers_are_found_by_name_and_key_identifier() -> None:
    trust = PKI.trust()
    name = PKI.ca.certificate.subject.public_bytes()
    assert len(trust.find_issuers(name, key_identifier=None, service_type=CA_QC)) == 1
    assert trust.find_issuers(name, key_identifier=b"other", service_type=CA_QC) == []
    assert trust.find_issuers(name, key_identifier=None, service_type=TSA_QTST) == []
    assert trust.find_issuers(b"0\x00", key_identifier=None, service_type=CA_QC) == []


def test_a_certificate_that_cannot_be_read_is_not_trusted_and_does_not_spoil_the_list() -> None:
    import base64

    content = build_trusted_list(PKI.list_content())
    broken = content.replace(base64.b64encode(PKI.tsu.der), base64.b64encode(b"not a certificate"))
    signed = sign_trusted_list(broken, key=PKI.list_signer.key, certificate=PKI.list_signer.certificate)
    trust = VerifiedTrust([verify_trusted_list(signed, signers=SIGNERS)], at=AT)
    assert trust.unreadable == 1
    assert len(trust.find_services(PKI.ca.der, service_type=CA_QC)) == 1


def criteria(mode: str, **changes: object) -> Criteria:
    values: dict[str, object] = {"key_usages": (), "policy_sets": (), "nested": (), "has_unknown": False}
    return Criteria(mode=mode, **{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "meets"),
    [
        (criteria("all", key_usages=((("nonRepudiation", True),),)), True),
        (criteria("all", key_usages=((("nonRepudiation", True), ("digitalSignature", True)),)), False),
        (criteria("atLeastOne", key_usages=((("digitalSignature", True),), (("nonRepudiation", True),))), True),
        (criteria("none", key_usages=((("digitalSignature", True),),)), True),
        (criteria("all", policy_sets=(("1.2.3",),)), True),
        (criteria("all", policy_sets=(("1.2.3", "9.9"),)), False),
        (criteria("all"), False),
        (criteria("all", policy_sets=(("1.2.3",),), has_unknown=True), False),
        (criteria("none", has_unknown=True), False),
        (criteria("all", nested=(criteria("all", policy_sets=(("1.2.3",),)),)), True),
    ],
)
def test_qualifiers_apply_to_the_certificates_that_meet_the_criteria(rule: Criteria, meets: bool) -> None:
    period = ServicePeriod(CA_QC, GRANTED, datetime(2020, 1, 1, tzinfo=UTC), (Qualification(("QCWithQSCD",), rule),))
    found = qualifiers_for(period, key_usage=frozenset({1}), policies=("1.2.3",))
    assert found == ({"QCWithQSCD"} if meets else frozenset())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_only_malformed_and_refused_escape_from_damaged_lists(data: st.DataObject) -> None:
    damaged = bytearray(LIST)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    if bytes(damaged) == LIST:
        return
    try:
        parse_trusted_list(bytes(damaged))
    except Malformed:
        pass
    try:
        verified = verify_trusted_list(bytes(damaged), signers=SIGNERS)
    except (Malformed, Refused):
        return
    assert verified.content == verify_trusted_list(LIST, signers=SIGNERS).content
