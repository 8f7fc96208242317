"""`digiid sign|extend|remove-signature`: with a card, a PKCS#12 file or a PKCS#11 token."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from cryptography import x509

from digiid.apps.document_cli import DEFAULT_STATE, JsonOption, StateOption, existing_state, out, trust_services
from digiid.kernel.errors import Malformed
from digiid.platform.entropy import SystemEntropy

if TYPE_CHECKING:
    from digiid.apps.state import StateFolder
    from digiid.formats.xades import ProductionPlace
    from digiid.platform.documents import Signer
    from digiid.platform.documents.pades import PdfWish

LEVELS = ("B", "T", "LT", "LTA")


def sign(
    files: Annotated[list[Path], typer.Argument(help="Files to sign; one container alone gets one more signature.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The container to write; else that of the first file's name.")
    ] = None,
    card: Annotated[str | None, typer.Option(help="Document number, or reader:NAME. Else the inserted card.")] = None,
    pin2: Annotated[str | None, typer.Option(envvar="DIGIID_PIN2", help="Asked for when left out.")] = None,
    p12: Annotated[Path | None, typer.Option(help="Sign with the key of this PKCS#12 file.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="With --p12: a file that holds its password.")] = None,
    token: Annotated[str | None, typer.Option(help="Sign with a PKCS#11 token: pkcs11:token=…?module-path=…")] = None,
    pin_file: Annotated[Path | None, typer.Option(help="With --token: a file that holds its PIN.")] = None,
    issuer: Annotated[
        list[Path] | None, typer.Option(help="A CA whose signers are accepted, beside the state's own (PEM or DER).")
    ] = None,
    pss: Annotated[bool, typer.Option("--pss", help="With an RSA key: RSASSA-PSS instead of PKCS#1 v1.5.")] = False,
    level: Annotated[str, typer.Option(help="B, T, LT or LTA.")] = "LT",
    each: Annotated[bool, typer.Option("--each", help="Every file into a container of its own.")] = False,
    directory: Annotated[
        Path | None, typer.Option("-d", "--directory", help="With --each or --pdf: where they go.")
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Sign inside PDF files (PAdES), each into FILE-signed.pdf.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="With --pdf: why you sign.")] = None,
    visible: Annotated[
        str | None, typer.Option(help="With --pdf: where it is seen: page,left,bottom,right,top in points.")
    ] = None,
    field: Annotated[str | None, typer.Option(help="With --pdf: the empty signature field to use.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="A role you sign in, as you claim it.")] = None,
    city: Annotated[str | None, typer.Option(help="Where you sign, as you claim it.")] = None,
    region: Annotated[str | None, typer.Option(help="State or province.")] = None,
    postal_code: Annotated[str | None, typer.Option(help="Postal code.")] = None,
    country: Annotated[str | None, typer.Option(help="Country.")] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Sign files with a card and PIN2 or another key: into an ASiC-E container (XAdES), or inside PDF files (PAdES)."""
    from digiid.institutions.trust_services.hierarchy import load_hierarchy
    from digiid.platform.certificate_files import read_certificates
    from digiid.platform.documents import Level
    from digiid.platform.documents.commands import SigningWish, batch_command, sign_command

    _check(each=each or pdf, output=None if pdf else output, directory=directory, level=level, keys=(card, p12, token))
    pdf_wish = _pdf_wish(files, output, pdf=pdf, each=each, reason=reason, visible=visible, field=field)
    folder = existing_state(state)
    trust = trust_services(folder)
    issuers = [load_hierarchy(folder.path / "hierarchy").issuing]
    for path in issuer or ():
        issuers += read_certificates(path)
    wish = SigningWish(Level(level), tuple(role or ()), _place(city, region, postal_code, country))
    with ExitStack() as stack:
        key = _Key(card, pin2, p12, password_file, token, pin_file, pss)
        signer = _signer(folder, key, stack)
        if pdf_wish is not None:
            from digiid.platform.documents.pdf_commands import sign_pdf_command

            code = sign_pdf_command(
                files,
                output,
                directory,
                signer=signer,
                issuers=issuers,
                trust=trust,
                wish=wish,
                pdf=pdf_wish,
                console=out,
                as_json=as_json,
            )
        elif each:
            code = batch_command(
                files, directory, signer=signer, issuers=issuers, trust=trust, wish=wish, console=out, as_json=as_json
            )
        else:
            code = sign_command(
                files, output, signer=signer, issuers=issuers, trust=trust, wish=wish, console=out, as_json=as_json
            )
    raise typer.Exit(code)


