"""Working days and periods in Estonia."""

from datetime import date, timedelta

import pytest

from digiid.institutions.police_board.domain.document import add_months
from digiid.institutions.police_board.domain.law import add_working_days, last_day_of_period


@pytest.mark.parametrize(
    ("start", "count", "end"),
    [
        (date(2026, 11, 23), 1, date(2026, 11, 24)),
        (date(2026, 11, 27), 1, date(2026, 11, 30)),  # over a weekend
        (date(2026, 12, 23), 1, date(2026, 12, 28)),  # 24-26 December are holidays, 27 is a Sunday
        (date(2027, 3, 25), 1, date(2027, 3, 29)),  # Good Friday 2027 is 26 March
        (date(2027, 6, 22), 1, date(2027, 6, 25)),  # Victory Day and Midsummer
        (date(2026, 11, 23), 30, date(2027, 1, 7)),
    ],
)
def test_working_days_leave_out_weekends_and_holidays(start: date, count: int, end: date) -> None:
    assert add_working_days(start, count) == end


def test_a_period_that_ends_on_a_day_off_ends_on_the_next_working_day() -> None:
    assert last_day_of_period(date(2026, 12, 10), timedelta(days=14)) == date(2026, 12, 28)
    assert last_day_of_period(date(2026, 11, 23), timedelta(days=14)) == date(2026, 12, 7)


def test_months_end_where_the_month_ends() -> None:
    assert add_months(date(2026, 8, 31), 6) == date(2027, 2, 28)
    assert add_months(date(2027, 8, 31), 6) == date(2028, 2, 29)
    assert add_months(date(2026, 11, 23), 6) == date(2027, 5, 23)
