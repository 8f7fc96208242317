"""Messages between a merchant and the payment provider: docs/reference/payment-contract.md, version 1.

A message is `v1.BODY.MAC`: BODY is base64url of JSON, MAC is base64url of HMAC-SHA-256 under the
merchant's shared key over `digiid-payment/v1/PURPOSE` LF BODY. The purpose is in the MAC and not in
the message, so that a message made for one use is refused in every other.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal, cast

from digiid.kernel.errors import Malformed, Refused

MAX_MESSAGE_LENGTH = 8000
MIN_KEY_BYTES = 32
PaymentState = Literal["pending", "paid", "declined", "unknown"]


class Purpose(StrEnum):
    REQUEST = "request"
    CALLBACK = "callback"
    STATUS_QUERY = "status-query"
    STATUS_ANSWER = "status-answer"


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """What the merchant asks the provider to collect; travels in the payer's browser. Amounts are in cents."""

    merchant: str
    payment_id: str
    amount_cents: int
    currency: str
    description: str
    language: str
    return_url: str
    callback_url: str


@dataclass(frozen=True, slots=True)
class PaymentNotice:
    """What the provider says became of a payment: in a callback, and in its answer to a status query."""

    payment_id: str
    state: PaymentState
    amount_cents: int
    currency: str


@dataclass(frozen=True, slots=True)
class StatusQuery:
    merchant: str
    payment_id: str


def sign_request(request: PaymentRequest, *, key: bytes) -> str:
    return _sign(Purpose.REQUEST, asdict(request), key)


def verify_request(unverified: str, *, key: bytes) -> PaymentRequest:
    """Raises: Malformed `payment.message`, Refused `payment.signature`."""
    fields = _verify(Purpose.REQUEST, unverified, key)
    texts = {
        name: _text(fields, name)
        for name in ("merchant", "payment_id", "currency", "description", "language", "return_url", "callback_url")
    }
    return PaymentRequest(amount_cents=_cents(fields), **texts)


def sign_notice(notice: PaymentNotice, *, purpose: Purpose, key: bytes) -> str:
    return _sign(purpose, asdict(notice), key)


def verify_notice(unverified: str, *, purpose: Purpose, key: bytes) -> PaymentNotice:
    """Raises: Malformed `payment.message`, Refused `payment.signature`."""
    fields = _verify(purpose, unverified, key)
    state = _text(fields, "state")
    if state not in ("pending", "paid", "declined", "unknown"):
        raise _malformed("state")
    return PaymentNotice(
        _text(fields, "payment_id"), cast(PaymentState, state), _cents(fields), _text(fields, "currency")
    )


def sign_query(query: StatusQuery, *, key: bytes) -> str:
    return _sign(Purpose.STATUS_QUERY, asdict(query), key)


def verify_query(unverified: str, *, key: bytes) -> StatusQuery:
    """Raises: Malformed `payment.message`, Refused `payment.signature`."""
    fields = _verify(Purpose.STATUS_QUERY, unverified, key)
    return StatusQuery(_text(fields, "merchant"), _text(fields, "payment_id"))


def _sign(purpose: Purpose, payload: Mapping[str, Any], key: bytes) -> str:
    body = _b64(json.dumps(payload, sort_keys=True, ensure_ascii=False).encode())
    return f"v1.{body}.{_b64(_mac(purpose, body, key))}"


def _verify(purpose: Purpose, unverified: str, key: bytes) -> Mapping[str, Any]:
    if len(unverified) > MAX_MESSAGE_LENGTH or not unverified.isascii():
        raise _malformed("length or characters")
    parts = unverified.split(".")
    if len(parts) != 3 or parts[0] != "v1":
        raise _malformed("not v1.BODY.MAC")
    if not hmac.compare_digest(_unb64(parts[2]), _mac(purpose, parts[1], key)):
        raise Refused("payment.signature", f"MAC of a {purpose}", public="The payment message is not authentic.")
    try:
        fields = json.loads(_unb64(parts[1]))
    except (ValueError, RecursionError) as error:
        raise _malformed("the body is not JSON") from error
    if not isinstance(fields, dict):
        raise _malformed("the body is not an object")
    return fields


def _mac(purpose: Purpose, body: str, key: bytes) -> bytes:
    if len(key) < MIN_KEY_BYTES:
        raise ValueError("the key is too short")
    return hmac.digest(key, f"digiid-payment/v1/{purpose}\n{body}".encode(), hashlib.sha256)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 500:
        raise _malformed(name)
    return value


def _cents(fields: Mapping[str, Any]) -> int:
    value = fields.get("amount_cents")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 10_000_000:
        raise _malformed("amount_cents")
    return value


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed("base64url") from error


def _malformed(detail: str) -> Malformed:
    return Malformed("payment.message", detail, public="This is not a payment message.")
