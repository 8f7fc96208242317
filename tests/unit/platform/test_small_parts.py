"""Clock, entropy, pools, settings, logs."""

import asyncio
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from digiid.kernel.errors import Malformed, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.config import Settings, load_settings
from digiid.platform.entropy import SeededEntropy, SystemEntropy, new_id, random_below, random_digits
from digiid.platform.log import redact
from digiid.platform.pools import Pools, answering_a_service
from tests.support.loops import run_async


def test_a_manual_clock_never_runs_backwards() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    clock.advance(timedelta(minutes=1))
    assert clock.now() == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(timedelta(seconds=-1))


def test_random_numbers_below_a_limit_have_no_bias() -> None:
    entropy = SeededEntropy(b"bias")
    counts = Counter(random_below(entropy, 3) for _ in range(3000))
    assert set(counts) == {0, 1, 2}
    assert all(850 < count < 1150 for count in counts.values())


def test_digits_keep_their_leading_zeros_and_ids_differ() -> None:
    entropy = SystemEntropy()
    assert {len(random_digits(entropy, 4)) for _ in range(200)} == {4}
    assert len({new_id(entropy) for _ in range(100)}) == 100


def test_a_page_and_a_service_never_share_a_thread() -> None:
    pools = Pools(pages=1, services=1, max_waiting=0)

    async def both() -> tuple[tuple[str, bool], tuple[str, bool]]:
        def who() -> tuple[str, bool]:
            return threading.current_thread().name, answering_a_service()

        return await pools.pages.run(who), await pools.services.run(who)

    page, service = run_async(both())
    pools.close()
    assert page[0] != service[0]
    assert (page[1], service[1]) == (False, True)


def test_a_full_pool_says_so_instead_of_queueing_without_end() -> None:
    pools = Pools(pages=1, services=1, max_waiting=0)
    gate = threading.Event()

    async def overload() -> None:
        first = asyncio.create_task(pools.pages.run(gate.wait, 10))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match=r"pool\.full"):
            await pools.pages.run(gate.wait, 10)
        gate.set()
        await first

    run_async(overload())
    pools.close()


class Example(Settings):
    port: Annotated[int, Field(ge=1024)] = 8800


@pytest.mark.parametrize(
    ("text", "code"), [("port = 1", "config.invalid"), ("prot = 8800", "config.invalid"), ("port", "config.unreadable")]
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, code: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text)
    with pytest.raises(Malformed) as caught:
        load_settings(file, Example)
    assert caught.value.code == code
    if code == "config.invalid":
        assert text.split(" ", maxsplit=1)[0] in caught.value.detail
    with pytest.raises(Malformed) as caught:
        load_settings(tmp_path / "none.toml", Example)
    assert caught.value.detail == f"{tmp_path / 'none.toml'}: No such file or directory"


def test_a_log_line_never_holds_a_secret_or_a_whole_personal_code() -> None:
    event = redact(None, "info", {"pin1": "1234", "x_token": "abc", "who": "EE38001085718 signed in", "count": 3})
    assert event == {"pin1": "[redacted]", "x_token": "[redacted]", "who": "EE3800108**** signed in", "count": 3}
