"""digidoc4j, the Java library of the Estonian state, as a referee: it judges what we sign, we judge what it signs.

The library comes from Maven Central, once, into .cache/digidoc4j; without Java, Maven or the library: a visible skip.
"""

import io
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from digiid.formats.trusted_list import (
    TYPE_GENERIC,
    TYPE_LIST_OF_LISTS,
    ListedPointer,
    VerifiedTrust,
    build_trusted_list,
    sign_trusted_list,
    verify_trusted_list,
)
from digiid.formats.validation import validate_container
from digiid.platform.clock import SystemClock
from tests.support.containers import changed
from tests.support.pki import FILES, Identity, Pki, distinguished_name, make_certificate, new_key, person, shared_pki
from tests.support.trust_server import TrustServer, running_trust_server

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("digidoc4j")
CACHE = ROOT / ".cache" / "digidoc4j"
JARS, CLASSES = CACHE / "jars", CACHE / "classes"

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def classes() -> Path:
    """The referee, compiled."""
    if shutil.which("java") is None or shutil.which("javac") is None:
        pytest.skip("java and javac are needed for digidoc4j")
    if not list(JARS.glob("digidoc4j-*.jar")):
        if shutil.which("mvn") is None:
            pytest.skip("mvn is needed to fetch digidoc4j")
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["mvn", "-B", "-q", "-f", str(SOURCE / "pom.xml"), "dependency:copy-dependencies"]
        try:
            subprocess.run([*command, f"-DoutputDirectory={JARS}"], check=True, timeout=300, capture_output=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            shutil.rmtree(JARS, ignore_errors=True)
            pytest.skip("digidoc4j could not be fetched from Maven Central")
    CLASSES.mkdir(exist_ok=True)
    source = SOURCE / "Referee.java"
    if not (CLASSES / "Referee.class").exists() or (CLASSES / "Referee.class").stat().st_mtime < source.stat().st_mtime:
        command = ["javac", "-nowarn", "-cp", f"{JARS}/*", "-d", str(CLASSES), str(source)]
        subprocess.run(command, check=True, timeout=120)
    return CLASSES


def referee(classes: Path, *arguments: str | Path) -> list[str]:
    command = ["java", "-cp", f"{classes}{os.pathsep}{JARS}/*", "Referee", *map(str, arguments)]
    result = subprocess.run(command, timeout=120, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout.splitlines()


def anchors(pki: Pki, folder: Path) -> list[Path]:
    files = []
    for name, identity in (("ca", pki.ca), ("tsu", pki.tsu), ("ocsp", pki.responder)):
        file = folder / f"{name}.pem"
        file.write_bytes(identity.certificate.public_bytes(Encoding.PEM))
        files.append(file)
    return files


def lt_container(pki: Pki, signer: Identity | None = None) -> bytes:
    return pki.container(signer=signer, signed_at=datetime.now(UTC).replace(microsecond=0))


@pytest.fixture(scope="module")
def judged(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What digidoc4j says of each of our containers, all in one run of the Java machine."""
    pki, folder = shared_pki(), tmp_path_factory.mktemp("ours")
    for kind in ("p256", "p384", "p521", "rsa"):
        signer = pki.issue(person("SIGNER", "38001085718"), kind=kind)
        (folder / f"{kind}.asice").write_bytes(lt_container(pki, signer))
    altered = changed(lt_container(pki), {FILES[0].name: b"something else\n"})
    (folder / "altered.asice").write_bytes(altered)
    files = sorted(folder.glob("*.asice"))
    return by_container(referee(classes, "validate", os.pathsep.join(map(str, files)), *anchors(pki, folder)))


def by_container(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("container "):
            found[Path(line).stem] = said = []
        else:
            said.append(line)
    return found


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa"])
def test_digidoc4j_accepts_what_we_sign(judged: dict[str, list[str]], kind: str) -> None:
    assert judged[kind][:2] == ["valid", "profile LT"]


def test_digidoc4j_refuses_what_we_refuse(judged: dict[str, list[str]]) -> None:
    assert judged["altered"][0] == "invalid"


@pytest.mark.parametrize("kind", ["p384"])
def test_we_accept_what_digidoc4j_signs(classes: Path, tmp_path: Path, kind: str) -> None:
    clock = SystemClock()
    with running_trust_server(shared_pki(), clock) as server:
        pki = replace(shared_pki(), aia_base=server.base)
        signer = pki.issue(person("SIGNER", "38001085718"), kind=kind)
        server.knows(signer.certificate)
        paper, store, output = tmp_path / "õ ä+b.txt", tmp_path / "signer.p12", tmp_path / "theirs.asice"
        paper.write_text("agreed\n")
        store.write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"signer", signer.key, signer.certificate, None, BestAvailableEncryption(b"1234")
            )
        )
        arguments: Sequence[str | Path] = ["sign", paper, store, "1234", server.base, output]
        assert referee(classes, *arguments, *anchors(pki, tmp_path))[-1] == "signed"
    now = clock.now()
    trust = VerifiedTrust([verify_trusted_list(pki.trusted_list(), signers=[pki.list_signer.certificate])], at=now)
    report = validate_container(io.BytesIO(output.read_bytes()), trust=trust, at=now)
    (signature,) = report.signatures
    assert (signature.indication, signature.messages) == ("TOTAL-PASSED", ()), signature
    assert signature.level == "QESIG"
    assert report.data_files == (paper.name,)


def publish_lists(server: TrustServer, lotl_signer: Identity) -> None:
    """Our list and a list of lists that points to it, as both would stand in the world."""
    pki, now = server.pki, datetime.now(UTC).replace(microsecond=0)
    when = {"issued_at": now - timedelta(days=1), "next_update_at": now + timedelta(days=100)}
    pointers = (
        ListedPointer(f"{server.base}/lotl.xml", "EU", "TEST", (lotl_signer.certificate,), TYPE_LIST_OF_LISTS),
        ListedPointer(f"{server.base}/tl.xml", "EE", "TEST", (pki.list_signer.certificate,), TYPE_GENERIC),
    )
    lotl = pki.list_content(
        list_type=TYPE_LIST_OF_LISTS,
        territory="EU",
        scheme_name="EU:TEST list of lists",
        providers=(),
        pointers=pointers,
        distribution_point=f"{server.base}/lotl.xml",
        **when,
    )
    own = pki.list_content(distribution_point=f"{server.base}/tl.xml", **when)
    for name, content, signer in (("/lotl.xml", lotl, lotl_signer), ("/tl.xml", own, pki.list_signer)):
        server.lists[name] = sign_trusted_list(
            build_trusted_list(content), key=signer.key, certificate=signer.certificate, claimed_signing_at=now
        )


@pytest.mark.parametrize("tampered", [False, True])
def test_digidoc4j_trusts_what_our_signed_lists_say(classes: Path, tmp_path: Path, tampered: bool) -> None:
    pki = shared_pki()
    lotl_signer = make_certificate(distinguished_name("TEST LOTL signer"), new_key(), None, ())
    store = tmp_path / "lotl.p12"
    store.write_bytes(
        pkcs12.serialize_java_truststore(
            [pkcs12.PKCS12Certificate(lotl_signer.certificate, b"lotl")], BestAvailableEncryption(b"1234")
        )
    )
    (tmp_path / "ours.asice").write_bytes(lt_container(pki))
    with running_trust_server(pki, SystemClock()) as server:
        publish_lists(server, lotl_signer)
        if tampered:
            server.lists["/tl.xml"] = server.lists["/tl.xml"].replace(b"TEST TSA", b"TEST TSB")
        said = referee(classes, "validate-by-list", tmp_path / "ours.asice", f"{server.base}/lotl.xml", store, "1234")
        asked = list(server.requests)
    assert {"/lotl.xml", "/tl.xml"} <= set(asked)
    if tampered:
        (refused,) = said
        assert refused.startswith("refused ")
        assert "HASH_FAILURE" in refused
    else:
        assert said[0] == "listed 3"
        assert by_container(said[1:])["ours"][:2] == ["valid", "profile LT"]
