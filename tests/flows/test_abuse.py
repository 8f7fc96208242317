"""A whole running state under hostile hands, over HTTP as an attacker has it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from digiid.apps import story
from digiid.apps.seed import E_RESIDENT_ROLE
from digiid.kernel.errors import Refused
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
