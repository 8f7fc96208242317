"""The signing ladder: files in, an ASiC-E container out, in two steps around the signer's device.

Between the steps a `PreparedSignature` is kept by the caller, bound to one session, used once, at most 15 minutes.
At levels LT and LTA nothing leaves that our own validator does not call TOTAL-PASSED. Levels B and T can be asked for
by name; they leave with the validator's verdict beside them, and it never is that they are valid.

Several people may prepare over the same container at once: whoever completes hands in the container as it is by then,
and the signature takes the next free name in it. What is there already keeps its bytes.
"""

import base64
import binascii
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.asic import (
    Container,
    ContainerProblem,
    DataFile,
    add_signature_file,
    build_container,
    check_data_files,
    next_signature_name,
    parse_container,
)
from digiid.formats.asic.hashcode import FileHash, build_hashcode_container, is_hashcode_container, read_file_hashes
from digiid.formats.ocsp import CertStatus, VerifiedOcsp
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import POLV4, Indication, Policy, Report, Severity, SignatureReport, validate_container
from digiid.formats.x509.parts import CONTENT_COMMITMENT, certificate_der, load_certificate, parts_of
from digiid.formats.x509.path import verify_path
from digiid.formats.xades import (
    FileDigest,
    PreparedXades,
    ProductionPlace,
    SignatureMethod,
    StreamFile,
    build_xades,
    canonical_signature_value,
    choose_method,
    parse_signatures,
    prepare_xades,
    sign_digest,
    verify_prepared_value,
)
from digiid.formats.xades.algorithms import SIGNATURE_METHODS
from digiid.kernel.errors import Broken, Conflict, Malformed, Refused
from digiid.platform.clock import Clock
from digiid.platform.trust import OcspClient, TsaClient

MAX_PREPARED_AGE = timedelta(minutes=15)
MAX_CONTAINER_BYTES = 512 * 1024 * 1024
_TIME_STAMP_HASH = "sha256"
_FIRST_SIGNATURE = "META-INF/signatures0.xml"
_MAGIC = b"digiid prepared signature 2\n"


class Level(StrEnum):
    """EN 319 132-1 §6: what a signature carries to prove itself by."""

    B = "B"  # the signature alone
    T = "T"  # with a time-stamp
    LT = "LT"  # with the status of the certificate as well
    LTA = "LTA"  # with an archive time-stamp over all of it and the files


@dataclass(frozen=True, slots=True)
class TrustServices:
    """Who stamps, who confirms, and whom we trust when we judge the result."""

    tsa: TsaClient
    ocsp: OcspClient
    trust: Callable[[], VerifiedTrust]
    clock: Clock


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """A container with the new signature, and what our validator says about all of it."""

    content: bytes = field(repr=False)
    signature_name: str
    signature_id: str
    level: Level
    report: Report

    @property
    def signature(self) -> SignatureReport:
        """The verdict about the new signature: below LT never that it is valid."""
        return next(found for found in self.report.signatures if found.file_name == self.signature_name)


