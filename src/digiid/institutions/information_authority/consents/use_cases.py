"""What the consent service does: declarations, requests by clients, decisions by people, answers to providers."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.engine import Connection

from digiid.contracts import consents as wire
from digiid.exchange.client import Client
from digiid.formats.asic import DataFile
from digiid.formats.consent_receipt import (
    MAX_RECEIPT_CHARS,
    RECEIPT_TYPE,
    ConsentReceipt,
    Party,
    RevocationStatement,
)
from digiid.formats.jws import parse_compact
from digiid.institutions.information_authority.consents import peers, store
from digiid.institutions.information_authority.consents.declarations import Declarations
from digiid.institutions.information_authority.consents.domain import (
    AUTHORITY,
    CHILD,
    CLOCK,
    COMPANY,
    CONSENT_TITLE,
    FULL_AGE,
    LINK_LIFETIME,
    REQUEST_LIFETIME,
    SUBJECT,
    WIRE_STATUS,
    WITHDRAWAL_TITLE,
    Consent,
    ConsentEvent,
    ConsentGroup,
    ConsentState,
    HistoryEntry,
    PurposeDeclaration,
    ServiceDeclaration,
    Snapshot,
    Texts,
    age_on,
    build_snapshot,
    check_callback,
    check_representation,
    check_subject,
    decide_expiry,
)
from digiid.institutions.information_authority.consents.sealing import Sealer
from digiid.institutions.information_authority.consents.settings import Settings
from digiid.kernel.errors import Broken, Conflict, DigiidError, Malformed, NotFound, Refused
from digiid.kernel.identifiers import ClientId
from digiid.platform import journal, outbox
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy, new_id, token_urlsafe
from digiid.platform.web.dates import TIME_ZONE, format_instant
from digiid.platform.web.sign_in import SignedInPerson
from digiid.platform.web.sign_ins import record_sign_in

PUSH: Final = "push_revocations"  # the kind of outbox message
MAX_LISTED: Final = 500
_HISTORY_SHOWN: Final = 200
_BATCH: Final = 200
_ALIVE: Final = (ConsentState.REQUESTED, ConsentState.APPROVED)
log = structlog.get_logger("consent")


@dataclass(frozen=True)
class Deps:
    """`address` is the origin of the pages, which is also the issuer's name."""

    db: Database
    clock: Clock
    entropy: Entropy
    exchange: Client
    sealer: Sealer
    wake_outbox: Callable[[], None]
    settings: Settings
    address: str


def admit(deps: Deps, person: SignedInPerson) -> Mapping[str, str]:
    """Anybody with a valid card may look after their own consents."""
    with deps.db.write() as tx:
        record_sign_in(tx, store.SIGN_INS, person, site="consent")
    return {}


# ---------------------------------------------------------------------------------------------- declarations


def declare(deps: Deps, declarations: Declarations) -> None:
    """Enter approved declarations, each once; invalidate those that are called invalid now.

    Raises: Conflict `consent.declaration_changed`, an identifier stands for other words than before; NotFound
        `consent.no_service_declaration`.
    """
    for service in declarations.services:
        _declare_service(deps, service)
    for purpose in declarations.purposes:
        _declare_purpose(deps, purpose)


def _declare_service(deps: Deps, declaration: ServiceDeclaration) -> None:
    at = deps.clock.now()
    with deps.db.write() as tx:
        known = store.find_service_declaration(tx, declaration.identifier)
        if known is None:
            store.put_service_declaration(tx, declaration, at)
            _journal(tx, "service_declaration.entered", {"declaration": declaration.identifier}, at)
        elif replace(known, is_valid=declaration.is_valid) != declaration:
            raise Conflict("consent.declaration_changed", f"{declaration.identifier} was entered with another content")
    if not declaration.is_valid:
        invalidate_service(deps, declaration.identifier)


def _declare_purpose(deps: Deps, declaration: PurposeDeclaration) -> None:
    at = deps.clock.now()
    with deps.db.write() as tx:
        if store.find_service_declaration(tx, declaration.service_declaration) is None:
            raise NotFound("consent.no_service_declaration", declaration.service_declaration)
        known = store.find_purpose_declaration(tx, declaration.identifier)
        if known is None:
            store.put_purpose_declaration(tx, declaration, at)
            _journal(tx, "purpose_declaration.entered", {"declaration": declaration.identifier}, at)
        elif replace(known, is_valid=declaration.is_valid) != declaration:
            raise Conflict("consent.declaration_changed", f"{declaration.identifier} was entered with another content")
    if not declaration.is_valid:
        invalidate_purpose(deps, declaration.identifier)


