"""A container of a gigabyte is written and opened in the memory of a small one."""

import subprocess
import sys
from pathlib import Path

import pytest

from digiid.platform.entropy import SystemEntropy

_PROGRAM = """
import os, resource, sys
from pathlib import Path
from digiid.platform.documents.encryption import SecretKey, decrypt_files, encrypt_files
from digiid.platform.documents.recipients import recipient_of_secret
from digiid.platform.entropy import SystemEntropy
folder, secret = Path(sys.argv[1]), bytes(32)
def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak_mb()
to = [recipient_of_secret("k", secret)]
encrypt_files([folder / "large"], folder / "x.cdoc2", recipients=to, entropy=SystemEntropy())
[written] = decrypt_files(folder / "x.cdoc2", folder / "out", key=SecretKey(secret))
print(peak_mb() - before, written.stat().st_size)
"""


@pytest.mark.nightly
def test_a_gigabyte_takes_no_more_memory_than_a_page(tmp_path: Path) -> None:
    block = SystemEntropy().token_bytes(1 << 20)  # its repeats lie outside the window of deflate
    with (tmp_path / "large").open("wb") as file:
        for _ in range(1024):
            file.write(block)
    done = subprocess.run([sys.executable, "-c", _PROGRAM, str(tmp_path)], capture_output=True, check=True)
    grown_mb, size = map(int, done.stdout.split())
    print(f"a gigabyte encrypted and decrypted in {grown_mb} MB above idle")
    assert size == 1 << 30
    assert grown_mb < 30
