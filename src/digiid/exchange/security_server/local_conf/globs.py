"""Path globs of rights and endpoints: what they look like, and what they match."""

import re
from collections.abc import Callable
from typing import Final

from digiid.formats.exchange.paths import check_unambiguous_path
from digiid.kernel.errors import Refused

ANY_METHOD: Final = "*"
ANY_PATH: Final = "**"
_GLOB_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})*")


def compile_glob(glob: str) -> Callable[[str], object]:
    """A function from a path to whether it fits. Raises: ValueError, not a glob of ours.

    One `*` at most in a segment, so that matching is linear; a segment that is `*` alone is never empty.
    """
    if glob == ANY_PATH:
        return _always
    if not glob.startswith("/"):
        raise ValueError("a path begins with a slash, or is ** alone")
    segments = glob.split("/")[1:]
    rest = segments[-1] == ANY_PATH
    patterns = []
    for segment in segments[:-1] if rest else segments:
        head, star, tail = segment.partition("*")
        if "*" in tail:
            raise ValueError("a segment has one * at most, and ** stands alone at the end")
        if not _GLOB_SEGMENT.fullmatch(head) or not _GLOB_SEGMENT.fullmatch(tail):
            raise ValueError("a path has only characters that may stand in one, percent-encoded where they must be")
        any_of_it = "[^/]*" if head or tail else "[^/]+"
        patterns.append(re.escape(head) + any_of_it + re.escape(tail) if star else re.escape(head))
    try:
        check_unambiguous_path(glob)
    except Refused as error:
        raise ValueError(error.detail) from error
    if "*" not in glob:
        return glob.__eq__
    pattern = "".join(f"/{each}" for each in patterns) + ("/.*" if rest else "")
    return re.compile(pattern, re.DOTALL).fullmatch


def _always(_path: str) -> bool:
    return True
