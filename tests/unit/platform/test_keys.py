"""Signing keys from files, and what a PKCS#11 URI has to say."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from digiid.formats.xades import verify_prepared_value
from digiid.kernel.errors import Malformed, Refused, Unavailable
from digiid.platform.documents import prepare_signature
from digiid.platform.documents.signers import signer_from_pkcs12
from digiid.platform.entropy import SeededEntropy
from digiid.platform.keys import (
    FileIdentity,
    generate_ec_key,
    load_or_create_passphrase,
    load_pkcs12_file,
    load_private_key,
    write_pkcs12_file,
    write_private_key,
)
from tests.support.pki import AT, FILES, person, shared_pki


@pytest.mark.parametrize("curve", ["secp256r1", "secp384r1", "secp521r1"])
def test_a_key_is_read_back(tmp_path: Path, entropy: SeededEntropy, curve: str) -> None:
    passphrase_file = tmp_path / "secrets" / "passphrase"
    passphrase = load_or_create_passphrase(passphrase_file, entropy)
    assert load_or_create_passphrase(passphrase_file, entropy) == passphrase and len(passphrase) >= 43
    key = generate_ec_key(curve)
    write_private_key(tmp_path / "key", key, passphrase=passphrase)
    loaded = load_private_key(tmp_path / "key", passphrase_file)
    assert loaded.public_key() == key.public_key()
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert passphrase_file.stat().st_mode & 0o777 == 0o600
    signature = loaded.sign(b"x", ec.ECDSA(hashes.SHA256()))
    key.public_key().verify(signature, b"x", ec.ECDSA(hashes.SHA256()))


def test_a_wrong_or_missing_passphrase_is_told_without_the_secret(tmp_path: Path, entropy: SeededEntropy) -> None:
    passphrase = load_or_create_passphrase(tmp_path / "right", entropy)
    write_private_key(tmp_path / "key", generate_ec_key("secp256r1"), passphrase=passphrase)
    (tmp_path / "wrong").write_bytes(b"a wrong passphrase")
    (tmp_path / "empty").write_bytes(b"\n")
    for file in (tmp_path / "wrong", tmp_path / "empty", tmp_path / "missing", None):
        with pytest.raises(Malformed, match=r"keys\.unreadable") as caught:
            load_private_key(tmp_path / "key", file)
        assert "a wrong passphrase" not in str(caught.value)


def test_what_is_no_ec_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"passphrase")
    key = rsa.generate_private_key(65537, 2048)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase"))
    for name, content in (("rsa", encrypted), ("text", b"hello"), ("large", bytes(20_000))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Malformed, match=r"keys\.unreadable"):
            load_private_key(tmp_path / name, tmp_path / "p")


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:",
        "pkcs11:token=t;object=o",
        "pkcs11:token=t?module-path=/x.so",
        "pkcs11:object=o?module-path=/x.so",
        "pkcs11:token=t;token=u;object=o?module-path=/x.so",
        "pkcs11:token;object=o?module-path=/x.so",
    ],
)
def test_a_uri_that_does_not_say_enough_is_malformed(uri: str) -> None:
    with pytest.raises(Malformed, match=r"keys\.uri"):
        load_private_key(uri, None)


def test_a_module_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"keys\.token"):
        load_private_key(f"pkcs11:token=t;object=o?module-path={tmp_path}/none.so", None)


# ---------------------------------------------------------------------------------------------- PKCS#12


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa"])
def test_a_pkcs12_file_signs(tmp_path: Path, kind: str) -> None:
    identity = shared_pki().issue(person("FILE", "38001085718"), kind=kind)
    file, password_file = tmp_path / "signer.p12", tmp_path / "password"
    password_file.write_text("päss wörd\n", encoding="utf-8")
    password = "päss wörd".encode()
    write_pkcs12_file(file, FileIdentity(identity.key, identity.certificate), password=password, name="signer")
    assert file.stat().st_mode & 0o777 == 0o600
    signer = signer_from_pkcs12(file, password_file)
    assert signer.certificate == identity.certificate
    prepared = prepare_signature(
        FILES, certificate=signer.certificate, issuers=[shared_pki().ca.certificate], at=AT, method=signer.method
    )
    verify_prepared_value(prepared.xades, signer.certificate, signer.sign(prepared.digest))


def test_a_pkcs12_file_that_does_not_open_is_told_without_the_password(tmp_path: Path) -> None:
    identity = shared_pki().signer
    file, right, wrong = tmp_path / "signer.p12", tmp_path / "right", tmp_path / "wrong"
    right.write_bytes(b"right")
    wrong.write_bytes(b"a wrong password")
    write_pkcs12_file(file, FileIdentity(identity.key, None), password=b"right", name="signer")
    with pytest.raises(Refused, match=r"keys\.no_certificate"):
        signer_from_pkcs12(file, right)
    (tmp_path / "large.p12").write_bytes(bytes(300_000))
    (tmp_path / "text.p12").write_bytes(b"hello")
    for path, password in (
        (file, wrong),
        (file, None),
        (tmp_path / "large.p12", right),
        (tmp_path / "text.p12", right),
    ):
        with pytest.raises(Malformed, match=r"keys\.unreadable") as caught:
            signer_from_pkcs12(path, password)
        assert "a wrong password" not in str(caught.value)


def test_what_is_wrong_with_a_key_file_is_said_in_words(tmp_path: Path) -> None:
    identity = shared_pki().signer
    file, right, wrong, missing = (tmp_path / name for name in ("a.p12", "right", "wrong", "missing"))
    write_pkcs12_file(file, FileIdentity(identity.key, identity.certificate), password=b"right", name="signer")
    right.write_bytes(b"right")
    wrong.write_bytes(b"a wrong password")
    said = {
        f"{file} is no PKCS#12 file, or the password in {wrong} is not its own": (file, wrong),
        f"{file} is no PKCS#12 file, or needs a password: name the file that holds it": (file, None),
        f"passphrase file {missing}: No such file or directory": (file, missing),
        f"{missing}: No such file or directory": (missing, right),
    }
    for text, (path, password) in said.items():
        with pytest.raises(Malformed) as caught:
            load_pkcs12_file(path, password)
        assert caught.value.detail == text
    with pytest.raises(Malformed) as caught:
        load_private_key(wrong, right)
    assert caught.value.detail == f"{wrong} is no PEM file, or the password in {right} is not its own"


def test_a_pkcs12_file_with_the_certificate_of_another_key_has_none(tmp_path: Path) -> None:
    signer, stranger = shared_pki().signer, shared_pki().issue(person("OTHER", "38001085718"))
    (tmp_path / "p").write_bytes(b"x")
    try:
        identity = FileIdentity(signer.key, stranger.certificate)
        write_pkcs12_file(tmp_path / "x.p12", identity, password=b"x", name="x")
    except ValueError:
        return  # the library does not even write it
    with pytest.raises((Malformed, Refused), match=r"keys\."):
        signer_from_pkcs12(tmp_path / "x.p12", tmp_path / "p")
