"""What the register does. A personal code in the journal is shortened; the whole one stands in the entry itself.

What leaves is a `Disclosed` value: who was told what, why and by what right is written in the transaction of the
answer. Where a client is answered with the person's consent only, the receipt is verified in that transaction too.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, TypeVar, cast

from sqlalchemy.engine import Connection

from digiid.contracts import population_register as contract
from digiid.contracts.members import POPULATION_REGISTER
from digiid.contracts.operation import Operation
from digiid.contracts.population_register import RegisterPerson
from digiid.exchange.consent import RevocationCache, VerifiedConsent, put_transmission, verify_consent
from digiid.exchange.gate import Caller
from digiid.exchange.looks import look_of
from digiid.formats.consent_receipt import ConsentSeal
from digiid.institutions.population_register import store
from digiid.institutions.population_register.domain import (
    SIMILAR_ENOUGH,
    Address,
    AddressKind,
    DocumentStatus,
    Person,
    Relation,
    age_on,
    check_relation,
    check_same_person,
    choose_address,
    decide_address_change,
    decide_minor_representation,
    is_minor,
    is_name_of,
    is_news,
    name_similarity,
    next_personal_code,
)
from digiid.institutions.population_register.settings import Settings
from digiid.kernel.errors import Conflict, NotFound, Refused, Unavailable
from digiid.platform import journal
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.disclosures import Disclosed, Look, record_disclosures
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.outbox import Bell

T = TypeVar("T")


@dataclass(frozen=True)
class Consents:
    """What the register needs to judge a consent: whose seal counts, and what was revoked since."""

    seal: ConsentSeal
    revocations: RevocationCache


@dataclass(frozen=True)
class Deps:
    """`consents` is None where there is no consent service: what needs a consent is then not answered."""

    db: Database
    clock: Clock
    entropy: Entropy
    settings: Settings
    consents: Consents | None = None
    wake_outbox: Bell = field(default_factory=Bell)


@dataclass(frozen=True, slots=True)
class Match:
    person: Person
    similarity: float


@dataclass(frozen=True, slots=True)
class Relative:
    """A family member as seen from one person. `relation` says what the other one is to that person."""

    relation: str
    person: Person
    is_minor: bool
    has_custody: bool
    from_on: date


@dataclass(frozen=True, slots=True)
class Entry:
    """Everything that the desk sees of one person."""

    person: Person
    addresses: list[Address]
    current: Address | None
    relations: list[tuple[Relation, Person]]
    documents: list[DocumentStatus]


# --- persons ---------------------------------------------------------------------------------------------------------


def register_person(deps: Deps, request: RegisterPerson, *, caller: Caller) -> Disclosed[str]:
    """Enter a person and return the personal code; the same application always gets the same one.

    Raises: Conflict `population.changed_request` (the id came before with other content),
    `population.other_person`, `population.no_code_left`; NotFound `population.person`.
    """
    return deps.db.retry(lambda: _register_person(deps, request, caller))


def _register_person(deps: Deps, request: RegisterPerson, caller: Caller) -> Disclosed[str]:
    # a request without an address has the digest that it had before there were addresses
    text = request.model_dump_json(exclude={"address"} if request.address is None else None)
    digest = hashlib.sha256(text.encode()).hexdigest()
    purpose = f"application {request.application_id}"
    look = look_of(caller, contract.REGISTER_PERSON, purpose=purpose)
    with deps.db.write() as tx:
        # 1 a repeat gets the same answer
        if earlier := store.find_registration(tx, request.application_id):
            if earlier.request_sha256 != digest:
                raise Conflict("population.changed_request", "this application was registered with other data")
            code = earlier.personal_code
            return _disclose(deps, tx, code, (code,), look=look, categories=contract.REGISTER_PERSON.discloses)
        # 2 somebody who has a code keeps it
        if request.personal_code:
            entry = store.find_person(tx, request.personal_code)
            if entry is None:
                raise NotFound("population.person", "nobody has this code", public="No such personal code.")
            check_same_person(entry, given_names=request.given_names, surname=request.surname, born_on=request.born_on)
            code = entry.personal_code
        # 3 a new person gets the first free code of the day
        else:
            code = _insert_new(deps, tx, request)
        # 4 where the person can be reached
        if request.address is not None:
            kind: AddressKind = "residence" if request.basis == "citizen" else "contact"
            address = Address(kind, **request.address.model_dump(), from_on=deps.clock.now().date())
            _change_address(deps, tx, code, address, by=str(caller.client), purpose=purpose)
        # 5 remembered and journaled with the entry
        store.insert_registration(tx, request.application_id, store.Registration(code, digest))
        _record(deps, tx, "person.registered", code, by=str(caller.client), purpose=purpose)
        return _disclose(deps, tx, code, (code,), look=look, categories=contract.REGISTER_PERSON.discloses)


def _insert_new(deps: Deps, tx: Connection, request: RegisterPerson) -> str:
    taken = store.order_numbers(tx, request.born_on, request.sex)
    made = next_personal_code(
        born_on=request.born_on, sex=request.sex, taken=taken, first=deps.settings.first_order_number
    )
    person = Person(
        made.code,
        request.given_names,
        request.surname,
        request.sex,
        request.born_on,
        request.citizenships,
        request.residence_country,
        request.basis,
        deps.clock.now(),
    )
    store.insert_person(tx, person, made.order_number)
    return made.code


def find_persons(deps: Deps, request: contract.FindPersons, *, caller: Caller) -> Disclosed[list[Match]]:
    """Entries that could be this person: a similar name and a birth date at most a year away."""
    year = timedelta(days=366)
    look = look_of(caller, contract.FIND_PERSONS, purpose=request.purpose)
    name = f"{request.given_names} {request.surname}"

    def work() -> Disclosed[list[Match]]:
        with deps.db.write() as tx:
            found = [
                Match(person, name_similarity(name, f"{person.given_names} {person.surname}"))
                for person in store.persons_born_between(tx, request.born_on - year, request.born_on + year)
            ]
            matches = sorted((m for m in found if m.similarity >= SIMILAR_ENOUGH), key=lambda m: -m.similarity)[:20]
            codes = [match.person.personal_code for match in matches]
            _record_search(deps, tx, codes, by=str(caller.client), purpose=request.purpose)
            return _disclose(deps, tx, matches, codes, look=look, categories=contract.FIND_PERSONS.discloses)

    return deps.db.retry(work)


def get_person(deps: Deps, personal_code: str, *, caller: Caller) -> Disclosed[Person]:
    """One entry, for the person's own eyes. Raises: NotFound `population.person`."""
    purpose = caller.purpose or "asked by the holder through the portal"

    def read(tx: Connection) -> Person:
        person = _person(tx, personal_code)
        _record(deps, tx, "person.read", personal_code, by=str(caller.client), purpose=purpose)
        return person

    return _answer(deps, contract.GET_PERSON, read, caller=caller, about=(personal_code,), purpose=purpose)


