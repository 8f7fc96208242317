"""`digiid exchange messages|archive`: which requests have no answer, by a message log, what became of a single one, and
an archive at once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from digiid.apps.counted import counted
from digiid.apps.document_cli import JsonOption
from digiid.kernel.errors import DigiidError, Malformed, Unavailable
from digiid.platform.command_output import EXIT_UNREADABLE, print_error, print_json

if TYPE_CHECKING:
    from digiid.exchange.message_log import LoggedMessage
    from digiid.exchange.message_log.database import LogDatabase
    from digiid.exchange.message_log.store import Unanswered
    from digiid.platform.db import Database

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

    One that the other security server refused is told as that: a fault came back, which is no signed message. With a
    message id: everything that was logged of that message. It works while the server runs, and while it is down. Exit
    codes: 0 every request has its response or was refused; 1 some have none, or there is no such message; 2 no log.
    """
    from digiid.exchange.message_log import store
    from digiid.exchange.security_server.settings import load_security_server_settings
    from digiid.platform.clock import SystemClock

    now = SystemClock().now()
    try:
        told = load_security_server_settings(settings)
        with _opened(told.database) as log, log.read() as tx:
            if message_id is not None:
                found = store.find_messages(tx, message_id, party=None, is_response=None, limit=_MAX_SHOWN)
                stamped = store.find_stamped_through(tx)
            else:
                waiting = store.find_unanswered(tx, since=now - timedelta(hours=hours), limit=_MAX_SHOWN)
    except DigiidError as error:
        print_error(error, out if as_json else err, as_json=as_json)
        raise typer.Exit(EXIT_UNREADABLE) from None
    if message_id is not None:
        open_ones = _without_response(found)
        faults = _find_faults(told.monitoring_url, open_ones)
        _show_message(message_id, found, stamped, faults, as_json=as_json)
        is_settled = bool(found) and all(_is_refused(each, faults) for each in open_ones)
        raise typer.Exit(0 if is_settled else 1)
    faults = _find_faults(told.monitoring_url, waiting)
    lost = [
        each
        for each in waiting
        if not _is_refused(each, faults) and (each.number in faults or now - each.at >= _UNDER_WAY)
    ]
    if as_json:
        print_json(out, [_unanswered_json(each, faults, is_lost=each in lost) for each in waiting])
    else:
        _show_unanswered(waiting, lost, faults)
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
def _opened(database: str) -> "Iterator[LogDatabase]":
    from digiid.exchange.message_log.database import LogDatabase

    with _opened_database(database) as opened:
        log = LogDatabase(opened)
        try:
            yield log
        finally:
            log.close()


@contextmanager
def _opened_database(database: str) -> "Iterator[Database]":
    """What is there; nothing is made. Raises: Unavailable `exchange.logging_failed`."""
    from sqlalchemy import make_url

    from digiid.platform.db import Database

    url = make_url(database)
    is_file = url.get_backend_name() == "sqlite" and url.database
    if is_file and not Path(str(url.database)).exists():
        raise Unavailable("exchange.logging_failed", f"the file {url.database} is not there")
    opened = Database.sqlite(Path(str(url.database))) if is_file else Database(database)
    try:
        yield opened
    finally:
        opened.close()


# ------------------------------------------------------------------ what a fault tells

_OF_THE_OTHER: Final = "server.serverproxy."
# With these a security server says no before it asks its information system. Any other fault may come after it asked.
_REFUSALS: Final = frozenset(
    (
        "access_denied",
        "client_proxy_version_not_supported",
        "invalid_security_server",
        "maintenance_mode",
        "service_disabled",
        "ssl_authentication_failed",
        "unknown_member",
        "unknown_service",
    )
)