def invalidate_service(deps: Deps, identifier: str) -> None:
    """End a service declaration, its purpose declarations and every consent under them. Repeats change nothing."""
    at = deps.clock.now()
    with deps.db.write() as tx:
        declaration = store.find_service_declaration(tx, identifier)
        if declaration is None:
            raise NotFound("consent.no_service_declaration", identifier)
        if declaration.is_valid:
            store.put_service_declaration(tx, replace(declaration, is_valid=False), at)
            _journal(tx, "service_declaration.invalidated", {"declaration": identifier}, at)
        purposes = store.list_purposes_of_service(tx, identifier)
    for purpose in purposes:
        invalidate_purpose(deps, purpose)


def invalidate_purpose(deps: Deps, identifier: str) -> None:
    """End a purpose declaration and every consent under it. Repeats change nothing."""
    deps.db.retry(lambda: _invalidate_purpose(deps, identifier))
    deps.wake_outbox()


def _invalidate_purpose(deps: Deps, identifier: str) -> None:
    at = deps.clock.now()
    with deps.db.write() as tx:
        declaration = store.find_purpose_declaration(tx, identifier)
        if declaration is None:
            raise NotFound("consent.no_declaration", identifier)
        if declaration.is_valid:
            store.put_purpose_declaration(tx, replace(declaration, is_valid=False), at)
            _journal(tx, "purpose_declaration.invalidated", {"declaration": identifier}, at)
        for consent in store.list_consents_of_purpose(tx, identifier, _ALIVE):
            _end(tx, deps, consent, ConsentEvent.INVALIDATE, actor=AUTHORITY, at=at)


# ---------------------------------------------------------------------------------------------- what clients ask


def request_consent(deps: Deps, client: ClientId, request: wire.ConsentRequest) -> wire.ConsentGroup:
    """Ask a person. Returns the link, which works once.

    Raises: Malformed `consent.id_code_invalid`; Refused `consent.data_subject`, `consent.callback`,
        `consent.too_many`; NotFound `consent.no_declaration`; Conflict `consent.invalid_declarations`,
        `consent.all_approved`.
    """
    check_subject(request.id_code, on=_today(deps))
    who = _Who(request.id_code, request.id_code, "")
    return _request(deps, client, who, request.callback, request.purpose_declaration_business_identifiers)


def request_represented(deps: Deps, client: ClientId, request: wire.RepresentedConsentRequest) -> wire.ConsentGroup:
    """Ask somebody who acts for another. Raises: as `request_consent`, and what `check_representation` raises."""
    representative, represented = request.representative_id_code, request.representee_id_code
    check_representation(representative, represented, request.relation_type, on=_today(deps))
    who = _Who(represented, representative, request.relation_type)
    return _request(deps, client, who, request.callback, request.purpose_declaration_business_identifiers)


@dataclass(frozen=True, slots=True)
class _Who:
    subject: str
    actor: str
    relation: str


def _request(deps: Deps, client: ClientId, who: _Who, callback: str, purposes: Sequence[str]) -> wire.ConsentGroup:
    return deps.db.retry(lambda: _request_once(deps, client, who, callback, purposes))


def _request_once(deps: Deps, client: ClientId, who: _Who, callback: str, purposes: Sequence[str]) -> wire.ConsentGroup:
    at, link = deps.clock.now(), token_urlsafe(deps.entropy, 32)
    group = ConsentGroup(token_urlsafe(deps.entropy, 24), str(client), who.actor, callback, at, at + LINK_LIFETIME)
    wanted = list(dict.fromkeys(purposes))
    with deps.db.write() as tx:
        # 1 the declarations are this client's, and hold
        declared = [_declared(tx, client, identifier) for identifier in wanted]
        if ended := [p.identifier for p, s in declared if not _holds(p, s, at)]:
            raise Conflict(
                "consent.invalid_declarations",
                ", ".join(ended),
                public=f"These declarations do not hold any more: {', '.join(ended)}.",
            )
        # 2 the person will be led to where the declarations say
        for purpose, _ in declared:
            check_callback(callback, purpose)
        # 3 not without end
        since_at = at - timedelta(days=1)
        links = store.count_groups_since(tx, actor_code=who.actor, client=str(client), since_at=since_at)
        if links >= deps.settings.max_links_a_day:
            raise Refused(
                "consent.too_many", f"{links} links", public="This person has been asked too often in the last day."
            )
        # 4 what is approved is not asked again; what waits is asked by the new link
        open_ones = [
            (purpose, service)
            for purpose, service in declared
            if not any(c.holds_at(at) for c in _alive(tx, who.subject, purpose.identifier))
        ]
        if not open_ones:
            raise Conflict(
                "consent.all_approved", ", ".join(wanted), public="All of these consents have been given already."
            )
        store.insert_group(tx, group, _hash(link))
        for purpose, service in open_ones:
            _ask(tx, deps, group, who, (purpose, service), at=at)
    url = f"{deps.address}/requests/{link}"
    return wire.ConsentGroup(consent_group_reference=group.group_reference, url=url)


