"""After the decision: movements, hand-over, the PIN envelope, losses, measures and cases."""

import base64
import json
from datetime import date, timedelta

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from digiid.contracts.card_bureau import TravelDocument
from digiid.institutions.police_board import store
from digiid.institutions.police_board.domain import form
from digiid.institutions.police_board.domain.application import ApplicationState, Outcome
from digiid.institutions.police_board.domain.case import CaseState
from digiid.institutions.police_board.domain.document import DocumentState
from digiid.institutions.police_board.domain.form import InvalidForm
from digiid.institutions.police_board.domain.law import MeasureBasis
from digiid.institutions.police_board.domain.right import RightState
from digiid.institutions.police_board.store.accounts import Account
from digiid.institutions.police_board.store.deliveries import DeliveryRecord, HandOver
from digiid.institutions.police_board.store.rights import Right
from digiid.institutions.police_board.use_cases import issue, looks, officers, supervise
from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.kernel.errors import Broken, Conflict, NotFound, Refused, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.disclosures import Look, find_usages, verify_disclosures
from tests.support.board import (
    PERSONAL,
    TRAVEL_DOCUMENT,
    add_account,
    checked,
    current,
    letters,
    outbox_kinds,
    two_officers,
)

NUMBER, ORDER, CODE = "EA0000001", "order-1", "47408129000"
SHOWN = TravelDocument(kind="passport", number="L898902C3", issuing_country="UTO", expires_on=date(2031, 4, 15))
REASON = "A reason that is long enough."

TOLD = "population_register.record_document_status"


@pytest.fixture
def account(deps: Deps) -> Account:
    return add_account(deps)


@pytest.fixture
def application_id(deps: Deps, account: Account) -> str:
    """Decided in favour; the register has given the code and the order is put, as register_person leaves it."""
    application_id = checked(deps, account).application_id
    now = deps.clock.now()
    with deps.db.write() as tx:
        store.applications.change_application(
            tx,
            application_id,
            state=ApplicationState.DECIDED.value,
            outcome=Outcome.ISSUE.value,
            person_code=CODE,
        )
        store.rights.add_right(tx, Right("right-1", CODE, "e_resident", RightState.GRANTED, "", (), now, now))
        store.deliveries.add_delivery(tx, DeliveryRecord(ORDER, application_id, b"e" * 32, now))
    return application_id


def move(deps: Deps, state: str, movement_id: str = "") -> None:
    issue.record_movement(
        deps,
        movement_id=movement_id or f"move-{state}",
        order_id=ORDER,
        document_number=NUMBER,
        state=state,
        expires_on=date(2031, 11, 22),
        at=deps.clock.now(),
    )


def hand_over(deps: Deps, evidence_id: str = "evidence-1", shown: TravelDocument = SHOWN) -> None:
    evidence = HandOver(
        evidence_id, ORDER, NUMBER, "Pille Punkt", "48001019000", "Tallinn", shown.kind, shown.number,
        shown.issuing_country, deps.clock.now(),
    )  # fmt: skip
    issue.record_hand_over(deps, evidence=evidence, shown=shown)


def active(deps: Deps) -> None:
    for state in ("produced", "in_transit", "at_point"):
        move(deps, state)
    hand_over(deps)


def document_state(deps: Deps) -> DocumentState:
    with deps.db.read() as tx:
        return store.documents.get_document(tx, NUMBER).state


def test_a_document_moves_forward_and_repeated_or_late_reports_change_nothing(deps: Deps, application_id: str) -> None:
    for state in ("produced", "at_point", "in_transit", "produced", "at_point"):
        move(deps, state)
    move(deps, "in_transit", "another-report")
    assert document_state(deps) is DocumentState.AT_POINT
    assert letters(deps).count("at_point") == 1
    with deps.db.read() as tx:
        document = store.documents.get_document(tx, NUMBER)
    assert (document.issued_on, document.expires_on) == (date(2026, 11, 23), date(2031, 11, 22))
    assert document.collect_until == date(2027, 5, 23)


