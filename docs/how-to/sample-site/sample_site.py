"""A small site that lets people sign in with the digi-ID or the ID card. Read it, run it, take what you need.

It keeps its sessions in memory. What must be so on every site is numbered in `sign_in`. How to run it
and what to change: accept-the-digi-id.md, one folder up.
"""

import argparse
import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import uvicorn
from cryptography import x509
from litestar import Litestar, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie, ResponseHeader
from litestar.handlers import BaseRouteHandler
from litestar.params import JSONBody

from digiid.formats.ocsp import CertStatus
from digiid.formats.webeid import verify_token
from digiid.kernel.errors import DigiidError, Malformed, Refused, Unavailable
from digiid.platform.clock import Clock, SystemClock
from digiid.platform.entropy import Entropy, SystemEntropy, token_urlsafe
from digiid.platform.http import HttpClient
from digiid.platform.trust import AllowedHosts, OcspClient

HERE = Path(__file__).parent
PAGE_MODULE = resources.files("digiid.platform.web").joinpath("static/webeid.js").read_text(encoding="utf-8")
COOKIE = "sample_session"
NONCE_LIFETIME, SESSION_LIFETIME = timedelta(minutes=5), timedelta(hours=1)
MAX_SESSIONS, MAX_BODY_BYTES = 10_000, 20_000
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin-allow-popups",  # the agent's window answers the page that opened it
}
STATUS: dict[type[DigiidError], int] = {Malformed: 400, Refused: 403, Unavailable: 503}


@dataclass(frozen=True)
class Session:
    """One browser: a challenge that waits for its token, or a person who is signed in."""

    expires_at: datetime
    nonce: str = ""
    person: dict[str, str] | None = None


