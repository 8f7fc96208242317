"""TM-01, misuse of administration; TM-05, forged management requests (X-Road threat model, arc-tm)."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.exchange.central_server import store
from digiid.exchange.central_server.domain import REGISTRATION, RIGHTS, Action, RequestState, Role
from digiid.exchange.central_server.registering import Identity
from digiid.exchange.central_server.use_cases import access_rights, configuration, members, officers, requests
from digiid.exchange.central_server.use_cases.deps import Deps
from digiid.formats.exchange.management import (
    Operation,
    Proof,
    ProofBy,
    build_envelope,
    build_management_request,
    parse_envelope,
    sign_management_request,
)
from digiid.formats.x509.parts import certificate_der
from digiid.formats.x509.profile import CertificateKind, ExchangeSubject
from digiid.institutions.trust_services.ca import use_cases as ca
from digiid.kernel.errors import Conflict, DigiidError, Refused
from digiid.kernel.identifiers import MemberId
from digiid.platform import journal
from tests.support.central import (
    ADMINISTRATOR,
    AUTHORITY,
    BANK,
    BANKING,
    BOARD,
    OBSERVER,
    POLICE,
    PORTAL,
    REGISTRAR,
    SECURITY,
    STATE,
    CentralRoom,
)
from tests.unit.formats.x509.hierarchy import SmallHierarchy
from tests.unit.institutions.trust_services.ca_setup import shared_hierarchy

NOBODY = "37605030299"
OFFICERS = {
    REGISTRAR: Role.REGISTRATION_OFFICER,
    SECURITY: Role.SECURITY_OFFICER,
    ADMINISTRATOR: Role.SYSTEM_ADMINISTRATOR,
    OBSERVER: Role.OBSERVER,
}

# Every use case that writes in an officer's name: what it does, and the right that it needs. Each call works.
Write = Callable[[Deps, str, str], Any]
NEW_MEMBER = MemberId("EE", "GOV", "70000999")
WRITES: dict[str, tuple[Action, Write]] = {
    "approve": (Action.DECIDE_REQUESTS, lambda d, by, waiting: requests.approve_request(d, waiting, by=by)),
    "decline": (
        Action.DECIDE_REQUESTS,
        lambda d, by, waiting: requests.decline_request(d, waiting, reason="no agreement", by=by),
    ),
    "class": (Action.MANAGE_MEMBERS, lambda d, by, _: members.add_member_class(d, "NGO", "Societies", by=by)),
    "member": (Action.MANAGE_MEMBERS, lambda d, by, _: members.add_member(d, NEW_MEMBER, "TEST New", by=by)),
    "rename": (Action.MANAGE_MEMBERS, lambda d, by, _: members.rename_member(d, BANK, "TEST Other", by=by)),
    "leave": (Action.MANAGE_MEMBERS, lambda d, by, _: members.remove_member(d, BANK, reason="it left", by=by)),
    "server": (Action.MANAGE_MEMBERS, lambda d, by, _: members.remove_server(d, STATE, reason="it ended", by=by)),
    "group": (Action.MANAGE_GROUPS, lambda d, by, _: members.add_group(d, "banks", "Banks", by=by)),
    "ungroup": (Action.MANAGE_GROUPS, lambda d, by, _: members.remove_group(d, "there", by=by)),
    "join": (Action.MANAGE_GROUPS, lambda d, by, _: members.add_to_group(d, "there", BANK, by=by)),
    "part": (Action.MANAGE_GROUPS, lambda d, by, _: members.remove_from_group(d, "there", BOARD, by=by)),
    "grant": (
        Action.MANAGE_ACCESS_RIGHTS,
        lambda d, by, _: access_rights.note_granted(d, "there", ["POST /v1"], service="s", basis="a law", by=by),
    ),
    "revoke": (
        Action.MANAGE_ACCESS_RIGHTS,
        lambda d, by, _: access_rights.note_revoked(d, BANKING, ["POST /v1"], service="s", by=by),
    ),
    "ca": (
        Action.MANAGE_TRUST_SERVICES,
        lambda d, by, _: members.approve_ca(
            d, "Other CA", shared_hierarchy().root.certificate, ocsp_urls=["http://127.0.0.1/ocsp"], by=by
        ),
    ),
    "no ca": (Action.MANAGE_TRUST_SERVICES, lambda d, by, _: members.withdraw_ca(d, "TEST CA", reason="ended", by=by)),
    "tsa": (
        Action.MANAGE_TRUST_SERVICES,
        lambda d, by, _: members.approve_tsa(
            d, "Other TSA", "http://127.0.0.1/tsa", shared_hierarchy().tsu.certificate, by=by
        ),
    ),
    "no tsa": (
        Action.MANAGE_TRUST_SERVICES,
        lambda d, by, _: members.withdraw_tsa(d, "TEST TSA", reason="ended", by=by),
    ),
    "freshness": (Action.MANAGE_PARAMETERS, lambda d, by, _: members.set_ocsp_freshness(d, 1800, by=by)),
    "key": (Action.MANAGE_SIGNING_KEYS, lambda d, by, _: configuration.add_signing_key(d, by=by)),
    "activate": (Action.MANAGE_SIGNING_KEYS, lambda d, by, _: configuration.activate_signing_key(d, 2, by=by)),
    "withdraw": (Action.MANAGE_SIGNING_KEYS, lambda d, by, _: configuration.withdraw_signing_key(d, 2, by=by)),
    "officer": (
        Action.MANAGE_OFFICERS,
        lambda d, by, _: officers.add_officer(d, NOBODY, "TEST New", frozenset({Role.OBSERVER}), by=by),
    ),
    "dismiss": (
        Action.MANAGE_OFFICERS,
        lambda d, by, _: officers.remove_officer(d, OBSERVER, reason="they left", by=by),
    ),
}


def prepared(room: CentralRoom, name: str) -> str:
    """Everything is there that the writes are about; the id of a request that waits."""
    room.register_server()
    members.add_group(room.deps, "there", "A group", by=REGISTRAR)
    members.add_to_group(room.deps, "there", BOARD, by=REGISTRAR)
    if name in ("activate", "withdraw"):
        configuration.add_signing_key(room.deps, by=SECURITY)
        room.clock.advance(timedelta(hours=1))
    return room.submit(room.request(Operation.CLIENT_REGISTRATION, client=POLICE)).request_id


def newest(room: CentralRoom) -> store.journal.JournalLine:
    return members.recent_journal(room.deps)[0]


@pytest.mark.parametrize("name", list(WRITES))
def test_tm01_every_write_needs_its_right_and_leaves_an_entry_with_the_officers_name(
    room: CentralRoom, name: str
) -> None:
    action, write = WRITES[name]
    waiting = prepared(room, name)
    before = newest(room)
    for code, role in OFFICERS.items():
        if role not in RIGHTS[action]:
            with pytest.raises(Refused, match=r"central\.not_allowed"):
                write(room.deps, code, waiting)
    for nobody in (NOBODY, "", "' OR 1=1 --"):
        with pytest.raises(Refused, match=r"central\.not_an_officer"):
            write(room.deps, nobody, waiting)
    assert newest(room) == before  # nothing was written
    [allowed] = [code for code, role in OFFICERS.items() if role in RIGHTS[action]]
    write(room.deps, allowed, waiting)
    entries = [line for line in members.recent_journal(room.deps) if line.number > before.number]
    assert any(
        line.payload["by"].startswith(f"TEST {OFFICERS[allowed].value.upper()} ({allowed[:7]}") for line in entries
    )
    assert allowed not in json.dumps([line.payload for line in entries])  # never a whole personal code
    with room.deps.db.read() as tx:
        journal.verify_chain(tx, store.schema.JOURNAL)


def test_tm01_the_matrix_of_roles() -> None:
    matrix = {action.value: sorted(role.value for role in roles) for action, roles in RIGHTS.items()}
    assert matrix == {
        "look": ["observer", "registration_officer", "security_officer", "system_administrator"],
        "decide_requests": ["registration_officer"],
        "manage_members": ["registration_officer"],
        "manage_groups": ["registration_officer"],
        "manage_access_rights": ["registration_officer"],
        "manage_trust_services": ["security_officer"],
        "manage_signing_keys": ["security_officer"],
        "manage_parameters": ["system_administrator"],
        "manage_officers": ["system_administrator"],
    }


def test_tm01_no_edge_to_approved_is_anybodys_but_an_officers() -> None:
    for edges in REGISTRATION.values():
        for edge in edges.values():
            if edge.to is RequestState.APPROVED:
                assert edge.actors == frozenset({"officer"})


def test_tm01_whose_rights_were_taken_away_can_do_nothing_from_that_moment(room: CentralRoom) -> None:
    waiting = prepared(room, "approve")
    officers.remove_officer(room.deps, REGISTRAR, reason="changed jobs", by=ADMINISTRATOR)
    with pytest.raises(Refused, match=r"central\.not_an_officer"):
        requests.approve_request(room.deps, waiting, by=REGISTRAR)
    with pytest.raises(Refused, match=r"central\.not_an_officer"):
        officers.admit_officer(room.deps, REGISTRAR)
    assert requests.get_request(room.deps, waiting).state is RequestState.SUBMITTED_FOR_APPROVAL


def test_tm01_nobody_changes_their_own_rights(room: CentralRoom) -> None:
    everything = frozenset(Role)
    with pytest.raises(Refused, match=r"central\.own_rights"):
        officers.add_officer(room.deps, ADMINISTRATOR, "TEST", everything, by=ADMINISTRATOR)
    with pytest.raises(Refused, match=r"central\.own_rights"):
        officers.remove_officer(room.deps, ADMINISTRATOR, reason="holidays", by=ADMINISTRATOR)
    with pytest.raises(Conflict, match=r"central\.officer"):
        officers.enter_first_officer(room.deps, ADMINISTRATOR, "TEST", everything)
    with pytest.raises(Refused, match=r"central\.no_roles"):
        officers.add_officer(room.deps, NOBODY, "TEST", frozenset(), by=ADMINISTRATOR)


# ------------------------------------------------------------------ TM-05


def refused(room: CentralRoom, envelope: bytes) -> str:
    """The code of the refusal; nothing may have been taken in or changed."""
    before = (newest(room), members.list_servers(room.deps), requests.list_requests(room.deps))
    with pytest.raises(DigiidError) as caught:
        requests.submit_request(room.deps, envelope)
    assert (newest(room), members.list_servers(room.deps), requests.list_requests(room.deps)) == before
    return caught.value.code


def changed(envelope: bytes, by: ProofBy, **changes: Any) -> bytes:
    found = parse_envelope(envelope)
    return build_envelope(
        found.request_bytes,
        [replace(proof, **changes) if proof.by is by else proof for proof in found.proofs.values()],
    )


def ask(room: CentralRoom, operation: Operation) -> bytes:
    """An honest envelope for each operation, by a member that is not the server's owner where one is concerned."""
    more: dict[str, Any] = {
        Operation.AUTH_CERT_REGISTRATION: {
            "address": "127.0.0.1:5501",
            "auth_certificate": room.server_key(AUTHORITY, "second").certificate,
        },
        Operation.AUTH_CERT_DELETION: {"auth_certificate": room.server_key(AUTHORITY).certificate},
        Operation.CLIENT_REGISTRATION: {"client": BANKING},
        Operation.CLIENT_DELETION: {"client": POLICE},
        Operation.OWNER_CHANGE: {"client": BOARD},
        Operation.ADDRESS_CHANGE: {"address": "elsewhere.example"},
        Operation.CLIENT_DISABLE: {"client": POLICE},
        Operation.CLIENT_ENABLE: {"client": POLICE},
        Operation.CLIENT_RENAME: {"client": POLICE, "subsystem_name": "Other"},
    }.get(operation, {})
    changes: dict[str, Identity] = {}
    if operation is Operation.AUTH_CERT_REGISTRATION:
        changes["authentication"] = room.server_key(AUTHORITY, "second")
    return room.envelope(room.request(operation, **more), **changes)


