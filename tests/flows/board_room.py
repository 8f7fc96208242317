"""The board as it runs, with the real population register beside it, on loopback ports of the test's own."""

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, cast

from PIL import Image

from digiid.apps import mailbox, test_payments
from digiid.apps.serving import Listener, ServerGroup
from digiid.apps.visitor import Page, Visitor
from digiid.contracts.members import POLICE_BOARD
from digiid.exchange.client import Client
from digiid.exchange.gate import Gate, Service
from digiid.formats.mrz import build_td3
from digiid.institutions.police_board import api, store
from digiid.institutions.police_board import app as police_app
from digiid.institutions.police_board.settings import Settings
from digiid.institutions.police_board.use_cases import officers
from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.institutions.population_register import api as population_api
from digiid.institutions.population_register import app as population_app
from digiid.institutions.population_register.settings import Settings as PopulationSettings
from digiid.platform.clock import Clock
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Running, Surroundings
from digiid.platform.mail import FolderTransport, list_letters
from digiid.platform.outbox import Worker
from digiid.platform.pools import Pools
from digiid.platform.trust import OcspClient
from digiid.platform.trust.hosts import AllowedHosts
from digiid.platform.web.dispatch import HostDispatch
from digiid.platform.web.sessions import SessionStore
from tests.support.serve import free_port

OFFICER_CODES = ("38001019005", "48001019004")


@dataclass
class BoardRoom:
    """The running board. Letters are delivered when the test says so: `deliver()`."""

    around: Surroundings
    deps: Deps
    board: Running[Service]
    payments: Running[Any]
    mail_folder: Path

    def origin(self, site: str) -> str:
        return self.around.origins[site]

    def deliver(self) -> None:
        """Empty the outboxes: of the provider and of the board, until nothing is due."""
        workers: list[Worker] = [*self.payments.workers, *self.board.workers]
        while any(worker.deliver_due() for worker in workers):
            pass

    def letter_link(self, email: str) -> str:
        """The link in the newest letter to this address."""
        letter = next(each for each in list_letters(self.mail_folder) if each.to == email)
        return next(piece for piece, is_link in mailbox.split_links(letter.text) if is_link)

    def sign_in(self, visitor: Visitor, email: str) -> Page:
        """As a person does: ask for the link, open the letter, press the button."""
        page = visitor.open(self.origin("apply") + "/sign-in")
        visitor.submit(page, {"email": email}, action="/sign-in")
        self.deliver()
        return visitor.submit(visitor.open(self.letter_link(email)), action="/link/")

    def officer_cookie(self, personal_code: str) -> str:
        """A session of an officer at the desk, as signing in with the card leaves it behind."""
        sessions = SessionStore("police", self.deps.db, store.schema.SESSIONS, self.deps.clock, self.deps.entropy)
        cookie, _ = sessions.start(personal_code, {"kind": "card", "name": "Officer"})
        return cookie


@contextmanager
def open_board_room(folder: Path, clock: Clock, *, settings: Settings | None = None) -> Iterator[BoardRoom]:
    with ExitStack() as stack:
        gate_port, port = free_port(), free_port()
        entropy, pools = SystemEntropy(), Pools(pages=4, services=4)
        http = HttpClient(timeout_seconds=5)
        stack.callback(pools.close)
        stack.callback(http.close)
        names = ("apply", "police", "pay", "mail", "population", "portal")
        origins = {name: f"http://{name}.localhost:{port}" for name in names}
        origins |= {"agent": "http://127.0.0.1:8802", "programs": f"http://127.0.0.1:{port}"}
        around = Surroundings(clock, entropy, pools, http, folder, origins)
        client = Client(POLICE_BOARD, server_url=f"http://127.0.0.1:{gate_port}", http=http, entropy=entropy)
        mail_folder = folder / "mailbox"
        settings = settings or Settings(demonstration=True, test_list=True)
        deps = police_app.build_deps(
            settings,
            around,
            exchange=client,
            mail=FolderTransport(mail_folder, sender="board@digiid.example"),
        )
        ocsp = OcspClient(http, entropy, clock, hosts=AllowedHosts(()))
        board = police_app.build(settings, around, deps=deps, issuers=(), ocsp=ocsp, csrf_secret="c" * 32)
        payments = test_payments.build(
            around, secret_file=police_app.payment_secret_file(settings, around), csrf_secret="c" * 32
        )
        mail = mailbox.build(around, csrf_secret="c" * 32)
        register = population_app.build_deps(PopulationSettings(), around)
        stack.callback(register.db.close)
        for running in (board, payments, mail):
            stack.callback(running.close)
        gate = Gate([*api.services(deps), *population_api.services(register)], pools=pools)
        sites = {
            f"{name}.localhost:{port}": app
            for running in (board, payments, mail)
            for name, app in running.sites.items()
        }
        stack.enter_context(
            ServerGroup(
                [Listener(HostDispatch(sites, programs={}), port), Listener(cast(Any, gate), gate_port)]
            ).running()
        )
        for code, name in zip(OFFICER_CODES, ("Mari Menetleja", "Otto Otsustaja"), strict=True):
            officers.add_officer(deps, personal_code=code, name=name, role="deciding_officer")
        yield BoardRoom(around, deps, board, payments, mail_folder)


def jpeg_photo() -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((1300, 1600)).save(out, "JPEG")
    return out.getvalue()


def form_pages(
    *,
    given_names: str = "Ann Mary",
    surname: str = "Example",
    born_on: date = date(1985, 4, 12),
    number: str = "UT1234567",
    point_code: str = "tallinn",
) -> dict[str, dict[str, str]]:
    """What the applicant types, page by page; the zone agrees with the rest."""
    zone = build_td3(
        surname=surname,
        given_names=given_names,
        document_number=number,
        issuer="UTO",
        nationality="UTO",
        born_on=born_on,
        sex="F",
        expires_on=date(2031, 1, 31),
    )
    return {
        "personal": {
            "given_names": given_names,
            "surname": surname,
            "sex": "F",
            "born_on": born_on.isoformat(),
            "place_of_birth": "Utopolis, Utopia",
            "citizenships-1": "UTO",
            "residence_country": "FIN",
            "address": "Example street 1\nHelsinki",
            "phone": "+358 40 1234567",
        },
        "travel_document": {
            "kind": "passport",
            "number": number,
            "issuing_country": "UTO",
            "expires_on": "2031-01-31",
            "mrz": zone,
        },
        "motivation": {
            "motivation": "I run a small software company and want to sign contracts with Estonian partners.",
            "field_of_activity": "software",
        },
        "business": {"education": "University of Utopia, 2007", "work": "Example Ltd, since 2015"},
        "declarations": {
            "criminal_record": "no",
            "business_ban": "no",
            "truthful": "yes",
            "agrees_to_checks": "yes",
            "applies_in_person": "yes",
        },
        "pick_up": {"point_code": point_code},
        "acceptance": {"accepted": "yes", "version": "2026-11"},
    }
