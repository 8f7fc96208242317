"""XAdES signatures (EN 319 132-1) as ASiC-E containers carry them."""

from digiid.formats.xades.algorithms import SignatureMethod, choose_method, raw_from_der, sign_digest
from digiid.formats.xades.archive import (
    ArchiveImprints,
    ArchivePlan,
    HashedFiles,
    StreamFile,
    add_validation_values,
    plan_archive_time_stamp,
)
from digiid.formats.xades.build import (
    FileDigest,
    PreparedXades,
    build_xades,
    canonical_signature_value,
    prepare_xades,
    sign_xades,
    verify_prepared_value,
)
from digiid.formats.xades.parse import ProductionPlace, Reference, UnverifiedSignature, parse_signatures
from digiid.formats.xades.verify import VerifiedSignature, find_signing_certificate, verify_signature

__all__ = [
    "ArchiveImprints",
    "ArchivePlan",
    "FileDigest",
    "HashedFiles",
    "PreparedXades",
    "ProductionPlace",
    "Reference",
    "SignatureMethod",
    "StreamFile",
    "UnverifiedSignature",
    "VerifiedSignature",
    "add_validation_values",
    "build_xades",
    "canonical_signature_value",
    "choose_method",
    "find_signing_certificate",
    "parse_signatures",
    "plan_archive_time_stamp",
    "prepare_xades",
    "raw_from_der",
    "sign_digest",
    "sign_xades",
    "verify_prepared_value",
    "verify_signature",
]
