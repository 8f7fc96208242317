"""Structured logs: one JSON line an event, key=value, with a correlation id; what is secret never arrives here.

The redaction is the second line of defence: callers do not log secrets, and values under names
that could hold one, and whole personal codes, are blanked all the same.
"""

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

correlation_id: ContextVar[str] = ContextVar("correlation_id", default="-")

_SECRET_NAMES = re.compile(r"(pin\d?|puk|password|passphrase|secret|token|cookie|authorization|private_key)$", re.I)
_PERSONAL_CODE = re.compile(r"(?<!\d)([1-8]\d{6})\d{4}(?!\d)")


def configure_logging(file: Path | None = None, *, level: str = "info") -> None:
    """Send the process's logs to `file` (appended, mode 0600) or to standard error."""
    stream = cast("TextIO", _UnfailingStream(_open(file) if file is not None else sys.stderr))
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_correlation,
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(stream=stream, level=logging.WARNING, format="%(message)s", force=True)


def _open(file: Path) -> TextIO:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    return file.open("a", encoding="utf-8", buffering=1)


class _UnfailingStream:
    """Where the log cannot be written, as on a full disk, lines are lost; whoever logs must not fail for it.

    How many were lost is written with the next line that goes through.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lost = stream, 0

    def write(self, text: str) -> int:
        try:
            if self._lost:
                self._stream.write(
                    json.dumps({"event": "log.lines_lost", "count": self._lost, "level": "error"}) + "\n"
                )
                self._stream.flush()
            self._stream.write(text)
            self._stream.flush()
            self._lost = 0
        except OSError:
            self._lost += 1
        return len(text)

    def flush(self) -> None:
        """`write` has done it."""


def _with_correlation(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.setdefault("correlation", correlation_id.get())
    return event


def redact(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank values under secret names and the last four digits of anything like a personal code."""
    for name, value in list(event.items()):
        if _SECRET_NAMES.search(name):
            event[name] = "[redacted]"
        elif isinstance(value, str):
            event[name] = _PERSONAL_CODE.sub(r"\1****", value)
    return event
