"""One message with its evidence as an ASiC-E container (X-Road signed document container; EN 319 162-1).

Entries that are not evidence are parts of the message, whatever they are called, so that nothing can lie in a container
unsigned. META-INF/manifest.xml and ASiCManifest.xml are written for other programs; nothing is concluded from them.
Unlike X-Road's, our mimetype entry is stored, not deflated, as EN 319 162-1 §A.1 wants it.
"""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from digiid.formats.asic import MEDIA_TYPE_ASIC_E, Archive, Limits, build_manifest, parse_archive
from digiid.formats.asic.archive import build_archive, build_part
from digiid.formats.exchange.hash_chain import (
    ACCEPTED_HASHES,
    FindDigest,
    HashChain,
    digests_of,
    verify_hash_chain,
)
from digiid.formats.exchange.message_signature import (
    MESSAGE,
    VerifiedMessageSignature,
    verify_message_signature,
)
from digiid.formats.tsp import VerifiedTimeStamp, verify_token
from digiid.formats.xades.algorithms import DIGEST_URIS, hash_bytes
from digiid.kernel.errors import Malformed, Refused

MAX_EVIDENCE_BYTES: Final = 1024**2
LIMITS: Final = Limits(max_entries=64)

_MIMETYPE, _SIGNATURE, _TOKEN = "mimetype", "META-INF/signatures.xml", "META-INF/timestamp.tst"
_SIG_CHAIN = ("sig-hashchainresult.xml", "sig-hashchain.xml")
_TS_CHAIN = ("ts-hashchainresult.xml", "ts-hashchain.xml")
_MANIFEST, _ASIC_MANIFEST = "META-INF/manifest.xml", "META-INF/ASiCManifest.xml"
_REDUCED = "META-INF/reduced-message.txt"  # our own: what is kept of a message part that only its digest is known of
SIGNATURE_URI: Final = "/" + _SIGNATURE
TIME_STAMP_CHAIN_URI: Final = "/" + _TS_CHAIN[1]
_EVIDENCE = frozenset((_MIMETYPE, _SIGNATURE, _TOKEN, _MANIFEST, _ASIC_MANIFEST, _REDUCED, *_SIG_CHAIN, *_TS_CHAIN))
_NS_ASIC_MANIFEST = "http://uri.etsi.org/2918/v1.2.1#"  # as X-Road writes it: without the leading zero


@dataclass(frozen=True, slots=True)
class BatchTimeStamp:
    """A token over the result of a hash chain, and the chain from there to this message's signature file."""

    hash_chain: HashChain
    token_der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifiedContainer:
    """What a container proves by itself. `time_stamp` is None when the message was not time-stamped yet.

    `message` is None when only its digest was kept; `unverified_reduced` is then what the log says that it was about.
    """

    message: bytes | None = field(repr=False)
    signature: VerifiedMessageSignature
    time_stamp: VerifiedTimeStamp | None
    unverified_reduced: bytes | None = field(repr=False, default=None)


# ------------------------------------------------------------------ building


def build_message_container(
    message: bytes | None,
    attachments: Mapping[str, bytes],
    signature_xml: bytes,
    *,
    hash_chain: HashChain | None,
    batch: BatchTimeStamp | None,
    at: datetime,
    reduced: bytes | None = None,
) -> bytes:
    """The container's bytes. `attachments` by name: `attachment1` is the body. `reduced` takes the place of a message
    part that was not kept.

    Raises: Malformed `asic.zip.…`.
    """
    if (message is None) == (reduced is None):
        raise ValueError("either the message or what is kept of it")
    files = {MESSAGE[1:]: message} if message is not None else {}
    files[_SIGNATURE] = signature_xml
    if hash_chain is not None:
        files |= dict(zip(_SIG_CHAIN, (hash_chain.result, hash_chain.chain), strict=True))
    if batch is not None:
        files |= dict(zip(_TS_CHAIN, (batch.hash_chain.result, batch.hash_chain.chain), strict=True))
    listed = [(name, "text/xml") for name in files if name != _SIGNATURE]
    if reduced is not None:
        files[_REDUCED] = reduced
    listed += [(name, "application/octet-stream") for name in attachments]
    files[_MANIFEST] = build_manifest(listed)
    if batch is not None:
        files |= {_ASIC_MANIFEST: _build_asic_manifest(batch.hash_chain.result), _TOKEN: batch.token_der}
    files |= attachments
    parts = [build_part(_MIMETYPE, MEDIA_TYPE_ASIC_E.encode(), at=at, compress=False)]
    parts += [build_part(name, content, at=at) for name, content in files.items()]
    return build_archive(parts, comment=f"mimetype={MEDIA_TYPE_ASIC_E}".encode())


