"""Registrations: what is asked, who decides, what is in effect afterwards. On SQLite and on PostgreSQL."""

from datetime import timedelta

import pytest

from digiid.exchange.central_server import store
from digiid.exchange.central_server.domain import RequestState
from digiid.exchange.central_server.use_cases import members, requests
from digiid.formats.exchange.management import Operation
from digiid.formats.x509.parts import certificate_der
from digiid.institutions.trust_services.ca import use_cases as ca
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.kernel.identifiers import ClientId, MemberId
from digiid.platform import journal
from tests.support.central import (
    AUTHORITY,
    BANK,
    BANKING,
    BOARD,
    POLICE,
    PORTAL,
    PRIVATE,
    REGISTRAR,
    SECURITY,
    STATE,
    CentralRoom,
)


def the_server(room: CentralRoom) -> members.ServerView:
    [view] = members.list_servers(room.deps)
    return view


def test_a_server_is_registered_when_a_named_officer_has_approved(any_room: CentralRoom) -> None:
    room = any_room
    submitted = room.submit(room.registration())
    assert submitted.state is RequestState.SUBMITTED_FOR_APPROVAL
    assert members.list_servers(room.deps) == []
    approved = requests.approve_request(room.deps, submitted.request_id, by=REGISTRAR)
    assert (approved.state, approved.decided_by) == (RequestState.APPROVED, REGISTRAR)
    view = the_server(room)
    assert (view.server.id, view.server.address) == (STATE, "127.0.0.1:5500")
    assert view.certificates == (certificate_der(room.server_key(AUTHORITY).certificate),)
    with pytest.raises(Conflict, match=r"state\.illegal_event"):
        requests.approve_request(room.deps, submitted.request_id, by=REGISTRAR)
    with room.deps.db.read() as tx:
        journal.verify_chain(tx, store.schema.JOURNAL)


def test_every_operation_changes_what_it_says(any_room: CentralRoom) -> None:
    room = any_room
    room.register_server()
    room.register_client(POLICE)
    room.register_client(PORTAL)
    assert the_server(room).clients == ((POLICE, True), (PORTAL, True))

    assert room.submit(room.request(Operation.ADDRESS_CHANGE, address="ss.example:5600")).state is RequestState.APPLIED
    assert the_server(room).server.address == "ss.example:5600"

    room.submit(room.request(Operation.CLIENT_DISABLE, client=POLICE))
    assert the_server(room).clients == ((POLICE, False), (PORTAL, True))
    room.submit(room.request(Operation.CLIENT_ENABLE, client=POLICE))
    assert the_server(room).clients == ((POLICE, True), (PORTAL, True))

    room.submit(room.request(Operation.CLIENT_RENAME, client=POLICE, subsystem_name="Documents"))
    [board] = [row for row in members.list_members(room.deps) if row.id == BOARD]
    assert board.subsystems == (("police", "Documents"),)

    room.submit(room.request(Operation.MAINTENANCE_ON, message="until noon"))
    assert the_server(room).server.maintenance == "until noon"
    room.submit(room.request(Operation.MAINTENANCE_OFF))
    assert the_server(room).server.maintenance is None

    room.submit(room.request(Operation.CLIENT_DELETION, client=POLICE))
    assert the_server(room).clients == ((PORTAL, True),)

    room.submit(room.request(Operation.AUTH_CERT_DELETION, auth_certificate=room.server_key(AUTHORITY).certificate))
    assert the_server(room).certificates == ()
    with room.deps.db.read() as tx:
        journal.verify_chain(tx, store.schema.JOURNAL)


def test_a_server_goes_to_another_owner(any_room: CentralRoom) -> None:
    room = any_room
    room.register_server()
    room.register_client(PORTAL)
    with pytest.raises(NotFound, match=r"central\.client"):
        room.submit(room.request(Operation.OWNER_CHANGE, client=BOARD))
    room.register_client(BOARD)
    submitted = room.submit(room.request(Operation.OWNER_CHANGE, client=BOARD))
    assert the_server(room).server.id == STATE
    requests.approve_request(room.deps, submitted.request_id, by=REGISTRAR)
    view = the_server(room)
    assert str(view.server.id) == "EE/GOV/70000101/state"
    assert view.clients == ((AUTHORITY, True), (PORTAL, True))
    assert len(view.certificates) == 1


