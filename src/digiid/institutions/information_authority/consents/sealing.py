"""The consent service's seal: opened at the first asking, the same for receipts and for revocations."""

import threading
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats.consent_receipt import ConsentReceipt, RevocationStatement, sign_receipt, sign_revocations
from digiid.kernel.errors import Broken
from digiid.platform.documents.signing import KeySigner


class Sealer:
    """Seals with an organisation's key on P-256 or P-384."""

    def __init__(self, open_seal: Callable[[], KeySigner]) -> None:
        self._open_seal = open_seal
        self._signer: KeySigner | None = None
        self._lock = threading.Lock()

    @property
    def certificate(self) -> x509.Certificate:
        return self._open().certificate

    def seal_receipt(self, receipt: ConsentReceipt) -> str:
        key, certificates = self._key()
        return sign_receipt(receipt, key=key, certificates=certificates)

    def seal_revocations(self, statement: RevocationStatement) -> str:
        key, certificates = self._key()
        return sign_revocations(statement, key=key, certificates=certificates)

    def _key(self) -> tuple[ec.EllipticCurvePrivateKey, Sequence[x509.Certificate]]:
        signer = self._open()
        if not isinstance(signer.key, ec.EllipticCurvePrivateKey):
            raise Broken("consent.seal", "the seal's key is not on a curve")
        return signer.key, [signer.certificate]

    def _open(self) -> KeySigner:
        with self._lock:
            if self._signer is None:
                self._signer = self._open_seal()
            return self._signer
