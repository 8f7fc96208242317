"""What the portal does for the person who is signed in, and for whoever validates or reports."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography import x509
from sqlalchemy.engine import Connection

from digiid.contracts.police_board import DocumentSummary, LossReported, ReportMisuse
from digiid.exchange.client import Client
from digiid.formats.asic import DataFile, Limits, parse_container
from digiid.formats.cdoc2 import ArchiveLimits
from digiid.formats.validation import Report
from digiid.institutions.information_authority import peers, store
from digiid.institutions.information_authority.domain import Document, check_files, clean_file_name, keep_until
from digiid.institutions.information_authority.settings import Settings
from digiid.kernel.errors import Malformed, NotFound, Refused
from digiid.platform import journal, outbox
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.documents import TrustServices
from digiid.platform.documents.encryption import PasswordKey, decrypt_contents, encrypt_contents
from digiid.platform.documents.extending import extend_document
from digiid.platform.documents.files import guess_media_type
from digiid.platform.documents.judging import validate_document
from digiid.platform.documents.recipients import NewRecipient, recipient_of_certificate, recipient_of_password
from digiid.platform.documents.taking_out import list_files
from digiid.platform.documents.time_stamping import renew_time_stamp, time_stamp_document
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.outbox import Bell
from digiid.platform.preview import can_draw, draw_page, read_text
from digiid.platform.web.sign_in import SignedInPerson
from digiid.platform.web.sign_ins import SignIn, list_sign_ins, record_sign_in

UNSIGNED_FILES_KEPT = timedelta(hours=12)


@dataclass(frozen=True)
class Deps:
    db: Database
    clock: Clock
    entropy: Entropy
    exchange: Client
    services: TrustServices
    settings: Settings
    wake_outbox: Bell = field(default_factory=Bell)


def admit(deps: Deps, person: SignedInPerson) -> Mapping[str, str]:
    """Everybody with a valid card may enter; the sign-in is written down for the person to see."""
    with deps.db.write() as tx:
        record_sign_in(tx, store.SIGN_INS, person, site="portal")
    return {}


def own_sign_ins(deps: Deps, personal_code: str) -> list[SignIn]:
    with deps.db.read() as tx:
        return list_sign_ins(tx, store.SIGN_INS, personal_code)


def own_identity_documents(deps: Deps, personal_code: str) -> Sequence[DocumentSummary]:
    """The person's digi-IDs and cards, asked of the board live and not stored here."""
    return peers.list_documents(deps.exchange, personal_code)


def report_loss(deps: Deps, personal_code: str, document_number: str, note: str) -> LossReported:
    """Suspend an own document at once. Raises: NotFound `portal.document`, it is not the person's own."""
    # 1 only an own document
    own = peers.list_documents(deps.exchange, personal_code)
    if document_number not in {document.document_number for document in own}:
        raise NotFound("portal.document", "not an own document", public="This is not one of your documents.")
    # 2 the board suspends; its answer says since when
    reported = peers.report_loss(deps.exchange, personal_code, document_number, note)
    with deps.db.write() as tx:
        payload: dict[str, journal.JsonValue] = {"document": document_number}
        journal.record(tx, store.JOURNAL, kind="loss.reported", payload=payload, at=deps.clock.now())
    return reported


def upload_files(deps: Deps, personal_code: str, files: Sequence[DataFile]) -> str:
    """Keep files until they are signed. Returns the document's id.

    Raises: Refused `portal.files`, `portal.full` (delete something first).
    """
    check_files(files, max_files=deps.settings.max_files, max_bytes=deps.settings.max_upload_bytes)
    at = deps.clock.now()
    document = Document(
        new_id(deps.entropy), personal_code, files[0].name, len(files), at, None, at + UNSIGNED_FILES_KEPT, None
    )
    with deps.db.write() as tx:
        if store.count_documents(tx, personal_code) >= deps.settings.max_documents:
            raise Refused(
                "portal.full",
                "too many documents",
                public="The portal keeps no more documents for you. Delete some that you have downloaded.",
            )
        store.insert_document(tx, document, files)
    return document.document_id


@dataclass(frozen=True, slots=True)
class FileToSee:
    """A file as it is shown before signing: what it is, how long, its fingerprint, and what can be shown of it.

    `is_drawn`: its pages are there as pictures. `text`: what it says, when it is plain text.
    """

    name: str
    media_type: str
    size: int
    sha256: str
    is_drawn: bool
    text: str | None


def _to_see(file: DataFile) -> FileToSee:
    return FileToSee(
        file.name,
        file.media_type,
        len(file.content),
        hashlib.sha256(file.content).hexdigest(),
        can_draw(file.media_type),
        read_text(file.content) if file.media_type.startswith("text/") else None,
    )


