"""A CA over any database, and orders as the bureau would send them. For unit, fault and interop tests."""

import base64
from datetime import date
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.contracts.trust_services import IssueCertificates
from digiid.formats.x509.profile import CertificateKind, DocumentPolicy, Holder
from digiid.institutions.trust_services.ca.domain import Order
from digiid.institutions.trust_services.ca.use_cases import CaCertificate, Deps
from digiid.institutions.trust_services.status import StatusBoard
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy
from tests.unit.formats.x509.hierarchy import SmallHierarchy

CA_PACKAGE = "digiid.institutions.trust_services.ca"
TSA_PACKAGE = "digiid.institutions.trust_services.tsa"
LIST_PACKAGE = "digiid.institutions.trust_services.trusted_list"


@cache
def shared_hierarchy() -> SmallHierarchy:
    return SmallHierarchy()


def ca_over(db: Database, clock: Clock, entropy: Entropy) -> Deps:
    pki = shared_hierarchy()
    board = StatusBoard(db)
    board.refresh()
    return Deps(
        db=db,
        clock=clock,
        entropy=entropy,
        profile=pki.profile,
        cas={
            CertificateKind.ROOT_CA: CaCertificate(pki.root.certificate, pki.root.key),
            CertificateKind.ISSUING_CA: CaCertificate(pki.issuing.certificate, pki.issuing.key),
            CertificateKind.TSA_CA: CaCertificate(pki.tsa_ca.certificate, None),
        },
        board=board,
    )


def chip_request(key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """What a chip sends: a request signed by the key that was made inside it."""
    key = key or ec.generate_private_key(ec.SECP384R1())
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA384())
    return built.public_bytes(Encoding.DER)


def order_for(number: int = 1, **changes: Any) -> Order:
    fields: dict[str, Any] = {
        "order_id": f"order-{number}",
        "document_number": f"NE{number:07d}",
        "policy": DocumentPolicy.E_RESIDENT,
        "holder": Holder("38001085718", "JÕEORG", "JAAK-KRISTJAN"),
        "expires_on": date(2031, 11, 22),
        "authentication_request_der": chip_request(),
        "signature_request_der": chip_request(),
    }
    return Order(**(fields | changes))


def contract_request(order: Order) -> IssueCertificates:
    return IssueCertificates(
        order_id=order.order_id,
        document_number=order.document_number,
        policy="e_resident",
        personal_code=order.holder.personal_code,
        given_names=order.holder.given_names,
        surname=order.holder.surname,
        expires_on=order.expires_on,
        authentication_request_b64=base64.b64encode(order.authentication_request_der).decode(),
        signature_request_b64=base64.b64encode(order.signature_request_der).decode(),
    )
