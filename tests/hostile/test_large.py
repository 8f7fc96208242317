"""A container of 500 MB is judged in little memory: only `make nightly` writes half a gigabyte."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.hostile.case import GOOD
from tests.support.containers import SIGNATURES, unpack

MEGABYTES, LIMIT_MEGABYTES = 500, 150
ROOT = Path(__file__).resolve().parents[2]

# The most that the process ever held, before and after, and the verdict.
_JUDGE = """
import json, resource, sys
from pathlib import Path
from digiid.formats.validation import validate_container
from tests.support.pki import AT, shared_pki
trust = shared_pki().trust()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with Path(sys.argv[1]).open("rb") as file:
    report = validate_container(file, trust=trust, at=AT)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([(after - before) / 1024, [str(signature.sub_indication) for signature in report.signatures]]))
"""


@pytest.mark.nightly
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_half_a_gigabyte(tmp_path: Path, compression: int) -> None:
    files = unpack(GOOD)
    path = tmp_path / "large.asice"
    block = bytes(range(256)) * 64 + files[SIGNATURES] * 4  # shrinks, and by less than a bomb
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        archive.writestr("mimetype", files["mimetype"], zipfile.ZIP_STORED)
        with archive.open(zipfile.ZipInfo("contract.txt"), "w", force_zip64=False) as entry:
            for _ in range(MEGABYTES * 1024**2 // len(block)):
                entry.write(block)
        for name in files:
            if name not in ("mimetype", "contract.txt"):
                archive.writestr(name, files[name])
    command = [sys.executable, "-c", _JUDGE, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    grown, verdicts = json.loads(done.stdout)
    assert verdicts == ["HASH_FAILURE"]
    assert grown <= LIMIT_MEGABYTES
