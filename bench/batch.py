"""What signing many files with one key in a PKCS#11 token costs beside the token's own signatures.

    python bench/batch.py [--json] [--files 1000]

Keys in SoftHSM (P-384, and RSA with 3072 bits as seals have it), level B, files of 10 KB. Each goes into a container of
its own that is written and synced to the disk, its value verified. Wall-clock time, as that is what somebody waits for.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.pki import AT, NATURAL_QSCD, make_certificate, person, shared_pki
from tests.support.soft_token import SoftToken, new_token

from digiid.platform.clock import ManualClock
from digiid.platform.documents import Level, TrustServices
from digiid.platform.documents.batch import sign_batch
from digiid.platform.documents.signers import signer_from_token
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.tokens import load_token_key
from digiid.platform.trust import AllowedHosts, OcspClient, TsaClient

FILES, KINDS = 1000, ("p384", "rsa3072")


def measure(files: int = FILES, kinds: tuple[str, ...] = KINDS) -> dict[str, float]:
    """The ratio for each kind of key and the times behind it; empty without SoftHSM."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            token = new_token(Path(folder) / "token")
        except LookupError:
            return {}
        token.use()  # the module has to be told before it is loaded for the first time
        figures: dict[str, float] = {}
        for kind in kinds:
            figures |= _measure(token, kind, files, Path(folder))
        return figures


def _measure(token: SoftToken, kind: str, files: int, folder: Path) -> dict[str, float]:
    pki = shared_pki()
    key_id = kind.encode()
    token.make_key(kind, label=kind, key_id=key_id)
    key = load_token_key(token.uri(f";object={kind}"), None)
    identity = make_certificate(person("BATCH", "38001085718"), key, pki.ca, NATURAL_QSCD)  # type: ignore[arg-type]
    token.store_certificate(identity.certificate, label=kind, key_id=key_id)
    signer = signer_from_token(token.uri(f";object={kind}"))
    clock, http, entropy = ManualClock(AT), HttpClient(), SystemEntropy()
    trust = pki.trust()
    services = TrustServices(
        tsa=TsaClient(http, entropy, clock, address="http://127.0.0.1:9/tsa"),
        ocsp=OcspClient(http, entropy, clock, hosts=AllowedHosts([])),
        trust=lambda: trust,
        clock=clock,
    )
    sources, targets = folder / f"in-{kind}", folder / f"out-{kind}"
    sources.mkdir()
    targets.mkdir()
    paths = []
    for number in range(files):
        path = sources / f"file{number:04}.pdf"
        path.write_bytes(os.urandom(10 * 1024))
        paths.append(path)

    # the token alone, in two halves before and after, so that load hits both sides alike
    digests = [os.urandom(48) for _ in range(files)]
    raw = _time_raw(signer, digests[: files // 2])
    start = time.perf_counter()
    report = sign_batch(paths, signer, folder=targets, issuers=[pki.ca.certificate], trust=services, level=Level.B)
    ours = time.perf_counter() - start
    raw += _time_raw(signer, digests[files // 2 :])
    http.close()
    assert report.is_complete and len(list(targets.iterdir())) == files
    return {
        f"batch_{kind}_ratio": ours / raw,
        f"batch_{kind}_raw_ms": raw / files * 1000,
        f"batch_{kind}_ms": ours / files * 1000,
    }


def _time_raw(signer: object, digests: list[bytes]) -> float:
    import pkcs11

    private = signer.key._private  # type: ignore[attr-defined]  # the token's own object, without our wrapper
    is_rsa = isinstance(private, pkcs11.PrivateKey) and private.key_type is pkcs11.KeyType.RSA
    mechanism = pkcs11.Mechanism.RSA_PKCS if is_rsa else pkcs11.Mechanism.ECDSA
    start = time.perf_counter()
    for digest in digests:
        private.sign(digest, mechanism=mechanism)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    arguments = parser.parse_args()
    figures = measure(arguments.files, tuple(arguments.kinds))
    if arguments.json:
        print(json.dumps(figures, indent=1))
        return
    for name, value in figures.items():
        print(f"{name:24} {value:8.3f}{'  (at most 1.5)' if name.endswith('ratio') else ''}")


if __name__ == "__main__":
    main()
