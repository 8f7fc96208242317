import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats.registry_code import MAX_NUMBER, build_registry_code, parse_registry_code
from digiid.kernel.errors import Malformed


@pytest.mark.parametrize("code", ["70006317", "70008747", "70000591", "70000349", "70008641"])
def test_codes_of_known_agencies_are_right(code: str) -> None:
    assert parse_registry_code(code) == code
    assert build_registry_code(int(code[:7])) == code


@given(st.integers(1_000_000, MAX_NUMBER))
def test_what_was_built_can_be_read(number: int) -> None:
    assert parse_registry_code(build_registry_code(number)) == build_registry_code(number)


@given(st.integers(1_000_000, MAX_NUMBER), st.integers(1, 9))
def test_a_wrong_check_digit_is_noticed(number: int, change: int) -> None:
    code = build_registry_code(number)
    with pytest.raises(Malformed, match="check_digit"):
        parse_registry_code(code[:7] + str((int(code[7]) + change) % 10))


@pytest.mark.parametrize("text", ["", "7000631", "700063170", "00006317", "7000631７", "7000631x", " 70006317"])
def test_what_is_no_code_is_malformed(text: str) -> None:
    with pytest.raises(Malformed, match="form"):
        parse_registry_code(text)


@pytest.mark.parametrize("number", [-1, 0, 999_999, MAX_NUMBER + 1])
def test_no_code_is_made_of_a_number_out_of_range(number: int) -> None:
    with pytest.raises(Malformed):
        build_registry_code(number)