def _declared(tx: Connection, client: ClientId, identifier: str) -> tuple[PurposeDeclaration, ServiceDeclaration]:
    purpose = store.find_purpose_declaration(tx, identifier)
    if purpose is None or purpose.client != str(client):
        raise NotFound(
            "consent.no_declaration", identifier, public=f"This is not a purpose declaration of yours: {identifier}."
        )
    return purpose, _service_of(tx, purpose)


def _holds(purpose: PurposeDeclaration, service: ServiceDeclaration, at: datetime) -> bool:
    return purpose.is_valid and service.is_valid and min(purpose.expires_at, service.expires_at) > at


def _alive(tx: Connection, subject_code: str, purpose_declaration: str) -> list[Consent]:
    return store.list_consents_for(
        tx, subject_code=subject_code, purpose_declaration=purpose_declaration, states=_ALIVE
    )


def _ask(
    tx: Connection,
    deps: Deps,
    group: ConsentGroup,
    who: _Who,
    declared: tuple[PurposeDeclaration, ServiceDeclaration],
    *,
    at: datetime,
    replaces: str | None = None,
) -> Consent:
    """Put a request before a person; an earlier one of the same kind ends without an answer."""
    purpose, service = declared
    for earlier in _alive(tx, who.subject, purpose.identifier):
        if earlier.state is ConsentState.REQUESTED and earlier.actor_code == who.actor:
            _end(tx, deps, earlier, ConsentEvent.EXPIRE, actor=CLOCK, at=at)
    consent = Consent(
        consent_id=new_id(deps.entropy),
        consent_reference=token_urlsafe(deps.entropy, 32),
        group_reference=group.group_reference,
        purpose_declaration=purpose.identifier,
        service_declaration=service.identifier,
        client=purpose.client,
        provider=service.provider,
        subject_code=who.subject,
        actor_code=who.actor,
        relation=who.relation,
        state=ConsentState.REQUESTED,
        requested_at=at,
        # whole seconds: what the receipt says is what the database says
        expires_at=decide_expiry(at, service, purpose).replace(microsecond=0),
        replaces=replaces,
    )
    until = Texts(format_instant(consent.expires_at, "en"), format_instant(consent.expires_at, "et"))
    snapshot = build_snapshot(consent, service, purpose, until=until, address=deps.address)
    store.insert_consent(tx, consent, snapshot)
    store.add_history(tx, consent.consent_id, "requested", at)
    payload: dict[str, journal.JsonValue] = {
        "consent": consent.consent_id,
        "purpose": purpose.identifier,
        "client": purpose.client,
        "shown_sha256": snapshot.sha256,
    }
    _journal(tx, "consent.requested", payload, at)
    return consent


def get_references(deps: Deps, client: ClientId, request: wire.ReferencesRequest) -> Mapping[str, str]:
    """References of this client's consents that hold. Raises: NotFound `consent.not_found`."""
    at = deps.clock.now()
    found = {}
    with deps.db.read() as tx:
        for identifier in dict.fromkeys(request.purpose_declaration_business_identifiers):
            for consent in _alive(tx, request.id_code, identifier):
                if consent.client == str(client) and consent.holds_at(at):
                    found[identifier] = consent.consent_reference
    if not found:
        raise _not_found()
    return found


def validate_for_client(deps: Deps, client: ClientId, consent_reference: str) -> Consent:
    """Raises: NotFound `consent.not_found`; Conflict `consent.invalid_status`."""
    with deps.db.read() as tx:
        consent = store.find_consent_by_reference(tx, consent_reference)
    if consent is None or consent.client != str(client):
        raise _not_found()
    return _holding(deps, consent)


def validate_for_data_provider(deps: Deps, provider: ClientId, consent_reference: str) -> Consent:
    """Raises: NotFound `consent.not_found`; Conflict `consent.invalid_status`."""
    with deps.db.read() as tx:
        consent = store.find_consent_by_reference(tx, consent_reference)
    if consent is None or consent.provider != str(provider):
        raise _not_found()
    return _holding(deps, consent)


