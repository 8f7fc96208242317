"""The programs of the how-to pages for integrators, run as they stand there against a running state."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.apps.seed import E_RESIDENT_ROLE
from digiid.platform import eid_card
from digiid.platform.eid_card import CardKey
from tests.support.estate import RunningEState, running_estate
from tests.support.pdf import simple_pdf

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
FIXED = "http://127.0.0.1:8800"  # what stands in pages that name no variable

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")), reason="curl or openssl is not installed"
)


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEState]:
    with running_estate(tmp_path_factory.mktemp("how-to") / "state") as running:
        yield running


def programs(page: str, heading: str, language: str) -> list[str]:
    """The programs in `language` below a heading of the page, in their order."""
    section = (HOW_TO / page).read_text(encoding="utf-8").split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]
    found = [piece.split("```", 1)[0] for piece in section.split(f"```{language}\n")[1:]]
    assert found, f"{page} has no program in {language} below {heading!r}"
    return found


def run(estate: RunningEState, folder: Path, program: str, language: str) -> str:
    own = Path(sys.executable).parent
    base = estate.state.settings.base_url
    environment = os.environ | {
        "SERVICE": base,
        "PATH": f"{own}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "200",
    }
    command = [sys.executable, "-c"] if language == "python" else ["sh", "-c"]
    done = subprocess.run(
        [*command, program.replace(FIXED, base)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def signed(estate: RunningEState, target: Path) -> None:
    """A container that the e-resident signed with the card."""
    card = ["--state", str(estate.state.folder.path), "--card", estate.person(E_RESIDENT_ROLE).document_number]
    paper = target.with_suffix(".txt")
    paper.write_text("Agreed.\n")
    digiid = [sys.executable, "-m", "digiid.apps.cli", "sign", str(paper), "-o", str(target), "--pin2", "12345", *card]
    done = subprocess.run(digiid, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_encrypting_with_curl_and_openssl_and_in_python(estate: RunningEState, tmp_path: Path) -> None:
    (tmp_path / "contract.pdf").write_bytes(simple_pdf())
    card = estate.holder(E_RESIDENT_ROLE).card
    certificate = eid_card.read_certificate(card, CardKey.AUTHENTICATION)
    (tmp_path / "mari-authentication.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (shell,) = programs("encrypt-documents.md", "## From your own program, with curl and openssl", "sh")
    told = run(estate, tmp_path, shell, "sh")
    assert "mari-authentication.pem: good" in told and (tmp_path / "opened" / "contract.pdf").exists()
    (tmp_path / "contract.cdoc2").unlink()
    shutil.rmtree(tmp_path / "opened")
    (python,) = programs("encrypt-documents.md", "## In Python", "python")
    assert "contract.pdf" in run(estate, tmp_path, python, "python")
    assert (tmp_path / "opened" / "contract.pdf").read_bytes() == (tmp_path / "contract.pdf").read_bytes()


def test_encrypting_stops_at_a_certificate_that_is_not_the_states(estate: RunningEState, tmp_path: Path) -> None:
    (tmp_path / "contract.pdf").write_bytes(simple_pdf())
    (shell,) = programs("encrypt-documents.md", "## From your own program, with curl and openssl", "sh")
    own_certificate = "cp system.crt mari-authentication.pem\n\n# 2 "
    with pytest.raises(AssertionError, match=r"verification failed|self-signed"):
        run(estate, tmp_path, shell.replace("# 2 ", own_certificate, 1), "sh")
    assert not (tmp_path / "contract.cdoc2").exists()


def test_believing_a_list_with_curl_and_in_python(estate: RunningEState, tmp_path: Path) -> None:
    signed(estate, tmp_path / "contract.asice")
    heading = "## Believe a list from your own program"
    (shell,) = programs("make-a-trusted-list.md", heading, "sh")
    assert "The signature is valid." in run(estate, tmp_path, shell, "sh")
    services = json.loads((tmp_path / "services.json").read_text())["services"]
    assert {"CA/QC", "TSA/QTST"} <= {service["type"] for service in services}
    (python,) = programs("make-a-trusted-list.md", heading, "python")
    told = run(estate, tmp_path, python, "python")
    assert "True [(" in told and "QESIG" in told and told.startswith("EE ")


def test_making_a_list_as_the_page_says(estate: RunningEState, tmp_path: Path) -> None:
    page = (HOW_TO / "make-a-trusted-list.md").read_text(encoding="utf-8")
    toml, key = (
        "\n".join(line[3:] for line in page.split(f"   ```{language}\n", 1)[1].split("   ```", 1)[0].splitlines())
        for language in ("toml", "sh")
    )
    (tmp_path / "list.toml").write_text(toml)
    shutil.copy(estate.state.folder.path / "hierarchy" / "issuing.crt", tmp_path / "issuing-ca.crt")
    made = run(
        estate, tmp_path, key + "\ndigiid tl build list.toml -o tl.xml --p12 signer.p12 --password-file password", "sh"
    )
    assert "not made for signing lists" not in made
    checked = run(estate, tmp_path, "digiid tl check tl.xml --tl-cert signer.crt; digiid tl show tl.xml", "sh")
    assert "nothing is wrong with it" in checked and "Example issuing CA" in checked


def test_validating_with_curl_and_in_python(estate: RunningEState, tmp_path: Path) -> None:
    signed(estate, tmp_path / "contract.asice")
    streamed, siva = programs("validate-documents.md", "## With curl", "sh")
    assert json.loads(run(estate, tmp_path, streamed, "sh"))["isValid"] is True
    conclusion = json.loads(run(estate, tmp_path, siva, "sh"))["validationReport"]["validationConclusion"]
    assert conclusion["validSignaturesCount"] == 1
    (python,) = programs("validate-documents.md", "## With Python", "python")
    assert "TOTAL-PASSED QESIG" in run(estate, tmp_path, python, "python")
