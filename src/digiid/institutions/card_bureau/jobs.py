"""What happens without anybody asking: personalisation, messages to the board, interrupted hand-overs, deadlines."""

from collections.abc import Mapping
from datetime import timedelta

from digiid.contracts.police_board import RecordDocumentMovement
from digiid.institutions.card_bureau import peers
from digiid.institutions.card_bureau.use_cases import hand_over, movements, orders
from digiid.institutions.card_bureau.use_cases.deps import Deps
from digiid.platform.outbox import Handler, OutboxMessage
from digiid.platform.timers import Timer


def outbox_handlers(deps: Deps) -> Mapping[str, Handler]:
    def personalise(message: OutboxMessage) -> None:
        orders.personalise(deps, str(message.payload["order_id"]))

    def movement(message: OutboxMessage) -> None:
        peers.report_movement(deps.exchange, RecordDocumentMovement.model_validate(message.payload))

    def finish(message: OutboxMessage) -> None:
        hand_over.finish_hand_over(deps, str(message.payload["order_id"]))

    return {"personalise": personalise, "movement": movement, "finish_hand_over": finish}


def timers(deps: Deps) -> list[Timer]:
    def give_up() -> None:
        movements.give_up_uncollected(deps)

    return [Timer("uncollected", timedelta(hours=1), give_up)]
