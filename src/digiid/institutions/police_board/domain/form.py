"""The steps of the application form: from what was typed to checked values.

Each `parse_…` takes the fields of one page and raises InvalidForm, which names a problem code per
field; the pages turn a code into a sentence in the reader's language. Every value has a limit.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Literal, cast

from digiid.formats.mrz import TravelDocumentForm, find_disagreements, parse_mrz, transliterate
from digiid.institutions.police_board.domain import acceptance
from digiid.institutions.police_board.domain.countries import ALPHA_2, SPECIMEN
from digiid.kernel.errors import Malformed

MIN_MOTIVATION_LENGTH = 50
_MAX_NAME, _MAX_LINE, _MAX_TEXT = 100, 200, 4000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_PHONE = re.compile(r"\+?[0-9 ()-]{6,25}")
_EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9-]{1,63}"
)
MAX_CITIZENSHIPS = 5
MIN_DOCUMENT_VALIDITY = timedelta(days=90)

Fields = Mapping[str, str]


class InvalidForm(Malformed):
    """A page was filled in wrongly. `problems` maps a field to a stable problem code."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("form.invalid", ", ".join(f"{field}: {code}" for field, code in problems.items()))
        self.problems = dict(problems)


@dataclass(frozen=True, slots=True)
class Personal:
    given_names: str
    surname: str
    previous_names: tuple[str, ...]
    sex: Literal["F", "M"]
    born_on: date
    place_of_birth: str
    citizenships: tuple[str, ...]
    personal_code: str
    residence_country: str
    address: str
    phone: str


@dataclass(frozen=True, slots=True)
class TravelDocumentData:
    kind: Literal["passport", "identity_card"]
    number: str
    issuing_country: str
    expires_on: date
    mrz: str


@dataclass(frozen=True, slots=True)
class Motivation:
    motivation: str
    field_of_activity: str


@dataclass(frozen=True, slots=True)
class Business:
    education: str
    work: str
    companies: str
    web: str


@dataclass(frozen=True, slots=True)
class Declarations:
    criminal_record: bool
    criminal_details: str
    business_ban: bool
    ban_details: str
    truthful: bool
    agrees_to_checks: bool
    applies_in_person: bool


