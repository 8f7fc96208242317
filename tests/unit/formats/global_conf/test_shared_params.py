import base64
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from digiid.formats.global_conf import (
    AcmeServer,
    ConfigurationSource,
    Member,
    OcspResponder,
    SecurityServer,
    Subsystem,
    build_shared_params,
    parse_shared_params,
    split_address,
)
from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import ClientId, MemberId, ServerId
from tests.support.global_conf import BOARD, PKI, STATE, approved_ca, params
from tests.unit.formats.fuzz import damaged, only_raises

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "xroad"
XROAD = (VECTORS / "globalconf" / "DEV" / "shared-params.xml").read_bytes()
OURS = build_shared_params(params())


def replaced(old: str, new: str, data: bytes = OURS) -> bytes:
    assert old.encode() in data
    return data.replace(old.encode(), new.encode(), 1)


def test_x_roads_own_parameters_are_read() -> None:
    read = parse_shared_params(XROAD)
    assert (read.instance, read.ocsp_freshness_seconds) == ("DEV", 3600)
    assert [member.name for member in read.members] == ["Test member", "Test client"]
    first = read.servers[0]
    assert (str(first.id), first.address, first.maintenance) == ("DEV/COM/1234/SS0", "ss0", None)
    assert first.clients == {
        ClientId("DEV", "COM", "1234", "MANAGEMENT"),
        ClientId("DEV", "COM", "1234", "TestService"),
    }
    assert read.groups[0].members == {MemberId("DEV", "COM", "1234"), MemberId("DEV", "COM", "4321")}
    # one certificate is base64 of DER, the others are base64 of PEM
    assert read.sources[0].internal_certificates and read.approved_cas[0].top.ocsp[0].certificate is not None


@pytest.mark.parametrize("data", [XROAD, OURS])
def test_what_was_read_is_written_and_read_again(data: bytes) -> None:
    read = parse_shared_params(data)
    written = build_shared_params(read)
    assert parse_shared_params(written) == read
    assert build_shared_params(parse_shared_params(written)) == written


def test_every_element_of_version_6_is_kept() -> None:
    ca = approved_ca(
        is_authentication_only=True,
        csr_format="DER",
        acme=AcmeServer("https://acme.test/", "127.0.0.1", "auth", "sign"),
        top=approved_ca().top.__class__(
            PKI.root.certificate, (OcspResponder("http://o.test", PKI.responder.certificate, "PAID"),)
        ),
    )
    source = ConfigurationSource("cs.test:80", (PKI.root.certificate,), (PKI.ca.certificate, PKI.tsu.certificate))
    full = params(approved_cas=(ca,), sources=(source, source), ocsp_freshness_seconds=60)
    assert parse_shared_params(build_shared_params(full)) == full


def test_elements_stand_in_the_order_of_the_schema() -> None:
    source = ConfigurationSource("cs.test", (PKI.root.certificate,), (PKI.root.certificate,))
    ca = approved_ca(csr_format="PEM", acme=AcmeServer("https://acme.test/", "127.0.0.1", "a", "s"))
    root = etree.fromstring(build_shared_params(params(sources=(source,), approved_cas=(ca,))))

    def names(path: str) -> list[str]:
        found = [etree.QName(child).localname for child in root.find(path)]
        return [name for i, name in enumerate(found) if i == 0 or found[i - 1] != name]

    assert names(".") == (
        [
            "instanceIdentifier",
            "source",
            "approvedCA",
            "approvedTSA",
            "member",
            "securityServer",
            "globalGroup",
            "globalSettings",
        ]
    )
    assert names("source") == ["address", "internalVerificationCert", "externalVerificationCert"]
    assert names("approvedCA") == (
        [
            "name",
            "authenticationOnly",
            "topCA",
            "intermediateCA",
            "certificateProfileInfo",
            "defaultCsrFormat",
            "acmeServer",
        ]
    )
    assert names("approvedCA/acmeServer") == (
        ["directoryURL", "ipAddress", "authenticationCertificateProfileId", "signingCertificateProfileId"]
    )
    assert names("approvedTSA") == ["name", "url", "cert", "costType"]
    assert names("member") == ["memberClass", "memberCode", "name", "subsystem"]
    assert names("member/subsystem") == ["subsystemCode", "subsystemName"]
    assert names("securityServer[2]") == (
        ["owner", "serverCode", "address", "authCertHash", "client", "inMaintenanceMode"]
    )
    assert names("globalGroup") == ["groupCode", "description", "groupMember"]
    assert names("globalSettings") == ["memberClass", "ocspFreshnessSeconds"]
    # the namespace is on the root and in identifiers, nowhere else
    assert {etree.QName(child).namespace for child in root} == {None}
    assert etree.QName(root.find("globalGroup/groupMember")[0]).namespace == "http://x-road.eu/xsd/identifiers"


def test_certificates_are_read_from_der_and_from_pem() -> None:
    der = base64.b64encode(PKI.tsu.der).decode()
    pem = base64.b64encode(PKI.tsu.certificate.public_bytes(Encoding.PEM)).decode()
    assert parse_shared_params(replaced(der, pem)) == params()


def test_parameters_of_version_3_have_no_elements_of_later_ones() -> None:
    older = re.sub(rb"<(subsystemName|costType|inMaintenanceMode)>.*?</\1>", b"", OURS)
    read = parse_shared_params(older)
    assert read.servers[1].maintenance is None and read.members[0].subsystems == (Subsystem("police"),)


