"""`digiid exchange members|servers|requests|approve|decline|group|trust|officer|anchor`: the central server.

Whoever changes something names the officer in whose name it is done: `--officer CODE`. It may be left out when exactly
one officer has the right.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from digiid.apps.document_cli import DEFAULT_STATE, JsonOption, StateOption, existing_state
from digiid.kernel.errors import Malformed
from digiid.platform.clock import SystemClock
from digiid.platform.command_output import print_json
from digiid.platform.entropy import SystemEntropy

if TYPE_CHECKING:
    from digiid.exchange.central_server.domain import Action, StoredRequest
    from digiid.exchange.central_server.use_cases.deps import Deps

group_app = typer.Typer(no_args_is_help=True, help="Global groups: rights may be given to them.")
trust_app = typer.Typer(no_args_is_help=True, help="Certification and time-stamping authorities that count.")
out = Console(emoji=False)  # or the `:AB:` of a fingerprint would become a picture
OfficerOption = Annotated[
    str | None, typer.Option("--officer", help="Personal code of the officer who decides; needed if there are several.")
]
RequestArgument = Annotated[str, typer.Argument(metavar="ID", help="The request, as `requests` shows it.")]


def list_members(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Every member with its subsystems."""
    from digiid.exchange.central_server.use_cases import members

    with opened_central(state) as deps:
        rows = members.list_members(deps)
    if as_json:
        print_json(
            out,
            [
                {
                    "id": str(row.id),
                    "name": row.name,
                    "subsystems": [{"code": code, "name": name} for code, name in row.subsystems],
                }
                for row in rows
            ],
        )
        return
    if not rows:
        out.print("There are no members yet.")
        return
    table = Table("member", "name", "subsystems")
    for row in rows:
        table.add_row(str(row.id), escape(row.name), ", ".join(code for code, _ in row.subsystems))
    out.print(table)


