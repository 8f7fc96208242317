"""Signing in with a card: the Web eID ladder that every site uses, each on its own origin.

The challenge is 32 random bytes, belongs to one session, lives five minutes and is taken once. What
a token proves is checked in `formats.webeid`; here come the nonce, OCSP and the institution's word.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from litestar import Request, Response, get, post

from digiid.formats.ocsp import CertStatus
from digiid.formats.webeid import MAX_TOKEN_LENGTH, VerifiedToken, parse_token, verify_token
from digiid.kernel.errors import DigiidError, Malformed, Refused, Unavailable
from digiid.platform.web import N_
from digiid.platform.web.rate_limits import RateLimit
from digiid.platform.web.sessions import Session
from digiid.platform.web.site import (
    Site,
    is_own_path,
    keep_session,
    page,
    redirect,
    run,
    session_of,
    site_of,
    start_session,
)

if TYPE_CHECKING:
    from digiid.platform.trust import OcspClient

NONCE_LIFETIME = timedelta(minutes=5)
# Generous, since many people may share an address; what it stops is a flood of tokens to verify.
SIGN_IN_LIMIT = RateLimit(300, timedelta(minutes=1))

AnomalyKind = Literal["counterfeit", "foreign", "cloned", "suspended_used", "revoked_used"]


@dataclass(frozen=True, slots=True)
class SignedInPerson:
    """Who signed in, with which document. `policy` is citizen, resident or e_resident."""

    personal_code: str
    given_names: str
    surname: str
    policy: str
    certificate_sha256: str
    certificate_serial: str
    signed_in_at: datetime


@dataclass(frozen=True, slots=True)
class AnomalousCard:
    """A card that is not what it says, or may not be used, was presented at this site."""

    kind: AnomalyKind
    certificate_sha256: str
    personal_code: str | None
    observed_at: datetime
    note: str


@dataclass(frozen=True)
class CardSignIn:
    """What a site needs to sign people in.

    `on_signed_in` is the institution's use case: it records the sign-in, refuses who may not enter,
    and returns what the session shall remember beside the person. `on_anomaly` tells the board.
    Both run on the pool for pages.
    """

    anchors: Sequence[x509.Certificate]
    ocsp: "OcspClient"
    on_signed_in: Callable[[SignedInPerson], Mapping[str, str]]
    on_anomaly: Callable[[AnomalousCard], None]
    introduction: str = N_("Sign in with your digi-ID or ID-card and PIN1.")
    landing: str = "/"


_PUBLIC = {
    "webeid.certificate_foreign": N_("This card was not issued by this state, so it cannot be used here."),
    "webeid.certificate_counterfeit": N_("This card is not genuine. The Police and Border Guard Board has been told."),
    "webeid.certificate_time": N_("This card has expired. Apply for a new one."),
    "webeid.certificate_usage": N_("This is not a certificate for signing in. Choose the card again."),
    "webeid.certificate_policy": N_("This kind of document is not accepted here."),
    "webeid.signature": N_("The card's answer does not belong to this page. Load the page again and retry."),
    "webeid.token": N_("The card's answer could not be read. Load the page again and retry."),
}
_ANOMALIES: dict[str, AnomalyKind] = {
    "webeid.certificate_foreign": "foreign",
    "webeid.certificate_counterfeit": "counterfeit",
    "webeid.signature": "cloned",
}


def sign_in_handlers(sign_in: CardSignIn) -> list[Any]:
    """The handlers of `/sign-in`: the page, the challenge, and the token."""

    @get("/sign-in")
    async def sign_in_page(request: Request[Any, Any, Any]) -> Response[Any]:
        target = request.query_params.get("next", "")
        target = target if is_own_path(target) else sign_in.landing
        session = session_of(request)
        if session is not None and session.data.get("kind") == "card":
            return redirect(target)
        return await page(request, "sign_in.html", {"next": target, "introduction": sign_in.introduction})

    @post("/sign-in/challenge", status_code=200, rate_limit=SIGN_IN_LIMIT)
    async def challenge(request: Request[Any, Any, Any]) -> dict[str, str]:
        site = site_of(request)
        nonce = base64.b64encode(site.entropy.token_bytes(32)).decode()
        data = {"nonce": f"{site.clock.now().isoformat()} {nonce}"}
        session = session_of(request)
        if session is None:
            await start_session(request, None, data)
        else:
            await run(request, site.sessions.remember, session, data)
        return {"nonce": nonce}

    @post("/sign-in/token", status_code=200, rate_limit=SIGN_IN_LIMIT)
    async def token(request: Request[Any, Any, Any]) -> dict[str, str]:
        unverified_token, target = _read(await request.body())
        # The whole ladder on one thread: each change of threads costs as much as verifying a signature on P-256.
        cookie, session = await run(
            request, _start_signed_in, site_of(request), sign_in, unverified_token, session_of(request)
        )
        keep_session(request, cookie, session)
        return {"next": target if is_own_path(target) else sign_in.landing}

    return [sign_in_page, challenge, token]


def _start_signed_in(
    site: Site, sign_in: CardSignIn, unverified_token: str, session: Session | None
) -> tuple[str, Session]:
    at = site.clock.now()
    # 1 the nonce of this session, taken once
    nonce = _fresh_nonce(site.sessions.take(session, "nonce") if session else None, at)
    # 2 the token, OCSP and the institution's word
    person, remembered = _sign_in(sign_in, unverified_token, site.settings.origin, nonce, at)
    # 3 a session under a new identifier
    names = f"{person.given_names} {person.surname}".strip()
    data = {"kind": "card", "name": names, "policy": person.policy, "given_names": person.given_names}
    data |= {"surname": person.surname, "certificate_sha256": person.certificate_sha256}
    return site.sessions.start(person.personal_code, {**data, **remembered}, replaces=session)


def _sign_in(
    sign_in: CardSignIn, unverified_token: str, origin: str, nonce: str, at: datetime
) -> tuple[SignedInPerson, Mapping[str, str]]:
    # 1 what the token proves
    try:
        verified = verify_token(unverified_token, origin=origin, nonce=nonce, anchors=sign_in.anchors, at=at)
    except DigiidError as error:
        if kind := _ANOMALIES.get(error.code):
            sign_in.on_anomaly(_anomaly_of_token(unverified_token, kind, at, error.code))
        raise type(error)(error.code, error.detail, public=_PUBLIC.get(error.code)) from error
    # 2 what the CA says of the certificate now
    _check_status(sign_in, verified, at)
    # 3 what the institution says
    person = SignedInPerson(
        verified.personal_code,
        verified.given_names,
        verified.surname,
        str(verified.policy),
        _sha256(verified.certificate),
        f"{verified.certificate.serial_number:x}",
        at,
    )
    return person, sign_in.on_signed_in(person)


def _check_status(sign_in: CardSignIn, verified: VerifiedToken, at: datetime) -> None:
    try:
        _, answer = sign_in.ocsp.fetch(verified.certificate, verified.issuer)
    except Unavailable as error:
        raise Unavailable(
            error.code,
            error.detail,
            public=N_(
                "Whether this card is valid cannot be checked now, so nobody can sign in. Try again in a minute."
            ),
        ) from error
    if answer.status is CertStatus.GOOD:
        return
    if answer.status is CertStatus.REVOKED:
        on_hold = answer.reason == "certificateHold"  # RFC 5280 §5.3.1
        kind: AnomalyKind = "suspended_used" if on_hold else "revoked_used"
        note = f"OCSP: revoked, {answer.reason}"
        sign_in.on_anomaly(AnomalousCard(kind, _sha256(verified.certificate), verified.personal_code, at, note))
        if on_hold:
            raise Refused(
                "sign_in.card_suspended",
                note,
                public=N_(
                    "This card is suspended, so nobody can sign in with it. If you reported it lost and found it "
                    "again, ask the Police and Border Guard Board to lift the suspension."
                ),
            )
        raise Refused(
            "sign_in.card_revoked",
            note,
            public=N_("This card has been annulled for good. Apply for a new one if you still need it."),
        )
    raise Refused(
        "sign_in.card_unknown",
        "OCSP: unknown",
        public=N_("The issuer does not know this card. Nobody can sign in with it."),
    )


def _anomaly_of_token(unverified_token: str, kind: AnomalyKind, at: datetime, note: str) -> AnomalousCard:
    certificate = parse_token(unverified_token).unverified_certificate
    return AnomalousCard(kind, _sha256(certificate), None, at, note)


def _sha256(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def _read(body: bytes) -> tuple[str, str]:
    if len(body) > 2 * MAX_TOKEN_LENGTH:
        raise Malformed("webeid.token", "the request is too long", public=_PUBLIC["webeid.token"])
    try:
        fields = json.loads(body)
        token = fields["token"]
        return json.dumps(token) if isinstance(token, dict) else str(token), str(fields.get("next", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed("webeid.token", "not the JSON of a sign-in", public=_PUBLIC["webeid.token"]) from error


def _fresh_nonce(stored: str | None, now: datetime) -> str:
    issued_at, _, nonce = (stored or "").partition(" ")
    if not nonce or now - datetime.fromisoformat(issued_at) > NONCE_LIFETIME:
        raise Refused(
            "sign_in.nonce",
            "no nonce was issued to this session, or it was used, or it is too old",
            public=N_("This sign-in took too long or was repeated. Load the page again and retry."),
        )
    return nonce
