"""The data provider's judgement of a consent, and what it knows of revocations."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import MetaData

from digiid.contracts.members import BANK, POLICE_BOARD, POPULATION_REGISTER
from digiid.contracts.population_register import CHECK_NAME, GET_ADDRESS
from digiid.exchange.consent import (
    RevocationCache,
    RevocationTables,
    RevocationView,
    VerifiedConsent,
    revocation_service,
    revocation_tables,
    verify_consent,
)
from digiid.exchange.gate import Caller
from digiid.formats.consent_receipt import MAX_RECEIPT_CHARS, Revocation
from digiid.kernel.errors import Broken, DigiidError, Malformed, Refused, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from tests.support.consents import HOUR, RECEIPT, REFERENCE, SUBJECT, consent_seal, consent_sealer
from tests.support.pki import AT

SEALER, SEAL = consent_sealer(), consent_seal()
NEVER = RevocationView(None, lambda reference: None)
NOTHING_NEW = RevocationView(AT, lambda reference: None)
SECOND = timedelta(seconds=1)


def judge(receipt: str | None, **changes: Any) -> VerifiedConsent:
    question: dict[str, Any] = {
        "seal": SEAL,
        "service": GET_ADDRESS.service,
        "client": BANK,
        "subject_code": SUBJECT,
        "purpose": RECEIPT.purpose_declaration,
        "revoked": NOTHING_NEW,
        "at": AT,
    }
    return verify_consent(receipt, **(question | changes))


def refusal(receipt: str | None, **changes: Any) -> DigiidError:
    with pytest.raises(DigiidError) as caught:
        judge(receipt, **changes)
    assert caught.value.public  # whatever is refused, the asker is told why
    return caught.value


def test_a_consent_that_covers_the_question_says_what_may_be_answered() -> None:
    consent = judge(SEALER.receipt())
    assert (consent.consent_reference, consent.subject_code) == (REFERENCE, SUBJECT)
    assert consent.opens("address.country")
    assert not consent.opens("address.locality")
    assert not consent.opens("address")
    assert not consent.opens("addresses.country")


def test_a_wider_category_opens_what_is_below_it() -> None:
    consent = judge(SEALER.receipt(data_categories=("address",)))
    assert consent.opens("address")
    assert consent.opens("address.street")
    assert not consent.opens("name")
    assert not consent.opens("address_history.street")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client": POLICE_BOARD}, "client"),
        ({"subject_code": "38001085718"}, "person"),
        ({"service": CHECK_NAME.service}, "service"),
        ({"purpose": "marketing"}, "purpose"),
        ({"purpose": ""}, "purpose"),
        ({"at": RECEIPT.expires_at}, "expired"),
        ({"at": RECEIPT.granted_at - HOUR}, "not_yet_valid"),
        ({"service": replace(GET_ADDRESS.service, provider=BANK)}, "audience"),
    ],
)
def test_each_way_in_which_a_consent_does_not_fit_has_its_code(changes: dict[str, Any], code: str) -> None:
    error = refusal(SEALER.receipt(), **changes)
    assert isinstance(error, Refused)
    assert error.code == f"exchange.consent.{code}"


def test_a_purpose_that_is_not_named_is_that_of_the_receipt() -> None:
    assert judge(SEALER.receipt(), purpose=None).purpose_declaration == RECEIPT.purpose_declaration


def test_no_receipt_a_strangers_and_a_broken_one() -> None:
    assert refusal(None).code == refusal("").code == "exchange.consent.missing"
    assert refusal(consent_sealer(name="Somebody").receipt()).code == "exchange.consent.seal"
    token = SEALER.receipt()
    head, _, value = token.split(".")
    changed = f"{head}.{SEALER.receipt(subject_code='38001085718').split('.')[1]}.{value}"
    assert refusal(changed, subject_code="38001085718").code == "exchange.consent.seal"
    for broken in ("x", "a.b.c", token[:-1], token + "A" * MAX_RECEIPT_CHARS, SEALER.revocations(REFERENCE)):
        error = refusal(broken)
        assert (type(error), error.code) == (Malformed, "exchange.consent.unreadable")


def test_what_is_revoked_is_refused_also_when_news_is_old() -> None:
    revocation = Revocation(1, REFERENCE, "withdrawn", AT)
    for as_of in (AT, AT - 24 * HOUR, None):
        view = RevocationView(as_of, {REFERENCE: revocation}.get)
        assert refusal(SEALER.receipt(), revoked=view).code == "exchange.consent.revoked"


def test_without_fresh_news_nothing_is_answered() -> None:
    """Fails closed at the stated second, and opens again by itself."""
    receipt = SEALER.receipt(validation_cache_seconds=300)
    assert judge(receipt, at=AT + 300 * SECOND).consent_reference == REFERENCE
    error = refusal(receipt, at=AT + 301 * SECOND)
    assert (type(error), error.code) == (Unavailable, "exchange.consent.revocations_outdated")
    assert isinstance(refusal(receipt, revoked=NEVER), Unavailable)
    later = RevocationView(AT + 301 * SECOND, lambda reference: None)
    assert judge(receipt, at=AT + 301 * SECOND, revoked=later).consent_reference == REFERENCE


# ------------------------------------------------------------------ what is known of revocations


class Room:
    def __init__(self, db: Database, clock: ManualClock) -> None:
        metadata = MetaData()
        self.tables: RevocationTables = revocation_tables(metadata)
        metadata.create_all(db.engine)
        self.db, self.clock = db, clock
        self.cache = self.opened()

    def opened(self) -> RevocationCache:
        return RevocationCache(self.db, self.tables, seal=SEAL, audience=POPULATION_REGISTER, clock=self.clock)

    def known(self, *references: str) -> list[bool]:
        with self.db.read() as tx:
            view = self.cache.view(tx)
            return [view.find(reference) is not None for reference in references]

    def as_of(self) -> datetime | None:
        return self.cache.as_of()


@pytest.fixture
def room(new_database: Callable[[str], Database], clock: ManualClock) -> Room:
    return Room(new_database("tests.support.empty_schema"), clock)


A, B, C = "a" * 43, "b" * 43, "c" * 43


def test_a_first_statement_makes_the_table_fresh(room: Room) -> None:
    assert room.as_of() is None
    room.cache.take(SEALER.revocations())
    assert (room.as_of(), room.known(A)) == (AT, [False])


def test_what_was_told_is_there_after_a_restart(room: Room) -> None:
    room.cache.take(SEALER.revocations(A))
    room.cache = room.opened()
    assert (room.as_of(), room.known(A, B)) == (AT, [True, False])


def test_repeats_and_disorder_change_nothing(room: Room) -> None:
    for statement in (SEALER.revocations(A, B), SEALER.revocations(A), SEALER.revocations(B, after=1)):
        room.cache.take(statement)
        room.cache.take(statement)
    assert room.known(A, B, C) == [True, True, False]


def test_news_behind_a_gap_is_known_but_makes_nothing_fresh(room: Room) -> None:
    room.cache.take(SEALER.revocations(A))
    room.clock.advance(HOUR)
    room.cache.take(SEALER.revocations(C, after=2, at=AT + HOUR))
    assert (room.known(A, C), room.as_of()) == ([True, True], AT)
    room.cache.take(SEALER.revocations(B, C, after=1, at=AT + HOUR))
    assert (room.known(A, B, C), room.as_of()) == ([True, True, True], AT + HOUR)


def test_a_page_that_is_not_the_last_makes_nothing_fresh(room: Room) -> None:
    room.cache.take(SEALER.revocations(A, head=2))
    assert (room.known(A), room.as_of()) == ([True], None)
    room.cache.take(SEALER.revocations(B, after=1))
    assert room.as_of() == AT


def test_an_old_statement_does_not_make_the_table_older(room: Room) -> None:
    room.clock.advance(HOUR)
    room.cache.take(SEALER.revocations(A, at=AT + HOUR))
    room.cache.take(SEALER.revocations(at=AT))
    assert (room.known(A), room.as_of()) == ([True], AT + HOUR)


def test_a_statement_from_the_future_is_only_of_now(room: Room) -> None:
    """A consent service whose clock runs ahead must not keep a provider from noticing that news stopped."""
    room.cache.take(SEALER.revocations(at=AT + 48 * HOUR))
    assert room.as_of() == AT


def test_a_consent_service_that_forgot_is_noticed(room: Room) -> None:
    room.cache.take(SEALER.revocations(A, B))
    room.clock.advance(HOUR)
    with pytest.raises(Broken, match=r"exchange\.consent\.rolled_back"):
        room.cache.take(SEALER.revocations(A, at=AT + HOUR))
    assert (room.known(A, B), room.as_of()) == ([True, True], AT)


def test_only_the_consent_service_is_believed_and_only_what_is_for_us(room: Room) -> None:
    for statement in (
        consent_sealer(name="Thief").revocations(A),
        SEALER.revocations(A, audience=str(BANK)),
    ):
        with pytest.raises(Refused):
            room.cache.take(statement)
    with pytest.raises(Malformed):
        room.cache.take(SEALER.receipt())
    assert (room.known(A), room.as_of()) == ([False], None)


class Source:
    """A consent service that pages."""

    def __init__(self, *references: str, page: int = 2) -> None:
        self.references, self.page, self.asked = list(references), page, list[int]()
        self.at = AT

    def fetch(self, after: int) -> str:
        self.asked.append(after)
        told = self.references[after : after + self.page]
        return SEALER.revocations(*told, after=after, head=len(self.references), at=self.at)


def test_a_poll_reads_every_page(room: Room) -> None:
    source = Source(*(f"{n:043d}" for n in range(5)))
    room.cache.poll(source.fetch)
    assert source.asked == [0, 2, 4, 5]
    assert all(room.known(*source.references))
    assert room.as_of() == AT


def test_a_push_that_was_lost_is_caught_by_the_next_poll(room: Room) -> None:
    source = Source(A)
    room.cache.poll(source.fetch)
    source.references.append(B)  # withdrawn; nobody tells us
    assert room.known(B) == [False]
    room.clock.advance(2 * 60 * SECOND)
    source.at = room.clock.now()
    room.cache.poll(source.fetch)
    assert room.known(B) == [True]


def test_the_push_service_takes_what_the_poll_would(room: Room) -> None:
    service = revocation_service(room.cache)
    assert str(service.operation.service) == f"{POPULATION_REGISTER}/consents-revoked"
    notice = service.operation.request(statement=SEALER.revocations(A))
    service.answer(Caller(next(iter(service.operation.allowed)), "EE-1"), notice)
    assert room.known(A) == [True]
