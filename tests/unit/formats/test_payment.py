"""Payment messages: authentic, for one purpose only, and nothing but Malformed and Refused escapes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats import payment
from digiid.formats.payment import PaymentNotice, PaymentRequest, Purpose, StatusQuery
from digiid.kernel.errors import Malformed, Refused

KEY = b"k" * 32
REQUEST = PaymentRequest("board", "p-1", 15_000, "EUR", "State fee", "et", "http://a/back", "http://a/callback")
NOTICE = PaymentNotice("p-1", "paid", 15_000, "EUR")


def test_messages_survive_the_way() -> None:
    assert payment.verify_request(payment.sign_request(REQUEST, key=KEY), key=KEY) == REQUEST
    query = StatusQuery("board", "p-1")
    assert payment.verify_query(payment.sign_query(query, key=KEY), key=KEY) == query
    for purpose in (Purpose.CALLBACK, Purpose.STATUS_ANSWER):
        text = payment.sign_notice(NOTICE, purpose=purpose, key=KEY)
        assert payment.verify_notice(text, purpose=purpose, key=KEY) == NOTICE


def test_a_message_of_one_purpose_is_refused_in_another() -> None:
    answer = payment.sign_notice(NOTICE, purpose=Purpose.STATUS_ANSWER, key=KEY)
    with pytest.raises(Refused):
        payment.verify_notice(answer, purpose=Purpose.CALLBACK, key=KEY)


def test_another_key_is_refused_and_a_short_one_is_never_used() -> None:
    with pytest.raises(Refused):
        payment.verify_request(payment.sign_request(REQUEST, key=b"q" * 32), key=KEY)
    with pytest.raises(ValueError, match="too short"):
        payment.sign_request(REQUEST, key=b"short")


@pytest.mark.parametrize("cents", [-1, 10_000_001, True, 1.5, "15000", None])
def test_an_amount_that_is_none_is_malformed(cents: object) -> None:
    text = payment.sign_notice(
        PaymentNotice("p-1", "paid", cents, "EUR"),  # type: ignore[arg-type]
        purpose=Purpose.CALLBACK,
        key=KEY,
    )
    with pytest.raises(Malformed):
        payment.verify_notice(text, purpose=Purpose.CALLBACK, key=KEY)


@given(st.one_of(st.text(max_size=200), st.text(max_size=60).map(lambda t: f"v1.{t}.{t}")))
def test_only_malformed_and_refused_escape(text: str) -> None:
    with pytest.raises((Malformed, Refused)):
        payment.verify_notice(text, purpose=Purpose.CALLBACK, key=KEY)


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_a_changed_message_is_not_accepted(position: int, character: str) -> None:
    text = payment.sign_notice(NOTICE, purpose=Purpose.CALLBACK, key=KEY)
    position %= len(text)
    changed = text[:position] + character + text[position + 1 :]
    try:
        read = payment.verify_notice(changed, purpose=Purpose.CALLBACK, key=KEY)
    except (Malformed, Refused):
        return
    assert read == NOTICE  # the last character of base64 has bits that mean nothing