def filter_by_status(
    deps: Deps, client: ClientId, request: wire.StatusRequest
) -> tuple[list[tuple[Consent, str]], list[str]]:
    """(consents with what they are called, references that are none of this client's)."""
    at = deps.clock.now()
    references = list(dict.fromkeys(request.consent_references))
    with deps.db.read() as tx:
        found = {c.consent_reference: c for c in store.list_consents_by_references(tx, references)}
    listed, unknown = [], []
    for reference in references:
        consent = found.get(reference)
        status = WIRE_STATUS.get(consent.state) if consent and consent.client == str(client) else None
        if consent is None or status is None:
            unknown.append(reference)
            continue
        if status == "APPROVED" and not consent.holds_at(at):
            status = "EXPIRED"
        if ("VALID" if status == "APPROVED" else "INVALID") in request.consent_status:
            listed.append((consent, status))
    return listed, unknown


def report_transmission(deps: Deps, provider: ClientId, report: wire.TransmissionReport) -> None:
    """Data went out under a consent: its person can see it. The same report twice is one.

    Raises: NotFound `consent.not_found`; Malformed `consent.validation`, a time that is still to come.
    """
    now = deps.clock.now()
    told = report.transmission_timestamp
    if told.tzinfo is None or told > now + timedelta(minutes=5):
        raise Malformed(
            "consent.validation", "transmissionTimestamp", public="transmissionTimestamp: with a time zone, and past."
        )
    deps.db.retry(lambda: _report_transmission(deps, provider, report.consent_reference, told.astimezone(UTC)))


def _report_transmission(deps: Deps, provider: ClientId, consent_reference: str, at: datetime) -> None:
    with deps.db.write() as tx:
        consent = store.find_consent_by_reference(tx, consent_reference)
        if consent is None or consent.provider != str(provider) or consent.decided_at is None:
            raise _not_found()
        if not store.has_history(tx, consent.consent_id, "transmitted", at):
            store.add_history(tx, consent.consent_id, "transmitted", at)
            payload: dict[str, journal.JsonValue] = {"consent": consent.consent_id, "at": at.isoformat()}
            _journal(tx, "data.transmitted", payload, deps.clock.now())


def get_receipt(deps: Deps, client: ClientId, consent_reference: str) -> str:
    """The sealed receipt for the client to show.

    Raises: NotFound `consent.not_found`; Conflict `consent.invalid_status`.
    """
    return _receipt(deps, validate_for_client(deps, client, consent_reference))


def get_revocations(deps: Deps, audience: ClientId, after: int) -> str:
    """The sealed statement of what was revoked for this party after a number."""
    limit, issued_at = wire.MAX_REVOCATIONS, deps.clock.now()  # looked at first: it tells nothing of what comes later
    with deps.db.read() as tx:
        head = store.revocation_head(tx, str(audience))
        # who says to know more than there is gets the head, and sees from it that we were set back
        after = min(after, head)
        revocations = store.list_revocations(tx, str(audience), after=after, limit=limit)
    up_to = revocations[-1].number if revocations else after
    statement = RevocationStatement(deps.address, str(audience), issued_at, after, up_to, head, tuple(revocations))
    return deps.sealer.seal_revocations(statement)


def _holding(deps: Deps, consent: Consent) -> Consent:
    if not consent.holds_at(deps.clock.now()):
        raise Conflict("consent.invalid_status", consent.state, public="The consent does not hold (any more).")
    return consent


def _not_found() -> NotFound:
    return NotFound("consent.not_found", "none of this caller's", public="You have no such consent.")


def _receipt(deps: Deps, consent: Consent) -> str:
    # 1 the one that there is, if today's seal made it
    with deps.db.read() as tx:
        kept = store.read_receipt(tx, consent.consent_id)
        snapshot = store.read_snapshot(tx, consent.consent_id)
        purpose, service = _declarations(tx, consent)
    if kept is not None and _is_of_this_seal(deps, kept):
        return kept
    # 2 sealed from what was decided, which never changes
    locale = consent.locale or "en"
    receipt = ConsentReceipt(
        receipt_id=token_urlsafe(deps.entropy, 18),
        consent_reference=consent.consent_reference,
        issuer=deps.address,
        subject_code=consent.subject_code,
        representative_code=consent.representative_code,
        controller=Party(service.controller_name, service.controller_code),
        processor=Party(service.processor_name, service.processor_code) if service.processor_name else None,
        recipient=Party(purpose.recipient_name, purpose.recipient_code),
        client=consent.client,
        provider=consent.provider,
        service_declaration=consent.service_declaration,
        services=(service.service,),
        data_categories=tuple(category.code for category in service.categories),
        purpose_declaration=consent.purpose_declaration,
        purpose_sha256=hashlib.sha256(purpose.purpose.in_language(locale).encode()).hexdigest(),
        snapshot_sha256=snapshot.sha256,
        locale=locale,
        granted_at=consent.decided_at or consent.requested_at,
        expires_at=consent.expires_at,
        withdrawal_url=f"{deps.address}/",
        validation_cache_seconds=service.validation_cache_seconds,
    )
    sealed = deps.sealer.seal_receipt(receipt)
    # 3 kept, so that the next asking costs nothing
    deps.db.retry(lambda: _keep_receipt(deps, consent.consent_id, sealed))
    return sealed


