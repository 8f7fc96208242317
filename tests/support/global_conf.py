"""An exchange instance on paper: two members, their servers and certificates, signed and served from a dict."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from digiid.formats.global_conf import (
    PRIVATE_PARAMETERS,
    SHARED_PARAMETERS,
    Anchor,
    AnchorSource,
    ApprovedCa,
    ApprovedTsa,
    CaInfo,
    ConfigurationSource,
    GlobalGroup,
    ManagementService,
    Member,
    MemberClass,
    OcspResponder,
    PrivateParams,
    SecurityServer,
    SharedParams,
    Subsystem,
    build_directory,
    build_location,
    build_private_params,
    build_shared_params,
    part_of,
    sign_directory,
)
from digiid.kernel.errors import Unavailable
from digiid.kernel.identifiers import ClientId, MemberId, ServerId
from digiid.platform.http import HttpAnswer, HttpClient
from tests.support.pki import AT, Identity, Pki, key_usage, make_certificate, new_key, shared_pki

INSTANCE = "TEST"
HOST = "http://cs.test:8800"
BASIC = "ee.ria.xroad.common.certificateprofile.impl.BasicCertificateProfileInfoProvider"
BOARD = MemberId(INSTANCE, "GOV", "70000101")
BANK = MemberId(INSTANCE, "COM", "10000201")
POLICE = ClientId(INSTANCE, "GOV", "70000101", "police")
LOANS = ClientId(INSTANCE, "COM", "10000201", "loans")
STATE = ServerId(INSTANCE, "GOV", "70000101", "state")
PRIVATE = ServerId(INSTANCE, "COM", "10000201", "private")
VALID_FOR = timedelta(minutes=10)
PKI: Pki = shared_pki()

SIGNING = (key_usage(content_commitment=True),)
AUTHENTICATION = (
    key_usage(digital_signature=True, key_encipherment=True),
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), False),
)


def member_name(member: MemberId, **changes: str) -> x509.Name:
    """The subject of a signing certificate by the Basic rule."""
    values = {"class": member.member_class, "code": member.member_code} | changes
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "EE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "TEST"),
            x509.NameAttribute(NameOID.BUSINESS_CATEGORY, values["class"]),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, values["code"]),
            x509.NameAttribute(NameOID.COMMON_NAME, f"TEST {values['code']}"),
        ]
    )


@cache
def signing(member: MemberId) -> Identity:
    return PKI.issue(member_name(member), kind="p256", extensions=SIGNING)


@cache
def authentication(server: ServerId) -> Identity:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(server).replace("/", "-"))])
    return PKI.issue(name, kind="p256", extensions=AUTHENTICATION)


def ocsp_of(certificate: x509.Certificate, *, at: datetime = AT, **changes: object) -> list[bytes]:
    """The responses about a certificate of the CA and about the CA, leaf first."""
    return [
        PKI.ocsp(certificate, at=at, **changes),  # type: ignore[arg-type]
        PKI.ocsp(PKI.ca.certificate, at=at, issuer=PKI.root, responder=PKI.root),
    ]


def approved_ca(**changes: object) -> ApprovedCa:
    values: dict[str, object] = {
        "name": "TEST EID CA",
        "top": CaInfo(PKI.root.certificate),
        "intermediates": (CaInfo(PKI.ca.certificate, (OcspResponder("http://127.0.0.1:18080/ocsp"),)),),
        "certificate_profile": BASIC,
    }
    return ApprovedCa(**(values | changes))  # type: ignore[arg-type]


def params(**changes: object) -> SharedParams:
    """The instance's shared parameters."""

    def hash_of(server: ServerId) -> frozenset[bytes]:
        return frozenset({hashlib.sha256(authentication(server).der).digest()})

    values: dict[str, object] = {
        "instance": INSTANCE,
        "approved_cas": (approved_ca(),),
        "approved_tsas": (ApprovedTsa("TEST TSA", "http://127.0.0.1:18080/tsa", PKI.tsu.certificate, "FREE"),),
        "members": (
            Member(BOARD, "Police & Border <Board>", "Government", (Subsystem("police", "Documents"),)),
            Member(BANK, "Bank", "Company", (Subsystem("loans"), Subsystem("cards"))),
        ),
        "servers": (
            SecurityServer(STATE, "127.0.0.1", hash_of(STATE), frozenset({POLICE})),
            SecurityServer(PRIVATE, "127.0.0.1:5510", hash_of(PRIVATE), frozenset({LOANS}), "until noon"),
        ),
        "groups": (GlobalGroup("registers", "Registers", frozenset({POLICE, BANK})),),
        "member_classes": (MemberClass("GOV", "Government"), MemberClass("COM", "Company")),
    }
    return SharedParams(**(values | changes))  # type: ignore[arg-type]


