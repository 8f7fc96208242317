"""`digiid`: the command line. Every command imports its room only when it runs, so that `digiid --help` is quick.

Exit codes: 0 done or valid; 1 refused or not valid; 2 usage, unreadable input or no trust anchors.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from digiid.apps import document_cli, encryption_cli, signing_cli
from digiid.apps.card_cli import card_app
from digiid.apps.counted import counted
from digiid.apps.exchange_cli import exchange_app
from digiid.apps.journal_cli import journal_app
from digiid.apps.outbox_cli import outbox_app
from digiid.apps.provider_cli import client_app, seal_app
from digiid.apps.trusted_list_cli import tl_app
from digiid.kernel.errors import Conflict, DigiidError, Unavailable

if TYPE_CHECKING:
    from digiid.apps.state import StateFolder, StateSettings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
config_app = typer.Typer(no_args_is_help=True, help="Settings of a state.")
app.add_typer(card_app, name="card")
app.add_typer(config_app, name="config")
app.add_typer(tl_app, name="tl")
app.add_typer(seal_app, name="seal")
app.add_typer(client_app, name="signing-client")
app.add_typer(exchange_app, name="exchange")
app.add_typer(journal_app, name="journal")
app.add_typer(outbox_app, name="outbox")
_COMMANDS: dict[str, Callable[..., None]] = {
    "sign": signing_cli.sign,
    "verify": document_cli.verify,
    "extend": signing_cli.extend,
    "timestamp": document_cli.timestamp,
    "extract": document_cli.extract,
    "remove-signature": signing_cli.remove_signature,
    "encrypt": encryption_cli.encrypt,
    "decrypt": encryption_cli.decrypt,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)

out = Console()
err = Console(stderr=True)

StateOption = Annotated[Path, typer.Option("--state", help="The folder of the state.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database",
        metavar="URL",
        help="A new state keeps its data in PostgreSQL: postgresql+psycopg://USER@HOST/{institution}.",
    ),
]
DEFAULT_STATE = Path("var")
_FIRST_PORT = 8800


def main() -> None:
    """Run the command line; the one table from error kind to exit code."""
    try:
        app()
    except DigiidError as error:
        from digiid.platform.command_output import exit_code_of

        err.print(f"[red]{escape(error.public or error.detail)}[/red] [dim]({error.code})[/dim]", highlight=False)
        sys.exit(exit_code_of(error))
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        err.print("Stopped.")
        sys.exit(130)


@app.command()
def up(
    state: StateOption = DEFAULT_STATE,
    port: Annotated[
        int | None,
        typer.Option(
            help=f"First port of a new state, {_FIRST_PORT} when left out; it uses this one and some after it."
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="A new state serves https, as the real Web eID needs.")] = False,
    database: DatabaseOption = "",
) -> None:
    """Start the e-state in the background, wait until it is ready and say what to try."""
    from digiid.apps import background, welcome
    from digiid.apps.state import StateFolder, StatePorts

    folder = StateFolder(state.resolve())
    is_new = not folder.exists
    if is_new:
        first = StatePorts.from_first(_FIRST_PORT if port is None else port)
        folder.create(first, tls=tls, database_url=database)
    settings = folder.load()
    if is_new and settings.database.url:
        _check_databases(folder, settings)
    _check_wanted(folder, settings, port=port, tls=tls, database=database)
    if background.is_serving(folder):
        out.print(f"digiid is already running ({folder.path}).")
    else:
        with out.status("Starting the e-state … (the first start makes keys, certificates and test cards)"):
            _start(folder, settings, is_new=is_new)
    out.print(welcome.text(folder, settings))


def _check_wanted(
    folder: "StateFolder", settings: "StateSettings", *, port: int | None, tls: bool, database: str
) -> None:
    """Ports and TLS are chosen once, since certificates name the addresses; data does not move by itself.

    Raises: Conflict `state.fixed`.
    """
    instead = "start it without the option, or start a new state in another folder with --state"
    if port is not None and port != settings.port:
        raise Conflict("state.fixed", f"the state in {folder.path} keeps to its first port {settings.port}; {instead}")
    if tls and not settings.tls:
        raise Conflict("state.fixed", f"the state in {folder.path} was made without --tls; {instead}")
    if database and database != settings.database.url:
        raise Conflict("state.fixed", f"the state in {folder.path} has its data elsewhere; {instead}")


def _start(folder: "StateFolder", settings: "StateSettings", *, is_new: bool) -> None:
    """A new state whose ports are taken leaves nothing behind, so that `up --port` can choose others."""
    from digiid.apps import background

    try:
        background.start(folder, settings)
    except Conflict:
        if is_new:
            folder.settings_file.unlink()
        raise


def _check_databases(folder: "StateFolder", settings: "StateSettings") -> None:
    """Of a new state, before anything is made in them. Raises: Unavailable `state.database…`."""
    from digiid.apps.databases import check_databases

    try:
        check_databases(settings)
    except Unavailable:
        folder.settings_file.unlink()
        raise


@app.command()
def down(state: StateOption = DEFAULT_STATE) -> None:
    """Stop the e-state. What it knows stays."""
    from digiid.apps import background
    from digiid.apps.state import StateFolder

    stopped = background.stop(StateFolder(state.resolve()))
    out.print("Stopped." if stopped else "It was not running.")


@app.command()
def reset(state: StateOption = DEFAULT_STATE) -> None:
    """Stop the e-state and forget everything it knew."""
    from digiid.apps import background
    from digiid.apps.state import StateFolder

    folder = StateFolder(state.resolve())
    background.stop(folder)
    background.forget(folder)
    out.print("Everything is forgotten; the next `up` starts a new state.")


@app.command()
def status(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Is the e-state running, and how is each institution?"""
    from digiid.apps import background, welcome
    from digiid.apps.state import StateFolder

    folder = StateFolder(state.resolve())
    running = folder.exists and background.is_serving(folder)
    settings = folder.load() if running else None
    health = welcome.fetch_health(settings) if settings else {}
    servers = welcome.fetch_server_health(settings) if settings else {}
    if as_json:
        told = {"running": running, "state": str(folder.path), "institutions": health, "security_servers": servers}
        sys.stdout.write(json.dumps(told) + "\n")
    elif running:
        out.print(welcome.health_table(health | servers))
    else:
        out.print("Not running. `digiid up` starts it.")
    healthy = running and all(entry.get("status") == "ok" for entry in (health | servers).values())
    raise typer.Exit(0 if healthy else 1)


