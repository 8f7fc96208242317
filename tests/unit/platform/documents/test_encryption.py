"""Files into CDOC2 containers and out again: recipients, keys, and what is left behind when something is wrong."""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from digiid.formats import cdoc2
from digiid.formats.cdoc2 import ArchiveLimits, PasswordCapsule
from digiid.formats.cdoc2.flatbuffers import Byte, Table, build_buffer
from digiid.kernel.errors import Malformed, NotFound, Refused
from digiid.platform import eid_card
from digiid.platform.documents.decryption_keys import key_of_card, key_of_private_key, load_decryption_key
from digiid.platform.documents.encryption import (
    AgreementKey,
    DecryptionKey,
    PasswordKey,
    SecretKey,
    decrypt_files,
    encrypt_files,
    list_recipients,
)
from digiid.platform.documents.recipients import (
    KeyRecipient,
    NewRecipient,
    PasswordRecipient,
    SecretRecipient,
    recipient_of_certificate,
    recipient_of_password,
    recipient_of_secret,
)
from digiid.platform.eid_card import CardKey, PinRefused
from digiid.platform.entropy import SeededEntropy
from tests.support.cards import PIN1, ChipInMemory, new_ca, personalise
from tests.support.encrypted_files import FILES
from tests.support.pki import AT, DAY, distinguished_name, key_usage, make_certificate
from tests.unit.formats.fuzz import damaged, only_raises

VECTORS = Path(__file__).parents[3] / "vectors" / "cdoc2"
SECRET = bytes(range(32))
PASSWORD = "viis juhuslikku sõna siin"


@pytest.fixture(scope="module")
def keys() -> dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]:
    return {
        "p256": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "p521": ec.generate_private_key(ec.SECP521R1()),
        "rsa": rsa.generate_private_key(65537, 2048),
    }


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "plain"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in FILES]


def write_small(folder: Path, recipient: NewRecipient | None = None) -> Path:
    plain, container = folder / "secret.txt", folder / "x.cdoc2"
    plain.write_bytes(b"a secret")
    to = recipient or SecretRecipient("k", SECRET)
    encrypt_files([plain], container, recipients=[to], entropy=SeededEntropy(b"small"))
    plain.unlink()
    return container


def everything_in(folder: Path) -> list[str]:
    return sorted(name for _, folders, names in os.walk(folder) for name in [*folders, *names])


# --- there and back ---


def test_every_recipient_opens_the_same_files(
    tmp_path: Path,
    files: list[Path],
    keys: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey],
    entropy: SeededEntropy,
) -> None:
    recipients: list[NewRecipient] = [KeyRecipient(name, key.public_key()) for name, key in keys.items()]
    recipients += [PasswordRecipient("pw", PASSWORD), recipient_of_secret("võti", SECRET)]
    container = tmp_path / "all.cdoc2"
    size = encrypt_files(files, container, recipients=recipients, entropy=entropy)
    assert container.stat().st_size == size and b"hello" not in container.read_bytes()
    openers: list[DecryptionKey] = [key_of_private_key(key) for key in keys.values()]
    openers += [PasswordKey(PASSWORD), SecretKey(SECRET), SecretKey(SECRET, "võti")]
    for number, opener in enumerate(openers):
        written = decrypt_files(container, tmp_path / str(number), key=opener)
        assert {file.name: file.read_bytes() for file in written} == FILES
        assert {file.stat().st_mode & 0o777 for file in written} == {0o600}
        assert everything_in(tmp_path / str(number)) == sorted(FILES)


def test_what_the_states_own_library_wrote_is_opened(tmp_path: Path) -> None:
    container = VECTORS / "libcdoc.cdoc2"
    assert [(found.kind, found.name) for found in list_recipients(container)] == [
        ("ec", "an EC key"),
        ("rsa", "cert x"),
    ]
    for name in ("ec", "rsa"):
        opener = load_decryption_key(str(VECTORS / f"{name}-key.pem"), None)
        written = decrypt_files(container, tmp_path / name, key=opener)
        assert {file.name: file.read_bytes() for file in written} == FILES


