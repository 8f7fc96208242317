"""pkilint and openssl judge the certificates of the exchange."""

import shutil
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.x509.build import build_candidate, sign_tbs
from digiid.formats.x509.lint import lint_candidate
from digiid.formats.x509.parts import certificate_der, load_certificate
from digiid.formats.x509.profile import CertificateKind, ExchangeSubject
from tests.interop.test_trust_services import ALLOWED_IN_PUBLIC, findings
from tests.unit.formats.x509.hierarchy import SmallHierarchy

pytestmark = pytest.mark.interop
BOARD = ExchangeSubject("GOV", "70000101", "TEST Politsei- ja Piirivalveamet", "TEST police")
KINDS = [CertificateKind.EXCHANGE_AUTHENTICATION, CertificateKind.EXCHANGE_SIGNING]


def certificate_of(
    pki: SmallHierarchy, kind: CertificateKind, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> bytes:
    any_key = ec.generate_private_key(ec.SECP256R1())
    plan = replace(
        pki.leaf_plan(kind, key=any_key, expires_on=date(2028, 6, 30)),
        subject_attributes=BOARD.subject_attributes,
        document_policy=None,
        public_key=key.public_key(),
    )
    throwaway_key = ec.generate_private_key(pki.issuing.key.curve)
    linted = lint_candidate(build_candidate(plan, pki.profile, throwaway_key=throwaway_key), plan.expected(pki.profile))
    return sign_tbs(linted, key=pki.issuing.key)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key_type", ["ec", "rsa"])
def test_pkilint_finds_no_error(kind: CertificateKind, key_type: str) -> None:
    pytest.importorskip("pkilint")
    from pkilint.etsi import etsi_constants

    key = ec.generate_private_key(ec.SECP256R1()) if key_type == "ec" else rsa.generate_private_key(65537, 2048)
    encoded = certificate_of(SmallHierarchy(), kind, key)
    for certificate_type in (etsi_constants.CertificateType.NCP_LEGAL_PERSON_CERTIFICATE, None):
        found = findings(encoded, certificate_type)
        assert not {"ERROR", "FATAL", "WARNING"} & set(found.values()), found
        assert set(found) <= ALLOWED_IN_PUBLIC


@pytest.mark.parametrize(
    ("kind", "purpose", "is_fit"),
    [
        (KINDS[0], "sslclient", True),
        (KINDS[0], "sslserver", True),
        (KINDS[1], "sslclient", False),
        (KINDS[1], "sslserver", False),
    ],
)
def test_openssl_takes_the_one_for_tls_and_refuses_the_other(
    tmp_path: Path, kind: CertificateKind, purpose: str, is_fit: bool
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    pki = SmallHierarchy()
    leaf = load_certificate(certificate_of(pki, kind, ec.generate_private_key(ec.SECP256R1())))
    for name, certificate in (
        ("root", pki.root.certificate),
        ("issuing", pki.issuing.certificate),
        ("leaf", load_certificate(certificate_der(leaf))),
    ):
        (tmp_path / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    at = str(int(leaf.not_valid_before_utc.timestamp()) + 60)
    command = ["openssl", "verify", "-attime", at, "-purpose", purpose]
    command += ["-CAfile", "root.pem", "-untrusted", "issuing.pem", "leaf.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) is is_fit, done.stdout + done.stderr
