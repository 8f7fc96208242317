"""pkilint judges the seals of organisations by EN 319 412-3."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats.x509.parts import certificate_der
from digiid.formats.x509.profile import CertificateKind, Organization
from tests.interop.test_trust_services import ALLOWED_IN_PUBLIC, findings
from tests.unit.formats.x509.hierarchy import HONEST_NAMES, SmallHierarchy

pytestmark = pytest.mark.interop
BAKERY = Organization("12345678", "TEST Pagariäri OÜ", "TEST Pagariäri e-tempel")


def seal(pki: SmallHierarchy, kind: CertificateKind) -> bytes:
    key = ec.generate_private_key(ec.SECP384R1())
    plan = replace(pki.leaf_plan(kind, key=key), subject_attributes=BAKERY.subject_attributes, document_policy=None)
    return certificate_der(pki.certify(plan, key, pki.issuing).certificate)


@pytest.mark.parametrize("kind", [CertificateKind.SEAL, CertificateKind.DEVICE_SEAL])
@pytest.mark.parametrize("is_test", [True, False], ids=["TEST hierarchy", "hierarchy without device claims"])
def test_pkilint_finds_no_error_in_a_seal(kind: CertificateKind, is_test: bool) -> None:
    pytest.importorskip("pkilint")
    from pkilint.etsi import etsi_constants

    pki = SmallHierarchy() if is_test else SmallHierarchy(names=HONEST_NAMES)
    # It knows no QCP-l yet: judged as a legal person's certificate, and by RFC 5280 alone.
    for certificate_type in (etsi_constants.CertificateType.NCP_LEGAL_PERSON_CERTIFICATE, None):
        found = findings(seal(pki, kind), certificate_type)
        assert not {"ERROR", "FATAL", "WARNING"} & set(found.values()), found
        assert set(found) <= ALLOWED_IN_PUBLIC
