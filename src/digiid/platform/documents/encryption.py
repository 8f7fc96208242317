"""Encrypting files into a CDOC2 container and decrypting them, in constant memory whatever their size.

Decrypting goes over the container twice: the first time only its tag is checked, so that nothing is unpacked that was
not authenticated, the second time the files are written into a private folder and moved to where they were asked for
when all of them are there. The plaintext that an interrupted process leaves behind is in a folder `.digiid-…` of mode
0700 beside the target.
"""

import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from digiid.formats import cdoc2
from digiid.formats.asic import DataFile
from digiid.formats.cdoc2 import (
    DEFAULT_LIMITS,
    ArchiveLimits,
    EcCapsule,
    KeyServerCapsule,
    KeySharesCapsule,
    PasswordCapsule,
    PublicKey,
    Recipient,
    RsaCapsule,
    SourceFile,
    SymmetricCapsule,
    UnknownCapsule,
    UnverifiedEnvelope,
    VerifiedKeys,
)
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.documents.files import guess_media_type, move_aside, write_folder
from digiid.platform.documents.recipients import NewRecipient, check_recipients, seal
from digiid.platform.entropy import Entropy

_MAX_PASSWORDS_TRIED: Final = 5
_CHUNK_BYTES: Final = 256 * 1024

ProgressReport = Callable[[int, int], None]
"""Called with the bytes done and those to do."""


