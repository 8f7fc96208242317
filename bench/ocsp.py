"""OCSP and time-stamping: what an answer costs beside its signature.

Everything is measured in one run and reported as a ratio, because the machine changes and the
cryptography is the yardstick. Best of many small batches: a busy machine only ever adds time.
"""

import contextlib
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.measure import Ratio, best_us
from digiid.apps.serving import Listener, ServerGroup
from digiid.formats import ocsp, tsp
from digiid.formats.x509.path import TrustAnchors, verify_path
from digiid.formats.x509.profile import CertificateKind, DocumentPolicy, HierarchyNames, Holder
from digiid.institutions.trust_services.ca import use_cases
from digiid.institutions.trust_services.ca.domain import Order
from digiid.institutions.trust_services.hierarchy import Hierarchy, create_hierarchy
from digiid.institutions.trust_services.ocsp.responder import Responder
from digiid.institutions.trust_services.status import StatusBoard, StatusFollower
from digiid.platform.clock import SystemClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy


@dataclass
class Setting:
    folder: Path
    hierarchy: Hierarchy
    passphrase: Path
    certificate: x509.Certificate
    responder: Responder

    def key(self, kind: CertificateKind) -> ec.EllipticCurvePrivateKey:
        return self.hierarchy.load_key(kind, self.passphrase)


def _request(key: ec.EllipticCurvePrivateKey) -> bytes:
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA384())
    return built.public_bytes(Encoding.DER)


def prepare(folder: Path) -> Setting:
    """A hierarchy, a CA that issued one document, and its responder."""
    clock, entropy, passphrase = SystemClock(), SystemEntropy(), folder / "passphrase"
    hierarchy = create_hierarchy(
        folder / "hierarchy",
        names=HierarchyNames(),
        base_url="http://127.0.0.1:8800",
        passphrase_path=passphrase,
        clock=clock,
        entropy=entropy,
    )
    db = Database.sqlite(folder / "ca.sqlite")
    db.migrate("digiid.institutions.trust_services.ca")
    board = StatusBoard(db)
    cas = {
        kind: use_cases.CaCertificate(hierarchy.certificate(kind), hierarchy.load_key(kind, passphrase))
        for kind in (CertificateKind.ROOT_CA, CertificateKind.ISSUING_CA, CertificateKind.TSA_CA)
    }
    deps = use_cases.Deps(db, clock, entropy, hierarchy.profile, cas, board)
    keys = [ec.generate_private_key(ec.SECP384R1()) for _ in range(2)]
    order = Order(
        "bench",
        "NE0000001",
        DocumentPolicy.E_RESIDENT,
        Holder("38001085718", "JÕEORG", "JAAK-KRISTJAN"),
        date.today() + timedelta(days=1800),
        *(_request(key) for key in keys),
    )
    issued = use_cases.issue_certificates(deps, order)
    use_cases.activate_certificates(deps, "NE0000001", actor="card_bureau")
    kind = CertificateKind.OCSP_RESPONDER
    responder = Responder(
        board=board,
        clock=clock,
        issuer=hierarchy.issuing,
        certificate=hierarchy.certificate(kind),
        key=hierarchy.load_key(kind, passphrase),
    )
    StatusFollower(board, db).start()
    certificate = x509.load_der_x509_certificate(issued.signature_der)
    return Setting(folder, hierarchy, passphrase, certificate, responder)


def measure_responder(setting: Setting) -> list[Ratio]:
    """Request bytes to signed response bytes, nonce and archive cutoff included, against the bare signature."""
    key, algorithm = setting.key(CertificateKind.OCSP_RESPONDER), ec.ECDSA(hashes.SHA256())
    request = ocsp.build_request(certificate=setting.certificate, issuer=setting.hierarchy.issuing, nonce=bytes(32))
    responder, message = setting.responder, bytes(300)
    raw, answer = best_us(lambda: key.sign(message, algorithm), lambda: responder.answer(request), batch=5, rounds=1000)
    response = responder.answer(request)
    verified = ocsp.verify_response(
        response, certificate=setting.certificate, issuer=setting.hierarchy.issuing, nonce=bytes(32)
    )
    assert verified.status is ocsp.CertStatus.GOOD and verified.archive_cutoff_at is not None
    detail = f"raw P-256 {raw:.1f} µs, answer {answer:.1f} µs"
    return [Ratio("OCSP answer, of raw P-256 signing", raw / answer, 0.6, True, detail)]


