"""The six kinds of error that cross a border inside digiid.

A code is dotted and stable (`trust.profile.key_too_small`): programs may depend on it, and
docs/error-codes.md lists every one. `detail` is for the log of the institution where it happened
and may name internals; `public` is what a stranger may read. Each protocol edge owns one table
from kind to its own answer (HTTP problem RFC 9457, OCSP responseStatus, TSA failInfo, card status
word, exit code).
"""

import re
from typing import ClassVar

_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class DigiidError(Exception):
    """Something happened that the caller has to know the kind of. Raise one of the six subclasses."""

    kind: ClassVar[str] = "error"

    def __init__(self, code: str, detail: str, *, public: str | None = None) -> None:
        if not _CODE.fullmatch(code):
            raise ValueError(f"an error code is dotted lower-case words, not {code!r}")
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.public = public


class Malformed(DigiidError):
    """Bytes or fields from outside are not what their format says. The only error a parser raises."""

    kind = "malformed"


class Refused(DigiidError):
    """Well-formed, and a rule says no: not allowed, not trusted, not now."""

    kind = "refused"


class NotFound(DigiidError):
    """The thing that was named does not exist, or not for this caller."""

    kind = "not_found"


class Conflict(DigiidError):
    """The thing is not in the state that this step needs, or somebody else was first."""

    kind = "conflict"


class Unavailable(DigiidError):
    """A peer, a device or a store does not answer now; the same call may succeed later."""

    kind = "unavailable"


class Broken(DigiidError):
    """Our own promise does not hold: a stored value is corrupt, an invariant failed. Someone must look."""

    kind = "broken"
