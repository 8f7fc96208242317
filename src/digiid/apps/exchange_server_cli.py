"""`digiid exchange new-server|serve`: a security server of one's own, registered beside a state and run in a terminal.

What `new-server` does is what a real operator does, in one step: keys and certificates of the state's CA, requests with
every proof, the approval of a named officer, the anchor, and the two files that the server is run with.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from digiid.apps.document_cli import DEFAULT_STATE, JsonOption, StateOption, existing_state
from digiid.apps.exchange_registry_cli import OfficerOption, opened_central, which_officer
from digiid.kernel.errors import Conflict, Refused
from digiid.kernel.identifiers import ClientId, MemberId, ServerId, parse_client_id, parse_member_id, parse_server_id
from digiid.platform.command_output import print_json
from digiid.platform.entropy import SystemEntropy

if TYPE_CHECKING:
    from digiid.apps.security_servers import Listeners
    from digiid.apps.state import StateFolder
    from digiid.exchange.central_server.registering import Plan, ProvisionedServer
    from digiid.exchange.central_server.use_cases.deps import Deps

out = Console(emoji=False)
_FIRST_PORT = 5520


def new_server(
    server: Annotated[str, typer.Argument(help="Instance/class/owner's code/server's code.")],
    client: Annotated[list[str], typer.Option(help="A subsystem that it serves, with all four parts. Repeat.")],
    folder: Annotated[Path, typer.Option("-d", "--directory", help="Where keys and settings go.")],
    member: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=NAME", help="What a member is called that the exchange does not know yet. Repeat."),
    ] = None,
    host: Annotated[str, typer.Option(help="Where other servers reach it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Messages of other servers; OCSP responses 77 above.")] = _FIRST_PORT,
    http_port: Annotated[int, typer.Option(help="Its own information systems, plain HTTP, on this machine.")] = 8480,
    health_port: Annotated[int, typer.Option(help="Health, status and metrics.")] = 8482,
    officer: OfficerOption = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Register a security server with its clients, and write what it is run with, into a folder of its code.

    The officer who is named enters the members and approves the registrations. What is there already stays; what was
    interrupted goes on when it is called again.
    """
    from digiid.apps.security_servers import Listeners
    from digiid.exchange.central_server.domain import Action

    server_id, clients = parse_server_id(server), tuple(map(parse_client_id, client))
    named = _names(member or ())
    found = existing_state(state)
    with opened_central(state) as deps:
        plan = _plan(deps, server_id, clients, named, address=f"{host}:{port}")
        by = which_officer(deps, officer, Action.DECIDE_REQUESTS)
        made = _register(found, deps, plan, folder=folder, officer=by)
    listeners = Listeners(host=host, message_port=port, http_port=http_port, https_port=0, health_port=health_port)
    settings, rights = _write(found, made, clients, listeners)
    if as_json:
        print_json(out, {"server": server, "settings": str(settings), "localConf": str(rights), "approvedBy": by})
        return
    out.print(f"Registered: {server}, messages at {host}:{port}", highlight=False, markup=False)
    out.print(f"  Clients, services and rights: {rights}", highlight=False, markup=False, soft_wrap=True)
    out.print(f"  Start it: digiid exchange serve {settings}", highlight=False, markup=False, soft_wrap=True)
    out.print("  Other servers know it within two minutes, and refuse its messages until then.", highlight=False)


def serve(
    settings: Annotated[Path, typer.Argument(help="The server's settings, server.toml.")],
) -> None:
    """Run a security server in this terminal until Ctrl+C or SIGTERM; SIGHUP fetches the configuration at once."""
    from digiid.apps.security_server import main

    raise typer.Exit(main([str(settings)]))


# ------------------------------------------------------------------ registering


