"""Unmodified OpenSC, OpenSSL and python-pkcs11 take the virtual chip for an ESTEID2018 card."""

import base64
import hashlib
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from digiid.platform.eid_card import CardKey
from tests.interop.opensc.conftest import CardInRoom, counters_after, find_module
from tests.support.cards import PIN1, PIN2, PUK, TestCa

pytestmark = pytest.mark.interop
SLOT = {CardKey.AUTHENTICATION: ("0", "01", PIN1), CardKey.SIGNATURE: ("1", "02", PIN2)}


def test_opensc_names_the_card(card: CardInRoom) -> None:
    assert b"EstEID 2018" in card.room.run("opensc-tool", "-n").stdout + card.room.run("opensc-tool", "-n").stderr


def test_pkcs15_tool_lists_keys_certificates_and_pins(card: CardInRoom) -> None:
    listed = card.room.run("pkcs15-tool", "-D").stdout.decode()
    assert "NS0000009" in listed
    assert listed.count("Private EC Key") == 2
    assert listed.count("X.509 Certificate") == 2
    for name in ("PIN1", "PIN2", "PUK"):
        assert f"PIN [{name}]" in listed
    assert listed.count("Tries left     : 3") == 3


@pytest.mark.parametrize("kind", list(CardKey))
def test_certificates_are_read_whole(card: CardInRoom, kind: CardKey) -> None:
    pem = card.room.run("pkcs15-tool", "--read-certificate", SLOT[kind][1]).stdout
    assert x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) == card.certificates[kind]


@pytest.mark.parametrize("kind", list(CardKey))
def test_openssl_verifies_what_pkcs11_signs(card: CardInRoom, kind: CardKey, tmp_path: Path) -> None:
    slot, key_id, pin = SLOT[kind]
    digest, signature = tmp_path / "digest", tmp_path / "signature"
    digest.write_bytes(hashlib.sha384(b"a document").digest())
    card.pkcs11_tool(
        *("--slot-index", slot, "--login", "--pin", pin, "--sign", "-m", "ECDSA", "--id", key_id),
        *("-i", str(digest), "-o", str(signature), "--signature-format", "openssl"),
    )
    verified = subprocess.run(
        [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            card.public_keys[kind],
            "-in",
            digest,
            "-sigfile",
            signature,
        ],
        capture_output=True,
        check=True,
    )
    assert b"Signature Verified Successfully" in verified.stdout


def test_wrong_pins_are_counted_until_the_card_is_blocked_and_the_puk_opens_it(card: CardInRoom) -> None:
    for left in (2, 1, 0):
        said = card.pkcs11_tool("--slot-index", "0", "--login", "--pin", "9999", "-O", check=False)
        assert "CKR_PIN_INCORRECT" in said or "CKR_PIN_LOCKED" in said
        assert counters_after(card).pin1 == left
    said = card.pkcs11_tool("--slot-index", "0", "--login", "--pin", PIN1, "-O", check=False)
    assert "CKR_PIN_LOCKED" in said
    card.room.run("pkcs15-tool", "--unblock-pin", "--auth-id", "01", "--puk", PUK, "--new-pin", "4321")
    assert counters_after(card).pin1 == 3
    card.room.run("pkcs15-tool", "--verify-pin", "--auth-id", "01", "--pin", "4321")


def test_pins_are_changed_by_stock_tools(card: CardInRoom) -> None:
    for auth_id, old, new in (("01", PIN1, "4321"), ("02", PIN2, "54321")):
        card.room.run("pkcs15-tool", "--change-pin", "--auth-id", auth_id, "--pin", old, "--new-pin", new)
        card.room.run("pkcs15-tool", "--verify-pin", "--auth-id", auth_id, "--pin", new)
        refused = card.room.run("pkcs15-tool", "--verify-pin", "--auth-id", auth_id, "--pin", old, check=False)
        assert refused.returncode != 0


