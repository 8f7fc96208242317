"""What the officers' pages call things: operations, states, roles, and what the journal tells. N_ marks them for the
catalogue; the pages translate."""

from typing import Final

from digiid.exchange.central_server.domain import KeyState, RequestState, Role
from digiid.formats.exchange.management import Operation
from digiid.platform.web import N_

NAVIGATION: Final = (
    ("/", N_("Requests")),
    ("/members", N_("Members")),
    ("/servers", N_("Security servers")),
    ("/groups", N_("Groups")),
    ("/configuration", N_("Configuration")),
    ("/journal", N_("Journal")),
)
OPERATIONS: Final = {
    Operation.AUTH_CERT_REGISTRATION: N_("Register an authentication certificate"),
    Operation.AUTH_CERT_DELETION: N_("Delete an authentication certificate"),
    Operation.CLIENT_REGISTRATION: N_("Register a client"),
    Operation.CLIENT_DELETION: N_("Delete a client"),
    Operation.OWNER_CHANGE: N_("Change the owner"),
    Operation.ADDRESS_CHANGE: N_("Change the address"),
    Operation.CLIENT_DISABLE: N_("Disable a client for a time"),
    Operation.CLIENT_ENABLE: N_("Enable a client again"),
    Operation.CLIENT_RENAME: N_("Rename a subsystem"),
    Operation.MAINTENANCE_ON: N_("Begin maintenance"),
    Operation.MAINTENANCE_OFF: N_("End maintenance"),
}
STATES: Final = {
    RequestState.WAITING: (N_("waits for its member to be entered"), "yellow"),
    RequestState.SUBMITTED_FOR_APPROVAL: (N_("waits for approval"), "blue"),
    RequestState.APPROVED: (N_("approved"), "green"),
    RequestState.DECLINED: (N_("declined"), "red"),
    RequestState.REVOKED: (N_("taken back"), "grey"),
    RequestState.APPLIED: (N_("in effect"), "green"),
}
KEY_STATES: Final = {
    KeyState.PUBLISHED: (N_("published, signs next"), "blue"),
    KeyState.SIGNING: (N_("signs"), "green"),
    KeyState.REPLACED: (N_("replaced, still trusted for a time"), "yellow"),
    KeyState.RETIRED: (N_("retired"), "grey"),
}
EVENTS: Final = {
    "officer.entered": N_("an officer was entered"),
    "officer.changed": N_("an officer's roles were changed"),
    "officer.removed": N_("an officer was removed"),
    "member_class.entered": N_("a class of members was entered"),
    "member.entered": N_("a member was entered"),
    "member.renamed": N_("a member was renamed"),
    "member.removed": N_("a member was removed"),
    "server.removed": N_("a security server was removed"),
    "provisioned.forgotten": N_("what was removed will be entered again"),
    "group.entered": N_("a group was made"),
    "group.removed": N_("a group was removed"),
    "group.joined": N_("somebody joined a group"),
    "group.left": N_("somebody left a group"),
    "access_right.granted": N_("an access right was given"),
    "access_right.revoked": N_("an access right was taken back"),
    "ca.approved": N_("a certification authority was approved"),
    "ca.withdrawn": N_("a certification authority was withdrawn"),
    "tsa.approved": N_("a time-stamping authority was approved"),
    "tsa.withdrawn": N_("a time-stamping authority was withdrawn"),
    "parameter.set": N_("a parameter was set"),
    "request.waiting": N_("a request came, its member is not entered yet"),
    "request.submitted": N_("a request was submitted for approval"),
    "request.approved": N_("a request was approved"),
    "request.declined": N_("a request was declined"),
    "request.revoked": N_("a request was taken back"),
    "request.applied": N_("a request took effect"),
    "configuration.changed": N_("the configuration changed"),
    "signing_key.first": N_("the first signing key was made"),
    "signing_key.published": N_("a new signing key was published"),
    "signing_key.activated": N_("a signing key began to sign"),
    "signing_key.withdrawn": N_("a signing key was withdrawn"),
    "signing_key.retired": N_("a signing key was retired"),
}

# What the journal's entries tell, by the names in their payloads. `by` and `envelope_sha256` are not among the details.
DETAILS: Final = {
    "basis": N_("by what right"),
    "certificate": N_("certificate"),
    "client": N_("client"),
    "code": N_("code"),
    "endpoint": N_("endpoint"),
    "group": N_("group"),
    "item": N_("name in the plan"),
    "key": N_("key"),
    "member": N_("member"),
    "name": N_("name"),
    "officer": N_("officer"),
    "operation": N_("operation"),
    "parts": N_("parts"),
    "party": N_("member or subsystem"),
    "reason": N_("reason"),
    "request": N_("request"),
    "roles": N_("roles"),
    "server": N_("security server"),
    "service": N_("service"),
    "value": N_("value"),
}
ROLES: Final = {
    Role.OBSERVER: N_("observer"),
    Role.REGISTRATION_OFFICER: N_("registration officer"),
    Role.SECURITY_OFFICER: N_("security officer"),
    Role.SYSTEM_ADMINISTRATOR: N_("system administrator"),
}
NO_OFFICERS: Final = {"central server": N_("central server"), "installation": N_("installation")}
JOURNAL_WORDS: Final = {
    "events": EVENTS,
    "details": DETAILS,
    "no_officers": NO_OFFICERS,
    "words": {str(key): words for key, words in (OPERATIONS | ROLES).items()},
    "signed_by": "signed by ",  # and then the members, where a request itself is the act
}
