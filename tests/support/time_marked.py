"""ASiC-E containers with a BDOC time-mark (BDOC 2.1 §6.1), right unless told otherwise. Nothing here writes them any
more: a signature of level LT is made into one, and signed anew."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree

from digiid.formats import der
from tests.support.containers import SIGNATURES, changed, unpack
from tests.support.pki import (
    RESPONDER_EXTENSIONS,
    SIGNED_AT,
    Identity,
    Pki,
    distinguished_name,
    make_certificate,
    new_key,
    policies,
    shared_pki,
)

_N = {"ds": "http://www.w3.org/2000/09/xmldsig#", "xades": "http://uri.etsi.org/01903/v1.3.2#"}
_SIGNED_PROPERTIES = "http://uri.etsi.org/01903#SignedProperties"
_SHA256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), b"\x05\x00")
POLICY = (
    f'<xades:SignaturePolicyIdentifier xmlns:xades="{_N["xades"]}" xmlns:ds="{_N["ds"]}"><xades:SignaturePolicyId>'
    '<xades:SigPolicyId><xades:Identifier Qualifier="OIDAsURN">urn:oid:1.3.6.1.4.1.10015.1000.3.2.1</xades:Identifier>'
    '</xades:SigPolicyId><xades:SigPolicyHash><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>'
    "<ds:DigestValue>7pudpH4eXlguSZY2e/pNbKzGsq+fu//woYL1SZFws1A=</ds:DigestValue></xades:SigPolicyHash>"
    "<xades:SigPolicyQualifiers><xades:SigPolicyQualifier>"
    "<xades:SPURI>https://www.sk.ee/repository/bdoc-spec21.pdf</xades:SPURI>"
    "</xades:SigPolicyQualifier></xades:SigPolicyQualifiers></xades:SignaturePolicyId></xades:SignaturePolicyIdentifier>"
)


def digest_info(value: bytes) -> bytes:
    """What the nonce of a time-mark is (RFC 8017 §9.2)."""
    return der.sequence(_SHA256, der.octet_string(hashlib.sha256(value).digest()))


@dataclass(frozen=True)
class TimeMarkMaker:
    """What to change. `ocsp` makes a response of the signature value; `keep_stamp` leaves the signature time-stamp."""

    policy: str = POLICY
    ocsp: Callable[[bytes], bytes] | None = None
    nonce: Callable[[bytes], bytes] = digest_info
    responder: Identity | None = None
    include: tuple[Identity, ...] | None = None
    marked_at: datetime = SIGNED_AT + timedelta(seconds=1)
    keep_stamp: bool = False
    certificate_values: tuple[Identity, ...] = ()
    pki: Pki = field(default_factory=shared_pki)

    def container(self) -> bytes:
        container = self.pki.container()
        root = etree.fromstring(unpack(container)[SIGNATURES])

        # 1 the policy is signed, so the value is made anew
        properties = _find(root, "xades:SignedProperties")
        signed = _find(properties, "xades:SignedSignatureProperties")
        signed.append(etree.fromstring(self.policy))
        reference = root.find(f".//ds:Reference[@Type='{_SIGNED_PROPERTIES}']/ds:DigestValue", _N)
        assert reference is not None
        reference.text = _b64(hashlib.sha256(_canonical(properties)).digest())
        key = self.pki.signer.key
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(key.sign(_canonical(_find(root, "ds:SignedInfo")), ec.ECDSA(hashes.SHA384())))
        value = r.to_bytes(48, "big") + s.to_bytes(48, "big")
        element = _find(root, "ds:SignatureValue")
        element.text = _b64(value)

        # 2 the response over the value takes the time-stamp's place
        stamp = _find(root, "xades:SignatureTimeStamp")
        if self.keep_stamp:
            token = self.pki.time_stamp(hashlib.sha256(_canonical(element)).digest(), gen_at=SIGNED_AT)
            _find(stamp, "xades:EncapsulatedTimeStamp").text = _b64(token)
        else:
            parent = stamp.getparent()
            assert parent is not None
            parent.remove(stamp)
        response = self.ocsp(value) if self.ocsp is not None else self._response(value)
        _find(root, "xades:EncapsulatedOCSPValue").text = _b64(response)
        for identity in self.certificate_values:
            encoded = etree.SubElement(
                _find(root, "xades:CertificateValues"), f"{{{_N['xades']}}}EncapsulatedX509Certificate"
            )
            encoded.text = _b64(identity.der)
        return changed(container, {SIGNATURES: etree.tostring(root, xml_declaration=True, encoding="UTF-8")})

    def _response(self, value: bytes) -> bytes:
        return self.pki.ocsp(
            self.pki.signer.certificate,
            at=self.marked_at,
            nonce=self.nonce(value),
            responder=self.responder or mark_responder(),
            include=self.include,
        )


def _find(parent: etree._Element, name: str) -> etree._Element:
    found = parent.find(f".//{name}", _N)
    assert found is not None, name
    return found


def _canonical(element: etree._Element) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=False, with_comments=False)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


_RESPONDERS: dict[str, Identity] = {}


def mark_responder() -> Identity:
    """A delegated responder whose certificate has the policy of those that make time-marks (for tests)."""
    if "mark" not in _RESPONDERS:
        name = distinguished_name("TEST Time-Mark Responder", organization="TEST")
        extensions = (*RESPONDER_EXTENSIONS, policies("1.3.6.1.4.1.10015.3.1.1"))
        _RESPONDERS["mark"] = make_certificate(name, new_key(), shared_pki().ca, extensions)
    return _RESPONDERS["mark"]
