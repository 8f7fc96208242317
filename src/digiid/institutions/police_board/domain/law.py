"""The legal bases that the board's tables and decisions name, and its deadlines.

The grounds are those of the Identity Documents Act (isikut tõendavate dokumentide seadus, ITDS) on
the e-resident's digital identity card; procedure follows the Administrative Procedure Act
(haldusmenetluse seadus, HMS). A ground is named by its content, since paragraphs move with every
amendment; docs/divergences tells which deadlines are our choice.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from digiid.institutions.police_board.domain import N_

ITDS_PURPOSE = N_("ITDS § 20⁵ (2): access to e-services, so that economy, science, education or culture gains from it")
ITDS_ISSUE = N_("ITDS § 15 (4) 1¹: the Police and Border Guard Board issues and annuls the e-resident's digi-ID")
ITDS_FEE = N_("ITDS and the State Fees Act: an application is examined when the state fee is paid")
ITDS_IDENTITY = N_("ITDS: the person is identified and the data are verified before a document is issued")
ITDS_HAND_OVER = N_(
    "ITDS: the document is handed to the holder in person against the travel document of the application"
)
ITDS_UNCOLLECTED = N_("ITDS: a document not collected within six months is annulled")
ITDS_LOSS = N_("ITDS: the holder reports loss or theft; the certificates are suspended at once")
ITDS_SUPERVISION = N_("ITDS: state supervision of the use of the e-resident's digi-ID")
ITDS_UNEXAMINED = N_("ITDS § 20⁶ (11)-(12): application of a citizen of a listed country is returned unexamined")
HMS_DEFICIENCY = N_("HMS § 15: deficiencies are eliminated within a deadline, otherwise the application is returned")
HMS_EVIDENCE = N_("HMS § 38: the administrative authority may ask the participant for evidence and explanations")
HMS_HEARING = N_("HMS § 40: the person is heard before a decision that is not in the person's favour")
HMS_DECISION = N_("HMS § 43: the procedure ends with a decision")
HMS_WITHDRAWAL = N_("HMS § 43 (1) 2): the procedure ends when the applicant withdraws the application")
HMS_CHALLENGE = N_("HMS § 75: a challenge is lodged within 30 days")

DECISION_WORKING_DAYS = 30
HEARING_PERIOD = timedelta(days=14)
QUESTION_PERIOD = timedelta(days=14)
DEFICIENCY_PERIOD = timedelta(days=14)
CHALLENGE_PERIOD = timedelta(days=30)
COLLECTION_MONTHS = 6
DOCUMENT_YEARS = 5


class RefusalGround(StrEnum):
    """On what a refusal may rest. The first three are mandatory, the others within discretion."""

    SECURITY = "security"
    BUSINESS_BAN = "business_ban"
    IDENTITY = "identity"
    VISA_GROUNDS = "visa_grounds"
    PURPOSE = "purpose"


@dataclass(frozen=True, slots=True)
class Ground:
    mandatory: bool
    text: str


REFUSAL_GROUNDS: dict[RefusalGround, Ground] = {
    RefusalGround.SECURITY: Ground(
        True,
        N_("ITDS, mandatory ground: a threat to public order or national security"),
    ),
    RefusalGround.BUSINESS_BAN: Ground(
        True,
        N_("ITDS, mandatory ground: an economic activity for which there is a basis for prohibition"),
    ),
    RefusalGround.IDENTITY: Ground(
        True,
        N_("ITDS, mandatory ground: the person is not clearly identified, or the identity is in doubt"),
    ),
    RefusalGround.VISA_GROUNDS: Ground(
        False,
        N_(
            "ITDS, discretionary ground: circumstances that are a basis to refuse a visa or a residence permit, "
            "or to apply an entry ban"
        ),
    ),
    RefusalGround.PURPOSE: Ground(
        False,
        N_("ITDS, discretionary ground: the issue is not in line with the purpose of § 20⁵ (2)"),
    ),
}


class MeasureBasis(StrEnum):
    """Why a right or a document is suspended, lifted or ended."""

    LOSS = "loss"
    FOUND = "found"
    SUPERVISION = "supervision"
    CLEARED = "cleared"
    SECURITY = "security"
    FALSE_DATA = "false_data"
    PURPOSE = "purpose"
    DEATH = "death"
    RESIDENT_OR_CITIZEN = "resident_or_citizen"
    HOLDER_REQUEST = "holder_request"


MEASURE_BASES: dict[MeasureBasis, str] = {
    MeasureBasis.LOSS: ITDS_LOSS,
    MeasureBasis.FOUND: N_(
        "ITDS: the reason for the suspension has fallen away, the document is with its holder again"
    ),
    MeasureBasis.SUPERVISION: ITDS_SUPERVISION,
    MeasureBasis.CLEARED: N_("ITDS: the reason for the suspension has fallen away, the suspicion is cleared"),
    MeasureBasis.SECURITY: N_("ITDS: a threat to public order or national security"),
    MeasureBasis.FALSE_DATA: N_("ITDS: the document was issued on false data"),
    MeasureBasis.PURPOSE: N_("ITDS: the use is not in line with the purpose of § 20⁵ (2)"),
    MeasureBasis.DEATH: N_("ITDS: the holder has died"),
    MeasureBasis.RESIDENT_OR_CITIZEN: N_("ITDS: the holder has become a resident or a citizen"),
    MeasureBasis.HOLDER_REQUEST: N_("ITDS: at the holder's request"),
}
SUSPENSION_BASES = (MeasureBasis.LOSS, MeasureBasis.SUPERVISION, MeasureBasis.SECURITY)
LIFTING_BASES = (MeasureBasis.FOUND, MeasureBasis.CLEARED)
ANNULMENT_BASES = (
    MeasureBasis.SECURITY,
    MeasureBasis.PURPOSE,
    MeasureBasis.FALSE_DATA,
    MeasureBasis.LOSS,
    MeasureBasis.DEATH,
    MeasureBasis.RESIDENT_OR_CITIZEN,
    MeasureBasis.HOLDER_REQUEST,
)

# Public Holidays and Days of National Importance Act § 2: fixed days; the movable ones follow Easter
_FIXED_HOLIDAYS = ((1, 1), (2, 24), (5, 1), (6, 23), (6, 24), (8, 20), (12, 24), (12, 25), (12, 26))


def add_working_days(start: date, count: int) -> date:
    """The day `count` working days after `start` (Estonian working days; General Part of the Civil Code Act § 136)."""
    day = start
    while count:
        day += timedelta(days=1)
        if _is_working_day(day):
            count -= 1
    return day


def last_day_of_period(start: date, period: timedelta) -> date:
    """The last day of a period that began on `start`: put off to the next working day when it is none."""
    day = start + period
    while not _is_working_day(day):
        day += timedelta(days=1)
    return day


def _is_working_day(day: date) -> bool:
    easter = _easter(day.year)
    movable = (easter - timedelta(days=2), easter, easter + timedelta(days=49))
    return day.weekday() < 5 and (day.month, day.day) not in _FIXED_HOLIDAYS and day not in movable


def _easter(year: int) -> date:
    """Easter Sunday in the Gregorian calendar (anonymous algorithm, Meeus/Jones/Butcher)."""
    a, b, c = year % 19, year // 100, year % 100
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    ell = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 19 * ell) // 433
    month = (h + ell - 7 * m + 90) // 25
    day = (h + ell - 7 * m + 33 * month + 19) % 32
    return date(year, month, day)
