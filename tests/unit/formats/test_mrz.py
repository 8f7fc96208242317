"""Machine-readable zones against the specimens printed in ICAO Doc 9303 parts 4, 5 and 6."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats.mrz import (
    Mrz,
    MrzForm,
    TravelDocumentForm,
    build_td3,
    check_digit,
    find_disagreements,
    parse_mrz,
    transliterate,
)
from digiid.kernel.errors import Malformed

TODAY = date(2026, 11, 23)
TD3 = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10"
TD2 = "I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<\nD231458907UTO7408122F1204159<<<<<<<6"
TD1 = "I<UTOD231458907<<<<<<<<<<<<<<<\n7408122F1204159UTO<<<<<<<<<<<6\nERIKSSON<<ANNA<MARIA<<<<<<<<<<"
TD1_LONG = "I<UTOD23145890<7349<<<<<<<<<<<\n3407127M9507122UTO<<<<<<<<<<<2\nSTEVENSON<<PETER<JOHN<<<<<<<<<"

ANNA = TravelDocumentForm(
    surname="Eriksson",
    given_names="Anna Maria",
    document_number="L898902C3",
    issuing_country="UTO",
    citizenships=("UTO",),
    born_on=date(1974, 8, 12),
    sex="F",
    expires_on=date(2012, 4, 15),
    kind="passport",
)


@pytest.mark.parametrize("text", [TD3, TD2, TD1], ids=["TD3", "TD2", "TD1"])
def test_icao_specimens_are_read(text: str) -> None:
    mrz = parse_mrz(text, today=TODAY)
    assert (mrz.surname, mrz.given_names) == ("ERIKSSON", "ANNA MARIA")
    assert (mrz.born_on, mrz.expires_on) == (date(1974, 8, 12), date(2012, 4, 15))
    assert (mrz.issuer, mrz.nationality, mrz.sex) == ("UTO", "UTO", "F")


def test_form_and_number_of_each_specimen() -> None:
    assert parse_mrz(TD3, today=TODAY).document_number == "L898902C3"
    assert parse_mrz(TD3, today=TODAY).optional_data == "ZE184226B"
    assert parse_mrz(TD3, today=TODAY).kind == "passport"
    assert parse_mrz(TD2, today=TODAY).form is MrzForm.TD2
    assert parse_mrz(TD1, today=TODAY).document_number == "D23145890"
    assert parse_mrz(TD1, today=TODAY).kind == "identity_card"


def test_a_long_document_number_goes_on_in_the_optional_data() -> None:
    assert parse_mrz(TD1_LONG, today=TODAY).document_number == "D23145890734"


def test_pasted_as_one_line_with_small_letters_and_spaces() -> None:
    assert parse_mrz(TD3.replace("\n", "").lower(), today=TODAY) == parse_mrz(TD3, today=TODAY)
    assert parse_mrz(TD3.replace("<<ANNA", " << ANNA"), today=TODAY).given_names == "ANNA MARIA"


@pytest.mark.parametrize("position", [0, 9, 13, 19, 21, 27, 30, 42, 43])
def test_a_changed_character_is_noticed_by_its_check_digit(position: int) -> None:
    first, second = TD3.split("\n")
    other = "5" if second[position] != "5" else "6"
    changed = second[:position] + other + second[position + 1 :]
    with pytest.raises(Malformed) as caught:
        parse_mrz(f"{first}\n{changed}", today=TODAY)
    assert caught.value.code == "mrz.check_digit"
    assert caught.value.public


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "mrz.form"),
        ("P<UTO", "mrz.form"),
        ("x" * 500, "mrz.form"),
        (TD3.replace("ANNA", "ÄNNA"), "mrz.alphabet"),
        (TD3.replace("P<UTO", "V<UTO"), "mrz.field"),
    ],
)
def test_what_is_no_zone_is_malformed(text: str, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_mrz(text, today=TODAY)
    assert caught.value.code == code


def zone(born: str = "740812", expires: str = "340415", sex: str = "F") -> str:
    body = f"L898902C36UTO{born}{check_digit(born)}{sex}{expires}{check_digit(expires)}<<<<<<<<<<<<<<<"
    return f"{TD3.splitlines()[0]}\n{body}{check_digit(body[0:10] + body[13:20] + body[21:43])}"


def test_the_century_of_a_two_digit_year_is_settled_by_today() -> None:
    assert parse_mrz(zone(born="261123"), today=TODAY).born_on == date(2026, 11, 23)
    assert parse_mrz(zone(born="261124"), today=TODAY).born_on == date(1926, 11, 24), "nobody is born tomorrow"
    assert parse_mrz(zone(expires="750101"), today=TODAY).expires_on == date(2075, 1, 1)
    assert parse_mrz(zone(expires="760101"), today=TODAY).expires_on == date(1976, 1, 1)


def test_unknown_parts_of_a_birth_date_stay_unknown() -> None:
    mrz = parse_mrz(zone(born="74<<<<"), today=TODAY)
    assert (mrz.born_on, mrz.birth_year) == (None, 1974)
    assert find_disagreements(mrz, replace(ANNA, expires_on=date(2034, 4, 15))) == ()
    wrong_year = find_disagreements(mrz, replace(ANNA, born_on=date(1975, 8, 12), expires_on=date(2034, 4, 15)))
    assert [d.field for d in wrong_year] == ["born_on"]


def test_a_date_that_is_none_is_malformed() -> None:
    for text in (zone(born="741332"), zone(expires="340230"), zone(sex="Q")):
        with pytest.raises(Malformed):
            parse_mrz(text, today=TODAY)


def test_the_specimen_agrees_with_its_own_form() -> None:
    assert find_disagreements(parse_mrz(TD3, today=TODAY), ANNA) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("surname", "Erikson"),
        ("given_names", "Anna"),
        ("document_number", "L898902C4"),
        ("issuing_country", "EST"),
        ("citizenships", ("EST", "FIN")),
        ("born_on", date(1974, 12, 8)),
        ("sex", "M"),
        ("expires_on", date(2012, 4, 16)),
        ("kind", "identity_card"),
    ],
)
def test_each_field_that_differs_is_named(field: str, value: object) -> None:
    form = replace(ANNA, **{field: value})  # type: ignore[arg-type]
    assert [d.field for d in find_disagreements(parse_mrz(TD3, today=TODAY), form)] == [field]


@pytest.mark.parametrize(
    ("typed", "in_zone"),
    [
        ("Müller", "MUELLER"),
        ("Müller", "MULLER"),
        ("Müller", "MUXXLLER"),
        ("Õunapuu", "OUNAPUU"),
        ("Jõgi-Kask", "JOGI KASK"),
        ("O'Connor", "OCONNOR"),
        ("O’Connor", "O CONNOR"),
        ("Strauß", "STRAUSS"),
        ("Þórðarson", "THORDARSON"),
        ("Łukasiewicz", "LUKASIEWICZ"),
        ("Nguyễn", "NGUYEN"),
        ("Щербаков", "SHCHERBAKOV"),
        ("D'Artagnan de la Fère", "DARTAGNAN DE LA FERE"),
    ],
)
def test_names_agree_after_transliteration(typed: str, in_zone: str) -> None:
    mrz = replace(parse_mrz(TD3, today=TODAY), surname=in_zone)
    assert find_disagreements(mrz, replace(ANNA, surname=typed)) == ()


def test_a_full_name_field_may_cut_components_and_a_short_one_may_not() -> None:
    long = replace(ANNA, surname="Nilavadhanananda", given_names="Chayapa Dejthamrong Krasuang")
    cut = replace(
        parse_mrz(TD3, today=TODAY),
        surname="NILAVADHANANANDA",
        given_names="CHAYAPA DEJTHAMRON K",
        names_truncated=True,
    )
    assert find_disagreements(cut, long) == ()
    assert [d.field for d in find_disagreements(replace(cut, names_truncated=False), long)] == ["given_names"]
    other = replace(long, given_names="Chayapa Zzz Krasuang")
    assert [d.field for d in find_disagreements(cut, other)] == ["given_names"]


def test_germany_is_one_letter_in_the_zone() -> None:
    mrz = replace(parse_mrz(TD3, today=TODAY), issuer="D", nationality="D")
    assert find_disagreements(mrz, replace(ANNA, issuing_country="DEU", citizenships=("DEU",))) == ()


def test_built_zone_is_the_specimen() -> None:
    built = build_td3(
        surname="Eriksson",
        given_names="Anna Maria",
        document_number="L898902C3",
        issuer="UTO",
        nationality="UTO",
        born_on=date(1974, 8, 12),
        sex="F",
        expires_on=date(2012, 4, 15),
        optional_data="ZE184226B",
    )
    assert built == TD3


def test_names_too_long_for_the_zone_are_not_written() -> None:
    with pytest.raises(Malformed):
        build_td3(
            surname="A" * 30,
            given_names="B" * 10,
            document_number="AB123",
            issuer="EST",
            nationality="EST",
            born_on=TODAY,
            sex="M",
            expires_on=TODAY,
        )


# Two of them have room in a passport's zone; щ alone becomes five letters.
NAMES = st.text(alphabet="ABCÄÕŠŽабьщéñ'- ", min_size=1, max_size=9).filter(lambda t: 0 < len(transliterate(t)) < 19)


@given(surname=NAMES, given_names=NAMES, born=st.dates(date(1930, 1, 1), TODAY))
def test_what_is_built_is_read_and_agrees(surname: str, given_names: str, born: date) -> None:
    text = build_td3(
        surname=surname,
        given_names=given_names,
        document_number="AB123",
        issuer="EST",
        nationality="EST",
        born_on=born,
        sex="M",
        expires_on=date(2031, 1, 1),
    )
    mrz = parse_mrz(text, today=TODAY)
    form = replace(
        ANNA,
        surname=surname,
        given_names=given_names,
        document_number="AB 123",
        issuing_country="EST",
        citizenships=("EST",),
        born_on=born,
        sex="M",
        expires_on=date(2031, 1, 1),
    )
    assert find_disagreements(mrz, form) == ()


@given(st.one_of(st.text(max_size=420), st.text(alphabet="ABCP<0123456789", min_size=88, max_size=88)))
def test_only_malformed_escapes_the_parser(text: str) -> None:
    try:
        assert isinstance(parse_mrz(text, today=TODAY), Mrz)
    except Malformed:
        pass


@given(st.integers(0, 87), st.sampled_from("<0159AZ"))
def test_a_mutated_specimen_is_read_or_malformed(position: int, character: str) -> None:
    flat = TD3.replace("\n", "")
    try:
        parse_mrz(flat[:position] + character + flat[position + 1 :], today=TODAY)
    except Malformed:
        pass
