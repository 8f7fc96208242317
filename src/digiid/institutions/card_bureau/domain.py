"""A document's way from the order to the holder's hand, and what is checked at the desk. Decides; stores nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.states import Edge, StateTable

ENVELOPE_KEY_BYTES = 32
ENVELOPE_NONCE_BYTES = 12


class OrderState(StrEnum):
    ORDERED = "ordered"
    PRODUCED = "produced"
    IN_TRANSIT = "in_transit"
    AT_POINT = "at_point"
    HANDED_OUT = "handed_out"
    UNCOLLECTED = "uncollected"
    CANCELLED = "cancelled"


class OrderEvent(StrEnum):
    CLOSE_CHIP = "close_chip"
    SHIP = "ship"
    ARRIVE = "arrive"
    HAND_OVER = "hand_over"
    GIVE_UP = "give_up"
    CANCEL = "cancel"
    REROUTE = "reroute"


_DESK, _BUREAU, _TIMER, _BOARD = (frozenset({name}) for name in ("point_officer", "bureau_officer", "timer", "board"))
_CANCEL = Edge(OrderState.CANCELLED, "ITDS § 12(1), decision of the board", _BOARD, ("movement",))

ORDER_STATES: StateTable[OrderState, OrderEvent] = {
    OrderState.ORDERED: {
        OrderEvent.CLOSE_CHIP: Edge(OrderState.PRODUCED, "ITDS § 15(6)", frozenset({"personalisation"}), ("movement",)),
        OrderEvent.CANCEL: _CANCEL,
    },
    OrderState.PRODUCED: {
        OrderEvent.SHIP: Edge(OrderState.IN_TRANSIT, "ITDS § 15(6)", _BUREAU, ("movement",)),
        OrderEvent.CANCEL: _CANCEL,
    },
    OrderState.IN_TRANSIT: {
        OrderEvent.ARRIVE: Edge(OrderState.AT_POINT, "ITDS § 12¹", _BUREAU | _DESK, ("movement",)),
        OrderEvent.REROUTE: Edge(OrderState.IN_TRANSIT, "ITDS § 12¹", _BUREAU),
        OrderEvent.CANCEL: _CANCEL,
    },
    OrderState.AT_POINT: {
        OrderEvent.HAND_OVER: Edge(OrderState.HANDED_OUT, "ITDS § 12¹", _DESK, ("hand_over", "activation")),
        OrderEvent.GIVE_UP: Edge(OrderState.UNCOLLECTED, "ITDS § 12²: six months", _TIMER, ("movement",)),
        OrderEvent.REROUTE: Edge(OrderState.IN_TRANSIT, "ITDS § 12¹", _BUREAU, ("movement",)),
        OrderEvent.CANCEL: _CANCEL,
    },
    OrderState.HANDED_OUT: {},
    OrderState.UNCOLLECTED: {},
    OrderState.CANCELLED: {},
}


@dataclass(frozen=True, slots=True)
class TravelDocument:
    kind: Literal["passport", "identity_card"]
    number: str
    issuing_country: str
    expires_on: date


@dataclass(frozen=True, slots=True)
class Order:
    order_id: str
    document_number: str
    state: OrderState
    personal_code: str
    given_names: str
    surname: str
    policy: Literal["citizen", "e_resident"]
    sex: str | None
    citizenship: str | None
    born_on: date | None
    travel_document: TravelDocument
    pick_up_point: str
    ordered_at: datetime
    changed_at: datetime
    issued_on: date
    expires_on: date
    collect_until: date | None = None
    problem: str | None = None

    @property
    def name(self) -> str:
        return f"{self.given_names} {self.surname}".strip()


@dataclass(frozen=True, slots=True)
class Point:
    code: str
    name: str
    country: str
    address: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class Officer:
    """`points` are the codes of the pick-up points at which this officer may hand over."""

    personal_code: str
    name: str
    role: Literal["bureau_officer", "point_officer"]
    points: frozenset[str]


@dataclass(frozen=True, slots=True)
class HandOver:
    """The evidence of a hand-over. Unfinished until the board has it on record and the certificates are good."""

    evidence_id: str
    order_id: str
    officer_name: str
    officer_personal_code: str
    pick_up_point: str
    begun_at: datetime
    finished_at: datetime | None


def check_desk(officer: Officer, point: Point, order: Order) -> None:
    """May this officer hand over this document here, whoever stands at the desk?

    Raises: Refused `bureau.officer_not_authorised`, `bureau.point_closed`, `bureau.other_point`.
    """
    if officer.role != "point_officer" or point.code not in officer.points:
        raise Refused(
            "bureau.officer_not_authorised",
            f"{officer.name} is not authorised at {point.code}",
            public="You are not authorised to hand over documents at this point.",
        )
    if not point.is_open:
        raise Refused(
            "bureau.point_closed", point.code, public="This pick-up point is closed. Nothing may be handed over here."
        )
    if order.pick_up_point != point.code:
        raise Refused(
            "bureau.other_point",
            f"the order belongs to {order.pick_up_point}",
            public="This document is for another point.",
        )


def compare_travel_document(expected: TravelDocument, shown: TravelDocument) -> None:
    """The document shown must be the one of the application. Raises: Refused `bureau.other_travel_document`."""
    differs = [
        label
        for label, left, right in (
            ("kind", expected.kind, shown.kind),
            ("number", fold_number(expected.number), fold_number(shown.number)),
            ("issuing country", expected.issuing_country, shown.issuing_country),
            ("date of expiry", expected.expires_on, shown.expires_on),
        )
        if left != right
    ]
    if differs:
        raise Refused(
            "bureau.other_travel_document",
            "differs in: " + ", ".join(differs),
            public="This is not the travel document of the application. Do not hand over; ask the board.",
        )


def fold_number(number: str) -> str:
    """A document number for comparing: upper case, no separators."""
    return "".join(c for c in number.upper() if c.isalnum())


def seal_envelope(pins: Mapping[str, str], *, key: bytes, nonce: bytes, order_id: str) -> bytes:
    """`nonce ‖ ciphertext ‖ tag` of the PINs under AES-256-GCM; the order id is authenticated with them."""
    return nonce + AESGCM(key).encrypt(nonce, json.dumps(dict(pins)).encode(), order_id.encode())


def open_envelope(sealed: bytes, *, key: bytes, order_id: str) -> dict[str, str]:
    """The PINs of an envelope. Raises: Malformed `envelope.sealed`."""
    try:
        plain = AESGCM(key).decrypt(sealed[:ENVELOPE_NONCE_BYTES], sealed[ENVELOPE_NONCE_BYTES:], order_id.encode())
        pins = json.loads(plain)
        return {name: str(pins[name]) for name in ("pin1", "pin2", "puk")}
    except (InvalidTag, ValueError, KeyError, TypeError) as error:
        raise Malformed("envelope.sealed", "the envelope does not open with this key") from error


def is_guessable(pin: str) -> bool:
    """True for what people try first: all the same digit, or a run up or down."""
    steps = {(int(b) - int(a)) % 10 for a, b in pairwise(pin)}
    return len(steps) == 1 and steps <= {0, 1, 9}


def add_years(day: date, years: int) -> date:
    """The same day some years later; 29 February becomes the 28th."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return day.replace(year=day.year + years, day=28)


POINTS = (
    Point("tallinn-test", "Tallinn (test point)", "EST", "Testi 1, Tallinn", True),
    Point("tartu-test", "Tartu (test point)", "EST", "Testi 2, Tartu", True),
    Point("narva-test", "Narva (test point)", "EST", "Testi 3, Narva", True),
    Point("helsinki-test", "Helsinki (test point)", "FIN", "Testikatu 1, Helsinki", True),
    Point("berlin-test", "Berlin (test point)", "D", "Teststraße 1, Berlin", True),
    Point("paris-test", "Paris (test point)", "FRA", "1 rue du Test, Paris", True),
    Point("london-test", "London (test point)", "GBR", "1 Test Street, London", True),
    Point("new-york-test", "New York (test point)", "USA", "1 Test Avenue, New York", True),
    Point("tokyo-test", "Tokyo (test point)", "JPN", "Test 1-1, Tokyo", True),
    Point("delhi-test", "New Delhi (test point)", "IND", "1 Test Road, New Delhi", True),
    Point("brasilia-test", "Brasília (test point)", "BRA", "Rua do Teste 1, Brasília", True),
    Point("canberra-test", "Canberra (test point)", "AUS", "1 Test Circuit, Canberra", True),
)