def test_shared_secret_is_the_one_that_the_peer_computes(card: CardInRoom, tmp_path: Path) -> None:
    peer = ec.generate_private_key(ec.SECP384R1())
    peer_file, secret = tmp_path / "peer.der", tmp_path / "secret"
    peer_file.write_bytes(peer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    card.pkcs11_tool(
        *("--slot-index", "0", "--login", "--pin", PIN1, "--derive", "-m", "ECDH1-DERIVE", "--id", "01"),
        *("-i", str(peer_file), "-o", str(secret)),
    )
    own = x509.load_der_x509_certificate(card.certificates[CardKey.AUTHENTICATION]).public_key()
    assert isinstance(own, ec.EllipticCurvePublicKey)
    assert secret.read_bytes() == peer.exchange(ec.ECDH(), own)


def test_tls_server_accepts_the_card_as_a_client_certificate(card: CardInRoom, ca: TestCa, tmp_path: Path) -> None:
    engine = next(Path("/usr/lib").glob("*/engines-3/pkcs11.so"), None)
    if engine is None:
        pytest.skip("libengine-pkcs11-openssl is not installed")
    ca_file, key_file, own_file = tmp_path / "ca.pem", tmp_path / "server.key", tmp_path / "auth.pem"
    ca_file.write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(ca.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    own_file.write_bytes(
        x509.load_der_x509_certificate(card.certificates[CardKey.AUTHENTICATION]).public_bytes(Encoding.PEM)
    )
    config = tmp_path / "openssl.cnf"
    config.write_text(
        textwrap.dedent(f"""\
            openssl_conf = init
            [init]
            engines = engines
            [engines]
            pkcs11 = card
            [card]
            engine_id = pkcs11
            dynamic_path = {engine}
            MODULE_PATH = {find_module()}
            init = 0
            """)
    )
    slots = card.pkcs11_tool("-L")
    label = next(line.split(":", 1)[1].strip() for line in slots.splitlines() if "token label" in line)
    server = card.room.start(
        *("openssl", "s_server", "-accept", "127.0.0.1:4433", "-cert", str(ca_file), "-key", str(key_file)),
        *("-CAfile", str(ca_file), "-Verify", "2", "-verify_return_error", "-www", "-tls1_3"),
    )
    try:
        uri = f"pkcs11:token={quote(label)};id=%01;type=private;pin-value={PIN1}"
        done = card.room.run(
            *("openssl", "s_client", "-connect", "127.0.0.1:4433", "-engine", "pkcs11", "-keyform", "engine"),
            *("-key", uri, "-cert", str(own_file), "-CAfile", str(ca_file), "-tls1_3", "-ign_eof"),
            stdin=b"GET / HTTP/1.0\r\n\r\n",
            environment={"OPENSSL_CONF": str(config)},
        )
    finally:
        server.terminate()
        server.wait(timeout=10)
        assert server.stdout is not None
        server.stdout.close()
    page = done.stdout.decode(errors="replace")
    assert "HTTP/1.0 200" in page
    assert "38001085718" in page  # the server shows the certificate of its client


_TIMED = """
import statistics, sys, time, hashlib, pkcs11
from pkcs11 import Mechanism, ObjectClass, KeyType
token = next(iter(pkcs11.lib(sys.argv[1]).get_slots(token_present=True))).get_token()
took = []
with token.open(user_pin=sys.argv[2]) as session:
    key = next(iter(session.get_objects({pkcs11.Attribute.CLASS: ObjectClass.PRIVATE_KEY})))
    digest = hashlib.sha384(b"x").digest()
    for _ in range(100):
        began = time.perf_counter()
        key.sign(digest, mechanism=Mechanism.ECDSA)
        took.append((time.perf_counter() - began) * 1000)
print(" ".join(f"{ms:.3f}" for ms in took))
"""


def test_a_signature_on_an_open_session_waits_for_no_delayed_acknowledgement(card: CardInRoom) -> None:
    printed = card.room.run(sys.executable, "-c", _TIMED, str(find_module()), PIN1).stdout
    took = [float(word) for word in printed.split()]
    median, p95 = statistics.median(took), sorted(took)[94]
    print(f"PIN1 signature through PC/SC on an open session: median {median:.2f} ms, p95 {p95:.2f} ms")
    assert median < 20  # 44 ms and more is Nagle's algorithm waiting for an acknowledgement


_OWN_READER = """
import base64, hashlib, sys
from cryptography.hazmat.primitives.serialization import Encoding
from digiid.devices import pcsc
from digiid.platform import eid_card
from digiid.platform.eid_card import CardKey
reader = next(entry for entry in pcsc.list_readers() if entry.atr)
with pcsc.connect(reader.name) as card:
    assert eid_card.read_document(card).personal_code == "38001085718"
    der = eid_card.read_certificate(card, CardKey.SIGNATURE).public_bytes(Encoding.DER)
    signature = eid_card.sign(card, pin2=sys.argv[1], digest=hashlib.sha384(b"x").digest())
print(base64.b64encode(der).decode(), len(signature))
"""


def test_our_own_pcsc_binding_reads_and_signs(card: CardInRoom) -> None:
    printed = card.room.run(sys.executable, "-c", _OWN_READER, PIN2).stdout.split()
    assert base64.b64decode(printed[0]) == card.certificates[CardKey.SIGNATURE]
    assert printed[1] == b"96"


def test_opensc_finds_no_error_in_its_self_test(card: CardInRoom) -> None:
    assert "No errors" in card.pkcs11_tool("--slot-index", "0", "--login", "--pin", PIN1, "-t")
