"""The state fee: intent before the redirect, and an outcome that is neither lost nor doubled.

docs/reference/payment-contract.md is the contract. What the browser brings back is never believed;
only the provider's signed callback, or its signed answer when we ask, settles a payment. Both may
come, in any order and any number of times.
"""

from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.engine import Connection

from digiid.formats.payment import PaymentNotice, PaymentRequest, Purpose, verify_notice
from digiid.institutions.police_board import store
from digiid.institutions.police_board.domain.application import ApplicationEvent, ApplicationState, require_complete
from digiid.institutions.police_board.domain.law import DECISION_WORKING_DAYS, add_working_days
from digiid.institutions.police_board.store.accounts import Account
from digiid.institutions.police_board.store.applications import Application
from digiid.institutions.police_board.store.payments import Payment
from digiid.institutions.police_board.use_cases.apply import agreeing_steps, duplicate_keys
from digiid.institutions.police_board.use_cases.deps import (
    APPLICANT,
    SYSTEM,
    Deps,
    move_application,
    put_message,
    record_journal,
)
from digiid.kernel.errors import DigiidError, NotFound, Refused
from digiid.platform.entropy import new_id

ASK_AFTER = timedelta(seconds=20)
"""How old a pending payment is before the timer asks the provider about it."""

log = structlog.get_logger("payments")


@dataclass(frozen=True, slots=True)
class BegunPayment:
    """Where to send the browser; None when the fee was paid before and the application is submitted now."""

    payment_url: str | None


def submit_application(deps: Deps, account: Account, application_id: str, *, language: str) -> BegunPayment:
    """Submit a complete application: it is received when the state fee is paid.

    Raises: Conflict `application.incomplete`, `state.illegal_event`; NotFound.
    """
    with deps.db.write() as tx:
        # 1 complete, and the pages agree with each other
        application = _own(tx, account, application_id)
        steps = store.applications.find_steps(tx, application_id)
        photo = store.applications.find_photo(tx, application_id) is not None
        require_complete(agreeing_steps(deps, steps, has_photo=photo))
        # 2 the state; a person who comes back to pay is there already
        if application.state is not ApplicationState.FEE_PENDING:
            application = move_application(
                deps, tx, application, ApplicationEvent.ASK_FEE, APPLICANT, **duplicate_keys(steps)
            )
        # 3 paid before (the draft was opened again after it): nothing more to pay
        payments = store.payments.find_payments(tx, application_id)
        if any(payment.state == "paid" for payment in payments):
            _receive_fee(deps, tx, application)
            begun: Payment | None = None
        else:
            # 4 the intent, committed before the browser leaves; one that is pending is used again
            begun = next((payment for payment in payments if payment.state == "pending"), None)
            if begun is None:
                payment_id, now = new_id(deps.entropy), deps.clock.now()
                begun = Payment(payment_id, application_id, deps.fee_cents, deps.currency, "pending", now)
                store.payments.add_payment(tx, begun)
                record_journal(tx, "payment.begun", at=now, payment=payment_id, application=application_id)
    deps.wake_outbox()
    if begun is None:
        return BegunPayment(None)
    request = PaymentRequest(
        merchant=deps.payments.merchant,
        payment_id=begun.payment_id,
        amount_cents=begun.amount_cents,
        currency=begun.currency,
        description=f"State fee, application {application.number}",
        language=language,
        return_url=f"{deps.apply_url}/applications/{application_id}/paid",
        callback_url=f"{deps.apply_url}/payment/callback",
    )
    return BegunPayment(deps.payments.payment_page(request))


def take_callback(deps: Deps, unverified: str) -> None:
    """The provider's callback. Repeating it changes nothing.

    Raises: Malformed `payment.message`; Refused `payment.signature`, `payment.amount`; NotFound `payment.unknown`.
    """
    settle(deps, verify_notice(unverified, purpose=Purpose.CALLBACK, key=deps.payments.key))


def ask_provider(deps: Deps, payment_id: str) -> None:
    """Ask the provider what became of a payment and settle it: when the person comes back, and by the timer.

    Raises: Unavailable when the provider does not answer; the payment stays pending.
    """
    settle(deps, deps.payments.fetch_status(payment_id))


