from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.contracts.members import BANK
from digiid.exchange.client import Client
from digiid.institutions.bank import store, use_cases
from digiid.institutions.bank.domain import Application, application_text, build_iban, check_condition, is_iban
from digiid.institutions.bank.settings import Settings
from digiid.institutions.bank.use_cases import Deps
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.web.sign_in import SignedInPerson
from digiid.platform.web.sign_ins import list_sign_ins
from tests.support.schema import schema_differences

MARY, HUGO = "60001019906", "38001085718"
AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.fixture
def deps(new_database: Callable[[str], Database], clock: ManualClock) -> Deps:
    """The exchange's gate is at a port where nobody answers."""
    http = HttpClient(timeout_seconds=0.5)
    exchange = Client(BANK, server_url="http://127.0.0.1:1", http=http, entropy=SystemEntropy())
    db = new_database("digiid.institutions.bank")
    return Deps(db, clock, SystemEntropy(), Settings(), exchange, "http://bank.localhost:8800")


def apply(deps: Deps, code: str = MARY, **changes: str) -> str:
    values = {"name": "MARY ÄNN TEST", "policy": "e_resident", "purpose": "business", "currency": "EUR"}
    values |= {"expected_use": "Invoices from three countries", **changes}
    return use_cases.apply_for_account(deps, personal_code=code, **values)  # type: ignore[arg-type]


def person(policy: str) -> SignedInPerson:
    return SignedInPerson(MARY, "MARY ÄNN", "TEST", policy, "0" * 64, "1f", AT)


def test_the_migrated_schema_is_what_the_code_says(deps: Deps) -> None:
    assert schema_differences(deps.db, store.metadata) == []


def test_an_account_is_opened_by_a_signed_application(deps: Deps) -> None:
    application_id = apply(deps)
    iban = use_cases.open_account(deps, MARY, application_id, b"the container")
    (application,) = use_cases.own_applications(deps, MARY)
    assert (application.iban, application.signed_at) == (iban, AT)
    assert is_iban(iban)
    assert use_cases.read_container(deps, MARY, application_id) == b"the container"
    with deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)


def test_signing_an_application_twice_opens_one_account(deps: Deps) -> None:
    application_id = apply(deps)
    first = use_cases.open_account(deps, MARY, application_id, b"first")
    assert use_cases.open_account(deps, MARY, application_id, b"second") == first
    assert use_cases.read_container(deps, MARY, application_id) == b"first"
    with pytest.raises(Conflict, match="signed_already"):
        use_cases.file_to_sign(deps, MARY, application_id)


def test_accounts_opened_at_once_have_different_numbers(deps: Deps) -> None:
    applications = [apply(deps) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda one: use_cases.open_account(deps, MARY, one, b"c"), applications))
    assert len(set(opened)) == 8


def test_what_is_signed_is_what_was_shown(deps: Deps) -> None:
    application_id = apply(deps)
    _, shown = use_cases.show_application(deps, MARY, application_id)
    file = use_cases.file_to_sign(deps, MARY, application_id)
    assert file.content.decode() == shown
    for fact in (application_id, MARY, "MARY ÄNN TEST", "business", "EUR", "Invoices from three countries"):
        assert fact in shown


def test_nobody_reaches_another_persons_application(deps: Deps) -> None:
    application_id = apply(deps)
    use_cases.open_account(deps, MARY, application_id, b"container")
    for question in (use_cases.show_application, use_cases.file_to_sign, use_cases.read_container):
        with pytest.raises(NotFound, match=r"bank\.application"):
            question(deps, HUGO, application_id)
    with pytest.raises(NotFound):
        use_cases.open_account(deps, HUGO, apply(deps), b"container")
    assert use_cases.own_applications(deps, HUGO) == []


def test_an_unsigned_application_has_no_container(deps: Deps) -> None:
    with pytest.raises(NotFound):
        use_cases.read_container(deps, MARY, apply(deps))


def test_a_document_that_the_bank_does_not_accept_is_refused_at_the_door_and_at_the_counter(deps: Deps) -> None:
    strict = replace(deps, settings=Settings(accepted_policies=frozenset({"citizen"})))
    with pytest.raises(Refused, match="document_not_accepted"):
        use_cases.admit(strict, person("e_resident"))
    with pytest.raises(Refused, match="document_not_accepted"):
        apply(strict)
    with deps.db.read() as tx:
        assert list_sign_ins(tx, store.SIGN_INS, MARY) == []
    use_cases.admit(strict, person("citizen"))
    with deps.db.read() as tx:
        assert [entry.policy for entry in list_sign_ins(tx, store.SIGN_INS, MARY)] == ["citizen"]


def test_no_document_is_accepted_that_the_settings_do_not_name() -> None:
    with pytest.raises(Refused):
        check_condition("", frozenset({"citizen"}))


# ------------------------------------------------------------------ account numbers


@pytest.mark.parametrize(
    ("bank_code", "number", "iban"),
    [
        ("2200", 22102014568, "EE382200221020145685"),  # the IBAN registry's example
        ("1010", 22003479601, "EE891010220034796011"),  # a published account of the tax board
    ],
)
def test_both_check_digits_are_those_of_known_estonian_accounts(bank_code: str, number: int, iban: str) -> None:
    assert is_iban(iban)
    assert build_iban(bank_code=bank_code, number=number) == iban


@given(st.integers(0, 10**11 - 1), st.from_regex(r"[0-9]{4}", fullmatch=True))
def test_every_account_number_makes_a_right_iban(number: int, bank_code: str) -> None:
    iban = build_iban(bank_code=bank_code, number=number)
    assert len(iban) == 20
    assert is_iban(iban)


@given(st.integers(0, 10**11 - 1), st.integers(2, 19), st.integers(1, 9))
def test_one_wrong_digit_is_noticed(number: int, position: int, change: int) -> None:
    iban = build_iban(bank_code="9900", number=number)
    wrong = str((int(iban[position]) + change) % 10)
    assert not is_iban(iban[:position] + wrong + iban[position + 1 :])


@pytest.mark.parametrize("text", ["", "EE", "EE38 2200", "EE38220022102014568é", "💰" * 20, "-" * 20])
def test_what_is_no_iban_is_not_called_one(text: str) -> None:
    assert not is_iban(text)


def test_a_line_break_in_the_form_cannot_forge_a_line_of_the_application() -> None:
    text = "Rent\nCurrency:       USD\rPurpose: x\u2028Purpose: x"
    application = Application("a1b2c3d4-x", MARY, "MARY", "business", "EUR", text, AT)
    lines = application_text(application, bank="Test Bank").content.decode().splitlines()
    assert [line for line in lines if line.startswith("Currency:")] == ["Currency:       EUR"]
    assert not [line for line in lines if line.startswith("Purpose: x")]
