"""What the clock does: consents whose time is over, requests that nobody answered."""

from typing import Final

from digiid.institutions.information_authority.consents import store
from digiid.institutions.information_authority.consents.domain import (
    CLOCK,
    REQUEST_LIFETIME,
    ConsentEvent,
)
from digiid.institutions.information_authority.consents.use_cases.deps import Deps, end_consent

_BATCH: Final = 200


def expire_due(deps: Deps) -> int:
    """The timer: consents whose time is over, requests that nobody answered, links to nothing. Returns how many."""
    count = 0
    while ended := deps.db.retry(lambda: _expire_some(deps)):
        count += ended
    return count


def _expire_some(deps: Deps) -> int:
    at = deps.clock.now()
    with deps.db.write() as tx:
        due = store.list_due(tx, at=at, requested_before_at=at - REQUEST_LIFETIME, limit=_BATCH)
        for consent in due:
            end_consent(tx, deps, consent, ConsentEvent.EXPIRE, actor=CLOCK, at=at)
        if not due:
            store.delete_empty_groups(tx, at - REQUEST_LIFETIME)
    return len(due)
