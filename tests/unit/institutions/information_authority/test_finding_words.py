"""Whatever a validation may find is told in Estonian too."""

import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from digiid.formats.validation import Finding
from digiid.formats.validation.findings import HARMLESS
from digiid.formats.validation.signature import VERIFY_VERDICTS
from digiid.institutions.information_authority.web import finding_words
from digiid.institutions.information_authority.web.finding_words import (
    FAMILIES,
    GENERAL,
    MEANINGS,
    SENTENCES,
    in_plain_words,
    sentence_of,
)

ROOT = Path(__file__).resolve().parents[4]
CODES = sorted(set(re.findall(r"^\| `([^`]+)`", (ROOT / "docs/reference/report-codes.md").read_text("utf-8"), re.M)))


@pytest.fixture(scope="module")
def estonian() -> dict[str, str]:
    with (Path(finding_words.__file__).parent / "locale" / "et.po").open("rb") as stream:
        return {str(message.id): str(message.string) for message in read_po(stream, locale="et") if message.id}


def test_the_page_of_report_codes_is_read() -> None:
    assert len(CODES) > 90 and "asic.mimetype.absent" in CODES


@pytest.mark.parametrize("code", CODES)
def test_every_report_code_has_a_sentence_of_its_own(code: str) -> None:
    assert code in SENTENCES


@pytest.mark.parametrize("code", VERIFY_VERDICTS)
def test_what_decides_a_verdict_is_not_called_unreadable(code: str) -> None:
    assert sentence_of(code) not in (GENERAL, *FAMILIES.values())


def test_every_sentence_and_meaning_is_translated(estonian: dict[str, str]) -> None:
    for text in {*SENTENCES.values(), *FAMILIES.values(), GENERAL, *MEANINGS}:
        assert estonian[text].strip() not in ("", text), text


def test_the_meanings_are_those_that_the_validator_tells() -> None:
    assert set(MEANINGS) == set(HARMLESS.values())


def test_a_code_without_a_sentence_is_told_by_its_family_or_in_general() -> None:
    assert sentence_of("ocsp.responder_expired") == "The confirmation of the certificate cannot be used."
    assert sentence_of("xades.xml") == sentence_of("") == "A part of the document cannot be read as it should be."


def test_findings_of_one_kind_are_told_together_with_all_their_words() -> None:
    findings = [
        Finding("asic.empty_file", False, "Data file 'a' is empty", HARMLESS["asic.empty_file"]),
        Finding("asic.unknown_meta_file", False, "'c' is not covered by any signature", "x"),
        Finding("asic.empty_file", False, "Data file 'b' is empty", HARMLESS["asic.empty_file"]),
        Finding("asic.empty_file", True, "Data file 'd' is empty"),
    ]
    told = [(plain.matters, plain.sentence, list(plain.exact)) for plain in in_plain_words(findings)]
    empty = "A file in the container is empty."
    assert told == [
        (False, empty, ["Data file 'a' is empty", "Data file 'b' is empty"]),
        (False, SENTENCES["asic.unknown_meta_file"], ["'c' is not covered by any signature"]),
        (True, empty, ["Data file 'd' is empty"]),
    ]
