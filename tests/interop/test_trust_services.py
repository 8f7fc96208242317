"""Programs that are not ours judge what the trust services make: openssl, pkilint, pyHanko, SoftHSM."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.contracts import trust_services as contract
from digiid.contracts.members import CARD_BUREAU, POLICE_BOARD
from digiid.exchange.gate import Caller, Service
from digiid.formats import ocsp, tsp
from digiid.formats.x509.build import build_candidate, sign_tbs
from digiid.formats.x509.crl import RevokedEntry, build_crl, verify_crl
from digiid.formats.x509.lint import lint_candidate
from digiid.formats.x509.parts import certificate_der, load_certificate
from digiid.formats.x509.path import verify_path
from digiid.formats.x509.profile import CertificateKind, HierarchyNames, member_attributes
from digiid.institutions.trust_services.app import build
from digiid.institutions.trust_services.hierarchy import Hierarchy, create_hierarchy
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.platform.clock import SystemClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Running, Surroundings
from digiid.platform.keys import load_private_key
from digiid.platform.pools import Pools
from tests.support.loops import run_async
from tests.unit.formats.x509.hierarchy import HONEST_NAMES, NOW, SmallHierarchy
from tests.unit.institutions.trust_services.ca_setup import contract_request, order_for

pytestmark = pytest.mark.interop


def openssl(*arguments: str, cwd: Path, expect: int = 0) -> str:
    done = subprocess.run(["openssl", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


@dataclass
class Served:
    folder: Path
    hierarchy: Hierarchy
    running: Running[Any]
    url: str
    services: dict[str, Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The trust services on a loopback port, with one document issued and its certificates in files."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("trust")
    clock, entropy, pools = SystemClock(), SystemEntropy(), Pools(pages=1, services=1)
    hierarchy = create_hierarchy(
        folder / "hierarchy",
        names=HierarchyNames(),
        base_url="http://127.0.0.1:8800",
        passphrase_path=folder / "passphrase",
        clock=clock,
        entropy=entropy,
    )
    running = build(
        Surroundings(clock, entropy, pools, HttpClient(), folder, {}),
        settings=TrustServicesSettings(hierarchy_folder=hierarchy.folder, passphrase_file=folder / "passphrase"),
        open_database=lambda name: Database.sqlite(folder / "db" / f"{name}.sqlite"),
    )
    server = uvicorn.Server(
        uvicorn.Config(running.sites["programs"], port=0, log_level="error", lifespan="off")  # type: ignore[arg-type]
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    operations = [service for service in running.services if isinstance(service, Service)]
    services = {service.operation.service.service_code: service for service in operations}
    try:
        yield Served(folder, hierarchy, running, f"http://127.0.0.1:{port}", services)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        running.close()
        pools.close()


@pytest.fixture(scope="module")
def document(served: Served) -> str:
    """Issue a document's certificates into auth.pem and sign.pem; returns its number. They are on hold."""
    order = order_for(expires_on=(datetime.now(UTC) + timedelta(days=1800)).date())
    issued = served.services["issue-certificates"].answer(Caller(CARD_BUREAU, "m1"), contract_request(order))
    for name, text in (
        ("auth", issued.authentication_certificate_b64),
        ("sign", issued.signature_certificate_b64),
    ):
        certificate = x509.load_der_x509_certificate(base64.b64decode(text))
        (served.folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return order.document_number


def change(served: Served, service: str, number: str, **more: str) -> None:
    models = {
        "activate-certificates": (contract.ActivateCertificates, CARD_BUREAU),
        "suspend-certificates": (contract.SuspendCertificates, POLICE_BOARD),
        "resume-certificates": (contract.ResumeCertificates, POLICE_BOARD),
        "revoke-certificates": (contract.RevokeCertificates, POLICE_BOARD),
    }
    model, member = models[service]
    served.services[service].answer(Caller(member, "m2"), model(document_number=number, **more))


# ---------------------------------------------------------------------------------------------- openssl


def test_openssl_verifies_every_certificate_of_the_hierarchy(served: Served, document: str) -> None:
    folder = served.hierarchy.folder
    root, issuing, tsa = str(folder / "root.crt"), str(folder / "issuing.crt"), str(folder / "tsa-ca.crt")
    for name in ("auth.pem", "sign.pem"):
        openssl("verify", "-x509_strict", "-CAfile", root, "-untrusted", issuing, name, cwd=served.folder)
    openssl("verify", "-x509_strict", "-CAfile", root, "-untrusted", issuing, str(folder / "ocsp.crt"), cwd=folder)
    openssl(
        *("verify", "-x509_strict", "-purpose", "timestampsign", "-CAfile", root, "-untrusted", tsa),
        str(folder / "tsu.crt"),
        cwd=folder,
    )
    refused = openssl("verify", "-CAfile", tsa, "-partial_chain", "sign.pem", cwd=served.folder, expect=2)
    assert "verification failed" in refused


def test_openssl_asks_the_responder_through_a_whole_life(served: Served, document: str) -> None:
    folder = served.hierarchy.folder

    def ask(certificate: str, digest: str) -> str:
        return openssl(
            *("ocsp", "-issuer", str(folder / "issuing.crt"), f"-{digest}", "-cert", certificate),
            *("-url", f"{served.url}/ocsp", "-CAfile", str(folder / "root.crt")),
            *("-verify_other", str(folder / "issuing.crt"), "-resp_text"),
            cwd=served.folder,
        )

    for digest in ("sha1", "sha256"):
        answer = ask("sign.pem", digest)
        assert "Response verify OK" in answer and "sign.pem: revoked" in answer and "certificateHold" in answer
        assert "OCSP Archive Cutoff" in answer and "WARNING: no nonce" not in answer
    change(served, "activate-certificates", document)
    assert "sign.pem: good" in ask("sign.pem", "sha1") and "auth.pem: good" in ask("auth.pem", "sha256")
    change(served, "suspend-certificates", document)
    assert "auth.pem: revoked" in ask("auth.pem", "sha1")
    change(served, "resume-certificates", document)
    assert "sign.pem: good" in ask("sign.pem", "sha1")


def test_openssl_is_refused_about_another_issuer(served: Served) -> None:
    folder = served.hierarchy.folder
    answer = openssl(
        *("ocsp", "-issuer", str(folder / "tsa-ca.crt"), "-cert", str(folder / "tsu.crt")),
        *("-url", f"{served.url}/ocsp"),
        cwd=served.folder,
        expect=1,
    )
    assert "unauthorized" in answer


def test_openssl_reads_the_revocation_lists(served: Served, document: str) -> None:
    client = HttpClient()
    for slug in ("root", "issuing", "tsa-ca"):
        answer = client.request("GET", f"{served.url}/crl/{slug}.crl", max_bytes=100_000)
        (served.folder / f"{slug}.crl").write_bytes(answer.body)
        text = openssl(
            *("crl", "-inform", "DER", "-in", f"{slug}.crl", "-noout", "-text"),
            *("-CAfile", str(served.hierarchy.folder / f"{slug}.crt")),
            cwd=served.folder,
        )
        assert "verify OK" in text and "X509v3 CRL Number" in text


def test_openssl_stamps_and_verifies(served: Served, document: str) -> None:
    folder = served.hierarchy.folder
    (served.folder / "data").write_bytes(b"what is stamped")
    for digest in ("sha256", "sha384", "sha512"):
        openssl("ts", "-query", "-data", "data", f"-{digest}", "-cert", "-out", "q.tsq", cwd=served.folder)
        answer = HttpClient().request(
            "POST",
            f"{served.url}/tsa",
            content=(served.folder / "q.tsq").read_bytes(),
            headers={"Content-Type": "application/timestamp-query"},
            max_bytes=100_000,
        )
        (served.folder / "r.tsr").write_bytes(answer.body)
        text = openssl(
            *("ts", "-verify", "-queryfile", "q.tsq", "-in", "r.tsr", "-CAfile", str(folder / "root.crt")),
            *("-untrusted", str(folder / "tsa-ca.crt")),
            cwd=served.folder,
        )
        assert "Verification: OK" in text
        token = tsp.parse_response(answer.body)
        tsp.verify_token(token, imprint=hashlib.new(digest, b"what is stamped").digest(), hash_name=digest)


def test_openssl_does_not_verify_a_stamp_of_other_data(served: Served) -> None:
    (served.folder / "other").write_bytes(b"something else")
    if not (served.folder / "r.tsr").exists():
        pytest.skip("no time stamp was made")
    openssl(
        *("ts", "-verify", "-data", "other", "-in", "r.tsr", "-CAfile", str(served.hierarchy.folder / "root.crt")),
        *("-untrusted", str(served.hierarchy.folder / "tsa-ca.crt")),
        cwd=served.folder,
        expect=1,
    )


# ---------------------------------------------------------------------------------------------- pkilint

ALLOWED_IN_PUBLIC = {
    "etsi.en_319_412_2.nat-4.3.2-1.mixed_key_usage_setting",  # keyAgreement, as on the real cards: a warning
    "pkix.certificate_policies_policy_has_qualifier",
    "pkix.subject_key_identifier_method_1_identified",
}


def findings(encoded: bytes, certificate_type: Any = None) -> dict[str, str]:
    """pkilint's findings about a certificate, by code, with their severity."""
    from pkilint import etsi, loader
    from pkilint.pkix import certificate, extension, name

    if certificate_type is None:
        decoding = certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS)
        checks = [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ]
    else:
        decoding = etsi.create_decoding_validators(certificate_type)
        checks = etsi.create_validators(certificate_type)
    validator = certificate.create_pkix_certificate_validator_container(decoding, checks)
    results = validator.validate(loader.load_certificate(encoded, "certificate").root)
    return {
        found.finding.code: found.finding.severity.name for result in results for found in result.finding_descriptions
    }


