"""Keys, certificates and signed messages for the tests of this folder and the referees."""

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from digiid.formats.exchange.hash_chain import HashChain
from digiid.formats.exchange.message_signature import build_message_signature, prepare_message_signature
from digiid.formats.xades import sign_digest
from digiid.formats.xades.algorithms import hash_bytes

NOW = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
KINDS = ("rsa2048", "p256", "p384")
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def signer(kind: str) -> tuple[Key, x509.Certificate]:
    key: Key
    if kind == "rsa2048":
        key = rsa.generate_private_key(65537, 2048)
    else:
        key = ec.generate_private_key(ec.SECP256R1() if kind == "p256" else ec.SECP384R1())
    issuer = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"), x509.NameAttribute(NameOID.COMMON_NAME, "Test & CA")]
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "4321")])
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), 18, NOW, NOW + timedelta(days=9))
    return key, builder.sign(key, hashes.SHA256())


def sign(
    parts: dict[str, bytes], *, kind: str = "p256", use_hash_chain: bool = False, at: datetime = NOW
) -> tuple[bytes, HashChain | None]:
    key, certificate = signer(kind)
    prepared = prepare_message_signature(
        {uri: hash_bytes("sha512", data) for uri, data in parts.items()},
        certificate=certificate,
        claimed_signing_at=at,
        use_hash_chain=use_hash_chain,
    )
    value = sign_digest(prepared.method, key, prepared.digest)
    return build_message_signature(prepared, value, ocsp_der=[b"not read here"]), prepared.hash_chain