@dataclass(frozen=True, slots=True)
class PickUp:
    point_code: str
    point_name: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The exact text that was shown and accepted."""

    version: str
    language: str
    text: str


def parse_email(text: str) -> str:
    """An e-mail address in the form in which it is stored and compared. Raises: InvalidForm `email`."""
    address = text.strip()
    if len(address) > 200 or not _EMAIL.fullmatch(address) or ".." in address:
        raise InvalidForm({"email": "email"})
    return address.lower()


def parse_personal(fields: Fields, *, today: date, specimens: bool) -> Personal:
    """Names are in Latin letters, as the travel document has them; the applicant is at least 18."""
    read = _Reader(fields)
    given_names = read.name("given_names")
    surname = read.name("surname")
    previous = tuple(filter(None, (part.strip() for part in read.line("previous_names", required=False).split(";"))))
    sex = read.choice("sex", ("F", "M"))
    born_on = read.day("born_on")
    if born_on and not read.problems.get("born_on"):
        if born_on > today or born_on.year < today.year - 130:
            read.problems["born_on"] = "date_range"
        elif _age(born_on, today) < 18:
            read.problems["born_on"] = "under_age"
    citizenships = read.countries("citizenships", specimens=specimens)
    personal_code = read.line("personal_code", required=False)
    if personal_code and not re.fullmatch(r"[1-8][0-9]{10}", personal_code):
        read.problems["personal_code"] = "personal_code"
    residence = read.country("residence_country", specimens=specimens)
    phone = read.line("phone", required=False)
    if phone and not _PHONE.fullmatch(phone):
        read.problems["phone"] = "phone"
    place, address = read.line("place_of_birth"), read.text("address", longest=500)
    read.finish()
    return Personal(
        given_names=given_names,
        surname=surname,
        previous_names=previous[:10],
        sex=cast(Literal["F", "M"], sex),
        born_on=cast(date, born_on),
        place_of_birth=place,
        citizenships=citizenships,
        personal_code=personal_code,
        residence_country=residence,
        address=address,
        phone=phone,
    )


def parse_travel_document(fields: Fields, personal: Personal, *, today: date, specimens: bool) -> TravelDocumentData:
    """The typed fields and the machine-readable zone, which must agree with each other and with the personal data."""
    read = _Reader(fields)
    kind = read.choice("kind", ("passport", "identity_card"))
    number = read.line("number").upper().replace(" ", "")
    if number and not re.fullmatch(r"[A-Z0-9/.-]{3,20}", number):
        read.problems.setdefault("number", "document_number")
    country = read.country("issuing_country", specimens=specimens)
    expires_on = read.day("expires_on")
    if expires_on and expires_on < today + MIN_DOCUMENT_VALIDITY:
        read.problems["expires_on"] = "expires_soon"
    zone = read.text("mrz", longest=400)
    if "mrz" not in read.problems:
        try:
            parse_mrz(zone, today=today)
        except Malformed as error:
            read.problems["mrz"] = error.code
    read.finish()
    document = TravelDocumentData(
        cast(Literal["passport", "identity_card"], kind), number, country, cast(date, expires_on), zone
    )
    problems = compare_with_zone(document, personal, today=today)
    if problems:
        raise InvalidForm(problems)
    return document


def compare_with_zone(document: TravelDocumentData, personal: Personal, *, today: date) -> dict[str, str]:
    """Problem codes by field: a zone that cannot be read, and each field that it contradicts. Empty: they agree."""
    try:
        mrz = parse_mrz(document.mrz, today=today)
    except Malformed as error:
        return {"mrz": error.code}
    fields = {
        "document_number": "number",
        "issuing_country": "issuing_country",
        "expires_on": "expires_on",
        "kind": "kind",
    }
    problems: dict[str, str] = {}
    for each in find_disagreements(mrz, travel_document_form(document, personal)):
        # what is on this page is marked there; what is on the personal page is named at the zone
        problems[fields.get(each.field, "mrz")] = f"mrz_differs.{each.field}"
    return problems


def travel_document_form(document: TravelDocumentData, personal: Personal) -> TravelDocumentForm:
    return TravelDocumentForm(
        surname=personal.surname,
        given_names=personal.given_names,
        document_number=document.number,
        issuing_country=document.issuing_country,
        citizenships=personal.citizenships,
        born_on=personal.born_on,
        sex=personal.sex,
        expires_on=document.expires_on,
        kind=document.kind,
    )


def parse_motivation(fields: Fields) -> Motivation:
    read = _Reader(fields)
    motivation = read.text("motivation")
    if motivation and len(motivation) < MIN_MOTIVATION_LENGTH:
        read.problems["motivation"] = "too_short"
    field_of_activity = read.line("field_of_activity")
    read.finish()
    return Motivation(motivation, field_of_activity)


def parse_business(fields: Fields) -> Business:
    read = _Reader(fields)
    education, work = read.text("education"), read.text("work")
    companies, web = read.text("companies", required=False), read.text("web", required=False, longest=1000)
    read.finish()
    return Business(education, work, companies, web)


def parse_declarations(fields: Fields) -> Declarations:
    """A yes needs its details; the three confirmations must be given."""
    read = _Reader(fields)
    record = read.choice("criminal_record", ("yes", "no")) == "yes"
    ban = read.choice("business_ban", ("yes", "no")) == "yes"
    record_details = read.text("criminal_details", required=record)
    ban_details = read.text("ban_details", required=ban)
    for name in ("truthful", "agrees_to_checks", "applies_in_person"):
        if fields.get(name) != "yes":
            read.problems[name] = "must_confirm"
    read.finish()
    return Declarations(record, record_details, ban, ban_details, True, True, True)


def parse_pick_up(fields: Fields, *, points: Mapping[str, str]) -> PickUp:
    """`points` maps the codes of the points that are open to their names."""
    code = fields.get("point_code", "")
    if code not in points:
        raise InvalidForm({"point_code": "choose"})
    return PickUp(code, points[code])


def parse_acceptance(fields: Fields, *, language: str) -> Acceptance:
    if fields.get("accepted") != "yes" or fields.get("version") != acceptance.VERSION:
        raise InvalidForm({"accepted": "must_confirm"})
    return Acceptance(acceptance.VERSION, language, acceptance.text_of(language))


def parse_text(fields: Fields, name: str, *, shortest: int = 1, longest: int = _MAX_TEXT) -> str:
    """One text field: an answer, a reason, a note."""
    read = _Reader(fields)
    text = read.text(name, longest=longest)
    if text and len(text) < shortest:
        read.problems[name] = "too_short"
    read.finish()
    return text


StepData = Personal | TravelDocumentData | Motivation | Business | Declarations | PickUp | Acceptance


def to_json(data: StepData) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, date) else v for k, v in asdict(data).items()}


def personal_from_json(data: Mapping[str, Any]) -> Personal:
    values = dict(data)
    for name in ("previous_names", "citizenships"):
        values[name] = tuple(values[name])
    return Personal(**{**values, "born_on": date.fromisoformat(values["born_on"])})


def travel_document_from_json(data: Mapping[str, Any]) -> TravelDocumentData:
    return TravelDocumentData(**{**data, "expires_on": date.fromisoformat(data["expires_on"])})


def _age(born_on: date, today: date) -> int:
    return today.year - born_on.year - ((today.month, today.day) < (born_on.month, born_on.day))


class _Reader:
    """Reads fields and collects problems, so that a person sees all of them at once."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self.problems: dict[str, str] = {}

    def finish(self) -> None:
        if self.problems:
            raise InvalidForm(self.problems)

    def text(self, name: str, *, required: bool = True, longest: int = _MAX_TEXT) -> str:
        value = unicodedata.normalize("NFC", self._fields.get(name, "")).replace("\r\n", "\n").strip()
        if required and not value:
            self.problems[name] = "required"
        elif len(value) > longest:
            self.problems[name] = "too_long"
        elif _CONTROL.search(value):
            self.problems[name] = "characters"
        return value

    def line(self, name: str, *, required: bool = True) -> str:
        value = self.text(name, required=required, longest=_MAX_LINE)
        if "\n" in value:
            self.problems[name] = "characters"
        return value

    def name(self, name: str) -> str:
        value = re.sub(r"\s+", " ", self.line(name))
        if value and name not in self.problems:
            letters = [c for c in value if c.isalpha()]
            if len(value) > _MAX_NAME:
                self.problems[name] = "too_long"
            elif (
                not transliterate(value)
                or any(not c.isalpha() and c not in " -'’.`" for c in value)
                or any(not unicodedata.name(c, "").startswith("LATIN") for c in letters)
            ):
                self.problems[name] = "latin_letters"
        return value

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        value = self._fields.get(name, "")
        if value not in allowed:
            self.problems[name] = "choose"
        return value

    def day(self, name: str) -> date | None:
        """Three inputs, `<name>-day`, `-month`, `-year`, or one ISO date under the name itself."""
        parts = [self._fields.get(f"{name}-{part}", "").strip() for part in ("year", "month", "day")]
        text = self._fields.get(name, "").strip()
        if not any(parts) and not text:
            self.problems[name] = "required"
            return None
        try:
            if text:
                return date.fromisoformat(text[:10])
            if not all(re.fullmatch(r"[0-9]{1,4}", part) for part in parts):
                raise ValueError
            return date(*(int(part) for part in parts))
        except ValueError:
            self.problems[name] = "date"
            return None

    def country(self, name: str, *, specimens: bool) -> str:
        value = self._fields.get(name, "")
        if not _is_country(value, specimens=specimens):
            self.problems[name] = "choose"
        return value

    def countries(self, name: str, *, specimens: bool) -> tuple[str, ...]:
        """Fields `<name>-1`, `<name>-2` …; the first is required, the others may be empty."""
        found: list[str] = []
        for number in range(1, MAX_CITIZENSHIPS + 1):
            value = self._fields.get(f"{name}-{number}", "")
            if not value and number > 1:
                continue
            if not _is_country(value, specimens=specimens):
                self.problems[f"{name}-{number}"] = "choose"
            elif value not in found:
                found.append(value)
        return tuple(found)


def _is_country(code: str, *, specimens: bool) -> bool:
    return code in ALPHA_2 or (specimens and code == SPECIMEN)
