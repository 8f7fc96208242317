"""Time-stamped ASiC-S containers of the test hierarchy, right unless told otherwise."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from digiid.formats import der
from digiid.formats.asic import DataFile, parse_container
from digiid.formats.asic.simple import apply_renewal, build_time_stamped_container, plan_renewal
from tests.support.pki import SIGNED_AT, Identity, shared_pki


def stamped(
    content: bytes,
    *,
    name: str = "letter.txt",
    at: datetime = SIGNED_AT,
    unit: Identity | None = None,
    hash_name: str = "sha256",
    over: bytes | None = None,
    edit_token: Callable[[bytes], bytes] = lambda token: token,
) -> bytes:
    """A container with one token over `content`, or over something else."""
    imprint = hashlib.new(hash_name, content if over is None else over).digest()
    token = edit_token(shared_pki().time_stamp(imprint, gen_at=at, hash_name=hash_name, unit=unit))
    return build_time_stamped_container(DataFile(name, "application/octet-stream", content), token, at=at)


def renewed(container: bytes, *, at: datetime, unit: Identity | None = None, manifest: bytes | None = None) -> bytes:
    """The container with one token more, over the manifest that belongs there, or over another one."""
    parsed = parse_container(io.BytesIO(container))
    renewal = plan_renewal(parsed)
    if manifest is not None:
        renewal = replace(renewal, manifest=manifest)
    imprint = hashlib.sha512(renewal.manifest).digest()
    token = shared_pki().time_stamp(imprint, gen_at=at, hash_name="sha512", unit=unit)
    return apply_renewal(parsed, renewal, token, at=at)


def as_ber(encoded: bytes) -> bytes:
    """The same structure with indefinite lengths and octet strings in pieces, as BouncyCastle writes a token that it
    added certificates to. Only the outer layers: what is signed stays as it is."""

    def loosen(data: bytes, depth: int) -> bytes:
        tag, body, end = der.header(data, 0, len(data))
        content = data[body:end]
        if depth == 0 or not tag & 0x20:
            return data
        parts, at = [], 0
        while at < len(content):
            _, _, stop = der.header(content, at, len(content))
            parts.append(loosen(content[at:stop], depth - 1))
            at = stop
        return bytes([tag, 0x80]) + b"".join(parts) + b"\x00\x00"

    return loosen(encoded, 3)
