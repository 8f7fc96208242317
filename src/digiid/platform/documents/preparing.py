"""The first step of signing: files or a container in, what the signer's device signs out.

Several people may prepare over the same container at once: whoever completes hands in the container as it is by then,
and the signature takes the next free name in it (`finishing`). What is there already keeps its bytes.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.asic import (
    Container,
    ContainerProblem,
    DataFile,
    build_container,
    check_data_files,
    next_signature_name,
    parse_container,
)
from digiid.formats.asic.hashcode import FileHash, build_hashcode_container, is_hashcode_container, read_file_hashes
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import POLV4, Policy
from digiid.formats.x509.parts import CONTENT_COMMITMENT, parts_of
from digiid.formats.x509.path import verify_path
from digiid.formats.xades import FileDigest, ProductionPlace, SignatureMethod, parse_signatures, prepare_xades
from digiid.kernel.errors import Malformed, Refused
from digiid.platform.documents.prepared import PreparedSignature, digest_of_files
from digiid.platform.documents.verdicts import explain, judge, not_valid

_FIRST_SIGNATURE = "META-INF/signatures0.xml"


def prepare_signature(
    files: Sequence[DataFile],
    *,
    certificate: x509.Certificate,
    issuers: Sequence[x509.Certificate],
    at: datetime,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    method: SignatureMethod | None = None,
) -> PreparedSignature:
    """First step for a new container. `issuers` are the CAs whose signers are accepted here.

    Raises:
        Malformed: `asic.data_file.…`, `xml.character`.
        Refused: `documents.certificate.…`, not a signing certificate, not valid now, or of another CA.
    """
    signer = check_signer(certificate, issuers=issuers, at=at)
    prepared = prepare_files(files, signer=signer, at=at, roles=roles, place=place, method=method)
    return replace(prepared, container=build_container(files, (), at=at))


@dataclass(frozen=True, slots=True)
class CheckedSigner:
    """A certificate for signing and the CA that issued it. `check_signer` makes it; good for one run of work."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    certificate_der: bytes = field(repr=False)


def check_signer(certificate: x509.Certificate, *, issuers: Sequence[x509.Certificate], at: datetime) -> CheckedSigner:
    """Raises what `check_signing_certificate` raises."""
    issuer = check_signing_certificate(certificate, issuers=issuers, at=at)
    return CheckedSigner(certificate, issuer, certificate.public_bytes(Encoding.DER))


def prepare_files(
    files: Sequence[DataFile],
    *,
    signer: CheckedSigner,
    at: datetime,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    method: SignatureMethod | None = None,
) -> PreparedSignature:
    """The first step for a signer who was checked before and files that the caller keeps: no container is made yet.

    Raises: Malformed `asic.data_file.…`, `xml.character`.
    """
    check_data_files(files)
    digests = [FileDigest(file.name, file.media_type, hashlib.sha256(file.content).digest()) for file in files]
    xades = prepare_xades(
        digests,
        certificate=signer.certificate,
        claimed_signing_at=at,
        roles=roles,
        place=place,
        method=method,
        certificate_der=signer.certificate_der,
    )
    return PreparedSignature(
        xades=xades,
        certificate=signer.certificate,
        issuer=signer.issuer,
        prepared_at=at,
        signature_name=_FIRST_SIGNATURE,
        file_names=tuple(file.name for file in files),
        files_digest=digest_of_files(digests),
        container=b"",
    )


def prepare_hashcode_signature(
    files: Sequence[FileHash],
    *,
    certificate: x509.Certificate,
    issuers: Sequence[x509.Certificate],
    at: datetime,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    method: SignatureMethod | None = None,
) -> PreparedSignature:
    """First step for files that stay with their owner: only their digests come here.

    Raises: what `prepare_signature` raises; Malformed `asic.hashcode.digest`.
    """
    container = build_hashcode_container(files, at=at)
    issuer = check_signing_certificate(certificate, issuers=issuers, at=at)
    digests = [FileDigest(file.name, file.media_type, file.sha256) for file in files]
    xades = prepare_xades(
        digests, certificate=certificate, claimed_signing_at=at, roles=roles, place=place, method=method
    )
    return PreparedSignature(
        xades=xades,
        certificate=certificate,
        issuer=issuer,
        prepared_at=at,
        signature_name=_FIRST_SIGNATURE,
        file_names=tuple(file.name for file in files),
        files_digest=digest_of_files(digests),
        container=container,
    )


