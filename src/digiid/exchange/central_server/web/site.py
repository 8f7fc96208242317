"""The officers' pages of the central server. Nobody who is not an officer sees any of them."""

from hashlib import sha256
from typing import Annotated, Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from litestar import Request, Response, get, post
from litestar.params import FromPath
from pydantic import BaseModel, ConfigDict, Field

from digiid.exchange.central_server.domain import Action, KeyState, Officer, RequestState, Role
from digiid.exchange.central_server.publishing import Publishing
from digiid.exchange.central_server.use_cases import configuration, members, officers, requests
from digiid.exchange.central_server.use_cases.deps import Deps
from digiid.formats.exchange.management import Operation, parse_envelope
from digiid.formats.global_conf import anchor_fingerprint, parse_directory
from digiid.kernel.errors import Conflict, DigiidError, Malformed, NotFound, Refused
from digiid.kernel.identifiers import MemberId, parse_party
from digiid.platform.web import N_
from digiid.platform.web.forms import Form, check
from digiid.platform.web.site import download, form_of, page, redirect, require_session, run

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
    "certificate": N_("certificate"),
    "client": N_("client"),
    "code": N_("code"),
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
    "value": N_("value"),
}
ROLES: Final = {
    Role.OBSERVER: N_("observer"),
    Role.REGISTRATION_OFFICER: N_("registration officer"),
    Role.SECURITY_OFFICER: N_("security officer"),
    Role.SYSTEM_ADMINISTRATOR: N_("system administrator"),
}
NO_OFFICERS: Final = {"central server": N_("central server"), "installation": N_("installation")}
_JOURNAL_WORDS: Final = {
    "events": EVENTS,
    "details": DETAILS,
    "no_officers": NO_OFFICERS,
    "words": {str(key): words for key, words in (OPERATIONS | ROLES).items()},
    "signed_by": "signed by ",  # and then the members, where a request itself is the act
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class DeclineForm(_Model):
    reason: Annotated[str, Field(min_length=5, max_length=500)]


class MemberForm(_Model):
    member_class: Annotated[str, Field(min_length=1, max_length=100)]
    member_code: Annotated[str, Field(min_length=1, max_length=100)]
    name: Annotated[str, Field(min_length=1, max_length=200)]


class GroupForm(_Model):
    code: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(min_length=1, max_length=200)]


class PartyForm(_Model):
    party: Annotated[str, Field(min_length=5, max_length=410)]


_MESSAGES: Final = {
    "reason": N_("Say why, in 5 to 500 characters; the sender can read it"),
    "member_class": N_("Choose a class"),
    "member_code": N_("Enter the member's registry code"),
    "name": N_("Enter the member's name"),
    "code": N_("Enter a code of letters, digits, full stops, hyphens and underscores"),
    "description": N_("Describe the group in a few words"),
    "party": N_("Enter a member or subsystem, for example EE/GOV/70000101/police"),
}