def registered(room: CentralRoom) -> None:
    room.register_server()
    room.register_client(POLICE)
    room.register_client(BOARD)


@pytest.mark.parametrize("operation", list(Operation))
def test_tm05_a_missing_proof_is_refused_for_every_operation(room: CentralRoom, operation: Operation) -> None:
    registered(room)
    envelope = ask(room, operation)
    found = parse_envelope(envelope)
    for left_out in found.proofs:
        rest = [proof for by, proof in found.proofs.items() if by is not left_out]
        expected = "exchange.management.proofs" if rest else "exchange.management.envelope"
        assert refused(room, build_envelope(found.request_bytes, rest)) == expected
    requests.submit_request(room.deps, envelope)  # with all of them it is taken in


@pytest.mark.parametrize("operation", list(Operation))
def test_tm05_a_proof_over_other_bytes_is_refused_for_every_operation(room: CentralRoom, operation: Operation) -> None:
    registered(room)
    envelope = ask(room, operation)
    found = parse_envelope(envelope)
    for by in found.proofs:
        signature = bytearray(found.proofs[by].signature)
        signature[-1] ^= 1
        assert refused(room, changed(envelope, by, signature=bytes(signature))) == "exchange.management.signature"
    # every proof is good, and over another request
    other = build_management_request(replace(found.request, request_id="00000000-0000-4000-8000-000000000000"))
    assert refused(room, build_envelope(other, list(found.proofs.values()))) == "exchange.management.signature"
    # the same meaning in other bytes is another request
    spaced = found.request_bytes.replace(b",", b", ", 1)
    assert refused(room, build_envelope(spaced, list(found.proofs.values()))) == "exchange.management.signature"


