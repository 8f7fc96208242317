import pytest

from digiid.formats.exchange import part_order as p
from digiid.kernel.errors import Malformed

FULL_REQUEST = [p.OCSP, p.OCSP, p.REST_REQUEST, p.REST_BODY, p.HASH_CHAIN_RESULT, p.HASH_CHAIN, p.SIGNATURE]
FULL_RESPONSE = [p.REST_RESPONSE, p.REST_BODY, p.HASH_CHAIN_RESULT, p.HASH_CHAIN, p.SIGNATURE]


def follow(order: dict[str, frozenset[str]], kinds: list[str], *, needs_ocsp: bool = True) -> None:
    state = p.PartOrder(order, needs_ocsp=needs_ocsp)
    for kind in kinds:
        state.accept(kind)
    state.finish()


def test_the_documented_orders_are_accepted():
    follow(p.REQUEST_ORDER, FULL_REQUEST)
    follow(p.REQUEST_ORDER, [p.OCSP, p.REST_REQUEST, p.SIGNATURE])
    follow(p.REQUEST_ORDER, [p.REST_REQUEST, p.SIGNATURE], needs_ocsp=False)
    follow(p.REQUEST_ORDER, [p.OCSP, p.REST_REQUEST, p.REST_BODY, p.SIGNATURE])
    follow(p.RESPONSE_ORDER, FULL_RESPONSE)
    follow(p.RESPONSE_ORDER, [p.REST_RESPONSE, p.REST_BODY, p.FAULT])


@pytest.mark.parametrize("at", range(1, len(FULL_RESPONSE) + 1))
def test_a_fault_ends_a_response_that_has_begun(at):
    if at < len(FULL_RESPONSE):
        follow(p.RESPONSE_ORDER, [*FULL_RESPONSE[:at], p.FAULT])
    else:
        with pytest.raises(Malformed):
            follow(p.RESPONSE_ORDER, [*FULL_RESPONSE, p.FAULT])


@pytest.mark.parametrize(
    "kinds",
    [
        [],
        FULL_REQUEST[:-1],
        FULL_REQUEST[2:],
        [p.OCSP, p.SIGNATURE],
        [p.OCSP, p.REST_RESPONSE, p.SIGNATURE],
        [p.OCSP, p.REST_REQUEST, p.REST_REQUEST, p.SIGNATURE],
        [p.OCSP, p.REST_REQUEST, p.REST_BODY, p.REST_BODY, p.SIGNATURE],
        [p.OCSP, p.REST_REQUEST, p.HASH_CHAIN, p.HASH_CHAIN_RESULT, p.SIGNATURE],
        [p.OCSP, p.REST_REQUEST, p.HASH_CHAIN_RESULT, p.SIGNATURE],
        [p.OCSP, p.REST_REQUEST, p.FAULT],
        [*FULL_REQUEST, p.SIGNATURE],
        [*FULL_REQUEST, p.REST_BODY],
        [p.OCSP, p.REST_REQUEST, "text/plain", p.SIGNATURE],
    ],
)
def test_missing_repeated_and_reordered_parts_are_refused(kinds):
    with pytest.raises(Malformed):
        follow(p.REQUEST_ORDER, kinds)