@dataclass(frozen=True, slots=True)
class AgreementKey:
    """An EC private key, wherever it lies. `agree` gives the X coordinate of ECDH with a sender's key."""

    public_key: ec.EllipticCurvePublicKey
    agree: Callable[[ec.EllipticCurvePublicKey], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TransportKey:
    """An RSA private key, wherever it lies. `decrypt` undoes OAEP with SHA-256 and raises ValueError."""

    public_key: rsa.RSAPublicKey
    decrypt: Callable[[bytes], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PasswordKey:
    """A password; with a label only recipients of that label are tried."""

    password: str = field(repr=False)
    label: str | None = None


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key that both sides have; with a label only recipients of that label are tried."""

    secret: bytes = field(repr=False)
    label: str | None = None


DecryptionKey = AgreementKey | TransportKey | PasswordKey | SecretKey


@dataclass(frozen=True, slots=True)
class RecipientInfo:
    """What a container says of one recipient without a key, so what anybody may have written.

    `kind` is ec, rsa, password, secret, key_server, key_shares or unknown; `problem` says why it cannot be opened here.
    """

    kind: str
    name: str
    label: str
    problem: str = ""


# --- encrypting ---


def encrypt_files(
    files: Sequence[Path],
    output: Path,
    *,
    recipients: Sequence[NewRecipient],
    entropy: Entropy,
    progress: ProgressReport = lambda done, total: None,
    limits: ArchiveLimits = DEFAULT_LIMITS,
) -> int:
    """Encrypt files into a new container, whole or not at all. Returns its size in bytes.

    Raises:
        Refused: `encryption.recipient.none`, `encryption.recipient.twice`, `documents.output_exists`,
            `cdoc2.file_changed`.
        Malformed: `documents.too_large`, `documents.count`, `cdoc2.name.…`.
        NotFound: `documents.file`, `documents.output`. Unavailable: `documents.output`.
    """
    # 1 What can be refused before anything is written.
    sizes = _sizes(files, limits)
    check_recipients(recipients)
    if os.path.lexists(output):
        raise Refused("documents.output_exists", f"{output} is there already.")
    # 2 Fresh keys; the file master key for each recipient.
    fmk = cdoc2.derive_file_master_key(entropy.token_bytes(cdoc2.MASTER_SECRET_BYTES))
    header = cdoc2.build_header(tuple(seal(fmk, recipient, entropy) for recipient in recipients))
    keys = cdoc2.seal_header(fmk, header)
    # 3 The payload. What our own reader would take for a bomb is stored uncompressed.
    total = sum(sizes)
    with _new_file(output) as (out, place):
        for compresses in (True, False):
            nonce = entropy.token_bytes(cdoc2.NONCE_BYTES)
            prefix = cdoc2.build_prefix(header, keys.header_hmac, nonce)
            out.seek(0)
            out.truncate()
            out.write(prefix)
            chunks = cdoc2.pack_files(_sources(files, sizes, progress), compresses=compresses)
            aad = cdoc2.build_aad(header, keys.header_hmac)
            for chunk in cdoc2.encrypt_payload(chunks, keys.cek, nonce, aad=aad):
                out.write(chunk)
            written = out.tell()
            if not cdoc2.is_bomb(total, written - len(prefix), limits):
                break
        place()
    return written


def encrypt_contents(
    files: Sequence[DataFile], *, recipients: Sequence[NewRecipient], entropy: Entropy, limits: ArchiveLimits
) -> bytes:
    """A container of files that are in memory. What is written meanwhile lies in a private folder that is removed.

    Raises: what `encrypt_files` raises.
    """
    with tempfile.TemporaryDirectory(prefix="digiid-") as place:
        folder = Path(place)
        paths = []
        for file in files:
            cdoc2.check_name(file.name)
            if os.path.lexists(folder / file.name):
                raise Malformed("cdoc2.name.duplicate", f"two files are called {file.name}")
            (folder / file.name).write_bytes(file.content)
            paths.append(folder / file.name)
        output = folder / ".container"  # no file may be called so
        encrypt_files(paths, output, recipients=recipients, entropy=entropy, limits=limits)
        return output.read_bytes()


def decrypt_contents(container: bytes, *, key: DecryptionKey, limits: ArchiveLimits) -> list[DataFile]:
    """The files of a container that is in memory; `encrypt_contents` says where they lie meanwhile.

    Raises: what `decrypt_files` raises.
    """
    with tempfile.TemporaryDirectory(prefix="digiid-") as place:
        source, folder = Path(place) / "container", Path(place) / "files"
        source.write_bytes(container)
        folder.mkdir()
        paths = decrypt_files(source, folder, key=key, limits=limits)
        return [DataFile(path.name, guess_media_type(path.name), path.read_bytes()) for path in paths]


def _sizes(files: Sequence[Path], limits: ArchiveLimits) -> Sequence[int]:
    if not 1 <= len(files) <= limits.max_files:
        raise Malformed("documents.count", f"1 to {limits.max_files} files go into a container")
    sizes = []
    names: set[str] = set()
    for file in files:
        try:
            found = file.stat()
        except OSError as error:
            raise NotFound("documents.file", f"{file}: {error.strerror}") from error
        if not stat.S_ISREG(found.st_mode):
            raise Malformed("documents.file", f"{file} is not a file")
        cdoc2.check_name(file.name)
        if cdoc2.fold_name(file.name) in names:
            raise Malformed("cdoc2.name.duplicate", f"two files are called {file.name}")
        names.add(cdoc2.fold_name(file.name))
        sizes.append(found.st_size)
    if sum(sizes) > limits.max_bytes:
        raise Malformed("documents.too_large", f"more than {limits.max_bytes} bytes")
    return sizes


def _sources(files: Sequence[Path], sizes: Sequence[int], progress: ProgressReport) -> Iterator[SourceFile]:
    total, done = sum(sizes), 0
    for file, size in zip(files, sizes, strict=True):

        def chunks(file: Path = file, before: int = done) -> Iterator[bytes]:
            for chunk in _read_chunks(file):
                yield chunk
                before += len(chunk)
                progress(min(before, total), total)

        yield SourceFile(file.name, size, chunks)
        done += size


def _read_chunks(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise NotFound("documents.file", f"{file}: {error.strerror}") from error


# --- decrypting ---


def list_recipients(container: Path) -> Sequence[RecipientInfo]:
    """Who may open a container, as it says itself: nothing of it is verified without a key.

    Raises: NotFound `documents.file`; Malformed `cdoc2.…`.
    """
    with _opened(container) as file:
        return [_describe(recipient) for recipient in cdoc2.parse_envelope(file).recipients]


def decrypt_files(
    container: Path,
    folder: Path,
    *,
    key: DecryptionKey,
    progress: ProgressReport = lambda done, total: None,
    limits: ArchiveLimits = DEFAULT_LIMITS,
) -> Sequence[Path]:
    """Decrypt a container into a folder: all of its files, mode 0600, or none. Nothing there is overwritten.

    Raises:
        Refused: `cdoc2.recipient.none`, `cdoc2.recipient.key_server`, `cdoc2.key.wrong`, `cdoc2.payload.changed`,
            `documents.output_exists`; what the key raises, `card.pin.wrong` for one.
        Malformed: `cdoc2.…`.
        NotFound: `documents.file`, `documents.output`. Unavailable: `documents.output`.
    """
    with _opened(container) as file:
        # 1 Who it is for, the key, and the header's HMAC.
        envelope = cdoc2.parse_envelope(file)
        keys = unlock(envelope, key)
        # 2 The tag over all of it: what follows was made by the sender and not changed since.
        payload_bytes = len(envelope.ciphertext)
        done = 0

        def count(more: int) -> None:
            nonlocal done
            done += more
            progress(done, 2 * payload_bytes)

        aad, span = envelope.aad, envelope.ciphertext
        cdoc2.verify_payload(file, keys.cek, envelope.nonce, aad=aad, span=span, progress=count)
        # 3 The files, where nobody else looks, and then all at once.
        chunks = cdoc2.decrypt_payload(file, keys.cek, envelope.nonce, aad=aad, span=span, progress=count)
        packed = cdoc2.unpack_files(chunks, payload_bytes=payload_bytes, limits=limits)
        return write_folder(folder, ((file.name, file.chunks) for file in packed))


def unlock(envelope: UnverifiedEnvelope, key: DecryptionKey) -> VerifiedKeys:
    """The payload's key, and proof by the header's HMAC that it is the right one.

    Raises: Refused `cdoc2.recipient.none`, `cdoc2.recipient.key_server`, `cdoc2.key.wrong`, `cdoc2.key.short`;
        Malformed `cdoc2.point`; what the key raises.
    """
    candidates = _candidates(envelope.recipients, key)
    if not candidates:
        raise _no_candidate(envelope.recipients, key)
    refusal: DigiidError | None = None
    for recipient in candidates[:_MAX_PASSWORDS_TRIED]:
        kek = _derive_kek(recipient, key)
        try:
            return cdoc2.verify_header(recipient, kek, header=envelope.header, header_hmac=envelope.header_hmac)
        except Refused as error:
            refusal = error
    assert refusal is not None
    raise refusal


def _candidates(recipients: Iterable[Recipient], key: DecryptionKey) -> Sequence[Recipient]:
    match key:
        case AgreementKey() | TransportKey():
            return [recipient for recipient in recipients if cdoc2.is_for_key(recipient.capsule, key.public_key)]
        case PasswordKey():
            return [found for found in recipients if isinstance(found.capsule, PasswordCapsule) and _named(found, key)]
        case SecretKey():
            return [found for found in recipients if isinstance(found.capsule, SymmetricCapsule) and _named(found, key)]


def _named(recipient: Recipient, key: PasswordKey | SecretKey) -> bool:
    if key.label is None or key.label == recipient.label:
        return True
    return (cdoc2.parse_label(recipient.label) or {}).get("label") == key.label


def _derive_kek(recipient: Recipient, key: DecryptionKey) -> bytes:
    match recipient.capsule, key:
        case EcCapsule() as capsule, AgreementKey():
            shared_x = key.agree(cdoc2.decode_sender_key(capsule))
            return cdoc2.derive_ec_kek(shared_x, capsule.recipient_key, capsule.sender_key)
        case RsaCapsule() as capsule, TransportKey():
            try:
                return key.decrypt(capsule.encrypted_kek)
            except ValueError as error:
                raise Refused("cdoc2.key.wrong", "the key does not undo RSA-OAEP") from error
        case PasswordCapsule() as capsule, PasswordKey():
            return cdoc2.derive_password_kek(capsule, recipient.label, key.password)
        case SymmetricCapsule() as capsule, SecretKey():
            return cdoc2.derive_secret_kek(capsule, recipient.label, key.secret)
        case _:
            raise AssertionError("candidates were chosen by the kind of key")


def _no_candidate(recipients: Sequence[Recipient], key: DecryptionKey) -> Refused:
    if isinstance(key, AgreementKey | TransportKey):
        if any(_waits_at_server(recipient, key.public_key) for recipient in recipients):
            text = "The sender's part of the key lies on a key server, which this program does not ask."
            return Refused("cdoc2.recipient.key_server", text)
        return Refused("cdoc2.recipient.none", "The container is not encrypted to this key.")
    kind = "password" if isinstance(key, PasswordKey) else "key"
    named = "" if key.label is None else f" called {key.label}"
    return Refused("cdoc2.recipient.none", f"The container is not encrypted to a {kind}{named}.")


def _waits_at_server(recipient: Recipient, key: PublicKey) -> bool:
    capsule = recipient.capsule
    return isinstance(capsule, KeyServerCapsule) and capsule.recipient_key == cdoc2.encode_public_key(key)


def _describe(recipient: Recipient) -> RecipientInfo:
    name = cdoc2.describe_label(recipient.label)
    match recipient.capsule:
        case EcCapsule():
            return RecipientInfo("ec", name, recipient.label)
        case RsaCapsule():
            return RecipientInfo("rsa", name, recipient.label)
        case PasswordCapsule():
            return RecipientInfo("password", name, recipient.label)
        case SymmetricCapsule():
            return RecipientInfo("secret", name, recipient.label)
        case KeyServerCapsule(keyserver_id=server):
            return RecipientInfo("key_server", name, recipient.label, f"needs the key server {server}")
        case KeySharesCapsule(server_urls=urls):
            return RecipientInfo("key_shares", name, recipient.label, f"needs {len(urls)} key share servers")
        case UnknownCapsule(reason):
            return RecipientInfo("unknown", name, recipient.label, f"unknown {reason}")


# --- files ---


def _opened(container: Path) -> BinaryIO:
    try:
        return container.open("rb")
    except OSError as error:
        raise NotFound("documents.file", f"{container}: {error.strerror}") from error


@contextmanager
def _new_file(output: Path) -> Iterator[tuple[BinaryIO, Callable[[], None]]]:
    """A file beside `output` that becomes it when the second value is called, and vanishes otherwise."""
    try:
        handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}-")
    except OSError as error:
        raise NotFound("documents.output", f"{output}: {error.strerror}") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w+b") as out:

            def place() -> None:
                out.flush()
                os.fsync(out.fileno())
                temporary.chmod(0o644)
                move_aside(temporary, output)

            yield out, place
    except OSError as error:
        raise Unavailable("documents.output", f"{output}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
