"""CAdES baseline signatures (EN 319 122-1 V1.2.1): CMS beside what it signs. Read in ASiC containers and PDF files,
written for PDF files (EN 319 142-1).
"""

from digiid.formats.cades.archive import (
    ID_ARCHIVE_TIME_STAMP_V3,
    NOTHING_COVERED,
    ArchivedParts,
    Covered,
    HashIndex,
    parse_hash_index,
)
from digiid.formats.cades.build import PreparedCades, build_cades, prepare_cades, verify_prepared_cades
from digiid.formats.cades.parse import (
    ID_DATA,
    ID_SIGNATURE_POLICY,
    ID_SIGNATURE_TIME_STAMP,
    ID_SIGNER_LOCATION,
    UnverifiedCades,
    parse_cades,
)

__all__ = [
    "ID_ARCHIVE_TIME_STAMP_V3",
    "ID_DATA",
    "ID_SIGNATURE_POLICY",
    "ID_SIGNATURE_TIME_STAMP",
    "ID_SIGNER_LOCATION",
    "NOTHING_COVERED",
    "ArchivedParts",
    "Covered",
    "HashIndex",
    "PreparedCades",
    "UnverifiedCades",
    "build_cades",
    "parse_cades",
    "parse_hash_index",
    "prepare_cades",
    "verify_prepared_cades",
]
