"""The one table between the six kinds of error and what travels on the exchange (RFC 9457, X-Road errors)."""

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
