"""The state fee: a failed, repeated, forged or lost callback never loses or doubles a payment."""

from datetime import timedelta

import pytest

from digiid.formats.payment import PaymentNotice, Purpose, sign_notice
from digiid.institutions.police_board import store
from digiid.institutions.police_board.domain.application import ApplicationState
from digiid.institutions.police_board.store.accounts import Account
from digiid.institutions.police_board.store.applications import Application
from digiid.institutions.police_board.store.payments import Payment
from digiid.institutions.police_board.use_cases import apply, payments
from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.kernel.errors import Conflict, Malformed, NotFound, Refused
from digiid.platform.clock import ManualClock
from tests.support.board import (
    PAYMENT_KEY,
    add_account,
    complete_draft,
    current,
    letters,
    outbox_kinds,
    pending_payment,
    signed_callback,
)


@pytest.fixture
def account(deps: Deps) -> Account:
    return add_account(deps)


@pytest.fixture
def draft(deps: Deps, account: Account) -> Application:
    return complete_draft(deps, account)


def stored(deps: Deps, application: Application) -> list[Payment]:
    with deps.db.read() as tx:
        return store.payments.find_payments(tx, application.application_id)


def test_the_intent_is_stored_before_the_browser_leaves(deps: Deps, account: Account, draft: Application) -> None:
    begun = payments.submit_application(deps, account, draft.application_id, language="en")
    assert begun.payment_url and begun.payment_url.startswith("http://pay.localhost:1/pay?request=v1.")
    assert [payment.state for payment in stored(deps, draft)] == ["pending"]
    assert current(deps, draft).state is ApplicationState.FEE_PENDING


def test_paid_means_received_and_the_checks_begin(deps: Deps, account: Account, draft: Application) -> None:
    payments.take_callback(deps, signed_callback(pending_payment(deps, account, draft)))
    application = current(deps, draft)
    assert application.state is ApplicationState.CHECKS_RUNNING
    assert application.decide_by is not None and application.decide_by.isoformat() == "2027-01-07"
    assert outbox_kinds(deps) == ["run_checks"]
    assert letters(deps) == ["received"]


def test_a_repeated_callback_changes_nothing(deps: Deps, account: Account, draft: Application) -> None:
    callback = signed_callback(pending_payment(deps, account, draft))
    for _ in range(3):
        payments.take_callback(deps, callback)
    assert [payment.state for payment in stored(deps, draft)] == ["paid"]
    assert outbox_kinds(deps) == ["run_checks"]


def test_a_late_declined_does_not_undo_a_payment(deps: Deps, account: Account, draft: Application) -> None:
    payment_id = pending_payment(deps, account, draft)
    payments.take_callback(deps, signed_callback(payment_id))
    payments.take_callback(deps, signed_callback(payment_id, "declined"))
    assert [payment.state for payment in stored(deps, draft)] == ["paid"]


def test_declined_leads_back_to_the_form_and_can_be_paid_anew(deps: Deps, account: Account, draft: Application) -> None:
    first = pending_payment(deps, account, draft)
    payments.take_callback(deps, signed_callback(first, "declined"))
    assert current(deps, draft).state is ApplicationState.DRAFT
    second = pending_payment(deps, account, draft)
    assert second != first
    payments.take_callback(deps, signed_callback(second))
    assert current(deps, draft).state is ApplicationState.CHECKS_RUNNING


def test_pressing_pay_twice_asks_for_the_same_payment(deps: Deps, account: Account, draft: Application) -> None:
    assert pending_payment(deps, account, draft) == pending_payment(deps, account, draft)
    assert len(stored(deps, draft)) == 1


def test_paid_while_the_form_is_open_again_is_kept_and_not_asked_for_twice(
    deps: Deps, account: Account, draft: Application
) -> None:
    payment_id = pending_payment(deps, account, draft)
    apply.reopen_draft(deps, account, draft.application_id)
    payments.take_callback(deps, signed_callback(payment_id))
    assert current(deps, draft).state is ApplicationState.DRAFT
    begun = payments.submit_application(deps, account, draft.application_id, language="en")
    assert begun.payment_url is None
    assert current(deps, draft).state is ApplicationState.CHECKS_RUNNING
    assert [payment.state for payment in stored(deps, draft)] == ["paid"]


def test_a_second_payment_of_the_same_fee_is_set_apart_to_be_paid_back(
    deps: Deps, account: Account, draft: Application
) -> None:
    first = pending_payment(deps, account, draft)
    payments.take_callback(deps, signed_callback(first, "declined"))
    second = pending_payment(deps, account, draft)
    payments.take_callback(deps, signed_callback(second))
    payments.take_callback(deps, signed_callback(first, "paid"))  # the declined one went through after all
    assert sorted(payment.state for payment in stored(deps, draft)) == ["paid", "surplus"]
    assert outbox_kinds(deps) == ["run_checks"]


@pytest.mark.parametrize(("cents", "currency"), [(14_999, "EUR"), (15_001, "EUR"), (15_000, "USD")])
def test_another_amount_or_currency_is_refused(
    deps: Deps, account: Account, draft: Application, cents: int, currency: str
) -> None:
    payment_id = pending_payment(deps, account, draft)
    with pytest.raises(Refused, match=r"payment\.amount"):
        payments.take_callback(deps, signed_callback(payment_id, "paid", cents, currency))
    assert [payment.state for payment in stored(deps, draft)] == ["pending"]


def test_a_forged_callback_is_refused(deps: Deps, account: Account, draft: Application) -> None:
    notice = PaymentNotice(pending_payment(deps, account, draft), "paid", 15_000, "EUR")
    forged = sign_notice(notice, purpose=Purpose.CALLBACK, key=b"q" * 32)
    other_purpose = sign_notice(notice, purpose=Purpose.STATUS_ANSWER, key=PAYMENT_KEY)
    for message in (forged, other_purpose):
        with pytest.raises(Refused, match=r"payment\.signature"):
            payments.take_callback(deps, message)
    with pytest.raises(Malformed):
        payments.take_callback(deps, "paid=yes")
    assert current(deps, draft).state is ApplicationState.FEE_PENDING


def test_a_payment_of_nobody_is_refused(deps: Deps) -> None:
    with pytest.raises(NotFound, match=r"payment\.unknown"):
        payments.take_callback(deps, signed_callback("no-such-payment"))


def test_an_incomplete_application_cannot_be_paid(deps: Deps, account: Account) -> None:
    application = apply.start_application(deps, account, language="en")
    with pytest.raises(Conflict, match=r"application\.incomplete"):
        payments.submit_application(deps, account, application.application_id, language="en")


def test_a_provider_that_does_not_answer_leaves_the_payment_pending(
    deps: Deps, account: Account, draft: Application, clock: ManualClock
) -> None:
    pending_payment(deps, account, draft)
    clock.advance(timedelta(minutes=1))
    payments.ask_about_pending(deps)
    assert [payment.state for payment in stored(deps, draft)] == ["pending"]


def test_somebody_elses_application_is_not_there(deps: Deps, draft: Application) -> None:
    stranger = add_account(deps, "stranger@example.org")
    with pytest.raises(NotFound):
        payments.submit_application(deps, stranger, draft.application_id, language="en")
    with pytest.raises(NotFound):
        apply.get_own_application(deps, stranger, draft.application_id)