@pytest.mark.parametrize("operation", list(Operation))
def test_tm05_another_members_signature_is_refused_for_every_operation(room: CentralRoom, operation: Operation) -> None:
    registered(room)
    found = parse_envelope(ask(room, operation))
    stranger = room.signer(MemberId("EE", "COM", "10000777"))
    algorithm, signature = sign_management_request(stranger.key, found.request_bytes)
    for by in found.proofs.keys() - {ProofBy.AUTHENTICATION}:
        forged = Proof(by, algorithm, signature, _der(stranger), stranger.ocsp_der)
        proofs = [forged if proof.by is by else proof for proof in found.proofs.values()]
        assert refused(room, build_envelope(found.request_bytes, proofs)) == "exchange.trust.member"


def test_tm05_the_owner_cannot_speak_for_the_member_nor_the_member_for_the_owner(room: CentralRoom) -> None:
    registered(room)
    request = room.request(Operation.CLIENT_DELETION, client=POLICE)
    assert refused(room, room.envelope(request, member=room.signer(AUTHORITY))) == "exchange.trust.member"
    assert refused(room, room.envelope(request, owner=room.signer(BOARD))) == "exchange.trust.member"


def test_tm05_possession_of_the_authentication_key_is_proven_by_that_key(room: CentralRoom) -> None:
    mine, theirs = room.server_key(AUTHORITY), room.server_key(BOARD)
    # the certificate of somebody else, whose key is not at hand
    request = room.registration(auth_certificate=theirs.certificate)
    stolen = Identity(mine.key, theirs.certificate, theirs.ocsp_der)
    assert refused(room, room.envelope(request, authentication=stolen)) == "exchange.management.signature"
    # a key that is at hand, for another certificate than the request names
    assert refused(room, room.envelope(request, authentication=mine)) == "exchange.management.possession"


