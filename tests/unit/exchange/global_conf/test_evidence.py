"""X-Road's own 13 containers with full trust, and ours."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from digiid.exchange.global_conf import GlobalConf, VerifiedEvidence, load_folder, verify_evidence
from digiid.exchange.global_conf.evidence import read_sender
from digiid.formats.exchange.hash_chain import build_hash_chain
from digiid.formats.exchange.message_container import BatchTimeStamp, build_message_container
from digiid.formats.exchange.message_signature import build_message_signature, prepare_message_signature
from digiid.formats.xades import sign_digest
from digiid.formats.xades.algorithms import hash_bytes
from digiid.kernel.errors import DigiidError, Malformed, Refused
from digiid.kernel.identifiers import MemberId
from tests.support.global_conf import BANK, BOARD, PKI, ocsp_of, params, signing
from tests.support.pki import AT
from tests.unit.exchange.global_conf.test_trust import conf_of

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "xroad"
MAX = 1024 * 1024
BODY = frozenset({"/attachment1"})
DEV = load_folder(VECTORS / "globalconf")
OURS = conf_of()

REQUEST = (
    b"GET\r\n/r1/TEST/GOV/70000101/police/status\r\n"
    b"X-Road-Client:TEST/COM/10000201/loans\r\nx-road-id:1\r\nx-road-request-id:2\r\n"
)
RESPONSE = (
    b"200\r\nOK\r\nx-road-id:1\r\nx-road-client:TEST/COM/10000201/loans\r\n"
    b"x-road-service:TEST/GOV/70000101/police/status\r\nx-road-request-id:2\r\nx-road-request-hash:aa==\r\n"
)


def judge(name: str, conf: GlobalConf = DEV) -> VerifiedEvidence:
    data = (VECTORS / "containers" / f"{name}.asice").read_bytes()
    return verify_evidence(data, conf, max_part_bytes=MAX, may_be_absent=BODY)


@pytest.mark.parametrize(
    ("name", "code", "is_response", "at"),
    [
        ("valid-signed-message", "4321", False, "2024-12-05T13:16:35Z"),
        ("valid-signed-hashchain", "4321", False, "2024-12-05T12:37:50Z"),
        ("valid-batch-ts", "4321", False, "2024-12-05T07:34:14Z"),
        ("valid-non-batch-rest", "1234", True, "2024-07-11T12:51:12Z"),
        ("valid-non-batch-soap-attachments", "4321", True, "2024-12-03T13:45:33Z"),
    ],
)
def test_valid_containers_of_x_road_are_trusted(name: str, code: str, is_response: bool, at: str) -> None:
    evidence = judge(name)
    assert evidence.member == MemberId("DEV", "COM", code)
    assert (evidence.is_response, evidence.at) == (is_response, datetime.fromisoformat(at))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("invalid-not-signed-hashchain", "exchange.signature.coverage"),
        ("wrong-message", "xades.reference.digest"),
        ("invalid-digest", "xades.reference.digest"),
        ("invalid-signed-hashchain", "exchange.hash_chain.reference"),
        ("invalid-hashchain-modified-message", "exchange.signature.coverage"),
        ("invalid-incorrect-references", "xades.root"),
        ("invalid-ts-hashchainresult", "xades.root"),
        ("attachments", "exchange.container.structure"),
    ],
)
def test_invalid_containers_of_x_road_are_refused(name: str, code: str) -> None:
    with pytest.raises(DigiidError) as refused:
        judge(name)
    assert refused.value.code == code


def changed(**values: object) -> GlobalConf:
    return GlobalConf(
        replace(DEV.shared, **values),  # type: ignore[arg-type]
        shared_xml=b"",
        version=3,
        expires_at=DEV.expires_at,
        fetched_at=DEV.fetched_at,
    )


def ca_of_dev(**values: object) -> GlobalConf:
    return changed(approved_cas=(replace(DEV.shared.approved_cas[0], **values),))  # type: ignore[arg-type]


def test_a_valid_container_is_refused_by_a_configuration_that_does_not_trust_it() -> None:
    basic = "x.BasicCertificateProfileInfoProvider"
    top = DEV.shared.approved_cas[0].top
    for conf, code in (
        (changed(approved_tsas=()), "time_stamping_unit"),
        (changed(approved_cas=()), "authority"),
        (ca_of_dev(is_authentication_only=True), "authority"),
        (ca_of_dev(certificate_profile=basic), "member"),
        (ca_of_dev(certificate_profile="x.Other"), "profile"),
        (ca_of_dev(top=replace(top, ocsp=())), "ocsp"),
        (changed(ocsp_freshness_seconds=0), "ocsp_outdated"),
    ):
        with pytest.raises(Refused) as refused:
            judge("valid-batch-ts", conf)
        assert refused.value.code == f"exchange.trust.{code}"


# ------------------------------------------------------------------ ours


def evidence(
    message: bytes = REQUEST,
    *,
    body: bytes | None = b"{}",
    member: MemberId = BANK,
    stamped_at: datetime | None = AT,
    use_hash_chain: bool = False,
    **ocsp: object,
) -> bytes:
    signer = signing(member)
    parts = {"/message.xml": message} | ({} if body is None else {"/attachment1": body})
    prepared = prepare_message_signature(
        {uri: hash_bytes("sha512", data) for uri, data in parts.items()},
        certificate=signer.certificate,
        claimed_signing_at=AT,
        use_hash_chain=use_hash_chain,
    )
    value = sign_digest(prepared.method, signer.key, prepared.digest)
    responses = ocsp_of(signer.certificate, **ocsp)
    xml = build_message_signature(prepared, value, ocsp_der=responses)
    batch = None
    if stamped_at is not None:
        chain = build_hash_chain(
            {"/META-INF/signatures.xml": hash_bytes("sha512", xml)},
            hash_name="sha512",
            chain_uri="/ts-hashchain.xml",
        )
        token = PKI.time_stamp(hash_bytes("sha512", chain.result), gen_at=stamped_at, hash_name="sha512")
        batch = BatchTimeStamp(chain, token)
    attachments = {} if body is None else {"attachment1": body}
    return build_message_container(message, attachments, xml, hash_chain=prepared.hash_chain, batch=batch, at=AT)


def verify(data: bytes, conf: GlobalConf = OURS) -> VerifiedEvidence:
    return verify_evidence(data, conf, max_part_bytes=MAX)


@pytest.mark.parametrize("use_hash_chain", [False, True])
def test_our_messages_are_trusted_years_later(use_hash_chain: bool) -> None:
    verified = verify(evidence(use_hash_chain=use_hash_chain))
    assert (verified.member, verified.is_response, verified.at) == (BANK, False, AT)
    assert verify(evidence(RESPONSE, member=BOARD)).is_response


def test_tm06_a_message_that_somebody_else_signed_is_refused() -> None:
    for data in (evidence(member=BOARD), evidence(RESPONSE, member=BANK)):
        with pytest.raises(Refused) as refused:
            verify(data)
        assert refused.value.code == "exchange.trust.member"


def test_tm06_a_message_that_was_not_time_stamped_proves_nothing() -> None:
    with pytest.raises(Refused) as refused:
        verify(evidence(stamped_at=None))
    assert refused.value.code == "exchange.evidence.time_stamp"


def test_tm06_a_signer_revoked_at_the_time_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        verify(evidence(status="revoked"))
    assert refused.value.code == "exchange.trust.ocsp_status"


def test_tm06_responses_are_judged_at_the_time_of_the_time_stamp() -> None:
    conf = conf_of(params(ocsp_freshness_seconds=3600))
    verify(evidence(stamped_at=AT + timedelta(hours=1)), conf)
    with pytest.raises(Refused) as refused:
        verify(evidence(stamped_at=AT + timedelta(hours=1, seconds=1)), conf)
    assert refused.value.code == "exchange.trust.ocsp_outdated"


# ------------------------------------------------------------------ whose message it is

SOAP = """<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:x="http://x-road.eu/xsd/xroad.xsd" xmlns:i="http://x-road.eu/xsd/identifiers"><s:Header>
<x:client i:objectType="SUBSYSTEM"><i:xRoadInstance>EE</i:xRoadInstance><i:memberClass>COM</i:memberClass>
<i:memberCode>1</i:memberCode><i:subsystemCode>s</i:subsystemCode></x:client>
<x:service i:objectType="SERVICE"><i:xRoadInstance>EE</i:xRoadInstance><i:memberClass>GOV</i:memberClass>
<i:memberCode>2</i:memberCode><i:subsystemCode>p</i:subsystemCode><i:serviceCode>ask</i:serviceCode></x:service>
</s:Header><s:Body><ask/></s:Body></s:Envelope>"""


def test_the_client_signs_requests_and_the_provider_responses() -> None:
    assert read_sender(REQUEST) == (BANK, False)
    assert read_sender(RESPONSE) == (BOARD, True)
    assert read_sender(SOAP.encode()) == (MemberId("EE", "COM", "1"), False)
    assert read_sender(SOAP.replace("<ask/>", "<askResponse/>").encode()) == (MemberId("EE", "GOV", "2"), True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<ask/>", ""),
        ("<ask/>", "<ask/><ask/>"),
        ("<x:client", "<x:client><i:memberCode>9</i:memberCode></x:client><x:client"),
        ("<i:memberCode>1<", "<i:memberCode>1</i:memberCode><i:memberCode>2<"),
        ("<i:memberCode>1<", "<i:memberCode><!-- 2 -->1<"),
        ("<s:Header>", "<s:Header></s:Header><s:Header>"),
        ('<?xml version="1.0"?>', '<!DOCTYPE x [<!ENTITY e "e">]>'),
        ("s:Envelope", "s:Letter"),
    ],
)
def test_tm08_a_soap_message_that_could_be_read_two_ways_is_malformed(old: str, new: str) -> None:
    assert old in SOAP
    with pytest.raises(Malformed):
        read_sender(SOAP.replace(old, new).encode())


@pytest.mark.parametrize("message", [b"", b"<", b"200", b"GET", b"\xff", b"GET /r1/x\r\n"])
def test_what_is_no_message_is_malformed(message: bytes) -> None:
    with pytest.raises(Malformed):
        read_sender(message)
