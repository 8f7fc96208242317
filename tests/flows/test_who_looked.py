"""The page "Who has looked at my data" over a real gate: both records of every look, alarms, silence, pages."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from digiid.contracts.members import BANK, POLICE_BOARD
from digiid.institutions.bank.store import SENT_REQUESTS
from digiid.institutions.information_authority import store as portal_store
from digiid.institutions.police_board.store.schema import DISCLOSURES, JOURNAL
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.disclosures import Look, order_delay, record_disclosure
from digiid.platform.sent_requests import SentRequests
from tests.flows.provider_room import ProviderRoom, open_provider_room
from tests.support.page_client import PageClient

CODE = "60001019906"  # of the room's holder
LATER = timedelta(minutes=6)


@pytest.fixture
def room(tmp_path: Path, clock: ManualClock) -> Iterator[ProviderRoom]:
    with open_provider_room(tmp_path, clock) as opened:
        yield opened


@pytest.fixture
def browser(room: ProviderRoom) -> PageClient:
    signed_in = room.browser("portal")
    assert room.holder().sign_in(signed_in).status_code == 200
    return signed_in


def seen(room: ProviderRoom, query: str = "") -> str:
    """The page's text for the holder, signed in now: the tests move the clock past every session."""
    browser = room.browser("portal")
    room.holder().sign_in(browser)
    answer = browser.get(f"/who-looked{query}")
    assert answer.status_code == 200
    return words(answer.text)


def words(text: str) -> str:
    main = text.split("<main", 1)[-1].split("</main>", 1)[0]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


@contextmanager
def database_of(room: ProviderRoom, name: str) -> Iterator[Database]:
    db = Database.sqlite(room.board.around.database_folder / f"{name}.sqlite")
    try:
        yield db
    finally:
        db.close()


def board_tells(room: ProviderRoom, message_id: str | None, *, receiver: str = str(BANK), **changes: Any) -> None:
    """The board's half of a look."""
    values: dict[str, Any] = {
        "receiver": receiver,
        "purpose": "whether a customer's document is valid",
        "legal_basis": "Money Laundering and Terrorist Financing Prevention Act § 21: identification of a customer",
        "service": "document-status",
        "message_id": message_id,
    }
    with room.board.deps.db.write() as tx:
        record_disclosure(
            tx,
            DISCLOSURES,
            JOURNAL,
            None,
            personal_code=CODE,
            look=Look(**values | changes),
            categories=("document_status",),
            at=room.clock.now(),
        )


def bank_asked(room: ProviderRoom, message_id: str, outcome: Any = "answered") -> None:
    """The bank's half."""
    service = f"{POLICE_BOARD}/document-status"
    with database_of(room, "bank") as db:
        sent = SentRequests(db, SENT_REQUESTS, room.clock)
        sent.begin(message_id, service, [CODE])
        sent.settle(message_id, service, [CODE], outcome)


def reports(room: ProviderRoom) -> list[dict[str, Any]]:
    with database_of(room, "information_authority") as db, db.read() as tx:
        rows = tx.execute(portal_store.OUTBOX.select().where(portal_store.OUTBOX.c.kind == "report_misuse")).all()
    return [json.loads(row.payload) for row in rows]


# ------------------------------------------------------------------ what is shown


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("en", "Identity Documents Act § 20⁵: issue of a digi-ID"),
        ("et", "Isikut tõendavate dokumentide seadus § 20⁵: digi-ID väljaandmine"),
    ],
)
def test_paragraphs_of_laws_are_shown_as_laws_print_them(room: ProviderRoom, language: str, shown: str) -> None:
    board_tells(room, None, legal_basis="Identity Documents Act § 20^5: issue of a digi-ID")
    board_tells(room, None, legal_basis="Another Act § 118^21, and 2^8 of it")
    browser = room.browser("portal", language=language)
    room.holder().sign_in(browser)
    told = words(browser.get("/who-looked").text)
    assert shown in told
    assert "Another Act § 118²¹, and 2^8 of it" in told


def test_a_look_stands_there_with_who_why_and_what_and_both_records_agree(
    room: ProviderRoom, browser: PageClient
) -> None:
    bank_asked(room, "m-1")
    board_tells(room, "m-1", receiver_user="EE38001085718", consent_reference="c-77")
    room.clock.advance(LATER)
    text = browser.get("/who-looked").text
    page = words(text)
    assert "Looks: 1" in page
    assert "Test Bank official" in page
    assert "whether a customer&#39;s document is valid" in text
    assert "Prevention Act § 21" in page
    assert "with your consent c-77" in page
    assert "at Police and Border Guard Board: whether a document is valid" in page
    assert "agree" in page
    assert "The records do not agree" not in page
    assert "38001085718" not in text
    assert reports(room) == []


