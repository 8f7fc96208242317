"""Screening against the TEST list of invented names: who is found, who is not, and why."""

from dataclasses import replace
from datetime import date
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.institutions.police_board.domain import un_list
from digiid.institutions.police_board.domain.application import CheckState
from digiid.institutions.police_board.domain.screening import (
    Applicant,
    KnownPerson,
    check_duplicates,
    check_identity,
    name_similarity,
    screen,
)
from digiid.institutions.police_board.domain.un_list import PersonList, parse_un_list
from digiid.institutions.police_board.settings import TEST_LIST
from digiid.kernel.errors import Malformed

XML = TEST_LIST.read_bytes()
LISTED = Applicant("Viktor", "Testovsky", date(1975, 3, 14))


def invented_list() -> PersonList:
    return parse_un_list(BytesIO(XML), name="TEST list")


def found(applicant: Applicant) -> list[str]:
    return [hit.reference for hit in screen(applicant, [invented_list()]).hits]


def test_the_list_is_read_with_its_version_and_without_its_companies() -> None:
    read = invented_list()
    assert read.version == "2026-11-01T00:00:00.000Z"
    assert [person.reference for person in read.persons] == ["TESTi.001", "TESTi.002", "TESTi.003", "TESTi.004"]
    assert read.persons[0].document_numbers == ("UT7654321",)


def test_without_a_list_the_check_is_incomplete_and_never_clear() -> None:
    report = screen(LISTED, [])
    assert report.state is CheckState.INCOMPLETE
    assert report.as_check().state is CheckState.INCOMPLETE


@pytest.mark.parametrize(
    ("given_names", "surname", "born_on", "reference"),
    [
        ("Viktor", "Testovsky", date(1975, 3, 14), "TESTi.001"),
        ("Wiktor", "Testowski", date(1975, 3, 14), "TESTi.001"),  # an alias
        ("Testovsky", "Viktor", date(1975, 3, 14), "TESTi.001"),  # the other order
        ("Viktor Jan", "Testovskij", date(1976, 1, 1), "TESTi.001"),  # another middle name, spelling, year
        ("Виктор", "Тестовский", date(1975, 3, 14), "TESTi.001"),  # the original script
        ("Viktor", "Testovsky", date(1975, 1, 1), "TESTi.001"),  # only the year agrees
        ("Muhammad", "Abdul-Rahman al Nowheri", date(1970, 5, 5), "TESTi.002"),  # approximate year ± 2
        ("Mohamed Abdulrahman", "Nowheri", date(1968, 5, 5), "TESTi.002"),
        ("Johanna", "Muesterfrau Probst", date(1982, 2, 2), "TESTi.003"),  # between two years
        ("Johanna", "Musterfrau-Probst", date(1984, 2, 2), "TESTi.003"),
        ("Sven", "Naidismaa", date(1999, 9, 9), "TESTi.004"),  # no birth date is known
    ],
)
def test_a_listed_person_is_found(given_names: str, surname: str, born_on: date, reference: str) -> None:
    assert found(Applicant(given_names, surname, born_on)) == [reference]


@pytest.mark.parametrize(
    ("given_names", "surname", "born_on"),
    [
        ("Viktor", "Testovsky", date(1950, 3, 14)),  # the name of somebody of another generation
        ("Viktor", "Petersen", date(1975, 3, 14)),
        ("Anna Maria", "Eriksson", date(1974, 8, 12)),
        ("Sven", "Svensson", date(1980, 1, 1)),
        ("Johanna", "Probstova", date(1981, 1, 1)),
    ],
)
def test_others_are_not_found(given_names: str, surname: str, born_on: date) -> None:
    report = screen(Applicant(given_names, surname, born_on), [invented_list()])
    assert (report.state, report.hits) == (CheckState.CLEAR, ())
    assert report.compared_persons == 4


