"""What the central server decides: the life of a registration, who of its officers may do what, the life of the key
that signs the configuration. Decides, does nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from digiid.formats.exchange.management import ManagementRequest, Operation
from digiid.kernel.errors import Refused
from digiid.kernel.identifiers import MemberId, ServerId
from digiid.kernel.states import Edge, StateTable

# ------------------------------------------------------------------ registrations


class RequestState(StrEnum):
    """pr-mserv's states, and APPLIED for what takes effect at once because its signers may decide it alone."""

    WAITING = "waiting"
    SUBMITTED_FOR_APPROVAL = "submitted_for_approval"
    APPROVED = "approved"
    DECLINED = "declined"
    REVOKED = "revoked"
    APPLIED = "applied"


class RequestEvent(StrEnum):
    COMPLETE = "complete"
    APPROVE = "approve"
    DECLINE = "decline"
    REVOKE = "revoke"


_OFFICER: Final = frozenset({"officer"})
_SIGNERS: Final = frozenset({"signers"})
_CENTRAL: Final = frozenset({"central_server"})
_CONF: Final = ("global_conf",)
_JOINING: Final = "joining agreement of the member with the information authority"
_WITHDRAWN: Final = "the member's own request"

REGISTRATION: Final[StateTable[RequestState, RequestEvent]] = {
    # Its member is not in the list of members yet: an officer enters members by their agreement, never by a request.
    RequestState.WAITING: {
        RequestEvent.COMPLETE: Edge(RequestState.SUBMITTED_FOR_APPROVAL, _JOINING, _CENTRAL),
        RequestEvent.DECLINE: Edge(RequestState.DECLINED, _JOINING, _OFFICER),
        RequestEvent.REVOKE: Edge(RequestState.REVOKED, _WITHDRAWN, _SIGNERS),
    },
    RequestState.SUBMITTED_FOR_APPROVAL: {
        RequestEvent.APPROVE: Edge(RequestState.APPROVED, _JOINING, _OFFICER, _CONF),
        RequestEvent.DECLINE: Edge(RequestState.DECLINED, _JOINING, _OFFICER),
        RequestEvent.REVOKE: Edge(RequestState.REVOKED, _WITHDRAWN, _SIGNERS),
    },
    RequestState.APPROVED: {},
    RequestState.DECLINED: {},
    RequestState.REVOKED: {},
    RequestState.APPLIED: {},
}
OPEN_STATES: Final = (RequestState.WAITING, RequestState.SUBMITTED_FOR_APPROVAL)
NEEDS_APPROVAL: Final = frozenset(
    {Operation.AUTH_CERT_REGISTRATION, Operation.CLIENT_REGISTRATION, Operation.OWNER_CHANGE}
)


def concerned_member(request: ManagementRequest) -> MemberId | None:
    """Whose signature is needed beside the server owner's; None when the owner is the only one."""
    if request.client is None or request.client.member == request.server.owner:
        return None
    return request.client.member


# ------------------------------------------------------------------ officers


class Role(StrEnum):
    """X-Road's roles at the central server."""

    OBSERVER = "observer"
    REGISTRATION_OFFICER = "registration_officer"
    SECURITY_OFFICER = "security_officer"
    SYSTEM_ADMINISTRATOR = "system_administrator"


class Action(StrEnum):
    """What an officer may do; every use case that writes names one."""

    LOOK = "look"
    DECIDE_REQUESTS = "decide_requests"
    MANAGE_MEMBERS = "manage_members"
    MANAGE_GROUPS = "manage_groups"
    MANAGE_ACCESS_RIGHTS = "manage_access_rights"
    MANAGE_TRUST_SERVICES = "manage_trust_services"
    MANAGE_SIGNING_KEYS = "manage_signing_keys"
    MANAGE_PARAMETERS = "manage_parameters"
    MANAGE_OFFICERS = "manage_officers"


