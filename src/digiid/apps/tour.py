"""`digiid tour`: the whole story in one terminal, on an empty state with a hierarchy and ports of its own.

Every step goes over the HTTP pages and the card's APDUs that people use, and says what was checked.
What it made is kept under `tour/`. The first thing that is not as it should be ends it with exit code 1.
"""

import base64
import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console

from digiid.apps import story
from digiid.apps.all_in_one import EState, build_state
from digiid.apps.demonstration import PIN1, PIN2, TestPerson, read_people
from digiid.apps.seed import CITIZENS, E_RESIDENT_ROLE, seed
from digiid.apps.serving import ServerGroup
from digiid.apps.state import StateFolder, StatePorts
from digiid.apps.story import Applicant, CardHolder
from digiid.apps.tour_sharing import share
from digiid.apps.visitor import Page, Visitor, write_artefact
from digiid.devices import web_eid
from digiid.formats.ocsp import CertStatus, VerifiedOcsp
from digiid.formats.personal_code import parse_personal_code
from digiid.formats.validation import validate_container
from digiid.formats.webeid import build_signed_data
from digiid.formats.x509.profile import CertificateKind, DocumentPolicy, document_policy
from digiid.kernel.errors import Conflict, DigiidError, Refused
from digiid.platform import eid_card
from digiid.platform.clock import SystemClock
from digiid.platform.eid_card import CardKey, CardPin
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.log import configure_logging
from digiid.platform.trust import AllowedHosts, OcspClient, read_trusted_lists

APPLICANT = Applicant(
    "TEST ANNA MARIA", "TOURIST", "F", date(1984, 8, 12), "anna@example.com", "L898902C3", date(2034, 4, 15)
)
_SUSPENSION_LIMIT = timedelta(seconds=1)


class TourFailed(Exception):
    """Something was not as it should be."""


@dataclass
class Step:
    """One step of the story and what was checked in it."""

    number: int
    title: str
    checks: list[str] = field(default_factory=list)
    artefacts: list[str] = field(default_factory=list)
    seconds: float = 0.0
    failed: str = ""


@dataclass
class Tour:
    """Where the tour is: the state it runs on, the people, and what has been checked."""

    state: EState
    console: Console
    slow: bool
    folder: Path
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.origins = dict(self.state.settings.origins)
        self.people = {person.role: person for person in read_people(self.state.folder.path)}
        self.http = HttpClient()
        hosts = AllowedHosts.of_urls(self.state.settings.base_url)
        self.ocsp = OcspClient(self.http, SystemEntropy(), SystemClock(), hosts=hosts)
        self.issuer = self.state.hierarchy.issuing

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[Step]:
        step = Step(number, title)
        self.steps.append(step)
        self.console.rule(f"[bold]{number}. {title}[/bold]", align="left")
        begun = time.monotonic()
        try:
            yield step
        except (DigiidError, TourFailed) as error:
            step.failed = str(error)
            raise
        finally:
            step.seconds = round(time.monotonic() - begun, 2)
        if self.slow:
            self.console.input("[dim]Press Enter to go on …[/dim]")

    def check(self, what: str, holds: object) -> None:
        """Say what was checked, or end the tour."""
        if not holds:
            self.console.print(f"  [red]✗ {what}[/red]", highlight=False)
            raise TourFailed(what)
        self.steps[-1].checks.append(what)
        self.console.print(f"  [green]✓[/green] {what}", highlight=False)

    def refused(self, what: str, act: Callable[[], object], *codes: str) -> None:
        """Check that an act is refused, with one of these codes."""
        try:
            act()
        except DigiidError as error:
            self.check(f"{what}: refused ({error.code})", not codes or error.code in codes)
        else:
            self.check(f"{what}: refused", False)

    def keep(self, name: str, content: bytes) -> Path:
        """Keep a file under tour/."""
        file = write_artefact(self.folder, name, content)
        self.steps[-1].artefacts.append(name)
        self.console.print(f"  [dim]→ {file}[/dim]", highlight=False)
        return file

    def holder(self, role: str, pin1: str = PIN1, pin2: str = PIN2) -> CardHolder:
        return self.holder_of(self.people[role].document_number, pin1, pin2)

    def holder_of(self, document_number: str, pin1: str, pin2: str) -> CardHolder:
        return CardHolder(Visitor(), self.state.shelf.open(document_number), pin1, pin2)

    def status(self, certificate: x509.Certificate, keep_as: str = "") -> VerifiedOcsp:
        response_der, status = self.ocsp.fetch(certificate, self.issuer)
        if keep_as:
            self.keep(keep_as, response_der)
        return status


