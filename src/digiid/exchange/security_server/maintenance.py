"""Maintenance of one security server: messages are refused, and who asks is told why and until when.

The switch is a file, so that it works while the process is down and stays over a restart. It counts from the next
message on; the announcement at the central server comes before it and leads others to another server of the client.
"""

import os
from pathlib import Path
from typing import Final

from digiid.kernel.errors import Unavailable

MAINTENANCE_FILE: Final = "maintenance"  # in the server's folder
MAX_MESSAGE_CHARS: Final = 200  # what the global configuration carries


class MaintenanceSwitch:
    """A file: while it is there this server is in maintenance, and what it holds is told to callers."""

    def __init__(self, file: Path) -> None:
        self._file, self._name = file, os.fspath(file)

    def message(self) -> str | None:
        """None when messages are answered. A file that cannot be read counts as one without a message."""
        try:
            os.stat(self._name)  # noqa: PTH116 for every message: pathlib's costs twice as much
            with self._file.open("rb") as stream:
                content = stream.read(4 * MAX_MESSAGE_CHARS)
        except FileNotFoundError:
            return None
        except OSError:
            return ""
        return _printable(content.decode("utf-8", "replace"))

    def check_open(self) -> None:
        """Ask before a message is taken. Raises: Unavailable `exchange.maintenance`, with the message as `public`."""
        message = self.message()
        if message is not None:
            raise Unavailable("exchange.maintenance", message or "maintenance", public=message or None)

    def turn_on(self, message: str = "") -> None:
        """From the next message on. The message goes to callers: at most 200 characters of it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_name(self._file.name + ".part")
        part.write_text(_printable(message), encoding="utf-8")
        part.replace(self._file)

    def turn_off(self) -> None:
        """Messages are answered again. Also when they were."""
        self._file.unlink(missing_ok=True)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text).strip()[:MAX_MESSAGE_CHARS]
