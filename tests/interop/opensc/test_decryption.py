"""The card's ECDH before OpenSC: both derive the same secret, and either way opens what is encrypted to the card."""

import sys
from pathlib import Path

import pytest
from cryptography import x509

from digiid.formats.cdoc2 import EcCapsule, parse_envelope
from digiid.platform.documents.encryption import encrypt_files
from digiid.platform.documents.recipients import recipient_of_certificate
from digiid.platform.eid_card import CardKey
from digiid.platform.entropy import SystemEntropy
from tests.interop.opensc.conftest import CardInRoom, find_module
from tests.support.cards import AT, PIN1

pytestmark = pytest.mark.interop


@pytest.fixture
def container(card: CardInRoom, tmp_path: Path) -> Path:
    """`secret.txt`, encrypted to the card in the reader."""
    certificate = x509.load_der_x509_certificate(card.certificates[CardKey.AUTHENTICATION])
    (tmp_path / "secret.txt").write_bytes(b"a secret")
    written = tmp_path / "x.cdoc2"
    to = [recipient_of_certificate(certificate, at=AT)]
    encrypt_files([tmp_path / "secret.txt"], written, recipients=to, entropy=SystemEntropy())
    return written


_OWN_READER = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric import ec
from digiid.devices import pcsc
from digiid.platform import eid_card
from digiid.platform.documents.decryption_keys import key_of_card
from digiid.platform.documents.encryption import decrypt_files
container, folder, pin, point = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], bytes.fromhex(sys.argv[4])
reader = next(entry for entry in pcsc.list_readers() if entry.atr)
with pcsc.connect(reader.name) as card:
    [written] = decrypt_files(container, folder, key=key_of_card(card, lambda: pin))
    peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point)
    print(written.read_text(), eid_card.derive(card, pin1=pin, peer=peer).hex(), sep="|")
"""


def test_our_own_binding_decrypts_and_opensc_derives_the_same_secret(
    card: CardInRoom, container: Path, tmp_path: Path
) -> None:
    with container.open("rb") as file:
        [recipient] = parse_envelope(file).recipients
    assert isinstance(recipient.capsule, EcCapsule)
    point = recipient.capsule.sender_key
    arguments = (str(container), str(tmp_path / "ours"), PIN1, point.hex())
    text, ours = card.room.run(sys.executable, "-c", _OWN_READER, *arguments).stdout.decode().strip().split("|")
    assert text == "a secret"
    peer, secret = tmp_path / "peer.der", tmp_path / "secret"
    # RFC 5480: the SubjectPublicKeyInfo of a point on secp384r1.
    peer.write_bytes(bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200") + point)
    card.pkcs11_tool(
        *("--slot-index", "0", "--login", "--pin", PIN1, "--derive", "-m", "ECDH1-DERIVE", "--id", "01"),
        *("-i", str(peer), "-o", str(secret)),
    )
    assert secret.read_bytes().hex() == ours


_THROUGH_PKCS11 = """
import sys
from pathlib import Path
from urllib.parse import quote
import pkcs11
from digiid.platform.documents.decryption_keys import load_decryption_key
from digiid.platform.documents.encryption import decrypt_files
module, container, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
label = next(iter(pkcs11.lib(module).get_slots(token_present=True))).get_token().label
key = load_decryption_key(f"pkcs11:token={quote(label)};id=%01?module-path={module}", folder / "pin")
[written] = decrypt_files(container, folder / "pkcs11", key=key)
print(written.read_text())
"""


def test_a_card_decrypts_through_opensc_as_a_token(card: CardInRoom, container: Path, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text(PIN1)
    done = card.room.run(sys.executable, "-c", _THROUGH_PKCS11, str(find_module()), str(container), str(tmp_path))
    assert done.stdout == b"a secret\n"
