"""Cards for tests: a throw-away issuing CA, and chips personalised through the real commands."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from digiid.devices.card_host import EntropyHost
from digiid.formats.apdu import Transport
from digiid.formats.card import Chip, blank_chip, process
from digiid.platform import eid_card
from digiid.platform.eid_card import CardDocument, CardKey
from digiid.platform.entropy import SeededEntropy

PIN1, PIN2, PUK = "1234", "12345", "12345678"
AT = datetime(2026, 11, 1, tzinfo=UTC)
E_RESIDENT_POLICY, NCP_PLUS, QCP_N_QSCD = "1.3.6.1.4.1.51361.1.2.4", "0.4.0.2042.1.2", "0.4.0.194112.1.2"
DOCUMENT = CardDocument(
    surname="JÕEORG",
    given_names="JAAK-KRISTJAN",
    personal_code="38001085718",
    document_number="NS0000009",
    expires_on=date(2031, 10, 31),
    issued_on=date(2026, 11, 1),
)


class ChipInMemory:
    """A chip without a disk: the state machine alone."""

    def __init__(self, chip: Chip | None = None, seed: bytes = b"chip") -> None:
        self.chip = chip or blank_chip()
        self.host = EntropyHost(SeededEntropy(seed))
        self.log: list[tuple[bytes, bytes]] = []

    def transmit(self, command: bytes) -> bytes:
        self.chip, response = process(self.chip, command, self.host)
        self.log.append((command, response))
        return response


@dataclass(frozen=True)
class TestCa:
    """Signs what a chip asks for."""

    __test__ = False
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    ocsp_address: str | None = None

    def certify(self, kind: CardKey, public_key: ec.EllipticCurvePublicKey, document: CardDocument) -> bytes:
        signing = kind is CardKey.SIGNATURE
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "EE"),
                x509.NameAttribute(
                    NameOID.COMMON_NAME, f"{document.surname},{document.given_names},{document.personal_code}"
                ),
                x509.NameAttribute(NameOID.SURNAME, document.surname),
                x509.NameAttribute(NameOID.GIVEN_NAME, document.given_names),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, f"PNOEE-{document.personal_code}"),
            ]
        )
        usage = x509.KeyUsage(not signing, signing, False, False, not signing, False, False, False, False)
        builder = _builder(subject, self.certificate.subject, public_key).add_extension(usage, True)
        builder = builder.add_extension(x509.BasicConstraints(False, None), False)
        policies = (E_RESIDENT_POLICY, QCP_N_QSCD if signing else NCP_PLUS)
        information = [x509.PolicyInformation(x509.ObjectIdentifier(policy), None) for policy in policies]
        builder = builder.add_extension(x509.CertificatePolicies(information), False)
        if not signing:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION]), False
            )
        if self.ocsp_address is not None:
            place = x509.UniformResourceIdentifier(self.ocsp_address)
            access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), False)
        return builder.sign(self.key, hashes.SHA384()).public_bytes(Encoding.DER)


def new_ca() -> TestCa:
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TEST throw-away CA")])
    builder = _builder(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(True, 0), True)
    builder = builder.add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
    return TestCa(key, builder.sign(key, hashes.SHA384()))


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(AT - timedelta(days=1))
        .not_valid_after(AT + timedelta(days=1825))
    )


def personalise(card: Transport, ca: TestCa, *, document: CardDocument = DOCUMENT, close: bool = True) -> None:
    """What the bureau does, from the blank chip to the closed card."""
    eid_card.write_personal_data(card, document)
    for kind in CardKey:
        public_key = eid_card.generate_key(card, kind)
        eid_card.write_certificate(card, kind, ca.certify(kind, public_key, document))
    eid_card.write_pins(card, pin1=PIN1, pin2=PIN2, puk=PUK)
    if close:
        eid_card.close_personalisation(card)


def document_numbered(number: str) -> CardDocument:
    return replace(DOCUMENT, document_number=number)
