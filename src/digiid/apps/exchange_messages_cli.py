"""`digiid exchange messages|archive`: which requests have no answer, by a message log, what became of a single one, and
an archive at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from digiid.apps.counted import counted
from digiid.apps.document_cli import JsonOption
from digiid.kernel.errors import DigiidError, Malformed, Unavailable
from digiid.platform.command_output import EXIT_UNREADABLE, print_error, print_json

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from digiid.exchange.message_log import LoggedMessage
    from digiid.exchange.message_log.database import LogDatabase
    from digiid.exchange.message_log.store import Unanswered

out = Console(emoji=False)  # or the `:AB:` of an identifier would become a picture
err = Console(stderr=True)

_MAX_SHOWN = 1000
_UNDER_WAY = timedelta(minutes=2)  # a message is answered or given up by then


def messages(
    settings: Annotated[Path, typer.Argument(help="The security server's settings file.")],
    message_id: Annotated[str | None, typer.Argument(help="One message, by its X-Road-Id.")] = None,
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 3650, help="How far to look back.")] = 24.0,
    as_json: JsonOption = False,
) -> None:
    """The requests to which no response was logged: the provider may have acted, and who asked does not know it.

    With a message id: everything that was logged of that message. It works while the server runs, and while it is
    down. Exit codes: 0 every request has its response; 1 some have none, or there is no such message; 2 no log.
    """
    from digiid.exchange.message_log import store
    from digiid.platform.clock import SystemClock

    now = SystemClock().now()
    try:
        with _reading(settings) as tx:
            if message_id is not None:
                found = store.find_messages(tx, message_id, party=None, is_response=None, limit=_MAX_SHOWN)
                stamped = store.find_stamped_through(tx)
            else:
                waiting = store.find_unanswered(tx, since=now - timedelta(hours=hours), limit=_MAX_SHOWN)
    except DigiidError as error:
        print_error(error, out if as_json else err, as_json=as_json)
        raise typer.Exit(EXIT_UNREADABLE) from None
    if message_id is not None:
        _show_message(message_id, found, stamped, as_json=as_json)
        answered = {(each.party, each.request_id) for each in found if each.is_response}
        is_complete = bool(found) and all((each.party, each.request_id) in answered for each in found)
        raise typer.Exit(0 if is_complete else 1)
    lost = [each for each in waiting if now - each.at >= _UNDER_WAY]
    if as_json:
        print_json(out, [{**_unanswered_json(each), "mayBeUnderWay": each not in lost} for each in waiting])
    else:
        _show_unanswered(waiting, lost)
    raise typer.Exit(1 if lost else 0)


def archive(
    settings: Annotated[Path, typer.Argument(help="The security server's settings file.")],
    as_json: JsonOption = False,
) -> None:
    """Put every time-stamped message that is in no archive yet into one, now and not at the next interval.

    It works while the server runs, and while it is down. Exit codes: 0 every message is in an archive; 1 some have no
    time stamp yet, which a server that runs gets for them within a minute; 2 no log, or no archives by its settings.
    """
    from digiid.exchange.message_log import store
    from digiid.exchange.message_log.archiving import Archiver
    from digiid.exchange.security_server.settings import load_security_server_settings
    from digiid.platform.clock import SystemClock
    from digiid.platform.entropy import SystemEntropy

    try:
        told = load_security_server_settings(settings)
        where = told.message_log.archive
        if where is None:
            raise Malformed("config.invalid", f"{settings}: no [message_log.archive]")
        with _opened(told.database) as log:
            written = Archiver(log, where, SystemClock(), SystemEntropy()).archive()
            with log.read() as tx:
                left = store.count_records(tx, after=store.find_stamped_through(tx))
    except DigiidError as error:
        print_error(error, out if as_json else err, as_json=as_json)
        raise typer.Exit(EXIT_UNREADABLE) from None
    if as_json:
        print_json(out, {"written": written, "folder": str(where.folder), "withoutTimeStamp": left})
    else:
        text = f"Written to {where.folder}: {counted(written, 'archive')}."
        out.print(text, highlight=False, markup=False, soft_wrap=True)
        if left:
            text = (
                f"Not archived, having no time stamp yet: {counted(left, 'message')}. The server gets one each minute."
            )
            out.print(text, highlight=False, soft_wrap=True)
    raise typer.Exit(1 if left else 0)


@contextmanager
def _reading(settings: Path) -> "Iterator[Connection]":
    from digiid.exchange.security_server.settings import load_security_server_settings

    with _opened(load_security_server_settings(settings).database) as log, log.read() as tx:
        yield tx


@contextmanager
def _opened(database: str) -> "Iterator[LogDatabase]":
    from sqlalchemy import make_url

    from digiid.exchange.message_log.database import LogDatabase
    from digiid.platform.db import Database

    url = make_url(database)
    is_file = url.get_backend_name() == "sqlite" and url.database
    if is_file and not Path(str(url.database)).exists():
        raise Unavailable("exchange.logging_failed", f"the log's file {url.database} is not there")
    log = LogDatabase(Database.sqlite(Path(str(url.database))) if is_file else Database(database))
    try:
        yield log
    finally:
        log.close()


def _table(*headings: str) -> Table:
    """Nothing is cut off in a narrow terminal, and a message id stays in one piece: it is given to the next command."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == "message id")
    return table


