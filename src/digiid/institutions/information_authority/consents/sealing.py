"""The consent service's seal: the one in force, the same for receipts and for revocations."""

from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats.consent_receipt import ConsentReceipt, RevocationStatement, sign_receipt, sign_revocations
from digiid.kernel.errors import Broken
from digiid.platform.documents.signing import KeySigner


class Sealer:
    """Seals with an organisation's key on P-256 or P-384. `open_seal` gives the seal in force, each time."""

    def __init__(self, open_seal: Callable[[], KeySigner]) -> None:
        self._open_seal = open_seal

    @property
    def certificate(self) -> x509.Certificate:
        return self._open_seal().certificate

    def seal_receipt(self, receipt: ConsentReceipt) -> str:
        key, certificates = self._key()
        return sign_receipt(receipt, key=key, certificates=certificates)

    def seal_revocations(self, statement: RevocationStatement) -> str:
        key, certificates = self._key()
        return sign_revocations(statement, key=key, certificates=certificates)

    def _key(self) -> tuple[ec.EllipticCurvePrivateKey, Sequence[x509.Certificate]]:
        signer = self._open_seal()
        if not isinstance(signer.key, ec.EllipticCurvePrivateKey):
            raise Broken("consent.seal", "the seal's key is not on a curve")
        return signer.key, [signer.certificate]