def run_tour(folder: Path | None, *, json_file: Path | None = None, slow: bool = False, database_url: str = "") -> int:
    """Run the story. Returns the exit code: 0, or 1 at the first thing that is not as it should be.

    Raises: Conflict `tour.not_empty`; Malformed `config.database_url`; Unavailable `state.database…`.
    """
    console = Console()
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise Conflict("tour.not_empty", f"{folder} is not empty; the tour needs a new folder")
    with tempfile.TemporaryDirectory(prefix="digiid-tour-") as scratch:
        state_folder = StateFolder((folder or Path(scratch)).resolve())
        begun = time.monotonic()
        state_folder.create(StatePorts.free(), database_url=database_url)
        configure_logging(state_folder.log_file)
        with console.status("Building an e-state: hierarchy, institutions, first people …"):
            state = build_state(state_folder, clock=SystemClock(), entropy=SystemEntropy())
            servers = ServerGroup(state.listeners, before_stop=state.security_servers.stop)
        steps: list[Step] = []
        try:
            with servers.running():
                state.start()
                with console.status("Making the officers and the first card holders …"):
                    seed(state.seeder)
                state.ready.set()
                tour = Tour(state, console, slow, state_folder.path / "tour")
                steps = tour.steps
                _walk(tour)
        except (DigiidError, TourFailed) as error:
            console.print(f"\n[red]The tour ends here: {error}[/red]", highlight=False)
            console.print(f"[dim]The log is {state_folder.log_file}[/dim]" if folder else "", highlight=False)
            return 1
        finally:
            state.close()
            _write_json(json_file, steps)
        checks = sum(len(step.checks) for step in steps)
        seconds = time.monotonic() - begun
        console.rule()
        console.print(f"[green]All as it should be[/green]: {checks} checks in {seconds:.1f} s.", highlight=False)
        if folder:
            console.print(f"Containers, certificates, OCSP and time-stamp responses are in {tour.folder}.")
    return 0


def _walk(tour: Tour) -> None:
    applicant = Visitor()
    application = _apply(tour, applicant)
    order, officers = _decide(tour, application)
    document_number, pins = _issue(tour, applicant, application, order, officers)
    holder = tour.holder_of(document_number, pins["pin1"], pins["pin2"])
    container = _use(tour, holder)
    share(tour)
    issued = Issued(document_number, pins["puk"], applicant, application)
    _lose(tour, holder, issued, container, officers)


# ------------------------------------------------------------------ 1


def _apply(tour: Tour, visitor: Visitor) -> Page:
    with tour.step(1, "Apply, from anywhere"):
        account = story.open_account(visitor, tour.origins, APPLICANT.email)
        tour.check("a sign-in link came by e-mail; following it signs in", "applications" in account.text.lower())
        tasks = story.fill_in(visitor, account, APPLICANT)
        tour.check("eight steps saved one by one; form and machine-readable zone agree", "8 of 8" in tasks.text)
        wrong = APPLICANT.mrz.replace("L898902C3", "L898902C4")
        form = visitor.open(f"{tasks.url}/step/travel_document")
        refused = visitor.submit(form, {"mrz": wrong}, button="Save and continue", expect_error=True)
        tour.check("a zone with a wrong check digit is refused beside its field", refused.errors)
        application = story.pay_and_submit(visitor, tasks, choice="the callback comes twice")
        tour.check("the fee is paid once though the callback came twice; the application is submitted",
                   "decide by" in application.text)  # fmt: skip
    return application


# ------------------------------------------------------------------ 2


@dataclass
class Officers:
    proposer: CardHolder
    decider: CardHolder
    desk: CardHolder


