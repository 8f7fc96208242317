"""What the signing service does for its clients: keep a container, prepare a signature, take its value, hand it out.

What was acknowledged is committed. A prepared signature is taken by one value: first it is marked as taken, then the
trust services are asked, then the container and the end of the preparation are written in one transaction. Who was
killed in between leaves the container as it was.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats.asic import Container, DataFile, Limits, build_container, check_data_files, parse_container
from digiid.formats.asic.hashcode import FileHash, build_hashcode_container, is_hashcode_container, read_file_hashes
from digiid.formats.validation import Report
from digiid.formats.x509.parts import load_certificate
from digiid.formats.xades import ProductionPlace, choose_method
from digiid.formats.xades.algorithms import raw_from_der
from digiid.institutions.information_authority.signing_service import store
from digiid.institutions.information_authority.signing_service.clients import Registry
from digiid.institutions.information_authority.signing_service.domain import (
    CLOCK_WINDOW,
    PREPARED_LIFETIME,
    Form,
    PreparedState,
    StoredContainer,
    StoredPrepared,
    decide_take,
)
from digiid.institutions.information_authority.signing_service.settings import Settings
from digiid.kernel.errors import Conflict, Malformed, NotFound, Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.documents import Level, PreparedSignature, TrustServices, prepare_additional_signature
from digiid.platform.documents.early_status import EarlyStatus
from digiid.platform.documents.extending import extend_document
from digiid.platform.documents.finishing import build_signature_file, check_files, place_signature_file, stream_of
from digiid.platform.documents.judging import validate_document
from digiid.platform.documents.pades import (
    PdfWish,
    PreparedPdfSignature,
    finish_pdf_signature,
    prepare_pdf_signature,
)
from digiid.platform.documents.removing import remove_signature as take_out
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.pdf import read_pdf

_MAX_NAME_CHARS: Final = 260
_MAX_PREPARED: Final = 100  # of one container
_MAX_ROLES: Final = 5
_MAX_TEXT_CHARS: Final = 256
_TRIES: Final = 8  # of several who complete at once one gets through at a time
_PURGED_AT_ONCE: Final = 500
log = structlog.get_logger("signing_service")


@dataclass(frozen=True)
class Deps:
    """What the service works with. `issuers` are the CAs whose signers are accepted."""

    db: Database
    clock: Clock
    entropy: Entropy
    registry: Registry
    issuers: Sequence[x509.Certificate]
    trust: TrustServices
    settings: Settings
    early_status: EarlyStatus = field(default_factory=EarlyStatus)


@dataclass(frozen=True, slots=True)
class Address:
    """Which container: whose, under which path, its identifier. Another client's is not found."""

    client_id: str
    form: Form
    container_id: str


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What a client says about a signature to prepare. `pss` matters for RSA keys only."""

    certificate_der: bytes
    level: Level = Level.LT
    pss: bool = False
    roles: tuple[str, ...] = ()
    place: ProductionPlace | None = None
    pdf: PdfWish | None = None


@dataclass(frozen=True, slots=True)
class ToSign:
    """The answer to it: what the signer's device hashes and signs."""

    signature_id: str
    data_to_sign: bytes
    digest: bytes
    hash_name: str


@dataclass(frozen=True, slots=True)
class FileEntry:
    name: str
    media_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SignatureEntry:
    signature_id: str
    signed_by: str
    signature_format: str
    indication: str


# ------------------------------------------------------------------------------------------ containers


def create_container(deps: Deps, client_id: str, *, name: str, files: Sequence[DataFile]) -> str:
    """A container over whole files, not signed yet. Returns its identifier.

    Raises: Malformed `asic.data_file.…`, `signing.name`; Refused `signing.too_many_files`, `signing.too_many`.
    """
    _check_count(deps, len(files))
    check_data_files(files)
    return _keep(deps, client_id, Form.ASICE, name, build_container(files, (), at=deps.clock.now()))


def create_hashcode_container(deps: Deps, client_id: str, *, files: Sequence[FileHash]) -> str:
    """A container over digests; the files stay with the client. Raises as `create_container`."""
    _check_count(deps, len(files))
    container = build_hashcode_container(files, at=deps.clock.now())
    return _keep(deps, client_id, Form.HASHCODE, "container.asice", container)


def upload_container(deps: Deps, client_id: str, form: Form, *, name: str, content: bytes) -> str:
    """A container or PDF file that exists already, to be signed (once more), extended or looked at.

    Raises: Malformed `asic.…`, `pdf.…`; Refused `signing.form`, it is of another form than its path says.
    """
    if form is Form.PDF:
        read_pdf(content)
        return _keep(deps, client_id, form, name, content)
    limits = Limits(max_entries=deps.settings.max_files + 60, max_total_bytes=8 * deps.settings.max_body_bytes)
    _check_form(form, parse_container(io.BytesIO(content), limits))
    return _keep(deps, client_id, form, name, content)


