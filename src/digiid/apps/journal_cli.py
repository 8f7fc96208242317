"""`digiid journal verify|export`: are the institutions' journals what was sealed?"""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from digiid.apps.counted import counted
from digiid.kernel.errors import DigiidError, Malformed

if TYPE_CHECKING:
    from cryptography import x509

    from digiid.apps.state import StateFolder
    from digiid.platform.checkpoints import JournalReport, StoredCheckpoint

journal_app = typer.Typer(no_args_is_help=True, help="The institutions' journals, and the checkpoints that seal them.")
out = Console()
_MAX_FILE_BYTES = 1024**3
StateOption = Annotated[Path, typer.Option("--state", help="The folder of the state.", show_default=True)]


@journal_app.command("verify")
def verify(
    units: Annotated[list[str] | None, typer.Argument(help="Names of journals; all of them when left out.")] = None,
    checkpoints: Annotated[
        Path | None, typer.Option("--checkpoints", help="A copy that `export` wrote and that was kept elsewhere.")
    ] = None,
    ca: Annotated[
        list[Path] | None,
        typer.Option(
            "--ca",
            help="Certificates (PEM) of the seals' issuer and the stamps', instead of those in the state's folder.",
        ),
    ] = None,
    state: StateOption = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Recompute every journal and hold it against its checkpoints: seal, time stamp, chain, records of disclosures.

    Nothing is asked of the network; the state may run. Exit codes: 0 everything follows; 1 something does not;
    2 nothing can be read.
    """
    from digiid.apps.journals import JOURNALS
    from digiid.platform.command_output import EXIT_UNREADABLE, print_error, print_json

    try:
        folder, trusted = _folder(state), _trusted(state, ca or [])
        copies = list(_read_copy(checkpoints)) if checkpoints else []
        unknown = sorted({*(units or []), *(each.unit for each in copies)} - JOURNALS.keys())
        if unknown:
            raise Malformed("journal.unit", f"{', '.join(unknown)}: journals are {', '.join(JOURNALS)}")
    except DigiidError as error:
        print_error(error, out, as_json=as_json)
        raise typer.Exit(EXIT_UNREADABLE) from None
    told: dict[str, dict[str, Any]] = {}
    for unit in units or JOURNALS:
        try:
            report = _verify(folder, unit, [each for each in copies if each.unit == unit], trusted)
            told[unit] = _report_json(report)
        except DigiidError as error:
            told[unit] = {"valid": False, "code": error.code, "reason": error.detail}
    if as_json:
        print_json(out, told)
    else:
        _print(told)
    raise typer.Exit(0 if all(each["valid"] for each in told.values()) else 1)


@journal_app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="The file to write, one checkpoint a line (JSON). Keep it elsewhere.")],
    state: StateOption = Path("var"),
) -> None:
    """Write all checkpoints to a file. Kept where nobody of the state can write, it shows also what was taken away."""
    from digiid.apps.journals import opened
    from digiid.platform.checkpoints import DATABASE, list_checkpoints

    with opened(_folder(state), DATABASE) as db, db.read() as tx:
        found = list_checkpoints(tx)
    with file.open("x", encoding="ascii") as stream:
        for each in found:
            line = {
                "unit": each.unit,
                "number": each.number,
                "statement": each.statement,
                "time_stamp": base64.b64encode(each.time_stamp_der).decode(),
                "at": each.at.isoformat(),
            }
            stream.write(json.dumps(line, sort_keys=True) + "\n")
    journals = counted(len({each.unit for each in found}), "journal")
    out.print(f"{counted(len(found), 'checkpoint')} of {journals}", highlight=False)


def _folder(state: Path) -> "StateFolder":
    from digiid.apps.state import StateFolder
    from digiid.kernel.errors import NotFound

    folder = StateFolder(state)
    if not folder.exists:
        raise NotFound("journal.no_state", f"there is no state in {state}")
    return folder


@dataclass(frozen=True)
class _Trusted:
    """Who issues seals that count, and who time-stamping units."""

    seals: "list[x509.Certificate]"
    stamps: "list[x509.Certificate]"


def _trusted(state: Path, files: list[Path]) -> _Trusted:
    from digiid.formats.x509.profile import CertificateKind
    from digiid.institutions.trust_services.hierarchy import load_hierarchy
    from digiid.platform.certificate_files import read_certificates

    if files:
        given = [certificate for file in files for certificate in read_certificates(file)]
        return _Trusted(given, given)
    hierarchy = load_hierarchy(state / "hierarchy")
    return _Trusted([hierarchy.issuing], [hierarchy.certificate(CertificateKind.TSA_CA)])


def _verify(folder: "StateFolder", unit: str, copies: "list[StoredCheckpoint]", trusted: _Trusted) -> "JournalReport":
    from digiid.apps.journals import opened, owner_of
    from digiid.formats.x509.path import TrustAnchors
    from digiid.kernel.errors import Broken
    from digiid.platform.checkpoints import DATABASE, list_checkpoints, verify_journal

    with opened(folder, DATABASE) as db, db.read() as tx:
        known = list_checkpoints(tx, unit)
    # a copy may end earlier than the table; what it has, the table has too
    kept = set(known)
    gone = [each.number for each in copies if each not in kept]
    if gone:
        raise Broken("journal.checkpoints", f"the copy has a checkpoint of entry {gone[0]} that is not in the table")
    with opened(folder, unit) as db, db.read() as tx:
        return verify_journal(
            tx, unit, known, owner=owner_of(unit, trusted.seals), time_stamping=TrustAnchors(trusted.stamps)
        )


def _read_copy(file: Path) -> "Iterator[StoredCheckpoint]":
    from digiid.platform.checkpoints import StoredCheckpoint

    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise Malformed("journal.copy", f"{file} is too large")
        with file.open(encoding="ascii") as stream:
            for line in stream:
                each = json.loads(line)
                yield StoredCheckpoint(
                    str(each["unit"]),
                    int(each["number"]),
                    str(each["statement"]),
                    base64.b64decode(each["time_stamp"], validate=True),
                    datetime.fromisoformat(each["at"]),
                )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise Malformed("journal.copy", f"{file}: {type(error).__name__}") from error


def _report_json(report: "JournalReport") -> dict[str, Any]:
    return {
        "valid": True,
        "entries": report.entries,
        "disclosures": report.disclosures,
        "checkpoints": report.checkpoints,
        "sealed_entries": report.sealed_entries,
        "sealed_at": report.sealed_at.isoformat() if report.sealed_at else None,
    }


def _print(told: dict[str, dict[str, Any]]) -> None:
    for unit, each in told.items():
        out.print("\n".join(_lines(unit, each)), highlight=False)


def _lines(unit: str, each: dict[str, Any]) -> Iterable[str]:
    if not each["valid"]:
        yield f"[red]✗[/red] [bold]{unit}[/bold]: {escape(each['reason'])} [dim]({each['code']})[/dim]"
        return
    sealed = (
        f"sealed up to {each['sealed_entries']:,} at {each['sealed_at']}" if each["sealed_at"] else "not sealed yet"
    )
    yield (
        f"[green]✓[/green] [bold]{unit}[/bold]: {counted(each['entries'], 'entry', 'entries')} "
        f"({counted(each['disclosures'], 'disclosure')}), {counted(each['checkpoints'], 'checkpoint')}, {sealed}"
    )