@dataclass(frozen=True, slots=True)
class Opened:
    """What waits for a signature: files for a new container, those in a container that was uploaded alone, or a PDF
    file alone, which can also be signed inside.

    `report` is our verdict about signatures that are there already; only what is valid can be signed again.
    """

    files: Sequence[DataFile]
    container: bytes | None = None
    pdf: bytes | None = None
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A document before it is signed. `can_be_inside`: it is a PDF file that can be signed inside; `report`: the
    verdict about signatures that are there already."""

    document: Document
    files: list[FileToSee]
    can_be_inside: bool
    report: Report | None


def show_document(deps: Deps, personal_code: str, document_id: str) -> Shown:
    """A document, the files that a signature will cover, and the verdict about a container that was uploaded.

    Raises: NotFound `portal.no_document`, also for somebody else's.
    """
    with deps.db.read() as tx:
        document = _own(tx, document_id, personal_code)
        files = store.read_files(tx, document_id)
    opened = _open(deps, files)
    return Shown(document, [_to_see(file) for file in opened.files], opened.pdf is not None, opened.report)


def open_to_sign(deps: Deps, personal_code: str, document_id: str) -> Opened:
    """Raises: NotFound `portal.no_document`."""
    with deps.db.read() as tx:
        _own(tx, document_id, personal_code)
        files = store.read_files(tx, document_id)
    if not files:
        raise NotFound("portal.no_document", "signed already", public="This document has been signed already.")
    return _open(deps, files)


def _open(deps: Deps, files: Sequence[DataFile]) -> Opened:
    """A container that was uploaded alone gets one signature more; among other files it is a file like them. So it is
    with a PDF file."""
    if len(files) == 1 and files[0].content.startswith(b"%PDF-"):
        return _open_pdf(deps, files)
    if len(files) != 1 or not files[0].content.startswith(b"PK"):
        return Opened(files)
    content, limit = files[0].content, _limits(deps)
    try:
        container = parse_container(io.BytesIO(content), limit)
        if container.form != "ASiC-E" or not container.signature_files:
            return Opened(files)
        inside = [
            DataFile(
                entry.name,
                container.manifest.get(entry.name) or guess_media_type(entry.name),
                container.archive.read(entry, max_bytes=limit.max_total_bytes),
            )
            for entry in container.data_files
        ]
        return Opened(inside, content, report=validate(deps, content, files[0].name))
    except Malformed:
        return Opened(files)  # no container that we read: it can be signed as the file that it is


def _open_pdf(deps: Deps, files: Sequence[DataFile]) -> Opened:
    content = files[0].content
    try:
        report = validate(deps, content, files[0].name)
    except Malformed:
        return Opened(files)  # it goes into a container as the file that it is
    return Opened(files, pdf=content, report=report if report.signatures or report.time_stamp_tokens else None)


def keep_signed(deps: Deps, personal_code: str, document_id: str, container: bytes) -> None:
    """Keep a container that our validator called valid, for as long as the settings say."""
    deps.db.retry(lambda: _keep_signed(deps, personal_code, document_id, container))


def _keep_signed(deps: Deps, personal_code: str, document_id: str, container: bytes) -> None:
    at = deps.clock.now()
    with deps.db.write() as tx:
        _own(tx, document_id, personal_code)
        store.keep_container(tx, document_id, container, at, keep_until(at, deps.settings.keep_days))
        digest = hashlib.sha256(container).hexdigest()
        payload: dict[str, journal.JsonValue] = {"document": document_id, "sha256": digest}
        journal.record(tx, store.JOURNAL, kind="document.signed", payload=payload, at=at)


def own_documents(deps: Deps, personal_code: str) -> list[Document]:
    with deps.db.read() as tx:
        return store.list_documents(tx, personal_code)


def read_container(deps: Deps, personal_code: str, document_id: str) -> tuple[Document, bytes]:
    """Raises: NotFound `portal.no_document`."""
    with deps.db.read() as tx:
        document = _own(tx, document_id, personal_code)
        container = store.read_container(tx, document_id)
    if container is None:
        raise NotFound("portal.no_document", "not signed", public="This document has not been signed yet.")
    return document, container


def read_file(deps: Deps, personal_code: str, document_id: str, position: int) -> DataFile:
    """One of the files before they are signed, for looking at it. Raises: NotFound `portal.no_document`."""
    files = open_to_sign(deps, personal_code, document_id).files
    if not 0 <= position < len(files):
        raise NotFound("portal.no_document", "no such file", public="There is no such file.")
    return files[position]


@dataclass(frozen=True, slots=True)
class FileLookedAt:
    """A file with its pages counted, before it is signed."""

    file: FileToSee
    pages: int


def look_at_file(deps: Deps, personal_code: str, document_id: str, position: int) -> FileLookedAt:
    """One file for looking at it whole: how many pages can be shown, none when it cannot be drawn.

    Raises: NotFound `portal.no_document`.
    """
    file = read_file(deps, personal_code, document_id, position)
    seen = _to_see(file)
    try:
        pages = draw_page(file.content).pages if seen.is_drawn else 0
    except Malformed:
        pages = 0
    return FileLookedAt(seen, pages)


def draw_file(deps: Deps, personal_code: str, document_id: str, position: int, page: int) -> bytes:
    """One page as PNG. Raises: NotFound `portal.no_document`, also when it cannot be drawn."""
    file = read_file(deps, personal_code, document_id, position)
    try:
        return draw_page(file.content, page=page).png
    except Malformed as error:
        raise NotFound("portal.no_preview", error.detail, public="This page cannot be shown here.") from error


def delete_document(deps: Deps, personal_code: str, document_id: str) -> None:
    """Delete at the holder's wish. Raises: NotFound `portal.no_document`."""
    with deps.db.write() as tx:
        _own(tx, document_id, personal_code)
        store.delete_document(tx, document_id)


