"""Archive time-stamps and other programs: digidoc4j judges ours, renewed and not; we judge those of the field."""

import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from digiid.formats.validation import POLV3, validate_container
from tests.interop.test_digidoc4j import anchors, classes, lt_container, referee
from tests.interop.test_field_corpus import CORPORA
from tests.support.archived import archived
from tests.support.containers import edited
from tests.support.field_containers import JUDGED_AT, read_trust
from tests.support.pki import shared_pki

pytestmark = pytest.mark.interop
__all__ = ["classes"]  # a fixture


def test_digidoc4j_accepts_archive_time_stamps_of_ours(classes: Path, tmp_path: Path) -> None:
    pki, now = shared_pki(), datetime.now(UTC).replace(microsecond=0)
    once = archived(lt_container(pki), pki, at=now + timedelta(seconds=1))
    twice = archived(once, pki, at=now + timedelta(seconds=2), hash_name="sha256")
    touched = edited(once, lambda xml: xml.replace("<xades:CertificateValues>", "<xades:CertificateValues> "))
    containers = {"once": once, "twice": twice, "touched": touched}
    for name, container in containers.items():
        (tmp_path / f"{name}.asice").write_bytes(container)
    files = os.pathsep.join(str(tmp_path / f"{name}.asice") for name in containers)
    said = referee(classes, "validate", files, *anchors(pki, tmp_path))
    starts = [index for index, line in enumerate(said) if line.startswith("container ")]
    verdicts = {Path(said[at]).stem: said[at + 1 : at + 3] for at in starts}
    assert verdicts["once"] == verdicts["twice"] == ["valid", "profile LTA"]
    assert verdicts["touched"][0] == "invalid"


@pytest.mark.skipif(not (CORPORA / "containers").exists(), reason="DIGIID_CORPORA is not there")
@pytest.mark.parametrize(
    "name",
    [
        "SiVa__valid_asice_lta.asice",  # by DSS
        "SiVa-Test__TEST_ESTEID2018_ASiC-E_XAdES_LT+LTA.sce",  # by libdigidocpp
        "SiVa-Test__3_signatures_TM_LT_LTA.sce",
    ],
)
def test_archive_time_stamps_of_the_field_hold(name: str) -> None:
    content = (CORPORA / "containers" / name).read_bytes()
    trust = read_trust(CORPORA / "trust_lists")
    report = validate_container(io.BytesIO(content), trust=trust, at=JUDGED_AT, policy=POLV3)
    stamps = [stamp for signature in report.signatures for stamp in signature.archive_time_stamps]
    assert report.is_valid
    assert [stamp.indication for stamp in stamps] == ["PASSED"]