def is_over_age(deps: Deps, personal_code: str, years: int, *, caller: Caller) -> Disclosed[bool]:
    """Whether the person is so many years old today. Raises: NotFound `population.person`."""

    def read(tx: Connection) -> bool:
        return age_on(_person(tx, personal_code).born_on, deps.clock.now().date()) >= years

    return _answer(deps, contract.IS_OVER_AGE, read, caller=caller, about=(personal_code,))


def check_name(deps: Deps, personal_code: str, *, given_names: str, surname: str, caller: Caller) -> Disclosed[bool]:
    """Whether this is the person's name; for a code that nobody has it is nobody's name."""

    def read(tx: Connection) -> bool:
        person = store.find_person(tx, personal_code)
        return person is not None and is_name_of(person, given_names=given_names, surname=surname)

    return _answer(deps, contract.CHECK_NAME, read, caller=caller, about=(personal_code,))


# --- addresses -------------------------------------------------------------------------------------------------------


def get_address(deps: Deps, request: contract.GetAddress, *, caller: Caller) -> Disclosed[contract.Address]:
    """The person's address of today: of the fields that were asked for, those that the consent or the law opens.

    Raises: what `verify_consent` raises, before anything is said about the person; Refused `population.fields` when
    the consent opens none of the fields; NotFound `population.person`, `population.no_address`.
    """
    operation = contract.GET_ADDRESS
    at = deps.clock.now()

    def work() -> Disclosed[contract.Address | None]:
        with deps.db.write() as tx:
            # 1 by what right
            consent = _verify_consent(deps, tx, operation, caller, request.personal_code)
            look = (
                look_of(
                    caller,
                    operation,
                    consent_reference=consent.consent_reference,
                    purpose=consent.purpose_declaration,
                )
                if consent
                else look_of(caller, operation)
            )
            # 2 which fields that opens
            asked = tuple(name for name in contract.ADDRESS_FIELDS if name in request.fields)
            fields = tuple(name for name in asked if consent is None or consent.opens(f"address.{name}"))
            if not fields:
                raise Refused("population.fields", f"asked: {asked}", public="The consent opens none of these fields.")
            # 3 the answer holds those and no others
            _person(tx, request.personal_code)
            address = choose_address(store.list_addresses(tx, request.personal_code), at.date())
            answer: contract.Address | None = None
            if address is not None:
                values = {name: getattr(address, name) for name in fields}
                answer = contract.Address(kind=address.kind, from_on=address.from_on, **values)
            # 4 written down, also that there is none; and the consent service is told of what goes out
            if consent is not None and answer is not None:
                message_id = new_id(deps.entropy)
                put_transmission(tx, store.OUTBOX, consent.consent_reference, message_id=message_id, at=at)
            categories = [f"address.{name}" for name in fields]
            return _disclose(deps, tx, answer, (request.personal_code,), look=look, categories=categories)

    disclosed = deps.db.retry(work)
    deps.wake_outbox()
    if disclosed.value is None:
        raise NotFound("population.no_address", "none in force", public="The register has no address.")
    return cast(Disclosed[contract.Address], disclosed)


