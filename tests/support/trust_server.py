"""Trust services of the test hierarchy over real HTTP on a loopback port: /ocsp, /tsa, /tl.xml.

The server's clock is the test's. Statuses and misbehaviour are set by the test.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.x509.ocsp import load_der_ocsp_request

from digiid.formats import ocsp, tsp
from digiid.platform.clock import Clock
from tests.support.pki import Identity, Pki

Answer = tuple[int, bytes]
CONTENT_TYPES = {"/ocsp": "application/ocsp-response", "/tsa": "application/timestamp-reply"}


@dataclass
class TrustServer:
    """`status` is what OCSP says of every signer; `change` may replace an answer on its way out."""

    pki: Pki
    clock: Clock
    base: str = ""
    status: str = "good"
    reason: str | None = None
    nonce: bytes | None = None  # instead of the request's
    ocsp_at: timedelta = timedelta(0)
    tsa_at: timedelta = timedelta(0)
    lists: dict[str, bytes] = field(default_factory=dict)
    change: Callable[[str, bytes], Answer] = field(default=lambda _path, body: (200, body))
    requests: list[str] = field(default_factory=list)
    certificates: dict[int, x509.Certificate] = field(default_factory=dict)
    issuers: dict[int, Identity] = field(default_factory=dict)
    statuses: dict[int, str] = field(default_factory=dict)  # of single certificates, by serial number

    def knows(self, certificate: x509.Certificate, *, issuer: Identity | None = None) -> None:
        """Answer about this certificate; `issuer` answers itself where it is not the hierarchy's CA."""
        self.certificates[certificate.serial_number] = certificate
        if issuer is not None:
            self.issuers[certificate.serial_number] = issuer

    def answer_ocsp(self, body: bytes) -> bytes:
        request = ocsp.parse_request(body)
        nonce = _nonce(body) if self.nonce is None else self.nonce
        at = self.clock.now().replace(microsecond=0) + self.ocsp_at
        return self.pki.ocsp(
            self.certificates[request.serial_number],
            at=at,
            status=self.statuses.get(request.serial_number, self.status),
            issuer=self.issuers.get(request.serial_number),
            responder=self.issuers.get(request.serial_number),
            reason=self.reason,
            nonce=nonce,
            hash_name=request.hash_name,
        )

    def answer_tsa(self, body: bytes) -> bytes:
        request = tsp.parse_request(body)
        builder = tsp.TokenBuilder(key=self.pki.tsu.key, certificate=self.pki.tsu.certificate)  # type: ignore[arg-type]
        at: datetime = self.clock.now().replace(microsecond=0) + self.tsa_at
        return tsp.build_granted(builder.build(request, serial_number=1, gen_at=at))


def _nonce(request_der: bytes) -> bytes | None:
    request = load_der_ocsp_request(request_der)
    try:
        return request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None


@contextmanager
def running_trust_server(pki: Pki, clock: Clock) -> Iterator[TrustServer]:
    server = TrustServer(pki, clock)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

        def _send(self, path: str, body: bytes | None) -> None:
            server.requests.append(path)
            status, data = (404, b"") if body is None else server.change(path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if path in CONTENT_TYPES:  # strange clients ask for it
                self.send_header("Content-Type", CONTENT_TYPES[path])
            if status in (301, 302):
                self.send_header("Location", f"{server.base}/elsewhere")
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._send(self.path, server.lists.get(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answers = {"/ocsp": server.answer_ocsp, "/tsa": server.answer_tsa}
            self._send(self.path, answers[self.path](body) if self.path in answers else None)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.base = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
