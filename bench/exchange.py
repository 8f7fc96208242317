"""The exchange: what a message costs beside its cryptography, and a whole exchange beside the bare request.

`python -m bench exchange`. Both ways are asked by one client program, in turns, in one run: straight to the provider
over mutual TLS, and through two security servers that log every message durably on SQLite. Everybody is a process of
its own: client, both servers, provider, and what answers OCSP and time stamps.
"""

import asyncio
import hashlib
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from tests.support.global_conf import BANK, LOANS, PKI, SIGNING, approved_ca, member_name, ocsp_of, params
from tests.support.pki import AT
from tests.support.trust_server import running_trust_server

from bench.exchange_room import (
    BARE_PATH,
    BIG_PATH,
    REGISTER,
    Processes,
    forget_peak,
    processor_seconds,
    resident_mb,
    running_exchange,
)
from bench.measure import Ratio, take_turns
from digiid.exchange.global_conf.trust import TrustJudge
from digiid.exchange.message_log import LogEntry, MessageLog, MessageLogSettings, authorities_of, store
from digiid.formats.exchange.hash_chain import digests_of
from digiid.formats.exchange.message_signature import (
    BODY,
    MESSAGE,
    build_message_signature,
    prepare_message_signature,
)
from digiid.formats.exchange.plain_signature import verify_wire_signature
from digiid.formats.xades import sign_digest
from digiid.platform.clock import SystemClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient

KINDS = {"p256": "P-256", "rsa": "RSA-2048"}
_AT_LEAST = {"p256": 0.35, "rsa": 0.25}
_CLIENTS = 8
_ROUNDS = 8
_BIG_BYTES = 100 * 1000 * 1000
_STAMPED = 100_000
_MESSAGES = 1_000
_SMALL_LOG, _LARGE_LOG = 1_000, 1_000_000

NOTE = """
What a whole exchange has that the direct request has not: two more TLS connections, two signatures made and two
verified, four records on disk before the message goes on, and two judgements of the peer. The servers are Python, and
that is some milliseconds of processor time for both together, of which the cryptography is a tenth. How much of the
direct throughput is left therefore depends on what the client itself needs: with the client kit the comparison is the
one an information system sees, with a bare loop over sockets it is the servers against nearly nothing. Of 100 MB every
server takes the SHA-512 that the format asks for, and the provider's server hands nothing on before it has verified all
of it.
"""


# ------------------------------------------------------------------ one signature


def measure_signatures(kind: str) -> list[Ratio]:
    """A message of two parts signed, and judged by a server that knows its signer, beside one raw operation each.

    As one signer's messages come at 200 a second: each is another one, 5 ms later.
    """
    signer = PKI.issue(member_name(BANK), kind=kind, extensions=SIGNING)
    responses = ocsp_of(signer.certificate)
    key, public_key = signer.key, signer.certificate.public_key()
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    prehashed = Prehashed(hashes.SHA512())
    scheme: tuple[Any, ...] = (
        (ec.ECDSA(prehashed),) if isinstance(key, ec.EllipticCurvePrivateKey) else (padding.PKCS1v15(), prehashed)
    )
    judge = TrustJudge(params(approved_cas=(approved_ca(),)), verify_next_update=True)

    def sign(parts: Mapping[str, bytes], at: datetime) -> bytes:
        prepared = prepare_message_signature(
            parts, certificate=signer.certificate, claimed_signing_at=at, use_hash_chain=False
        )
        return build_message_signature(prepared, sign_digest(prepared.method, key, prepared.digest), ocsp_der=responses)

    def verify(message: bytes, body: bytes, at: datetime, xml: bytes) -> None:
        digests = {MESSAGE: digests_of(message), BODY: digests_of(body)}
        verified = verify_wire_signature(xml, digests, hash_chain=None)
        judge.verify_signer(
            verified.certificate, extra_certificates=(), ocsp_ders=verified.ocsp_ders, member=BANK, at=at
        )

    to_sign, to_verify = [], []
    for number in range(_MESSAGES):
        message, body = b"GET\r\n/r1/TEST/%06d\r\n" % number + b"name:value\r\n" * 20, b"%06d" % number * 50
        parts = {MESSAGE: hashlib.sha512(message).digest(), BODY: hashlib.sha512(body).digest()}
        at = AT + number * timedelta(milliseconds=5)
        to_sign.append((parts, at))
        to_verify.append((message, body, at, sign(parts, at)))
    signed, verified_next = itertools.cycle(to_sign), itertools.cycle(to_verify)
    digest = hashlib.sha512(b"raw").digest()
    raw_value = key.sign(digest, *scheme)

    signing, raw_signing, verifying, raw_verifying = take_turns(
        lambda: sign(*next(signed)),
        lambda: key.sign(digest, *scheme),
        lambda: verify(*next(verified_next)),
        lambda: public_key.verify(raw_value, digest, *scheme),  # type: ignore[union-attr, call-arg]
    )
    name = KINDS[kind]
    return [
        Ratio(
            f"message signed, {name}, × the raw signature",
            signing.best / raw_signing.best,
            1.3,
            False,
            f"{signing.text}, raw {raw_signing.text}",
        ),
        Ratio(
            f"message verified, {name}, × the raw verification",
            verifying.best / raw_verifying.best,
            1.5,
            False,
            f"{verifying.text}, raw {raw_verifying.text}; its value, its parts and a signer whose path and OCSP "
            "responses were verified before: one public-key operation",
        ),
    ]


