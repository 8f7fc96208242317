"""What people do with their own consents and those of whom they act for: look, grant, refuse, withdraw, extend."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy.engine import Connection

from digiid.formats.asic import DataFile
from digiid.institutions.information_authority.consents import peers, store
from digiid.institutions.information_authority.consents.domain import (
    CHILD,
    COMPANY,
    CONSENT_TITLE,
    FULL_AGE,
    LINK_LIFETIME,
    SUBJECT,
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
)
from digiid.institutions.information_authority.consents.use_cases.asking import Who, ask_for
from digiid.institutions.information_authority.consents.use_cases.deps import (
    MAX_LISTED,
    Deps,
    as_of,
    day_of,
    declarations_hold,
    declarations_of,
    end_consent,
    hash_link,
    list_alive,
    log,
    record_journal,
)
from digiid.institutions.information_authority.consents.use_cases.receipts import receipt_of
from digiid.kernel.errors import Broken, Conflict, DigiidError, NotFound, Refused
from digiid.platform import journal
from digiid.platform.entropy import token_urlsafe
from digiid.platform.web.sign_in import SignedInPerson
from digiid.platform.web.sign_ins import record_sign_in

_HISTORY_SHOWN: Final = 200


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


def admit(deps: Deps, person: SignedInPerson) -> Mapping[str, str]:
    """Anybody with a valid card may look after their own consents."""
    with deps.db.write() as tx:
        record_sign_in(tx, store.SIGN_INS, person, site="consent")
    return {}


def open_link(deps: Deps, personal_code: str, link: str) -> Sequence[Consent]:
    """Use a link, once, by the person that it was made for. Returns the requests that it leads to.

    Raises: NotFound `consent.link`; Refused `consent.other_person`; Conflict `consent.link_used`,
        `consent.link_expired`.
    """
    return deps.db.retry(lambda: _open_link(deps, personal_code, link))


def _open_link(deps: Deps, personal_code: str, link: str) -> Sequence[Consent]:
    at = deps.clock.now()
    with deps.db.write() as tx:
        group = store.find_group_of_link(tx, hash_link(link))
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
        record_journal(tx, "link.opened", {"group": group.group_reference}, at)
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
        listed.append(Listed(as_of(consent, at), purpose.recipient_name, purpose.name))
    return listed


def show_consent(deps: Deps, personal_code: str, consent_id: str) -> Shown:
    """One consent for its page; for a request on another's behalf the registers are asked first.

    Raises: NotFound `consent.none`; Refused `consent.no_representation`; Unavailable, a register does not answer.
    """
    with deps.db.read() as tx:
        consent = _own(tx, consent_id, personal_code)
        purpose, service = declarations_of(tx, consent)
        group = store.find_group(tx, consent.group_reference)
        signed, withdrawal = store.read_signed(tx, consent_id)
        extension = store.find_extension(tx, consent_id)
        snapshot = store.read_snapshot(tx, consent_id)
        history = store.list_history(tx, consent_id, limit=_HISTORY_SHOWN)
    if consent.state is ConsentState.REQUESTED:
        _check_registers(deps, consent)
    at = deps.clock.now()
    return Shown(
        as_of(consent, at),
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
        receipt_of(deps, granted)
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
        purpose, service = declarations_of(tx, consent)
        if not declarations_hold(purpose, service, at) or consent.expires_at <= at:
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
        record_journal(tx, "consent.approved", payload, at)
        # 3 whatever held for the same purpose until now has been replaced
        for earlier in list_alive(tx, granted.subject_code, granted.purpose_declaration):
            if earlier.consent_id != consent_id and earlier.state is ConsentState.APPROVED:
                end_consent(tx, deps, earlier, ConsentEvent.REPLACE, actor=SUBJECT, at=at)
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
        record_journal(tx, "consent.refused", {"consent": consent_id}, at)
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
        _, service = declarations_of(tx, consent)
        if service.withdrawal_requires_signature and container is None:
            raise Refused("consent.signature_needed", consent_id, public="This withdrawal has to be signed with PIN2.")
        if container is not None:
            store.keep_signed(tx, consent_id, withdrawal=container)
        return end_consent(tx, deps, consent, ConsentEvent.WITHDRAW, actor=SUBJECT, at=at)


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
        purpose, service = declarations_of(tx, consent)
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
        who = Who(consent.subject_code, consent.actor_code, consent.relation)
        return ask_for(tx, deps, group, who, (purpose, service), at=at, replaces=consent_id)


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
    return receipt_of(deps, consent)


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
    return consent.subject_code == personal_code and age_on(personal_code, day_of(at)) >= FULL_AGE


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
