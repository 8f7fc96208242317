"""Machine-readable zones of travel documents: ICAO Doc 9303 parts 3-6 (8th edition), forms TD1, TD2 and TD3.

Read and written: the three forms of travel documents, check digits, long document numbers, names
that were truncated, unknown parts of birth dates. Not read: visas (MRV-A, MRV-B), and optional data
beyond its check digit. Not written: names that need truncation.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from digiid.kernel.errors import Malformed

FILLER = "<"
_ALPHABET = re.compile(r"[A-Z0-9<]+")
_WEIGHTS = (7, 3, 1)  # Doc 9303-3 §4.9
_MAX_TEXT_LENGTH = 400
_MAX_NAME_LENGTH = 200


class MrzForm(StrEnum):
    TD1 = "TD1"
    TD2 = "TD2"
    TD3 = "TD3"


Sex = Literal["F", "M", "X"]


@dataclass(frozen=True, slots=True)
class Mrz:
    """What a zone says, its check digits verified.

    `born_on` is None when a part of the birth date is unknown; `birth_year` is then what is known of
    it. Names are in the zone's own alphabet, components separated by a space; with
    `names_truncated` the name field was full, so that a component may be cut or missing.
    """

    form: MrzForm
    document_code: str
    issuer: str
    surname: str
    given_names: str
    names_truncated: bool
    document_number: str
    nationality: str
    born_on: date | None
    birth_year: int | None
    sex: Sex
    expires_on: date
    optional_data: str

    @property
    def kind(self) -> Literal["passport", "identity_card"]:
        """Doc 9303-4 §4.2.2.1: a code that begins with P is a passport."""
        return "passport" if self.document_code.startswith("P") else "identity_card"


@dataclass(frozen=True, slots=True)
class TravelDocumentForm:
    """What the applicant typed, to be compared with the zone. Country codes are ISO 3166-1 alpha-3 or Doc 9303's."""

    surname: str
    given_names: str
    document_number: str
    issuing_country: str
    citizenships: tuple[str, ...]
    born_on: date
    sex: Literal["F", "M"]
    expires_on: date
    kind: Literal["passport", "identity_card"]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One field in which the form and the zone differ."""

    field: str
    in_form: str
    in_mrz: str


def parse_mrz(text: str, *, today: date) -> Mrz:
    """Read a zone of two or three lines; spaces are ignored and small letters are taken as capitals.

    `today` settles the century of two-digit years: nobody is born after it, and a document expires
    less than fifty years from it.

    Raises: Malformed `mrz.form`, `mrz.alphabet`, `mrz.check_digit`, `mrz.field`, with a public text.
    """
    lines = _lines(text)
    shape = (len(lines), *(len(line) for line in lines))
    if shape == (3, 30, 30, 30):
        return _parse_td1(lines, today)
    if shape == (2, 36, 36):
        return _parse_td2_td3(lines, today, MrzForm.TD2)
    if shape == (2, 44, 44):
        return _parse_td2_td3(lines, today, MrzForm.TD3)
    found = ", ".join(str(len(line)) for line in lines)
    raise Malformed(
        "mrz.form",
        f"{len(lines)} lines of {found} characters",
        public="The machine-readable zone has two lines of 44 or 36 characters, or three lines of 30.",
    )


def find_disagreements(mrz: Mrz, form: TravelDocumentForm) -> tuple[Disagreement, ...]:
    """Compare the form with the zone (Doc 9303-3 §6: transliteration; 9303-4 §4.2.3: truncation). Empty: they agree."""
    found: list[Disagreement] = []

    def differ(field: str, in_form: str, in_mrz: str) -> None:
        found.append(Disagreement(field, in_form, in_mrz))

    if not _same_name(form.surname, mrz.surname, truncated=mrz.names_truncated):
        differ("surname", form.surname, mrz.surname)
    if not _same_name(form.given_names, mrz.given_names, truncated=mrz.names_truncated):
        differ("given_names", form.given_names, mrz.given_names)
    if _plain_number(form.document_number) != mrz.document_number:
        differ("document_number", form.document_number, mrz.document_number)
    if country_in_mrz(form.issuing_country) != mrz.issuer:
        differ("issuing_country", form.issuing_country, mrz.issuer)
    if mrz.nationality not in {country_in_mrz(country) for country in form.citizenships}:
        differ("citizenships", ", ".join(form.citizenships), mrz.nationality)
    if mrz.born_on is not None and mrz.born_on != form.born_on:
        differ("born_on", form.born_on.isoformat(), mrz.born_on.isoformat())
    if mrz.born_on is None and mrz.birth_year not in (None, form.born_on.year):
        differ("born_on", form.born_on.isoformat(), str(mrz.birth_year))
    if mrz.sex not in ("X", form.sex):
        differ("sex", form.sex, mrz.sex)
    if mrz.expires_on != form.expires_on:
        differ("expires_on", form.expires_on.isoformat(), mrz.expires_on.isoformat())
    if mrz.kind != form.kind:
        differ("kind", form.kind, mrz.kind)
    return tuple(found)


def build_td3(
    *,
    surname: str,
    given_names: str,
    document_number: str,
    issuer: str,
    nationality: str,
    born_on: date,
    sex: Sex,
    expires_on: date,
    optional_data: str = "",
) -> str:
    """Write a passport's zone, two lines of 44: for test persons and as the other half of the parser's tests.

    Raises: Malformed `mrz.field` when a value has no place in the zone.
    """
    number = _plain_number(document_number)
    if not 1 <= len(number) <= 9 or not _ALPHABET.fullmatch(number):
        raise Malformed("mrz.field", "a passport number has one to nine letters and digits")
    if len(optional_data) > 14 or (optional_data and not _ALPHABET.fullmatch(optional_data)):
        raise Malformed("mrz.field", "optional data has at most 14 letters and digits")
    names = f"{transliterate(surname)}<<{transliterate(given_names)}".replace(" ", FILLER).rstrip(FILLER)
    if len(names) > 39:
        raise Malformed("mrz.field", "a passport's zone has room for 39 characters of names")
    first = f"P<{country_in_mrz(issuer):<3}{names:<39}".replace(" ", FILLER)
    numbered = _with_digit(f"{number:<9}")
    born, expires = _with_digit(f"{born_on:%y%m%d}"), _with_digit(f"{expires_on:%y%m%d}")
    optional = _with_digit(f"{optional_data:<14}") if optional_data else FILLER * 15
    sex_letter = FILLER if sex == "X" else sex
    body = f"{numbered}{country_in_mrz(nationality):<3}{born}{sex_letter}{expires}{optional}".replace(" ", FILLER)
    return f"{first}\n{body}{check_digit(body[0:10] + body[13:20] + body[21:43])}"


def check_digit(field: str) -> str:
    """Doc 9303-3 §4.9: weights 7, 3, 1; A is 10, Z is 35, the filler 0; modulo 10."""
    total = sum(_value(character) * _WEIGHTS[index % 3] for index, character in enumerate(field))
    return str(total % 10)


def transliterate(name: str) -> str:
    """A name in the zone's alphabet, components separated by one space: the first of the recommended forms.

    Characters outside Doc 9303-3 §6's tables are left out.
    """
    return " ".join(word for word in ("".join(_forms(c)[0] for c in word) for word in _words(name)) if word)


def country_in_mrz(code: str) -> str:
    """The zone's code of a country: Germany is `D` there (Doc 9303-3 §5), all others as in ISO 3166-1 alpha-3."""
    return "D" if code == "DEU" else code