def _names(given: Sequence[str]) -> dict[MemberId, str]:
    names = {}
    for text in given:
        identifier, is_named, name = text.partition("=")
        if not is_named or not name.strip():
            raise typer.BadParameter("ID=NAME, as in EE/COM/10000299=Library", param_hint="--member")
        names[parse_member_id(identifier)] = name.strip()
    return names


def _plan(
    deps: "Deps", server: ServerId, clients: tuple[ClientId, ...], named: Mapping[MemberId, str], *, address: str
) -> "Plan":
    """Raises: Conflict `central.server_code`, another server has the code."""
    from digiid.exchange.central_server.registering import CLASS_NAMES, Plan, PlannedServer
    from digiid.exchange.central_server.use_cases import members

    # an order of certificates is named by the server's code alone
    for view in members.list_servers(deps):
        if view.server.id.server_code == server.server_code and view.server.id != server:
            raise Conflict("central.server_code", f"{view.server.id} has that server code; choose another one")
    names = {row.id: row.name for row in members.list_members(deps)} | dict(named)
    wanted = dict.fromkeys((server.owner, *(client.member for client in clients)))
    for member in wanted:
        if member not in names:
            raise typer.BadParameter(f"the exchange does not know {member} yet: --member {member}=NAME")
    return Plan(
        classes={each.member_class: CLASS_NAMES.get(each.member_class, each.member_class) for each in wanted},
        names={each: names[each] for each in wanted},
        servers=(PlannedServer(server, address, clients),),
    )


def _register(found: "StateFolder", deps: "Deps", plan: "Plan", *, folder: Path, officer: str) -> "ProvisionedServer":
    from digiid.apps.central import Authority
    from digiid.apps.provider_cli import open_unit, trust_settings
    from digiid.exchange.central_server.registering import provision
    from digiid.exchange.central_server.use_cases import members
    from digiid.institutions.trust_services.hierarchy import load_hierarchy

    hierarchy = load_hierarchy(found.path / "hierarchy")
    authority = Authority(deps, hierarchy, trust_settings(found), lambda unit: open_unit(found, unit))
    (made,) = provision(
        deps, plan, folder=folder, certify=authority.certify, fetch_ocsp=authority.fetch_ocsp, officer=officer
    )
    # what an officer removed is not entered again behind their back
    registered = {view.server.id: {client for client, _ in view.clients} for view in members.list_servers(deps)}
    missing = [str(client) for client in plan.servers[0].clients if client not in registered.get(made.id, set())]
    if missing:
        text = f"An officer has removed {', '.join(missing)} at {made.id}: choose others, or another server's code. "
        text += "An officer may let them be entered again: `digiid exchange provisioned`, `digiid exchange bring-back`."
        raise Refused("central.stays_removed", f"{made.id}: {', '.join(missing)}", public=text)
    return made


def _write(
    found: "StateFolder", made: "ProvisionedServer", clients: Sequence[ClientId], listeners: "Listeners"
) -> tuple[Path, Path]:
    """The server's settings and its local configuration. Files that are there belong to who runs the server."""
    from digiid.apps.security_servers import make_archive_key, server_settings_text
    from digiid.apps.state import write_new
    from digiid.exchange.security_server.local_conf import build_local_conf, write_local_conf

    own = made.folder.resolve()
    settings, rights, key = own / "server.toml", own / "local.toml", own / "message-log-archives"
    if not rights.exists():
        write_local_conf(rights, build_local_conf(dict.fromkeys(clients, ()), mode="NOSSL"))
    if not settings.exists():
        make_archive_key(key, SystemEntropy())
        text = server_settings_text(
            made,
            folder=own,
            database=f"sqlite:///{own / 'messages.sqlite'}",
            local_conf=rights,
            listeners=listeners,
            tsa_url=f"{found.load().base_url}/tsa",
            archive_key=key,
            log_file=own / "server.log",
        )
        write_new(settings, ("# A security server: docs/how-to/run-a-security-server.md\n" + text).encode(), 0o600)
    return settings, rights
