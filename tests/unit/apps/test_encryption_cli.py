"""`digiid encrypt` and `digiid decrypt` as somebody types them, on a state that does not run."""

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner, Result

from digiid.apps import encryption_cli
from digiid.devices.card_shelf import CardShelf
from digiid.platform import eid_card
from digiid.platform.clock import SystemClock
from digiid.platform.eid_card import CardDocument, CardKey
from digiid.platform.entropy import SeededEntropy
from tests.support.cards import PIN1, TestCa, new_ca, personalise

NUMBER = "NS0000009"
PASSWORD = "viis juhuslikku sõna siin"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

FAILURES: list[tuple[list[str], str, int]] = [
    (["encrypt", "secret.txt", "-r", "NS0000000", "-o", "y"], "encryption.recipient.unknown", 2),
    (["encrypt", "secret.txt", "-r", "key", "-o", "y"], "x509.certificate", 2),
    (["encrypt", "missing", "--key", "k:key", "-o", "y"], "documents.file", 2),
    (["encrypt", "secret.txt", "--key", "k:secret.txt", "-o", "y"], "encryption.key.encoding", 2),
    (["encrypt", "secret.txt", "--key", "k:key", "-o", "x.cdoc2"], "documents.output_exists", 1),
    (["encrypt", "secret.txt", "--password-file", "secret.txt", "-o", "y"], "encryption.password.length", 1),
    (["decrypt", "x.cdoc2", "-d", "out", "--card", NUMBER], "cdoc2.recipient.none", 1),
    (["decrypt", "x.cdoc2", "-d", "out", "--password-file", "password"], "cdoc2.recipient.none", 1),
    (["decrypt", "x.cdoc2", "-d", "out", "--key", "other:key"], "cdoc2.recipient.none", 1),
    (["decrypt", "x.cdoc2", "-d", ".", "--key", "k:key"], "documents.output_exists", 1),
    (["decrypt", "secret.txt", "-d", "out"], "cdoc2.envelope.magic", 2),
    (["decrypt", "missing", "-d", "out"], "documents.file", 2),
    (["decrypt", "x.cdoc2", "-d", "out", "--private-key", "key"], "keys.unreadable", 2),
]

app = typer.Typer()
app.command()(encryption_cli.encrypt)
app.command()(encryption_cli.decrypt)