def get_container(deps: Deps, where: Address) -> StoredContainer:
    """The container as it is now. Raises: NotFound `signing.container`."""
    with deps.db.read() as tx:
        found = store.find_container(tx, where.container_id, client_id=where.client_id, form=where.form)
    if found is None:
        raise NotFound("signing.container", "There is no such container.")
    return found


def delete_container(deps: Deps, where: Address) -> None:
    """Forget a container and what was prepared over it. Raises: NotFound `signing.container`."""
    get_container(deps, where)

    def delete() -> None:
        with deps.db.write() as tx:
            store.delete_container(tx, where.container_id)

    deps.db.retry(delete)


def list_files(deps: Deps, where: Address) -> list[FileEntry]:
    """The data files, or those that digests stand for. Raises: NotFound `signing.container`."""
    parsed = parse_container(io.BytesIO(get_container(deps, where).content))
    if is_hashcode_container(parsed):
        return [FileEntry(file.name, file.media_type, file.size_bytes) for file in read_file_hashes(parsed).files]
    return [FileEntry(entry.name, parsed.manifest.get(entry.name, ""), entry.size_bytes) for entry in parsed.data_files]


def list_signatures(deps: Deps, where: Address) -> list[SignatureEntry]:
    """The signatures with our validator's verdict about each. Raises: NotFound `signing.container`."""
    report = validate(deps, where)
    return [
        SignatureEntry(found.id, found.signed_by, found.signature_format, str(found.indication))
        for found in report.signatures
    ]


def validate(deps: Deps, where: Address) -> Report:
    """Our validator's report about the container as it is. Raises: NotFound `signing.container`."""
    stored = get_container(deps, where)
    trust, at = deps.trust.trust(), deps.clock.now()
    return validate_document(io.BytesIO(stored.content), trust=trust, at=at, file_name=stored.name)


def remove_signature(deps: Deps, where: Address, signature_id: str) -> None:
    """Take a signature out; every other file keeps its bytes.

    Raises: NotFound `signing.container`, `documents.signature`; Refused `documents.signature.shared`.
    """
    _change(deps, where, lambda content: take_out(content, signature_id))


def extend(deps: Deps, where: Address) -> None:
    """One archive time-stamp more for every signature, or for the PDF file (level LTA).

    Raises: NotFound `signing.container`; Refused `documents.…`, `xades.archive.…`; Unavailable.
    """
    _change(deps, where, lambda content: extend_document(content, services=deps.trust))


# ------------------------------------------------------------------------------------------ signing, two steps


def prepare(deps: Deps, where: Address, request: SigningRequest) -> ToSign:
    """First step: what the signer's device is to sign. Nobody is to type a PIN for a certificate that is revoked.

    Raises: NotFound `signing.container`; Malformed `x509.…`; Refused `documents.certificate.…`,
        `documents.container.not_valid`, `signing.level`, `xades.key`; Conflict `signing.prepared.too_many`.
    """
    # 1 the container as it is, and what can be asked of it
    stored = get_container(deps, where)
    _check_request(where.form, request)
    certificate = load_certificate(request.certificate_der)
    # 2 what will be signed, kept byte-exact; the container stays where it is
    at = deps.clock.now()
    prepare_it = _prepare_pdf if where.form is Form.PDF else _prepare_container
    prepared, to_sign = prepare_it(deps, stored, request, certificate, at)
    # 3 the certificate is in force, as far as that can be known now
    deps.early_status.check(prepared.certificate, prepared.issuer, fetch=deps.trust.ocsp.fetch, clock=deps.clock)
    signature_id = new_id(deps.entropy)
    kept = StoredPrepared(
        signature_id=signature_id,
        container_id=where.container_id,
        prepared=prepared.to_bytes(),
        level=request.level.value,
        state=PreparedState.WAITING,
        value_hash=None,
        prepared_at=at,
    )
    deps.db.retry(lambda: _insert_prepared(deps, where, kept))
    return ToSign(signature_id, to_sign, prepared.digest, prepared.hash_name)


def _prepare_container(
    deps: Deps,
    stored: StoredContainer,
    request: SigningRequest,
    certificate: x509.Certificate,
    at: datetime,
) -> tuple[PreparedSignature, bytes]:
    prepared = prepare_additional_signature(
        stored.content,
        certificate=certificate,
        issuers=deps.issuers,
        trust=deps.trust.trust(),
        at=at,
        roles=request.roles,
        place=request.place,
        method=choose_method(certificate.public_key(), pss=request.pss),
    )
    return prepared.without_container(), prepared.xades.canonical_signed_info