def _build_asic_manifest(chain_result: bytes) -> bytes:
    digest = base64.b64encode(hash_bytes("sha512", chain_result)).decode("ascii")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<asic:ASiCManifest xmlns:asic="{_NS_ASIC_MANIFEST}" xmlns:ds="http://www.w3.org/2000/09/xmldsig#">'
        f'<asic:SigReference URI="{_TOKEN}" MimeType="application/vnd.etsi.timestamp-token"/>'
        f'<asic:DataObjectReference URI="{_TS_CHAIN[0]}"><ds:DigestMethod Algorithm="{DIGEST_URIS["sha512"]}"/>'
        f"<ds:DigestValue>{digest}</ds:DigestValue></asic:DataObjectReference></asic:ASiCManifest>"
    ).encode()


# ------------------------------------------------------------------ verifying


def verify_message_container(
    data: bytes, *, max_part_bytes: int, may_be_absent: frozenset[str] = frozenset()
) -> VerifiedContainer:
    """Verify a container without trust: the caller then judges certificates, OCSP responses and the time-stamping unit.

    `may_be_absent`: URIs such as `/attachment1` of bodies that a log may not have kept; see verify_message_signature.
    With `/message.xml` among them a container may hold the reduced message in its place.

    Raises:
        Malformed: `asic.zip.…`, `exchange.container.…`, and what verify_message_signature raises.
        Refused: `exchange.container.time_stamp`, the token is about something else; `tsp.…`, `cms.…`, and what
            verify_message_signature raises.
    """
    # 1 structure
    archive = parse_archive(io.BytesIO(data), LIMITS)
    if (_read(archive, _MIMETYPE) or b"").strip() != MEDIA_TYPE_ASIC_E.encode():
        raise Malformed("exchange.container.mimetype", "not an ASiC-E container")
    signature_xml = _read(archive, _SIGNATURE)
    parts = {
        "/" + entry.name: archive.read(entry, max_bytes=max_part_bytes)
        for entry in archive.entries
        if not entry.is_directory and entry.name not in _EVIDENCE
    }
    reduced = _read(archive, _REDUCED)
    if signature_xml is None or (MESSAGE in parts) == (reduced is not None):
        raise Malformed("exchange.container.structure", "no signature, or not one message")

    # 2 the signature covers exactly the parts
    signature = verify_message_signature(
        signature_xml,
        {uri: digests_of(content) for uri, content in parts.items()},
        hash_chain=_read_chain(archive, _SIG_CHAIN),
        may_be_absent=may_be_absent,
    )

    # 3 the time-stamp covers the signature
    time_stamp = _verify_batch(archive, signature_xml) or _verify_single(signature)
    return VerifiedContainer(parts.get(MESSAGE), signature, time_stamp, reduced)


def _verify_batch(archive: Archive, signature_xml: bytes) -> VerifiedTimeStamp | None:
    chain, token_der = _read_chain(archive, _TS_CHAIN), _read(archive, _TOKEN)
    if chain is None and token_der is None:
        return None
    if chain is None or token_der is None:
        raise Malformed("exchange.container.structure", "a batch time-stamp without its chain, or a chain without it")
    signature = {SIGNATURE_URI: digests_of(signature_xml)}
    if verify_hash_chain(chain, signature, chain_uri=TIME_STAMP_CHAIN_URI) != signature.keys():
        raise Refused("exchange.container.time_stamp", "the time-stamp is not about this signature")
    return _verify_imprint(token_der, digests_of(chain.result))


def _verify_single(signature: VerifiedMessageSignature) -> VerifiedTimeStamp | None:
    """X-Road stamps the decoded signature value, not the canonical element that EN 319 132-1 §5.3 names."""
    unverified = signature.verified.signature
    if not unverified.signature_time_stamps:
        return None
    return _verify_imprint(unverified.signature_time_stamps[0].token_der, digests_of(unverified.signature_value))


def _verify_imprint(token_der: bytes, find_digest: FindDigest) -> VerifiedTimeStamp:
    time_stamp = verify_token(token_der)
    if time_stamp.hash_name not in ACCEPTED_HASHES or time_stamp.imprint != find_digest(time_stamp.hash_name):
        raise Refused("exchange.container.time_stamp", "the time-stamp is about something else")
    return time_stamp


def _read(archive: Archive, name: str) -> bytes | None:
    entry = archive.find(name)
    return None if entry is None else archive.read(entry, max_bytes=MAX_EVIDENCE_BYTES)


def _read_chain(archive: Archive, names: tuple[str, str]) -> HashChain | None:
    result, chain = (_read(archive, name) for name in names)
    if result is None and chain is None:
        return None
    if result is None or chain is None:
        raise Malformed("exchange.container.structure", f"{names[0]} and {names[1]} belong together")
    return HashChain(result, chain)
