"""Builds the validation service: its workers and its application."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from cryptography import x509

from digiid.institutions.information_authority.validation_service.api import PREFIXES, ValidationServiceApp
from digiid.institutions.information_authority.validation_service.sealing import ReportSealer
from digiid.institutions.information_authority.validation_service.settings import Settings
from digiid.institutions.information_authority.validation_service.workers import Workers
from digiid.platform.documents.signing import KeySigner, TrustServices
from digiid.platform.institution import Running, Surroundings
from digiid.platform.timers import Timer

UNIT: Final = "validation_service"


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
) -> ValidationService:
    """Nothing is started before the first document comes. `open_seal`: the authority's seal, for signed reports."""
    workers = Workers(trust=trust.trust, clock=trust.clock, count=settings.workers, max_waiting=settings.max_waiting)
    sealer = None if open_seal is None else ReportSealer(open_seal, issuers=issuers, trust=trust)
    app = ValidationServiceApp(
        workers, settings, clock=around.clock, entropy=around.entropy, pools=around.pools, sealer=sealer
    )
    return ValidationService(
        app=app,
        prefixes=PREFIXES,
        workers=workers,
        running=Running(
            name=UNIT,
            sites={},
            services=(),
            workers=(),
            timers=(Timer(UNIT, timedelta(minutes=1), workers.end_idle),),
            health=lambda: _health(workers),
            close=workers.close,
        ),
    )


def _health(workers: Workers) -> Mapping[str, Any]:
    return {"name": "Validation service", "workers": len(workers.process_ids)}