class Web(HttpClient):
    """Answers from a dict: bytes are a 200, a number is a status, nothing is no connection."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, bytes | int] = {}
        self.asked: list[str] = []

    def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> HttpAnswer:
        self.asked.append(url)
        answer = self.answers.get(url)
        if answer is None:
            raise Unavailable("http.unreachable", url)
        return HttpAnswer(answer, {}, b"") if isinstance(answer, int) else HttpAnswer(200, {}, answer)


def configuration_key(kind: str = "rsa") -> Identity:
    """A key that signs configurations, with its self-signed certificate."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TEST configuration")])
    return make_certificate(name, new_key(kind), None, (key_usage(digital_signature=True),))


class Central:
    """Publishes configurations into a Web. `publish` changes one thing at a time from a right configuration."""

    def __init__(self, web: Web, *, host: str = HOST, key: Identity | None = None) -> None:
        self.web, self.host = web, host
        self.key = key or _first_key()

    @property
    def anchor(self) -> Anchor:
        source = AnchorSource(f"{self.host}/internalconf", (self.key.certificate,))
        return Anchor(INSTANCE, AT - timedelta(days=1), (source,))

    def publish(
        self,
        at: datetime = AT,
        *,
        shared: SharedParams | None = None,
        key: Identity | None = None,
        instance: str = INSTANCE,
        version: int = 6,
        asked_version: int | None = None,
        valid_for: timedelta = VALID_FOR,
        parts: Mapping[str, tuple[str, bytes]] | None = None,
        served: Mapping[str, bytes] | None = None,
        host: str | None = None,
        located_at: datetime | None = None,
    ) -> bytes:
        """`parts`: more by content id, with file name; `served`: other bytes under the same hash."""
        key, host = key or self.key, host or self.host
        private = PrivateParams(INSTANCE, management=ManagementService("http://cs.test/registration", None, POLICE))
        shared = shared or params(sources=(self.source(),))
        files = {
            SHARED_PARAMETERS: ("shared-params.xml", build_shared_params(shared)),
            PRIVATE_PARAMETERS: ("private-params.xml", build_private_params(private)),
            **(parts or {}),
        }
        listed = []
        for content_id, (name, data) in files.items():
            location = build_location(version, located_at or at, name)
            listed.append(part_of(content_id, instance, location, data))
            self.web.answers[host + location] = (served or {}).get(content_id, data)
        to_sign = build_directory(version=version, expires_at=at + valid_for, parts=listed, boundary="inner" * 4)
        assert isinstance(key.key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        signed = sign_directory(to_sign, key=key.key, certificate=key.certificate, boundary="outer" * 4)
        self.serve(signed, version=version if asked_version is None else asked_version, host=host)
        return signed

    def serve(self, directory: bytes | int, *, version: int = 6, host: str | None = None) -> None:
        self.web.answers[f"{host or self.host}/internalconf?version={version}"] = directory

    def source(self, *keys: Identity) -> ConfigurationSource:
        certificates = tuple(one.certificate for one in keys or (self.key,))
        return ConfigurationSource(self.host.removeprefix("http://"), certificates)


@cache
def _first_key() -> Identity:
    return configuration_key()
