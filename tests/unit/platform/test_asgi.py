"""Bodies are read within limits of size, time and what is held at once."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from digiid.kernel.errors import DigiidError, Malformed, Unavailable
from digiid.platform.asgi import BodyReader, Receive
from tests.support.loops import run_async


def sending(*parts: bytes, pause_seconds: float = 0.0, ends: bool = True) -> Receive:
    left = list(parts)

    async def receive() -> Mapping[str, Any]:
        await asyncio.sleep(pause_seconds)
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or not ends}

    return receive


def reader() -> BodyReader:
    return BodyReader(max_bytes=10, max_held_bytes=15, seconds=0.2)


async def read(bodies: BodyReader, receive: Receive) -> bytes:
    async with bodies.reading(receive) as body:
        return body


def test_a_body_in_parts_is_read_whole() -> None:
    assert run_async(read(reader(), sending(b"01234", b"56789"))) == b"0123456789"


@pytest.mark.parametrize(
    ("receive", "kind", "code"),
    [
        (lambda: sending(b"01234", b"567890"), Malformed, "http.too_large"),
        (lambda: sending(b"0", b"1", b"2", pause_seconds=0.1), Malformed, "http.too_slow"),
        (lambda: sending(b"0", ends=False), Malformed, "http.disconnected"),
    ],
)
def test_a_body_that_is_too_large_or_slow_or_cut_is_refused(receive: Any, kind: type[DigiidError], code: str) -> None:
    bodies = reader()
    for _ in range(5):  # and what it held is let go
        with pytest.raises(kind) as refused:
            run_async(read(bodies, receive()))
        assert refused.value.code == code
    assert run_async(read(bodies, sending(b"0123456789"))) == b"0123456789"


def test_what_is_held_at_once_is_bounded_until_it_is_answered() -> None:
    async def two_at_once() -> None:
        bodies = reader()
        async with bodies.reading(sending(b"0123456789")):
            with pytest.raises(Unavailable) as refused:
                await read(bodies, sending(b"012345"))
            assert refused.value.code == "http.busy"
            assert await read(bodies, sending(b"01234")) == b"01234"
        assert await read(bodies, sending(b"0123456789")) == b"0123456789"

    run_async(two_at_once())


def test_an_error_while_answering_lets_go_and_is_not_called_slow() -> None:
    async def fail(bodies: BodyReader) -> None:
        async with bodies.reading(sending(b"0123456789")):
            raise TimeoutError("of the work, not of the body")

    bodies = reader()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            run_async(fail(bodies))
