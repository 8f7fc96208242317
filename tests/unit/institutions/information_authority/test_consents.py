"""The consent service's own rules: states, declarations, requests, decisions, receipts, revocations."""

import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import pytest

from digiid.contracts import consents as wire
from digiid.contracts.members import BANK, INFORMATION_AUTHORITY, POLICE_BOARD, POPULATION_REGISTER
from digiid.exchange.consent import RevocationView, verify_consent
from digiid.formats.consent_receipt import parse_receipt, parse_revocations, verify_receipt
from digiid.formats.personal_code import build_personal_code
from digiid.institutions.information_authority.consents import jobs, store
from digiid.institutions.information_authority.consents.declarations import Declarations, read_declarations
from digiid.institutions.information_authority.consents.domain import (
    AUTHORITY,
    CLOCK,
    CONSENTS,
    SUBJECT,
    Consent,
    ConsentEvent,
    ConsentState,
    check_callback,
    parse_snapshot,
)
from digiid.institutions.information_authority.consents.settings import Settings
from digiid.institutions.information_authority.consents.use_cases import deciding, declaring, expiring, receipts
from digiid.institutions.information_authority.consents.use_cases.deps import PUSH, Deps
from digiid.kernel.errors import Conflict, DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.kernel.identifiers import ServiceId
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.outbox import OutboxMessage
from tests.support.consent_service import (
    CALLBACK,
    CHILD,
    CONTAINER,
    HUGO,
    MARY,
    PACKAGE,
    PURPOSE,
    SIGNED_PURPOSE,
    Asker,
    demonstration,
    granted,
    make_deps,
    provider,
    requested,
    unsigned,
)
from tests.support.consents import consent_seal
from tests.support.schema import schema_differences

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
S, E = ConsentState, ConsentEvent
T = TypeVar("T")


@pytest.fixture
def deps(new_database: Callable[[str], Database], clock: ManualClock) -> Deps:
    return make_deps(new_database(PACKAGE), clock)


@pytest.fixture
def bank(deps: Deps) -> Asker:
    return Asker(deps)


def state_of(deps: Deps, consent_id: str) -> ConsentState:
    with deps.db.read() as tx:
        consent = store.find_consent(tx, consent_id)
    assert consent is not None
    return consent.state


def revocations(deps: Deps, audience: Any = POPULATION_REGISTER, after: int = 0) -> list[tuple[str, str]]:
    statement = parse_revocations(receipts.get_revocations(deps, audience, after))
    return [(revocation.consent_reference, revocation.reason) for revocation in statement.revocations]


def pushes(deps: Deps) -> list[tuple[str, int]]:
    with deps.db.read() as tx:
        rows = tx.execute(store.OUTBOX.select().order_by(store.OUTBOX.c.position)).all()
    found = [json.loads(row.payload) for row in rows if row.kind == PUSH]
    return [(each["audience"], each["number"]) for each in found]


# ------------------------------------------------------------------ the table


def test_the_migrated_schema_is_what_the_code_says(deps: Deps) -> None:
    assert schema_differences(deps.db, store.metadata) == []


LEGAL = {
    (S.REQUESTED, E.GRANT): (S.APPROVED, SUBJECT),
    (S.REQUESTED, E.REFUSE): (S.REFUSED, SUBJECT),
    (S.REQUESTED, E.EXPIRE): (S.EXPIRED, CLOCK),
    (S.REQUESTED, E.INVALIDATE): (S.INAPPLICABLE, AUTHORITY),
    (S.APPROVED, E.WITHDRAW): (S.WITHDRAWN, SUBJECT),
    (S.APPROVED, E.EXPIRE): (S.EXPIRED, CLOCK),
    (S.APPROVED, E.INVALIDATE): (S.INAPPLICABLE, AUTHORITY),
    (S.APPROVED, E.REPLACE): (S.REPLACED, SUBJECT),
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(S, E)))
def test_only_the_edges_of_the_table_can_be_taken_and_only_by_their_actor(
    state: ConsentState, event: ConsentEvent
) -> None:
    consent = Consent("i", "r", "g", "p", "s", "client", "provider", MARY, MARY, "", state, AT, AT + DAY)
    for actor in (SUBJECT, CLOCK, AUTHORITY):
        expected = LEGAL.get((state, event))
        if expected is None:
            with pytest.raises(Conflict):
                consent.take(event, actor=actor, at=AT)
        elif expected[1] != actor:
            with pytest.raises(Refused):
                consent.take(event, actor=actor, at=AT)
        else:
            assert consent.take(event, actor=actor, at=AT).state is expected[0]


def test_every_edge_names_its_law_and_what_relies_on_the_consent_is_told() -> None:
    told = {(state, event) for state, edges in CONSENTS.items() for event, edge in edges.items() if edge.publishes}
    assert told == {(S.APPROVED, E.WITHDRAW), (S.APPROVED, E.INVALIDATE), (S.APPROVED, E.REPLACE)}
    assert all("GDPR" in edge.legal_basis for edges in CONSENTS.values() for edge in edges.values())


# ------------------------------------------------------------------ asking, and every error by its key

