"""Which part may follow which in an envelope (X-Road message transport protocol): one table for each direction."""

from typing import Final

from digiid.kernel.errors import Malformed

OCSP: Final = "application/ocsp-response"
REST_REQUEST: Final = "application/x-road-rest-request"
REST_RESPONSE: Final = "application/x-road-rest-response"
REST_BODY: Final = "application/x-road-rest-body"
HASH_CHAIN_RESULT: Final = "application/hash-chain-result"
HASH_CHAIN: Final = "application/hash-chain"
SIGNATURE: Final = "signature/bdoc-1.0/ts"
FAULT: Final = "text/xml"

_START: Final = ""
_FROM_MESSAGE = frozenset((REST_BODY, HASH_CHAIN_RESULT, SIGNATURE))
_TAIL: dict[str, frozenset[str]] = {
    REST_BODY: frozenset((HASH_CHAIN_RESULT, SIGNATURE)),
    HASH_CHAIN_RESULT: frozenset((HASH_CHAIN,)),
    HASH_CHAIN: frozenset((SIGNATURE,)),
}
REQUEST_ORDER: Final = {
    _START: frozenset((OCSP,)),
    OCSP: frozenset((OCSP, REST_REQUEST)),
    REST_REQUEST: _FROM_MESSAGE,
} | _TAIL
# A provider that fails after its answer has begun ends it with a fault where the rest would have been.
RESPONSE_ORDER: Final = {_START: frozenset((REST_RESPONSE,))} | {
    before: after | {FAULT} for before, after in ({REST_RESPONSE: _FROM_MESSAGE} | _TAIL).items()
}


class PartOrder:
    """Follows one envelope. `needs_ocsp` is false only where no TLS is spoken."""

    def __init__(self, order: dict[str, frozenset[str]], *, needs_ocsp: bool = True) -> None:
        self._order = order
        self._last = _START if needs_ocsp or OCSP not in order else OCSP

    def accept(self, content_type: str) -> None:
        """The next part is of this type. Raises: Malformed `exchange.part_order`."""
        if content_type not in self._order.get(self._last, ()):
            raise Malformed("exchange.part_order", f"a part {content_type!r} after {self._last!r}")
        self._last = content_type

    def finish(self) -> None:
        """The envelope has ended. Raises: Malformed `exchange.part_order`."""
        if self._last not in (SIGNATURE, FAULT):
            raise Malformed("exchange.part_order", f"the envelope ends after {self._last!r}")
