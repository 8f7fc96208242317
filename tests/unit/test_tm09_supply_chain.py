"""TM-09: what is installed is what was locked, its licences are known, and nothing else is imported (xroad.md §7.2)."""

import ast
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# What may be part of a program under the MIT licence. LGPL and MPL: used as they are, not copied into ours.
PERMITTED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "LGPL-2.1-or-later",
    "LGPL-3.0-only",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "PSF-2.0",
    "Public Domain",
}


def load_sbom():
    spec = importlib.util.spec_from_file_location("ops_sbom", ROOT / "ops" / "sbom.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["ops_sbom"] = module
    spec.loader.exec_module(module)
    return module


SBOM = load_sbom()
PACKAGES = {canonicalize_name(each.name): each for each in SBOM.read_lock(LOCK)}


def is_for_this_platform(package) -> bool:
    return not package.marker or Marker(package.marker).evaluate()


def test_tm09_every_package_is_pinned_to_one_version_with_its_hashes():
    assert len(PACKAGES) > 100
    for package in PACKAGES.values():
        assert Version(package.version)
        assert package.sha256 and len(set(package.sha256)) == len(package.sha256), package.name


def test_tm09_the_lock_file_names_no_place_to_get_packages_from():
    assert not re.search(r"https?:|--(extra-)?index-url|--find-links|--trusted-host|git\+|file:|@", LOCK)


@pytest.mark.parametrize(
    "line",
    ["requests>=2", "requests==2.34.2 --hash=md5:0", "-e .", "--index-url x", "    --hash=sha1:00", "x @ https://x"],
)
def test_tm09_a_lock_file_with_anything_else_in_it_is_refused(line):
    with pytest.raises(ValueError, match="line "):
        SBOM.read_lock(f"{LOCK}{line}\n")


def test_tm09_installing_demands_the_hashes():
    script = (ROOT / "ops" / "setup.sh").read_text("utf-8")
    assert "--require-hashes -r requirements.lock" in script
    others = [line for line in script.splitlines() if "pip install" in line and "--require-hashes" not in line]
    assert all("--no-deps" in line or "--no-build-isolation" in line for line in others), others


def closure(requirements: list[str]) -> set[str]:
    """The names of all that these need on this platform, by what the installed packages say."""
    found: set[str] = set()
    waiting = [(Requirement(each), "") for each in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (key := f"{name}[{wanted}]") not in found:
                found.add(key)
                waiting += [(Requirement(each), wanted) for each in importlib.metadata.requires(name) or ()]
    return {each.partition("[")[0] for each in found}


def test_tm09_everything_that_is_needed_is_in_the_lock_file_in_a_version_that_satisfies():
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    assert closure(wanted) - PACKAGES.keys() == set()
    for each in map(Requirement, wanted):
        if each.marker is None or each.marker.evaluate():
            assert each.specifier.contains(PACKAGES[canonicalize_name(each.name)].version), each


def test_tm09_what_is_installed_is_what_is_locked():
    for name, package in PACKAGES.items():
        if is_for_this_platform(package):
            assert importlib.metadata.version(name) == package.version, name


def test_tm09_nothing_is_in_the_lock_file_that_nobody_needs():
    needed = closure([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]])
    here = {name for name, package in PACKAGES.items() if is_for_this_platform(package)}
    assert here - needed == set()


def imported_by(folder: Path) -> dict[str, str]:
    """Topmost module to a file that imports it; `importlib.import_module` with a written name counts."""
    found: dict[str, str] = {}
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                found.setdefault(name.partition(".")[0], str(file.relative_to(ROOT)))
    return found


def test_tm09_the_program_imports_nothing_but_its_own_dependencies():
    """Also none of the tools that only tests need."""
    names = importlib.metadata.packages_distributions()
    allowed = {canonicalize_name(Requirement(each).name) for each in PROJECT["dependencies"]}
    allowed |= {"psycopg-binary", "digiid"}
    foreign = {
        module: file for module, file in imported_by(ROOT / "src").items() if module not in sys.stdlib_module_names
    }
    owners = {module: {canonicalize_name(each) for each in names.get(module, [])} for module in foreign}
    assert {module: file for module, file in foreign.items() if not owners[module] & allowed} == {}


def test_tm09_tests_and_tools_import_nothing_from_outside_the_lock_file():
    names = importlib.metadata.packages_distributions()
    ours = {"digiid", "tests", "bench", "ops"}
    for folder in ("tests", "bench", "ops"):
        for module, file in imported_by(ROOT / folder).items():
            if module in sys.stdlib_module_names or module in ours or (ROOT / file).with_name(f"{module}.py").exists():
                continue
            owners = {canonicalize_name(each) for each in names.get(module, [])}
            assert owners & PACKAGES.keys(), f"{file} imports {module} of {owners or 'nobody'}"


def test_tm09_every_licence_is_known_and_permitted():
    for name, package in PACKAGES.items():
        if not is_for_this_platform(package):
            continue
        licence = SBOM.licence_of(name)
        assert licence, f"{name} does not say its licence"
        alternatives = [set(re.split(r" AND ", each.strip("() "))) for each in licence.split(" OR ")]
        assert any(parts <= PERMITTED for parts in alternatives), f"{name}: {licence}"


def test_tm09_every_licences_text_or_name_is_there_to_be_read():
    for name, package in PACKAGES.items():
        if is_for_this_platform(package):
            distribution = importlib.metadata.distribution(name)
            texts = [
                each for each in distribution.files or () if re.search(r"licen[cs]e|copying|notice", str(each), re.I)
            ]
            assert texts or SBOM.licence_of(name), name


def test_tm09_a_bill_of_materials_is_made_without_a_network(tmp_path):
    # Sockets fail in this process: whatever wanted one would.
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\ndef refuse(*a, **k): raise OSError('no network')\nsocket.socket = refuse\n"
    )
    command = [sys.executable, str(ROOT / "ops" / "sbom.py")]
    made = [
        subprocess.run(command, capture_output=True, check=True, env={"PYTHONPATH": str(tmp_path)}).stdout
        for _ in range(2)
    ]
    assert made[0] == made[1]
    bill = json.loads(made[0])
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    listed = {canonicalize_name(each["name"]): each for each in bill["components"]}
    assert listed.keys() == PACKAGES.keys()
    for name, each in listed.items():
        assert each["purl"] == f"pkg:pypi/{name}@{PACKAGES[name].version}"
        hashes = [entry["value"] for entry in each["properties"] if entry["name"] == "digiid:lock:sha256"]
        assert hashes == list(PACKAGES[name].sha256)
        assert "licenses" in each or not is_for_this_platform(PACKAGES[name]), name
