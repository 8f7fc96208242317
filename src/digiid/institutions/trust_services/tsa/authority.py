"""From a request's bytes to a reply's bytes, and the HTTP around it (RFC 3161 §3.4).

Serial numbers: 64 bits, the upper half a block number that was committed before its first use, the
lower half counted up in memory. A restart takes a new block, so no number ever comes twice.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats import tsp
from digiid.formats.tsp import FailureInfo
from digiid.institutions.trust_services.tsa import store
from digiid.institutions.trust_services.tsa.recorder import Recorder
from digiid.institutions.trust_services.tsa.store import TokenRecord
from digiid.kernel.errors import DigiidError, Malformed, Unavailable
from digiid.platform.asgi import (
    Receive,
    Scope,
    Send,
    header,
    read_body,
    respond,
    respond_status,
)
from digiid.platform.clock import Clock
from digiid.platform.db import Database

_REQUEST_TYPE: Final = b"application/timestamp-query"
_REPLY_TYPE: Final = b"application/timestamp-reply"
_BLOCK_BITS: Final = 32
_MAX_BLOCK: Final = 2**31 - 1
_CLOCK_TOLERANCE: Final = timedelta(seconds=1)  # the accuracy that every token states

log = structlog.get_logger("trust_services.tsa")

# The edge's one table from our codes to failInfo; every other Malformed is badDataFormat.
_FAILURES: Final = {
    "tsp.bad_alg": (FailureInfo.BAD_ALG, "this hash is not stamped: use SHA-256, SHA-384 or SHA-512"),
    "tsp.unaccepted_policy": (FailureInfo.UNACCEPTED_POLICY, "this policy is not offered"),
    "tsp.unaccepted_extension": (FailureInfo.UNACCEPTED_EXTENSION, "request extensions are not known here"),
    "tsp.time": (FailureInfo.TIME_NOT_AVAILABLE, "the time source is not available"),
    "tsp.journal": (FailureInfo.SYSTEM_FAILURE, "the token could not be recorded; try again"),
    "db.busy": (FailureInfo.SYSTEM_FAILURE, "the token could not be recorded; try again"),
}


@dataclass(frozen=True, slots=True)
class _Stamped:
    token_der: bytes
    record: TokenRecord


class Authority:
    """One time-stamping unit."""

    def __init__(
        self, *, db: Database, clock: Clock, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        self._db, self._clock = db, clock
        self._builder = tsp.TokenBuilder(key=key, certificate=certificate)
        self._valid = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
        self._recorder = Recorder(self._write)
        self._serials: Iterator[int] = iter(())
        self._last_gen_at: datetime | None = None

    def start(self) -> None:
        """Take a block of serial numbers and the time of the last token, then accept requests."""
        with self._db.write() as tx:
            block = store.take_serial_block(tx, at=self._clock.now())
            self._last_gen_at = store.find_last_gen_at(tx)
        if block > _MAX_BLOCK:
            raise Unavailable("tsp.serials", "all blocks of serial numbers are used up")
        self._serials = itertools.count((block << _BLOCK_BITS) + 1)
        self._recorder.start()

    def stop(self) -> None:
        self._recorder.stop()

    async def answer(self, request_der: bytes) -> bytes:
        """The TimeStampResp for a TimeStampReq. Never raises: what goes wrong is said in failInfo."""
        try:
            stamped = self._stamp(request_der)
            await self._recorder.record(stamped.record)
        except DigiidError as error:
            return _rejection(error)
        except Exception:  # the edge: a fault of ours becomes systemFailure, logged once with its trace
            log.exception("tsa.failed")
            return tsp.build_rejection(FailureInfo.SYSTEM_FAILURE, "the service failed")
        return tsp.build_granted(stamped.token_der)

    def _stamp(self, request_der: bytes) -> _Stamped:
        # 1 what is asked
        request = tsp.parse_request(request_der)
        tsp.check_request(request, policy=self._builder.policy)
        # 2 the time, which never runs backwards over tokens that are out
        gen_at = self._clock.now().replace(microsecond=0)
        if self._last_gen_at is not None and gen_at < self._last_gen_at - _CLOCK_TOLERANCE:
            raise Unavailable("tsp.time", "the clock is behind the last token")
        if not self._valid[0] <= gen_at <= self._valid[1]:
            raise Unavailable("tsp.time", "the unit's certificate is not valid now")
        self._last_gen_at = max(gen_at, self._last_gen_at or gen_at)
        # 3 a number that was never used, then the signature
        serial_number = next(self._serials, None)
        if serial_number is None:
            raise Unavailable("tsp.journal", "not started")
        token_der = self._builder.build(request, serial_number=serial_number, gen_at=gen_at)
        digest = sha256(token_der).digest()
        return _Stamped(token_der, TokenRecord(serial_number, gen_at, request.hash_name, request.imprint, digest))

    def _write(self, records: list[TokenRecord]) -> None:
        with self._db.write() as tx:
            store.record_tokens(tx, records)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /tsa with the request as body."""
        if scope["type"] != "http":
            return
        if scope["method"] != "POST":
            await respond_status(send, 405, allow=b"POST")
            return
        if header(scope, b"content-type") != _REQUEST_TYPE:
            await respond_status(send, 415)
            return
        try:
            request_der = await read_body(receive, max_bytes=tsp.MAX_REQUEST_BYTES)
        except Malformed as error:
            await respond_status(send, 413 if error.code == "http.too_large" else 400)
            return
        await respond(send, await self.answer(request_der), _REPLY_TYPE)


def _rejection(error: DigiidError) -> bytes:
    if isinstance(error, Malformed):
        return tsp.build_rejection(FailureInfo.BAD_DATA_FORMAT, "the request is not a TimeStampReq")
    failure, text = _FAILURES.get(error.code, (FailureInfo.SYSTEM_FAILURE, "the service failed"))
    if failure in (FailureInfo.SYSTEM_FAILURE, FailureInfo.TIME_NOT_AVAILABLE):
        log.error("tsa.rejected", code=error.code)
    return tsp.build_rejection(failure, text)
