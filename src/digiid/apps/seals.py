"""An organisation's own seal in a state: its key and certificate in a PKCS#12 file, made at the first asking."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.x509.profile import Organization
from digiid.institutions.trust_services.app import issue_seal
from digiid.institutions.trust_services.ca.domain import SealOrder
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.platform.clock import Clock
from digiid.platform.db import Database
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
        order = SealOrder(
            order_id=f"seal:{seal_number}",
            seal_number=seal_number,
            organization=organization,
            # the same day however often it is asked for within a year
            expires_on=date(clock.now().year + _VALID_YEARS, 12, 31),
            request_der=request.sign(identity.key, hashes.SHA512()).public_bytes(Encoding.DER),
        )
        certificate = issue_seal(settings, order, open_database=open_database, clock=clock, entropy=entropy)
        sealed = FileIdentity(identity.key, certificate)
        write_pkcs12_file(file, sealed, password=password, name=seal_number)
    return signer_from_pkcs12(file, password_file)