def extend(
    containers: Annotated[list[Path], typer.Argument(help="Containers to change in place.")],
    level: Annotated[str, typer.Option(help="LT completes level T; LTA adds an archive time-stamp.")] = "LTA",
    due: Annotated[bool, typer.Option("--due", help="Only those whose proofs age within a year.")] = False,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Make signatures last: level T to LT, LT to LTA, and LTA again before certificates or algorithms age."""
    from digiid.platform.documents.commands import extend_command

    if level not in ("LT", "LTA"):
        raise typer.BadParameter("LT or LTA", param_hint="--level")
    services = trust_services(existing_state(state))
    chosen: Literal["LT", "LTA"] = "LT" if level == "LT" else "LTA"
    raise typer.Exit(
        extend_command(containers, services=services, level=chosen, only_due=due, console=out, as_json=as_json)
    )


def remove_signature(
    container: Path,
    signature: Annotated[str, typer.Argument(help="Its Id, as `digiid verify --json` names it, or its file.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Else the container itself changes.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Take one signature out of a container. The others keep every byte."""
    from digiid.platform.documents.commands import remove_signature_command

    raise typer.Exit(remove_signature_command(container, signature, output, console=out, as_json=as_json))


@dataclass(frozen=True)
class _Key:
    """Where the key lies, as it was said on the command line."""

    card: str | None
    pin2: str | None
    p12: Path | None
    password_file: Path | None
    token: str | None
    pin_file: Path | None
    pss: bool


def _check(
    *, each: bool, output: Path | None, directory: Path | None, level: str, keys: tuple[object, object, object]
) -> None:
    if level not in LEVELS:
        raise typer.BadParameter(f"one of {', '.join(LEVELS)}", param_hint="--level")
    if each and output is not None:
        raise typer.BadParameter("goes with --directory", param_hint="--each")
    if directory is not None and not each:
        raise typer.BadParameter("goes with --each or --pdf", param_hint="--directory")
    if sum(key is not None for key in keys) > 1:
        raise typer.BadParameter("name one of --card, --p12 and --token")


def _pdf_wish(
    files: list[Path],
    output: Path | None,
    *,
    pdf: bool,
    each: bool,
    reason: str | None,
    visible: str | None,
    field: str | None,
) -> "PdfWish | None":
    from digiid.platform.documents.pades import PdfWish
    from digiid.platform.documents.pdf_commands import parse_visible

    if not pdf:
        for name, value in (("--reason", reason), ("--visible", visible), ("--field", field)):
            if value is not None:
                raise typer.BadParameter("goes with --pdf", param_hint=name)
        return None
    if each:
        raise typer.BadParameter("--pdf signs every file by itself already", param_hint="--each")
    if output is not None and len(files) > 1:
        raise typer.BadParameter("names one file; use --directory for several", param_hint="--output")
    if visible is not None and field is not None:
        raise typer.BadParameter("a field that is there has its own place", param_hint="--visible")
    return PdfWish(reason=reason, visible=parse_visible(visible) if visible else None, field_name=field)


def _signer(folder: "StateFolder", key: _Key, stack: ExitStack) -> "Callable[[], Signer]":
    """The signer that was asked for, opened when it is called."""
    from digiid.platform.documents.signers import signer_from_pkcs12, signer_from_token

    if key.p12 is not None:
        file, password_file = key.p12, key.password_file
        return lambda: signer_from_pkcs12(file, password_file, pss=key.pss)
    if key.token is not None:
        uri = key.token
        return lambda: signer_from_token(uri, key.pin_file, pss=key.pss)
    if key.pss:
        raise Malformed("documents.pss", "a card has no RSA key: --pss goes with --p12 and --token")
    return lambda: _card_signer(folder, key, stack)


def _card_signer(folder: "StateFolder", key: _Key, stack: ExitStack) -> "Signer":
    from digiid.devices import pcsc
    from digiid.devices.card_commands import opened_card
    from digiid.platform import eid_card
    from digiid.platform.documents import CallbackSigner
    from digiid.platform.eid_card import CardKey

    _, transport = stack.enter_context(opened_card(folder.path, SystemEntropy(), key.card, pcsc))
    certificate: x509.Certificate = eid_card.read_certificate(transport, CardKey.SIGNATURE)
    pin = key.pin2 or typer.prompt("PIN2", hide_input=True)
    return CallbackSigner(certificate, lambda digest: eid_card.sign(transport, pin2=pin, digest=digest))


def _place(
    city: str | None, region: str | None, postal_code: str | None, country: str | None
) -> "ProductionPlace | None":
    from digiid.formats.xades import ProductionPlace

    if not any((city, region, postal_code, country)):
        return None
    return ProductionPlace(city=city, state_or_province=region, postal_code=postal_code, country_name=country)