# ------------------------------------------------------------------ the whole exchange


def measure_throughput(kind: str, exchange: Processes) -> list[Ratio]:
    """Requests a second over eight kept connections, and what the servers' processors do for each.

    How much of the direct request's throughput is left depends on what the client itself needs for a request, so the
    same is measured with two: our client kit, as information systems use it, and a bare loop over sockets.
    """
    kit, bare = exchange.kit.ask, exchange.asker.ask
    ways: tuple[tuple[str, float | None, Callable[..., Mapping[str, float]], int], ...] = (
        ("client kit, a service behind our gate", _AT_LEAST[kind], kit, 480),
        ("bare client, a service behind our gate", _AT_LEAST[kind], partial(bare, path=REGISTER.path), 1500),
        ("bare client, a provider that is nothing but HTTP", None, partial(bare, path=BARE_PATH), 1500),
    )
    ratios = []
    for what, wanted, ask, directly in ways:
        direct, whole, ours = [], [], []
        for way in ("direct", "exchange"):
            ask(way, count=200, clients=_CLIENTS)
        for _ in range(_ROUNDS):
            direct.append(ask("direct", count=directly, clients=_CLIENTS)["per_second"])
            begin = _server_seconds(exchange)
            whole.append(ask("exchange", count=400, clients=_CLIENTS)["per_second"])
            ours.append((_server_seconds(exchange) - begin) / 400)
        detail = (
            f"{max(whole):.0f} of {max(direct):.0f} a second (median {statistics.median(whole):.0f} of "
            f"{statistics.median(direct):.0f}); both servers together {min(ours) * 1e3:.2f} ms of processor time each"
        )
        name = f"exchange of {KINDS[kind]}, of the direct request's throughput: {what}"
        ratios.append(Ratio(name, max(whole) / max(direct), wanted, True, detail))
    return ratios


def measure_latency(kind: str, exchange: Processes) -> Ratio:
    """What one client waits longer, by the middle round: a median is wanted, not the luckiest one."""
    direct, whole = [], []
    for _ in range(_ROUNDS):
        direct.append(exchange.asker.ask("direct", REGISTER.path, count=100, clients=1)["median"])
        whole.append(exchange.asker.ask("exchange", REGISTER.path, count=100, clients=1)["median"])
    added = (statistics.median(whole) - statistics.median(direct)) * 1e3
    detail = (
        f"medians of {_ROUNDS} rounds, in the middle {statistics.median(whole) * 1e3:.2f} and "
        f"{statistics.median(direct) * 1e3:.2f} ms (the quickest {min(whole) * 1e3:.2f} and {min(direct) * 1e3:.2f}); "
        f"four commits, and "
        f"the disk needs {_flush_seconds(exchange.folder) * 1e3:.2f} ms for one"
    )
    return Ratio(f"latency added, {KINDS[kind]}, one client (median ms)", added, 8.0, False, detail)


