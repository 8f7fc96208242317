"""CDOC2 before referees that are not ours: libcdoc, the state's own library, and OpenSSL's key derivation.

libcdoc encrypts and we decrypt, which tries the whole derivation to EC and RSA keys. The other way round its Python
bindings cannot take a secret from a program, so there it reads our header and unpacks our payload with the master key.

Run as a program (`python -m tests.interop.test_cdoc2 FOLDER`) it writes the container of tests/vectors/cdoc2 anew.
"""

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from digiid.formats.cdoc2 import (
    MASTER_SECRET_BYTES,
    PasswordCapsule,
    SymmetricCapsule,
    derive_ec_kek,
    derive_file_master_key,
    derive_password_kek,
    derive_secret_kek,
)
from digiid.platform.documents.decryption_keys import key_of_private_key
from digiid.platform.documents.encryption import decrypt_files, encrypt_files, list_recipients
from digiid.platform.documents.recipients import KeyRecipient, NewRecipient, recipient_of_secret
from digiid.platform.entropy import SeededEntropy
from tests.support.encrypted_files import FILES

pytestmark = pytest.mark.interop


def find_libcdoc() -> Any:
    try:
        return importlib.import_module("pycdoc")
    except ImportError as error:
        pytest.skip(f"libcdoc's Python bindings (pycdoc) are not here: {error}")


def write_with_libcdoc(
    libcdoc: Any, container: Path, ec_key: ec.EllipticCurvePublicKey, rsa_key: rsa.RSAPublicKey
) -> None:
    recipients = [
        ("an EC key", ec_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint), libcdoc.Recipient.ECC),
        ("data:v=1&type=cert&cn=x", rsa_key.public_bytes(Encoding.DER, PublicFormat.PKCS1), libcdoc.Recipient.RSA),
    ]
    backend = libcdoc.CryptoBackend()  # has to live as long as the writer
    writer = libcdoc.CDocWriter.create_writer(2, str(container), None, backend, None)
    for label, key, kind in recipients:
        assert writer.add_recipient(libcdoc.Recipient.make_public_key(label, key, kind)) == libcdoc.OK
    assert writer.begin_encryption() == libcdoc.OK
    for name, content in FILES.items():
        assert writer.add_file(name, len(content)) == libcdoc.OK
        assert not content or writer.write_data(content) == libcdoc.OK
    assert writer.finish_encryption() == libcdoc.OK
    del writer


def test_we_open_what_libcdoc_writes(tmp_path: Path) -> None:
    libcdoc = find_libcdoc()
    keys = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)
    container = tmp_path / "theirs.cdoc2"
    write_with_libcdoc(libcdoc, container, keys[0].public_key(), keys[1].public_key())
    assert [(found.kind, found.name) for found in list_recipients(container)] == [
        ("ec", "an EC key"),
        ("rsa", "cert x"),
    ]
    for key in keys:
        files = decrypt_files(container, tmp_path / type(key).__name__, key=key_of_private_key(key))
        assert {file.name: file.read_bytes() for file in files} == FILES


def test_libcdoc_opens_what_we_write(tmp_path: Path) -> None:
    libcdoc = find_libcdoc()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    key, other = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)
    recipients: list[NewRecipient] = [
        KeyRecipient("one", key.public_key()),
        KeyRecipient("two", other.public_key()),
        recipient_of_secret("võti", bytes(32)),
    ]
    entropy = SeededEntropy(b"cdoc2")
    container = tmp_path / "ours.cdoc2"
    encrypt_files([tmp_path / name for name in FILES], container, recipients=recipients, entropy=entropy)
    # 1 The same recipients, and no error about the header.
    backend = libcdoc.CryptoBackend()  # has to live as long as the reader
    reader = libcdoc.CDocReader.create_reader(str(container), None, backend, None)
    assert reader.get_last_error_str() == ""
    assert [lock.get_label() for lock in reader.get_locks()] == [recipient.label for recipient in recipients]
    # 2 The same files with the file master key, and the tag fits after the last one.
    fmk = derive_file_master_key(SeededEntropy(b"cdoc2").token_bytes(MASTER_SECRET_BYTES))
    assert reader.begin_decryption(fmk)[0] == libcdoc.OK
    found = {}
    info = libcdoc.FileInfo()
    while reader.next_file(info) == libcdoc.OK:
        found[info.name] = _read_all(reader, info.size)
        info = libcdoc.FileInfo()
    assert reader.finish_decryption() == libcdoc.OK
    assert reader.get_last_error_str() == ""
    assert found == FILES


