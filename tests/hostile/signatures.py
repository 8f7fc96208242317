"""XML signatures that show one thing and sign another, or that ask their reader to do what no reader should.

Two kinds of attackers: one who changes somebody else's signature, and one who signs, with a good certificate, something
that two programs would read differently. For the second the value, the time-stamp and the confirmation are made anew
and right (`_signed`), so that nothing but the rule under test can refuse it.
"""

import base64
import copy
import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree

from tests.hostile.case import GOOD, PKI, Case, failed, odd, refused, unproven
from tests.support.containers import MANIFEST, SIGNATURES, changed, edited, unpack
from tests.support.pki import NATURAL_QSCD, SIGNED_AT, PrivateKey, make_certificate, new_key, person

DS, XADES = "http://www.w3.org/2000/09/xmldsig#", "http://uri.etsi.org/01903/v1.3.2#"
ASIC = "http://uri.etsi.org/02918/v1.2.1#"
_N = {"ds": DS, "xades": XADES}
_SIGNED_PROPERTIES = "http://uri.etsi.org/01903#SignedProperties"
P384_ORDER = int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)


@dataclass
class Parts:
    """The elements of the one signature, to be moved about."""

    root: etree._Element

    def get(self, path: str) -> etree._Element:
        found = self.root.find(path, _N)
        assert found is not None, path
        return found

    @property
    def signature(self) -> etree._Element:
        return self.get("ds:Signature")

    @property
    def info(self) -> etree._Element:
        return self.get("ds:Signature/ds:SignedInfo")

    @property
    def value(self) -> etree._Element:
        return self.get("ds:Signature/ds:SignatureValue")

    @property
    def key_info(self) -> etree._Element:
        return self.get("ds:Signature/ds:KeyInfo")

    @property
    def object(self) -> etree._Element:
        return self.get("ds:Signature/ds:Object")

    @property
    def qualifying(self) -> etree._Element:
        return self.get("ds:Signature/ds:Object/xades:QualifyingProperties")

    @property
    def properties(self) -> etree._Element:
        return self.get("ds:Signature/ds:Object/xades:QualifyingProperties/xades:SignedProperties")

    @property
    def unsigned(self) -> etree._Element:
        return self.get(".//xades:UnsignedSignatureProperties")

    @property
    def file_reference(self) -> etree._Element:
        return self.get("ds:Signature/ds:SignedInfo/ds:Reference")

    @property
    def properties_reference(self) -> etree._Element:
        return self.get(f"ds:Signature/ds:SignedInfo/ds:Reference[@Type='{_SIGNED_PROPERTIES}']")


Edit = Callable[[Parts], object]


def _tree(edit: Edit, *, signed: bool = False) -> Callable[[], bytes]:
    def make() -> bytes:
        root = etree.fromstring(unpack(GOOD)[SIGNATURES])
        parts = Parts(root)
        edit(parts)
        if signed:
            _sign_anew(parts)
        return changed(GOOD, {SIGNATURES: etree.tostring(root, xml_declaration=True, encoding="UTF-8")})

    return make


def _signed(edit: Edit) -> Callable[[], bytes]:
    """The edit is the signer's own: digest, value and time-stamp are right for what the edit left."""
    return _tree(edit, signed=True)


def _text(edit: Callable[[str], str]) -> Callable[[], bytes]:
    return lambda: edited(GOOD, edit)


def _replace(old: str, new: str, count: int = 1) -> Callable[[], bytes]:
    return _text(lambda xml: xml.replace(old, new, count))


def _raw(data: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    return lambda: changed(GOOD, {SIGNATURES: data(unpack(GOOD)[SIGNATURES])})


def _canonical(element: etree._Element) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=False, with_comments=False)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _sign_anew(parts: Parts, key: PrivateKey = PKI.signer.key) -> None:
    properties = parts.root.findall(".//xades:SignedProperties", _N)
    digest = parts.root.find(f".//ds:Reference[@Type='{_SIGNED_PROPERTIES}']/ds:DigestValue", _N)
    if digest is not None and properties:
        digest.text = _b64(hashlib.sha256(_canonical(properties[0])).digest())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    der = key.sign(_canonical(parts.info), ec.ECDSA(hashes.SHA384()))
    r, s = decode_dss_signature(der)
    parts.value.text = _b64(r.to_bytes(48, "big") + s.to_bytes(48, "big"))
    _stamp_anew(parts)


def _stamp_anew(parts: Parts) -> None:
    token = PKI.time_stamp(hashlib.sha256(_canonical(parts.value)).digest(), gen_at=SIGNED_AT)
    parts.get(".//xades:EncapsulatedTimeStamp").text = _b64(token)


def _element(tag: str, text: str | None = None, **attributes: str) -> etree._Element:
    prefix, name = tag.split(":")
    element = etree.Element(f"{{{_N[prefix]}}}{name}", dict(attributes), nsmap=_N)
    element.text = text
    return element


# ------------------------------------------------------------------ wrapping: the eight classes of the XSW set
#
# Somorovsky et al., "On Breaking SAML: Be Whoever You Want to Be", 2012, §4.1, applied to what XAdES signs by Id: the
# SignedProperties. The evil copy claims another role's time; the original stays somewhere, so that its digest holds.


def _evil(element: etree._Element, *, new_id: str | None = None) -> etree._Element:
    twin = copy.deepcopy(element)
    for time in twin.iter(f"{{{XADES}}}SigningTime"):
        time.text = "2020-01-01T00:00:00Z"
    if new_id is None:
        twin.attrib.pop("Id", None)
    else:
        twin.set("Id", new_id)
    return twin


def _xsw1(parts: Parts) -> None:
    """The original signature inside an evil one that stands in its place."""
    original = parts.signature
    evil = _evil(original, new_id="evil")
    parts.root.replace(original, evil)
    evil.append(original)


def _xsw2(parts: Parts) -> None:
    """The original properties detached, beside the signature; evil ones in their place."""
    original = parts.properties
    parts.qualifying.replace(original, _evil(original, new_id="evil"))
    parts.root.append(original)


def _xsw3(parts: Parts) -> None:
    """Evil properties as a sibling before the original."""
    parts.qualifying.insert(0, _evil(parts.properties, new_id="evil"))


def _xsw4(parts: Parts) -> None:
    """Evil properties as the parent of the original."""
    original = parts.properties
    evil = _evil(original, new_id="evil")
    parts.qualifying.replace(original, evil)
    evil.append(original)


def _xsw5(parts: Parts) -> None:
    """Evil properties under the very Id, the original at the end of the document."""
    original = parts.properties
    parts.qualifying.replace(original, _evil(original, new_id=original.get("Id")))
    parts.root.append(original)


def _xsw6(parts: Parts) -> None:
    """Evil properties under the very Id, the original inside the signature, in KeyInfo."""
    original = parts.properties
    parts.qualifying.replace(original, _evil(original, new_id=original.get("Id")))
    parts.key_info.append(original)


