"""One message's record, under the names of X-Road's operational monitoring.

What a record may hold is decided here, for everybody at once: no body, no query, and no path as it was asked. The path
of a request that a right allowed is the right's own glob; of others every segment is a star that is not a plain word.
Who asked (`messageUserId`) and why (`messageIssue`) stand in the signed message log; here they are left out unless
the operator wants them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from digiid.exchange.security_server.local_conf import ANY_PATH, Endpoint
from digiid.kernel.identifiers import ClientId, Party, ServiceId

PROTOCOL_VERSION: Final = "1"
FIELDS: Final = (
    "monitoringDataTs",
    "securityServerInternalIp",
    "securityServerType",
    "requestInTs",
    "requestOutTs",
    "responseInTs",
    "responseOutTs",
    "clientXRoadInstance",
    "clientMemberClass",
    "clientMemberCode",
    "clientSubsystemCode",
    "serviceXRoadInstance",
    "serviceMemberClass",
    "serviceMemberCode",
    "serviceSubsystemCode",
    "serviceCode",
    "serviceVersion",
    "restMethod",
    "restPath",
    "representedPartyClass",
    "representedPartyCode",
    "messageId",
    "messageUserId",
    "messageIssue",
    "messageProtocolVersion",
    "clientSecurityServerAddress",
    "serviceSecurityServerAddress",
    "requestSize",
    "requestMimeSize",
    "requestAttachmentCount",
    "responseSize",
    "responseMimeSize",
    "responseAttachmentCount",
    "succeeded",
    "serviceType",
    "faultCode",
    "faultString",
    "statusCode",
    "xRoadVersion",
    "xRequestId",
)
_WORD = re.compile(r"[A-Za-z][A-Za-z._~-]{0,63}|v[0-9]{1,3}")
_PERSONAL_CODE = re.compile(r"(?<!\d)\d{11}(?!\d)")
_MAX_TEXT_CHARS = 255


@dataclass(frozen=True, slots=True)
class OperationalRecord:
    """What a security server knows of one message when it is done with it.

    `role`: Client at the asker's server, Producer at the provider's. `path` is the signed one without query,
    `endpoint` what allowed it (Target.endpoint). `service_type` is None for a service that is not there. Sizes are in
    bytes.
    """

    role: Literal["Client", "Producer"]
    request_in_at: datetime
    succeeded: bool
    request_out_at: datetime | None = None
    response_in_at: datetime | None = None
    response_out_at: datetime | None = None
    client: Party | None = None
    service: ServiceId | None = None
    method: str | None = None
    path: str | None = None
    endpoint: Endpoint | None = None
    represented_party: str | None = None
    message_id: str | None = None
    user_id: str | None = None
    issue: str | None = None
    client_server_address: str | None = None
    service_server_address: str | None = None
    request_size: int | None = None
    response_size: int | None = None
    service_type: str | None = None
    fault_code: str | None = None
    fault_string: str | None = None
    status_code: int | None = None
    request_id: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long the message took here; at the provider's server without its own time."""
        return None if self.response_out_at is None else (self.response_out_at - self.request_in_at).total_seconds()


def published(
    record: OperationalRecord, *, internal_ip: str, version: str, stores_user_and_issue: bool
) -> Mapping[str, Any]:
    """The record under its published names, in their order; what is not known is left out."""
    client, service = record.client, record.service
    provider = service.provider if service else None
    party_class, _, party_code = (record.represented_party or "").rpartition("/")
    values = {
        "securityServerInternalIp": internal_ip,
        "securityServerType": record.role,
        "requestInTs": _milliseconds(record.request_in_at),
        "requestOutTs": _milliseconds(record.request_out_at),
        "responseInTs": _milliseconds(record.response_in_at),
        "responseOutTs": _milliseconds(record.response_out_at),
        "clientXRoadInstance": client.instance if client else None,
        "clientMemberClass": client.member_class if client else None,
        "clientMemberCode": client.member_code if client else None,
        "clientSubsystemCode": client.subsystem if isinstance(client, ClientId) else None,
        "serviceXRoadInstance": provider.instance if provider else None,
        "serviceMemberClass": provider.member_class if provider else None,
        "serviceMemberCode": provider.member_code if provider else None,
        "serviceSubsystemCode": provider.subsystem if provider else None,
        "serviceCode": service.service_code if service else None,
        "restMethod": record.method,
        "restPath": None if record.path is None else storable_path(record.path, record.endpoint),
        "representedPartyClass": party_class or None,
        "representedPartyCode": party_code or None,
        "messageId": record.message_id,
        "messageUserId": record.user_id if stores_user_and_issue else None,
        "messageIssue": record.issue if stores_user_and_issue else None,
        "messageProtocolVersion": PROTOCOL_VERSION,
        "clientSecurityServerAddress": record.client_server_address,
        "serviceSecurityServerAddress": record.service_server_address,
        "requestSize": record.request_size,
        "requestAttachmentCount": 0 if record.request_size is not None else None,
        "responseSize": record.response_size,
        "responseAttachmentCount": 0 if record.response_size is not None else None,
        "succeeded": record.succeeded,
        "serviceType": record.service_type,
        "faultCode": record.fault_code,
        "faultString": record.fault_string,
        "statusCode": record.status_code,
        "xRoadVersion": version,
        "xRequestId": record.request_id,
    }
    kept = {} if not stores_user_and_issue else {"messageUserId", "messageIssue"}
    return {
        name: _short(value) if name in kept else _clean(value) for name, value in values.items() if value is not None
    }


def storable_path(path: str, endpoint: Endpoint | None) -> str:
    """What may be kept of a signed path: below the service code, nothing that could be somebody's name or code.

    A path segment that is a word of letters is kept: services do not name persons in their paths (how-to).
    """
    if endpoint is not None and endpoint.path != ANY_PATH and not endpoint.path.endswith("/**"):
        return endpoint.path
    segments = path.split("/")[7:]  # "", r1 and the five parts of the service
    kept = [each if not each or _WORD.fullmatch(each) else "*" for each in segments[:32]]
    return _short("/" + "/".join(kept)) if segments else ""


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)


def _clean(value: Any) -> Any:
    return _PERSONAL_CODE.sub("***********", _short(value)) if isinstance(value, str) else value


def _short(value: Any) -> Any:
    return value[:_MAX_TEXT_CHARS] if isinstance(value, str) else value
