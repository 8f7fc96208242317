"""TM-02 of X-Road's threat model: certificates that are not who they seem, and everything OCSP can say about them."""

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from digiid.exchange.global_conf import GlobalConf
from digiid.exchange.security_server.peers import choose_servers
from digiid.formats.global_conf import (
    CaInfo,
    GlobalGroup,
    OcspResponder,
    OptionalParts,
    SecurityServer,
    SharedParams,
    build_shared_params,
)
from digiid.formats.x509.parts import certificate_der
from digiid.kernel.errors import Refused, Unavailable
from digiid.kernel.identifiers import ClientId, MemberId
from tests.support.global_conf import (
    AUTHENTICATION,
    BANK,
    BOARD,
    INSTANCE,
    LOANS,
    PKI,
    POLICE,
    PRIVATE,
    SIGNING,
    STATE,
    approved_ca,
    authentication,
    member_name,
    ocsp_of,
    params,
    signing,
)
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    DAY,
    RESPONDER_EXTENSIONS,
    distinguished_name,
    key_usage,
    make_certificate,
    new_key,
)

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
ROGUE = make_certificate(PKI.ca.certificate.subject, new_key("p256"), None, CA_EXTENSIONS)

HUGE = make_certificate(
    distinguished_name("TEST Huge"),
    new_key("p256"),
    None,
    ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(8000)), False),),
)


def conf_of(shared: SharedParams | None = None, **optional: object) -> GlobalConf:
    shared = shared or params()
    return GlobalConf(
        shared,
        shared_xml=build_shared_params(shared),
        version=6,
        expires_at=AT + HOUR,
        fetched_at=AT,
        optional=OptionalParts(**optional),  # type: ignore[arg-type]
    )


CONF = conf_of()


def sign_ok(
    certificate: x509.Certificate,
    *,
    conf: GlobalConf = CONF,
    ocsp: list[bytes] | None = None,
    member: MemberId = BOARD,
    at: datetime = AT,
    extra: tuple[x509.Certificate, ...] = (),
) -> None:
    conf.verify_signer(
        certificate,
        extra_certificates=extra,
        ocsp_ders=ocsp_of(certificate) if ocsp is None else ocsp,
        member=member,
        at=at,
    )


def refused(code: str, certificate: x509.Certificate, **how: object) -> None:
    with pytest.raises(Refused) as error:
        sign_ok(certificate, **how)  # type: ignore[arg-type]
    assert error.value.code == f"exchange.trust.{code}"


# ------------------------------------------------------------------ who is there


def test_a_server_whose_address_is_none_is_not_asked_and_the_others_are() -> None:
    here = SecurityServer(STATE, "127.0.0.1", clients=frozenset({POLICE}))
    odd = SecurityServer(PRIVATE, "https://www.foo.com/bar", clients=frozenset({POLICE}))

    def chosen(*servers: SecurityServer) -> list[SecurityServer]:
        conf = GlobalConf(params(servers=servers), shared_xml=b"", version=6, expires_at=AT + HOUR, fetched_at=AT)
        return choose_servers(conf, POLICE, wanted=None)

    assert chosen(odd, here) == [here]
    with pytest.raises(Unavailable, match="has an address"):
        chosen(odd)


def test_members_servers_and_groups_are_found() -> None:
    assert CONF.is_member(BOARD) and CONF.is_member(POLICE)
    assert not CONF.is_member(MemberId(INSTANCE, "GOV", "1")) and not CONF.is_member(MemberId("X", "GOV", "70000101"))
    assert CONF.name_of(POLICE) == CONF.name_of(BOARD) == "Police & Border <Board>"
    assert (CONF.subsystem_name_of(POLICE), CONF.subsystem_name_of(LOANS)) == ("Documents", None)
    assert [server.id for server in CONF.servers_of(LOANS)] == [PRIVATE]
    assert [server.id for server in CONF.servers_of(BANK)] == [PRIVATE]  # the owner, without being listed
    assert CONF.servers_of(ClientId(INSTANCE, "COM", "10000201", "cards")) == ()
    assert CONF.is_client_of(POLICE, STATE) and CONF.is_client_of(BOARD, STATE)
    assert not CONF.is_client_of(POLICE, PRIVATE) and not CONF.is_client_of(BANK, STATE)


