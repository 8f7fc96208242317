"""Signing documents and judging them: the ladder between formats, trust services and the signer's device."""

from digiid.formats.asic import DataFile
from digiid.platform.documents.signing import (
    CallbackSigner,
    KeySigner,
    Level,
    PreparedSignature,
    SignedDocument,
    Signer,
    TrustServices,
    check_signing_certificate,
    complete_signature,
    finish_signature,
    prepare_additional_signature,
    prepare_hashcode_signature,
    prepare_signature,
    sign_container,
    sign_files,
)

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
