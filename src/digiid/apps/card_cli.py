"""`digiid card …`: what the command line prints and asks; the work is in `devices.card_commands`.

Imported by every start of the command line, so the room behind it is opened only by a command that runs.
"""

import json
import signal
import sys
import threading
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from digiid.kernel.errors import Refused
from digiid.platform.entropy import SystemEntropy

if TYPE_CHECKING:
    from digiid.devices.wallet import PresentCard

card_app = typer.Typer(no_args_is_help=True, help="The cards on the shelf and in the reader.")
out = Console()

StateOption = Annotated[Path, typer.Option("--state", help="The folder of the state.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
CardOption = Annotated[
    str | None,
    typer.Option("--card", help="A document number, or reader:NAME. Left out: the inserted card, or the only one."),
]
DEFAULT_STATE = Path("var")


class PinName(StrEnum):
    """As typed on the command line."""

    PIN1 = "pin1"
    PIN2 = "pin2"
    PUK = "puk"


class CertificateName(StrEnum):
    """As typed on the command line."""

    AUTHENTICATION = "authentication"
    SIGNATURE = "signature"


@card_app.command("list")
def list_cards(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """The cards on the shelf and in PC/SC readers."""
    from digiid.devices import card_commands

    cards = card_commands.list_cards(state.resolve(), SystemEntropy())
    if as_json:
        _print_json([_card(card) for card in cards])
        return
    if not cards:
        out.print("There are no cards. `digiid up` makes test cards.")
        return
    table = Table("Document", "Holder", "Where", box=None, pad_edge=False)
    for card in cards:
        where = f"reader {card.reader}" if card.place == "reader" else "shelf"
        where += ", inserted" if card.inserted else ""
        table.add_row(card.document_number or "–", card.holder or f"cannot be read ({card.problem})", where)
    out.print(table)


@card_app.command()
def insert(
    document_number: Annotated[str, typer.Argument(help="The card to put into the virtual reader.")],
    state: StateOption = DEFAULT_STATE,
    serve: Annotated[
        bool, typer.Option("--serve", help="Without a running state: show the card to PC/SC until Ctrl-C.")
    ] = False,
) -> None:
    """Put a card of the shelf into the virtual reader. PC/SC sees it where vsmartcard's reader driver runs."""
    from digiid.devices import card_commands

    folder, entropy = state.resolve(), SystemEntropy()
    taken = card_commands.insert_card(folder, entropy, document_number)
    out.print(f"Card {document_number} is in the reader.")
    if taken:
        return
    if not serve:
        out.print("The state does not run: PC/SC sees the card after `digiid up`, or now with --serve.")
        return
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    out.print("Serving PC/SC. Ctrl-C takes the card out.")
    card_commands.serve_inserted_card(folder, entropy, until=stop)
    card_commands.remove_card(folder, entropy)


@card_app.command()
def remove(state: StateOption = DEFAULT_STATE) -> None:
    """Take the card out of the virtual reader."""
    from digiid.devices import card_commands

    number = card_commands.remove_card(state.resolve(), SystemEntropy())
    out.print(f"Card {number} is out." if number else "No card was in the reader.")


@card_app.command()
def info(card: CardOption = None, state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """What a card says without a PIN: holder, document, tries left, certificates."""
    from digiid.devices import card_commands

    found = card_commands.read_card_info(state.resolve(), SystemEntropy(), card=card)
    document, tries = found.document, found.tries_left
    if as_json:
        _print_json(
            {
                **_card(found.card),
                "surname": document.surname,
                "given_names": document.given_names,
                "personal_code": document.personal_code,
                "issued_on": document.issued_on.isoformat(),
                "expires_on": document.expires_on.isoformat(),
                "tries_left": {"pin1": tries.pin1, "pin2": tries.pin2, "puk": tries.puk},
                "certificates": [
                    {
                        "kind": certificate.kind.value,
                        "subject": certificate.subject,
                        "issuer": certificate.issuer,
                        "serial_number": certificate.serial_number,
                        "not_before": certificate.not_before_at.isoformat(),
                        "not_after": certificate.not_after_at.isoformat(),
                    }
                    for certificate in found.certificates
                ],
            }
        )
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("Holder", f"{document.given_names} {document.surname}")
    table.add_row("Personal code", document.personal_code)
    table.add_row("Document", document.document_number)
    table.add_row("Issued, expires", f"{document.issued_on.isoformat()}, {document.expires_on.isoformat()}")
    for name, left in (("PIN1", tries.pin1), ("PIN2", tries.pin2), ("PUK", tries.puk)):
        table.add_row(f"{name}, tries left", str(left) if left else "0: blocked")
    for certificate in found.certificates:
        ends = certificate.not_after_at.strftime("%Y-%m-%d %H:%M UTC")
        table.add_row(f"Certificate, {certificate.kind.value}", f"{certificate.serial_number}, until {ends}")
    out.print(table)


@card_app.command()
def certificate(
    kind: Annotated[
        CertificateName, typer.Argument(help="For signing in and being encrypted to, or for signatures.")
    ] = CertificateName.AUTHENTICATION,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where it goes; else it is printed.")] = None,
    card: CardOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """A certificate of a card as PEM, without a PIN: for whoever encrypts to its holder, or verifies."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from digiid.devices import pcsc
    from digiid.devices.card_commands import opened_card
    from digiid.platform import eid_card
    from digiid.platform.documents.files import write_whole
    from digiid.platform.eid_card import CardKey

    with opened_card(state.resolve(), SystemEntropy(), card, pcsc) as (_, transport):
        found = eid_card.read_certificate(transport, CardKey(kind.value))
    pem = found.public_bytes(Encoding.PEM)
    if output is None:
        sys.stdout.write(pem.decode())
    else:
        write_whole(output, pem)


@card_app.command()
def pin(
    pin_name: Annotated[PinName, typer.Argument(metavar="pin1|pin2|puk", help="The PIN to change or unblock.")],
    unblock: Annotated[bool, typer.Option("--unblock", help="Give PIN1 or PIN2 a new value with the PUK.")] = False,
    card: CardOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Change PIN1, PIN2 or the PUK, or unblock a PIN. The values are asked for and never shown."""
    from digiid.devices import card_commands
    from digiid.platform.eid_card import CardPin

    which = CardPin(pin_name.value)
    name = which.value.upper()
    proof = _ask("PUK" if unblock else f"Present {name}")
    new = _ask(f"New {name} ({which.min_digits} to {which.max_digits} digits)")
    if new != _ask(f"New {name} again"):
        text = f"The two new {name} values differ. Nothing was changed."
        raise Refused("card.pin.repeat", text, public=text)
    folder, entropy = state.resolve(), SystemEntropy()
    if unblock:
        used = card_commands.unblock_pin(folder, entropy, which, puk=proof, new=new, card=card)
    else:
        used = card_commands.change_pin(folder, entropy, which, old=proof, new=new, card=card)
    out.print(f"{name} of card {used.document_number} is {'unblocked' if unblock else 'changed'}.")


def _ask(prompt: str) -> str:
    answer: str = typer.prompt(prompt, hide_input=True)
    return answer


def _card(card: "PresentCard") -> dict[str, str | bool]:
    return {
        "id": card.id,
        "document_number": card.document_number,
        "holder": card.holder,
        "place": card.place,
        "reader": card.reader,
        "inserted": card.inserted,
        "problem": card.problem,
    }


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
