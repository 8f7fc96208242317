"""A consent from the bank's question to its withdrawal: refused before, answered after, refused again in time."""

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from digiid.contracts.members import POPULATION_REGISTER
from digiid.exchange.consent import RevocationCache
from digiid.formats.asic import parse_container
from digiid.formats.consent_receipt import parse_receipt
from digiid.institutions.information_authority.consents import app as consents
from digiid.institutions.population_register import store as population_store
from digiid.kernel.errors import Conflict, DigiidError, NotFound, Refused, Unavailable
from digiid.platform.clock import ManualClock
from tests.flows.consent_room import STREET, ConsentRoom, open_consent_room
from tests.support.pki import shared_pki

MINUTE = timedelta(minutes=1)
STATED_DELAY = timedelta(seconds=600)  # validation_cache_seconds of the declaration


@pytest.fixture
def room(tmp_path: Path, clock: ManualClock) -> Iterator[ConsentRoom]:
    with open_consent_room(tmp_path, clock) as opened:
        yield opened


def refusal(room: ConsentRoom, receipt: str | None) -> DigiidError:
    with pytest.raises(DigiidError) as caught:
        room.ask_address(receipt)
    assert caught.value.public
    return caught.value


def test_refused_before_answered_under_and_refused_after_a_consent(room: ConsentRoom) -> None:
    room.poll()
    # 1 before: no receipt, no answer
    assert refusal(room, None).code == "exchange.consent.missing"
    assert room.bank_consents.find_receipt(room.mary, "bank-card-and-letters") is None
    # 2 under: the person signs, the bank fetches the receipt and asks
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    consent_id = room.grant(browser, mary)
    receipt = room.receipt()
    address = room.ask_address(receipt)
    assert (address.country, address.street) == ("EST", STREET)
    room.push()  # the register tells that it has answered
    assert "data was given under this consent" in browser.get(f"/consents/{consent_id}").text
    # 3 after: withdrawn with one button, refused at once
    browser.get(f"/consents/{consent_id}/withdraw")
    assert browser.post_form(f"/consents/{consent_id}/withdraw", {}).status_code == 303
    room.push()
    assert refusal(room, receipt).code == "exchange.consent.revoked"
    assert room.told == [parse_receipt(receipt).consent_reference]
    assert room.bank_consents.find_receipt(room.mary, "bank-card-and-letters") is None
    with pytest.raises(Conflict, match=r"consent\.invalid_status"):
        room.bank_consents.fetch_receipt(room.told[0])


