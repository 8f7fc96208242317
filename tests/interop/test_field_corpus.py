"""The whole corpus of signed containers of the field, when it is at hand: every verdict as asserted, or explained."""

import os
from pathlib import Path

import pytest

from tests.support.field_containers import Row, our_verdict, read_manifest, read_trust

ROOT = Path(__file__).resolve().parents[2]
CORPORA = Path(os.environ.get("DIGIID_CORPORA", ROOT.parent / "shared" / "corpora"))

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not (CORPORA / "containers" / "MANIFEST.csv").exists(), reason="DIGIID_CORPORA is not there"),
]

# Where we differ on purpose. Their "invalid" does not tell TOTAL-FAILED from INDETERMINATE; ours does.
EXPLAINED = {
    "SiVa-Test__AsiceContainerMimetypeWithCapitalLetter.asice": (
        "error",
        "without a file called exactly `mimetype` it is not an ASiC container (EN 319 162-1 §A.1): refused as a whole",
    ),
    "digidoc4j__multiple_EncapsulatedTimeStamp_elements_in_single_SignatureTimeStamp.asice": (
        "invalid",
        "their program stops with an exception; ours reports the one signature as TOTAL-FAILED, FORMAT_FAILURE",
    ),
    "digidoc4j__bdoc-tm-with-changed-data-file-name.bdoc": ("indeterminate", "SIGNED_DATA_NOT_FOUND is INDETERMINATE"),
    "digidoc4j__M1n1 Testäöüõ!.txt-TS-d4j.bdoc": ("indeterminate", "SIGNED_DATA_NOT_FOUND is INDETERMINATE"),
    "digidoc4j__signing_certificate_not_valid_during_timestamping.asice": (
        "indeterminate",
        "issued with SHA-1 and stamped in 2019, when that was not accepted any more: CRYPTO_CONSTRAINTS_FAILURE",
    ),
    "digidoc4j__et10_0123456789!#$%&'()+,-. ;=@[]_`}- et_EE_utf8.zip-d_ec.bdoc": (
        "indeterminate",
        "a time-mark of 2014 whose OCSP response is signed with SHA-1: not accepted as proof of time",
    ),
}


def rows() -> list[Row]:
    folder = CORPORA / "containers"
    return list(read_manifest(folder)) if (folder / "MANIFEST.csv").exists() else []


@pytest.mark.parametrize("row", [row for row in rows() if row.format != "asics"], ids=str)
def test_every_verdict_is_as_asserted_or_explained(row: Row) -> None:
    expected, _reason = EXPLAINED.get(row.file.name, (row.expected, ""))
    assert our_verdict(row, read_trust(CORPORA / "trust_lists")) == expected


@pytest.mark.parametrize("row", [row for row in rows() if row.format == "asics"], ids=str)
def test_asic_s_is_refused_by_name(row: Row) -> None:
    assert our_verdict(row, read_trust(CORPORA / "trust_lists")) == "error"


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