def test_a_report_about_an_unknown_order_or_another_number_is_refused(deps: Deps, application_id: str) -> None:
    move(deps, "produced")
    with pytest.raises(Conflict, match=r"document\.order"):
        issue.record_movement(
            deps, movement_id="m", order_id=ORDER, document_number="EA0000002", state="at_point",
            expires_on=date(2031, 11, 22), at=deps.clock.now(),
        )  # fmt: skip
    with pytest.raises(NotFound, match=r"delivery\.unknown"):
        issue.record_movement(
            deps, movement_id="m", order_id="no-order", document_number=NUMBER, state="at_point",
            expires_on=date(2031, 11, 22), at=deps.clock.now(),
        )  # fmt: skip


LOOK = Look("EE/GOV/70000102/bureau", "hand-over of a document", "Identity Documents Act § 9", "request-hand-over")


def permit(deps: Deps, shown: TravelDocument = SHOWN) -> issue.HandOverAnswer:
    return issue.request_hand_over(deps, order_id=ORDER, document_number=NUMBER, shown=shown, look=LOOK).value


def test_a_hand_over_is_permitted_against_the_same_travel_document_only(deps: Deps, application_id: str) -> None:
    move(deps, "produced")
    assert not permit(deps).permitted
    move(deps, "at_point")
    answer = permit(deps)
    assert answer.permitted and "citizenship" in answer.acceptance_text
    for other in (
        SHOWN.model_copy(update={"number": "L898902C4"}),
        SHOWN.model_copy(update={"issuing_country": "EST"}),
        SHOWN.model_copy(update={"kind": "identity_card"}),
        SHOWN.model_copy(update={"expires_on": date(2026, 11, 22)}),
    ):
        assert not permit(deps, other).permitted
        with pytest.raises(Refused, match=r"hand_over\.not_permitted"):
            hand_over(deps, shown=other)
    assert document_state(deps) is DocumentState.AT_POINT


def test_no_hand_over_while_the_right_is_suspended(deps: Deps, application_id: str) -> None:
    mari, _ = two_officers(deps)
    move(deps, "at_point")
    supervise.suspend_right(deps, mari, "right-1", basis=MeasureBasis.SUPERVISION, reason=REASON)
    assert not permit(deps).permitted
    supervise.lift_right(deps, mari, "right-1", basis=MeasureBasis.CLEARED, reason=REASON)
    assert permit(deps).permitted


def test_no_hand_over_after_six_months(deps: Deps, application_id: str, clock: ManualClock) -> None:
    move(deps, "at_point")
    clock.advance(timedelta(days=182))
    assert not permit(deps).permitted


def test_the_hand_over_makes_it_active_once(deps: Deps, application_id: str) -> None:
    active(deps)
    hand_over(deps)
    assert document_state(deps) is DocumentState.ACTIVE
    with pytest.raises(Conflict, match=r"hand_over\.done"):
        hand_over(deps, "evidence-2")
    with deps.db.read() as tx:
        assert store.applications.get_application(tx, application_id).state is ApplicationState.FINAL
    assert letters(deps).count("handed_over") == 1


def test_a_lost_card_is_suspended_at_once_and_only_an_officer_lifts(
    deps: Deps, account: Account, application_id: str
) -> None:
    mari, _ = two_officers(deps)
    active(deps)
    first = supervise.report_loss_by_account(deps, account, application_id, note="on a train")
    assert document_state(deps) is DocumentState.SUSPENDED
    assert outbox_kinds(deps)[-2:] == ["trust_services.suspend", TOLD]
    again = supervise.report_loss_by_holder(
        deps, personal_code=CODE, document_number=NUMBER, reported_by="holder", note=""
    )
    assert again == first
    assert outbox_kinds(deps).count("trust_services.suspend") == 1
    assert [(case.title, reports) for case, reports in supervise.list_cases(deps, CaseState.OPEN)] == [
        ("Card reported lost", 2)
    ]
    supervise.lift_suspension(deps, mari, NUMBER, basis=MeasureBasis.FOUND, reason=REASON)
    assert document_state(deps) is DocumentState.ACTIVE
    assert outbox_kinds(deps)[-2:] == ["trust_services.resume", TOLD]


