"""Judges a stored message fully: container, time-stamp, signer and revocation, by a configuration of its time.

Everything is judged at the instant of the time-stamp, so that the verdict is the same in twenty years. REST messages
are the exchange's own; the older SOAP messages of X-Road are read as far as to know whose they are.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lxml import etree

from digiid.exchange.global_conf.view import GlobalConf
from digiid.formats.exchange.message_container import VerifiedContainer, verify_message_container
from digiid.formats.exchange.rest_message import SERVICE, get_only, parse_identifier, parse_request, parse_response
from digiid.formats.hardened_xml import parse_xml, text_of
from digiid.formats.x509.parts import load_certificate
from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import MemberId

MAX_SOAP_BYTES: Final = 10 * 1024 * 1024
_CODE: Final = "exchange.evidence"
_NS_SOAP: Final = "{http://schemas.xmlsoap.org/soap/envelope/}"
_NS_XROAD: Final = "{http://x-road.eu/xsd/xroad.xsd}"
_NS_IDENTIFIERS: Final = "{http://x-road.eu/xsd/identifiers}"


@dataclass(frozen=True, slots=True)
class VerifiedEvidence:
    """`member` signed the message, and it existed at `at`. `container.signature.absent` names parts not kept.

    Of a message that is among them, `is_response` is only what the log says: the container's `unverified_reduced`.
    """

    member: MemberId
    is_response: bool
    at: datetime
    container: VerifiedContainer


def verify_evidence(
    data: bytes, conf: GlobalConf, *, max_part_bytes: int, may_be_absent: frozenset[str] = frozenset()
) -> VerifiedEvidence:
    """Verify one container (ASiC-E) with full trust.

    Raises:
        Malformed, Refused: what verify_message_container raises; `exchange.trust.…`.
        Refused: `exchange.evidence.time_stamp`, it was not time-stamped.
        Malformed: `exchange.evidence.message`, it is no message of the exchange.
    """
    # 1 structure, coverage, signature value, and the time-stamp's imprint and signature
    container = verify_message_container(data, max_part_bytes=max_part_bytes, may_be_absent=may_be_absent)

    # 2 the time, from an approved unit
    time_stamp = container.time_stamp
    if time_stamp is None:
        raise Refused("exchange.evidence.time_stamp", "the message has no time-stamp yet")
    at = time_stamp.gen_at
    conf.verify_time_stamping_unit(time_stamp.tsu, at)

    # 3 the signer is the member that the message (or, when it was not kept, the log) names, and was not revoked then
    words = container.message if container.message is not None else container.unverified_reduced
    if words is None:
        raise Malformed("exchange.evidence.message", "there is no message")
    member, is_response = read_sender(words)
    signature = container.signature.verified.signature
    conf.verify_signer(
        container.signature.verified.certificate,
        extra_certificates=[load_certificate(one) for one in signature.certificate_values_der],
        ocsp_ders=signature.ocsp_values_der,
        member=member,
        at=at,
    )
    return VerifiedEvidence(member, is_response, at, container)


def read_sender(message: bytes) -> tuple[MemberId, bool]:
    """Who signs the message by its own words, and whether it is a response: the client signs requests, the provider
    responses.

    Raises: Malformed `exchange.evidence.…`, `exchange.rest.…`.
    """
    if message.lstrip().startswith(b"<"):
        return _read_soap_sender(message)
    if message[:1].isdigit():
        response = parse_response(message)
        return MemberId(*parse_identifier(get_only(response.headers, SERVICE), parts=(5,))[:3]), True
    return MemberId(*parse_request(message).client[:3]), False


def _read_soap_sender(message: bytes) -> tuple[MemberId, bool]:
    envelope = parse_xml(message, code=_CODE, max_bytes=MAX_SOAP_BYTES)
    header, body = _only(envelope, f"{_NS_SOAP}Header"), _only(envelope, f"{_NS_SOAP}Body")
    operations = list(body.iterchildren(etree.Element))
    if envelope.tag != f"{_NS_SOAP}Envelope" or len(operations) != 1:
        raise Malformed("exchange.evidence.message", "not a SOAP message with one operation")
    is_response = etree.QName(operations[0]).localname.endswith("Response")
    named = _only(header, f"{_NS_XROAD}{'service' if is_response else 'client'}")
    parts = [
        text_of(_only(named, f"{_NS_IDENTIFIERS}{part}"), code=_CODE).strip()
        for part in ("xRoadInstance", "memberClass", "memberCode")
    ]
    return MemberId(*parts), is_response


def _only(parent: etree._Element, name: str) -> etree._Element:
    found = list(parent.iterchildren(name))
    if len(found) != 1:
        raise Malformed("exchange.evidence.message", f"{len(found)} elements {etree.QName(name).localname}")
    return found[0]