def measure_tokens(setting: Setting) -> list[Ratio]:
    """Time-stamp tokens made and verified, and a path, against their bare signatures."""
    key, algorithm = setting.key(CertificateKind.TIME_STAMPING_UNIT), ec.ECDSA(hashes.SHA384())
    unit = setting.hierarchy.certificate(CertificateKind.TIME_STAMPING_UNIT)
    builder = tsp.TokenBuilder(key=key, certificate=unit)
    imprint = hashlib.sha384(b"stamped").digest()
    request = tsp.build_request(imprint=imprint, hash_name="sha384", nonce=2**60 + 1)
    gen_at = SystemClock().now()

    def stamp() -> bytes:
        parsed = tsp.parse_request(request)
        tsp.check_request(parsed, policy=builder.policy)
        return tsp.build_granted(builder.build(parsed, serial_number=2**40, gen_at=gen_at))

    message, public_key = bytes(300), key.public_key()
    signature = key.sign(message, algorithm)
    token = tsp.parse_response(stamp())
    anchors = TrustAnchors([setting.hierarchy.issuing])
    sign, stamped, verify, verified, path = best_us(
        lambda: key.sign(message, algorithm),
        stamp,
        lambda: public_key.verify(signature, message, algorithm),
        lambda: tsp.verify_token(token, imprint=imprint, hash_name="sha384", nonce=2**60 + 1),
        lambda: verify_path(setting.certificate, intermediates=[], anchors=anchors, at=gen_at),
        batch=5,
        rounds=100,
    )
    return [
        Ratio("time-stamp token made, of raw P-384 signing", sign / stamped, None, True, f"{stamped:.0f} µs"),
        Ratio(
            "time-stamp token verified, beyond its signature (ms)",
            (verified - verify) / 1000,
            0.3,
            False,
            f"raw P-384 verification {verify:.0f} µs, token {verified:.0f} µs",
        ),
        Ratio("path of one certificate, × raw verification", path / verify, None, False, f"{path:.0f} µs"),
    ]


# ---------------------------------------------------------------------------------------------- over HTTP


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _our_server(app: Any) -> Iterator[int]:
    """Served as the e-state serves it."""
    port = _free_port()
    with ServerGroup([Listener(_with_lifespan(app), port)]).running():
        yield port


