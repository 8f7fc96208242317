"""The one table between our errors and the codes that travel on the exchange (X-Road 7.8 spelling).

A code is made of the side that failed and a word: `server.clientproxy.` and `server.serverproxy.` for the two security
servers, `client.` where the information system asked for something that cannot be. What a peer told us goes on as it
is, but for its spelling. Details stay in our log; the other side gets an identifier to ask about.
"""

from typing import Final, Literal

from digiid.formats.exchange.faults import Fault
from digiid.kernel.errors import Broken, Conflict, DigiidError, Malformed, NotFound, Refused, Unavailable

Side = Literal["clientproxy", "serverproxy"]

# The longest beginning that fits decides; it fits at a dot or at the end.
_WORDS: Final = {
    "exchange.access_denied": "access_denied",
    "exchange.body_too_large": "invalid_body",
    "exchange.client_not_registered": "unknown_member",
    "exchange.consent": "access_denied",
    "exchange.fault": "invalid_message",
    "exchange.global_conf": "malformed_global_conf",
    "exchange.global_conf_outdated": "global_conf_outdated",
    "exchange.hash_chain": "malformed_signature.invalid_hash_chain_ref",
    "exchange.http": "network_error",
    "exchange.http.too_large": "invalid_body",
    "exchange.inconsistent_response": "inconsistent_response",
    "exchange.information_system": "service_failed",
    "exchange.logging_failed": "logging_failed",
    "exchange.maintenance": "maintenance_mode",
    "exchange.message": "invalid_message",
    "exchange.message_log": "logging_failed",
    "exchange.method_override": "access_denied",
    "exchange.multipart": "mime_parsing_failed",
    "exchange.ocsp": "cert_validation",
    "exchange.part_order": "invalid_message",
    "exchange.path": "invalid_request",
    "exchange.peer_version": "client_proxy_version_not_supported",
    "exchange.security_server": "invalid_security_server",
    "exchange.service_disabled": "service_disabled",
    "exchange.signature": "invalid_signature_value",
    "exchange.signature.coverage": "malformed_signature.hashchain_unused_inputs",
    "exchange.signing": "cannot_create_signature",
    "exchange.spool": "io_error",
    "exchange.timestamping_failed": "timestamping_failed",
    "exchange.too_many_messages": "io_error",
    "exchange.trust": "ssl_authentication_failed",
    "exchange.trust.signer": "cert_validation",
    "exchange.unknown_service": "unknown_service",
    "exchange.unreachable": "network_error",
    "exchange.missing_part": "missing_rest",
    "keys": "cannot_sign",
    "ocsp": "cert_validation",
    "tls": "ssl_authentication_failed",
    "x509": "cert_validation",
    "xades": "malformed_signature",
    "xades.digest": "invalid_signature_value",
    "xades.signature_value": "invalid_signature_value",
    "xml": "invalid_xml",
}
_BY_KIND: Final[dict[type[DigiidError], str]] = {
    Malformed: "invalid_message",
    Refused: "invalid_request",
    NotFound: "not_found",
    Conflict: "invalid_request",
    Unavailable: "io_error",
    Broken: "internal_error",
}
# What the consumer's information system got wrong itself.
_CLIENT_WORDS: Final = {
    "exchange.client": "ssl_authentication_failed",
    "exchange.client.unknown": "unknown_member",
    "exchange.client.disabled": "access_denied",
    "exchange.http": "invalid_request",
    "exchange.http.too_large": "invalid_body",
    "exchange.body_too_large": "invalid_body",
    "exchange.message": "invalid_request",
    "exchange.message_log": "invalid_request",
    "exchange.message_log.no_message": "not_found",
    "exchange.message_log.not_yours": "access_denied",
    "exchange.path": "invalid_request",
    "exchange.metadata": "invalid_request",
}


class PeerFault(Refused):
    """The other security server answered with a fault, which is passed on."""

    def __init__(self, fault: Fault) -> None:
        super().__init__("exchange.peer_fault", f"{fault.code}: {fault.message}")
        self.fault = fault


class RequestError(Exception):
    """The information system's own request is wrong: `cause` says how. Told with the prefix `client.`."""

    def __init__(self, cause: DigiidError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def fault_of(error: DigiidError | RequestError, *, side: Side, detail: str) -> Fault:
    """What is told of an error. `detail` is the identifier under which our log has more."""
    if isinstance(error, PeerFault):
        return error.fault
    if isinstance(error, RequestError):
        word = _find(_CLIENT_WORDS, error.cause.code) or _find(_WORDS, error.cause.code) or "invalid_request"
        return Fault(f"client.{word}", error.cause.public or error.cause.detail, detail)
    word = _find(_WORDS, error.code) or _BY_KIND.get(type(error), "internal_error")
    return Fault(f"server.{side}.{word}", error.public or _message_of(error), detail)


def _message_of(error: DigiidError) -> str:
    # Of what is broken here nothing is told but the detail's identifier.
    return "internal error" if isinstance(error, Broken) else error.detail


def _find(words: dict[str, str], code: str) -> str | None:
    while code:
        if code in words:
            return words[code]
        code = code.rpartition(".")[0]
    return None
