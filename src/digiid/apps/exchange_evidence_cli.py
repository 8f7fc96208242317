"""`digiid exchange verify`: archives of a message log, and single messages, judged offline."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from digiid.apps.counted import counted
from digiid.kernel.errors import DigiidError

if TYPE_CHECKING:
    from digiid.exchange.message_log.verifying import EvidenceReport, FileVerdict, MessageVerdict, Progress
    from digiid.platform.documents.encryption import DecryptionKey

out = Console()
err = Console(stderr=True)

_MAX_TOLD = 20  # wrong messages of one file, on the screen; --json tells all


def verify(
    files: Annotated[
        list[Path], typer.Argument(help="Archives (mlog-….zip, .zip.cdoc2), containers (.asice), folders of them.")
    ],
    conf: Annotated[
        Path, typer.Option("--conf", help="The folder of a global configuration of that time (verificationconf).")
    ],
    key: Annotated[
        str | None, typer.Option(help="For encrypted archives: a private key (PEM, PKCS#12, pkcs11:) or LABEL:FILE.")
    ] = None,
    key_password_file: Annotated[
        Path | None, typer.Option(help="A file that holds that key's password or PIN.")
    ] = None,
    after: Annotated[str | None, typer.Option(help="The digest that the first archive has to follow.")] = None,
    until: Annotated[str | None, typer.Option(help="The digest that the last archive has to end with.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Judge archives and messages: links, signature, exact coverage, time stamp, and trust at the time of the stamp.

    X-Road's own containers and archives are judged as well. Nothing is asked of the network. Exit codes: 0 all valid;
    1 something is not; 2 unreadable, no key, or no configuration.
    """
    from digiid.exchange.global_conf.folder import load_folder
    from digiid.exchange.message_log.verifying import validate_evidence
    from digiid.platform.command_output import EXIT_UNREADABLE, print_error, print_json

    try:
        configuration = load_folder(conf)
        opener = _load_key(key, key_password_file)
    except DigiidError as error:
        print_error(error, out, as_json=as_json)
        raise typer.Exit(EXIT_UNREADABLE) from None
    with _progress(shown=not as_json) as progress:
        report = validate_evidence(
            list(_expand(files)), configuration, key=opener, after=after, until=until, progress=progress
        )
    if as_json:
        print_json(out, _report_json(report))
    else:
        _print_report(report)
    raise typer.Exit(report.exit_code)


def _expand(files: list[Path]) -> Iterator[Path]:
    for file in files:
        if file.is_dir():
            yield from sorted(each for each in file.iterdir() if each.suffix in (".asice", ".zip", ".cdoc2"))
        else:
            yield file


def _load_key(source: str | None, password_file: Path | None) -> "DecryptionKey | None":
    from digiid.exchange.message_log.archive_files import read_key_file
    from digiid.platform.documents.decryption_keys import load_decryption_key
    from digiid.platform.documents.encryption import SecretKey

    if source is None:
        return None
    label, sign, name = source.partition(":")
    if sign and not source.startswith("pkcs11:") and not Path(source).exists():
        return SecretKey(read_key_file(Path(name)), label or None)
    return load_decryption_key(source, password_file)


@contextmanager
def _progress(*, shown: bool) -> "Iterator[Progress]":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not shown or not err.is_terminal) as bar:
        task = bar.add_task("Judging messages", total=None)
        yield lambda done, known: bar.update(task, completed=done, total=known)


# ------------------------------------------------------------------ for people


def _print_report(report: "EvidenceReport") -> None:
    def say(text: str, style: str = "") -> None:
        out.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    for file in report.files:
        error = report.chain_errors.get(file.path) or file.error
        is_good = file.is_valid and error is None
        say(f"{'VALID    ' if is_good else 'NOT VALID'} {file.path.name}", "green" if is_good else "red")
        for line in _describe(file):
            say(f"          {line}")
        if error is not None:
            say(f"          {error.public or error.detail} ({error.code})", "red")
        wrong = [message for message in file.messages if message.error is not None]
        for message in wrong[:_MAX_TOLD]:
            assert message.error is not None
            say(
                f"          {message.name}: {message.error.public or message.error.detail} ({message.error.code})",
                "red",
            )
        if len(wrong) > _MAX_TOLD:
            say(f"          … and {len(wrong) - _MAX_TOLD} more that are not valid")
    if not report.files:
        say("No archive or container lies there. A server archives its log every six hours when nothing else is set.")
    messages = [message for file in report.files for message in file.messages]
    good = sum(message.error is None for message in messages)
    say(f"{good:,} of {counted(len(messages), 'message')} valid in {counted(len(report.files), 'file')}.", "bold")


def _describe(file: "FileVerdict") -> Iterator[str]:
    if file.kind == "unreadable":
        return
    if file.kind == "container":
        for message in file.messages:
            if message.evidence is not None:
                what = "response" if message.evidence.is_response else "request"
                yield f"{what} signed by {message.evidence.member}, time-stamped {_time(message.evidence.at)}"
                if message.absent:
                    yield f"known by digest only: {', '.join(sorted(message.absent))}"
        return
    absent = sum(bool(message.absent) for message in file.messages)
    spans = file.times
    times = f", time-stamped {_time(spans[0])} to {_time(spans[1])}" if spans else ""
    yield f"{counted(len(file.messages), 'message')}{times}"
    if absent:
        yield f"of {absent:,} a part is known by its digest only"
    if file.links is not None:
        yield f"follows {file.links.previous[1]}" if file.links.previous else "the first of its chain"
        yield f"ends with {file.links.last_digest}"
    elif file.kind == "bundle":
        yield "containers without a chain: what is missing is not noticed"


def _time(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


# ------------------------------------------------------------------ for programs


def _report_json(report: "EvidenceReport") -> dict[str, Any]:
    from digiid.platform.command_output import error_json

    def message_json(message: "MessageVerdict") -> dict[str, Any]:
        told: dict[str, Any] = {"name": message.name, "valid": message.error is None}
        if message.evidence is not None:
            told["signed_by"] = str(message.evidence.member)
            told["direction"] = "response" if message.evidence.is_response else "request"
            told["time_stamped_at"] = message.evidence.at.isoformat()
            told["absent"] = sorted(message.absent)
        if message.error is not None:
            told["error"] = error_json(message.error)
        return told

    def file_json(file: "FileVerdict") -> dict[str, Any]:
        error = report.chain_errors.get(file.path) or file.error
        links = file.links
        return {
            "file": str(file.path),
            "kind": file.kind,
            "valid": file.is_valid and error is None,
            "error": None if error is None else error_json(error),
            "follows": {"digest": links.previous[0], "name": links.previous[1]} if links and links.previous else None,
            "last_digest": links.last_digest if links else None,
            "messages": [message_json(message) for message in file.messages],
        }

    return {"valid": report.is_valid, "files": [file_json(file) for file in report.files]}
