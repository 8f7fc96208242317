"""Signing and judging documents: beside signxml, python-xmlsec, `sha256sum` and the bare cryptography.

    python -m bench.signing

All sides of a ratio take turns in the same run; nothing is cached between two calls.
"""

import base64
import contextlib
import hashlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.ocsp import load_der_ocsp_response
from lxml import etree
from tests.support.pki import AT, SIGNED_AT, Identity, person, shared_pki

from bench import java
from bench.measure import Ratio, Timing, take_turns
from digiid.formats import ocsp, tsp
from digiid.formats.asic import DataFile, build_container, parse_container
from digiid.formats.validation import validate_container
from digiid.formats.x509.parts import parts_of
from digiid.formats.xades import FileDigest, Reference, parse_signatures, sign_xades, verify_signature

CONTENT = base64.b64encode(bytes(range(256)) * 30)  # 10 KB, and text, as signxml signs nothing but XML
FILE = DataFile("contract.txt", "text/plain", CONTENT)
HASHES: dict[str, hashes.HashAlgorithm] = {"p256": hashes.SHA256(), "p384": hashes.SHA384()}
LARGE_BYTES = 500 * 1024**2

# name of the curve: (sign × signxml, sign × xmlsec, verify × signxml, verify × xmlsec)
WANTED = {"p256": (2.5, 1.4, 2.5, 1.0), "p384": (2.2, 4.0, 2.2, 1.5)}


def measure(*, rounds: int = 60) -> list[Ratio]:
    """Every ratio of documents."""
    return [
        *(ratio for kind in WANTED for ratio in measure_level_b(kind, rounds=rounds)),
        *measure_validation(rounds=rounds),
        *measure_hashing(),
    ]


# ------------------------------------------------------------------ XAdES-B


def measure_level_b(kind: str, *, rounds: int = 60) -> list[Ratio]:
    """A file of 10 KB signed and verified at level B, by each library and by the bare key."""
    signer = shared_pki().issue(person("SPEED", "38001085718"), kind=kind)
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    key, algorithm, certificate_der = signer.key, ec.ECDSA(HASHES[kind]), signer.der

    def sign() -> bytes:
        digest = FileDigest(FILE.name, FILE.media_type, hashlib.sha256(CONTENT).digest())
        return sign_xades(
            [digest],
            key=key,
            certificate=signer.certificate,
            claimed_signing_at=SIGNED_AT,
            certificate_der=certificate_der,
        )

    xml = sign()
    message = parse_signatures(xml)[0].signed_info
    value, public_key = key.sign(message, algorithm), key.public_key()

    def find_digest(reference: Reference) -> bytes:
        return hashlib.new(reference.hash_name, CONTENT).digest()

    with _xmlsec_reads(CONTENT):
        signing = take_turns(
            sign,
            _signxml_signer(signer, kind),
            _xmlsec_signer(signer, xml),
            lambda: key.sign(message, algorithm),
            rounds=rounds,
        )
        verifying = take_turns(
            lambda: verify_signature(parse_signatures(xml)[0], find_digest),
            _signxml_verifier(signer, xml),
            _xmlsec_verifier(signer, xml),
            lambda: public_key.verify(value, message, algorithm),
            rounds=rounds,
        )
    name, wanted = {"p256": "P-256", "p384": "P-384"}[kind], WANTED[kind]
    return [
        _times_faster(f"XAdES-B {name} signed, × signxml", signing[0], signing[1], wanted[0]),
        _times_faster(f"XAdES-B {name} signed, × python-xmlsec", signing[0], signing[2], wanted[1]),
        _times_faster(f"XAdES-B {name} verified, × signxml", verifying[0], verifying[1], wanted[2]),
        _times_faster(f"XAdES-B {name} verified, × python-xmlsec", verifying[0], verifying[2], wanted[3]),
        _of_raw(
            f"XAdES-B {name} signed, of the raw signature", signing[0], signing[3], 1.3 if kind == "p384" else None
        ),
        _of_raw(
            f"XAdES-B {name} verified, of the raw verification",
            verifying[0],
            verifying[3],
            1.4 if kind == "p384" else None,
        ),
    ]


def _times_faster(name: str, ours: Timing, theirs: Timing, wanted: float) -> Ratio:
    return Ratio(name, theirs.best / ours.best, wanted, True, f"ours {ours.text}, theirs {theirs.text}")


def _of_raw(name: str, ours: Timing, raw: Timing, wanted: float | None) -> Ratio:
    return Ratio(name, ours.best / raw.best, wanted, False, f"ours {ours.text}, raw {raw.text}")


def _pem(signer: Identity) -> str:
    return signer.certificate.public_bytes(Encoding.PEM).decode()