@app.command()
def tour(
    state: Annotated[
        Path | None, typer.Option("--state", help="An empty folder to keep; a temporary one otherwise.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every step and check to this file.")] = None,
    pace: Annotated[str, typer.Option(help="`slow` waits for you to read.")] = "quick",
    database: DatabaseOption = "",
) -> None:
    """The whole story in this terminal: a person abroad becomes an e-resident, signs in, signs, loses the card."""
    from digiid.apps.tour import run_tour

    if pace not in ("quick", "slow"):
        raise typer.BadParameter("quick or slow", param_hint="--pace")
    raise typer.Exit(run_tour(state, json_file=json_file, slow=pace == "slow", database_url=database))


@app.command()
def agent(
    state: StateOption = DEFAULT_STATE, port: Annotated[int, typer.Option(help="Its loopback port.")] = 8802
) -> None:
    """The card agent alone, for cards in readers and on the shelf; a running state brings its own."""
    from digiid.apps.serving import Listener, ServerGroup
    from digiid.devices.agent.app import AgentSettings, build_agent
    from digiid.devices.reader_socket import open_source
    from digiid.platform.clock import SystemClock
    from digiid.platform.entropy import SystemEntropy

    folder = state.resolve()
    (folder / "cards").mkdir(parents=True, exist_ok=True, mode=0o700)
    source = open_source(folder, SystemEntropy())
    settings = AgentSettings(folder=folder, origin=f"http://127.0.0.1:{port}")
    out.print(f"The card agent answers at {settings.origin}. Ctrl-C stops it.")
    try:
        ServerGroup([Listener(build_agent(source, SystemClock(), SystemEntropy(), settings), port)]).run()
    finally:
        source.close()


@app.command()
def backup(file: Path, state: StateOption = DEFAULT_STATE) -> None:
    """Write everything a state knows, its keys too, into one file (mode 0600: whoever has it has the state)."""
    from digiid.apps.backup import write_backup
    from digiid.apps.state import StateFolder

    with out.status("Copying …"):
        summary = write_backup(StateFolder(state.resolve()), file)
    out.print(f"{counted(summary.files, 'file')}, {counted(summary.size_bytes, 'byte')} in {file}.")
    out.print("It holds the state's keys: keep it as you keep them.")


@app.command()
def restore(file: Path, state: StateOption = DEFAULT_STATE) -> None:
    """Bring a state back from a backup into an empty folder."""
    from digiid.apps.backup import read_backup
    from digiid.apps.state import StateFolder

    folder = StateFolder(state.resolve())
    with out.status("Restoring …"):
        summary = read_backup(file, folder)
    out.print(f"{counted(summary.files, 'file')} restored to {folder.path}. `digiid up --state {state}` starts it.")


@config_app.command("databases")
def config_databases() -> None:
    """The databases of a state on PostgreSQL, a name a line: each institution has its own."""
    from digiid.apps.databases import NAMES

    for name in NAMES:
        out.print(name, highlight=False)


@config_app.command("check")
def config_check(
    file: Annotated[
        Path | None,
        typer.Argument(help="Of a state, of a security server, or its clients and rights; else the state's own."),
    ] = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Read a settings file and say what is wrong with it, without starting anything."""
    from digiid.apps.config_check import check_file
    from digiid.apps.state import StateFolder

    target = file or StateFolder(state.resolve()).settings_file
    out.print(f"{target}: no error. {check_file(target)}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
