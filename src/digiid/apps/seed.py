"""The first people of a demonstration state: made through the same factory as everybody else, visibly test persons.

An officer enters the citizens at the counter; then everything goes its ordinary way: population
register, bureau, chip, certificates, hand-over. At the end the seed opens the PIN envelope as the
holder would and changes the PINs to those of the README.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from digiid.apps import story
from digiid.apps.central import authorise_officer
from digiid.apps.demonstration import PIN1, PIN2, PUK, TestPerson, read_people, write_people
from digiid.apps.state import StateFolder, StateSettings
from digiid.apps.visitor import Visitor
from digiid.contracts.members import POLICE_BOARD
from digiid.contracts.population_register import PlaceOfAddress, RegisterPerson
from digiid.devices.card_shelf import CardShelf
from digiid.exchange.central_server.use_cases.deps import Deps as CentralDeps
from digiid.exchange.gate import Caller
from digiid.institutions.business_register import use_cases as business
from digiid.institutions.business_register.domain import RoleKind
from digiid.institutions.business_register.use_cases import Appointment
from digiid.institutions.business_register.use_cases import Deps as BusinessDeps
from digiid.institutions.card_bureau import store as bureau_store
from digiid.institutions.card_bureau.domain import Officer as BureauOfficer
from digiid.institutions.card_bureau.domain import Order, OrderState, open_envelope
from digiid.institutions.card_bureau.use_cases import desk
from digiid.institutions.card_bureau.use_cases import hand_over as bureau_hand_over
from digiid.institutions.card_bureau.use_cases.deps import Deps as BureauDeps
from digiid.institutions.police_board import store as police_store
from digiid.institutions.police_board.domain import form
from digiid.institutions.police_board.domain.application import ApplicationState, Step
from digiid.institutions.police_board.use_cases import issue, officers
from digiid.institutions.police_board.use_cases.deps import Deps as PoliceDeps
from digiid.institutions.population_register import store as population_store
from digiid.institutions.population_register import use_cases as population
from digiid.institutions.population_register.domain import Address, Relation
from digiid.institutions.population_register.use_cases import Deps as PopulationDeps
from digiid.kernel.errors import Unavailable
from digiid.platform import eid_card
from digiid.platform.eid_card import CardPin

T = TypeVar("T")
_PATIENCE_SECONDS = 60.0
_POINT = "tallinn-test"
_SEED_CODE = "47101010033"  # an official test code: the seed is nobody


@dataclass(frozen=True)
class Seeder:
    """What the seed works with: the institutions' own use cases, the shelf with the cards, the CA of `--tls`."""

    folder: StateFolder
    settings: StateSettings
    population: PopulationDeps
    business: BusinessDeps
    bureau: BureauDeps
    police: PoliceDeps
    central: CentralDeps
    shelf: CardShelf
    authority: Path | None


@dataclass(frozen=True, slots=True)
class _Citizen:
    given_names: str
    surname: str
    sex: str
    born_on: date
    travel_number: str
    role: str


_BUREAU_OFFICER_ROLE = "bureau officer (bureau, population, central)"
CITIZENS = (
    _Citizen("TEST MARI", "OTSUSTAJA", "F", date(1981, 3, 14), "TK0000001", "officer: proposes (police)"),
    _Citizen("TEST JAAN", "KINNITAJA", "M", date(1975, 9, 2), "TK0000002", "deciding officer (police)"),
    _Citizen("TEST KADRI", "KAARDIMEISTER", "F", date(1988, 1, 20), "TK0000003", _BUREAU_OFFICER_ROLE),
    _Citizen("TEST PEETER", "VÄLJASTAJA", "M", date(1990, 6, 30), "TK0000004", "pick-up officer, every point (bureau)"),
    _Citizen("TEST LIIS", "KODANIK", "F", date(1995, 12, 5), "TK0000005", "citizen (portal, bank)"),
)