def test_a_registration_waits_until_its_member_is_entered(room: CentralRoom) -> None:
    stranger = MemberId("EE", "COM", "10000999")
    shop = ClientId("EE", "COM", "10000999", "shop")
    room.register_server()
    waiting = room.submit(room.request(Operation.CLIENT_REGISTRATION, client=shop))
    assert waiting.state is RequestState.WAITING
    with pytest.raises(Conflict, match=r"state\.illegal_event"):
        requests.approve_request(room.deps, waiting.request_id, by=REGISTRAR)
    members.add_member(room.deps, stranger, "TEST Shop", by=REGISTRAR)
    assert requests.get_request(room.deps, waiting.request_id).state is RequestState.SUBMITTED_FOR_APPROVAL
    requests.approve_request(room.deps, waiting.request_id, by=REGISTRAR)
    assert (shop, True) in the_server(room).clients


def test_a_client_may_be_asked_for_with_its_server_and_is_approved_after_it(room: CentralRoom) -> None:
    with pytest.raises(NotFound, match=r"central\.server"):
        room.submit(room.request(Operation.CLIENT_REGISTRATION, client=POLICE))
    server = room.submit(room.registration())
    client = room.submit(room.request(Operation.CLIENT_REGISTRATION, client=POLICE))
    with pytest.raises(Conflict, match=r"central\.server"):
        requests.approve_request(room.deps, client.request_id, by=REGISTRAR)
    requests.approve_request(room.deps, server.request_id, by=REGISTRAR)
    requests.approve_request(room.deps, client.request_id, by=REGISTRAR)
    assert the_server(room).clients == ((POLICE, True),)


def test_declined_with_a_reason_and_never_approved_afterwards(room: CentralRoom) -> None:
    submitted = room.submit(room.registration())
    with pytest.raises(Refused, match=r"central\.no_reason"):
        requests.decline_request(room.deps, submitted.request_id, reason=" no ", by=REGISTRAR)
    declined = requests.decline_request(room.deps, submitted.request_id, reason="No agreement yet", by=REGISTRAR)
    assert (declined.state, declined.reason) == (RequestState.DECLINED, "No agreement yet")
    with pytest.raises(Conflict, match=r"state\.illegal_event"):
        requests.approve_request(room.deps, submitted.request_id, by=REGISTRAR)
    assert room.submit(room.registration()).state is RequestState.SUBMITTED_FOR_APPROVAL  # asked again


def test_a_deletion_takes_back_what_nobody_has_decided(room: CentralRoom) -> None:
    room.register_server()
    submitted = room.submit(room.request(Operation.CLIENT_REGISTRATION, client=POLICE))
    room.submit(room.request(Operation.CLIENT_DELETION, client=POLICE))
    assert requests.get_request(room.deps, submitted.request_id).state is RequestState.REVOKED
    with pytest.raises(Conflict):
        requests.approve_request(room.deps, submitted.request_id, by=REGISTRAR)
    with pytest.raises(NotFound, match=r"central\.client"):
        room.submit(room.request(Operation.CLIENT_DELETION, client=POLICE))


def test_nothing_is_registered_twice(room: CentralRoom) -> None:
    submitted = room.submit(room.registration())
    with pytest.raises(Conflict, match=r"central\.asked_already"):
        room.submit(room.registration())
    requests.approve_request(room.deps, submitted.request_id, by=REGISTRAR)
    with pytest.raises(Conflict, match=r"central\.certificate"):
        room.submit(room.registration())
    room.register_client(POLICE)
    with pytest.raises(Conflict, match=r"central\.client"):
        room.submit(room.request(Operation.CLIENT_REGISTRATION, client=POLICE))


def test_one_certificate_never_stands_for_two_servers(room: CentralRoom) -> None:
    room.register_server()
    other = room.server_key(AUTHORITY)
    with pytest.raises(Conflict, match=r"central\.certificate"):
        room.submit(room.registration(PRIVATE, auth_certificate=other.certificate), authentication=other)