def test_progress_is_told_in_bytes(tmp_path: Path, files: list[Path], entropy: SeededEntropy) -> None:
    told: list[tuple[int, int]] = []
    container = tmp_path / "x.cdoc2"
    to = SecretRecipient("k", SECRET)
    encrypt_files(files, container, recipients=[to], entropy=entropy, progress=lambda *n: told.append(n))
    total = sum(len(content) for content in FILES.values())
    assert told[-1] == (total, total)
    told.clear()
    decrypt_files(container, tmp_path / "o", key=SecretKey(SECRET), progress=lambda *n: told.append(n))
    assert told[-1][0] == told[-1][1] and [done for done, _ in told] == sorted(done for done, _ in told)


def test_what_would_look_like_a_bomb_is_stored_uncompressed(tmp_path: Path, entropy: SeededEntropy) -> None:
    plain, container = tmp_path / "zeros", tmp_path / "x.cdoc2"
    with plain.open("wb") as file:
        file.truncate(12 << 20)
    size = encrypt_files([plain], container, recipients=[SecretRecipient("k", SECRET)], entropy=entropy)
    assert size > 12 << 20
    [written] = decrypt_files(container, tmp_path / "o", key=SecretKey(SECRET))
    assert written.stat().st_size == 12 << 20


# --- keys ---


@pytest.fixture(scope="module")
def card() -> ChipInMemory:
    chip = ChipInMemory()
    personalise(chip, new_ca())
    return chip


def test_a_card_decrypts_with_pin1(tmp_path: Path, card: ChipInMemory) -> None:
    certificate = eid_card.read_certificate(card, CardKey.AUTHENTICATION)
    container = write_small(tmp_path, recipient_of_certificate(certificate, at=AT))
    [found] = list_recipients(container)
    assert found.name == "Digi-ID E-RESIDENT JÕEORG,JAAK-KRISTJAN,38001085718"
    [written] = decrypt_files(container, tmp_path / "o", key=key_of_card(card, lambda: PIN1))
    assert written.read_bytes() == b"a secret"


def test_a_wrong_pin_costs_a_try_only_when_the_container_is_for_the_card(tmp_path: Path, card: ChipInMemory) -> None:
    def never() -> str:
        raise AssertionError("the PIN was asked for")

    with pytest.raises(Refused, match=r"cdoc2\.recipient\.none"):
        decrypt_files(write_small(tmp_path), tmp_path / "o", key=key_of_card(card, never))
    (tmp_path / "x.cdoc2").unlink()
    certificate = eid_card.read_certificate(card, CardKey.AUTHENTICATION)
    container = write_small(tmp_path, recipient_of_certificate(certificate, at=AT))
    with pytest.raises(PinRefused):
        decrypt_files(container, tmp_path / "o", key=key_of_card(card, lambda: "9999"))
    assert eid_card.read_retry_counters(card).pin1 == 2
    assert everything_in(tmp_path) == ["x.cdoc2"]
    decrypt_files(container, tmp_path / "o", key=key_of_card(card, lambda: PIN1))