def test_an_element_of_a_later_version_is_passed_over() -> None:
    assert parse_shared_params(replaced("<member id", "<!-- c --><novelty><x/></novelty><member id")) == params()


def test_maintenance_without_a_message_is_maintenance() -> None:
    found = parse_shared_params(replaced("<message>until noon</message>", ""))
    assert found.servers[1].maintenance == ""


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("<owner>id0</owner>", "<owner>id9</owner>", "reference"),
        ("<owner>id0</owner>", "<owner>id1</owner>", "reference"),
        ("<client>id1</client>", "<client>id77</client>", "reference"),
        ('<subsystem id="id1">', "<subsystem>", "reference"),
        ('<subsystem id="id1">', '<subsystem id="id0">', "reference"),
        ("<serverCode>state</serverCode>", "", "absent"),
        ("<instanceIdentifier>TEST<", "<instanceIdentifier><", "absent"),
        ("<memberCode>70000101<", "<memberCode>10000201</memberCode><memberCode>2<", "twice"),
        ("<subsystemCode>cards<", "<subsystemCode>loans<", "twice"),
        ("<costType>FREE<", "<costType>CHEAP<", "value"),
        ("<ocspFreshnessSeconds>3600<", "<ocspFreshnessSeconds>-1<", "value"),
        ("<ocspFreshnessSeconds>3600<", "<ocspFreshnessSeconds>٣<", "value"),
        ("<authenticationOnly>false<", "<authenticationOnly>no<", "value"),
        ("<name>Bank<", "<name><b/>Bank<", "value"),
        ("conf xmlns", "conf2 xmlns", "xml"),
    ],
)
def test_parameters_that_contradict_themselves_are_malformed(old: str, new: str, code: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse_shared_params(replaced(old, new))
    assert refused.value.code == f"exchange.global_conf.{code}"


@pytest.mark.parametrize("name", ["a/b", "..", "a&#9;b", "x" * 256])
def test_an_identifier_that_could_be_another_is_malformed(name: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse_shared_params(replaced("<subsystemCode>cards<", f"<subsystemCode>{name}<"))
    assert refused.value.code == "exchange.identifier"


def test_hashes_of_version_2_are_refused() -> None:
    sha1 = base64.b64encode(bytes(20)).decode()
    data = re.sub(rb"<authCertHash>[^<]+<", f"<authCertHash>{sha1}<".encode(), OURS, count=1)
    with pytest.raises(Malformed) as refused:
        parse_shared_params(data)
    assert refused.value.code == "exchange.global_conf.hash"


def test_one_certificate_at_two_servers_is_malformed() -> None:
    server = params().servers[0]
    twin = SecurityServer(ServerId("TEST", "GOV", "70000101", "twin"), "h", server.auth_certificate_hashes)
    with pytest.raises(Malformed):
        parse_shared_params(build_shared_params(params(servers=(server, twin))))


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + OURS,
        OURS.replace(b"<ns3:conf", b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><ns3:conf'),
        b"<a>" * 100_000,
        OURS[: len(OURS) // 2],
        b"",
        b"\xff\xfe",
        OURS.replace(b"UTF-8", b"UTF-16"),
        b" " * (16 * 1024 * 1024 + 1),
    ],
    ids=["entity", "external", "deep", "cut", "empty", "not-utf8", "other-encoding", "huge"],
)
def test_tm08_hostile_documents_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_shared_params(data)


def test_what_is_written_has_no_dangling_reference() -> None:
    with pytest.raises(Malformed):
        build_shared_params(params(members=(Member(BOARD, "Board"),)))
    with pytest.raises(Malformed):
        build_shared_params(params(members=(Member(BOARD, "a"), Member(BOARD, "b")), servers=()))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ss0", ("ss0", 5500)),
        ("127.0.0.1:5510", ("127.0.0.1", 5510)),
        ("[::1]:5510", ("::1", 5510)),
        ("[::1]", ("::1", 5500)),
        ("::1", ("::1", 5500)),
        ("", ("", 5500)),
    ],
)
def test_an_address_is_a_host_with_or_without_its_port(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected
    server = SecurityServer(STATE, address)
    assert server.ocsp_port == expected[1] + 77


@pytest.mark.parametrize("address", ["h:", "h:0", "h:65500", "h:x", "[::1", "[::1]x", "h:+5"])
def test_an_address_with_an_impossible_port_is_malformed(address: str) -> None:
    with pytest.raises(Malformed):
        split_address(address)


@pytest.mark.parametrize("address", ["https://www.foo.com/bar", "https://foo.bar.baz", "127.0.0.1:99999", "", ":5500"])
def test_a_server_with_an_odd_address_leaves_the_others_alone(address: str) -> None:
    """X-Road's own test configurations of every version have such servers."""
    assert [server.has_address for server in parse_shared_params(XROAD).servers] == [True, True]
    read = parse_shared_params(replaced("<address>ss0<", f"<address>{address}<", XROAD))
    assert [(server.address, server.has_address) for server in read.servers] == [(address, False), ("ss1", True)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_only_malformed_escapes(data: st.DataObject) -> None:
    only_raises(Malformed, lambda: parse_shared_params(data.draw(damaged(OURS))))
