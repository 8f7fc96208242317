"""Management requests to the central server: X-Road's operations and proofs (pr-mserv) in a REST form of our own.

A request is a JSON document; what is signed are exactly its bytes, so nothing is put into a canonical form. It travels
inside an envelope with its proofs: raw signatures (ECDSA as DER, RSA PKCS#1 v1.5) with the certificate that each
verifies with and the OCSP response about it. docs/protocols/management.md, version 1, is the specification.

Nothing here is judged: who has to sign what, and whether the certificates are any good, is the central server's.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from digiid.formats.x509.signature import check_public_key
from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import ClientId, Party, ServerId, parse_party, parse_server_id

PROTOCOL_VERSION: Final = "1"
MAX_ENVELOPE_BYTES: Final = 96 * 1024
MAX_REQUEST_BYTES: Final = 8 * 1024
MAX_TEXT: Final = 200
_MAX_CERTIFICATE_BYTES, _MAX_OCSP_BYTES, _MAX_SIGNATURE_BYTES = 8 * 1024, 16 * 1024, 1024
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHA256_HEX: Final = re.compile(r"[0-9a-f]{64}")
_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")
_MAX_PORT: Final = 65535 - 77  # the OCSP port stands 77 above it
SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Operation(StrEnum):
    """pr-mserv's names."""

    AUTH_CERT_REGISTRATION = "authCertReg"
    AUTH_CERT_DELETION = "authCertDeletion"
    CLIENT_REGISTRATION = "clientReg"
    CLIENT_DELETION = "clientDeletion"
    OWNER_CHANGE = "ownerChange"
    ADDRESS_CHANGE = "addressChange"
    CLIENT_DISABLE = "clientDisable"
    CLIENT_ENABLE = "clientEnable"
    CLIENT_RENAME = "clientRename"
    MAINTENANCE_ON = "maintenanceModeEnable"
    MAINTENANCE_OFF = "maintenanceModeDisable"


class ProofBy(StrEnum):
    """Whose key made a proof: the server's authentication key, its owner's, or the concerned member's signing key."""

    AUTHENTICATION = "authentication"
    OWNER = "owner"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class ManagementRequest:
    """What is asked. `client` is a subsystem, or a member where the operation is about one.

    `auth_cert_hash` is SHA-256 over the DER of the authentication certificate, in lower-case hexadecimal.
    """

    operation: Operation
    request_id: str
    created_at: datetime
    server: ServerId
    client: Party | None = None
    address: str | None = None
    subsystem_name: str | None = None
    message: str | None = None
    auth_cert_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """One signature over the request's bytes. `algorithm` is Java's name, as pr-mserv writes it: `SHA512withRSA`."""

    by: ProofBy
    algorithm: str
    signature: bytes
    certificate_der: bytes
    ocsp_der: bytes


@dataclass(frozen=True, slots=True)
class UnverifiedEnvelope:
    """A request as it came: its exact bytes, what they say, and proofs that nobody has verified yet."""

    request_bytes: bytes
    request: ManagementRequest
    proofs: Mapping[ProofBy, Proof]


# (needed, allowed) beside the fields that every request has
_FIELDS: Final[Mapping[Operation, tuple[frozenset[str], frozenset[str]]]] = {
    Operation.AUTH_CERT_REGISTRATION: (frozenset({"authCertHash", "address"}), frozenset()),
    Operation.AUTH_CERT_DELETION: (frozenset({"authCertHash"}), frozenset()),
    Operation.CLIENT_REGISTRATION: (frozenset({"client"}), frozenset({"subsystemName"})),
    Operation.CLIENT_DELETION: (frozenset({"client"}), frozenset()),
    Operation.OWNER_CHANGE: (frozenset({"client"}), frozenset()),
    Operation.ADDRESS_CHANGE: (frozenset({"address"}), frozenset()),
    Operation.CLIENT_DISABLE: (frozenset({"client"}), frozenset()),
    Operation.CLIENT_ENABLE: (frozenset({"client"}), frozenset()),
    Operation.CLIENT_RENAME: (frozenset({"client", "subsystemName"}), frozenset()),
    Operation.MAINTENANCE_ON: (frozenset(), frozenset({"message"})),
    Operation.MAINTENANCE_OFF: (frozenset(), frozenset()),
}
_COMMON: Final = frozenset({"protocolVersion", "operation", "requestId", "createdAt", "server"})
_NAMES: Final = {
    "client": "client",
    "address": "address",
    "subsystemName": "subsystem_name",
    "message": "message",
    "authCertHash": "auth_cert_hash",
}


# ------------------------------------------------------------------ the request


