"""The words that both sites show for the board's states, steps, problems and choices, marked for translation."""

from collections.abc import Callable
from functools import cache

from babel import Locale

from digiid.institutions.police_board.domain import law
from digiid.institutions.police_board.domain.application import ApplicationState, CheckKind, CheckState, Outcome, Step
from digiid.institutions.police_board.domain.case import CaseKind
from digiid.institutions.police_board.domain.countries import ALPHA_2, SPECIMEN
from digiid.institutions.police_board.domain.document import DocumentState
from digiid.institutions.police_board.domain.law import MeasureBasis, RefusalGround
from digiid.institutions.police_board.domain.right import RightState
from digiid.platform.web import N_

PROBLEMS: dict[str, str] = {
    "required": N_("Fill in this field"),
    "too_long": N_("This text is too long"),
    "too_short": N_("Write a little more"),
    "characters": N_("This text has characters that cannot be used here"),
    "latin_letters": N_("Use Latin letters, as they are in your travel document"),
    "choose": N_("Choose one of the options"),
    "date": N_("Enter a date as year-month-day, for example 1990-05-31"),
    "date_range": N_("This date is not possible here"),
    "under_age": N_("Applicants are at least 18 years old"),
    "personal_code": N_("An Estonian personal code has 11 digits"),
    "phone": N_("A telephone number has digits, spaces and a plus sign"),
    "email": N_("Enter an e-mail address, for example name@example.org"),
    "document_number": N_("Enter the number as it is in the document: letters and digits"),
    "expires_soon": N_("The document must be valid for at least 90 days from today"),
    "must_confirm": N_("Confirm this to continue"),
    "mrz.form": N_("The zone has two lines of 44 or 36 characters, or three lines of 30"),
    "mrz.alphabet": N_("The zone may have only the letters A to Z, digits and the sign <"),
    "mrz.check_digit": N_("A check digit of the zone is wrong. Compare every character with your document"),
    "mrz.field": N_("Something in the zone cannot be read. Compare every character with your document"),
    "mrz_differs.surname": N_("The zone has another surname than your personal data"),
    "mrz_differs.given_names": N_("The zone has other given names than your personal data"),
    "mrz_differs.document_number": N_("The zone has another document number"),
    "mrz_differs.issuing_country": N_("The zone names another country"),
    "mrz_differs.citizenships": N_("The zone names a citizenship that is not in your personal data"),
    "mrz_differs.born_on": N_("The zone has another date of birth than your personal data"),
    "mrz_differs.sex": N_("The zone has another sex than your personal data"),
    "mrz_differs.expires_on": N_("The zone has another date of expiry"),
    "mrz_differs.kind": N_("The zone is of another kind of document"),
    "photo.too_large": N_("The photo is larger than 5 MB"),
    "photo.not_jpeg": N_("The photo must be a JPEG file (.jpg) that can be opened"),
    "photo.dimensions": N_("The photo must have at least 1300 × 1600 pixels, and at most 8000 on a side"),
    "photo.proportions": N_("The photo must have the proportions 40:50, for example 1300 × 1600 pixels"),
    "photo.colour": N_("The photo must be in colour"),
    "photo.required": N_("Choose a file"),
    "decision.no_legal_basis": N_("Choose the legal basis of the refusal"),
    "decision.no_reasons": N_("Write the reasons in at least 40 characters; the applicant will read them"),
}

STEPS: dict[Step, str] = {
    Step.PERSONAL: N_("Personal data"),
    Step.TRAVEL_DOCUMENT: N_("Travel document"),
    Step.PHOTO: N_("Photo"),
    Step.MOTIVATION: N_("Why you apply"),
    Step.BUSINESS: N_("Education, work and business"),
    Step.DECLARATIONS: N_("Declarations"),
    Step.PICK_UP: N_("Where you collect the card"),
    Step.ACCEPTANCE: N_("What the document is not"),
}