def test_keys_are_read_from_pem_and_pkcs12(
    tmp_path: Path, keys: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]
) -> None:
    key = keys["p256"]
    container = write_small(tmp_path, KeyRecipient("k", key.public_key()))
    (tmp_path / "password").write_bytes(b"file password")
    encryption = BestAvailableEncryption(b"file password")
    (tmp_path / "k.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    (tmp_path / "k.p12").write_bytes(pkcs12.serialize_key_and_certificates(b"k", key, None, None, encryption))
    for name in ("k.pem", "k.p12"):
        opener = load_decryption_key(str(tmp_path / name), tmp_path / "password")
        assert decrypt_files(container, tmp_path / f"from {name}", key=opener)
    for name, password in (("k.pem", None), ("k.p12", None), ("password", None), ("missing", None)):
        with pytest.raises(Malformed, match=r"keys\.unreadable"):
            load_decryption_key(str(tmp_path / name), password)
    strange = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "strange.pem").write_bytes(strange.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(Malformed, match=r"keys\.unreadable"):
        load_decryption_key(str(tmp_path / "strange.pem"), None)


def test_wrong_keys_are_refused_and_nothing_is_written(
    tmp_path: Path, keys: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]
) -> None:
    key = keys["p384"]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    lying = AgreementKey(key.public_key(), lambda _: bytes(48))
    to: list[NewRecipient] = [
        KeyRecipient("ec", key.public_key()),
        KeyRecipient("rsa", keys["rsa"].public_key()),
        SecretRecipient("k", SECRET),
    ]
    plain, container = tmp_path / "secret.txt", tmp_path / "x.cdoc2"
    plain.write_bytes(b"a secret")
    encrypt_files([plain], container, recipients=to, entropy=SeededEntropy(b"wrong"))
    attempts: list[tuple[DecryptionKey, str]] = [
        (lying, "key.wrong"),
        (SecretKey(SECRET[::-1]), "key.wrong"),
        (SecretKey(SECRET, "another"), "recipient.none"),
        (SecretKey(b"short"), "key.short"),
        (PasswordKey(PASSWORD), "recipient.none"),
        (key_of_private_key(keys["p521"]), "recipient.none"),
        (key_of_private_key(rsa.generate_private_key(65537, 2048)), "recipient.none"),
    ]
    for opener, code in attempts:
        with pytest.raises(Refused, match=rf"cdoc2\.{code}"):
            decrypt_files(container, tmp_path / "o", key=opener)
    assert everything_in(tmp_path) == ["secret.txt", "x.cdoc2"]


def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    container = write_small(tmp_path, PasswordRecipient("pw", PASSWORD))
    with pytest.raises(Refused, match=r"cdoc2\.key\.wrong"):
        decrypt_files(container, tmp_path / "o", key=PasswordKey(PASSWORD + "x"))


def test_no_more_than_a_few_passwords_are_stretched(tmp_path: Path) -> None:
    sealed = cdoc2.seal_to_password(bytes(32), "pw", PASSWORD, salt=SECRET, password_salt=SECRET, iterations=1000)
    assert isinstance(sealed.capsule, PasswordCapsule)
    header = cdoc2.build_header((sealed,) * 1000)
    container = tmp_path / "x.cdoc2"
    container.write_bytes(cdoc2.build_prefix(header, bytes(32), bytes(12)) + bytes(16))
    with pytest.raises(Refused, match=r"cdoc2\.key\.wrong"):
        decrypt_files(container, tmp_path / "o", key=PasswordKey("x" * 20))


def test_recipients_at_servers_are_listed_and_named_when_they_are_ours(
    tmp_path: Path, keys: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]
) -> None:
    key = keys["p384"]
    details = Table([Byte(1), cdoc2.encode_public_key(key.public_key())])
    server = Table([Byte(3), Table([Byte(1), details, "ria-test", "KC1"]), "me", bytes(32), Byte(1)])
    shares = Table([[Table(["https://a.example", "1"])], bytes(32), Byte(1), Byte(1), "etsi/PNOEE-38001085718"])
    split = Table([Byte(6), shares, "data:v=1&type=auth&sn=38001085718", bytes(32), Byte(1)])
    unknown = Table([Byte(77), Table([]), "later", bytes(32), Byte(1)])
    header = build_buffer(Table([[server, split, unknown], Byte(1)]))
    container = tmp_path / "x.cdoc2"
    container.write_bytes(cdoc2.build_prefix(header, bytes(32), bytes(12)) + bytes(16))
    assert [(found.kind, found.name, bool(found.problem)) for found in list_recipients(container)] == [
        ("key_server", "me", True),
        ("key_shares", "auth 38001085718", True),
        ("unknown", "later", True),
    ]
    with pytest.raises(Refused, match=r"cdoc2\.recipient\.key_server"):
        decrypt_files(container, tmp_path / "o", key=key_of_private_key(key))
    with pytest.raises(Refused, match=r"cdoc2\.recipient\.none"):
        decrypt_files(container, tmp_path / "o", key=key_of_private_key(keys["p256"]))


