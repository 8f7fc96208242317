"""`digiid exchange status` and `digiid exchange maintenance`: how the security servers stand, in a terminal."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from digiid.apps.document_cli import DEFAULT_STATE, JsonOption, StateOption
from digiid.kernel.errors import DigiidError
from digiid.platform.command_output import print_json

out = Console()
err = Console(stderr=True)

STATUS_ADDRESSES = Path("exchange", "status-addresses.json")  # in a state's folder
_COLOURS = {"ok": "green", "warning": "yellow", "stopped": "red"}
_BAR = 16
_BARS_FROM = 100  # columns of the terminal


def status(
    state: StateOption = DEFAULT_STATE,
    server: Annotated[
        list[str] | None, typer.Option("--server", help="ID=URL of a server's /status, instead of the state's servers.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Every clock that can stop the exchange, at every security server, the next to stop first.

    Exit code 1 when something has stopped or a server does not answer, 2 when no server is known.
    """
    from digiid.exchange.security_server.status import StatusAddress, ask_servers, read_status_addresses

    if server:
        pairs = [each.partition("=") for each in server]
        if not all(equals and url.startswith(("http://", "https://")) for _, equals, url in pairs):
            raise typer.BadParameter("ID=URL, the URL beginning with http", param_hint="--server")
        addresses: Sequence[StatusAddress] = [StatusAddress(name, url) for name, _, url in pairs]
    else:
        addresses = read_status_addresses(state.resolve() / STATUS_ADDRESSES)
    if not addresses:
        err.print(f"No security server is known in {escape(str(state))}; `digiid up` starts them.", highlight=False)
        raise typer.Exit(2)
    asked = ask_servers(addresses)
    if as_json:
        print_json(out, _json(asked))
    else:
        _print(asked)
    raise typer.Exit(1 if any(each.state.value == "stopped" for each in asked) else 0)


def _json(asked: Sequence[Any]) -> dict[str, Any]:
    from digiid.exchange.security_server.clocks import worst_state
    from digiid.exchange.security_server.status import status_json

    servers = [
        {"server": each.address.server, "state": "stopped", "problem": each.problem, "clocks": []}
        if each.status is None
        else {"problem": None, **status_json(each.status)}
        for each in asked
    ]
    return {"state": worst_state(each.state for each in asked).value, "servers": servers}


def _print(asked: Sequence[Any]) -> None:
    from digiid.exchange.security_server.status import all_clocks

    # The bars say again what `left` says: in a narrow terminal the room is for the names.
    has_bars = out.width >= _BARS_FROM
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("state", "clock", "left", *([""] if has_bars else []), "server"):
        table.add_column(heading, overflow="fold")
    for each in asked:
        if each.status is None:
            empty = [""] * (2 if has_bars else 1)
            table.add_row("[red]stopped[/red]", "does not answer", *empty, escape(each.address.server))
    shown = all_clocks(asked)
    for row in shown:
        clock = row.clock
        colour = _COLOURS[clock.state.value]
        name = f"{row.meaning.title}" + (f" [dim]{escape(clock.subject)}[/dim]" if clock.subject else "")
        left = "" if clock.left is None else format_left(clock.left)
        bar = "" if row.share is None else f"[{colour}]{'█' * round(row.share * _BAR):<{_BAR}}[/{colour}]"
        bars = [bar] if has_bars else []
        table.add_row(f"[{colour}]{clock.state.value}[/{colour}]", name, left, *bars, escape(row.server))
    out.print(table)
    for line in _advice(asked, shown):
        out.print(line, highlight=False)


def _advice(asked: Sequence[Any], shown: Sequence[Any]) -> Iterator[str]:
    for each in asked:
        if each.status is None:
            yield f"\n[bold]{escape(each.address.server)}[/bold] does not answer: {escape(each.problem)}"
            yield f"  See that its process runs, and that this machine reaches {escape(each.address.url)}."
    for row in shown:
        if row.clock.state.value != "ok":
            detail = f" ({escape(row.clock.detail)})" if row.clock.detail else ""
            yield f"\n[bold]{row.meaning.title}[/bold] {escape(row.clock.subject)} at {escape(row.server)}{detail}"
            yield f"  {row.meaning.consequence}"
            yield f"  [bold]What to do:[/bold] {row.meaning.remedy}"


def format_left(left: timedelta) -> str:
    """`2 d 3 h`, `4 min 10 s`, `0 s`."""
    from digiid.exchange.status_site.site import split_time

    return " ".join(f"{number} {unit}" for number, unit in split_time(left))


def maintenance(
    switch: Annotated[Literal["on", "off"], typer.Argument(help="Whether messages are refused.")],
    settings: Annotated[Path, typer.Argument(help="The server's settings file.")],
    message: Annotated[str, typer.Option(help="What callers are told: until when, why. 200 characters.")] = "",
    announces: Annotated[
        bool, typer.Option("--announce/--no-announce", help="Tell the central server, so that others know beforehand.")
    ] = True,
) -> None:
    """Begin or end maintenance of one security server, from its next message on, and announce it.

    Others then use another server of the same client. Exit code 1 when the announcement failed: the switch holds.
    """
    from digiid.exchange.security_server.announcing import announce_maintenance
    from digiid.exchange.security_server.maintenance import MAINTENANCE_FILE, MaintenanceSwitch
    from digiid.exchange.security_server.settings import load_security_server_settings
    from digiid.platform.clock import SystemClock
    from digiid.platform.entropy import SystemEntropy
    from digiid.platform.http import HttpClient

    found = load_security_server_settings(settings)
    file = MaintenanceSwitch(found.folder / MAINTENANCE_FILE)
    if switch == "on":
        file.turn_on(message)
        out.print(f"{found.server} is in maintenance: {escape(file.message() or 'no message')}", highlight=False)
    else:
        file.turn_off()
        out.print(f"{found.server} answers messages.", highlight=False)
    if not announces:
        return
    http = HttpClient()
    try:
        announce_maintenance(
            found,
            is_beginning=switch == "on",
            message=file.message() or "",
            http=http,
            clock=SystemClock(),
            entropy=SystemEntropy(),
        )
    except DigiidError as error:
        err.print(f"[red]Not announced:[/red] {escape(error.detail)}  [dim]({error.code})[/dim]", highlight=False)
        raise typer.Exit(1) from error
    finally:
        http.close()
    out.print("The next global configuration says so.")
