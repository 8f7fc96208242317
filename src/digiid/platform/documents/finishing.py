"""The second step of signing: the device's value in, an ASiC-E container with the signature out.

At levels LT and LTA nothing leaves that our own validator does not call TOTAL-PASSED. Levels B and T can be asked for
by name; they leave with the validator's verdict beside them, and it never is that they are valid.
"""

import hashlib
import io
from collections.abc import Iterator
from datetime import timedelta

from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.asic import Container, add_signature_file, next_signature_name, parse_container
from digiid.formats.validation import POLV4, Policy
from digiid.formats.xades import StreamFile, build_xades, canonical_signature_value, verify_prepared_value
from digiid.kernel.errors import Conflict, Refused
from digiid.platform.documents.levels import Level, add_archive_time_stamp, check_status
from digiid.platform.documents.prepared import MAX_PREPARED_AGE, PreparedSignature, digest_of_files
from digiid.platform.documents.preparing import read_digests
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.verdicts import SignedDocument, judge_signed

_TIME_STAMP_HASH = "sha256"


def complete_signature(
    prepared: PreparedSignature, signature_value: bytes, *, trust: TrustServices, policy: Policy = POLV4
) -> bytes:
    """Second step: the container with the signature, level LT. Raises what `finish_signature` raises."""
    return finish_signature(prepared, signature_value, trust=trust, policy=policy).content


def finish_signature(
    prepared: PreparedSignature,
    signature_value: bytes,
    *,
    trust: TrustServices,
    level: Level = Level.LT,
    present: bytes | None = None,
    policy: Policy = POLV4,
) -> SignedDocument:
    """Second step: the container with the signature, of the level asked for.

    `signature_value` is as XMLDSig has it: r and s side by side for ECDSA. `present` is the container as it is now,
    when it may have changed since the first step.

    Raises:
        Refused: `documents.prepared.expired`; `xades.signature_value`, the value is not the signer's;
            `documents.certificate.revoked`, `.suspended`, `.unknown`; `tsp.…`, `ocsp.…`, `trust.…`.
        Conflict: `documents.container.changed`, other files are in it by now.
        Unavailable: a trust service does not answer.
        Broken: `documents.not_valid`, our own validator does not accept what was made.
    """
    # 1 the container is still over those files, before anybody is asked for anything
    container = prepared.container if present is None else present
    check_files(prepared, container)

    # 2 the signature file
    xml = build_signature_file(
        prepared, signature_value, trust=trust, level=level, stream=stream_of(parse_container(io.BytesIO(container)))
    )

    # 3 in its place; our own verdict, or nothing
    return place_signature_file(prepared, xml, container, level=level, trust=trust, policy=policy)


def check_files(prepared: PreparedSignature, container: bytes) -> None:
    """Raises: Conflict `documents.container.changed`, other files than were prepared; Malformed `asic.…`."""
    if digest_of_files(read_digests(parse_container(io.BytesIO(container)))) != prepared.files_digest:
        raise Conflict(
            "documents.container.changed",
            "not the files that were prepared",
            public="The container holds other files by now. Start signing again.",
        )


def place_signature_file(
    prepared: PreparedSignature,
    xml: bytes,
    container: bytes,
    *,
    level: Level,
    trust: TrustServices,
    policy: Policy = POLV4,
) -> SignedDocument:
    """Put a signature file into the container as it is now, under the next free name, and judge the whole.

    Raises: Conflict `documents.container.changed`; Broken `documents.not_valid`; Refused
        `documents.container.not_valid`; Malformed `asic.…`.
    """
    check_files(prepared, container)
    parsed = parse_container(io.BytesIO(container))
    name = next_signature_name(parsed)
    content = add_signature_file(parsed, name, xml, at=trust.clock.now())
    return judge_signed(content, prepared, name=name, level=level, trust=trust, policy=policy)


def build_signature_file(
    prepared: PreparedSignature,
    signature_value: bytes,
    *,
    trust: TrustServices,
    level: Level,
    stream: StreamFile,
) -> bytes:
    """The signature with its value and what the level asks for, not judged yet.

    `stream` gives the octets of a data file by its name: an archive time-stamp covers them.
    Raises what `finish_signature` raises, but for the container and the verdict.
    """
    # 1 the first step was not long ago
    if not timedelta(0) <= trust.clock.now() - prepared.prepared_at <= MAX_PREPARED_AGE:
        raise Refused(
            "documents.prepared.expired", "prepared too long ago", public="Signing took too long. Please start again."
        )

    # 2 the value is the signer's, over what was prepared
    verify_prepared_value(prepared.xades, prepared.certificate, signature_value)
    if level is Level.B:
        return build_xades(prepared.xades, signature_value)

    # 3 a time-stamp over the value
    canonical_value = canonical_signature_value(prepared.xades, signature_value)
    imprint = hashlib.new(_TIME_STAMP_HASH, canonical_value).digest()
    time_stamp_der, time_stamp = trust.tsa.fetch(imprint, _TIME_STAMP_HASH)
    if level is Level.T:
        return build_xades(prepared.xades, signature_value, time_stamp_der=time_stamp_der)

    # 4 then, and not before, the status of the certificate
    ocsp_der, status = trust.ocsp.fetch(prepared.certificate, prepared.issuer)
    check_status(status, stamped_at=time_stamp.gen_at)
    xml = build_xades(
        prepared.xades,
        signature_value,
        time_stamp_der=time_stamp_der,
        certificates_der=[prepared.issuer.public_bytes(Encoding.DER)],
        ocsp_der=ocsp_der,
    )
    if level is Level.LT:
        return xml

    # 5 an archive time-stamp over all of it
    return add_archive_time_stamp(xml, prepared.xades.signature_id, stream=stream, tsa=trust.tsa)


def stream_of(container: Container) -> StreamFile:
    """Gives the octets of a container's data files by their names."""

    def stream(name: str) -> Iterator[bytes] | None:
        entry = container.find_data_file(name)
        return None if entry is None else container.archive.stream(entry)

    return stream
