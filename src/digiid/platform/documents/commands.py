"""`digiid sign` and `digiid timestamp`, without the argument parser. Exit codes: see `output`."""

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
from digiid.platform.documents.time_stamping import renew_time_stamp, time_stamp_document

_CONTAINER_SUFFIXES = (".asice", ".sce", ".bdoc")
_STAMPED_SUFFIXES = (".asics", ".scs")


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
    worst, done = EXIT_OK, []
    with console.status("Stamping …"):
        for path in paths:
            try:
                target = _stamp(path, output, services, policy)
            except DigiidError as error:
                worst = max(worst, print_error(error, console, as_json=False, prefix=f"{path}: "))
                continue
            done.append(str(target))
            if not as_json:
                console.print(f"[green]Time-stamped:[/green] {escape(str(target))}", highlight=False)
    if as_json:
        print_json(console, {"containers": done})
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
