"""Time-stamped ASiC-S containers that we write, judged by digidoc4j, the library of the Estonian state."""

import io
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.asic.manifest import ARCHIVE_MANIFEST_NAME
from digiid.formats.trusted_list import VerifiedTrust, verify_trusted_list
from digiid.formats.validation import validate_container
from digiid.platform.clock import SystemClock
from tests.interop.test_digidoc4j import CLASSES, JARS, SOURCE, anchors, classes, lt_container, referee  # noqa: F401 - a fixture
from tests.support.containers import changed, unpack
from tests.support.pki import FILES, shared_pki
from tests.support.time_stamped import renewed, stamped
from tests.support.trust_server import running_trust_server

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


def stamp(classes: Path, output: Path, base: str, count: int, paper: Path, trusted: list[Path]) -> None:  # noqa: F811
    """A container that digidoc4j stamps `count` times."""
    source, compiled = SOURCE / "StampReferee.java", CLASSES / "StampReferee.class"
    if not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime:
        path = f"{classes}{os.pathsep}{JARS}/*"
        command = ["javac", "-nowarn", "-cp", path, "-d", str(CLASSES), str(source)]
        subprocess.run(command, check=True, timeout=120)
    arguments = [str(output), f"{base}/tsa", str(count), str(paper), *map(str, trusted)]
    command = ["java", "-cp", f"{classes}{os.pathsep}{JARS}/*", "StampReferee", *arguments]
    result = subprocess.run(command, timeout=120, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]


def test_we_accept_and_renew_what_digidoc4j_stamps(classes: Path, tmp_path: Path) -> None:  # noqa: F811
    clock, pki, count = SystemClock(), shared_pki(), 3
    paper, output = tmp_path / "õ ä+b.asice", tmp_path / "theirs.asics"
    paper.write_bytes(lt_container(pki))
    with running_trust_server(pki, clock) as server:
        stamp(classes, output, server.base, count, paper, anchors(pki, tmp_path))
    now = clock.now()
    trust = VerifiedTrust([verify_trusted_list(pki.trusted_list(), signers=[pki.list_signer.certificate])], at=now)
    report = validate_container(io.BytesIO(output.read_bytes()), trust=trust, at=now)
    assert report.is_valid, report.messages
    assert report.messages == ()
    assert [token.level for token in report.time_stamp_tokens] == ["QTSA"] * count
    assert [signature.level for signature in report.signatures] == ["QESIG"]

    ours = renewed(output.read_bytes(), at=clock.now().replace(microsecond=0) + timedelta(seconds=1))
    (tmp_path / "renewed.asics").write_bytes(ours)
    report = validate_container(io.BytesIO(ours), trust=trust, at=clock.now() + timedelta(seconds=2))
    assert report.is_valid
    assert report.messages == ()
    said = referee(classes, "validate", tmp_path / "renewed.asics", *anchors(pki, tmp_path))
    assert "valid" in said, said


def test_openssl_accepts_the_tokens_of_our_containers(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is needed")
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    files = unpack(renewed(stamped(TEXT, at=at, hash_name="sha512"), at=at + timedelta(minutes=1)))
    (tmp_path / "root.pem").write_bytes(shared_pki().root.certificate.public_bytes(Encoding.PEM))
    for token, over in (("META-INF/timestamp.tst", "letter.txt"), ("META-INF/timestamp002.tst", ARCHIVE_MANIFEST_NAME)):
        (tmp_path / "token.tst").write_bytes(files[token])
        for content, code in ((files[over], 0), (files[over] + b" ", 1)):
            (tmp_path / "data").write_bytes(content)
            command = [
                openssl,
                "ts",
                "-verify",
                "-data",
                "data",
                "-in",
                "token.tst",
                "-token_in",
                "-CAfile",
                "root.pem",
            ]
            result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
            assert result.returncode == code, result.stderr