# --- parsing ---------------------------------------------------------------------------------------------------------


def _lines(text: str) -> list[str]:
    if len(text) > _MAX_TEXT_LENGTH:
        raise Malformed("mrz.form", "text too long", public="The machine-readable zone is too long.")
    lines = [re.sub(r"[ \t]", "", line).upper() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) == 1 and len(lines[0]) in (72, 88):  # pasted as one line
        half = len(lines[0]) // 2
        lines = [lines[0][:half], lines[0][half:]]
    elif len(lines) == 1 and len(lines[0]) == 90:
        lines = [lines[0][index : index + 30] for index in (0, 30, 60)]
    for number, line in enumerate(lines, 1):
        if not _ALPHABET.fullmatch(line):
            raise Malformed(
                "mrz.alphabet",
                f"line {number} has another character",
                public=f"Line {number} of the machine-readable zone may have only A-Z, 0-9 and <.",
            )
    return lines


def _parse_td1(lines: list[str], today: date) -> Mrz:
    first, second, third = lines
    number, optional_1 = _document_number(first[5:14], first[14], first[15:30])
    _require_digit("date of birth", second[0:6], second[6])
    _require_digit("date of expiry", second[8:14], second[14])
    _require_digit("whole zone", first[5:30] + second[0:7] + second[8:15] + second[18:29], second[29])
    return _assemble(
        MrzForm.TD1,
        code=first[0:2],
        issuer=first[2:5],
        names=third,
        number=number,
        nationality=second[15:18],
        birth=second[0:6],
        sex=second[7],
        expiry=second[8:14],
        optional=" ".join(filter(None, (optional_1, _filled(second[18:29])))),
        today=today,
    )


