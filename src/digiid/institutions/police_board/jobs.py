"""What the board does by itself: delivering its outbox, keeping its deadlines."""

from datetime import timedelta

from digiid.institutions.police_board.use_cases import (
    accounts,
    check,
    decide,
    issue,
    letters,
    payments,
    statuses,
    supervise,
)
from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.platform.outbox import Handler, OutboxMessage
from digiid.platform.timers import Timer


def outbox_handlers(deps: Deps) -> dict[str, Handler]:
    """Message kind → the function that delivers it."""

    def tell_trust_services(message: OutboxMessage) -> None:
        supervise.tell_trust_services(
            deps,
            message.kind,
            document_number=message.payload["document_number"],
            event=message.payload["event"],
            message_id=message.message_id,
        )

    return {
        "mail": lambda m: letters.send_letter(deps, m.message_id, m.payload),
        "run_checks": lambda m: check.run_checks(deps, m.payload["application_id"]),
        "population_register.register_person": lambda m: issue.register_person(deps, m.payload["application_id"]),
        "population_register.record_document_status": lambda m: statuses.tell_population_register(
            deps, m.payload["document_number"], m.message_id
        ),
        "card_bureau.order_document": lambda m: issue.order_document(
            deps, m.payload["order_id"], m.payload["right_id"]
        ),
        "card_bureau.cancel_order": lambda m: issue.cancel_order(deps, m.payload["order_id"], m.message_id),
        "card_bureau.destroy_pin_envelope": lambda m: issue.destroy_pin_envelope(
            deps, m.payload["order_id"], m.message_id
        ),
        "trust_services.suspend": tell_trust_services,
        "trust_services.resume": tell_trust_services,
        "trust_services.revoke": tell_trust_services,
    }


HOURLY = timedelta(hours=1)


def timers(deps: Deps) -> list[Timer]:
    return [
        Timer("police_board.payments", timedelta(seconds=15), lambda: payments.ask_about_pending(deps)),
        Timer("police_board.deadlines", timedelta(minutes=1), lambda: decide.pass_deadlines(deps)),
        Timer("police_board.envelopes", timedelta(minutes=1), lambda: issue.destroy_opened_envelopes(deps)),
        Timer("police_board.expiry", timedelta(minutes=10), lambda: supervise.expire_documents(deps)),
        Timer("police_board.links", timedelta(minutes=10), lambda: accounts.forget_old_links(deps)),
    ]
