"""An organisation's own seal in a state: its key and certificate in a PKCS#12 file, made at the first asking."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.x509.profile import Organization
from digiid.formats.x509.request import MAX_REQUEST_BYTES
from digiid.institutions.trust_services.app import issue_seal
from digiid.institutions.trust_services.ca.domain import SealOrder
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.kernel.errors import Malformed
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.documents.files import make_folder, read_file, write_whole
from digiid.platform.documents.signers import signer_from_pkcs12
from digiid.platform.documents.signing import KeySigner
from digiid.platform.entropy import Entropy
from digiid.platform.keys import (
    FileIdentity,
    generate_ec_key,
    load_or_create_passphrase,
    load_pkcs12_file,
    write_pkcs12_file,
)

_VALID_YEARS: Final = 3


def load_or_make_seal(
    folder: Path,
    settings: TrustServicesSettings,
    *,
    seal_number: str,
    organization: Organization,
    open_database: Callable[[str], Database],
    clock: Clock,
    entropy: Entropy,
    curve_name: str = "secp256r1",
) -> KeySigner:
    """The seal in `folder/<seal_number>.p12`, its password in a file of mode 0600 beside it.

    What was interrupted goes on: the key is written before it is certified, and the same order gives the same
    certificate.

    Raises: Malformed `keys.unreadable`; what the CA refuses (`trust.…`).
    """
    file, password_file = folder / f"{seal_number}.p12", folder / f"{seal_number}.password"
    password = load_or_create_passphrase(password_file, entropy)
    # 1 the key, kept before anybody hears of it
    if not file.exists():
        identity = FileIdentity(generate_ec_key(curve_name), None)
        write_pkcs12_file(file, identity, password=password, name=seal_number)
    identity = load_pkcs12_file(file, password_file)
    # 2 its certificate
    if identity.certificate is None:
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        request_der = request.sign(identity.key, hashes.SHA512()).public_bytes(Encoding.DER)
        order = _order(seal_number, organization, request_der, clock=clock)
        certificate = issue_seal(settings, order, open_database=open_database, clock=clock, entropy=entropy)
        sealed = FileIdentity(identity.key, certificate)
        write_pkcs12_file(file, sealed, password=password, name=seal_number)
    return signer_from_pkcs12(file, password_file)


def certify_seal(
    request_file: Path,
    file: Path,
    settings: TrustServicesSettings,
    *,
    seal_number: str,
    organization: Organization,
    on_device: bool,
    open_database: Callable[[str], Database],
    clock: Clock,
    entropy: Entropy,
) -> x509.Certificate:
    """The certificate, written to `file` as PEM, of a key that stays where it is: in a token for one. `on_device`: the
    caller saw it made in a device that it cannot leave.

    Raises: NotFound `documents.file`; Malformed `der.…`, `x509.request`; what the CA refuses (`trust.…`).
    """
    request_der = read_file(request_file, max_bytes=MAX_REQUEST_BYTES)
    if request_der.lstrip().startswith(b"-----BEGIN"):
        try:
            request_der = x509.load_pem_x509_csr(request_der).public_bytes(Encoding.DER)
        except ValueError as error:
            raise Malformed("x509.request", f"{request_file} is no PKCS#10 request") from error
    order = _order(seal_number, organization, request_der, clock=clock, on_device=on_device)
    certificate = issue_seal(settings, order, open_database=open_database, clock=clock, entropy=entropy)
    make_folder(file.parent)
    write_whole(file, certificate.public_bytes(Encoding.PEM))
    return certificate


def _order(
    seal_number: str, organization: Organization, request_der: bytes, *, clock: Clock, on_device: bool = False
) -> SealOrder:
    return SealOrder(
        order_id=f"seal:{seal_number}",
        seal_number=seal_number,
        organization=organization,
        # the same day however often it is asked for within a year
        expires_on=date(clock.now().year + _VALID_YEARS, 12, 31),
        request_der=request_der,
        on_device=on_device,
    )