def _decide(tour: Tour, application: Page) -> tuple[str, Officers]:
    with tour.step(2, "Check and decide"):
        proposer, decider = tour.holder(CITIZENS[0].role), tour.holder(CITIZENS[1].role)
        desk = tour.holder(CITIZENS[3].role)
        police = tour.origins["police"]
        page = story.sign_in(proposer, police)
        tour.check("an officer signs in with the own card", "TEST MARI" in page.text)
        story.sign_in(decider, police)
        story.sign_in(desk, tour.origins["bureau"])
        at_police = f"{police}/applications/{application.url.split('?')[0].rsplit('/', 1)[-1]}"
        stranger = tour.holder(E_RESIDENT_ROLE)
        tour.refused("somebody who is no officer at the officers' desk", lambda: story.sign_in(stranger, police))
        proposal = story.wait_for(lambda: _can_propose(proposer, at_police), "the background check")
        tour.check("identity, duplicate person and lists are checked, with the evidence shown", "list" in proposal.text)
        story.propose_issue(proposer, at_police, reasons="All checks are clear and the purpose fits.")
        own = proposer.visitor.open(at_police)
        offered = any("/decide" in (f.get("action") or "") for f in own.tree.forms)
        tour.check("the officer who proposed cannot decide", not offered)
        decided = story.decide(decider, at_police)
        tour.check("a second officer decides: issue", "Decided" in decided.text)
        order = story.find_order(desk, tour.origins, APPLICANT.surname)
        tour.check("the card is made and waits at the pick-up point", order)
    return order, Officers(proposer, decider, desk)


def _can_propose(officer: CardHolder, url: str) -> Page | None:
    page = officer.visitor.open(url)
    return page if any("/propose" in (form.get("action") or "") for form in page.tree.forms) else None


# ------------------------------------------------------------------ 3


def _issue(
    tour: Tour, visitor: Visitor, application: Page, order: str, officers: Officers
) -> tuple[str, dict[str, str]]:
    with tour.step(3, "Issue: a chip, two keys, a hand-over"):
        heading = officers.desk.visitor.open(order).heading
        number = heading.rsplit(" ", 1)[-1]
        card = tour.state.shelf.open(number)
        document = eid_card.read_document(card)
        parse_personal_code(document.personal_code)
        tour.check(f"document {number}: personal code with a right check digit", document.document_number == number)
        certificates = {kind: eid_card.read_certificate(card, kind) for kind in CardKey}
        for kind, certificate in certificates.items():
            tour.check(
                f"{kind.value} certificate: P-384, e-resident's document policy, issued by the CA",
                isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
                and document_policy(certificate) is DocumentPolicy.E_RESIDENT
                and _issued_by(certificate, tour.issuer),
            )
            tour.keep(f"{kind.value}.crt", certificate.public_bytes(Encoding.PEM))
        for name, certificate in (("issuing", tour.issuer), ("root", tour.state.hierarchy.root)):
            tour.keep(f"{name}.crt", certificate.public_bytes(Encoding.PEM))
        before = [tour.status(certificate) for certificate in certificates.values()]
        tour.check(
            "before the hand-over OCSP says revoked (certificateHold) of both",
            all(s.status is CertStatus.REVOKED and s.reason == "certificateHold" for s in before),
        )
        wrong = story.hand_over(officers.desk, order, APPLICANT, number="X0000000")
        tour.check("another travel document at the desk: not handed over", wrong.errors)
        # the board may still be on its way to hear that the card has arrived
        handed = story.wait_for(lambda: story.handed(officers.desk, order, APPLICANT), "the hand-over")
        tour.check("the same travel document: handed over by a named officer", not handed.errors)
        after = [tour.status(c, f"ocsp-{kind.value}-good.der") for kind, c in certificates.items()]
        tour.check("in that moment the certificates are good", all(s.status is CertStatus.GOOD for s in after))
        pins = story.open_envelope(visitor, application)
        story.destroy_envelope(visitor, application)
        tour.check("the holder opens the PIN envelope once; both halves are destroyed", len(pins) == 3)
        again = visitor.look(f"{application.url.split('?')[0]}/pins")
        closed = not any("/pins" in (f.get("action") or "") for f in again.tree.forms)
        tour.check("it cannot be opened again", closed)
    return number, pins


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    certificate.verify_directly_issued_by(issuer)  # raises when it is not so
    return certificate.issuer == issuer.subject


# ------------------------------------------------------------------ 4


