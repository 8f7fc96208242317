"""Reports under the information authority's seal: an ASiC-E container of level LT over `validationReport.json`."""

import base64
import json
from collections.abc import Callable, Sequence

from cryptography import x509

from digiid.formats.asic import DataFile
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.signing import KeySigner, sign_files


class ReportSealer:
    """`open_seal` gives the seal in force, each time."""

    def __init__(
        self, open_seal: Callable[[], KeySigner], *, issuers: Sequence[x509.Certificate], trust: TrustServices
    ) -> None:
        self._open_seal, self._issuers, self._trust = open_seal, issuers, trust

    def seal(self, answer: bytes) -> bytes:
        """The answer with `validationReportSignature` over the octets of its report. Raises what signing raises."""
        content = json.loads(answer)
        report = json.dumps({"validationReport": content["validationReport"]}, separators=(",", ":")).encode("ascii")
        container = sign_files(
            [DataFile("validationReport.json", "application/json", report)],
            signer=self._open_seal(),
            issuers=self._issuers,
            trust=self._trust,
        )
        content["validationReportSignature"] = base64.b64encode(container).decode()
        return json.dumps(content, separators=(",", ":")).encode("ascii")