# --- recipients ---


def certificate(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *extensions: tuple[x509.ExtensionType, bool]
) -> x509.Certificate:
    return make_certificate(distinguished_name("TEST"), key, None, extensions).certificate


def test_certificates_for_authentication_are_recipients() -> None:
    p384, rsa_key = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)
    found = recipient_of_certificate(certificate(p384, key_usage(digital_signature=True, key_agreement=True)), at=AT)
    assert found.key == p384.public_key() and found.label.startswith("data:v=1&type=cert&cn=TEST&cert_sha1=")
    transport = certificate(rsa_key, key_usage(digital_signature=True, key_encipherment=True))
    assert recipient_of_certificate(transport, at=AT).key == rsa_key.public_key()


CA = (x509.BasicConstraints(True, 0), True)


@pytest.mark.parametrize(
    ("new_key", "extensions", "code"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), [key_usage(content_commitment=True)], "signing"),
        (
            lambda: ec.generate_private_key(ec.SECP384R1()),
            [key_usage(content_commitment=True, key_agreement=True)],
            "signing",
        ),
        (lambda: ec.generate_private_key(ec.SECP384R1()), [key_usage(digital_signature=True)], "unsuitable"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), [], "unsuitable"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), [key_usage(key_agreement=True), CA], "unsuitable"),
        (lambda: rsa.generate_private_key(65537, 2048), [key_usage(key_agreement=True)], "unsuitable"),
        (lambda: rsa.generate_private_key(65537, 1024), [key_usage(key_encipherment=True)], "key"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), [key_usage(key_agreement=True)], "key"),
    ],
)
def test_other_certificates_are_refused_with_the_reason(
    new_key: Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey],
    extensions: list[tuple[x509.ExtensionType, bool]],
    code: str,
) -> None:
    with pytest.raises(Refused, match=rf"encryption\.recipient\.{code}") as caught:
        recipient_of_certificate(certificate(new_key(), *extensions), at=AT)
    if code == "signing":
        assert "certificate for authentication" in caught.value.detail


@pytest.mark.parametrize("moved", [-500 * DAY, 1001 * DAY, timedelta(days=5000)])
def test_certificates_out_of_their_time_are_refused(moved: timedelta) -> None:
    found = certificate(ec.generate_private_key(ec.SECP384R1()), key_usage(key_agreement=True))
    with pytest.raises(Refused, match=r"encryption\.recipient\.expired"):
        recipient_of_certificate(found, at=AT + moved)


@pytest.mark.parametrize("password", ["", "a" * 19, "a" * 65])
def test_passwords_that_are_guessed_too_soon(password: str) -> None:
    with pytest.raises(Refused, match=r"encryption\.password\.length"):
        recipient_of_password("pw", password)
    with pytest.raises(Refused, match=r"cdoc2\.key\.short"):
        recipient_of_secret("k", password.encode()[:31])