ASK = {"idCode": MARY, "callback": CALLBACK, "purposeDeclarationBusinessIdentifiers": [PURPOSE]}
KEYS = {code: (key, code) for key, code in wire.ERROR_KEYS.values()}


def expect(answer: tuple[int, Any], status: int, code: str) -> None:
    key = KEYS[code][0]
    assert (answer[0], answer[1].get("code"), answer[1].get("key"), answer[1].get("status")) == (
        status,
        code,
        key,
        status,
    )
    assert answer[1]["message"]


def test_a_link_and_a_reference_come_back(bank: Asker) -> None:
    status, answer = bank.ask(PURPOSE)
    assert status == 200
    assert answer.keys() == {"consentGroupReference", "url"}
    assert answer["url"].startswith("http://consent.localhost:8800/requests/")
    assert len(answer["url"].rsplit("/", 1)[1]) == 43  # 256 bits
    assert answer["consentGroupReference"] not in answer["url"]


@pytest.mark.parametrize(
    "changes",
    [
        {"idCode": None},
        {"idCode": "EE60001019906"},
        {"idCode": "6000101990"},
        {"idCode": "6000101990x"},
        {"idCode": 60001019906},
        {"callback": "javascript:alert(1)"},
        {"callback": ""},
        {"callback": "http://bank.localhost:8800/\nx"},
        {"purposeDeclarationBusinessIdentifiers": []},
        {"purposeDeclarationBusinessIdentifiers": "letters"},
        {"purposeDeclarationBusinessIdentifiers": ["x"] * 51},
        {"purposeDeclarationBusinessIdentifiers": ["a/b"]},
        {"extra": 1},
    ],
)
def test_validation(bank: Asker, changes: dict[str, Any]) -> None:
    body = {name: value for name, value in {**ASK, **changes}.items() if value is not None}
    expect(bank.send(wire.REQUEST_CONSENT, body), 400, "VALIDATION")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"idCode":' + b"[" * 10_000, b" " * 600_000])
def test_bodies_that_are_no_request(bank: Asker, body: bytes) -> None:
    for endpoint in (wire.REQUEST_CONSENT, wire.GET_REFERENCES, wire.FILTER_BY_STATUS, wire.REPORT_TRANSMISSION):
        expect(bank.send(endpoint, body), 400, "VALIDATION")


@pytest.mark.parametrize("query", [{}, {"consentReference": ""}, {"consentReference": "x", "y": "1"}, {"x": "1"}])
def test_queries_that_are_no_request(bank: Asker, query: dict[str, str]) -> None:
    for endpoint in (wire.VALIDATE_FOR_CLIENT, wire.VALIDATE_FOR_DATA_PROVIDER, wire.GET_RECEIPT):
        expect(bank.send(endpoint, query=query), 400, "VALIDATION")
    for after in ("", "-1", "x", "1" * 13, "١"):
        expect(bank.send(wire.GET_REVOCATIONS, query={"after": after}), 400, "VALIDATION")


def test_id_code_invalid(bank: Asker) -> None:
    expect(bank.ask(PURPOSE, person="60001019907"), 400, "ID_CODE_INVALID")
    expect(bank.ask(PURPOSE, person="60013319906"), 400, "ID_CODE_INVALID")
    expect(bank.ask_for(MARY, "61204040019", "LAPS", PURPOSE), 400, "ID_CODE_INVALID")
    expect(bank.ask_for(MARY, "10000201", "LAPS", PURPOSE), 400, "ID_CODE_INVALID")
    expect(bank.ask_for(MARY, HUGO, "ETTEVOTE", PURPOSE), 400, "ID_CODE_INVALID")


def test_requested_consents_not_related_to_any_declarations(deps: Deps, bank: Asker) -> None:
    expect(bank.ask("unknown"), 404, "REQUESTED_CONSENTS_NOT_RELATED_TO_ANY_DECLARATIONS")
    expect(bank.ask(PURPOSE, "unknown"), 404, "REQUESTED_CONSENTS_NOT_RELATED_TO_ANY_DECLARATIONS")
    expect(Asker(deps, POLICE_BOARD).ask(PURPOSE), 404, "REQUESTED_CONSENTS_NOT_RELATED_TO_ANY_DECLARATIONS")


def test_requested_consents_related_to_invalid_declarations(deps: Deps, bank: Asker) -> None:
    declaring.invalidate_purpose(deps, PURPOSE)
    status, answer = bank.ask(PURPOSE, SIGNED_PURPOSE)
    expect((status, answer), 409, "REQUESTED_CONSENTS_RELATED_TO_INVALID_DECLARATIONS")
    assert PURPOSE in answer["message"]
    assert SIGNED_PURPOSE not in answer["message"]


def test_a_declaration_that_is_over_is_an_invalid_one(deps: Deps, bank: Asker, clock: ManualClock) -> None:
    clock.advance(demonstration().services[0].expires_at - AT)
    expect(bank.ask(PURPOSE), 409, "REQUESTED_CONSENTS_RELATED_TO_INVALID_DECLARATIONS")


