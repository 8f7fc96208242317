"""A whole running state under hostile hands, over HTTP as an attacker has it."""

import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest

from digiid.apps import story
from digiid.apps.security_servers import ExchangeOfState
from digiid.apps.seed import CITIZENS, E_RESIDENT_ROLE
from digiid.apps.visitor import Visitor
from digiid.contracts.members import BANK
from digiid.contracts.police_board import REPORT_MISUSE
from digiid.kernel.errors import Refused
from digiid.platform.clock import SystemClock
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import loopback_transport
from tests.support.estate import RunningEState, running_estate


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEState]:
    with running_estate(tmp_path_factory.mktemp("abuse") / "state") as running:
        yield running


def raw(estate: RunningEState) -> httpx.Client:
    return httpx.Client(transport=loopback_transport(None), trust_env=False, timeout=30)


def test_a_host_that_is_not_ours_is_misdirected(estate: RunningEState) -> None:
    port = urlsplit(estate.origins["portal"]).port
    with raw(estate) as client:
        answer = client.get(f"http://127.0.0.1:{port}/sign-in", headers={"Host": f"portal.example:{port}"})
    assert answer.status_code == 421


def test_a_request_without_the_pages_token_is_refused(estate: RunningEState) -> None:
    holder = estate.holder(E_RESIDENT_ROLE)
    page = story.sign_in(holder, estate.origins["portal"])
    other = estate.holder(E_RESIDENT_ROLE).visitor.open(f"{estate.origins['portal']}/sign-in")
    foreign_token = str(other.tree.xpath("//meta[@name='csrf-token']/@content")[0])
    for csrf in ({}, {"X-CSRF-Token": foreign_token}):
        assert holder.visitor.post_json(page, "/sign-in/challenge", {}, csrf=csrf).status_code == 403


def test_a_card_that_signed_for_another_origin_is_refused(estate: RunningEState) -> None:
    with pytest.raises(Refused) as refused:
        story.sign_in(
            estate.holder(E_RESIDENT_ROLE), estate.origins["portal"], origin_for_card="https://portal.example"
        )
    assert refused.value.code == "webeid.signature"


def test_many_sign_ins_at_once_all_succeed(estate: RunningEState) -> None:
    def enter(_: int) -> int:
        return story.sign_in(estate.holder(E_RESIDENT_ROLE), estate.origins["portal"]).status

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(enter, range(64))) == [200] * 64


# ------------------------------------------------------------------ forms and uploads


def test_a_form_sent_from_a_foreign_page_is_refused(estate: RunningEState) -> None:
    """The cookie alone is not enough: another site can make a browser send it."""
    with raw(estate) as client:
        page = client.get(f"{estate.origins['portal']}/validate")
        files = {"container": ("x.asice", b"x", "application/octet-stream")}
        answer = client.post(str(page.url), files=files, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_what_another_person_uploaded_is_not_there(estate: RunningEState) -> None:
    owner, portal = estate.holder(E_RESIDENT_ROLE), estate.origins["portal"]
    story.sign_in(owner, portal)
    uploaded = owner.visitor.submit(
        owner.visitor.open(f"{portal}/sign"), files={"file": ("own.txt", b"mine\n", "text/plain")}, button="Continue"
    )
    address = uploaded.url.split("?")[0]
    assert owner.visitor.look(address).status == 200
    stranger = estate.holder(CITIZENS[4].role)
    story.sign_in(stranger, portal)
    for path in ("", "/files/0", "/container"):
        assert stranger.visitor.look(address + path).status == 404
    unknown = Visitor().look(address)
    assert "own.txt" not in unknown.text


def zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("mimetype"), "application/vnd.etsi.asic-e+zip")
        archive.writestr("zeros.bin", bytes(200 * 1024 * 1024), compresslevel=9)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"no container at all", b"PK\x03\x04", b"%PDF-1.7\n", zip_bomb()],
    ids=["empty", "text", "cut zip", "cut pdf", "bomb"],
)
def test_what_is_no_container_gets_a_clear_answer(estate: RunningEState, content: bytes) -> None:
    visitor = Visitor()
    page = visitor.open(f"{estate.origins['portal']}/validate")
    upload = {"container": ("strange.asice", content, "application/octet-stream")}
    answer = visitor.submit(page, files=upload, button="Validate", expect_error=True)
    assert answer.status in (200, 400, 422)
    assert answer.errors or "cannot be read" in answer.text.lower()
    assert "is valid" not in answer.text and "are valid" not in answer.text


def test_an_upload_that_is_too_large_is_told_as_a_page(estate: RunningEState) -> None:
    visitor = Visitor()
    page = visitor.open(f"{estate.origins['portal']}/validate")
    upload = {"container": ("large.asice", bytes(80 * 1024 * 1024), "application/octet-stream")}
    answer = visitor.submit(page, files=upload, button="Validate", expect_error=True)
    assert answer.status == 413
    assert answer.media_type == "text/html"
    assert answer.heading


@pytest.mark.parametrize(
    "body",
    [b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\nvalue", b"\x00" * 1000],
    ids=["nothing", "cut", "no end", "zeros"],
)
def test_a_broken_multipart_body_is_refused(estate: RunningEState, body: bytes) -> None:
    origin = estate.origins["portal"]
    with raw(estate) as client:
        client.get(f"{origin}/validate")
        headers = {"Content-Type": "multipart/form-data; boundary=x", "Origin": origin}
        answer = client.post(f"{origin}/validate", content=body, headers=headers)
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b"null"])
def test_a_message_that_is_no_json_is_refused_by_a_service(estate: RunningEState, body: bytes) -> None:
    """Through both security servers: the bank asks the board with nonsense."""
    exchange = ExchangeOfState(
        estate.state.folder, estate.state.settings, [BANK], clock=SystemClock(), entropy=SystemEntropy()
    )
    with closing(exchange):
        answer = exchange.client(BANK).rest(REPORT_MISUSE.service, "POST", "/v1", body=body)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "exchange.request")
    assert b"Traceback" not in answer.body


def test_nobody_but_the_security_servers_reaches_a_gate(estate: RunningEState) -> None:
    port = estate.state.settings.state_server.gate
    with raw(estate) as client:
        for scheme in ("http", "https"):
            with pytest.raises(httpx.TransportError):
                client.post(f"{scheme}://127.0.0.1:{port}{REPORT_MISUSE.path}", content=b"{}")