def test_tm05_one_key_for_transport_and_signatures_is_refused_by_what_its_certificates_say(room: CentralRoom) -> None:
    signer, server = room.signer(AUTHORITY), room.server_key(AUTHORITY)
    request = room.registration(auth_certificate=signer.certificate)
    assert refused(room, room.envelope(request, authentication=signer)) == "exchange.management.certificate"
    assert refused(room, room.envelope(room.registration(), owner=server)) == "exchange.management.certificate"


def test_tm05_a_replayed_request_is_refused_in_every_state(room: CentralRoom) -> None:
    envelope = room.envelope(room.registration())
    submitted = requests.submit_request(room.deps, envelope)
    assert refused(room, envelope) == "central.replayed"
    requests.decline_request(room.deps, submitted.request_id, reason="no agreement", by=REGISTRAR)
    assert refused(room, envelope) == "central.replayed"
    registered(room)
    disable = room.envelope(room.request(Operation.CLIENT_DISABLE, client=POLICE))
    requests.submit_request(room.deps, disable)
    room.submit(room.request(Operation.CLIENT_ENABLE, client=POLICE))
    assert refused(room, disable) == "central.replayed"


@pytest.mark.parametrize("seconds", [-3600, -301, 61, 3600])
def test_tm05_a_request_that_is_not_of_now_is_refused(room: CentralRoom, seconds: int) -> None:
    request = room.registration()
    moved = replace(request, created_at=request.created_at + timedelta(seconds=seconds))
    assert refused(room, room.envelope(moved)) == "central.request_time"


