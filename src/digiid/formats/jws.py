"""JSON Web Signatures in the compact form (RFC 7515), as narrow as we need them.

Read and written: ES256 and ES384 (RFC 7518 §3.4), the header parameters `alg`, `typ` and `x5c`, all three required,
and a payload that is a JSON object. Not supported, and refused: `none`, every other algorithm, every other header
parameter (`crit`, `jku`, `jwk`, `x5u`, `b64` among them), the JSON serialisation, JSON with a name twice or with
numbers that are no integers.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from digiid.formats.x509.parts import certificate_der, load_certificate
from digiid.kernel.errors import DigiidError, Malformed, Refused

MAX_CHAIN: Final = 4
MAX_CERTIFICATE_BYTES: Final = 4096
MAX_DEPTH: Final = 8
_MAX_HEADER_CHARS: Final = 24_000  # four certificates at their limit, in base64 twice
_MAX_INTEGER_DIGITS: Final = 15  # what every reader of JSON keeps exactly (RFC 8259 §6)
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_HEADER: Final = frozenset({"alg", "typ", "x5c"})
_ALGORITHMS: Final[Mapping[str, tuple[type[ec.EllipticCurve], hashes.HashAlgorithm]]] = {
    "ES256": (ec.SECP256R1, hashes.SHA256()),
    "ES384": (ec.SECP384R1, hashes.SHA384()),
}
_ALGORITHM_OF_CURVE: Final = {"secp256r1": "ES256", "secp384r1": "ES384"}


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """What a compact JWS says, of which nothing is proven. `certificates`: the signer's first."""

    typ: str
    algorithm: str
    certificates: tuple[x509.Certificate, ...]
    unverified_payload: Mapping[str, Any]
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def sign_compact(
    payload: Mapping[str, Any], *, typ: str, key: ec.EllipticCurvePrivateKey, certificates: Sequence[x509.Certificate]
) -> str:
    """Sign a JSON object. The curve decides the algorithm; `certificates` begin with the key's own.

    Raises: Refused `jws.key`.
    """
    algorithm = _ALGORITHM_OF_CURVE.get(key.curve.name)
    if algorithm is None or not certificates or certificates[0].public_key() != key.public_key():
        raise Refused("jws.key", "a key on P-256 or P-384 and its own certificate are needed")
    x5c = [base64.b64encode(certificate_der(certificate)).decode() for certificate in certificates]
    header = {"alg": algorithm, "typ": typ, "x5c": x5c}
    signing_input = f"{_encode(_to_json(header))}.{_encode(_to_json(payload))}".encode()
    r, s = decode_dss_signature(key.sign(signing_input, ec.ECDSA(_ALGORITHMS[algorithm][1])))
    size = (key.curve.key_size + 7) // 8
    return f"{signing_input.decode()}.{_encode(r.to_bytes(size, 'big') + s.to_bytes(size, 'big'))}"


def parse_compact(token: str | bytes, *, typ: str, max_chars: int) -> UnverifiedJws:
    """Read a compact JWS of this type. Raises: Malformed `jws.form`, `jws.header`, `jws.json`."""
    text = token.decode("ascii", errors="replace") if isinstance(token, bytes) else token
    if len(text) > max_chars:
        raise Malformed("jws.form", f"longer than {max_chars} characters")
    if not _COMPACT.fullmatch(text):
        raise Malformed("jws.form", "not three parts of base64url")
    head, body, value = text.split(".")
    if len(head) > _MAX_HEADER_CHARS:
        raise Malformed("jws.header", "the header is too long")
    header = _read_json(_decode(head))
    if header.keys() != _HEADER:
        raise Malformed("jws.header", "the header has alg, typ and x5c, and nothing else")
    if header["typ"] != typ:
        raise Malformed("jws.header", "the type is another one")
    algorithm = header["alg"]
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise Malformed("jws.header", "alg is neither ES256 nor ES384")
    return UnverifiedJws(
        typ,
        algorithm,
        _certificates(header["x5c"]),
        _read_json(_decode(body)),
        f"{head}.{body}".encode(),
        _decode(value),
    )


def verify_compact(unverified: UnverifiedJws) -> Mapping[str, Any]:
    """Verify the signature with the first certificate's key and return the payload.

    Whether that certificate is to be trusted is the caller's question, and comes first.

    Raises: Refused `jws.signature`.
    """
    curve, algorithm = _ALGORITHMS[unverified.algorithm]
    try:
        key = unverified.certificates[0].public_key()
    except Exception as error:  # several kinds, all of them a key that we do not read
        raise Refused("jws.signature", "the certificate's key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, curve):
        raise Refused("jws.signature", f"{unverified.algorithm} does not fit the certificate's key")
    size = (key.curve.key_size + 7) // 8
    if len(unverified.signature) != 2 * size:
        raise Refused("jws.signature", f"an {unverified.algorithm} signature has {2 * size} bytes")
    r, s = (int.from_bytes(half, "big") for half in (unverified.signature[:size], unverified.signature[size:]))
    try:
        key.verify(encode_dss_signature(r, s), unverified.signing_input, ec.ECDSA(algorithm))
    except (InvalidSignature, ValueError) as error:
        raise Refused("jws.signature", "changed after it was signed, or not by this key") from error
    return unverified.unverified_payload


def _certificates(x5c: object) -> tuple[x509.Certificate, ...]:
    # RFC 7515 §4.1.6: base64 here, with padding, not base64url
    if not isinstance(x5c, list) or not 1 <= len(x5c) <= MAX_CHAIN or not all(isinstance(c, str) for c in x5c):
        raise Malformed("jws.header", f"x5c holds 1 to {MAX_CHAIN} certificates")
    found = []
    for text in x5c:
        try:
            der = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise Malformed("jws.header", "x5c is not base64") from error
        if not 0 < len(der) <= MAX_CERTIFICATE_BYTES or base64.b64encode(der).decode() != text:
            raise Malformed("jws.header", "x5c is not base64, or a certificate is too long")
        try:
            found.append(load_certificate(der))
        except DigiidError as error:
            raise Malformed("jws.header", "x5c holds something that is no certificate") from error
    return tuple(found)


def _to_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _read_json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_pairs,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_integer,
        )
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise Malformed("jws.json", "not JSON") from error
    if not isinstance(value, dict):
        raise Malformed("jws.json", "not a JSON object")
    _check_depth(value)
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("jws.json", "a name stands twice")
    return found


def _integer(text: str) -> int:
    if len(text) > _MAX_INTEGER_DIGITS:
        raise Malformed("jws.json", "a number is too long")
    return int(text)


def _refuse_number(text: str) -> Any:
    raise Malformed("jws.json", "a number that is no integer")


def _check_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
        ]
        if not level:
            return
    raise Malformed("jws.json", f"deeper than {MAX_DEPTH}")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """RFC 7515 §2: no padding; and one text only for the same bytes."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise Malformed("jws.form", "not base64url") from error
    if _encode(data) != text:
        raise Malformed("jws.form", "base64url with bits left over")
    return data
