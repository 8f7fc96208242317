"""The bill of materials of requirements.lock as CycloneDX 1.6 JSON, on standard output; nothing is asked of a network.

Names, versions and hashes come from the lock file, licences from the packages installed beside this program. A package
of the lock file that is for another platform is listed without a licence.
"""

import importlib.metadata
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.!+_-]+)(?: ; (?P<marker>[^\\]+?))?(?: \\)?")
_HASH = re.compile(r"    --hash=sha256:(?P<hex>[0-9a-f]{64})(?: \\)?")

# What packages say in words of their own, in the words of SPDX.
SPDX = {
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD": "BSD-2-Clause",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "PSFL": "PSF-2.0",
}
# Packages that say it in words that no table reads; looked up by hand in what they ship.
BY_HAND = {"pypdfium2": "BSD-3-Clause AND Apache-2.0", "rich-click": "MIT"}
_FIRST_WORDS = {"Apache License Version 2.0": "Apache-2.0", "MIT License": "MIT"}


@dataclass(frozen=True)
class Pinned:
    """One package of the lock file. `marker` says on which platforms it is installed; empty: on all."""

    name: str
    version: str
    marker: str
    sha256: tuple[str, ...]


def read_lock(text: str) -> list[Pinned]:
    """Raises: ValueError, a line is neither a pinned package nor a hash of one."""
    packages: list[Pinned] = []
    for number, line in enumerate(text.splitlines(), 1):
        if pin := _PIN.fullmatch(line):
            packages.append(Pinned(pin["name"], pin["version"], pin["marker"] or "", ()))
        elif (found := _HASH.fullmatch(line)) and packages:
            last = packages[-1]
            packages[-1] = Pinned(last.name, last.version, last.marker, (*last.sha256, found["hex"]))
        else:
            raise ValueError(f"line {number} of the lock file is neither a package nor a hash: {line[:80]}")
    return packages


def licence_of(name: str) -> str | None:
    """What the installed package declares, as an SPDX expression; None when it is not installed or says nothing.

    What was looked up by hand counts first, then an expression, classifiers, then the free field, then the first words
    of its licence file.
    """
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    metadata = distribution.metadata
    if name in BY_HAND:
        return BY_HAND[name]
    if expression := metadata.get("License-Expression"):
        return str(expression)
    said = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier") or [] if each.startswith("License ")]
    free = (metadata.get("License") or "").splitlines()[:1]
    found = [SPDX.get(each, each) for each in (said or free)]
    if found and found[0]:
        return " OR ".join(dict.fromkeys(found))
    for file in distribution.files or ():
        if file.name.upper().startswith(("LICENSE", "LICENCE")):
            words = " ".join(Path(str(distribution.locate_file(file))).read_text("utf-8", "replace").split())
            return next((spdx for begin, spdx in _FIRST_WORDS.items() if words.startswith(begin)), None)
    return None


def component(package: Pinned) -> dict[str, Any]:
    licence = licence_of(package.name)
    purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', package.name).lower()}@{package.version}"
    told: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
        "properties": [{"name": "digiid:lock:sha256", "value": each} for each in package.sha256],
    }
    if licence is not None:
        told["licenses"] = [{"expression": licence}]
    if package.marker:
        told["properties"].append({"name": "digiid:lock:marker", "value": package.marker})
    return told


def bill_of_materials() -> dict[str, Any]:
    """The same lock file and the same packages give the same bill, byte for byte."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "digiid",
                "name": "digiid",
                "version": importlib.metadata.version("digiid"),
                "licenses": [{"expression": "MIT"}],
            }
        },
        "components": [component(each) for each in read_lock(LOCK.read_text(encoding="utf-8"))],
    }


if __name__ == "__main__":
    json.dump(bill_of_materials(), sys.stdout, indent=1)
    sys.stdout.write("\n")
