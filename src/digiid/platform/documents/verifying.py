"""`digiid verify`, without the argument parser: one container or thousands, judged, told and counted.

Exit codes: 0 everything valid (or every verdict as asserted or explained), 1 something is not, 2 something cannot be
read, or there are no trust anchors.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from digiid.formats.asic import Limits
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import POLICIES, POLV4, Finding, Policy, Report, list_findings
from digiid.kernel.errors import DigiidError, Malformed, NotFound
from digiid.platform.certificate_files import read_certificates
from digiid.platform.clock import Clock
from digiid.platform.command_output import (
    EXIT_NOT_VALID,
    EXIT_OK,
    EXIT_UNREADABLE,
    error_json,
    print_error,
    print_json,
)
from digiid.platform.documents.expectations import Compared, Expectation, confusion_table, verdict_word
from digiid.platform.documents.files import write_whole
from digiid.platform.documents.judging import validate_document
from digiid.platform.http import HttpClient
from digiid.platform.trust import read_trusted_lists
from digiid.platform.visible_text import make_visible

SUFFIXES: Final = frozenset({".asice", ".sce", ".bdoc", ".asics", ".scs", ".edoc", ".adoc", ".ddoc", ".pdf"})


@dataclass(frozen=True)
class Judge:
    """By what is judged: trust anchors, the moment, the policy and the limits."""

    trust: VerifiedTrust
    clock: Clock
    policy: Policy = POLV4
    limits: Limits | None = None

    def judge(self, path: Path, policy: Policy | None = None) -> Report:
        """Raises: Malformed; NotFound `documents.file`."""
        try:
            with path.open("rb") as file:
                return validate_document(
                    file,
                    trust=self.trust,
                    at=self.clock.now(),
                    policy=policy or self.policy,
                    file_name=path.name,
                    limits=self.limits,
                )
        except OSError as error:
            raise NotFound("documents.file", f"{path}: {error.strerror}") from error


def read_anchors(
    trust: Callable[[], VerifiedTrust] | None,
    *,
    lists: Sequence[str],
    list_certificates: Sequence[Path],
    http: HttpClient,
    clock: Clock,
) -> VerifiedTrust:
    """The anchors of `lists` (files or addresses, signed by `list_certificates`), else of the e-state's own list.

    Raises: NotFound `documents.no_anchors`; whatever reading a list refuses.
    """
    if lists:
        signers = [certificate for path in list_certificates for certificate in read_certificates(path)]
        return read_trusted_lists(lists, signers=signers, http=http, at=clock.now())
    if trust is not None:
        return trust()
    raise NotFound(
        "documents.no_anchors",
        "no trusted list: start the e-state with `digiid up`, or name a list with --tl and its signer's "
        "certificate with --tl-cert",
    )


def find_containers(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and of a folder every file below it whose name ends like a signed one's."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        else:
            found.append(path)
    return found


def verify_command(
    paths: Sequence[Path],
    *,
    judge: Callable[[], Judge],
    console: Console,
    as_json: bool = False,
    report_file: Path | None = None,
) -> int:
    """Judge each container by itself; the worst answer is the exit code. `report_file` gets all of them as JSON."""
    try:
        judging = judge()
    except DigiidError as error:
        print_error(error, console, as_json=as_json)
        return EXIT_UNREADABLE
    worst, answers, valid = EXIT_OK, [], 0
    containers = find_containers(paths)
    quietly = as_json or len(containers) > _TOLD_WHOLE
    with _progress(containers, console, shown=quietly and not as_json) as each:
        for path in each:
            try:
                report = judging.judge(path)
            except DigiidError as error:
                worst = EXIT_UNREADABLE
                answers.append({"validatedDocument": {"filename": path.name}, "error": error_json(error)})
                if not as_json:
                    prefix = "" if isinstance(error, NotFound) else f"{path}: "
                    print_error(error, console, as_json=False, prefix=prefix)
                continue
            valid += report.is_valid
            worst = max(worst, EXIT_OK if report.is_valid else EXIT_NOT_VALID)
            answers.append(report.to_simple_report())
            if not as_json and (not quietly or not report.is_valid):
                print_report(report, console)
    if as_json:
        print_json(console, answers[0] if len(containers) == 1 else answers)
    elif len(containers) > 1:
        console.print(f"{valid} of {len(containers)} are valid.", highlight=False)
    if report_file is not None:
        write_whole(report_file, json.dumps(answers, ensure_ascii=False, indent=2).encode() + b"\n")
    return worst


_TOLD_WHOLE: Final = 20  # more containers than this are told one by one only when something is wrong with them


def compare_command(
    expectations: Sequence[Expectation], *, judge: Callable[[], Judge], console: Console, as_json: bool = False
) -> int:
    """Judge every file that a table names and print the confusion table, with each difference and its reason."""
    try:
        judging = judge()
    except DigiidError as error:
        print_error(error, console, as_json=as_json)
        return EXIT_UNREADABLE
    compared = []
    try:
        with _progress(expectations, console, shown=not as_json) as each:
            for expectation in each:
                policy = POLICIES[expectation.policy] if expectation.policy else POLICIES["POLv3"]
                compared.append(Compared(expectation, _verdict(judging, expectation.file, policy)))
    except NotFound as error:  # a table about files that are not there compares nothing
        return print_error(error, console, as_json=as_json)
    unexplained = [item for item in compared if not item.is_explained]
    if as_json:
        print_json(console, [_compared_json(item) for item in compared])
    else:
        _print_comparison(compared, unexplained, console)
    return EXIT_NOT_VALID if unexplained else EXIT_OK


def _verdict(judging: Judge, path: Path, policy: Policy) -> str:
    try:
        return verdict_word(judging.judge(path, policy))
    except Malformed:
        return "error"


def _print_comparison(compared: Sequence[Compared], unexplained: Sequence[Compared], console: Console) -> None:
    console.print(confusion_table(compared))
    for item in compared:
        expectation = item.expectation
        if expectation.explained is None or not item.is_explained:
            continue
        name = escape(make_visible(expectation.file.name))
        console.print(
            f"[yellow]explained[/yellow] {name}: asserted {expectation.expected}, ours {item.ours}: "
            f"{escape(expectation.reason)}",
            highlight=False,
        )
    for item in unexplained:
        name = escape(make_visible(item.expectation.file.name))
        wanted = item.expectation.explained or item.expectation.expected
        console.print(f"[red]not explained[/red] {name}: expected {wanted}, ours {item.ours}", highlight=False)
    same = sum(item.ours == item.expectation.expected for item in compared)
    console.print(
        f"{len(compared)} verdicts: {same} as asserted, {len(compared) - same - len(unexplained)} explained, "
        f"{len(unexplained)} not explained.",
        highlight=False,
    )


def _compared_json(item: Compared) -> dict[str, Any]:
    expectation = item.expectation
    return {
        "file": expectation.file.name,
        "policy": expectation.policy,
        "asserted": expectation.expected,
        "ours": item.ours,
        "explained": item.is_explained,
        "reason": expectation.reason or None,
    }


@contextmanager
def _progress(items: Sequence[Any], console: Console, *, shown: bool) -> Iterator[Iterable[Any]]:
    """The items, with a bar while they are worked through when somebody watches."""
    if not shown or not console.is_terminal or len(items) < 2:
        yield items
        return
    columns = (TextColumn("Judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress.track(items)


# ------------------------------------------------------------------ one report for a person


def print_report(report: Report, console: Console) -> None:
    """Verdict, signatures, time-stamps, what is wrong and whether it matters."""
    verdict, *others = list_findings(report)
    colour = "red" if verdict.matters else "green"
    name = escape(make_visible(report.file_name))
    console.print(f"[bold]{name}[/bold]: [{colour}]{escape(verdict.text)}[/{colour}]")
    if verdict.matters:
        console.print(f"  {escape(verdict.meaning)}")
    if report.signatures:
        console.print(_signature_table(report))
    for token in report.time_stamp_tokens:
        at = f"{token.gen_at:%Y-%m-%d %H:%M:%S} UTC" if token.gen_at else "at no readable time"
        covered = ", ".join(make_visible(scope.name) for scope in token.scopes if scope.kind != "ARCHIVED") or "nothing"
        console.print(
            f"  time-stamp {at}, {token.level}: {token.indication}; covers {escape(covered)}", highlight=False
        )
    for file in report.data_files:
        console.print(f"  file: {escape(make_visible(file))}")
    for finding in others:
        _print_finding(finding, console)


def _signature_table(report: Report) -> Table:
    table = Table()
    for heading in ("Signed by", "Proven time (UTC)", "Verdict", "Level", "Format"):
        table.add_column(heading, overflow="fold")  # half of a sub-indication says nothing
    for signature in report.signatures:
        at = signature.best_signature_at
        table.add_row(
            escape(make_visible(signature.signed_by or "?")),
            f"{at:%Y-%m-%d %H:%M:%S}" if at else "none",
            str(signature.indication) + (f" ({signature.sub_indication})" if signature.sub_indication else ""),
            signature.level,
            signature.signature_format,
        )
    return table


def _print_finding(finding: Finding, console: Console) -> None:
    if finding.code in ("finding.signature.valid", "finding.token.valid"):
        return  # said above
    mark = "[red]✗[/red]" if finding.matters else "[yellow]![/yellow]"
    console.print(f"  {mark} {escape(make_visible(finding.text))}")
    if finding.meaning:
        console.print(f"      {escape(finding.meaning)}")
