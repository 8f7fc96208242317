"""Personal identification codes (isikukood), 11 digits `G YYMMDD SSS C`.

G is century and sex, SSS the order number of the day, C a check digit over the other ten with two
rows of weights. Nothing in a code says whether its holder is a citizen or an e-resident.
"""

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

from digiid.kernel.errors import Malformed

_FIRST_WEIGHTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 1)
_SECOND_WEIGHTS = (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)
_CODE = re.compile(r"[1-8][0-9]{10}")
MAX_ORDER_NUMBER = 999

Sex = Literal["F", "M"]


@dataclass(frozen=True, slots=True)
class PersonalCode:
    """A code whose date exists and whose check digit is right."""

    code: str
    born_on: date
    sex: Sex
    order_number: int

    def __str__(self) -> str:
        return self.code


def parse_personal_code(text: str) -> PersonalCode:
    """Read a code. Raises: Malformed `personal_code.form`, `personal_code.date`, `personal_code.check_digit`."""
    if not isinstance(text, str) or not _CODE.fullmatch(text):
        raise Malformed("personal_code.form", "a personal code is 11 digits, the first 1 to 8")
    if _check_digit(text[:10]) != int(text[10]):
        raise Malformed("personal_code.check_digit", "the check digit does not fit")
    century = 1800 + 100 * ((int(text[0]) - 1) // 2)
    try:
        born_on = date(century + int(text[1:3]), int(text[3:5]), int(text[5:7]))
    except ValueError as error:
        raise Malformed("personal_code.date", "the code's date does not exist") from error
    return PersonalCode(text, born_on, "M" if int(text[0]) % 2 else "F", int(text[7:10]))


def build_personal_code(*, born_on: date, sex: Sex, order_number: int) -> PersonalCode:
    """Make the code of the `order_number`-th person (1 to 999) of a day and sex.

    Raises: Malformed `personal_code.form` when the year is outside 1800-2199 or the number outside its range.
    """
    if not 1800 <= born_on.year < 2200 or not 0 < order_number <= MAX_ORDER_NUMBER:
        raise Malformed("personal_code.form", "no code exists for this day and order number")
    first = 1 + 2 * ((born_on.year - 1800) // 100) + (sex == "F")
    digits = f"{first}{born_on:%y%m%d}{order_number:03d}"
    return PersonalCode(digits + str(_check_digit(digits)), born_on, sex, order_number)


def _check_digit(digits: str) -> int:
    for weights in (_FIRST_WEIGHTS, _SECOND_WEIGHTS):
        remainder = sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 11
        if remainder < 10:
            return remainder
    return 0
