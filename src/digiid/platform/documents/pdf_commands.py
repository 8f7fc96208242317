"""`digiid sign --pdf`, without the argument parser. Exit codes: see `output`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from digiid.kernel.errors import DigiidError, Malformed, Refused, Unavailable
from digiid.platform.command_output import (
    EXIT_NOT_VALID,
    EXIT_OK,
    error_json,
    exit_code_of,
    named_before,
    print_error,
    print_json,
)
from digiid.platform.documents.commands import SigningWish
from digiid.platform.documents.files import make_folder, read_file, write_whole
from digiid.platform.documents.levels import Level
from digiid.platform.documents.pades import PdfWish, VisibleSignature, sign_pdf
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.signing import Signer
from digiid.platform.pdf import MAX_PDF_BYTES

_STOP_AFTER = 5  # failures of a service or of the key without a success between them


def sign_pdf_command(
    paths: Sequence[Path],
    output: Path | None,
    folder: Path | None,
    *,
    signer: Callable[[], Signer],
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    wish: SigningWish,
    pdf: PdfWish,
    console: Console,
    as_json: bool = False,
) -> int:
    """Sign inside each PDF file. What is written is FILE-signed.pdf beside it, or in `folder`; `output` names it when
    there is one file, and may be that file itself. `folder` is made when it is not there.

    Every file is tried; exit code 1 when one could not be signed, 2 when it cannot be read.
    """
    try:
        targets = [output or _target(path, folder) for path in paths]
        _check_targets(paths, targets)
        if folder is not None:
            make_folder(folder)
        key = signer()
    except DigiidError as error:
        return print_error(error, console, as_json=as_json)
    worst, failures, answers = EXIT_OK, 0, []
    shown = console.is_terminal and not as_json and len(paths) > 1
    columns = (TextColumn("Signing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        for path, target in progress.track(zip(paths, targets, strict=True), total=len(paths)):
            problem = _sign(path, target, key, issuers=issuers, trust=trust, wish=wish, pdf=pdf)
            answers.append(_answer(path, target, wish, problem))
            if problem is None:
                failures = 0
                continue
            worst = max(worst, exit_code_of(problem))
            if not as_json:
                print_error(problem, console, as_json=False, prefix=named_before(path, problem))
            failures += isinstance(problem, Unavailable)
            if failures == _STOP_AFTER:
                break
    if as_json:
        print_json(console, answers[0] if len(paths) == 1 else answers)
        return worst
    signed = [answer for answer in answers if "error" not in answer]
    for answer in signed:
        console.print(f"[green]Signed:[/green] {escape(str(answer['document']))}", highlight=False)
    if signed and wish.level in (Level.B, Level.T):
        console.print(f"  Level {wish.level} proves too little to be called valid; `digiid extend` completes it.")
    if len(answers) < len(paths):
        console.print(f"{len(paths) - len(answers)} files were not tried any more.")
        worst = max(worst, EXIT_NOT_VALID)
    return worst


def parse_visible(text: str) -> VisibleSignature:
    """`page,left,bottom,right,top`, the page from 1 on, the rest in points from the lower left corner.

    Raises: Malformed `documents.pdf.box`.
    """
    try:
        page, left, bottom, right, top = map(int, text.split(","))
    except ValueError as error:
        raise Malformed("documents.pdf.box", "--visible is page,left,bottom,right,top as whole numbers") from error
    return VisibleSignature(page, (left, bottom, right, top))


def _sign(
    path: Path,
    target: Path,
    signer: Signer,
    *,
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    wish: SigningWish,
    pdf: PdfWish,
) -> DigiidError | None:
    try:
        content = read_file(path, max_bytes=MAX_PDF_BYTES)
        signed = sign_pdf(
            content,
            signer=signer,
            issuers=issuers,
            trust=trust,
            roles=wish.roles,
            place=wish.place,
            wish=pdf,
            level=wish.level,
            policy=wish.policy,
        )
        write_whole(target, signed)
    except DigiidError as error:
        return error
    return None


def _target(path: Path, folder: Path | None) -> Path:
    return (folder or path.parent) / f"{path.stem}-signed.pdf"


def _check_targets(paths: Sequence[Path], targets: Sequence[Path]) -> None:
    """Nothing is overwritten but the file itself, and no two files become one. Raises: Refused, Malformed."""
    if len(set(targets)) < len(targets):
        raise Malformed("documents.output", "two of the files would be written to one name")
    for path, target in zip(paths, targets, strict=True):
        if target.exists() and not (path.exists() and target.samefile(path)):
            raise Refused("documents.output_exists", f"{target} is there already")


def _answer(path: Path, target: Path, wish: SigningWish, problem: DigiidError | None) -> dict[str, object]:
    if problem is not None:
        return {"file": str(path), "error": error_json(problem)}
    return {"file": str(path), "document": str(target), "level": wish.level}