def test_a_group_lists_exactly_whom_it_lists() -> None:
    assert CONF.is_in_group(POLICE, "registers") and CONF.is_in_group(BANK, "registers")
    assert not CONF.is_in_group(LOANS, "registers")  # its member is listed, it is not
    assert not CONF.is_in_group(BOARD, "registers") and not CONF.is_in_group(POLICE, "none")


def test_tm04_whoever_is_taken_out_of_a_group_is_out() -> None:
    after = conf_of(params(groups=(GlobalGroup("registers", "", frozenset({BANK})),)))
    assert CONF.is_in_group(POLICE, "registers") and not after.is_in_group(POLICE, "registers")


# ------------------------------------------------------------------ signers


def test_a_members_signing_certificate_is_accepted() -> None:
    for _ in range(2):  # the second time from memory
        sign_ok(signing(BOARD).certificate)


def test_tm02_another_members_certificate_is_refused() -> None:
    refused("member", signing(BANK).certificate)
    refused("member", signing(BOARD).certificate, member=MemberId("OTHER", "GOV", "70000101"))


def test_tm02_the_name_rule_is_the_one_of_the_issuing_authority() -> None:
    rule = "ee.ria.xroad.common.certificateprofile.impl.EjbcaCertificateProfileInfoProvider"
    conf = conf_of(params(approved_cas=(approved_ca(certificate_profile=rule),)))
    certificate = signing(BOARD).certificate
    refused("member", certificate, conf=conf)
    sign_ok(certificate, conf=conf, member=MemberId("EE", "TEST", "TEST 70000101"))


def test_tm02_an_unknown_name_rule_is_refused() -> None:
    conf = conf_of(params(approved_cas=(approved_ca(certificate_profile="org.evil.AnyProvider"),)))
    refused("profile", signing(BOARD).certificate, conf=conf)


def test_tm02_a_wrong_key_usage_is_refused() -> None:
    for extensions in ((key_usage(digital_signature=True),), AUTHENTICATION, ()):
        refused("usage", PKI.issue(member_name(BOARD), kind="p256", extensions=extensions).certificate)


def test_tm02_an_authority_of_the_same_name_is_refused() -> None:
    certificate = make_certificate(member_name(BOARD), new_key("p256"), ROGUE, SIGNING).certificate
    refused("path", certificate, ocsp=[])
    refused("path", certificate, ocsp=[], extra=(ROGUE.certificate,))


def test_tm02_an_authority_that_is_not_approved_is_refused() -> None:
    stranger = make_certificate(distinguished_name("TEST Stranger"), new_key("p256"), None, CA_EXTENSIONS)
    certificate = make_certificate(member_name(BOARD), new_key("p256"), stranger, SIGNING).certificate
    refused("authority", certificate, ocsp=[])
    refused("authority", certificate, ocsp=[], extra=(stranger.certificate,))


def test_tm02_an_authority_for_authentication_alone_signs_for_nobody() -> None:
    conf = conf_of(params(approved_cas=(approved_ca(is_authentication_only=True),)))
    refused("authority", signing(BOARD).certificate, conf=conf)
    certificate = authentication(STATE).certificate
    conf.verify_authentication(certificate, ocsp_ders=ocsp_of(certificate), at=AT)


def test_tm02_a_certificate_counts_while_it_is_valid_also_from_memory() -> None:
    certificate = PKI.issue(
        member_name(BOARD), kind="p256", extensions=SIGNING, not_before=AT, not_after=AT + HOUR
    ).certificate
    for at in (AT, AT + HOUR):
        sign_ok(certificate, at=at, ocsp=ocsp_of(certificate, at=at))
    for at in (AT - SECOND, AT + HOUR + SECOND):
        refused("path", certificate, at=at, ocsp=ocsp_of(certificate, at=at))
        refused("path", certificate, at=at, ocsp=ocsp_of(certificate, at=at), conf=conf_of())


