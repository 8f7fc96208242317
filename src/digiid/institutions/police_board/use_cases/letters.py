"""The letters to applicants, in both languages: short, with nothing in them that a stranger should not read."""

from collections.abc import Mapping
from typing import Any

from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.kernel.errors import Broken
from digiid.platform.mail import Letter

_SEE = {
    "en": "Sign in with your e-mail address to see it: {apply_url}/",
    "et": "Vaatamiseks logige sisse oma e-posti aadressiga: {apply_url}/",
}
_SIGNED = {
    "en": "Police and Border Guard Board\nThis is a test system. Nobody reads answers to this address.",
    "et": "Politsei- ja Piirivalveamet\nSee on testsüsteem. Sellele aadressile saadetud vastuseid ei loeta.",
}

# letter → language → subject, text; a text ends with the two lines above
_LETTERS: dict[str, dict[str, tuple[str, str]]] = {
    "received": {
        "en": (
            "Application {number}: received",
            (
                "We have received your application {number} and the state fee. The background check begins now. "
                "We will write to you when something happens or when we need something from you."
            ),
        ),
        "et": (
            "Taotlus {number}: vastu võetud",
            (
                "Oleme Teie taotluse {number} ja riigilõivu kätte saanud. Taustakontroll algab kohe. "
                "Kirjutame Teile, kui midagi juhtub või kui vajame Teilt midagi."
            ),
        ),
    },
    "returned_unexamined": {
        "en": (
            "Application {number}: returned",
            "Your application {number} is returned unexamined. The page says why.",
        ),
        "et": (
            "Taotlus {number}: tagastatud",
            "Teie taotlus {number} tagastatakse läbi vaatamata. Lehel on põhjendus.",
        ),
    },
    "withdrawn": {
        "en": (
            "Application {number}: withdrawn",
            "You have withdrawn your application {number}. The procedure is over.",
        ),
        "et": ("Taotlus {number}: tagasi võetud", "Võtsite taotluse {number} tagasi. Menetlus on lõppenud."),
    },
    "deficient": {
        "en": (
            "Application {number}: please put something right by {due_on}",
            "Something in your application {number} has to be put right by {due_on}, otherwise it is returned.",
        ),
        "et": (
            "Taotlus {number}: palun kõrvaldage puudus hiljemalt {due_on}",
            "Taotluses {number} on puudus, mis tuleb kõrvaldada hiljemalt {due_on}; muidu taotlus tagastatakse.",
        ),
    },
    "question": {
        "en": (
            "Application {number}: a question for you, answer by {due_on}",
            "An officer has a question about your application {number}. Please answer by {due_on}.",
        ),
        "et": (
            "Taotlus {number}: küsimus Teile, vastake hiljemalt {due_on}",
            "Ametnikul on taotluse {number} kohta küsimus. Palun vastake hiljemalt {due_on}.",
        ),
    },
    "extended": {
        "en": ("Application {number}: we need more time", "The term for deciding on application {number} is extended."),
        "et": ("Taotlus {number}: vajame rohkem aega", "Taotluse {number} otsustamise tähtaega on pikendatud."),
    },
    "hearing": {
        "en": (
            "Application {number}: you can answer before we decide, by {due_on}",
            "We intend to refuse your application {number}. Before we decide you can read why and answer, by {due_on}.",
        ),
        "et": (
            "Taotlus {number}: saate enne otsust vastata, hiljemalt {due_on}",
            (
                "Kavatseme taotluse {number} rahuldamata jätta. Enne otsust saate põhjendusi lugeda ja vastata, "
                "hiljemalt {due_on}."
            ),
        ),
    },
    "decided_issue": {
        "en": (
            "Application {number}: a digi-ID will be made for you",
            (
                "Your application {number} is decided in your favour. Your card is being made; "
                "we will write when you can collect it."
            ),
        ),
        "et": (
            "Taotlus {number}: Teile valmistatakse digi-ID",
            "Taotlus {number} on rahuldatud. Teie kaarti valmistatakse; kirjutame, kui saate sellele järele tulla.",
        ),
    },
    "decided_refuse": {
        "en": (
            "Application {number}: the decision",
            (
                "There is a decision on your application {number}, with its reasons. "
                "You can challenge it until {challenge_until_on}."
            ),
        ),
        "et": (
            "Taotlus {number}: otsus",
            (
                "Taotluse {number} kohta on tehtud otsus koos põhjendustega. "
                "Saate selle vaidlustada kuni {challenge_until_on}."
            ),
        ),
    },
    "challenge_rejected": {
        "en": (
            "Application {number}: your challenge",
            "Your challenge about application {number} is decided: rejected.",
        ),
        "et": ("Taotlus {number}: Teie vaie", "Teie vaie taotluse {number} kohta on lahendatud: jäeti rahuldamata."),
    },
    "challenge_granted": {
        "en": (
            "Application {number}: your challenge",
            "Your challenge is granted: application {number} is examined again.",
        ),
        "et": ("Taotlus {number}: Teie vaie", "Teie vaie rahuldati: taotlus {number} vaadatakse uuesti läbi."),
    },
    "at_point": {
        "en": (
            "Application {number}: your card can be collected",
            (
                "Your card is at the pick-up point. Come in person and bring the same travel document that is in your "
                "application. It waits for six months."
            ),
        ),
        "et": (
            "Taotlus {number}: kaardile saab järele tulla",
            (
                "Teie kaart on väljastuskohas. Tulge isiklikult ja võtke kaasa sama reisidokument, mis on taotluses. "
                "Kaart ootab kuus kuud."
            ),
        ),
    },
    "handed_over": {
        "en": (
            "Application {number}: your PIN envelope",
            (
                "Your card {document_number} was handed to you. Your PIN envelope waits for you and opens once. "
                "If it was not you who got the card, report it lost on the same page at once."
            ),
        ),
        "et": (
            "Taotlus {number}: Teie PIN-ümbrik",
            (
                "Kaart {document_number} anti Teile üle. Teie PIN-ümbrik ootab ja avaneb üks kord. "
                "Kui kaarti ei saanud Teie, teatage sellest samal lehel kohe."
            ),
        ),
    },
    "document_suspended": {
        "en": (
            "Card {document_number}: suspended",
            "Your card {document_number} is suspended: nobody can sign in or sign with it.",
        ),
        "et": (
            "Kaart {document_number}: peatatud",
            "Teie kaart {document_number} on peatatud: sellega ei saa sisse logida ega allkirjastada.",
        ),
    },
    "document_lifted": {
        "en": ("Card {document_number}: works again", "The suspension of your card {document_number} is lifted."),
        "et": ("Kaart {document_number}: töötab taas", "Teie kaardi {document_number} peatamine on lõpetatud."),
    },
    "document_annulled": {
        "en": (
            "Card {document_number}: annulled",
            "Your card {document_number} is annulled for good. The page says why.",
        ),
        "et": (
            "Kaart {document_number}: kehtetu",
            "Teie kaart {document_number} on jäädavalt kehtetuks tunnistatud. Lehel on põhjendus.",
        ),
    },
}
_SIGN_IN = {
    "en": (
        "Sign in to your application",
        (
            "Open this address and press the button there to sign in:\n\n{link}\n\nIt works once, for 60 minutes. "
            "If you did not ask for it, do nothing: without the link nobody can sign in."
        ),
    ),
    "et": (
        "Sisselogimine taotluse juurde",
        (
            "Avage see aadress ja vajutage sisselogimiseks seal nuppu:\n\n{link}\n\nLink töötab ühe korra, 60 minutit. "
            "Kui Te seda ei küsinud, ärge tehke midagi: ilma lingita ei saa keegi sisse logida."
        ),
    ),
}


def send_letter(deps: Deps, message_id: str, payload: Mapping[str, Any]) -> None:
    """Hand one letter of the outbox to the mail system. Raises: Unavailable, Refused from the transport."""
    deps.mail.send(write_letter(deps, message_id, payload))


def write_letter(deps: Deps, message_id: str, payload: Mapping[str, Any]) -> Letter:
    language = payload["language"]
    if payload["letter"] == "sign_in":
        subject, text = _SIGN_IN[language]
    else:
        known = _LETTERS.get(payload["letter"])
        if known is None:
            raise Broken("letter.unknown", str(payload["letter"]))
        subject, text = known[language]
        text = f"{text}\n\n{_SEE[language]}"
    values = {**payload, "apply_url": deps.apply_url}
    return Letter(
        message_id=message_id,
        to=payload["to"],
        subject=subject.format_map(values),
        text=f"{text}\n\n{_SIGNED[language]}".format_map(values) + "\n",
        at=deps.clock.now(),
    )
