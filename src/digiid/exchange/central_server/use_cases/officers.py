"""Who may act here. The first officers are entered by whoever installs the central server; later ones by officers."""

from dataclasses import replace

from digiid.exchange.central_server import store
from digiid.exchange.central_server.domain import Action, Officer, Role, check_reason, check_right
from digiid.exchange.central_server.use_cases.deps import Deps, note, officer_for
from digiid.kernel.errors import Conflict, NotFound, Refused


def enter_first_officer(deps: Deps, personal_code: str, name: str, roles: frozenset[Role]) -> Officer:
    """Enter an officer from the machine itself, at the installation and for the demonstration. Again is the same.

    Raises: Refused `central.no_roles`; Conflict `central.officer` when they are there with other roles.
    """
    with deps.db.write() as tx:
        known = store.officers.find_officer(tx, personal_code)
        if known is not None:
            if known.roles != roles:
                raise Conflict("central.officer", "this officer is known with other roles")
            return known
        officer = Officer(personal_code, name, _some(roles))
        store.officers.put_officer(tx, officer)
        note(deps, tx, "officer.entered", by="installation", officer=_shown(officer), roles=sorted(roles))
    return officer


def add_officer(deps: Deps, personal_code: str, name: str, roles: frozenset[Role], *, by: str) -> Officer:
    """Enter an officer, or change one's roles. Nobody changes their own.

    Raises: Refused `central.not_allowed`, `central.own_rights`, `central.no_roles`.
    """
    with deps.db.write() as tx:
        giver = officer_for(tx, by, Action.MANAGE_OFFICERS)
        if personal_code == by:
            raise Refused("central.own_rights", "own roles", public="Nobody changes their own roles.")
        officer = Officer(personal_code, name, _some(roles))
        store.officers.put_officer(tx, officer)
        note(deps, tx, "officer.changed", by=giver, officer=_shown(officer), roles=sorted(roles))
    return officer


def remove_officer(deps: Deps, personal_code: str, *, reason: str, by: str) -> None:
    """Take an officer's rights away; the name stays. Raises: Refused, NotFound `central.officer`."""
    with deps.db.write() as tx:
        giver = officer_for(tx, by, Action.MANAGE_OFFICERS)
        if personal_code == by:
            raise Refused("central.own_rights", "own roles", public="Nobody changes their own roles.")
        officer = store.officers.find_officer(tx, personal_code)
        if officer is None:
            raise NotFound("central.officer", "no officer has this code", public="There is no such officer.")
        store.officers.put_officer(tx, replace(officer, is_active=False))
        note(deps, tx, "officer.removed", by=giver, officer=_shown(officer), reason=check_reason(reason))


def admit_officer(deps: Deps, personal_code: str) -> Officer:
    """The officer who may enter the pages. Raises: Refused `central.not_an_officer`."""
    with deps.db.read() as tx:
        return check_right(store.officers.find_officer(tx, personal_code), Action.LOOK)


def list_officers(deps: Deps) -> list[Officer]:
    with deps.db.read() as tx:
        return store.officers.list_officers(tx)


def _some(roles: frozenset[Role]) -> frozenset[Role]:
    if not roles:
        raise Refused("central.no_roles", "an officer without a role", public="Choose at least one role.")
    return roles


def _shown(officer: Officer) -> str:
    return f"{officer.name} ({officer.personal_code[:7]}****)"
