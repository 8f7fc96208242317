"""From a request's bytes to a response's bytes, and the HTTP around it (RFC 6960 appendix A, RFC 5019 §5).

A plain ASGI callable: no framework, no thread, no database on the way. The whole price of an answer
is one signature.
"""

import asyncio
import base64
import binascii
from typing import Final
from urllib.parse import unquote_to_bytes

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats import ocsp
from digiid.formats.ocsp import ResponseStatus
from digiid.formats.x509.parts import parts_of
from digiid.institutions.trust_services.status import StatusBoard
from digiid.kernel.errors import DigiidError, Malformed
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

_REQUEST_TYPE: Final = b"application/ocsp-request"
_RESPONSE_TYPE: Final = b"application/ocsp-response"
_MAX_GET_PATH: Final = 2048
_LOOK_AWAITED_SECONDS, _LOOK_AWAITED_TIMES = 0.05, 40

log = structlog.get_logger("trust_services.ocsp")

_MALFORMED: Final = ocsp.build_error_response(ResponseStatus.MALFORMED_REQUEST)
_UNAUTHORIZED: Final = ocsp.build_error_response(ResponseStatus.UNAUTHORIZED)
_TRY_LATER: Final = ocsp.build_error_response(ResponseStatus.TRY_LATER)
_INTERNAL_ERROR: Final = ocsp.build_error_response(ResponseStatus.INTERNAL_ERROR)


class Responder:
    """Answers for one CA. Asked about another issuer's certificates it says `unauthorized`."""

    def __init__(
        self,
        *,
        board: StatusBoard,
        clock: Clock,
        issuer: x509.Certificate,
        certificate: x509.Certificate,
        key: ec.EllipticCurvePrivateKey,
    ) -> None:
        self._board, self._clock = board, clock
        # Statuses are kept for the CA's whole life: the archive goes back to its first day (RFC 6960 §4.4.4).
        self._archive_cutoff_at = issuer.not_valid_before_utc
        issuer_parts = parts_of(issuer)
        self._issuers = {name: ocsp.issuer_hashes(issuer_parts, name) for name in ("sha1", "sha256")}
        self.use(certificate, key)

    def use(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        """Sign with this responder certificate from now on."""
        self._builder = ocsp.ResponseBuilder(
            key=key, certificate=certificate, archive_cutoff_at=self._archive_cutoff_at
        )
        self._not_after_at = certificate.not_valid_after_utc

    def answer(self, request_der: bytes) -> bytes:
        """The OCSPResponse for an OCSPRequest. Never raises: what goes wrong is said in the response."""
        request = self._read(request_der)
        return request if isinstance(request, bytes) else self._answer(request)

    def _read(self, request_der: bytes) -> ocsp.OcspRequest | bytes:
        """The request, or the response that refuses it."""
        try:
            request = ocsp.parse_request(request_der)
        except Malformed:
            return _MALFORMED
        if self._issuers.get(request.hash_name) != (request.issuer_name_hash, request.issuer_key_hash):
            return _UNAUTHORIZED
        return request

    def _answer(self, request: ocsp.OcspRequest) -> bytes:
        try:
            now = self._clock.now()
            if not self._board.is_current() or now > self._not_after_at:
                return _TRY_LATER
            status = self._board.find(request.serial_number) or ocsp.UNKNOWN
            return self._builder.build(
                cert_id_der=request.cert_id_der, status=status, nonce_der=request.nonce_der, at=now
            )
        except DigiidError as error:
            log.error("ocsp.failed", code=error.code)
        except Exception:  # the edge: a fault of ours becomes internalError, logged once with its trace
            log.exception("ocsp.failed")
        return _INTERNAL_ERROR

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /ocsp with the request as body, or GET /ocsp/{base64 of the request}."""
        if scope["type"] != "http":
            return
        method = scope["method"]
        if method == "POST":
            if header(scope, b"content-type") != _REQUEST_TYPE:
                await respond_status(send, 415)
                return
            try:
                request_der = await read_body(receive, max_bytes=ocsp.MAX_REQUEST_BYTES)
            except Malformed as error:
                await respond_status(send, 413 if error.code == "http.too_large" else 400)
                return
        elif method == "GET":
            request_der = _request_of_path(scope)
        else:
            await respond_status(send, 405, allow=b"GET, POST")
            return
        request = self._read(request_der)
        if isinstance(request, bytes):
            answer = request
        elif self._board.find(request.serial_number) is None and not await self._look_again():
            answer = _TRY_LATER
        else:
            answer = self._answer(request)
        await respond(send, answer, _RESPONSE_TYPE)

    async def _look_again(self) -> bool:
        """Another process may have issued it a moment ago: `unknown` is only said after a look at the database that
        began after the question. A flood of such questions costs no look more. False when there was none in time.
        """
        asked = self._board.moment()
        for _ in range(_LOOK_AWAITED_TIMES):
            if self._board.has_looked_since(asked):
                return True
            await asyncio.sleep(_LOOK_AWAITED_SECONDS)
        return False


def _request_of_path(scope: Scope) -> bytes:
    # The part after `/ocsp/`: base64 may itself hold slashes, and the client escapes what it likes (RFC 6960 §A.1).
    raw: bytes = scope.get("raw_path") or scope["path"].encode("latin-1", "replace")
    text = raw.partition(b"?")[0].partition(b"/ocsp/")[2]
    if not text or len(text) > _MAX_GET_PATH:
        return b""
    try:
        return base64.b64decode(unquote_to_bytes(text), validate=True)
    except (binascii.Error, ValueError):
        return b""
