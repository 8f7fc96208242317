"""Keys in a SoftHSM token sign documents: EC and RSA, the certificate found on the token, a seal issued for one."""

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.validation import validate_container
from digiid.formats.x509.profile import QCP_L_QSCD, Organization, has_policy
from digiid.institutions.trust_services.ca import use_cases
from digiid.institutions.trust_services.ca.domain import SealOrder
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.documents import Level, finish_signature, prepare_signature, sign_files
from digiid.platform.documents.batch import sign_batch
from digiid.platform.documents.judging import validate_document
from digiid.platform.documents.pades import sign_pdf
from digiid.platform.documents.signers import signer_from_token
from digiid.platform.entropy import SeededEntropy
from digiid.platform.tokens import Pkcs11RsaKey, load_token_key
from tests.support.pdf import plain_pdf
from tests.support.pki import AT, DAY, FILES, NATURAL_QSCD, Pki, key_usage, make_certificate, person, shared_pki
from tests.support.signing_room import signing_room
from tests.support.soft_token import SoftToken, in_child, token_or_skip
from tests.unit.institutions.trust_services.ca_setup import CA_PACKAGE, ca_over

pytestmark = pytest.mark.interop


@pytest.fixture
def token(tmp_path: Path) -> SoftToken:
    return token_or_skip(tmp_path / "token")


def put_identity(token: SoftToken, pki: Pki, kind: str, *, key_id: bytes, for_signing: bool = True) -> x509.Certificate:
    label = f"{kind} key"
    token.make_key(kind, label=label, key_id=key_id)
    key = load_token_key(token.uri(f";id=%{key_id.hex()}"), None)
    usage = NATURAL_QSCD if for_signing else (key_usage(digital_signature=True),)
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                x509.oid.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(f"{pki.aia_base}/ocsp")
            )
        ]
    )
    extensions = [(x509.BasicConstraints(False, None), True), (access, False), *usage]
    valid = {"not_before": AT - 30 * DAY, "not_after": AT + 300 * DAY}
    certificate = make_certificate(person("TOKEN", "38001085718"), key, pki.ca, extensions, **valid).certificate
    token.store_certificate(certificate, label=label, key_id=key_id)
    return certificate


