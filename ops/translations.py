"""Brings the Estonian catalogues up to date with the texts in the code. `--check` only compares and reports;
a word names the catalogues meant (`ops/translations.py police_board`).

Texts are `_("…")`, `ngettext("…", "…", n)` and `N_("…")` in Python and in templates, and whatever Python hands
to a person as `public="…"` or `public=f"…"` (its values become `{name}`). A package has its own catalogue where
it has a folder `locale`; everything else belongs to the platform's. A text that the platform's catalogue has
already is not repeated in an institution's.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

from babel.messages import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "digiid"
PLATFORM = SOURCE / "platform" / "web" / "locale"
HEADER = "# Estonian texts. `make translations` brings this file up to date with the code.\n#"
_VARIABLE = re.compile(r"%\(\w+\)[sd]|\{[a-z0-9_]+\}")
_NO_HEADERS = tuple(
    f'"{name}' for name in ("POT-C", "PO-R", "Last-T", "Language-T", "Project-Id", "Report-M", "Generated-By")
)
# The card agent has no catalogue: it serves people who run it without the rest, and keeps its texts itself.
_OUTSIDE = ("devices",)

Message = str | tuple[str, str]


def catalogue_folders(source: Path = SOURCE) -> list[Path]:
    """Every folder `locale`, the platform's first."""
    found = sorted(path for path in source.rglob("locale") if path.is_dir() and path != PLATFORM)
    return [PLATFORM, *(path for path in found if path.relative_to(source).parts[0] not in _OUTSIDE)]


def owned_files(folder: Path) -> Iterator[Path]:
    """The Python files and templates whose texts stand in this folder's catalogue."""
    owners = {_owner(other): other for other in catalogue_folders()}
    for file in sorted(SOURCE.rglob("*")):
        if file.suffix not in (".py", ".html", ".txt", ".xml") or file.relative_to(SOURCE).parts[0] in _OUTSIDE:
            continue
        if file.suffix in (".txt", ".xml") and "templates" not in file.parts:
            continue
        owner = next(parent for parent in file.parents if parent in owners)
        if owners[owner] == folder:
            yield file


def texts_of(folder: Path) -> dict[Message, list[str]]:
    """The texts of a catalogue, each with the files it stands in."""
    found: dict[Message, list[str]] = {}
    for file in owned_files(folder):
        texts = texts_in_python(file.read_text("utf-8")) if file.suffix == ".py" else texts_in_template(file)
        for text in texts:
            places = found.setdefault(text, [])
            place = str(file.relative_to(SOURCE))
            if place not in places:
                places.append(place)
    if folder != PLATFORM:
        for text in texts_of(PLATFORM):
            found.pop(text, None)
    return found


def texts_in_python(code: str) -> Iterator[Message]:
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name in ("_", "N_", "gettext") and node.args:
            yield from _strings(node.args[0])
        elif name == "ngettext" and len(node.args) >= 2:
            one, many = (next(iter(_strings(argument)), "") for argument in node.args[:2])
            if one and many:
                yield one, many
        for keyword in node.keywords:
            if keyword.arg == "public":
                yield from _strings(keyword.value)