def _xsw7(parts: Parts) -> None:
    """Evil properties in an extension element with loose content, ahead of the original."""
    wrapper = _element("ds:Object")
    wrapper.append(_evil(parts.qualifying))
    parts.signature.insert(3, wrapper)


def _xsw8(parts: Parts) -> None:
    """Evil properties in the place, the original in an Object of its own behind."""
    original = parts.qualifying
    evil = _evil(original)
    parts.object.replace(original, evil)
    wrapper = _element("ds:Object")
    wrapper.append(original)
    parts.signature.append(wrapper)


WRAPPING = "wrapping"
_FORMAT = "FORMAT_FAILURE"


def _format(kind: str, name: str, make: Callable[[], bytes], code: str, says: str = "") -> Case:
    return failed(kind, name, make, _FORMAT, code, says)


def _second(path: str) -> Edit:
    """The element once more, right behind itself."""

    def edit(parts: Parts) -> None:
        element = parts.get(path)
        element.addnext(copy.deepcopy(element))

    return edit


def _without_ids(element: etree._Element) -> etree._Element:
    for inner in element.iter():
        inner.attrib.pop("Id", None)
    return element


def _move_value(parts: Parts) -> None:
    """A second SignatureValue: which one is stamped, which one verified?"""
    parts.value.addprevious(_without_ids(copy.deepcopy(parts.value)))


WRAPPING_CASES = [
    _format(WRAPPING, "XSW1, original inside an evil signature", _tree(_xsw1), "xades."),
    _format(WRAPPING, "XSW2, original detached", _tree(_xsw2), "xades.s"),
    _format(WRAPPING, "XSW3, evil sibling before the original", _tree(_xsw3), "xades.structure", "2 elements"),
    _format(WRAPPING, "XSW4, evil parent of the original", _tree(_xsw4), "xades.s"),
    _format(WRAPPING, "XSW5, the same Id twice, original at the end", _tree(_xsw5), "xades.duplicate_id"),
    _format(WRAPPING, "XSW6, the same Id twice, original in KeyInfo", _tree(_xsw6), "xades.duplicate_id"),
    _format(WRAPPING, "XSW7, evil extension before the original", _tree(_xsw7), "xades."),
    _format(WRAPPING, "XSW8, original in an Object of its own", _tree(_xsw8), "xades."),
    _format(WRAPPING, "two SignedInfo", _tree(_second("ds:Signature/ds:SignedInfo")), "xades."),
    _format(WRAPPING, "two SignatureValue", _tree(_move_value), "xades.structure"),
    _format(WRAPPING, "two KeyInfo", _tree(_second("ds:Signature/ds:KeyInfo")), "xades.structure"),
    _format(
        WRAPPING,
        "two Objects",
        _tree(lambda p: p.signature.append(_element("ds:Object"))),
        "xades.structure",
        "Signature does not hold",
    ),
    _format(
        WRAPPING,
        "two QualifyingProperties",
        _tree(lambda p: p.object.append(_without_ids(copy.deepcopy(p.qualifying)))),
        "xades.structure",
        "Object does not hold",
    ),
    _format(
        WRAPPING,
        "two QualifyingProperties, signed so",
        _signed(lambda p: p.object.append(_without_ids(copy.deepcopy(p.qualifying)))),
        "xades.structure",
        "Object does not hold",
    ),
    _format(
        WRAPPING,
        "two SignedProperties, signed so",
        _signed(lambda p: p.qualifying.append(_evil(p.properties, new_id="evil"))),
        "xades.structure",
        "2 elements SignedProperties",
    ),
    _format(
        WRAPPING,
        "two UnsignedProperties",
        _tree(lambda p: p.qualifying.append(_element("xades:UnsignedProperties"))),
        "xades.structure",
    ),
    _format(
        WRAPPING,
        "properties by reference elsewhere",
        _tree(lambda p: p.object.replace(p.qualifying, _element("xades:QualifyingPropertiesReference", URI="#x"))),
        "xades.structure",
    ),
    _format(WRAPPING, "properties of another signature", _replace('Target="#S0"', 'Target="#S1"'), "xades.target"),
    _format(WRAPPING, "properties without a target", _replace(' Target="#S0"', ""), "xades.structure", "Target"),
    _format(
        WRAPPING,
        "a signature inside a signature",
        _tree(lambda p: p.object.append(_without_ids(copy.deepcopy(p.signature)))),
        "xades.structure",
    ),
    _format(
        WRAPPING,
        "something between the parts",
        _tree(lambda p: p.value.addnext(etree.Element("extra"))),
        "xades.structure",
    ),
    _format(
        WRAPPING,
        "parts in another order",
        _tree(lambda p: p.signature.append(p.info)),
        "xades.structure",
    ),
    _format(
        WRAPPING,
        "SignedInfo in another namespace",
        _text(lambda xml: xml.replace("<ds:SignedInfo>", '<ds:SignedInfo xmlns:ds="urn:x">')),
        "xades.",
    ),
    _format(WRAPPING, "an Id twice", _replace('Id="S0-SIG"', 'Id="S0"'), "xades.duplicate_id"),
    _format(WRAPPING, "an Id twice, once as ID", _replace('Id="S0-SIG"', 'ID="S0"'), "xades.duplicate_id"),
    _format(WRAPPING, "an Id twice, once as id", _replace('Id="S0-SIG"', 'id="S0"'), "xades.duplicate_id"),
    _format(WRAPPING, "an Id twice, once as xml:id", _replace('Id="S0-SIG"', 'xml:id="S0"'), "xades.duplicate_id"),
    _format(
        WRAPPING,
        "the reference names another Id",
        _signed(lambda p: p.properties_reference.set("URI", "#S0-SIG")),
        "xades.signed_properties",
        "wrongly",
    ),
    _format(
        WRAPPING,
        "the signed properties are not signed",
        _signed(lambda p: p.info.remove(p.properties_reference)),
        "xades.signed_properties",
        "not signed",
    ),
    _format(
        WRAPPING,
        "the signed properties are signed without their type",
        _signed(lambda p: p.properties_reference.attrib.pop("Type")),
        "xades.",
    ),
    _format(
        WRAPPING,
        "the signed properties are signed twice",
        _signed(lambda p: p.info.append(_without_ids(copy.deepcopy(p.properties_reference)))),
        "xades.signed_properties",
        "twice",
    ),
    _format(
        WRAPPING,
        "no file is signed",
        _signed(lambda p: [p.info.remove(r) for r in p.info.findall("ds:Reference", _N)[:2]]),
        "xades.reference_count",
    ),
    _format(
        WRAPPING,
        "a file is signed twice",
        _signed(lambda p: p.file_reference.addnext(_without_ids(copy.deepcopy(p.file_reference)))),
        "xades.reference_count",
        "twice",
    ),
    _format(
        WRAPPING,
        "a Manifest is signed in the place of files",
        _signed(lambda p: p.file_reference.set("Type", DS + "Manifest") or p.file_reference.set("URI", "#m")),
        "xades.reference_uri",
    ),
    failed(
        WRAPPING,
        "one file is left unsigned",
        _signed(lambda p: p.info.remove(p.file_reference)),
        _FORMAT,
        "validation.file_not_signed",
        "contract.txt",
    ),
]