def test_all_requested_consents_have_already_been_approved(deps: Deps, bank: Asker) -> None:
    granted(deps)
    expect(bank.ask(PURPOSE), 409, "ALL_REQUESTED_CONSENTS_HAVE_ALREADY_BEEN_APPROVED")
    status, answer = bank.ask(PURPOSE, SIGNED_PURPOSE)  # only what is missing is asked for
    assert status == 200
    asked = deciding.open_link(deps, MARY, answer["url"].rsplit("/", 1)[1])
    assert [consent.purpose_declaration for consent in asked] == [SIGNED_PURPOSE]


def test_data_subject_error(bank: Asker) -> None:
    expect(bank.ask(PURPOSE, person=CHILD), 403, "DATA_SUBJECT_ERROR")
    expect(bank.ask_for(CHILD, CHILD, "LAPS", PURPOSE), 403, "DATA_SUBJECT_ERROR")


def test_somebody_comes_of_age_on_the_birthday(deps: Deps, bank: Asker, clock: ManualClock) -> None:
    clock.advance(datetime(2030, 4, 3, 20, 59, tzinfo=UTC) - AT)  # 23:59 in Tallinn, the day before
    expect(bank.ask(PURPOSE, person=CHILD), 403, "DATA_SUBJECT_ERROR")
    clock.advance(timedelta(minutes=1))
    assert bank.ask(PURPOSE, person=CHILD)[0] == 200
    expect(bank.ask_for(MARY, CHILD, "LAPS", PURPOSE), 403, "REPRESENTED_PERSON_NOT_MINOR")


def test_represented_person_not_minor(bank: Asker) -> None:
    expect(bank.ask_for(MARY, HUGO, "LAPS", PURPOSE), 403, "REPRESENTED_PERSON_NOT_MINOR")


def test_relation_type_invalid(bank: Asker) -> None:
    for relation in ("", "ABIKAASA", "laps"):
        expect(bank.ask_for(MARY, CHILD, relation, PURPOSE), 400, "RELATION_TYPE_INVALID")


def test_callback_not_registered(bank: Asker) -> None:
    for callback in (
        "https://evil.example/",
        "http://bank.localhost:8800.evil.example/",
        "http://bank.localhost:8800@evil.example/",
        "https://bank.localhost:8800/",
        "http://bank.localhost/",
    ):
        expect(bank.ask(PURPOSE, callback=callback), 403, "CALLBACK_NOT_REGISTERED")


def test_a_callback_of_a_folder_is_not_one_of_its_neighbour() -> None:
    purpose = replace(demonstration().purposes[0], callbacks=("https://bank.example/consents",))
    check_callback("https://bank.example/consents", purpose)
    check_callback("https://bank.example/consents/given?x=1", purpose)
    for wrong in ("https://bank.example/consents-of-others", "https://bank.example/"):
        with pytest.raises(Refused):
            check_callback(wrong, purpose)


def test_too_many_requests(new_database: Callable[[str], Database], clock: ManualClock) -> None:
    deps = make_deps(new_database(PACKAGE), clock, settings=Settings(max_links_a_day=3))
    bank = Asker(deps)
    for _ in range(3):
        assert bank.ask(PURPOSE)[0] == 200
    expect(bank.ask(PURPOSE), 403, "TOO_MANY_REQUESTS")
    assert bank.ask(PURPOSE, person=HUGO)[0] == 200
    clock.advance(DAY)
    assert bank.ask(PURPOSE)[0] == 200


def test_http_not_found_is_all_that_strangers_learn(deps: Deps, bank: Asker) -> None:
    reference = granted(deps).consent_reference
    other = Asker(deps, POLICE_BOARD)
    for asker, endpoint in (
        (other, wire.VALIDATE_FOR_CLIENT),
        (other, wire.GET_RECEIPT),
        (other, wire.VALIDATE_FOR_DATA_PROVIDER),
        (bank, wire.VALIDATE_FOR_DATA_PROVIDER),
        (provider(deps), wire.VALIDATE_FOR_CLIENT),
        (provider(deps), wire.GET_RECEIPT),
    ):
        expect(asker.one(endpoint, reference), 404, "HTTP_NOT_FOUND")
        assert asker.one(endpoint, reference) == asker.one(endpoint, "c" * 43)
    expect(other.references(PURPOSE), 404, "HTTP_NOT_FOUND")
    expect(bank.report(reference, AT), 404, "HTTP_NOT_FOUND")


def test_consent_validate_invalid_status(deps: Deps, bank: Asker, clock: ManualClock) -> None:
    waiting = requested(deps)
    expect(bank.one(wire.VALIDATE_FOR_CLIENT, waiting.consent_reference), 409, "CONSENT_VALIDATE_INVALID_STATUS")
    deciding.grant(deps, MARY, waiting.consent_id, language="en")
    assert bank.one(wire.VALIDATE_FOR_CLIENT, waiting.consent_reference)[0] == 200
    deciding.withdraw(deps, MARY, waiting.consent_id)
    for asker, endpoint in (
        (bank, wire.VALIDATE_FOR_CLIENT),
        (bank, wire.GET_RECEIPT),
        (provider(deps), wire.VALIDATE_FOR_DATA_PROVIDER),
    ):
        expect(asker.one(endpoint, waiting.consent_reference), 409, "CONSENT_VALIDATE_INVALID_STATUS")
    expired = granted(deps)
    clock.advance(366 * DAY)  # the timer has not run: time alone is enough
    expect(bank.one(wire.GET_RECEIPT, expired.consent_reference), 409, "CONSENT_VALIDATE_INVALID_STATUS")


