"""Time-stamped ASiC-S containers that we write, judged by digidoc4j, the library of the Estonian state."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.interop.test_digidoc4j import anchors, classes, lt_container, referee  # noqa: F401 - a fixture
from tests.support.containers import changed
from tests.support.pki import FILES, shared_pki
from tests.support.time_stamped import renewed, stamped

pytestmark = pytest.mark.interop

TEXT = b"agreed\n"


@pytest.fixture(scope="module")
def judged(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:  # noqa: F811
    pki, folder = shared_pki(), tmp_path_factory.mktemp("stamped")
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    once = stamped(TEXT, at=at, hash_name="sha512")
    thrice = renewed(renewed(once, at=at + timedelta(minutes=1)), at=at + timedelta(minutes=2))
    containers = {
        "once": once,
        "thrice": thrice,
        "odd-name": stamped(TEXT, name="õ ä+b%.txt", at=at),
        "nested": stamped(lt_container(pki), name="signed.asice", at=at + timedelta(minutes=3)),
        "altered": changed(thrice, {"letter.txt": b"other\n"}),
        "nested-altered": stamped(
            changed(lt_container(pki), {FILES[0].name: b"other\n"}), name="signed.asice", at=at + timedelta(minutes=3)
        ),
    }
    for name, container in containers.items():
        (folder / f"{name}.asics").write_bytes(container)
    files = sorted(folder.glob("*.asics"))
    found: dict[str, list[str]] = {}
    for line in referee(classes, "validate", os.pathsep.join(map(str, files)), *anchors(pki, folder)):
        if line.startswith("container "):
            found[Path(line).stem] = said = []
        else:
            said.append(line)
    return found


@pytest.mark.parametrize("name", ["once", "thrice", "odd-name", "nested"])
def test_digidoc4j_accepts_what_we_stamp(judged: dict[str, list[str]], name: str) -> None:
    assert judged[name][0] == "valid", judged[name]


@pytest.mark.parametrize("name", ["altered", "nested-altered"])
def test_digidoc4j_refuses_what_we_refuse(judged: dict[str, list[str]], name: str) -> None:
    assert judged[name][0] == "invalid"