def test_tm05_a_request_for_another_instance_is_refused(room: CentralRoom) -> None:
    request = room.registration(replace(STATE, instance="FI"))
    assert refused(room, room.envelope(request)) == "central.instance"
    other = room.request(Operation.CLIENT_REGISTRATION, client=replace(POLICE, instance="FI"))
    assert refused(room, room.envelope(other)) == "central.instance"


def test_tm05_certificates_that_are_revoked_expired_old_or_of_nobody_approved_are_refused(room: CentralRoom) -> None:
    # revoked: an honest response says so
    revoked = room.signer(AUTHORITY, "revoked")
    ca.revoke_exchange_certificate(room.ca_deps, revoked.certificate, reason="keyCompromise")
    now_revoked = replace(revoked, ocsp_der=room.fetch_ocsp(revoked.certificate))
    assert refused(room, room.envelope(room.registration(), owner=now_revoked)) == "exchange.trust.ocsp_status"
    # a response of before the revocation is good for as long as the exchange says, and no longer
    room.clock.advance(timedelta(seconds=3601))
    assert refused(room, room.envelope(room.registration(), owner=revoked)) == "exchange.trust.ocsp_outdated"
    # a response about another certificate
    good = room.signer(AUTHORITY)
    foreign = replace(good, ocsp_der=room.signer(BOARD).ocsp_der)
    assert refused(room, room.envelope(room.registration(), owner=foreign)) == "exchange.trust.ocsp_missing"
    # a CA of the same name that nobody approved
    assert refused(room, room.envelope(room.registration(), owner=_forged(good))) == "exchange.trust.path"
    # expired
    room.clock.advance(timedelta(days=1000))
    assert refused(room, room.envelope(room.registration())) == "exchange.trust.path"


def test_tm05_needless_proofs_are_refused(room: CentralRoom) -> None:
    registered(room)
    request = room.request(Operation.ADDRESS_CHANGE, address="elsewhere.example")
    for needless in ({"member": room.signer(BOARD)}, {"authentication": room.server_key(AUTHORITY)}):
        assert refused(room, room.envelope(request, **needless)) == "exchange.management.proofs"


def test_tm05_what_needs_an_approval_is_never_in_effect_without_it(room: CentralRoom) -> None:
    room.register_server()
    room.register_client(BOARD)
    before = members.list_servers(room.deps)
    for operation in (Operation.AUTH_CERT_REGISTRATION, Operation.CLIENT_REGISTRATION, Operation.OWNER_CHANGE):
        requests.submit_request(room.deps, ask(room, operation))
    room.submit(room.request(Operation.CLIENT_REGISTRATION, client=PORTAL))
    assert members.list_servers(room.deps) == before


def _der(identity: Identity) -> bytes:
    return certificate_der(identity.certificate)


def _forged(good: Identity) -> Identity:
    """The same subject, certified by a CA that calls itself as the approved one does."""
    other = SmallHierarchy()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = ExchangeSubject("GOV", "70000105", "TEST name", "TEST common name")
    plan = replace(
        other.leaf_plan(CertificateKind.EXCHANGE_SIGNING, key=key, expires_on=date(2028, 6, 30)),
        subject_attributes=subject.subject_attributes,
        document_policy=None,
    )
    return Identity(key, other.certify(plan, key, other.issuing).certificate, good.ocsp_der)