def _read_all(reader: Any, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = bytearray(size - len(content))
        count = reader.read_data(part)
        assert count > 0, reader.get_last_error_str()
        content += part[:count]
    return content


def openssl_kdf(name: str, *options: str) -> bytes:
    words = [word for option in options for word in ("-kdfopt", option)]
    done = subprocess.run(["openssl", "kdf", "-keylen", "32", *words, name], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"openssl kdf: {done.stderr.decode().strip()}")
    return bytes.fromhex(done.stdout.decode().strip().replace(":", ""))


def hkdf(salt: bytes, key: bytes, info: bytes) -> bytes:
    return openssl_kdf("HKDF", "digest:SHA256", f"hexsalt:{salt.hex()}", f"hexkey:{key.hex()}", f"hexinfo:{info.hex()}")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_derives_the_same_keys() -> None:
    salt, password_salt, secret = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 104))
    stretched = openssl_kdf(
        "PBKDF2", "digest:SHA256", "iter:600000", f"hexsalt:{password_salt.hex()}", "pass:a password of 20 letters"
    )
    capsule = PasswordCapsule(salt, password_salt, 600_000)
    expected = hkdf(salt, stretched, b"CDOC20kekXORlabel")
    assert derive_password_kek(capsule, "label", "a password of 20 letters") == expected
    assert derive_secret_kek(SymmetricCapsule(salt), "label", secret) == hkdf(salt, secret, b"CDOC20kekXORlabel")
    shared, points = hashlib.sha384(b"x").digest(), b"\x04" + bytes(192)
    expected = hkdf(b"CDOC20kekpremaster", shared, b"CDOC20kekXOR" + points)
    assert derive_ec_kek(shared, points[:97], points[97:]) == expected


_SOFTHSM = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
# The module reads its configuration once a process, so all of this happens in one of its own.
_IN_TOKEN = """
import sys, pkcs11
from pathlib import Path
from pkcs11.util.ec import encode_named_curve_parameters
from digiid.platform.documents.decryption_keys import load_decryption_key
from digiid.platform.documents.encryption import decrypt_files, encrypt_files
from digiid.platform.documents.recipients import KeyRecipient
from digiid.platform.entropy import SystemEntropy
module, folder = sys.argv[1], Path(sys.argv[2])
names = ("secp256r1", "secp384r1", "secp521r1")
with pkcs11.lib(module).get_token(token_label="keys").open(rw=True, user_pin="5678") as session:
    for name in names:
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(name)}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        capabilities = pkcs11.MechanismFlag.DERIVE
        parameters.generate_keypair(store=True, label=name, capabilities=capabilities)
for name in names:
    key = load_decryption_key(f"pkcs11:token=keys;object={name}?module-path={module}", folder / "pin")
    to = [KeyRecipient(name, key.public_key)]
    container = folder / f"{name}.cdoc2"
    encrypt_files([folder / "secret.txt"], container, recipients=to, entropy=SystemEntropy())
    [written] = decrypt_files(container, folder / name, key=key)
    print(written.read_text())
"""


def test_keys_in_a_token_decrypt(tmp_path: Path) -> None:
    module = next((path for path in _SOFTHSM if Path(path).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    (tmp_path / "pin").write_text("5678\n")
    (tmp_path / "secret.txt").write_text("a secret")
    environment = {**os.environ, "SOFTHSM2_CONF": str(tmp_path / "softhsm.conf")}
    make = ["softhsm2-util", "--init-token", "--free", "--label", "keys", "--so-pin", "1234", "--pin", "5678"]
    subprocess.run(make, check=True, capture_output=True, env=environment)
    done = subprocess.run(
        [sys.executable, "-c", _IN_TOKEN, module, str(tmp_path)], capture_output=True, env=environment, check=False
    )
    assert done.stdout.decode().split("\n") == ["a secret"] * 3 + [""], done.stderr.decode()


def _write_vector(folder: Path) -> None:
    ec_key, rsa_key = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)
    write_with_libcdoc(find_libcdoc(), folder / "libcdoc.cdoc2", ec_key.public_key(), rsa_key.public_key())
    for name, key in (("ec", ec_key), ("rsa", rsa_key)):
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}-key.pem").write_bytes(pem)


if __name__ == "__main__":
    _write_vector(Path(sys.argv[1]))