def build_management_request(request: ManagementRequest) -> bytes:
    """The bytes to be signed. Raises: Malformed `exchange.management.…` for what would not be read back."""
    at = request.created_at.astimezone(UTC)
    document = {
        "protocolVersion": PROTOCOL_VERSION,
        "operation": request.operation.value,
        "requestId": request.request_id,
        "createdAt": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06}Z",
        "server": str(request.server),
    }
    for name, attribute in _NAMES.items():
        value = getattr(request, attribute)
        if value is not None:
            document[name] = str(value)
    encoded = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    parse_management_request(encoded)
    return encoded


def parse_management_request(request_bytes: bytes) -> ManagementRequest:
    """Read a request: each operation has exactly its own fields, none twice and none beside them.

    Raises: Malformed `exchange.management.…`, `exchange.identifier`.
    """
    document = _load_object(request_bytes, max_bytes=MAX_REQUEST_BYTES)
    values: dict[str, str] = {}
    for name, value in document.items():
        if not isinstance(value, str) or not value or len(value) > 4 * MAX_TEXT + 64:
            raise Malformed("exchange.management.field", f"{name[:40]!r} is not a text of acceptable length")
        if any("\ud800" <= char <= "\udfff" for char in value):  # JSON can write halves of characters; no store can
            raise Malformed("exchange.management.field", f"{name[:40]!r} holds half a character")
        values[name] = value
    if values.get("protocolVersion") != PROTOCOL_VERSION:
        raise Malformed("exchange.management.version", "only version 1 is read")
    try:
        operation = Operation(values.get("operation", ""))
    except ValueError as error:
        raise Malformed("exchange.management.operation", "no operation of this name") from error
    needed, allowed = _FIELDS[operation]
    given = frozenset(values)
    if not _COMMON | needed <= given <= _COMMON | needed | allowed:
        wrong = sorted((_COMMON | needed) - given) or sorted(given - _COMMON - needed - allowed)
        raise Malformed("exchange.management.field", f"{operation} with missing or other fields: {wrong}")
    if not _UUID.fullmatch(values["requestId"]):
        raise Malformed("exchange.management.field", "requestId is a UUID in lower case")
    hashed = values.get("authCertHash")
    if hashed is not None and not _SHA256_HEX.fullmatch(hashed):
        raise Malformed("exchange.management.field", "authCertHash is SHA-256 in lower-case hexadecimal")
    address = values.get("address")
    if address is not None:
        check_address(address)
    client = parse_party(values["client"]) if "client" in values else None
    _check_client(operation, client)
    return ManagementRequest(
        operation=operation,
        request_id=values["requestId"],
        created_at=_instant(values["createdAt"]),
        server=parse_server_id(values["server"]),
        client=client,
        address=address,
        subsystem_name=_plain_text(values.get("subsystemName")),
        message=_plain_text(values.get("message")),
        auth_cert_hash=hashed,
    )


def check_address(address: str) -> None:
    """`host` or `host:port`; an IPv6 address stands in brackets. Raises: Malformed `exchange.management.address`."""
    host, port = address, ""
    if not address.endswith("]") and ":" in address:
        host, _, port = address.rpartition(":")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= _MAX_PORT):
            raise Malformed("exchange.management.address", f"not a port: {port[:10]!r}")
    if not _HOST.fullmatch(host) or ".." in host:
        raise Malformed("exchange.management.address", f"not a host: {host[:80]!r}")


def _check_client(operation: Operation, client: Party | None) -> None:
    if client is None:
        return
    is_subsystem = isinstance(client, ClientId)
    if operation is Operation.OWNER_CHANGE and is_subsystem:
        raise Malformed("exchange.management.client", "an owner is a member, not a subsystem")
    if operation is Operation.CLIENT_RENAME and not is_subsystem:
        raise Malformed("exchange.management.client", "only a subsystem is renamed")


def _plain_text(text: str | None) -> str | None:
    if text is not None and (len(text) > MAX_TEXT or not text.isprintable() or text != text.strip()):
        raise Malformed("exchange.management.field", f"a text is printable and has at most {MAX_TEXT} characters")
    return text


