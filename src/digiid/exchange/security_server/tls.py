"""TLS contexts of a security server: to other servers, to its information systems, and its own internal certificate.

Between security servers names mean nothing: the peer is who holds a registered authentication key. On the serving side
OpenSSL builds the path to the configuration's authorities; on the asking side it cannot, because an authentication
certificate may be for clients only (reference §1.2), so there the whole judgement is made after the handshake and
before the first byte. Either way the global configuration decides, not OpenSSL.
"""

import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from digiid.formats.x509.profile import serial_number_from
from digiid.kernel.errors import Malformed
from digiid.platform.entropy import Entropy
from digiid.platform.keys import generate_ec_key, load_or_create_passphrase, write_private_key
from digiid.platform.secret_file import read_passphrase

# What X-Road 7 speaks between security servers, and all that it speaks (reference §1.2).
CBC_SUITES: Final = "ECDHE-RSA-AES256-SHA384:DHE-RSA-AES256-SHA256:ECDHE-ECDSA-AES256-SHA384"
_FFDHE3072: Final = Path(__file__).with_name("ffdhe3072.pem")  # the group of RFC 7919 §A.2
_GCM_SUITES: Final = "ECDHE+AESGCM:DHE+AESGCM"
_PARTIAL_CHAIN: Final = ssl.VERIFY_X509_PARTIAL_CHAIN
_INTERNAL_VALIDITY: Final = timedelta(days=20 * 365)


def server_context(
    *, certificate: Path, key: Path, passphrase_file: Path | None, roots_der: Iterable[bytes], accepts_tls12: bool
) -> ssl.SSLContext:
    """For the message port: a peer without a certificate below these roots does not get through the handshake."""
    context = _between_servers(ssl.PROTOCOL_TLS_SERVER, certificate, key, passphrase_file, accepts_tls12=accepts_tls12)
    _trust(context, list(roots_der))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    *, certificate: Path, key: Path, passphrase_file: Path | None, accepts_tls12: bool
) -> ssl.SSLContext:
    """For calling a peer's message port. Its certificate is judged after the handshake: see the module's text."""
    return _between_servers(ssl.PROTOCOL_TLS_CLIENT, certificate, key, passphrase_file, accepts_tls12=accepts_tls12)


def _between_servers(
    protocol: int, certificate: Path, key: Path, passphrase_file: Path | None, *, accepts_tls12: bool
) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if accepts_tls12 else ssl.TLSVersion.TLSv1_3
    if accepts_tls12:
        context.set_ciphers(CBC_SUITES)  # of TLS 1.2 only these; the suites of 1.3 are apart
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            context.load_dh_params(str(_FFDHE3072))  # without a group there is no DHE
    _set_common(context)
    _load(context, certificate, key, passphrase_file)
    return context


def internal_server_context(identity: "InternalIdentity", clients_der: Iterable[bytes]) -> ssl.SSLContext:
    """For information systems: a certificate may be shown, and is then one of those that are registered here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_GCM_SUITES)
    _set_common(context)
    _load(context, identity.certificate, identity.key, identity.passphrase_file)
    _trust(context, list(clients_der))
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def internal_client_context(identity: "InternalIdentity", server_der: bytes) -> ssl.SSLContext:
    """For calling an information system that has exactly this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_GCM_SUITES)
    _set_common(context)
    _load(context, identity.certificate, identity.key, identity.passphrase_file)
    _trust(context, [server_der])
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _set_common(context: ssl.SSLContext) -> None:
    # Every connection is judged anew: no session is taken up again.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0


def _trust(context: ssl.SSLContext, certificates_der: list[bytes]) -> None:
    context.verify_flags |= _PARTIAL_CHAIN  # a registered certificate is trusted by itself
    if certificates_der:
        context.load_verify_locations(cadata=b"".join(certificates_der))


def _load(context: ssl.SSLContext, certificate: Path, key: Path, passphrase_file: Path | None) -> None:
    passphrase = read_passphrase(passphrase_file) if passphrase_file else b""
    try:
        context.load_cert_chain(certificate, key, lambda: passphrase)
    except (OSError, ValueError) as error:
        raise Malformed("tls.key", f"{key.name} and {certificate.name}: {type(error).__name__}") from None


# ------------------------------------------------------------------ the internal certificate


class InternalIdentity:
    """The self-made certificate by which a security server and its information systems know each other."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "internal-tls.pem"
        self.key = folder / "internal-tls.key"
        self.passphrase_file = folder / "internal-tls.passphrase"

    @property
    def certificate_der(self) -> bytes:
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_bytes(Encoding.DER)


def load_or_make_internal_identity(
    folder: Path, *, name: str, names: Iterable[str], entropy: Entropy, now: datetime
) -> InternalIdentity:
    """What lies in the folder; made on the first start. `names` are host names and addresses of the server."""
    identity = InternalIdentity(folder)
    if identity.certificate.exists():
        return identity
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = generate_ec_key("secp256r1")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial_number_from(entropy.token_bytes(16)))
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _INTERNAL_VALIDITY)
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), False)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(usage, True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(key, hashes.SHA256())
    )
    write_private_key(identity.key, key, passphrase=load_or_create_passphrase(identity.passphrase_file, entropy))
    part = identity.certificate.with_name(identity.certificate.name + ".part")
    part.write_bytes(certificate.public_bytes(Encoding.PEM))
    part.replace(identity.certificate)
    return identity


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
