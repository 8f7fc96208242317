"""The state table of certificates: what is possible, who may, and what is said meanwhile."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats.x509.profile import CertificateKind
from digiid.institutions.trust_services.ca.domain import (
    LIFECYCLE,
    Event,
    decide_change,
    decide_validity,
    issued_on_hold,
)
from digiid.institutions.trust_services.domain import CertificateState, CertificateStatus
from digiid.kernel.errors import Conflict, Refused

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
ACTORS = {
    Event.ACTIVATE: "card_bureau",
    Event.SUSPEND: "police_board",
    Event.RESUME: "police_board",
    Event.REVOKE: "police_board",
    Event.EXPIRE: "trust_services",
}


def fresh() -> CertificateStatus:
    return issued_on_hold(
        serial_number=1,
        document_number="NE0000001",
        kind=CertificateKind.SIGNATURE,
        at=AT,
        not_after_at=AT + timedelta(days=1826),
    )


def take(status: CertificateStatus, event: Event, *, minutes: int = 1, reason: str | None = None) -> CertificateStatus:
    return decide_change(
        status, event, actor=ACTORS[event], at=status.changed_at + timedelta(minutes=minutes), reason=reason
    )


def test_a_certificate_begins_on_hold() -> None:
    assert fresh().state is CertificateState.ISSUED_ON_HOLD
    assert (fresh().reason, fresh().revoked_at) == ("certificateHold", AT)


def test_activation_makes_it_good_and_nothing_is_left_of_the_hold() -> None:
    good = take(fresh(), Event.ACTIVATE)
    assert (good.state, good.reason, good.revoked_at) == (CertificateState.GOOD, None, None)


def test_a_suspension_does_not_pass_by_activation() -> None:
    on_hold = take(take(fresh(), Event.ACTIVATE), Event.SUSPEND)
    with pytest.raises(Conflict):
        take(on_hold, Event.ACTIVATE)


def test_what_was_never_handed_over_cannot_be_resumed() -> None:
    with pytest.raises(Conflict):
        take(fresh(), Event.RESUME)


def test_a_suspension_that_ends_in_revocation_counts_from_the_suspension() -> None:
    on_hold = take(take(fresh(), Event.ACTIVATE), Event.SUSPEND)
    revoked = take(on_hold, Event.REVOKE, minutes=600, reason="keyCompromise")
    assert (revoked.revoked_at, revoked.reason) == (on_hold.changed_at, "keyCompromise")


def test_what_ended_good_is_still_said_to_be_good_and_what_ended_on_hold_on_hold() -> None:
    good = take(take(fresh(), Event.ACTIVATE), Event.EXPIRE)
    assert (good.state, good.revoked_at) == (CertificateState.EXPIRED, None)
    on_hold = take(take(take(fresh(), Event.ACTIVATE), Event.SUSPEND), Event.EXPIRE)
    assert (on_hold.state, on_hold.reason) == (CertificateState.EXPIRED, "certificateHold")


@given(st.lists(st.sampled_from(list(Event)), max_size=12))
def test_a_revoked_certificate_is_never_good_again(events: list[Event]) -> None:
    status = take(take(fresh(), Event.ACTIVATE), Event.REVOKE, reason="superseded")
    for event in events:
        try:
            status = take(status, event)
        except Conflict:
            continue
    assert (status.state, status.reason) == (CertificateState.REVOKED, "superseded")
    assert status.revoked_at is not None


@given(st.lists(st.sampled_from(list(Event)), max_size=12))
def test_every_step_taken_twice_is_the_step_taken_once(events: list[Event]) -> None:
    status = fresh()
    for event in events:
        try:
            status = take(status, event, reason="superseded")
        except Conflict:
            continue
        assert take(status, event, minutes=5, reason="keyCompromise") is status


@pytest.mark.parametrize("event", list(Event))
def test_nobody_else_may_take_a_step(event: Event) -> None:
    states = [state for state, edges in LIFECYCLE.items() if event in edges]
    assert states
    for state in states:
        status = CertificateStatus(1, "NE1", "signature", state, AT, AT, None, None)
        for actor in {"bank", "information_authority", *ACTORS.values()} - {ACTORS[event]}:
            with pytest.raises(Refused, match=r"state\.actor_not_allowed"):
                decide_change(status, event, actor=actor, at=AT)


def test_every_step_says_its_legal_basis() -> None:
    for edges in LIFECYCLE.values():
        for edge in edges.values():
            assert edge.legal_basis and edge.actors
    assert LIFECYCLE[CertificateState.REVOKED] == {}


@pytest.mark.parametrize("expires_on", [date(2026, 11, 22), date(2031, 12, 31)])
def test_a_document_that_has_ended_or_lasts_too_long_gets_no_certificates(expires_on: date) -> None:
    with pytest.raises(Refused, match=r"trust\.profile\.validity"):
        decide_validity(expires_on, at=AT)


def test_validity_begins_in_a_whole_second_and_ends_with_the_documents_last_day() -> None:
    assert decide_validity(date(2031, 6, 22), at=AT.replace(microsecond=5)) == (
        AT,
        datetime(2031, 6, 22, 20, 59, 59, tzinfo=UTC),
    )
