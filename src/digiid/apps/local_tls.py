"""A local certification authority for `--tls`: https on loopback names, which the real Web eID application needs.

It is apart from the e-state's hierarchy and signs nothing but the sites' server certificate. Its
own certificate is what a person imports into the browser; its key is thrown away after the signing.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from digiid.apps.state import SITES, StateFolder, write_new
from digiid.platform.entropy import Entropy

_CA_DAYS = 825
_SERVER_DAYS = 397  # what browsers accept at most


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. `authority` is for the browser's trust store."""

    authority: Path
    certificate: Path
    key: Path


def local_tls(folder: StateFolder, *, at: datetime, entropy: Entropy) -> TlsFiles:
    """The server certificate for the state's sites, made when there is none or it ends within a month."""
    where = folder.path / "tls"
    files = TlsFiles(where / "authority.pem", where / "server.pem", folder.secrets / "tls-server.key")
    if files.certificate.exists() and files.key.exists():
        current = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        if current.not_valid_after_utc > at + timedelta(days=30):
            return files
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, at, entropy)
    server = _server(server_key, authority, authority_key, at, entropy)
    pem = serialization.Encoding.PEM
    write_new(files.authority, authority.public_bytes(pem), 0o644)
    write_new(
        files.key,
        server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        0o600,
    )
    write_new(files.certificate, server.public_bytes(pem), 0o644)
    return files


def _serial(entropy: Entropy) -> int:
    return int.from_bytes(b"\x01" + entropy.token_bytes(15), "big")


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _authority(key: ec.EllipticCurvePrivateKey, at: datetime, entropy: Entropy) -> x509.Certificate:
    name = _name("TEST digiid local TLS authority")
    usage = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(_serial(entropy))
        .not_valid_before(at - timedelta(hours=1))
        .not_valid_after(at + timedelta(days=_CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_only_loopback(), critical=True)
        .sign(key, hashes.SHA256())
    )


def _only_loopback() -> x509.NameConstraints:
    # Whoever imports this authority trusts it for names that never leave the machine, and for nothing else.
    loopback = x509.IPAddress(ipaddress.ip_network("127.0.0.0/8"))
    return x509.NameConstraints(permitted_subtrees=[x509.DNSName("localhost"), loopback], excluded_subtrees=None)


def _server(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    at: datetime,
    entropy: Entropy,
) -> x509.Certificate:
    names: list[x509.GeneralName] = [x509.DNSName(f"{site}.localhost") for site in SITES]
    names += [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    return (
        x509.CertificateBuilder()
        .subject_name(_name("digiid sites"))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(_serial(entropy))
        .not_valid_before(at - timedelta(hours=1))
        .not_valid_after(at + timedelta(days=_SERVER_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