@pytest.mark.parametrize(
    ("language", "title"), [("en", "To send your bank card and letters"), ("et", "Pangakaardi ja kirjade saatmiseks")]
)
def test_a_purpose_under_a_consent_has_the_title_that_the_consent_has(
    tmp_path: Path, clock: ManualClock, language: str, title: str
) -> None:
    with open_provider_room(tmp_path, clock, with_consents=True) as room:
        board_tells(room, "m-1", purpose="bank-card-and-letters", consent_reference="c-77")
        board_tells(room, "m-2", purpose="never-declared", consent_reference="c-78")
        board_tells(room, None, receiver=str(POLICE_BOARD), purpose="bank-card-and-letters")
        browser = room.browser("portal", language=language)
        room.holder().sign_in(browser)
        page = words(browser.get("/who-looked").text)
        assert page.count(title) == 1, "only what rests on a consent has the consent's title"
        assert page.count("bank-card-and-letters") == 1
        assert "never-declared" in page


def test_a_purpose_whose_title_cannot_be_had_stays_as_it_was_written(room: ProviderRoom, browser: PageClient) -> None:
    board_tells(room, "m-1", purpose="bank-card-and-letters", consent_reference="c-77")
    page = words(browser.get("/who-looked").text)
    assert "Consent Service" in page.split("These do not answer now", 1)[1]
    assert "bank-card-and-letters" in page


def test_who_does_not_answer_is_named_and_the_others_are_shown(room: ProviderRoom, browser: PageClient) -> None:
    board_tells(room, None, receiver=str(POLICE_BOARD))
    page = words(browser.get("/who-looked").text)
    silent = page.split("These do not answer now", 1)[1].split("From", 1)[0]
    assert "Population Register" in silent
    assert "Card Bureau" in silent
    assert "Police and Border Guard Board" not in silent
    assert "its own data" in page


def test_nobody_looked_is_said_in_words(browser: PageClient) -> None:
    page = words(browser.get("/who-looked").text)
    assert "Looks: 0" in page
    assert "Nobody has looked at your data in this time" in page


def test_own_looks_are_counted_and_shown_on_request(room: ProviderRoom, browser: PageClient) -> None:
    browser.get("/")  # the portal asks the board on the person's behalf
    room.clock.advance(LATER)
    page = words(browser.get("/who-looked").text)
    assert "Looks: 0" in page
    assert "You looked yourself once." in page
    own = words(browser.get("/who-looked?own=1").text)
    assert "Information Authority on your behalf: you asked yourself" in own
    assert "agree" in own


def test_the_page_speaks_estonian(room: ProviderRoom) -> None:
    board_tells(room, None, receiver=str(POLICE_BOARD), purpose="supervision of a document")
    estonian = room.browser("portal", language="et")
    room.holder().sign_in(estonian)
    page = words(estonian.get("/who-looked").text)
    assert "Kes on minu andmeid vaadanud" in page
    assert "dokumendi järelevalve" in page
    assert "Rahapesu ja terrorismi rahastamise tõkestamise seadus § 21" in page
    assert "kas dokument kehtib" in page


def test_the_page_is_the_persons_own(room: ProviderRoom) -> None:
    board_tells(room, "m-1")
    stranger = room.browser("portal")
    assert stranger.get("/who-looked").status_code in (302, 303)
    other = room.browser("portal")
    room.holder("OTHER", "38001085718").sign_in(other)
    assert "Looks: 0" in words(other.get("/who-looked").text)


# ------------------------------------------------------------------ filters and pages


def test_looks_are_filtered_by_period_and_by_who_looked(room: ProviderRoom) -> None:
    board_tells(room, None, receiver=str(POLICE_BOARD), purpose="the first")
    room.clock.advance(timedelta(days=2))
    board_tells(room, None, receiver="EE/COM/10000201/bank", purpose="the second")
    assert "Looks: 2" in seen(room)
    assert "Looks: 1" in (page := seen(room, "?from=2026-11-24"))
    assert "the second" in page
    page = seen(room, f"?who={POLICE_BOARD}")
    assert "the first" in page
    assert "the second" not in page


@pytest.mark.parametrize("query", ["from=yesterday", "to=2026-02-30", "from=2026-11-02&to=2026-11-01", "from=20261101"])
def test_a_period_that_is_none_is_told_at_its_field(browser: PageClient, query: str) -> None:
    answer = browser.get(f"/who-looked?{query}")
    assert answer.status_code == 422
    assert "There is a problem" in answer.text


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=99999999999", "page=x", "who=%3Cscript%3E", "own=2"])
def test_odd_parameters_show_the_page_all_the_same(room: ProviderRoom, browser: PageClient, query: str) -> None:
    board_tells(room, None, receiver=str(POLICE_BOARD), purpose="<script>alert(1)</script>")
    answer = browser.get(f"/who-looked?{query}")
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text


