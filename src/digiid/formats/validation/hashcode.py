"""Validation where the data files stay with their owner: signatures beside digests instead of files.

Two ways in: a single signature file with the digests that its caller made, and a hashcode container (digests in
META-INF/hashcodes-*.xml). Archive time-stamps cover the files' octets, so nothing can be said of them here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from digiid.formats.asic import Container
from digiid.formats.asic.hashcode import FileHash, read_file_hashes
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation.policy import POLV4, Policy, apply_policy
from digiid.formats.validation.report import Message, Report, Severity
from digiid.formats.validation.signature import validate_signature
from digiid.formats.xades import HashedFiles, Reference, parse_signatures

_FORM = "ASiC-E"


@dataclass(frozen=True, slots=True)
class HashcodeFile:
    """A digest of a data file, by a hash of `hashlib`'s name. One file may come with several of them."""

    name: str
    hash_name: str
    digest: bytes = field(repr=False)


class HashcodeFiles:
    """Data files of which only digests are known; None: not even those, and the caller compares what is signed."""

    kind = "DIGEST"
    is_odd = False

    def __init__(self, files: Sequence[HashcodeFile] | None, media_types: dict[str, str] | None = None) -> None:
        self._digests = None if files is None else {(file.name, file.hash_name): file.digest for file in files}
        self._media_types = media_types
        self.hashed: HashedFiles = {}

    @property
    def names(self) -> Sequence[str]:
        return list(dict.fromkeys(name for name, _ in self._digests or ()))

    def find_digest(self, reference: Reference) -> bytes | None:
        if self._digests is None:
            return reference.digest
        return self._digests.get((reference.name, reference.hash_name))

    def stream(self, _name: str) -> Iterator[bytes] | None:
        return None

    def media_type(self, name: str) -> str | None:
        return None if self._media_types is None else self._media_types.get(name)


def validate_hashcode(
    signature_xml: bytes,
    data_files: Sequence[HashcodeFile] | None,
    *,
    trust: VerifiedTrust,
    at: datetime,
    policy: Policy = POLV4,
    file_name: str = "",
) -> Report:
    """Judge every signature of one signature file at `at`, without the files that were signed. The file may be that
    of a container, or one `ds:Signature` by itself, as programs write detached signatures.

    With `data_files`, each of them has to be signed and nothing else may be. With None, the report's scopes say which
    digests were signed, and the caller has to compare them: until then nothing is known about any file.

    Raises: Malformed `xades.…`, `xml.…`: the signature file cannot be read.
    """
    unverified = parse_signatures(signature_xml, bare_allowed=True)
    files = HashcodeFiles(data_files)
    found = [validate_signature(one, files=files, file_name=file_name, trust=trust, at=at) for one in unverified]
    return Report(
        form=_FORM,
        policy_name=policy.name,
        policy_description=policy.description,
        validated_at=at,
        file_name=file_name,
        data_files=tuple(files.names),
        messages=(),
        signatures=tuple(apply_policy(signature, policy) for signature in found),
    )


def files_of(container: Container) -> tuple[HashcodeFiles, tuple[str, ...], Message]:
    """What stands in the place of a hashcode container's files, their names, and what a reader has to know.

    Raises: Malformed `asic.hashcode.…`.
    """
    found: tuple[FileHash, ...] = read_file_hashes(container).files
    digests = [HashcodeFile(file.name, "sha256", file.sha256) for file in found]
    digests += [HashcodeFile(file.name, "sha512", file.sha512) for file in found]
    files = HashcodeFiles(digests, {file.name: file.media_type for file in found})
    text = "The container holds digests in the place of files; whether they are those of your files is yours to compare"
    return files, tuple(file.name for file in found), Message(Severity.WARNING, "validation.hashcode", text)