APPLICATION_STATES: dict[ApplicationState, str] = {
    ApplicationState.DRAFT: N_("Draft"),
    ApplicationState.FEE_PENDING: N_("Waiting for the state fee"),
    ApplicationState.SUBMITTED: N_("Received"),
    ApplicationState.RETURNED_UNEXAMINED: N_("Returned unexamined"),
    ApplicationState.DEFICIENT: N_("Something has to be put right"),
    ApplicationState.CHECKS_RUNNING: N_("Being examined"),
    ApplicationState.AWAITING_APPLICANT: N_("Waiting for the applicant"),
    ApplicationState.HEARING: N_("Hearing before a refusal"),
    ApplicationState.DECIDED: N_("Decided"),
    ApplicationState.CHALLENGED: N_("Challenged"),
    ApplicationState.FINAL: N_("Final"),
}
OUTCOMES: dict[Outcome, str] = {
    Outcome.ISSUE: N_("Issue"),
    Outcome.REFUSE: N_("Refuse"),
    Outcome.TERMINATE: N_("Return unexamined"),
}
DOCUMENT_STATES: dict[DocumentState, str] = {
    DocumentState.ORDERED: N_("Ordered"),
    DocumentState.PRODUCED: N_("Made"),
    DocumentState.IN_TRANSIT: N_("On its way"),
    DocumentState.AT_POINT: N_("At the pick-up point"),
    DocumentState.HANDED_OUT: N_("Handed over"),
    DocumentState.ACTIVE: N_("Active"),
    DocumentState.SUSPENDED: N_("Suspended"),
    DocumentState.REVOKED: N_("Annulled"),
    DocumentState.EXPIRED: N_("Expired"),
    DocumentState.SUPERSEDED: N_("Replaced by a new one"),
    DocumentState.UNCOLLECTED: N_("Not collected"),
}
RIGHT_STATES: dict[RightState, str] = {
    RightState.GRANTED: N_("Granted"),
    RightState.SUSPENDED: N_("Suspended"),
    RightState.LIMITED: N_("Limited to some services"),
    RightState.ANNULLED: N_("Annulled"),
    RightState.LAPSED: N_("Lapsed"),
}
CHECKS: dict[CheckKind, str] = {
    CheckKind.IDENTITY: N_("Identity: form, machine-readable zone, document"),
    CheckKind.DUPLICATE: N_("Duplicate person: register and other applications"),
    CheckKind.LISTS: N_("Sanctions lists"),
}
CHECK_STATES: dict[CheckState, str] = {
    CheckState.OPEN: N_("Not finished"),
    CheckState.INCOMPLETE: N_("Could not be run"),
    CheckState.HITS: N_("Hits"),
    CheckState.CLEAR: N_("Nothing found"),
}
CASES: dict[CaseKind, str] = {
    CaseKind.ANOMALY: N_("Anomalous card"),
    CaseKind.MISUSE: N_("Misuse report"),
    CaseKind.LOSS: N_("Lost card"),
}
GROUNDS: dict[RefusalGround, str] = {
    RefusalGround.SECURITY: N_("A threat to public order or national security"),
    RefusalGround.BUSINESS_BAN: N_("An economic activity for which there is a basis for a prohibition"),
    RefusalGround.IDENTITY: N_("The person is not clearly identified, or the identity is in doubt"),
    RefusalGround.VISA_GROUNDS: N_("Circumstances that are a basis to refuse a visa or residence, or for an entry ban"),
    RefusalGround.PURPOSE: N_("The issue is not in line with the purpose of the e-resident's digi-ID"),
}
BASES: dict[MeasureBasis, str] = {
    MeasureBasis.LOSS: N_("Lost or stolen"),
    MeasureBasis.FOUND: N_("Found again"),
    MeasureBasis.SUPERVISION: N_("Supervision: suspicion about its use"),
    MeasureBasis.CLEARED: N_("The suspicion is cleared"),
    MeasureBasis.SECURITY: N_("A threat to public order or national security"),
    MeasureBasis.FALSE_DATA: N_("Issued on false data"),
    MeasureBasis.PURPOSE: N_("Use not in line with its purpose"),
    MeasureBasis.DEATH: N_("Death of the holder"),
    MeasureBasis.RESIDENT_OR_CITIZEN: N_("The holder has become a resident or citizen"),
    MeasureBasis.HOLDER_REQUEST: N_("At the holder's request"),
}
# what the domain writes in English into reports and answers; shown translated
EVIDENCE: dict[str, str] = {
    "name": N_("Name"),
    "listed_name": N_("Name on the list"),
    "known_name": N_("Known name"),
    "name_similarity": N_("Similarity of the names"),
    "born_on": N_("Date of birth"),
    "listed_births": N_("Births on the list"),
    "births": N_("Birth dates"),
    "document_number": N_("Document number"),
    "listed_nationalities": N_("Nationality on the list"),
    "form": N_("Form"),
    "zone": N_("Zone"),
    "expires_on": N_("Valid until"),
    "citizenship": N_("Citizenship"),
}
GROUND_TEXTS = {ground.value: entry.text for ground, entry in law.REFUSAL_GROUNDS.items()}


@cache
def country_options(language: str, *, specimens: bool) -> list[tuple[str, str]]:
    """(alpha-3, name) of every country in the reader's language, an empty choice first."""
    names = Locale(language).territories
    found = sorted(((code, names.get(alpha_2, code)) for code, alpha_2 in ALPHA_2.items()), key=lambda pair: pair[1])
    return [("", ""), *found, *([(SPECIMEN, f"Utopia ({SPECIMEN})")] if specimens else [])]


def country_name(code: str, language: str) -> str:
    """The country's name in the reader's language, the code itself when it is none of ours."""
    return str(Locale(language).territories.get(ALPHA_2.get(code, ""), "Utopia" if code == SPECIMEN else code))


def problem_texts(problems: dict[str, str]) -> dict[str, str]:
    """Problem codes by field as sentences, to be translated where they are shown."""
    return {field: PROBLEMS.get(code, code) for field, code in problems.items()}


def words(language: str) -> dict[str, object]:
    """What every template of both sites may name."""
    country: Callable[[str], str] = lambda code: country_name(code, language)  # noqa: E731
    return {
        "STEPS": STEPS,
        "APPLICATION_STATES": APPLICATION_STATES,
        "OUTCOMES": OUTCOMES,
        "DOCUMENT_STATES": DOCUMENT_STATES,
        "RIGHT_STATES": RIGHT_STATES,
        "CHECKS": CHECKS,
        "CHECK_STATES": CHECK_STATES,
        "CASES": CASES,
        "GROUNDS": GROUNDS,
        "GROUND_TEXTS": GROUND_TEXTS,
        "BASES": BASES,
        "EVIDENCE": EVIDENCE,
        "country": country,
    }
