"""python-xmlsec and Apache Santuario judge the signatures of our messages; X-Road's schema judges our hash chains."""

import hashlib
import io
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from digiid.formats.exchange.hash_chain import HashChain, HashTree
from tests.unit.formats.exchange.signing import KINDS, sign, signer

pytestmark = pytest.mark.interop

HERE = Path(__file__).parent / "santuario"
SCHEMA = Path(__file__).parents[1] / "vectors" / "xroad" / "hashchain.xsd"
JARS = [Path("/usr/share/java") / name for name in ("xmlsec.jar", "slf4j-api.jar", "commons-codec.jar")]
PARTS = {"/message.xml": b"POST\r\n/r1/", "/attachment1": b'{"todo": true}'}
FORMS = pytest.mark.parametrize("use_hash_chain", [False, True])
KEYS = pytest.mark.parametrize("kind", KINDS)


def resources(chain: HashChain | None) -> dict[str, bytes]:
    return PARTS if chain is None else {"/sig-hashchainresult.xml": chain.result}


def tampered(xml: bytes) -> bytes:
    changed = xml.replace(b"<xades:SigningTime>2026", b"<xades:SigningTime>2025")
    assert changed != xml
    return changed


@KEYS
@FORMS
def test_xmlsec_accepts_our_signature_and_refuses_a_changed_one(kind: str, use_hash_chain: bool) -> None:
    xmlsec = pytest.importorskip("xmlsec")
    xml, chain = sign(PARTS, kind=kind, use_hash_chain=use_hash_chain)

    def verify(document: bytes, files: dict[str, bytes]) -> None:
        xmlsec.cleanup_callbacks()
        xmlsec.register_callbacks(
            lambda uri: _text(uri) in files,
            lambda uri: io.BytesIO(files[_text(uri)]),
            lambda stream, buffer: stream.readinto(buffer),
            lambda stream: stream.close(),
        )
        try:
            root = etree.fromstring(document)
            xmlsec.tree.add_ids(root, ["Id"])
            context = xmlsec.SignatureContext()
            certificate_pem = signer(kind)[1].public_bytes(Encoding.PEM)
            context.key = xmlsec.Key.from_memory(certificate_pem, xmlsec.KeyFormat.CERT_PEM)
            context.verify(root[0])
        finally:
            xmlsec.cleanup_callbacks()
            xmlsec.register_default_callbacks()

    files = resources(chain)
    verify(xml, files)
    with pytest.raises(xmlsec.Error):
        verify(tampered(xml), files)
    for uri in files:
        with pytest.raises(xmlsec.Error):
            verify(xml, {**files, uri: b"altered"})


def _text(uri: bytes | str) -> str:
    return uri.decode() if isinstance(uri, bytes) else uri


@KEYS
@FORMS
def test_santuario_accepts_our_signature_and_refuses_a_changed_one(
    kind: str, use_hash_chain: bool, tmp_path: Path
) -> None:
    if shutil.which("java") is None or not JARS[0].exists():
        pytest.skip("java and libxml-security-java are not installed")
    xml, chain = sign(PARTS, kind=kind, use_hash_chain=use_hash_chain)
    for uri, data in resources(chain).items():
        (tmp_path / uri[1:]).write_bytes(data)
    assert _santuario(xml, tmp_path) == "VALID"
    assert _santuario(tampered(xml), tmp_path) == "NOT VALID"


def _santuario(xml: bytes, folder: Path) -> str:
    signature = folder / "signatures.xml"
    signature.write_bytes(xml)
    classpath = ":".join(str(jar) for jar in JARS if jar.exists())
    command = ["java", "-cp", classpath, str(HERE / "Verify.java"), str(signature), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_our_hash_chains_validate_against_the_schema() -> None:
    text = SCHEMA.read_bytes().replace(b"xmldsig-core-schema.xsd", (HERE / "xmldsig-core-schema.xsd").as_uri().encode())
    schema = etree.XMLSchema(etree.fromstring(text))
    _, chain = sign(PARTS, use_hash_chain=True)
    assert chain is not None
    leaves = [hashlib.sha512(b"%d" % i).digest() for i in range(5)]
    tree = HashTree(leaves, uri="/META-INF/signatures.xml", chain_uri="/ts-hashchain.xml")
    of_tree = [tree.chain_of(index).chain for index in range(5)]
    for document in (chain.result, chain.chain, tree.result, *of_tree):
        schema.assertValid(etree.fromstring(document))
    with pytest.raises(etree.DocumentInvalid):
        schema.assertValid(etree.fromstring(chain.chain.replace(b"DataRef", b"Other")))