def test_every_endpoint_is_described(bank: Asker) -> None:
    described = bank.send(wire.GET_DESCRIPTION)[1]
    operations = {(method.upper(), path) for path, item in described["paths"].items() for method in item}
    assert operations == set(wire.ENDPOINTS)


# ------------------------------------------------------------------ answers in the state's words


def test_both_parties_can_ask_about_a_consent(deps: Deps, bank: Asker) -> None:
    consent = granted(deps)
    reference = consent.consent_reference
    assert bank.references(PURPOSE, SIGNED_PURPOSE) == (200, {PURPOSE: reference})
    assert bank.one(wire.VALIDATE_FOR_CLIENT, reference) == (
        200,
        {
            "consentReference": reference,
            "consentExpiration": "2027-11-23T10:00:00Z",
            "idCode": MARY,
            "purposeDeclarationId": PURPOSE,
        },
    )
    assert provider(deps).one(wire.VALIDATE_FOR_DATA_PROVIDER, reference) == (
        200,
        {
            "consentReference": reference,
            "consentExpiration": "2027-11-23T10:00:00Z",
            "idCode": MARY,
            "clientSubsystemIdentifier": "EE/COM/10000201/bank",
            "serviceDeclarationId": "population-address-simple",
        },
    )


def test_consents_by_status(deps: Deps, bank: Asker, clock: ManualClock) -> None:
    waiting, kept, ended = requested(deps, SIGNED_PURPOSE), granted(deps), granted(deps, person=HUGO)
    deciding.withdraw(deps, HUGO, ended.consent_id)
    references = [c.consent_reference for c in (waiting, kept, ended)] + ["unknown", "unknown"]
    _, valid = bank.filter(references, "VALID")
    assert [(c["consentReference"], c["consentStatus"]) for c in valid["consent"]] == [
        (kept.consent_reference, "APPROVED")
    ]
    assert valid["invalidConsents"] == [waiting.consent_reference, "unknown"]
    _, invalid = bank.filter(references, "INVALID")
    assert [c["consentStatus"] for c in invalid["consent"]] == ["DECLINED"]
    clock.advance(366 * DAY)
    _, both = bank.filter(references, "VALID", "INVALID")
    assert [c["consentStatus"] for c in both["consent"]] == ["EXPIRED", "DECLINED"]
    _, stranger = provider(deps).filter(references, "VALID", "INVALID")
    assert (stranger["consent"], len(stranger["invalidConsents"])) == ([], 4)


def test_five_thousand_references_and_not_one_more(deps: Deps, bank: Asker) -> None:
    reference = granted(deps).consent_reference
    many = [f"{n:043d}" for n in range(4999)]
    status, answer = bank.filter([*many, reference], "VALID")
    assert (status, len(answer["consent"]), len(answer["invalidConsents"])) == (200, 1, 4999)
    expect(bank.filter([*many, reference, "x"], "VALID"), 400, "VALIDATION")
    expect(bank.filter([], "VALID"), 400, "VALIDATION")
    expect(bank.filter([reference], "OTHER"), 400, "VALIDATION")


def test_a_reported_transmission_is_shown_to_the_person_once(deps: Deps, clock: ManualClock) -> None:
    consent, register = granted(deps), provider(deps)
    for _ in range(2):
        assert register.report(consent.consent_reference, AT) == (200, {"response": "success"})
    deciding.withdraw(deps, MARY, consent.consent_id)
    assert register.report(consent.consent_reference, AT - DAY)[0] == 200  # late, of when it still held
    shown = deciding.show_consent(deps, MARY, consent.consent_id)
    assert [entry.event for entry in shown.history].count("transmitted") == 2
    expect(register.report(consent.consent_reference, AT + DAY), 400, "VALIDATION")
    naive = {"transmissionTimestamp": "2026-11-23T10:00:00", "consentReference": consent.consent_reference}
    expect(register.send(wire.REPORT_TRANSMISSION, naive), 400, "VALIDATION")


def test_titles_are_told_to_every_caller_also_of_what_ended(deps: Deps) -> None:
    def titles(*identifiers: str) -> tuple[int, Any]:
        query = {"purposeDeclarationBusinessIdentifiers": identifiers}
        return Asker(deps, INFORMATION_AUTHORITY).send(wire.GET_TITLES, query=query)

    title = {"en": "To send your bank card and letters", "et": "Pangakaardi ja kirjade saatmiseks"}
    assert titles(SIGNED_PURPOSE, PURPOSE, PURPOSE, "unknown") == (
        200,
        {"titles": {SIGNED_PURPOSE: title, PURPOSE: title}},
    )
    declaring.invalidate_service(deps, "population-address")
    assert titles(SIGNED_PURPOSE) == (200, {"titles": {SIGNED_PURPOSE: title}})
    expect(titles(), 400, "VALIDATION")
    expect(titles(*(f"p{n}" for n in range(wire.MAX_PURPOSES + 1))), 400, "VALIDATION")
    for odd in ("", "a b", "a\x00", "p" * 41, "ä"):  # a database would fault at some of them
        expect(titles(SIGNED_PURPOSE, odd), 400, "VALIDATION")


