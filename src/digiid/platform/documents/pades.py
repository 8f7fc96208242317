"""The signing ladder inside PDF files (PAdES, EN 319 142-1): levels B, T, LT and LTA, in two steps around the signer's
device, and signatures that are there made to last.

Every step appends to the file; what is there keeps its bytes. Signatures in a PDF file stand one after the other, each
over those before it: of two people who prepare at once the first to finish has signed, the other begins again.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.cades import PreparedCades, build_cades, prepare_cades, verify_prepared_cades
from digiid.formats.cades.build import cms_signature_value
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import POLV4, Policy, Report
from digiid.formats.validation.pades import validate_pdf
from digiid.formats.x509.parts import load_certificate
from digiid.formats.xades import ProductionPlace, SignatureMethod, choose_method
from digiid.formats.xades.algorithms import SIGNATURE_METHODS
from digiid.kernel.errors import Broken, Conflict, Malformed, Refused
from digiid.platform.documents.levels import Level, certificate_values, check_status
from digiid.platform.documents.prepared import MAX_PREPARED_AGE
from digiid.platform.documents.preparing import check_signing_certificate
from digiid.platform.documents.prolonging import check_prolongable, confirm_status
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.signing import Signer
from digiid.platform.documents.verdicts import SignedDocument, check_verdict, explain
from digiid.platform.pdf import (
    Appearance,
    Placeholder,
    add_signature_placeholder,
    add_store,
    add_time_stamp_placeholder,
    fill_placeholder,
    read_pdf,
)

PDF_MEDIA_TYPE: Final = "application/pdf"
MAX_TEXT_CHARACTERS: Final = 256
_TIME_STAMP_HASH: Final = "sha256"
_SIGNATURE_BYTES: Final = 20 * 1024  # two certificates, a value, a time-stamp token
_TIME_STAMP_BYTES: Final = 14 * 1024
_MAGIC: Final = b"digiid prepared PDF signature 1\n"


@dataclass(frozen=True, slots=True)
class VisibleSignature:
    """Where the signature is to be seen: `page` counts from 1; `box` is left, bottom, right, top in points (1/72 inch)
    from the lower left corner of the page."""

    page: int
    box: tuple[int, int, int, int]

    def __post_init__(self) -> None:
        left, bottom, right, top = self.box
        if not (self.page >= 1 and left >= 0 and bottom >= 0 and right - left >= 40 and top - bottom >= 20):
            raise Malformed(
                "documents.pdf.box", "a page from 1 on, and a box of at least 40 by 20 points: left, bottom, right, top"
            )


@dataclass(frozen=True, slots=True)
class PdfWish:
    """What the signer wants to say besides signing: a reason, where to be seen, an empty signature field to use."""

    reason: str | None = None
    visible: VisibleSignature | None = None
    field_name: str | None = None


@dataclass(frozen=True, slots=True)
class PreparedPdfSignature:
    """A signature in a PDF file that waits for its value. `digest` is what the device signs, with `hash_name`."""

    cades: PreparedCades
    certificate: x509.Certificate
    issuer: x509.Certificate
    prepared_at: datetime
    base_bytes: int  # as long the file was before
    base_sha256: bytes
    placeholder: Placeholder = field(repr=False)  # its content begins with the file, or is only what comes after it
    has_base: bool = True

    @property
    def digest(self) -> bytes:
        return self.cades.digest

    @property
    def hash_name(self) -> str:
        return self.cades.method.hash_name

    def without_base(self) -> "PreparedPdfSignature":
        """The same for who keeps the file elsewhere and hands it in at completion."""
        after = self.placeholder.content[self.base_bytes :]
        return replace(self, placeholder=replace(self.placeholder, content=after), has_base=False)

    def with_base(self, content: bytes) -> "PreparedPdfSignature":
        """The same with the file as it is now. Raises: Conflict `documents.pdf.changed`, it is another one."""
        if hashlib.sha256(content).digest() != self.base_sha256:
            raise Conflict(
                "documents.pdf.changed",
                "not the file that was prepared",
                public="Somebody has signed this document meanwhile. Start signing again.",
            )
        if self.has_base:
            return self
        return replace(
            self, placeholder=replace(self.placeholder, content=content + self.placeholder.content), has_base=True
        )

    def to_bytes(self) -> bytes:
        """For keeping between the two steps, in a place that only this program can write to."""
        header = json.dumps(
            {
                "attributes": _b64(self.cades.signed_attributes_der),
                "method": self.cades.method.uri,
                "certificate": _b64(self.certificate.public_bytes(Encoding.DER)),
                "issuer": _b64(self.issuer.public_bytes(Encoding.DER)),
                "prepared_at": self.prepared_at.isoformat(),
                "base_bytes": self.base_bytes,
                "base_sha256": _b64(self.base_sha256),
                "has_base": self.has_base,
                "field": self.placeholder.field_name,
                "start": self.placeholder.start,
                "end": self.placeholder.end,
            }
        ).encode()
        return _MAGIC + len(header).to_bytes(4, "big") + header + self.placeholder.content

    @classmethod
    def from_bytes(cls, data: bytes) -> "PreparedPdfSignature":
        """Raises: Malformed `documents.prepared`."""
        start = len(_MAGIC) + 4
        size = int.from_bytes(data[len(_MAGIC) : start], "big")
        if not data.startswith(_MAGIC) or len(data) < start + size:
            raise Malformed("documents.prepared", "not a prepared signature")
        try:
            header = json.loads(data[start : start + size])
            certificate_der = _unb64(header["certificate"])
            content = data[start + size :]
            return cls(
                cades=PreparedCades(_unb64(header["attributes"]), SIGNATURE_METHODS[header["method"]], certificate_der),
                certificate=load_certificate(certificate_der),
                issuer=load_certificate(_unb64(header["issuer"])),
                prepared_at=datetime.fromisoformat(header["prepared_at"]).astimezone(UTC),
                base_bytes=int(header["base_bytes"]),
                base_sha256=_unb64(header["base_sha256"]),
                has_base=bool(header["has_base"]),
                placeholder=Placeholder(content, str(header["field"]), int(header["start"]), int(header["end"])),
            )
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
            raise Malformed("documents.prepared", "a prepared signature that cannot be read") from error


def is_prepared_pdf(data: bytes) -> bool:
    """Whether `PreparedPdfSignature.to_bytes` wrote this."""
    return data.startswith(_MAGIC)


def prepare_pdf_signature(
    content: bytes,
    *,
    certificate: x509.Certificate,
    issuers: Sequence[x509.Certificate],
    trust: VerifiedTrust,
    at: datetime,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    method: SignatureMethod | None = None,
    wish: PdfWish | None = None,
    policy: Policy = POLV4,
) -> PreparedPdfSignature:
    """First step: a place for the signature is appended to the file, and what the signer signs is known.

    Raises:
        Malformed: `pdf.…`, it cannot be read as one PDF file; `documents.pdf.text`; `cades.role`.
        Refused: `documents.container.not_valid`, what is signed in it is not valid; `documents.certificate.…`;
            `pdf.certified`, `pdf.field`, `pdf.page`.
    """
    wish = wish or PdfWish()
    location = _location(place)
    for text in (wish.reason, location):
        if text is not None and not 0 < len(text) <= MAX_TEXT_CHARACTERS:
            raise Malformed("documents.pdf.text", f"reason and place have 1 to {MAX_TEXT_CHARACTERS} characters")
    # 1 the certificate is one to sign with
    issuer = check_signing_certificate(certificate, issuers=issuers, at=at)
    # 2 nobody adds a name to a document that is not in order
    before = read_pdf(content)
    if before.signatures:
        report = validate_pdf(before, trust=trust, at=at, policy=policy)
        if not report.is_valid:
            raise _not_valid(explain(report))
    # 3 the place, and what is signed
    method = method or choose_method(certificate.public_key())
    placeholder = add_signature_placeholder(
        content,
        claimed_at=at,
        reserved_bytes=_SIGNATURE_BYTES,
        reason=wish.reason,
        location=location,
        field=wish.field_name,
        appearance=_appearance(certificate, at, wish, location),
    )
    cades = prepare_cades(_digest(placeholder, method.hash_name), certificate=certificate, method=method, roles=roles)
    return PreparedPdfSignature(
        cades, certificate, issuer, at, len(content), hashlib.sha256(content).digest(), placeholder
    )


def finish_pdf_signature(
    prepared: PreparedPdfSignature,
    signature_value: bytes,
    *,
    trust: TrustServices,
    level: Level = Level.LT,
    present: bytes | None = None,
    policy: Policy = POLV4,
) -> SignedDocument:
    """Second step: the file with the signature, of the level asked for.

    `signature_value` is r||s for ECDSA. `present` is the file as it is now, when it may have changed since or was kept
    elsewhere.

    Raises:
        Refused: `documents.prepared.expired`; `xades.signature_value`, the value is not the signer's;
            `documents.certificate.revoked`, `.suspended`, `.unknown`; `tsp.…`, `ocsp.…`, `trust.…`.
        Conflict: `documents.pdf.changed`, somebody has signed it meanwhile.
        Unavailable: a trust service does not answer.
        Broken: `documents.not_valid`, our own validator does not accept what was made.
    """
    # 1 the first step was not long ago, over the file as it still is
    if not timedelta(0) <= trust.clock.now() - prepared.prepared_at <= MAX_PREPARED_AGE:
        raise Refused(
            "documents.prepared.expired", "prepared too long ago", public="Signing took too long. Please start again."
        )
    if present is not None:
        prepared = prepared.with_base(present)
    assert prepared.has_base
    # 2 the value is the signer's
    verify_prepared_cades(prepared.cades, signature_value)
    # 3 the signature with what its level asks for
    content = _build(prepared, signature_value, level=level, trust=trust)
    # 4 our own verdict, or nothing
    report = validate_pdf(read_pdf(content), trust=trust.trust(), at=trust.clock.now(), policy=policy)
    name = prepared.placeholder.field_name
    found = [one for one in report.signatures if one.file_name == name]
    signed = SignedDocument(content, name, found[0].id if found else "", level, report)
    check_verdict(signed)
    return signed


def _build(prepared: PreparedPdfSignature, signature_value: bytes, *, level: Level, trust: TrustServices) -> bytes:
    def fill(time_stamp_der: bytes | None) -> bytes:
        cms_der = build_cades(
            prepared.cades, signature_value, certificates=[prepared.issuer], time_stamp_der=time_stamp_der
        )
        return fill_placeholder(prepared.placeholder, cms_der)

    if level is Level.B:
        return fill(None)
    # 1 a time-stamp over the value
    imprint = hashlib.new(_TIME_STAMP_HASH, cms_signature_value(prepared.cades, signature_value)).digest()
    time_stamp_der, time_stamp = trust.tsa.fetch(imprint, _TIME_STAMP_HASH)
    content = fill(time_stamp_der)
    if level is Level.T:
        return content
    # 2 then, and not before, the status of the certificate
    ocsp_der, status = trust.ocsp.fetch(prepared.certificate, prepared.issuer)
    check_status(status, stamped_at=time_stamp.gen_at)
    certificates = certificate_values([prepared.issuer, status.responder, time_stamp.tsu])
    content = add_store(content, certificates_der=certificates, ocsp_der=[ocsp_der])
    # 3 a time-stamp over all of it
    return content if level is Level.LT else add_document_time_stamp(content, trust=trust)


def add_document_time_stamp(content: bytes, *, trust: TrustServices) -> bytes:
    """The file with a document time-stamp over all of it. Not judged yet.

    Raises: Malformed `pdf.…`; Refused `tsp.…`, `trust.…`; Unavailable.
    """
    placeholder = add_time_stamp_placeholder(content, reserved_bytes=_TIME_STAMP_BYTES)
    token_der, _ = trust.tsa.fetch(_digest(placeholder, _TIME_STAMP_HASH), _TIME_STAMP_HASH)
    return fill_placeholder(placeholder, token_der)


def sign_pdf(
    content: bytes,
    *,
    signer: Signer,
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    wish: PdfWish | None = None,
    level: Level = Level.LT,
    policy: Policy = POLV4,
) -> bytes:
    """Both steps with a signer at hand. Raises what the steps raise."""
    prepared = prepare_pdf_signature(
        content,
        certificate=signer.certificate,
        issuers=issuers,
        trust=trust.trust(),
        at=trust.clock.now(),
        roles=roles,
        place=place,
        method=signer.method,
        wish=wish,
        policy=policy,
    )
    return finish_pdf_signature(prepared, signer.sign(prepared.digest), trust=trust, level=level, policy=policy).content


# ------------------------------------------------------------------ made to last


def extend_pdf(content: bytes, *, services: TrustServices, level: Level = Level.LTA, policy: Policy = POLV4) -> bytes:
    """The same file with all of its signatures at `level`, LT or LTA. LTA appends one document time-stamp more, also
    when there is one; it covers everything before it.

    Raises:
        Malformed: `pdf.…`.
        Refused: `documents.container.not_valid`, a signature is not valid as it is; `documents.extend.level`, it has no
            time-stamp; `documents.certificate.not_good`; `ocsp.…`, `tsp.…`, `trust.…`.
        Unavailable: a trust service does not answer.
        Broken: `documents.not_valid`, our own validator does not accept what was made.
    """
    # 1 what is not valid is not prolonged
    before = _judge(content, services, policy)
    if not before.signatures and not before.is_valid:
        raise Refused("documents.extend.level", "no signature", public="There is no signature to prolong.")
    for signature in before.signatures:
        if signature.signature_format.endswith("_B"):
            raise Refused("documents.extend.level", f"{signature.id} has no time-stamp to build on")
        check_prolongable(signature)

    # 2 what says later that the signers' certificates were good, and whose time-stamps there are
    certificates: list[x509.Certificate] = []
    responses: list[bytes] = []
    for signature in before.signatures:
        if signature.signature_format.endswith("_T"):
            response_der, issuer, status = confirm_status(signature, services)
            responses.append(response_der)
            certificates += [issuer, status.responder]
        certificates += [
            stamp.tsu for stamp in (*signature.time_stamps, *signature.archive_time_stamps) if stamp.tsu is not None
        ]
    extended = add_store(content, certificates_der=certificate_values(certificates), ocsp_der=responses)

    # 3 a time-stamp over all of it; our own verdict, or nothing
    if level is Level.LTA:
        extended = add_document_time_stamp(extended, trust=services)
    after = _judge(extended, services, policy)
    if not after.is_valid:
        raise Broken("documents.not_valid", f"our validator does not accept what was made: {explain(after)}")
    return extended


def _judge(content: bytes, services: TrustServices, policy: Policy) -> Report:
    """Our validator's verdict about a PDF file now. Raises: Malformed."""
    return validate_pdf(read_pdf(content), trust=services.trust(), at=services.clock.now(), policy=policy)


# ------------------------------------------------------------------ small things


def _digest(placeholder: Placeholder, hash_name: str) -> bytes:
    view = memoryview(placeholder.content)
    hashed = hashlib.new(hash_name, view[: placeholder.start])
    hashed.update(view[placeholder.end :])
    return hashed.digest()


def _appearance(certificate: x509.Certificate, at: datetime, wish: PdfWish, location: str | None) -> Appearance | None:
    if wish.visible is None:
        return None
    from digiid.platform.pdf.appearance import draw_appearance  # fonts: half a second at the start of every program

    left, bottom, right, top = wish.visible.box
    drawn = draw_appearance(
        right - left, top - bottom, certificate=certificate, at=at, reason=wish.reason, location=location
    )
    return Appearance(drawn, wish.visible.page - 1, wish.visible.box)


def _location(place: ProductionPlace | None) -> str | None:
    if place is None:
        return None
    parts = (place.city, place.state_or_province, place.postal_code, place.country_name)
    return ", ".join(part for part in parts if part) or None


def _not_valid(detail: str) -> Refused:
    return Refused("documents.container.not_valid", detail, public="The document is not valid as it is.")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
