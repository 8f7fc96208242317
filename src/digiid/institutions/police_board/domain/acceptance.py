"""What the document is not, in plain words: accepted before the application is paid, shown again at the hand-over.

The text that a person accepted is stored with the application word for word, in the language shown.
Changing a word here means a new VERSION.
"""

VERSION = "2026-11"

TEXTS: dict[str, tuple[str, ...]] = {
    "en": (
        "The digi-ID is not citizenship of Estonia or of the European Union, and it is not residence.",
        (
            "It does not let you enter, live in or travel to any country. It is not a travel document or an identity "
            "document with a photo."
        ),
        "It does not let you vote, stand as a candidate, or join a political party.",
        (
            "It does not by itself make you or your company a tax resident, and it does not oblige a bank or any other "
            "service to accept you as a customer."
        ),
        (
            "It is a possibility, not a right: the Police and Border Guard Board may refuse it, suspend it, limit "
            "it to some services or annul it, and gives you the reasons."
        ),
        (
            "You answer for everything that is done with it. Your signature with it equals your handwritten "
            "signature. Never give the card or a PIN to anybody, also not to an adviser or a service company."
        ),
    ),
    "et": (
        "Digi-ID ei ole Eesti ega Euroopa Liidu kodakondsus ega elamisõigus.",
        (
            "See ei anna õigust üheski riigis viibida, elada ega sinna reisida. See ei ole reisidokument ega fotoga "
            "isikut tõendav dokument."
        ),
        "See ei anna õigust hääletada, kandideerida ega erakonda astuda.",
        (
            "See ei tee iseenesest Teist ega Teie äriühingust maksuresidenti ega kohusta panka või muud teenust Teid "
            "kliendiks võtma."
        ),
        (
            "See on võimalus, mitte õigus: Politsei- ja Piirivalveamet võib selle andmisest keelduda, selle peatada, "
            "piirata mõne teenusega või kehtetuks tunnistada ning põhjendab oma otsust."
        ),
        (
            "Teie vastutate kõige eest, mida sellega tehakse. Sellega antud allkiri on võrdne omakäelise allkirjaga. "
            "Ärge andke kaarti ega PIN-koodi kellelegi, ka mitte nõustajale või teenusepakkujale."
        ),
    ),
}


def text_of(language: str) -> str:
    """The whole text as one string, a paragraph a line: what is stored with the application."""
    return "\n".join(TEXTS[language])