def test_intermediates_may_come_with_the_signature() -> None:
    conf = conf_of(params(approved_cas=(approved_ca(intermediates=()),)))
    certificate = signing(BOARD).certificate
    refused("authority", certificate, conf=conf)
    sign_ok(certificate, conf=conf, extra=(PKI.ca.certificate,))
    refused("authority", certificate, conf=conf)  # not even when the path is remembered
    refused("path", certificate, conf=conf_of(conf.shared), extra=(PKI.ca.certificate,) * 9)


def test_tm08_what_comes_along_does_not_fill_the_memory() -> None:
    conf = conf_of()
    certificate = signing(BOARD).certificate
    leaf, above = ocsp_of(certificate)
    padded = PKI.ocsp(certificate, at=AT, include=[PKI.responder] + [PKI.tsu] * 7)
    for extra in ((), (ROGUE.certificate,), (PKI.tsu.certificate, PKI.root.certificate)):
        sign_ok(certificate, conf=conf, extra=extra, ocsp=[leaf, above])
    assert len(conf._judge._paths._known) == 1
    huge = PKI.ocsp(certificate, at=AT, include=[PKI.responder] + [HUGE] * 3)
    before = len(conf._judge._responses._known)
    sign_ok(certificate, conf=conf, ocsp=[padded, above])
    sign_ok(certificate, conf=conf, ocsp=[huge, above])
    assert len(huge) > 8192 >= len(padded) and len(conf._judge._responses._known) == before + 1


def test_the_issuing_authority_may_be_the_topmost_that_is_approved() -> None:
    conf = conf_of(params(approved_cas=(approved_ca(top=CaInfo(PKI.ca.certificate), intermediates=()),)))
    certificate = signing(BOARD).certificate
    sign_ok(certificate, conf=conf, ocsp=[PKI.ocsp(certificate, at=AT)])
    assert conf.chain_of(certificate) == [certificate]


# ------------------------------------------------------------------ OCSP


def test_every_certificate_but_the_topmost_needs_a_response_in_any_order() -> None:
    certificate = signing(BOARD).certificate
    both = ocsp_of(certificate)
    sign_ok(certificate, ocsp=both[::-1])
    for some in ([], both[:1], both[1:], ocsp_of(signing(BANK).certificate)):
        refused("ocsp_missing", certificate, ocsp=some)


@pytest.mark.parametrize("status", ["revoked", "unknown"])
def test_tm02_a_certificate_that_is_not_good_is_refused(status: str) -> None:
    certificate = signing(BOARD).certificate
    bad = ocsp_of(certificate, status=status)
    for conf in (conf_of(), CONF):
        refused("ocsp_status", certificate, ocsp=bad, conf=conf)
    # a good answer beside it does not help
    refused("ocsp_status", certificate, ocsp=[*bad, *ocsp_of(certificate)])


@pytest.mark.parametrize("status", ["revoked", "unknown"])
def test_tm02_an_old_answer_that_it_was_not_good_is_refused_for_its_age(status: str) -> None:
    certificate, at = signing(BOARD).certificate, AT + HOUR
    conf = conf_of(params(ocsp_freshness_seconds=60))
    old = ocsp_of(certificate, at=at - 61 * SECOND, status=status)
    refused("ocsp_outdated", certificate, conf=conf, ocsp=old, at=at)
    # a good answer behind it does not help
    refused("ocsp_outdated", certificate, conf=conf, ocsp=[*old, *ocsp_of(certificate, at=at)], at=at)
    young = ocsp_of(certificate, at=at - 60 * SECOND, status=status)
    refused("ocsp_status", certificate, conf=conf, ocsp=young, at=at)


def test_tm02_a_revoked_authority_is_refused() -> None:
    certificate = signing(BOARD).certificate
    bad = PKI.ocsp(PKI.ca.certificate, at=AT, status="revoked", issuer=PKI.root, responder=PKI.root)
    refused("ocsp_status", certificate, ocsp=[ocsp_of(certificate)[0], bad])


