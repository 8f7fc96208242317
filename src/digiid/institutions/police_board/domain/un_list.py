"""The consolidated list of the United Nations Security Council (sc-sanctions.xsd), persons only.

Read as a stream with limits, so that a list of any size takes little memory and a hostile one stops
early. Entities (companies, vessels) are left out: an applicant is a person. Our own test list has
the same form.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import IO, Literal

from lxml import etree

from digiid.kernel.errors import Malformed

MAX_BYTES = 100 * 1024 * 1024
MAX_PERSONS = 200_000
MAX_NAMES_PER_PERSON = 500
MAX_TEXT_LENGTH = 1000
_MAX_DEPTH = 12
_CHUNK_BYTES = 64 * 1024
_YEAR = re.compile(r"(1[89]|20)\d\d")

NameQuality = Literal["primary", "good", "low"]


@dataclass(frozen=True, slots=True)
class ListedName:
    text: str
    quality: NameQuality


@dataclass(frozen=True, slots=True)
class ListedBirth:
    """What the list knows of a birth date: a day, or years from-to. `approximate` widens the years."""

    on: date | None
    from_year: int
    to_year: int
    approximate: bool


@dataclass(frozen=True, slots=True)
class ListedPerson:
    reference: str
    names: tuple[ListedName, ...]
    births: tuple[ListedBirth, ...]
    nationalities: tuple[str, ...]
    document_numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PersonList:
    """One list at one version. `version` is the publisher's own mark of when it was made."""

    name: str
    version: str
    persons: tuple[ListedPerson, ...]


def parse_un_list(file: IO[bytes], *, name: str) -> PersonList:
    """Read a list from a file that is open for reading.

    Raises: Malformed `screening.list`: not XML, a DOCTYPE, not this form, beyond a limit, or nobody on it.
    """
    persons: list[ListedPerson] = []
    version = ""
    try:
        parser = etree.XMLPullParser(
            events=("start", "end"),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        depth = 0
        for _ in _feed(parser, file):
            for event, element in parser.read_events():
                if event == "start":
                    depth += 1
                    if depth > _MAX_DEPTH:
                        raise _malformed("nested too deeply")
                    if depth == 1:
                        version = _root(element)
                    continue
                depth -= 1
                if element.tag == "INDIVIDUAL":
                    persons.append(_person(element))
                    if len(persons) > MAX_PERSONS:
                        raise _malformed("too many persons")
                if element.tag in ("INDIVIDUAL", "ENTITY"):
                    _forget(element)
        parser.close()
    except etree.LxmlError as error:
        raise _malformed(f"not well-formed XML: {type(error).__name__}") from error
    except (ValueError, TypeError) as error:
        raise _malformed(type(error).__name__) from error
    if not persons:
        raise _malformed("nobody on it")
    return PersonList(name, version, tuple(persons))


def _feed(parser: "etree.XMLPullParser", file: IO[bytes]) -> Iterator[None]:
    read = 0
    head = b""
    while chunk := file.read(_CHUNK_BYTES):
        read += len(chunk)
        if read > MAX_BYTES:
            raise _malformed(f"more than {MAX_BYTES} bytes")
        # a list has no DOCTYPE: refused by its bytes, before a parser could act on it
        if b"<!DOCTYPE" in head[-8:] + chunk or b"<!ENTITY" in head[-8:] + chunk:
            raise _malformed("a DOCTYPE")
        head = chunk
        parser.feed(chunk)
        yield
    if not read:
        raise _malformed("empty")


def _root(element: "etree._Element") -> str:
    if element.tag != "CONSOLIDATED_LIST":
        raise _malformed("the root is not CONSOLIDATED_LIST")
    version = element.get("dateGenerated", "")
    if not version or len(version) > 40:
        raise _malformed("no dateGenerated")
    return version


def _forget(element: "etree._Element") -> None:
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _person(element: "etree._Element") -> ListedPerson:
    parts = [_text(element, tag) for tag in ("FIRST_NAME", "SECOND_NAME", "THIRD_NAME", "FOURTH_NAME")]
    names = [ListedName(" ".join(filter(None, parts)), "primary")]
    if original := _text(element, "NAME_ORIGINAL_SCRIPT"):
        names.append(ListedName(original, "good"))
    for alias in element.findall("INDIVIDUAL_ALIAS"):
        for text in re.split(r"[;\n]", _text(alias, "ALIAS_NAME")):
            if text.strip():
                names.append(ListedName(text.strip(), "low" if _text(alias, "QUALITY").lower() == "low" else "good"))
        if len(names) > MAX_NAMES_PER_PERSON:
            raise _malformed("too many names of one person")
    reference = _text(element, "REFERENCE_NUMBER") or _text(element, "DATAID")
    if not reference or not any(name.text for name in names):
        raise _malformed("a person without a reference or a name")
    births = [birth for b in element.findall("INDIVIDUAL_DATE_OF_BIRTH") if (birth := _birth(b)) is not None]
    numbers = [_text(d, "NUMBER") for d in element.findall("INDIVIDUAL_DOCUMENT")]
    return ListedPerson(
        reference=reference,
        names=tuple(name for name in names if name.text),
        births=tuple(births),
        nationalities=tuple(_clean(v.text) for v in element.findall("NATIONALITY/VALUE") if _clean(v.text)),
        document_numbers=tuple(n for n in (re.sub(r"[^A-Z0-9]", "", n.upper()) for n in numbers) if len(n) >= 5),
    )


def _birth(element: "etree._Element") -> ListedBirth | None:
    approximate = _text(element, "TYPE_OF_DATE").upper() != "EXACT"
    if text := _text(element, "DATE"):
        try:
            day = date.fromisoformat(text[:10])
        except ValueError:
            day = None
        if day is not None:
            return ListedBirth(day, day.year, day.year, approximate)
    years = [int(y) for tag in ("YEAR", "FROM_YEAR", "TO_YEAR") if _YEAR.fullmatch(y := _text(element, tag))]
    if not years and (found := _YEAR.search(_text(element, "DATE") + " " + _text(element, "NOTE"))):
        years = [int(found.group())]
    if not years:
        return None
    return ListedBirth(None, min(years), max(years), approximate)


def _text(element: "etree._Element", tag: str) -> str:
    return _clean(element.findtext(tag))


def _clean(text: str | None) -> str:
    return re.sub(r"[ \t\r]+", " ", text or "").strip()[:MAX_TEXT_LENGTH]


def _malformed(detail: str) -> Malformed:
    return Malformed("screening.list", detail, public="This is not a list in the form of the UN consolidated list.")