def test_the_trust_services_are_not_told_what_is_not_so_any_more(
    deps: Deps, account: Account, application_id: str
) -> None:
    """A message that was refused and is sent again comes behind newer ones."""

    def tell(act: str) -> None:
        supervise.tell_trust_services(deps, f"trust_services.{act}", NUMBER, event="", message_id="m-1")

    mari, _ = two_officers(deps)
    active(deps)
    supervise.report_loss_by_account(deps, account, application_id, note="on a train")
    tell("resume")  # of an earlier suspension: nobody is asked, and nobody answers here
    with pytest.raises(Unavailable):
        tell("suspend")
    supervise.lift_suspension(deps, mari, NUMBER, basis=MeasureBasis.FOUND, reason=REASON)
    tell("suspend")
    with pytest.raises(Unavailable):
        tell("resume")


def test_a_stranger_reports_nobodys_card_lost(deps: Deps, application_id: str) -> None:
    active(deps)
    stranger = add_account(deps, "stranger@example.org")
    with pytest.raises(NotFound):
        supervise.report_loss_by_account(deps, stranger, application_id, note="")
    with pytest.raises(NotFound):
        supervise.report_loss_by_holder(
            deps, personal_code="38001019005", document_number=NUMBER, reported_by="holder", note=""
        )
    assert document_state(deps) is DocumentState.ACTIVE


def test_annulled_is_for_good(deps: Deps, application_id: str) -> None:
    mari, _ = two_officers(deps)
    active(deps)
    with pytest.raises(InvalidForm):
        supervise.annul_document(deps, mari, NUMBER, basis=MeasureBasis.FOUND, reason=REASON)
    supervise.annul_document(deps, mari, NUMBER, basis=MeasureBasis.FALSE_DATA, reason=REASON)
    assert outbox_kinds(deps)[-2:] == ["trust_services.revoke", TOLD]
    for act in (supervise.suspend_document, supervise.lift_suspension, supervise.annul_document):
        basis = MeasureBasis.FOUND if act is supervise.lift_suspension else MeasureBasis.SECURITY
        with pytest.raises(Conflict, match=r"state\.illegal_event"):
            act(deps, mari, NUMBER, basis=basis, reason=REASON)


def test_a_document_that_nobody_has_yet_is_stopped_at_the_bureau(deps: Deps, application_id: str) -> None:
    mari, _ = two_officers(deps)
    move(deps, "in_transit")
    supervise.annul_right(deps, mari, "right-1", basis=MeasureBasis.SECURITY, reason=REASON)
    assert document_state(deps) is DocumentState.REVOKED
    assert outbox_kinds(deps)[-2:] == ["card_bureau.cancel_order", "trust_services.revoke"]
    move(deps, "at_point")
    assert document_state(deps) is DocumentState.REVOKED


def test_right_and_document_are_kept_apart(deps: Deps, application_id: str) -> None:
    mari, _ = two_officers(deps)
    active(deps)
    supervise.suspend_right(deps, mari, "right-1", basis=MeasureBasis.SUPERVISION, reason=REASON)
    with pytest.raises(Conflict, match=r"right\.not_granted"):
        supervise.lift_suspension(deps, mari, NUMBER, basis=MeasureBasis.CLEARED, reason=REASON)
    supervise.lift_right(deps, mari, "right-1", basis=MeasureBasis.CLEARED, reason=REASON)
    assert document_state(deps) is DocumentState.SUSPENDED, "the document's own suspension is lifted by itself"
    supervise.lift_suspension(deps, mari, NUMBER, basis=MeasureBasis.CLEARED, reason=REASON)
    assert document_state(deps) is DocumentState.ACTIVE