E_RESIDENT = story.Applicant(
    "TEST ALEX", "EXAMPLE", "M", date(1986, 2, 17), "alex@example.com", "TU1234567", date(2033, 8, 31), _POINT
)
E_RESIDENT_ROLE = "e-resident (portal, bank)"


def seed(seeder: Seeder) -> None:
    """Make the people that are not there yet. Safe to call at every start; an interrupted seed goes on."""
    people = read_people(seeder.folder.path)
    known = {person.role for person in people}
    for citizen in CITIZENS:
        if citizen.role not in known:
            people.append(_make_citizen(seeder, citizen))
            write_people(seeder.folder.path, people)
    _authorise(seeder, people)
    if E_RESIDENT_ROLE not in known:
        people.append(_make_e_resident(seeder, people))
        write_people(seeder.folder.path, people)
    _enter_family(seeder, people)
    _enter_company(seeder, people)


def _make_e_resident(seeder: Seeder, people: list[TestPerson]) -> TestPerson:
    """Through the pages, like everybody who applies from abroad; an interrupted seed goes on where the pages are."""
    origins = dict(seeder.settings.origins)
    cards = {citizen.role: _holder(seeder, person) for citizen, person in zip(CITIZENS, people, strict=False)}
    proposer, decider, _, desk, _ = (cards[citizen.role] for citizen in CITIZENS)
    applicant = Visitor(authority=seeder.authority)
    # 1 applied
    account = story.open_account(applicant, origins, E_RESIDENT.email)
    begun = account.links(href="/applications/")
    page = applicant.open(begun[0]) if begun else applicant.submit(account, button="Start a new application")
    if page.links(href="/step/"):
        page = story.pay_and_submit(applicant, story.fill_in_steps(applicant, page, E_RESIDENT))
    # 2 decided by two officers
    if "The decision" not in page.text:
        story.sign_in(proposer, origins["police"])
        story.sign_in(decider, origins["police"])
        story.propose_and_decide(page, proposer=proposer, decider=decider, origins=origins)
    # 3 made, and handed over at the point
    application_id = page.url.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    order_id = _wait(lambda: _find_order(seeder, application_id))
    order = _wait(lambda: _find_made(seeder, order_id))
    if order.state is OrderState.AT_POINT:
        story.sign_in(desk, origins["bureau"])
        at_desk = f"{origins['bureau']}/orders/{order_id}"
        story.wait_for(lambda: story.handed(desk, at_desk, E_RESIDENT), "the hand-over")
    # 4 the README's PINs, and only then is the envelope destroyed
    with seeder.police.db.read() as tx:
        delivery = police_store.deliveries.find_delivery(tx, order_id=order_id)
    if delivery is not None and delivery.envelope_key is not None:
        _change_pins(seeder, order.document_number, story.open_envelope(applicant, page))
        story.destroy_envelope(applicant, page)
    for holder in (proposer, decider, desk):
        holder.visitor.close()
    applicant.close()
    return TestPerson(
        E_RESIDENT.given_names, E_RESIDENT.surname, order.personal_code, order.document_number, E_RESIDENT_ROLE
    )


def _holder(seeder: Seeder, person: TestPerson) -> story.CardHolder:
    return story.CardHolder(Visitor(authority=seeder.authority), seeder.shelf.open(person.document_number), PIN1, PIN2)


def _make_citizen(seeder: Seeder, citizen: _Citizen) -> TestPerson:
    # 1 entered at the counter; an interrupted seed finds the application that it made
    clerk = police_store.officers.Officer("", "PB-SEED", "Demonstration seed", "deciding_officer", True)
    application_id = _find_entered(seeder, citizen)
    if application_id is None:
        application_id = issue.enter_citizen(seeder.police, clerk, _counter_application(citizen))
    # 2 the board orders, the bureau makes and ships
    order_id = _wait(lambda: _find_order(seeder, application_id))
    order = _wait(lambda: _find_made(seeder, order_id))
    # 3 handed over against the same travel document
    if order.state is OrderState.AT_POINT:
        _wait(lambda: _document_at_point(seeder, order_id))
        officer = BureauOfficer(_SEED_CODE, "Demonstration seed", "point_officer", frozenset({_POINT}))
        check = bureau_hand_over.DeskCheck(order.travel_document, True, True, "demonstration")
        bureau_hand_over.hand_over(seeder.bureau, officer, order_id, check)
    # 4 the README's PINs
    _set_demonstration_pins(seeder, order_id, order.document_number)
    return TestPerson(citizen.given_names, citizen.surname, order.personal_code, order.document_number, citizen.role)


