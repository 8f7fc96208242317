"""`digiid sign` and `digiid timestamp`, without the argument parser. Exit codes: see `output`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from digiid.formats.asic import DataFile
from digiid.formats.validation import POLV4, Policy
from digiid.formats.xades import ProductionPlace
from digiid.kernel.errors import DigiidError, Refused
from digiid.platform.command_output import (
    EXIT_NOT_VALID,
    EXIT_OK,
    error_json,
    exit_code_of,
    named_before,
    print_error,
    print_json,
)
from digiid.platform.documents.batch import BatchItem, Outcome, sign_batch
from digiid.platform.documents.extending import ExtendedLevel, extend_document, extend_due
from digiid.platform.documents.files import guess_media_type, make_folder, read_file, write_whole
from digiid.platform.documents.levels import Level
from digiid.platform.documents.removing import remove_signature
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.signing import Signer, sign_container, sign_files
from digiid.platform.documents.time_stamping import renew_time_stamp, time_stamp_document

_CONTAINER_SUFFIXES = (".asice", ".sce", ".bdoc")
_STAMPED_SUFFIXES = (".asics", ".scs")


@dataclass(frozen=True)
class SigningWish:
    """How somebody wants to sign: the level (B, T, LT or LTA), roles and place as they claim them."""

    level: Level = Level.LT
    roles: Sequence[str] = ()
    place: ProductionPlace | None = None
    policy: Policy = POLV4


def sign_command(
    paths: Sequence[Path],
    output: Path | None,
    *,
    signer: Callable[[], Signer],
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    wish: SigningWish | None = None,
    console: Console,
    as_json: bool = False,
) -> int:
    """Sign files into a new container, or one container once more (then `output` may be left out).

    `signer` is called after the files could be read, since it may ask for a card. The output appears whole or not at
    all; an existing file is only replaced when it is the very container that gets the signature.
    """
    wish = wish or SigningWish()
    try:
        adds = len(paths) == 1 and paths[0].suffix.lower() in _CONTAINER_SUFFIXES
        target = output or (paths[0] if adds else paths[0].with_suffix(".asice"))
        if target.exists() and not (adds and target == paths[0]):
            raise Refused("documents.output_exists", f"{target} is there already")
        container = _sign(paths, adds=adds, signer=signer, issuers=issuers, trust=trust, wish=wish)
        write_whole(target, container)
    except DigiidError as error:
        return print_error(error, console, as_json=as_json)
    if as_json:
        names = [path.name for path in paths]
        print_json(console, {"container": str(target), "files": names, "level": wish.level})
    else:
        console.print(f"[green]Signed:[/green] {escape(str(target))}", highlight=False)
        if wish.level in (Level.B, Level.T):
            console.print(f"  Level {wish.level} proves too little to be called valid; `digiid extend` completes it.")
    return EXIT_OK


def _sign(
    paths: Sequence[Path],
    *,
    adds: bool,
    signer: Callable[[], Signer],
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    wish: SigningWish,
) -> bytes:
    contents = [read_file(path) for path in paths]
    if adds:
        return sign_container(
            contents[0],
            signer=signer(),
            issuers=issuers,
            trust=trust,
            roles=wish.roles,
            place=wish.place,
            level=wish.level,
            policy=wish.policy,
        )
    files = [
        DataFile(path.name, guess_media_type(path.name), content) for path, content in zip(paths, contents, strict=True)
    ]
    return sign_files(
        files,
        signer=signer(),
        issuers=issuers,
        trust=trust,
        roles=wish.roles,
        place=wish.place,
        level=wish.level,
        policy=wish.policy,
    )


def batch_command(
    paths: Sequence[Path],
    folder: Path | None,
    *,
    signer: Callable[[], Signer],
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    wish: SigningWish | None = None,
    console: Console,
    as_json: bool = False,
) -> int:
    """Sign every file into a container of its own, with a progress bar; what is finished already is left alone.

    Exit code 1 when a file could not be signed; the others are signed all the same.
    """
    wish = wish or SigningWish()
    columns = (TextColumn("Signing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        if folder is not None:
            make_folder(folder)
        shown = console.is_terminal and not as_json
        with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
            task = progress.add_task("Signing", total=len(paths))
            report = sign_batch(
                paths,
                signer(),
                folder=folder,
                issuers=issuers,
                trust=trust,
                level=wish.level,
                roles=wish.roles,
                place=wish.place,
                policy=wish.policy,
                progress=lambda _item: progress.advance(task),
            )
    except DigiidError as error:
        return print_error(error, console, as_json=as_json)
    if as_json:
        print_json(console, [_batch_json(item) for item in report.items])
    else:
        for item in report.items:
            if item.outcome is Outcome.FAILED:
                console.print(f"[red]{escape(str(item.source))}: {escape(item.detail or '')}[/red] ({item.code})")
        counts = ", ".join(f"{report.count(outcome)} {outcome}" for outcome in Outcome)
        console.print(f"{len(report.items)} files: {counts}.", highlight=False)
    return EXIT_OK if report.is_complete else EXIT_NOT_VALID


def _batch_json(item: BatchItem) -> dict[str, str | None]:
    return {
        "file": str(item.source),
        "container": str(item.target),
        "outcome": item.outcome,
        "verdict": item.verdict,
        "code": item.code,
        "detail": item.detail,
    }


def extend_command(
    paths: Sequence[Path],
    *,
    services: TrustServices,
    level: ExtendedLevel,
    only_due: bool,
    policy: Policy = POLV4,
    console: Console,
    as_json: bool = False,
) -> int:
    """Bring the signatures of containers to `level`, in place; with `only_due` those alone whose proofs age soon.

    Every container is tried; what cannot be extended stays as it is and is told.
    """
    worst, answers = EXIT_OK, []
    with console.status("Extending …"):
        for path, problem, changed in _extend_each(paths, services, level, only_due=only_due, policy=policy):
            answers.append(
                {"container": str(path), "extended": changed, "error": error_json(problem) if problem else None}
            )
            if problem is not None:
                worst = max(worst, exit_code_of(problem))
            if as_json:
                continue
            if problem is not None:
                print_error(problem, console, as_json=False, prefix=named_before(path, problem))
            elif changed:
                console.print(f"[green]Extended:[/green] {escape(str(path))}", highlight=False)
            else:
                console.print(f"Not due: {escape(str(path))}", highlight=False)
    if as_json:
        print_json(console, answers)
    return worst


def _extend_each(
    paths: Sequence[Path], services: TrustServices, level: ExtendedLevel, *, only_due: bool, policy: Policy
) -> Iterator[tuple[Path, DigiidError | None, bool]]:
    if only_due:
        for found in extend_due(paths, services=services, policy=policy):
            yield found.path, found.problem, found.is_renewed
        return
    for path in paths:
        try:
            write_whole(path, extend_document(read_file(path), services=services, level=level, policy=policy))
        except DigiidError as error:
            yield path, error, False
            continue
        yield path, None, True


def remove_signature_command(
    container: Path, signature: str, output: Path | None, *, console: Console, as_json: bool = False
) -> int:
    """Take one signature, named by its Id or its file, out of a container; nothing else changes a byte."""
    try:
        target = output or container
        if target.exists() and target != container:
            raise Refused("documents.output_exists", f"{target} is there already")
        write_whole(target, remove_signature(read_file(container), signature))
    except DigiidError as error:
        return print_error(error, console, as_json=as_json, prefix=named_before(container, error))
    if as_json:
        print_json(console, {"container": str(target), "removed": signature})
    else:
        console.print(f"[green]Removed:[/green] {escape(signature)} from {escape(str(target))}", highlight=False)
    return EXIT_OK


def timestamp_command(
    paths: Sequence[Path],
    output: Path | None,
    *,
    services: TrustServices,
    policy: Policy = POLV4,
    console: Console,
    as_json: bool = False,
) -> int:
    """Put each file into a time-stamped ASiC-S container beside it (FILE.asics); a time-stamped container gets a new
    token over all that it has. `output` names the container when there is one file. Every file is tried.
    """
    worst, done, errors = EXIT_OK, [], []
    with console.status("Stamping …"):
        for path in paths:
            try:
                target = _stamp(path, output, services, policy)
            except DigiidError as error:
                worst = max(worst, exit_code_of(error))
                errors.append({"file": str(path), "error": error_json(error)})
                if not as_json:
                    print_error(error, console, as_json=False, prefix=named_before(path, error))
                continue
            done.append(str(target))
            if not as_json:
                console.print(f"[green]Time-stamped:[/green] {escape(str(target))}", highlight=False)
    if as_json:
        print_json(console, {"containers": done, "errors": errors})
    return worst


def _stamp(path: Path, output: Path | None, services: TrustServices, policy: Policy) -> Path:
    content = read_file(path)
    renews = path.suffix.lower() in _STAMPED_SUFFIXES
    target = output or (path if renews else path.with_name(f"{path.name}.asics"))
    if target.exists() and not (renews and target == path):
        raise Refused("documents.output_exists", f"{target} is there already")
    if renews:
        stamped = renew_time_stamp(content, services=services, policy=policy)
    else:
        file = DataFile(path.name, guess_media_type(path.name), content)
        stamped = time_stamp_document(file, services=services, policy=policy)
    write_whole(target, stamped)
    return target
