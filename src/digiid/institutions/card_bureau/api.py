"""What the bureau offers on the exchange."""

import base64
import binascii

from digiid.contracts import card_bureau as contract
from digiid.contracts.operation import Done
from digiid.exchange.gate import Caller, Service
from digiid.exchange.looks import look_of
from digiid.institutions.card_bureau.domain import ENVELOPE_KEY_BYTES, TravelDocument
from digiid.institutions.card_bureau.use_cases import desk, hand_over, movements, orders
from digiid.institutions.card_bureau.use_cases.deps import Deps
from digiid.kernel.errors import Malformed


def services(deps: Deps) -> list[Service]:
    def order(_caller: Caller, request: contract.OrderDocument) -> contract.DocumentOrdered:
        travel = request.travel_document
        number = orders.order_document(
            deps,
            orders.NewOrder(
                order_id=request.order_id,
                personal_code=request.personal_code,
                given_names=request.given_names,
                surname=request.surname,
                policy=request.policy,
                sex=request.sex,
                citizenship=request.citizenship,
                born_on=request.born_on,
                travel_document=TravelDocument(travel.kind, travel.number, travel.issuing_country, travel.expires_on),
                pick_up_point=request.pick_up_point,
                envelope_key=_key(request.envelope_key_b64),
            ),
        )
        return contract.DocumentOrdered(document_number=number)

    def delivery(caller: Caller, request: contract.GetDelivery) -> contract.Delivery:
        look = look_of(caller, contract.GET_DELIVERY, purpose=caller.purpose or "where an ordered document is")
        found = desk.get_delivery(deps, request.order_id, look=look).value
        return contract.Delivery(
            order_id=found.order_id,
            document_number=found.document_number,
            state=found.state.value,
            pick_up_point=found.pick_up_point,
            changed_at=found.changed_at,
            collect_until=found.collect_until,
            problem=found.problem,
        )

    def cancel(_caller: Caller, request: contract.CancelOrder) -> Done:
        movements.cancel_order(deps, request.order_id, reason=request.reason)
        return Done()

    def take(_caller: Caller, request: contract.TakePinEnvelope) -> contract.PinEnvelope:
        sealed = hand_over.take_pin_envelope(deps, request.order_id)
        return contract.PinEnvelope(sealed_b64=base64.b64encode(sealed).decode())

    def destroy(_caller: Caller, request: contract.DestroyPinEnvelope) -> Done:
        hand_over.destroy_pin_envelope(deps, request.order_id)
        return Done()

    def points(_caller: Caller, _request: contract.ListPickUpPoints) -> contract.PickUpPoints:
        return contract.PickUpPoints(
            points=tuple(
                contract.PickUpPoint(
                    code=point.code,
                    name=point.name,
                    country=point.country,
                    address=point.address,
                    open=point.is_open,
                )
                for point in desk.list_points(deps)
            )
        )

    return [
        Service(contract.ORDER_DOCUMENT, order),
        Service(contract.GET_DELIVERY, delivery),
        Service(contract.CANCEL_ORDER, cancel),
        Service(contract.TAKE_PIN_ENVELOPE, take),
        Service(contract.DESTROY_PIN_ENVELOPE, destroy),
        Service(contract.LIST_PICK_UP_POINTS, points),
    ]


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("bureau.envelope_key", "not base64") from error
    if len(key) != ENVELOPE_KEY_BYTES:
        raise Malformed("bureau.envelope_key", "an envelope key has 32 bytes")
    return key
