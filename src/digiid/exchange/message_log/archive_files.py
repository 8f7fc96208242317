"""Archives as files: written whole or not at all, encrypted with CDOC2; read back with a key.

What is encrypted never lies on the disk in the clear: it is put together and taken apart in memory.
"""

import base64
import binascii
import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from digiid.exchange.message_log.settings import MAX_ARCHIVE_BYTES_LIMIT, ArchiveSettings
from digiid.formats import cdoc2
from digiid.formats.cdoc2 import ArchiveLimits, SourceFile
from digiid.formats.cdoc2.envelope import MAGIC
from digiid.kernel.errors import Malformed, NotFound, Unavailable
from digiid.platform.certificate_files import read_certificate
from digiid.platform.documents.encryption import DecryptionKey, unlock
from digiid.platform.documents.recipients import (
    NewRecipient,
    check_recipients,
    recipient_of_certificate,
    recipient_of_secret,
    seal,
)
from digiid.platform.entropy import Entropy

ENCRYPTED_SUFFIX: Final = ".cdoc2"
_DRAFT_PREFIX: Final = ".mlog-draft-"
_LOCK: Final = ".mlog-lock"
_MAX_KEY_FILE_BYTES: Final = 64 * 1024
_LIMITS: Final = ArchiveLimits(max_files=1, max_bytes=MAX_ARCHIVE_BYTES_LIMIT)


def load_recipients(settings: ArchiveSettings, *, at: datetime) -> list[NewRecipient]:
    """To whom archives are encrypted; nobody when they are plain on purpose.

    Raises: NotFound, Malformed, Refused: a certificate or key that cannot be used; `encryption.…`, `x509.…`.
    """
    recipients: list[NewRecipient] = [
        recipient_of_certificate(read_certificate(path), at=at) for path in settings.recipient_certificates
    ]
    if settings.key_file is not None:
        recipients.append(recipient_of_secret(settings.key_label, read_key_file(settings.key_file)))
    if recipients:
        check_recipients(recipients)
    return recipients


def read_key_file(path: Path) -> bytes:
    """A key that both sides have, in base64. Raises: NotFound `documents.file`; Malformed `encryption.key.encoding`."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise NotFound("documents.file", f"{path}: {error.strerror}") from error
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error as error:
        raise Malformed("encryption.key.encoding", f"{path} is not base64") from error


def write_archive(
    folder: Path, name: str, content: bytes, *, recipients: Sequence[NewRecipient], entropy: Entropy
) -> Path:
    """Whole and on the disk under its name when this returns; a file of that name is replaced.

    Raises: Unavailable `exchange.message_log.archive_folder`.
    """
    path = folder / (name + ENCRYPTED_SUFFIX if recipients else name)
    try:
        # 1 all of it under another name
        handle, draft = tempfile.mkstemp(dir=folder, prefix=_DRAFT_PREFIX)
        try:
            with os.fdopen(handle, "wb") as file:
                if recipients:
                    for chunk in _encrypt(name, content, recipients, entropy):
                        file.write(chunk)
                else:
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # 2 in its place
            Path(draft).replace(path)
        finally:
            Path(draft).unlink(missing_ok=True)
        # 3 also after a power cut
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _folder_unusable(folder, error) from error
    return path


@contextmanager
def prepared_folder(folder: Path) -> Iterator[None]:
    """Make it, wait until no other process archives into it, and remove what an interrupted run has left.

    Raises: Unavailable `exchange.message_log.archive_folder`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _folder_unusable(folder, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for draft in folder.glob(f"{_DRAFT_PREFIX}*"):
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise _folder_unusable(folder, error) from error
        yield
    finally:
        os.close(lock)


def _folder_unusable(folder: Path, error: OSError) -> Unavailable:
    return Unavailable("exchange.message_log.archive_folder", f"{folder}: {error.strerror}")


def _encrypt(name: str, content: bytes, recipients: Sequence[NewRecipient], entropy: Entropy) -> Sequence[bytes]:
    fmk = cdoc2.derive_file_master_key(entropy.token_bytes(cdoc2.MASTER_SECRET_BYTES))
    header = cdoc2.build_header(tuple(seal(fmk, recipient, entropy) for recipient in recipients))
    keys = cdoc2.seal_header(fmk, header)
    nonce = entropy.token_bytes(cdoc2.NONCE_BYTES)
    packed = cdoc2.pack_files([SourceFile(name, len(content), lambda: [content])], compresses=False)
    aad = cdoc2.build_aad(header, keys.header_hmac)
    prefix = cdoc2.build_prefix(header, keys.header_hmac, nonce)
    return [prefix, *cdoc2.encrypt_payload(packed, keys.cek, nonce, aad=aad)]


def read_archive(path: Path, *, key: DecryptionKey | None) -> bytes:
    """A plain or an encrypted archive's bytes; nothing is given out that was not authenticated first.

    Raises:
        NotFound: `documents.file`.
        Malformed: `exchange.message_log.archive_size`, `exchange.message_log.key_needed`, `cdoc2.…`.
        Refused: `cdoc2.recipient.none`, `cdoc2.key.wrong`, `cdoc2.payload.changed`; what the key raises.
    """
    try:
        with path.open("rb") as file:
            is_encrypted = file.read(len(MAGIC)) == MAGIC
            if not is_encrypted:
                file.seek(0)
                content = file.read(MAX_ARCHIVE_BYTES_LIMIT + 1)
                if len(content) > MAX_ARCHIVE_BYTES_LIMIT:
                    raise Malformed("exchange.message_log.archive_size", f"larger than {MAX_ARCHIVE_BYTES_LIMIT} bytes")
                return content
            if key is None:
                raise Malformed(
                    "exchange.message_log.key_needed",
                    "the archive is encrypted: name a key with --key; `digiid decrypt ARCHIVE --list` says which one",
                )
            envelope = cdoc2.parse_envelope(file)
            keys = unlock(envelope, key)
            aad, span = envelope.aad, envelope.ciphertext
            cdoc2.verify_payload(file, keys.cek, envelope.nonce, aad=aad, span=span, progress=_ignore)
            chunks = cdoc2.decrypt_payload(file, keys.cek, envelope.nonce, aad=aad, span=span, progress=_ignore)
            files = cdoc2.unpack_files(chunks, payload_bytes=len(span), limits=_LIMITS)
            return b"".join(b"".join(each.chunks) for each in files)
    except OSError as error:
        raise NotFound("documents.file", f"{path}: {error.strerror}") from error


def _ignore(_done_bytes: int) -> None:
    pass
