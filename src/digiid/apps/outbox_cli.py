"""`digiid outbox list|send-again|give-up`: messages between institutions that their receiver refused."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from digiid.apps.counted import counted
from digiid.kernel.errors import Malformed, NotFound

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

    from digiid.apps.state import StateFolder
    from digiid.platform.outbox import UndeliveredMessage

    Change = Callable[[Connection, Table, int, datetime], bool]

outbox_app = typer.Typer(
    no_args_is_help=True, help="Messages of the institutions that their receiver refused, and what becomes of them."
)
out = Console()
UNITS: Final = (
    "bank",
    "business_register",
    "card_bureau",
    "central_server",
    "consents",
    "information_authority",
    "police_board",
    "population_register",
)
"""The databases with an outbox and a journal."""
_MAX_REASON: Final = 500
_OVERDUE_AFTER: Final = timedelta(minutes=10)

StateOption = Annotated[Path, typer.Option("--state", help="The folder of the state.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
UnitArgument = Annotated[str, typer.Argument(help="Whose message it is, as `list` names it.")]
PositionArgument = Annotated[int, typer.Argument(help="Its number there, as `list` tells it.", min=1, max=2**31 - 1)]


@outbox_app.command("list")
def list_undelivered(state: StateOption = Path("var"), as_json: JsonOption = False) -> None:
    """What was refused and waits for a person, with the receiver's answer; never what the message says.

    Besides, what was tried and still waits after ten minutes: it is tried on, every five minutes, until the receiver
    answers. Exit codes: 0 nothing was refused; 1 something was; 2 there is no such state.
    """
    from digiid.platform.command_output import print_json

    folder = _folder(state)
    found = [told for unit in UNITS for told in _undelivered(folder, unit)]
    refused = [told for told in found if told["state"] == "refused"]
    if as_json:
        print_json(out, found)
    else:
        _print(refused, [told for told in found if told["state"] == "waiting"])
    raise typer.Exit(1 if refused else 0)


@outbox_app.command("send-again")
def send_again(unit: UnitArgument, position: PositionArgument, state: StateOption = Path("var")) -> None:
    """Send a refused message once more, when what it was refused for is mended. Receivers know a repeat."""
    from digiid.platform.outbox import release_refused

    _act(state, unit, position, release_refused, kind="outbox.sent_again")
    out.print(f"Message {position} of {unit} is sent again in a moment.", highlight=False)


@outbox_app.command("give-up")
def give_up(
    unit: UnitArgument,
    position: PositionArgument,
    because: Annotated[str, typer.Option("--because", help="Why; it goes into the journal.")],
    state: StateOption = Path("var"),
) -> None:
    """Leave a refused message unsent for good: its content is removed, and the journal tells which it was."""
    from digiid.platform.outbox import give_up_refused

    reason = because.strip()
    if not 3 <= len(reason) <= _MAX_REASON:
        raise Malformed("outbox.reason", f"--because: say why, in 3 to {_MAX_REASON} characters")

    _act(state, unit, position, give_up_refused, kind="outbox.given_up", because=reason)
    out.print(f"Message {position} of {unit} will not be sent.", highlight=False)


def _folder(state: Path) -> "StateFolder":
    from digiid.apps.state import StateFolder

    folder = StateFolder(state)
    if not folder.exists:
        raise NotFound("outbox.no_state", f"there is no state in {state}")
    return folder


def _table() -> "Table":
    from sqlalchemy import MetaData

    from digiid.platform.outbox import outbox_table

    return outbox_table(MetaData())


def _undelivered(folder: "StateFolder", unit: str) -> list[dict[str, Any]]:
    from digiid.apps.journals import opened
    from digiid.platform.clock import SystemClock
    from digiid.platform.outbox import find_overdue, find_refused

    with opened(folder, unit) as db, db.read() as tx:
        refused = find_refused(tx, _table())
        overdue = find_overdue(tx, _table(), put_before=SystemClock().now() - _OVERDUE_AFTER)
    return [
        *(_described(unit, message, "refused") for message in refused),
        *(_described(unit, message, "waiting") for message in overdue),
    ]


def _act(state: Path, unit: str, position: int, change: "Change", *, kind: str, **reason: str) -> None:
    """Change a refused message and record it in the journal, in one transaction."""
    from sqlalchemy import MetaData

    from digiid.apps.journals import opened
    from digiid.platform.clock import SystemClock
    from digiid.platform.journal import JsonValue, journal_table, record
    from digiid.platform.outbox import get_refused

    if unit not in UNITS:
        raise Malformed("outbox.unit", f"{unit}: outboxes are {', '.join(UNITS)}")
    now = SystemClock().now()

    def work() -> None:
        with db.write() as tx:
            message = get_refused(tx, _table(), position)
            if message is None or not change(tx, _table(), position, now):
                raise NotFound(
                    "outbox.not_refused", f"no message {position} of {unit} is refused; see `digiid outbox list`"
                )
            what: dict[str, JsonValue] = {"kind": message.kind, "message_id": message.message_id}
            payload: dict[str, JsonValue] = {"position": position, **what, "by": "operator", **reason}
            record(tx, journal_table(MetaData()), kind=kind, payload=payload, at=now)

    with opened(_folder(state), unit) as db:
        db.retry(work)


def _described(unit: str, message: "UndeliveredMessage", state: str) -> dict[str, Any]:
    return {
        "unit": unit,
        "position": message.position,
        "state": state,
        "message_id": message.message_id,
        "kind": message.kind,
        "code": (message.last_error or "").partition(":")[0],
        "attempts": message.attempts,
        "created_at": message.created_at.isoformat(timespec="seconds"),
    }


def _print(refused: list[dict[str, Any]], overdue: list[dict[str, Any]]) -> None:
    if refused:
        _say(f"[red]✗[/red] {counted(len(refused), 'message')} refused by the receiver:")
        for told in refused:
            _say(_line(told))
        _say(
            "Mend what it was refused for, then `digiid outbox send-again UNIT NUMBER`; or `digiid outbox give-up`. "
            "What a code means stands in docs/error-codes.md."
        )
    else:
        _say("[green]✓[/green] No message was refused by its receiver.")
    if overdue:
        _say(f"{counted(len(overdue), 'message')} not taken yet, and tried on:")
        for told in overdue:
            _say(f"{_line(told)}, tried {counted(told['attempts'], 'time')}")


def _line(told: dict[str, Any]) -> str:
    what = f"{escape(told['kind'])}: {escape(told['code'])}"
    since = f"[dim]since {told['created_at']}, id {escape(told['message_id'])}[/dim]"
    return f"  [bold]{told['unit']} {told['position']}[/bold]  {what}  {since}"


def _say(line: str) -> None:
    out.print(line, highlight=False, soft_wrap=True)
