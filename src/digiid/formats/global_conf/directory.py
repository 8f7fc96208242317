"""The signed directory of a configuration: which parts there are, their hashes, and until when all of it holds.

A multipart of two: a multipart of header-only and base64 parts, and a signature over its raw bytes. Written exactly as
X-Road writes it. Read tolerantly where real files differ (CRLF or LF, case of names, quotes of either kind, a missing
last inner delimiter), never in which bytes the signature is over.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from digiid.formats.global_conf.elements import parse_instant
from digiid.formats.global_conf.model import READ_VERSIONS
from digiid.formats.x509.parts import certificate_der, public_key_of
from digiid.formats.x509.signature import check_public_key, hash_algorithm
from digiid.formats.xades.algorithms import DIGEST_URIS, hash_bytes
from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import check_existing_part

SHARED_PARAMETERS: Final = "SHARED-PARAMETERS"
PRIVATE_PARAMETERS: Final = "PRIVATE-PARAMETERS"
MONITORING: Final = "MONITORING"
FETCH_INTERVAL: Final = "FETCHINTERVAL"
NEXT_UPDATE: Final = "NEXTUPDATE"

MAX_DIRECTORY_BYTES: Final = 256 * 1024
_MAX_LINES: Final = 1024
_MAX_LINE_BYTES: Final = 8192
_MAX_PARTS: Final = 32
_MAX_HEADERS: Final = 16
_HASH: Final = "sha512"
_HASHES: Final = ("sha256", "sha384", "sha512")
_HASH_OF_URI: Final = {DIGEST_URIS[name]: name for name in _HASHES}
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_PSS: Final = "http://www.w3.org/2007/05/xmldsig-more#"
_ALGORITHMS: Final = (
    {f"{_MORE}rsa-{name}": ("rsa", name) for name in _HASHES}
    | {f"{_MORE}ecdsa-{name}": ("ecdsa", name) for name in _HASHES}
    | {f"{_PSS}{name}-rsa-MGF1": ("pss", name) for name in _HASHES}
)
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")
_MULTIPART: Final = re.compile(r"multipart/(related|mixed)((?:;[^;]*)*)", re.IGNORECASE)
_HEADER_NAME: Final = re.compile(rb"[0-9A-Za-z-]{1,64}")
_LOCATION: Final = re.compile(r"(/[0-9A-Za-z_-][0-9A-Za-z_.-]{0,127}){1,8}")  # no empty, no dot segment, no escape
_GENERATED: Final = re.compile(r"/(\d{14})(\d{9})/")
_ID: Final = re.compile(r"[A-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class DirectoryPart:
    """One part: `location` is a path on the host that the directory came from. `instance` may be missing."""

    content_id: str
    instance: str | None
    location: str
    hash_name: str
    digest: bytes

    @property
    def generated_at(self) -> datetime | None:
        """When it was made, if the location tells, as X-Road's and ours do."""
        return parse_generated_at(self.location)


@dataclass(frozen=True, slots=True)
class UnverifiedDirectory:
    """A directory as it was received: nothing in it is to be believed yet."""

    version: int
    expires_at: datetime
    parts: tuple[DirectoryPart, ...]
    signed: bytes = field(repr=False)
    algorithm: str
    signature: bytes = field(repr=False)
    certificate_hash_name: str
    certificate_hash: bytes


@dataclass(frozen=True, slots=True)
class VerifiedDirectory:
    """A directory that the key of `certificate` signed, and that had not run out when it was verified."""

    version: int
    expires_at: datetime
    parts: tuple[DirectoryPart, ...]
    certificate: x509.Certificate

    @property
    def generated_at(self) -> datetime | None:
        """The newest of its parts; None when the locations do not tell."""
        return max((each.generated_at for each in self.parts if each.generated_at is not None), default=None)

    def find(self, content_id: str) -> DirectoryPart | None:
        """The part of that kind, if there is one."""
        return next((part for part in self.parts if part.content_id == content_id), None)


# ------------------------------------------------------------------ reading


