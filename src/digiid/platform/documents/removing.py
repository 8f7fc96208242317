"""Taking a signature out of a container. Every other file of it keeps its packed bytes."""

import io

from digiid.formats.asic import Container, parse_container
from digiid.formats.asic.archive import Entry, build_archive, copy_part
from digiid.formats.xades import parse_signatures
from digiid.kernel.errors import Malformed, NotFound, Refused


def remove_signature(container: bytes, signature: str) -> bytes:
    """The container without one signature. `signature` is its Id, or the name of its file.

    A container without any signature is left when it was the last; it can be signed again.

    Raises:
        Malformed: `asic.…`.
        NotFound: `documents.signature`, there is none of that name.
        Refused: `documents.signature.shared`, its file holds another signature too, whose bytes would change.
    """
    parsed = parse_container(io.BytesIO(container))
    entry = _find_file(parsed, signature)
    archive = parsed.archive
    parts = [copy_part(archive, other) for other in archive.entries if other is not entry]
    return build_archive(parts, comment=archive.comment)


def _find_file(parsed: Container, signature: str) -> Entry:
    known = []
    for entry in parsed.signature_files:
        try:
            identifiers = [found.id for found in parse_signatures(parsed.read_signature_file(entry))]
        except Malformed:
            identifiers = []  # what cannot be read can still be taken out by the name of its file
        known += identifiers or [entry.name]
        if signature != entry.name and signature not in identifiers:
            continue
        if len(identifiers) > 1:
            raise Refused("documents.signature.shared", f"{entry.name} holds {len(identifiers)} signatures")
        return entry
    there = ", ".join(known) or "none"
    raise NotFound("documents.signature", f"no signature {signature!r}; the container has {there}")
