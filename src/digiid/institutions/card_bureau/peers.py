"""What the bureau asks others: certificates of the CA, permission and record at the board."""

import base64

from digiid.contracts import police_board, trust_services
from digiid.contracts.card_bureau import TravelDocument as TravelDocumentMessage
from digiid.exchange.client import Client
from digiid.institutions.card_bureau.domain import HandOver, Order, TravelDocument


def issue_certificates(exchange: Client, order: Order, requests: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """DER certificates for both keys of the chip: (authentication, signature)."""
    reply = exchange.call(
        trust_services.ISSUE_CERTIFICATES,
        trust_services.IssueCertificates(
            order_id=order.order_id,
            document_number=order.document_number,
            policy=order.policy,
            personal_code=order.personal_code,
            given_names=order.given_names.upper(),
            surname=order.surname.upper(),
            expires_on=order.expires_on,
            authentication_request_b64=base64.b64encode(requests[0]).decode(),
            signature_request_b64=base64.b64encode(requests[1]).decode(),
        ),
    )
    return (
        base64.b64decode(reply.authentication_certificate_b64),
        base64.b64decode(reply.signature_certificate_b64),
    )


def activate_certificates(exchange: Client, order: Order) -> None:
    request = trust_services.ActivateCertificates(document_number=order.document_number)
    exchange.call(trust_services.ACTIVATE_CERTIFICATES, request)


def ask_hand_over_permit(exchange: Client, order: Order, shown: TravelDocument) -> police_board.HandOverPermit:
    request = police_board.RequestHandOver(
        order_id=order.order_id, document_number=order.document_number, shown_travel_document=_message(shown)
    )
    purpose = "hand-over of a document"
    return exchange.call(police_board.REQUEST_HAND_OVER, request, purpose=purpose, about=(order.personal_code,))


def record_hand_over(exchange: Client, order: Order, hand_over: HandOver) -> None:
    request = police_board.RecordHandOver(
        order_id=order.order_id,
        document_number=order.document_number,
        evidence_id=hand_over.evidence_id,
        officer=hand_over.officer_name,
        officer_personal_code=hand_over.officer_personal_code,
        pick_up_point=hand_over.pick_up_point,
        shown_travel_document=_message(order.travel_document),
        handed_over_at=hand_over.begun_at,
    )
    exchange.call(police_board.RECORD_HAND_OVER, request)


def report_movement(exchange: Client, movement: police_board.RecordDocumentMovement) -> None:
    exchange.call(police_board.RECORD_DOCUMENT_MOVEMENT, movement, message_id=f"EE-{movement.movement_id}")


def _message(document: TravelDocument) -> TravelDocumentMessage:
    return TravelDocumentMessage(
        kind=document.kind,
        number=document.number,
        issuing_country=document.issuing_country,
        expires_on=document.expires_on,
    )
