"""`digiid sign` and `digiid verify`, without the argument parser: what they do, print and answer as exit code.

Exit codes: 0 signed, or everything valid; 1 refused, or something not valid; 2 unreadable input or no trust anchors.
"""

import json
import mimetypes
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from digiid.formats.asic import DataFile, Limits
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import POLV4, Finding, Policy, Report, list_findings, validate_container
from digiid.formats.x509.parts import load_certificate
from digiid.formats.xades import ProductionPlace
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.documents.signing import (
    MAX_CONTAINER_BYTES,
    Signer,
    TrustServices,
    sign_container,
    sign_files,
)
from digiid.platform.http import HttpClient
from digiid.platform.trust import read_trusted_lists

EXIT_OK, EXIT_NOT_VALID, EXIT_UNREADABLE = 0, 1, 2
_CONTAINER_SUFFIXES = (".asice", ".sce", ".bdoc")


def sign_command(
    paths: Sequence[Path],
    output: Path | None,
    *,
    signer: Callable[[], Signer],
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    policy: Policy = POLV4,
    console: Console,
    as_json: bool = False,
) -> int:
    """Sign files into a new container, or one container once more (then `output` may be left out).

    `signer` is called after the files could be read, since it may ask for a card. The output appears whole or not at
    all; an existing file is only replaced when it is the very container that gets the signature.
    """
    try:
        adds = len(paths) == 1 and paths[0].suffix.lower() in _CONTAINER_SUFFIXES
        target = output or (paths[0] if adds else paths[0].with_suffix(".asice"))
        if target.exists() and not (adds and target == paths[0]):
            raise Refused("documents.output_exists", f"{target} is there already")
        contents = [_read(path) for path in paths]
        if adds:
            container = sign_container(
                contents[0], signer=signer(), issuers=issuers, trust=trust, roles=roles, place=place, policy=policy
            )
        else:
            files = [
                DataFile(path.name, guess_media_type(path.name), content)
                for path, content in zip(paths, contents, strict=True)
            ]
            container = sign_files(
                files, signer=signer(), issuers=issuers, trust=trust, roles=roles, place=place, policy=policy
            )
        _write(target, container)
    except DigiidError as error:
        return _fail(error, console, as_json=as_json)
    if as_json:
        print_json(console, {"container": str(target), "files": [path.name for path in paths]})
    else:
        console.print(f"[green]Signed:[/green] {escape(str(target))}")
    return EXIT_OK


def verify_command(
    paths: Sequence[Path],
    *,
    trust: Callable[[], VerifiedTrust] | None,
    clock: Clock,
    http: HttpClient,
    lists: Sequence[str] = (),
    list_certificates: Sequence[Path] = (),
    policy: Policy = POLV4,
    console: Console,
    as_json: bool = False,
    limits: Limits | None = None,
) -> int:
    """Judge containers. `lists` (files or addresses, signed by `list_certificates`) take the place of `trust`, the
    e-state's own list; with neither there is nothing to judge by, and the answer is exit code 2.
    """
    # 1 whom to trust
    try:
        if lists:
            signers = [certificate for path in list_certificates for certificate in _read_certificates(path)]
            anchors = read_trusted_lists(lists, signers=signers, http=http, at=clock.now())
        elif trust is not None:
            anchors = trust()
        else:
            raise NotFound(
                "documents.no_anchors",
                "no trusted list: start the e-state with `digiid up`, or name a list with --tl and its signer's "
                "certificate with --tl-cert",
            )
    except DigiidError as error:
        _fail(error, console, as_json=as_json)
        return EXIT_UNREADABLE

    # 2 each container by itself; the worst answer is the exit code
    worst, answers = EXIT_OK, []
    for path in paths:
        try:
            report = _validate(path, anchors, clock, policy, limits)
        except DigiidError as error:
            worst = EXIT_UNREADABLE
            if as_json:
                answers.append({"validatedDocument": {"filename": path.name}, "error": _error(error)})
            else:
                _fail(error, console, as_json=False, prefix=f"{path}: ")
            continue
        worst = max(worst, EXIT_OK if report.is_valid else EXIT_NOT_VALID)
        answers.append(report.to_simple_report())
        if not as_json:
            print_report(report, console)
    if as_json:
        print_json(console, answers[0] if len(answers) == 1 else answers)
    return worst


def _validate(path: Path, trust: VerifiedTrust, clock: Clock, policy: Policy, limits: Limits | None) -> Report:
    try:
        with path.open("rb") as file:
            return validate_container(
                file, trust=trust, at=clock.now(), policy=policy, file_name=path.name, limits=limits
            )
    except OSError as error:
        raise NotFound("documents.file", f"{error.strerror}") from error


def print_report(report: Report, console: Console) -> None:
    """The report for a person: verdict, signatures, what is wrong and whether it matters."""
    verdict, *others = list_findings(report)
    colour = "red" if verdict.matters else "green"
    console.print(f"[bold]{escape(report.file_name)}[/bold]: [{colour}]{escape(verdict.text)}[/{colour}]")
    if verdict.matters:
        console.print(f"  {escape(verdict.meaning)}")
    table = Table("Signed by", "Proven time (UTC)", "Verdict", "Level")
    for signature in report.signatures:
        at = signature.best_signature_at
        table.add_row(
            escape(signature.signed_by or "?"),
            f"{at:%Y-%m-%d %H:%M:%S}" if at else "none",
            str(signature.indication) + (f" ({signature.sub_indication})" if signature.sub_indication else ""),
            signature.level,
        )
    if report.signatures:
        console.print(table)
    for name in report.data_files:
        console.print(f"  file: {escape(_printable(name))}")
    for finding in others:
        _print_finding(finding, console)


def _print_finding(finding: Finding, console: Console) -> None:
    if finding.code == "finding.signature.valid":
        return  # said by the table
    mark = "[red]✗[/red]" if finding.matters else "[yellow]![/yellow]"
    console.print(f"  {mark} {escape(_printable(finding.text))}")
    if finding.meaning:
        console.print(f"      {escape(finding.meaning)}")


def _printable(text: str) -> str:
    """Without characters that turn the writing around or move the cursor: file names come from strangers."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def print_json(console: Console, value: Any) -> None:
    """JSON on standard output, nothing coloured or wrapped."""
    console.file.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def guess_media_type(name: str) -> str:
    """By the file's suffix."""
    return mimetypes.guess_type(name, strict=True)[0] or "application/octet-stream"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONTAINER_BYTES + 1)
    except OSError as error:
        raise NotFound("documents.file", f"{path}: {error.strerror}") from error
    if len(data) > MAX_CONTAINER_BYTES:
        raise Malformed("documents.too_large", f"{path} is larger than {MAX_CONTAINER_BYTES} bytes")
    return data


def _read_certificates(path: Path) -> list[x509.Certificate]:
    data = _read(path)
    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise Malformed("documents.certificate_file", f"{path}: not a PEM certificate") from error
    return [load_certificate(data)]


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: a new file beside the target, renamed over it."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    except OSError as error:
        raise NotFound("documents.output", f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise Unavailable("documents.output", f"{path}: {error.strerror}") from error


def _error(error: DigiidError) -> dict[str, str]:
    return {"code": error.code, "detail": error.public or error.detail}


def _fail(error: DigiidError, console: Console, *, as_json: bool, prefix: str = "") -> int:
    if as_json:
        print_json(console, {"error": _error(error)})
    else:
        console.print(f"[red]{escape(prefix)}{escape(error.public or error.detail)}[/red] ({error.code})")
    return EXIT_UNREADABLE if isinstance(error, Malformed | NotFound) else EXIT_NOT_VALID
