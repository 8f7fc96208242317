"""What the portal does without anybody asking: reports on their way, containers that were kept long enough."""

from collections.abc import Mapping
from datetime import timedelta

from digiid.contracts.police_board import ReportMisuse
from digiid.institutions.information_authority import peers, use_cases
from digiid.institutions.information_authority.use_cases import Deps
from digiid.platform.outbox import Handler, OutboxMessage
from digiid.platform.timers import Timer


def outbox_handlers(deps: Deps) -> Mapping[str, Handler]:
    def misuse(message: OutboxMessage) -> None:
        peers.report_misuse(deps.exchange, ReportMisuse.model_validate(message.payload))

    return {"report_misuse": misuse}


def timers(deps: Deps) -> list[Timer]:
    def delete_past() -> None:
        use_cases.delete_past(deps)

    return [Timer("documents", timedelta(minutes=10), delete_past)]
