"""What the people of the story do, over the same pages and the same card commands that people use.

The seed and the tour share it. Nothing here reaches into an institution: a step that a page does not
offer cannot be taken.
"""

import io
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx
from PIL import Image, ImageDraw

from digiid.apps.visitor import Page, Visitor
from digiid.devices import web_eid
from digiid.formats.apdu import Transport
from digiid.formats.mrz import build_td3
from digiid.kernel.errors import Broken, Refused, Unavailable

T = TypeVar("T")
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Applicant:
    """Somebody abroad, invented: the specimen country UTO of ICAO 9303, names that say TEST."""

    given_names: str
    surname: str
    sex: Literal["F", "M"]
    born_on: date
    email: str
    passport_number: str
    passport_expires_on: date
    point_code: str = "tallinn-test"

    @property
    def mrz(self) -> str:
        return build_td3(
            issuer="UTO",
            surname=self.surname,
            given_names=self.given_names,
            document_number=self.passport_number,
            nationality="UTO",
            born_on=self.born_on,
            sex=self.sex,
            expires_on=self.passport_expires_on,
        )


@dataclass(frozen=True)
class CardHolder:
    """A person at a browser with a card at hand."""

    visitor: Visitor
    card: Transport
    pin1: str
    pin2: str


def sign_in(holder: CardHolder, origin: str, *, origin_for_card: str | None = None) -> Page:
    """Sign in to a site with the card and PIN1; returns the page that one lands on.

    `origin_for_card` makes the card sign for another origin, as a deceived person's would.
    Raises: Refused with the site's code and words.
    """
    page = holder.visitor.open(f"{origin}/sign-in")
    nonce = post(holder.visitor, page, "/sign-in/challenge", {})["nonce"]
    token = web_eid.authenticate(holder.card, origin=origin_for_card or origin, nonce=nonce, pin1=holder.pin1)
    return send_token(holder.visitor, page, token)


def send_token(visitor: Visitor, page: Page, token: dict[str, Any]) -> Page:
    """Give an authentication token to the site, as its script does. Raises: Refused with the site's code."""
    answer = post(visitor, page, "/sign-in/token", {"token": token, "next": "/"})
    return visitor.open(_absolute(page.url, answer["next"]))


def sign(holder: CardHolder, page: Page) -> Page:
    """Sign what a page shows, with the card and PIN2; returns the page that follows."""
    buttons = page.tree.xpath("//*[@data-reference]")
    if not buttons:
        raise Broken("tour.page", f"{page.url} offers nothing to sign")
    offered = web_eid.get_signing_certificate(holder.card)
    reference = buttons[0].get("data-reference")
    prepared = post(
        holder.visitor,
        page,
        "/signing/certificate",
        {"reference": reference, "certificate": offered["certificate"]},
    )
    digest = web_eid.check_hash(prepared["hash"], prepared["hashFunction"])
    signed = web_eid.sign(
        holder.card,
        certificate=offered["certificate"],
        digest=digest,
        hash_function=prepared["hashFunction"],
        pin2=holder.pin2,
    )
    answer = post(holder.visitor, page, "/signing/signature", {"id": prepared["id"], "signature": signed["signature"]})
    return holder.visitor.open(_absolute(page.url, answer["next"]))


# ------------------------------------------------------------------ the applicant


def open_account(visitor: Visitor, origins: dict[str, str], email: str) -> Page:
    """Ask for a sign-in link, read the letter, follow the link, confirm."""
    asked = visitor.open(f"{origins['apply']}/sign-in")
    before = set(_letters(visitor, origins, email))
    visitor.submit(asked, {"email": email}, button="Send the link")
    letter = wait_for(lambda: next(iter(set(_letters(visitor, origins, email)) - before), None), "the sign-in letter")
    links = visitor.open(letter).links(href="/link/")
    return visitor.submit(visitor.open(links[0]), button="Sign in")


def _letters(visitor: Visitor, origins: dict[str, str], email: str) -> list[str]:
    page = visitor.open(f"{origins['mail']}/?to={httpx.QueryParams({'x': email})['x']}")
    return page.links(href="/letters/")


def fill_in(visitor: Visitor, page: Page, applicant: Applicant) -> Page:
    """Start an application and fill in every step; returns the review page's predecessor, the task list."""
    return fill_in_steps(visitor, visitor.submit(page, button="Start a new application"), applicant)


