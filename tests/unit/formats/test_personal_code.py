from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats.personal_code import build_personal_code, parse_personal_code
from digiid.kernel.errors import Malformed

VALID = ["38001085718", "60001019906", "60001013739", "37101010021", "47101010033"]
# born 2199, one per branch of the check digit: first weights, second weights, both remainders ten
VALID += ["79912310014", "89912310015", "79912310070", "89912310060", "79912310440", "89912310430"]


@pytest.mark.parametrize("code", VALID)
def test_valid_codes_are_read_and_built_again(code: str) -> None:
    parsed = parse_personal_code(code)
    again = build_personal_code(born_on=parsed.born_on, sex=parsed.sex, order_number=parsed.order_number)
    assert again == parsed


def test_the_first_digit_gives_century_and_sex() -> None:
    assert parse_personal_code("38001085718").born_on == date(1980, 1, 8)
    assert parse_personal_code("38001085718").sex == "M"
    assert parse_personal_code("60001019906").sex == "F"


@pytest.mark.parametrize(
    "code",
    ["11404176865", "79912310015", "79912310071", "", "3800108571", "38001085718 ", "٣8001085718", "98001085718"],
)
def test_invalid_codes_are_malformed(code: str) -> None:
    with pytest.raises(Malformed):
        parse_personal_code(code)


def test_a_date_that_does_not_exist_is_malformed() -> None:
    with pytest.raises(Malformed):
        parse_personal_code("38002305718")


@given(st.dates(date(1800, 1, 1), date(2199, 12, 31)), st.sampled_from(["F", "M"]), st.integers(1, 999))
def test_what_is_built_is_read_back(born_on: date, sex: str, number: int) -> None:
    built = build_personal_code(born_on=born_on, sex=sex, order_number=number)  # type: ignore[arg-type]
    assert parse_personal_code(built.code) == built


@given(st.text(max_size=14))
def test_only_malformed_escapes(text: str) -> None:
    try:
        parse_personal_code(text)
    except Malformed:
        pass