class Sessions:
    """A site of your own keeps them in its database, and gives a session a new identifier at every sign-in."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock, self._entropy, self._kept = clock, entropy, dict[str, Session]()

    def put(self, lifetime: timedelta, *, nonce: str = "", person: dict[str, str] | None = None) -> str:
        now = self._clock.now()
        for key in [key for key, session in list(self._kept.items()) if session.expires_at <= now]:
            self._kept.pop(key, None)
        if len(self._kept) >= MAX_SESSIONS:
            raise Unavailable("sample.busy", "too many sessions")
        key = token_urlsafe(self._entropy, 32)
        self._kept[key] = Session(now + lifetime, nonce, person)
        return key

    def find(self, key: str | None) -> Session | None:
        session = self._kept.get(key or "")
        return session if session and session.expires_at > self._clock.now() else None

    def get_and_remove(self, key: str | None) -> Session | None:
        session = self.find(key)
        self._kept.pop(key or "", None)
        return session


def build_site(
    *, origin: str, agent: str, issuers: Sequence[x509.Certificate], ocsp: OcspClient, clock: Clock, entropy: Entropy
) -> Litestar:
    """`origin` as the browser shows it, without a slash at the end; `issuers` are the issuing CAs that are accepted."""
    sessions = Sessions(clock, entropy)

    def answer(fields: dict[str, str], session: str) -> Response[dict[str, str]]:
        secure = origin.startswith("https://")
        return Response(
            fields, cookies=[Cookie(COOKIE, value=session, httponly=True, samesite="strict", secure=secure)]
        )

    @post("/challenge", status_code=200, sync_to_thread=False)
    def challenge() -> Response[dict[str, str]]:
        nonce = base64.b64encode(entropy.token_bytes(32)).decode()
        return answer({"nonce": nonce}, sessions.put(NONCE_LIFETIME, nonce=nonce))

    @post("/sign-in", status_code=200, sync_to_thread=True)
    def sign_in(request: Request[Any, Any, Any], data: JSONBody[dict[str, Any]]) -> Response[dict[str, str]]:
        # 1 the challenge of this browser: taken once, no older than five minutes
        waiting = sessions.get_and_remove(request.cookies.get(COOKIE))
        if waiting is None or not waiting.nonce:
            raise Refused("sample.nonce", "no challenge waits for this browser")
        # 2 the token: for this origin and this challenge, with a certificate for signing in, of a CA we accept
        token = json.dumps(data.get("token"))
        verified = verify_token(token, origin=origin, nonce=waiting.nonce, anchors=issuers, at=clock.now())
        # 3 the certificate is good now: suspended is refused as revoked is, and nobody gets in when OCSP is silent
        _, status = ocsp.fetch(verified.certificate, verified.issuer)
        if status.status is not CertStatus.GOOD:
            raise Refused("sample.card_not_good", f"OCSP: {status.status}, {status.reason}")
        # 4 your own condition stands here: verified.policy is citizen, resident or e_resident
        # 5 a session under a new identifier
        person = {"name": f"{verified.given_names} {verified.surname}", "code": verified.personal_code}
        person |= {"document": str(verified.policy)}
        return answer(person, sessions.put(SESSION_LIFETIME, person=person))

    @post("/sign-out", status_code=200, sync_to_thread=False)
    def sign_out(request: Request[Any, Any, Any]) -> dict[str, str]:
        sessions.get_and_remove(request.cookies.get(COOKIE))
        return {}

    @get("/", sync_to_thread=False)
    def page(request: Request[Any, Any, Any]) -> Response[str]:
        session = sessions.find(request.cookies.get(COOKIE))
        body = '<p><button id="sign-in">Sign in with a card</button></p>'
        if session and session.person:
            rows = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in session.person.items())
            body = f'<dl>{rows}</dl><p><button id="sign-out">Sign out</button></p>'
        text = (HERE / "page.html").read_text(encoding="utf-8").format(agent=html.escape(agent), body=body)
        return Response(text, media_type="text/html")

    @get("/webeid.js", sync_to_thread=False)
    def page_module() -> Response[str]:
        return Response(PAGE_MODULE, media_type="text/javascript")

    @get("/sample.js", sync_to_thread=False)
    def script() -> Response[str]:
        return Response((HERE / "sample.js").read_text(encoding="utf-8"), media_type="text/javascript")

    def only_own_pages(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        if connection.scope["method"] == "POST" and connection.headers.get("origin") != origin:  # type: ignore[typeddict-item]
            raise Refused("sample.origin", "not from a page of this site")

    def too_deep(_request: Request[Any, Any, Any], _error: RecursionError) -> Response[dict[str, str]]:
        return Response({"code": "sample.body"}, status_code=400)  # hostile JSON of ten thousand brackets

    def refuse(_request: Request[Any, Any, Any], error: DigiidError) -> Response[dict[str, str]]:
        return Response(
            {"code": error.code}, status_code=next((STATUS[k] for k in STATUS if isinstance(error, k)), 500)
        )

    return Litestar(
        [challenge, sign_in, sign_out, page, page_module, script],
        guards=[only_own_pages],
        exception_handlers={DigiidError: refuse, RecursionError: too_deep},
        response_headers=[ResponseHeader(name=name, value=value) for name, value in HEADERS.items()],
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=None,
    )


def main() -> None:
    """Read the options, build the site, serve it."""
    parser = argparse.ArgumentParser(description="A sample site that accepts the digi-ID.")
    parser.add_argument("--issuer", type=Path, required=True, help="the issuing CA's certificate, DER")
    parser.add_argument("--ocsp", default="http://127.0.0.1:8800/ocsp", help="no other host is asked for statuses")
    parser.add_argument("--agent", default="http://127.0.0.1:8802", help="the card agent's address")
    parser.add_argument("--origin", default="http://sample.localhost:8810", help="as the browser shows it")
    parser.add_argument("--port", type=int, default=8810)
    chosen = parser.parse_args()
    clock, entropy = SystemClock(), SystemEntropy()
    ocsp = OcspClient(HttpClient(), entropy, clock, hosts=AllowedHosts.of_urls(chosen.ocsp))
    issuer = x509.load_der_x509_certificate(chosen.issuer.read_bytes())
    site = build_site(
        origin=chosen.origin, agent=chosen.agent, issuers=[issuer], ocsp=ocsp, clock=clock, entropy=entropy
    )
    uvicorn.run(site, host="127.0.0.1", port=chosen.port)


if __name__ == "__main__":
    main()
