"""`digiid seal` and `digiid signing-client`: what who runs a state gives to providers of e-services. They work beside a
running state, and on one that is stopped."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from digiid.apps.document_cli import DEFAULT_STATE, JsonOption, StateOption, existing_state
from digiid.platform.clock import SystemClock
from digiid.platform.command_output import print_json
from digiid.platform.entropy import SystemEntropy

if TYPE_CHECKING:
    from digiid.apps.state import StateFolder
    from digiid.institutions.information_authority.signing_service.clients import Registry
    from digiid.institutions.trust_services.settings import TrustServicesSettings
    from digiid.platform.db import Database

seal_app = typer.Typer(no_args_is_help=True, help="Seals of organisations: key and certificate in a PKCS#12 file.")
client_app = typer.Typer(no_args_is_help=True, help="Programs that may call the signing service.")
out = Console()

CURVES = {"P-256": "secp256r1", "P-384": "secp384r1", "P-521": "secp521r1"}
_NUMBER = re.compile(r"[A-Za-z0-9-]{1,40}")
REASONS = ("keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation")


# ------------------------------------------------------------------ seals


@seal_app.command("issue")
def issue_seal(
    organization: Annotated[str, typer.Argument(help="The organisation's name.")],
    registry_code: Annotated[str, typer.Option(help="Its code in the business register.")],
    folder: Annotated[Path, typer.Option("-d", "--directory", help="Where key and password go.")] = Path(),
    common_name: Annotated[str | None, typer.Option(help="What the seal is called; else NAME e-seal.")] = None,
    number: Annotated[str | None, typer.Option(help="The seal's number; else SEAL- and the code.")] = None,
    curve: Annotated[str, typer.Option(help="P-256, P-384 or P-521.")] = "P-256",
    request: Annotated[
        Path | None, typer.Option(help="Certify the key of this PKCS#10 request (PEM or DER), and make none.")
    ] = None,
    on_device: Annotated[
        bool, typer.Option("--on-device", help="With --request: you saw the key made in a device that it cannot leave.")
    ] = False,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Make a key, have it certified, and write both into NUMBER.p12, its password into NUMBER.password (mode 0600).

    A seal in a file is an advanced one on a qualified certificate. What was interrupted goes on when asked again. With
    --request the certificate of a key that stays where it is goes into NUMBER.crt (PEM).
    """
    from digiid.apps.seals import certify_seal, load_or_make_seal
    from digiid.formats.x509.profile import Organization

    if curve not in CURVES:
        raise typer.BadParameter(f"one of {', '.join(CURVES)}", param_hint="--curve")
    seal_number = number or f"SEAL-{registry_code}"
    if not _NUMBER.fullmatch(seal_number):
        raise typer.BadParameter("letters, digits and hyphens, at most 40: it names the files", param_hint="--number")
    if on_device and request is None:
        raise typer.BadParameter("goes with --request", param_hint="--on-device")
    found = existing_state(state)
    holder = Organization(registry_code, organization, common_name or f"{organization} e-seal")
    file, password_file = folder / f"{seal_number}.p12", folder / f"{seal_number}.password"
    settings, clock, entropy = trust_settings(found), SystemClock(), SystemEntropy()

    def open_database(unit: str) -> "Database":
        return open_unit(found, unit)

    if request is None:
        certificate = load_or_make_seal(
            folder,
            settings,
            seal_number=seal_number,
            organization=holder,
            open_database=open_database,
            clock=clock,
            entropy=entropy,
            curve_name=CURVES[curve],
        ).certificate
    else:
        file = folder / f"{seal_number}.crt"
        certificate = certify_seal(
            request,
            file,
            settings,
            seal_number=seal_number,
            organization=holder,
            on_device=on_device,
            open_database=open_database,
            clock=clock,
            entropy=entropy,
        )
    if as_json:
        answer = {
            "number": seal_number,
            "file": str(file),
            "passwordFile": None if request else str(password_file),
            "subject": certificate.subject.rfc4514_string(),
            "notAfter": certificate.not_valid_after_utc.isoformat(),
        }
        print_json(out, answer)
        return
    out.print(f"[green]Seal {escape(seal_number)}[/green] in {escape(str(file))}", highlight=False)
    if request is not None:
        return
    out.print(
        f"  digiid sign FILE --p12 {file} --password-file {password_file}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@seal_app.command("revoke")
def revoke_seal(
    number: Annotated[str, typer.Argument(help="The seal's number.")],
    reason: Annotated[str, typer.Option(help=", ".join(REASONS))],
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Revoke a seal for good; from then on its status says so. Again is the same."""
    from digiid.institutions.trust_services import app

    if reason not in REASONS:
        raise typer.BadParameter(f"one of {', '.join(REASONS)}", param_hint="--reason")
    found = existing_state(state)
    app.revoke_seal(
        trust_settings(found),
        number,
        reason=reason,
        open_database=lambda unit: open_unit(found, unit),
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    if as_json:
        print_json(out, {"number": number, "status": "revoked", "reason": reason})
    else:
        out.print(f"[green]Revoked:[/green] {escape(number)}", highlight=False)


# ------------------------------------------------------------------ clients of the signing service


@client_app.command("add")
def add_client(
    name: Annotated[str, typer.Argument(help="Whose program it is.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where its credentials go, mode 0600.")],
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """A new client. Its secret is written into the file and shown nowhere."""
    from digiid.institutions.information_authority.signing_service import app

    _check_new(output)
    with _registry(state) as registry:
        credentials = app.add_client(registry, name, output)
    _tell_written(credentials.client_id, output, as_json=as_json)


@client_app.command("list")
def list_clients(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Every client there is or was, without secrets."""
    with _registry(state) as registry:
        clients = registry.list_clients()
    if as_json:
        rows = [
            {
                "serviceUuid": client.client_id,
                "name": client.name,
                "createdAt": client.created_at.isoformat(),
                "closedAt": None if client.closed_at is None else client.closed_at.isoformat(),
            }
            for client in clients
        ]
        print_json(out, rows)
        return
    if not clients:
        out.print("There are none yet; `digiid signing-client add NAME -o FILE` makes one.")
        return
    table = Table("name", "since", "closed")
    table.add_column("client", no_wrap=True)
    for client in clients:
        closed = "" if client.closed_at is None else f"{client.closed_at:%Y-%m-%d %H:%M}"
        table.add_row(escape(client.name), f"{client.created_at:%Y-%m-%d}", closed, client.client_id)
    out.print(table)


@client_app.command("renew")
def renew_client(
    client_id: Annotated[str, typer.Argument(metavar="CLIENT", help="Its identifier, as `list` shows it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the new credentials go, mode 0600.")],
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """A new secret for a client. The present one ends at once."""
    from digiid.institutions.information_authority.signing_service.app import write_credentials

    _check_new(output)
    with _registry(state) as registry:
        write_credentials(registry.renew(client_id), output)
    _tell_written(client_id, output, as_json=as_json)


@client_app.command("close")
def close_client(
    client_id: Annotated[str, typer.Argument(metavar="CLIENT", help="Its identifier, as `list` shows it.")],
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """The client may call no more."""
    with _registry(state) as registry:
        registry.close(client_id)
    if as_json:
        print_json(out, {"serviceUuid": client_id, "closed": True})
    else:
        out.print(f"[green]Closed:[/green] {client_id}", highlight=False)


# ------------------------------------------------------------------ beside the state


@contextmanager
def _registry(state: Path) -> "Iterator[Registry]":
    from digiid.institutions.information_authority.signing_service import app

    found = existing_state(state)
    database = open_unit(found, app.UNIT)
    try:
        yield app.open_registry(database, secrets_folder=found.secrets, clock=SystemClock(), entropy=SystemEntropy())
    finally:
        database.close()


def open_unit(folder: "StateFolder", unit: str) -> "Database":
    from digiid.platform.db import Database

    url = folder.load().database.url.replace("{institution}", unit)
    return Database(url) if url else Database.sqlite(folder.path / "db" / f"{unit}.sqlite")


def trust_settings(folder: "StateFolder") -> "TrustServicesSettings":
    from digiid.institutions.trust_services.settings import TrustServicesSettings

    return TrustServicesSettings(
        hierarchy_folder=folder.path / "hierarchy", passphrase_file=folder.secrets / "hierarchy-passphrase"
    )


def _check_new(output: Path) -> None:
    if output.exists():
        raise typer.BadParameter(f"{output} is there already", param_hint="--output")


def _tell_written(client_id: str, output: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(out, {"serviceUuid": client_id, "file": str(output)})
    else:
        out.print(f"[green]Client {client_id}[/green]: credentials in {escape(str(output))}", highlight=False)
