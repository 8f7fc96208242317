"""The data tracker: who looked at whose data, asked of every institution live.

`findUsage` follows the published protocol Andmejälgija (specification 1.6 of 19.01.2026, OpenAPI 2.1.0) to the
letter of its three endpoints; the optional fields of a usage and `/v2/isRecorded` are ours. `askedAbout` is ours: what
an institution asked others, so that both halves of a look can be held against each other (the drafts of Andmejälgija 3
call these halves DATA_RESPONSE and DATA_REQUEST).
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from digiid.contracts.members import (
    BANK,
    BUSINESS_REGISTER,
    CARD_BUREAU,
    CONSENT_SERVICE,
    INFORMATION_AUTHORITY,
    POLICE_BOARD,
    POPULATION_REGISTER,
    TRUST_SERVICES,
)
from digiid.kernel.identifiers import ClientId, ServiceId

FIND_USAGE_CODE: Final = "findUsage"
ASKED_ABOUT_CODE: Final = "askedAbout"
FIND_USAGE_ENDPOINTS: Final = (
    ("GET", "/v2/findUsage"),
    ("GET", "/v2/usagePeriod"),
    ("GET", "/v2/heartbeat"),
    ("GET", "/v2/isRecorded"),
)
ASKED_ABOUT_ENDPOINTS: Final = (("GET", "/v1/askedAbout"), ("GET", "/v1/isRecorded"))
TRACKED: Final = (
    POPULATION_REGISTER,
    POLICE_BOARD,
    CARD_BUREAU,
    TRUST_SERVICES,
    BUSINESS_REGISTER,
    BANK,
    INFORMATION_AUTHORITY,
    CONSENT_SERVICE,
)
"""Everybody who holds personal data: each has a tracker of its own and is asked by itself."""
ALLOWED: Final = frozenset({INFORMATION_AUTHORITY})
DEFAULT_LIMIT: Final = 1000
MAX_LIMIT: Final = 10_000
MAX_MESSAGE_IDS: Final = 40  # of one /isRecorded, so that its query string stays below 8 KB

# RFC 3339 with milliseconds, in UTC
Instant = Annotated[
    datetime,
    PlainSerializer(lambda at: at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), return_type=str),
]


class TrackerModel(BaseModel):
    """Read leniently (another tracker may say more than ours), written without what is absent."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", str_max_length=2000, alias_generator=to_camel, populate_by_name=True
    )

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_none=True, by_alias=True).encode()


class Usage(TrackerModel):
    """One look. `action` says why; `receiver_code` is a registry code, `receiver_system` the whole subsystem.

    Everything below that is an addition of ours and optional. `by_the_person`: the person asked, through some portal.
    `hidden_until` and `hidden_reason` stand with a look that was kept back and may be seen now.
    """

    logtime: Instant
    action: str
    receiver_code: str
    receiver_name: str | None = None
    receiver_system: str
    x_road_message_id: str | None = None
    consent_reference: str | None = None
    legal_basis: str | None = None
    data_categories: Annotated[tuple[str, ...], Field(max_length=100)] | None = None
    official_pseudonym: str | None = None
    by_the_person: bool | None = None
    hidden_until: Instant | None = None
    hidden_reason: str | None = None


class UsageList(TrackerModel):
    total_usages: Annotated[int, Field(ge=0)]
    usages: Annotated[tuple[Usage, ...], Field(max_length=MAX_LIMIT)]


class UsagePeriod(TrackerModel):
    period_start: Instant
    period_end: Instant | None = None


class Heartbeat(TrackerModel):
    status: Literal["OK", "FAIL"]
    message: str | None = None


class TrackerError(TrackerModel):
    """The body of 400 and 500."""

    message: str


class Asked(TrackerModel):
    """One request that an institution sent about the person. `outcome` `sent`: no answer is known."""

    time: Instant
    x_road_message_id: str
    service: str
    outcome: Literal["sent", "answered", "refused"]


class AskedList(TrackerModel):
    total_requests: Annotated[int, Field(ge=0)]
    requests: Annotated[tuple[Asked, ...], Field(max_length=MAX_LIMIT)]


class Recorded(TrackerModel):
    """Which of the messages asked after are on record about the person."""

    recorded: tuple[str, ...]


def find_usage_service(institution: ClientId) -> ServiceId:
    return ServiceId(institution, FIND_USAGE_CODE)


def asked_about_service(institution: ClientId) -> ServiceId:
    return ServiceId(institution, ASKED_ABOUT_CODE)