def _prepare_pdf(
    deps: Deps,
    stored: StoredContainer,
    request: SigningRequest,
    certificate: x509.Certificate,
    at: datetime,
) -> tuple[PreparedPdfSignature, bytes]:
    prepared = prepare_pdf_signature(
        stored.content,
        certificate=certificate,
        issuers=deps.issuers,
        trust=deps.trust.trust(),
        at=at,
        roles=request.roles,
        place=request.place,
        method=choose_method(certificate.public_key(), pss=request.pss),
        wish=request.pdf,
    )
    return prepared.without_base(), prepared.cades.signed_attributes_der


def complete(deps: Deps, where: Address, signature_id: str, value: bytes) -> None:
    """Second step: the value goes into the container. A repeat with the same value after the end changes nothing.

    Raises: NotFound `signing.container`, `signing.prepared`; Conflict `signing.prepared.used`,
        `documents.container.changed`; Refused `signing.prepared.expired`, `xades.signature_value`,
        `documents.certificate.…`; Unavailable, and then the same value may come again.
    """
    # 1 taken by this value and by no other
    value_hash = hashlib.sha256(value).digest()
    kept = deps.db.retry(lambda: _take(deps, where, signature_id, value_hash))
    if kept is None:
        return
    try:
        # 2 the signature; the value is verified, then comes the time-stamp, then the status
        if where.form is Form.PDF:
            change = _finish_pdf(deps, kept, value)
        else:
            change = _finish_container(deps, where, kept, value)
        # 3 into the container as it is by now; container and end of the preparation in one commit
        for _ in range(_TRIES):
            stored = get_container(deps, where)
            changed = replace(stored, content=change(stored.content), changed_at=deps.clock.now())
            if deps.db.retry(lambda: _finish(deps, changed, signature_id, value_hash)):  # noqa: B023 - run at once
                log.info(
                    "signing_service.signed",
                    client_id=where.client_id,
                    container_id=where.container_id,
                    level=kept.level,
                )
                return
    except Unavailable:
        # The value is in no container: it may come again when the trust services answer.
        deps.db.retry(lambda: _release(deps, signature_id))
        raise
    raise Conflict("signing.busy", "The container changes too quickly.")


def _finish_container(deps: Deps, where: Address, kept: StoredPrepared, value: bytes) -> Callable[[bytes], bytes]:
    """The signature file is made once; it is put into the container as it is then."""
    prepared, level = PreparedSignature.from_bytes(kept.prepared), Level(kept.level)
    stored = get_container(deps, where)
    check_files(prepared, stored.content)
    xml = build_signature_file(
        prepared,
        _as_xmldsig(prepared.certificate, value),
        trust=deps.trust,
        level=level,
        stream=stream_of(parse_container(io.BytesIO(stored.content))),
    )
    return lambda present: place_signature_file(prepared, xml, present, level=level, trust=deps.trust).content


def _finish_pdf(deps: Deps, kept: StoredPrepared, value: bytes) -> Callable[[bytes], bytes]:
    """A signature in a PDF file is over the file as it was prepared, and goes into no other."""
    prepared, level = PreparedPdfSignature.from_bytes(kept.prepared), Level(kept.level)
    value = _as_xmldsig(prepared.certificate, value)
    return lambda present: finish_pdf_signature(prepared, value, trust=deps.trust, level=level, present=present).content


def _insert_prepared(deps: Deps, where: Address, kept: StoredPrepared) -> None:
    with deps.db.write() as tx:
        if store.find_container(tx, where.container_id, client_id=where.client_id, form=where.form) is None:
            raise NotFound("signing.container", "There is no such container any more.")
        if store.count_prepared(tx, where.container_id) >= _MAX_PREPARED:
            raise Conflict("signing.prepared.too_many", "Too many signatures wait for their values.")
        store.insert_prepared(tx, kept)