def test_what_is_not_encrypted(tmp_path: Path, files: list[Path], entropy: SeededEntropy) -> None:
    to = [SecretRecipient("k", SECRET)]
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    out, there = tmp_path / "x.cdoc2", tmp_path / "there"
    there.write_bytes(b"mine")
    (tmp_path / "exe.\u202etxt").write_bytes(b"")
    attempts: list[tuple[list[Path], Path, list[NewRecipient], type[Exception], str]] = [
        (files, out, [], Refused, r"encryption\.recipient\.none"),
        (files, out, [KeyRecipient("a", key), KeyRecipient("b", key)], Refused, r"encryption\.recipient\.twice"),
        (files, there, [*to], Refused, r"documents\.output_exists"),
        ([], out, [*to], Malformed, r"documents\.count"),
        ([tmp_path], out, [*to], Malformed, r"documents\.file"),
        ([tmp_path / "missing"], out, [*to], NotFound, r"documents\.file"),
        ([files[0], files[0]], out, [*to], Malformed, r"cdoc2\.name\.duplicate"),
        ([tmp_path / "exe.\u202etxt"], out, [*to], Malformed, r"cdoc2\.name\.character"),
        (files, tmp_path / "no" / "x.cdoc2", [*to], NotFound, r"documents\.output"),
    ]
    for plain, output, recipients, kind, code in attempts:
        with pytest.raises(kind, match=code):
            encrypt_files(plain, output, recipients=recipients, entropy=entropy)
    with pytest.raises(Malformed, match=r"documents\.too_large"):
        encrypt_files(files, out, recipients=to, entropy=entropy, limits=ArchiveLimits(max_bytes=10))
    assert there.read_bytes() == b"mine"
    assert sorted(os.listdir(tmp_path)) == ["exe.\u202etxt", "plain", "there"]


def test_a_file_that_shrinks_meanwhile_leaves_no_container(
    tmp_path: Path, files: list[Path], entropy: SeededEntropy
) -> None:
    def shrink(done: int, total: int) -> None:
        files[1].write_bytes(b"")

    with pytest.raises(Refused, match=r"cdoc2\.file_changed"):
        encrypt_files(
            files, tmp_path / "x.cdoc2", recipients=[SecretRecipient("k", SECRET)], entropy=entropy, progress=shrink
        )
    assert os.listdir(tmp_path) == ["plain"]


# --- what is left behind ---


def test_every_changed_byte_is_refused_and_no_plaintext_appears(tmp_path: Path) -> None:
    valid = write_small(tmp_path).read_bytes()
    container = tmp_path / "x.cdoc2"
    for at in range(len(valid)):
        changed = bytearray(valid)
        changed[at] ^= 1 << at % 8
        container.write_bytes(changed)
        with pytest.raises((Refused, Malformed)):
            decrypt_files(container, tmp_path / "o", key=SecretKey(SECRET))
        assert os.listdir(tmp_path) == ["x.cdoc2"]


def test_every_cut_and_every_addition_is_refused(tmp_path: Path) -> None:
    valid = write_small(tmp_path).read_bytes()
    container = tmp_path / "x.cdoc2"
    for changed in [*(valid[:end] for end in range(len(valid))), valid + b"x", valid + bytes(16), b"x" + valid]:
        container.write_bytes(changed)
        with pytest.raises((Refused, Malformed)):
            decrypt_files(container, tmp_path / "o", key=SecretKey(SECRET))
    assert os.listdir(tmp_path) == ["x.cdoc2"]


def test_a_payload_of_another_container_does_not_fit(tmp_path: Path) -> None:
    """The same key, so the same payload key by chance or malice: the header is bound to its payload."""
    valid = write_small(tmp_path).read_bytes()
    with io.BytesIO(valid) as file:
        envelope = cdoc2.parse_envelope(file)
    [recipient] = envelope.recipients
    twin = cdoc2.build_header((replace(recipient, label="k"), recipient))
    fmk = cdoc2.derive_file_master_key(SeededEntropy(b"small").token_bytes(cdoc2.MASTER_SECRET_BYTES))
    keys = cdoc2.seal_header(fmk, twin)
    prefix = cdoc2.build_prefix(twin, keys.header_hmac, envelope.nonce)
    (tmp_path / "x.cdoc2").write_bytes(prefix + valid[envelope.ciphertext.start :])
    with pytest.raises(Refused, match=r"cdoc2\.payload\.changed"):
        decrypt_files(tmp_path / "x.cdoc2", tmp_path / "o", key=SecretKey(SECRET))