def test_a_push_that_is_lost_is_caught_by_the_poll_within_the_stated_delay(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    consent_id = room.grant(browser, mary)
    receipt = room.receipt()
    room.poll()
    browser.post_form(f"/consents/{consent_id}/withdraw", {})  # nobody empties the outbox: the push is lost
    assert room.ask_address(receipt).street == STREET  # the register cannot know yet
    room.clock.advance(2 * MINUTE)
    room.poll()
    assert refusal(room, receipt).code == "exchange.consent.revoked"


def test_without_push_and_poll_nothing_is_answered_after_the_stated_delay(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    consent_id = room.grant(browser, mary)
    receipt = room.receipt()
    assert isinstance(refusal(room, receipt), Unavailable)  # never heard of anything
    room.poll()
    browser.post_form(f"/consents/{consent_id}/withdraw", {})
    room.clock.advance(STATED_DELAY)
    assert room.ask_address(receipt).street == STREET  # the last moment at which the withdrawal may not work yet
    room.clock.advance(timedelta(seconds=1))
    error = refusal(room, receipt)
    assert (type(error), error.code) == (Unavailable, "exchange.consent.revocations_outdated")
    room.poll()  # the consent service is back: it recovers by itself
    assert refusal(room, receipt).code == "exchange.consent.revoked"


def test_a_register_that_was_restarted_has_not_forgotten(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    consent_id = room.grant(browser, mary)
    receipt = room.receipt()
    room.poll()
    browser.post_form(f"/consents/{consent_id}/withdraw", {})
    room.push()
    db = room.register_deps.db
    again = RevocationCache(
        db,
        population_store.REVOCATIONS,
        seal=consents.consent_seal([shared_pki().ca.certificate]),
        audience=POPULATION_REGISTER,
        clock=room.clock,
    )
    with db.read() as tx:
        view = again.view(tx)
    assert view.as_of == room.clock.now()
    with db.read() as tx:
        assert again.view(tx).find(parse_receipt(receipt).consent_reference) is not None


def test_a_consent_that_has_expired_opens_nothing(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    room.grant(browser, mary)
    receipt = room.receipt()
    room.clock.advance(parse_receipt(receipt).expires_at - room.clock.now())
    room.poll()
    assert refusal(room, receipt).code == "exchange.consent.expired"


def test_another_persons_address_is_not_opened(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    room.grant(browser, mary)
    room.poll()
    with pytest.raises(Refused, match=r"exchange\.consent\.person"):
        room.ask_address(room.receipt(), code=room.child)


# ------------------------------------------------------------------ the pages


def test_the_request_is_one_page_in_both_languages(room: ConsentRoom) -> None:
    mary = room.holder()
    english, estonian = room.browser(), room.browser(language="et")
    mary.sign_in(english)
    mary.sign_in(estonian)
    consent_id = room.open_link(english, room.link())
    page, leht = english.get(f"/consents/{consent_id}").text, estonian.get(f"/consents/{consent_id}").text
    for text in ("Who asks", "TEST Bank (10000201)", "street and house", "To send your bank card", "You keep your"):
        assert text in page
    for text in ("Kes küsib", "tänav ja maja", "Pangakaardi ja kirjade saatmiseks", "Konto jääb teile alles"):
        assert text in leht
    for text in (page, leht):
        assert room.mary in text
        assert "GDPR" not in text
    assert f'data-reference="{consent_id}?en"' in page
    assert f'data-reference="{consent_id}?et"' in leht


def test_a_visitor_is_led_to_sign_in_and_back_and_the_link_is_not_used_up_by_it(room: ConsentRoom) -> None:
    browser, path = room.browser(), room.link()
    answer = browser.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/sign-in?next={path}"
    room.holder().sign_in(browser)
    room.open_link(browser, path)
    again = browser.get(path)
    assert again.status_code == 409
    assert "This link has been used" in again.text


def test_a_link_shows_a_stranger_nothing_and_is_left_as_it_was(room: ConsentRoom) -> None:
    path = room.link()
    stranger = room.browser()
    room.holder("38001085718", "ŽAIKOVSKI").sign_in(stranger)
    answer = stranger.get(path)
    assert answer.status_code == 403
    assert "Bank" not in answer.text.split("<main", 1)[1]
    assert room.mary not in answer.text
    browser = room.browser()
    room.holder().sign_in(browser)
    room.open_link(browser, path)


def test_refusing_is_one_button_and_the_bank_may_ask_again(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    consent_id = room.open_link(browser, room.link())
    browser.get(f"/consents/{consent_id}")
    assert browser.post_form(f"/consents/{consent_id}/refuse", {}).status_code == 303
    page = browser.get(f"/consents/{consent_id}").text
    assert "You have refused" in page
    assert 'href="http://bank.localhost:8800/consent-given"' in page
    room.open_link(browser, room.link())


def test_a_button_is_no_signature(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    consent_id = room.open_link(browser, room.link())
    browser.get(f"/consents/{consent_id}")
    answer = browser.post_form(f"/consents/{consent_id}/grant", {})
    assert answer.status_code == 403
    assert "has to be signed with PIN2" in answer.text


def test_the_signed_file_holds_the_words_and_the_machine_readable_scope(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    consent_id = room.grant(browser, mary)
    answer = browser.get(f"/consents/{consent_id}/signed")
    assert answer.headers["content-type"] == "application/vnd.etsi.asic-e+zip"
    container = parse_container(io.BytesIO(answer.content))
    files = {entry.name: container.archive.read(entry, max_bytes=100_000) for entry in container.data_files}
    [text] = [content.decode() for name, content in files.items() if name.endswith(".txt")]
    [scope] = [json.loads(content) for name, content in files.items() if name.endswith(".json")]
    assert "I consent (TEST)" in text
    assert "Annan nõusoleku (TEST)" in text
    receipt = parse_receipt(browser.get(f"/consents/{consent_id}/receipt").text)
    assert scope["notice_sha256"] == receipt.snapshot_sha256
    assert tuple(scope["pii_categories"]) == receipt.data_categories
    assert browser.get(f"/consents/{consent_id}/signed-withdrawal").status_code == 404


def test_extension_from_the_page(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    consent_id = room.grant(browser, mary)
    first = room.receipt()
    room.clock.advance(timedelta(days=30))
    mary.sign_in(browser)
    browser.get(f"/consents/{consent_id}")
    answer = browser.post_form(f"/consents/{consent_id}/extend", {})
    new_id = answer.headers["location"].removeprefix("/consents/")
    browser.get(f"/consents/{new_id}")
    assert mary.sign(browser, f"{new_id}?en").status_code == 200
    second = room.receipt()
    room.push()
    room.poll()
    assert refusal(room, first).code == "exchange.consent.revoked"
    assert room.ask_address(second).street == STREET
    listed = browser.get("/").text
    assert "replaced by a newer one" in listed
    assert "in force" in listed


def test_own_consents_are_only_ones_own(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    consent_id = room.grant(browser, mary)
    stranger = room.browser()
    room.holder("38001085718", "ŽAIKOVSKI").sign_in(stranger)
    assert "Nobody has asked you" in stranger.get("/").text
    for path in ("", "/withdraw", "/signed", "/receipt"):
        assert stranger.get(f"/consents/{consent_id}{path}").status_code == 404
    stranger.get("/")
    for path in ("grant", "refuse", "withdraw", "extend"):
        assert stranger.post_form(f"/consents/{consent_id}/{path}", {}).status_code == 404
    nobody = room.browser()
    assert "Your data, your consent" in nobody.get("/").text
    assert nobody.get(f"/consents/{consent_id}").status_code == 303
    assert nobody.get("/help").status_code == 200


# ------------------------------------------------------------------ for somebody else


def test_a_parent_decides_for_a_child_and_the_page_says_so(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    consent_id = room.open_link(browser, room.link_for(room.child, "LAPS"))
    page = browser.get(f"/consents/{consent_id}").text
    assert f"You decide for the minor {room.child}, not for yourself." in page
    assert mary.sign(browser, f"{consent_id}?en").status_code == 200
    receipt = parse_receipt(room.receipt(room.child))
    assert (receipt.subject_code, receipt.representative_code) == (room.child, room.mary)
    room.poll()
    assert room.ask_address(room.receipt(room.child), code=room.child).street == STREET
    assert f"for {room.child}" in browser.get("/").text


def test_who_has_no_custody_is_shown_nothing(room: ConsentRoom) -> None:
    stranger = room.holder("38001085718", "ŽAIKOVSKI")
    browser = room.browser()
    stranger.sign_in(browser)
    group = room.bank_consents.request_represented(
        "38001085718", room.child, "LAPS", ["bank-card-and-letters"], callback="http://bank.localhost:8800/"
    )
    consent_id = room.open_link(browser, group.url.removeprefix(room.around.origins["consent"]))
    answer = browser.get(f"/consents/{consent_id}")
    assert answer.status_code == 403
    assert "does not name you as a parent with custody" in answer.text
    browser.get("/")
    signed = stranger.sign(browser, f"{consent_id}?en")
    assert signed.status_code == 403
    assert room.bank_consents.find_receipt(room.child, "bank-card-and-letters") is None


def test_a_board_member_decides_for_the_company(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    consent_id = room.open_link(browser, room.link_for(room.company, "ETTEVOTE"))
    assert (
        f"You decide for the company {room.company}, not for yourself." in browser.get(f"/consents/{consent_id}").text
    )
    assert mary.sign(browser, f"{consent_id}?en").status_code == 200
    assert parse_receipt(room.receipt(room.company)).subject_code == room.company


def test_who_is_not_on_the_board_is_shown_nothing(room: ConsentRoom) -> None:
    browser, stranger = room.browser(), room.holder("38001085718", "ŽAIKOVSKI")
    stranger.sign_in(browser)
    group = room.bank_consents.request_represented(
        "38001085718", room.company, "ETTEVOTE", ["bank-card-and-letters"], callback="http://bank.localhost:8800/"
    )
    consent_id = room.open_link(browser, group.url.removeprefix(room.around.origins["consent"]))
    answer = browser.get(f"/consents/{consent_id}")
    assert answer.status_code == 403
    assert "somebody who may act for this company" in answer.text


# ------------------------------------------------------------------ the client's library


def test_the_clients_library_knows_every_error_by_its_kind(room: ConsentRoom) -> None:
    client = room.bank_consents
    with pytest.raises(NotFound, match=r"consent\.no_declaration"):
        client.request(room.mary, ["unknown"], callback="http://bank.localhost:8800/")
    with pytest.raises(Refused, match=r"consent\.data_subject"):
        client.request(room.child, ["bank-card-and-letters"], callback="http://bank.localhost:8800/")
    with pytest.raises(NotFound, match=r"consent\.not_found"):
        client.validate("c" * 43)
    with pytest.raises(NotFound, match=r"consent\.not_found"):
        client.validate_as_data_provider("c" * 43)
    assert client.filter_by_status(["VALID"], ["c" * 43]).invalid_consents == ("c" * 43,)
    assert client.find_references(room.mary, ["bank-card-and-letters"]) == {}


def test_a_consent_can_be_asked_about_by_its_two_parties(room: ConsentRoom) -> None:
    browser, mary = room.browser(), room.holder()
    mary.sign_in(browser)
    room.grant(browser, mary)
    [reference] = room.bank_consents.find_references(room.mary, ["bank-card-and-letters"]).values()
    assert room.bank_consents.validate(reference).id_code == room.mary
    with pytest.raises(NotFound):
        room.bank_consents.validate_as_data_provider(reference)