def _keep_receipt(deps: Deps, consent_id: str, sealed: str) -> None:
    with deps.db.write() as tx:
        store.keep_receipt(tx, consent_id, sealed)


def _is_of_this_seal(deps: Deps, receipt: str) -> bool:
    made_by = parse_compact(receipt, typ=RECEIPT_TYPE, max_chars=MAX_RECEIPT_CHARS).certificates[0]
    return made_by.public_bytes(Encoding.DER) == deps.sealer.certificate.public_bytes(Encoding.DER)


# ---------------------------------------------------------------------------------------------- what people do


@dataclass(frozen=True, slots=True)
class Listed:
    """A consent in a list: who asks, for what."""

    consent: Consent
    recipient: str
    name: Texts


@dataclass(frozen=True, slots=True)
class Shown:
    """A consent with everything a page needs. `may_decide`: this person may answer or withdraw it."""

    consent: Consent
    purpose: PurposeDeclaration
    service: ServiceDeclaration
    snapshot: Snapshot
    history: Sequence[HistoryEntry]
    callback: str
    may_decide: bool
    is_signed: bool
    is_withdrawal_signed: bool
    waiting_extension: str | None
    holds: bool


def open_link(deps: Deps, personal_code: str, link: str) -> Sequence[Consent]:
    """Use a link, once, by the person that it was made for. Returns the requests that it leads to.

    Raises: NotFound `consent.link`; Refused `consent.other_person`; Conflict `consent.link_used`,
        `consent.link_expired`.
    """
    return deps.db.retry(lambda: _open_link(deps, personal_code, link))


def _open_link(deps: Deps, personal_code: str, link: str) -> Sequence[Consent]:
    at = deps.clock.now()
    with deps.db.write() as tx:
        group = store.find_group_of_link(tx, _hash(link))
        if group is None:
            raise NotFound("consent.link", "unknown", public="There is no such request.")
        if group.actor_code != personal_code:
            raise Refused(
                "consent.other_person",
                "the link is another person's",
                public="This request was made to another person. Sign in with the card of the person who was asked.",
            )
        if group.opened_at is not None:
            raise Conflict(
                "consent.link_used",
                "opened before",
                public="This link has been used. What still waits for your answer is on the front page.",
            )
        if at >= group.link_expires_at:
            raise Conflict(
                "consent.link_expired", "too old", public="This link is too old. Go back to the service and try again."
            )
        store.mark_opened(tx, group.group_reference, at)
        consents = store.list_consents_of_group(tx, group.group_reference)
        _journal(tx, "link.opened", {"group": group.group_reference}, at)
    return [consent for consent in consents if consent.state is ConsentState.REQUESTED]


def own_consents(deps: Deps, personal_code: str) -> list[Listed]:
    """The person's consents and requests, the newest first; those about the person that others decided too."""
    with deps.db.read() as tx:
        consents = store.list_consents_of_person(tx, personal_code)[:MAX_LISTED]
        purposes = {
            identifier: store.find_purpose_declaration(tx, identifier)
            for identifier in {consent.purpose_declaration for consent in consents}
        }
    at = deps.clock.now()
    listed = []
    for consent in consents:
        # a request is shown to whom it was made
        purpose = purposes[consent.purpose_declaration]
        if purpose is None or (consent.state is ConsentState.REQUESTED and consent.actor_code != personal_code):
            continue
        listed.append(Listed(_as_of(consent, at), purpose.recipient_name, purpose.name))
    return listed


def show_consent(deps: Deps, personal_code: str, consent_id: str) -> Shown:
    """One consent for its page; for a request on another's behalf the registers are asked first.

    Raises: NotFound `consent.none`; Refused `consent.no_representation`; Unavailable, a register does not answer.
    """
    with deps.db.read() as tx:
        consent = _own(tx, consent_id, personal_code)
        purpose, service = _declarations(tx, consent)
        group = store.find_group(tx, consent.group_reference)
        signed, withdrawal = store.read_signed(tx, consent_id)
        extension = store.find_extension(tx, consent_id)
        snapshot = store.read_snapshot(tx, consent_id)
        history = store.list_history(tx, consent_id, limit=_HISTORY_SHOWN)
    if consent.state is ConsentState.REQUESTED:
        _check_registers(deps, consent)
    at = deps.clock.now()
    return Shown(
        _as_of(consent, at),
        purpose,
        service,
        snapshot,
        history,
        group.callback if group else "",
        _may_end(consent, personal_code, at),
        signed is not None,
        withdrawal is not None,
        extension.consent_id if extension else None,
        consent.holds_at(at),
    )