def test_pages_go_back_to_the_oldest(room: ProviderRoom, browser: PageClient) -> None:
    for n in range(45):
        board_tells(room, None, receiver=str(POLICE_BOARD), purpose=f"look number {n}")
        room.clock.advance(timedelta(seconds=1))
    first = browser.get("/who-looked").text
    assert "Page 1 of 3" in first
    assert "look number 44" in first
    assert "look number 24" not in first
    third = browser.get(
        re.findall(r'rel="next" href="([^"]+)"', browser.get("/who-looked?page=2").text)[0].replace("&amp;", "&")
    )
    assert "look number 0" in third.text
    assert 'rel="next"' not in third.text


def test_the_picture_says_in_words_what_it_shows(room: ProviderRoom, browser: PageClient) -> None:
    board_tells(room, None, receiver=str(POLICE_BOARD))
    room.clock.advance(timedelta(days=40))
    board_tells(room, None, receiver=str(POLICE_BOARD))
    signed_in = room.browser("portal")
    room.holder().sign_in(signed_in)
    text = signed_in.get("/who-looked").text
    assert 'role="img" aria-label="2027-01: 1, 2026-12: 0, 2026-11: 1"' in text
    assert " style=" not in text.split("<main", 1)[1]


# ------------------------------------------------------------------ alarms


def test_a_look_that_the_asker_denies_is_an_alarm_and_is_reported_once(room: ProviderRoom, browser: PageClient) -> None:
    board_tells(room, "m-1")
    assert "not compared yet" in words(browser.get("/who-looked").text), "it may still be under way"
    room.clock.advance(LATER)
    page = words(browser.get("/who-looked").text)
    assert "The records do not agree" in page
    assert "Police and Border Guard Board says that it gave your data, and Test Bank has no record of asking." in page
    browser.get("/who-looked")
    (report,) = reports(room)
    assert "m-1" in report["what_happened"]
    assert CODE not in json.dumps(report)
    with database_of(room, "information_authority") as db, db.read() as tx:
        entry = journal.verify_chain(tx, portal_store.JOURNAL)
    assert entry is not None
    assert (entry.kind, entry.payload["lacking"]) == ("tracker.mismatch", "receiver")


def test_a_look_that_the_provider_did_not_record_is_an_alarm(room: ProviderRoom, browser: PageClient) -> None:
    bank_asked(room, "m-1")
    room.clock.advance(LATER)
    page = words(browser.get("/who-looked").text)
    assert (
        "Test Bank says that it was given your data, and Police and Border Guard Board has no record of giving it."
        in page
    )
    (report,) = reports(room)
    assert report["service"] == f"{POLICE_BOARD}/document-status"


@pytest.mark.parametrize("outcome", ["sent", "refused"])
def test_what_was_refused_or_never_answered_is_no_alarm(room: ProviderRoom, outcome: str) -> None:
    bank_asked(room, "m-1", outcome)
    room.clock.advance(LATER)
    page = seen(room)
    assert "The records do not agree" not in page
    assert ("Asked, and refused" in page) == (outcome == "refused")


def test_the_edge_of_a_period_is_no_alarm(room: ProviderRoom) -> None:
    bank_asked(room, "m-1")
    room.clock.advance(timedelta(days=1))
    board_tells(room, "m-1")
    room.clock.advance(LATER)
    for query in ("?from=2026-11-24", "?to=2026-11-23"):
        assert "The records do not agree" not in seen(room, query)


def test_a_look_that_is_kept_back_is_no_alarm_and_not_shown(room: ProviderRoom, browser: PageClient) -> None:
    at = room.clock.now()
    until = at + timedelta(days=30)
    delay = order_delay(until=until, reason="investigation 12", ordered_by="D-1", at=at, longest=timedelta(days=90))
    board_tells(room, "m-1", delay=delay)
    with database_of(room, "bank") as db:
        sent = SentRequests(db, SENT_REQUESTS, room.clock)
        sent.settle("m-1", f"{POLICE_BOARD}/document-status", [CODE], "answered", hidden_until=until)
    room.clock.advance(LATER)
    page = words(browser.get("/who-looked").text)
    assert "Looks: 0" in page
    assert "The records do not agree" not in page
    room.clock.advance(timedelta(days=30))
    page = seen(room)
    assert "Looks: 1" in page
    assert "investigation 12" in page


def test_a_record_that_was_deleted_at_one_side_shows_at_the_other(room: ProviderRoom) -> None:
    bank_asked(room, "m-1")
    board_tells(room, "m-1")
    room.clock.advance(LATER)
    assert "The records do not agree" not in seen(room)
    with room.board.deps.db.write() as tx:
        tx.execute(delete(DISCLOSURES).where(DISCLOSURES.c.message_id == "m-1"))
    assert "The records do not agree" in seen(room)