def test_tm10_a_response_is_fresh_for_the_seconds_of_the_configuration_also_from_memory() -> None:
    conf = conf_of(params(ocsp_freshness_seconds=60))
    certificate = signing(BOARD).certificate
    responses = ocsp_of(certificate)
    sign_ok(certificate, conf=conf, ocsp=responses, at=AT + 60 * SECOND)
    refused("ocsp_outdated", certificate, conf=conf, ocsp=responses, at=AT + 60 * SECOND + TICK)
    sign_ok(certificate, conf=conf, ocsp=ocsp_of(certificate, at=AT + 60 * SECOND), at=AT + 61 * SECOND)


def test_a_fresh_response_beside_an_old_one_will_do() -> None:
    conf = conf_of(params(ocsp_freshness_seconds=60))
    certificate = signing(BOARD).certificate
    at = AT + HOUR
    sign_ok(certificate, conf=conf, ocsp=[*ocsp_of(certificate), *ocsp_of(certificate, at=at)], at=at)


def test_a_response_from_the_future_is_refused() -> None:
    certificate = signing(BOARD).certificate
    sign_ok(certificate, ocsp=ocsp_of(certificate, at=AT + 60 * SECOND))
    refused("ocsp_outdated", certificate, ocsp=ocsp_of(certificate, at=AT + 121 * SECOND))


def test_next_update_counts_unless_the_configuration_says_otherwise() -> None:
    certificate = signing(BOARD).certificate
    responses = ocsp_of(certificate, next_update=AT + 60 * SECOND)
    sign_ok(certificate, ocsp=responses, at=AT + 60 * SECOND)
    refused("ocsp_outdated", certificate, ocsp=responses, at=AT + 61 * SECOND)
    sign_ok(certificate, ocsp=responses, at=AT + 61 * SECOND, conf=conf_of(verify_next_update=False))


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_both_hashes_of_certificate_ids_are_read(hash_name: str) -> None:
    certificate = signing(BOARD).certificate
    sign_ok(certificate, ocsp=ocsp_of(certificate, hash_name=hash_name))


def test_who_may_answer_the_authority_its_delegate_and_whom_the_configuration_names() -> None:
    certificate = signing(BOARD).certificate
    sign_ok(certificate, ocsp=ocsp_of(certificate, responder=PKI.ca))
    named = make_certificate(distinguished_name("TEST Named"), new_key(), None, (key_usage(digital_signature=True),))
    answers = ocsp_of(certificate, responder=named)
    refused("ocsp", certificate, ocsp=answers)
    info = CaInfo(PKI.ca.certificate, (OcspResponder("http://o.test", named.certificate),))
    sign_ok(certificate, ocsp=answers, conf=conf_of(params(approved_cas=(approved_ca(intermediates=(info,)),))))
    # named for another authority is not named for this one
    top = CaInfo(PKI.root.certificate, info.ocsp)
    refused("ocsp", certificate, ocsp=answers, conf=conf_of(params(approved_cas=(approved_ca(top=top),))))


def test_tm02_a_responder_without_its_usage_or_of_another_authority_is_refused() -> None:
    certificate = signing(BOARD).certificate
    plain = make_certificate(distinguished_name("TEST P"), new_key(), PKI.ca, (key_usage(digital_signature=True),))
    other = make_certificate(distinguished_name("TEST O"), new_key(), PKI.root, RESPONDER_EXTENSIONS)
    for responder in (plain, other):
        refused("ocsp", certificate, ocsp=ocsp_of(certificate, responder=responder))


def test_tm08_responses_are_few_and_readable() -> None:
    certificate = signing(BOARD).certificate
    refused("ocsp", certificate, ocsp=ocsp_of(certificate) * 9)
    refused("ocsp", certificate, ocsp=[b"\x30\x80", *ocsp_of(certificate)])
    refused("ocsp_missing", certificate, ocsp=[])


def test_a_response_is_judged_before_it_is_kept() -> None:
    certificate = signing(BOARD).certificate
    good = CONF.check_response(ocsp_of(certificate)[0], certificate=certificate, issuer=PKI.ca.certificate, at=AT)
    assert good.this_update_at == AT
    with pytest.raises(Refused) as error:
        CONF.check_response(b"", certificate=certificate, issuer=PKI.ca.certificate, at=AT)
    assert error.value.code == "exchange.trust.ocsp"


