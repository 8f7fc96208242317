"""`digiid exchange grant|revoke|rights`: access rights at services of a state, beside those that its contracts give."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from digiid.apps.access_rights import Changed, Origin, Right, endpoint_text, parse_endpoint
from digiid.apps.document_cli import DEFAULT_STATE, JsonOption, StateOption, existing_state
from digiid.apps.exchange_registry_cli import OfficerOption, opened_central, which_officer
from digiid.exchange.granted_rights import parse_service_id
from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import ClientId, ServiceId, parse_client_id
from digiid.platform.command_output import print_json

out = Console(emoji=False)
SubjectArgument = Annotated[
    str, typer.Argument(metavar="SUBJECT", help="A subsystem, as EE/COM/10000298/school; or a global group's code.")
]
ServiceArgument = Annotated[str, typer.Argument(metavar="SERVICE", help="As EE/GOV/70000106/business/find-companies.")]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option("--endpoint", help='A method and a path below the service, "POST /v1". Repeat.', show_default=False),
]


def grant(
    subject: SubjectArgument,
    service: ServiceArgument,
    endpoint: EndpointOption = None,
    officer: OfficerOption = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Give a right to one service of an institution of this state, from the next message on. It stays until revoked.

    Only what the institution's contract opens to others can be given; `rights --open` lists it.
    """
    from digiid.apps import access_rights
    from digiid.exchange.central_server.domain import Action

    who, what, where = _read_subject(subject), _read_service(service), _read_endpoints(endpoint)
    with opened_central(state) as deps:
        by = which_officer(deps, officer, Action.MANAGE_ACCESS_RIGHTS)
        done = access_rights.grant(existing_state(state), deps, who, what, where, by=by)
    if as_json:
        print_json(out, _changed_json(done, who, what, verb="granted") | {"basis": done.basis})
        return
    for each in done.changed:
        _print(f"[green]Granted[/green] to {escape(str(who))}: {_what(what, each)}")
    for each in done.unchanged:
        _print(f"{escape(str(who))} has it already: {_what(what, each)}")
    for each in done.by_contract:
        _print(f"{escape(str(who))} has it by the contract: {_what(what, each)}")
    if done.changed:
        _print(f"  By what right it is answered: {escape(done.basis)}")


def revoke(
    subject: SubjectArgument,
    service: ServiceArgument,
    endpoint: EndpointOption = None,
    officer: OfficerOption = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Take a right back that `grant` gave, from the next message on; without --endpoint all of them at the service.

    What a contract gives stays.
    """
    from digiid.apps import access_rights
    from digiid.exchange.central_server.domain import Action

    who, what, where = _read_subject(subject), _read_service(service), _read_endpoints(endpoint)
    with opened_central(state) as deps:
        by = which_officer(deps, officer, Action.MANAGE_ACCESS_RIGHTS)
        done = access_rights.revoke(existing_state(state), deps, who, what, where, by=by)
    if as_json:
        print_json(out, _changed_json(done, who, what, verb="revoked"))
        return
    for each in done.changed:
        _print(f"[green]Revoked[/green] from {escape(str(who))}: {_what(what, each)}")
    for each in done.unchanged:
        _print(f"{escape(str(who))} did not have it: {_what(what, each)}")


def rights(
    is_open: Annotated[bool, typer.Option("--open", help="What can be given, instead of what was given.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="The rights that the contracts give as well.")] = False,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """The rights that an operator gave beside the contracts, by subject, service and endpoint."""
    from digiid.apps import access_rights

    folder = existing_state(state)
    if is_open:
        _show_open(as_json=as_json)
        return
    found = access_rights.list_rights(folder, by_contract=everything)
    if as_json:
        print_json(out, [_right_json(each) for each in found])
        return
    if not found:
        _print("No operator has given a right yet; `digiid exchange rights --open` lists what can be given.")
        return
    for each in found:
        _print(f"{escape(each.subject)}: {_what(parse_service_id(each.service), each.endpoint)}")
        _print(f"  {escape(_origin_text(each))}")


def _origin_text(right: Right) -> str:
    if right.origin is Origin.CONTRACT:
        return "by contract"
    given = f"given {right.granted_at:%Y-%m-%d %H:%M} UTC by {right.granted_by}"
    if right.origin is Origin.NOT_OPEN:
        return f"{given}; does not count: the contract does not open it to others any more"
    return f"{given}; answered by what right: {right.basis}"


def _show_open(*, as_json: bool) -> None:
    from digiid.contracts.openings import list_openings

    rows = [
        {"service": str(service), "endpoint": endpoint_text(endpoint), "basis": basis}
        for service, endpoints in list_openings().items()
        for endpoint, basis in endpoints.items()
    ]
    if as_json:
        print_json(out, rows)
        return
    for row in rows:
        _print(escape(f"{row['endpoint']} of {row['service']}"))
        _print(escape(f"  by what right it is answered: {row['basis']}"))


# ------------------------------------------------------------------ what is given, what is told


def _read_subject(text: str) -> ClientId | str:
    """Raises: Malformed `exchange.rights.subject`."""
    if "/" not in text:
        return text
    try:
        return parse_client_id(text)
    except Malformed as error:
        raise Malformed(
            "exchange.rights.subject",
            f"{text[:200]} is no subsystem: that has four parts, as EE/COM/10000298/school. Every right is one "
            "subsystem's, or a global group's.",
        ) from error


def _read_service(text: str) -> ServiceId:
    """Raises: Malformed `exchange.rights.service_form`."""
    try:
        return parse_service_id(text)
    except Malformed as error:
        raise Malformed(
            "exchange.rights.service_form",
            f"{text[:200]} is no service: that has five parts, as EE/GOV/70000106/business/find-companies.",
        ) from error


def _read_endpoints(given: Sequence[str] | None) -> list[tuple[str, str]]:
    return [parse_endpoint(each) for each in given or ()]


def _what(service: ServiceId, endpoint: tuple[str, str]) -> str:
    return escape(f"{endpoint_text(endpoint)} of {service}")


def _print(text: str) -> None:
    out.print(text, highlight=False, soft_wrap=True)


def _changed_json(done: Changed, subject: ClientId | str, service: ServiceId, *, verb: str) -> dict[str, Any]:
    return {
        "subject": str(subject),
        "service": str(service),
        verb: [endpoint_text(each) for each in done.changed],
        "unchanged": [endpoint_text(each) for each in done.unchanged],
        "byContract": [endpoint_text(each) for each in done.by_contract],
    }


def _right_json(right: Right) -> dict[str, Any]:
    return {
        "subject": right.subject,
        "service": right.service,
        "endpoint": endpoint_text(right.endpoint),
        "origin": right.origin.value,
        "basis": right.basis,
        "grantedAt": right.granted_at.isoformat() if right.granted_at else None,
        "grantedBy": right.granted_by,
    }
