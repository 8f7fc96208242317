"""Paths that mean one thing only: the string matched against access rights is the string sent to the provider.

X-Road decodes and normalises before it matches; a right with a wildcard could be left that way (XRDDEV-3054). Here
nothing is normalised: what two programs could read differently is refused.
"""

import re

from digiid.kernel.errors import Refused

_PLAIN = re.compile(r"(/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)+")  # RFC 3986 §3.3, path-abempty
_HIDDEN = re.compile(r"%(?:25)*(?:2f|5c|00)", re.IGNORECASE)  # slash, backslash, NUL, encoded any number of times
_DOT = re.compile(r"%(?:25)*2e", re.IGNORECASE)
MAX_PATH_CHARS = 8 * 1024


def check_unambiguous_path(path: str) -> str:
    """The same path, if no program on the way can read another one into it.

    Raises: Refused `exchange.path`: an encoded slash or backslash, a backslash, a dot segment in any spelling (also
        before path parameters), an empty segment that is not the last one, a character that belongs encoded.
    """
    if len(path) > MAX_PATH_CHARS or not _PLAIN.fullmatch(path):
        raise Refused("exchange.path", "the path is too long or has a character that is not allowed as it stands")
    if _HIDDEN.search(path):
        raise Refused("exchange.path", "the path has an encoded slash, backslash or NUL")
    segments = path.split("/")[1:]
    if any(_DOT.sub(".", segment).partition(";")[0] in (".", "..") for segment in segments):
        raise Refused("exchange.path", "the path has a dot segment")
    if "" in segments[:-1]:
        raise Refused("exchange.path", "the path has an empty segment")
    return path