def _parse_td2_td3(lines: list[str], today: date, form: MrzForm) -> Mrz:
    first, second = lines
    if form is MrzForm.TD3:
        _require_digit("document number", second[0:9], second[9])
        number, optional = _filled(second[0:9]), _filled(second[28:42])
        # Doc 9303-4 §4.2.2.2: when the personal number is empty its digit is 0 or a filler
        if optional or second[42] != FILLER:
            _require_digit("personal number", second[28:42], second[42])
        _require_digit("whole zone", second[0:10] + second[13:20] + second[21:43], second[43])
    else:
        number, optional = _document_number(second[0:9], second[9], second[28:35])
        _require_digit("whole zone", second[0:10] + second[13:20] + second[21:35], second[35])
    _require_digit("date of birth", second[13:19], second[19])
    _require_digit("date of expiry", second[21:27], second[27])
    return _assemble(
        form,
        code=first[0:2],
        issuer=first[2:5],
        names=first[5:],
        number=number,
        nationality=second[10:13],
        birth=second[13:19],
        sex=second[20],
        expiry=second[21:27],
        optional=optional,
        today=today,
    )


def _document_number(field: str, digit: str, optional: str) -> tuple[str, str]:
    """Doc 9303-5 §4.2.2.1 note j, 9303-6 likewise: a number of more than nine characters goes on in the optional
    data, its check digit is the last character before the filler, and a filler stands in the digit's place."""
    if digit != FILLER:
        _require_digit("document number", field, digit)
        return _number_of(field), _filled(optional)
    rest, _, after = optional.partition(FILLER)
    if len(rest) < 2:
        raise _wrong_digit("document number")
    _require_digit("document number", field + rest[:-1], rest[-1])
    return _number_of(field + rest[:-1]), _filled(after)


def _number_of(field: str) -> str:
    number = field.rstrip(FILLER).replace(FILLER, "")
    if not number:
        raise Malformed("mrz.field", "no document number", public="The machine-readable zone has no document number.")
    return number


def _assemble(
    form: MrzForm,
    *,
    code: str,
    issuer: str,
    names: str,
    number: str,
    nationality: str,
    birth: str,
    sex: str,
    expiry: str,
    optional: str,
    today: date,
) -> Mrz:
    if code[0] not in "PIAC":
        raise Malformed("mrz.field", f"document code {code}", public="This is not the zone of a passport or ID card.")
    if sex not in "FM<X":
        raise Malformed("mrz.field", "sex", public="The machine-readable zone names a sex other than F, M or <.")
    surname, _, given = names.rstrip(FILLER).partition("<<")
    if not surname.strip(FILLER):
        raise Malformed("mrz.field", "no surname", public="The machine-readable zone has no name.")
    born_on, birth_year = _birth(birth, today)
    return Mrz(
        form=form,
        document_code=code.rstrip(FILLER),
        issuer=_country(issuer),
        surname=_spaced(surname),
        given_names=_spaced(given),
        names_truncated=not names.endswith(FILLER),
        document_number=_number_of(number),
        nationality=_country(nationality),
        born_on=born_on,
        birth_year=birth_year,
        sex="X" if sex == FILLER else sex,  # type: ignore[arg-type]  # checked above to be one of the three
        expires_on=_expiry(expiry, today),
        optional_data=optional,
    )


def _birth(field: str, today: date) -> tuple[date | None, int | None]:
    """Two-digit year: the latest century in which the date is not after today. `<<` stands for what is unknown."""
    if field[0:2] == "<<":
        return None, None
    if not field[0:2].isdigit():
        raise _wrong_date("birth")
    year = today.year // 100 * 100 + int(field[0:2])
    month, day = field[2:4], field[4:6]
    if "<<" in (month, day):
        return None, year if year <= today.year else year - 100
    try:
        born_on = date(year, int(month), int(day)) if year <= today.year else None
        if born_on is None or born_on > today:
            born_on = date(year - 100, int(month), int(day))
    except ValueError as error:
        raise _wrong_date("birth") from error
    return born_on, born_on.year


def _expiry(field: str, today: date) -> date:
    """Two-digit year: the year within fifty years of today."""
    try:
        year = today.year // 100 * 100 + int(field[0:2])
        if year < today.year - 50:
            year += 100
        elif year >= today.year + 50:
            year -= 100
        return date(year, int(field[2:4]), int(field[4:6]))
    except ValueError as error:
        raise _wrong_date("expiry") from error


def _require_digit(name: str, field: str, digit: str) -> None:
    # Doc 9303-3 §4.9 lets nothing but a digit stand here; the one exception is handled by the callers
    if check_digit(field) != digit:
        raise _wrong_digit(name)


def _wrong_digit(name: str) -> Malformed:
    return Malformed(
        "mrz.check_digit",
        f"check digit of the {name}",
        public=f"The check digit of the {name} is wrong. Compare the machine-readable zone with your document.",
    )


def _wrong_date(name: str) -> Malformed:
    return Malformed("mrz.field", f"date of {name}", public=f"The date of {name} in the machine-readable zone is none.")


def _with_digit(field: str) -> str:
    filled = field.replace(" ", FILLER)
    return filled + check_digit(filled)


