"""The whole corpus of signed containers of the field, when it is at hand: every verdict as asserted, or explained."""

import csv
import io
import os
from pathlib import Path

import pytest

from digiid.formats.validation import validate_container
from tests.support.field_containers import JUDGED_AT, Row, our_verdict, read_manifest, read_trust

ROOT = Path(__file__).resolve().parents[2]
CORPORA = Path(os.environ.get("DIGIID_CORPORA", ROOT.parent / "shared" / "corpora"))

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not (CORPORA / "containers" / "MANIFEST.csv").exists(), reason="DIGIID_CORPORA is not there"),
]

# Where we differ on purpose. Their "invalid" does not tell TOTAL-FAILED from INDETERMINATE; ours does.
with (ROOT / "docs" / "divergences" / "field-corpus.csv").open(encoding="utf-8", newline="") as table:
    EXPLAINED = {row["file"]: row["ours"] for row in csv.DictReader(table)}


def rows() -> list[Row]:
    folder = CORPORA / "containers"
    return list(read_manifest(folder)) if (folder / "MANIFEST.csv").exists() else []


@pytest.mark.parametrize("row", rows(), ids=str)
def test_every_verdict_is_as_asserted_or_explained(row: Row) -> None:
    expected = EXPLAINED.get(row.file.name, row.expected)
    assert our_verdict(row, read_trust(CORPORA / "trust_lists")) == expected


@pytest.mark.parametrize(
    ("name", "tokens", "signatures", "warning"),
    [
        ("SiVa__2xTST-valid-bdoc-data-file.asics", ["QTSA", "QTSA"], ["XAdES_BASELINE_LT_TM"], None),
        ("SiVa-Test__ValidAsiceInAsics.asics", ["QTSA"], ["XAdES_BASELINE_LT"], None),
        ("SiVa-Test__DdocInAsicsMimetypeNotFirst.asics", ["QTSA"], ["DIGIDOC_XML_1.3"], "asic.mimetype.not_first"),
        ("SiVa__testtimestamp.asics", ["QTSA"], [], None),
    ],
)
def test_what_is_told_about_time_stamped_containers(
    name: str, tokens: list[str], signatures: list[str], warning: str | None
) -> None:
    file = CORPORA / "containers" / name
    trust = read_trust(CORPORA / "trust_lists")
    report = validate_container(io.BytesIO(file.read_bytes()), trust=trust, at=JUDGED_AT, file_name=name)
    assert report.is_valid
    assert [token.level for token in report.time_stamp_tokens] == tokens
    assert [signature.signature_format for signature in report.signatures] == signatures
    codes = {message.code for message in report.messages}
    assert warning is None or warning in codes


@pytest.mark.parametrize(
    ("national", "container"),
    [
        ("EE_T-CA-invalid-type.xml", "libdigidocpp__tsl.asice"),
        ("EE_T-CA-withdrawn.xml", "libdigidocpp__tsl.asice"),
        ("EE_T-TSA-withdrawn.xml", "libdigidocpp__tsl.asice"),
    ],
)
def test_a_list_that_withdraws_a_service_takes_the_verdict_back(national: str, container: str) -> None:
    row = next(row for row in rows() if row.file.name == container)
    assert our_verdict(row, read_trust(CORPORA / "trust_lists")) == "valid"
    assert our_verdict(row, read_trust(CORPORA / "trust_lists", national)) == "indeterminate"
