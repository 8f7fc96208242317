"""The whole corpus of signed containers of the field, when it is at hand: every verdict as asserted, or explained."""

import os
from pathlib import Path

import pytest

from digiid.platform.documents.expectations import Expectation, read_expectations
from tests.support.field_containers import Row, our_verdict, read_manifest, read_trust

ROOT = Path(__file__).resolve().parents[2]
CORPORA = Path(os.environ.get("DIGIID_CORPORA", ROOT.parent / "shared" / "corpora"))

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not (CORPORA / "containers" / "MANIFEST.csv").exists(), reason="DIGIID_CORPORA is not there"),
]

# Where we differ on purpose, each with its reason: the same table that `digiid verify --explained` reads.
EXPLAINED = ROOT / "docs" / "divergences" / "field-corpus.csv"


def rows() -> list[Row]:
    folder = CORPORA / "containers"
    return list(read_manifest(folder)) if (folder / "MANIFEST.csv").exists() else []


def expectations() -> list[Expectation]:
    table = CORPORA / "containers" / "MANIFEST.csv"
    return read_expectations(table, EXPLAINED) if table.exists() else []


@pytest.mark.parametrize("expectation", expectations(), ids=lambda e: f"{e.file.name}-{e.policy or 'any'}")
def test_every_verdict_is_as_asserted_or_explained(expectation: Expectation) -> None:
    row = Row(expectation.file, expectation.file.suffix[1:], expectation.expected, "", expectation.policy or "")
    assert expectation.agrees(our_verdict(row, read_trust(CORPORA / "trust_lists")))


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
