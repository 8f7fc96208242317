"""A bureau that dies before a line of its ladders: after the restart there is one of everything.

Real peers answer over a real exchange: the board, the population register and the CA. The act runs in a
process of its own that ends itself before its n-th line (see bureau_victim). Then the bureau is opened
again over the same folder, and what goes on by itself goes on: the board repeats what was not answered, the
bureau's outbox delivers. For the making of a card every sixth line is tried and for the hand-over every
third, with the first and the last: all of them would take minutes.
"""

import multiprocessing
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from digiid.apps.serving import Listener, ServerGroup
from digiid.contracts.members import POLICE_BOARD
from digiid.devices.card_shelf import CardShelf
from digiid.exchange.client import Client
from digiid.exchange.gate import Gate
from digiid.formats.apdu import Transport
from digiid.institutions.card_bureau import api as bureau_api
from digiid.institutions.card_bureau import jobs as bureau_jobs
from digiid.institutions.card_bureau import store as bureau_store
from digiid.institutions.card_bureau.domain import OrderState, open_envelope
from digiid.institutions.card_bureau.settings import Settings as BureauSettings
from digiid.institutions.card_bureau.use_cases import hand_over
from digiid.institutions.card_bureau.use_cases.deps import Deps as BureauDeps
from digiid.institutions.card_bureau.use_cases.orders import NewOrder
from digiid.institutions.police_board import api as board_api
from digiid.institutions.police_board import jobs as board_jobs
from digiid.institutions.police_board import store as board_store
from digiid.institutions.police_board.domain import form
from digiid.institutions.police_board.use_cases import issue
from digiid.institutions.police_board.use_cases.deps import Deps as BoardDeps
from digiid.institutions.population_register import api as population_api
from digiid.institutions.population_register.settings import Settings as PopulationSettings
from digiid.institutions.population_register.use_cases import Deps as PopulationDeps
from digiid.institutions.trust_services.ca import api as ca_api
from digiid.institutions.trust_services.ca import store as ca_store
from digiid.institutions.trust_services.ca import use_cases as ca
from digiid.institutions.trust_services.domain import CertificateState
from digiid.kernel.errors import Conflict
from digiid.platform import eid_card, journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.eid_card import CardKey
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.outbox import Worker
from digiid.platform.pools import Pools
from tests.fault import bureau_victim
from tests.fault.bureau_victim import KILLED, Act
from tests.support import board as board_support
from tests.support.bureau import ATTESTED, BUREAU_PACKAGE, OFFICER, PASSPORT, make_deps, shelf_in
from tests.support.serve import free_port
from tests.unit.institutions.trust_services.ca_setup import CA_PACKAGE, ca_over, shared_hierarchy

_MAKING_STRIDE, _HAND_OVER_STRIDE = 6, 3


