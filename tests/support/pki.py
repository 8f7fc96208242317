"""A small hierarchy for tests: root, issuing CA, OCSP responder, time-stamping unit, list signer, signers.

Everything is made at import of the first test that asks, with fresh keys and fixed times, and is visibly TEST.
Responses are put together from ASN.1 by hand, so that wrong ones can be made as easily as right ones.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from asn1crypto import algos, core
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from digiid.formats import tsp
from digiid.formats.asic import DataFile, build_container
from digiid.formats.trusted_list import (
    CA_QC,
    GRANTED,
    OCSP_QC,
    TSA_QTST,
    ListContent,
    ListedPeriod,
    ListedProvider,
    ListedService,
    PostalAddress,
    VerifiedTrust,
    build_trusted_list,
    sign_trusted_list,
    verify_trusted_list,
)
from digiid.formats.xades import (
    FileDigest,
    ProductionPlace,
    SignatureMethod,
    build_xades,
    canonical_signature_value,
    prepare_xades,
    sign_digest,
)

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SIGNED_AT = AT - timedelta(hours=1)
DAY = timedelta(days=1)
ORGANIZATION_IDENTIFIER = ObjectIdentifier("2.5.4.97")
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

QC_COMPLIANCE = bytes.fromhex("3008060604008e460101")
QC_SSCD = bytes.fromhex("3008060604008e460104")
QC_TYPE_ESIGN = bytes.fromhex("3013060604008e4601063009060704008e46010601")
QC_TYPE_ESEAL = bytes.fromhex("3013060604008e4601063009060704008e46010602")


@dataclass(frozen=True)
class Identity:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def distinguished_name(common_name: str, **values: str) -> x509.Name:
    oids = {
        "organization": NameOID.ORGANIZATION_NAME,
        "identifier": ORGANIZATION_IDENTIFIER,
        "surname": NameOID.SURNAME,
        "given_name": NameOID.GIVEN_NAME,
        "serial": NameOID.SERIAL_NUMBER,
    }
    attributes = [x509.NameAttribute(NameOID.COUNTRY_NAME, "EE")]
    attributes += [x509.NameAttribute(oids[key], value) for key, value in values.items()]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def person(surname: str, code: str) -> x509.Name:
    given = "MARY ÄNN"
    return distinguished_name(f"{surname},{given},{code}", surname=surname, given_name=given, serial=f"PNOEE-{code}")


def key_usage(**bits: bool) -> tuple[x509.ExtensionType, bool]:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: bits.get(name, False) for name in names}), True


def qc_statements(*statements: bytes) -> tuple[x509.ExtensionType, bool]:
    body = b"".join(statements)
    return x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.5.5.7.1.3"), b"\x30" + bytes([len(body)]) + body), False


def policies(*oids: str) -> tuple[x509.ExtensionType, bool]:
    return x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(oid), None) for oid in oids]), False


NATURAL_QSCD = (
    key_usage(content_commitment=True),
    policies("0.4.0.194112.1.2"),
    qc_statements(QC_COMPLIANCE, QC_SSCD, QC_TYPE_ESIGN),
)
SEAL_QSCD = (
    key_usage(content_commitment=True),
    policies("0.4.0.194112.1.3"),
    qc_statements(QC_COMPLIANCE, QC_SSCD, QC_TYPE_ESEAL),
)


def new_key(kind: str = "p384") -> PrivateKey:
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    return ec.generate_private_key(curves[kind])


def make_certificate(
    subject: x509.Name,
    key: PrivateKey,
    issuer: Identity | None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    *,
    not_before: datetime = AT - 400 * DAY,
    not_after: datetime = AT + 1000 * DAY,
) -> Identity:
    """A certificate by `issuer`, or self-signed."""
    signer_key = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return Identity(builder.sign(signer_key, hashes.SHA384()), key)


CA_EXTENSIONS = ((x509.BasicConstraints(True, 0), True), key_usage(key_cert_sign=True, crl_sign=True))
RESPONDER_EXTENSIONS = (
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False),
    (x509.OCSPNoCheck(), False),
    key_usage(digital_signature=True),
)
UNIT_EXTENSIONS = (
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True),
    key_usage(digital_signature=True),
)


@dataclass(frozen=True)
class Pki:
    """The hierarchy. `ca` issues signers and its OCSP responder; `tsu` is issued by the root."""

    root: Identity
    ca: Identity
    responder: Identity
    tsu: Identity
    list_signer: Identity
    aia_base: str = "http://127.0.0.1:18080"

    def issue(
        self,
        subject: x509.Name,
        *,
        kind: str = "p384",
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = NATURAL_QSCD,
        not_before: datetime = AT - 30 * DAY,
        not_after: datetime = AT + 300 * DAY,
    ) -> Identity:
        """A signer's certificate with a new key."""
        access = x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(
                    x509.oid.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(f"{self.aia_base}/ocsp")
                )
            ]
        )
        common = [(x509.BasicConstraints(False, None), True), (access, False), *extensions]
        return make_certificate(subject, new_key(kind), self.ca, common, not_before=not_before, not_after=not_after)

    @functools.cached_property
    def signer(self) -> Identity:
        return self.issue(person("O’CONNEŽ-ŠUSLIK", "60001019906"))

    def ocsp(
        self,
        certificate: x509.Certificate,
        *,
        at: datetime,
        status: str = "good",
        revoked_at: datetime | None = None,
        reason: str | None = None,
        nonce: bytes | None = None,
        responder: Identity | None = None,
        issuer: Identity | None = None,
        this_update: datetime | None = None,
        next_update: datetime | None = None,
        hash_name: str = "sha1",
        include: Sequence[Identity] | None = None,
    ) -> bytes:
        """An OCSP response about `certificate`, right unless told otherwise."""
        responder, issuer = responder or self.responder, issuer or self.ca
        issuer_asn1 = asn1_x509.Certificate.load(issuer.der)
        certificate_id = {
            "hash_algorithm": {"algorithm": hash_name},
            "issuer_name_hash": hashlib.new(hash_name, issuer_asn1.subject.dump()).digest(),
            "issuer_key_hash": hashlib.new(hash_name, bytes(issuer_asn1.public_key["public_key"])).digest(),
            "serial_number": certificate.serial_number,
        }
        if status == "revoked":
            revoked = {"revocation_time": revoked_at or at, **({"revocation_reason": reason} if reason else {})}
            encoded = asn1_ocsp.CertStatus("revoked", asn1_ocsp.RevokedInfo(revoked))
        else:
            encoded = asn1_ocsp.CertStatus(status, core.Null())
        single = {"cert_id": certificate_id, "cert_status": encoded, "this_update": this_update or at}
        if next_update is not None:
            single["next_update"] = next_update
        responder_asn1 = asn1_x509.Certificate.load(responder.der)
        data = {
            "responder_id": asn1_ocsp.ResponderId("by_name", responder_asn1.subject),
            "produced_at": at,
            "responses": [single],
        }
        if nonce is not None:
            data["response_extensions"] = [
                {"extn_id": "nonce", "critical": False, "extn_value": core.OctetString(nonce)}
            ]
        tbs = asn1_ocsp.ResponseData(data)
        is_rsa = isinstance(responder.key, rsa.RSAPrivateKey)
        how = (padding.PKCS1v15(), hashes.SHA384()) if is_rsa else (ec.ECDSA(hashes.SHA384()),)
        basic = asn1_ocsp.BasicOCSPResponse(
            {
                "tbs_response_data": tbs,
                "signature_algorithm": algos.SignedDigestAlgorithm(
                    {"algorithm": "sha384_rsa" if is_rsa else "sha384_ecdsa"}
                ),
                "signature": responder.key.sign(tbs.dump(), *how),
                "certs": [
                    asn1_x509.Certificate.load(item.der) for item in ((responder,) if include is None else include)
                ],
            }
        )
        return asn1_ocsp.OCSPResponse(
            {
                "response_status": "successful",
                "response_bytes": {"response_type": "basic_ocsp_response", "response": basic},
            }
        ).dump()

    def time_stamp(
        self,
        imprint: bytes,
        *,
        gen_at: datetime,
        hash_name: str = "sha256",
        nonce: int | None = None,
        unit: Identity | None = None,
    ) -> bytes:
        """A time-stamp token over `imprint`."""
        unit = unit or self.tsu
        request = tsp.parse_request(tsp.build_request(imprint=imprint, hash_name=hash_name, nonce=nonce or 4711))
        builder = tsp.TokenBuilder(key=unit.key, certificate=unit.certificate)
        return builder.build(request, serial_number=1, gen_at=gen_at)

    # -------------------------------------------------------------- trust

    def list_content(self, **changes: object) -> ListContent:
        """What the hierarchy's own list says; `services` replaces the three services."""
        address = PostalAddress("Test street 1", "Tallinn", "10000", "EE")
        services = changes.pop("services", None) or self.services()
        provider = ListedProvider(
            "TEST Provider",
            "NTREE-10000001",
            address,
            "mailto:tl@example.test",
            "https://example.test/",
            tuple(services),
        )
        values: dict[str, object] = {
            "sequence_number": 1,
            "territory": "EE",
            "operator_name": "TEST Operator",
            "address": address,
            "electronic_address": "mailto:tl@example.test",
            "scheme_name": "EE:TEST list of test services",
            "information_uri": "https://example.test/",
            "legal_notice": "For tests only; no legal effect.",
            "issued_at": AT - 10 * DAY,
            "next_update_at": AT + 170 * DAY,
            "distribution_point": "http://127.0.0.1:18080/tl.xml",
            "providers": (provider,),
        }
        return ListContent(**{**values, **changes})  # type: ignore[arg-type]

    def services(
        self, *, ca_status: str = GRANTED, tsa_status: str = GRANTED, since: datetime = AT - 390 * DAY
    ) -> list[ListedService]:
        past = (ListedPeriod(GRANTED, AT - 395 * DAY),)
        return [
            ListedService(
                CA_QC, "TEST CA", self.ca.certificate, ca_status, since, past, ("ForeSignatures", "ForeSeals")
            ),
            ListedService(OCSP_QC, "TEST OCSP", self.responder.certificate, GRANTED, since),
            ListedService(TSA_QTST, "TEST TSA", self.tsu.certificate, tsa_status, since, past),
        ]

    def trusted_list(self, **changes: object) -> bytes:
        signer = self.list_signer
        return sign_trusted_list(
            build_trusted_list(self.list_content(**changes)),
            key=signer.key,
            certificate=signer.certificate,
            claimed_signing_at=AT - 10 * DAY,
        )

    def trust(self, **changes: object) -> VerifiedTrust:
        verified = verify_trusted_list(self.trusted_list(**changes), signers=[self.list_signer.certificate])
        return VerifiedTrust([verified], at=AT)

    # -------------------------------------------------------------- signatures

    def sign(
        self,
        files: Sequence[DataFile],
        *,
        signer: Identity | None = None,
        level: str = "LT",
        signed_at: datetime = SIGNED_AT,
        signature_id: str = "S0",
        roles: Sequence[str] = (),
        place: ProductionPlace | None = None,
        method: SignatureMethod | None = None,
        token_der: bytes | None = None,
        ocsp_der: bytes | None = None,
        stamped_at: datetime | None = None,
        confirmed_at: datetime | None = None,
    ) -> bytes:
        """A signature file of the level asked for."""
        signer = signer or self.signer
        prepared = prepare_xades(
            [FileDigest(file.name, file.media_type, hashlib.sha256(file.content).digest()) for file in files],
            certificate=signer.certificate,
            claimed_signing_at=signed_at,
            signature_id=signature_id,
            roles=roles,
            place=place,
            method=method,
        )
        value = sign_digest(prepared.method, signer.key, prepared.digest)
        if level == "B":
            return build_xades(prepared, value)
        imprint = hashlib.sha256(canonical_signature_value(prepared, value)).digest()
        token = token_der or self.time_stamp(imprint, gen_at=stamped_at or signed_at)
        if level == "T":
            return build_xades(prepared, value, time_stamp_der=token)
        confirmed_at = confirmed_at or (stamped_at or signed_at) + timedelta(seconds=1)
        return build_xades(
            prepared,
            value,
            time_stamp_der=token,
            certificates_der=[self.ca.der],
            ocsp_der=ocsp_der or self.ocsp(signer.certificate, at=confirmed_at),
        )

    def container(self, files: Sequence[DataFile] | None = None, **signing: object) -> bytes:
        """An ASiC-E container with one signature."""
        files = FILES if files is None else files
        xml = self.sign(files, **signing)  # type: ignore[arg-type]
        return build_container(files, [("META-INF/signatures0.xml", xml)], at=SIGNED_AT)