def _strings(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts, number = [], 0
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(str(part.value))
            else:
                value = part.value if isinstance(part, ast.FormattedValue) else part
                number += 1
                parts.append(f"{{{value.id.lower() if isinstance(value, ast.Name) else f'value_{number}'}}}")
        yield "".join(parts)
    elif isinstance(node, ast.IfExp):
        yield from _strings(node.body)
        yield from _strings(node.orelse)


def texts_in_template(file: Path) -> Iterator[Message]:
    environment = Environment(extensions=["jinja2.ext.i18n", "jinja2.ext.do"])
    for _line, function, text in environment.extract_translations(  # type: ignore[attr-defined]
        file.read_text("utf-8"), gettext_functions=("_", "gettext", "ngettext", "_t", "N_")
    ):
        if function == "ngettext" and isinstance(text, tuple):
            yield text[0], text[1]
        elif isinstance(text, str) and text:
            yield text
        elif isinstance(text, tuple) and isinstance(text[0], str):
            yield text[0]


def read_catalogue(folder: Path) -> Catalog:
    file = folder / "et.po"
    if not file.exists():
        return Catalog(locale="et", charset="utf-8")
    with file.open("rb") as stream:
        return read_po(stream, locale="et")


def updated(folder: Path) -> Catalog:
    """The catalogue with exactly today's texts; what was translated stays."""
    old, new = read_catalogue(folder), Catalog(locale="et", charset="utf-8", header_comment=HEADER, fuzzy=False)
    for text, places in sorted(texts_of(folder).items(), key=lambda item: str(item[0])):
        known = old.get(text if isinstance(text, str) else text[0])
        same_shape = known is not None and isinstance(known.id, tuple) == isinstance(text, tuple)
        flags = known.flags if known is not None and same_shape else ()
        new.add(
            text,
            known.string if known is not None and same_shape else "" if isinstance(text, str) else ("", ""),
            locations=[(place, 0) for place in places],
            flags=flags,
        )
    return new


def to_bytes(catalogue: Catalog) -> bytes:
    """The file's content: sorted, without dates and line numbers, so that it changes only with its texts."""
    raw = BytesIO()
    write_po(raw, catalogue, width=120, sort_output=True, include_lineno=False)
    lines = raw.getvalue().decode().split("\n")
    dropped = (
        "POT-Creation",
        "PO-Revision",
        "Last-Translator",
        "Language-Team",
        "Project-Id",
        "Report-Msgid",
        "Generated-By",
    )
    return "\n".join(line for line in lines if not line.lstrip('"').startswith(dropped)).encode()


def problems_of(folder: Path) -> list[str]:
    """What is missing, untranslated, doubtful or has other variables than its English text."""
    catalogue = read_catalogue(folder)
    # Babel keeps one entry for a plural, under its singular
    known = {message.id[0] if isinstance(message.id, tuple) else message.id: message for message in catalogue}
    problems = []
    for text, places in texts_of(folder).items():
        name = text if isinstance(text, str) else text[0]
        message = known.get(name)
        shown = f"{name[:80]!r} ({places[0]})"
        if message is None:
            problems.append(f"not in the catalogue: {shown}")
            continue
        strings = list(message.string) if isinstance(message.string, (tuple, list)) else [message.string]
        if not all(strings):
            problems.append(f"not translated: {shown}")
        elif message.fuzzy:
            problems.append(f"doubtful (fuzzy): {shown}")
        elif any(_variables(str(string)) - _variables(*_all(text)) for string in strings):
            problems.append(f"a variable that the English text has not: {shown}")
        elif isinstance(text, str) and _variables(text) != _variables(str(strings[0])):
            problems.append(f"a variable of the English text is missing: {shown}")
    return problems


def _all(text: Message) -> Iterable[str]:
    return (text,) if isinstance(text, str) else text


def _variables(*texts: str) -> set[str]:
    return {variable for text in texts for variable in _VARIABLE.findall(text)}


def _owner(folder: Path) -> Path:
    if folder == PLATFORM:
        return SOURCE
    return folder.parent.parent if folder.parent.name in ("web", "test_pages") else folder.parent


def main() -> int:
    """`[--check] [PART…]`: only the catalogues whose path has one of the parts."""
    parts = [argument for argument in sys.argv[1:] if argument != "--check"]
    folders = [folder for folder in catalogue_folders() if not parts or any(part in str(folder) for part in parts)]
    if "--check" not in sys.argv[1:]:
        for folder in folders:
            (folder / "et.po").write_bytes(to_bytes(updated(folder)))
    failed = False
    for folder in folders:
        for problem in problems_of(folder):
            failed = True
            print(f"{(folder / 'et.po').relative_to(ROOT)}: {problem}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
