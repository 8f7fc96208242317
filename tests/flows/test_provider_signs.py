"""A provider of e-services in a running state: its user signs with the card, it seals with a seal of its own."""

import base64
import io
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.apps.seals import load_or_make_seal
from digiid.apps.seed import E_RESIDENT_ROLE
from digiid.devices import web_eid
from digiid.formats.asic import DataFile
from digiid.formats.validation import validate_container
from digiid.formats.x509.profile import CertificateKind, Organization
from digiid.institutions.information_authority.signing_service.app import TEST_CLIENT_FILE, read_credentials
from digiid.institutions.trust_services.app import revoke_seal
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.platform.clock import SystemClock
from digiid.platform.db import Database
from digiid.platform.documents.signers import signer_from_pkcs12
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.trust import ListSource, TrustedListStore
from tests.support.estate import RunningEState, running_estate
from tests.support.signing_client import SigningClient, b64

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "sign-documents.md"
SEAL = "SEAL-BAKERY"
FILES = (DataFile("agreement.txt", "text/plain", "Leping nr 1, õ.\n".encode()),)


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEState]:
    with running_estate(tmp_path_factory.mktemp("provider") / "state") as running:
        yield running


def test_a_card_and_a_seal_sign_through_the_service(estate: RunningEState, tmp_path: Path) -> None:
    folder, base_url = estate.state.folder, estate.state.settings.base_url
    # 1 the TEST client's secret is its own to read
    file = folder.secrets / TEST_CLIENT_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    client = SigningClient(base_url, read_credentials(file), SystemClock())
    assert httpx.get(f"{base_url}/health").json()["institutions"]["signing_service"]["status"] == "ok"
    # 2 a person signs with the card
    container_id = client.create(FILES)
    holder = estate.holder(E_RESIDENT_ROLE)
    offered = web_eid.get_signing_certificate(holder.card)
    path = f"/signing/containers/{container_id}/remotesigning"
    prepared = client.ok("POST", path, {"signingCertificate": offered["certificate"], "signatureProfile": "LT"})
    hash_function = prepared["digestAlgorithm"].replace("SHA", "SHA-")
    signed = web_eid.sign(
        holder.card,
        certificate=offered["certificate"],
        digest=web_eid.check_hash(prepared["digest"], hash_function),
        hash_function=hash_function,
        pin2=holder.pin2,
    )
    value = {"signatureValue": signed["signature"]}
    assert client.ok("PUT", f"{path}/{prepared['generatedSignatureId']}", value) == {"result": "OK"}
    # 3 the provider seals the same container, with an archive time-stamp
    seal = _seal(estate)
    certificate = b64(seal.certificate.public_bytes(Encoding.DER))
    prepared = client.ok("POST", path, {"signingCertificate": certificate, "signatureProfile": "LTA"})
    value = {"signatureValue": b64(seal.sign(base64.b64decode(prepared["digest"])))}
    assert client.ok("PUT", f"{path}/{prepared['generatedSignatureId']}", value) == {"result": "OK"}
    # 4 the verdict, by the list that everybody fetches
    container = client.fetch(container_id)
    report = validate_container(io.BytesIO(container), trust=_trust(estate, tmp_path), at=SystemClock().now())
    assert report.is_valid, report
    assert [one.level for one in report.signatures] == ["QESIG", "ADESEAL_QC"]
    assert report.signatures[1].signed_by == "TEST Pagariäri e-tempel"


@pytest.mark.parametrize("language", ["python", "sh"])
def test_the_programs_of_the_how_to_run_as_they_stand_there(
    estate: RunningEState, tmp_path: Path, language: str
) -> None:
    _seal(estate)
    done = _run_program(estate, tmp_path, language)
    assert done.returncode == 0, done.stderr + done.stdout
    container, at = (tmp_path / "out.asice").read_bytes(), SystemClock().now()
    report = validate_container(io.BytesIO(container), trust=_trust(estate, tmp_path), at=at)
    assert report.is_valid and report.data_files == ("agreement.txt",), report


@pytest.mark.parametrize("language", ["python", "sh"])
def test_the_programs_of_the_how_to_say_why_nothing_was_signed_and_write_nothing(
    estate: RunningEState, tmp_path: Path, language: str
) -> None:
    number = f"SEAL-GONE{language.upper()}"
    _seal(estate, number)
    revoke_seal(
        _settings(estate),
        number,
        reason="superseded",
        open_database=partial(_open_database, estate),
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    done = _run_program(estate, tmp_path, language, seal_number=number)
    assert done.returncode != 0 and '"code": "documents.certificate.revoked"' in done.stderr, done.stderr + done.stdout
    assert not (tmp_path / "out.asice").exists()


def _run_program(
    estate: RunningEState, folder: Path, language: str, *, seal_number: str = SEAL
) -> subprocess.CompletedProcess[str]:
    """The page's program in this language, as a reader runs it from a file."""
    if language == "sh" and not (shutil.which("curl") and shutil.which("openssl")):
        pytest.skip("curl or openssl is not installed")
    (folder / "agreement.txt").write_bytes(b"Agreed.\n")
    secrets = estate.state.folder.secrets
    environment = os.environ | {
        "SERVICE": estate.state.settings.base_url,
        "CLIENT": str(secrets / TEST_CLIENT_FILE),
        "P12": str(secrets / "seals" / f"{seal_number}.p12"),
        "P12_PASSWORD": str(secrets / "seals" / f"{seal_number}.password"),
        "OUT": "out.asice",
    }
    section = HOW_TO.read_text(encoding="utf-8").split("## The signing service\n")[1]
    program = section.split(f"```{language}\n")[1].split("```")[0]
    command = [sys.executable, "-c"] if language == "python" else ["sh", "-c"]
    return subprocess.run([*command, program], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _settings(estate: RunningEState) -> TrustServicesSettings:
    folder = estate.state.folder
    return TrustServicesSettings(
        hierarchy_folder=folder.path / "hierarchy", passphrase_file=folder.secrets / "hierarchy-passphrase"
    )


def _open_database(estate: RunningEState, unit: str) -> Database:
    return Database.sqlite(estate.state.folder.path / "db" / f"{unit}.sqlite")


def _seal(estate: RunningEState, number: str = SEAL) -> Any:
    folder = estate.state.folder

    def make() -> Any:
        return load_or_make_seal(
            folder.secrets / "seals",
            _settings(estate),
            seal_number=number,
            organization=Organization("12345678", "TEST Pagariäri OÜ", "TEST Pagariäri e-tempel"),
            open_database=partial(_open_database, estate),
            clock=SystemClock(),
            entropy=SystemEntropy(),
        )

    seal = make()
    again = make()  # what is there is not made anew
    file = folder.secrets / "seals" / f"{number}.p12"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert signer_from_pkcs12(file, file.with_suffix(".password")).certificate == again.certificate
    return seal


def _trust(estate: RunningEState, tmp_path: Path) -> Any:
    signer = estate.state.hierarchy.certificate(CertificateKind.TRUSTED_LIST_SIGNER)
    source = ListSource(f"{estate.state.settings.base_url}/tl.xml", (signer,))
    http = HttpClient()
    try:
        return TrustedListStore(source, folder=tmp_path / "lists", http=http, clock=SystemClock()).trust()
    finally:
        http.close()
