"""PDF files that strangers may have made: what is signed in them, and signatures appended to them.

The library that reads PDF works in a process of its own for each call (`worker.py`), with limits on memory, processor
time and files, and ends when it takes too long. It says where signatures lie and what was appended after them;
what they are worth is judged elsewhere, from the bytes.
"""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

from digiid.formats.pades import Changes, PdfSignature, SecurityStore, UnverifiedPdf
from digiid.kernel.errors import Broken, Malformed, Refused, Unavailable
from digiid.platform.pdf import worker

MAX_PDF_BYTES: Final = 100 * 1024 * 1024
_START_SECONDS: Final = 20
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Appearance:
    """What is seen on a page: `drawn`, a PDF file of one page, inside `box` (left, bottom, right, top in points from
    the lower left corner). `page` counts from 0."""

    drawn: bytes
    page: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A document with room for a signature: `start` and `end` of its hexadecimal string, with < and >."""

    content: bytes
    field_name: str
    start: int
    end: int


def read_pdf(content: bytes) -> UnverifiedPdf:
    """Every signature and document time-stamp, in the order in which they were made.

    Raises: Malformed `pdf.unreadable`, `pdf.header`, `pdf.encrypted`, `pdf.hybrid`, `pdf.limits`, `pdf.trailing`;
        Unavailable `pdf.busy`, as everything here that reads a file.
    """
    told, parts = _run("read", {}, [content])
    return parse_answer(content, told, parts)


def parse_answer(content: bytes, told: Mapping[str, Any], parts: Sequence[bytes]) -> UnverifiedPdf:
    """What the process that reads said about a file. Raises: Broken `pdf.worker`, it is not what it says."""
    try:
        signatures = tuple(_signature(one, parts) for one in told["signatures"])
        ordered = sorted(signatures, key=lambda one: one.revision)
        return UnverifiedPdf(content, int(told["revisions"]), tuple(ordered), _store(told["store"], parts))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Broken("pdf.worker", "an answer that cannot be read") from error


def add_signature_placeholder(
    content: bytes,
    *,
    claimed_at: datetime,
    reserved_bytes: int,
    name: str | None = None,
    reason: str | None = None,
    location: str | None = None,
    field: str | None = None,
    appearance: Appearance | None = None,
) -> Placeholder:
    """The document with an empty PAdES signature (EN 319 142-1 §6.3) appended. `field` names an empty signature field
    that is there; without it one is made.

    Raises: Malformed as `read_pdf`; Refused `pdf.certified`, `pdf.field`, `pdf.page`.
    """
    asked: dict[str, Any] = {
        "type": "Sig",
        "claimed_at": claimed_at.isoformat(),
        "reserved_bytes": reserved_bytes,
        "name": name,
        "reason": reason,
        "location": location,
        "field": field,
    }
    parts = [content]
    if appearance is not None:
        asked["appearance"] = {"page": appearance.page, "box": list(appearance.box)}
        parts.append(appearance.drawn)
    return _placed(content, *_run("placeholder", asked, parts))


def add_time_stamp_placeholder(content: bytes, *, reserved_bytes: int) -> Placeholder:
    """The document with an empty document time-stamp (EN 319 142-1 §5.4.3) appended. Raises: Malformed."""
    asked = {"type": "DocTimeStamp", "reserved_bytes": reserved_bytes}
    return _placed(content, *_run("placeholder", asked, [content]))


def add_store(content: bytes, *, certificates_der: Sequence[bytes], ocsp_der: Sequence[bytes]) -> bytes:
    """The document with validation data in its security store (EN 319 142-1 §5.4.2); the same bytes when all of it is
    there. Raises: Malformed."""
    _, made = _run("add_store", {"certificates": len(certificates_der)}, [content, *certificates_der, *ocsp_der])
    return content + made[0]


def fill_placeholder(placeholder: Placeholder, value_der: bytes) -> bytes:
    """The document with the value in its place. Raises: Broken `pdf.reserved`, it is longer than its place."""
    room = placeholder.end - placeholder.start - 2
    digits = value_der.hex().encode()
    if len(digits) > room:
        raise Broken("pdf.reserved", f"{len(value_der)} bytes do not fit into {room // 2}")
    start = placeholder.start + 1
    return placeholder.content[:start] + digits + placeholder.content[start + len(digits) :]


# ------------------------------------------------------------------ the process


class _Workers:
    """The process that waits (see `worker.serve`), started when it is needed. Thread-safe.

    Only `at_once` files are taken apart at a time, for each may take gigabytes; others wait for `wait_seconds`.
    """

    def __init__(self, *, at_once: int = 4, wait_seconds: float = 30.0) -> None:
        self._room, self._wait_seconds = threading.BoundedSemaphore(at_once), wait_seconds
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        """To a new process. Raises: Unavailable `pdf.busy`; Broken `pdf.worker`."""
        if not self._room.acquire(timeout=self._wait_seconds):
            raise Unavailable(
                "pdf.busy", "too many PDF files are read at once", public="Too many documents at once. Try again."
            )
        try:
            with self._connect() as connected:
                yield connected
        finally:
            self._room.release()

    def _connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            for _ in range(2):  # it may have ended since, for nobody asked for long
                try:
                    socket.send_fds(self._started(), [b"."], [theirs.fileno()])
                    return ours
                except OSError:
                    self._end()
        ours.close()
        raise Broken("pdf.worker", "the process that reads PDF files does not start")

    def _started(self) -> socket.socket:
        if self._channel is None:
            self._channel, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-I", "-m", worker.__name__, str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},  # nothing of this process's surroundings
                    start_new_session=True,
                )
        return self._channel

    def _end(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None


_workers = _Workers()


def _run(task: str, asked: Mapping[str, Any], parts: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    if len(parts[0]) > MAX_PDF_BYTES:
        raise Malformed("pdf.limits", f"a PDF file of more than {MAX_PDF_BYTES // 1024**2} MiB")
    head = json.dumps({**asked, "task": task, "sizes": [len(part) for part in parts]}).encode()
    with _workers.connection() as connection:
        connection.settimeout(worker.MAX_SECONDS + _START_SECONDS)
        try:
            for part in (head, b"\n", *parts):
                connection.sendall(part)
            with connection.makefile("rb") as stream:
                return _read_answer(stream)
        except OSError as error:
            raise Malformed("pdf.limits", "reading it took more time or memory than it may") from error


def _read_answer(stream: BinaryIO) -> tuple[dict[str, Any], list[bytes]]:
    line = stream.readline(_MAX_ANSWER_BYTES)
    if not line:
        raise Malformed("pdf.limits", "reading it took more time or memory than it may")
    try:
        told: dict[str, Any] = json.loads(line)
        if code := told.get("problem"):
            raise _problem(str(code), str(told.get("text", "")))
        sizes = [int(size) for size in told["sizes"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Broken("pdf.worker", "an answer that cannot be read") from error
    if sum(sizes) > _MAX_ANSWER_BYTES:
        raise Malformed("pdf.limits", "more came out of it than is taken")
    made = [stream.read(size) for size in sizes]
    if [len(part) for part in made] != sizes:
        raise Malformed("pdf.limits", "reading it took more time or memory than it may")
    return told, made


def _problem(code: str, text: str) -> Malformed | Refused:
    if code == "pdf.certified":
        return Refused(code, text, public="The author of this document has closed it: nobody can sign it any more.")
    if code == "pdf.field":
        return Refused(code, text, public="The document has no empty signature field of that name.")
    if code == "pdf.page":
        return Refused(code, text, public="The document has no such page.")
    return Malformed(code, text)


def _placed(content: bytes, told: Mapping[str, Any], made: Sequence[bytes]) -> Placeholder:
    return Placeholder(content + made[0], str(told["field"]), int(told["start"]), int(told["end"]))


def _signature(told: Mapping[str, Any], parts: Sequence[bytes]) -> PdfSignature:
    claimed = told.get("claimed_at")
    store = told.get("store")
    return PdfSignature(
        field_name=str(told["field"]),
        is_time_stamp=told.get("type") == "DocTimeStamp",
        revision=int(told["revision"]),
        byte_range=tuple(told.get("byte_range", ())),
        contents=parts[told["contents"]] if "contents" in told else b"",
        filter=str(told.get("filter", "")),
        sub_filter=str(told.get("sub_filter", "")),
        changes=Changes(told["changes"]) if told["changes"] else None,
        changed=str(told.get("changed", "")),
        problem=str(told["problem"]),
        claimed_at=_time(claimed) if isinstance(claimed, str) else None,
        name=_text(told.get("name")),
        reason=_text(told.get("reason")),
        location=_text(told.get("location")),
        store=None if store is None else _store(store, parts),
    )


def _store(told: Mapping[str, Any], parts: Sequence[bytes]) -> SecurityStore:
    certificates, ocsp, crls = (tuple(parts[place] for place in told[key]) for key in ("certificates", "ocsp", "crls"))
    return SecurityStore(certificates, ocsp, crls)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: str) -> datetime:
    found = datetime.fromisoformat(value)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
