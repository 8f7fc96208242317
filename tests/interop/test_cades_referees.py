"""CAdES in ASiC, signed by DSS, the library that digidoc4j stands on, and by OpenSSL, and judged by us."""

import io
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from digiid.formats.asic import MEDIA_TYPE_ASIC_S
from digiid.formats.trusted_list import VerifiedTrust, verify_trusted_list
from digiid.formats.validation import Report, validate_container
from digiid.platform.clock import SystemClock
from tests.interop.test_digidoc4j import CLASSES, JARS, SOURCE, anchors, classes  # noqa: F401 - a fixture
from tests.support.containers import pack, unpack
from tests.support.pki import Identity, Pki, person, shared_pki
from tests.support.trust_server import running_trust_server

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def cades_classes(classes: Path) -> Path:  # noqa: F811
    source = SOURCE / "CadesReferee.java"
    compiled = CLASSES / "CadesReferee.class"
    if not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime:
        command = ["javac", "-nowarn", "-cp", f"{JARS}/*", "-d", str(CLASSES), str(source)]
        subprocess.run(command, check=True, timeout=120)
    return classes


def judge(container: bytes, pki: Pki) -> Report:
    now = SystemClock().now()
    trust = VerifiedTrust([verify_trusted_list(pki.trusted_list(), signers=[pki.list_signer.certificate])], at=now)
    return validate_container(io.BytesIO(container), trust=trust, at=now)


def signer_of(pki: Pki, kind: str) -> Identity:
    return pki.issue(person("SIGNER", "38001085718"), kind=kind)


@pytest.mark.parametrize(
    ("how", "form", "level"),
    [("sign", "S", "B"), ("sign", "S", "LTA"), ("again", "S", "LTA"), ("sign", "E", "LT"), ("sign", "E", "LTA")],
)
def test_we_judge_what_dss_signs(cades_classes: Path, tmp_path: Path, how: str, form: str, level: str) -> None:
    with running_trust_server(shared_pki(), SystemClock()) as server:
        pki = replace(shared_pki(), aia_base=server.base)
        signer = signer_of(pki, "p384")
        server.knows(signer.certificate)
        store, output = tmp_path / "signer.p12", tmp_path / "theirs.asic"
        store.write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"signer",
                signer.key,
                signer.certificate,
                None,
                BestAvailableEncryption(b"1234"),
            )
        )
        papers = [tmp_path / name for name in (("õ ä+b.txt",) if form == "S" else ("õ ä+b.txt", "second.txt"))]
        for paper in papers:
            paper.write_text(f"agreed, {paper.name}\n")
        arguments = [
            how,
            form,
            level,
            store,
            "1234",
            f"{server.base}/tsa",
            output,
            os.pathsep.join(map(str, papers)),
        ]
        command = ["java", "-cp", f"{cades_classes}{os.pathsep}{JARS}/*", "CadesReferee", *map(str, arguments)]
        result = subprocess.run(
            [*command, *map(str, anchors(pki, tmp_path))], timeout=120, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr[-4000:]
    report = judge(output.read_bytes(), pki)
    (signature,) = report.signatures
    assert signature.signature_format.startswith(f"CAdES_BASELINE_{level}"), signature.messages
    assert set(report.data_files) == {paper.name for paper in papers}
    if level == "B":
        assert signature.sub_indication == "CERTIFICATE_CHAIN_GENERAL_FAILURE", signature.messages
    else:
        assert (signature.indication, signature.level) == ("TOTAL-PASSED", "QESIG"), signature.messages
        assert report.is_valid, report.messages
    # In ASiC-E the archive time-stamp is a token over a manifest; in ASiC-S it is an attribute, and the newer one
    # proves the older one.
    count = (level == "LTA") + (how == "again")
    assert [stamp.indication for stamp in signature.archive_time_stamps] == ["PASSED"] * count
    assert "validation.archive_time_stamp" not in {message.code for message in signature.messages}
    if how == "again":
        older, newer = signature.archive_time_stamps
        assert signature.time_stamps[0].proven_at == older.gen_at
        assert older.proven_at == newer.gen_at
    altered = {**unpack(output.read_bytes()), papers[0].name: b"other"}
    (signature,) = judge(pack(altered), pki).signatures
    assert signature.sub_indication == "HASH_FAILURE"


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
def test_we_read_what_openssl_signs(tmp_path: Path, kind: str) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is needed")
    pki = shared_pki()
    signer = signer_of(pki, kind)
    (tmp_path / "key.pem").write_bytes(signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "cert.pem").write_bytes(signer.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "paper.txt").write_bytes(b"agreed\n")
    subprocess.run(
        [openssl, "cms", "-sign", "-cades", "-binary", "-md", "sha384", "-in", "paper.txt", "-signer", "cert.pem",
         "-inkey", "key.pem", "-outform", "DER", "-out", "out.p7s"],
        cwd=tmp_path, check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    files = {
        "mimetype": MEDIA_TYPE_ASIC_S.encode(),
        "paper.txt": b"agreed\n",
        "META-INF/signature.p7s": (tmp_path / "out.p7s").read_bytes(),
    }
    (signature,) = judge(pack(files), pki).signatures
    # Everything that the signature says by itself holds; it has no time-stamp and no revocation data.
    assert signature.signature_format == "CAdES_BASELINE_B_BES"
    assert signature.sub_indication == "CERTIFICATE_CHAIN_GENERAL_FAILURE", signature.messages
    assert signature.certificate == signer.certificate
    (signature,) = judge(pack({**files, "paper.txt": b"other"}), pki).signatures
    assert signature.sub_indication == "HASH_FAILURE"
