"""The signing ladder: files in, an ASiC-E container of level LT out, in two steps around the signer's device.

Between the steps a `PreparedSignature` is kept by the caller, bound to one session, used once, at most 15 minutes.
Nothing leaves `complete_signature` that our own validator does not call TOTAL-PASSED.
"""

import base64
import binascii
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.asic import (
    DataFile,
    add_signature_file,
    build_container,
    check_data_files,
    next_signature_name,
    parse_container,
)
from digiid.formats.ocsp import CertStatus, VerifiedOcsp
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import POLV4, Policy, Report, validate_container
from digiid.formats.x509.parts import CONTENT_COMMITMENT, load_certificate, parts_of
from digiid.formats.x509.path import verify_path
from digiid.formats.xades import (
    FileDigest,
    PreparedXades,
    ProductionPlace,
    SignatureMethod,
    build_xades,
    canonical_signature_value,
    choose_method,
    parse_signatures,
    prepare_xades,
    sign_digest,
    verify_prepared_value,
)
from digiid.formats.xades.algorithms import SIGNATURE_METHODS
from digiid.kernel.errors import Broken, Malformed, Refused
from digiid.platform.clock import Clock
from digiid.platform.trust import OcspClient, TsaClient

MAX_PREPARED_AGE = timedelta(minutes=15)
MAX_CONTAINER_BYTES = 512 * 1024 * 1024
_TIME_STAMP_HASH = "sha256"
_FIRST_SIGNATURE = "META-INF/signatures0.xml"
_MAGIC = b"digiid prepared signature 1\n"


@dataclass(frozen=True, slots=True)
class TrustServices:
    """Who stamps, who confirms, and whom we trust when we judge the result."""

    tsa: TsaClient
    ocsp: OcspClient
    trust: Callable[[], VerifiedTrust]
    clock: Clock


@dataclass(frozen=True, slots=True)
class PreparedSignature:
    """A signature that waits for its value. `digest` is what the device signs, with the hash `hash_name`."""

    xades: PreparedXades
    certificate: x509.Certificate
    issuer: x509.Certificate
    prepared_at: datetime
    signature_name: str
    file_names: tuple[str, ...]
    container: bytes = field(repr=False)  # with every file, without this signature
    is_new: bool = True

    @property
    def digest(self) -> bytes:
        return self.xades.digest

    @property
    def hash_name(self) -> str:
        return self.xades.hash_name

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
    # 1 the files can be put into a container
    check_data_files(files)
    # 2 the certificate is one to sign with
    issuer = check_signing_certificate(certificate, issuers=issuers, at=at)
    # 3 what will be signed
    digests = [FileDigest(file.name, file.media_type, hashlib.sha256(file.content).digest()) for file in files]
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
        container=build_container(files, (), at=at),
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

    Raises:
        Malformed: `asic.…`, `validation.not_judged`.
        Refused: `documents.container.not_valid`, what is there is not valid; `documents.certificate.…`.
    """
    # 1 nobody adds a name to a container that is not in order
    report = validate_container(io.BytesIO(container), trust=trust, at=at, policy=policy)
    if not report.is_valid:
        raise Refused("documents.container.not_valid", _why(report), public="The container is not valid as it is.")
    # 2 the certificate is one to sign with
    issuer = check_signing_certificate(certificate, issuers=issuers, at=at)
    # 3 the same files, an Id that no signature has yet
    parsed = parse_container(io.BytesIO(container))
    digests = [
        FileDigest(entry.name, parsed.manifest[entry.name], parsed.digest(entry, "sha256"))
        for entry in parsed.data_files
    ]
    taken = {
        signature.id
        for entry in parsed.signature_files
        for signature in parse_signatures(parsed.read_signature_file(entry))
    }
    number = 0
    while f"S{number}" in taken:
        number += 1
    xades = prepare_xades(
        digests,
        certificate=certificate,
        claimed_signing_at=at,
        signature_id=f"S{number}",
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
        file_names=tuple(entry.name for entry in parsed.data_files),
        container=container,
        is_new=False,
    )


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
    """Second step: the container with the signature, level LT.

    `signature_value` is as XMLDSig has it: r and s side by side for ECDSA.

    Raises:
        Refused: `documents.prepared.expired`; `xades.signature_value`, the value is not the signer's;
            `documents.certificate.revoked`, `.suspended`, `.unknown`; `tsp.…`, `ocsp.…`, `trust.…`.
        Unavailable: a trust service does not answer.
        Broken: `documents.not_valid`, our own validator does not accept what was made.
    """
    # 1 the first step was not long ago
    now = trust.clock.now()
    if not timedelta(0) <= now - prepared.prepared_at <= MAX_PREPARED_AGE:
        raise Refused(
            "documents.prepared.expired", "prepared too long ago", public="Signing took too long. Please start again."
        )

    # 2 the value is the signer's, over what was prepared
    verify_prepared_value(prepared.xades, prepared.certificate, signature_value)

    # 3 a time-stamp over the value
    canonical_value = canonical_signature_value(prepared.xades, signature_value)
    imprint = hashlib.new(_TIME_STAMP_HASH, canonical_value).digest()
    time_stamp_der, time_stamp = trust.tsa.fetch(imprint, _TIME_STAMP_HASH)

    # 4 then, and not before, the status of the certificate
    ocsp_der, status = trust.ocsp.fetch(prepared.certificate, prepared.issuer)
    _check_status(status, stamped_at=time_stamp.gen_at)

    # 5 the signature file
    xml = build_xades(
        prepared.xades,
        signature_value,
        time_stamp_der=time_stamp_der,
        certificates_der=[prepared.issuer.public_bytes(Encoding.DER)],
        ocsp_der=ocsp_der,
    )

    # 6 the container
    container = add_signature_file(
        parse_container(io.BytesIO(prepared.container)), prepared.signature_name, xml, at=now
    )

    # 7 our own verdict, or nothing
    report = validate_container(io.BytesIO(container), trust=trust.trust(), at=trust.clock.now(), policy=policy)
    names_new = [signature for signature in report.signatures if signature.file_name == prepared.signature_name]
    if not report.is_valid or len(names_new) != 1:
        raise Broken("documents.not_valid", f"our validator does not accept our own signature: {_why(report)}")
    return container


def _check_status(status: VerifiedOcsp, *, stamped_at: datetime) -> None:
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


def _why(report: Report) -> str:
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
    policy: Policy = POLV4,
) -> bytes:
    """Both steps with a signer at hand: a container of level LT. Raises what the two steps raise."""
    prepared = prepare_signature(
        files,
        certificate=signer.certificate,
        issuers=issuers,
        at=trust.clock.now(),
        roles=roles,
        place=place,
        method=signer.method,
    )
    return complete_signature(prepared, signer.sign(prepared.digest), trust=trust, policy=policy)


def sign_container(
    container: bytes,
    *,
    signer: Signer,
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
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
    return complete_signature(prepared, signer.sign(prepared.digest), trust=trust, policy=policy)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