def _signxml_signer(signer: Identity, kind: str) -> Callable[[], bytes]:
    import signxml
    from signxml.xades import XAdESDataObjectFormat, XAdESSigner

    made = XAdESSigner(
        method=signxml.methods.detached,  # type: ignore[attr-defined]
        signature_algorithm=f"ecdsa-{HASHES[kind].name}",
        digest_algorithm="sha256",
        c14n_algorithm="http://www.w3.org/2006/12/xml-c14n11",
        data_object_format=XAdESDataObjectFormat(Description="contract", MimeType="text/plain"),
    )
    data, pem = etree.fromstring(b"<d>" + CONTENT + b"</d>"), _pem(signer)
    return lambda: etree.tostring(made.sign(data, key=signer.key, cert=pem, reference_uri=FILE.name))


def _signxml_verifier(signer: Identity, xml: bytes) -> Callable[[], object]:
    import signxml
    from signxml.xades import XAdESVerifier

    one, pem = etree.tostring(etree.fromstring(xml)[0]), _pem(signer)
    configuration = signxml.SignatureConfiguration(
        require_x509=True, expect_references=2, location="./", default_reference_c14n_method=None
    )
    return lambda: XAdESVerifier().verify(
        one, x509_cert=pem, uri_resolver=lambda uri: CONTENT, expect_config=configuration
    )


@contextlib.contextmanager
def _xmlsec_reads(content: bytes) -> Any:
    """python-xmlsec reads detached files through callbacks that are global."""
    import xmlsec

    xmlsec.cleanup_callbacks()
    xmlsec.register_callbacks(
        lambda uri: True,
        lambda uri: io.BytesIO(content),
        lambda stream, buffer: stream.readinto(buffer),
        lambda stream: stream.close(),
    )
    try:
        yield
    finally:
        xmlsec.cleanup_callbacks()
        xmlsec.register_default_callbacks()


def _xmlsec_signer(signer: Identity, xml: bytes) -> Callable[[], bytes]:
    """Fills the digests and the value into the very document that we write, as its users do with a template."""
    import xmlsec

    pem = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = xmlsec.Key.from_memory(pem, xmlsec.KeyFormat.PEM)

    def sign() -> bytes:
        root = etree.fromstring(xml)
        xmlsec.tree.add_ids(root, ["Id"])
        context = xmlsec.SignatureContext()
        context.key = key
        context.sign(root[0])
        return etree.tostring(root)

    return sign


def _xmlsec_verifier(signer: Identity, xml: bytes) -> Callable[[], None]:
    import xmlsec

    pem = _pem(signer).encode()

    def verify() -> None:
        root = etree.fromstring(xml)
        xmlsec.tree.add_ids(root, ["Id"])
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(pem, xmlsec.KeyFormat.CERT_PEM)
        context.verify(root[0])

    return verify


# ------------------------------------------------------------------ the whole verdict


def measure_validation(*, rounds: int = 60) -> list[Ratio]:
    """The verdict about an LT container against every signature that it rests on, bare and all P-384."""
    pki = shared_pki()
    container = build_container([FILE], [("META-INF/signatures0.xml", pki.sign([FILE]))], at=SIGNED_AT)
    trust = pki.trust()
    checks = _raw_checks(container)
    report = validate_container(io.BytesIO(container), trust=trust, at=AT)
    assert report.is_valid, report

    def raw() -> None:
        for verify in checks:
            verify()

    validation, bare = take_turns(
        lambda: validate_container(io.BytesIO(container), trust=trust, at=AT), raw, batch=5, rounds=rounds
    )
    name = f"LT container judged, of its {len(checks)} raw checks"
    ratios = [_of_raw(name, validation, bare, 1.5)]
    a_second = f"without the service around it; {validation.text}"
    ratios.append(Ratio("LT containers judged a second on one core", 1 / validation.best, 150.0, True, a_second))
    return [*ratios, *_beside_digidoc4j()]


def _beside_digidoc4j(*, rounds: int = 8, batch: int = 10) -> list[Ratio]:
    """The verdict of digidoc4j about the same container; on the wall, as Java uses threads of its own."""
    if reason := java.why_not():
        print(f"skipped: digidoc4j: {reason}", file=sys.stderr)
        return []
    pki, now = shared_pki(), datetime.now(UTC).replace(microsecond=0)
    container = build_container([FILE], [("META-INF/signatures0.xml", pki.sign([FILE], signed_at=now))], at=now)
    trust, at = pki.trust(), now + timedelta(minutes=1)
    assert validate_container(io.BytesIO(container), trust=trust, at=at).is_valid
    ours, theirs = [], []
    with java.judging(container, [pki.ca.certificate, pki.tsu.certificate, pki.responder.certificate]) as judge:
        for _ in range(rounds):
            theirs.append(judge(batch))
            begin = time.perf_counter()
            for _ in range(batch):
                validate_container(io.BytesIO(container), trust=trust, at=at)
            ours.append((time.perf_counter() - begin) / batch)
    mine, other = (Timing(min(seconds), statistics.median(seconds)) for seconds in (ours, theirs))
    detail = f"ours {mine.text}, digidoc4j warmed up {other.text}"
    return [Ratio("LT container judged, × digidoc4j", other.best / mine.best, 3.0, True, detail)]