@dataclass(frozen=True, slots=True)
class PreparedSignature:
    """A signature that waits for its value. `digest` is what the device signs, with the hash `hash_name`."""

    xades: PreparedXades
    certificate: x509.Certificate
    issuer: x509.Certificate
    prepared_at: datetime
    signature_name: str
    file_names: tuple[str, ...]
    files_digest: bytes  # over names, media types and digests of what will be signed
    container: bytes = field(repr=False)  # without this signature; empty when the caller keeps it elsewhere
    is_new: bool = True

    @property
    def digest(self) -> bytes:
        return self.xades.digest

    @property
    def hash_name(self) -> str:
        return self.xades.hash_name

    def without_container(self) -> "PreparedSignature":
        """The same for who keeps the container elsewhere and hands it in at completion."""
        return replace(self, container=b"")

    def to_bytes(self) -> bytes:
        """For keeping between the two steps, in a place that only this program can write to."""
        header = json.dumps(
            {
                "signature_id": self.xades.signature_id,
                "method": self.xades.method_uri,
                "digest": _b64(self.xades.digest),
                "before_value": self.xades.before_value,
                "after_value": self.xades.after_value,
                "certificate": _b64(self.certificate.public_bytes(Encoding.DER)),
                "issuer": _b64(self.issuer.public_bytes(Encoding.DER)),
                "prepared_at": self.prepared_at.isoformat(),
                "signature_name": self.signature_name,
                "file_names": list(self.file_names),
                "files_digest": _b64(self.files_digest),
                "is_new": self.is_new,
            }
        ).encode()
        return _MAGIC + len(header).to_bytes(4, "big") + header + self.container

    @classmethod
    def from_bytes(cls, data: bytes) -> "PreparedSignature":
        """Raises: Malformed `documents.prepared`."""
        start = len(_MAGIC) + 4
        size = int.from_bytes(data[len(_MAGIC) : start], "big")
        if not data.startswith(_MAGIC) or len(data) < start + size:
            raise Malformed("documents.prepared", "not a prepared signature")
        try:
            header = json.loads(data[start : start + size])
            certificate_der = base64.b64decode(header["certificate"], validate=True)
            xades = PreparedXades(
                signature_id=str(header["signature_id"]),
                method_uri=SIGNATURE_METHODS[header["method"]].uri,
                digest=base64.b64decode(header["digest"], validate=True),
                before_value=str(header["before_value"]),
                after_value=str(header["after_value"]),
                certificate_der=certificate_der,
            )
            return cls(
                xades=xades,
                certificate=load_certificate(certificate_der),
                issuer=load_certificate(base64.b64decode(header["issuer"], validate=True)),
                prepared_at=datetime.fromisoformat(header["prepared_at"]).astimezone(UTC),
                signature_name=str(header["signature_name"]),
                file_names=tuple(map(str, header["file_names"])),
                files_digest=base64.b64decode(header["files_digest"], validate=True),
                container=data[start + size :],
                is_new=bool(header["is_new"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
            raise Malformed("documents.prepared", "a prepared signature that cannot be read") from error


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
        files_digest=_digest_of(digests),
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
        files_digest=_digest_of(digests),
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
            raise _not_valid(explain(report))
    elif problem := next((found for found in _problems(parsed) if found.is_error), None):
        raise _not_valid(problem.message)
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
        files_digest=_digest_of(digests),
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


def judge(container: bytes, *, trust: VerifiedTrust, at: datetime, policy: Policy = POLV4) -> Report:
    """Our validator's words about a container, also about one that holds digests in the place of files.

    Raises: Malformed `asic.…`, `validation.…`.
    """
    return validate_container(io.BytesIO(container), trust=trust, at=at, policy=policy)


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
    if _digest_of(read_digests(parse_container(io.BytesIO(container)))) != prepared.files_digest:
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
    from digiid.platform.documents.extending import add_archive_time_stamp  # it builds on this module

    return add_archive_time_stamp(xml, prepared.xades.signature_id, stream=stream, tsa=trust.tsa)


def stream_of(container: Container) -> StreamFile:
    """Gives the octets of a container's data files by their names."""

    def stream(name: str) -> Iterator[bytes] | None:
        entry = container.find_data_file(name)
        return None if entry is None else container.archive.stream(entry)

    return stream


def judge_signed(
    content: bytes,
    prepared: PreparedSignature,
    *,
    name: str,
    level: Level,
    trust: TrustServices,
    policy: Policy = POLV4,
) -> SignedDocument:
    """Our validator's verdict about a container that got the signature file `name`.

    Raises: Broken `documents.not_valid`; Refused `documents.container.not_valid`, something else in it is not valid.
    """
    report = judge(content, trust=trust.trust(), at=trust.clock.now(), policy=policy)
    signed = SignedDocument(content, name, prepared.xades.signature_id, level, report)
    check_verdict(signed)
    return signed


def check_verdict(signed: SignedDocument) -> None:
    """Our validator accepts what was made. Raises: Broken, Refused as `judge_signed`; Refused
    `documents.certificate.level`."""
    found = [signature for signature in signed.report.signatures if signature.file_name == signed.signature_name]
    if len(found) != 1:
        raise Broken("documents.not_valid", f"our validator does not find our own signature: {explain(signed.report)}")
    is_expected = signed.report.is_valid
    if signed.level in (Level.B, Level.T):
        # What is not there yet cannot be judged; anything worse than that is a fault of ours.
        is_expected = found[0].indication is Indication.INDETERMINATE or found[0].level.startswith("NOT_")
    if not is_expected and found[0].is_valid:
        # Somebody put something that is not valid beside it between the two steps.
        raise _not_valid(explain(signed.report))
    if not is_expected and _error_codes(found[0]) == {"validation.policy.level"}:
        # Everything holds but the certificate is not qualified: what the holder brought, and no fault of ours.
        raise Refused(
            "documents.certificate.level",
            f"level {found[0].level}",
            public="The certificate is not a qualified one, and the policy accepts no other. Nothing was signed.",
        )
    if not is_expected:
        raise Broken(
            "documents.not_valid", f"our validator does not accept our own signature: {explain(signed.report)}"
        )


def _error_codes(signature: SignatureReport) -> set[str]:
    return {message.code for message in signature.messages if message.severity is Severity.ERROR}


def _digest_of(files: Sequence[FileDigest]) -> bytes:
    hashed = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        for part in (file.name.encode(), file.media_type.encode(), file.digest):
            hashed.update(len(part).to_bytes(4, "big") + part)
    return hashed.digest()


def _not_valid(detail: str) -> Refused:
    return Refused("documents.container.not_valid", detail, public="The container is not valid as it is.")


def _problems(container: Container) -> Sequence[ContainerProblem]:
    if is_hashcode_container(container):
        return ()  # read_file_hashes has refused what is wrong with one
    return container.problems


def check_status(status: VerifiedOcsp, *, stamped_at: datetime) -> None:
    """The certificate was good when its holder signed. Raises: Refused `documents.certificate.…`."""
    if status.status is CertStatus.REVOKED and status.reason == "certificateHold":
        raise Refused(
            "documents.certificate.suspended", "on hold", public="The certificate is suspended. Nothing was signed."
        )
    if status.status is CertStatus.REVOKED:
        raise Refused(
            "documents.certificate.revoked", "revoked", public="The certificate is revoked. Nothing was signed."
        )
    if status.status is not CertStatus.GOOD:
        raise Refused("documents.certificate.unknown", "unknown", public="The certificate's status is not known.")
    if status.produced_at < stamped_at.replace(microsecond=0):
        raise Refused("documents.ocsp.too_early", "the confirmation is older than the time-stamp")


def certificate_values(certificates: Iterable[x509.Certificate]) -> list[bytes]:
    """What goes into CertificateValues: each certificate once, in the order given."""
    return list(dict.fromkeys(certificate_der(certificate) for certificate in certificates))


def explain(report: Report) -> str:
    """The codes of everything that was found, for a log or an error's detail."""
    problems = [message.code for signature in report.signatures for message in signature.messages]
    return ", ".join([*problems, *(message.code for message in report.messages)]) or "no reason recorded"


# ------------------------------------------------------------------ both steps at once


class Signer(Protocol):
    """Something that signs a digest: a card behind its PIN, or a key."""

    @property
    def certificate(self) -> x509.Certificate: ...

    @property
    def method(self) -> SignatureMethod: ...

    def sign(self, digest: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class KeySigner:
    """Signs with a key in memory or in a PKCS#11 token. `pss` chooses RSASSA-PSS for RSA."""

    certificate: x509.Certificate
    key: PrivateKeyTypes = field(repr=False)
    pss: bool = False

    @property
    def method(self) -> SignatureMethod:
        return choose_method(self.certificate.public_key(), pss=self.pss)

    def sign(self, digest: bytes) -> bytes:
        return sign_digest(self.method, self.key, digest)


@dataclass(frozen=True, slots=True)
class CallbackSigner:
    """Signs through a function, as with a card: the digest goes in, r||s comes out."""

    certificate: x509.Certificate
    callback: Callable[[bytes], bytes] = field(repr=False)

    @property
    def method(self) -> SignatureMethod:
        return choose_method(self.certificate.public_key())

    def sign(self, digest: bytes) -> bytes:
        return self.callback(digest)


def sign_files(
    files: Sequence[DataFile],
    *,
    signer: Signer,
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    level: Level = Level.LT,
    policy: Policy = POLV4,
) -> bytes:
    """Both steps with a signer at hand: a container of level LT, or another asked for. Raises what the steps raise."""
    prepared = prepare_signature(
        files,
        certificate=signer.certificate,
        issuers=issuers,
        at=trust.clock.now(),
        roles=roles,
        place=place,
        method=signer.method,
    )
    value = signer.sign(prepared.digest)
    return finish_signature(prepared, value, trust=trust, level=level, policy=policy).content


def sign_container(
    container: bytes,
    *,
    signer: Signer,
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    level: Level = Level.LT,
    policy: Policy = POLV4,
) -> bytes:
    """One signature more on an existing container. Raises what the two steps raise."""
    prepared = prepare_additional_signature(
        container,
        certificate=signer.certificate,
        issuers=issuers,
        trust=trust.trust(),
        at=trust.clock.now(),
        roles=roles,
        place=place,
        method=signer.method,
        policy=policy,
    )
    value = signer.sign(prepared.digest)
    return finish_signature(prepared, value, trust=trust, level=level, policy=policy).content


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
