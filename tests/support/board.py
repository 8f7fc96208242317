"""What the board's use cases need in a test that opens no socket, and an application at a state of choice."""

import json
from datetime import date
from pathlib import Path

from digiid.contracts.members import POLICE_BOARD
from digiid.exchange.client import Client
from digiid.formats.mrz import build_td3
from digiid.formats.payment import PaymentNotice, PaymentState, Purpose, sign_notice
from digiid.institutions.police_board import store
from digiid.institutions.police_board.domain.application import CheckKind, CheckState, HitState, Step
from digiid.institutions.police_board.peers import ListFiles, PaymentProvider
from digiid.institutions.police_board.settings import TEST_LIST
from digiid.institutions.police_board.store.accounts import Account
from digiid.institutions.police_board.store.applications import Application, Photo
from digiid.institutions.police_board.store.checks import StoredCheck, StoredHit
from digiid.institutions.police_board.store.officers import Officer
from digiid.institutions.police_board.store.schema import OUTBOX
from digiid.institutions.police_board.use_cases import apply, officers, payments
from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.http import HttpClient
from digiid.platform.mail import FolderTransport

PAYMENT_KEY = b"p" * 32
# a passport of the specimen country, its zone and its holder agree
PERSONAL = {
    "given_names": "Anna Maria",
    "surname": "Eriksson",
    "sex": "F",
    "born_on": "1974-08-12",
    "place_of_birth": "Utopolis",
    "citizenships-1": "UTO",
    "residence_country": "FIN",
    "address": "Example street 1, Helsinki",
}
TRAVEL_DOCUMENT = {
    "kind": "passport",
    "number": "L898902C3",
    "issuing_country": "UTO",
    "expires_on": "2031-04-15",
    "mrz": build_td3(
        surname="Eriksson",
        given_names="Anna Maria",
        document_number="L898902C3",
        issuer="UTO",
        nationality="UTO",
        born_on=date(1974, 8, 12),
        sex="F",
        expires_on=date(2031, 4, 15),
    ),
}
STEPS = {
    Step.PERSONAL: PERSONAL,
    Step.TRAVEL_DOCUMENT: TRAVEL_DOCUMENT,
    Step.MOTIVATION: {
        "motivation": "I run a small software company and sign contracts with partners in Estonia.",
        "field_of_activity": "software",
    },
    Step.BUSINESS: {"education": "University of Utopia", "work": "Example Ltd"},
    Step.DECLARATIONS: {
        "criminal_record": "no",
        "business_ban": "no",
        "truthful": "yes",
        "agrees_to_checks": "yes",
        "applies_in_person": "yes",
    },
    Step.ACCEPTANCE: {"accepted": "yes", "version": "2026-11"},
}


def make_deps(db: Database, clock: Clock, entropy: Entropy, folder: Path) -> Deps:
    """Real parts throughout; the exchange's gate is at a port where nobody answers."""
    http = HttpClient(timeout_seconds=0.5)
    exchange = Client(POLICE_BOARD, server_url="http://127.0.0.1:1", http=http, entropy=entropy)
    return Deps(
        db=db,
        clock=clock,
        entropy=entropy,
        exchange=exchange,
        payments=PaymentProvider("http://pay.localhost:1", "police-board", PAYMENT_KEY, http),
        lists=ListFiles([("TEST list", TEST_LIST)]),
        mail=FolderTransport(folder / "mailbox", sender="board@digiid.example"),
        apply_url="http://apply.localhost:8800",
        accepts_specimens=True,
    )


def two_officers(deps: Deps) -> tuple[Officer, Officer]:
    return (
        officers.add_officer(deps, personal_code="38001019005", name="Mari Menetleja", role="deciding_officer"),
        officers.add_officer(deps, personal_code="48001019004", name="Otto Otsustaja", role="deciding_officer"),
    )


def add_account(deps: Deps, email: str = "anna@example.org") -> Account:
    account = Account(new_id(deps.entropy), email, "en", deps.clock.now())
    with deps.db.write() as tx:
        store.accounts.add_account(tx, account)
    return account


def complete_draft(deps: Deps, account: Account) -> Application:
    """Every step saved through its use case, but photo (a file) and pick-up point (the bureau's) through the store."""
    application = apply.start_application(deps, account, language="en")
    for step, fields in STEPS.items():
        apply.save_step(deps, account, application.application_id, step, fields, language="en")
    with deps.db.write() as tx:
        at = deps.clock.now()
        store.applications.save_photo(tx, Photo(application.application_id, b"\xff\xd8\xff", 1300, 1600, at))
        point = {"point_code": "tallinn", "point_name": "Tallinn service point"}
        store.applications.save_step(tx, application.application_id, Step.PICK_UP, point, at=at)
    return application


def signed_callback(payment_id: str, state: PaymentState = "paid", cents: int = 15_000, currency: str = "EUR") -> str:
    notice = PaymentNotice(payment_id, state, cents, currency)
    return sign_notice(notice, purpose=Purpose.CALLBACK, key=PAYMENT_KEY)


def pending_payment(deps: Deps, account: Account, application: Application) -> str:
    """Submit and give the id of the payment that the provider is asked for."""
    payments.submit_application(deps, account, application.application_id, language="en")
    with deps.db.read() as tx:
        return store.payments.find_payments(tx, application.application_id)[-1].payment_id


def submitted(deps: Deps, account: Account) -> Application:
    """A paid application whose checks have not run."""
    application = complete_draft(deps, account)
    payments.take_callback(deps, signed_callback(pending_payment(deps, account, application)))
    return current(deps, application)


def checked(deps: Deps, account: Account, *, hits: int = 0, lists: CheckState = CheckState.CLEAR) -> Application:
    """A submitted application whose checks have run with this result."""
    application = submitted(deps, account)
    with deps.db.write() as tx:
        for kind in CheckKind:
            state = lists if kind is CheckKind.LISTS else CheckState.CLEAR
            state = CheckState.HITS if kind is CheckKind.LISTS and hits else state
            store.checks.save_check(tx, StoredCheck(application.application_id, kind, state, "", deps.clock.now()))
        for number in range(hits):
            hit = StoredHit(
                hit_id=new_id(deps.entropy),
                application_id=application.application_id,
                kind=CheckKind.LISTS,
                source="TEST list",
                reference=f"TESTi.{number:03}",
                score=0.97,
                summary="somebody of this name",
                evidence=(("name", "x"),),
                state=HitState.OPEN,
            )
            store.checks.add_hit(tx, hit)
    return application


def current(deps: Deps, application: Application) -> Application:
    with deps.db.read() as tx:
        return store.applications.get_application(tx, application.application_id)


def outbox_kinds(deps: Deps) -> list[str]:
    """What waits in the outbox, in order, letters left out."""
    with deps.db.read() as tx:
        rows = tx.execute(OUTBOX.select().where(OUTBOX.c.state == "waiting").order_by(OUTBOX.c.position))
        return [row.kind for row in rows if row.kind != "mail"]


def letters(deps: Deps) -> list[str]:
    """The names of the letters that wait, in order."""
    with deps.db.read() as tx:
        rows = tx.execute(OUTBOX.select().where(OUTBOX.c.kind == "mail").order_by(OUTBOX.c.position))
        return [json.loads(row.payload)["letter"] for row in rows if row.state == "waiting"]


VALID_UNTIL = date(2031, 11, 22)
