"""docs/threats.md maps the threats of the exchange to tests: every name on it exists, and none is missing."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "threats.md").read_text("utf-8")
DEFINED = re.compile(r"^\s*(?:async )?def (test_\w+)\(", re.MULTILINE)
THREATS = [f"TM-{number:02}" for number in range(1, 11)]


def defined() -> dict[Path, list[str]]:
    return {file: DEFINED.findall(file.read_text("utf-8")) for file in TESTS.rglob("test_*.py")}


def section() -> str:
    return PAGE.partition("## The exchange, threat by threat")[2].partition("\n## ")[0]


def test_every_test_that_the_page_names_exists():
    known = {name for names in defined().values() for name in names}
    named = re.findall(r"`(test_\w+)`", PAGE)
    assert len(named) > 50
    assert sorted(set(named) - known) == []


def test_every_threat_has_a_row_and_tests_by_its_number():
    numbered = {name[5:9] for names in defined().values() for name in names if re.match(r"test_tm\d\d_", name)}
    for threat in THREATS:
        assert f"**{threat}**" in section()
        assert threat.replace("-", "").lower() in numbered
    assert len(numbered) == len(THREATS)


def test_a_test_stands_in_the_row_of_its_threat():
    threat = ""
    for line in section().splitlines():
        if found := re.match(r"\| \*\*(TM-\d\d)\*\*", line):
            threat = found[1].replace("-", "").lower()
        if line.startswith("| down"):
            threat = "tm10"
        for number in re.findall(r"`test_(tm\d\d)_", line):
            assert number == threat, line


def test_every_file_with_tests_of_a_threat_is_on_the_page():
    listed = set(re.findall(r"`([a-z0-9_/]+\.py)`", section()))
    holding = {
        str(file.relative_to(TESTS))
        for file, names in defined().items()
        if any(re.match(r"test_tm\d\d_", name) for name in names)
    }
    assert listed == holding
