"""Signed messages of the instance of tests/support/global_conf, a log to keep them in, and who time-stamps it."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509

from digiid.exchange.global_conf.folder import load_folder
from digiid.exchange.global_conf.view import GlobalConf
from digiid.exchange.message_log import LogEntry, MessageLog, MessageLogSettings, TimeStampAuthority
from digiid.exchange.message_log.database import LogDatabase
from digiid.exchange.message_log.time_stamping import TimeStamper
from digiid.formats import tsp
from digiid.formats.exchange.message_signature import BODY, MESSAGE, build_message_signature, prepare_message_signature
from digiid.formats.exchange.rest_message import build_request, build_response, hash_request
from digiid.formats.global_conf import build_shared_params
from digiid.formats.xades import sign_digest
from digiid.kernel.errors import Unavailable
from digiid.kernel.identifiers import ClientId, MemberId
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from tests.support.global_conf import BANK, BOARD, INSTANCE, LOANS, PKI, POLICE, ocsp_of, params, signing
from tests.support.loops import run_async
from tests.support.pki import AT, Identity

PACKAGE = "digiid.exchange.message_log"
SERVICE = f"{POLICE}/document-status"


@cache
def _ocsp(member: MemberId, at: datetime) -> list[bytes]:
    return ocsp_of(signing(member).certificate, at=at)


def sign_parts(parts: dict[str, bytes], member: MemberId, *, at: datetime, use_hash_chain: bool = False) -> Any:
    """The signature's XML and its hash chain."""
    signer = signing(member)
    digests = {uri: hashlib.sha512(content).digest() for uri, content in parts.items()}
    prepared = prepare_message_signature(
        digests, certificate=signer.certificate, claimed_signing_at=at, use_hash_chain=use_hash_chain
    )
    value = sign_digest(prepared.method, signer.key, prepared.digest)
    return build_message_signature(prepared, value, ocsp_der=_ocsp(member, at)), prepared.hash_chain, digests


def make_entry(
    message_id: str = "TEST-1",
    *,
    at: datetime = AT,
    is_response: bool = False,
    body: bytes | Path | None = None,
    party: ClientId | None = None,
    use_hash_chain: bool = False,
    path: str = "/documents/38001010000?why=loan",
) -> LogEntry:
    """The bank asks the board something, or the board answers; logged by the one who signs unless told otherwise."""
    headers = [
        ("X-Road-Client", str(LOANS)),
        ("X-Digiid-Consent", "eyJ.consent.sig"),
        ("X-Secret-Of-Theirs", "38001010000"),
    ]
    request = build_request(
        "POST", f"/r1/{SERVICE}{path}", headers, fresh_message_id=message_id, request_id=f"request-{message_id}"
    )
    message = request.encode()
    if is_response:
        hashed = hash_request(message, body_sha512=None)
        response = build_response(
            200, "OK", [("Content-Type", "application/json")], request=request, request_hash=hashed
        )
        message = response.encode()
    content = body.read_bytes() if isinstance(body, Path) else body
    parts = {MESSAGE: message} | ({BODY: content} if content is not None else {})
    member = BOARD if is_response else BANK
    signature_xml, hash_chain, digests = sign_parts(parts, member, at=at, use_hash_chain=use_hash_chain)
    return LogEntry(
        message_id=message_id,
        request_id=f"request-{message_id}",
        is_response=is_response,
        party=str(party or (POLICE if is_response else LOANS)),
        client=str(LOANS),
        service=SERVICE,
        message=message,
        body=body,
        digests=digests,
        signature_xml=signature_xml,
        hash_chain=hash_chain,
        at=at,
    )


class Authority:
    """A time-stamping authority that may be down, or be another than the configuration approves of."""

    def __init__(self, clock: Clock, *, unit: Identity | None = None, address: str = "http://tsa.test/") -> None:
        self._clock, self._unit, self.address = clock, unit, address
        self.is_down = False
        self.asked = 0

    def fetch(self, imprint: bytes, hash_name: str) -> tuple[bytes, tsp.VerifiedTimeStamp]:
        self.asked += 1
        if self.is_down:
            raise Unavailable("http.unreachable", "no connection")
        token = PKI.time_stamp(imprint, gen_at=self._clock.now(), hash_name=hash_name, unit=self._unit)
        return token, tsp.verify_token(token, imprint=imprint, hash_name=hash_name)

    def configured(self) -> TimeStampAuthority:
        return TimeStampAuthority(self.address, self.fetch)


def write_conf(folder: Path) -> Path:
    """The instance's configuration as a folder that a verifier reads."""
    shared = folder / INSTANCE
    shared.mkdir(parents=True)
    (folder / "instance-identifier").write_text(INSTANCE)
    (shared / "shared-params.xml").write_bytes(build_shared_params(params()))
    return folder


def read_conf(folder: Path) -> GlobalConf:
    return load_folder(write_conf(folder))


def verify_unit(certificate: x509.Certificate, at: datetime) -> None:
    """What the configuration would say, for tests that are about something else."""
    assert certificate == PKI.tsu.certificate
    assert at.tzinfo is not None


def open_log(
    db: Database,
    clock: Clock,
    *authorities: Authority,
    check_unit: Callable[[x509.Certificate, datetime], None] = verify_unit,
    **settings: Any,
) -> MessageLog:
    """A log that is open and not started: `record_all` starts and stops it."""
    configured = [each.configured() for each in authorities]
    return MessageLog.open(MessageLogSettings(**settings), db, clock, authorities=configured, verify_unit=check_unit)


def reopen_log(db: Database, clock: Clock, *authorities: Authority) -> MessageLog:
    """A log whose schema is known to be up to date: opened a hundred times it is a hundred times as quick."""
    settings, log_db = MessageLogSettings(), LogDatabase(db)
    configured = [each.configured() for each in authorities]
    stamper = TimeStamper(log_db, settings, clock, authorities=configured, verify_unit=verify_unit)
    stamper.load()
    return MessageLog(settings, log_db, stamper, None)


def record_all(log: MessageLog, entries: Sequence[LogEntry]) -> list[int]:
    """Record these at the same time; raises what the first of them raises."""

    async def record() -> list[int]:
        return list(await asyncio.gather(*(log.record(entry) for entry in entries)))

    return run_async(record())