def change_address(deps: Deps, personal_code: str, address: Address, *, by: str, purpose: str) -> bool:
    """Enter a new address of its kind; the one in force ends the day that the new one begins. False: nothing changed.

    Raises: NotFound `population.person`; Conflict `population.address_order`.
    """
    with deps.db.write() as tx:
        _person(tx, personal_code)
        return _change_address(deps, tx, personal_code, address, by=by, purpose=purpose)


def _change_address(deps: Deps, tx: Connection, personal_code: str, address: Address, *, by: str, purpose: str) -> bool:
    current = store.find_current_address(tx, personal_code, address.kind)
    ended, new = decide_address_change(current, address)
    if ended is not None:
        store.end_address(tx, personal_code, ended)
    if new is None:
        return False
    store.insert_address(tx, personal_code, new, at=deps.clock.now())
    _record(deps, tx, "address.changed", personal_code, by=by, purpose=purpose)
    return True


# --- family ----------------------------------------------------------------------------------------------------------


def get_family(deps: Deps, personal_code: str, *, caller: Caller) -> Disclosed[list[Relative]]:
    """The person's relations of today; every relative who is named can see that. Raises: NotFound."""
    look = look_of(caller, contract.GET_FAMILY, purpose=caller.purpose or "asked by the holder through the portal")
    today = deps.clock.now().date()

    def work() -> Disclosed[list[Relative]]:
        with deps.db.write() as tx:
            _person(tx, personal_code)
            relations = [r for r in store.list_relations(tx, personal_code) if r.is_in_force(today)]
            found = [_relative(tx, relation, personal_code, today) for relation in relations]
            about = [personal_code, *(relative.person.personal_code for relative in found)]
            return _disclose(deps, tx, found, about, look=look, categories=contract.GET_FAMILY.discloses)

    return deps.db.retry(work)


def represents_minor(
    deps: Deps, *, representative_code: str, minor_code: str, caller: Caller
) -> Disclosed[tuple[bool, str]]:
    """May the one act for the other today? A code that nobody has is nobody's parent and nobody's child."""
    today = deps.clock.now().date()

    def read(tx: Connection) -> tuple[bool, str]:
        representative = store.find_person(tx, representative_code)
        minor = store.find_person(tx, minor_code)
        if representative is None or minor is None:
            return False, "no_relation"
        relations = store.list_relations(tx, minor_code)
        return decide_minor_representation(relations, representative=representative, minor=minor, day=today)

    about = (representative_code, minor_code)
    return _answer(deps, contract.REPRESENTS_MINOR, read, caller=caller, about=about)


def enter_relation(deps: Deps, relation: Relation, *, by: str, purpose: str) -> None:
    """Raises: NotFound `population.person`; what `check_relation` raises."""
    with deps.db.write() as tx:
        person, other = _person(tx, relation.personal_code), _person(tx, relation.other_code)
        known = store.list_relations(tx, relation.personal_code, relation.other_code)
        check_relation(relation, person=person, other=other, known=known)
        store.insert_relation(tx, relation, at=deps.clock.now())
        for code in (relation.personal_code, relation.other_code):
            _record(deps, tx, "relation.entered", code, by=by, purpose=purpose)