def files_to_sign(deps: Deps, personal_code: str, consent_id: str, *, is_withdrawal: bool) -> list[DataFile]:
    """What the person signs: the words shown, and if the declaration says so what programs read.

    Raises: as `show_consent`; Conflict `consent.decided`.
    """
    shown = show_consent(deps, personal_code, consent_id)
    _check_open(shown.consent, is_withdrawal=is_withdrawal)
    return _files(shown.consent, shown.service, shown.snapshot, is_withdrawal=is_withdrawal)


def _files(consent: Consent, service: ServiceDeclaration, snapshot: Snapshot, *, is_withdrawal: bool) -> list[DataFile]:
    title = WITHDRAWAL_TITLE if is_withdrawal else CONSENT_TITLE
    stem = f"{'withdrawal' if is_withdrawal else 'consent'}-{consent.consent_id[:8]}"
    text = f"{snapshot.to_text(title)}{consent.consent_id}\n"
    files = [DataFile(f"{stem}.txt", "text/plain", text.encode())]
    if service.generate_json_from_metadata:
        metadata = {
            "consent": consent.consent_id,
            "event": "withdrawn" if is_withdrawal else "explicit_consent_given",
            "subject": consent.subject_code,
            "representative": consent.representative_code,
            "client": consent.client,
            "provider": consent.provider,
            "service_declaration": consent.service_declaration,
            "services": [service.service],
            "pii_categories": [category.code for category in service.categories],
            "purpose_declaration": consent.purpose_declaration,
            "valid_until": consent.expires_at.isoformat(),
            "notice_sha256": snapshot.sha256,
        }
        files.append(
            DataFile(f"{stem}.json", "application/json", json.dumps(metadata, sort_keys=True, indent=1).encode())
        )
    return files


def grant(deps: Deps, personal_code: str, consent_id: str, *, language: str, container: bytes | None = None) -> Consent:
    """Give a consent. `container`: the signed words, where the declaration asks for a signature.

    Raises: NotFound `consent.none`; Refused `consent.no_representation`, `consent.signature_needed`; Conflict
        `consent.decided`, `consent.invalid_declarations`; Unavailable.
    """
    # 1 who may, asked outside the transaction
    with deps.db.read() as tx:
        consent = _own(tx, consent_id, personal_code)
    _check_registers(deps, consent)
    # 2 decided
    granted = deps.db.retry(lambda: _grant(deps, personal_code, consent_id, language, container))
    deps.wake_outbox()
    # 3 sealed; what is given stays given when that fails, since the receipt is made when it is asked for
    try:
        _receipt(deps, granted)
    except DigiidError as error:
        log.warning("consent.receipt_later", consent=consent_id, code=error.code)
    return granted


def _grant(deps: Deps, personal_code: str, consent_id: str, language: str, container: bytes | None) -> Consent:
    at = deps.clock.now()
    with deps.db.write() as tx:
        # 1 still open, this person's to answer, and what it rests on holds
        consent = _own(tx, consent_id, personal_code)
        _check_open(consent, is_withdrawal=False)
        if consent.actor_code != personal_code:
            raise Refused("consent.other_person", "not the one who was asked", public="Another person was asked.")
        purpose, service = _declarations(tx, consent)
        if not _holds(purpose, service, at) or consent.expires_at <= at:
            raise Conflict(
                "consent.invalid_declarations",
                purpose.identifier,
                public="What was asked for does not hold any more, so there is nothing to consent to.",
            )
        if service.consent_requires_signature and container is None:
            raise Refused("consent.signature_needed", consent_id, public="This consent has to be signed with PIN2.")
        # 2 given, in the words of one language
        granted = replace(
            consent.take(ConsentEvent.GRANT, actor=SUBJECT, at=at), locale="et" if language == "et" else "en"
        )
        store.update_consent(tx, granted)
        store.add_history(tx, consent_id, "approved", at)
        payload: dict[str, journal.JsonValue] = {
            "consent": consent_id,
            "shown_sha256": store.read_snapshot(tx, consent_id).sha256,
        }
        if container is not None:
            store.keep_signed(tx, consent_id, consent=container)
            payload["container_sha256"] = hashlib.sha256(container).hexdigest()
        _journal(tx, "consent.approved", payload, at)
        # 3 whatever held for the same purpose until now has been replaced
        for earlier in _alive(tx, granted.subject_code, granted.purpose_declaration):
            if earlier.consent_id != consent_id and earlier.state is ConsentState.APPROVED:
                _end(tx, deps, earlier, ConsentEvent.REPLACE, actor=SUBJECT, at=at)
    return granted


