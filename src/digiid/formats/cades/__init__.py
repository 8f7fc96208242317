"""CAdES baseline signatures (EN 319 122-1 V1.2.1): CMS beside what it signs. Read in ASiC containers and PDF files,
written for PDF files (EN 319 142-1).
"""

from digiid.formats.cades.build import PreparedCades, build_cades, prepare_cades, verify_prepared_cades
from digiid.formats.cades.parse import (
    ID_DATA,
    ID_REVOCATION_VALUES,
    ID_SIGNATURE_POLICY,
    ID_SIGNATURE_TIME_STAMP,
    ID_SIGNER_LOCATION,
    UnverifiedCades,
    parse_cades,
)

__all__ = [
    "ID_DATA",
    "ID_REVOCATION_VALUES",
    "ID_SIGNATURE_POLICY",
    "ID_SIGNATURE_TIME_STAMP",
    "ID_SIGNER_LOCATION",
    "PreparedCades",
    "UnverifiedCades",
    "build_cades",
    "parse_cades",
    "prepare_cades",
    "verify_prepared_cades",
]
