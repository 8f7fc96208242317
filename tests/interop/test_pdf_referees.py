"""PDF files that we sign, judged by pdfsig (poppler), qpdf and pyHanko's own validator; and what pyHanko signs, judged
by us."""

import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from digiid.formats.validation import Indication, Report
from digiid.formats.xades import ProductionPlace
from digiid.platform.clock import ManualClock, SystemClock
from digiid.platform.documents import KeySigner, Level
from digiid.platform.documents.judging import validate_document
from digiid.platform.documents.pades import PdfWish, VisibleSignature, extend_pdf, sign_pdf
from digiid.platform.entropy import SystemEntropy
from tests.support.loops import in_own_thread, run_async
from tests.support.pdf import pdf_with_empty_field, simple_pdf
from tests.support.signing_room import SigningRoom, signing_room

pytestmark = pytest.mark.interop

KINDS = [("p256", False), ("p384", False), ("p521", False), ("rsa", False), ("rsa", True)]


@pytest.fixture(scope="module")
def room() -> Iterator[SigningRoom]:
    # Stands still: pyHanko asks for the status before it has its time-stamp, which is an older status a second later.
    clock = ManualClock(SystemClock().now().replace(microsecond=0))
    with signing_room(clock, SystemEntropy()) as opened:
        yield opened


def sign(room: SigningRoom, content: bytes, signer: KeySigner | None = None, **wishes: object) -> bytes:
    return sign_pdf(content, signer=signer or room.signer(), issuers=room.issuers, trust=room.trust, **wishes)


def judge(room: SigningRoom, content: bytes) -> Report:
    return validate_document(io.BytesIO(content), trust=room.trust.trust(), at=room.trust.clock.now())


def run(program: str, *arguments: str, content: bytes, tmp_path: Path) -> str:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is needed")
    path = tmp_path / "judged.pdf"
    path.write_bytes(content)
    result = subprocess.run([program, *arguments, str(path)], capture_output=True, text=True, timeout=60, check=False)
    return result.stdout + result.stderr


def check(content: bytes, tmp_path: Path) -> None:
    assert "No syntax or stream encoding errors found" in run("qpdf", "--check", content=content, tmp_path=tmp_path)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize(("kind", "pss"), KINDS)
def test_pdfsig_and_qpdf_accept_every_key_and_level(
    room: SigningRoom, tmp_path: Path, kind: str, pss: bool, level: Level
) -> None:
    signed = sign(room, simple_pdf(), room.signer(kind=kind, pss=pss), level=level)
    said = run("pdfsig", "-nocert", content=signed, tmp_path=tmp_path)
    assert said.count("Signature Validation: Signature is Valid.") == 1, said
    assert "ETSI.CAdES.detached" in said
    check(signed, tmp_path)


def test_pdfsig_and_qpdf_accept_several_signers_seen_and_in_waiting_fields(room: SigningRoom, tmp_path: Path) -> None:
    document = sign(room, pdf_with_empty_field("Direktor"), wish=PdfWish(field_name="Direktor"))
    wish = PdfWish(visible=VisibleSignature(1, (10, 120, 200, 190)), reason="Kinnitan õigsust")
    document = sign(
        room, document, room.signer("TEINE"), wish=wish, level=Level.LTA, place=ProductionPlace(city="Tõrva")
    )
    document = sign(room, extend_pdf(document, services=room.trust), room.seal())
    said = run("pdfsig", "-nocert", content=document, tmp_path=tmp_path)
    assert said.count("Signature Validation: Signature is Valid.") == 3, said
    check(document, tmp_path)
    assert judge(room, document).valid_count == 3


def test_pdfsig_notices_a_change(room: SigningRoom, tmp_path: Path) -> None:
    signed = bytearray(sign(room, simple_pdf()))
    signed[600] ^= 1
    said = run("pdfsig", "-nocert", content=bytes(signed), tmp_path=tmp_path)
    assert "Signature is Valid." not in said


# ------------------------------------------------------------------ pyHanko


def _certificate(certificate: object) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))  # type: ignore[attr-defined]


