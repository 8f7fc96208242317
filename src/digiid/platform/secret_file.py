"""Shared secrets as files of mode 0600, made on first use."""

import os
from pathlib import Path

from digiid.kernel.errors import Broken, Malformed
from digiid.platform.entropy import Entropy


def read_or_make_secret(file: Path, entropy: Entropy, *, size_bytes: int = 32) -> bytes:
    """The secret in `file` (hexadecimal); made with mode 0600 when it is not there yet.

    Raises: Broken `secret.file` when the file is not what this function writes.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            out.write(entropy.token_bytes(size_bytes).hex() + "\n")
            out.flush()
            os.fsync(out.fileno())
    try:
        secret = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise Broken("secret.file", f"{file.name} cannot be read as hexadecimal") from error
    if len(secret) < size_bytes:
        raise Broken("secret.file", f"{file.name} is shorter than {size_bytes} bytes")
    return secret


def read_passphrase(file: Path) -> bytes:
    """What somebody wrote into `file`, without white space around it. Raises: Malformed `keys.unreadable`."""
    try:
        passphrase = file.read_bytes().strip()
    except OSError as error:
        raise Malformed("keys.unreadable", f"passphrase file {file}: {error.strerror}") from error
    if not passphrase:
        raise Malformed("keys.unreadable", f"passphrase file {file} is empty")
    return passphrase