def personal_types() -> dict[str, Any]:
    from pkilint.etsi import etsi_constants

    kinds = etsi_constants.CertificateType
    return {
        "authentication": kinds.NCP_NATURAL_PERSON_CERTIFICATE,
        "signature": kinds.QCP_N_QSCD_EIDAS_FINAL_CERTIFICATE,
    }


def members(pki: SmallHierarchy) -> list[x509.Certificate]:
    return [member.certificate for member in (pki.root, pki.issuing, pki.tsa_ca, pki.responder, pki.tsu, pki.tl_signer)]


def test_pkilint_finds_no_error_under_a_public_address() -> None:
    pytest.importorskip("pkilint")
    pki = SmallHierarchy(base_url="http://pki.digiid.ee")
    for member in (pki.authentication, pki.signature):
        assert member.kind is not None
        found = findings(certificate_der(member.certificate), personal_types()[member.kind.value])
        assert set(found) <= ALLOWED_IN_PUBLIC
        assert not {"ERROR", "FATAL"} & set(found.values())
    for certificate in members(pki):
        assert not {"ERROR", "FATAL", "WARNING"} & set(findings(certificate_der(certificate)).values())


def test_pkilint_finds_no_error_in_a_hierarchy_without_device_claims() -> None:
    pytest.importorskip("pkilint")
    pki = SmallHierarchy(names=HONEST_NAMES)
    found = findings(certificate_der(pki.authentication.certificate), personal_types()["authentication"])
    assert set(found) <= ALLOWED_IN_PUBLIC
    for certificate in [pki.signature.certificate, *members(pki)]:
        assert not {"ERROR", "FATAL", "WARNING"} & set(findings(certificate_der(certificate)).values())


