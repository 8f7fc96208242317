"""How often somebody may try: sign-ins, messages sent in somebody's name. In memory, for each process.

Generic cell rate algorithm (ITU-T I.371 Annex A): one number for each key, no queue of past requests.
"""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from digiid.kernel.errors import Refused
from digiid.platform.web import N_

_MAX_KEYS = 50_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `count` at once, and on the long run `count` in each `per`."""

    count: int
    per: timedelta


class TooMany(Refused):
    """Somebody tries too often. `retry_after` says how long to wait."""

    def __init__(self, name: str, retry_after: timedelta) -> None:
        super().__init__(
            "web.too_many",
            f"{name}: too many attempts",
            public=N_("There were too many attempts from here. Wait a few minutes and try again."),
        )
        self.retry_after = retry_after


class RateLimiter:
    """Remembers for each key until when its allowance is used up."""

    def __init__(self) -> None:
        self._used_until: dict[tuple[str, str], datetime] = {}
        self._lock = threading.Lock()

    def check(self, name: str, key: str, limit: RateLimit, *, now: datetime) -> None:
        """Count one attempt of `key` at `name`. Raises: TooMany, and then the attempt does not count."""
        interval = limit.per / limit.count
        with self._lock:
            used_until = max(self._used_until.get((name, key), now), now)
            ahead = used_until - now
            if ahead > limit.per - interval:
                raise TooMany(name, ahead - (limit.per - interval))
            self._used_until[name, key] = used_until + interval
            if len(self._used_until) > _MAX_KEYS:
                self._forget(now)

    def _forget(self, now: datetime) -> None:
        """Drop what has no effect any more; if a flood of keys is still in effect, drop the older half of them."""
        kept = {key: until for key, until in self._used_until.items() if until > now}
        if len(kept) > _MAX_KEYS // 2:
            kept = dict(sorted(kept.items(), key=lambda item: item[1])[-_MAX_KEYS // 2 :])
        self._used_until = kept