def test_a_document_expires_after_its_last_day(deps: Deps, application_id: str, clock: ManualClock) -> None:
    active(deps)
    clock.advance(timedelta(days=1825))
    supervise.expire_documents(deps)
    assert document_state(deps) is DocumentState.ACTIVE
    clock.advance(timedelta(days=2))
    supervise.expire_documents(deps)
    assert document_state(deps) is DocumentState.EXPIRED
    assert right_state(deps) is RightState.LAPSED


def right_state(deps: Deps) -> RightState:
    with deps.db.read() as tx:
        return store.rights.get_right(tx, "right-1").state


def test_a_document_that_nobody_collected_ends_and_the_right_with_it(deps: Deps, application_id: str) -> None:
    move(deps, "at_point")
    move(deps, "uncollected")
    assert document_state(deps) is DocumentState.UNCOLLECTED
    assert right_state(deps) is RightState.LAPSED
    assert outbox_kinds(deps)[-1] == "trust_services.revoke"


def test_an_annulled_document_leaves_the_right_as_it_is(deps: Deps, application_id: str) -> None:
    mari, _ = two_officers(deps)
    active(deps)
    supervise.annul_document(deps, mari, NUMBER, basis=MeasureBasis.LOSS, reason=REASON)
    assert right_state(deps) is RightState.GRANTED


def sealed(key: bytes, order_id: str, plaintext: bytes) -> str:
    return base64.b64encode(b"n" * 12 + AESGCM(key).encrypt(b"n" * 12, plaintext, order_id.encode())).decode()


def test_the_pin_envelope_opens_with_its_key_and_order_only() -> None:
    key, text = b"e" * 32, json.dumps({"pin1": "1234", "pin2": "12345", "puk": "12345678"}).encode()
    pins = issue.unseal_pins(sealed(key, ORDER, text), key=key, order_id=ORDER)
    assert (pins.pin1, pins.pin2, pins.puk) == ("1234", "12345", "12345678")
    assert "1234" not in repr(pins)
    for bad, with_key, order in (
        (sealed(key, ORDER, text), b"f" * 32, ORDER),
        (sealed(key, ORDER, text), key, "order-2"),
        ("AAAA", key, ORDER),
        ("not base64!", key, ORDER),
        (sealed(key, ORDER, b"[]"), key, ORDER),
    ):
        with pytest.raises(Broken, match=r"envelope\.seal"):
            issue.unseal_pins(bad, key=with_key, order_id=order)


def test_the_envelope_opens_after_the_hand_over_and_is_destroyed_for_good(
    deps: Deps, account: Account, application_id: str, clock: ManualClock
) -> None:
    move(deps, "at_point")
    with pytest.raises(Conflict, match=r"envelope\.not_yet"):
        issue.open_pin_envelope(deps, account, application_id)
    hand_over(deps)
    with pytest.raises(Conflict, match=r"envelope\.not_yet"):
        issue.confirm_pin_envelope(deps, account, application_id)
    with deps.db.write() as tx:
        store.deliveries.change_delivery(tx, ORDER, envelope_shown_at=clock.now())
    issue.confirm_pin_envelope(deps, account, application_id)
    issue.confirm_pin_envelope(deps, account, application_id)
    assert outbox_kinds(deps).count("card_bureau.destroy_pin_envelope") == 1
    with deps.db.read() as tx:
        delivery = store.deliveries.find_delivery(tx, order_id=ORDER)
    assert delivery is not None and delivery.envelope_key is None
    with pytest.raises(Conflict, match=r"envelope\.gone"):
        issue.open_pin_envelope(deps, account, application_id)


def test_an_opened_envelope_that_nobody_confirmed_is_destroyed_after_an_hour(
    deps: Deps, application_id: str, clock: ManualClock
) -> None:
    active(deps)
    with deps.db.write() as tx:
        store.deliveries.change_delivery(tx, ORDER, envelope_shown_at=clock.now())
    clock.advance(timedelta(minutes=59))
    issue.destroy_opened_envelopes(deps)
    assert "card_bureau.destroy_pin_envelope" not in outbox_kinds(deps)
    clock.advance(timedelta(minutes=2))
    issue.destroy_opened_envelopes(deps)
    assert outbox_kinds(deps)[-1] == "card_bureau.destroy_pin_envelope"