def test_health_and_description(bank: Asker) -> None:
    assert bank.send(wire.GET_HEALTH) == (200, {"status": "UP"})
    assert bank.send(wire.GET_DESCRIPTION)[1]["openapi"] == "3.1.0"


# ------------------------------------------------------------------ the link


def test_a_link_works_once_for_its_person_and_for_a_day(deps: Deps, bank: Asker, clock: ManualClock) -> None:
    def link() -> str:
        return str(bank.ask(PURPOSE)[1]["url"].rsplit("/", 1)[1])

    first = link()
    with pytest.raises(Refused, match=r"consent\.other_person"):
        deciding.open_link(deps, HUGO, first)
    assert len(deciding.open_link(deps, MARY, first)) == 1  # a stranger's try did not use it up
    with pytest.raises(Conflict, match=r"consent\.link_used"):
        deciding.open_link(deps, MARY, first)
    for wrong in ("", "x", first[:-1], first + "x"):
        with pytest.raises(NotFound, match=r"consent\.link"):
            deciding.open_link(deps, MARY, wrong)
    late = link()
    clock.advance(DAY)
    with pytest.raises(Conflict, match=r"consent\.link_expired"):
        deciding.open_link(deps, MARY, late)


def test_asked_twice_is_one_request_on_the_list(deps: Deps, bank: Asker) -> None:
    first, second = requested(deps), requested(deps)
    assert state_of(deps, first.consent_id) is S.EXPIRED
    waiting = [each.consent for each in deciding.own_consents(deps, MARY) if each.consent.state is S.REQUESTED]
    assert waiting == [second]


def test_nobody_sees_or_decides_anothers_consent(deps: Deps) -> None:
    consent = requested(deps)
    for attempt in (
        lambda: deciding.show_consent(deps, HUGO, consent.consent_id),
        lambda: deciding.grant(deps, HUGO, consent.consent_id, language="en"),
        lambda: deciding.refuse(deps, HUGO, consent.consent_id),
        lambda: deciding.withdraw(deps, HUGO, consent.consent_id),
        lambda: deciding.extend(deps, HUGO, consent.consent_id),
        lambda: deciding.read_own_receipt(deps, HUGO, consent.consent_id),
        lambda: deciding.files_to_sign(deps, HUGO, consent.consent_id, is_withdrawal=False),
        lambda: deciding.show_consent(deps, MARY, "no-such-id"),
    ):
        with pytest.raises(NotFound, match=r"consent\.none"):
            attempt()
    assert deciding.own_consents(deps, HUGO) == []


# ------------------------------------------------------------------ deciding


def test_what_was_shown_is_what_is_bound_into_the_receipt(deps: Deps, bank: Asker) -> None:
    consent = requested(deps)
    shown = deciding.show_consent(deps, MARY, consent.consent_id)
    assert [heading for heading, _ in shown.snapshot.sections["en"]][:2] == ["Who asks", "Which data"]
    assert len(shown.snapshot.sections["en"]) == len(shown.snapshot.sections["et"]) == 8
    deciding.grant(deps, MARY, consent.consent_id, language="et")
    receipt = parse_receipt(bank.one(wire.GET_RECEIPT, consent.consent_reference)[1]["receipt"])
    assert receipt.snapshot_sha256 == shown.snapshot.sha256
    assert parse_snapshot(shown.snapshot.to_json()) == shown.snapshot
    assert (receipt.locale, receipt.subject_code, receipt.client) == ("et", MARY, str(BANK))
    assert receipt.expires_at == consent.expires_at
    assert (receipt.granted_at, receipt.representative_code) == (AT, None)


def test_a_receipt_convinces_a_data_provider(deps: Deps, bank: Asker) -> None:
    consent = granted(deps)
    receipt = bank.one(wire.GET_RECEIPT, consent.consent_reference)[1]["receipt"]
    verified = verify_consent(
        receipt,
        seal=consent_seal(),
        service=ServiceId(POPULATION_REGISTER, "get-address"),
        client=BANK,
        subject_code=MARY,
        purpose=PURPOSE,
        revoked=RevocationView(AT, lambda reference: None),
        at=AT,
    )
    assert verified.opens("address.street")
    assert bank.one(wire.GET_RECEIPT, consent.consent_reference)[1]["receipt"] == receipt  # made once


def test_a_declaration_that_asks_for_a_signature_gets_one(deps: Deps) -> None:
    consent = requested(deps, SIGNED_PURPOSE)
    with pytest.raises(Refused, match=r"consent\.signature_needed"):
        deciding.grant(deps, MARY, consent.consent_id, language="en")
    words, metadata = deciding.files_to_sign(deps, MARY, consent.consent_id, is_withdrawal=False)
    shown = deciding.show_consent(deps, MARY, consent.consent_id)
    text = words.content.decode()
    for language in ("en", "et"):
        assert all(f"{heading}\n{body}" in text for heading, body in shown.snapshot.sections[language])
    assert json.loads(metadata.content)["notice_sha256"] == shown.snapshot.sha256
    assert words.content == deciding.files_to_sign(deps, MARY, consent.consent_id, is_withdrawal=False)[0].content
    deciding.grant(deps, MARY, consent.consent_id, language="en", container=CONTAINER)
    assert deciding.read_signed(deps, MARY, consent.consent_id, is_withdrawal=False) == CONTAINER
    with pytest.raises(NotFound):
        deciding.read_signed(deps, MARY, consent.consent_id, is_withdrawal=True)
    with pytest.raises(Conflict, match=r"consent\.decided"):
        deciding.files_to_sign(deps, MARY, consent.consent_id, is_withdrawal=False)