def test_a_previous_name_and_a_document_number_are_looked_for_too() -> None:
    renamed = Applicant("Vic", "Newname", date(1975, 3, 14), previous_names=("Viktor Testovsky",))
    assert found(renamed) == ["TESTi.001"]
    other_name = Applicant("Somebody", "Else", date(1999, 1, 1), document_number="ut 765-4321")
    assert found(other_name) == ["TESTi.001"]


def test_a_hit_explains_itself() -> None:
    hit = screen(LISTED, [invented_list()]).hits[0]
    evidence = dict(hit.evidence)
    assert hit.score == 1.0
    assert evidence["listed_name"] == "VIKTOR TESTOVSKY"
    assert evidence["births"] == "the same day"
    assert "2026-11-01" in hit.source


def test_day_and_month_exchanged_are_a_slip_of_the_pen() -> None:
    person = replace(invented_list().persons[0], births=(un_list.ListedBirth(date(1975, 3, 4), 1975, 1975, False),))
    report = screen(Applicant("Viktor", "Testovsky", date(1975, 4, 3)), [PersonList("L", "1", (person,))])
    assert dict(report.hits[0].evidence)["births"] == "day and month exchanged"


@given(st.text(max_size=40), st.text(max_size=40))
def test_similarity_is_symmetric_and_within_bounds(one: str, other: str) -> None:
    score = name_similarity(one, other)
    assert 0.0 <= score <= 1.0
    assert score == pytest.approx(name_similarity(other, one))


def test_the_same_person_is_similar_to_themselves_and_one_word_is_not_a_whole_name() -> None:
    assert name_similarity("Ülo Õunapuu", "OUNAPUU, Ulo") > 0.95
    assert name_similarity("Viktor", "Viktor Testovsky") < 0.6


def test_a_duplicate_is_the_same_birth_date_and_a_similar_name_or_the_same_document() -> None:
    applicant = Applicant("Anna", "Eriksson", date(1974, 8, 12), document_number="L898902C3")
    twin = KnownPerson("49001010000", "Anna Maria", "Erikson", date(1974, 8, 12))
    namesake = KnownPerson("49001010001", "Anna", "Eriksson", date(1984, 8, 12))
    same_paper = KnownPerson("2026-000001", "Hanna", "Somebody", date(1999, 1, 1), "L898902C3")
    check = check_duplicates(applicant, in_register=[twin, namesake], in_applications=[same_paper])
    assert {hit.reference for hit in check.hits} == {"49001010000", "2026-000001"}


def test_while_the_register_has_not_answered_the_check_is_open() -> None:
    assert check_duplicates(LISTED, in_register=None, in_applications=[]).state is CheckState.OPEN
    assert check_duplicates(LISTED, in_register=[], in_applications=[]).state is CheckState.CLEAR


def test_an_expired_document_and_a_minor_are_hits() -> None:
    today = date(2026, 11, 23)
    check = check_identity(
        disagreements=(), document_expires_on=date(2026, 11, 22), born_on=date(2008, 11, 24), today=today
    )
    assert [hit.reference for hit in check.hits] == ["expired", "minor"]
    fine = check_identity(disagreements=(), document_expires_on=today, born_on=date(2008, 11, 23), today=today)
    assert fine.state is CheckState.CLEAR


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<a/>",
        b"<CONSOLIDATED_LIST dateGenerated='2026'/>",
        b"<CONSOLIDATED_LIST><INDIVIDUALS/></CONSOLIDATED_LIST>",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + XML[XML.index(b"<CONSOLIDATED") :],
        XML[:-30],
        XML.replace(b"TESTi.001", b"").replace(b"<DATAID>1<", b"<DATAID><"),
        b"<CONSOLIDATED_LIST dateGenerated='1'>" + b"<x>" * 40,
    ],
)
def test_what_is_no_list_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_un_list(BytesIO(data), name="x")


@given(st.integers(0, len(XML) - 1), st.binary(max_size=8))
def test_only_malformed_escapes_the_list_parser(position: int, noise: bytes) -> None:
    try:
        parse_un_list(BytesIO(XML[:position] + noise + XML[position + len(noise) :]), name="x")
    except Malformed:
        pass
