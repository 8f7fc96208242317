"""`digiid encrypt|decrypt`: CDOC2 containers from the command line."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from digiid.kernel.errors import DigiidError, Malformed, NotFound
from digiid.platform.clock import SystemClock
from digiid.platform.entropy import SystemEntropy
from digiid.platform.visible_text import make_visible

if TYPE_CHECKING:
    from digiid.formats.apdu import Transport
    from digiid.platform.documents.encryption import DecryptionKey, ProgressReport, RecipientInfo
    from digiid.platform.documents.recipients import KeyRecipient, NewRecipient

out = Console()
err = Console(stderr=True)

StateOption = Annotated[Path, typer.Option("--state", help="The folder of the state.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DEFAULT_STATE = Path("var")
_MAX_SMALL_FILE_BYTES = 64 * 1024
_KINDS = {
    "ec": "EC key",
    "rsa": "RSA key",
    "password": "password",
    "secret": "shared key",
    "key_server": "EC or RSA key",
    "key_shares": "split key",
    "unknown": "unknown",
}


def encrypt(
    files: Annotated[list[Path], typer.Argument(help="Files to encrypt, without their folders.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The container to write (.cdoc2).")],
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            "-r",
            "--recipient",
            help="A certificate for authentication (PEM or DER), or the document number of a card here. Repeat.",
        ),
    ] = None,
    password: Annotated[bool, typer.Option("--password", help="Also to a password, which is asked for.")] = False,
    password_file: Annotated[Path | None, typer.Option(help="A file that holds the password.")] = None,
    password_label: Annotated[str, typer.Option(help="A name for the password; everybody can read it.")] = "",
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL:FILE", help="Also to a key that both sides have: a file of base64. Repeat."),
    ] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Encrypt files into a CDOC2 container that only its recipients can open."""
    from digiid.platform.command_output import EXIT_OK, print_error, print_json
    from digiid.platform.documents.encryption import encrypt_files
    from digiid.platform.documents.recipients import recipient_of_password, recipient_of_secret

    if not (recipient or password or password_file or key):
        raise typer.BadParameter("name at least one recipient (-r), a password (--password) or a key (--key)")
    try:
        at = SystemClock().now()
        recipients: list[NewRecipient] = [_find_recipient(named, state, at) for named in recipient or ()]
        if password or password_file:
            typed = _read_password(password_file, confirm=True)
            recipients.append(recipient_of_password(password_label or output.name, typed))
        for labelled in key or ():
            recipients.append(recipient_of_secret(*_read_key(labelled)))
        with _progress_bar("Encrypting", shown=not as_json) as progress:
            size = encrypt_files(files, output, recipients=recipients, entropy=SystemEntropy(), progress=progress)
    except DigiidError as error:
        raise typer.Exit(print_error(error, out, as_json=as_json)) from None
    if as_json:
        labels = [found.label for found in recipients]
        print_json(out, {"container": str(output), "size_bytes": size, "recipients": labels})
    else:
        out.print(f"Encrypted: {output} ({size:,} bytes)", highlight=False, markup=False)
        for found in recipients:
            out.print(f"  to {_visible_name(found.label)}", highlight=False, markup=False)
    raise typer.Exit(EXIT_OK)