@pytest.mark.parametrize("level", [Level.LT, Level.LTA])
@pytest.mark.parametrize("kind", ["p384", "rsa"])
def test_pyhanko_validates_what_we_sign(room: SigningRoom, level: Level, kind: str) -> None:
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.ades.report import AdESPassed
    from pyhanko.sign.validation import ades
    from pyhanko.sign.validation.dss import DocumentSecurityStore
    from pyhanko.sign.validation.policy_decl import (
        LocalKnowledge,
        PdfSignatureValidationSpec,
        RevinfoOnlineFetchingRule,
        RevocationInfoGatheringSpec,
        SignatureValidationSpec,
    )
    from pyhanko.sign.validation.settings import KeyUsageConstraints
    from pyhanko_certvalidator.authority import CertTrustAnchor
    from pyhanko_certvalidator.context import CertValidationPolicySpec
    from pyhanko_certvalidator.policy_decl import CertRevTrustPolicy, RevocationCheckingPolicy, RevocationCheckingRule
    from pyhanko_certvalidator.registry import SimpleTrustManager
    from pyhanko_certvalidator.revinfo.archival import OCSPContainer

    signed = sign(room, simple_pdf(), room.signer(kind=kind), level=level)
    reader = PdfFileReader(io.BytesIO(signed))
    anchors = [_certificate(room.pki.ca.certificate), _certificate(room.pki.tsu.certificate)]
    store = DocumentSecurityStore.read_dss(reader)
    responses = []
    for reference in store.ocsps:
        responses += OCSPContainer.load_multi(asn1_ocsp.OCSPResponse.load(reference.get_object().data))
    spec = SignatureValidationSpec(
        cert_validation_policy=CertValidationPolicySpec(
            trust_manager=SimpleTrustManager.build([CertTrustAnchor(anchor) for anchor in anchors]),
            revinfo_policy=CertRevTrustPolicy(
                RevocationCheckingPolicy(
                    ee_certificate_rule=RevocationCheckingRule.CHECK_IF_DECLARED,
                    intermediate_ca_cert_rule=RevocationCheckingRule.NO_CHECK,
                )
            ),
        ),
        revinfo_gathering_policy=RevocationInfoGatheringSpec(RevinfoOnlineFetchingRule.LOCAL_ONLY),
        key_usage_settings=KeyUsageConstraints(key_usage={"non_repudiation"}),
        local_knowledge=LocalKnowledge(known_certs=[*store.load_certs()], known_ocsps=responses),
    )
    signature = reader.embedded_regular_signatures[0]
    if level is Level.LTA:
        result = run_async(ades.ades_lta_validation(signature, PdfSignatureValidationSpec(spec)))
        assert result.api_status.bottom_line
    else:
        signature.compute_integrity_info()
        result = run_async(
            ades.ades_with_time_validation(signature.signed_data, spec, raw_digest=signature.compute_digest())
        )
    assert result.ades_subindic is AdESPassed.OK, result.failure_msg


def _signed_by_pyhanko(
    room: SigningRoom, level: str, *, subfilter: str = "PADES", document: bytes | None = None
) -> bytes:
    from pyhanko.keys import load_private_key_from_pemder_data
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign.fields import SigSeedSubFilter
    from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner, SimpleSigner
    from pyhanko.sign.timestamps import HTTPTimeStamper
    from pyhanko_certvalidator import ValidationContext
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    ours = room.signer("PYHANKO", kind="p256")
    pem = ours.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[union-attr]
    registry = SimpleCertificateStore()
    registry.register(_certificate(room.pki.ca.certificate))
    signer = SimpleSigner(
        signing_cert=_certificate(ours.certificate),
        signing_key=load_private_key_from_pemder_data(pem, passphrase=None),
        cert_registry=registry,
    )
    context = ValidationContext(
        trust_roots=[_certificate(room.pki.ca.certificate), _certificate(room.pki.tsu.certificate)],
        allow_fetching=True,
        revocation_mode="soft-fail",
    )
    metadata = PdfSignatureMetadata(
        field_name="Theirs",
        md_algorithm="sha256",
        subfilter=SigSeedSubFilter[subfilter],
        validation_context=context,
        embed_validation_info=level in ("LT", "LTA") and subfilter == "PADES",
        use_pades_lta=level == "LTA",
        reason="test",
    )
    stamper = None if level == "B" else HTTPTimeStamper(f"{room.server.base}/tsa")
    out = io.BytesIO()
    writer = IncrementalPdfFileWriter(io.BytesIO(document or simple_pdf()))
    in_own_thread(lambda: PdfSigner(metadata, signer=signer, timestamper=stamper).sign_pdf(writer, output=out))
    return out.getvalue()


@pytest.mark.parametrize(
    ("level", "indication"),
    [
        ("B", Indication.INDETERMINATE),
        ("T", Indication.INDETERMINATE),
        ("LT", Indication.TOTAL_PASSED),
        ("LTA", Indication.TOTAL_PASSED),
    ],
)
def test_we_judge_what_pyhanko_signs(room: SigningRoom, level: str, indication: Indication) -> None:
    (signature,) = judge(room, _signed_by_pyhanko(room, level)).signatures
    assert signature.signature_format == f"PAdES_BASELINE_{level}"
    assert signature.indication is indication or signature.level.startswith("NOT_"), signature.messages


def test_theirs_and_ours_in_one_document(room: SigningRoom) -> None:
    both = _signed_by_pyhanko(room, "LTA", document=sign(room, simple_pdf(), level=Level.LTA))
    report = judge(room, both)
    assert report.valid_count == 2, [signature.messages for signature in report.signatures]


def test_a_signature_of_the_older_kind_is_no_pades(room: SigningRoom) -> None:
    (signature,) = judge(room, _signed_by_pyhanko(room, "T", subfilter="ADOBE_PKCS7_DETACHED")).signatures
    assert signature.indication is Indication.TOTAL_FAILED
    assert [message.code for message in signature.messages] == ["validation.pades.sub_filter"]