def _instant(text: str) -> datetime:
    if not _INSTANT.fullmatch(text):
        raise Malformed("exchange.management.field", "createdAt is an instant in UTC: 2026-11-23T10:00:00Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise Malformed("exchange.management.field", "createdAt is no instant") from error


# ------------------------------------------------------------------ the envelope


def build_envelope(request_bytes: bytes, proofs: Sequence[Proof]) -> bytes:
    """The request with its proofs, as it is sent."""
    document = {
        "request": _b64(request_bytes),
        "proofs": [
            {
                "by": proof.by.value,
                "algorithm": proof.algorithm,
                "signature": _b64(proof.signature),
                "certificate": _b64(proof.certificate_der),
                "ocsp": _b64(proof.ocsp_der),
            }
            for proof in proofs
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def parse_envelope(envelope: bytes) -> UnverifiedEnvelope:
    """Read an envelope; each kind of proof stands at most once. Raises: Malformed `exchange.management.…`."""
    document = _load_object(envelope, max_bytes=MAX_ENVELOPE_BYTES)
    if document.keys() != {"request", "proofs"}:
        raise Malformed("exchange.management.envelope", "an envelope has a request and its proofs, and nothing else")
    request_bytes = _bytes_of(document["request"], max_bytes=MAX_REQUEST_BYTES)
    listed = document["proofs"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= len(ProofBy):
        raise Malformed("exchange.management.envelope", f"one to {len(ProofBy)} proofs are read")
    proofs: dict[ProofBy, Proof] = {}
    for one in listed:
        proof = _proof_of(one)
        if proof.by in proofs:
            raise Malformed("exchange.management.envelope", f"two proofs by {proof.by}")
        proofs[proof.by] = proof
    return UnverifiedEnvelope(request_bytes, parse_management_request(request_bytes), proofs)


_PROOF_KEYS: Final = {"by", "algorithm", "signature", "certificate", "ocsp"}


def _proof_of(value: object) -> Proof:
    if not isinstance(value, dict) or value.keys() != _PROOF_KEYS:
        raise Malformed("exchange.management.envelope", "a proof has exactly its five fields")
    algorithm = value["algorithm"]
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise Malformed("exchange.management.algorithm", "a signature algorithm that is not read")
    try:
        by = ProofBy(value["by"])
    except ValueError as error:
        raise Malformed("exchange.management.envelope", "a proof by nobody that is known") from error
    return Proof(
        by,
        algorithm,
        _bytes_of(value["signature"], max_bytes=_MAX_SIGNATURE_BYTES),
        _bytes_of(value["certificate"], max_bytes=_MAX_CERTIFICATE_BYTES),
        _bytes_of(value["ocsp"], max_bytes=_MAX_OCSP_BYTES),
    )


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _bytes_of(value: object, *, max_bytes: int) -> bytes:
    if not isinstance(value, str) or not value or len(value) > (max_bytes + 2) // 3 * 4:
        raise Malformed("exchange.management.base64", "not base64 of acceptable length")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("exchange.management.base64", "not base64") from error


def _load_object(data: bytes, *, max_bytes: int) -> dict[str, Any]:
    if len(data) > max_bytes:
        raise Malformed("exchange.management.too_large", f"at most {max_bytes} bytes are read")
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_no_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed("exchange.management.json", "not a JSON document that is read") from error
    if not isinstance(found, dict):
        raise Malformed("exchange.management.json", "not a JSON object")
    return found


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")  # two readers could each believe another one
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# ------------------------------------------------------------------ signatures

_SHA: Final = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()}
_ALGORITHMS: Final = frozenset(f"{name}with{kind}" for name in _SHA for kind in ("RSA", "ECDSA"))


def sign_management_request(key: SigningKey, request_bytes: bytes) -> tuple[str, bytes]:
    """(algorithm, signature) over exactly these bytes: SHA512withRSA as X-Road, or ECDSA with the curve's hash."""
    if isinstance(key, rsa.RSAPrivateKey):
        return "SHA512withRSA", key.sign(request_bytes, padding.PKCS1v15(), hashes.SHA512())
    name = {256: "SHA256", 384: "SHA384", 521: "SHA512"}[key.curve.key_size]
    return f"{name}withECDSA", key.sign(request_bytes, ec.ECDSA(_SHA[name]))


def verify_management_signature(proof: Proof, key: PublicKeyTypes, request_bytes: bytes) -> None:
    """Verify one proof's signature over the request as it came.

    Raises: Refused `x509.public_key`, `exchange.management.signature`.
    """
    check_public_key(key)
    name, _, kind = proof.algorithm.partition("with")
    digest = _SHA[name]
    verify: Callable[[], None]
    if kind == "RSA" and isinstance(key, rsa.RSAPublicKey):
        rsa_key = key

        def verify() -> None:
            rsa_key.verify(proof.signature, request_bytes, padding.PKCS1v15(), digest)

    elif kind == "ECDSA" and isinstance(key, ec.EllipticCurvePublicKey):
        ec_key = key

        def verify() -> None:
            ec_key.verify(proof.signature, request_bytes, ec.ECDSA(digest))

    else:
        raise Refused("exchange.management.signature", f"{proof.algorithm} with another type of key")
    try:
        verify()
    except InvalidSignature as error:
        raise Refused("exchange.management.signature", f"the proof by {proof.by} does not verify") from error
