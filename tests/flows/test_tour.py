"""`digiid tour` as anybody runs it, and what OpenSSL says of the artefacts it leaves."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is not installed")


@dataclass(frozen=True)
class Toured:
    process: subprocess.CompletedProcess[str]
    folder: Path
    json_file: Path

    @property
    def artefacts(self) -> Path:
        return self.folder / "tour"


def digiid(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "digiid.apps.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Toured:
    base = tmp_path_factory.mktemp("tour")
    process = digiid("tour", "--state", str(base / "state"), "--json", str(base / "tour.json"))
    return Toured(process, base / "state", base / "tour.json")


def test_every_step_of_the_tour_holds(toured: Toured) -> None:
    assert toured.process.returncode == 0, toured.process.stdout[-2000:] + toured.process.stderr[-2000:]
    written = json.loads(toured.json_file.read_text(encoding="utf-8"))
    assert written["passed"] is True
    assert written["steps"]
    assert all(step["checks"] and not step["failed"] for step in written["steps"])


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("mine", encoding="utf-8")
    refused = digiid("tour", "--state", str(tmp_path))
    assert refused.returncode != 0
    assert "is not empty" in " ".join((refused.stdout + refused.stderr).split())
    assert "Traceback" not in refused.stdout + refused.stderr
    assert list(tmp_path.iterdir()) == [kept]


@needs_openssl
@pytest.mark.parametrize("name", ["authentication", "signature"])
def test_openssl_follows_the_cards_certificates_to_the_root(toured: Toured, name: str) -> None:
    a = toured.artefacts
    verified = openssl("verify", "-CAfile", a / "root.crt", "-untrusted", a / "issuing.crt", a / f"{name}.crt")
    assert verified.returncode == 0, verified.stderr
    without_issuer = openssl("verify", "-CAfile", a / "root.crt", a / f"{name}.crt")
    assert without_issuer.returncode != 0


@needs_openssl
@pytest.mark.parametrize(
    ("response", "status"),
    [("ocsp-authentication-good.der", "good"), ("ocsp-authentication-suspended.der", "revoked")],
)
def test_openssl_reads_and_verifies_the_responders_answers(toured: Toured, response: str, status: str) -> None:
    a = toured.artefacts
    told = openssl(
        *("ocsp", "-respin", a / response, "-issuer", a / "issuing.crt", "-cert", a / "authentication.crt"),
        *("-CAfile", a / "root.crt", "-verify_other", a / "issuing.crt", "-no_nonce"),
    )
    said = told.stdout + told.stderr
    assert "Response verify OK" in said
    assert f"authentication.crt: {status}" in said


def test_without_a_trusted_list_or_a_container_nothing_is_judged(toured: Toured, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.asice"
    garbage.write_bytes(b"no container")
    assert digiid("verify", str(garbage)).returncode == 2
    assert digiid("verify", str(toured.artefacts / "agreement.asice")).returncode == 2  # nothing to trust
