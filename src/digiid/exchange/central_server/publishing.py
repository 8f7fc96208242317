"""Serves the configuration: `/internalconf?version=6` and its parts. A plain ASGI callable over what is in memory.

The directory is made anew every minute and is asked for anew each time; a part never changes under its path, so that
anybody may keep it. Once the configuration has run out nothing is served: an old one is of no use to anybody honest.
"""

import re
from typing import Final
from urllib.parse import parse_qs

from digiid.exchange.central_server.use_cases.configuration import Published
from digiid.formats.global_conf import WRITTEN_VERSION
from digiid.platform.asgi import Receive, Scope, Send, respond, respond_status
from digiid.platform.clock import Clock

PREFIXES: Final = ("/internalconf", f"/V{WRITTEN_VERSION}")
_DIRECTORY_PATHS: Final = ("/internalconf", f"/V{WRITTEN_VERSION}/internalconf")
_DIRECTORY_TYPE: Final = b"multipart/related"  # the whole multipart, with its own headers, is the body
_IMMUTABLE: Final = b"public, max-age=31536000, immutable"
_VERSION: Final = re.compile(r"[0-9]{1,3}")


class Publishing:
    """What is served now. `put` replaces it whole; a request sees one configuration or the next, never halves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._published: Published | None = None

    @property
    def published(self) -> Published | None:
        return self._published

    def put(self, published: Published) -> None:
        self._published = published

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            await respond_status(send, 405, allow=b"GET, HEAD")
            return
        path = scope["path"]
        # 1 is it an address of ours at all
        if path in _DIRECTORY_PATHS:
            status = _version_status(path, scope.get("query_string", b""))
            if status is not None:
                await respond_status(send, status)
                return
        # 2 is there one that still holds
        published = self._published
        if published is None or self._clock.now() >= published.directory.expires_at:
            await respond_status(send, 503)
            return
        # 3 the directory, or one of its parts
        if path in _DIRECTORY_PATHS:
            await _send(send, scope, published.directory.content, _DIRECTORY_TYPE, b"no-store")
            return
        content = published.parts.get(path)
        if content is None:
            await respond_status(send, 404)
            return
        await _send(send, scope, content, b"application/octet-stream", _IMMUTABLE)


def _version_status(path: str, query: bytes) -> int | None:
    """The HTTP status for a version that is not written; None when it is this one.

    No version means the second one (pr-gconf), which is not written. Clients go down from the highest that they know.
    """
    if path != "/internalconf":
        return None
    try:
        values = parse_qs(query.decode("ascii"), max_num_fields=4).get("version", [])
    except ValueError:
        return 400
    if not values:
        return 404
    if len(values) != 1 or not _VERSION.fullmatch(values[0]):
        return 400
    return None if int(values[0]) == WRITTEN_VERSION else 404


async def _send(send: Send, scope: Scope, content: bytes, media_type: bytes, cache_control: bytes) -> None:
    if scope["method"] == "HEAD":
        headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(content))]
        headers.append((b"cache-control", cache_control))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    await respond(send, content, media_type, cache_control=cache_control)
