"""Members, their classes, global groups, and whose certificates and time stamps count. Each change is one officer's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from sqlalchemy.engine import Connection

from digiid.exchange.central_server import store
from digiid.exchange.central_server.domain import (
    REGISTRATION,
    Action,
    RequestEvent,
    RequestState,
    StoredServer,
    check_reason,
)
from digiid.exchange.central_server.proofs import BASIC_PROFILE
from digiid.exchange.central_server.store.journal import JournalLine
from digiid.exchange.central_server.store.members import MemberRow
from digiid.exchange.central_server.store.trust_services import CaRow, TsaRow
from digiid.exchange.central_server.use_cases.deps import OCSP_FRESHNESS, Deps, check_own, note, officer_for
from digiid.formats.exchange.management import Operation
from digiid.formats.global_conf import check_source_url
from digiid.formats.x509.parts import certificate_der, parts_of
from digiid.kernel.errors import Conflict, Malformed, NotFound, Refused
from digiid.kernel.identifiers import MemberId, Party, ServerId, parse_member_id
from digiid.kernel.states import take_edge
from digiid.platform.web import N_

OWNERS_GROUP: Final = "security-server-owners"  # built in: its members follow from the servers, nobody enters them
_GROUP_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


# ------------------------------------------------------------------ members


def add_member_class(deps: Deps, code: str, description: str, *, by: str) -> None:
    """Enter a class of members, or change its description. Raises: Refused; Malformed `exchange.identifier`."""
    parse_member_id(f"{deps.instance}/{code}/1")
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_MEMBERS)
        store.members.put_class(tx, code, _name(description))
        note(deps, tx, "member_class.entered", by=officer, code=code)


def add_member(deps: Deps, member: MemberId, name: str, *, by: str) -> None:
    """Enter a member that has signed its joining agreement. Requests that waited for it are submitted for approval.

    Raises: Refused `central.…`; NotFound `central.member_class`; Conflict `central.member`.
    """
    check_own(deps, member)
    parse_member_id(str(member))
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_MEMBERS)
        if not store.members.has_class(tx, member.member_class):
            raise NotFound("central.member_class", "no such class", public="There is no such class of members.")
        if store.members.find_member_name(tx, member) is not None:
            raise Conflict("central.member", "known already", public="This member is in the list already.")
        store.members.insert_member(tx, member, _name(name), at=deps.clock.now())
        note(deps, tx, "member.entered", by=officer, member=str(member))
        _complete_waiting(deps, tx)


def rename_member(deps: Deps, member: MemberId, name: str, *, by: str) -> None:
    """Raises: Refused; NotFound `central.member`."""
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_MEMBERS)
        _get_member(tx, member)
        store.members.rename_member(tx, member, _name(name))
        note(deps, tx, "member.renamed", by=officer, member=str(member))


def remove_member(deps: Deps, member: MemberId, *, reason: str, by: str) -> None:
    """A member leaves. Its servers and registrations have to be gone before.

    Raises: Refused; NotFound `central.member`; Conflict `central.member_in_use`.
    """
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_MEMBERS)
        _get_member(tx, member)
        if store.servers.has_server_of(tx, member):
            raise Conflict(
                "central.member_in_use", "servers or registrations", public="This member still has registrations."
            )
        store.members.delete_member(tx, member)
        note(deps, tx, "member.removed", by=officer, member=str(member), reason=check_reason(reason))


def remove_server(deps: Deps, server: ServerId, *, reason: str, by: str) -> None:
    """A security server ends, with its certificates and clients. Raises: Refused; NotFound `central.server`."""
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_MEMBERS)
        stored = store.servers.find_server(tx, server)
        if stored is None:
            raise NotFound("central.server", "no such server", public="There is no such security server.")
        store.servers.delete_server(tx, stored.number)
        note(deps, tx, "server.removed", by=officer, server=str(server), reason=check_reason(reason))


def _get_member(tx: Connection, member: MemberId) -> str:
    name = store.members.find_member_name(tx, member)
    if name is None:
        raise NotFound("central.member", f"no member {member}", public="There is no such member.")
    return name


def _complete_waiting(deps: Deps, tx: Connection) -> None:
    # What waited for its members to be known goes on when all of them are.
    for stored in store.requests.find_open_requests(tx, operations=tuple(Operation)):
        if stored.state is not RequestState.WAITING:
            continue
        if all(store.members.find_member_name(tx, signer) is not None for signer in stored.signers):
            edge = take_edge(REGISTRATION, stored.state, RequestEvent.COMPLETE, actor="central_server")
            store.requests.decide_request(tx, stored.request_id, before=stored.state, after=edge.to, at=None, by=None)
            note(deps, tx, "request.submitted", by="central server", request=stored.request_id)


def _name(text: str) -> str:
    text = " ".join(text.split())
    if not 1 <= len(text) <= 200 or not text.isprintable():
        raise Refused("central.name", "not a name", public="A name has 1 to 200 printable characters.")
    return text


# ------------------------------------------------------------------ global groups


def add_group(deps: Deps, code: str, description: str, *, by: str) -> None:
    """Make a global group, or change its description. Raises: Refused `central.group_code`, `central.built_in`."""
    if not _GROUP_CODE.fullmatch(code):
        raise Refused(
            "central.group_code",
            "not a code",
            public="A group's code has letters, digits, full stops, hyphens and underscores, at most 100.",
        )
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_GROUPS)
        _not_built_in(code)
        store.groups.put_group(tx, code, _name(description))
        note(deps, tx, "group.entered", by=officer, group=code)


def remove_group(deps: Deps, code: str, *, by: str) -> None:
    """Access rights that name the group end with it. Raises: Refused; NotFound `central.group`."""
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_GROUPS)
        _not_built_in(code)
        if not store.groups.delete_group(tx, code):
            raise NotFound("central.group", f"no group {code}", public="There is no such group.")
        note(deps, tx, "group.removed", by=officer, group=code)


def add_to_group(deps: Deps, code: str, party: Party, *, by: str) -> None:
    """A member or subsystem joins a group. Again is the same. Raises: Refused; NotFound `central.group`, `….party`."""
    check_own(deps, party)
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_GROUPS)
        _not_built_in(code)
        if not store.groups.has_group(tx, code):
            raise NotFound("central.group", f"no group {code}", public="There is no such group.")
        if not store.members.has_party(tx, party):
            raise NotFound("central.party", f"no {party}", public="There is no such member or subsystem.")
        if store.groups.insert_group_member(tx, code, party):
            note(deps, tx, "group.joined", by=officer, group=code, party=str(party))


def remove_from_group(deps: Deps, code: str, party: Party, *, by: str) -> None:
    """Raises: Refused; NotFound `central.party` when it is not in the group."""
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_GROUPS)
        _not_built_in(code)
        if not store.groups.delete_group_member(tx, code, party):
            raise NotFound("central.party", f"{party} is not in {code}", public="It is not in this group.")
        note(deps, tx, "group.left", by=officer, group=code, party=str(party))


def _not_built_in(code: str) -> None:
    if code == OWNERS_GROUP:
        raise Refused("central.built_in", code, public="This group follows from the registered servers.")


# ------------------------------------------------------------------ trust services


def approve_ca(
    deps: Deps,
    name: str,
    certificate: x509.Certificate,
    *,
    ocsp_urls: Sequence[str],
    intermediates: Sequence[tuple[x509.Certificate, Sequence[str]]] = (),
    authentication_only: bool = False,
    by: str,
) -> None:
    """Certificates of this CA, and of those below it, count on the exchange from now on.

    Raises: Refused `central.trust_service`, something is not a CA or not below it; Malformed for an address.
    """
    rows = [(certificate_der(one), tuple(urls)) for one, urls in intermediates]
    for one in (certificate, *(one for one, _ in intermediates)):
        found = parts_of(one).basic_constraints()
        if found is None or not found.is_ca:
            raise Refused("central.trust_service", "not a CA's", public="This certificate is not one of a CA.")
    for url in (*ocsp_urls, *(url for _, urls in rows for url in urls)):
        check_source_url(url)
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_TRUST_SERVICES)
        row = CaRow(
            _name(name),
            certificate_der(certificate),
            tuple(ocsp_urls),
            BASIC_PROFILE,
            authentication_only,
            tuple(rows),
        )
        if row not in store.trust_services.list_cas(tx):
            store.trust_services.put_ca(tx, row)
            note(deps, tx, "ca.approved", by=officer, name=row.name)


def withdraw_ca(deps: Deps, name: str, *, reason: str, by: str) -> None:
    """Its certificates count no more. Raises: Refused; NotFound `central.trust_service`."""
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_TRUST_SERVICES)
        if not store.trust_services.delete_ca(tx, name):
            raise NotFound("central.trust_service", "no such CA", public="There is no such trust service.")
        note(deps, tx, "ca.withdrawn", by=officer, name=name, reason=check_reason(reason))


def approve_tsa(deps: Deps, name: str, url: str, certificate: x509.Certificate, *, by: str) -> None:
    """Time stamps of this authority count on the exchange from now on. Raises: Refused; Malformed for the address."""
    check_source_url(url)
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_TRUST_SERVICES)
        row = TsaRow(_name(name), url, certificate_der(certificate))
        if row not in store.trust_services.list_tsas(tx):
            store.trust_services.put_tsa(tx, row)
            note(deps, tx, "tsa.approved", by=officer, name=row.name)


def withdraw_tsa(deps: Deps, name: str, *, reason: str, by: str) -> None:
    """Raises: Refused; NotFound `central.trust_service`."""
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_TRUST_SERVICES)
        if not store.trust_services.delete_tsa(tx, name):
            raise NotFound("central.trust_service", "no such TSA", public="There is no such trust service.")
        note(deps, tx, "tsa.withdrawn", by=officer, name=name, reason=check_reason(reason))


def set_ocsp_freshness(deps: Deps, seconds: int, *, by: str) -> None:
    """How old an OCSP response may be on the exchange. Raises: Refused; Malformed `central.parameter`."""
    if not 60 <= seconds <= 7 * 24 * 3600:
        raise Malformed("central.parameter", f"{seconds} s", public="Between one minute and seven days.")
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_PARAMETERS)
        store.parameters.put_parameter(tx, OCSP_FRESHNESS, str(seconds))
        note(deps, tx, "parameter.set", by=officer, name=OCSP_FRESHNESS, value=seconds)


# ------------------------------------------------------------------ what there is


@dataclass(frozen=True, slots=True)
class Group:
    code: str
    description: str
    members: tuple[Party, ...]
    is_built_in: bool = False


@dataclass(frozen=True, slots=True)
class ServerView:
    """A server with its clients, each with whether it is enabled, and its authentication certificates."""

    server: StoredServer
    clients: tuple[tuple[Party, bool], ...]
    certificates: tuple[bytes, ...]


def list_members(deps: Deps) -> list[MemberRow]:
    with deps.db.read() as tx:
        return store.members.list_members(tx, deps.instance)


def list_classes(deps: Deps) -> list[tuple[str, str]]:
    with deps.db.read() as tx:
        return store.members.list_classes(tx)


def list_servers(deps: Deps) -> list[ServerView]:
    with deps.db.read() as tx:
        clients, certificates = store.servers.list_clients(tx, deps.instance), store.servers.list_auth_certificates(tx)
        return [
            ServerView(
                server,
                tuple((client, enabled) for number, client, enabled in clients if number == server.number),
                tuple(der for number, der in certificates if number == server.number),
            )
            for server in store.servers.list_servers(tx, deps.instance)
        ]


def list_groups(deps: Deps) -> list[Group]:
    """The built-in group first."""
    with deps.db.read() as tx:
        owners = dict.fromkeys(server.id.owner for server in store.servers.list_servers(tx, deps.instance))
        groups = store.groups.list_groups(tx, deps.instance)
    built_in = Group(OWNERS_GROUP, N_("Security server owners"), tuple(owners), is_built_in=True)
    return [built_in, *(Group(*one) for one in groups)]


def list_trust_services(deps: Deps) -> tuple[list[CaRow], list[TsaRow]]:
    with deps.db.read() as tx:
        return store.trust_services.list_cas(tx), store.trust_services.list_tsas(tx)


def recent_journal(deps: Deps) -> list[JournalLine]:
    with deps.db.read() as tx:
        return store.journal.recent_journal(tx)