def prepare_additional_signature(
    container: bytes,
    *,
    certificate: x509.Certificate,
    issuers: Sequence[x509.Certificate],
    trust: VerifiedTrust,
    at: datetime,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    method: SignatureMethod | None = None,
    policy: Policy = POLV4,
) -> PreparedSignature:
    """First step for one signature more over the same files; the signatures that are there keep their bytes.

    `container` may be a hashcode container, and one that nobody has signed yet.

    Raises:
        Malformed: `asic.…`, `validation.not_judged`.
        Refused: `documents.container.not_valid`, what is there is not valid; `documents.container.form`, of a form
            that gets no signature of this kind; `documents.certificate.…`.
    """
    # 1 a container that takes XAdES signatures
    parsed = parse_container(io.BytesIO(container))
    if parsed.form != "ASiC-E" or parsed.cms_files or parsed.token_files:
        raise Refused("documents.container.form", "not ASiC-E with XAdES", public="This container cannot be signed.")
    digests = read_digests(parsed)
    # 2 nobody adds a name to a container that is not in order
    if parsed.signature_files:
        report = judge(container, trust=trust, at=at, policy=policy)
        if not report.is_valid:
            raise not_valid(explain(report))
    elif problem := next((found for found in _problems(parsed) if found.is_error), None):
        raise not_valid(problem.message)
    # 3 the certificate is one to sign with
    issuer = check_signing_certificate(certificate, issuers=issuers, at=at)
    # 4 the same files, an Id that no signature has, also when two people sign at once
    taken = {
        signature.id
        for entry in parsed.signature_files
        for signature in parse_signatures(parsed.read_signature_file(entry))
    }
    mark = hashlib.sha256(certificate.public_bytes(Encoding.DER) + at.isoformat().encode()).hexdigest()[:12]
    number = 0
    while any(found.split("-")[0] == f"S{number}" for found in taken):
        number += 1
    xades = prepare_xades(
        digests,
        certificate=certificate,
        claimed_signing_at=at,
        signature_id=f"S{number}-{mark}",
        roles=roles,
        place=place,
        method=method,
    )
    return PreparedSignature(
        xades=xades,
        certificate=certificate,
        issuer=issuer,
        prepared_at=at,
        signature_name=next_signature_name(parsed),
        file_names=tuple(digest.name for digest in digests),
        files_digest=digest_of_files(digests),
        container=container,
        is_new=not parsed.signature_files,
    )


def read_digests(container: Container) -> list[FileDigest]:
    """What a signature over this container refers to: the data files, or the digests in their place.

    Raises: Malformed `asic.…`.
    """
    if is_hashcode_container(container):
        return [FileDigest(file.name, file.media_type, file.sha256) for file in read_file_hashes(container).files]
    missing = [entry.name for entry in container.data_files if entry.name not in container.manifest]
    if missing or not container.data_files:
        raise Malformed("asic.manifest.missing", "a file without a media type, or no file at all")
    return [
        FileDigest(entry.name, container.manifest[entry.name], container.digest(entry, "sha256"))
        for entry in container.data_files
    ]


def check_signing_certificate(
    certificate: x509.Certificate, *, issuers: Sequence[x509.Certificate], at: datetime
) -> x509.Certificate:
    """The CA that issued a certificate for signing, valid now.

    Raises: Refused `documents.certificate.usage`, `.not_valid`, `.issuer`; Malformed `x509.…`, `der.…`.
    """
    parts = parts_of(certificate)
    usage = parts.key_usage()
    if usage is None or CONTENT_COMMITMENT not in usage:
        raise Refused(
            "documents.certificate.usage", "no nonRepudiation", public="This certificate is not one for signing."
        )
    if not parts.not_before_at <= at <= parts.not_after_at:
        raise Refused(
            "documents.certificate.not_valid",
            "out of validity",
            public="The certificate is not valid any more, or not yet.",
        )
    try:
        return verify_path(certificate, intermediates=(), anchors=issuers, at=at).issuer
    except Refused as error:
        raise Refused(
            "documents.certificate.issuer",
            error.detail,
            public="The certificate was issued by somebody we do not know.",
        ) from error


def _problems(container: Container) -> Sequence[ContainerProblem]:
    if is_hashcode_container(container):
        return ()  # read_file_hashes has refused what is wrong with one
    return container.problems
