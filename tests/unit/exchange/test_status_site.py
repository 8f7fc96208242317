from datetime import timedelta

import pytest

from digiid.exchange.status_site.site import split_time


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (timedelta(0), [(0, "s")]),
        (timedelta(milliseconds=900), [(0, "s")]),
        (timedelta(seconds=59), [(59, "s")]),
        (timedelta(seconds=60), [(1, "min")]),
        (timedelta(seconds=252), [(4, "min"), (12, "s")]),
        (timedelta(hours=4), [(4, "h")]),
        (timedelta(hours=4, seconds=59), [(4, "h")]),
        (timedelta(days=2, hours=3, minutes=9), [(2, "d"), (3, "h")]),
    ],
)
def test_a_time_is_told_in_its_two_largest_units(left, told):
    assert list(split_time(left)) == told