def end_relation(
    deps: Deps, *, kind: str, personal_code: str, other_code: str, until_on: date, by: str, purpose: str
) -> None:
    """A relation ends on a day: a divorce; custody that changes ends one relation and begins another.

    Raises: NotFound `population.relation`; Conflict `population.relation_order` when it would end before it began.
    """
    with deps.db.write() as tx:
        same = [(kind, personal_code, other_code)]
        if kind == "spouse":  # each is the other's: whichever stands first in the entry
            same.append((kind, other_code, personal_code))
        standing = [
            relation
            for relation in store.list_relations(tx, personal_code)
            if (relation.kind, relation.personal_code, relation.other_code) in same and relation.until_on is None
        ]
        if not standing:
            raise NotFound("population.relation", "none that stands", public="There is no such relation.")
        if until_on < standing[0].from_on:
            raise Conflict(
                "population.relation_order", "ends before it began", public="A relation cannot end before it began."
            )
        store.end_relation(tx, standing[0], until_on=until_on)
        for code in (personal_code, other_code):
            _record(deps, tx, "relation.ended", code, by=by, purpose=purpose)


def _relative(tx: Connection, relation: Relation, personal_code: str, today: date) -> Relative:
    is_first = relation.personal_code == personal_code
    other = _person(tx, relation.other_code if is_first else relation.personal_code)
    if relation.kind == "spouse":
        return Relative("spouse", other, is_minor(other, today), False, relation.from_on)
    child = other if is_first else _person(tx, personal_code)
    # custody ends by law when the child is of age, whatever the entry says
    has_custody = relation.has_custody and is_minor(child, today)
    return Relative("child" if is_first else "parent", other, is_minor(other, today), has_custody, relation.from_on)


# --- documents -------------------------------------------------------------------------------------------------------


def record_document_status(deps: Deps, told: DocumentStatus, *, notice_id: str, caller: Caller) -> None:
    """Keep what the board tells of a document. A notice that is no news changes nothing.

    Raises: NotFound `population.person` when nobody has the code; Conflict `population.other_document` when the
    number was told as another person's.
    """

    def work() -> None:
        with deps.db.write() as tx:
            known = store.find_document(tx, told.document_number)
            if known is not None and known.personal_code != told.personal_code:
                raise Conflict("population.other_document", "the number was told as another person's")
            if not is_news(known, told):
                return
            _person(tx, told.personal_code)
            store.save_document(tx, told)
            purpose = f"notice {notice_id}"
            _record(deps, tx, "document.told", told.personal_code, by=str(caller.client), purpose=purpose)

    deps.db.retry(work)


def has_valid_document(deps: Deps, personal_code: str, *, caller: Caller) -> Disclosed[bool]:
    """Whether the person holds a document that is active and not past its day."""
    today = deps.clock.now().date()

    def read(tx: Connection) -> bool:
        return any(document.is_valid(today) for document in store.list_documents(tx, personal_code))

    return _answer(deps, contract.HAS_VALID_DOCUMENT, read, caller=caller, about=(personal_code,))


# --- the desk --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeskOfficer:
    """Who looks at the desk, and why."""

    personal_code: str
    name: str
    purpose: str

    def look(self, service: str) -> Look:
        return Look(
            receiver=str(POPULATION_REGISTER),
            purpose=self.purpose,
            legal_basis="Population Register Act § 46: keeping the register",
            service=service,
            receiver_user=f"EE{self.personal_code}",
        )


def search_at_desk(deps: Deps, *, text: str, officer: DeskOfficer) -> Disclosed[list[Person]]:
    """The register desk's search, by personal code or the beginning of a surname. A purpose is required.

    Raises: Refused `population.no_purpose`.
    """
    _check_purpose(officer)

    def work() -> Disclosed[list[Person]]:
        with deps.db.write() as tx:
            exact = store.find_person(tx, text) if text.isdigit() else None
            found = [exact] if exact else [] if text.isdigit() else store.persons_with_surname_like(tx, text)
            codes = [person.personal_code for person in found]
            _record_search(deps, tx, codes, by=officer.name, purpose=officer.purpose)
            look = officer.look("desk/search")
            return _disclose(deps, tx, found, codes, look=look, categories=("name", "birth_date", "citizenship"))

    return deps.db.retry(work)