def delete_past(deps: Deps) -> int:
    """The timer: what was kept long enough goes. Returns how many."""
    with deps.db.write() as tx:
        past = store.documents_past(tx, deps.clock.now())
        for document_id in past:
            store.delete_document(tx, document_id)
    return len(past)


def validate(deps: Deps, content: bytes, name: str) -> Report:
    """Judge a container by the state's trusted list. Nothing is kept. Raises: Malformed, with the reason."""
    return validate_document(io.BytesIO(content), trust=deps.services.trust(), at=deps.clock.now(), file_name=name)


def report_misuse(deps: Deps, *, what_happened: str, document_number: str, service: str, contact: str) -> str:
    """Take a report for the board. Returns its receipt number; the outbox carries it on."""
    at = deps.clock.now()
    report = ReportMisuse(
        report_id=new_id(deps.entropy),
        what_happened=what_happened,
        document_number=document_number,
        service=service,
        contact=contact,
        reported_at=at,
    )
    with deps.db.write() as tx:
        payload = report.model_dump(mode="json")
        outbox.put(tx, store.OUTBOX, message_id=report.report_id, kind="report_misuse", payload=payload, at=at)
        journal.record(tx, store.JOURNAL, kind="misuse.reported", payload={"report": report.report_id}, at=at)
    deps.wake_outbox()
    return report.report_id


# ------------------------------------------------------------------ files that are given back at once, nothing is kept


def prolong(deps: Deps, content: bytes) -> bytes:
    """A signed container or PDF file made to last (level LTA; once more, if it is LTA), or a stamped one renewed.

    Raises: what `extend_document` and `renew_time_stamp` raise.
    """
    if content.startswith(b"PK") and parse_container(io.BytesIO(content), _limits(deps)).form == "ASiC-S":
        return renew_time_stamp(content, services=deps.services)
    return extend_document(content, services=deps.services)


def time_stamp(deps: Deps, file: DataFile) -> bytes:
    """A time-stamped container around a file, signed by nobody. Raises: what `time_stamp_document` raises."""
    return time_stamp_document(file, services=deps.services)


def take_out(deps: Deps, container: bytes) -> list[DataFile]:
    """The files of a container or DigiDoc file, judged by nobody.

    Raises: Malformed `documents.no_container`, `asic.…`, `ddoc.…`, `xml.…`.
    """
    return [
        DataFile(clean_file_name(name), guess_media_type(name), b"".join(content))
        for name, content in list_files(io.BytesIO(container), name="the upload", limits=_limits(deps))
    ]


def encrypt(
    deps: Deps, files: Sequence[DataFile], *, certificates: Sequence[x509.Certificate], password: str, label: str
) -> bytes:
    """A CDOC2 container for the holders of certificates, for whoever knows a password, or for both.

    Raises: Refused `portal.files`, `encryption.…`; Malformed `cdoc2.name.…`.
    """
    check_files(files, max_files=deps.settings.max_files, max_bytes=deps.settings.max_upload_bytes)
    at = deps.clock.now()
    recipients: list[NewRecipient] = [recipient_of_certificate(found, at=at) for found in certificates]
    if password:
        recipients.append(recipient_of_password(label or files[0].name, password))
    return encrypt_contents(files, recipients=recipients, entropy=deps.entropy, limits=_unpacked(deps))


def decrypt(deps: Deps, container: bytes, password: str) -> list[DataFile]:
    """The files of a CDOC2 container that a password opens. Raises: what `decrypt_files` raises."""
    return decrypt_contents(container, key=PasswordKey(password), limits=_unpacked(deps))


def _limits(deps: Deps) -> Limits:
    return Limits(max_total_bytes=deps.settings.max_unpacked_bytes)


def _unpacked(deps: Deps) -> ArchiveLimits:
    return ArchiveLimits(max_files=100, max_bytes=deps.settings.max_unpacked_bytes)


def _own(tx: Connection, document_id: str, personal_code: str) -> Document:
    document = store.find_document(tx, document_id, personal_code)
    if document is None:
        raise NotFound("portal.no_document", "not there, or not this person's", public="There is no such document.")
    return document