def _counter_application(citizen: _Citizen) -> issue.CounterApplication:
    personal = form.Personal(
        given_names=citizen.given_names,
        surname=citizen.surname,
        previous_names=(),
        sex="F" if citizen.sex == "F" else "M",
        born_on=citizen.born_on,
        place_of_birth="Tallinn",
        citizenships=("EST",),
        personal_code="",
        residence_country="EST",
        address="Testi 1, Tallinn",
        phone="+372 5550000",
    )
    travel = form.TravelDocumentData("passport", citizen.travel_number, "EST", date(2035, 12, 31), "")
    return issue.CounterApplication(personal, travel, form.PickUp(_POINT, "Tallinn (test point)"))


def _find_entered(seeder: Seeder, citizen: _Citizen) -> str | None:
    with seeder.police.db.read() as tx:
        for application in police_store.applications.find_applications_in(tx, tuple(ApplicationState)):
            steps = police_store.applications.find_steps(tx, application.application_id)
            if application.kind == "citizen" and steps[Step.PERSONAL].get("surname") == citizen.surname:
                return application.application_id
    return None


def _find_order(seeder: Seeder, application_id: str) -> str | None:
    with seeder.police.db.read() as tx:
        delivery = police_store.deliveries.find_delivery(tx, application_id=application_id)
    return delivery.order_id if delivery else None


def _find_made(seeder: Seeder, order_id: str) -> Order | None:
    with seeder.bureau.db.read() as tx:
        order = bureau_store.find_order(tx, order_id)
    return order if order and order.state in (OrderState.AT_POINT, OrderState.HANDED_OUT) else None


def _document_at_point(seeder: Seeder, order_id: str) -> bool | None:
    with seeder.police.db.read() as tx:
        document = police_store.documents.find_document_of_order(tx, order_id)
    return True if document and document.state == "at_point" else None


def _set_demonstration_pins(seeder: Seeder, order_id: str, document_number: str) -> None:
    with seeder.police.db.read() as tx:
        delivery = police_store.deliveries.find_delivery(tx, order_id=order_id)
    if delivery is None or delivery.envelope_key is None:
        return
    sealed = bureau_hand_over.take_pin_envelope(seeder.bureau, order_id)
    pins = open_envelope(sealed, key=delivery.envelope_key, order_id=order_id)
    _change_pins(seeder, document_number, pins)
    bureau_hand_over.destroy_pin_envelope(seeder.bureau, order_id)


def _change_pins(seeder: Seeder, document_number: str, pins: Mapping[str, str]) -> None:
    card = seeder.shelf.open(document_number)
    for which, old, new in (
        (CardPin.PIN1, pins["pin1"], PIN1),
        (CardPin.PIN2, pins["pin2"], PIN2),
        (CardPin.PUK, pins["puk"], PUK),
    ):
        try:
            eid_card.change_pin(card, which, old=old, new=new)
        except eid_card.PinRefused:
            # Changed before the seed was interrupted, or else this is refused too. A PIN cannot be changed to itself.
            eid_card.change_pin(card, which, old=new, new=new[::-1])
            eid_card.change_pin(card, which, old=new[::-1], new=new)


