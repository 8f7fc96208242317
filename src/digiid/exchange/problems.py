"""The one table between the six kinds of error and what travels on the exchange (RFC 9457, X-Road errors)."""

import json

from digiid.kernel.errors import Broken, Conflict, DigiidError, Malformed, NotFound, Refused, Unavailable

STATUS_BY_KIND: dict[type[DigiidError], int] = {
    Malformed: 400,
    Refused: 403,
    NotFound: 404,
    Conflict: 409,
    Unavailable: 503,
    Broken: 500,
}
KIND_BY_STATUS: dict[int, type[DigiidError]] = {status: kind for kind, status in STATUS_BY_KIND.items()}

# X-Road 7.8 error codes that the gate itself answers with
ACCESS_DENIED = "server.serverproxy.access_denied"
UNKNOWN_SERVICE = "server.serverproxy.unknown_service"
CLIENT_AUTHENTICATION = "client.ssl_authentication_failed"
INVALID_REQUEST = "client.invalid_rest"
SERVICE_FAILED = "server.serverproxy.service_failed"


def read_problem(status: int, body: bytes, *, whom: str) -> DigiidError | None:
    """What a provider sent as its error, of the same kind and code; None when that is no problem of ours.

    `whom` names the provider for the log. What stands in the body is a stranger's: a code that is none is not taken.
    """
    try:
        problem = json.loads(body)
        code, public = str(problem["code"]), problem.get("detail")
        kind = KIND_BY_STATUS.get(status, Broken)
        return kind(code, f"{whom} answered {status}", public=public if isinstance(public, str) else None)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