# ------------------------------------------------------------------ one message


def _show_message(message_id: str, found: "Sequence[LoggedMessage]", stamped: int, *, as_json: bool) -> None:
    if as_json:
        print_json(out, [_message_json(each, stamped) for each in found])
        return
    if not found:
        err.print(f"Nothing is logged of {escape(message_id)}.", highlight=False)
        return
    table = _table("logged", "what", "of", "client", "service", "time stamp")
    for each in found:
        time_stamp = "yes" if each.number <= stamped else "not yet"
        table.add_row(
            f"{each.at:%Y-%m-%d %H:%M:%S}",
            each.direction,
            *map(escape, (each.party, each.client, each.service)),
            time_stamp,
        )
    out.print(table)
    answered = {(each.party, each.request_id) for each in found if each.is_response}
    for each in found:
        if not each.is_response and (each.party, each.request_id) not in answered:
            out.print(f"No response was logged for {escape(each.party)}. {_meaning(each.party != each.client)}")


def _meaning(is_incoming: bool) -> str:
    if is_incoming:
        return "Its information system may have acted: ask it by the message id."
    return "Whether the provider acted stands in the provider's log."


def _message_json(message: "LoggedMessage", stamped: int) -> dict[str, Any]:
    return {
        "number": message.number,
        "loggedAt": message.at.isoformat(),
        "direction": message.direction,
        "messageId": message.message_id,
        "requestId": message.request_id,
        "party": message.party,
        "client": message.client,
        "service": message.service,
        "timeStamped": message.number <= stamped,
    }


# ------------------------------------------------------------------ those without an answer


def _show_unanswered(waiting: "Sequence[Unanswered]", lost: "Sequence[Unanswered]") -> None:
    if not waiting:
        out.print("Every request has its response.")
        return
    table = _table("logged", "message id", "of", "service", "")
    for each in waiting:
        told = "it may have acted" if each.is_incoming else "asked"
        table.add_row(
            f"{each.at:%Y-%m-%d %H:%M:%S}",
            *map(escape, (each.message_id, each.party, each.service)),
            told if each in lost else f"{told}; may be under way",
        )
    out.print(table)
    out.print(f"{len(lost)} of {len(waiting)} are older than two minutes: no response to them will come any more.")


def _unanswered_json(each: "Unanswered") -> dict[str, Any]:
    return {
        "number": each.number,
        "loggedAt": each.at.isoformat(),
        "messageId": each.message_id,
        "requestId": each.request_id,
        "party": each.party,
        "client": each.client,
        "service": each.service,
        "providerMayHaveActed": each.is_incoming,
    }
