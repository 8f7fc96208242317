"""The officers' pages of the central server. Nobody who is not an officer sees any of them."""

from hashlib import sha256
from typing import Annotated, Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from litestar import Request, Response, get, post
from litestar.params import FromPath
from pydantic import BaseModel, ConfigDict, Field

from digiid.exchange.central_server.domain import Action, KeyState, Officer
from digiid.exchange.central_server.publishing import Publishing
from digiid.exchange.central_server.use_cases import configuration, members, officers, requests
from digiid.exchange.central_server.use_cases.deps import Deps
from digiid.exchange.central_server.web import words
from digiid.formats.exchange.management import parse_envelope
from digiid.formats.global_conf import anchor_fingerprint, parse_directory
from digiid.kernel.errors import Conflict, DigiidError, Malformed, NotFound, Refused
from digiid.kernel.identifiers import MemberId, parse_party
from digiid.platform.web import N_
from digiid.platform.web.forms import Form, check
from digiid.platform.web.site import download, form_of, page, redirect, require_session, run

Ask = Request[Any, Any, Any]


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
    return [
        *_request_handlers(deps),
        *_member_handlers(deps),
        *_group_handlers(deps),
        *_configuration_handlers(deps, publishing),
        *_journal_handlers(deps),
    ]


async def _officer_of(request: Ask, deps: Deps) -> Officer:
    # looked up at every request: whose rights were taken away sees nothing more
    session = require_session(request, kind="card")
    return await run(request, officers.admit_officer, deps, session.subject or "")


def _rights(officer: Officer) -> dict[str, bool]:
    return {action.value: officer.may(action) for action in Action}


# ------------------------------------------------------------------ requests


def _request_handlers(deps: Deps) -> list[Any]:
    @get("/")
    async def home(request: Ask) -> Response[Any]:
        officer = await _officer_of(request, deps)
        waiting = await run(request, requests.list_requests, deps, only_open=True)
        newest = await run(request, requests.list_requests, deps)
        decided = [one for one in newest if one not in waiting][:50]
        context = {
            "waiting": waiting,
            "decided": decided,
            "operations": words.OPERATIONS,
            "states": words.STATES,
            "may": _rights(officer),
        }
        return await page(request, "central_requests.html", context)

    @get("/requests/{request_id:str}")
    async def one_request(request: Ask, request_id: FromPath[str]) -> Response[Any]:
        return await _show_request(request, deps, await _officer_of(request, deps), request_id)

    @post("/requests/{request_id:str}/approve")
    async def approve(request: Ask, request_id: FromPath[str]) -> Response[Any]:
        officer = await _officer_of(request, deps)
        await run(request, requests.approve_request, deps, request_id[:36], by=officer.personal_code)
        return redirect(f"/requests/{request_id}")

    @post("/requests/{request_id:str}/decline")
    async def decline(request: Ask, request_id: FromPath[str]) -> Response[Any]:
        officer = await _officer_of(request, deps)
        form = await form_of(request)
        wanted = check(form, DeclineForm, _MESSAGES)
        if wanted is None:
            return await _show_request(request, deps, officer, request_id, form)
        await run(
            request,
            requests.decline_request,
            deps,
            request_id[:36],
            reason=wanted.reason,
            by=officer.personal_code,
        )
        return redirect(f"/requests/{request_id}")

    return [home, one_request, approve, decline]


async def _show_request(
    request: Ask, deps: Deps, officer: Officer, request_id: str, form: Form[Any] | None = None
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
        "operations": words.OPERATIONS,
        "states": words.STATES,
        "may": _rights(officer),
        "form": form or Form(),
    }
    return await page(request, "central_request.html", context, status=422 if form else 200)


# ------------------------------------------------------------------ members and servers


def _member_handlers(deps: Deps) -> list[Any]:
    @get("/members")
    async def member_list(request: Ask) -> Response[Any]:
        return await _show_members(request, deps, await _officer_of(request, deps))

    @post("/members")
    async def enter_member(request: Ask) -> Response[Any]:
        officer = await _officer_of(request, deps)
        form = await form_of(request)
        wanted = check(form, MemberForm, _MESSAGES)
        if wanted is not None:
            member = MemberId(deps.instance, wanted.member_class, wanted.member_code)
            try:
                await run(request, members.add_member, deps, member, wanted.name, by=officer.personal_code)
            except (Malformed, Conflict) as error:
                form.error("member_code", error.public or _MESSAGES["member_code"])
        return redirect("/members") if not form.errors else await _show_members(request, deps, officer, form)

    @get("/servers")
    async def server_list(request: Ask) -> Response[Any]:
        await _officer_of(request, deps)
        views = await run(request, members.list_servers, deps)
        shown = [(view, [_certificate(der) for der in view.certificates]) for view in views]
        return await page(request, "central_servers.html", {"servers": shown})

    return [member_list, enter_member, server_list]


async def _show_members(request: Ask, deps: Deps, officer: Officer, form: Form[Any] | None = None) -> Response[Any]:
    context = {
        "members": await run(request, members.list_members, deps),
        "classes": await run(request, members.list_classes, deps),
        "instance": deps.instance,
        "may": _rights(officer),
        "form": form or Form(),
    }
    return await page(request, "central_members.html", context, status=422 if form else 200)


# ------------------------------------------------------------------ groups