# ------------------------------------------------------------------ authentication


def test_the_server_of_a_registered_certificate_is_found() -> None:
    certificate = authentication(STATE).certificate
    server = CONF.verify_authentication(certificate, ocsp_ders=ocsp_of(certificate), at=AT)
    assert server.id == STATE
    assert CONF.server_of_authentication_certificate(certificate_der(certificate)) == server


def test_tm02_a_certificate_that_is_not_registered_is_refused() -> None:
    name = authentication(STATE).certificate.subject
    certificate = PKI.issue(name, kind="p256", extensions=AUTHENTICATION).certificate
    with pytest.raises(Refused) as error:
        CONF.verify_authentication(certificate, ocsp_ders=ocsp_of(certificate), at=AT)
    assert error.value.code == "exchange.trust.unregistered"


@pytest.mark.parametrize(
    ("extensions", "is_good"),
    [
        ((key_usage(digital_signature=True),), True),
        ((key_usage(key_encipherment=True),), True),
        ((key_usage(data_encipherment=True),), True),
        ((key_usage(content_commitment=True),), False),
        ((key_usage(key_agreement=True),), False),
        ((), False),
        ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False), True),
        ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False), False),
    ],
)
def test_tm02_the_usage_of_an_authentication_certificate(extensions: tuple, is_good: bool) -> None:
    if extensions and isinstance(extensions[0], x509.ExtendedKeyUsage):
        extensions = (extensions, key_usage(digital_signature=True))
    certificate = PKI.issue(member_name(BOARD), kind="p256", extensions=extensions).certificate
    if is_good:
        CONF.check_path(certificate, is_signing=False, at=AT)
        return
    with pytest.raises(Refused) as error:
        CONF.check_path(certificate, is_signing=False, at=AT)
    assert error.value.code == "exchange.trust.usage"


def test_tm02_a_revoked_authentication_certificate_is_refused() -> None:
    certificate = authentication(STATE).certificate
    with pytest.raises(Refused) as error:
        CONF.verify_authentication(certificate, ocsp_ders=ocsp_of(certificate, status="revoked"), at=AT)
    assert error.value.code == "exchange.trust.ocsp_status"


# ------------------------------------------------------------------ time-stamping units, chains


def test_a_time_stamping_unit_is_an_approved_one_byte_for_byte() -> None:
    CONF.verify_time_stamping_unit(PKI.tsu.certificate, AT)
    twin = make_certificate(PKI.tsu.certificate.subject, PKI.tsu.key, PKI.root, ())
    for certificate, at in ((twin.certificate, AT), (PKI.tsu.certificate, AT + 5000 * DAY)):
        with pytest.raises(Refused) as error:
            CONF.verify_time_stamping_unit(certificate, at)
        assert error.value.code == "exchange.trust.time_stamping_unit"


def test_the_chain_that_ocsp_is_asked_about() -> None:
    certificate = signing(BOARD).certificate
    assert CONF.chain_of(certificate) == [certificate, PKI.ca.certificate]
    assert CONF.issuer_of(certificate).certificate == PKI.ca.certificate
    assert CONF.issuer_of(certificate).ocsp[0].url == "http://127.0.0.1:18080/ocsp"
    assert CONF.tls_roots() == [PKI.root.certificate, PKI.ca.certificate]
    stranger = make_certificate(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]), new_key("p256"), None, ()
    ).certificate
    for ask in (CONF.chain_of, CONF.issuer_of):
        with pytest.raises(Refused) as error:
            ask(stranger)
        assert error.value.code == "exchange.trust.authority"


def test_what_is_remembered_stays_bounded() -> None:
    conf = conf_of()
    certificate = signing(BOARD).certificate
    remembered = conf._judge._responses
    for number in range(5000):
        remembered.put((number.to_bytes(4, "big"), b"", b""), None)  # type: ignore[arg-type]
    assert len(remembered._known) == 4096
    sign_ok(certificate, conf=conf)