def test_on_loopback_the_one_error_is_the_internal_domain_name() -> None:
    pytest.importorskip("pkilint")
    pki = SmallHierarchy(base_url="http://127.0.0.1:8800")
    for member in (pki.authentication, pki.signature):
        assert member.kind is not None
        found = findings(certificate_der(member.certificate), personal_types()[member.kind.value])
        errors = {code for code, severity in found.items() if severity in ("ERROR", "FATAL")}
        assert errors == {"etsi.internal_domain_name"}
        assert set(found) - errors <= ALLOWED_IN_PUBLIC


def test_pkilint_finds_nothing_in_a_response_and_a_list() -> None:
    pytest.importorskip("pkilint")
    from pkilint import loader, pkix
    from pkilint.pkix import crl, extension, name
    from pkilint.pkix import ocsp as lint_ocsp

    pki = SmallHierarchy()
    request = ocsp.parse_request(
        ocsp.build_request(certificate=pki.signature.certificate, issuer=pki.issuing.certificate, nonce=bytes(32))
    )
    builder = ocsp.ResponseBuilder(
        key=pki.responder.key, certificate=pki.responder.certificate, archive_cutoff_at=NOW - timedelta(days=1)
    )
    revoked = ocsp.encode_revoked(revoked_at=NOW, reason="certificateHold")
    decoders = [
        pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ]
    for status in (ocsp.GOOD, ocsp.UNKNOWN, revoked):
        response = builder.build(cert_id_der=request.cert_id_der, status=status, nonce_der=request.nonce_der, at=NOW)
        validator = lint_ocsp.create_pkix_ocsp_response_validator_container(
            [lint_ocsp.create_response_decoder(), *decoders], []
        )
        results = validator.validate(loader.load_ocsp_response(response, "response").root)
        assert _bad(results) == []
    listed = build_crl(
        issuer=pki.issuing.certificate,
        key=pki.issuing.key,
        entries=[RevokedEntry(5, NOW, "certificateHold")],
        number=1,
        this_update_at=NOW,
        next_update_at=NOW + timedelta(hours=12),
    )
    validator = crl.create_pkix_crl_validator_container(
        decoders,
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )
    assert _bad(validator.validate(loader.load_crl(listed, "list").root)) == []


def _bad(results: Any) -> list[str]:
    return [
        found.finding.code
        for result in results
        for found in result.finding_descriptions
        if found.finding.severity.name in ("WARNING", "ERROR", "FATAL")
    ]


# ---------------------------------------------------------------------------------------------- pyHanko


