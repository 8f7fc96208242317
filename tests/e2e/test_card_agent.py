"""Chromium, a site that uses the card, and the agent's window: what a person sees and what the site gets."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from digiid.apps.serving import Listener, ServerGroup
from digiid.devices.agent.app import AgentSettings, build_agent
from digiid.devices.card_shelf import CardShelf
from digiid.devices.wallet import write_inserted
from digiid.platform.clock import SystemClock
from digiid.platform.entropy import SystemEntropy
from tests.support.cards import PIN1, PIN2, PUK, document_numbered, new_ca, personalise
from tests.support.serve import free_port

pytestmark = pytest.mark.browser

NONCE = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
HASH = hashlib.sha384(b"what is signed").digest()
WEBEID_JS = Path(__file__).parents[2] / "src/digiid/platform/web/static/webeid.js"
PAGE = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>A site</title>
<meta name="digiid-agent" content="{agent}"><script type="module" src="/page.js"></script>
<button id="in">Sign in</button><button id="sign">Sign</button><button id="both">Both</button><pre id="out"></pre>"""
PAGE_JS = """
import { authenticate, getSigningCertificate, prepare, sign } from "/webeid.js";
const out = (value) => { document.getElementById("out").textContent = JSON.stringify(value); };
const on = (id, work) => document.getElementById(id).addEventListener("click", async () => {
  try { out(await work()); } catch (error) { out({ code: error.code, message: error.message }); }
});
const nonce = "NONCE", hash = "HASH";
on("in", async () => { prepare(); await new Promise((r) => setTimeout(r, 300)); return authenticate(nonce); });
on("sign", async () => {
  const { certificate, supportedSignatureAlgorithms } = await getSigningCertificate();
  return { certificate, supportedSignatureAlgorithms, ...(await sign(certificate, hash, "SHA-384")) };
});
on("both", () => { authenticate(nonce).catch(() => {}); return authenticate(nonce); });
document.body.dataset.ready = "yes";
""".replace("NONCE", NONCE).replace("HASH", base64.b64encode(HASH).decode())


@dataclass(frozen=True)
class Stage:
    """The addresses and the shelf of one test."""

    site: str
    agent: str
    folder: Path
    shelf: CardShelf