def parse_directory(data: bytes) -> UnverifiedDirectory:
    """Read a directory. Raises: Malformed `exchange.global_conf.directory.…`."""
    # 1 lines, with one kind of ending
    lines = _split(data)

    # 2 outer multipart: the signed part ends before the line break that belongs to the next delimiter
    headers, at = _read_headers(lines, 0)
    boundary = _boundary(headers, "related")
    at = _expect(lines, at, b"--" + boundary)
    headers, start = _read_headers(lines, at)
    inner_boundary = _boundary(headers, "mixed")
    end = _find(lines, start, b"--" + boundary)
    signed = data[lines.starts[start] : lines.starts[end] - len(lines.ending)] if end > start else b""

    # 3 the signature's part is the last one
    headers, at = _read_headers(lines, end + 1)
    stop = _find(lines, at, b"--" + boundary + b"--")
    if any(lines.texts[stop + 1 :]):
        raise Malformed("exchange.global_conf.directory.structure", "there is something after the end")
    algorithm = _needed(headers, "signature-algorithm-id")
    hash_name, certificate_hash = _certificate_hash(_needed(headers, "verification-certificate-hash"))
    signature = _base64(lines.texts[at:stop])

    # 4 what was signed
    version, expires_at, parts = _read_signed(_Lines(lines.texts[start:end], [], lines.ending), inner_boundary)
    return UnverifiedDirectory(
        version=version,
        expires_at=expires_at,
        parts=parts,
        signed=signed,
        algorithm=algorithm,
        signature=signature,
        certificate_hash_name=hash_name,
        certificate_hash=certificate_hash,
    )


@dataclass(frozen=True, slots=True)
class _Lines:
    texts: list[bytes]
    starts: list[int]
    ending: bytes


def _split(data: bytes) -> _Lines:
    if len(data) > MAX_DIRECTORY_BYTES:
        raise Malformed("exchange.global_conf.directory.too_large", f"{len(data)} bytes, at most {MAX_DIRECTORY_BYTES}")
    ending = b"\r\n" if b"\r\n" in data else b"\n"
    texts = data.split(ending)
    if len(texts) > _MAX_LINES or any(len(text) > _MAX_LINE_BYTES for text in texts):
        raise Malformed("exchange.global_conf.directory.too_large", "too many lines, or one that is too long")
    if any(b"\r" in text or b"\n" in text for text in texts):
        raise Malformed("exchange.global_conf.directory.structure", "line endings of more than one kind")
    starts, position = [], 0
    for text in texts:
        starts.append(position)
        position += len(text) + len(ending)
    return _Lines(texts, starts, ending)


def _read_headers(lines: _Lines, at: int, *, until: bytes | None = None) -> tuple[dict[str, str], int]:
    """Headers by lower-case name, and the line after the empty one that ends them (or the delimiter `until`)."""
    headers: dict[str, str] = {}
    for position in range(at, len(lines.texts)):
        line = lines.texts[position]
        if not line:
            return headers, position + 1
        if until is not None and line.startswith(until):
            return headers, position
        name, colon, value = line.partition(b":")
        if not colon or not _HEADER_NAME.fullmatch(name) or len(headers) >= _MAX_HEADERS:
            raise Malformed("exchange.global_conf.directory.header", "a line that is not a header, or too many headers")
        key = name.decode("ascii").lower()
        if key in headers:
            raise Malformed("exchange.global_conf.directory.header", f"{key} stands twice")
        try:
            headers[key] = value.decode("utf-8").strip(" ")
        except UnicodeDecodeError as error:
            raise Malformed("exchange.global_conf.directory.header", f"{key} is not UTF-8") from error
    raise Malformed("exchange.global_conf.directory.structure", "headers without an end")


