"""From the chip to the site: what the card signs is what the site's verifier accepts, and nothing else."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from digiid.devices import web_eid
from digiid.devices.card_shelf import CardShelf
from digiid.formats import webeid
from digiid.formats.apdu import Transport
from digiid.formats.x509.profile import DocumentPolicy
from digiid.kernel.errors import Refused
from digiid.platform.entropy import SeededEntropy
from tests.support.cards import AT, DOCUMENT, PIN1, TestCa, new_ca, personalise

ORIGIN = "https://portal.example"
NONCE = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
NOW = AT + timedelta(days=20)


@pytest.fixture(scope="module")
def ca() -> TestCa:
    return new_ca()


@pytest.fixture
def card(tmp_path: Path, entropy: SeededEntropy, ca: TestCa) -> Transport:
    shelf = CardShelf(tmp_path / "cards", entropy)
    personalise(shelf.new_blank(DOCUMENT.document_number), ca)
    return shelf.open(DOCUMENT.document_number)


def test_the_holder_of_the_card_is_recognised(card: Transport, ca: TestCa) -> None:
    token = json.dumps(web_eid.authenticate(card, origin=ORIGIN, nonce=NONCE, pin1=PIN1))
    verified = webeid.verify_token(token, origin=ORIGIN, nonce=NONCE, anchors=[ca.certificate], at=NOW)
    assert verified.personal_code == DOCUMENT.personal_code
    assert verified.policy is DocumentPolicy.E_RESIDENT


@pytest.mark.parametrize(
    ("origin", "nonce"),
    [("https://portal.example.evil.example", NONCE), (ORIGIN, NONCE[::-1]), ("http://portal.example", NONCE)],
)
def test_a_token_made_for_another_site_or_nonce_is_refused(
    card: Transport, ca: TestCa, origin: str, nonce: str
) -> None:
    token = json.dumps(web_eid.authenticate(card, origin=origin, nonce=nonce, pin1=PIN1))
    with pytest.raises(Refused):
        webeid.verify_token(token, origin=ORIGIN, nonce=NONCE, anchors=[ca.certificate], at=NOW)


def test_a_card_of_another_issuer_is_refused(card: Transport) -> None:
    token = json.dumps(web_eid.authenticate(card, origin=ORIGIN, nonce=NONCE, pin1=PIN1))
    with pytest.raises(Refused):
        webeid.verify_token(token, origin=ORIGIN, nonce=NONCE, anchors=[new_ca().certificate], at=NOW)