def _with_lifespan(app: Any) -> Any:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        while (event := (await receive())["type"]) != "lifespan.shutdown":
            await send({"type": f"{event}.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    return answer


@contextlib.contextmanager
def _openssl_server(setting: Setting) -> Iterator[tuple[int, int]]:
    folder, port = setting.folder, _free_port()
    serial = f"{setting.certificate.serial_number:032X}"
    ends = f"{setting.certificate.not_valid_after_utc:%y%m%d%H%M%SZ}"
    (folder / "index.txt").write_text(f"V\t{ends}\t\t{serial}\tunknown\t/CN=x\n")
    key = setting.key(CertificateKind.OCSP_RESPONDER)
    (folder / "plain.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    hierarchy = setting.hierarchy.folder
    server = subprocess.Popen(
        [
            *("openssl", "ocsp", "-index", "index.txt", "-port", str(port), "-rsigner", str(hierarchy / "ocsp.crt")),
            *("-rkey", "plain.key", "-CA", str(hierarchy / "issuing.crt"), "-rmd", "sha256"),
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # A connection that asks nothing would stop it for good, and what it prints is buffered: it is given time.
        time.sleep(1.5)
        assert server.poll() is None, "openssl ocsp did not start"
        yield port, server.pid
    finally:
        server.terminate()
        server.wait(timeout=10)


# Plain sockets, so that the client costs little of the second core. argv: port, requests, connections kept open (0:
# a new one for each request). With several connections it asks on all of them before it reads the first answer.
_CLIENT = """
import socket, sys, time
port, count, kept = map(int, sys.argv[1:])
body = sys.stdin.buffer.read()
message = (b"POST /ocsp HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nContent-Type: application/ocsp-request\\r\\n"
           b"Connection: %s\\r\\nContent-Length: %d\\r\\n\\r\\n" % (
               b"keep-alive" if kept else b"close", len(body))) + body
def connect():
    return socket.create_connection(("127.0.0.1", port), timeout=20)
def read(connection):
    answer = b""
    while True:
        chunk = connection.recv(65536)
        answer += chunk
        head, end, rest = answer.partition(b"\\r\\n\\r\\n")
        if end and (not chunk or len(rest) >= int(head.lower().partition(b"content-length:")[2].split()[0])):
            assert b" 200 " in head[:20] and rest[4:7] == b"\\x0a\\x01\\x00", head
            return
        assert chunk, answer
connections = [connect() for _ in range(kept)]
begin = time.perf_counter()
for _ in range(count // max(1, kept)):
    if kept:
        for connection in connections:
            connection.sendall(message)
        for connection in connections:
            read(connection)
    else:
        with connect() as connection:
            connection.sendall(message)
            read(connection)
print(count / (time.perf_counter() - begin))
"""


def _per_second(port: int, body: bytes, *, count: int, kept: int) -> float:
    """Answers a second, asked by a client in a process of its own."""
    arguments = [sys.executable, "-c", _CLIENT, str(port), str(count), str(kept)]
    done = subprocess.run(arguments, input=body, capture_output=True, check=True, timeout=120)
    return float(done.stdout)


def measure_http(setting: Setting) -> list[Ratio]:
    """Signed answers a second over HTTP from one process, against `openssl ocsp` as a responder."""
    if shutil.which("openssl") is None:
        return []
    request = ocsp.build_request(certificate=setting.certificate, issuer=setting.hierarchy.issuing, nonce=bytes(32))
    with _our_server(setting.responder) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/ocsp", request, {"Content-Type": "application/ocsp-request"})
        ocsp.verify_response(
            connection.getresponse().read(), certificate=setting.certificate, issuer=setting.hierarchy.issuing
        )
        connection.close()
        with _openssl_server(setting) as (other, process_id):
            # In turns, so that a busy machine is busy for both; openssl closes after each answer, we need not.
            wall = wall_theirs = 0.0
            ours = ours_closing = theirs = float("inf")
            for _ in range(5):
                begin = time.process_time()
                wall = max(wall, _per_second(port, request, count=2000, kept=8))
                between = time.process_time()
                _per_second(port, request, count=500, kept=0)
                ours = min(ours, (between - begin) / 2000)
                ours_closing = min(ours_closing, (time.process_time() - between) / 500)
                begin = _processor_seconds(process_id)
                wall_theirs = max(wall_theirs, _per_second(other, request, count=1000, kept=0))
                theirs = min(theirs, (_processor_seconds(process_id) - begin) / 1000)
    detail = (
        f"ours {wall:.0f}/s on open connections, openssl {wall_theirs:.0f}/s; processor time an answer: ours "
        f"{ours * 1e6:.0f} µs ({ours_closing * 1e6:.0f} µs with a connection each), openssl {theirs * 1e6:.0f} µs"
    )
    return [Ratio("OCSP over HTTP, × `openssl ocsp`", wall / wall_theirs, 2.0, True, detail)]


def _processor_seconds(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure() -> list[Ratio]:
    """All ratios of OCSP and time-stamping."""
    with tempfile.TemporaryDirectory() as name:
        setting = prepare(Path(name))
        return [*measure_responder(setting), *measure_tokens(setting), *measure_http(setting)]


if __name__ == "__main__":
    for ratio in measure():
        wanted = f" (wanted {ratio.target})" if ratio.target else ""
        print(f"{'ok  ' if ratio.met else 'MISS'} {ratio.name}: {ratio.value:.2f}{wanted} — {ratio.detail}")
