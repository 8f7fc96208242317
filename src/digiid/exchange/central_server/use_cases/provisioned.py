"""What the program entered for somebody, once: what an officer removed of it stays removed.

An exchange that runs in one state with its servers is made at the first start (`registering.provision`). Every later
start enters only what was never entered, as when a new version has one subsystem more. A security server beside the
state that is registered in one step is entered likewise, by whoever calls for it. `bring_back` forgets that something
was entered, so that the next start, or the next such call, enters it again.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Connection

from digiid.exchange.central_server import store
from digiid.exchange.central_server.domain import Action
from digiid.exchange.central_server.use_cases.deps import Deps, note, officer_for
from digiid.kernel.errors import NotFound
from digiid.kernel.identifiers import MemberId, Party, ServerId


@dataclass(frozen=True, slots=True)
class ProvisionedItem:
    """Something that was entered, and whether it is still there."""

    name: str
    at: datetime
    is_there: bool


def enter_once(deps: Deps, item: str, make: Callable[[], object]) -> bool:
    """Do `make` unless the item is there, or was entered once and is gone. False when it is gone and stays so.

    Whoever kills the process between the two sees it entered again, which changes nothing: `make` is for what is not
    there.
    """
    with deps.db.read() as tx:
        known, is_there = store.provisioned.is_provisioned(tx, item), item in _present(deps, tx)
    if not is_there:
        if known:
            return False
        make()
    if not known:
        with deps.db.write() as tx:
            store.provisioned.put_provisioned(tx, item, at=deps.clock.now())
    return True


def list_provisioned(deps: Deps) -> list[ProvisionedItem]:
    """Everything that was ever entered by the program, by name."""
    with deps.db.read() as tx:
        present = _present(deps, tx)
        return [ProvisionedItem(name, at, name in present) for name, at in store.provisioned.list_provisioned(tx)]


def bring_back(deps: Deps, item: str, *, by: str) -> tuple[str, ...]:
    """The next start, or registration in one step, enters the item again, and what went with it: a server's
    certificates and clients, a member's subsystems, those in a group. Returns the names of all of them.

    Raises: Refused; NotFound `central.provisioned` for what the program never entered or what is still there.
    """
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_MEMBERS)
        gone = {name for name, _ in store.provisioned.list_provisioned(tx)} - _present(deps, tx)
        if item not in gone:
            raise NotFound(
                "central.provisioned", item, public="The program entered nothing of this name that is gone now."
            )
        with_it = {
            certificate_item(der) for der in store.requests.list_asked_certificates(tx, item.removeprefix("server "))
        }
        with_it |= {name for name in gone if name == item or _goes_with(name, item)}
        found = tuple(sorted(with_it & gone))
        for name in found:
            store.provisioned.delete_provisioned(tx, name)
            note(deps, tx, "provisioned.forgotten", by=officer, item=name)
    return found


def _goes_with(name: str, item: str) -> bool:
    kind, _, rest = item.partition(" ")
    if kind == "server":
        return name.startswith("client ") and name.endswith(f" at {rest}")
    if kind == "member":
        return name.startswith((f"client {rest}/", f"client {rest} "))
    return kind == "group" and name.startswith(f"group {rest} with ")


# ------------------------------------------------------------------ names of items


def class_item(code: str) -> str:
    return f"class {code}"


def member_item(member: MemberId) -> str:
    return f"member {member}"


def server_item(server: ServerId) -> str:
    return f"server {server}"


def certificate_item(certificate_der: bytes) -> str:
    return f"certificate {hashlib.sha256(certificate_der).hexdigest()}"


def client_item(client: Party, server: ServerId) -> str:
    return f"client {client} at {server}"


def group_item(code: str) -> str:
    return f"group {code}"


def group_member_item(code: str, party: Party) -> str:
    return f"group {code} with {party}"


def ca_item(certificate_der: bytes) -> str:
    return f"ca {hashlib.sha256(certificate_der).hexdigest()}"


def tsa_item(certificate_der: bytes) -> str:
    return f"tsa {hashlib.sha256(certificate_der).hexdigest()}"


def officer_item(personal_code: str) -> str:
    return f"officer {personal_code}"


def _present(deps: Deps, tx: Connection) -> frozenset[str]:
    found = {class_item(code) for code, _ in store.members.list_classes(tx)}
    found |= {member_item(row.id) for row in store.members.list_members(tx, deps.instance)}
    servers = {stored.number: stored.id for stored in store.servers.list_servers(tx, deps.instance)}
    found |= {server_item(server) for server in servers.values()}
    found |= {certificate_item(der) for _, der in store.servers.list_auth_certificates(tx)}
    found |= {
        client_item(client, servers[number]) for number, client, _ in store.servers.list_clients(tx, deps.instance)
    }
    for code, _, parties in store.groups.list_groups(tx, deps.instance):
        found |= {group_item(code), *(group_member_item(code, party) for party in parties)}
    found |= {ca_item(row.certificate_der) for row in store.trust_services.list_cas(tx)}
    found |= {tsa_item(row.certificate_der) for row in store.trust_services.list_tsas(tx)}
    found |= {officer_item(officer.personal_code) for officer in store.officers.list_officers(tx)}
    return frozenset(found)
