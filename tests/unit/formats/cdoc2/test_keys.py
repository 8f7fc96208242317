"""Keys: known answers written out from the definitions, and labels."""

import base64
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import load_der_x509_certificate
from cryptography.x509.oid import NameOID

from digiid.formats.cdoc2 import (
    OAEP,
    EcCapsule,
    PasswordCapsule,
    Recipient,
    RsaCapsule,
    SymmetricCapsule,
    build_label,
    decode_sender_key,
    derive_ec_kek,
    derive_file_master_key,
    derive_password_kek,
    derive_secret_kek,
    describe_label,
    encode_public_key,
    label_of_certificate,
    parse_label,
    seal_header,
    seal_to_ec,
    seal_to_password,
    seal_to_rsa,
    seal_to_secret,
    verify_header,
)
from digiid.formats.x509.parts import certificate_der, load_certificate
from digiid.kernel.errors import Malformed, Refused
from digiid.platform.eid_card import CardKey
from tests.support.cards import DOCUMENT, new_ca

SALT, OTHER_SALT = bytes(range(32)), bytes(range(32, 64))


def hmac256(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(key: bytes, info: bytes) -> bytes:
    """HKDF-Expand to 32 bytes is one block: RFC 5869 §2.3."""
    return hmac256(key, info + b"\x01")


def xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(32)


FMK = hmac256(b"CDOC20salt", bytes(64))


def test_file_master_key_payload_key_and_header_hmac() -> None:
    assert derive_file_master_key(bytes(64)) == FMK
    keys = seal_header(FMK, b"header")
    assert keys.cek == expand(FMK, b"CDOC20cek")
    assert keys.header_hmac == hmac256(expand(FMK, b"CDOC20hmac"), b"header")
    with pytest.raises(ValueError, match="64 random bytes"):
        derive_file_master_key(bytes(32))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_kek_of_an_ec_key_binds_both_public_keys(curve: ec.EllipticCurve) -> None:
    own, ephemeral = ec.generate_private_key(curve), ec.generate_private_key(curve)
    sealed = seal_to_ec(FMK, "label", own.public_key(), ephemeral=ephemeral)
    capsule = sealed.capsule
    assert isinstance(capsule, EcCapsule) and capsule.curve == curve.name
    assert capsule.recipient_key == encode_public_key(own.public_key()) and capsule.recipient_key[0] == 4
    shared_x = own.exchange(ec.ECDH(), decode_sender_key(capsule))
    premaster = hmac256(b"CDOC20kekpremaster", shared_x)
    kek = expand(premaster, b"CDOC20kek" + b"XOR" + capsule.recipient_key + capsule.sender_key)
    assert derive_ec_kek(shared_x, capsule.recipient_key, capsule.sender_key) == kek
    assert xor(sealed.encrypted_fmk, kek) == FMK


def test_kek_of_a_shared_key_binds_the_label() -> None:
    secret = bytes(range(100, 140))
    sealed = seal_to_secret(FMK, "võti", secret, salt=SALT)
    kek = expand(hmac256(SALT, secret), b"CDOC20kekXOR" + "võti".encode())
    assert xor(sealed.encrypted_fmk, kek) == FMK
    assert derive_secret_kek(SymmetricCapsule(SALT), "voti", secret) != kek
    with pytest.raises(Refused, match=r"cdoc2\.key\.short"):
        derive_secret_kek(SymmetricCapsule(SALT), "võti", secret[:31])


def test_kek_of_a_password_is_stretched() -> None:
    sealed = seal_to_password(FMK, "pw", "päris pikk parool", salt=SALT, password_salt=OTHER_SALT)
    assert sealed.capsule == PasswordCapsule(SALT, OTHER_SALT, 600_000)
    stretched = hashlib.pbkdf2_hmac("sha256", "päris pikk parool".encode(), OTHER_SALT, 600_000, 32)
    kek = expand(hmac256(SALT, stretched), b"CDOC20kekXORpw")
    assert xor(sealed.encrypted_fmk, kek) == FMK
    quick = PasswordCapsule(SALT, OTHER_SALT, 1000)
    assert derive_password_kek(quick, "pw", "päris pikk parool") != kek


def test_kek_of_an_rsa_key_is_transported() -> None:
    key = rsa.generate_private_key(65537, 2048)
    sealed = seal_to_rsa(FMK, "rsa", key.public_key(), kek=SALT)
    assert isinstance(sealed.capsule, RsaCapsule)
    assert key.decrypt(sealed.capsule.encrypted_kek, OAEP) == SALT
    assert xor(sealed.encrypted_fmk, SALT) == FMK


def test_only_the_right_key_and_the_unchanged_header_verify() -> None:
    sealed = seal_to_secret(FMK, "x", bytes(32), salt=SALT)
    kek = derive_secret_kek(SymmetricCapsule(SALT), "x", bytes(32))
    keys = seal_header(FMK, b"header")
    assert verify_header(sealed, kek, header=b"header", header_hmac=keys.header_hmac) == keys
    wrong = [
        (sealed, bytes(32), b"header", keys.header_hmac),
        (sealed, kek, b"Header", keys.header_hmac),
        (sealed, kek, b"header", bytes(32)),
        (Recipient("x", sealed.capsule, bytes(32)), kek, b"header", keys.header_hmac),
    ]
    for recipient, tried, header, header_hmac in wrong:
        with pytest.raises(Refused, match=r"cdoc2\.key\.wrong"):
            verify_header(recipient, tried, header=header, header_hmac=header_hmac)
    with pytest.raises(Malformed, match=r"cdoc2\.key\.length"):
        verify_header(sealed, kek[:31], header=b"header", header_hmac=keys.header_hmac)


@pytest.mark.parametrize("point", [b"\x04" + bytes(96), b"\x04" + b"\x01" * 96, b"\x02" + bytes(96), bytes(97)])
def test_a_senders_key_off_the_curve_never_meets_a_private_key(point: bytes) -> None:
    with pytest.raises(Malformed, match=r"cdoc2\.point"):
        decode_sender_key(EcCapsule("secp384r1", bytes(97), point))


def test_labels_in_machine_form() -> None:
    label = build_label("ID-card", {"serial_number": "PNOEE-38001085718", "cn": "JÕEORG,JAAK & CO", "file": ""})
    assert label == "data:v=1&type=ID-card&serial_number=PNOEE-38001085718&cn=J%C3%95EORG%2CJAAK%20%26%20CO"
    fields = parse_label(label)
    assert fields is not None and fields["cn"] == "JÕEORG,JAAK & CO" and "file" not in fields
    others = ("data:,V=1&TYPE=pw&LABEL=a+b", "data:;base64," + base64.b64encode(b"v=1&type=pw&label=a+b").decode())
    for text in others:
        assert parse_label(text) == {"v": "1", "type": "pw", "label": "a b"}
        assert describe_label(text) == "pw a b"


@pytest.mark.parametrize("text", ["Juhan", "", "data", "data:", "data:x", "data:a=1&a=2", "data:;base64,!", "data:&&"])
def test_any_other_text_is_a_label_too(text: str) -> None:
    assert parse_label(text) is None
    assert describe_label(text) == text


def test_label_of_a_certificate_names_document_and_holder() -> None:
    public_key = ec.generate_private_key(ec.SECP384R1()).public_key()
    certificate = load_der_x509_certificate(new_ca().certify(CardKey.AUTHENTICATION, public_key, DOCUMENT))
    fields = parse_label(label_of_certificate(certificate))
    assert fields is not None
    assert fields["type"] == "Digi-ID E-RESIDENT"
    assert fields["serial_number"] == "PNOEE-38001085718"
    assert fields["cn"] == "JÕEORG,JAAK-KRISTJAN,38001085718"
    assert (fields["last_name"], fields["first_name"]) == ("JÕEORG", "JAAK-KRISTJAN")
    other = parse_label(label_of_certificate(new_ca().certificate))
    assert other is not None and other["type"] == "cert" and len(other["cert_sha1"]) == 40


def test_a_certificate_whose_names_cannot_be_read_is_labelled_by_its_digest() -> None:
    certificate = new_ca().certificate
    common_name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert isinstance(common_name, str)
    text = common_name.encode()
    written = bytes((0x0C, len(text))) + text
    encoded = certificate_der(certificate)
    assert written in encoded
    for odd in (bytes((0x03, len(text), 0)) + text[1:], bytes((0x0C, len(text), 0xFF)) + text[1:]):
        stranger = load_certificate(encoded.replace(written, odd))
        fields = parse_label(label_of_certificate(stranger))
        assert fields is not None
        assert fields["cert_sha1"]
        assert "cn" not in fields