def _needed(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise Malformed("exchange.global_conf.directory.header", f"there is no {name}")
    return value


def _boundary(headers: Mapping[str, str], kind: str) -> bytes:
    found = _MULTIPART.fullmatch(_needed(headers, "content-type"))
    if found is None or found[1].lower() != kind:
        raise Malformed("exchange.global_conf.directory.structure", f"not multipart/{kind}")
    values = [
        value.strip().strip('"')
        for name, equals, value in (parameter.partition("=") for parameter in found[2].split(";"))
        if equals and name.strip().lower() == "boundary"
    ]
    if len(values) != 1 or not _BOUNDARY.fullmatch(values[0]):
        raise Malformed("exchange.global_conf.directory.structure", "there is not exactly one boundary")
    return values[0].encode("ascii")


def _expect(lines: _Lines, at: int, delimiter: bytes) -> int:
    if at >= len(lines.texts) or lines.texts[at] != delimiter:
        raise Malformed("exchange.global_conf.directory.structure", "a delimiter is not where it belongs")
    return at + 1


def _find(lines: _Lines, at: int, delimiter: bytes) -> int:
    """The next line that begins a delimiter of this multipart; it has to be this one."""
    stem = delimiter.removesuffix(b"--")
    for position in range(at, len(lines.texts)):
        if lines.texts[position] in (stem, stem + b"--"):
            if lines.texts[position] != delimiter:
                break
            return position
    raise Malformed("exchange.global_conf.directory.structure", "a delimiter is not where it belongs")


def _read_signed(lines: _Lines, boundary: bytes) -> tuple[int, datetime, tuple[DirectoryPart, ...]]:
    delimiter, last = b"--" + boundary, b"--" + boundary + b"--"

    # 1 headers about the whole
    at = _expect(lines, 0, delimiter)
    headers, at = _read_headers(lines, at, until=delimiter)
    version = headers.get("version", "2")  # the first form had none
    if not (version.isascii() and version.isdigit() and len(version) <= 3):
        raise Malformed("exchange.global_conf.directory.header", "the version is not a number")
    expires_at = parse_instant(_needed(headers, "expire-date"))

    # 2 parts, each until the next delimiter
    parts: list[DirectoryPart] = []
    while at < len(lines.texts) and lines.texts[at] != last:
        if not lines.texts[at] and not any(lines.texts[at:]):
            break  # some files end without their last delimiter
        if len(parts) >= _MAX_PARTS:
            raise Malformed("exchange.global_conf.directory.too_large", f"more than {_MAX_PARTS} parts")
        headers, at = _read_headers(lines, _expect(lines, at, delimiter))
        end = next((i for i in range(at, len(lines.texts)) if lines.texts[i].startswith(delimiter)), len(lines.texts))
        parts.append(_read_part(headers, lines.texts[at:end]))
        at = end
    if any(lines.texts[at + 1 :]):
        raise Malformed("exchange.global_conf.directory.structure", "something after the last part")
    kinds = [(part.content_id, part.instance) for part in parts]
    if len(set(kinds)) != len(kinds):
        raise Malformed("exchange.global_conf.directory.header", "a part stands twice")
    return int(version), expires_at, tuple(parts)


def _read_part(headers: Mapping[str, str], body: Iterable[bytes]) -> DirectoryPart:
    if headers.get("content-transfer-encoding", "base64").lower() != "base64":
        raise Malformed("exchange.global_conf.directory.header", "a hash that is not base64")
    content_id, instance = _content_identifier(_needed(headers, "content-identifier"))
    hash_name = _hash_name(_needed(headers, "hash-algorithm-id"))
    digest = _base64(body)
    if len(digest) != int(hash_name.removeprefix("sha")) // 8:
        raise Malformed("exchange.global_conf.directory.header", "a hash has not the length of its algorithm")
    location = _needed(headers, "content-location")
    if not _LOCATION.fullmatch(location):
        raise Malformed("exchange.global_conf.directory.location", f"not a plain path: {location[:80]!r}")
    return DirectoryPart(content_id, instance, location, hash_name, digest)


def _content_identifier(value: str) -> tuple[str, str | None]:
    content_id, semicolon, rest = (piece.strip() for piece in value.partition(";"))
    if not _ID.fullmatch(content_id):
        raise Malformed("exchange.global_conf.directory.header", "not a content identifier")
    if not semicolon:
        return content_id, None
    name, _, quoted = rest.partition("=")
    quoted = quoted.strip()
    if name.strip().lower() != "instance" or len(quoted) < 3 or quoted[0] not in "'\"" or quoted[-1] != quoted[0]:
        raise Malformed("exchange.global_conf.directory.header", "not a content identifier")
    return content_id, check_existing_part(quoted[1:-1])


def _certificate_hash(value: str) -> tuple[str, bytes]:
    encoded, _, parameter = value.partition(";")
    name, _, uri = parameter.strip().partition("=")
    if name.strip().lower() != "hash-algorithm-id":
        raise Malformed("exchange.global_conf.directory.header", "a certificate's hash without its algorithm")
    return _hash_name(uri.strip().strip("\"'")), _base64([encoded.strip().encode("ascii", "replace")])


def _hash_name(uri: str) -> str:
    name = _HASH_OF_URI.get(uri)
    if name is None:
        raise Malformed("exchange.global_conf.directory.algorithm", f"hash algorithm {uri[:80]!r} is not read")
    return name


def _base64(lines: Iterable[bytes]) -> bytes:
    try:
        return binascii.a2b_base64(b"".join(line.strip(b" \t") for line in lines), strict_mode=True)
    except ValueError as error:
        raise Malformed("exchange.global_conf.directory.base64", "not base64") from error


# ------------------------------------------------------------------ verifying


def verify_directory(
    unverified: UnverifiedDirectory, certificates: Iterable[x509.Certificate], *, at: datetime
) -> VerifiedDirectory:
    """Verify that one of `certificates` signed the directory, and that it holds at `at`.

    The certificates are the anchor's, or those that the configuration in hand names: they are trusted by themselves,
    their own validity and issuers are not looked at.

    Raises: Refused `exchange.global_conf.signer`, none of them is named; `.signature`; `.algorithm`; `.version`;
        `exchange.global_conf_outdated`, it has run out: at its expiry and after.
    """
    # 1 who is said to have signed
    named = unverified.certificate_hash
    signer = next(
        (
            one
            for one in certificates
            if hmac.compare_digest(hash_bytes(unverified.certificate_hash_name, certificate_der(one)), named)
        ),
        None,
    )
    if signer is None:
        raise Refused("exchange.global_conf.signer", "signed with a key that neither anchor nor configuration names")

    # 2 did they
    _verify_value(signer, unverified)

    # 3 does it hold now
    if unverified.version not in READ_VERSIONS:
        raise Refused("exchange.global_conf.version", f"version {unverified.version} is not read")
    if at >= unverified.expires_at:
        raise Refused("exchange.global_conf_outdated", f"the configuration ran out at {unverified.expires_at}")
    return VerifiedDirectory(unverified.version, unverified.expires_at, unverified.parts, signer)


def _verify_value(signer: x509.Certificate, unverified: UnverifiedDirectory) -> None:
    scheme, hash_name = _ALGORITHMS.get(unverified.algorithm, ("", ""))
    key = public_key_of(signer)
    try:
        check_public_key(key)
    except Refused as error:
        raise Refused("exchange.global_conf.algorithm", "the key is too weak, or of a kind that is not used") from error
    try:
        if scheme == "rsa" and isinstance(key, rsa.RSAPublicKey):
            key.verify(unverified.signature, unverified.signed, padding.PKCS1v15(), hash_algorithm(hash_name))
        elif scheme == "pss" and isinstance(key, rsa.RSAPublicKey):
            algorithm = hash_algorithm(hash_name)
            pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
            key.verify(unverified.signature, unverified.signed, pss, algorithm)
        elif scheme == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(unverified.signature, unverified.signed, ec.ECDSA(hash_algorithm(hash_name)))
        else:
            raise Refused("exchange.global_conf.algorithm", f"{unverified.algorithm[:80]!r} with this key")
    except InvalidSignature as error:
        raise Refused("exchange.global_conf.signature", "the signature does not verify") from error


# ------------------------------------------------------------------ writing


def build_location(version: int, generated_at: datetime, file_name: str) -> str:
    """`/V6/20251110170000548026000/shared-params.xml`: a new path for each generation, so that no cache is stale."""
    at = generated_at.astimezone(UTC)
    return f"/V{version}/{at:%Y%m%d%H%M%S}{at.microsecond:06}000/{file_name}"


def parse_generated_at(location: str) -> datetime | None:
    """The instant in a location; None when there is none."""
    found = _GENERATED.search(location)
    if found is None:
        return None
    try:
        at = datetime.strptime(found[1] + "+0000", "%Y%m%d%H%M%S%z")
    except ValueError:
        return None
    return at + timedelta(microseconds=int(found[2]) // 1000)


def part_of(content_id: str, instance: str | None, location: str, data: bytes) -> DirectoryPart:
    """The entry about a part, hashed with SHA-512."""
    return DirectoryPart(content_id, instance, location, _HASH, hash_bytes(_HASH, data))


def build_directory(*, version: int, expires_at: datetime, parts: Sequence[DirectoryPart], boundary: str) -> bytes:
    """The bytes that are signed. `boundary` is random, 20 letters as X-Road has it.

    Raises: Malformed `exchange.global_conf.directory.…`, a part that no reader would take.
    """
    _check_boundary(boundary)
    at = expires_at.astimezone(UTC)
    pieces = [f"--{boundary}", f"Expire-date: {at:%Y-%m-%dT%H:%M:%SZ}", f"Version: {version}", ""]
    for part in parts:
        if not _LOCATION.fullmatch(part.location) or not _ID.fullmatch(part.content_id):
            raise Malformed(
                "exchange.global_conf.directory.location",
                f"not a part: {part.content_id[:40]!r} at {part.location[:80]!r}",
            )
        instance = "" if part.instance is None else f"; instance='{check_existing_part(part.instance)}'"
        pieces += [
            f"--{boundary}",
            "Content-type: application/octet-stream",
            "Content-transfer-encoding: base64",
            f"Content-identifier: {part.content_id}{instance}",
            f"Content-location: {part.location}",
            f"Hash-algorithm-id: {DIGEST_URIS[part.hash_name]}",
            "",
            base64.b64encode(part.digest).decode("ascii"),
        ]
    pieces += [f"--{boundary}--", ""]
    return "\r\n".join(pieces).encode()


def sign_directory(
    to_sign: bytes,
    *,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
    boundary: str,
) -> bytes:
    """The whole directory: RSA PKCS #1 v1.5 or ECDSA (DER), each with SHA-512. `boundary` is another random one.

    Raises: Malformed `exchange.global_conf.directory.structure`; Refused `x509.public_key`.
    """
    _check_boundary(boundary)
    inner_boundary = to_sign.partition(b"\r\n")[0].removeprefix(b"--").decode("ascii", "replace")
    _check_boundary(inner_boundary)
    if f"--{boundary}".encode() in to_sign:
        raise Malformed("exchange.global_conf.directory.structure", "the boundary occurs in what it is around")
    check_public_key(key.public_key())
    if isinstance(key, rsa.RSAPrivateKey):
        signature, scheme = key.sign(to_sign, padding.PKCS1v15(), hash_algorithm(_HASH)), "rsa"
    else:
        signature, scheme = key.sign(to_sign, ec.ECDSA(hash_algorithm(_HASH))), "ecdsa"
    digest = base64.b64encode(hash_bytes(_HASH, certificate_der(certificate))).decode("ascii")
    before = (
        f"Content-Type: multipart/related; charset=UTF-8; boundary={boundary}\r\n\r\n--{boundary}\r\n"
        f"Content-Type: multipart/mixed; charset=UTF-8; boundary={inner_boundary}\r\n\r\n"
    )
    after = (
        f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        f"Signature-Algorithm-Id: {_MORE}{scheme}-{_HASH}\r\n"
        f'Verification-certificate-hash: {digest}; hash-algorithm-id="{DIGEST_URIS[_HASH]}"\r\n\r\n'
        f"{base64.b64encode(signature).decode('ascii')}\r\n--{boundary}--\r\n"
    )
    return before.encode() + to_sign + after.encode()


def _check_boundary(boundary: str) -> None:
    if not _BOUNDARY.fullmatch(boundary):
        raise Malformed("exchange.global_conf.directory.structure", "not a boundary")
