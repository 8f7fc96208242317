"""Paths that mean one thing only: the string matched against access rights is the string sent to the provider.

X-Road decodes and normalises before it matches; a right with a wildcard could be left that way (XRDDEV-3054). Here
nothing is normalised: what two programs could read differently is refused.
"""

import re

from digiid.kernel.errors import Refused

_PLAIN = re.compile(r"(/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)+")  # RFC 3986 §3.3, path-abempty
_HIDDEN = re.compile(r"%(?:25)*(?:2f|5c|00)", re.IGNORECASE)  # slash, backslash, NUL, encoded any number of times
# Bytes that no UTF-8 has: programs that decode them all the same find a dot or a slash in `%c0%ae` and `%c0%af`.
_OVERLONG = re.compile(r"%(?:25)*(?:c[01]|e0%(?:25)*[89][0-9a-f]|f0%(?:25)*8[0-9a-f]|f[5-f])", re.IGNORECASE)
_DOT = re.compile(r"%(?:25)*2e", re.IGNORECASE)
MAX_PATH_CHARS = 8 * 1024


def check_unambiguous_path(path: str) -> str:
    """The same path, if no program on the way can read another one into it.

    Raises: Refused `exchange.path`: an encoded slash or backslash, a backslash, a dot segment in any spelling (also
        before path parameters), bytes that are overlong UTF-8, an empty segment that is not the last one, a character
        that belongs encoded.
    """
    if len(path) > MAX_PATH_CHARS or not _PLAIN.fullmatch(path):
        raise Refused("exchange.path", "the path is too long or has a character that is not allowed as it stands")
    encoded = "%" in path
    if encoded and _HIDDEN.search(path):
        raise Refused("exchange.path", "the path has an encoded slash, backslash or NUL")
    if encoded and _OVERLONG.search(path):
        raise Refused("exchange.path", "the path has bytes that are not UTF-8")
    segments = path.split("/")[1:]
    plain = _DOT.sub(".", path).split("/")[1:] if encoded else segments
    if any(segment.partition(";")[0] in (".", "..") for segment in plain):
        raise Refused("exchange.path", "the path has a dot segment")
    if "" in segments[:-1]:
        raise Refused("exchange.path", "the path has an empty segment")
    return path