def refused(kind: type[DigiidError], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.code


def test_every_kind_of_key_in_a_token_signs_to_level_lt(token: SoftToken, tmp_path: Path) -> None:
    def work() -> None:
        token.use()
        with signing_room(ManualClock(AT), SeededEntropy(b"token")) as room:
            for number, (kind, pss) in enumerate(
                [("p256", False), ("p384", False), ("p521", False), ("rsa2048", False), ("rsa2048", True)]
            ):
                if not pss:
                    certificate = put_identity(token, room.pki, kind, key_id=bytes([number + 1]))
                    room.server.knows(certificate)
                uri = token.uri(f";id=%{(number if pss else number + 1):02x}")
                signer = signer_from_token(uri, pss=pss)
                assert signer.certificate == certificate
                container = sign_files(FILES, signer=signer, issuers=room.issuers, trust=room.trust)
                report = validate_container(io.BytesIO(container), trust=room.trust.trust(), at=AT)
                assert report.is_valid, report
                assert ("MGF1" in report.signatures[0].method_uri) is pss
                pdf = sign_pdf(plain_pdf(), signer=signer, issuers=room.issuers, trust=room.trust)
                (inside,) = validate_document(io.BytesIO(pdf), trust=room.trust.trust(), at=AT).signatures
                assert inside.is_valid, inside
                assert ("MGF1" in inside.method_uri) is pss

    in_child(work)


def test_the_certificate_with_non_repudiation_is_picked(token: SoftToken) -> None:
    def work() -> None:
        token.use()
        pki = shared_pki()
        put_identity(token, pki, "p384", key_id=b"\x01", for_signing=False)
        assert refused(NotFound, lambda: signer_from_token(token.uri())) == "keys.certificate"
        wanted = put_identity(token, pki, "p256", key_id=b"\x02")
        assert signer_from_token(token.uri()).certificate == wanted
        # a certificate whose key lies elsewhere does not count
        stray = pki.issue(person("STRAY", "38001085718"))
        token.store_certificate(stray.certificate, label="stray", key_id=b"\x09")
        assert signer_from_token(token.uri()).certificate == wanted
        other = put_identity(token, pki, "rsa2048", key_id=b"\x03")
        assert refused(Refused, lambda: signer_from_token(token.uri())) == "keys.several"
        assert signer_from_token(token.uri(";id=%03")).certificate == other
        assert signer_from_token(token.uri(";object=p256%20key")).certificate == wanted
        assert refused(NotFound, lambda: signer_from_token(token.uri(";id=%01"))) == "keys.certificate"
        assert refused(Malformed, lambda: load_token_key(token.uri(), None)) == "keys.uri"
        assert refused(Unavailable, lambda: load_token_key(token.uri(";object=nobody"), None)) == "keys.token"
        missing = token.uri().replace("token=test", "token=nobody")
        assert refused(Unavailable, lambda: signer_from_token(missing)) == "keys.token"

    in_child(work)


def test_an_rsa_key_in_a_token_is_the_librarys_own_kind_of_key(token: SoftToken) -> None:
    def work() -> None:
        token.use()
        token.make_key("rsa3072", label="k", key_id=b"\x01")
        key = load_token_key(token.uri(";object=k"), None)
        assert isinstance(key, Pkcs11RsaKey) and isinstance(key, rsa_keys.RSAPrivateKey) and key.key_size == 3072
        for algorithm in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
            pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
            for scheme in (padding.PKCS1v15(), pss):
                key.public_key().verify(key.sign(b"message", scheme, algorithm), b"message", scheme, algorithm)
        old = hashes.SHA1()
        assert refused(Refused, lambda: key.sign(b"message", padding.PKCS1v15(), old)) == "keys.padding"
        assert refused(DigiidError, key.private_numbers) == "keys.not_exportable"
        assert refused(DigiidError, lambda: key.decrypt(b"", padding.PKCS1v15())) == "keys.not_exportable"

    in_child(work)


def test_a_seal_is_issued_for_a_key_in_a_token_and_seals(token: SoftToken, tmp_path: Path) -> None:
    def work() -> None:
        token.use()
        token.make_key("p384", label="seal", key_id=b"\x01")
        key = load_token_key(token.uri(";object=seal"), None)
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA384())
        clock = ManualClock(datetime(2026, 11, 23, 12, 30, tzinfo=UTC))
        database = Database.sqlite(tmp_path / "ca.sqlite")
        database.migrate(CA_PACKAGE)
        deps = ca_over(database, clock, SeededEntropy(b"seal"))
        order = SealOrder(
            order_id="seal:1",
            seal_number="SEAL-1",
            organization=Organization("12345678", "TEST OÜ", "TEST OÜ e-tempel"),
            expires_on=date(2029, 12, 31),
            request_der=request.public_bytes(Encoding.DER),
            on_device=True,
        )
        issued = x509.load_der_x509_certificate(use_cases.issue_seal(deps, order).certificate_der)
        assert has_policy(issued, QCP_L_QSCD)
        token.store_certificate(issued, label="seal", key_id=b"\x01")
        signer = signer_from_token(token.uri())
        at = clock.now()
        issuers = [deps.cas[next(kind for kind in deps.cas if kind.value == "issuing_ca")].certificate]
        prepared = prepare_signature(FILES, certificate=signer.certificate, issuers=issuers, at=at)
        with signing_room(clock, SeededEntropy(b"room")) as room:
            signed = finish_signature(prepared, signer.sign(prepared.digest), trust=room.trust, level=Level.B)
        assert signed.signature.signed_by == "TEST OÜ e-tempel"

    in_child(work)


def test_a_batch_is_signed_by_one_key_in_a_token(token: SoftToken, tmp_path: Path) -> None:
    def work() -> None:
        token.use()
        paths = []
        for number in range(25):
            paths.append(tmp_path / f"{number}.txt")
            paths[-1].write_bytes(b"content %d" % number)
        with signing_room(ManualClock(AT), SeededEntropy(b"batch")) as room:
            room.server.knows(put_identity(token, replace(room.pki), "p384", key_id=b"\x01"))
            report = sign_batch(paths, signer_from_token(token.uri()), issuers=room.issuers, trust=room.trust)
        assert report.is_complete and {item.verdict for item in report.items} == {"TOTAL-PASSED"}

    in_child(work)