def fill_in_steps(visitor: Visitor, tasks: Page, applicant: Applicant) -> Page:
    """Fill in every step of a draft, also those that were filled in before."""
    base = urlsplit(tasks.url).path
    for step, values in form_values(applicant).items():
        files = {"photo": ("me.jpg", portrait(), "image/jpeg")} if step == "photo" else None
        form = visitor.open(_absolute(tasks.url, f"{base}/step/{step}"))
        saved = visitor.submit(form, values, files=files, button="Save and continue")
        if saved.errors:
            raise Refused("tour.form", f"step {step}: {saved.errors}")
    return visitor.open(tasks.url)


def form_values(applicant: Applicant) -> dict[str, dict[str, str | list[str]]]:
    """What the applicant enters, by step and field name; the photo is a file."""
    return {
        "personal": {
            "given_names": applicant.given_names,
            "surname": applicant.surname,
            "sex": applicant.sex,
            "born_on": applicant.born_on.isoformat(),
            "place_of_birth": "Zenith",
            "citizenships-1": "UTO",
            "residence_country": "UTO",
            "address": "1 Example Street, Zenith, Utopia",
            "phone": "+999 5550100",
        },
        "travel_document": {
            "kind": "passport",
            "number": applicant.passport_number,
            "issuing_country": "UTO",
            "expires_on": applicant.passport_expires_on.isoformat(),
            "mrz": applicant.mrz,
        },
        "photo": {},
        "motivation": {
            "motivation": "I want to run a small software company with customers in Estonia and sign its papers there.",
            "field_of_activity": "software",
        },
        "business": {
            "education": "Zenith Technical University, master of science",
            "work": "Software developer at Example Works, Zenith, since 2015",
            "companies": "none",
            "web": "https://example.com/test-person",
        },
        "declarations": {
            "criminal_record": "no",
            "business_ban": "no",
            "truthful": "yes",
            "agrees_to_checks": "yes",
            "applies_in_person": "yes",
        },
        "pick_up": {"point_code": applicant.point_code},
        "acceptance": {"accepted": "yes"},
    }


def pay_and_submit(visitor: Visitor, tasks: Page, *, choice: str = "Pay") -> Page:
    """Review, pay at the provider's page, come back; returns the application's status page."""
    review = visitor.open(f"{tasks.url}/review")
    payment = visitor.submit(review, button="Submit and pay")
    paid = visitor.submit(payment, button=choice)
    if "/pay/" in paid.url:
        paid = visitor.open(paid.link(text="Back to the application"))
    application = tasks.url.split("?")[0]
    return wait_for(lambda: _status_if_submitted(visitor, application), "the payment to be settled")


def _status_if_submitted(visitor: Visitor, application: str) -> Page | None:
    page = visitor.open(application)
    return page if "/submit" not in "".join(f.get("action") or "" for f in page.tree.forms) else None


# ------------------------------------------------------------------ officers


def propose_issue(officer: CardHolder, application_url: str, *, reasons: str) -> Page:
    """One officer proposes to issue."""
    page = officer.visitor.open(application_url)
    return officer.visitor.submit(page, {"outcome": "issue", "reasons": reasons}, action="/propose")


def decide(officer: CardHolder, application_url: str, *, note: str = "") -> Page:
    """Another officer agrees with the proposal."""
    page = officer.visitor.open(application_url)
    return officer.visitor.submit(page, {"verdict": "agree", "note": note}, action="/decide")


def hand_over(officer: CardHolder, order_url: str, applicant: Applicant, *, number: str | None = None) -> Page:
    """At the pick-up desk: the same travel document, the face, the acceptance. `number` shows another document."""
    page = officer.visitor.open(f"{order_url}/hand-over")
    values = {
        "kind": "passport",
        "number": number or applicant.passport_number,
        "issuing_country": "UTO",
        "expires_on": applicant.passport_expires_on.isoformat(),
        "face": "yes",
        "accepted": "yes",
    }
    return officer.visitor.submit(page, values, action="/hand-over", expect_error=True)


def collect(
    applicant: Applicant,
    *,
    application: Page,
    proposer: CardHolder,
    decider: CardHolder,
    desk: CardHolder,
    origins: dict[str, str],
) -> str:
    """From a submitted application to the card in the hand; the officers are signed in. Returns the order's page."""
    propose_and_decide(application, proposer=proposer, decider=decider, origins=origins)
    order = find_order(desk, origins, applicant.surname)
    wait_for(lambda: handed(desk, order, applicant), "the hand-over")
    return order