def refresh_payments(deps: Deps, account: Account, application_id: str) -> None:
    """Called when the person comes back from the provider: what is pending is asked for; silence is not an error."""
    with deps.db.read() as tx:
        _own(tx, account, application_id)
        pending = [p for p in store.payments.find_payments(tx, application_id) if p.state == "pending"]
    for payment in pending:
        _ask_quietly(deps, payment)


def ask_about_pending(deps: Deps) -> None:
    """The timer: a callback may be lost, so old intents are asked about until they are settled."""
    with deps.db.read() as tx:
        pending = store.payments.find_pending_payments(tx, before=deps.clock.now() - ASK_AFTER)
    for payment in pending:
        _ask_quietly(deps, payment)


def settle(deps: Deps, notice: PaymentNotice) -> None:
    """Apply what the provider said, once. `notice` is verified.

    Raises: NotFound `payment.unknown`; Refused `payment.amount` when it is not the fee that we asked for.
    """
    with deps.db.write() as tx:
        # 1 ours, and the money that we asked for
        payment = store.payments.get_payment(tx, notice.payment_id)
        if notice.state in ("pending", "unknown"):
            return
        if (notice.amount_cents, notice.currency) != (payment.amount_cents, payment.currency):
            record_journal(tx, "payment.wrong_amount", at=deps.clock.now(), payment=payment.payment_id)
            wrong = True
        else:
            wrong = False
            _settle(deps, tx, payment, notice)
    if wrong:
        raise Refused("payment.amount", payment.payment_id, public="The amount or currency is not the one asked for.")
    deps.wake_outbox()


def _settle(deps: Deps, tx: Connection, payment: Payment, notice: PaymentNotice) -> None:
    # 2 said before, or a late word about a payment that is paid for good
    if payment.state == notice.state or payment.state in ("paid", "surplus"):
        return
    now = deps.clock.now()
    application = store.applications.get_application(tx, payment.application_id)
    if notice.state == "declined":
        # 3 declined: back to the form, from where it can be paid anew
        store.payments.settle_payment(tx, payment.payment_id, state="declined", at=now)
        record_journal(tx, "payment.declined", at=now, payment=payment.payment_id)
        if application.state is ApplicationState.FEE_PENDING:
            move_application(deps, tx, application, ApplicationEvent.CANCEL_FEE, SYSTEM)
        return
    # 4 paid: a second payment of the same fee is kept apart, to be paid back
    others = [p for p in store.payments.find_payments(tx, application.application_id) if p.state == "paid"]
    state = "surplus" if others else "paid"
    store.payments.settle_payment(tx, payment.payment_id, state=state, at=now)
    record_journal(tx, f"payment.{state}", at=now, payment=payment.payment_id, application=application.application_id)
    # 5 the application is received; a draft that was opened again waits until it is submitted again
    if state == "paid" and application.state is ApplicationState.FEE_PENDING:
        _receive_fee(deps, tx, application)


def _receive_fee(deps: Deps, tx: Connection, application: Application) -> None:
    now = deps.clock.now()
    received = move_application(
        deps,
        tx,
        application,
        ApplicationEvent.RECEIVE_FEE,
        SYSTEM,
        submitted_at=now,
        decide_by=add_working_days(deps.today(), DECISION_WORKING_DAYS),
    )
    move_application(deps, tx, received, ApplicationEvent.START_CHECKS, SYSTEM)
    put_message(deps, tx, "run_checks", {"application_id": application.application_id}, key=application.application_id)


def _ask_quietly(deps: Deps, payment: Payment) -> None:
    try:
        ask_provider(deps, payment.payment_id)
    except DigiidError as error:
        log.warning("payment.not_settled", payment=payment.payment_id, code=error.code)


def _own(tx: Connection, account: Account, application_id: str) -> Application:
    application = store.applications.get_application(tx, application_id)
    if application.account_id != account.account_id:
        raise NotFound("application.unknown", "another account's", public="There is no such application.")
    return application