def _as_xmldsig(certificate: x509.Certificate, value: bytes) -> bytes:
    """ECDSA values as XMLDSig has them, r and s side by side; most libraries hand out DER, which is taken as well."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or len(value) == 2 * ((key.key_size + 7) // 8):
        return value
    try:
        return raw_from_der(value, key.key_size)
    except Malformed:
        return value  # the verification says what is wrong with it


def _take(deps: Deps, where: Address, signature_id: str, value_hash: bytes) -> StoredPrepared | None:
    with deps.db.write() as tx:
        if store.find_container(tx, where.container_id, client_id=where.client_id, form=where.form) is None:
            raise NotFound("signing.container", "There is no such container.")
        kept = store.find_prepared(tx, signature_id, container_id=where.container_id)
        if kept is None:
            raise NotFound("signing.prepared", "There is no such prepared signature.")
        if not decide_take(kept, value_hash, at=deps.clock.now()):
            return None
        store.move_prepared(
            tx, signature_id, before=PreparedState.WAITING, after=PreparedState.TAKEN, value_hash=value_hash
        )
        return kept


def _release(deps: Deps, signature_id: str) -> None:
    with deps.db.write() as tx:
        store.move_prepared(tx, signature_id, before=PreparedState.TAKEN, after=PreparedState.WAITING, value_hash=None)


def _finish(deps: Deps, changed: StoredContainer, signature_id: str, value_hash: bytes) -> bool:
    with deps.db.write() as tx:
        if not store.change_content(
            tx, changed.container_id, changed.content, version=changed.version, at=changed.changed_at
        ):
            return False
        store.move_prepared(
            tx, signature_id, before=PreparedState.TAKEN, after=PreparedState.FINISHED, value_hash=value_hash
        )
        return True


# ------------------------------------------------------------------------------------------ keeping


def purge(deps: Deps) -> int:
    """Forget what is too old: containers (returns how many), preparations, requests seen. A timer calls it."""
    now = deps.clock.now()
    with deps.db.write() as tx:
        old = store.containers_unchanged_since(tx, now - _keep_time(deps), limit=_PURGED_AT_ONCE)
        for container_id in old:
            store.delete_container(tx, container_id)
        store.forget_prepared(tx, before=now - 2 * PREPARED_LIFETIME)
        store.forget_requests(tx, before=now - 3 * CLOCK_WINDOW)
    return len(old)


def _keep_time(deps: Deps) -> timedelta:
    return timedelta(minutes=deps.settings.keep_minutes)


def _keep(deps: Deps, client_id: str, form: Form, name: str, content: bytes) -> str:
    if not 1 <= len(name) <= _MAX_NAME_CHARS or not name.isprintable() or "/" in name or "\\" in name:
        raise Malformed("signing.name", "containerName is not a file's name.")
    container = StoredContainer(
        container_id=new_id(deps.entropy),
        client_id=client_id,
        form=form,
        name=name,
        content=content,
        version=1,
        changed_at=deps.clock.now(),
    )
    deps.db.retry(lambda: _insert_container(deps, container))
    return container.container_id


def _insert_container(deps: Deps, container: StoredContainer) -> None:
    client_id = container.client_id
    with deps.db.write() as tx:
        if store.count_containers(tx, client_id) >= deps.settings.max_containers:
            raise Refused(
                "signing.too_many",
                "Too many containers are open. Delete those that you have fetched.",
            )
        store.insert_container(tx, container)


def _change(deps: Deps, where: Address, change: Callable[[bytes], bytes]) -> None:
    for _ in range(_TRIES):
        stored = get_container(deps, where)
        changed = replace(stored, content=change(stored.content), changed_at=deps.clock.now())
        if deps.db.retry(lambda: _replace(deps, changed)):  # noqa: B023 - run at once
            return
    raise Conflict("signing.busy", "The container changes too quickly.")


def _replace(deps: Deps, changed: StoredContainer) -> bool:
    with deps.db.write() as tx:
        return store.change_content(
            tx, changed.container_id, changed.content, version=changed.version, at=changed.changed_at
        )


def _check_count(deps: Deps, count: int) -> None:
    if count > deps.settings.max_files:
        raise Refused(
            "signing.too_many_files",
            f"A container holds at most {deps.settings.max_files} files here.",
        )


def _check_form(form: Form, parsed: Container) -> None:
    is_hashcode = is_hashcode_container(parsed)
    if parsed.form != "ASiC-E" or is_hashcode is not (form is Form.HASHCODE):
        raise Refused(
            "signing.form",
            "The container is not of this path's form.",
        )
    if is_hashcode:
        read_file_hashes(parsed)


def _check_request(form: Form, request: SigningRequest) -> None:
    if form is Form.HASHCODE and request.level is Level.LTA:
        raise Refused(
            "signing.level",
            "Level LTA needs the files; put them back into the container and extend it then.",
        )
    place = request.place
    texts: list[str | None] = list(request.roles)
    if place is not None:
        texts += [place.city, place.state_or_province, place.postal_code, place.country_name]
    if len(request.roles) > _MAX_ROLES or any(len(text or "") > _MAX_TEXT_CHARS for text in texts):
        raise Malformed("signing.text", "At most 5 roles, each of 256 characters.")