def list_servers(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Every registered security server, its address, clients and certificates."""
    from hashlib import sha256

    from digiid.exchange.central_server.use_cases import members

    with opened_central(state) as deps:
        views = members.list_servers(deps)
    if as_json:
        print_json(
            out,
            [
                {
                    "id": str(view.server.id),
                    "address": view.server.address,
                    "maintenance": view.server.maintenance,
                    "clients": [{"id": str(client), "enabled": enabled} for client, enabled in view.clients],
                    "authenticationCertificates": [sha256(der).hexdigest() for der in view.certificates],
                }
                for view in views
            ],
        )
        return
    if not views:
        out.print("No security server is registered yet.")
        return
    table = Table("server", "address", "clients", "certificates")
    for view in views:
        clients = "\n".join(f"{client}{'' if enabled else ' (disabled)'}" for client, enabled in view.clients)
        told = escape(view.server.address) + ("" if view.server.maintenance is None else "\nin maintenance")
        table.add_row(str(view.server.id), told, clients, str(len(view.certificates)))
    out.print(table)


def list_requests(
    everything: Annotated[bool, typer.Option("--all", help="Decided ones too.")] = False,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """The requests that wait for a decision: what is asked, and by whom."""
    from digiid.exchange.central_server.use_cases import requests

    with opened_central(state) as deps:
        found = requests.list_requests(deps, only_open=not everything)
    if as_json:
        print_json(out, [_told(one) for one in found])
        return
    if not found:
        out.print("No request waits." if not everything else "No request has come yet.")
        return
    for one in found:
        asked = one.request
        about = f"{asked.client} at {asked.server}" if asked.client else str(asked.server)
        out.print(f"{asked.request_id}  [bold]{one.state.value}[/bold]", highlight=False, soft_wrap=True)
        out.print(f"  {asked.operation.value}: {about}", highlight=False, soft_wrap=True)
        out.print(f"  signed by {', '.join(map(str, one.signers))}", highlight=False, soft_wrap=True)


def approve(
    request_id: RequestArgument,
    officer: OfficerOption = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Approve a registration; it is in the next configuration."""
    from digiid.exchange.central_server.domain import Action
    from digiid.exchange.central_server.use_cases import requests

    with opened_central(state) as deps:
        decided = requests.approve_request(deps, request_id, by=which_officer(deps, officer, Action.DECIDE_REQUESTS))
    _tell_decided(decided, as_json=as_json)


def decline(
    request_id: RequestArgument,
    reason: Annotated[str, typer.Option(help="Why; the sender can read it.")],
    officer: OfficerOption = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Decline a registration, for a reason."""
    from digiid.exchange.central_server.domain import Action
    from digiid.exchange.central_server.use_cases import requests

    with opened_central(state) as deps:
        by = which_officer(deps, officer, Action.DECIDE_REQUESTS)
        decided = requests.decline_request(deps, request_id, reason=reason, by=by)
    _tell_decided(decided, as_json=as_json)


def anchor(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write it to this file.")] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """The anchor for security servers, and its SHA-224 to be compared over another channel."""
    from digiid.exchange.central_server.app import present_anchor

    with opened_central(state) as deps:
        content, fingerprint = present_anchor(deps)
        sources = list(deps.settings.source_urls)
    if output is not None:
        output.write_bytes(content)
    if as_json:
        told: dict[str, Any] = {"sha224": fingerprint, "sources": sources, "anchor": content.decode()}
        print_json(out, told | ({"file": str(output)} if output else {}))
        return
    if output is None:
        out.print(content.decode(), markup=False, highlight=False, soft_wrap=True)
    else:
        out.print(f"[green]Anchor[/green] in {escape(str(output))}", highlight=False)
    out.print(f"SHA-224 {fingerprint}", highlight=False, soft_wrap=True)


# ------------------------------------------------------------------ what this program entered


def list_provisioned(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """What was entered by this program and not by an officer's hand, and what of it somebody has removed.

    The state enters its own members, servers and trust services when its exchange is made, `new-server` those that it
    is told. What was removed is not entered again until it is brought back.
    """
    from digiid.exchange.central_server.use_cases import provisioned

    with opened_central(state) as deps:
        found = provisioned.list_provisioned(deps)
    if as_json:
        print_json(out, [{"item": one.name, "at": one.at.isoformat(), "isThere": one.is_there} for one in found])
        return
    for one in found:
        out.print(f"{'there  ' if one.is_there else '[bold]removed[/bold]'}  {escape(one.name)}", highlight=False)


def bring_back(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="As `provisioned` shows it; in quotation marks.")],
    officer: OfficerOption = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Let what was removed be entered again, and what went with it.

    What is the state's own comes back at its next start, what `new-server` entered when that is called once more.
    """
    from digiid.exchange.central_server.domain import Action
    from digiid.exchange.central_server.use_cases import provisioned

    with opened_central(state) as deps:
        found = provisioned.bring_back(deps, item, by=which_officer(deps, officer, Action.MANAGE_MEMBERS))
    if as_json:
        print_json(out, {"enteredAgain": list(found)})
        return
    text = "Entered again at the next start (`digiid down`, `digiid up`), or by `new-server` what is from there:"
    out.print(text, highlight=False, soft_wrap=True)
    for name in found:
        out.print(f"  {escape(name)}", highlight=False)


# ------------------------------------------------------------------ groups


@group_app.command("list")
def list_groups(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Every global group and who is in it."""
    from digiid.exchange.central_server.use_cases import members

    with opened_central(state) as deps:
        groups = members.list_groups(deps)
    if as_json:
        rows = [
            {
                "code": group.code,
                "description": group.description,
                "builtIn": group.is_built_in,
                "members": [str(party) for party in group.members],
            }
            for group in groups
        ]
        print_json(out, rows)
        return
    table = Table("group", "description", "members")
    for group in groups:
        table.add_row(group.code, escape(group.description), "\n".join(map(str, group.members)))
    out.print(table)


@group_app.command("add")
def add_to_group(
    code: Annotated[str, typer.Argument(metavar="GROUP", help="The group's code; made if it is not there.")],
    party: Annotated[str, typer.Argument(metavar="MEMBER", help="A member or subsystem: EE/GOV/70000101/police.")],
    description: Annotated[str | None, typer.Option(help="What a new group is for.")] = None,
    officer: OfficerOption = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Put a member or subsystem into a group."""
    from digiid.exchange.central_server.domain import Action
    from digiid.exchange.central_server.use_cases import members
    from digiid.kernel.identifiers import parse_party

    joining = parse_party(party)
    with opened_central(state) as deps:
        by = which_officer(deps, officer, Action.MANAGE_GROUPS)
        if code not in {group.code for group in members.list_groups(deps)}:
            members.add_group(deps, code, description or code, by=by)
        members.add_to_group(deps, code, joining, by=by)
    _tell_group(code, party, is_inside=True, as_json=as_json)


@group_app.command("remove")
def remove_from_group(
    code: Annotated[str, typer.Argument(metavar="GROUP", help="The group's code.")],
    party: Annotated[str, typer.Argument(metavar="MEMBER", help="A member or subsystem that is in it.")],
    officer: OfficerOption = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Take a member or subsystem out of a group; what it could do by the group ends."""
    from digiid.exchange.central_server.domain import Action
    from digiid.exchange.central_server.use_cases import members
    from digiid.kernel.identifiers import parse_party

    leaving = parse_party(party)
    with opened_central(state) as deps:
        by = which_officer(deps, officer, Action.MANAGE_GROUPS)
        members.remove_from_group(deps, code, leaving, by=by)
    _tell_group(code, party, is_inside=False, as_json=as_json)


# ------------------------------------------------------------------ officers, trust services


def add_officer(
    personal_code: Annotated[str, typer.Argument(help="Of the person, whose card opens the pages.")],
    name: Annotated[str, typer.Argument(help="The person's name, as the journal will have it.")],
    role: Annotated[
        list[str],
        typer.Option(help="observer, registration_officer, security_officer or system_administrator; may be repeated."),
    ],
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Enter an officer from the machine itself: the first ones, whom nobody else can name."""
    from digiid.exchange.central_server.domain import Role
    from digiid.exchange.central_server.use_cases import officers
    from digiid.formats.personal_code import parse_personal_code

    known = {one.value for one in Role}
    if not set(role) <= known:
        raise typer.BadParameter(f"one of {', '.join(sorted(known))}", param_hint="--role")
    code = parse_personal_code(personal_code).code
    with opened_central(state) as deps:
        officer = officers.enter_first_officer(deps, code, name, frozenset(map(Role, role)))
    if as_json:
        print_json(out, {"personalCode": officer.personal_code, "name": officer.name, "roles": sorted(officer.roles)})
    else:
        out.print(
            f"[green]Officer:[/green] {escape(officer.name)}, {', '.join(sorted(officer.roles))}", highlight=False
        )


@trust_app.command("list")
def list_trust_services(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Whose certificates and time stamps count."""
    from digiid.exchange.central_server.use_cases import members

    with opened_central(state) as deps:
        cas, tsas = members.list_trust_services(deps)
    if as_json:
        print_json(
            out,
            {
                "cas": [{"name": ca.name, "ocsp": list(ca.ocsp_urls)} for ca in cas],
                "tsas": [{"name": tsa.name, "url": tsa.url} for tsa in tsas],
            },
        )
        return
    for ca in cas:
        out.print(f"CA   {escape(ca.name)}  OCSP {', '.join(ca.ocsp_urls) or '–'}", highlight=False, soft_wrap=True)
    for tsa in tsas:
        out.print(f"TSA  {escape(tsa.name)}  {tsa.url}", highlight=False, soft_wrap=True)


@trust_app.command("approve-ca")
def approve_ca(
    name: Annotated[str, typer.Argument(help="What the CA is called here.")],
    certificate: Annotated[Path, typer.Argument(help="Its certificate, PEM or DER.")],
    ocsp: Annotated[list[str], typer.Option(help="The address of a responder; may be repeated.")],
    officer: OfficerOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Certificates of this CA count from the next configuration on."""
    from digiid.exchange.central_server.domain import Action
    from digiid.exchange.central_server.use_cases import members
    from digiid.platform.certificate_files import read_certificate

    with opened_central(state) as deps:
        by = which_officer(deps, officer, Action.MANAGE_TRUST_SERVICES)
        members.approve_ca(deps, name, read_certificate(certificate), ocsp_urls=ocsp, by=by)
    out.print(f"[green]Approved:[/green] {escape(name)}", highlight=False)


@trust_app.command("approve-tsa")
def approve_tsa(
    name: Annotated[str, typer.Argument(help="What the authority is called here.")],
    url: Annotated[str, typer.Argument(help="Where it answers.")],
    certificate: Annotated[Path, typer.Argument(help="Its unit's certificate, PEM or DER.")],
    officer: OfficerOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Time stamps of this authority count from the next configuration on."""
    from digiid.exchange.central_server.domain import Action
    from digiid.exchange.central_server.use_cases import members
    from digiid.platform.certificate_files import read_certificate

    with opened_central(state) as deps:
        by = which_officer(deps, officer, Action.MANAGE_TRUST_SERVICES)
        members.approve_tsa(deps, name, url, read_certificate(certificate), by=by)
    out.print(f"[green]Approved:[/green] {escape(name)}", highlight=False)


@trust_app.command("withdraw")
def withdraw(
    name: Annotated[str, typer.Argument(help="A CA or time-stamping authority, as `list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    officer: OfficerOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Its certificates, or its time stamps, count no more from the next configuration on."""
    from digiid.exchange.central_server.domain import Action
    from digiid.exchange.central_server.use_cases import members

    with opened_central(state) as deps:
        by = which_officer(deps, officer, Action.MANAGE_TRUST_SERVICES)
        is_ca = name in {ca.name for ca in members.list_trust_services(deps)[0]}
        (members.withdraw_ca if is_ca else members.withdraw_tsa)(deps, name, reason=reason, by=by)
    out.print(f"[green]Withdrawn:[/green] {escape(name)}", highlight=False)


# ------------------------------------------------------------------ beside the state


@contextmanager
def opened_central(state: Path) -> "Iterator[Deps]":
    from digiid.apps.central import open_central

    deps = open_central(existing_state(state), clock=SystemClock(), entropy=SystemEntropy())
    try:
        yield deps
    finally:
        deps.db.close()


def which_officer(deps: "Deps", named: str | None, action: "Action") -> str:
    """The officer who was named; the only one who has the right when nobody was."""
    from digiid.exchange.central_server.use_cases import officers

    if named is not None:
        return named
    able = [one for one in officers.list_officers(deps) if one.may(action)]
    if len(able) != 1:
        names = ", ".join(f"{one.name} {one.personal_code}" for one in able) or "nobody"
        raise Malformed(
            "central.which_officer", f"{len(able)} officers may do this", public=f"Name the officer, --officer: {names}"
        )
    return able[0].personal_code


def _told(one: "StoredRequest") -> dict[str, Any]:
    asked = one.request
    return {
        "id": asked.request_id,
        "operation": asked.operation.value,
        "server": str(asked.server),
        "client": str(asked.client) if asked.client else None,
        "address": asked.address,
        "signedBy": [str(signer) for signer in one.signers],
        "receivedAt": one.received_at.isoformat(),
        "state": one.state.value,
        "reason": one.reason,
    }


def _tell_decided(one: "StoredRequest", *, as_json: bool) -> None:
    if as_json:
        print_json(out, _told(one))
    else:
        out.print(f"[green]{one.state.value}:[/green] {one.request.operation.value} {one.request.server}")


def _tell_group(code: str, party: str, *, is_inside: bool, as_json: bool) -> None:
    if as_json:
        print_json(out, {"group": code, "member": party, "inside": is_inside})
    else:
        told = "is in" if is_inside else "is no longer in"
        out.print(f"{escape(party)} [green]{told}[/green] {escape(code)}", highlight=False)
