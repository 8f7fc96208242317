"""What the tests of rights, metadata and clocks stand on: parties, groups, throw-away certificates."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from digiid.kernel.identifiers import ClientId, Party

POPULATION = ClientId("EE", "GOV", "70000103", "population")
BANK = ClientId("EE", "COM", "10000201", "bank")
SHOP = ClientId("EE", "COM", "10000202", "shop")


@dataclass(frozen=True)
class GroupsOf:
    """The global groups of a configuration, and nothing else of it."""

    members: Mapping[str, AbstractSet[Party]]

    def is_in_group(self, client: Party, code: str) -> bool:
        return client in self.members.get(code, ())


def self_signed(name: str) -> tuple[bytes, bytes]:
    """A certificate that vouches for itself, as PEM and DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), certificate.public_bytes(Encoding.DER)
