"""How close signing and judging come to their bare cryptography, all on P-384, nothing cached between rounds.

    python bench/signing.py [--json]

Each figure is the quickest of several rounds; both sides of a ratio are measured in turn in the same run.
"""

import argparse
import gc
import hashlib
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.ocsp import load_der_ocsp_response

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.pki import AT, SIGNED_AT, shared_pki

from digiid.formats import ocsp, tsp
from digiid.formats.asic import DataFile, build_container
from digiid.formats.validation import validate_container
from digiid.formats.x509.parts import parts_of
from digiid.formats.xades import FileDigest, Reference, parse_signatures, sign_xades, verify_signature

ROUNDS, CALLS = 60, 10


def _best(*functions: Callable[[], object]) -> list[float]:
    """The best mean CPU time of each function in seconds; the functions take turns, so that load hits them alike."""
    best = [float("inf")] * len(functions)
    gc.disable()
    for _ in range(ROUNDS):
        for index, function in enumerate(functions):
            start = time.thread_time()
            for _ in range(CALLS):
                function()
            best[index] = min(best[index], (time.thread_time() - start) / CALLS)
    gc.enable()
    return best


def measure() -> dict[str, float]:
    """The three ratios of signing, and the times behind them in milliseconds."""
    pki = shared_pki()
    signer = pki.signer
    content = bytes(range(256)) * 40  # 10 KB
    file = DataFile("contract.pdf", "application/pdf", content)
    algorithm = ec.ECDSA(hashes.SHA384())
    certificate_der = signer.der

    # 1 sign: the raw signature over the same octets against the whole signature file, hashing the data included
    def sign() -> bytes:
        digest = FileDigest(file.name, file.media_type, hashlib.sha256(content).digest())
        return sign_xades(
            [digest],
            key=signer.key,
            certificate=signer.certificate,
            claimed_signing_at=SIGNED_AT,
            certificate_der=certificate_der,
        )

    xml = sign()
    unverified = parse_signatures(xml)[0]
    message = unverified.signed_info
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    key = signer.key
    raw_sign, our_sign = _best(lambda: key.sign(message, algorithm), sign)

    # 2 verify: the raw value with a key at hand against parsing the file, the certificate, hashing and verifying
    def find_digest(reference: Reference) -> bytes:
        return hashlib.new(reference.hash_name, content).digest()

    value = key.sign(message, algorithm)
    public_key = signer.key.public_key()
    raw_verify, our_verify = _best(
        lambda: public_key.verify(value, message, algorithm),
        lambda: verify_signature(parse_signatures(xml)[0], find_digest),
    )

    # 3 validate: every signature that the verdict rests on, bare, against the verdict about the container
    container = build_container([file], [("META-INF/signatures0.xml", pki.sign([file]))], at=SIGNED_AT)
    trust = pki.trust()
    checks = _raw_checks(container)
    report = validate_container(io.BytesIO(container), trust=trust, at=AT)
    assert report.is_valid, report

    def raw() -> None:
        for verify in checks:
            verify()

    raw_checks, validation = _best(raw, lambda: validate_container(io.BytesIO(container), trust=trust, at=AT))
    return {
        "xades_b_sign_ratio": our_sign / raw_sign,
        "xades_b_verify_ratio": our_verify / raw_verify,
        "lt_validation_ratio": validation / raw_checks,
        "raw_sign_ms": raw_sign * 1000,
        "xades_b_sign_ms": our_sign * 1000,
        "raw_verify_ms": raw_verify * 1000,
        "xades_b_verify_ms": our_verify * 1000,
        "raw_checks": float(len(checks)),
        "raw_checks_ms": raw_checks * 1000,
        "lt_validation_ms": validation * 1000,
    }


def _raw_checks(container: bytes) -> list[Callable[[], None]]:
    """The signatures in the container, each ready to be verified with a key at hand: signature value, signer's
    certificate, OCSP response, responder's certificate, time-stamp token."""
    import zipfile

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
    signed_attributes = _token_parts(token)
    return [
        check(signer, value, unverified.signed_info),
        check(pki.ca.certificate, signer.signature, parts_of(signer).tbs_der),
        check(responder, response.signature, response.tbs_response_bytes),
        check(pki.ca.certificate, responder.signature, parts_of(responder).tbs_der),
        check(unit, *signed_attributes),
    ]


def _token_parts(token_der: bytes) -> tuple[bytes, bytes]:
    from asn1crypto import cms

    info = cms.ContentInfo.load(token_der)["content"]["signer_infos"][0]
    return info["signature"].native, info["signed_attrs"].untag().dump()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    figures = measure()
    if parser.parse_args().json:
        print(json.dumps(figures, indent=1))
        return
    limits = {"xades_b_sign_ratio": 1.3, "xades_b_verify_ratio": 1.4, "lt_validation_ratio": 1.6}
    for name, value in figures.items():
        limit = f"  (at most {limits[name]})" if name in limits else ""
        print(f"{name:24} {value:8.3f}{limit}")


if __name__ == "__main__":
    main()