def _raw_checks(container: bytes) -> list[Callable[[], None]]:
    """The signatures in the container, each ready to be verified with a key at hand: signature value, signer's
    certificate, OCSP response, responder's certificate, time-stamp token."""
    pki = shared_pki()
    algorithm = ec.ECDSA(hashes.SHA384())
    with zipfile.ZipFile(io.BytesIO(container)) as archive:
        unverified = parse_signatures(archive.read("META-INF/signatures0.xml"))[0]
    assert isinstance(pki.signer.key, ec.EllipticCurvePrivateKey)
    response = load_der_ocsp_response(unverified.ocsp_values_der[0])
    token = unverified.signature_time_stamps[0].token_der
    tsp.verify_token(token)
    ocsp.verify_response(unverified.ocsp_values_der[0], certificate=pki.signer.certificate, issuer=pki.ca.certificate)

    def check(owner: x509.Certificate, signature: bytes, message: bytes) -> Callable[[], None]:
        key = owner.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, message, algorithm)
        return lambda: key.verify(signature, message, algorithm)

    signer, responder, unit = pki.signer.certificate, pki.responder.certificate, pki.tsu.certificate
    value = pki.signer.key.sign(unverified.signed_info, algorithm)
    return [
        check(signer, value, unverified.signed_info),
        check(pki.ca.certificate, signer.signature, parts_of(signer).tbs_der),
        check(responder, response.signature, response.tbs_response_bytes),
        check(pki.ca.certificate, responder.signature, parts_of(responder).tbs_der),
        check(unit, *_token_parts(token)),
    ]


def _token_parts(token_der: bytes) -> tuple[bytes, bytes]:
    from asn1crypto import cms

    info = cms.ContentInfo.load(token_der)["content"]["signer_infos"][0]
    return info["signature"].native, info["signed_attrs"].untag().dump()


# ------------------------------------------------------------------ large files


def measure_hashing(size_bytes: int = LARGE_BYTES, *, rounds: int = 3) -> list[Ratio]:
    """A large file in a container hashed as the judge hashes it, CRC-32 included, against `sha256sum` of the file."""
    program = shutil.which("sha256sum")
    if program is None:
        return []
    with tempfile.TemporaryDirectory(prefix="digiid-bench-") as folder:
        plain, packed = Path(folder) / "large.bin", Path(folder) / "large.asice"
        _write_large(plain, packed, size_bytes)
        ours, theirs = [], []
        for _ in range(rounds):
            begin = time.perf_counter()
            with packed.open("rb") as file:
                container = parse_container(file)
                digest = container.digest(container.data_files[0], "sha256")
            ours.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            told = subprocess.run([program, str(plain)], capture_output=True, check=True, text=True).stdout
            theirs.append(time.perf_counter() - begin)
            assert told.split()[0] == digest.hex()
    detail = f"{size_bytes / 1024**2:.0f} MB: ours {min(ours):.2f} s, sha256sum {min(theirs):.2f} s"
    return [Ratio("file of a container hashed, of `sha256sum`", min(ours) / min(theirs), 1.2, False, detail)]


def _write_large(plain: Path, packed: Path, size_bytes: int) -> None:
    """The file, and a container that holds it as it is. Written in pieces."""
    block = os.urandom(1024**2)
    with plain.open("wb") as file:
        for _ in range(size_bytes // len(block)):
            file.write(block)
    small = parse_container(io.BytesIO(shared_pki().container([FILE])))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("mimetype", "application/vnd.etsi.asic-e+zip")
        archive.write(plain, "large.bin")
        manifest = small.archive.find("META-INF/manifest.xml")
        assert manifest is not None
        text = small.archive.read(manifest, max_bytes=65536).replace(FILE.name.encode(), b"large.bin")
        archive.writestr("META-INF/manifest.xml", text)


def main() -> None:
    for ratio in measure(rounds=20):
        met = "ok  " if ratio.met else "MISS"
        print(f"{met} {ratio.name}: {ratio.value:.2f} (wanted {ratio.target or 'nothing'}) — {ratio.detail}")


if __name__ == "__main__":
    main()