def test_a_withdrawal_may_need_a_signature_too(deps: Deps) -> None:
    known = unsigned()
    service = replace(known.services[0], identifier="strict", withdrawal_requires_signature=True)
    purpose = replace(known.purposes[0], identifier="strict-purpose", service_declaration="strict")
    declaring.declare(deps, Declarations((service,), (purpose,)))
    consent = granted(deps, "strict-purpose")
    with pytest.raises(Refused, match=r"consent\.signature_needed"):
        deciding.withdraw(deps, MARY, consent.consent_id)
    words = deciding.files_to_sign(deps, MARY, consent.consent_id, is_withdrawal=True)[0]
    assert words.content.decode().startswith("I withdraw my consent")
    deciding.withdraw(deps, MARY, consent.consent_id, container=CONTAINER)
    assert deciding.read_signed(deps, MARY, consent.consent_id, is_withdrawal=True) == CONTAINER


def test_a_decision_is_made_once(deps: Deps) -> None:
    yes, no = granted(deps), requested(deps, SIGNED_PURPOSE)
    deciding.refuse(deps, MARY, no.consent_id)
    for consent in (yes, no):
        for attempt in (
            lambda c=consent: deciding.grant(deps, MARY, c.consent_id, language="en", container=CONTAINER),
            lambda c=consent: deciding.refuse(deps, MARY, c.consent_id),
        ):
            with pytest.raises(Conflict, match=r"consent\.decided"):
                attempt()
    with pytest.raises(Conflict):
        deciding.withdraw(deps, MARY, no.consent_id)
    with pytest.raises(NotFound):
        deciding.read_own_receipt(deps, MARY, no.consent_id)


def test_refused_can_be_asked_again(deps: Deps, bank: Asker) -> None:
    deciding.refuse(deps, MARY, requested(deps).consent_id)
    expect(bank.references(PURPOSE), 404, "HTTP_NOT_FOUND")
    assert granted(deps).state is S.APPROVED


def test_a_party_that_never_answers_is_given_up_and_can_still_ask(deps: Deps, bank: Asker) -> None:
    """Nobody listens where these pushes go, as at a client that does not offer `consents-revoked`."""
    consent = granted(deps)
    deciding.withdraw(deps, MARY, consent.consent_id)
    push = jobs.outbox_handlers(deps)[PUSH]
    message = OutboxMessage("m-1", PUSH, {"audience": str(BANK), "number": 1}, jobs.MAX_PUSHES - 1)
    with pytest.raises(Unavailable):
        push(message)
    push(replace(message, attempts=jobs.MAX_PUSHES))
    assert revocations(deps, BANK) == [(consent.consent_reference, "withdrawn")]


def test_withdrawal_ends_the_consent_and_tells_both_parties(deps: Deps, bank: Asker) -> None:
    consent = granted(deps)
    assert pushes(deps) == []
    deciding.withdraw(deps, MARY, consent.consent_id)
    assert sorted(pushes(deps)) == [(str(BANK), 1), (str(POPULATION_REGISTER), 1)]
    assert revocations(deps) == revocations(deps, BANK) == [(consent.consent_reference, "withdrawn")]
    assert revocations(deps, POLICE_BOARD) == []
    expect(bank.references(PURPOSE), 404, "HTTP_NOT_FOUND")
    with pytest.raises(Conflict):
        deciding.withdraw(deps, MARY, consent.consent_id)


def test_extension_makes_a_new_consent_that_takes_the_old_ones_place(
    deps: Deps, bank: Asker, clock: ManualClock
) -> None:
    old = granted(deps)
    clock.advance(200 * DAY)
    asked = deciding.extend(deps, MARY, old.consent_id)
    assert deciding.extend(deps, MARY, old.consent_id) == asked
    assert asked.consent_reference != old.consent_reference
    assert asked.expires_at == old.expires_at + 200 * DAY
    assert bank.references(PURPOSE)[1] == {PURPOSE: old.consent_reference}  # until the answer, the old one holds
    assert deciding.show_consent(deps, MARY, old.consent_id).waiting_extension == asked.consent_id
    deciding.grant(deps, MARY, asked.consent_id, language="en")
    assert bank.references(PURPOSE)[1] == {PURPOSE: asked.consent_reference}
    assert state_of(deps, old.consent_id) is S.REPLACED
    assert revocations(deps) == [(old.consent_reference, "replaced")]


def test_an_extension_can_be_refused_and_not_every_consent_has_one(deps: Deps, bank: Asker) -> None:
    old = granted(deps)
    deciding.refuse(deps, MARY, deciding.extend(deps, MARY, old.consent_id).consent_id)
    assert bank.references(PURPOSE)[1] == {PURPOSE: old.consent_reference}
    known = unsigned()
    service = replace(known.services[0], identifier="once", extension_allowed=False)
    purpose = replace(known.purposes[0], identifier="once-purpose", service_declaration="once")
    declaring.declare(deps, Declarations((service,), (purpose,)))
    with pytest.raises(Refused, match=r"consent\.no_extension"):
        deciding.extend(deps, MARY, granted(deps, "once-purpose").consent_id)


