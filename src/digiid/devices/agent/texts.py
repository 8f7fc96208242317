"""Everything the agent says, in English and Estonian. A test holds that both say all of it."""

from collections.abc import Mapping
from typing import Final

LANGUAGES: Final = ("en", "et")

# English, then Estonian.
TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "language.other": ("Eesti keeles", "In English"),
    "language.other_code": ("et", "en"),
    "brand": ("digiid card agent", "digiid kaardiagent"),
    "brand.note": (
        "This window belongs to your computer, not to the site.",
        "See aken kuulub teie arvutile, mitte saidile.",
    ),
    "skip": ("Skip to main content", "Liigu põhisisu juurde"),
    # the pop-up
    "popup.title": ("Use your card", "Kasutage oma kaarti"),
    "popup.asks": ("This site asks:", "See sait küsib:"),
    "popup.address": ("Site", "Sait"),
    "popup.waiting": ("Waiting for the site …", "Ootan saiti …"),
    "popup.no_opener": (
        "A site opens this window when it needs your card. There is nothing to do here now.",
        "Selle akna avab sait, kui tal on teie kaarti vaja. Praegu ei ole siin midagi teha.",
    ),
    "popup.no_script": (
        "Using the card in a browser needs JavaScript. Turn it on for this address, or sign with “digiid sign”.",
        "Kaardi kasutamiseks brauseris on vaja JavaScripti. Lülitage see siin sisse või kasutage käsku „digiid sign”.",
    ),
    "ask.authenticate": ("Sign in with your card", "Kaardiga sisse logida"),
    "ask.authenticate.note": (
        "Your name and personal code go to the site. PIN1 shows that it is you.",
        "Saidile saadetakse teie nimi ja isikukood. PIN1 kinnitab, et see olete teie.",
    ),
    "ask.get-signing-certificate": ("See your signing certificate", "Näha teie allkirjastamissertifikaati"),
    "ask.get-signing-certificate.note": (
        "It holds your name and personal code. The site needs it to prepare your signature; nothing is signed yet.",
        "Selles on teie nimi ja isikukood. Saidil on seda vaja allkirja ettevalmistamiseks; veel ei allkirjastata.",
    ),
    "ask.sign": ("Sign with your card", "Kaardiga allkirjastada"),
    "ask.sign.note": (
        "PIN2 gives a signature equal to one by hand. Enter it only if you know what you sign.",
        "PIN2 annab omakäelisega võrdse allkirja. Sisestage see ainult siis, kui teate, mida allkirjastate.",
    ),
    "ask.hash": ("What is signed ({function}), shortened", "Allkirjastatav räsi ({function}), lühendatult"),
    "allow.title": ("This site has not used your card before", "See sait ei ole teie kaarti varem kasutanud"),
    "allow.text": (
        "Is this the address that you meant to visit? Allow it only if it is.",
        "Kas see on aadress, mida tahtsite külastada? Lubage ainult siis, kui on.",
    ),
    "allow.yes": ("Allow this site", "Luba see sait"),
    "allow.no": ("Refuse", "Keeldu"),
    "card.choose": ("Card", "Kaart"),
    "card.none": (
        "No card was found. Put your card into the reader, or put a virtual card on the shelf.",
        "Kaarti ei leitud. Pange kaart lugejasse või virtuaalne kaart riiulile.",
    ),
    "card.retry": ("Look again", "Otsi uuesti"),
    "card.place.shelf": ("virtual card {number}", "virtuaalne kaart {number}"),
    "card.place.reader": ("{number} in {reader}", "{number}, lugeja {reader}"),
    "card.inserted": ("inserted", "lugejas"),
    "card.unreadable": ("A card that cannot be read", "Kaart, mida ei saa lugeda"),
    "pin1.label": ("PIN1 (4 to 12 digits)", "PIN1 (4 kuni 12 numbrit)"),
    "pin2.label": ("PIN2 (5 to 12 digits)", "PIN2 (5 kuni 12 numbrit)"),
    "button.authenticate": ("Sign in", "Logi sisse"),
    "button.get-signing-certificate": ("Continue", "Jätka"),
    "button.sign": ("Sign", "Allkirjasta"),
    "button.cancel": ("Cancel", "Katkesta"),
    "busy": ("Working with the card …", "Töö kaardiga …"),
    "done.authenticate": ("Done. You can close this window.", "Valmis. Võite akna sulgeda."),
    "done.get-signing-certificate": (
        "The site prepares your signature. Keep this window open.",
        "Sait valmistab allkirja ette. Hoidke see aken avatuna.",
    ),
    "done.sign": ("Signed. You can close this window.", "Allkirjastatud. Võite akna sulgeda."),
    "failed": ("The card could not be used", "Kaarti ei õnnestunud kasutada"),
    "unblock.link": ("Unblock it with the PUK (opens a new window)", "Vabasta PUK-koodiga (avaneb uus aken)"),
    # the cards' own pages
    "home.title": ("Your cards", "Teie kaardid"),
    "home.none": (
        "There is no card here. Put your card into a reader and load the page again.",
        "Siin ei ole kaarti. Pange kaart lugejasse ja laadige leht uuesti.",
    ),
    "home.sites": ("Sites that may use your cards", "Saidid, mis võivad teie kaarte kasutada"),
    "home.sites.none": (
        "No site has used your cards yet. A new site asks you first.",
        "Ükski sait ei ole veel teie kaarte kasutanud. Uus sait küsib kõigepealt luba.",
    ),
    "home.forget": ("Forget", "Unusta"),
    "home.allowed": ("allowed {at} UTC", "lubatud {at} UTC"),
    "card.title": ("Card {number}", "Kaart {number}"),
    "card.holder": ("Holder", "Omanik"),
    "card.code": ("Personal code", "Isikukood"),
    "card.number": ("Document number", "Dokumendi number"),
    "card.expires": ("Valid until", "Kehtib kuni"),
    "card.tries": ("Tries left", "Katseid jäänud"),
    "card.blocked": ("blocked", "blokeeritud"),
    "card.back": ("All cards", "Kõik kaardid"),
    "change.title": ("Change a PIN", "PIN-koodi muutmine"),
    "change.which": ("Which", "Milline"),
    "change.old": ("Present value", "Praegune väärtus"),
    "change.new": ("New value", "Uus väärtus"),
    "change.again": ("New value again", "Uus väärtus uuesti"),
    "change.button": ("Change", "Muuda"),
    "change.hint": (
        "Digits only: PIN1 4 to 12, PIN2 5 to 12, PUK 8 to 12. Not your birth date.",
        "Ainult numbrid: PIN1 4 kuni 12, PIN2 5 kuni 12, PUK 8 kuni 12. Mitte sünnikuupäev.",
    ),
    "unblock.title": ("Unblock a PIN with the PUK", "PIN-koodi vabastamine PUK-koodiga"),
    "unblock.puk": ("PUK", "PUK"),
    "unblock.button": ("Unblock", "Vabasta"),
    "unblock.hint": (
        "The PIN gets a new value and three tries. A PUK blocked after three wrong tries cannot be unblocked.",
        "PIN saab uue väärtuse ja kolm katset. Kolme vale katse järel blokeeritud PUK-koodi ei saa vabastada.",
    ),
    "changed": ("{which} is changed.", "{which} on muudetud."),
    "unblocked": ("{which} is unblocked and has its new value.", "{which} on vabastatud ja uue väärtusega."),
    "error.title": ("There is a problem", "Midagi läks valesti"),
    # errors, by their codes
    "card.pin.wrong": ("Wrong {which}. Tries left: {tries}.", "Vale {which}. Katseid jäänud: {tries}."),
    "card.pin.blocked": ("{which} is blocked.", "{which} on blokeeritud."),
    "card.pin.blocked.puk": (
        "The PUK is blocked. It cannot be unblocked: apply for a new document.",
        "PUK on blokeeritud. Seda ei saa vabastada: taotlege uus dokument.",
    ),
    "card.pin.format": ("{which} has {least} to 12 digits.", "{which} koosneb {least} kuni 12 numbrist."),
    "card.pin.unchanged": ("The new value must differ from the old one.", "Uus väärtus peab vanast erinema."),
    "pin.repeat": ("The two new values differ.", "Uued väärtused ei ole ühesugused."),
    "card.unknown": ("That card is not there any more. Choose again.", "Seda kaarti enam ei ole. Valige uuesti."),
    "card.removed": (
        "The card was removed. Put it back and try again.",
        "Kaart võeti välja. Pange see tagasi ja proovige uuesti.",
    ),
    "card.reader": ("The card reader cannot be used now.", "Kaardilugejat ei saa praegu kasutada."),
    "card.storage": (
        "The card's memory cannot be written now (is the disk full?). Nothing was done.",
        "Kaardi mällu ei saa praegu kirjutada (kas ketas on täis?). Midagi ei tehtud.",
    ),
    "agent.other_card": (
        "The site prepared the signature for another card. Choose the card that you started with.",
        "Sait valmistas allkirja ette teise kaardi jaoks. Valige kaart, millega alustasite.",
    ),
    "agent.insecure_origin": (
        "This site's connection is not secure, so it may not use the card.",
        "Saidi ühendus ei ole turvaline, seega ei tohi see kaarti kasutada.",
    ),
    "agent.origin": (
        "This site's address cannot be shown, so it may not use the card.",
        "Saidi aadressi ei saa näidata, seega ei tohi see kaarti kasutada.",
    ),
    "agent.origin_not_allowed": ("You have not allowed this site.", "Te ei ole seda saiti lubanud."),
    "agent.nonce": ("The site's request is not a sign-in.", "Saidi päring ei ole sisselogimine."),
    "agent.hash": ("The site's request is not a signature.", "Saidi päring ei ole allkirjastamine."),
    "agent.certificate": ("The site's request is not a signature.", "Saidi päring ei ole allkirjastamine."),
    "agent.request": ("The request could not be read.", "Päringut ei saanud lugeda."),
    "agent.session": ("This page is too old. Load it again.", "See leht on liiga vana. Laadige see uuesti."),
    "agent.cancelled": ("Cancelled.", "Katkestatud."),
    "agent.unknown_page": ("There is no such page.", "Sellist lehte ei ole."),
    "agent.failed": ("The card could not be used. Try again.", "Kaarti ei õnnestunud kasutada. Proovige uuesti."),
    "agent.timeout": ("The agent does not answer any more. Is it running?", "Agent ei vasta enam. Kas see töötab?"),
}


def text(language: str, key: str, **values: object) -> str:
    """A text in a language, its blanks filled in."""
    return TEXTS[key][LANGUAGES.index(language)].format(**values)


def choose_language(asked: str, accept_language: str) -> str:
    """The language asked for, else the first of ours in an Accept-Language header, else English."""
    if asked in LANGUAGES:
        return asked
    for part in accept_language.split(","):
        name = part.split(";")[0].strip().lower().split("-")[0]
        if name in LANGUAGES:
            return name
    return LANGUAGES[0]