def open_entry(deps: Deps, personal_code: str, *, officer: DeskOfficer) -> Disclosed[Entry]:
    """The whole entry at the desk. Raises: Refused `population.no_purpose`; NotFound `population.person`."""
    _check_purpose(officer)

    def work() -> Disclosed[Entry]:
        with deps.db.write() as tx:
            person = _person(tx, personal_code)
            addresses = store.list_addresses(tx, personal_code)
            relations = [
                (r, _person(tx, r.other_code if r.personal_code == personal_code else r.personal_code))
                for r in store.list_relations(tx, personal_code)
            ]
            documents = store.list_documents(tx, personal_code)
            current = choose_address(addresses, deps.clock.now().date())
            entry = Entry(person, addresses, current, relations, documents)
            about = [personal_code, *(other.personal_code for _, other in relations)]
            _record(deps, tx, "person.read", personal_code, by=officer.name, purpose=officer.purpose)
            categories = ("name", "birth_date", "citizenship", "address", "family", "document_status")
            look = officer.look("desk/entry")
            return _disclose(deps, tx, entry, about, look=look, categories=categories)

    return deps.db.retry(work)


def _check_purpose(officer: DeskOfficer) -> None:
    if len(officer.purpose.strip()) < 5:
        raise Refused("population.no_purpose", "no purpose given", public="Say why you need this look.")


def add_officer(deps: Deps, personal_code: str, name: str) -> None:
    """Authorise an officer of the register desk, by personal code."""
    with deps.db.write() as tx:
        store.insert_officer(tx, personal_code, name)
        _record(deps, tx, "officer.added", personal_code, by="administrator", purpose="authorisation")


def admit_officer(deps: Deps, personal_code: str) -> str:
    """The name of the officer who may enter the desk. Raises: Refused `population.not_an_officer`."""
    with deps.db.read() as tx:
        name = store.find_officer(tx, personal_code)
    if name is None:
        raise Refused("population.not_an_officer", "not an officer", public="You are not an officer of this register.")
    return name


def list_look_ups(deps: Deps) -> list[store.LookUp]:
    with deps.db.read() as tx:
        return store.recent_look_ups(tx)


# --- inside ----------------------------------------------------------------------------------------------------------


def _answer(
    deps: Deps,
    operation: Operation[Any, Any],
    read: Callable[[Connection], T],
    *,
    caller: Caller,
    about: Sequence[str],
    purpose: str | None = None,
) -> Disclosed[T]:
    """An answer about named persons: by what right, read, written down, in one transaction."""

    def work() -> Disclosed[T]:
        with deps.db.write() as tx:
            look = look_of(caller, operation, purpose=purpose)
            return _disclose(deps, tx, read(tx), about, look=look, categories=operation.discloses)

    return deps.db.retry(work)


def _disclose(
    deps: Deps, tx: Connection, value: T, about: Sequence[str], *, look: Look, categories: Sequence[str]
) -> Disclosed[T]:
    return record_disclosures(
        tx,
        store.DISCLOSURES,
        store.JOURNAL,
        value,
        personal_codes=about,
        look=look,
        categories=categories,
        at=deps.clock.now(),
    )


def _verify_consent(
    deps: Deps, tx: Connection, operation: Operation[Any, Any], caller: Caller, personal_code: str
) -> VerifiedConsent | None:
    """The person's consent where this client needs one; None where the law answers it."""
    if not operation.needs_consent(caller.client):
        return None
    if deps.consents is None:
        raise Unavailable("population.no_consents", "no consent service is set up", public="Try again later.")
    return verify_consent(
        caller.consent,
        seal=deps.consents.seal,
        service=operation.service,
        client=caller.client,
        subject_code=personal_code,
        purpose=caller.purpose,
        revoked=deps.consents.revocations.view(tx),
        at=deps.clock.now(),
    )


def _person(tx: Connection, personal_code: str) -> Person:
    person = store.find_person(tx, personal_code)
    if person is None:
        raise NotFound("population.person", "no such code", public="There is nobody with this personal code.")
    return person


def _record_search(deps: Deps, tx: Connection, codes: Sequence[str], *, by: str, purpose: str) -> None:
    found = [_short(code) for code in codes]
    payload: dict[str, journal.JsonValue] = {"by": by, "purpose": purpose, "found": found}
    journal.record(tx, store.JOURNAL, kind="persons.searched", payload=payload, at=deps.clock.now())


def _record(deps: Deps, tx: Connection, kind: str, code: str, *, by: str, purpose: str) -> None:
    payload: dict[str, journal.JsonValue] = {"person": _short(code), "by": by, "purpose": purpose}
    journal.record(tx, store.JOURNAL, kind=kind, payload=payload, at=deps.clock.now())


def _short(code: str) -> str:
    return code[:7] + "****"