def _find_faults(monitoring_url: str, messages: "Sequence[Unanswered | LoggedMessage]") -> dict[int, str]:
    """By number in the log, with which fault a message ended here, as far as the operational records know it.

    They are kept for days only, and the last seconds before a crash are lost: of what is not in it nothing is known.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from digiid.exchange.security_server.monitoring.store import find_failed

    if not messages:
        return {}
    numbers = {_key_of(each): each.number for each in messages}
    first = int(min(each.at for each in messages).timestamp())
    found: dict[int, str] = {}
    try:
        with _opened_database(monitoring_url) as database, database.read() as tx:
            for failed in find_failed(tx, first=first):
                number = numbers.get((failed.role, failed.message_id, failed.request_id, failed.client))
                if number is not None:
                    found[number] = failed.fault_code
    except (DigiidError, SQLAlchemyError) as error:
        why = error.detail if isinstance(error, DigiidError) else "the operational records cannot be read"
        err.print(f"Which were refused is not known: {escape(why)}", highlight=False)
    return found


def _key_of(message: "Unanswered | LoggedMessage") -> tuple[str, str, str, str]:
    role = "Client" if message.party == message.client else "Producer"
    return role, message.message_id, message.request_id, message.client


def _is_refused(message: "Unanswered | LoggedMessage", faults: Mapping[int, str]) -> bool:
    """Whether the other security server said no. What came to a provider here was let in before it was logged."""
    code = faults.get(message.number, "")
    is_of_the_other = message.party == message.client and code.startswith(_OF_THE_OTHER)
    return is_of_the_other and code.removeprefix(_OF_THE_OTHER) in _REFUSALS


def _without_response(found: "Sequence[LoggedMessage]") -> "list[LoggedMessage]":
    answered = {(each.party, each.request_id) for each in found if each.is_response}
    return [each for each in found if not each.is_response and (each.party, each.request_id) not in answered]


def _table(*headings: str) -> Table:
    """Nothing is cut off in a narrow terminal, and a message id stays in one piece: it is given to the next command."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == "message id")
    return table


# ------------------------------------------------------------------ one message


def _show_message(
    message_id: str,
    found: "Sequence[LoggedMessage]",
    stamped: int,
    faults: Mapping[int, str],
    *,
    as_json: bool,
) -> None:
    if as_json:
        print_json(out, [_message_json(each, stamped) | _fault_json(each, faults) for each in found])
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
    for each in _without_response(found):
        text = f"No response was logged for {escape(each.party)}."
        if _is_refused(each, faults):
            out.print(f"{text} The other security server refused the request: {escape(faults[each.number])}.")
            continue
        if each.number in faults:
            text += f" It ended with {escape(faults[each.number])}."
        out.print(f"{text} {_meaning(each.party != each.client)}")


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


def _fault_json(message: "Unanswered | LoggedMessage", faults: Mapping[int, str]) -> dict[str, Any]:
    return {"fault": faults.get(message.number), "refused": _is_refused(message, faults)}


def _show_unanswered(waiting: "Sequence[Unanswered]", lost: "Sequence[Unanswered]", faults: Mapping[int, str]) -> None:
    if not waiting:
        out.print("Every request has its response.")
        return
    table = _table("logged", "message id", "of", "service", "")
    for each in waiting:
        told = "it may have acted" if each.is_incoming else "asked"
        if _is_refused(each, faults):
            told = f"refused: {faults[each.number]}"
        elif each.number in faults:
            told = f"{told}; ended with {faults[each.number]}"
        elif each not in lost:
            told = f"{told}; may be under way"
        table.add_row(f"{each.at:%Y-%m-%d %H:%M:%S}", *map(escape, (each.message_id, each.party, each.service, told)))
    out.print(table)
    refused = sum(_is_refused(each, faults) for each in waiting)
    if refused:
        out.print(f"{refused} of {len(waiting)} were refused by the other security server.")
    out.print(f"{len(lost)} of {len(waiting)} have no response, and none will come any more.")


def _unanswered_json(each: "Unanswered", faults: Mapping[int, str], *, is_lost: bool) -> dict[str, Any]:
    return {
        "number": each.number,
        "loggedAt": each.at.isoformat(),
        "messageId": each.message_id,
        "requestId": each.request_id,
        "party": each.party,
        "client": each.client,
        "service": each.service,
        "providerMayHaveActed": each.is_incoming,
        "mayBeUnderWay": not is_lost and not _is_refused(each, faults),
        **_fault_json(each, faults),
    }