def _group_handlers(deps: Deps) -> list[Any]:
    @get("/groups")
    async def group_list(request: Ask) -> Response[Any]:
        return await _show_groups(request, deps, await _officer_of(request, deps))

    @post("/groups")
    async def make_group(request: Ask) -> Response[Any]:
        officer = await _officer_of(request, deps)
        form = await form_of(request)
        wanted = check(form, GroupForm, _MESSAGES)
        if wanted is not None:
            try:
                await run(request, members.add_group, deps, wanted.code, wanted.description, by=officer.personal_code)
            except Refused as error:
                if error.code not in ("central.group_code", "central.built_in"):
                    raise
                form.error("code", error.public or _MESSAGES["code"])
        if form.errors:
            return await _show_groups(request, deps, officer, form)
        return redirect(f"/groups/{form.value('code')}")

    @get("/groups/{code:str}")
    async def one_group(request: Ask, code: FromPath[str]) -> Response[Any]:
        return await _show_group(request, deps, await _officer_of(request, deps), code)

    @post("/groups/{code:str}/add")
    async def join_group(request: Ask, code: FromPath[str]) -> Response[Any]:
        officer = await _officer_of(request, deps)
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
        return redirect(f"/groups/{code}") if not form.errors else await _show_group(request, deps, officer, code, form)

    @post("/groups/{code:str}/remove")
    async def leave_group(request: Ask, code: FromPath[str]) -> Response[Any]:
        officer = await _officer_of(request, deps)
        party = parse_party((await form_of(request)).value("party"))
        await run(request, members.remove_from_group, deps, code, party, by=officer.personal_code)
        return redirect(f"/groups/{code}")

    @post("/groups/{code:str}/delete")
    async def delete_group(request: Ask, code: FromPath[str]) -> Response[Any]:
        officer = await _officer_of(request, deps)
        await run(request, members.remove_group, deps, code, by=officer.personal_code)
        return redirect("/groups")

    return [group_list, make_group, one_group, join_group, leave_group, delete_group]


async def _show_groups(request: Ask, deps: Deps, officer: Officer, form: Form[Any] | None = None) -> Response[Any]:
    context = {
        "groups": await run(request, members.list_groups, deps),
        "may": _rights(officer),
        "form": form or Form(),
    }
    return await page(request, "central_groups.html", context, status=422 if form else 200)


async def _show_group(
    request: Ask, deps: Deps, officer: Officer, code: str, form: Form[Any] | None = None
) -> Response[Any]:
    found = next((one for one in await run(request, members.list_groups, deps) if one.code == code), None)
    if found is None:
        raise NotFound("central.group", "no such group", public=N_("There is no such group."))
    context = {"group": found, "may": _rights(officer), "form": form or Form()}
    return await page(request, "central_group.html", context, status=422 if form else 200)


# ------------------------------------------------------------------ configuration


def _configuration_handlers(deps: Deps, publishing: Publishing) -> list[Any]:
    @get("/configuration")
    async def show_configuration(request: Ask) -> Response[Any]:
        officer = await _officer_of(request, deps)
        anchor = await run(request, configuration.build_present_anchor, deps)
        cas, tsas = await run(request, members.list_trust_services, deps)
        keys = await run(request, configuration.list_keys, deps)
        context = {
            "served": _served(deps, publishing),
            "fingerprint": anchor_fingerprint(anchor),
            "sources": deps.settings.source_urls,
            "keys": [(key, _certificate(key.certificate_der)) for key in keys],
            "key_states": words.KEY_STATES,
            "cas": [(ca, _certificate(ca.certificate_der)) for ca in cas],
            "tsas": [(tsa, _certificate(tsa.certificate_der)) for tsa in tsas],
            "has_new_key": any(key.state is KeyState.PUBLISHED for key in keys),
            "may": _rights(officer),
        }
        return await page(request, "central_configuration.html", context)

    @get("/anchor")
    async def anchor_file(request: Ask) -> Response[Any]:
        await _officer_of(request, deps)
        anchor = await run(request, configuration.build_present_anchor, deps)
        return download(anchor, name=f"configuration_anchor_{deps.instance}.xml", media_type="application/xml")

    @post("/keys")
    async def make_key(request: Ask) -> Response[Any]:
        officer = await _officer_of(request, deps)
        await run(request, configuration.add_signing_key, deps, by=officer.personal_code)
        return redirect("/configuration")

    @post("/keys/{number:int}/activate")
    async def activate_key(request: Ask, number: FromPath[int]) -> Response[Any]:
        officer = await _officer_of(request, deps)
        await run(request, configuration.activate_signing_key, deps, number, by=officer.personal_code)
        return redirect("/configuration")

    @post("/keys/{number:int}/withdraw")
    async def withdraw_key(request: Ask, number: FromPath[int]) -> Response[Any]:
        officer = await _officer_of(request, deps)
        await run(request, configuration.withdraw_signing_key, deps, number, by=officer.personal_code)
        return redirect("/configuration")

    return [show_configuration, anchor_file, make_key, activate_key, withdraw_key]


# ------------------------------------------------------------------ journal


def _journal_handlers(deps: Deps) -> list[Any]:
    @get("/journal")
    async def journal(request: Ask) -> Response[Any]:
        await _officer_of(request, deps)
        lines = await run(request, members.recent_journal, deps)
        return await page(request, "central_journal.html", {"lines": lines, **words.JOURNAL_WORDS})

    return [journal]


# ------------------------------------------------------------------ what pages tell

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