def test_what_was_good_when_it_came_is_looked_at_again_at_the_approval(room: CentralRoom) -> None:
    submitted = room.submit(room.registration())
    members.withdraw_ca(room.deps, "TEST CA", reason="compromised", by=SECURITY)
    with pytest.raises(Refused, match=r"exchange\.trust"):
        requests.approve_request(room.deps, submitted.request_id, by=REGISTRAR)
    assert members.list_servers(room.deps) == []


def test_an_expired_certificate_is_not_approved(room: CentralRoom) -> None:
    submitted = room.submit(room.registration())
    room.clock.advance(timedelta(days=1000))
    with pytest.raises(Refused, match=r"exchange\.trust"):
        requests.approve_request(room.deps, submitted.request_id, by=REGISTRAR)


def test_a_member_leaves_when_it_has_no_registrations(room: CentralRoom) -> None:
    room.register_server()
    room.register_client(POLICE)
    with pytest.raises(Conflict, match=r"central\.member_in_use"):
        members.remove_member(room.deps, BOARD, reason="merged with another", by=REGISTRAR)
    room.submit(room.request(Operation.CLIENT_DELETION, client=POLICE))
    members.remove_member(room.deps, BOARD, reason="merged with another", by=REGISTRAR)
    assert BOARD not in [row.id for row in members.list_members(room.deps)]
    members.remove_server(room.deps, STATE, reason="switched off", by=REGISTRAR)
    assert members.list_servers(room.deps) == []


def test_groups_hold_members_and_subsystems_and_the_built_in_one_follows_the_servers(any_room: CentralRoom) -> None:
    room = any_room
    room.register_server(PRIVATE, "127.0.0.1:5510")
    room.register_client(BANKING, PRIVATE)
    members.add_group(room.deps, "banks", "Banks", by=REGISTRAR)
    members.add_to_group(room.deps, "banks", BANKING, by=REGISTRAR)
    members.add_to_group(room.deps, "banks", BANKING, by=REGISTRAR)
    members.add_to_group(room.deps, "banks", BANK, by=REGISTRAR)
    built_in, banks = members.list_groups(room.deps)
    assert built_in.members == (BANK,) and built_in.is_built_in
    assert set(banks.members) == {BANK, BANKING}
    members.remove_from_group(room.deps, "banks", BANK, by=REGISTRAR)
    with pytest.raises(NotFound):
        members.remove_from_group(room.deps, "banks", BANK, by=REGISTRAR)
    with pytest.raises(NotFound, match=r"central\.party"):
        members.add_to_group(room.deps, "banks", POLICE, by=REGISTRAR)
    for change in (members.remove_group, lambda deps, code, by: members.add_group(deps, code, "Mine", by=by)):
        with pytest.raises(Refused, match=r"central\.built_in"):
            change(room.deps, "security-server-owners", by=REGISTRAR)
    members.remove_group(room.deps, "banks", by=REGISTRAR)
    assert len(members.list_groups(room.deps)) == 1


def test_rsa_keys_sign_requests_too(room: CentralRoom) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    from digiid.formats.x509.profile import CertificateKind

    signer = room.identity(
        AUTHORITY, CertificateKind.EXCHANGE_SIGNING, "rsa", key=rsa.generate_private_key(65537, 2048)
    )
    server = room.identity(
        AUTHORITY, CertificateKind.EXCHANGE_AUTHENTICATION, "rsa", key=rsa.generate_private_key(65537, 2048)
    )
    request = room.registration(auth_certificate=server.certificate)
    assert room.submit(request, owner=signer, authentication=server).state is RequestState.SUBMITTED_FOR_APPROVAL


def test_a_revoked_authentication_certificate_is_not_registered(room: CentralRoom) -> None:
    server = room.server_key(AUTHORITY)
    ca.revoke_exchange_certificate(room.ca_deps, server.certificate, reason="keyCompromise")
    with pytest.raises(Refused, match=r"exchange\.trust\.ocsp_status"):
        room.submit(room.registration())
