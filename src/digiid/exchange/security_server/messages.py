"""One message exchange as both servers see it: who asks whom for what, how it is logged, and how it is counted."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from digiid.exchange.message_log import LogEntry, MessageLog
from digiid.exchange.security_server.local_conf import Endpoint
from digiid.exchange.security_server.monitoring import OperationalRecord
from digiid.exchange.security_server.signing_keys import Signed
from digiid.exchange.security_server.spool import Spool
from digiid.formats.exchange.faults import Fault
from digiid.formats.exchange.message_signature import BODY, MESSAGE
from digiid.formats.exchange.rest_message import RestRequest
from digiid.kernel.identifiers import ClientId, MemberId, Party, ServiceId


@dataclass(frozen=True, slots=True)
class Call:
    """A request part, and what it says. `message` are its bytes as they are signed."""

    request: RestRequest
    client: Party
    service: ServiceId
    message: bytes = field(repr=False)
    message_sha512: bytes = field(repr=False)


def call_of(request: RestRequest, message: bytes) -> Call:
    """Raises: nothing that reading the request has not raised before."""
    *provider, code = request.service
    service = ServiceId(ClientId(*provider), code)
    return Call(request, party_of(request.client), service, message, hashlib.sha512(message).digest())


def party_of(parts: tuple[str, ...]) -> Party:
    """Who is named by an identifier of three or four decoded parts."""
    return MemberId(*parts) if len(parts) == 3 else ClientId(*parts)


def digests_to_sign(message_sha512: bytes, body: Spool | None) -> dict[str, bytes]:
    """What is signed, and logged: URI to SHA-512."""
    parts = {MESSAGE: message_sha512}
    if body is not None:
        parts[BODY] = body.digest()
    return parts


async def record_request(
    log: MessageLog,
    call: Call,
    *,
    party: Party,
    body: Spool | None,
    digests: dict[str, bytes],
    signed: Signed,
    at: datetime,
) -> None:
    """Log the request on the side of `party`. Raises: as MessageLog.record."""
    await log.record(_entry(log, call, False, party, call.message, body, digests, signed, at))


async def record_response(
    log: MessageLog,
    call: Call,
    *,
    party: Party,
    message: bytes,
    body: Spool | None,
    digests: dict[str, bytes],
    signed: Signed,
    at: datetime,
) -> None:
    """Log the response on the side of `party`. Raises: as `record_request`."""
    await log.record(_entry(log, call, True, party, message, body, digests, signed, at))


def _entry(  # noqa: PLR0917 - the two functions above name them
    log: MessageLog,
    call: Call,
    is_response: bool,
    party: Party,
    message: bytes,
    body: Spool | None,
    digests: dict[str, bytes],
    signed: Signed,
    at: datetime,
) -> LogEntry:
    client, service = str(call.client), str(call.service)
    kept: Path | bytes | None = None
    if body is not None and log.settings.keeps_body(client=client, service=service):
        kept = body.path or body.content()
    return LogEntry(
        message_id=call.request.message_id,
        request_id=call.request.request_id,
        is_response=is_response,
        party=str(party),
        client=client,
        service=service,
        message=message,
        body=kept,
        digests=digests,
        signature_xml=signed.signature_xml,
        hash_chain=signed.hash_chain,
        at=at,
    )


@dataclass(slots=True)
class Passage:
    """How far a message has come on this server: what is counted of it at its end."""

    role: Literal["Client", "Producer"]
    request_in_at: datetime
    call: Call | None = None
    request_out_at: datetime | None = None
    response_in_at: datetime | None = None
    endpoint: Endpoint | None = None
    service_type: str | None = None
    peer_address: str | None = None
    request_size: int | None = None
    response_size: int | None = None
    status: int | None = None
    fault: Fault | None = None

    def record(self, *, own_address: str, at: datetime) -> OperationalRecord:
        """`at`: the answer is out."""
        request = self.call.request if self.call else None
        addresses = (own_address, self.peer_address)
        client_address, service_address = addresses if self.role == "Client" else addresses[::-1]
        return OperationalRecord(
            role=self.role,
            request_in_at=self.request_in_at,
            succeeded=self.fault is None,
            request_out_at=self.request_out_at,
            response_in_at=self.response_in_at,
            response_out_at=at,
            client=self.call.client if self.call else None,
            service=self.call.service if self.call else None,
            method=request.method if request else None,
            path=request.path if request else None,
            endpoint=self.endpoint,
            represented_party=_first(request, "x-road-represented-party"),
            message_id=request.message_id if request else None,
            user_id=_first(request, "x-road-userid"),
            issue=_first(request, "x-road-issue"),
            client_server_address=client_address,
            service_server_address=service_address,
            request_size=self.request_size,
            response_size=self.response_size,
            service_type=self.service_type,
            fault_code=self.fault.code if self.fault else None,
            fault_string=self.fault.message if self.fault else None,
            status_code=self.status,
            request_id=request.request_id if request else None,
        )


def _first(request: RestRequest | None, name: str) -> str | None:
    return next(iter(request.find_all(name)), None) if request else None
