"""DigiDoc documents that our tests put together, read by ddoc4j, the part of digidoc4j that knows them.

It has certificate stores of its own and does not trust the test hierarchy; that is all that it may complain about. So
what is compared are digests, signature values and the structure, not trust. Of SK-XML 1.0 it compares no digests.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.interop.test_digidoc4j import anchors, classes, referee  # noqa: F401 - a fixture
from tests.support.ddoc import DdocMaker
from tests.support.pki import shared_pki

pytestmark = pytest.mark.interop

VERSIONS = ("1.1", "1.2", "1.3")
_ABOUT_TRUST = (
    "Signers cert not trusted",
    "nested exception is:",
    "No certificate for responder",
    "Error calculating notary certificate digest",  # there is no reference to the responder's certificate before 1.3
    "Failed to verify OCSP",  # for want of that certificate
)


@pytest.fixture(scope="module")
def said(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:  # noqa: F811
    folder = tmp_path_factory.mktemp("ddoc")
    at = datetime.now(UTC).replace(microsecond=0)
    for version in VERSIONS:
        document = DdocMaker(version=version, signed_at=at).document()
        (folder / f"good-{version}.ddoc").write_bytes(document)
        changed = document.replace(b'Filename="contract.txt"', b'Filename="changed.txt"')
        place = document.replace(b"<City>Tartu</City>", b"<City>Narva</City>")
        (folder / f"place-{version}.ddoc").write_bytes(place)
        (folder / f"name-{version}.ddoc").write_bytes(changed)
    files = sorted(folder.glob("*.ddoc"))
    found: dict[str, list[str]] = {}
    name = ""
    for line in referee(classes, "validate", os.pathsep.join(map(str, files)), *anchors(shared_pki(), folder)):
        if line.startswith("container "):
            name = Path(line).name.removesuffix(".ddoc")
            found[name] = []
        elif line not in ("invalid", "profile LT_TM"):
            found[name].append(line)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_ddoc4j_computes_the_same_digests_and_value(said: dict[str, list[str]], version: str) -> None:
    rest = [line for line in said[f"good-{version}"] if not any(text in line for text in _ABOUT_TRUST)]
    assert rest == []


@pytest.mark.parametrize("version", VERSIONS)
def test_ddoc4j_sees_what_was_changed(said: dict[str, list[str]], version: str) -> None:
    assert any("Bad digest for SignedProperties" in line for line in said[f"place-{version}"]), said[f"place-{version}"]
    assert any("Bad digest for DataFile" in line for line in said[f"name-{version}"]), said[f"name-{version}"]