def decrypt(
    container: Annotated[Path, typer.Argument(help="A CDOC2 container.")],
    folder: Annotated[Path, typer.Option("-d", "--directory", help="Where the files go.")] = Path(),
    list_only: Annotated[bool, typer.Option("--list", help="Only say who can open it.")] = False,
    card: Annotated[str | None, typer.Option(help="Document number, or reader:NAME. Else the inserted card.")] = None,
    pin1: Annotated[str | None, typer.Option(envvar="DIGIID_PIN1", help="Asked for when left out.")] = None,
    private_key: Annotated[
        str | None, typer.Option(help="A PEM or PKCS#12 file, or a pkcs11: URI, in the place of a card.")
    ] = None,
    private_key_password_file: Annotated[
        Path | None, typer.Option(help="A file that holds the password of that file, or the token's PIN.")
    ] = None,
    password: Annotated[bool, typer.Option("--password", help="With a password, which is asked for.")] = False,
    password_file: Annotated[Path | None, typer.Option(help="A file that holds the password.")] = None,
    key: Annotated[str | None, typer.Option(metavar="LABEL:FILE", help="With a key that both sides have.")] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Decrypt a CDOC2 container. Nothing appears before all of it was checked, and nothing that exists is overwritten.

    Exit codes: 0 decrypted; 1 refused, such as a wrong key or a changed container; 2 unreadable.
    """
    from digiid.platform.command_output import EXIT_OK, print_error, print_json
    from digiid.platform.documents.decryption_keys import key_of_card, load_decryption_key
    from digiid.platform.documents.encryption import PasswordKey, SecretKey, decrypt_files, list_recipients

    ways = [card is not None, private_key is not None, password or password_file is not None, key is not None]
    if sum(ways) > 1:
        raise typer.BadParameter("one of --card, --private-key, --password and --key")
    try:
        if list_only:
            _print_recipients(list_recipients(container), as_json=as_json)
            raise typer.Exit(EXIT_OK)
        with ExitStack() as stack:
            opener: DecryptionKey
            if private_key is not None:
                opener = load_decryption_key(private_key, private_key_password_file)
            elif password or password_file:
                opener = PasswordKey(_read_password(password_file, confirm=False))
            elif key is not None:
                label, secret = _read_key(key)
                opener = SecretKey(secret, label or None)
            else:
                list_recipients(container)  # what is no container costs nobody a look at a card
                transport = _open_card(stack, state, card)
                opener = key_of_card(transport, lambda: pin1 or str(typer.prompt("PIN1", hide_input=True)))
            with _progress_bar("Decrypting", shown=not as_json) as progress:
                files = decrypt_files(container, folder, key=opener, progress=progress)
    except DigiidError as error:
        raise typer.Exit(print_error(error, out, as_json=as_json)) from None
    if as_json:
        print_json(out, {"container": str(container), "files": [str(file) for file in files]})
    else:
        for file in files:
            out.print(str(file), highlight=False, markup=False)
    raise typer.Exit(EXIT_OK)


def _find_recipient(named: str, state: Path, at: datetime) -> "KeyRecipient":
    """A certificate's file, or a card of the state or in a reader."""
    from digiid.platform import eid_card
    from digiid.platform.certificate_files import read_certificate
    from digiid.platform.documents.recipients import recipient_of_certificate
    from digiid.platform.eid_card import CardKey

    file = Path(named)
    if file.exists():
        return recipient_of_certificate(read_certificate(file), at=at)
    with ExitStack() as stack:
        try:
            transport = _open_card(stack, state, named)
        except NotFound as error:
            text = f"{named}: neither a certificate's file nor the document number of a card that is here."
            raise NotFound("encryption.recipient.unknown", f"{named}: {error.detail}", public=text) from error
        return recipient_of_certificate(eid_card.read_certificate(transport, CardKey.AUTHENTICATION), at=at)


def _open_card(stack: ExitStack, state: Path, card: str | None) -> "Transport":
    from digiid.devices import pcsc
    from digiid.devices.card_commands import opened_card

    _, transport = stack.enter_context(opened_card(state.resolve(), SystemEntropy(), card, pcsc))
    return transport


def _read_password(file: Path | None, *, confirm: bool) -> str:
    from digiid.platform.secret_file import read_passphrase

    if file is None:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=confirm))
    try:
        return read_passphrase(file).decode()
    except UnicodeDecodeError as error:
        raise Malformed("encryption.password.encoding", f"{file} is not UTF-8") from error


def _read_key(labelled: str) -> tuple[str, bytes]:
    from digiid.platform.documents.files import read_file

    label, sign, name = labelled.partition(":")
    if not sign:
        raise typer.BadParameter("LABEL:FILE", param_hint="--key")
    try:
        content = b"".join(read_file(Path(name), max_bytes=_MAX_SMALL_FILE_BYTES).split())
        return label, base64.b64decode(content, validate=True)
    except binascii.Error as error:
        text = f"{name} is not base64. `openssl rand -base64 32` makes a key."
        raise Malformed("encryption.key.encoding", text, public=text) from error


def _print_recipients(recipients: "Sequence[RecipientInfo]", *, as_json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from digiid.platform.command_output import print_json

    if as_json:
        rows = [
            {"kind": found.kind, "name": found.name, "label": found.label, "problem": found.problem or None}
            for found in recipients
        ]
        print_json(out, {"recipients": rows})
        return
    table = Table("Recipient", "Opens with", "", box=None, pad_edge=False)
    for found in recipients:
        table.add_row(Text(_visible_name(found.label)), _KINDS[found.kind], Text(make_visible(found.problem)))
    out.print(table)
    out.print("[dim]As the container says itself; only a key proves it.[/dim]")


def _visible_name(label: str) -> str:
    from digiid.formats.cdoc2 import describe_label

    return make_visible(describe_label(label))


@contextmanager
def _progress_bar(title: str, *, shown: bool) -> "Iterator[ProgressReport]":
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not shown or not err.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