def anomaly(deps: Deps, report_id: str, certificate: str | None = "a" * 64, kind: str = "cloned") -> str:
    return supervise.open_anomaly_case(
        deps, report_id=report_id, kind=kind, place="Test Bank", observed_at=deps.clock.now(), personal_code=None,
        certificate_sha256=certificate, note="",
    )  # fmt: skip


def test_reports_of_the_same_card_add_to_its_open_case(deps: Deps) -> None:
    mari, _ = two_officers(deps)
    first = anomaly(deps, "r1")
    assert anomaly(deps, "r2") == first
    assert anomaly(deps, "r1") == first, "the same report again"
    assert anomaly(deps, "r3", "b" * 64) != first
    cases = {case.case_number: (case, reports) for case, reports in supervise.list_cases(deps, CaseState.OPEN)}
    case, reports = cases[first]
    assert reports == 2
    supervise.add_note(deps, mari, case.case_id, text="Asked the bank for the log.")
    with pytest.raises(InvalidForm):
        supervise.close_case(deps, mari, case.case_id, reason="")
    supervise.close_case(deps, mari, case.case_id, reason="A test card of our own.")
    with pytest.raises(Conflict):
        supervise.close_case(deps, mari, case.case_id, reason="A test card of our own.")
    with pytest.raises(Conflict, match=r"case\.closed"):
        supervise.add_note(deps, mari, case.case_id, text="More.")
    assert anomaly(deps, "r4") != first, "a closed case is not opened again"


def test_misuse_reports_of_one_document_belong_together(deps: Deps, application_id: str) -> None:
    active(deps)

    def report(report_id: str, number: str) -> str:
        return supervise.open_misuse_case(
            deps, report_id=report_id, what_happened="Somebody else uses this card.", document_number=number,
            service="a forum", contact="", reported_at=deps.clock.now(),
        )  # fmt: skip

    assert report("m1", "ea 0000001") == report("m2", NUMBER)
    assert report("m3", "") != report("m4", "")
    case = next(c for c, n in supervise.list_cases(deps, CaseState.OPEN) if n == 2)
    view = supervise.get_case(deps, case.case_id)
    assert [document.document_number for document in view.documents] == [NUMBER]


def test_a_citizen_is_entered_at_the_counter_and_goes_to_the_register(deps: Deps) -> None:
    mari, _ = two_officers(deps)
    today = deps.today()
    personal = form.parse_personal({**PERSONAL, "citizenships-1": "EST"}, today=today, specimens=True)
    document = form.parse_travel_document(
        TRAVEL_DOCUMENT, form.parse_personal(PERSONAL, today=today, specimens=True), today=today, specimens=True
    )
    application_id = issue.enter_citizen(
        deps, mari, issue.CounterApplication(personal, document, form.PickUp("tallinn", "Tallinn"))
    )
    assert outbox_kinds(deps) == ["population_register.register_person"]
    with deps.db.read() as tx:
        application = store.applications.get_application(tx, application_id)
    assert (application.kind, application.outcome) == ("citizen", Outcome.ISSUE)
    assert current(deps, application).account_id is None


# ------------------------------------------------------------------ what officers look at


def seen(deps: Deps) -> list[tuple[str, str | None]]:
    with deps.db.read() as tx:
        verify_disclosures(tx, store.schema.DISCLOSURES, store.schema.JOURNAL)
        found = find_usages(tx, store.schema.DISCLOSURES, CODE, now=deps.clock.now())
    return [(each.purpose, each.delay_reason) for each in found]


def loss_case(deps: Deps) -> str:
    active(deps)
    supervise.report_loss_by_holder(deps, personal_code=CODE, document_number=NUMBER, reported_by="holder", note="")
    (case, _), *_ = supervise.list_cases(deps, CaseState.OPEN)
    return case.case_id