def measure_large_bodies(exchange: Processes) -> list[Ratio]:
    """100 MB to the provider, and 100 MB from it. A server keeps no body that it does not log."""
    servers = (exchange.consumer, exchange.provider_server)
    ratios = []
    for method, path, size, what in (
        ("POST", BARE_PATH, _BIG_BYTES, "sent"),
        ("GET", f"{BIG_PATH}{_BIG_BYTES}", 0, "fetched"),
    ):
        direct, whole, peaks = [], [], []
        for _ in range(4):
            direct.append(_ask_large(exchange, "direct", method, path, size))
            idle = [resident_mb(each) for each in servers]
            for each in servers:
                forget_peak(each)
            whole.append(_ask_large(exchange, "exchange", method, path, size))
            peaks.append([resident_mb(each, "VmHWM") - before for each, before in zip(servers, idle, strict=True)])
        detail = (
            f"{max(whole) * 100:.0f} of {max(direct) * 100:.0f} MB/s (median {statistics.median(whole) * 100:.0f} of "
            f"{statistics.median(direct) * 100:.0f}); SHA-512 alone {_digested_mb_per_second():.0f} MB/s"
        )
        name = f"100 MB {what}, of the direct request's throughput"
        ratios.append(Ratio(name, max(whole) / max(direct), 0.4, True, detail))
        most = [max(each) for each in zip(*peaks, strict=True)]
        detail = f"peak of the consumer's server {most[0]:.1f}, of the provider's {most[1]:.1f}"
        ratios.append(Ratio(f"100 MB {what}, memory above idle (MB)", max(most), 64.0, False, detail))
    return ratios


def _digested_mb_per_second() -> float:
    """What one processor does of the digest that each of the two servers has to make."""
    piece, pieces = bytes(256 * 1024), _BIG_BYTES // (256 * 1024)
    digest, begin = hashlib.sha512(), time.perf_counter()
    for _ in range(pieces):
        digest.update(piece)
    return pieces * len(piece) / 1e6 / (time.perf_counter() - begin)


def _ask_large(exchange: Processes, way: str, method: str, path: str, size: int) -> float:
    return exchange.asker.ask(way, path, count=1, clients=1, method=method, body_bytes=size)["per_second"]


def _server_seconds(exchange: Processes) -> float:
    return processor_seconds(exchange.consumer) + processor_seconds(exchange.provider_server)