RIGHTS: Final[Mapping[Action, frozenset[Role]]] = {
    Action.LOOK: frozenset(Role),
    Action.DECIDE_REQUESTS: frozenset({Role.REGISTRATION_OFFICER}),
    Action.MANAGE_MEMBERS: frozenset({Role.REGISTRATION_OFFICER}),
    Action.MANAGE_GROUPS: frozenset({Role.REGISTRATION_OFFICER}),
    # At each security server X-Road has a service administrator for them; one operator runs all servers of a state.
    Action.MANAGE_ACCESS_RIGHTS: frozenset({Role.REGISTRATION_OFFICER}),
    Action.MANAGE_TRUST_SERVICES: frozenset({Role.SECURITY_OFFICER}),
    Action.MANAGE_SIGNING_KEYS: frozenset({Role.SECURITY_OFFICER}),
    Action.MANAGE_PARAMETERS: frozenset({Role.SYSTEM_ADMINISTRATOR}),
    # Who gives rights does not use them: an administrator who could also approve would need nobody else.
    Action.MANAGE_OFFICERS: frozenset({Role.SYSTEM_ADMINISTRATOR}),
}


@dataclass(frozen=True, slots=True)
class Officer:
    """A named person. `is_active` is False for one whose rights were taken away; the name stays for the journal."""

    personal_code: str
    name: str
    roles: frozenset[Role]
    is_active: bool = True

    def may(self, action: Action) -> bool:
        return self.is_active and not self.roles.isdisjoint(RIGHTS[action])


def check_right(officer: Officer | None, action: Action) -> Officer:
    """The officer, when they may do this.

    Raises: Refused `central.not_an_officer` for nobody and for one who is not active any more, `central.not_allowed`.
    """
    if officer is None or not officer.is_active:
        raise Refused(
            "central.not_an_officer", "not an officer", public="You are not an officer of the central server."
        )
    if not officer.may(action):
        raise Refused("central.not_allowed", f"{action} is not this officer's", public="Your role does not allow this.")
    return officer


def check_reason(reason: str) -> str:
    """A reason in words. Raises: Refused `central.no_reason`."""
    reason = " ".join(reason.split())
    if not 5 <= len(reason) <= 500:
        raise Refused("central.no_reason", "no reason", public="Give a reason of 5 to 500 characters.")
    return reason


# ------------------------------------------------------------------ what is registered


@dataclass(frozen=True, slots=True)
class StoredServer:
    """A security server as the central server knows it. `number` stays when the owner changes."""

    number: int
    id: ServerId
    address: str
    maintenance: str | None
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request with everything that was shown for it. `envelope` is what came, proofs and all."""

    request: ManagementRequest
    state: RequestState
    envelope: bytes
    received_at: datetime
    auth_certificate_der: bytes | None = None
    decided_at: datetime | None = None
    decided_by: str | None = None
    reason: str | None = None

    @property
    def request_id(self) -> str:
        return self.request.request_id

    @property
    def signers(self) -> tuple[MemberId, ...]:
        """Whose signing keys have signed it."""
        concerned = concerned_member(self.request)
        return (self.request.server.owner,) if concerned is None else (self.request.server.owner, concerned)


# ------------------------------------------------------------------ the keys that sign the configuration


class KeyState(StrEnum):
    """PUBLISHED: servers learn to trust it. SIGNING: it signs. REPLACED: what it signed may still be about."""

    PUBLISHED = "published"
    SIGNING = "signing"
    REPLACED = "replaced"
    RETIRED = "retired"


class KeyEvent(StrEnum):
    ACTIVATE = "activate"
    REPLACE = "replace"
    RETIRE = "retire"


_ROTATION: Final = "key rotation by a security officer"
KEY_LIFE: Final[StateTable[KeyState, KeyEvent]] = {
    KeyState.PUBLISHED: {
        KeyEvent.ACTIVATE: Edge(KeyState.SIGNING, _ROTATION, frozenset({"officer", "central_server"}), _CONF),
        KeyEvent.RETIRE: Edge(KeyState.RETIRED, _ROTATION, _OFFICER, _CONF),
    },
    KeyState.SIGNING: {KeyEvent.REPLACE: Edge(KeyState.REPLACED, _ROTATION, frozenset({"officer"}), _CONF)},
    KeyState.REPLACED: {KeyEvent.RETIRE: Edge(KeyState.RETIRED, _ROTATION, _CENTRAL, _CONF)},
    KeyState.RETIRED: {},
}


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key that signs the configuration. `source` is a file below the secrets, or a PKCS#11 URI."""

    number: int
    source: str
    certificate_der: bytes
    state: KeyState
    changed_at: datetime
