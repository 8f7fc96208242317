"""Containers that other programs made and judged: the same verdict from us."""

import io
from pathlib import Path

import pytest

from digiid.formats.validation import POLV4, validate_container
from tests.support.field_containers import JUDGED_AT, Row, our_verdict, read_manifest, read_trust

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "containers"
TRUST = read_trust(VECTORS)


@pytest.mark.parametrize("row", list(read_manifest(VECTORS)), ids=str)
def test_the_asserted_verdict_is_ours(row: Row) -> None:
    assert our_verdict(row, TRUST) == row.expected


@pytest.mark.parametrize(
    ("name", "indication", "sub_indication", "level"),
    [
        ("SiVa-Test__TEST_ESTEID2018_ASiC-E_XAdES_LT.sce", "TOTAL-PASSED", None, "QESIG"),
        (
            "SiVa-Test__TEST_ESTEID2018_ASiC-E_XAdES_T.sce",
            "INDETERMINATE",
            "CERTIFICATE_CHAIN_GENERAL_FAILURE",
            "INDETERMINATE_QESIG",
        ),
        (
            "digidoc4j__datafile-name-in-signature-contains-path-separator.asice",
            "INDETERMINATE",
            "SIGNED_DATA_NOT_FOUND",
            "INDETERMINATE_QESIG",
        ),
    ],
)
def test_the_asserted_sub_indication_is_ours(
    name: str, indication: str, sub_indication: str | None, level: str
) -> None:
    report = validate_container(io.BytesIO((VECTORS / name).read_bytes()), trust=TRUST, at=JUDGED_AT, policy=POLV4)
    (signature,) = report.signatures
    assert (signature.indication, signature.sub_indication, signature.level) == (indication, sub_indication, level)


def test_versions_5_and_6_of_the_list_are_both_there() -> None:
    assert {verified.content.version for verified in TRUST.lists} == {5, 6}
