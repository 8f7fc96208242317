"""English in the code, Estonian in `locale/et.po` beside it, read once at the start.

Texts that Python puts together (`public=f"Wrong {name}."`) stand in the catalogue as their pattern,
`Wrong {name}.`; `Catalogue.translate` finds a finished text by it.
"""

import gettext
import re
from collections.abc import Sequence
from pathlib import Path

from babel.messages.pofile import read_po

from digiid.platform.web import N_

LANGUAGES = ("en", "et")
PLATFORM_LOCALE = Path(__file__).parent / "locale"
PLACEHOLDER = re.compile(r"\{([a-z0-9_]+)\}")
_LONGEST_MATCHED = 2000
# What formats put into their messages; they are pure and mark nothing themselves.
VALUES = (
    N_("document number"),
    N_("date of birth"),
    N_("date of expiry"),
    N_("personal number"),
    N_("whole zone"),
    N_("birth"),
    N_("expiry"),
)


class Catalogue(gettext.NullTranslations):
    """The texts of one language: exact ones, and patterns for texts that were put together."""

    def __init__(self, files: Sequence[Path] = ()) -> None:
        super().__init__()
        self._texts: dict[str, str] = {}
        self._plurals: dict[str, tuple[str, ...]] = {}
        for file in files:
            with file.open("rb") as stream:
                for message in read_po(stream, locale="et"):
                    if not message.id or not message.string or message.fuzzy:
                        continue
                    if isinstance(message.id, str):
                        self._texts[message.id] = str(message.string)
                    else:
                        self._plurals[message.id[0]] = tuple(message.string or ())
        self._patterns = [
            (_pattern(text), translated) for text, translated in self._texts.items() if PLACEHOLDER.search(text)
        ]

    def gettext(self, message: str) -> str:
        return self._texts.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        forms = self._plurals.get(msgid1)
        if not forms or not all(forms):
            return msgid1 if n == 1 else msgid2
        return forms[0 if n == 1 else -1]

    def translate(self, message: str) -> str:
        """A text that was not known when the template was written; values in it are translated if they can be."""
        if not message or message in self._texts or len(message) > _LONGEST_MATCHED:
            return self.gettext(message)
        for pattern, translated in self._patterns:
            if found := pattern.fullmatch(message):
                values = {name: self.gettext(value) for name, value in found.groupdict().items()}
                return PLACEHOLDER.sub(lambda place, values=values: values[f"v_{place[1]}"], translated)  # type: ignore[misc]
        return message


def load_translations(folders: Sequence[Path]) -> dict[str, Catalogue]:
    """The catalogues of both languages: the platform's and those of `folders` merged, a later one wins."""
    files = [folder / "et.po" for folder in (PLATFORM_LOCALE, *folders)]
    return {"en": Catalogue(), "et": Catalogue([file for file in files if file.exists()])}


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
    return next(
        (tag for weight, tag in sorted(weighted, key=lambda item: item[0]) if tag in LANGUAGES and weight < 0), "en"
    )


def _pattern(text: str) -> re.Pattern[str]:
    """What finished texts of this pattern look like; every placeholder may stand once."""
    parts = PLACEHOLDER.split(text)
    return re.compile(
        "".join(re.escape(part) if index % 2 == 0 else f"(?P<v_{part}>.*?)" for index, part in enumerate(parts)),
        re.DOTALL,
    )
