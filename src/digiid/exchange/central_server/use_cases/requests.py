"""Management requests: taken in with their proofs; decided by a named officer, or by their signers alone."""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from digiid.exchange.central_server import store
from digiid.exchange.central_server.domain import (
    NEEDS_APPROVAL,
    OPEN_STATES,
    REGISTRATION,
    Action,
    Officer,
    RequestEvent,
    RequestState,
    StoredRequest,
    StoredServer,
    check_reason,
)
from digiid.exchange.central_server.proofs import (
    VerifiedManagementRequest,
    check_authentication_certificate,
    verify_proofs,
)
from digiid.exchange.central_server.use_cases.deps import Deps, check_own, judge_of, note, officer_for
from digiid.formats.exchange.management import ManagementRequest, Operation, parse_envelope
from digiid.formats.x509.parts import certificate_der, load_certificate
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.kernel.identifiers import ClientId, Party
from digiid.kernel.states import take_edge

_SKEW = timedelta(minutes=1)
# What a deletion takes back when it was asked for and not decided yet.
_REVOKES = {
    Operation.CLIENT_DELETION: Operation.CLIENT_REGISTRATION,
    Operation.AUTH_CERT_DELETION: Operation.AUTH_CERT_REGISTRATION,
}


def submit_request(deps: Deps, envelope: bytes) -> StoredRequest:
    """Take a request in. What its signers may decide alone is in effect when this returns; a registration waits.

    Raises:
        Malformed: `exchange.management.…`, `exchange.identifier`, a request or certificate that cannot be read.
        Refused: `exchange.management.…`, `exchange.trust.…`, a proof is missing, not its own, forged or out of date;
            `central.instance`; `central.request_time` when the request is not of now.
        Conflict: `central.replayed` when its id came before; `central.…` when it does not fit what is registered.
        NotFound: `central.server`, `central.client`, what it is about is not registered.
    """
    # 1 read, and of now: a request that was caught on its way is of no use tomorrow
    unverified = parse_envelope(envelope)
    request, at = unverified.request, deps.clock.now()
    check_own(deps, request.server.owner)
    if request.client is not None:
        check_own(deps, request.client)
    window = timedelta(seconds=deps.settings.request_window_seconds)
    if not at - window <= request.created_at <= at + _SKEW:
        raise Refused("central.request_time", f"made at {request.created_at}, received at {at}")

    # 2 not seen before, in any state: cheaper than the proofs, and looked at once more in the transaction
    with deps.db.read() as tx:
        _check_new(tx, request)
        judge = judge_of(deps, tx)

    # 3 proofs, outside any transaction
    verified = verify_proofs(unverified, judge=judge, at=at)

    # 4 recorded, and in effect if nobody has to approve it
    try:
        with deps.db.write() as tx:
            return _take_in(deps, tx, verified, envelope)
    except IntegrityError as error:
        raise Conflict("central.replayed", "the same request id at the same moment") from error


def _take_in(deps: Deps, tx: Connection, verified: VerifiedManagementRequest, envelope: bytes) -> StoredRequest:
    request, at = verified.request, deps.clock.now()
    _check_new(tx, request)
    stored = StoredRequest(request, RequestState.APPLIED, envelope, at)
    if request.operation in NEEDS_APPROVAL:
        _check_fits(tx, request)
        if verified.auth_certificate is not None:
            stored = replace(stored, auth_certificate_der=certificate_der(verified.auth_certificate))
        known = all(store.members.find_member_name(tx, signer) is not None for signer in stored.signers)
        stored = replace(stored, state=RequestState.SUBMITTED_FOR_APPROVAL if known else RequestState.WAITING)
        kind = "request.submitted" if known else "request.waiting"
    else:
        _apply(deps, tx, request)
        stored = replace(stored, decided_at=at)
        kind = "request.applied"
    store.requests.insert_request(tx, stored)
    _note_request(deps, tx, kind, stored, by=f"signed by {', '.join(map(str, stored.signers))}")
    return stored


def _check_new(tx: Connection, request: ManagementRequest) -> None:
    if store.requests.find_request(tx, request.request_id) is not None:
        raise Conflict("central.replayed", "a request of this id came before", public="This request came before.")


def _check_fits(tx: Connection, request: ManagementRequest) -> None:
    """Nothing of the kind is registered or asked for already. Raises: Conflict, NotFound."""
    server = store.servers.find_server(tx, request.server)
    waiting = store.requests.find_open_requests(tx, operations=(request.operation,), server=request.server)
    if any(
        (one.request.client, one.request.auth_cert_hash) == (request.client, request.auth_cert_hash) for one in waiting
    ):
        raise Conflict("central.asked_already", "the same is waiting", public="The same request is waiting already.")
    if request.operation is Operation.AUTH_CERT_REGISTRATION:
        assert request.auth_cert_hash is not None  # the format has seen to it
        if store.servers.find_server_of_certificate(tx, request.auth_cert_hash) is not None:
            raise Conflict("central.certificate", "registered", public="This certificate is registered already.")
        return
    # A client may be asked for together with its server: the server's own request then only waits.
    if server is None:
        first = (Operation.AUTH_CERT_REGISTRATION,)
        if not store.requests.find_open_requests(tx, operations=first, server=request.server):
            raise _no_server()
        return
    _check_client_fits(tx, request, server)