def test_a_consent_lasts_no_longer_than_what_it_rests_on(deps: Deps) -> None:
    known = unsigned()
    service = replace(known.services[0], identifier="short", expires_at=AT + 10 * DAY)
    purpose = replace(known.purposes[0], identifier="p1", service_declaration="short")
    shorter = replace(purpose, identifier="p2", expires_at=AT + 5 * DAY)
    declaring.declare(deps, Declarations((service,), (purpose, shorter)))
    assert granted(deps, "p1").expires_at == AT + 10 * DAY
    assert granted(deps, "p2").expires_at == AT + 5 * DAY
    assert granted(deps).expires_at == AT + 365 * DAY


# ------------------------------------------------------------------ the clock


def test_time_ends_consents_and_requests(deps: Deps, clock: ManualClock) -> None:
    kept, waiting = granted(deps), requested(deps, SIGNED_PURPOSE)
    assert expiring.expire_due(deps) == 0
    clock.advance(30 * DAY)
    assert expiring.expire_due(deps) == 1
    assert state_of(deps, waiting.consent_id) is S.EXPIRED
    clock.advance(335 * DAY)
    assert deciding.show_consent(deps, MARY, kept.consent_id).consent.state is S.EXPIRED
    assert expiring.expire_due(deps) == 1
    assert expiring.expire_due(deps) == 0
    assert state_of(deps, kept.consent_id) is S.EXPIRED
    assert revocations(deps) == []  # the receipt says when it expires


def test_what_was_asked_too_long_ago_cannot_be_given(deps: Deps, clock: ManualClock) -> None:
    waiting = requested(deps)
    clock.advance(365 * DAY)
    with pytest.raises(Conflict, match=r"consent\.invalid_declarations"):
        deciding.grant(deps, MARY, waiting.consent_id, language="en")


# ------------------------------------------------------------------ declarations


def test_invalidation_ends_everything_below(deps: Deps, bank: Asker) -> None:
    held, waiting = granted(deps), requested(deps, PURPOSE, person=HUGO)
    other = granted(deps, SIGNED_PURPOSE)
    declaring.invalidate_service(deps, "population-address-simple")
    declaring.invalidate_service(deps, "population-address-simple")
    assert state_of(deps, held.consent_id) is state_of(deps, waiting.consent_id) is S.INAPPLICABLE
    assert state_of(deps, other.consent_id) is S.APPROVED
    assert revocations(deps) == [(held.consent_reference, "inapplicable")]
    with pytest.raises(Conflict):
        deciding.grant(deps, HUGO, waiting.consent_id, language="en")


def test_a_declaration_never_changes(deps: Deps) -> None:
    declaring.declare(deps, demonstration())  # again: nothing happens
    known = demonstration()
    wider = replace(known.services[0], max_days=366)
    with pytest.raises(Conflict, match=r"consent\.declaration_changed"):
        declaring.declare(deps, Declarations((wider,), ()))
    other = replace(known.purposes[0], callbacks=("https://evil.example/",))
    with pytest.raises(Conflict, match=r"consent\.declaration_changed"):
        declaring.declare(deps, Declarations((), (other,)))
    homeless = replace(known.purposes[0], identifier="x", service_declaration="none")
    with pytest.raises(NotFound):
        declaring.declare(deps, Declarations((), (homeless,)))


def test_a_declaration_that_its_file_calls_invalid_is_invalidated(deps: Deps) -> None:
    consent, known = granted(deps, SIGNED_PURPOSE), demonstration()
    declaring.declare(deps, Declarations((), (replace(known.purposes[0], is_valid=False),)))
    assert state_of(deps, consent.consent_id) is S.INAPPLICABLE


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[other]",
        "[[service]]",
        '[[service]]\nidentifier = "a b"',
        "service = 1",
        '[[purpose]]\ncallbacks = ["{nobody}/"]',
        "[[service]]\nunknown = 1",
    ],
)
def test_a_file_of_declarations_with_faults_is_refused(tmp_path: Any, text: str) -> None:
    file = tmp_path / "d.toml"
    file.write_text(text)
    with pytest.raises(Malformed, match=r"consent\.declaration"):
        read_declarations(file, origins={})
    with pytest.raises(Malformed):
        read_declarations(tmp_path / "none.toml", origins={})


# ------------------------------------------------------------------ revocation statements


def test_statements_are_paged_numbered_and_for_one_party(deps: Deps, clock: ManualClock) -> None:
    for person in (MARY, HUGO):
        deciding.withdraw(deps, person, granted(deps, person=person).consent_id)
    second = parse_revocations(receipts.get_revocations(deps, POPULATION_REGISTER, 1))
    assert (second.after, second.up_to, second.head, len(second.revocations)) == (1, 2, 2, 1)
    nothing = parse_revocations(receipts.get_revocations(deps, POPULATION_REGISTER, 2))
    assert (nothing.after, nothing.up_to, nothing.head) == (2, 2, 2)
    ahead = parse_revocations(receipts.get_revocations(deps, POPULATION_REGISTER, 99))
    assert (ahead.after, ahead.head) == (2, 2)