def hostile_container(container: Path, payload: bytes) -> None:
    """What a correspondent with the right key may send: authentic, and wrong inside."""
    fmk = bytes(32)
    header = cdoc2.build_header((cdoc2.seal_to_secret(fmk, "k", SECRET, salt=bytes(32)),))
    keys = cdoc2.seal_header(fmk, header)
    aad = cdoc2.build_aad(header, keys.header_hmac)
    encrypted = b"".join(cdoc2.encrypt_payload([payload], keys.cek, bytes(12), aad=aad))
    container.write_bytes(cdoc2.build_prefix(header, keys.header_hmac, bytes(12)) + encrypted)


def test_a_hostile_archive_of_a_genuine_sender_leaves_nothing_either(tmp_path: Path) -> None:
    sources = [cdoc2.SourceFile("first.txt", 3, lambda: [b"abc"]), cdoc2.SourceFile("second", 3, lambda: [b"abc"])]
    good = b"".join(cdoc2.pack_files(sources))
    container = tmp_path / "x.cdoc2"
    for payload in (good[:-6], good + b"hidden", b"", b"noise"):
        hostile_container(container, payload)
        with pytest.raises(Malformed):
            decrypt_files(container, tmp_path / "o", key=SecretKey(SECRET))
        assert everything_in(tmp_path) == ["x.cdoc2"]
    hostile_container(container, good)
    assert len(decrypt_files(container, tmp_path / "o", key=SecretKey(SECRET))) == 2


def test_nothing_that_exists_is_overwritten(tmp_path: Path, files: list[Path], entropy: SeededEntropy) -> None:
    container, folder = tmp_path / "x.cdoc2", tmp_path / "o"
    encrypt_files(files, container, recipients=[SecretRecipient("k", SECRET)], entropy=entropy)
    folder.mkdir()
    (folder / files[-1].name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match=r"documents\.output_exists"):
        decrypt_files(container, folder, key=SecretKey(SECRET))
    assert os.listdir(folder) == [files[-1].name] and not (tmp_path / "elsewhere").exists()
    (folder / files[-1].name).unlink()
    assert len(decrypt_files(container, folder, key=SecretKey(SECRET))) == len(files)
    with pytest.raises(Refused, match=r"documents\.output_exists"):
        decrypt_files(container, folder, key=SecretKey(SECRET))
    assert sorted(os.listdir(folder)) == sorted(FILES)


def test_somebody_who_stops_it_leaves_nothing(tmp_path: Path) -> None:
    container = write_small(tmp_path)
    calls: Iterator[int] = iter(range(100))

    def stop(done: int, total: int) -> None:
        if next(calls) == 1:  # in the second pass, when a file is already being written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decrypt_files(container, tmp_path / "o", key=SecretKey(SECRET), progress=stop)
    assert os.listdir(tmp_path) == ["x.cdoc2"]


def test_what_is_no_container(tmp_path: Path) -> None:
    for content in (b"", b"CDOC", b"CDOC\x01" + bytes(100), b"CDOC\x02\xff\xff\xff\xff" + bytes(100), b"PK\x03\x04"):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(Malformed, match=r"cdoc2\.(envelope|header)\."):
            list_recipients(tmp_path / "x")
    with pytest.raises(NotFound, match=r"documents\.file"):
        list_recipients(tmp_path / "missing")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_containers_are_refused_and_leave_nothing(tmp_path: Path, data: st.DataObject) -> None:
    container = tmp_path / "x.cdoc2"
    if not (tmp_path / "valid").exists():
        write_small(tmp_path).rename(tmp_path / "valid")
    valid = (tmp_path / "valid").read_bytes()
    hostile = data.draw(damaged(valid))
    container.write_bytes(hostile)
    if hostile != valid:
        only_raises((Malformed, Refused), lambda: decrypt_files(container, tmp_path / "o", key=SecretKey(SECRET)))
        assert not (tmp_path / "o").exists()
