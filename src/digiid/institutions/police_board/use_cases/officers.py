"""Who may work at the desk."""

from digiid.institutions.police_board import store
from digiid.institutions.police_board.store.officers import Officer
from digiid.institutions.police_board.use_cases.deps import OFFICER_ROLES, Deps, record_journal
from digiid.kernel.errors import Malformed, Refused


def add_officer(deps: Deps, *, personal_code: str, name: str, role: str) -> Officer:
    """Enter an officer, or change name and role of one. `role` is `officer` or `deciding_officer`.

    Raises: Malformed `officer.role`.
    """
    if role not in OFFICER_ROLES:
        raise Malformed("officer.role", role)
    with deps.db.write() as tx:
        known = store.officers.find_officer(tx, personal_code)
        officer_id = known.officer_id if known else f"PB-{store.counters.next_number(tx, 'officer'):03d}"
        officer = Officer(personal_code, officer_id, name, role, True)
        store.officers.save_officer(tx, officer)
        record_journal(tx, "officer.entered", at=deps.clock.now(), officer=officer_id, role=role)
    return officer


def get_officer(deps: Deps, personal_code: str) -> Officer:
    """The active officer with this personal code. Raises: Refused `officer.unknown`."""
    with deps.db.read() as tx:
        officer = store.officers.find_officer(tx, personal_code)
    if officer is None or not officer.active:
        raise Refused("officer.unknown", "no active officer", public="You are not an officer of this board.")
    return officer