def _value(character: str) -> int:
    if character == FILLER:
        return 0
    return int(character, 36)


def _filled(field: str) -> str:
    return field.rstrip(FILLER)


def _spaced(field: str) -> str:
    return " ".join(part for part in field.split(FILLER) if part)


def _country(field: str) -> str:
    code = field.rstrip(FILLER)
    if not code.isalpha() or not code.isascii():
        raise Malformed("mrz.field", "country code", public="A country code in the machine-readable zone is none.")
    return code


# --- names -----------------------------------------------------------------------------------------------------------

# Doc 9303-3 §6.A, multinational Latin characters. The first form is the recommended one, the others are allowed
# there or are what older documents carry.
_LATIN: dict[str, tuple[str, ...]] = {
    "Ä": ("AE", "A"),
    "Å": ("AA", "A"),
    "Æ": ("AE",),
    "Ð": ("D",),
    "Đ": ("D",),
    "Ħ": ("H",),
    "İ": ("I",),
    "ı": ("I",),
    "Ĳ": ("IJ",),
    "ĸ": ("Q", "K"),
    "Ł": ("L",),
    "Ŋ": ("N",),
    "Ñ": ("N", "NXX"),
    "Ö": ("OE", "O"),
    "Ø": ("OE", "O"),
    "Œ": ("OE",),
    "Õ": ("O",),
    "ẞ": ("SS",),
    "Þ": ("TH",),
    "Ŧ": ("T",),
    "Ü": ("UE", "U", "UXX"),
    "Ə": ("E", "A"),
}
# Doc 9303-3 §6.B, Cyrillic
_CYRILLIC: dict[str, tuple[str, ...]] = {
    **{c: (t,) for c, t in zip("АБВДЕЗИІКЛМНОПРСТУФЫЭ", "ABVDEZIIKLMNOPRSTUFYE", strict=True)},
    "Ж": ("ZH",),
    "Х": ("KH",),
    "Ц": ("TS",),
    "Ч": ("CH",),
    "Ш": ("SH",),
    "Щ": ("SHCH",),
    "Ю": ("IU", "YU"),
    "Я": ("IA", "YA"),
    "Г": ("G", "H"),
    "Ё": ("E", "IO", "YO"),
    "Й": ("I", "Y"),
    "Ъ": ("IE", ""),
    "Ь": ("",),
    "Ґ": ("G",),
    "Ї": ("I", "YI"),
    "Є": ("IE", "YE"),
    "Ў": ("U",),
    "Ђ": ("D", "DJ"),
    "Ј": ("J",),
    "Љ": ("LJ",),
    "Њ": ("NJ",),
    "Ћ": ("C",),
    "Џ": ("DZ",),
}
_SEPARATORS = re.compile(r"[\s\-‐‑–,.]+")
_LEFT_OUT = re.compile(r"['’ʼ`´]")


def _words(name: str) -> list[str]:
    text = unicodedata.normalize("NFC", name[:_MAX_NAME_LENGTH]).replace("ß", "ẞ").upper()
    return [word for word in _SEPARATORS.split(_LEFT_OUT.sub("", text)) if word]


@lru_cache(maxsize=1024)
def _forms(character: str) -> tuple[str, ...]:
    """The ways in which one capital letter may stand in a zone; one empty form when it cannot."""
    if "A" <= character <= "Z":
        return (character,)
    if forms := _LATIN.get(character) or _CYRILLIC.get(character):
        return forms
    base = unicodedata.normalize("NFD", character)[0]
    if base != character:
        return _forms(base)
    return ("",)


def _same_name(typed: str, in_mrz: str, *, truncated: bool) -> bool:
    # a component of which nothing can stand in the zone (a soft sign alone) is not there
    words, parts = [word for word in _words(typed) if any(_forms(c)[0] for c in word)], in_mrz.split()
    if _spelled("".join(words), "".join(parts)):
        return True
    if not truncated or len(parts) > len(words):
        return False
    # Truncated: each component that is there begins as the typed one does; the last ones may be missing
    return all(_spelled(word, part, prefix=True) for word, part in zip(words, parts, strict=False))


def _spelled(typed: str, in_mrz: str, *, prefix: bool = False) -> bool:
    """Can `typed` be written as `in_mrz` (or, with `prefix`, be cut to it)? Walks the set of reachable places."""
    places = {0}
    for character in typed:
        if prefix and len(in_mrz) in places:
            return True
        forms = _forms(character)
        places = {
            min(place + len(form), len(in_mrz))
            for place in places
            for form in forms
            if in_mrz.startswith(form, place) or (prefix and form.startswith(in_mrz[place:]))
        }
        if not places:
            return False
    return len(in_mrz) in places


def _plain_number(number: str) -> str:
    return re.sub(r"[\s\-/.<]", "", number).upper()