def test_a_statement_knows_everything_up_to_its_time_whatever_happens_while_it_is_made(deps: Deps) -> None:
    consent = granted(deps)

    class Interrupted:
        """A clock that somebody withdraws by, just when the statement looks at it."""

        is_over = False

        def now(self) -> datetime:
            if not self.is_over:
                self.is_over = True
                deciding.withdraw(deps, MARY, consent.consent_id)
            return deps.clock.now()

    statement = receipts.get_revocations(replace(deps, clock=Interrupted()), POPULATION_REGISTER, 0)
    told = parse_revocations(statement)
    assert [revocation.consent_reference for revocation in told.revocations] == [consent.consent_reference]


def test_everything_is_in_the_chain_of_hashes_and_no_personal_code_is(deps: Deps) -> None:
    consent = granted(deps)
    deciding.withdraw(deps, MARY, consent.consent_id)
    with deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)
        rows = tx.execute(store.JOURNAL.select().order_by(store.JOURNAL.c.number)).all()
    kinds = [row.kind for row in rows]
    assert [kind for kind in kinds if kind.startswith("consent.")] == [
        "consent.requested",
        "consent.approved",
        "consent.withdrawn",
    ]
    assert not any(MARY in row.payload or consent.consent_reference in row.payload for row in rows)


def test_for_another_nothing_is_shown_while_the_register_is_away(deps: Deps, bank: Asker) -> None:
    status, answer = bank.ask_for(MARY, CHILD, "LAPS", PURPOSE)
    assert status == 200
    [consent] = deciding.open_link(deps, MARY, answer["url"].rsplit("/", 1)[1])
    for attempt in (
        lambda: deciding.show_consent(deps, MARY, consent.consent_id),
        lambda: deciding.grant(deps, MARY, consent.consent_id, language="en"),
    ):
        with pytest.raises(Unavailable):
            attempt()
    deciding.refuse(deps, MARY, consent.consent_id)  # saying no needs nobody


def test_a_renewed_seal_makes_new_receipts_without_a_restart(deps: Deps) -> None:
    from digiid.institutions.information_authority.consents.sealing import Sealer
    from digiid.platform.documents.signing import KeySigner
    from tests.support.consents import consent_sealer

    former, renewed = consent_sealer().identity, consent_sealer(kind="p384").identity
    in_force = former
    bank = Asker(replace(deps, sealer=Sealer(lambda: KeySigner(in_force.certificate, in_force.key))))
    reference = granted(deps).consent_reference
    old = bank.one(wire.GET_RECEIPT, reference)[1]["receipt"]
    assert bank.one(wire.GET_RECEIPT, reference)[1]["receipt"] == old
    in_force = renewed
    new = bank.one(wire.GET_RECEIPT, reference)[1]["receipt"]
    assert parse_receipt(new).snapshot_sha256 == parse_receipt(old).snapshot_sha256
    # data owners believe both
    for receipt, identity in ((old, former), (new, renewed)):
        found = verify_receipt(receipt, seal=consent_seal(), audience=str(POPULATION_REGISTER), at=deps.clock.now())
        assert found.seal == identity.certificate


def test_faults_of_ours_are_not_dressed_as_the_callers(deps: Deps, bank: Asker) -> None:
    reference = granted(deps).consent_reference
    with deps.db.write() as tx:
        tx.execute(store.PURPOSE_DECLARATIONS.delete())
    with pytest.raises(DigiidError, match=r"consent\.declaration_lost"):
        Asker(replace(deps)).one(wire.GET_RECEIPT, reference)


def patiently(work: Callable[[], T]) -> T:
    """As a client does: what was too busy is asked again."""
    while True:
        try:
            return work()
        except Unavailable as error:
            assert error.code == "db.busy"


def test_many_people_decide_at_once(deps: Deps, bank: Asker) -> None:
    """Nothing is lost and no number is given twice."""
    people = [build_personal_code(born_on=date(1990, 1, day + 1), sex="F", order_number=1).code for day in range(12)]

    def decide(person: str) -> str:
        asked = patiently(lambda: requested(deps, person=person))
        patiently(lambda: deciding.grant(deps, person, asked.consent_id, language="en"))
        patiently(lambda: deciding.withdraw(deps, person, asked.consent_id))
        return asked.consent_reference

    with ThreadPoolExecutor(4) as pool:
        references = list(pool.map(decide, people))
    for audience in (POPULATION_REGISTER, BANK):
        statement = parse_revocations(receipts.get_revocations(deps, audience, 0))
        assert sorted(r.consent_reference for r in statement.revocations) == sorted(references)
        assert [r.number for r in statement.revocations] == list(range(1, 13))
    with deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)


def test_a_double_click_withdraws_once(deps: Deps) -> None:
    consent = granted(deps)

    def click(_: int) -> bool:
        try:
            patiently(lambda: deciding.withdraw(deps, MARY, consent.consent_id))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(click, range(4))) == 1
    assert len(revocations(deps)) == 1
