"""ASiC containers (EN 319 162-1) over a ZIP reader for hostile input."""

from digiid.formats.asic.archive import Archive, Entry, Limits, parse_archive
from digiid.formats.asic.container import (
    MEDIA_TYPE_ASIC_E,
    MEDIA_TYPE_ASIC_S,
    Container,
    ContainerProblem,
    DataFile,
    add_signature_file,
    build_container,
    build_manifest,
    check_data_files,
    decode_uri,
    encode_uri,
    next_signature_name,
    parse_container,
    parse_manifest,
)

__all__ = [
    "MEDIA_TYPE_ASIC_E",
    "MEDIA_TYPE_ASIC_S",
    "Archive",
    "Container",
    "ContainerProblem",
    "DataFile",
    "Entry",
    "Limits",
    "add_signature_file",
    "build_container",
    "build_manifest",
    "check_data_files",
    "decode_uri",
    "encode_uri",
    "next_signature_name",
    "parse_archive",
    "parse_container",
    "parse_manifest",
]