def _check_client_fits(tx: Connection, request: ManagementRequest, server: StoredServer) -> None:
    assert request.client is not None
    enabled = store.servers.find_client(tx, server.number, request.client)
    if request.operation is Operation.CLIENT_REGISTRATION and enabled is not None:
        raise Conflict("central.client", "registered", public="This client is registered already.")
    if request.operation is Operation.OWNER_CHANGE:
        if not enabled:
            raise NotFound("central.client", "a new owner is a client of the server before")
        changed = replace(
            request.server, member_class=request.client.member_class, owner_code=request.client.member_code
        )
        if store.servers.find_server(tx, changed) is not None:
            raise Conflict("central.server", "the new owner has a server of this code already")


def _no_server() -> NotFound:
    return NotFound("central.server", "not registered", public="There is no such security server.")


# ------------------------------------------------------------------ what takes effect at once


def _apply(deps: Deps, tx: Connection, request: ManagementRequest) -> None:
    """Raises: NotFound `central.server`, `central.client`, `central.certificate`."""
    revoked = _revoke_open(deps, tx, request)
    server = store.servers.find_server(tx, request.server)
    if server is None:
        if revoked:
            return
        raise _no_server()
    number, client = server.number, request.client
    match request.operation:
        case Operation.ADDRESS_CHANGE:
            store.servers.change_server(tx, number, address=request.address)
        case Operation.MAINTENANCE_ON:
            store.servers.change_server(tx, number, maintenance=request.message or "")
        case Operation.MAINTENANCE_OFF:
            store.servers.change_server(tx, number, maintenance=None)
        case Operation.AUTH_CERT_DELETION:
            assert request.auth_cert_hash is not None
            if not store.servers.delete_auth_certificate(tx, number, request.auth_cert_hash) and not revoked:
                raise NotFound("central.certificate", "not registered for this server")
        case Operation.CLIENT_DELETION:
            assert client is not None
            if not store.servers.delete_client(tx, number, client) and not revoked:
                raise _no_client()
        case Operation.CLIENT_ENABLE | Operation.CLIENT_DISABLE:
            assert client is not None
            _get_client(tx, number, client)
            store.servers.put_client(tx, number, client, enabled=request.operation is Operation.CLIENT_ENABLE)
        case Operation.CLIENT_RENAME:
            assert isinstance(client, ClientId)
            _get_client(tx, number, client)
            store.members.put_subsystem(tx, client, request.subsystem_name)
        case _:
            raise Refused("central.approval", f"{request.operation} is an officer's to approve")


def _revoke_open(deps: Deps, tx: Connection, request: ManagementRequest) -> bool:
    """A deletion takes back what was asked for and not decided yet. The same members sign both."""
    registration = _REVOKES.get(request.operation)
    if registration is None:
        return False
    revoked = False
    for one in store.requests.find_open_requests(tx, operations=(registration,), server=request.server):
        if (one.request.client, one.request.auth_cert_hash) == (request.client, request.auth_cert_hash):
            edge = take_edge(REGISTRATION, one.state, RequestEvent.REVOKE, actor="signers")
            store.requests.decide_request(
                tx, one.request_id, before=one.state, after=edge.to, at=deps.clock.now(), by=None
            )
            _note_request(deps, tx, "request.revoked", one, by=f"signed by {', '.join(map(str, one.signers))}")
            revoked = True
    return revoked


def _get_client(tx: Connection, server: int, client: Party) -> bool:
    enabled = store.servers.find_client(tx, server, client)
    if enabled is None:
        raise _no_client()
    return enabled


def _no_client() -> NotFound:
    return NotFound("central.client", "not registered there", public="This client is not registered at this server.")


# ------------------------------------------------------------------ decided by an officer


