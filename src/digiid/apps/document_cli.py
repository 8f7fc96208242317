"""`digiid verify|timestamp|extract`: trust services and a trusted list, used from the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from digiid.kernel.errors import NotFound
from digiid.platform.clock import SystemClock
from digiid.platform.entropy import SystemEntropy

if TYPE_CHECKING:
    from digiid.apps.state import StateFolder
    from digiid.platform.documents import TrustServices

out = Console()

StateOption = Annotated[Path, typer.Option("--state", help="The folder of the state.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DEFAULT_STATE = Path("var")


def verify(
    containers: Annotated[
        list[Path] | None, typer.Argument(help="Containers, or folders of them, to judge.", show_default=False)
    ] = None,
    tl: Annotated[list[str] | None, typer.Option(help="A trusted list, file or URL; repeat for several.")] = None,
    tl_cert: Annotated[list[Path] | None, typer.Option(help="Who signs the first list (PEM or DER).")] = None,
    policy: Annotated[str, typer.Option(help="POLv3 or POLv4.")] = "POLv4",
    report: Annotated[Path | None, typer.Option(help="Write every report as JSON into this file.")] = None,
    expect: Annotated[
        Path | None, typer.Option(help="A table of asserted verdicts (CSV: file, expected, policy) to compare with.")
    ] = None,
    explained: Annotated[
        Path | None, typer.Option(help="With --expect: where we differ and why (CSV: file, ours, reason).")
    ] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Judge containers: who signed what, when, and whether it holds. Exit codes: 0 valid, 1 not valid, 2 unreadable.

    With --expect the files that the table names are judged, and a confusion table is printed; exit code 1 when a
    verdict differs and the difference is not explained.
    """
    from digiid.apps.state import StateFolder
    from digiid.formats.validation import POLICIES
    from digiid.platform.documents.expectations import read_expectations
    from digiid.platform.documents.verifying import Judge, compare_command, read_anchors, verify_command
    from digiid.platform.http import HttpClient

    if policy not in POLICIES:
        raise typer.BadParameter(f"one of {', '.join(POLICIES)}", param_hint="--policy")
    if bool(containers) == bool(expect):
        raise typer.BadParameter("name containers, or a table with --expect")
    folder, clock = StateFolder(state.resolve()), SystemClock()

    def judge() -> Judge:
        own = trust_services(folder).trust if folder.exists and not tl else None
        anchors = read_anchors(own, lists=tl or (), list_certificates=tl_cert or (), http=HttpClient(), clock=clock)
        return Judge(anchors, clock, POLICIES[policy])

    if expect is not None:
        rows = read_expectations(expect, explained)
        raise typer.Exit(compare_command(rows, judge=judge, console=out, as_json=as_json))
    raise typer.Exit(verify_command(containers or [], judge=judge, console=out, as_json=as_json, report_file=report))


def timestamp(
    files: Annotated[list[Path], typer.Argument(help="Files; an .asics container gets a new time-stamp instead.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The container to write, for one file.")] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Time-stamp files of any kind, old signed containers too, as ASiC-S; renew what was stamped before."""
    from digiid.platform.documents.commands import timestamp_command

    if output is not None and len(files) != 1:
        raise typer.BadParameter("names the container of one file", param_hint="--output")
    services = trust_services(existing_state(state))
    raise typer.Exit(timestamp_command(files, output, services=services, console=out, as_json=as_json))


def existing_state(state: Path) -> "StateFolder":
    from digiid.apps.state import StateFolder

    folder = StateFolder(state.resolve())
    if not folder.exists:
        raise NotFound(
            "documents.no_state", f"there is no state in {folder.path}; `--state DIR` names one, `digiid up` makes one"
        )
    return folder


def extract(
    container: Annotated[Path, typer.Argument(help="An ASiC container or a DigiDoc file.")],
    folder: Annotated[Path, typer.Option("-d", "--directory", help="Where the files go.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Take the files out of a container. Nothing is judged; nothing that exists is overwritten."""
    from digiid.platform.command_output import print_json
    from digiid.platform.documents.taking_out import take_out_files

    taken = take_out_files(container, folder)
    if as_json:
        print_json(out, {"container": str(container), "files": [str(file) for file in taken]})
        return
    for file in taken:
        out.print(str(file), highlight=False, markup=False, soft_wrap=True)


def trust_services(folder: "StateFolder") -> "TrustServices":
    """The trust services of a state as a client of it sees them: the list's last good copy works without them."""
    from digiid.formats.x509.profile import CertificateKind
    from digiid.institutions.trust_services.hierarchy import load_hierarchy
    from digiid.platform.documents import TrustServices
    from digiid.platform.http import HttpClient
    from digiid.platform.trust import AllowedHosts, ListSource, OcspClient, TrustedListStore, TsaClient

    settings, clock, entropy, http = folder.load(), SystemClock(), SystemEntropy(), HttpClient()
    hierarchy = load_hierarchy(folder.path / "hierarchy")
    hosts = AllowedHosts.of_urls(settings.base_url)
    signer = hierarchy.certificate(CertificateKind.TRUSTED_LIST_SIGNER)
    lists = TrustedListStore(
        ListSource(f"{settings.base_url}/tl.xml", (signer,)),
        folder=folder.path / "trusted-lists",
        http=http,
        clock=clock,
        hosts=hosts,
    )
    return TrustServices(
        tsa=TsaClient(http, entropy, clock, address=f"{settings.base_url}/tsa", hosts=hosts),
        ocsp=OcspClient(http, entropy, clock, hosts=hosts),
        trust=lists.trust,
        clock=clock,
    )
