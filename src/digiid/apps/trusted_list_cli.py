"""`digiid tl`: make, sign, check and show trusted lists."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from digiid.kernel.errors import Malformed, NotFound, Unavailable
from digiid.platform.clock import SystemClock
from digiid.platform.visible_text import make_visible

if TYPE_CHECKING:
    from digiid.platform.documents import KeySigner

tl_app = typer.Typer(no_args_is_help=True, help="Trusted lists (TS 119 612): make, sign, check, show.")
out = Console()

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
P12Option = Annotated[Path | None, typer.Option(help="The signer's PKCS#12 file.")]
PasswordOption = Annotated[Path | None, typer.Option(help="With --p12: a file that holds its password.")]
TokenOption = Annotated[str | None, typer.Option(help="The signer's PKCS#11 token: pkcs11:token=…")]
PinOption = Annotated[Path | None, typer.Option(help="With --token: a file that holds its PIN.")]


@tl_app.command()
def build(
    toml: Annotated[Path, typer.Argument(help="The list in short: see docs/how-to/make-a-trusted-list.md.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The list to write.")],
    p12: P12Option = None,
    password_file: PasswordOption = None,
    token: TokenOption = None,
    pin_file: PinOption = None,
) -> None:
    """Make a list from a TOML file; with --p12 or --token sign it as well."""
    from digiid.formats.trusted_list import build_trusted_list
    from digiid.platform.documents.files import write_whole
    from digiid.platform.trust.list_files import read_list_file

    xml = build_trusted_list(read_list_file(toml, now=SystemClock().now()))
    if p12 is not None or token is not None:
        xml = _sign(xml, _signer(p12, password_file, token, pin_file))
    write_whole(output, xml)
    out.print(
        f"{output}: {len(xml):,} bytes{'' if p12 or token else ', not signed yet (digiid tl sign)'}", highlight=False
    )


@tl_app.command()
def sign(
    unsigned: Path,
    output: Annotated[Path, typer.Option("-o", "--output", help="The signed list to write.")],
    p12: P12Option = None,
    password_file: PasswordOption = None,
    token: TokenOption = None,
    pin_file: PinOption = None,
) -> None:
    """Sign a list that was built."""
    from digiid.platform.documents.files import read_file, write_whole

    xml = _sign(read_file(unsigned), _signer(p12, password_file, token, pin_file))
    write_whole(output, xml)
    out.print(f"{output}: signed", highlight=False)


@tl_app.command()
def check(
    lists: Annotated[list[str], typer.Argument(help="Lists to check, files or URLs.")],
    tl_cert: Annotated[list[Path] | None, typer.Option(help="Who may sign them (PEM or DER).")] = None,
    former: Annotated[Path | None, typer.Option(help="The list that was published before.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell everything that is wrong with lists. Exit codes: 0 nothing, 1 an error, 2 no list at all."""
    from digiid.platform.certificate_files import read_certificates
    from digiid.platform.command_output import print_json
    from digiid.platform.documents.files import read_file
    from digiid.platform.http import HttpClient
    from digiid.platform.trust import read_location
    from digiid.platform.trust.list_files import check_list

    signers = [certificate for path in tl_cert or () for certificate in read_certificates(path)]
    before = read_file(former) if former else None
    worst, http = 0, HttpClient()
    answers: list[dict[str, object]] = []
    for path in lists:
        try:
            problems = check_list(read_location(path, http), signers=signers, at=SystemClock().now(), former=before)
        except (Malformed, NotFound, Unavailable) as error:
            worst = 2
            answers.append({"list": path, "error": {"code": error.code, "detail": error.detail}})
            if not as_json:
                where = "" if path in error.detail else f"{path}: "
                out.print(f"[red]✗[/red] {escape(where + error.detail)} ({error.code})", highlight=False)
            continue
        worst = max(worst, 1 if any(problem.is_error for problem in problems) else 0)
        told = [{"code": one.code, "text": one.text, "isError": one.is_error} for one in problems]
        answers.append({"list": path, "problems": told})
        if as_json:
            continue
        for problem in problems:
            mark = "[red]✗[/red]" if problem.is_error else "[yellow]![/yellow]"
            out.print(f"{mark} {escape(f'{path}: {problem.text}')} ({problem.code})", highlight=False)
        if not problems:
            out.print(f"[green]✓[/green] {escape(path)}: nothing is wrong with it", highlight=False)
    if as_json:
        print_json(out, answers)
    raise typer.Exit(worst)


@tl_app.command()
def show(
    trusted_list: Annotated[str, typer.Argument(help="A list, file or URL.")],
    as_json: JsonOption = False,
) -> None:
    """What a list says. Nothing is verified: see `digiid tl check`."""
    from digiid.formats.trusted_list import parse_trusted_list
    from digiid.platform.command_output import print_json
    from digiid.platform.http import HttpClient
    from digiid.platform.trust import read_location

    content = parse_trusted_list(read_location(trusted_list, HttpClient()))
    services = [
        {
            "provider": service.provider_name,
            "service": service.name,
            "type": service.periods[0].service_type.split("/Svctype/")[-1],
            "status": service.periods[0].status.rsplit("/", 1)[-1],
            "since": service.periods[0].starting_at.isoformat(),
            "earlierPeriods": len(service.periods) - 1,
        }
        for service in content.services
    ]
    head = {
        "scheme": content.scheme_name,
        "territory": content.territory,
        "operator": content.operator_name,
        "version": content.version,
        "sequenceNumber": content.sequence_number,
        "issuedAt": content.issued_at.isoformat(),
        "nextUpdateAt": content.next_update_at.isoformat() if content.next_update_at else None,
        "pointers": [pointer.location for pointer in content.pointers],
    }
    if as_json:
        print_json(out, {**head, "services": services})
        return
    for name, value in head.items():
        if name != "pointers":
            out.print(f"{name}: {make_visible(str(value))}", highlight=False, markup=False)
    for pointer in content.pointers:
        out.print(f"points to: {make_visible(pointer.location)}", highlight=False, markup=False)
    table = Table()
    for heading in ("provider", "service", "type", "status", "since", "earlier"):
        table.add_column(heading, overflow="fold")
    for service in services:
        row = {**service, "since": str(service["since"])[:10]}
        table.add_row(*(Text(make_visible(str(value))) for value in row.values()))
    out.print(table)


def _signer(p12: Path | None, password_file: Path | None, token: str | None, pin_file: Path | None) -> "KeySigner":
    from digiid.platform.documents.signers import signer_from_pkcs12, signer_from_token

    if (p12 is None) == (token is None):
        raise typer.BadParameter("name the signer: --p12 or --token")
    if p12 is not None:
        return signer_from_pkcs12(p12, password_file)
    assert token is not None
    return signer_from_token(token, pin_file)


def _sign(xml: bytes, signer: "KeySigner") -> bytes:
    from digiid.formats.trusted_list import ID_TSL_KP_SIGNING, sign_trusted_list, verify_trusted_list
    from digiid.formats.x509.parts import parts_of

    usage = parts_of(signer.certificate).extended_key_usage() or ()
    if ID_TSL_KP_SIGNING not in usage:
        out.print("[yellow]![/yellow] The certificate is not made for signing lists (TS 119 612 §5.7.1).")
    signed = sign_trusted_list(
        xml, key=signer.key, certificate=signer.certificate, claimed_signing_at=SystemClock().now()
    )
    verify_trusted_list(signed, signers=[signer.certificate])
    return signed