def _use(tour: Tour, holder: CardHolder) -> bytes:
    portal, bank = tour.origins["portal"], tour.origins["bank"]
    with tour.step(4, "Use: sign in, sign, be believed"):
        home = story.sign_in(holder, portal)
        tour.check("signed in to the portal and recognised as an e-resident", "signed in as an e-resident" in home.text)
        tour.check("own document and own sign-in are shown", "Report lost" in home.text)
        stranger = CardHolder(Visitor(), holder.card, holder.pin1, holder.pin2)
        tour.refused(
            "a token that the card made for another origin",
            lambda: story.sign_in(stranger, portal, origin_for_card="https://evil.example"),
            "webeid.signature",
        )
        tour.refused("a token used a second time", lambda: _replay(holder, portal), "sign_in.nonce")
        uploaded = holder.visitor.submit(
            holder.visitor.open(f"{portal}/sign"),
            files={"file": ("agreement.pdf", _pdf("An agreement of two test persons"), "application/pdf")},
            button="Continue",
        )
        signed = story.sign(holder, uploaded)
        container = holder.visitor.open(signed.link(href="/container")).content
        tour.keep("agreement.asice", container)
        tour.check("a PDF signed with PIN2 into an ASiC-E container", container[:2] == b"PK")
        report = _judge(tour, container)
        tour.check("our validator: TOTAL-PASSED, level LT, the holder's name", report["validSignaturesCount"] == 1)
        _keep_proofs(tour, container)
        somebody = Visitor()
        verdict = somebody.submit(
            somebody.open(f"{portal}/validate"),
            files={"container": ("agreement.asice", container, "application/vnd.etsi.asic-e+zip")},
            button="Validate",
        )
        tour.check("somebody else verifies it on the public page: valid", "The signature is valid." in verdict.text)
        altered = _alter(container)
        tour.keep("agreement-altered.asice", altered)
        broken = somebody.submit(
            somebody.open(f"{portal}/validate"),
            files={"container": ("altered.asice", altered, "application/vnd.etsi.asic-e+zip")},
            button="Validate",
            expect_error=True,
        )
        tour.check("one byte of the PDF changed: not valid", "0 of 1 signatures are valid" in broken.text)
        account = _open_account(holder, bank)
        tour.check("the bank opens an account for a signed application", "EE" in account.text)
        citizen = tour.holder(CITIZENS[4].role)
        page = story.sign_in(citizen, portal)
        tour.check("a citizen's card works the same", "citizen's ID-card" in page.text)
        policies = {
            document_policy(eid_card.read_certificate(h.card, CardKey.AUTHENTICATION)) for h in (holder, citizen)
        }
        only = policies == {DocumentPolicy.E_RESIDENT, DocumentPolicy.CITIZEN}
        tour.check("the document policy OID tells them apart", only)
    return container


def _replay(holder: CardHolder, origin: str) -> None:
    visitor = Visitor()
    page = visitor.open(f"{origin}/sign-in")
    nonce = story.post(visitor, page, "/sign-in/challenge", {})["nonce"]
    token = web_eid.authenticate(holder.card, origin=origin, nonce=nonce, pin1=holder.pin1)
    story.send_token(visitor, page, token)
    story.send_token(visitor, visitor.open(f"{origin}/help"), token)


def _open_account(holder: CardHolder, bank: str) -> Page:
    story.sign_in(holder, bank)
    applied = holder.visitor.submit(
        holder.visitor.open(f"{bank}/open"),
        {"purpose": "business", "currency": "EUR", "expected_use": "invoices of a small software company"},
        button="Continue",
    )
    return story.sign(holder, applied)


def _judge(tour: Tour, container: bytes) -> dict[str, Any]:
    at = SystemClock().now()
    address = f"{tour.state.settings.base_url}/tl.xml"
    signer = tour.state.hierarchy.certificate(CertificateKind.TRUSTED_LIST_SIGNER)
    trust = read_trusted_lists([address], signers=[signer], http=tour.http, at=at)
    report = validate_container(io.BytesIO(container), trust=trust, at=at, file_name="agreement.asice")
    return report.to_simple_report()


