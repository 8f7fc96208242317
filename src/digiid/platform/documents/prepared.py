"""A signature that waits for its value, as it is kept between the two steps.

The caller keeps it, bound to one session, used once, at most 15 minutes.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.x509.parts import load_certificate
from digiid.formats.xades import FileDigest, PreparedXades
from digiid.formats.xades.algorithms import SIGNATURE_METHODS
from digiid.kernel.errors import Malformed

MAX_PREPARED_AGE = timedelta(minutes=15)
_MAGIC = b"digiid prepared signature 2\n"


@dataclass(frozen=True, slots=True)
class PreparedSignature:
    """A signature that waits for its value. `digest` is what the device signs, with the hash `hash_name`."""

    xades: PreparedXades
    certificate: x509.Certificate
    issuer: x509.Certificate
    prepared_at: datetime
    signature_name: str
    file_names: tuple[str, ...]
    files_digest: bytes  # over names, media types and digests of what will be signed
    container: bytes = field(repr=False)  # without this signature; empty when the caller keeps it elsewhere
    is_new: bool = True

    @property
    def digest(self) -> bytes:
        return self.xades.digest

    @property
    def hash_name(self) -> str:
        return self.xades.hash_name

    def without_container(self) -> "PreparedSignature":
        """The same for who keeps the container elsewhere and hands it in at completion."""
        return replace(self, container=b"")

    def to_bytes(self) -> bytes:
        """For keeping between the two steps, in a place that only this program can write to."""
        header = json.dumps(
            {
                "signature_id": self.xades.signature_id,
                "method": self.xades.method_uri,
                "digest": _b64(self.xades.digest),
                "before_value": self.xades.before_value,
                "after_value": self.xades.after_value,
                "certificate": _b64(self.certificate.public_bytes(Encoding.DER)),
                "issuer": _b64(self.issuer.public_bytes(Encoding.DER)),
                "prepared_at": self.prepared_at.isoformat(),
                "signature_name": self.signature_name,
                "file_names": list(self.file_names),
                "files_digest": _b64(self.files_digest),
                "is_new": self.is_new,
            }
        ).encode()
        return _MAGIC + len(header).to_bytes(4, "big") + header + self.container

    @classmethod
    def from_bytes(cls, data: bytes) -> "PreparedSignature":
        """Raises: Malformed `documents.prepared`."""
        start = len(_MAGIC) + 4
        size = int.from_bytes(data[len(_MAGIC) : start], "big")
        if not data.startswith(_MAGIC) or len(data) < start + size:
            raise Malformed("documents.prepared", "not a prepared signature")
        try:
            header = json.loads(data[start : start + size])
            certificate_der = base64.b64decode(header["certificate"], validate=True)
            xades = PreparedXades(
                signature_id=str(header["signature_id"]),
                method_uri=SIGNATURE_METHODS[header["method"]].uri,
                digest=base64.b64decode(header["digest"], validate=True),
                before_value=str(header["before_value"]),
                after_value=str(header["after_value"]),
                certificate_der=certificate_der,
            )
            return cls(
                xades=xades,
                certificate=load_certificate(certificate_der),
                issuer=load_certificate(base64.b64decode(header["issuer"], validate=True)),
                prepared_at=datetime.fromisoformat(header["prepared_at"]).astimezone(UTC),
                signature_name=str(header["signature_name"]),
                file_names=tuple(map(str, header["file_names"])),
                files_digest=base64.b64decode(header["files_digest"], validate=True),
                container=data[start + size :],
                is_new=bool(header["is_new"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
            raise Malformed("documents.prepared", "a prepared signature that cannot be read") from error


def digest_of_files(files: Sequence[FileDigest]) -> bytes:
    hashed = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        for part in (file.name.encode(), file.media_type.encode(), file.digest):
            hashed.update(len(part).to_bytes(4, "big") + part)
    return hashed.digest()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