def handlers(deps: Deps, publishing: Publishing) -> list[Any]:
    async def officer_of(request: Request[Any, Any, Any]) -> Officer:
        # looked up at every request: whose rights were taken away sees nothing more
        session = require_session(request, kind="card")
        return await run(request, officers.admit_officer, deps, session.subject or "")

    def rights(officer: Officer) -> dict[str, bool]:
        return {action.value: officer.may(action) for action in Action}

    # ------------------------------------------------------------------ requests

    @get("/")
    async def home(request: Request[Any, Any, Any]) -> Response[Any]:
        officer = await officer_of(request)
        waiting = await run(request, requests.list_requests, deps, only_open=True)
        newest = await run(request, requests.list_requests, deps)
        decided = [one for one in newest if one not in waiting][:50]
        words = {"operations": OPERATIONS, "states": STATES, "may": rights(officer)}
        return await page(request, "central_requests.html", {"waiting": waiting, "decided": decided, **words})

    async def show_request(
        request: Request[Any, Any, Any], officer: Officer, request_id: str, form: Form[Any] | None = None
    ) -> Response[Any]:
        stored = await run(request, requests.get_request, deps, request_id[:36])
        names = {one.personal_code: one.name for one in await run(request, officers.list_officers, deps)}
        known = {row.id: row.name for row in await run(request, members.list_members, deps)}
        proofs = [
            {"by": proof.by.value, "algorithm": proof.algorithm, **_certificate(proof.certificate_der)}
            for proof in parse_envelope(stored.envelope).proofs.values()
        ]
        context = {
            "stored": stored,
            "proofs": proofs,
            "signers": [(str(signer), known.get(signer)) for signer in stored.signers],
            "auth": _certificate(stored.auth_certificate_der) if stored.auth_certificate_der else None,
            "decided_by": names.get(stored.decided_by or "", ""),
            "operations": OPERATIONS,
            "states": STATES,
            "may": rights(officer),
            "form": form or Form(),
        }
        return await page(request, "central_request.html", context, status=422 if form else 200)

    @get("/requests/{request_id:str}")
    async def one_request(request: Request[Any, Any, Any], request_id: FromPath[str]) -> Response[Any]:
        return await show_request(request, await officer_of(request), request_id)

    @post("/requests/{request_id:str}/approve")
    async def approve(request: Request[Any, Any, Any], request_id: FromPath[str]) -> Response[Any]:
        officer = await officer_of(request)
        await run(request, requests.approve_request, deps, request_id[:36], by=officer.personal_code)
        return redirect(f"/requests/{request_id}")

    @post("/requests/{request_id:str}/decline")
    async def decline(request: Request[Any, Any, Any], request_id: FromPath[str]) -> Response[Any]:
        officer = await officer_of(request)
        form = await form_of(request)
        wanted = check(form, DeclineForm, _MESSAGES)
        if wanted is None:
            return await show_request(request, officer, request_id, form)
        await run(
            request,
            requests.decline_request,
            deps,
            request_id[:36],
            reason=wanted.reason,
            by=officer.personal_code,
        )
        return redirect(f"/requests/{request_id}")

    # ------------------------------------------------------------------ members and servers

    async def show_members(
        request: Request[Any, Any, Any], officer: Officer, form: Form[Any] | None = None
    ) -> Response[Any]:
        context = {
            "members": await run(request, members.list_members, deps),
            "classes": await run(request, members.list_classes, deps),
            "instance": deps.instance,
            "may": rights(officer),
            "form": form or Form(),
        }
        return await page(request, "central_members.html", context, status=422 if form else 200)

    @get("/members")
    async def member_list(request: Request[Any, Any, Any]) -> Response[Any]:
        return await show_members(request, await officer_of(request))

    @post("/members")
    async def enter_member(request: Request[Any, Any, Any]) -> Response[Any]:
        officer = await officer_of(request)
        form = await form_of(request)
        wanted = check(form, MemberForm, _MESSAGES)
        if wanted is not None:
            member = MemberId(deps.instance, wanted.member_class, wanted.member_code)
            try:
                await run(request, members.add_member, deps, member, wanted.name, by=officer.personal_code)
            except (Malformed, Conflict) as error:
                form.error("member_code", error.public or _MESSAGES["member_code"])
        return redirect("/members") if not form.errors else await show_members(request, officer, form)

    @get("/servers")
    async def server_list(request: Request[Any, Any, Any]) -> Response[Any]:
        await officer_of(request)
        views = await run(request, members.list_servers, deps)
        shown = [(view, [_certificate(der) for der in view.certificates]) for view in views]
        return await page(request, "central_servers.html", {"servers": shown})

    # ------------------------------------------------------------------ groups

    async def show_groups(
        request: Request[Any, Any, Any], officer: Officer, form: Form[Any] | None = None
    ) -> Response[Any]:
        context = {
            "groups": await run(request, members.list_groups, deps),
            "may": rights(officer),
            "form": form or Form(),
        }
        return await page(request, "central_groups.html", context, status=422 if form else 200)

    async def show_group(
        request: Request[Any, Any, Any], officer: Officer, code: str, form: Form[Any] | None = None
    ) -> Response[Any]:
        found = next((one for one in await run(request, members.list_groups, deps) if one.code == code), None)
        if found is None:
            raise NotFound("central.group", "no such group", public=N_("There is no such group."))
        context = {"group": found, "may": rights(officer), "form": form or Form()}
        return await page(request, "central_group.html", context, status=422 if form else 200)

    @get("/groups")
    async def group_list(request: Request[Any, Any, Any]) -> Response[Any]:
        return await show_groups(request, await officer_of(request))

    @post("/groups")
    async def make_group(request: Request[Any, Any, Any]) -> Response[Any]:
        officer = await officer_of(request)
        form = await form_of(request)
        wanted = check(form, GroupForm, _MESSAGES)
        if wanted is not None:
            try:
                await run(request, members.add_group, deps, wanted.code, wanted.description, by=officer.personal_code)
            except Refused as error:
                if error.code not in ("central.group_code", "central.built_in"):
                    raise
                form.error("code", error.public or _MESSAGES["code"])
        return (
            redirect(f"/groups/{form.value('code')}") if not form.errors else await show_groups(request, officer, form)
        )

    @get("/groups/{code:str}")
    async def one_group(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
        return await show_group(request, await officer_of(request), code)

    @post("/groups/{code:str}/add")
    async def join_group(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
        officer = await officer_of(request)
        form = await form_of(request)
        wanted = check(form, PartyForm, _MESSAGES)
        if wanted is not None:
            try:
                party = parse_party(wanted.party)
                await run(request, members.add_to_group, deps, code, party, by=officer.personal_code)
            except DigiidError as error:
                if error.code not in ("exchange.identifier", "central.party", "central.instance"):
                    raise
                form.error("party", error.public or _MESSAGES["party"])
        return redirect(f"/groups/{code}") if not form.errors else await show_group(request, officer, code, form)

    @post("/groups/{code:str}/remove")
    async def leave_group(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
        officer = await officer_of(request)
        party = parse_party((await form_of(request)).value("party"))
        await run(request, members.remove_from_group, deps, code, party, by=officer.personal_code)
        return redirect(f"/groups/{code}")

    @post("/groups/{code:str}/delete")
    async def delete_group(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
        officer = await officer_of(request)
        await run(request, members.remove_group, deps, code, by=officer.personal_code)
        return redirect("/groups")

    # ------------------------------------------------------------------ configuration

    @get("/configuration")
    async def show_configuration(request: Request[Any, Any, Any]) -> Response[Any]:
        officer = await officer_of(request)
        anchor = await run(request, configuration.build_present_anchor, deps)
        cas, tsas = await run(request, members.list_trust_services, deps)
        keys = await run(request, configuration.list_keys, deps)
        context = {
            "served": _served(deps, publishing),
            "fingerprint": anchor_fingerprint(anchor),
            "sources": deps.settings.source_urls,
            "keys": [(key, _certificate(key.certificate_der)) for key in keys],
            "key_states": KEY_STATES,
            "cas": [(ca, _certificate(ca.certificate_der)) for ca in cas],
            "tsas": [(tsa, _certificate(tsa.certificate_der)) for tsa in tsas],
            "has_new_key": any(key.state is KeyState.PUBLISHED for key in keys),
            "may": rights(officer),
        }
        return await page(request, "central_configuration.html", context)

    @get("/anchor")
    async def anchor_file(request: Request[Any, Any, Any]) -> Response[Any]:
        await officer_of(request)
        anchor = await run(request, configuration.build_present_anchor, deps)
        return download(anchor, name=f"configuration_anchor_{deps.instance}.xml", media_type="application/xml")

    @post("/keys")
    async def make_key(request: Request[Any, Any, Any]) -> Response[Any]:
        officer = await officer_of(request)
        await run(request, configuration.add_signing_key, deps, by=officer.personal_code)
        return redirect("/configuration")

    @post("/keys/{number:int}/activate")
    async def activate_key(request: Request[Any, Any, Any], number: FromPath[int]) -> Response[Any]:
        officer = await officer_of(request)
        await run(request, configuration.activate_signing_key, deps, number, by=officer.personal_code)
        return redirect("/configuration")

    @post("/keys/{number:int}/withdraw")
    async def withdraw_key(request: Request[Any, Any, Any], number: FromPath[int]) -> Response[Any]:
        officer = await officer_of(request)
        await run(request, configuration.withdraw_signing_key, deps, number, by=officer.personal_code)
        return redirect("/configuration")

    @get("/journal")
    async def journal(request: Request[Any, Any, Any]) -> Response[Any]:
        await officer_of(request)
        lines = await run(request, members.recent_journal, deps)
        return await page(request, "central_journal.html", {"lines": lines, **_JOURNAL_WORDS})

    return [
        home,
        one_request,
        approve,
        decline,
        member_list,
        enter_member,
        server_list,
        group_list,
        make_group,
        one_group,
        join_group,
        leave_group,
        delete_group,
        show_configuration,
        anchor_file,
        make_key,
        activate_key,
        withdraw_key,
        journal,
    ]


# For people: RFC 4514 has names for a few attributes only, and numbers for what names a member.
_ATTRIBUTE_NAMES: Final = {
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.BUSINESS_CATEGORY: "businessCategory",
    NameOID.ORGANIZATION_IDENTIFIER: "organizationIdentifier",
}


def _certificate(certificate_der: bytes) -> dict[str, Any]:
    """What a page tells about a certificate."""
    certificate = x509.load_der_x509_certificate(certificate_der)
    return {
        "subject": certificate.subject.rfc4514_string(_ATTRIBUTE_NAMES),
        "issuer": certificate.issuer.rfc4514_string(_ATTRIBUTE_NAMES),
        "until": certificate.not_valid_after_utc,
        "sha256": sha256(certificate_der).hexdigest(),
    }


def _served(deps: Deps, publishing: Publishing) -> dict[str, Any] | None:
    """The configuration that is served: its age, what is left of it, and its hashes."""
    published = publishing.published
    if published is None:
        return None
    directory, now = published.directory, deps.clock.now()
    return {
        "generated_at": directory.generated_at,
        "expires_at": directory.expires_at,
        "age_seconds": max(0, round((now - directory.generated_at).total_seconds())),
        "left_seconds": max(0, round((directory.expires_at - now).total_seconds())),
        "sha256": sha256(directory.content).hexdigest(),
        "parts": [
            (part.content_id, part.location, part.digest.hex()) for part in parse_directory(directory.content).parts
        ],
    }
