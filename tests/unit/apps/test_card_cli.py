"""`digiid card …` as somebody types it, on a state that does not run."""

import json
from pathlib import Path

import pytest
from cryptography.x509 import KeyUsage, load_pem_x509_certificate
from typer.testing import CliRunner, Result

from digiid.apps.card_cli import card_app
from digiid.devices.card_shelf import CardShelf
from digiid.kernel.errors import NotFound
from digiid.platform.eid_card import PinRefused
from digiid.platform.entropy import SeededEntropy
from tests.support.cards import PIN1, PUK, new_ca, personalise

NUMBER = "NS0000009"


@pytest.fixture
def state(tmp_path: Path, entropy: SeededEntropy) -> Path:
    shelf = CardShelf(tmp_path / "cards", entropy)
    personalise(shelf.new_blank(NUMBER), new_ca())
    shelf.close()
    return tmp_path


def run(state: Path, *arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(card_app, [*arguments, "--state", str(state)], input=typed)


def test_cards_are_listed_for_people_and_for_programs(state: Path) -> None:
    assert NUMBER in run(state, "list").stdout
    listed = json.loads(run(state, "list", "--json").stdout)
    assert [(card["document_number"], card["inserted"]) for card in listed] == [(NUMBER, False)]


def test_a_card_goes_in_and_out(state: Path) -> None:
    assert "does not run" in run(state, "insert", NUMBER).stdout
    assert json.loads(run(state, "list", "--json").stdout)[0]["inserted"]
    assert f"{NUMBER} is out" in run(state, "remove").stdout
    assert "No card was in" in run(state, "remove").stdout


def test_info_names_holder_tries_and_certificates(state: Path) -> None:
    said = json.loads(run(state, "info", "--card", NUMBER, "--json").stdout)
    assert said["personal_code"] == "38001085718"
    assert said["tries_left"] == {"pin1": 3, "pin2": 3, "puk": 3}
    assert [certificate["kind"] for certificate in said["certificates"]] == ["authentication", "signature"]
    assert "JAAK-KRISTJAN JÕEORG" in run(state, "info").stdout


def test_a_certificate_is_given_out_for_whoever_encrypts_or_verifies(state: Path) -> None:
    for kind, usage in (("authentication", "key_agreement"), ("signature", "content_commitment")):
        certificate = load_pem_x509_certificate(run(state, "certificate", kind, "--card", NUMBER).stdout.encode())
        assert getattr(certificate.extensions.get_extension_for_class(KeyUsage).value, usage)
    file = state / "mine.pem"
    assert run(state, "certificate", "authentication", "-o", str(file)).exit_code == 0
    assert load_pem_x509_certificate(file.read_bytes())


def test_pins_are_changed_and_unblocked_and_never_shown(state: Path) -> None:
    changed = run(state, "pin", "pin1", typed=f"{PIN1}\n4321\n4321\n")
    assert f"PIN1 of card {NUMBER} is changed" in changed.stdout
    assert "4321" not in changed.output
    unblocked = run(state, "pin", "pin1", "--unblock", typed=f"{PUK}\n7777\n7777\n")
    assert "is unblocked" in unblocked.stdout


def test_a_wrong_pin_and_a_typing_mistake_are_said(state: Path) -> None:
    wrong = run(state, "pin", "pin1", typed="9999\n4321\n4321\n")
    assert isinstance(wrong.exception, PinRefused)
    assert wrong.exception.tries_left == 2
    run(state, "pin", "pin1", typed=f"{PIN1}\n4321\n4322\n")
    assert json.loads(run(state, "info", "--json").stdout)["tries_left"]["pin1"] == 2  # nothing was tried


def test_an_unknown_card_is_not_found(state: Path) -> None:
    assert isinstance(run(state, "info", "--card", "NS9999999").exception, NotFound)
