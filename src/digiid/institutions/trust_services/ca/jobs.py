"""What the CA does by the clock."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from digiid.institutions.trust_services.ca import use_cases
from digiid.institutions.trust_services.ca.use_cases import Deps
from digiid.platform.timers import Timer


def timers(deps: Deps) -> list[Timer]:
    """Finish interrupted orders, mark what has expired, keep revocation lists fresh."""
    return [
        Timer("ca.resume_orders", timedelta(minutes=1), partial(_run, use_cases.resume_orders, deps)),
        Timer("ca.expire", timedelta(minutes=10), partial(_run, use_cases.expire_certificates, deps)),
        Timer("ca.crls", timedelta(minutes=1), partial(_run, use_cases.issue_crls, deps)),
    ]


def _run(use_case: Callable[[Deps], int], deps: Deps) -> None:
    use_case(deps)
