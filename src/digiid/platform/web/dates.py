"""Days, instants and sums as people read them; an instant always with its time zone."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

TIME_ZONE = ZoneInfo("Europe/Tallinn")
_ENGLISH = "January February March April May June July August September October November December"
_ESTONIAN = "jaanuar veebruar märts aprill mai juuni juuli august september oktoober november detsember"
_MONTHS = {"en": _ENGLISH.split(), "et": _ESTONIAN.split()}


def format_instant(value: datetime | None, language: str) -> str:
    """`23 November 2026, 12:05 EET`, in Tallinn's time; empty for None."""
    if value is None:
        return ""
    local = value.astimezone(TIME_ZONE)
    return f"{format_day(local.date(), language)}, {local:%H:%M} {local.tzname()}"


def format_day(value: date | None, language: str) -> str:
    """`23 November 2026`; an instant gives its day in Tallinn; empty for None."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        value = value.astimezone(TIME_ZONE).date()
    dot = "." if language == "et" else ""
    return f"{value.day}{dot} {_MONTHS[language][value.month - 1]} {value.year}"


def keep_together(text: str) -> str:
    """What `format_instant` or `format_day` gave, for a page: a line may end between the day and the time, and nowhere
    else. A narrow column would break it within the day.
    """
    return ", ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in text.split(", "))


def format_amount(cents: int, language: str) -> str:
    """A sum without its currency: `2500.00`; `2500,00` in Estonian."""
    return f"{cents // 100}{',' if language == 'et' else '.'}{cents % 100:02}"
