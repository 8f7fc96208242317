"""English in the code, Estonian in `locale/et.po` beside it, read once at the start."""

import gettext
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LANGUAGES = ("en", "et")
PLATFORM_LOCALE = Path(__file__).parent / "locale"


def load_translations(folders: Sequence[Path]) -> dict[str, gettext.NullTranslations]:
    """The catalogues of both languages: the platform's and those of `folders` merged, a later one wins."""
    estonian: gettext.NullTranslations = gettext.NullTranslations()
    for folder in (PLATFORM_LOCALE, *folders):
        file = folder / "et.po"
        if file.exists():
            with file.open("rb") as stream:
                catalog = read_po(stream, locale="et")
            compiled = BytesIO()
            write_mo(compiled, catalog)
            compiled.seek(0)
            translations = gettext.GNUTranslations(compiled)
            translations.add_fallback(estonian)
            estonian = translations
    return {"en": gettext.NullTranslations(), "et": estonian}


def choose_language(cookie: str | None, accept_language: str) -> str:
    """The language cookie if it names one of ours, else the first of ours in Accept-Language (RFC 9110 §12.5.4)."""
    if cookie in LANGUAGES:
        return cookie
    weighted: list[tuple[float, str]] = []
    for part in accept_language[:200].split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            weight = 0.0
        weighted.append((-weight, tag[:2].lower()))
    return next((tag for weight, tag in sorted(weighted) if tag in LANGUAGES and weight < 0), "en")
