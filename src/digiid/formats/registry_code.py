"""Registry codes of companies and agencies (registrikood): eight digits, the last one a check digit.

The check digit is made as in personal codes: two rows of weights, modulo 11, and 0 when both leave 10.
"""

import re

from digiid.kernel.errors import Malformed

_FIRST_WEIGHTS = (1, 2, 3, 4, 5, 6, 7)
_SECOND_WEIGHTS = (3, 4, 5, 6, 7, 8, 9)
_CODE = re.compile(r"[1-9][0-9]{7}")
MAX_NUMBER = 9_999_999


def parse_registry_code(text: str) -> str:
    """The code, checked. Raises: Malformed `registry_code.form`, `registry_code.check_digit`."""
    if not isinstance(text, str) or not _CODE.fullmatch(text):
        raise Malformed("registry_code.form", "a registry code is 8 digits and does not begin with 0")
    if _check_digit(text[:7]) != int(text[7]):
        raise Malformed("registry_code.check_digit", "the check digit does not fit")
    return text


def build_registry_code(number: int) -> str:
    """The code of a running number of seven digits. Raises: Malformed `registry_code.form`."""
    if not 1_000_000 <= number <= MAX_NUMBER:
        raise Malformed("registry_code.form", "the number of a registry code has 7 digits")
    return f"{number}{_check_digit(str(number))}"


def _check_digit(digits: str) -> int:
    for weights in (_FIRST_WEIGHTS, _SECOND_WEIGHTS):
        remainder = sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11
        if remainder < 10:
            return remainder
    return 0