def approve_request(deps: Deps, request_id: str, *, by: str) -> StoredRequest:
    """A named officer approves a registration; it is in the next configuration.

    Raises: Refused `central.not_an_officer`, `central.not_allowed`, `exchange.management.certificate` when the
        certificate does not hold any more; NotFound `central.request`; Conflict `state.illegal_event`, `central.…`.
    """
    with deps.db.write() as tx:
        # 1 who, and which step
        officer = officer_for(tx, by, Action.DECIDE_REQUESTS)
        stored = _get_request(tx, request_id)
        edge = take_edge(REGISTRATION, stored.state, RequestEvent.APPROVE, actor="officer")
        # 2 what was so when it came is so now
        request = stored.request
        server = store.servers.find_server(tx, request.server)
        match request.operation:
            case Operation.AUTH_CERT_REGISTRATION:
                _register_certificate(deps, tx, stored, server)
            case Operation.CLIENT_REGISTRATION:
                if server is None:
                    raise Conflict("central.server", "not registered", public="Approve its security server first.")
                _check_client_fits(tx, request, server)
                _register_client(tx, request, server)
            case _:
                if server is None or request.client is None:
                    raise _no_server()
                _check_client_fits(tx, request, server)
                _change_owner(tx, server, request)
        # 3 state and journal with it
        return _decide(deps, tx, stored, edge.to, "request.approved", by=officer)


def decline_request(deps: Deps, request_id: str, *, reason: str, by: str) -> StoredRequest:
    """A named officer declines a registration and says why.

    Raises: Refused `central.…`; NotFound `central.request`; Conflict `state.illegal_event`.
    """
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.DECIDE_REQUESTS)
        stored = _get_request(tx, request_id)
        edge = take_edge(REGISTRATION, stored.state, RequestEvent.DECLINE, actor="officer")
        return _decide(deps, tx, stored, edge.to, "request.declined", by=officer, reason=check_reason(reason))


def _decide(
    deps: Deps,
    tx: Connection,
    stored: StoredRequest,
    state: RequestState,
    kind: str,
    *,
    by: Officer,
    reason: str | None = None,
) -> StoredRequest:
    at = deps.clock.now()
    done = store.requests.decide_request(
        tx, stored.request_id, before=stored.state, after=state, at=at, by=by.personal_code, reason=reason
    )
    if not done:
        raise Conflict("central.decided", "decided meanwhile", public="Somebody has decided this request meanwhile.")
    _note_request(deps, tx, kind, stored, by=by, reason=reason)
    return replace(stored, state=state, decided_at=at, decided_by=by.personal_code, reason=reason)


def _register_certificate(deps: Deps, tx: Connection, stored: StoredRequest, server: StoredServer | None) -> None:
    request, at = stored.request, deps.clock.now()
    assert stored.auth_certificate_der is not None and request.auth_cert_hash is not None and request.address
    check_authentication_certificate(load_certificate(stored.auth_certificate_der), judge_of(deps, tx), at)
    if store.servers.find_server_of_certificate(tx, request.auth_cert_hash) is not None:
        raise Conflict("central.certificate", "registered", public="This certificate is registered already.")
    if server is None:
        server = store.servers.insert_server(tx, request.server, request.address, at=at)
    elif server.address != request.address:
        store.servers.change_server(tx, server.number, address=request.address)
    digest = sha256(stored.auth_certificate_der).hexdigest()
    store.servers.insert_auth_certificate(tx, server.number, digest, stored.auth_certificate_der, at=at)


def _register_client(tx: Connection, request: ManagementRequest, server: StoredServer) -> None:
    assert request.client is not None
    if isinstance(request.client, ClientId):
        store.members.put_subsystem(tx, request.client, request.subsystem_name)
    store.servers.put_client(tx, server.number, request.client, enabled=True)


def _change_owner(tx: Connection, server: StoredServer, request: ManagementRequest) -> None:
    assert request.client is not None
    store.servers.change_owner(tx, server.number, request.client.member)
    # the one who owned it stays its client: its messages are signed and its services are there
    store.servers.delete_client(tx, server.number, request.client)
    store.servers.put_client(tx, server.number, request.server.owner, enabled=True)


def _get_request(tx: Connection, request_id: str) -> StoredRequest:
    stored = store.requests.find_request(tx, request_id)
    if stored is None:
        raise NotFound("central.request", "no such request", public="There is no such request.")
    return stored


def _note_request(
    deps: Deps, tx: Connection, kind: str, stored: StoredRequest, *, by: Officer | str, reason: str | None = None
) -> None:
    request = stored.request
    note(
        deps,
        tx,
        kind,
        by=by,
        request=request.request_id,
        operation=request.operation.value,
        server=str(request.server),
        client=str(request.client) if request.client else None,
        certificate=request.auth_cert_hash,
        reason=reason,
        envelope_sha256=sha256(stored.envelope).hexdigest(),
    )


# ------------------------------------------------------------------ what there is


def get_request(deps: Deps, request_id: str) -> StoredRequest:
    """Raises: NotFound `central.request`."""
    with deps.db.read() as tx:
        return _get_request(tx, request_id)


def list_requests(deps: Deps, *, only_open: bool = False) -> list[StoredRequest]:
    """The newest first, at most 200."""
    with deps.db.read() as tx:
        return store.requests.list_requests(tx, states=OPEN_STATES if only_open else tuple(RequestState))


def count_open_requests(deps: Deps) -> int:
    with deps.db.read() as tx:
        return store.requests.count_open_requests(tx)