def test_pyhanko_verifies_our_time_stamp() -> None:
    pytest.importorskip("pyhanko")
    from asn1crypto import cms
    from asn1crypto import x509 as asn1_x509
    from pyhanko.sign.validation.generic_cms import async_validate_cms_signature
    from pyhanko_certvalidator import ValidationContext

    pki = SmallHierarchy()
    imprint = hashlib.sha384(b"stamped").digest()
    request = tsp.parse_request(tsp.build_request(imprint=imprint, hash_name="sha384", nonce=9))
    token = tsp.TokenBuilder(key=pki.tsu.key, certificate=pki.tsu.certificate).build(
        request, serial_number=2**50, gen_at=NOW
    )

    def native(certificate: x509.Certificate) -> asn1_x509.Certificate:
        return asn1_x509.Certificate.load(certificate_der(certificate))

    signed_data = cms.ContentInfo.load(token)["content"]
    context = ValidationContext(
        trust_roots=[native(pki.root.certificate)],
        other_certs=[native(pki.tsa_ca.certificate)],
        moment=NOW,
        allow_fetching=False,
    )
    from pyhanko.sign.validation import status as statuses

    result = run_async(
        async_validate_cms_signature(
            signed_data,
            status_cls=statuses.TimestampSignatureStatus,
            validation_context=context,
            status_kwargs={"timestamp": NOW},
        )
    )
    assert result.intact and result.valid and result.trusted


# ---------------------------------------------------------------------------------------------- SoftHSM

_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")


@pytest.fixture
def token_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A SoftHSM token of this test's own with one P-384 key."""
    module = next((path for path in _MODULES if Path(path).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    (tmp_path / "pin").write_text("5678\n")
    # The module reads its configuration once a process: the key is made and used in processes of their own.
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm.conf"))
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "ca", "--so-pin", "1234", "--pin", "5678"],
        check=True,
        capture_output=True,
    )
    return f"pkcs11:token=ca;object=issuing?module-path={module}&pin-source=file:{tmp_path}/pin"


_MAKE_KEY = """
import sys, pkcs11
from pkcs11.util.ec import encode_named_curve_parameters
with pkcs11.lib(sys.argv[1]).get_token(token_label="ca").open(rw=True, user_pin="5678") as session:
    curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp384r1")}
    session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True).generate_keypair(store=True, label="issuing")
"""


def test_a_key_in_a_token_is_the_cas_key(token_uri: str) -> None:
    module = token_uri.split("module-path=")[1].split("&", maxsplit=1)[0]
    subprocess.run([sys.executable, "-c", _MAKE_KEY, module], check=True, env=os.environ, capture_output=True)
    child = os.fork()
    if child == 0:  # the PKCS#11 module stays out of the test process
        try:
            _certify_with(token_uri)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def _certify_with(token_uri: str) -> None:
    key = load_private_key(token_uri, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp384r1"
    for algorithm in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        key.public_key().verify(key.sign(b"x", ec.ECDSA(algorithm)), b"x", ec.ECDSA(algorithm))

    # an issuing CA whose key never leaves the token certifies a leaf, answers for it and signs a list
    pki = SmallHierarchy()
    plan = pki.leaf_plan(CertificateKind.SIGNATURE, key=ec.generate_private_key(ec.SECP384R1()))
    ca_plan = replace(
        plan,
        kind=CertificateKind.ISSUING_CA,
        subject_attributes=member_attributes(pki.profile, CertificateKind.ISSUING_CA),
        public_key=key.public_key(),
        serial_number=pki.next_serial(),
        not_after_at=NOW + timedelta(days=3000),
        issuer=pki.root.certificate,
        issuer_kind=CertificateKind.ROOT_CA,
        document_policy=None,
    )
    in_token = pki.certify(ca_plan, key, pki.root)
    leaf_plan = replace(plan, issuer=in_token.certificate)
    candidate = build_candidate(leaf_plan, pki.profile, throwaway_key=ec.generate_private_key(ec.SECP384R1()))
    linted = lint_candidate(candidate, leaf_plan.expected(pki.profile))
    leaf = load_certificate(sign_tbs(linted, key=key))
    verify_path(leaf, intermediates=[in_token.certificate], anchors=[pki.root.certificate], at=NOW)
    crl = build_crl(
        issuer=in_token.certificate,
        key=key,
        entries=[],
        number=1,
        this_update_at=NOW,
        next_update_at=NOW + timedelta(hours=1),
    )
    verify_crl(crl, issuer=in_token.certificate)
    responder = ocsp.ResponseBuilder(key=key, certificate=in_token.certificate, archive_cutoff_at=NOW)
    request = ocsp.parse_request(ocsp.build_request(certificate=leaf, issuer=in_token.certificate, nonce=None))
    response = responder.build(cert_id_der=request.cert_id_der, status=ocsp.GOOD, nonce_der=None, at=NOW)
    ocsp.verify_response(response, certificate=leaf, issuer=in_token.certificate)
