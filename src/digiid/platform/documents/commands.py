"""`digiid sign`, without the argument parser. Exit codes: see `output`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from rich.console import Console
from rich.markup import escape

from digiid.formats.asic import DataFile
from digiid.formats.validation import POLV4, Policy
from digiid.formats.xades import ProductionPlace
from digiid.kernel.errors import DigiidError, Refused
from digiid.platform.documents.files import guess_media_type, read_file, write_whole
from digiid.platform.documents.output import EXIT_OK, print_error, print_json
from digiid.platform.documents.signing import Signer, TrustServices, sign_container, sign_files

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
        contents = [read_file(path) for path in paths]
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
        write_whole(target, container)
    except DigiidError as error:
        return print_error(error, console, as_json=as_json)
    if as_json:
        print_json(console, {"container": str(target), "files": [path.name for path in paths]})
    else:
        console.print(f"[green]Signed:[/green] {escape(str(target))}")
    return EXIT_OK