def _keep_proofs(tour: Tour, container: bytes) -> None:
    """The time stamp, the OCSP response and the lists, each as the file that other programs read."""
    with zipfile.ZipFile(io.BytesIO(container)) as archive:
        signature = archive.read("META-INF/signatures0.xml")
    for tag, name in (("EncapsulatedTimeStamp", "timestamp.tst"), ("EncapsulatedOCSPValue", "ocsp-in-signature.der")):
        begin = signature.index(b">", signature.index(tag.encode())) + 1
        text = signature[begin : signature.index(b"<", begin)]
        tour.keep(name, base64.b64decode(text))
    tour.keep("signature.xml", signature)
    for kind, name in ((CertificateKind.TSA_CA, "tsa-ca.crt"), (CertificateKind.TRUSTED_LIST_SIGNER, "tl-signer.crt")):
        tour.keep(name, tour.state.hierarchy.certificate(kind).public_bytes(Encoding.PEM))
    for path, name in (("/tl.xml", "tl.xml"), ("/crl/issuing.crl", "issuing.crl"), ("/certs/tsu.crt", "tsu.der")):
        tour.keep(name, tour.http.request("GET", tour.state.settings.base_url + path).body)


def _alter(container: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(container)) as source, zipfile.ZipFile(out, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith(".pdf"):
                content = content.replace(b"agreement", b"agreemenT")
            copy = zipfile.ZipInfo(entry.filename, entry.date_time)
            copy.compress_type = entry.compress_type
            target.writestr(copy, content)
    return out.getvalue()


def _pdf(text: str) -> bytes:
    """A one-page PDF with a line of text."""
    stream = f"BT /F1 18 Tf 60 760 Td ({text}) Tj ET".encode("ascii")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


# ------------------------------------------------------------------ 6


@dataclass
class Issued:
    """The document in the holder's hand: its number, its PUK, and whom the holder applied as."""

    document_number: str
    puk: str
    applicant: Visitor
    application: Page


def _lose(tour: Tour, holder: CardHolder, issued: Issued, container: bytes, officers: Officers) -> None:
    applicant, application = issued.applicant, issued.application
    portal, police = tour.origins["portal"], tour.origins["police"]
    certificate = eid_card.read_certificate(holder.card, CardKey.AUTHENTICATION)
    with tour.step(6, "Lose: suspended, found, annulled; PINs; a counterfeit"):
        # lost, reported without the card, by the account's e-mail link
        waiting = holder.visitor.submit(
            holder.visitor.open(f"{portal}/sign"),
            files={"file": ("late.txt", b"signed too late\n", "text/plain")},
            button="Continue",
        )
        base = application.url.split("?")[0]
        begun = time.monotonic()
        applicant.submit(applicant.open(f"{base}/lost"), {"note": "left in a train"}, button="Suspend")
        suspended = story.wait_for(lambda: _if(tour.status(certificate), CertStatus.REVOKED), "the suspension")
        took = time.monotonic() - begun
        tour.check(
            f"reported lost without the card; OCSP says on hold after {took:.2f} s",
            suspended.reason == "certificateHold" and took < _SUSPENSION_LIMIT.total_seconds(),
        )
        tour.status(certificate, "ocsp-authentication-suspended.der")
        fresh = CardHolder(Visitor(), holder.card, holder.pin1, holder.pin2)
        tour.refused("signing in with it", lambda: story.sign_in(fresh, portal), "sign_in.card_suspended")
        tour.refused("a new signature with it", lambda: story.sign(holder, waiting))
        old = _judge(tour, container)
        tour.check("the signature made before stays valid", old["validSignaturesCount"] == 1)
        # found: an officer lifts
        document = f"{police}/documents/{issued.document_number}"
        _measure(officers.decider, document, "lift", "The holder found the card and came with the passport.")
        story.wait_for(lambda: _if(tour.status(certificate), CertStatus.GOOD), "the lifting")
        home = story.sign_in(CardHolder(Visitor(), holder.card, holder.pin1, holder.pin2), portal)
        tour.check("found again: an officer lifts it, and signing in works", "e-resident" in home.text)
        _pins(tour, holder, issued.puk)
        _anomalies(tour, officers)
        # annulled for good
        _measure(officers.decider, document, "annul", "The holder asked for it.")
        revoked = story.wait_for(lambda: _if(tour.status(certificate), CertStatus.REVOKED), "the annulment")
        tour.check("annulled: revoked for good", revoked.reason != "certificateHold")
        fresh = CardHolder(Visitor(), holder.card, "4821", holder.pin2)
        tour.refused("signing in with the annulled card", lambda: story.sign_in(fresh, portal), "sign_in.card_revoked")


def _if(status: VerifiedOcsp, wanted: CertStatus) -> VerifiedOcsp | None:
    return status if status.status is wanted else None


def _measure(officer: CardHolder, document_url: str, measure: str, reason: str) -> Page:
    """An officer's measure on a document: the first legal basis that the page offers, and a reason."""
    page = officer.visitor.open(document_url)
    for number, form in enumerate(page.tree.forms):
        values = dict(form.form_values())
        if values.get("measure") == measure and values.get("of") == "document":
            options = form.xpath(f".//select[@name='basis-{measure}']/option/@value")
            basis = next(str(option) for option in options if option)
            fields = {f"basis-{measure}": basis, f"reason-{measure}": reason}
            return officer.visitor.submit_form(page, number, fields)
    raise Refused("tour.page", f"{document_url} offers no {measure}")


def _pins(tour: Tour, holder: CardHolder, puk: str) -> None:
    card = holder.card
    wrong = "0000" if holder.pin1 != "0000" else "9999"
    for left in (2, 1, 0):
        try:
            eid_card.authenticate(card, pin1=wrong, digest=bytes(48))
        except eid_card.PinRefused as error:
            tour.check(f"a wrong PIN1; tries left: {error.tries_left}", error.tries_left == left)
    tour.refused(
        "the right PIN1 on the blocked card",
        lambda: eid_card.authenticate(card, pin1=holder.pin1, digest=bytes(48)),
        "card.pin.blocked",
    )
    eid_card.unblock_pin(card, CardPin.PIN1, puk=puk, new="7350")
    eid_card.change_pin(card, CardPin.PIN1, old="7350", new="4821")
    signature = eid_card.authenticate(card, pin1="4821", digest=bytes(48))
    tour.check("the PUK unblocks it, the PIN is changed on the card, and it signs", len(signature) == 96)


def _anomalies(tour: Tour, officers: Officers) -> None:
    portal = tour.origins["portal"]
    before = _open_cases(officers.proposer, tour.origins["police"])
    tour.refused("a counterfeit card", lambda: _counterfeit(tour, portal), "webeid.certificate_counterfeit")
    visitor = Visitor()
    report = {"what_happened": "Somebody offered me this card for money, in a café.", "contact": ""}
    thanks = visitor.submit(visitor.open(f"{portal}/report-misuse"), report, button="Send the report")
    tour.check("misuse reported on the public page, with a receipt", "Thank you" in thanks.text)
    story.wait_for(
        lambda: True if _open_cases(officers.proposer, tour.origins["police"]) >= before + 2 else None, "two cases"
    )
    tour.check("each opened a case at the board", True)


def _open_cases(officer: CardHolder, police: str) -> int:
    return len(set(officer.visitor.open(f"{police}/cases").links(href="/cases/")))


def _counterfeit(tour: Tour, origin: str) -> None:
    """A certificate that names our CA as its issuer, signed by a key of somebody else's."""
    clock = SystemClock()
    forger, key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    person: TestPerson = tour.people[E_RESIDENT_ROLE]
    template = eid_card.read_certificate(tour.state.shelf.open(person.document_number), CardKey.AUTHENTICATION)
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.issuer)
        .public_key(key.public_key())
        .serial_number(template.serial_number)
        .not_valid_before(clock.now() - timedelta(days=1))
        .not_valid_after(clock.now() + timedelta(days=365))
    )
    for extension in template.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    forged = builder.sign(forger, hashes.SHA384())
    visitor = Visitor()
    page = visitor.open(f"{origin}/sign-in")
    nonce = story.post(visitor, page, "/sign-in/challenge", {})["nonce"]
    signed = build_signed_data(origin=origin, nonce=nonce)
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA384())))
    token = {
        "unverifiedCertificate": base64.b64encode(forged.public_bytes(Encoding.DER)).decode(),
        "algorithm": "ES384",
        "signature": base64.b64encode(r.to_bytes(48, "big") + s.to_bytes(48, "big")).decode(),
        "format": "web-eid:1.0",
    }
    story.send_token(visitor, page, token)


def _write_json(file: Path | None, steps: list[Step]) -> None:
    if file is not None:
        content = {"passed": bool(steps) and not any(s.failed for s in steps), "steps": [asdict(s) for s in steps]}
        text = json.dumps(content, ensure_ascii=False, indent=1)
        if str(file) == "-":
            sys.stdout.write(text + "\n")
        else:
            file.write_text(text, encoding="utf-8")
