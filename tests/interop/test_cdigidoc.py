"""DigiDoc documents beside libdigidoc, the C library of the Estonian state (Debian's `libdigidoc-tools`).

It judges what our tests put together, we judge what it signs. It knows version 1.3 only.
"""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, pkcs12

from digiid.formats.trusted_list import VerifiedTrust, verify_trusted_list
from digiid.formats.validation import Report
from digiid.formats.validation.ddoc import validate_ddoc
from digiid.platform.clock import SystemClock
from tests.support.ddoc import DdocMaker
from tests.support.pki import Pki, person, shared_pki
from tests.support.trust_server import running_trust_server

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("cdigidoc") is None, reason="Debian's libdigidoc-tools is not installed"),
]


@dataclass(frozen=True)
class Room:
    """A folder with cdigidoc's configuration for the test hierarchy, and a signer in a file."""

    folder: Path
    pki: Pki

    def run(self, *arguments: str) -> str:
        command = ["cdigidoc", *arguments, "-config", "digidoc.conf"]
        result = subprocess.run(command, cwd=self.folder, capture_output=True, timeout=60, check=False)
        return result.stdout.decode("utf-8", "replace")

    def verdict(self, name: str) -> str:
        """The code that it prints of the first signature; 0 is valid."""
        lines = [line.split("|") for line in self.run("-in", name, "-verify").splitlines()]
        return next((line[3] for line in lines if line[0] == "Signature"), "none")

    def ours(self, name: str) -> Report:
        now = SystemClock().now()
        pki = self.pki
        trust = VerifiedTrust([verify_trusted_list(pki.trusted_list(), signers=[pki.list_signer.certificate])], at=now)
        with (self.folder / name).open("rb") as file:
            return validate_ddoc(file, trust=trust, at=now, file_name=name)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with running_trust_server(shared_pki(), SystemClock()) as server:
        pki = replace(shared_pki(), aia_base=server.base)
        signer = pki.issue(person("SIGNER", "38001085718"), kind="rsa")
        server.knows(signer.certificate)
        # What a program of 2015 reads of PKCS #12.
        protection = (
            PrivateFormat.PKCS12.encryption_builder()
            .kdf_rounds(2000)
            .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
            .hmac_hash(hashes.SHA1())
            .build(b"1234")
        )
        store = pkcs12.serialize_key_and_certificates(b"signer", signer.key, signer.certificate, None, protection)  # type: ignore[arg-type]
        (tmp_path / "signer.p12").write_bytes(store)
        for name, identity in (("root", pki.root), ("ca", pki.ca), ("ocsp", pki.responder)):
            (tmp_path / f"{name}.crt").write_bytes(identity.certificate.public_bytes(Encoding.PEM))
        (tmp_path / "digidoc.conf").write_text(
            f"[ca]\nCA_CERT_PATH={tmp_path}\nCA_CERTS=2\nCA_CERT_1=root.crt\nCA_CERT_1_CN=TEST Root\n"
            "CA_CERT_2=ca.crt\nCA_CERT_2_CN=TEST EID CA\n"
            f"DIGIDOC_OCSP_URL={server.base}/ocsp\nSIGN_OCSP=0\nUSE_PROXY=0\nCHECK_OCSP_NONCE=1\n"
            "DIGIDOC_OCSP_RESPONDER_CERTS=1\nDIGIDOC_OCSP_RESPONDER_CERT_1=ocsp.crt\n"
            "DIGIDOC_OCSP_RESPONDER_CERT_1_CN=TEST OCSP Responder\n"
            "DIGIDOC_OCSP_RESPONDER_CERT_1_CA=TEST EID CA\n"
            f"DIGIDOC_OCSP_RESPONDER_CERT_1_URL={server.base}/ocsp\n"
        )
        yield Room(tmp_path, pki)


def test_we_accept_what_cdigidoc_signs(room: Room) -> None:
    (room.folder / "paper õ.txt").write_text("agreed\n")
    (room.folder / "second.bin").write_bytes(bytes(range(256)) * 40)
    room.run("-new", "-add", "paper õ.txt", "text/plain", "-out", "one.ddoc")
    room.run("-in", "one.ddoc", "-add", "second.bin", "application/octet-stream", "-out", "two.ddoc")
    place = ("CEO", "Tartu", "Tartumaa", "50090", "EE", "0", "1", "PKCS12", "signer.p12")
    room.run("-in", "two.ddoc", "-sign", "1234", *place, "-out", "signed.ddoc")
    assert room.verdict("signed.ddoc") == "0"
    report = room.ours("signed.ddoc")
    (signature,) = report.signatures
    assert report.is_valid, signature.messages
    assert report.form == "DIGIDOC_XML_1.3"
    assert report.data_files == ("paper õ.txt", "second.bin")
    assert signature.level == "QESIG"
    assert signature.claimed_roles == ("CEO",)
    assert dict(signature.place)["city"] == "Tartu"

    data = (room.folder / "signed.ddoc").read_bytes()
    (room.folder / "changed.ddoc").write_bytes(data.replace(b"YWdyZWVkCg==", b"YWdyZWVkIQ==", 1))
    assert room.verdict("changed.ddoc") != "0"
    assert not room.ours("changed.ddoc").is_valid


@pytest.mark.parametrize("changes", [{}, {"properties_namespace": True}], ids=["plain", "own-namespace"])
def test_cdigidoc_and_we_agree_about_what_the_tests_put_together(room: Room, changes: dict[str, bool]) -> None:
    at = datetime.now(UTC).replace(microsecond=0)
    (room.folder / "ours.ddoc").write_bytes(DdocMaker(signed_at=at, **changes).document())  # type: ignore[arg-type]
    report = room.ours("ours.ddoc")
    assert report.is_valid, report.signatures[0].messages
    assert room.verdict("ours.ddoc") == "0"


def test_cdigidoc_and_we_refuse_a_nonce_that_is_about_something_else(room: Room) -> None:
    at = datetime.now(UTC).replace(microsecond=0)
    document = DdocMaker(signed_at=at, nonce=lambda _value: bytes(20)).document()
    (room.folder / "ours.ddoc").write_bytes(document)
    assert not room.ours("ours.ddoc").is_valid
    assert room.verdict("ours.ddoc") != "0"
