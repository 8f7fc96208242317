"""The steps of the form: each problem is named beside its field, nothing else escapes."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.institutions.police_board.domain import acceptance, form
from digiid.institutions.police_board.domain.application import Step
from digiid.institutions.police_board.domain.form import InvalidForm
from tests.support.board import PERSONAL, STEPS, TRAVEL_DOCUMENT

TODAY = date(2026, 11, 23)


def personal(**changes: str) -> form.Personal:
    return form.parse_personal({**PERSONAL, **changes}, today=TODAY, specimens=True)


def problems(call: object, *args: object, **kwargs: object) -> dict[str, str]:
    with pytest.raises(InvalidForm) as caught:
        call(*args, **kwargs)  # type: ignore[operator]
    return caught.value.problems


def test_a_right_page_is_read_and_survives_storing() -> None:
    read = personal(**{"citizenships-2": "EST", "previous_names": "Anna Old; Anna Older"})
    assert read.citizenships == ("UTO", "EST")
    assert read.previous_names == ("Anna Old", "Anna Older")
    assert form.personal_from_json(form.to_json(read)) == read


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("given_names", "", "required"),
        ("given_names", "Анна", "latin_letters"),
        ("given_names", "Anna1", "latin_letters"),
        ("surname", "x" * 101, "too_long"),
        ("surname", "Eriks\u202eson", "characters"),
        ("sex", "Q", "choose"),
        ("born_on", "1974-13-12", "date"),
        ("born_on", "2026-11-24", "date_range"),
        ("born_on", "2008-11-24", "under_age"),
        ("citizenships-1", "ZZZ", "choose"),
        ("personal_code", "123", "personal_code"),
        ("phone", "call me", "phone"),
        ("address", "", "required"),
    ],
)
def test_each_problem_stands_beside_its_field(field: str, value: str, code: str) -> None:
    assert problems(personal, **{field: value}) == {field: code}


def test_all_problems_come_at_once() -> None:
    assert len(problems(form.parse_personal, {}, today=TODAY, specimens=True)) >= 8


def test_the_specimen_country_is_only_for_demonstrations() -> None:
    assert "citizenships-1" in problems(form.parse_personal, PERSONAL, today=TODAY, specimens=False)


def travel(**changes: str) -> form.TravelDocumentData:
    return form.parse_travel_document({**TRAVEL_DOCUMENT, **changes}, personal(), today=TODAY, specimens=True)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("number", "L898902C4", {"number": "mrz_differs.document_number"}),
        ("issuing_country", "EST", {"issuing_country": "mrz_differs.issuing_country"}),
        ("expires_on", "2031-04-16", {"expires_on": "mrz_differs.expires_on"}),
        ("kind", "identity_card", {"kind": "mrz_differs.kind"}),
        ("expires_on", "2027-01-01", {"expires_on": "expires_soon"}),
        ("mrz", "P<UTO", {"mrz": "mrz.form"}),
        ("mrz", TRAVEL_DOCUMENT["mrz"].replace("7408122", "7408123"), {"mrz": "mrz.check_digit"}),
    ],
)
def test_form_and_zone_must_agree(field: str, value: str, expected: dict[str, str]) -> None:
    assert travel().number == "L898902C3"
    assert problems(travel, **{field: value}) == expected


def test_personal_data_changed_later_disagree_with_the_zone() -> None:
    document = travel()
    assert form.compare_with_zone(document, personal(), today=TODAY) == {}
    other = form.compare_with_zone(document, personal(surname="Ericsson"), today=TODAY)
    assert other == {"mrz": "mrz_differs.surname"}


def test_a_yes_needs_its_details_and_confirmations_must_be_given() -> None:
    right = STEPS[Step.DECLARATIONS]
    assert form.parse_declarations(right).criminal_record is False
    assert problems(form.parse_declarations, {**right, "criminal_record": "yes"}) == {"criminal_details": "required"}
    assert problems(form.parse_declarations, {**right, "truthful": ""}) == {"truthful": "must_confirm"}


def test_the_accepted_text_is_kept_word_for_word_in_its_language() -> None:
    accepted = form.parse_acceptance({"accepted": "yes", "version": acceptance.VERSION}, language="et")
    assert accepted.text == acceptance.text_of("et")
    assert "kodakondsus" in accepted.text
    old = {"accepted": "yes", "version": "2020-01"}
    assert problems(form.parse_acceptance, old, language="en") == {"accepted": "must_confirm"}


@pytest.mark.parametrize("text", ["a@b", "Name.Surname+x@Example.ORG", "o'connor@mail.example.org"])
def test_addresses_are_accepted_and_compared_in_small_letters(text: str) -> None:
    assert form.parse_email(f" {text} ") == text.lower()


@pytest.mark.parametrize(
    "text", ["", "a", "a@", "@b", "a b@c", "a@b..c", "a@b\nBcc: x@y", "a@-b.c", "x" * 300 + "@b.c"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert problems(form.parse_email, text) == {"email": "email"}


@given(st.dictionaries(st.sampled_from([*PERSONAL, *TRAVEL_DOCUMENT]), st.text(max_size=60)))
def test_only_invalid_form_escapes(fields: dict[str, str]) -> None:
    for read in (
        lambda: form.parse_personal(fields, today=TODAY, specimens=True),
        lambda: form.parse_travel_document(fields, personal(), today=TODAY, specimens=True),
        lambda: form.parse_declarations(fields),
        lambda: form.parse_email(fields.get("surname", "")),
    ):
        try:
            read()
        except InvalidForm as error:
            assert error.problems