FILES = (
    DataFile("contract.txt", "text/plain", b"I, the undersigned, agree.\n"),
    DataFile("õ ä+b.bin", "application/octet-stream", bytes(range(256)) * 8),
)


@functools.cache
def shared_pki() -> Pki:
    """The hierarchy, made once in a test run."""
    root = make_certificate(
        distinguished_name("TEST Root", organization="TEST"),
        new_key(),
        None,
        ((x509.BasicConstraints(True, 1), True), key_usage(key_cert_sign=True, crl_sign=True)),
        not_before=AT - 500 * DAY,
        not_after=AT + 4000 * DAY,
    )
    ca = make_certificate(
        distinguished_name("TEST EID CA", organization="TEST", identifier="NTREE-10000001"),
        new_key(),
        root,
        CA_EXTENSIONS,
    )
    responder = make_certificate(
        distinguished_name("TEST OCSP Responder", organization="TEST"), new_key(), ca, RESPONDER_EXTENSIONS
    )
    tsu = make_certificate(
        distinguished_name("TEST Time-Stamping Unit", organization="TEST"), new_key(), root, UNIT_EXTENSIONS
    )
    list_signer = make_certificate(
        distinguished_name("TEST List Signer", organization="TEST"),
        new_key("p256"),
        None,
        (
            (x509.BasicConstraints(False, None), True),
            key_usage(digital_signature=True, content_commitment=True),
            (x509.ExtendedKeyUsage([ObjectIdentifier("0.4.0.2231.3.0")]), False),
        ),
    )
    return Pki(root=root, ca=ca, responder=responder, tsu=tsu, list_signer=list_signer)
