"""What the card bureau offers: ordering a document, its way to the holder, and the sealed PIN envelope."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field

from digiid.contracts.members import CARD_BUREAU, POLICE_BOARD
from digiid.contracts.operation import Done, Message, Operation
from digiid.contracts.population_register import CountryCode, Name, OrderId, PersonalCode
from digiid.kernel.identifiers import ServiceId

DocumentNumber = Annotated[str, Field(pattern=r"^[A-Z]{2}[0-9]{7}$")]
DocumentPolicyName = Literal["citizen", "e_resident"]
DeliveryState = Literal["ordered", "produced", "in_transit", "at_point", "handed_out", "uncollected", "cancelled"]


class TravelDocument(Message):
    """The document shown with the application; the same one is shown at the pick-up point."""

    kind: Literal["passport", "identity_card"]
    number: Annotated[str, Field(min_length=3, max_length=20)]
    issuing_country: CountryCode
    expires_on: date


class OrderDocument(Message):
    """Make a document. `envelope_key_b64` seals the PIN envelope and is not kept: the bureau stores ciphertext only.

    The key (32 bytes, for AES-256-GCM) stays with the delivery record at the Police and Border Guard
    Board; whoever reads one store alone learns no PIN.
    """

    order_id: OrderId
    personal_code: PersonalCode
    given_names: Name
    surname: Name
    policy: DocumentPolicyName
    sex: Literal["F", "M"] | None = None
    citizenship: CountryCode | None = None
    born_on: date | None = None
    travel_document: TravelDocument
    pick_up_point: Name
    envelope_key_b64: Annotated[str, Field(min_length=44, max_length=44)]


class DocumentOrdered(Message):
    document_number: DocumentNumber


class GetDelivery(Message):
    """Where is an ordered document now?"""

    order_id: OrderId


class Delivery(Message):
    """Where the document is. Times are UTC; `collect_until` is the last day at the pick-up point."""

    order_id: OrderId
    document_number: DocumentNumber
    state: DeliveryState
    pick_up_point: Name
    changed_at: datetime
    collect_until: date | None = None
    problem: str | None = None


class CancelOrder(Message):
    """Stop a document that is not handed out yet: the right was annulled or suspended on the way."""

    order_id: OrderId
    reason: Name


class TakePinEnvelope(Message):
    """Take the sealed envelope once, after the hand-over. The bureau destroys its copy when `confirmed` comes."""

    order_id: OrderId


class PinEnvelope(Message):
    """AES-256-GCM: nonce (12 bytes) ‖ ciphertext ‖ tag, base64; the order id is the associated data.

    The plaintext is JSON `{"pin1": …, "pin2": …, "puk": …}`.
    """

    sealed_b64: Annotated[str, Field(max_length=2000)]


class DestroyPinEnvelope(Message):
    """Destroy the sealed envelope for good: the holder has the PINs, or never came."""

    order_id: OrderId


class PickUpPoint(Message):
    code: Annotated[str, Field(pattern=r"^[a-z0-9-]{2,40}$")]
    name: Name
    country: CountryCode
    address: Annotated[str, Field(max_length=300)]
    open: bool


class ListPickUpPoints(Message):
    """Where can documents be collected?"""


class PickUpPoints(Message):
    points: tuple[PickUpPoint, ...]


def _service(code: str) -> ServiceId:
    return ServiceId(CARD_BUREAU, code)


_POLICE = frozenset({POLICE_BOARD})
ORDER_DOCUMENT = Operation(_service("order-document"), OrderDocument, DocumentOrdered, _POLICE)
GET_DELIVERY = Operation(
    _service("get-delivery"),
    GetDelivery,
    Delivery,
    _POLICE,
    discloses=("document", "delivery"),
    about=(),
    legal_bases={POLICE_BOARD: "Identity Documents Act § 15: issue and annulment of documents"},
)
CANCEL_ORDER = Operation(_service("cancel-order"), CancelOrder, Done, _POLICE)
TAKE_PIN_ENVELOPE = Operation(_service("take-pin-envelope"), TakePinEnvelope, PinEnvelope, _POLICE)
DESTROY_PIN_ENVELOPE = Operation(_service("destroy-pin-envelope"), DestroyPinEnvelope, Done, _POLICE)
LIST_PICK_UP_POINTS = Operation(_service("list-pick-up-points"), ListPickUpPoints, PickUpPoints, _POLICE)