def propose_and_decide(
    application: Page, *, proposer: CardHolder, decider: CardHolder, origins: dict[str, str]
) -> None:
    """A submitted application, proposed already or not, is decided by two officers who are signed in: issue."""
    number = urlsplit(application.url).path.rstrip("/").rsplit("/", 1)[-1]
    at_police = f"{origins['police']}/applications/{number}"
    wait_for(lambda: _proposed(proposer, at_police), "the background check")
    decide(decider, at_police)


def _proposed(proposer: CardHolder, application_url: str) -> Page | None:
    page = proposer.visitor.open(application_url)
    if any("/decide" in (form.get("action") or "") for form in page.tree.forms):
        return page
    if not any("/propose" in (form.get("action") or "") for form in page.tree.forms):
        return None
    return propose_issue(proposer, application_url, reasons="All checks are clear and the purpose fits.")


def find_order(desk: CardHolder, origins: dict[str, str], surname: str) -> str:
    """The order's page at the pick-up desk, as soon as the card has arrived there."""

    def look() -> str | None:
        page = desk.visitor.open(f"{origins['bureau']}/?q={surname}")
        orders = page.links(href="/orders/")
        arrived = [
            order for order in orders if "/hand-over" in "".join(desk.visitor.open(order).links(href="/hand-over"))
        ]
        return first(arrived)

    return wait_for(look, "the card at the pick-up point")


def handed(desk: CardHolder, order: str, applicant: Applicant) -> Page | None:
    """The page after a hand-over, None while the board does not permit it yet."""
    page = hand_over(desk, order, applicant)
    return page if page.status == 200 and not page.errors else None


def open_envelope(visitor: Visitor, application: Page) -> dict[str, str]:
    """Open the PIN envelope on the applicant's page: `pin1`, `pin2`, `puk`. It stays open until it is confirmed."""
    sealed = visitor.open(f"{application.url.split('?')[0]}/pins")
    opened = visitor.submit(sealed, button="Open the envelope")
    pins = re.search(r"PIN1\s*(\d{4,12})\s*PIN2\s*(\d{5,12})\s*PUK\s*(\d{8,12})", opened.text)
    if pins is None:
        raise Broken("tour.page", f"{opened.url} shows no PINs")
    return dict(zip(("pin1", "pin2", "puk"), pins.groups(), strict=True))


def destroy_envelope(visitor: Visitor, application: Page) -> Page:
    """Confirm that the PINs are written down: both halves of the envelope are destroyed."""
    base = application.url.split("?")[0]
    opened = visitor.submit(visitor.open(f"{base}/pins"), button="Open the envelope")
    return visitor.submit(opened, action="/pins/confirm")


# ------------------------------------------------------------------ small things


def portrait() -> bytes:
    """An invented face: 1300 × 1625 pixels of light background with a drawn head. JPEG of at least a megabyte."""
    image = Image.effect_noise((1300, 1625), 24).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((380, 330, 920, 1010), fill=(222, 186, 160))
    draw.rectangle((250, 1150, 1050, 1625), fill=(40, 70, 110))
    draw.ellipse((520, 580, 580, 620), fill=(30, 30, 30))
    draw.ellipse((720, 580, 780, 620), fill=(30, 30, 30))
    draw.arc((560, 760, 740, 860), 20, 160, fill=(120, 40, 40), width=10)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


def wait_for(look: Callable[[], T | None], what: str) -> T:
    """What `look` finds, as soon as it does. Raises: Unavailable `tour.timeout`."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise Unavailable("tour.timeout", f"waited {_PATIENCE_SECONDS:.0f} s for {what}")
        time.sleep(0.03)
    return found


def first(found: Iterable[T]) -> T | None:
    return next(iter(found), None)


def post(visitor: Visitor, page: Page, path: str, content: object) -> dict[str, Any]:
    """A JSON request of a page's script. Raises: Refused with the site's code and words."""
    meta = page.tree.xpath("//meta[@name='csrf-token']/@content")
    answer = visitor.post_json(page, path, content, csrf={"X-CSRF-Token": str(meta[0])})
    body = answer.json()
    if answer.status_code != 200:
        code = body.get("code", "tour.page")
        raise Refused(code, f"{path} answered {answer.status_code}", public=body.get("detail"))
    return dict(body)


def _absolute(url: str, path: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{path}"
