"""Time-stamps and confirmations that prove something else, or that come from somebody who may not prove anything."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from asn1crypto import algos, cms, core
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import tsp as _asn1_tsp  # noqa: F401 - it teaches the library the content type of tokens
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from digiid.formats.trusted_list import GRANTED, TSA_QTST, WITHDRAWN, ListedService
from tests.hostile.case import PKI, Case, failed, unproven
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    DAY,
    RESPONDER_EXTENSIONS,
    SIGNED_AT,
    UNIT_EXTENSIONS,
    Identity,
    distinguished_name,
    key_usage,
    make_certificate,
    new_key,
    person,
)

STAMPS, CONFIRMATIONS = "time-stamp", "confirmation"
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
TSA = "http://uri.etsi.org/TrstSvc/Svctype/TSA"  # a service that is not qualified (TS 119 612 §5.5.1)


# ------------------------------------------------------------------ time-stamps


def _stamped(make: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    """A container whose token is made from the right imprint."""

    def build() -> bytes:
        xml = PKI.sign(_files(), level="B")
        start = xml.index(b"<ds:SignatureValue")
        value = xml[start : xml.index(b"</ds:SignatureValue>") + len(b"</ds:SignatureValue>")]
        names = xml[xml.index(b" xmlns:asic") : xml.index(b">", xml.index(b" xmlns:asic"))]
        canonical = value.replace(b"<ds:SignatureValue", b"<ds:SignatureValue" + names, 1)
        token = make(hashlib.sha256(canonical).digest())
        return _container_of(xml, token)

    return build


def _files() -> Sequence[Any]:
    from tests.support.pki import FILES

    return FILES


def _container_of(basic_xml: bytes, token: bytes) -> bytes:
    """The signature of level B with this token and a right confirmation."""
    import base64

    from digiid.formats.asic import build_container

    response = PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT + SECOND)
    unsigned = (
        b"<xades:UnsignedProperties><xades:UnsignedSignatureProperties><xades:SignatureTimeStamp>"
        b'<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2006/12/xml-c14n11"/><xades:EncapsulatedTimeStamp>'
        + base64.b64encode(token)
        + b"</xades:EncapsulatedTimeStamp></xades:SignatureTimeStamp><xades:RevocationValues><xades:OCSPValues>"
        b"<xades:EncapsulatedOCSPValue>"
        + base64.b64encode(response)
        + b"</xades:EncapsulatedOCSPValue></xades:OCSPValues></xades:RevocationValues>"
        b"</xades:UnsignedSignatureProperties></xades:UnsignedProperties>"
    )
    xml = basic_xml.replace(b"</xades:SignedProperties>", b"</xades:SignedProperties>" + unsigned, 1)
    return build_container(_files(), [("META-INF/signatures0.xml", xml)], at=SIGNED_AT)


def _unit(
    issuer: Identity | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = UNIT_EXTENSIONS,
    **how: Any,
) -> Identity:
    return make_certificate(distinguished_name("TEST Other Unit"), new_key(), issuer, extensions, **how)


def _by(unit: Identity) -> Callable[[], bytes]:
    return _stamped(lambda imprint: PKI.time_stamp(imprint, gen_at=SIGNED_AT, unit=unit))


def _over(data: bytes) -> Callable[[], bytes]:
    return _stamped(lambda _: PKI.time_stamp(hashlib.sha256(data).digest(), gen_at=SIGNED_AT))


def _listed(certificate: x509.Certificate, service_type: str = TSA_QTST, status: str = GRANTED) -> ListedService:
    return ListedService(service_type, "TEST Unit", certificate, status, AT - 390 * DAY)


def _flip(token: bytes, where: bytes, offset: int = 0) -> bytes:
    at = token.index(where) + offset
    return token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :]


def _retold(edit: Callable[[Any], None], *, sign: bool = False) -> Callable[[], bytes]:
    """The token with its SignedData edited; `sign` signs the signed attributes anew."""

    def make(imprint: bytes) -> bytes:
        info = cms.ContentInfo.load(PKI.time_stamp(imprint, gen_at=SIGNED_AT))
        signed_data = info["content"]
        edit(signed_data)
        if sign:
            signer = signed_data["signer_infos"][0]
            assert isinstance(PKI.tsu.key, ec.EllipticCurvePrivateKey)
            attributes = signer["signed_attrs"].untag().dump(force=True)
            signer["signature"] = PKI.tsu.key.sign(attributes, ec.ECDSA(hashes.SHA384()))
        return bytes(info.dump(force=True))

    return _stamped(make)


def _another_certificate(certificate: Identity) -> Callable[[Any], None]:
    def edit(signed_data: Any) -> None:
        signed_data["certificates"] = [asn1_x509.Certificate.load(certificate.der)]

    return edit


def _no_certificate(signed_data: Any) -> None:
    signed_data["certificates"] = []


def _two_signers(signed_data: Any) -> None:
    signed_data["signer_infos"].append(signed_data["signer_infos"][0].copy())


def _drop_attribute(name: str) -> Callable[[Any], None]:
    def edit(signed_data: Any) -> None:
        signer = signed_data["signer_infos"][0]
        # by both: whether the library has a name for a type depends on what else was imported
        signer["signed_attrs"] = [a for a in signer["signed_attrs"] if name not in (a["type"].native, a["type"].dotted)]

    return edit


SAME_KEY_UNIT = make_certificate(distinguished_name("TEST Twin Unit"), PKI.tsu.key, PKI.root, UNIT_EXTENSIONS)
SELF_MADE, WRONG_CA_UNIT = _unit(), _unit(PKI.ca)
NOT_CRITICAL = _unit(
    PKI.root, ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), False), UNIT_EXTENSIONS[1])
)
MANY_USES = _unit(
    PKI.root,
    ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING]), True),),
)
NO_USE = _unit(PKI.root, (key_usage(digital_signature=True),))
EXPIRED_UNIT = _unit(PKI.root, not_after=SIGNED_AT - DAY)
FUTURE_UNIT = _unit(PKI.root, not_before=SIGNED_AT + DAY)
EXPIRED_SIGNER = PKI.issue(person("EXPIRED", "38001085718"), not_after=SIGNED_AT - MINUTE)
_LIMP = "SIG_CONSTRAINTS_FAILURE"
_UNTRUSTED = "NO_CERTIFICATE_CHAIN_FOUND"


def _with_units(*units: Identity, service_type: str = TSA_QTST, status: str = GRANTED) -> Any:
    listed = [_listed(unit.certificate, service_type, status) for unit in units]
    return PKI.trust(services=[*PKI.services()[:2], *listed])


ALL_UNITS = _with_units(PKI.tsu, SAME_KEY_UNIT, NOT_CRITICAL, MANY_USES, NO_USE, EXPIRED_UNIT, FUTURE_UNIT, PKI.signer)


def _useless(name: str, make: Callable[[], bytes], says: str) -> Case:
    """The token fails; nothing else proves when the signature was made."""
    return replace(unproven(STAMPS, name, make, _LIMP, "time_stamp", says), trust=ALL_UNITS)


STAMP_CASES = [
    _useless("over other data", _over(b"something else"), "imprint is not intact"),
    _useless("over the digest of the file", _over(_files()[0].content), "imprint is not intact"),
    _useless("over the value without its element", _over(b""), "imprint is not intact"),
    _useless(
        "with another hash than its imprint",
        _stamped(lambda imprint: PKI.time_stamp(imprint + bytes(16), gen_at=SIGNED_AT, hash_name="sha384")),
        "imprint is not intact",
    ),
    _useless(
        "its time moved",
        _stamped(lambda i: _flip(PKI.time_stamp(i, gen_at=SIGNED_AT), b"20261123090000Z", 3)),
        "does not verify",
    ),
    _useless(
        "its imprint exchanged",
        _stamped(lambda i: PKI.time_stamp(b"\1" * 32, gen_at=SIGNED_AT).replace(b"\1" * 32, i)),
        "does not verify",
    ),
    _useless("no token at all", _stamped(lambda _: b"\x30\x03\x02\x01\x01"), "does not verify"),
    _useless("cut off", _stamped(lambda i: PKI.time_stamp(i, gen_at=SIGNED_AT)[:-9]), "does not verify"),
    _useless("with data behind it", _stamped(lambda i: PKI.time_stamp(i, gen_at=SIGNED_AT) + b"\0"), "does not verify"),
    _useless("two signers", _retold(_two_signers), "does not verify"),
    _useless("no certificate", _retold(_no_certificate), "does not verify"),
    _useless("the certificate of another", _retold(_another_certificate(SELF_MADE)), "does not verify"),
    _useless("another certificate of the same key", _retold(_another_certificate(SAME_KEY_UNIT)), "does not verify"),
    _useless(
        "without the reference to its certificate",
        _retold(_drop_attribute("1.2.840.113549.1.9.16.2.47"), sign=True),
        "does not verify",
    ),
    _useless("without message digest", _retold(_drop_attribute("message_digest"), sign=True), "does not verify"),
    _useless("without content type", _retold(_drop_attribute("content_type"), sign=True), "does not verify"),
    _useless("by a certificate for something else", _by(PKI.signer), "does not verify"),
    _useless("by a unit whose use is not critical", _by(NOT_CRITICAL), "time-stamping alone"),
    _useless("by a unit of many uses", _by(MANY_USES), "time-stamping alone"),
    _useless("by a unit without extended key usage", _by(NO_USE), "time-stamping alone"),
    _useless("by a unit that had expired", _by(EXPIRED_UNIT), "not valid at genTime"),
    _useless("by a unit that was not valid yet", _by(FUTURE_UNIT), "not valid at genTime"),
    unproven(STAMPS, "by a unit that nobody listed", _by(SELF_MADE), _UNTRUSTED, "time_stamp", "not trusted"),
    unproven(STAMPS, "by a unit of a CA for signers", _by(WRONG_CA_UNIT), _UNTRUSTED, "time_stamp", "not trusted"),
    replace(
        unproven(STAMPS, "by a unit that is not qualified", _by(SELF_MADE), _UNTRUSTED, "time_stamp", "not trusted"),
        trust=_with_units(SELF_MADE, service_type=TSA),
    ),
    replace(
        unproven(
            STAMPS, "by a unit whose status was withdrawn", _by(SELF_MADE), _UNTRUSTED, "time_stamp", "not granted"
        ),
        trust=_with_units(SELF_MADE, status=WITHDRAWN),
    ),
    unproven(
        STAMPS,
        "from the future",
        lambda: PKI.container(stamped_at=AT + 30 * DAY),
        _LIMP,
        "time_stamp",
        "future",
    ),
    unproven(
        STAMPS,
        "after the certificate expired",
        lambda: PKI.container(signer=EXPIRED_SIGNER, stamped_at=SIGNED_AT),
        "OUT_OF_BOUNDS_NO_POE",
        "validation.expired",
    ),
]

# ------------------------------------------------------------------ confirmations

OTHER = PKI.issue(person("OTHER", "38001085718"))
_LACK = "CERTIFICATE_CHAIN_GENERAL_FAILURE"


def _ocsp(at: Any = SIGNED_AT + SECOND, about: x509.Certificate | None = None, **how: Any) -> Callable[[], bytes]:
    return lambda: PKI.container(ocsp_der=PKI.ocsp(about or PKI.signer.certificate, at=at, **how))


def _edited(edit: Callable[[Any], None], **how: Any) -> Callable[[], bytes]:
    """A response with its ResponseData edited, signed by the responder itself."""

    def make() -> bytes:
        response = asn1_ocsp.OCSPResponse.load(PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT + SECOND, **how))
        basic = response["response_bytes"]["response"].parsed
        edit(basic["tbs_response_data"])
        assert isinstance(PKI.responder.key, ec.EllipticCurvePrivateKey)
        tbs = basic["tbs_response_data"].dump(force=True)
        basic["signature"] = PKI.responder.key.sign(tbs, ec.ECDSA(hashes.SHA384()))
        return PKI.container(ocsp_der=_wrap(basic.dump(force=True)))

    return make


def _wrap(basic: bytes, response_type: str = "basic_ocsp_response") -> bytes:
    response_bytes = {"response_type": response_type, "response": core.ParsableOctetString(basic)}
    return bytes(asn1_ocsp.OCSPResponse({"response_status": "successful", "response_bytes": response_bytes}).dump())


def _single(edit: Callable[[Any], None], **how: Any) -> Callable[[], bytes]:
    return _edited(lambda data: edit(data["responses"][0]), **how)


def _set(name: str, value: Any) -> Callable[[Any], None]:
    return lambda single: single["cert_id"].__setitem__(name, value)


def _no_hashes(single: Any) -> None:
    _set("issuer_name_hash", b"")(single)
    _set("issuer_key_hash", b"")(single)


def _both_answers(data: Any) -> None:
    """The same certificate twice: good, and revoked long ago."""
    second = data["responses"][0].copy()
    second["cert_status"] = asn1_ocsp.CertStatus("revoked", asn1_ocsp.RevokedInfo({"revocation_time": SIGNED_AT - DAY}))
    data["responses"].append(second)


def _critical(data: Any) -> None:
    data["response_extensions"] = [
        {"extn_id": "1.2.3.4", "critical": True, "extn_value": core.ParsableOctetString(b"\5\0")}
    ]


def _responder(
    issuer: Identity | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = RESPONDER_EXTENSIONS,
    **how: Any,
) -> Identity:
    return make_certificate(distinguished_name("TEST OCSP Responder"), new_key(), issuer or PKI.ca, extensions, **how)


def _status(number: int) -> Callable[[], bytes]:
    return lambda: PKI.container(ocsp_der=bytes([0x30, 3, 0x0A, 1, number]))


OTHER_CA = make_certificate(distinguished_name("TEST Another CA"), new_key(), PKI.root, CA_EXTENSIONS)
TWIN_CA = make_certificate(PKI.ca.certificate.subject, new_key(), None, CA_EXTENSIONS)
LONE = make_certificate(distinguished_name("TEST Lone Responder"), new_key(), None, RESPONDER_EXTENSIONS)


def _lacking(name: str, make: Callable[[], bytes], code: str, says: str = "") -> Case:
    return unproven(CONFIRMATIONS, name, make, _LACK, code, says)


_NO_DATA, _UNAUTHORISED = "validation.no_revocation_data", "ocsp.responder_unauthorized"
CONFIRMATION_CASES = [
    _lacking("about another certificate", _ocsp(about=OTHER.certificate), _NO_DATA),
    _lacking("about the CA", _ocsp(about=PKI.ca.certificate), _NO_DATA),
    _lacking("about the same number of another CA", _ocsp(issuer=OTHER_CA), _NO_DATA),
    _lacking("a wrong hash of the issuer's name", _single(_set("issuer_name_hash", bytes(20))), _NO_DATA),
    _lacking("a wrong hash of the issuer's key", _single(_set("issuer_key_hash", bytes(20))), _NO_DATA),
    _lacking("a wrong serial number", _single(_set("serial_number", 4711)), _NO_DATA),
    _lacking(
        "hashes of another length",
        _single(_no_hashes),
        _NO_DATA,
    ),
    _lacking(
        "hashes by MD5",
        _single(_set("hash_algorithm", algos.DigestAlgorithm({"algorithm": "md5"}))),
        _NO_DATA,
    ),
    _lacking("two answers that contradict", _edited(_both_answers), _NO_DATA),
    _lacking("no answer in it", _edited(lambda data: data.__setitem__("responses", [])), _NO_DATA),
    failed(
        CONFIRMATIONS, "a critical extension that nobody knows", _edited(_critical), "FORMAT_FAILURE", "ocsp.response"
    ),
    *(_lacking(f"status {number}", _status(number), "ocsp.response_status") for number in (1, 2, 3, 5, 6, 9)),
    failed(CONFIRMATIONS, "successful without an answer", _status(0), "FORMAT_FAILURE", "ocsp.response"),
    failed(
        CONFIRMATIONS,
        "of another type",
        lambda: PKI.container(
            ocsp_der=PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT).replace(
                bytes.fromhex("2b0601050507300101"), bytes.fromhex("2b0601050507300102"), 1
            )
        ),
        "FORMAT_FAILURE",
        "ocsp.response",
    ),
    failed(CONFIRMATIONS, "none at all", lambda: PKI.container(ocsp_der=b"junk"), "FORMAT_FAILURE", "der."),
    _lacking("by the delegate of another CA", _ocsp(responder=_responder(OTHER_CA)), _UNAUTHORISED),
    _lacking("by the delegate of a CA of the same name", _ocsp(responder=_responder(TWIN_CA)), _UNAUTHORISED),
    _lacking("by a CA of the same name", _ocsp(responder=TWIN_CA), "ocsp."),
    _lacking(
        "by a certificate that may not answer",
        _ocsp(responder=_responder(extensions=(key_usage(digital_signature=True),))),
        _UNAUTHORISED,
    ),
    _lacking("by the signer", _ocsp(responder=PKI.signer), _UNAUTHORISED),
    _lacking("by another signer of the same CA", _ocsp(responder=OTHER), _UNAUTHORISED),
    _lacking("by the time-stamping unit", _ocsp(responder=PKI.tsu), _UNAUTHORISED),
    _lacking("by nobody's responder", _ocsp(responder=LONE), _UNAUTHORISED),
    _lacking(
        "by a responder that had expired",
        _ocsp(responder=_responder(not_before=AT - 100 * DAY, not_after=SIGNED_AT - DAY)),
        "ocsp.responder_expired",
    ),
    _lacking(
        "by a responder whose key may not sign",
        _ocsp(responder=_responder(extensions=(*RESPONDER_EXTENSIONS[:2], key_usage(key_agreement=True)))),
        _UNAUTHORISED,
    ),
    _lacking(
        "by a responder whose revocation nobody can check",
        _ocsp(responder=_responder(extensions=(RESPONDER_EXTENSIONS[0], RESPONDER_EXTENSIONS[2]))),
        "ocsp.responder_revocation_unknown",
    ),
    _lacking("without the responder's certificate", _ocsp(responder=_responder(), include=()), "ocsp."),
    _lacking(
        "with a certificate that did not sign it",
        _ocsp(responder=_responder(), include=(_responder(),)),
        "ocsp.signature",
    ),
    unproven(
        CONFIRMATIONS,
        "before the time-stamp",
        _ocsp(SIGNED_AT - SECOND),
        "TRY_LATER",
        "validation.ocsp_before_time_stamp",
    ),
    unproven(
        CONFIRMATIONS,
        "years before the time-stamp",
        _ocsp(SIGNED_AT - 300 * DAY, responder=PKI.responder),
        "TRY_LATER",
        "validation.ocsp_before_time_stamp",
    ),
    unproven(
        CONFIRMATIONS,
        "an old status in a new answer",
        _ocsp(this_update=SIGNED_AT - DAY),
        "TRY_LATER",
        "validation.ocsp_stale",
    ),
    unproven(
        CONFIRMATIONS,
        "a status that had run out",
        _ocsp(this_update=SIGNED_AT - 5 * MINUTE, next_update=SIGNED_AT - MINUTE),
        "TRY_LATER",
        "validation.ocsp_stale",
    ),
    _lacking("a status from after the answer", _ocsp(this_update=SIGNED_AT + DAY), "ocsp.times"),
    _lacking("nextUpdate before thisUpdate", _ocsp(next_update=SIGNED_AT - DAY), "ocsp.times"),
    unproven(CONFIRMATIONS, "from the future", _ocsp(AT + 30 * DAY), "TRY_LATER", "validation.ocsp_", "future"),
    _lacking("status unknown", _ocsp(status="unknown"), "validation.status_unknown"),
    unproven(
        CONFIRMATIONS,
        "revoked",
        _ocsp(status="revoked", revoked_at=SIGNED_AT - DAY),
        "REVOKED_NO_POE",
        "validation.revoked",
    ),
    unproven(
        CONFIRMATIONS,
        "on hold",
        _ocsp(status="revoked", revoked_at=SIGNED_AT - DAY, reason="certificate_hold"),
        "TRY_LATER",
        "validation.on_hold",
    ),
    _lacking(
        "its time moved",
        lambda: PKI.container(
            ocsp_der=PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT - DAY).replace(b"20261122", b"20261123")
        ),
        "ocsp.signature",
    ),
]


def all_cases() -> list[Case]:
    return [*STAMP_CASES, *CONFIRMATION_CASES]
