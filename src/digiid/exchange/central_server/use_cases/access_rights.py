"""Access rights that an operator gives beside the contracts. They stand with the security servers; here is who gave or
took them in whose name, and whether there is such a subject."""

from collections.abc import Sequence

from digiid.exchange.central_server import store
from digiid.exchange.central_server.domain import Action
from digiid.exchange.central_server.use_cases.deps import Deps, check_own, note, officer_for
from digiid.kernel.errors import NotFound
from digiid.kernel.identifiers import ClientId, Party


def note_granted(
    deps: Deps, subject: ClientId | str, endpoints: Sequence[str], *, service: str, basis: str, by: str
) -> str:
    """Write down that this subject, a subsystem or the code of a global group, gets these rights, before it does.

    Returns the officer's name. Raises: Refused `central.not_an_officer`, `central.not_allowed`, `central.instance`;
    NotFound `central.subject`.
    """
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_ACCESS_RIGHTS)
        if isinstance(subject, ClientId):
            check_own(deps, subject)
            if not store.members.has_party(tx, subject):
                raise NotFound(
                    "central.subject",
                    f"the exchange knows no subsystem {subject}: `digiid exchange members` lists those that "
                    "there are, and `digiid exchange new-server` registers new ones.",
                )
        elif not store.groups.has_group(tx, subject):
            raise NotFound(
                "central.subject",
                f"there is no global group {subject}: `digiid exchange group list` lists those that there are. "
                "A subsystem is named by four parts, as EE/COM/10000298/school.",
            )
        for endpoint in endpoints:
            told = _told(subject) | {"service": service, "endpoint": endpoint, "basis": basis}
            note(deps, tx, "access_right.granted", by=officer, **told)
        return officer.name


def note_revoked(deps: Deps, subject: ClientId | str, endpoints: Sequence[str], *, service: str, by: str) -> None:
    """Write down that the subject's rights end, before they do; also those of one that is not known any more.

    Raises: Refused `central.not_an_officer`, `central.not_allowed`.
    """
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_ACCESS_RIGHTS)
        for endpoint in endpoints:
            told = _told(subject) | {"service": service, "endpoint": endpoint}
            note(deps, tx, "access_right.revoked", by=officer, **told)


def is_in_group(deps: Deps, client: Party, code: str) -> bool:
    """Whether it is itself in the global group now, as the next configuration will say."""
    with deps.db.read() as tx:
        return any(
            code == group and client in inside for group, _, inside in store.groups.list_groups(tx, deps.instance)
        )


def _told(subject: ClientId | str) -> dict[str, str]:
    return {"client": str(subject)} if isinstance(subject, ClientId) else {"group": subject}