def _site(agent: str) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        language = "et" if scope["path"] == "/et" else "en"
        kind, body = {
            "/page.js": ("text/javascript", PAGE_JS.encode()),
            "/webeid.js": ("text/javascript", WEBEID_JS.read_bytes()),
        }.get(scope["path"], ("text/html", PAGE.format(agent=agent, lang=language).encode()))
        headers = [(b"content-type", kind.encode()), (b"cross-origin-opener-policy", b"same-origin-allow-popups")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    shelf = CardShelf(tmp_path / "cards", SystemEntropy())
    ca = new_ca()
    for number in ("NS0000009", "NS0000010"):
        personalise(shelf.new_blank(number), ca, document=document_numbered(number))
    agent_port, site_port = free_port(), free_port()
    agent = f"http://127.0.0.1:{agent_port}"
    settings = AgentSettings(folder=tmp_path, origin=agent, pcsc=False)
    app = build_agent(shelf, SystemClock(), SystemEntropy(), settings)
    group = ServerGroup([Listener(app, agent_port), Listener(_site(agent), site_port)])
    with group.running():
        yield Stage(f"http://shop.localhost:{site_port}", agent, tmp_path, shelf)
    shelf.close()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    made = browser.new_context()
    made.set_default_timeout(15_000)
    yield made
    made.close()


def _open(context: Any, address: str) -> Any:
    page = context.new_page()
    page.goto(address)
    page.locator("body[data-ready=yes]").wait_for()
    page.wait_for_timeout(500)  # the extension has its 400 ms to answer
    return page


def _start(page: Any, button: str) -> Any:
    with page.expect_popup() as opened:
        page.click(button)
    return opened.value


def _result(page: Any) -> Any:
    page.locator("#out:not(:empty)").wait_for()
    return page.evaluate("JSON.parse(document.getElementById('out').textContent)")


def _verify(certificate_b64: str, signature_b64: str, digest: bytes) -> None:
    key = x509.load_der_x509_certificate(base64.b64decode(certificate_b64)).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    raw = base64.b64decode(signature_b64)
    value = encode_dss_signature(int.from_bytes(raw[:48]), int.from_bytes(raw[48:]))
    key.verify(value, digest, ec.ECDSA(Prehashed(hashes.SHA384())))


def _signed(origin: str) -> bytes:
    both = hashlib.sha384(origin.encode()).digest() + hashlib.sha384(NONCE.encode()).digest()
    return hashlib.sha384(both).digest()


def test_person_allows_the_site_mistypes_once_and_signs_in(context: Any, stage: Stage) -> None:
    page = _open(context, stage.site)
    window = _start(page, "#in")
    window.get_by_role("button", name="Allow this site").wait_for()
    assert window.locator("#origin").inner_text() == stage.site
    assert window.locator("#asked").inner_text() == "Sign in with your card"
    window.get_by_role("button", name="Allow this site").click()
    window.get_by_label("virtual card NS0000010").check()
    window.get_by_label("PIN1").fill("9999")
    window.get_by_role("button", name="Sign in").click()
    window.get_by_text("Wrong PIN1. Tries left: 2.").wait_for()
    assert window.evaluate("document.activeElement.id") == "pin"
    assert window.get_by_label("PIN1").input_value() == ""
    window.get_by_label("PIN1").fill(PIN1)
    window.keyboard.press("Enter")
    token = _result(page)
    assert (token["format"], token["algorithm"]) == ("web-eid:1.0", "ES384")
    _verify(token["unverifiedCertificate"], token["signature"], _signed(stage.site))
    page.wait_for_timeout(700)
    assert window.is_closed()


def test_certificate_and_signature_take_one_window_and_the_keyboard_only(context: Any, stage: Stage) -> None:
    write_inserted(stage.folder / "cards", "NS0000010")
    page = _open(context, stage.site)
    page.focus("#sign")
    with page.expect_popup() as opened:
        page.keyboard.press("Enter")
    window = opened.value
    window.get_by_role("button", name="Allow this site").wait_for()
    window.locator("#allow-no:focus").wait_for()
    window.locator("#allow-yes:enabled").wait_for()
    window.keyboard.press("Shift+Tab")
    window.keyboard.press("Enter")
    window.locator("#go:focus").wait_for()
    window.keyboard.press("Enter")
    window.get_by_label("PIN2").wait_for()
    window.locator("#pin:focus").wait_for()
    assert window.locator("#hash").inner_text().startswith(base64.b64encode(HASH).decode()[:12])
    window.keyboard.type(PIN2)
    window.keyboard.press("Enter")
    answer = _result(page)
    _verify(answer["certificate"], answer["signature"], HASH)
    assert answer["signatureAlgorithm"] == {
        "cryptoAlgorithm": "ECC",
        "hashFunction": "SHA-384",
        "paddingScheme": "NONE",
    }
    assert len(answer["supportedSignatureAlgorithms"]) == 8
    assert len(context.pages) <= 2


def test_site_once_allowed_is_not_asked_about_again_and_can_be_forgotten(context: Any, stage: Stage) -> None:
    page = _open(context, stage.site)
    window = _start(page, "#in")
    window.get_by_role("button", name="Allow this site").click()
    window.get_by_role("button", name="Cancel").click()
    assert _result(page)["code"] == "ERR_WEBEID_USER_CANCELLED"
    window = _start(page, "#in")
    window.get_by_label("PIN1").wait_for()
    assert window.get_by_role("button", name="Allow this site").is_hidden()
    home = context.new_page()
    home.goto(stage.agent)
    home.get_by_role("button", name=f"Forget {stage.site}").click()
    home.get_by_text("No site has used your cards yet").wait_for()


def test_refused_or_closed_window_is_a_cancellation(context: Any, stage: Stage) -> None:
    page = _open(context, stage.site)
    _start(page, "#in").get_by_role("button", name="Refuse").click()
    assert _result(page)["code"] == "ERR_WEBEID_USER_CANCELLED"
    page.evaluate("document.getElementById('out').textContent = ''")
    window = _start(page, "#in")
    window.get_by_role("button", name="Refuse").wait_for()
    window.close()
    assert _result(page)["code"] == "ERR_WEBEID_USER_CANCELLED"


def test_double_click_on_the_site_does_not_allow_it(context: Any, stage: Stage) -> None:
    page = _open(context, stage.site)
    window = _start(page, "#sign")
    yes = window.get_by_role("button", name="Allow this site")
    yes.wait_for()
    assert yes.is_disabled()
    yes.click(force=True, no_wait_after=True)
    assert window.locator("#use").is_hidden()
    window.locator("#allow-yes:enabled").wait_for()
    assert not (stage.folder / "agent-origins.json").exists()


def test_agent_that_does_not_answer_is_named(context: Any) -> None:
    port = free_port()
    group = ServerGroup([Listener(_site(f"http://127.0.0.1:{free_port()}"), port)])
    with group.running():
        page = _open(context, f"http://shop.localhost:{port}")
        _start(page, "#in")
        assert _result(page)["code"] == "ERR_WEBEID_NATIVE_UNAVAILABLE"


def test_second_action_at_once_is_told_to_wait(context: Any, stage: Stage) -> None:
    page = _open(context, stage.site)
    _start(page, "#both")
    assert _result(page)["code"] == "ERR_WEBEID_ACTION_PENDING"


def test_extension_that_answers_is_used_and_no_window_opens(context: Any, stage: Stage) -> None:
    context.add_init_script("""
      window.addEventListener("message", (event) => {
        const action = event.data && event.data.action;
        if (action === "web-eid:status") window.postMessage({ action: "web-eid:status-ack" }, origin);
        if (action !== "web-eid:authenticate") return;
        window.postMessage({ action: "web-eid:authenticate-ack" }, origin);
        window.postMessage({ action: "web-eid:authenticate-success", format: "from the extension",
          challengeNonce: event.data.challengeNonce }, origin);
      });""")
    page = _open(context, stage.site)
    page.click("#in")
    assert _result(page) == {"format": "from the extension", "challengeNonce": NONCE}
    assert len(context.pages) == 1


def test_window_serves_only_one_question_at_a_time_and_believes_no_origin_in_a_message(
    context: Any, stage: Stage
) -> None:
    context.add_init_script("const open = window.open; window.open = (...a) => (window.openedWindow = open(...a));")
    page = _open(context, stage.site)
    window = _start(page, "#in")
    window.get_by_role("button", name="Allow this site").wait_for()
    page.evaluate(
        "agent => openedWindow.postMessage({action: 'web-eid:sign', origin: 'https://bank.example'}, agent)",
        stage.agent,
    )
    page.wait_for_timeout(200)
    assert window.locator("#asked").inner_text() == "Sign in with your card"
    assert window.locator("#origin").inner_text() == stage.site


def test_blocked_pin_leads_to_the_page_that_unblocks_it(context: Any, stage: Stage) -> None:
    page = _open(context, stage.site)
    window = _start(page, "#in")
    window.get_by_role("button", name="Allow this site").click()
    for left in (2, 1, 0):
        window.get_by_label("NS0000009").check()
        window.get_by_label("PIN1").fill("0000")
        window.get_by_role("button", name="Sign in").click()
        window.get_by_text(f"Tries left: {left}." if left else "PIN1 is blocked.").wait_for()
    with context.expect_page() as opened:
        window.get_by_role("link", name="Unblock it with the PUK").click()
    card = opened.value
    section = card.locator("section", has=card.locator("#unblock-title"))
    section.get_by_label("PUK").fill(PUK)
    section.get_by_label("New value", exact=True).fill("4321")
    section.get_by_label("New value again").fill("4321")
    section.get_by_role("button", name="Unblock").click()
    card.get_by_text("PIN1 is unblocked").wait_for()
    window.get_by_label("PIN1").fill("4321")
    window.get_by_role("button", name="Sign in").click()
    assert _result(page)["format"] == "web-eid:1.0"


def test_estonian_page_opens_an_estonian_window(context: Any, stage: Stage) -> None:
    page = _open(context, f"{stage.site}/et")
    window = _start(page, "#in")
    window.get_by_role("button", name="Luba see sait").wait_for()
    assert window.evaluate("document.documentElement.lang") == "et"


def test_agent_pages_have_nothing_that_axe_calls_serious_and_fit_a_phone(context: Any, stage: Stage) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core is not installed").Axe()
    page = _open(context, stage.site)
    window = _start(page, "#sign")
    window.set_viewport_size({"width": 320, "height": 640})
    seen = []

    def judge(where: Any) -> None:
        # the policy forbids string evaluation in the page, not what the browser's driver puts there
        found = axe.run(where)
        seen.append(where.url)
        serious = [v["id"] for v in found["violations"] if v["impact"] in ("serious", "critical")]
        assert not serious, (where.url, serious)
        assert where.evaluate("document.documentElement.scrollWidth <= innerWidth"), where.url

    window.get_by_role("button", name="Allow this site").wait_for()
    judge(window)
    window.get_by_role("button", name="Allow this site").click()
    window.get_by_label("NS0000009").check()
    window.get_by_role("button", name="Continue").click()
    window.get_by_label("PIN2").wait_for()
    window.get_by_label("PIN2").fill("0")
    window.get_by_role("button", name="Sign", exact=True).click()
    window.get_by_text("PIN2 has 5 to 12 digits.").wait_for()
    judge(window)
    home = context.new_page()
    home.set_viewport_size({"width": 320, "height": 640})
    for path in ("/", "/card?id=shelf:NS0000009", "/card?id=shelf:NS7777777", "/popup"):
        home.goto(stage.agent + path)
        judge(home)
    assert len(seen) == 6