class CaOfToday(TestCa):
    """Its certificates are valid on the day of the test: the command line asks the machine's clock."""

    def certify(self, kind: CardKey, public_key: ec.EllipticCurvePublicKey, document: CardDocument) -> bytes:
        made = x509.load_der_x509_certificate(super().certify(kind, public_key, document))
        now = SystemClock().now()
        builder = x509.CertificateBuilder().subject_name(made.subject).issuer_name(made.issuer).public_key(public_key)
        builder = builder.serial_number(made.serial_number)
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        for extension in made.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        return builder.sign(self.key, hashes.SHA384()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def made_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a state of one card, its certificates, a password, a key and `secret.txt`."""
    folder = tmp_path_factory.mktemp("encryption")
    ca = new_ca()
    shelf = CardShelf(folder / "state" / "cards", SeededEntropy(b"cards"))
    personalise(shelf.new_blank(NUMBER), CaOfToday(ca.key, ca.certificate))
    for kind in CardKey:
        certificate = eid_card.read_certificate(shelf.open(NUMBER), kind)
        (folder / f"{kind}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        (folder / f"{kind}.der").write_bytes(certificate.public_bytes(Encoding.DER))
    shelf.close()
    (folder / "secret.txt").write_text("a secret")
    (folder / "key").write_text(KEY)
    (folder / "password").write_text(PASSWORD + "\n")
    return folder


@pytest.fixture
def state(made_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state's folder; the test works in a copy of `made_state`."""
    shutil.copytree(made_state, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def run(state: Path, *arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, [*arguments, "--state", str(state)], input=typed)


def test_to_a_card_by_its_document_number_and_back_with_pin1(state: Path) -> None:
    done = run(state, "encrypt", "secret.txt", "-r", NUMBER, "-o", "x.cdoc2")
    assert done.exit_code == 0, done.output
    assert "to Digi-ID E-RESIDENT JÕEORG,JAAK-KRISTJAN,38001085718" in done.stdout
    opened = run(state, "decrypt", "x.cdoc2", "-d", "out", typed=f"{PIN1}\n")
    assert opened.exit_code == 0 and "out/secret.txt" in opened.stdout
    assert Path("out/secret.txt").read_text() == "a secret"
    assert PIN1 not in opened.output


@pytest.mark.parametrize("form", ["pem", "der"])
def test_to_a_certificate_and_who_can_open_it(state: Path, form: str) -> None:
    done = run(state, "encrypt", "secret.txt", "-r", f"authentication.{form}", "-o", "x.cdoc2", "--json")
    said = json.loads(done.stdout)
    assert said["container"] == "x.cdoc2" and said["size_bytes"] == Path("x.cdoc2").stat().st_size
    listed = json.loads(run(state, "decrypt", "x.cdoc2", "--list", "--json").stdout)
    [found] = listed["recipients"]
    assert found["kind"] == "ec" and found["problem"] is None and "JAAK-KRISTJAN" in found["name"]
    shown = run(state, "decrypt", "x.cdoc2", "--list").stdout
    assert "JAAK-KRISTJAN" in shown and "EC key" in shown and "only a key proves it" in shown


def test_a_signing_certificate_is_refused_with_what_to_use(state: Path) -> None:
    done = run(state, "encrypt", "secret.txt", "-r", "signature.pem", "-o", "x.cdoc2")
    assert done.exit_code == 1 and not Path("x.cdoc2").exists()
    assert "Use the certificate for authentication" in " ".join(done.stdout.split())


def test_to_a_password_and_a_key(state: Path) -> None:
    typed = f"{PASSWORD}\n{PASSWORD}\n"
    done = run(state, "encrypt", "secret.txt", "--password", "--key", "ours:key", "-o", "x.cdoc2", typed=typed)
    assert done.exit_code == 0, done.output
    assert PASSWORD not in done.output and "to pw x.cdoc2" in done.stdout and "to secret ours" in done.stdout
    assert run(state, "decrypt", "x.cdoc2", "-d", "a", "--password", typed=f"{PASSWORD}\n").exit_code == 0
    assert run(state, "decrypt", "x.cdoc2", "-d", "b", "--password-file", "password").exit_code == 0
    opened = run(state, "decrypt", "x.cdoc2", "-d", "c", "--key", "ours:key", "--json")
    assert json.loads(opened.stdout) == {"container": "x.cdoc2", "files": ["c/secret.txt"]}
    for folder in "abc":
        assert (Path(folder) / "secret.txt").read_text() == "a secret"


def test_what_goes_wrong_is_told_to_people_and_programs(state: Path) -> None:
    assert run(state, "encrypt", "secret.txt", "--key", "k:key", "-o", "x.cdoc2").exit_code == 0
    before = sorted(os.listdir())
    for arguments, code, exit_code in FAILURES:
        done = run(state, *arguments)
        assert done.exit_code == exit_code and code in done.stdout, done.output
        said = json.loads(run(state, *arguments, "--json").stdout)
        assert said["error"]["code"] == code and said["error"]["detail"]
        assert sorted(os.listdir()) == before


def test_two_ways_to_open_are_a_mistake(state: Path) -> None:
    assert run(state, "decrypt", "x", "--key", "k:key", "--password").exit_code == 2
    assert run(state, "encrypt", "secret.txt", "--key", "nolabel", "-o", "y").exit_code == 2


def test_to_nobody_is_a_mistake(state: Path) -> None:
    done = run(state, "encrypt", "secret.txt", "-o", "y")
    assert done.exit_code == 2 and "name at least one recipient" in done.output
    assert not Path("y").exists()


def test_a_changed_container_says_so_and_writes_nothing(state: Path) -> None:
    run(state, "encrypt", "secret.txt", "--key", "k:key", "-o", "x.cdoc2")
    changed = bytearray(Path("x.cdoc2").read_bytes())
    changed[-1] ^= 1
    Path("x.cdoc2").write_bytes(changed)
    done = run(state, "decrypt", "x.cdoc2", "-d", "out", "--key", "k:key")
    assert done.exit_code == 1 and "was changed or is damaged" in " ".join(done.stdout.split())
    assert not Path("out").exists()
