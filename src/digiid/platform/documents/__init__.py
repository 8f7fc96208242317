"""Signing documents and judging them: the ladder between formats, trust services and the signer's device.

Signing has two steps around the device, `preparing` and `finishing`; `signing` takes both at once.
"""

from digiid.formats.asic import DataFile
from digiid.platform.documents.finishing import complete_signature, finish_signature
from digiid.platform.documents.levels import Level
from digiid.platform.documents.prepared import PreparedSignature
from digiid.platform.documents.preparing import (
    check_signing_certificate,
    prepare_additional_signature,
    prepare_hashcode_signature,
    prepare_signature,
)
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.signing import CallbackSigner, KeySigner, Signer, sign_container, sign_files
from digiid.platform.documents.verdicts import SignedDocument

__all__ = [
    "CallbackSigner",
    "DataFile",
    "KeySigner",
    "Level",
    "PreparedSignature",
    "SignedDocument",
    "Signer",
    "TrustServices",
    "check_signing_certificate",
    "complete_signature",
    "finish_signature",
    "prepare_additional_signature",
    "prepare_hashcode_signature",
    "prepare_signature",
    "sign_container",
    "sign_files",
]