def _flush_seconds(folder: Path) -> float:
    """What the disk itself needs to keep 16 KB."""
    took = []
    descriptor = os.open(folder / "flushed", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for _ in range(100):
            begin = time.perf_counter()
            os.pwrite(descriptor, bytes(16 * 1024), 0)
            os.fdatasync(descriptor)
            took.append(time.perf_counter() - begin)
    finally:
        os.close(descriptor)
    return statistics.median(took)


# ------------------------------------------------------------------ the log


@dataclass
class _Log:
    """A log in a folder of its own, running."""

    log: MessageLog
    database: Database

    def fill(self, count: int, *, stamped: bool) -> None:
        """Rows as `record` writes them, in large transactions; `stamped` as if by one time stamp."""
        for begin in range(0, count, 10_000):
            entries = [_entry(number) for number in range(begin, min(begin + 10_000, count))]
            self.log._write(entries)
        if stamped:
            stamp = store.TimeStampRecord((count,), (bytes(64),), SystemClock().now(), b"-", b"-")
            with self.database.write() as tx:
                store.record_time_stamp(tx, stamp)
            self.log.stamper.load()


@contextmanager
def _running_log(folder: Path, tsa_url: str = "http://127.0.0.1:9/tsa") -> Iterator[_Log]:
    clock, http = SystemClock(), HttpClient()
    database = Database.sqlite(folder / "log.sqlite")
    settings = MessageLogSettings(tsa_urls=(tsa_url,), stamping_interval_seconds=86_400)
    log = MessageLog.open(
        settings,
        database,
        clock,
        authorities=authorities_of(settings, http, SystemEntropy(), clock),
        verify_unit=lambda _certificate, _at: None,
    )
    log.start()
    try:
        yield _Log(log, database)
    finally:
        log.stop()
        database.close()
        http.close()


_SIGNATURE = b"s" * 1500  # a real one is some 8 KB: the table would have 10 GB and cost the same to append to
_BASE = LogEntry(
    message_id="",
    request_id="00000000-0000-4000-8000-000000000000",
    is_response=False,
    party=str(LOANS),
    client=str(LOANS),
    service=str(REGISTER.service),
    message=b"name:value\r\n" * 40,
    body=None,
    digests={MESSAGE: bytes(64), BODY: bytes(64)},
    signature_xml=_SIGNATURE,
    hash_chain=None,
    at=AT,
)


def _entry(number: int) -> LogEntry:
    return replace(
        _BASE,
        message_id=f"TEST-{number:032x}",
        signature_xml=b"%d%b" % (number, _SIGNATURE),
        at=AT + timedelta(milliseconds=number),
    )


def measure_log_growth() -> Ratio:
    """A message recorded when 10^6 are in the log already, beside one when 10^3 are."""
    folder = Path(tempfile.mkdtemp(prefix="digiid-bench-"))
    try:
        (folder / "small").mkdir()
        (folder / "large").mkdir()
        with _running_log(folder / "small") as small, _running_log(folder / "large") as large:
            small.fill(_SMALL_LOG, stamped=True)
            large.fill(_LARGE_LOG, stamped=True)
            numbers = iter(range(_LARGE_LOG, 2 * _LARGE_LOG))

            def record_in(log: MessageLog) -> Callable[[], None]:
                async def eight() -> None:
                    await asyncio.gather(*(log.record(_entry(next(numbers))) for _ in range(_CLIENTS)))

                return lambda: asyncio.run(eight())

            few, many = take_turns(
                record_in(small.log), record_in(large.log), batch=10, rounds=40, clock=time.process_time
            )
            slow, slower = take_turns(
                record_in(small.log), record_in(large.log), batch=10, rounds=20, clock=time.perf_counter
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    each = 1e6 / _CLIENTS
    detail = (
        f"groups of {_CLIENTS}, processor time: {few.best * each:.0f} µs a message with 10³, {many.best * each:.0f} "
        f"with 10⁶; on the wall with the disk {slow.best * each:.0f} and {slower.best * each:.0f} µs"
    )
    return Ratio("message logged with 10⁶ in the log, × with 10³", many.best / few.best, 1.2, False, detail)


def measure_stamping() -> Ratio:
    """100,000 records without a time stamp get theirs, from an authority over HTTP."""
    folder = Path(tempfile.mkdtemp(prefix="digiid-bench-"))
    try:
        with running_trust_server(PKI, SystemClock()) as trust, _running_log(folder, f"{trust.base}/tsa") as filled:
            filled.fill(_STAMPED, stamped=False)
            begin = time.perf_counter()
            done = filled.log.stamper.stamp_pending()
            seconds = time.perf_counter() - begin
            assert done == _STAMPED
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    detail = "batches of 10,000: read, tree, token over HTTP, stored"
    return Ratio("100,000 records time-stamped (seconds)", seconds, 20.0, False, detail)


# ------------------------------------------------------------------ all


def measure(kinds: Sequence[str] = tuple(KINDS)) -> list[Ratio]:
    """Every figure about the exchange."""
    ratios = [ratio for kind in kinds for ratio in measure_signatures(kind)]
    for kind in kinds:
        folder = Path(tempfile.mkdtemp(prefix="digiid-bench-"))
        try:
            with running_exchange(folder, kind) as exchange:
                ratios += measure_throughput(kind, exchange)
                ratios.append(measure_latency(kind, exchange))
                if kind == "p256":
                    ratios += measure_large_bodies(exchange)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return [*ratios, measure_log_growth(), measure_stamping()]
