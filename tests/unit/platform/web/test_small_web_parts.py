"""Rate limits, dates, languages, catalogues, forms without a request."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from digiid.platform.web.dates import format_amount, format_day, format_instant, keep_together
from digiid.platform.web.forms import Form, check
from digiid.platform.web.rate_limits import RateLimit, RateLimiter, TooMany
from digiid.platform.web.translations import Catalogue, choose_language

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
FIVE_A_MINUTE = RateLimit(5, timedelta(minutes=1))


def test_as_many_attempts_as_allowed_and_not_one_more() -> None:
    limiter = RateLimiter()
    for _ in range(5):
        limiter.check("x", "a", FIVE_A_MINUTE, now=NOW)
    with pytest.raises(TooMany) as refused:
        limiter.check("x", "a", FIVE_A_MINUTE, now=NOW)
    assert timedelta(0) < refused.value.retry_after <= timedelta(seconds=12)
    limiter.check("x", "b", FIVE_A_MINUTE, now=NOW)
    limiter.check("y", "a", FIVE_A_MINUTE, now=NOW)


def test_refused_attempts_do_not_make_the_wait_longer() -> None:
    limiter = RateLimiter()
    for _ in range(5):
        limiter.check("x", "a", FIVE_A_MINUTE, now=NOW)
    for _ in range(100):
        with pytest.raises(TooMany):
            limiter.check("x", "a", FIVE_A_MINUTE, now=NOW)
    limiter.check("x", "a", FIVE_A_MINUTE, now=NOW + timedelta(seconds=12))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=200))
def test_never_more_than_twice_the_limit_in_any_window(pauses: list[int]) -> None:
    limiter, at, passed = RateLimiter(), NOW, []
    for pause in pauses:
        at += timedelta(seconds=pause)
        try:
            limiter.check("x", "a", FIVE_A_MINUTE, now=at)
            passed.append(at)
        except TooMany:
            pass
    for start in passed:
        assert sum(start <= other < start + timedelta(minutes=1) for other in passed) < 10


def test_a_flood_of_keys_does_not_fill_the_memory() -> None:
    limiter = RateLimiter()
    for number in range(60_000):
        limiter.check("x", str(number), FIVE_A_MINUTE, now=NOW)
    assert len(limiter._used_until) <= 50_001


def test_instants_are_shown_in_tallinn_with_their_zone() -> None:
    assert format_instant(datetime(2026, 7, 1, 22, 30, tzinfo=UTC), "en") == "2 July 2026, 01:30 EEST"
    assert format_instant(datetime(2026, 12, 1, 10, 5, tzinfo=UTC), "et") == "1. detsember 2026, 12:05 EET"
    assert format_day(date(2026, 3, 4), "en") == "4 March 2026"
    assert format_day(datetime(2026, 3, 4, 23, 0, tzinfo=UTC), "en") == "5 March 2026"
    assert format_instant(None, "en") == format_day(None, "et") == ""


def test_a_line_ends_between_the_day_and_the_time_and_nowhere_else() -> None:
    assert keep_together("1. detsember 2026, 12:05 EET") == "1.\xa0detsember\xa02026, 12:05\xa0EET"
    assert keep_together("4 March 2026") == "4\xa0March\xa02026"
    assert keep_together("") == ""


def test_sums_are_written_as_the_language_writes_them() -> None:
    assert format_amount(250_005, "en") == "2500.05"
    assert format_amount(250_005, "et") == "2500,05"


@pytest.mark.parametrize(
    ("cookie", "accept", "language"),
    [
        (None, "", "en"),
        ("et", "en", "et"),
        ("xx", "et", "et"),
        (None, "fr, et;q=0.3, en;q=0.8", "en"),
        (None, "et-EE,et;q=0.9", "et"),
        (None, "et;q=0, en;q=0.1", "en"),
        (None, "fi", "en"),
        (None, "et;q=banana", "en"),
        (None, "," * 5000, "en"),
    ],
)
def test_choice_of_language(cookie: str | None, accept: str, language: str) -> None:
    assert choose_language(cookie, accept) == language


@given(st.text())
def test_any_accept_language_is_answered(accept: str) -> None:
    assert choose_language(None, accept) in ("en", "et")


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    file = tmp_path / "et.po"
    file.write_text(
        'msgid ""\nmsgstr ""\n"Language: et\\n"\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'
        'msgid "Back"\nmsgstr "Tagasi"\n\n'
        'msgid "birth"\nmsgstr "sünniaeg"\n\n'
        'msgid "Empty"\nmsgstr ""\n\n'
        '#, fuzzy\nmsgid "Doubtful"\nmsgstr "Kahtlane"\n\n'
        'msgid "The date of {name} is wrong ({value_1})."\nmsgstr "Vale kuupäev {value_1}: {name}."\n\n'
        'msgid "One file"\nmsgid_plural "%(num)s files"\nmsgstr[0] "Üks fail"\nmsgstr[1] "%(num)s faili"\n',
        encoding="utf-8",
    )
    return Catalogue([file])


def test_texts_are_translated_exactly_or_stay_english(catalogue: Catalogue) -> None:
    assert catalogue.gettext("Back") == "Tagasi"
    assert catalogue.gettext("Nowhere") == "Nowhere"
    assert catalogue.gettext("Empty") == "Empty"
    assert catalogue.gettext("Doubtful") == "Doubtful"
    assert [catalogue.ngettext("One file", "%(num)s files", n) for n in (0, 1, 2)] == [
        "%(num)s faili",
        "Üks fail",
        "%(num)s faili",
    ]


def test_a_text_that_was_put_together_is_found_by_its_pattern(catalogue: Catalogue) -> None:
    assert catalogue.translate("The date of birth is wrong (1990-13-01).") == "Vale kuupäev 1990-13-01: sünniaeg."
    assert catalogue.translate("The date of {value_1} is wrong (x).") == "Vale kuupäev x: {value_1}."
    assert catalogue.translate("Something of birth is wrong (x).") == "Something of birth is wrong (x)."
    assert catalogue.translate("") == ""


class Wanted(BaseModel):
    name: Annotated[str, Field(min_length=2)]
    tags: tuple[str, ...] = ()
    born_on: date | None = None


def test_an_empty_text_counts_as_not_given() -> None:
    form: Form[Wanted] = Form({"name": "", "born_on": ""})
    assert check(form, Wanted) is None
    assert form.errors == {"name": "Fill in this field"}


def test_one_value_of_a_field_for_several_is_a_tuple_too() -> None:
    form: Form[Wanted] = Form({"name": "Mari", "tags": "a", "born_on": "1990-05-31"})
    assert check(form, Wanted) == Wanted(name="Mari", tags=("a",), born_on=date(1990, 5, 31))


def test_several_values_of_a_field_for_one_take_the_last() -> None:
    form: Form[Wanted] = Form({"name": ["Mari", "Jüri"]})
    model = check(form, Wanted)
    assert model is not None
    assert model.name == "Jüri"


def test_a_field_that_was_not_asked_for_is_left_out() -> None:
    form: Form[Wanted] = Form({"name": "Mari", "role": "admin"})
    model = check(form, Wanted)
    assert model is not None
    assert not hasattr(model, "role")
