"""What the consent service does without anybody asking: tell of revocations, notice what has expired."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import structlog

from digiid.contracts.consents import RevocationNotice, consents_revoked
from digiid.institutions.information_authority.consents.use_cases import expiring, receipts
from digiid.institutions.information_authority.consents.use_cases.deps import PUSH, Deps
from digiid.kernel.errors import DigiidError, Unavailable
from digiid.kernel.identifiers import parse_client_id
from digiid.platform.outbox import Handler, OutboxMessage
from digiid.platform.timers import Timer

MAX_PUSHES: Final = 300  # the outbox tries every five minutes in the end: about a day
log = structlog.get_logger("consent")


def outbox_handlers(deps: Deps) -> Mapping[str, Handler]:
    def push(message: OutboxMessage) -> None:
        """Tell a party of a revocation, and of whatever came after it. The poll is what it can rely on."""
        audience = parse_client_id(str(message.payload["audience"]))
        statement = receipts.get_revocations(deps, audience, int(message.payload["number"]) - 1)
        try:
            notice = RevocationNotice(statement=statement)
            deps.exchange.call(consents_revoked(audience), notice, message_id=message.message_id)
        except Unavailable as error:
            if message.attempts < MAX_PUSHES:
                raise  # tried again
            # A client need not offer this service at all, and nothing tells that from a server that is away.
            log.warning("consent.push_given_up", audience=str(audience), code=error.code)
        except DigiidError as error:
            # It cannot or will not be told. It polls, or it answers nothing: no person here can do anything about it.
            log.error("consent.push_refused", audience=str(audience), code=error.code)

    return {PUSH: push}


def timers(deps: Deps) -> list[Timer]:
    def expire() -> None:
        expiring.expire_due(deps)

    return [Timer("consents", timedelta(minutes=1), expire)]
