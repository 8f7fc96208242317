"""Certificates that people name as files."""

from pathlib import Path
from typing import Final

from cryptography import x509

from digiid.formats.x509.parts import certificate_der, load_certificate
from digiid.kernel.errors import Malformed, NotFound

MAX_FILE_BYTES: Final = 1024 * 1024


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The one certificate of a DER file, or all of a PEM file.

    Raises: NotFound `certificate_file.absent`; Malformed `x509.certificate`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotFound("certificate_file.absent", f"{path}: {error.strerror}") from error
    return parse_certificates(data, name=str(path))


def parse_certificates(data: bytes, *, name: str) -> list[x509.Certificate]:
    """The one certificate of DER bytes, or all of PEM bytes. Raises: Malformed `x509.certificate`."""
    try:
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
        if not data.lstrip().startswith(b"-----BEGIN"):
            return [load_certificate(data)]
        return [load_certificate(certificate_der(found)) for found in x509.load_pem_x509_certificates(data)]
    except (ValueError, Malformed) as error:
        raise Malformed("x509.certificate", f"{name} holds no certificate that can be read") from error


def read_certificate(path: Path) -> x509.Certificate:
    """The one certificate of a file. Raises: as `read_certificates`, also when there are several."""
    found = read_certificates(path)
    if len(found) != 1:
        raise Malformed("x509.certificate", f"{path} holds {len(found)} certificates where one is wanted")
    return found[0]
