"""Writes docs/reference/report-codes.md from the source: what validation reports say. `--check` only compares."""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "report-codes.md"
FORMATS = ROOT / "src" / "digiid" / "formats"
FILES = (
    *sorted((FORMATS / "validation").glob("*.py")),
    FORMATS / "asic" / "container.py",
    FORMATS / "asic" / "names.py",
)
CODE = re.compile(r"(?:validation|asic|xades|cms|tsp|x509|ocsp)(?:\.[a-z][a-z0-9_]*)+")
HEAD = """# What validation reports say

Generated from the source by `make error-codes`. Every message of a report has one of these codes, in the detailed
report as `code` and in `digiid verify --json`; programs may depend on it. What stands in the simple report is the text;
`…` stands for names and details. An error decides the verdict, with the sub-indication of EN 319 102-1 that stands
beside it; a warning does not; where nothing is said it depends on where the thing was found. A message may also have a
code of [error-codes.md](../error-codes.md): what could not be read, and why.

| code | | sub-indication | text |
|---|---|---|---|
"""


def text_of(node: ast.expr, names: dict[str, str]) -> str:
    """A literal text, `…` where something is put in; empty when it is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.IfExp):
        return " / ".join(filter(None, (text_of(node.body, names), text_of(node.orelse, names))))
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""


def weight(node: ast.expr) -> str:
    """`error`, `warning`, or empty when the place does not say."""
    if not isinstance(node, ast.Call):
        return ""
    source, name = ast.unparse(node), ast.unparse(node.func).rpartition(".")[2]
    if "Severity.WARNING" in source or name == "warn" or (name == "ContainerProblem" and source.endswith("False)")):
        return "warning"
    is_error = name in ("NotValid", "error", "fail") or "Severity.ERROR" in source or name == "ContainerProblem"
    return "error" if is_error else ""


def sub_indication(node: ast.expr) -> str:
    found = (part for part in ast.walk(node) if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "Sub")
    return " or ".join(dict.fromkeys(part.attr for part in found))


def said_in(tree: ast.AST) -> Iterator[tuple[str, str, str, str]]:
    """(code, weight, sub-indication, text) of every message."""
    names: dict[str, str] = {}
    found = (node for node in ast.walk(tree) if isinstance(node, ast.AnnAssign | ast.Assign | ast.Call | ast.Tuple))
    for node in sorted(found, key=lambda node: (node.lineno, node.col_offset)):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name) and node.value is not None:
                names[target.id] = text_of(node.value, names)
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Malformed", "Refused"):
            continue  # these are errors, and stand in their own page
        arguments = node.args if isinstance(node, ast.Call) else node.elts
        for argument, after in pairwise(arguments):
            codes, text = text_of(argument, {}).split(" / "), text_of(after, names)
            text = text or ("…" if weight(node) else "")  # put together elsewhere
            if text and all(map(CODE.fullmatch, codes)) and not CODE.fullmatch(text):
                for code in codes:
                    yield code, weight(node), sub_indication(node), text


def render() -> str:
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for file in FILES:
        for code, weighs, sub, text in said_in(ast.parse(file.read_text(encoding="utf-8"))):
            found[code, weighs, sub].add(text.replace("|", "\\|"))
    rows = [
        f"| `{code}` | {weighs} | {sub} | {'; or: '.join(sorted(texts))} |"
        for (code, weighs, sub), texts in sorted(found.items())
    ]
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    text = render()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            print("docs/reference/report-codes.md is not what the source says; run `make error-codes`.")
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
