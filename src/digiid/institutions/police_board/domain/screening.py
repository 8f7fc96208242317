"""The background check's first form: is the person who the papers say, already known, or on a list?

Pure: lists and register answers come in as values, a report with evidence goes out. Every hit can
be explained from its evidence alone. A check that could not be run is incomplete, never clear.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Literal

from rapidfuzz import fuzz

from digiid.formats.mrz import Disagreement, transliterate
from digiid.institutions.police_board.domain import N_
from digiid.institutions.police_board.domain.application import CheckKind, CheckState
from digiid.institutions.police_board.domain.un_list import ListedBirth, ListedPerson, PersonList

HIT_SCORE = 0.84
_TOKEN_SIMILAR = 0.82  # below it two words are different words
_APPROXIMATE_YEARS = 2
_EXACT_YEARS = 1


@dataclass(frozen=True, slots=True)
class Applicant:
    """Whom to look for. Names in Latin letters as in the travel document; country codes alpha-3."""

    given_names: str
    surname: str
    born_on: date
    previous_names: tuple[str, ...] = ()
    citizenships: tuple[str, ...] = ()
    document_number: str = ""


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """Somebody in the population register or in another application of ours, who might be the same person."""

    reference: str
    given_names: str
    surname: str
    born_on: date
    document_number: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """Somebody or something that an officer has to look at. `evidence` is pairs of what was compared."""

    check: CheckKind
    source: str
    reference: str
    score: float
    summary: str
    evidence: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    kind: CheckKind
    state: CheckState
    summary: str
    hits: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class ScreeningReport:
    """What was searched and what was found. `lists` names each list with its version."""

    state: CheckState
    hits: tuple[Hit, ...]
    lists: tuple[tuple[str, str], ...]
    compared_persons: int = field(default=0)

    def as_check(self) -> Check:
        if self.state is CheckState.INCOMPLETE:
            summary = N_("No list could be read, so nobody was looked for.")
        else:
            names = ", ".join(f"{name} ({version})" for name, version in self.lists)
            count = self.compared_persons
            summary = N_(f"{count} persons compared on {names}.")
        return Check(CheckKind.LISTS, self.state, summary, self.hits)


def screen(applicant: Applicant, lists: Sequence[PersonList]) -> ScreeningReport:
    """Look for the applicant on every list: names, birth date, document number.

    With no list the report is incomplete. Hits are ordered by score, highest first, one per listed person.
    """
    if not lists or not all(each.persons for each in lists):
        return ScreeningReport(CheckState.INCOMPLETE, (), ())
    hits = [
        hit
        for each in lists
        for person in each.persons
        if (hit := _compare(applicant, person, source=f"{each.name} ({each.version})")) is not None
    ]
    hits.sort(key=lambda hit: (-hit.score, hit.reference))
    return ScreeningReport(
        state=CheckState.HITS if hits else CheckState.CLEAR,
        hits=tuple(hits),
        lists=tuple((each.name, each.version) for each in lists),
        compared_persons=sum(len(each.persons) for each in lists),
    )


def check_identity(
    *, disagreements: Sequence[Disagreement], document_expires_on: date, born_on: date, today: date
) -> Check:
    """Do the form and the machine-readable zone still agree, is the document valid, is the person of age?"""
    hits = [
        Hit(
            CheckKind.IDENTITY,
            N_("machine-readable zone"),
            d.field,
            1.0,
            N_("The form and the machine-readable zone differ."),
            (("form", d.in_form), ("zone", d.in_mrz)),
        )
        for d in disagreements
    ]
    if document_expires_on < today:
        expired = (("expires_on", document_expires_on.isoformat()),)
        hits.append(
            Hit(
                CheckKind.IDENTITY,
                N_("travel document"),
                "expired",
                1.0,
                N_("The travel document has expired."),
                expired,
            )
        )
    if age_on(born_on, today) < 18:
        evidence = (("born_on", born_on.isoformat()),)
        hits.append(Hit(CheckKind.IDENTITY, N_("form"), "minor", 1.0, N_("The applicant is under 18."), evidence))
    summary = (
        N_("Something has to be looked at.") if hits else N_("Form, zone and document agree; check digits are right.")
    )
    return Check(CheckKind.IDENTITY, CheckState.HITS if hits else CheckState.CLEAR, summary, tuple(hits))


def check_duplicates(
    applicant: Applicant, *, in_register: Sequence[KnownPerson] | None, in_applications: Sequence[KnownPerson]
) -> Check:
    """Is this person already known? `in_register` is None while the population register has not answered."""
    hits = [
        hit
        for source, persons in ((N_("population register"), in_register or ()), (N_("applications"), in_applications))
        for person in persons
        if (hit := _compare_known(applicant, person, source)) is not None
    ]
    hits.sort(key=lambda hit: (-hit.score, hit.reference))
    if in_register is None:
        return Check(
            CheckKind.DUPLICATE, CheckState.OPEN, N_("The population register has not answered yet."), tuple(hits)
        )
    registered, applied = len(in_register), len(in_applications)
    summary = N_(f"Compared: {registered} similar persons in the register, {applied} in applications.")
    return Check(CheckKind.DUPLICATE, CheckState.HITS if hits else CheckState.CLEAR, summary, tuple(hits))


def age_on(born_on: date, day: date) -> int:
    """Full years on `day`."""
    return day.year - born_on.year - ((day.month, day.day) < (born_on.month, born_on.day))


# --- comparing -------------------------------------------------------------------------------------------------------


def _compare(applicant: Applicant, person: ListedPerson, *, source: str) -> Hit | None:
    own_number = re.sub(r"[^A-Z0-9]", "", applicant.document_number.upper())
    same_document = len(own_number) >= 5 and own_number in person.document_numbers
    best, own_name, listed_name = 0.0, "", ""
    for own in (f"{applicant.given_names} {applicant.surname}", *applicant.previous_names):
        for name in person.names:
            similarity = name_similarity(own, name.text) - (0.03 if name.quality == "low" else 0.0)
            if similarity > best:
                best, own_name, listed_name = similarity, own, name.text
    if best < HIT_SCORE - 0.1 and not same_document:
        return None
    relation, adjustment = _compare_births(applicant.born_on, person.births)
    score = 1.0 if same_document else round(max(0.0, min(1.0, best + adjustment)), 3)
    if score < HIT_SCORE:
        return None
    evidence = [
        ("name", own_name),
        ("listed_name", listed_name),
        ("name_similarity", f"{best:.2f}"),
        ("born_on", applicant.born_on.isoformat()),
        ("listed_births", ", ".join(_birth_text(birth) for birth in person.births) or "unknown"),
        ("births", relation),
    ]
    if same_document:
        evidence.append(("document_number", N_("the same")))
    if person.nationalities:
        evidence.append(("listed_nationalities", ", ".join(person.nationalities)))
    return Hit(
        CheckKind.LISTS, source, person.reference, score, f"{own_name} ~ {listed_name}; {relation}", tuple(evidence)
    )


def _compare_known(applicant: Applicant, person: KnownPerson, source: str) -> Hit | None:
    own_number = re.sub(r"[^A-Z0-9]", "", applicant.document_number.upper())
    same_document = len(own_number) >= 5 and own_number == re.sub(r"[^A-Z0-9]", "", person.document_number.upper())
    known = f"{person.given_names} {person.surname}"
    own_names = (f"{applicant.given_names} {applicant.surname}", *applicant.previous_names)
    similarity = max(name_similarity(own, known) for own in own_names)
    relation, adjustment = _compare_births(
        applicant.born_on, (ListedBirth(person.born_on, person.born_on.year, person.born_on.year, False),)
    )
    # two persons of one name and different birth dates are two persons; a slip of the pen in the date is one
    if relation not in ("the same day", "day and month exchanged") and not same_document:
        return None
    score = 1.0 if same_document else round(max(0.0, min(1.0, similarity + adjustment)), 3)
    if score < HIT_SCORE:
        return None
    evidence = (
        ("name", own_names[0]),
        ("known_name", known),
        ("name_similarity", f"{similarity:.2f}"),
        ("births", relation),
        ("document_number", N_("the same") if same_document else N_("another")),
    )
    return Hit(CheckKind.DUPLICATE, source, person.reference, score, f"{known}; {relation}", evidence)


BirthRelation = Literal[
    "the same day", "day and month exchanged", "the same year", "years close", "birth date unknown", "years differ"
]
_RELATION_TEXTS = (
    N_("the same day"),
    N_("day and month exchanged"),
    N_("the same year"),
    N_("years close"),
    N_("birth date unknown"),
    N_("years differ"),
)
_ADJUSTMENTS: dict[BirthRelation, float] = {
    "the same day": 0.08,
    "day and month exchanged": 0.05,
    "the same year": 0.02,
    "years close": 0.0,
    "birth date unknown": 0.0,
    "years differ": -0.25,
}


def _compare_births(born_on: date, births: Sequence[ListedBirth]) -> tuple[BirthRelation, float]:
    """The best relation to any of the listed birth dates, and what it adds to the score."""
    relation: BirthRelation = "years differ" if births else "birth date unknown"
    for birth in births:
        each = _relation(born_on, birth)
        if _ADJUSTMENTS[each] > _ADJUSTMENTS[relation]:
            relation = each
    return relation, _ADJUSTMENTS[relation]


def _relation(born_on: date, birth: ListedBirth) -> BirthRelation:
    if birth.on == born_on:
        return "the same day"
    if birth.on and (birth.on.year, birth.on.month, birth.on.day) == (born_on.year, born_on.day, born_on.month):
        return "day and month exchanged"
    if birth.from_year <= born_on.year <= birth.to_year:
        return "the same year"
    slack = _APPROXIMATE_YEARS if birth.approximate else _EXACT_YEARS
    if birth.from_year - slack <= born_on.year <= birth.to_year + slack:
        return "years close"
    return "years differ"


def _birth_text(birth: ListedBirth) -> str:
    if birth.on:
        return birth.on.isoformat()
    years = str(birth.from_year) if birth.from_year == birth.to_year else f"{birth.from_year}-{birth.to_year}"
    return f"about {years}" if birth.approximate else years


def name_similarity(one: str, other: str) -> float:
    """0…1: how well two whole names are one name, whatever their order, spelling of sounds and left-out parts.

    Every word of the shorter name needs its own counterpart in the longer one; a name of one word
    must be the whole of the other. Left-out words cost a little each.
    """
    score = 0.0
    for words in (_folded, _sounded):
        mine, theirs = words(one), words(other)
        if not mine or not theirs:
            continue
        penalty = 0.0 if words is _folded else 0.02
        if "".join(sorted(mine)) == "".join(sorted(theirs)):
            score = max(score, 1.0 - penalty)
            continue
        score = max(score, _cover(mine, theirs) - penalty, _joined(mine, theirs) - penalty)
    return score


def _cover(mine: tuple[str, ...], theirs: tuple[str, ...]) -> float:
    short, long = sorted((mine, theirs), key=len)
    if len(short) < 2:
        return fuzz.ratio(short[0], long[0]) / 100 if len(long) == 1 else 0.0
    left = list(long)
    total, weight = 0.0, 0
    for word in sorted(short, key=len, reverse=True):
        similarity, index = max((fuzz.ratio(word, each) / 100, -i) for i, each in enumerate(left))
        if similarity < _TOKEN_SIMILAR:
            return 0.0
        total += similarity * len(word)
        weight += len(word)
        del left[-index]
    left_out = min(0.02 * len(left), 0.08)
    return total / weight - left_out


def _joined(mine: tuple[str, ...], theirs: tuple[str, ...]) -> float:
    """Words written together or apart: Abdul Rahman, Abdulrahman. Only for names of much the same length."""
    return (
        max(fuzz.ratio("".join(mine), "".join(theirs)), fuzz.ratio("".join(sorted(mine)), "".join(sorted(theirs))))
        / 100
        - 0.02
    )


# what stands before or after a name and is not one
_NO_NAMES = frozenset({"MR", "MRS", "DR", "PROF", "HAJI", "MULLAH", "MAULAVI", "SHEIKH", "SAYYID"})


@lru_cache(maxsize=200_000)
def _folded(name: str) -> tuple[str, ...]:
    """Words in ASCII capitals, marks and apostrophes gone (Doc 9303 transliteration)."""
    text = transliterate(unicodedata.normalize("NFKC", name))
    words = tuple(word for word in re.findall(r"[A-Z]+", text) if word not in _NO_NAMES)
    return words or tuple(re.findall(r"[A-Z]+", text))


# spellings of one sound in Latin transliterations, longest first
_SOUNDS = (
    ("TCH", "C"), ("SCH", "S"), ("DJ", "J"), ("DZH", "J"), ("ZH", "J"), ("KH", "H"), ("GH", "G"), ("PH", "F"),
    ("TH", "T"), ("DH", "D"), ("SH", "S"), ("CH", "C"), ("CK", "K"), ("QU", "K"), ("Q", "K"), ("X", "KS"),
    ("OU", "U"), ("OO", "U"), ("EE", "I"), ("AE", "A"), ("OE", "U"), ("UE", "U"), ("IE", "I"), ("EI", "I"),
    ("AI", "I"), ("AY", "I"), ("EY", "I"), ("Y", "I"), ("O", "U"), ("E", "I"), ("W", "V"), ("Z", "S"), ("C", "K"),
)  # fmt: skip


@lru_cache(maxsize=200_000)
def _sounded(name: str) -> tuple[str, ...]:
    """The words with spellings of one sound made equal: MUHAMMAD, Mohamed and Mohammed are one."""
    words = []
    for word in _folded(name):
        sound = word
        for spelling, plain in _SOUNDS:
            sound = sound.replace(spelling, plain)
        sound = re.sub(r"(.)\1+", r"\1", sound)
        words.append(re.sub(r"(?<=.)H(?![AIU])", "", sound))
    return tuple(words)
