"""Reports under the information authority's seal: an ASiC-E container of level LT over `validationReport.json`."""

import base64
import json
from collections.abc import Callable, Sequence

from cryptography import x509

from digiid.formats.asic import DataFile
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.signing import KeySigner, sign_files


class ReportSealer:
    """Seals with a key that is made or opened at the first asking."""

    def __init__(
        self, open_seal: Callable[[], KeySigner], *, issuers: Sequence[x509.Certificate], trust: TrustServices
    ) -> None:
        self._open_seal, self._issuers, self._trust = open_seal, issuers, trust
        self._signer: KeySigner | None = None

    def seal(self, answer: bytes) -> bytes:
        """The answer with `validationReportSignature` over the octets of its report. Raises what signing raises."""
        if self._signer is None:
            self._signer = self._open_seal()
        content = json.loads(answer)
        report = json.dumps({"validationReport": content["validationReport"]}, separators=(",", ":")).encode("ascii")
        container = sign_files(
            [DataFile("validationReport.json", "application/json", report)],
            signer=self._signer,
            issuers=self._issuers,
            trust=self._trust,
        )
        content["validationReportSignature"] = base64.b64encode(container).decode()
        return json.dumps(content, separators=(",", ":")).encode("ascii")
