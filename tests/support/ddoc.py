"""DigiDoc documents of the test hierarchy in every version, right unless told otherwise. No program of the field writes
the old versions any more; they are put together here as their specifications and their programs had them."""

import base64
import hashlib
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from digiid.formats import der
from digiid.formats.asic import DataFile
from tests.support.pki import (
    FILES,
    RESPONDER_EXTENSIONS,
    SIGNED_AT,
    Identity,
    Pki,
    distinguished_name,
    make_certificate,
    new_key,
    person,
    shared_pki,
)

NS = {"ds": "http://www.w3.org/2000/09/xmldsig#", "xades": "http://uri.etsi.org/01903/v1.1.1#"}
NS_13 = "http://www.sk.ee/DigiDoc/v1.3.0#"
SHA1 = "http://www.w3.org/2000/09/xmldsig#sha1"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"


@dataclass
class DdocMaker:
    """What to leave out or to change. `hashcode` puts digests in the place of the files."""

    version: str = "1.3"
    files: Sequence[DataFile] = FILES
    signer: Identity | None = None
    signed_at: datetime = SIGNED_AT
    ocsp: Callable[[bytes], bytes | None] | None = None  # signature value to response
    nonce: Callable[[bytes], bytes] = field(default=lambda value: hashlib.sha1(value, usedforsecurity=False).digest())
    hashcode: bool = False
    own_namespace: bool = True  # DataFile declares its namespace, in 1.3
    properties_namespace: bool = False  # SignedProperties declares its own
    signed: Sequence[str] | None = None  # the Ids of the files that are signed
    edit_file: Callable[[str], str] = field(default=lambda text: text)  # a DataFile, before it is signed
    edit_info: Callable[[str], str] = field(default=lambda text: text)  # before it is signed
    roles: Sequence[str] = ("CEO",)
    pki: Pki = field(default_factory=shared_pki)

    def document(self) -> bytes:
        """The document with one signature."""
        name = "SK-XML" if self.version == "1.0" else "DIGIDOC-XML"
        namespace = f' xmlns="{NS_13}"' if self.version == "1.3" else ""
        files = "\n".join(self._file(number, file) for number, file in enumerate(self.files))
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<SignedDoc format="{name}" version="{self.version}"{namespace}>\n'
            f"{files}\n{self.signature()}\n</SignedDoc>"
        ).encode()

    # -------------------------------------------------------------- files

    def _file(self, number: int, file: DataFile, *, alone: bool = False) -> str:
        own = f' xmlns="{NS_13}"' if self.version == "1.3" and self.own_namespace else ""
        name = html.escape(file.name, quote=False)
        if self.hashcode and not alone:
            value = base64.b64encode(self._digest(number, file)).decode()
            return (
                f'<DataFile{own} ContentType="HASHCODE" DigestType="sha1" DigestValue="{value}" Filename="{name}" '
                f'Id="D{number}" MimeType="{file.media_type}" Size="{len(file.content)}"></DataFile>'
            )
        content = base64.encodebytes(file.content).decode()
        return self.edit_file(
            f'<DataFile{own} ContentType="EMBEDDED_BASE64" Filename="{name}" Id="D{number}" '
            f'MimeType="{file.media_type}" Size="{len(file.content)}">{content}</DataFile>'
        )

    def _digest(self, number: int, file: DataFile) -> bytes:
        data = file.content if self.version == "1.0" else self._file(number, file, alone=True).encode()
        return hashlib.sha1(data, usedforsecurity=False).digest()

    # -------------------------------------------------------------- the signature

    def signature(self, signature_id: str = "S0") -> str:
        signer = self.signer or rsa_signer()
        properties = self._properties(signer, signature_id)
        outer = f' xmlns="{NS["xades"]}"' if self.version == "1.3" else ""
        own = outer or f' xmlns="{NS["ds"]}"'  # before 1.3 the namespace was the wrong one, and always written
        inner = properties.replace("<SignedProperties", f"<SignedProperties{own}", 1)
        signed = inner if self.properties_namespace or self.version != "1.3" else properties
        info = self.edit_info(self._info(signature_id, signed))
        assert isinstance(signer.key, rsa.RSAPrivateKey)
        value = signer.key.sign(info.encode(), padding.PKCS1v15(), hashes.SHA1())
        response = self._response(signer, value)
        return (
            f'<Signature xmlns="{NS["ds"]}" Id="{signature_id}">\n{info}'
            f'<SignatureValue Id="{signature_id}-SIG">{_b64(value)}</SignatureValue>\n'
            f"<KeyInfo><X509Data><X509Certificate>{_b64(signer.der)}</X509Certificate></X509Data></KeyInfo>\n"
            f'<Object><QualifyingProperties{outer} Target="#{signature_id}">{signed}'
            f"{self._unsigned(response, signature_id)}</QualifyingProperties></Object>\n</Signature>"
        )

    def _info(self, signature_id: str, properties: str) -> str:
        references = ""
        transforms = f'<Transforms><Transform Algorithm="{ENVELOPED}"></Transform></Transforms>'
        transforms = transforms if self.version == "1.0" else ""

        def reference(uri: str, digest: bytes, kind: str = "") -> str:
            return (
                f'<Reference{kind} URI="#{uri}">\n<DigestMethod Algorithm="{SHA1}"></DigestMethod>{transforms}'
                f"<DigestValue>{_b64(digest)}</DigestValue>\n</Reference>\n"
            )

        for number, file in enumerate(self.files):
            if self.signed is not None and f"D{number}" not in self.signed:
                continue
            references += reference(f"D{number}", self._digest(number, file))
            if self.version == "1.0":
                media_type = hashlib.sha1(file.media_type.encode(), usedforsecurity=False).digest()
                references += reference(f"D{number}-MIME", media_type)
        kind = f' Type="{NS["xades"]}SignedProperties"' if self.version in ("1.2", "1.3") else ""
        digest = hashlib.sha1(properties.encode(), usedforsecurity=False).digest()
        references += reference(f"{signature_id}-SignedProperties", digest, kind)
        return (
            f'<SignedInfo xmlns="{NS["ds"]}">\n'
            '<CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315">'
            "</CanonicalizationMethod>\n"
            '<SignatureMethod Algorithm="http://www.w3.org/2000/09/xmldsig#rsa-sha1"></SignatureMethod>\n'
            f"{references}</SignedInfo>"
        )

    def _properties(self, signer: Identity, signature_id: str) -> str:
        number = signer.certificate.serial_number
        serial = f"{number}"
        if self.version == "1.3":
            serial = (
                f'<X509IssuerName xmlns="{NS["ds"]}">CN=TEST EID CA</X509IssuerName>'
                f'<X509SerialNumber xmlns="{NS["ds"]}">{number}</X509SerialNumber>'
            )
        at = self.signed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self.version != "1.3":
            at = at.replace("-", ".")
        digest = hashlib.sha1(signer.der, usedforsecurity=False).digest()
        target = "" if self.version == "1.3" else f' Target="#{signature_id}"'
        certificate_id = "" if self.version == "1.3" else f' Id="{signature_id}-CERTINFO"'
        roles = "".join(f"<ClaimedRole>{role}</ClaimedRole>" for role in self.roles)
        return (
            f'<SignedProperties Id="{signature_id}-SignedProperties"{target}>\n<SignedSignatureProperties>\n'
            f"<SigningTime>{at}</SigningTime>\n<SigningCertificate>\n<Cert{certificate_id}><CertDigest>"
            f'<DigestMethod Algorithm="{SHA1}"></DigestMethod><DigestValue>{_b64(digest)}</DigestValue></CertDigest>'
            f"<IssuerSerial>{serial}</IssuerSerial></Cert></SigningCertificate>\n"
            "<SignaturePolicyIdentifier>\n<SignaturePolicyImplied>\n</SignaturePolicyImplied>\n"
            "</SignaturePolicyIdentifier>\n<SignatureProductionPlace>\n<City>Tartu</City>\n"
            "<CountryName>EE</CountryName>\n</SignatureProductionPlace>\n"
            f"<SignerRole><ClaimedRoles>{roles}</ClaimedRoles></SignerRole>\n"
            "</SignedSignatureProperties>\n<SignedDataObjectProperties>\n</SignedDataObjectProperties>\n"
            "</SignedProperties>"
        )

    def _response(self, signer: Identity, value: bytes) -> bytes | None:
        if self.ocsp is not None:
            return self.ocsp(value)
        return self.pki.ocsp(signer.certificate, at=self.signed_at + timedelta(seconds=1), nonce=self.nonce(value))

    def _unsigned(self, response: bytes | None, signature_id: str) -> str:
        if response is None:
            return ""
        target = "" if self.version == "1.3" else f' Target="#{signature_id}"'
        encoded = f'<EncapsulatedOCSPValue Id="N0">{_b64(response)}</EncapsulatedOCSPValue>'
        values = f"<OCSPValues>{encoded}</OCSPValues>" if self.version == "1.3" else encoded
        return (
            f"<UnsignedProperties{target}><UnsignedSignatureProperties>{self._references(response, signature_id)}"
            f"<RevocationValues>{values}</RevocationValues></UnsignedSignatureProperties></UnsignedProperties>"
        )

    def _references(self, response: bytes, signature_id: str) -> str:
        """What 1.3 says of the responder and its answer once more. Our reader does not look at it; others do."""
        if self.version != "1.3":
            return ""
        responder = self.pki.responder
        at = (self.signed_at + timedelta(seconds=1)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

        def digest(data: bytes) -> str:
            value = _b64(hashlib.sha1(data, usedforsecurity=False).digest())
            return f'<DigestMethod Algorithm="{SHA1}"></DigestMethod>\n<DigestValue>{value}</DigestValue>\n'

        return (
            f"<CompleteCertificateRefs><CertRefs><Cert><CertDigest>{digest(responder.der)}</CertDigest>\n<IssuerSerial>\n"
            f'<X509IssuerName xmlns="{NS["ds"]}">C=EE,O=TEST,CN=TEST OCSP Responder</X509IssuerName>\n'
            f'<X509SerialNumber xmlns="{NS["ds"]}">{responder.certificate.serial_number}</X509SerialNumber>\n'
            "</IssuerSerial>\n</Cert></CertRefs></CompleteCertificateRefs><CompleteRevocationRefs>\n<OCSPRefs>\n"
            '<OCSPRef>\n<OCSPIdentifier URI="#N0"><ResponderID>C=EE/O=TEST/CN=TEST OCSP Responder</ResponderID>\n'
            f"<ProducedAt>{at}</ProducedAt>\n</OCSPIdentifier>\n"
            f"<DigestAlgAndValue>\n{digest(response)}</DigestAlgAndValue></OCSPRef>\n</OCSPRefs>\n"
            "</CompleteRevocationRefs>\n<CertificateValues>\n"
            f'<EncapsulatedX509Certificate Id="{signature_id}-RESPONDER_CERT">{_b64(responder.der)}'
            "</EncapsulatedX509Certificate></CertificateValues>\n"
        )


def _b64(data: bytes) -> str:
    return base64.encodebytes(data).decode().strip()


_SIGNERS: dict[str, Identity] = {}


def rsa_signer() -> Identity:
    """A signer with RSA, the one algorithm of the format."""
    if "signer" not in _SIGNERS:
        _SIGNERS["signer"] = shared_pki().issue(person("OLD", "38001085718"), kind="rsa")
    return _SIGNERS["signer"]


def rsa_responder() -> Identity:
    """A delegated OCSP responder with RSA; its certificate pairs with a key that only `resign_with_sha1` uses."""
    if "responder" not in _SIGNERS:
        name = distinguished_name("TEST RSA Responder")
        _SIGNERS["responder"] = make_certificate(name, new_key("rsa"), shared_pki().ca, RESPONDER_EXTENSIONS)
    return _SIGNERS["responder"]


def ocsp_with_sha1(signer: Identity, value: bytes, *, at: datetime) -> bytes:
    """A time-mark as responders signed it until about 2014: RSA with SHA-1."""
    responder = rsa_responder()
    assert isinstance(responder.key, rsa.RSAPrivateKey)
    stand_in = replace(responder, key=new_key("p384"))
    nonce = hashlib.sha1(value, usedforsecurity=False).digest()
    response = shared_pki().ocsp(signer.certificate, at=at, nonce=nonce, responder=stand_in)
    outer = der.read_whole(response, max_bytes=100_000)
    outer.take(der.ENUMERATED)
    body = outer.take(der.context(0)).enter().take(der.SEQUENCE).enter()
    kind = body.take(der.OBJECT_IDENTIFIER).raw
    basic = der.read_whole(body.take(der.OCTET_STRING).content, max_bytes=100_000)
    tbs = basic.take(der.SEQUENCE).raw
    basic.take(der.SEQUENCE)
    basic.take(der.BIT_STRING)
    certificates = basic.take(der.context(0)).raw
    signature = responder.key.sign(tbs, padding.PKCS1v15(), hashes.SHA1())
    algorithm = der.sequence(der.oid("1.2.840.113549.1.1.5"), b"\x05\x00")
    signed = der.sequence(tbs, algorithm, der.bit_string(signature), certificates)
    return der.sequence(der.enumerated(0), der.tlv(der.context(0), der.sequence(kind, der.octet_string(signed))))
