"""Builds the validation service: its workers and its application."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

from cryptography import x509

from digiid.institutions.information_authority.validation_service.api import PREFIXES, ValidationServiceApp
from digiid.institutions.information_authority.validation_service.sealing import ReportSealer
from digiid.institutions.information_authority.validation_service.settings import Settings
from digiid.institutions.information_authority.validation_service.workers import Workers
from digiid.kernel.errors import Unavailable
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.signing import KeySigner
from digiid.platform.institution import Running, Surroundings
from digiid.platform.timers import Timer
from digiid.platform.trust import StoreState, TrustedListStore

UNIT: Final = "validation_service"
LISTS_FRESH: Final = timedelta(hours=1)  # how long fetched lists are not fetched again


@dataclass(frozen=True)
class ValidationService:
    """A built service. `app` answers what begins with one of `prefixes`."""

    app: ValidationServiceApp
    prefixes: Sequence[str]
    workers: Workers
    running: Running[Any]


def build(
    settings: Settings,
    around: Surroundings,
    *,
    trust: TrustServices,
    issuers: Sequence[x509.Certificate] = (),
    open_seal: Callable[[], KeySigner] | None = None,
    lists: TrustedListStore | None = None,
) -> ValidationService:
    """Nothing is started before the first document comes. `open_seal`: the authority's seal in force, for reports.
    `lists`: where the trusted lists come from; they are fetched anew every hour, and /monitoring/health tells how old
    they are.
    """
    workers = Workers(trust=trust.trust, clock=trust.clock, count=settings.workers, max_waiting=settings.max_waiting)
    sealer = None if open_seal is None else ReportSealer(open_seal, issuers=issuers, trust=trust)
    list_state = None if lists is None else lists.state
    app = ValidationServiceApp(
        workers,
        settings,
        clock=around.clock,
        entropy=around.entropy,
        pools=around.pools,
        sealer=sealer,
        list_state=list_state,
    )
    timers = [Timer(UNIT, timedelta(minutes=1), workers.end_idle)]
    if lists is not None:
        timers.append(Timer("trusted_lists", timedelta(minutes=5), partial(lists.keep_fresh, every=LISTS_FRESH)))
    return ValidationService(
        app=app,
        prefixes=PREFIXES,
        workers=workers,
        running=Running(
            name=UNIT,
            sites={},
            services=(),
            workers=(),
            timers=tuple(timers),
            health=lambda: _health(workers, list_state),
            close=workers.close,
        ),
    )


def _health(workers: Workers, list_state: Callable[[], StoreState] | None) -> Mapping[str, Any]:
    """Raises: Unavailable `trusted_list.expired`, a list in use has run out, and nothing is judged without another."""
    found: dict[str, Any] = {"name": "Validation service", "workers": len(workers.process_ids)}
    if list_state is None:
        return found
    state = list_state()
    if state.lists and not state.is_good:
        raise Unavailable("trusted_list.expired", "a trusted list has run out and no newer one could be fetched")
    days = [found.left.days for found in state.lists if found.left is not None]
    found["trusted lists"] = f"{len(state.lists)}, {min(days)} days left" if days else "not fetched yet"
    if state.problem:
        found["last refresh"] = state.problem
    return found