class Room:
    """The four institutions over one folder; the bureau can be away while its victim owns the cards."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.clock = ManualClock(shared_hierarchy().issuing.certificate.not_valid_before_utc + timedelta(hours=2))
        entropy, http, pools = SystemEntropy(), HttpClient(timeout_seconds=10), Pools(pages=2, services=2)
        stack.callback(pools.close)
        stack.callback(http.close)
        self.port = free_port()

        def database(name: str, package: str) -> Database:
            db = Database.sqlite(folder / f"{name}.sqlite")
            db.migrate(package)
            stack.callback(db.close)
            return db

        self.shelf: CardShelf | None = None
        shelf = shelf_in(folder, entropy)
        bureau = make_deps(
            database("bureau", BUREAU_PACKAGE),
            self.clock,
            entropy,
            shelf,
            gate_url=self.gate_url,
            settings=BureauSettings(auto_ship=True),
        )
        shelf.close()
        self.bureau: BureauDeps = replace(bureau, blank_card=lambda number: self._open_shelf().new_blank(number))
        board = board_support.make_deps(
            database("board", "digiid.institutions.police_board"), self.clock, entropy, folder
        )
        exchange = Client(POLICE_BOARD, server_url=self.gate_url, http=http, entropy=entropy)
        self.board: BoardDeps = replace(board, exchange=exchange)
        register = database("population", "digiid.institutions.population_register")
        self.population = PopulationDeps(register, self.clock, entropy, PopulationSettings())
        self.ca = ca_over(database("ca", CA_PACKAGE), self.clock, entropy)
        services = [
            *bureau_api.services(self.bureau),
            *board_api.services(self.board),
            *population_api.services(self.population),
            *ca_api.services(self.ca),
        ]
        gate = Gate(services, pools=pools)
        stack.enter_context(ServerGroup([Listener(cast(Any, gate), self.port)]).running())
        self.bureau_outbox = Worker(
            "card_bureau", self.bureau.db, bureau_store.OUTBOX, self.clock, bureau_jobs.outbox_handlers(self.bureau)
        )
        self.board_outbox = Worker(
            "police_board", self.board.db, board_store.schema.OUTBOX, self.clock, board_jobs.outbox_handlers(self.board)
        )
        self._citizens = 0

    @property
    def gate_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _open_shelf(self) -> CardShelf:
        assert self.shelf is not None, "the bureau is away"
        return self.shelf

    @contextmanager
    def opened(self) -> Iterator[CardShelf]:
        """The bureau is there: the cards are this process's."""
        self.shelf = shelf_in(self.folder, SystemEntropy())
        try:
            yield self.shelf
        finally:
            self.shelf.close()
            self.shelf = None

    def go_on(self) -> None:
        """Outboxes deliver until nothing is due, also what an earlier failure put off."""
        for _ in range(4):
            while self.board_outbox.deliver_due() + self.bureau_outbox.deliver_due():
                pass
            self.clock.advance(timedelta(seconds=2))

    def decided(self) -> NewOrder:
        """A citizen whose document the board is about to order: what the order will say."""
        self._citizens += 1
        personal = form.Personal(
            given_names="TEST MARI",
            surname="OTSUSTAJA",
            previous_names=(),
            sex="F",
            born_on=date(1981, 3, 14) + timedelta(days=self._citizens),
            place_of_birth="Tallinn",
            citizenships=("EST",),
            personal_code="",
            residence_country="EST",
            address="Testi 1, Tallinn",
            phone="+372 5550000",
        )
        travel = form.TravelDocumentData("passport", PASSPORT.number, "UTO", PASSPORT.expires_on, "")
        clerk = board_store.officers.Officer("", "PB-1", "Clerk", "deciding_officer", True)
        pick_up = form.PickUp("tallinn-test", "Tallinn (test point)")
        entered = issue.CounterApplication(personal, travel, pick_up)
        application_id = issue.enter_citizen(self.board, clerk, entered)
        issue.register_person(self.board, application_id)
        with self.board.db.read() as tx:
            delivery = board_store.deliveries.find_delivery(tx, application_id=application_id)
            application = board_store.applications.get_application(tx, application_id)
        assert delivery is not None and delivery.envelope_key is not None and application.person_code is not None
        return NewOrder(
            order_id=delivery.order_id,
            personal_code=application.person_code,
            given_names=personal.given_names,
            surname=personal.surname,
            policy="citizen",
            sex="F",
            citizenship="EST",
            born_on=personal.born_on,
            travel_document=PASSPORT,
            pick_up_point="tallinn-test",
            envelope_key=delivery.envelope_key,
        )


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    """In memory where there is such a folder: a process that ended leaves what it wrote, on a disk or not."""
    memory = Path("/dev/shm")
    with ExitStack() as stack:
        parent = memory if os.access(memory, os.W_OK) else None
        yield Room(Path(stack.enter_context(tempfile.TemporaryDirectory(dir=parent))), stack)


# The server forks the victims from a process without threads, which has everything imported already.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.fault.bureau_victim"])


def perform(room: Room, order_id: str, new: NewOrder | None, *, kill_at: int | None) -> bool:
    """The act in a process of its own. True when it was killed."""
    act = Act(room.folder, room.gate_url, room.clock.now(), order_id, new, kill_at)
    victim = _PROCESSES.Process(target=bureau_victim.run, args=(act,))
    victim.start()
    victim.join(60)
    assert victim.exitcode in (0, KILLED), f"the victim ended with {victim.exitcode}"
    return victim.exitcode == KILLED


def count_lines(room: Room, order_id: str, new: NewOrder | None) -> int:
    assert not perform(room, order_id, new, kill_at=None)
    return int((room.folder / "lines").read_text())


def sample(lines: int, stride: int) -> list[int]:
    return sorted({*range(1, lines + 1, stride), lines})


@dataclass(frozen=True)
class Left:
    """What the death left in the bureau's store."""

    ordered: bool
    sealed: bool
    asked: bool
    produced: bool


def what_was_left(room: Room, order_id: str) -> Left:
    with room.bureau.db.read() as tx:
        order = bureau_store.find_order(tx, order_id)
        return Left(
            ordered=order is not None,
            sealed=bureau_store.find_envelope(tx, order_id) is not None,
            asked=bureau_store.find_requests(tx, order_id) is not None,
            produced=order is not None and order.state is not OrderState.ORDERED,
        )


