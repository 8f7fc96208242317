"""What clients and data providers ask: consents requested, looked up, validated; transmissions reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection

from digiid.contracts import consents as wire
from digiid.institutions.information_authority.consents import store
from digiid.institutions.information_authority.consents.domain import (
    CLOCK,
    LINK_LIFETIME,
    WIRE_STATUS,
    Consent,
    ConsentEvent,
    ConsentGroup,
    ConsentState,
    PurposeDeclaration,
    ServiceDeclaration,
    Texts,
    build_snapshot,
    check_callback,
    check_representation,
    check_subject,
    decide_expiry,
)
from digiid.institutions.information_authority.consents.use_cases.deps import (
    Deps,
    declarations_hold,
    end_consent,
    hash_link,
    holding_now,
    list_alive,
    not_found,
    record_journal,
    service_of,
    today_of,
)
from digiid.kernel.errors import Conflict, Malformed, NotFound, Refused
from digiid.kernel.identifiers import ClientId
from digiid.platform import journal
from digiid.platform.entropy import new_id, token_urlsafe
from digiid.platform.web.dates import format_instant


def request_consent(deps: Deps, client: ClientId, request: wire.ConsentRequest) -> wire.ConsentGroup:
    """Ask a person. Returns the link, which works once.

    Raises: Malformed `consent.id_code_invalid`; Refused `consent.data_subject`, `consent.callback`,
        `consent.too_many`; NotFound `consent.no_declaration`; Conflict `consent.invalid_declarations`,
        `consent.all_approved`.
    """
    check_subject(request.id_code, on=today_of(deps))
    who = Who(request.id_code, request.id_code, "")
    return _request(deps, client, who, request.callback, request.purpose_declaration_business_identifiers)


def request_represented(deps: Deps, client: ClientId, request: wire.RepresentedConsentRequest) -> wire.ConsentGroup:
    """Ask somebody who acts for another. Raises: as `request_consent`, and what `check_representation` raises."""
    representative, represented = request.representative_id_code, request.representee_id_code
    check_representation(representative, represented, request.relation_type, on=today_of(deps))
    who = Who(represented, representative, request.relation_type)
    return _request(deps, client, who, request.callback, request.purpose_declaration_business_identifiers)


@dataclass(frozen=True, slots=True)
class Who:
    subject: str
    actor: str
    relation: str


def _request(deps: Deps, client: ClientId, who: Who, callback: str, purposes: Sequence[str]) -> wire.ConsentGroup:
    return deps.db.retry(lambda: _request_once(deps, client, who, callback, purposes))


def _request_once(deps: Deps, client: ClientId, who: Who, callback: str, purposes: Sequence[str]) -> wire.ConsentGroup:
    at, link = deps.clock.now(), token_urlsafe(deps.entropy, 32)
    group = ConsentGroup(token_urlsafe(deps.entropy, 24), str(client), who.actor, callback, at, at + LINK_LIFETIME)
    wanted = list(dict.fromkeys(purposes))
    with deps.db.write() as tx:
        # 1 the declarations are this client's, and hold
        declared = [_declared(tx, client, identifier) for identifier in wanted]
        if ended := [p.identifier for p, s in declared if not declarations_hold(p, s, at)]:
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
            if not any(c.holds_at(at) for c in list_alive(tx, who.subject, purpose.identifier))
        ]
        if not open_ones:
            raise Conflict(
                "consent.all_approved", ", ".join(wanted), public="All of these consents have been given already."
            )
        store.insert_group(tx, group, hash_link(link))
        for purpose, service in open_ones:
            ask_for(tx, deps, group, who, (purpose, service), at=at)
    url = f"{deps.address}/requests/{link}"
    return wire.ConsentGroup(consent_group_reference=group.group_reference, url=url)


def _declared(tx: Connection, client: ClientId, identifier: str) -> tuple[PurposeDeclaration, ServiceDeclaration]:
    purpose = store.find_purpose_declaration(tx, identifier)
    if purpose is None or purpose.client != str(client):
        raise NotFound(
            "consent.no_declaration", identifier, public=f"This is not a purpose declaration of yours: {identifier}."
        )
    return purpose, service_of(tx, purpose)


def ask_for(
    tx: Connection,
    deps: Deps,
    group: ConsentGroup,
    who: Who,
    declared: tuple[PurposeDeclaration, ServiceDeclaration],
    *,
    at: datetime,
    replaces: str | None = None,
) -> Consent:
    """Put a request before a person; an earlier one of the same kind ends without an answer."""
    purpose, service = declared
    for earlier in list_alive(tx, who.subject, purpose.identifier):
        if earlier.state is ConsentState.REQUESTED and earlier.actor_code == who.actor:
            end_consent(tx, deps, earlier, ConsentEvent.EXPIRE, actor=CLOCK, at=at)
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
    record_journal(tx, "consent.requested", payload, at)
    return consent


def get_references(deps: Deps, client: ClientId, request: wire.ReferencesRequest) -> Mapping[str, str]:
    """References of this client's consents that hold. Raises: NotFound `consent.not_found`."""
    at = deps.clock.now()
    found = {}
    with deps.db.read() as tx:
        for identifier in dict.fromkeys(request.purpose_declaration_business_identifiers):
            for consent in list_alive(tx, request.id_code, identifier):
                if consent.client == str(client) and consent.holds_at(at):
                    found[identifier] = consent.consent_reference
    if not found:
        raise not_found()
    return found


def get_titles(deps: Deps, identifiers: Sequence[str]) -> wire.PurposeTitles:
    """What purpose declarations are called, also of those that do not hold any more. No consent is looked at: what a
    declaration says is no secret.
    """
    with deps.db.read() as tx:
        found = [store.find_purpose_declaration(tx, identifier) for identifier in dict.fromkeys(identifiers)]
    titles = {each.identifier: wire.Title(en=each.name.en, et=each.name.et) for each in found if each}
    return wire.PurposeTitles(titles=titles)


def validate_for_client(deps: Deps, client: ClientId, consent_reference: str) -> Consent:
    """Raises: NotFound `consent.not_found`; Conflict `consent.invalid_status`."""
    with deps.db.read() as tx:
        consent = store.find_consent_by_reference(tx, consent_reference)
    if consent is None or consent.client != str(client):
        raise not_found()
    return holding_now(deps, consent)


def validate_for_data_provider(deps: Deps, provider: ClientId, consent_reference: str) -> Consent:
    """Raises: NotFound `consent.not_found`; Conflict `consent.invalid_status`."""
    with deps.db.read() as tx:
        consent = store.find_consent_by_reference(tx, consent_reference)
    if consent is None or consent.provider != str(provider):
        raise not_found()
    return holding_now(deps, consent)


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
            raise not_found()
        if not store.has_history(tx, consent.consent_id, "transmitted", at):
            store.add_history(tx, consent.consent_id, "transmitted", at)
            payload: dict[str, journal.JsonValue] = {"consent": consent.consent_id, "at": at.isoformat()}
            record_journal(tx, "data.transmitted", payload, deps.clock.now())