def _authorise(seeder: Seeder, people: list[TestPerson]) -> None:
    by_role = {person.role: person for person in people}
    roles = [citizen.role for citizen in CITIZENS]
    for role, board_role in ((roles[0], "officer"), (roles[1], "deciding_officer")):
        person = by_role[role]
        officers.add_officer(seeder.police, personal_code=person.personal_code, name=_name(person), role=board_role)
    bureau, point = by_role[roles[2]], by_role[roles[3]]
    population.add_officer(seeder.population, bureau.personal_code, _name(bureau))
    authorise_officer(seeder.central, bureau.personal_code, _name(bureau))
    every_point = frozenset(p.code for p in desk.list_points(seeder.bureau))
    desk.authorise_officer(
        seeder.bureau, BureauOfficer(bureau.personal_code, _name(bureau), "bureau_officer", frozenset())
    )
    desk.authorise_officer(
        seeder.bureau, BureauOfficer(point.personal_code, _name(point), "point_officer", every_point)
    )


_SEED = "demonstration seed"
_HOME = PlaceOfAddress(country="EST", region="Harju maakond", locality="Tallinn", street="Testi 1-5", postcode="10111")
_ABROAD = PlaceOfAddress(country="FIN", region="Uusimaa", locality="Helsinki", street="Testikatu 7 B", postcode="00100")
_CHILD_BORN_ON = date(2017, 5, 20)
_COMPANY_SINCE = date(2024, 1, 2)  # not today: the same request comes at every start and has the same content


def _enter_family(seeder: Seeder, people: list[TestPerson]) -> None:
    """Where the citizen and the e-resident live, and the citizen's child, for whom she may act. Once: what officers
    change later stays changed."""
    by_role = {person.role: person for person in people}
    parent, abroad = by_role[CITIZENS[4].role], by_role[E_RESIDENT_ROLE]
    with seeder.population.db.read() as tx:
        if population_store.list_relations(tx, parent.personal_code):
            return
    today = seeder.population.clock.now().date()
    home = Address("residence", **_HOME.model_dump(), from_on=today)
    contact = Address("contact", **_ABROAD.model_dump(), from_on=today)
    for person, address in ((parent, home), (abroad, contact)):
        population.change_address(seeder.population, person.personal_code, address, by=_SEED, purpose=_SEED)
    child = RegisterPerson(
        application_id="seed-child",
        given_names="TEST LAPS",
        surname=parent.surname,
        sex="F",
        born_on=_CHILD_BORN_ON,
        citizenships=("EST",),
        residence_country="EST",
        basis="citizen",
        address=_HOME,
    )
    code = population.register_person(seeder.population, child, caller=Caller(POLICE_BOARD, "EE-seed-child")).value
    relation = Relation("parent", parent.personal_code, code, True, _CHILD_BORN_ON)
    population.enter_relation(seeder.population, relation, by=_SEED, purpose=_SEED)


def _enter_company(seeder: Seeder, people: list[TestPerson]) -> None:
    """One company, with the e-resident and the citizen on its board."""
    by_role = {person.role: person for person in people}
    appointments = []
    for role, cents in ((E_RESIDENT_ROLE, 150_000), (CITIZENS[4].role, 100_000)):
        code, name = by_role[role].personal_code, _name(by_role[role])
        appointments += [
            Appointment(RoleKind.BOARD_MEMBER, code, name, _COMPANY_SINCE, representation="sole"),
            Appointment(RoleKind.SHAREHOLDER, code, name, _COMPANY_SINCE, share_cents=cents),
        ]
    company = business.Entry(
        "seed-company", "TEST Näidis OÜ", "OÜ", "Testi 1-5, 10111 Tallinn", 250_000, tuple(appointments)
    )
    business.enter_company(seeder.business, company, entered_by=_SEED)


def _name(person: TestPerson) -> str:
    return f"{person.given_names} {person.surname}"


def _wait(look: Callable[[], T | None]) -> T:
    """What `look` finds, as soon as it finds it: institutions work on their own threads."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise Unavailable("seed.timeout", "an institution did not get there in time; see its outbox in the log")
        time.sleep(0.02)