def refuse(deps: Deps, personal_code: str, consent_id: str) -> Consent:
    """Say no. The client may ask again. Raises: NotFound `consent.none`; Conflict `consent.decided`."""
    return deps.db.retry(lambda: _refuse(deps, personal_code, consent_id))


def _refuse(deps: Deps, personal_code: str, consent_id: str) -> Consent:
    at = deps.clock.now()
    with deps.db.write() as tx:
        consent = _own(tx, consent_id, personal_code)
        _check_open(consent, is_withdrawal=False)
        if consent.actor_code != personal_code:
            raise Refused("consent.other_person", "not the one who was asked", public="Another person was asked.")
        refused = consent.take(ConsentEvent.REFUSE, actor=SUBJECT, at=at)
        store.update_consent(tx, refused)
        store.add_history(tx, consent_id, refused.state.value, at)
        _journal(tx, "consent.refused", {"consent": consent_id}, at)
    return refused


def withdraw(deps: Deps, personal_code: str, consent_id: str, *, container: bytes | None = None) -> Consent:
    """Take a consent back: client and provider are told at once.

    Raises: NotFound `consent.none`; Conflict `consent.decided`; Refused `consent.signature_needed`.
    """
    withdrawn = deps.db.retry(lambda: _withdraw(deps, personal_code, consent_id, container))
    deps.wake_outbox()
    return withdrawn


def _withdraw(deps: Deps, personal_code: str, consent_id: str, container: bytes | None) -> Consent:
    at = deps.clock.now()
    with deps.db.write() as tx:
        consent = _own(tx, consent_id, personal_code)
        _check_open(consent, is_withdrawal=True)
        if not _may_end(consent, personal_code, at):
            raise Refused("consent.other_person", "may not end it", public="Another person decides on this consent.")
        _, service = _declarations(tx, consent)
        if service.withdrawal_requires_signature and container is None:
            raise Refused("consent.signature_needed", consent_id, public="This withdrawal has to be signed with PIN2.")
        if container is not None:
            store.keep_signed(tx, consent_id, withdrawal=container)
        return _end(tx, deps, consent, ConsentEvent.WITHDRAW, actor=SUBJECT, at=at)


def extend(deps: Deps, personal_code: str, consent_id: str) -> Consent:
    """Ask oneself again for the same, from now on: a new consent, which replaces the old one when it is given.

    Raises: NotFound `consent.none`; Refused `consent.no_extension`; Conflict `consent.decided`,
        `consent.invalid_declarations`.
    """
    return deps.db.retry(lambda: _extend(deps, personal_code, consent_id))


def _extend(deps: Deps, personal_code: str, consent_id: str) -> Consent:
    at = deps.clock.now()
    with deps.db.write() as tx:
        consent = _own(tx, consent_id, personal_code)
        purpose, service = _declarations(tx, consent)
        if not service.extension_allowed or consent.actor_code != personal_code:
            raise Refused("consent.no_extension", consent_id, public="This consent cannot be extended.")
        if not consent.holds_at(at):
            raise Conflict("consent.decided", consent.state, public="This consent does not hold any more.")
        waiting = store.find_extension(tx, consent_id)
        if waiting is not None and waiting.expires_at > at:
            return waiting
        earlier = store.find_group(tx, consent.group_reference)
        callback = earlier.callback if earlier else purpose.callbacks[0]
        group = ConsentGroup(
            token_urlsafe(deps.entropy, 24), consent.client, personal_code, callback, at, at + LINK_LIFETIME, at
        )
        store.insert_group(tx, group, deps.entropy.token_bytes(32))
        who = _Who(consent.subject_code, consent.actor_code, consent.relation)
        return _ask(tx, deps, group, who, (purpose, service), at=at, replaces=consent_id)


def read_signed(deps: Deps, personal_code: str, consent_id: str, *, is_withdrawal: bool) -> bytes:
    """The container that the person signed. Raises: NotFound `consent.none`."""
    with deps.db.read() as tx:
        _own(tx, consent_id, personal_code)
        signed = store.read_signed(tx, consent_id)[1 if is_withdrawal else 0]
    if signed is None:
        raise NotFound("consent.none", "not signed", public="This consent was not signed with a card.")
    return signed


def read_own_receipt(deps: Deps, personal_code: str, consent_id: str) -> str:
    """The person's copy of the receipt. Raises: NotFound `consent.none`."""
    with deps.db.read() as tx:
        consent = _own(tx, consent_id, personal_code)
    if consent.decided_at is None or consent.state is ConsentState.REFUSED:
        raise NotFound("consent.none", "never given", public="There is no receipt: this consent was not given.")
    return _receipt(deps, consent)