def test_the_person_can_see_what_officers_looked_at(deps: Deps, application_id: str) -> None:
    mari, otto = two_officers(deps)
    case_id = loss_case(deps)
    assert looks.look_at_application(deps, mari, application_id).value.application.person_code == CODE
    assert looks.look_at_document(deps, otto, NUMBER).value.document.document_number == NUMBER
    assert looks.look_at_case(deps, otto, case_id).value.case.case_id == case_id
    assert {purpose for purpose, _ in seen(deps)} == {
        "examination of an application",
        "supervision of a document",
        "investigation of a case",
    }
    with deps.db.read() as tx:
        found = find_usages(tx, store.schema.DISCLOSURES, CODE, now=deps.clock.now())
    assert {each.receiver for each in found} == {"EE/GOV/70000101/police"}
    assert {each.receiver_user for each in found} == {f"EE{mari.personal_code}", f"EE{otto.personal_code}"}
    assert len({each.official for each in found}) == 2


def test_looks_before_the_person_has_a_code_are_at_nobody(deps: Deps, account: Account) -> None:
    mari, _ = two_officers(deps)
    application = checked(deps, account)
    looks.look_at_application(deps, mari, application.application_id)
    with deps.db.read() as tx:
        assert verify_disclosures(tx, store.schema.DISCLOSURES, store.schema.JOURNAL) == 0


def test_a_deciding_officer_keeps_looks_back_with_an_end_and_a_reason(
    deps: Deps, application_id: str, clock: ManualClock
) -> None:
    mari, _ = two_officers(deps)
    case_id = loss_case(deps)
    looks.look_at_document(deps, mari, NUMBER)
    looks.keep_looks_back(deps, mari, case_id, until_on=date(2026, 12, 31), reason="KrMS § 214: an investigation")
    looks.look_at_document(deps, mari, NUMBER)
    looks.look_at_case(deps, mari, case_id)
    assert seen(deps) == [("supervision of a document", None)], "what was visible stays visible, the rest is hidden"
    assert looks.look_at_case(deps, mari, case_id).value.delay is not None
    clock.advance(timedelta(days=39))
    assert [reason for _, reason in seen(deps)] == ["KrMS § 214: an investigation"] * 3 + [None]
    looks.look_at_document(deps, mari, NUMBER)
    assert seen(deps)[0] == ("supervision of a document", None), "an order that is over keeps nothing back"


def test_an_order_to_keep_back_is_bounded_and_not_everybodys(deps: Deps, application_id: str) -> None:
    mari, _ = two_officers(deps)
    simple = officers.add_officer(deps, personal_code="38001019016", name="Ada Ametnik", role="officer")
    case_id = loss_case(deps)
    with pytest.raises(Refused, match=r"officer\.not_allowed"):
        looks.keep_looks_back(deps, simple, case_id, until_on=date(2026, 12, 31), reason=REASON)
    for day in (date(2026, 11, 22), date(2027, 11, 24)):
        with pytest.raises(Refused, match=r"disclosures\.delay_length"):
            looks.keep_looks_back(deps, mari, case_id, until_on=day, reason=REASON)
    with pytest.raises(InvalidForm):
        looks.keep_looks_back(deps, mari, case_id, until_on=date(2026, 12, 31), reason="short")
    supervise.close_case(deps, mari, case_id, reason=REASON)
    with pytest.raises(Conflict, match=r"case\.closed"):
        looks.keep_looks_back(deps, mari, case_id, until_on=date(2026, 12, 31), reason=REASON)


def test_a_case_about_nobody_has_no_looks_to_keep_back(deps: Deps) -> None:
    mari, _ = two_officers(deps)
    supervise.open_misuse_case(
        deps, report_id="m1", what_happened="Somebody else.", document_number="", service="", contact="",
        reported_at=deps.clock.now(),
    )  # fmt: skip
    (case, _), *_ = supervise.list_cases(deps, CaseState.OPEN)
    looks.look_at_case(deps, mari, case.case_id)
    with pytest.raises(Conflict, match=r"case\.nobody"):
        looks.keep_looks_back(deps, mari, case.case_id, until_on=date(2026, 12, 31), reason=REASON)
