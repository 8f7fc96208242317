"""Writes docs/error-codes.md from the source: every dotted code, its kind, where. `--check` only compares."""

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "error-codes.md"
KINDS = ("Malformed", "Refused", "NotFound", "Conflict", "Unavailable", "Broken")
CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
HEAD = """# Error codes

Generated from the source by `make error-codes`. A code is stable: programs may depend on it. The kind decides what a
protocol answers (HTTP status, exit code, OCSP and TSA status): see `digiid.kernel.errors`.

| code | kind | raised in |
|---|---|---|
"""


def codes_in(file: Path) -> list[tuple[str, str]]:
    """(code, kind) of every literal first argument to one of the six kinds or of their subclasses' constructors."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        first = node.args[0]
        if (
            name in KINDS
            and isinstance(first, ast.Constant)
            and isinstance(first.value, str)
            and CODE.fullmatch(first.value)
        ):
            found.append((first.value, name))
    return found


def render() -> str:
    where: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file in sorted((ROOT / "src").rglob("*.py")):
        for key in codes_in(file):
            where[key].add(str(file.relative_to(ROOT / "src" / "digiid")))
    rows = [
        f"| `{code}` | {kind} | {', '.join(f'`{f}`' for f in sorted(files))} |"
        for (code, kind), files in sorted(where.items())
    ]
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    text = render()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            print("docs/error-codes.md is not what the source says; run `make error-codes`.")
            return 1
        return 0
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
