"""What commands print, and their exit codes."""

import json
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from digiid.kernel.errors import DigiidError, Malformed, NotFound

EXIT_OK: Final = 0  # done, or everything valid
EXIT_NOT_VALID: Final = 1  # refused, or something not valid
EXIT_UNREADABLE: Final = 2  # unreadable input, no trust anchors


def print_json(console: Console, value: Any) -> None:
    """JSON on standard output, nothing coloured or wrapped."""
    console.file.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def error_json(error: DigiidError) -> dict[str, str]:
    return {"code": error.code, "detail": error.public or error.detail}


def print_error(error: DigiidError, console: Console, *, as_json: bool, prefix: str = "") -> int:
    """Say what went wrong. Returns the exit code."""
    if as_json:
        print_json(console, {"error": error_json(error)})
    else:
        console.print(f"[red]{escape(prefix)}{escape(error.public or error.detail)}[/red] ({error.code})")
    return exit_code_of(error)


def named_before(path: Path, error: DigiidError) -> str:
    """The file's name as a prefix, unless the error begins with it already."""
    text = error.public or error.detail
    return "" if text.startswith(str(path)) else f"{path}: "


def exit_code_of(error: DigiidError) -> int:
    return EXIT_UNREADABLE if isinstance(error, Malformed | NotFound) else EXIT_NOT_VALID