def check_card(room: Room, shelf: CardShelf, new: NewOrder) -> str:
    """One chip, closed, with the CA's one pair of certificates, and PINs as in the envelope; at its point."""
    with room.bureau.db.read() as tx:
        order, envelope = bureau_store.get_order(tx, new.order_id), bureau_store.find_envelope(tx, new.order_id)
        made = bureau_store.orders_in(tx, *OrderState, limit=10_000)
        journal.verify_chain(tx, bureau_store.JOURNAL)
        rows = tx.execute(bureau_store.JOURNAL.select()).all()
        refused = tx.execute(bureau_store.OUTBOX.select().where(bureau_store.OUTBOX.c.state == "refused")).all()
    number = order.document_number
    kinds = Counter(row.kind for row in rows if f'"{number}"' in row.payload)
    assert order.state is OrderState.AT_POINT and order.problem is None and not refused
    assert kinds == {
        "document.ordered": 1,
        "envelope.sealed": 1,
        "document.close_chip": 1,
        "document.ship": 1,
        "document.arrive": 1,
    }
    # every order has one chip, every chip an order
    assert [card.document_number for card in shelf.list()] == sorted(other.document_number for other in made)
    with pytest.raises(Conflict, match=r"card\.exists"):
        shelf.new_blank(number)
    # two serial numbers, two certificates on hold, and these are on the chip
    with room.ca.db.read() as tx:
        stored = ca_store.find_certificates(tx, order_id=new.order_id)
    card = shelf.open(number)
    on_chip = {eid_card.read_certificate(card, kind).serial_number for kind in CardKey}
    assert len(stored) == 2 and {one.serial_number for one in stored} == on_chip
    statuses = ca.get_statuses(room.ca, number)
    assert [status.state for status in statuses] == [CertificateState.ISSUED_ON_HOLD] * 2
    # the envelope fits the chip
    assert envelope is not None and envelope.sealed is not None
    pins = open_envelope(envelope.sealed, key=new.envelope_key, order_id=new.order_id)
    digest = bytes(range(48))
    check_signature(card, CardKey.AUTHENTICATION, eid_card.authenticate(card, pin1=pins["pin1"], digest=digest), digest)
    check_signature(card, CardKey.SIGNATURE, eid_card.sign(card, pin2=pins["pin2"], digest=digest), digest)
    # the board knows where it is
    with room.board.db.read() as tx:
        document = board_store.documents.find_document_of_order(tx, new.order_id)
    assert document is not None and (document.document_number, document.state) == (number, "at_point")
    return number


def check_signature(card: Transport, kind: CardKey, value: bytes, digest: bytes) -> None:
    key = eid_card.read_certificate(card, kind).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    half = len(value) // 2
    der = encode_dss_signature(int.from_bytes(value[:half]), int.from_bytes(value[half:]))
    key.verify(der, digest, ec.ECDSA(Prehashed(hashes.SHA384())))


def test_a_card_whose_making_was_killed_is_made_once(room: Room) -> None:
    undisturbed = room.decided()
    lines = count_lines(room, undisturbed.order_id, undisturbed)
    assert lines > 60
    with room.opened() as shelf:
        room.go_on()
        check_card(room, shelf, undisturbed)
    met: Counter[Left] = Counter()
    for kill_at in sample(lines, _MAKING_STRIDE):
        new = room.decided()
        assert perform(room, new.order_id, new, kill_at=kill_at), f"line {kill_at} was not reached"
        met[what_was_left(room, new.order_id)] += 1
        with room.opened() as shelf:
            room.go_on()  # the board was not answered and repeats its order; the bureau's outbox goes on
            check_card(room, shelf, new)
    # The sample is worth something only if the deaths fell between every two commits.
    steps = ((), ("ordered",), ("ordered", "sealed"), ("ordered", "sealed", "asked"))
    expected = {Left(*(name in step for name in ("ordered", "sealed", "asked", "produced"))) for step in steps}
    assert set(met) == expected | {Left(True, True, True, True)}


def test_a_killed_hand_over_is_completed_once(room: Room) -> None:
    def waiting() -> tuple[NewOrder, str]:
        new = room.decided()
        with room.opened() as shelf:
            room.go_on()
            return new, check_card(room, shelf, new)

    undisturbed, _ = waiting()
    lines = count_lines(room, undisturbed.order_id, None)
    assert lines > 30
    begun = Counter[bool]()
    for kill_at in sample(lines, _HAND_OVER_STRIDE):
        new, number = waiting()
        assert perform(room, new.order_id, None, kill_at=kill_at), f"line {kill_at} was not reached"
        with room.bureau.db.read() as tx:
            was_begun = bureau_store.find_hand_over(tx, new.order_id) is not None
        begun[was_begun] += 1
        if was_begun:
            room.go_on()
        else:  # nothing happened, and the officer begins again
            hand_over.hand_over(room.bureau, OFFICER, new.order_id, ATTESTED)
        check_handed_out(room, new.order_id, number)
    assert begun[True] >= 5 and begun[False] >= 5


def check_handed_out(room: Room, order_id: str, number: str) -> None:
    """Good, active, and with one evidence that both institutions have."""
    with room.bureau.db.read() as tx:
        order, evidence = bureau_store.get_order(tx, order_id), bureau_store.find_hand_over(tx, order_id)
        journal.verify_chain(tx, bureau_store.JOURNAL)
        rows = tx.execute(bureau_store.JOURNAL.select()).all()
    kinds = Counter(row.kind for row in rows if f'"{number}"' in row.payload and "hand_over" in row.kind)
    assert kinds == {"hand_over.begun": 1, "document.hand_over": 1}
    assert order.state is OrderState.HANDED_OUT and order.problem is None
    assert evidence is not None and evidence.finished_at is not None
    with room.board.db.read() as tx:
        at_board = board_store.deliveries.find_hand_over(tx, order_id)
        document = board_store.documents.get_document(tx, number)
    assert at_board is not None and at_board.evidence_id == evidence.evidence_id
    assert document.state == "active"
    assert [status.state for status in ca.get_statuses(room.ca, number)] == [CertificateState.GOOD] * 2