# ------------------------------------------------------------------ keys


OTHER = PKI.issue(person("OTHER", "38001085718"))
SAME_NAME = make_certificate(PKI.signer.certificate.subject, new_key(), None, NATURAL_QSCD)
SAME_KEY = make_certificate(person("TWIN", "38001085718"), PKI.signer.key, PKI.ca, NATURAL_QSCD)
EVIL_CA_SIGNED = make_certificate(PKI.signer.certificate.subject, PKI.signer.key, None, NATURAL_QSCD)
KEYS = "key substitution"


def _certificate(der: bytes) -> Edit:
    return lambda p: setattr(p.get(".//ds:X509Certificate"), "text", _b64(der))


def _named(certificate: x509.Certificate, der: bytes) -> Edit:
    """The signed properties name this certificate; KeyInfo has it too; the value is still the signer's."""

    def edit(parts: Parts) -> None:
        _certificate(der)(parts)
        parts.get(".//xades:CertDigest/ds:DigestValue").text = _b64(hashlib.sha256(der).digest())

    assert certificate
    return edit


def _substituted(parts: Parts) -> None:
    """Somebody else's signature taken over: own certificate, own value over the same SignedInfo."""
    _certificate(OTHER.der)(parts)
    assert isinstance(OTHER.key, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(OTHER.key.sign(_canonical(parts.info), ec.ECDSA(hashes.SHA384())))
    parts.value.text = _b64(r.to_bytes(48, "big") + s.to_bytes(48, "big"))
    _stamp_anew(parts)


def _key_value(parts: Parts) -> None:
    parts.key_info.clear()
    parts.key_info.append(_element("ds:KeyName", "60001019906"))


def _extra_first(parts: Parts) -> None:
    """A stranger's certificate before the signer's: shown is whom the signed properties name."""
    _certificate(OTHER.der)(parts)
    parts.get(".//ds:X509Data").append(_element("ds:X509Certificate", _b64(SAME_NAME.der)))


def _issuer_serial(value: bytes) -> Edit:
    return lambda p: p.get(".//xades:Cert").append(_element("xades:IssuerSerialV2", _b64(value)))


def _serial_v1(serial: str) -> Edit:
    def edit(parts: Parts) -> None:
        holder = _element("xades:IssuerSerial")
        holder.append(_element("ds:X509IssuerName", "CN=x"))
        holder.append(_element("ds:X509SerialNumber", serial))
        parts.get(".//xades:Cert").append(holder)

    return edit


# A certificate by nobody that names the listed CA, so that all that reads it is reached; each of its parts spoiled.
_FALSE_CA = replace(PKI.ca, key=new_key())
NAMELESS = make_certificate(person("NAMELESS", "38001085718"), new_key(), _FALSE_CA, NATURAL_QSCD)
_KEY_IDS = [
    x509.SubjectKeyIdentifier.from_public_key(identity.key.public_key()).digest for identity in (_FALSE_CA, PKI.ca)
]
NAMELESS_DER = NAMELESS.der.replace(*_KEY_IDS)
_TEXT = bytes.fromhex("06035504030c")  # commonName, UTF8String
_ECDSA_SHA384, _P384 = bytes.fromhex("06082a8648ce3d040303"), bytes.fromhex("06052b81040022")
_KEY_USAGE = bytes.fromhex("0603551d0f0101ff0404")


def _own_certificate(old: bytes, new: bytes, *, at: int | None = 0) -> Callable[[], bytes]:
    """A right signature by a certificate in which bytes were exchanged: in the place `at`, or (None) everywhere."""
    places = [found.start() for found in re.finditer(re.escape(old), NAMELESS_DER)]
    if at is None:
        der = NAMELESS_DER.replace(old, new)
    else:
        der = NAMELESS_DER[: places[at]] + new + NAMELESS_DER[places[at] + len(old) :]

    def edit(parts: Parts) -> None:
        _certificate(der)(parts)
        parts.get(".//xades:CertDigest/ds:DigestValue").text = _b64(hashlib.sha256(der).digest())
        _sign_anew(parts, NAMELESS.key)

    return _tree(edit)


def _not_valid(name: str, make: Callable[[], bytes]) -> Case:
    return Case(KEYS, name, make, "", "", "")


CERTIFICATE_CASES = [
    _not_valid("a certificate by nobody", _own_certificate(b"", b"")),
    _not_valid("the subject's name in an unknown type", _own_certificate(_TEXT, _TEXT[:-1] + b"\x0d", at=1)),
    _not_valid("the issuer's name in an unknown type", _own_certificate(_TEXT, _TEXT[:-1] + b"\x0d")),
    _not_valid("a name that is not UTF-8", _own_certificate("ÄNN".encode(), b"\xff" * 4)),
    _not_valid(
        "an unknown signature algorithm", _own_certificate(_ECDSA_SHA384, _ECDSA_SHA384[:-1] + b"\x7f", at=None)
    ),
    _not_valid(
        "signed by MD5 with RSA", _own_certificate(_ECDSA_SHA384, bytes.fromhex("06082a864886f70d0204"), at=None)
    ),
    _not_valid("an unknown curve", _own_certificate(_P384, _P384[:-1] + b"\x7f")),
    _not_valid("another curve than the point's", _own_certificate(_P384, bytes.fromhex("06052b81040023"))),
    _not_valid("a point that is none", _own_certificate(bytes.fromhex("03620004"), bytes.fromhex("03620007"))),
    _not_valid("a key usage that is none", _own_certificate(_KEY_USAGE, _KEY_USAGE[:-1] + b"\x05")),
    _not_valid("two key usages", _own_certificate(bytes.fromhex("0603551d20"), bytes.fromhex("0603551d0f"))),
    _not_valid("a time that is none", _own_certificate(b"Z\x17\r", b"z\x17\r")),
]

_UNNAMED = "NO_SIGNING_CERTIFICATE_FOUND"
REPEATED_CASES = [
    odd(
        KEYS,
        "a signature copied, to count twice",
        lambda: changed(GOOD, {"META-INF/signatures1.xml": unpack(GOOD)[SIGNATURES]}),
        "validation.repeated_signature",
        "once more",
    ),
    failed(
        KEYS,
        "a signature copied in its file",
        _tree(lambda p: p.root.append(_without_ids(copy.deepcopy(p.signature)))),
        _FORMAT,
        "xades.",
    ),
]

KEY_CASES = [
    unproven(
        KEYS, "another certificate in KeyInfo", _tree(_certificate(OTHER.der)), _UNNAMED, "xades.certificate.mismatch"
    ),
    unproven(KEYS, "another certificate and its value", _tree(_substituted), _UNNAMED, "xades.certificate.mismatch"),
    unproven(KEYS, "same name, other key", _tree(_certificate(SAME_NAME.der)), _UNNAMED, "xades.certificate.mismatch"),
    unproven(KEYS, "same key, other name", _tree(_certificate(SAME_KEY.der)), _UNNAMED, "xades.certificate.mismatch"),
    unproven(
        KEYS,
        "same key, same name, self-signed",
        _tree(_certificate(EVIL_CA_SIGNED.der)),
        _UNNAMED,
        "xades.certificate.mismatch",
    ),
    unproven(KEYS, "two certificates, none of them named", _tree(_extra_first), _UNNAMED, "xades.certificate.mismatch"),
    unproven(KEYS, "only a key name in KeyInfo", _tree(_key_value), _UNNAMED, "xades.certificate.missing"),
    failed(
        KEYS,
        "the certificate of another named and signed",
        _signed(_named(OTHER.certificate, OTHER.der)),
        "SIG_CRYPTO_FAILURE",
        "xades.signature_value",
    ),
    unproven(
        KEYS,
        "same key, another certificate named and signed",
        _signed(_named(SAME_KEY.certificate, SAME_KEY.der)),
        "CERTIFICATE_CHAIN_GENERAL_FAILURE",
        "validation.no_revocation_data",
    ),
    unproven(
        KEYS,
        "no certificate is named",
        _signed(
            lambda p: p.get(".//xades:SigningCertificateV2").getparent().remove(p.get(".//xades:SigningCertificateV2"))
        ),
        "SIG_CONSTRAINTS_FAILURE",
        "xades.certificate.unsigned",
    ),
    unproven(
        KEYS, "another serial number is named", _signed(_serial_v1("4711")), _UNNAMED, "xades.certificate.mismatch"
    ),
    failed(KEYS, "a serial number that is none", _signed(_serial_v1("0x10")), _FORMAT, "xades.value"),
    failed(KEYS, "a serial number of 100 digits", _signed(_serial_v1("9" * 100)), _FORMAT, "xades.value"),
    failed(
        KEYS,
        "an IssuerSerialV2 that is none",
        _signed(_issuer_serial(b"\x30\x80")),
        _FORMAT,
        "xades.certificate.issuer_serial",
    ),
    failed(
        KEYS,
        "a certificate that is none",
        _signed(_named(OTHER.certificate, b"\x30\x03\x02\x01\x01")),
        _FORMAT,
        "xades.certificate.der",
    ),
    _format(
        KEYS,
        "65 certificates",
        _tree(lambda p: [p.get(".//ds:X509Data").append(_element("ds:X509Certificate", "AA==")) for _ in range(64)]),
        "xades.certificate_count",
    ),
    _format(
        KEYS,
        "both forms of the signing certificate",
        _signed(lambda p: p.get(".//xades:SigningCertificateV2").addnext(_element("xades:SigningCertificate"))),
        "xades.structure",
    ),
    _format(
        KEYS,
        "CertDigest by MD5",
        _signed(
            lambda p: p.get(".//xades:CertDigest/ds:DigestMethod").set(
                "Algorithm", "http://www.w3.org/2001/04/xmldsig-more#md5"
            )
        ),
        "xades.digest_method",
    ),
]

# ------------------------------------------------------------------ signature values and algorithms

VALUES = "signature value"
_MORE = "http://www.w3.org/2001/04/xmldsig-more#"


def _good_value() -> tuple[int, int]:
    raw = base64.b64decode(Parts(etree.fromstring(unpack(GOOD)[SIGNATURES])).value.text or "")
    return int.from_bytes(raw[:48], "big"), int.from_bytes(raw[48:], "big")


def _value(change: Callable[[int, int], bytes]) -> Callable[[], bytes]:
    """Another value, and a time-stamp over it: only the value can be what is refused."""

    def edit(parts: Parts) -> None:
        parts.value.text = _b64(change(*_good_value()))
        _stamp_anew(parts)

    return _tree(edit)


def _pair(r: int, s: int, size: int = 48) -> bytes:
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _der(r: int, s: int) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    return encode_dss_signature(r, s)


def _method(uri: str) -> Callable[[], bytes]:
    return _signed(lambda p: p.get(".//ds:SignatureMethod").set("Algorithm", uri))


_N384 = P384_ORDER
_CRYPTO = "SIG_CRYPTO_FAILURE"
VALUE_CASES = [
    failed(VALUES, "ECDSA in DER", _value(_der), _CRYPTO, "xades.signature_value", "on this curve"),
    failed(VALUES, "too short", _value(lambda r, s: _pair(r, s)[:-1]), _CRYPTO, "xades.signature_value", "95 bytes"),
    failed(
        VALUES,
        "too long, zeros before both",
        _value(lambda r, s: _pair(r, s, 49)),
        _CRYPTO,
        "xades.signature_value",
        "98 bytes",
    ),
    failed(
        VALUES, "too long, one byte behind", _value(lambda r, s: _pair(r, s) + b"\0"), _CRYPTO, "xades.signature_value"
    ),
    failed(VALUES, "empty", _value(lambda r, s: b""), _CRYPTO, "xades.signature_value"),
    failed(VALUES, "r and s zero", _value(lambda r, s: bytes(96)), _CRYPTO, "xades.signature_value"),
    failed(VALUES, "r zero", _value(lambda r, s: _pair(0, s)), _CRYPTO, "xades.signature_value"),
    failed(VALUES, "s zero", _value(lambda r, s: _pair(r, 0)), _CRYPTO, "xades.signature_value"),
    failed(VALUES, "r is the order", _value(lambda r, s: _pair(_N384, s)), _CRYPTO, "xades.signature_value"),
    failed(VALUES, "s is the order", _value(lambda r, s: _pair(r, _N384)), _CRYPTO, "xades.signature_value"),
    failed(VALUES, "r and s the order", _value(lambda r, s: _pair(_N384, _N384)), _CRYPTO, "xades.signature_value"),
    failed(
        VALUES,
        "r out of range",
        _value(lambda r, s: b"\xff" * 48 + s.to_bytes(48, "big")),
        _CRYPTO,
        "xades.signature_value",
    ),
    failed(VALUES, "r and s exchanged", _value(lambda r, s: _pair(s, r)), _CRYPTO, "xades.signature_value"),
    unproven(
        VALUES,
        "s mirrored, so that it verifies",
        _tree(lambda p: setattr(p.value, "text", _b64(_pair(_good_value()[0], _N384 - _good_value()[1])))),
        "SIG_CONSTRAINTS_FAILURE",
        "time_stamp",
        "imprint",
    ),
    _format(VALUES, "2,049 bytes", _value(lambda r, s: bytes(2049)), "xades.value"),
    failed(VALUES, "the method is RSA, the key is not", _method(_MORE + "rsa-sha256"), _CRYPTO, "xades.key_mismatch"),
    failed(VALUES, "the method names another hash", _method(_MORE + "ecdsa-sha256"), _CRYPTO, "xades.signature_value"),
    _format(VALUES, "HMAC with the public key", _method(DS + "hmac-sha1"), "xades.signature_method"),
    _format(VALUES, "HMAC-SHA256", _method(_MORE + "hmac-sha256"), "xades.signature_method"),
    _format(VALUES, "DSA", _method(DS + "dsa-sha1"), "xades.signature_method"),
    _format(VALUES, "RSA with MD5", _method(_MORE + "rsa-md5"), "xades.signature_method"),
    _format(
        VALUES,
        "RSA-PSS with parameters of its own",
        _method("http://www.w3.org/2007/05/xmldsig-more#rsa-pss"),
        "xades.signature_method",
    ),
    _format(
        VALUES,
        "no method",
        _signed(lambda p: p.get(".//ds:SignatureMethod").attrib.pop("Algorithm")),
        "xades.structure",
    ),
    _format(
        VALUES,
        "HMACOutputLength in the method",
        _signed(lambda p: p.get(".//ds:SignatureMethod").append(_element("ds:HMACOutputLength", "0"))),
        "xades.structure",
    ),
    _format(
        VALUES,
        "a digest by MD5",
        _signed(lambda p: p.get(".//ds:DigestMethod").set("Algorithm", _MORE + "md5")),
        "xades.digest_method",
    ),
    failed(
        VALUES,
        "a digest cut short",
        _signed(lambda p: setattr(p.get(".//ds:DigestValue"), "text", "AA==")),
        "HASH_FAILURE",
        "xades.reference.digest",
    ),
    failed(
        VALUES,
        "an empty digest",
        _signed(lambda p: setattr(p.get(".//ds:DigestValue"), "text", "")),
        "HASH_FAILURE",
        "xades.reference.digest",
    ),
]

# ------------------------------------------------------------------ references, transforms, canonicalization

REFERENCES, TRANSFORMS, C14N = "references", "transforms", "canonicalization"
_C14N_11 = "http://www.w3.org/2006/12/xml-c14n11"


def _uri(uri: str | None) -> Callable[[], bytes]:
    def edit(parts: Parts) -> None:
        if uri is None:
            parts.file_reference.attrib.pop("URI")
        else:
            parts.file_reference.set("URI", uri)

    return _signed(edit)


def _transform(algorithm: str, content: str | None = None) -> etree._Element:
    holder = _element("ds:Transforms")
    transform = _element("ds:Transform", Algorithm=algorithm)
    if content is not None:
        transform.append(etree.fromstring(content))
    holder.append(transform)
    return holder


_XSLT = (
    '<s:stylesheet xmlns:s="http://www.w3.org/1999/XSL/Transform" version="1.0"><s:template match="/"/></s:stylesheet>'
)
_XPATH = f'<ds:XPath xmlns:ds="{DS}">not(ancestor-or-self::ds:Signature)</ds:XPath>'
_ALGORITHMS = {
    "XSLT": ("http://www.w3.org/TR/1999/REC-xslt-19991116", _XSLT),
    "XPath": ("http://www.w3.org/TR/1999/REC-xpath-19991116", _XPATH),
    "XPath filter 2": ("http://www.w3.org/2002/06/xmldsig-filter2", None),
    "base64": (DS + "base64", None),
    "enveloped signature": (DS + "enveloped-signature", None),
    "decryption": ("http://www.w3.org/2002/07/decrypt#XML", None),
    "XPointer": ("http://www.w3.org/2001/04/xmldsig-more/xptr", None),
    "relationships of OPC": ("http://schemas.openxmlformats.org/package/2006/RelationshipTransform", None),
    "an unknown one": ("urn:x", None),
}


def _on_file(algorithm: str, content: str | None = None) -> Callable[[], bytes]:
    return _signed(lambda p: p.file_reference.insert(0, _transform(algorithm, content)))


def _on_properties(algorithm: str, content: str | None = None) -> Callable[[], bytes]:
    def edit(parts: Parts) -> None:
        reference = parts.properties_reference
        reference.replace(reference[0], _transform(algorithm, content))

    return _signed(edit)


def _two_transforms(parts: Parts) -> None:
    parts.properties_reference[0].append(_element("ds:Transform", Algorithm=_C14N_11))


def _relative_namespace(parts: Parts) -> None:
    parts.properties[0].append(etree.fromstring('<x xmlns="relative"/>'))


def _prefix_list(parts: Parts) -> None:
    method = parts.get(".//ds:CanonicalizationMethod")
    method.set("Algorithm", "http://www.w3.org/2001/10/xml-exc-c14n#")
    method.append(
        etree.fromstring('<ec:InclusiveNamespaces xmlns:ec="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="ds"/>')
    )


_URIS = (
    "file:///etc/passwd",
    "http://example.test/x",
    "https://example.test/x",
    "FTP://x",
    "data:,x",
    "javascript:x",
    "cid:x",
    "x:contract.txt",
)
REFERENCE_CASES = [
    *(_format(REFERENCES, f"the foreign URI {uri}", _uri(uri), "xades.reference_uri") for uri in _URIS),
    *(
        _format(REFERENCES, f"the pointer {uri!r}", _uri(uri), "xades.reference_uri")
        for uri in ("", "#", "#S0", "#xpointer(/)", "#xpointer(id('S0'))")
    ),
    _format(REFERENCES, "no URI", _uri(None), "xades.reference_uri"),
    _format(REFERENCES, "a URI of 5,000 characters", _uri("x" * 5000), "xades.reference_uri"),
    _format(REFERENCES, "a URI that is not UTF-8", _uri("%ff%fe"), "asic.uri"),
    *(
        unproven(
            REFERENCES,
            f"a URI that leads to no file: {uri}",
            _uri(uri),
            "SIGNED_DATA_NOT_FOUND",
            "xades.reference.missing",
        )
        for uri in (
            "//contract.txt",
            "%2Fcontract.txt",
            "/../contract.txt",
            "/mimetype",
            "./contract.txt",
            "x/../contract.txt",
            "../contract.txt",
            "//host/contract.txt",
            "contract.txt?x",
            "contract.txt#x",
            "CONTRACT.TXT",
            "contract%2etxt%00",
            "contract%252etxt",
            "mimetype",
            "META-INF/manifest.xml",
            "META-INF/signatures0.xml",
        )
    ),
    _format(
        REFERENCES,
        "1,001 files",
        _signed(lambda p: [p.info.append(_reference(f"f{i}")) for i in range(999)]),
        "xades.reference_count",
    ),
    _format(
        REFERENCES,
        "something else among the references",
        _signed(lambda p: p.info.append(_element("ds:Object"))),
        "xades.structure",
    ),
    *(_format(TRANSFORMS, f"{name} on a file", _on_file(*how), "xades.transform") for name, how in _ALGORITHMS.items()),
    _format(TRANSFORMS, "canonicalization on a file", _on_file(_C14N_11), "xades.transform"),
    *(
        _format(TRANSFORMS, f"{name} on the properties", _on_properties(*how), "xades.")
        for name, how in _ALGORITHMS.items()
    ),
    _format(TRANSFORMS, "two on the properties", _signed(_two_transforms), "xades.transform"),
    _format(
        TRANSFORMS, "none at all in the list", _signed(lambda p: p.properties_reference[0].clear()), "xades.transform"
    ),
    _format(
        C14N,
        "unknown",
        _signed(lambda p: p.get(".//ds:CanonicalizationMethod").set("Algorithm", "urn:x")),
        "xades.c14n",
    ),
    _format(
        C14N,
        "Canonical XML 2.0",
        _signed(lambda p: p.get(".//ds:CanonicalizationMethod").set("Algorithm", "http://www.w3.org/2010/xml-c14n2")),
        "xades.c14n",
    ),
    _format(
        C14N,
        "XPath in the place of one",
        _signed(
            lambda p: p.get(".//ds:CanonicalizationMethod").set(
                "Algorithm", "http://www.w3.org/TR/1999/REC-xpath-19991116"
            )
        ),
        "xades.c14n",
    ),
    _format(C14N, "impossible, for a relative namespace", _tree(_relative_namespace), "xml.c14n"),
    _format(C14N, "with a list of prefixes", _signed(_prefix_list), "xades.structure"),
    failed(
        C14N,
        "another one than was used",
        _replace(f'Method Algorithm="{_C14N_11}"', 'Method Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"'),
        _CRYPTO,
        "xades.signature_value",
    ),
    failed(
        C14N,
        "another one than was used for the properties",
        _replace(
            f'<ds:Transform Algorithm="{_C14N_11}"', '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"'
        ),
        "HASH_FAILURE",
        "xades.reference.digest",
    ),
    _format(
        C14N,
        "xml:lang above what is signed",
        _replace("<asic:XAdESSignatures ", '<asic:XAdESSignatures xml:lang="et" '),
        "xml.inherited_attribute",
    ),
    _format(
        C14N,
        "xml:base above what is signed",
        _replace("<asic:XAdESSignatures ", '<asic:XAdESSignatures xml:base="http://x/" '),
        "xml.inherited_attribute",
    ),
]


def _reference(name: str) -> etree._Element:
    reference = _element("ds:Reference", URI=name)
    reference.append(_element("ds:DigestMethod", Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"))
    reference.append(_element("ds:DigestValue", "AA=="))
    return reference


# ------------------------------------------------------------------ XML itself

XML = "XML"
_LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{i} "&a{i - 1};&a{i - 1};">' for i in range(1, 40)) + "]>"
)


def _with_doctype(doctype: str, old: str = "", new: str = "") -> Callable[[], bytes]:
    def edit(xml: bytes) -> bytes:
        head, _, rest = xml.partition(b"?>")
        return head + b"?>" + doctype.encode() + rest.replace(old.encode(), new.encode(), 1)

    return _raw(edit)


def _encoded(encoding: str, declared: str | None = None, bom: bytes = b"") -> Callable[[], bytes]:
    def edit(xml: bytes) -> bytes:
        text = xml.decode().replace("UTF-8", declared or encoding, 1)
        return bom + text.encode(encoding)

    return _raw(edit)


def _deep(depth: int) -> Callable[[], bytes]:
    return _raw(lambda xml: xml.replace(b"<ds:Object>", b"<ds:Object>" + b"<a>" * depth + b"</a>" * depth, 1))


def _inside(tag: str, insertion: str) -> Callable[[], bytes]:
    def edit(xml: str) -> str:
        at = xml.index(">", xml.index(f"<{tag}")) + 5
        return xml[:at] + insertion + xml[at:]

    return _text(edit)


_SPLIT = (
    "ds:DigestValue",
    "ds:SignatureValue",
    "ds:X509Certificate",
    "xades:SigningTime",
    "xades:MimeType",
    "xades:EncapsulatedTimeStamp",
    "xades:EncapsulatedOCSPValue",
)


def _many_namespaces(xml: bytes) -> bytes:
    """In scope of every signed element: canonicalization would take time with the square of their number."""
    names = b" ".join(b'xmlns:a%d="u:%d"' % (i, i) for i in range(10_000))
    reference = etree.tostring(_reference("x"))
    return xml.replace(b"<asic:XAdESSignatures ", b"<asic:XAdESSignatures " + names + b" ", 1).replace(
        b"</ds:SignedInfo>", reference * 500 + b"</ds:SignedInfo>", 1
    )


def _long_namespaces() -> bytes:
    """A small container in which every signature's parts would be written with a megabyte of namespaces."""
    names = b" ".join(b'xmlns:%b%d="u:a"' % (b"p" * 24_000, i) for i in range(40))
    xml = unpack(GOOD)[SIGNATURES].replace(b"<asic:XAdESSignatures ", b"<asic:XAdESSignatures " + names + b" ", 1)
    return changed(GOOD, {SIGNATURES: xml})


def _many_proofs() -> bytes:
    """A megabyte that would keep a judge busy for half a minute."""

    def edit(parts: Parts) -> None:
        values = parts.get(".//xades:OCSPValues")
        for _ in range(31):
            parts.unsigned.insert(0, _without_ids(copy.deepcopy(parts.unsigned[0])))
        for _ in range(60):
            values.append(_without_ids(copy.deepcopy(values[0])))

    xml = unpack(_tree(edit)())[SIGNATURES]
    return changed(GOOD, {f"META-INF/signatures{i}.xml": xml for i in range(200)})


XML_CASES = [
    refused(XML, "20,000 time-stamps and responses", _many_proofs, "validation.too_many_proofs", seconds=10.0),
    _format(XML, "10,000 namespaces above 500 references", _raw(_many_namespaces), "xades.namespaces"),
    _format(XML, "a megabyte of namespaces above all that is signed", _long_namespaces, "xades.namespaces"),
    _format(
        XML,
        "40,000 attributes on what is signed",
        _raw(
            lambda xml: xml.replace(
                b"<ds:SignedInfo>", b"<ds:SignedInfo " + b" ".join(b'a%d=""' % i for i in range(40_000)) + b">", 1
            )
        ),
        "xades.attributes",
    ),
    _format(
        XML,
        "60,000 Ids",
        _raw(
            lambda xml: xml.replace(
                b"<ds:Object>",
                b"<ds:Object>"
                + b"".join(b'<a Id="a%d"/><a ID="b%d"/><a id="c%d"/>' % (i, i, i) for i in range(20_000)),
                1,
            )
        ),
        "xades.",
    ),
    _format(XML, "DOCTYPE", _with_doctype("<!DOCTYPE x>"), "xades.doctype"),
    _format(
        XML,
        "DOCTYPE of another place",
        _with_doctype('<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">'),
        "xades.doctype",
    ),
    _format(
        XML, "entity", _with_doctype('<!DOCTYPE x [<!ENTITY e "text/html">]>', "text/plain", "&e;"), "xades.doctype"
    ),
    _format(
        XML,
        "external entity",
        _with_doctype('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', "text/plain", "&e;"),
        "xades.doctype",
    ),
    _format(
        XML,
        "parameter entity",
        _with_doctype('<!DOCTYPE x [<!ENTITY % e SYSTEM "file:///etc/passwd"> %e;]>'),
        "xades.doctype",
    ),
    _format(XML, "a billion laughs", _with_doctype(_LAUGHS, "text/plain", "&a39;"), "xades.doctype"),
    _format(
        XML,
        "an attribute that the DOCTYPE makes an Id",
        _with_doctype("<!DOCTYPE x [<!ATTLIST x n ID #IMPLIED>]>"),
        "xades.doctype",
    ),
    _format(XML, "an entity that nothing declares", _replace("text/plain", "&e;"), "xades.xml"),
    *(_format(XML, f"a comment inside {tag}", _inside(tag, "<!-- x -->"), "xades.comment") for tag in _SPLIT),
    *(
        _format(XML, f"a processing instruction inside {tag}", _inside(tag, "<?x y?>"), "xades.processing_instruction")
        for tag in _SPLIT
    ),
    *(_format(XML, f"an element inside {tag}", _inside(tag, "<x/>"), "xades.value") for tag in _SPLIT),
    _format(
        XML,
        "a comment between elements, signed so",
        _signed(lambda p: p.info.insert(1, etree.Comment("x"))),
        "xades.comment",
    ),
    _format(
        XML,
        "a processing instruction between elements",
        _signed(lambda p: p.info.insert(1, etree.PI("x", "y"))),
        "xades.processing_instruction",
    ),
    _format(XML, "UTF-16, little endian", _encoded("UTF-16-LE", "UTF-16", b"\xff\xfe"), "xades.encoding"),
    _format(XML, "UTF-16, big endian", _encoded("UTF-16-BE", "UTF-16", b"\xfe\xff"), "xades.encoding"),
    _format(XML, "UTF-16 without a byte order mark", _encoded("UTF-16-LE", "UTF-16LE"), "xades."),
    _format(XML, "UTF-32", _encoded("UTF-32-LE", "UTF-32", b"\xff\xfe\0\0"), "xades.encoding"),
    _format(XML, "UTF-7", _encoded("UTF-7"), "xades."),
    _format(XML, "ISO-8859-1", _encoded("ISO-8859-1"), "xades.encoding"),
    _format(XML, "EBCDIC", _encoded("cp037", "EBCDIC-US"), "xades."),
    _format(XML, "an encoding that nobody knows", _encoded("UTF-8", "x-unknown"), "xades."),
    _format(
        XML,
        "XML 1.1 with control characters",
        _raw(lambda xml: xml.replace(b'version="1.0"', b'version="1.1"').replace(b"text/plain", b"text&#1;plain")),
        "xades.xml",
    ),
    _format(XML, "NUL", _raw(lambda xml: xml.replace(b"text/plain", b"text/\0plain")), "xades.xml"),
    _format(XML, "nesting, 300 deep", _deep(300), "xades."),
    _format(XML, "nesting, 100,000 deep", _deep(100_000), "xades."),
    _format(
        XML,
        "an Id of 900,000 bytes",
        _replace('<ds:Signature Id="S0"', f'<ds:Signature Id="{"x" * 900_000}"'),
        "xades.",
    ),
    _format(
        XML,
        "a signature file of 2 MB",
        _raw(lambda xml: xml + random.Random(1).randbytes(1_000_000).hex().encode()),
        "asic.zip.entry_too_large",
    ),
    _format(
        XML,
        "100,000 empty elements",
        _raw(lambda xml: xml.replace(b"<ds:Object>", b"<ds:Object>" + b"<a/>" * 100_000, 1)),
        "xades.structure",
    ),
    _format(
        XML,
        "30,000 attributes",
        _raw(
            lambda xml: xml.replace(
                b"<ds:Object>", b"<ds:Object " + b" ".join(b'a%d=""' % i for i in range(30_000)) + b"><x/>", 1
            )
        ),
        "xades.",
    ),
    _format(
        XML,
        "30,000 namespaces",
        _raw(
            lambda xml: xml.replace(
                b"<ds:Object>",
                b"<ds:Object " + b" ".join(b'xmlns:a%d="u:%d"' % (i, i) for i in range(30_000)) + b"><x/>",
                1,
            )
        ),
        "xades.",
    ),
    _format(XML, "two root elements", _raw(lambda xml: xml + b"<x/>"), "xades.xml"),
    _format(XML, "text behind the root element", _raw(lambda xml: xml + b"x"), "xades.xml"),
    _format(XML, "an attribute twice", _replace('<ds:Signature Id="S0"', '<ds:Signature Id="S0" Id="S1"'), "xades.xml"),
    _format(XML, "another root element", _replace("asic:XAdESSignatures", "asic:OpenDocument", 9), "xades.root"),
    _format(
        XML,
        "65 signatures",
        _tree(lambda p: [p.root.append(_without_ids(copy.deepcopy(p.signature))) for _ in range(64)]),
        "xades.signature_count",
    ),
    _format(XML, "base64 with something else in it", _inside("ds:DigestValue", "!"), "xades.base64"),
    _format(XML, "base64 of the web", _inside("ds:SignatureValue", "_-_-"), "xades.base64"),
    _format(
        XML,
        "base64 without its padding",
        _text(lambda xml: xml.replace("=</ds:DigestValue>", "</ds:DigestValue>", 1)),
        "xades.base64",
    ),
    _format(
        XML,
        "base64 with too much padding",
        _text(lambda xml: xml.replace("=</ds:DigestValue>", "=====</ds:DigestValue>", 1)),
        "xades.base64",
    ),
    _format(
        XML,
        "base64 in two pieces",
        _text(lambda xml: xml.replace("=</ds:DigestValue>", "=AAAA</ds:DigestValue>", 1)),
        "xades.base64",
    ),
    _format(
        XML,
        "a time that is none",
        _signed(lambda p: setattr(p.get(".//xades:SigningTime"), "text", "yesterday")),
        "xades.date_time",
    ),
    _format(
        XML,
        "a 30th of February",
        _signed(lambda p: setattr(p.get(".//xades:SigningTime"), "text", "2026-02-30T00:00:00Z")),
        "xades.date_time",
    ),
    _format(
        XML,
        "a time in other digits",
        _signed(lambda p: setattr(p.get(".//xades:SigningTime"), "text", "٢٠٢٦-01-01T00:00:00Z")),
        "xades.date_time",
    ),
    _format(
        XML,
        "33 time-stamps",
        _tree(lambda p: [p.unsigned.append(_without_ids(copy.deepcopy(p.unsigned[0]))) for _ in range(32)]),
        "xades.",
    ),
    _format(
        XML,
        "65 responses",
        _tree(
            lambda p: [
                p.get(".//xades:OCSPValues").append(_element("xades:EncapsulatedOCSPValue", "AA==")) for _ in range(64)
            ]
        ),
        "xades.value_count",
    ),
    _format(
        XML,
        "a response in another encoding",
        _tree(
            lambda p: p.get(".//xades:EncapsulatedOCSPValue").set("Encoding", "http://uri.etsi.org/01903/v1.2.2#PER")
        ),
        "xades.encoding",
    ),
    _format(
        XML,
        "properties about unsigned data objects",
        _tree(lambda p: p.get(".//xades:UnsignedProperties").append(_element("xades:UnsignedDataObjectProperties"))),
        "xades.structure",
    ),
]

# ------------------------------------------------------------------ manifest and mimetype

MANIFESTS = "manifest and type"
_MANIFEST_NS = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"


def _manifest(edit: Callable[[str], str]) -> Callable[[], bytes]:
    return lambda: edited(GOOD, edit, MANIFEST)


def _type(content: bytes) -> Callable[[], bytes]:
    return lambda: changed(GOOD, {"mimetype": content})


_E = b"application/vnd.etsi.asic-e+zip"
MANIFEST_CASES = [
    failed(
        MANIFESTS,
        "another media type",
        _manifest(lambda x: x.replace("text/plain", "text/html")),
        _FORMAT,
        "validation.media_type",
        "text/html",
    ),
    failed(
        MANIFESTS,
        "a file missing",
        _manifest(lambda x: x.replace("contract.txt", "kontract.txt")),
        _FORMAT,
        "asic.manifest.mismatch",
        "contract.txt",
    ),
    failed(
        MANIFESTS,
        "another type of container",
        _manifest(lambda x: x.replace("asic-e", "asic-s")),
        _FORMAT,
        "asic.manifest.mismatch",
        "another container type",
    ),
    failed(
        MANIFESTS, "no manifest", lambda: changed(GOOD, {MANIFEST: None}), _FORMAT, "asic.manifest.missing", "absent"
    ),
    refused(MANIFESTS, "DOCTYPE", _manifest(lambda x: x.replace("?>", "?><!DOCTYPE x>", 1)), "asic.manifest.doctype"),
    refused(
        MANIFESTS,
        "external entity",
        _manifest(
            lambda x: x.replace("?>", '?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', 1).replace(
                "text/plain", "&e;"
            )
        ),
        "asic.manifest.doctype",
    ),
    refused(
        MANIFESTS,
        "a comment",
        _manifest(lambda x: x.replace("</manifest:manifest>", "<!-- x --></manifest:manifest>")),
        "asic.manifest.comment",
    ),
    refused(
        MANIFESTS,
        "a file twice",
        _manifest(
            lambda x: x.replace(
                "</manifest:manifest>",
                '<manifest:file-entry manifest:full-path="contract.txt" manifest:media-type="text/html"/>'
                "</manifest:manifest>",
            )
        ),
        "asic.manifest.duplicate",
    ),
    refused(
        MANIFESTS,
        "elements inside an entry",
        _manifest(lambda x: x.replace('text/plain"/>', 'text/plain"><x/></manifest:file-entry>')),
        "asic.manifest.entry",
    ),
    refused(
        MANIFESTS, "another namespace", _manifest(lambda x: x.replace(_MANIFEST_NS, "urn:x")), "asic.manifest.root"
    ),
    refused(
        MANIFESTS,
        "UTF-16",
        lambda: changed(GOOD, {MANIFEST: unpack(GOOD)[MANIFEST].decode().replace("UTF-8", "UTF-16").encode("utf-16")}),
        "asic.manifest.encoding",
    ),
    refused(MANIFESTS, "a manifest that is none", lambda: changed(GOOD, {MANIFEST: b"junk"}), "asic.manifest.xml"),
    odd(MANIFESTS, "no mimetype", lambda: changed(GOOD, {"mimetype": None}), "asic.mimetype.absent"),
    odd(MANIFESTS, "a mimetype of another kind", _type(b"application/zip"), "asic.mimetype.other"),
    refused(
        MANIFESTS,
        "a mimetype of OpenDocument",
        _type(b"application/vnd.oasis.opendocument.text"),
        "asic.mimetype.unknown",
    ),
    odd(MANIFESTS, "an empty mimetype", _type(b""), "asic.mimetype.other"),
    failed(
        MANIFESTS,
        "another name in capitals",
        lambda: changed(GOOD, {"mimetype": None, "MIMETYPE": _E}),
        _FORMAT,
        "asic.manifest.mismatch",
        "MIMETYPE",
    ),
    odd(MANIFESTS, "a mimetype with a byte order mark", _type(b"\xef\xbb\xbf" + _E), "asic.mimetype.byte_order_mark"),
    odd(MANIFESTS, "a mimetype with two", _type(b"\xef\xbb\xbf" * 2 + _E), "asic.mimetype.other"),
    odd(MANIFESTS, "a mimetype in UTF-16", _type(_E.decode().encode("utf-16")), "asic.mimetype.other"),
    refused(MANIFESTS, "a mimetype in capitals", _type(_E.upper()), "asic.mimetype.unknown"),
    refused(MANIFESTS, "ASiC-S with two files", _type(b"application/vnd.etsi.asic-s+zip"), "asic.simple.data_file"),
    failed(
        MANIFESTS,
        "a file is added",
        lambda: changed(GOOD, {"more.txt": b"x"}),
        _FORMAT,
        "validation.file_not_signed",
        "more.txt",
    ),
    failed(
        MANIFESTS,
        "a file is changed",
        lambda: changed(GOOD, {"contract.txt": b"x"}),
        "HASH_FAILURE",
        "xades.reference.digest",
        "contract.txt",
    ),
    failed(
        MANIFESTS,
        "a file is emptied",
        lambda: changed(GOOD, {"contract.txt": b""}),
        "HASH_FAILURE",
        "xades.reference.digest",
        "contract.txt",
    ),
    unproven(
        MANIFESTS,
        "a file is taken away",
        lambda: changed(GOOD, {"contract.txt": None}),
        "SIGNED_DATA_NOT_FOUND",
        "xades.reference.missing",
        "contract.txt",
    ),
    failed(
        MANIFESTS,
        "two files exchanged",
        lambda: changed(GOOD, {"contract.txt": unpack(GOOD)["õ ä+b.bin"], "õ ä+b.bin": unpack(GOOD)["contract.txt"]}),
        "HASH_FAILURE",
        "xades.reference.digest",
    ),
    failed(
        MANIFESTS,
        "the media type is not signed",
        _signed(lambda p: p.get(".//xades:SignedDataObjectProperties").remove(p.get(".//xades:DataObjectFormat"))),
        _FORMAT,
        "validation.media_type_missing",
    ),
    _format(
        MANIFESTS,
        "two media types are signed",
        _signed(
            lambda p: p.get(".//xades:DataObjectFormat").addnext(copy.deepcopy(p.get(".//xades:DataObjectFormat")))
        ),
        "xades.data_object_format",
    ),
    failed(
        MANIFESTS,
        "the media type of something else is signed",
        _signed(lambda p: p.get(".//xades:DataObjectFormat").set("ObjectReference", "#nobody")),
        _FORMAT,
        "validation.media_type_missing",
    ),
]


def all_cases() -> list[Case]:
    return [
        *WRAPPING_CASES,
        *KEY_CASES,
        *CERTIFICATE_CASES,
        *VALUE_CASES,
        *REFERENCE_CASES,
        *XML_CASES,
        *MANIFEST_CASES,
    ]
