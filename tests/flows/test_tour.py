"""`digiid tour` as anybody runs it, and what programs that are not ours say of the artefacts it leaves."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest
from asn1crypto import cms, pem
from asn1crypto import x509 as asn1_x509
from lxml import etree

from tests.support.loops import run_async

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


def test_digiid_verify_tells_valid_from_altered(toured: Toured) -> None:
    a = toured.artefacts
    anchors = ("--tl", str(a / "tl.xml"), "--tl-cert", str(a / "tl-signer.crt"), "--json")
    valid = digiid("verify", str(a / "agreement.asice"), *anchors)
    assert valid.returncode == 0, valid.stdout + valid.stderr
    report = json.loads(valid.stdout)
    assert (report["signaturesCount"], report["validSignaturesCount"]) == (1, 1)
    assert report["signatures"][0]["indication"] == "TOTAL-PASSED"
    altered = digiid("verify", str(a / "agreement-altered.asice"), *anchors)
    assert altered.returncode == 1
    assert json.loads(altered.stdout)["signatures"][0]["subIndication"] == "HASH_FAILURE"


def test_a_list_of_another_signer_is_no_anchor(toured: Toured) -> None:
    a = toured.artefacts
    refused = digiid("verify", str(a / "agreement.asice"), "--tl", str(a / "tl.xml"), "--tl-cert", str(a / "root.crt"))
    assert refused.returncode == 2
    assert "Traceback" not in refused.stdout + refused.stderr


# ------------------------------------------------------------------ the container's parts, by others

DS = "{http://www.w3.org/2000/09/xmldsig#}"


def signature_value(toured: Toured) -> bytes:
    """The canonical SignatureValue, which the time stamp is over, as lxml gives it."""
    value = etree.parse(toured.artefacts / "signature.xml").getroot().find(f"{DS}Signature/{DS}SignatureValue")
    assert value is not None
    canonical: bytes = etree.tostring(value, method="c14n")
    return canonical


@needs_openssl
def test_openssl_verifies_the_time_stamp(toured: Toured) -> None:
    a = toured.artefacts

    def verify(data: bytes) -> subprocess.CompletedProcess[str]:
        return openssl(
            *("ts", "-verify", "-digest", hashlib.sha256(data).hexdigest(), "-in", a / "timestamp.tst", "-token_in"),
            *("-CAfile", a / "root.crt", "-untrusted", a / "tsa-ca.crt"),
        )

    assert "Verification: OK" in verify(signature_value(toured)).stdout
    assert verify(signature_value(toured) + b" ").returncode != 0


def test_pyhanko_verifies_the_time_stamp(toured: Toured) -> None:
    pytest.importorskip("pyhanko")
    from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
    from pyhanko.sign.validation.status import TimestampSignatureStatus
    from pyhanko_certvalidator import ValidationContext

    a = toured.artefacts
    token = cms.ContentInfo.load((a / "timestamp.tst").read_bytes())["content"]  # type: ignore[no-untyped-call]
    root, stamping_ca = (
        asn1_x509.Certificate.load(pem.unarmor((a / name).read_bytes())[2])  # type: ignore[no-untyped-call]
        for name in ("root.crt", "tsa-ca.crt")
    )
    context = ValidationContext(trust_roots=[root], other_certs=[stamping_ca], allow_fetching=False)
    imprint = hashlib.sha256(signature_value(toured)).digest()
    found = run_async(validate_tst_signed_data(token, context, expected_tst_imprint=lambda _: imprint))
    status = TimestampSignatureStatus(**found)
    assert status.intact and status.valid and status.trusted


def data_files(container: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(container) as archive:
        names = [name for name in archive.namelist() if name != "mimetype" and not name.startswith("META-INF/")]
        return {name: archive.read(name) for name in names}


def test_signxml_verifies_the_signature(toured: Toured) -> None:
    signxml = pytest.importorskip("signxml")
    contents = data_files(toured.artefacts / "agreement.asice")
    root = etree.parse(toured.artefacts / "signature.xml").getroot()
    configuration = signxml.SignatureConfiguration(
        require_x509=True, expect_references=2, location="./", default_reference_c14n_method=None
    )

    def verify(files: dict[str, bytes]) -> int:
        results = signxml.XMLVerifier().verify(
            etree.tostring(root[0]),
            x509_cert=(toured.artefacts / "signature.crt").read_text(encoding="ascii"),
            uri_resolver=lambda uri: files[unquote(uri)],
            expect_config=configuration,
        )
        return len(results)

    assert verify(contents) == 2
    with pytest.raises(signxml.exceptions.InvalidDigest):
        verify(data_files(toured.artefacts / "agreement-altered.asice"))


def test_xmlsec_verifies_the_signature(toured: Toured) -> None:
    xmlsec = pytest.importorskip("xmlsec")
    contents = data_files(toured.artefacts / "agreement.asice")
    root = etree.parse(toured.artefacts / "signature.xml").getroot()
    xmlsec.cleanup_callbacks()
    xmlsec.register_callbacks(
        lambda uri: unquote(uri.decode()) in contents,
        lambda uri: io.BytesIO(contents[unquote(uri.decode())]),
        lambda stream, buffer: stream.readinto(buffer),
        lambda stream: stream.close(),
    )
    try:
        xmlsec.tree.add_ids(root, ["Id"])
        context = xmlsec.SignatureContext()
        certificate = (toured.artefacts / "signature.crt").read_bytes()
        context.key = xmlsec.Key.from_memory(certificate, xmlsec.KeyFormat.CERT_PEM)
        context.verify(root[0])
    finally:
        xmlsec.cleanup_callbacks()
        xmlsec.register_default_callbacks()