# ---------------------------------------------------------------------------------------------- by the clock


def expire_due(deps: Deps) -> int:
    """The timer: consents whose time is over, requests that nobody answered, links to nothing. Returns how many."""
    count = 0
    while ended := deps.db.retry(lambda: _expire_some(deps)):
        count += ended
    return count


def _expire_some(deps: Deps) -> int:
    at = deps.clock.now()
    with deps.db.write() as tx:
        due = store.list_due(tx, at=at, requested_before_at=at - REQUEST_LIFETIME, limit=_BATCH)
        for consent in due:
            _end(tx, deps, consent, ConsentEvent.EXPIRE, actor=CLOCK, at=at)
        if not due:
            store.delete_empty_groups(tx, at - REQUEST_LIFETIME)
    return len(due)


# ---------------------------------------------------------------------------------------------- helpers


def _end(tx: Connection, deps: Deps, consent: Consent, event: ConsentEvent, *, actor: str, at: datetime) -> Consent:
    """Take an edge that ends a consent, and tell whoever relies on it."""
    ended = consent.take(event, actor=actor, at=at)
    store.update_consent(tx, ended)
    store.add_history(tx, consent.consent_id, ended.state.value, at)
    _journal(tx, f"consent.{ended.state.value}", {"consent": consent.consent_id}, at)
    if consent.is_revoked_by(event):
        for audience in sorted({consent.provider, consent.client}):
            number = store.add_revocation(tx, audience, consent.consent_reference, ended.state.value, at)
            outbox.put(
                tx,
                store.OUTBOX,
                message_id=new_id(deps.entropy),
                kind=PUSH,
                payload={"audience": audience, "number": number},
                at=at,
                ordering_key=hashlib.sha256(audience.encode()).hexdigest(),
            )
    return ended


def _own(tx: Connection, consent_id: str, personal_code: str) -> Consent:
    consent = store.find_consent(tx, consent_id)
    is_own = consent is not None and (
        consent.actor_code == personal_code
        or (consent.subject_code == personal_code and consent.state is not ConsentState.REQUESTED)
    )
    if consent is None or not is_own:
        raise NotFound("consent.none", "not there, or not this person's", public="There is no such consent.")
    return consent


def _may_end(consent: Consent, personal_code: str, at: datetime) -> bool:
    """Who gave a consent may take it back, and so may the person that it is about, once of age."""
    if consent.actor_code == personal_code:
        return True
    return consent.subject_code == personal_code and age_on(personal_code, _day(at)) >= FULL_AGE


def _check_open(consent: Consent, *, is_withdrawal: bool) -> None:
    wanted = ConsentState.APPROVED if is_withdrawal else ConsentState.REQUESTED
    if consent.state is not wanted:
        raise Conflict(
            "consent.decided", consent.state, public="This has been decided already. Look at the list of your consents."
        )


def _check_registers(deps: Deps, consent: Consent) -> None:
    representative = consent.representative_code
    if representative is None:
        return
    if consent.relation in CHILD:
        peers.check_acts_for_minor(deps.exchange, representative, consent.subject_code)
    elif consent.relation == COMPANY:
        peers.check_acts_for_company(deps.exchange, representative, consent.subject_code)
    else:
        raise Broken("consent.relation", consent.relation)


def _as_of(consent: Consent, at: datetime) -> Consent:
    """The consent as it is, whether or not the timer has been there."""
    if consent.state is ConsentState.APPROVED and not consent.holds_at(at):
        return replace(consent, state=ConsentState.EXPIRED, ended_at=consent.expires_at)
    return consent


def _declarations(tx: Connection, consent: Consent) -> tuple[PurposeDeclaration, ServiceDeclaration]:
    purpose = store.find_purpose_declaration(tx, consent.purpose_declaration)
    if purpose is None:
        raise Broken("consent.declaration_lost", consent.purpose_declaration)
    return purpose, _service_of(tx, purpose)


def _service_of(tx: Connection, purpose: PurposeDeclaration) -> ServiceDeclaration:
    service = store.find_service_declaration(tx, purpose.service_declaration)
    if service is None:
        raise Broken("consent.declaration_lost", purpose.service_declaration)
    return service


def _journal(tx: Connection, kind: str, payload: Mapping[str, journal.JsonValue], at: datetime) -> None:
    journal.record(tx, store.JOURNAL, kind=kind, payload=payload, at=at)


def _today(deps: Deps) -> date:
    return _day(deps.clock.now())


def _day(at: datetime) -> date:
    return at.astimezone(TIME_ZONE).date()


def _hash(link: str) -> bytes:
    return hashlib.sha256(link.encode()).digest()
