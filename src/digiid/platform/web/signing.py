"""Signing with a card on a page, in two steps: the certificate in and a hash out, then the signature in.

Between the steps the prepared signature waits in a table: bound to one session, used once, at most
15 minutes. Whether the result is good is decided in `platform.documents`; where it goes, by the
institution. A page shows the button with `{{ f.card_signing(reference) }}`.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from litestar import Request, post
from sqlalchemy import Column, Index, LargeBinary, MetaData, String, Table, delete, insert, select

from digiid.formats.asic import DataFile
from digiid.formats.x509.parts import load_certificate
from digiid.formats.x509.profile import personal_code
from digiid.kernel.errors import Conflict, DigiidError, Malformed, Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.db import Database, UtcDateTime
from digiid.platform.documents import (
    PreparedSignature,
    TrustServices,
    complete_signature,
    prepare_additional_signature,
    prepare_signature,
)
from digiid.platform.documents.early_status import EarlyStatus
from digiid.platform.documents.pades import (
    PreparedPdfSignature,
    finish_pdf_signature,
    is_prepared_pdf,
    prepare_pdf_signature,
)
from digiid.platform.entropy import Entropy, token_urlsafe
from digiid.platform.web import N_
from digiid.platform.web.sessions import Session
from digiid.platform.web.site import is_own_path, require_session, run, site_of

PENDING_LIFETIME = timedelta(minutes=15)
MAX_CERTIFICATE_BYTES = 8192
MAX_REQUEST_BYTES = 24_000
_MAX_SIGNATURE_BYTES = 1024
_HASH_FUNCTIONS = {"sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}  # as Web eID names them


@dataclass(frozen=True, slots=True)
class ToSign:
    """What a person is about to sign: files for a new container, a container that gets one signature more, or a PDF
    file that is signed inside."""

    files: Sequence[DataFile] = ()
    container: bytes | None = None
    pdf: bytes | None = None


@dataclass(frozen=True, slots=True)
class SignedContainer:
    """A container or PDF file with the person's signature, level LT, which our validator called TOTAL-PASSED."""

    content: bytes
    personal_code: str
    signed_at: datetime


def pending_signatures_table(metadata: MetaData) -> Table:
    """The table `pending_signatures` of one institution. It may be lost: people then sign again."""
    table = Table(
        "pending_signatures",
        metadata,
        Column("id_hash", LargeBinary(32), primary_key=True),
        Column("session_hash", LargeBinary(32), nullable=False),
        Column("reference", String(100), nullable=False),
        Column("prepared", LargeBinary, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
    )
    Index("pending_signatures_session", table.c.session_hash)
    return table


class PendingSignatures:
    """Prepared signatures that wait for their value, one for each session."""

    def __init__(self, db: Database, table: Table, clock: Clock, entropy: Entropy) -> None:
        self._db, self._table, self._clock, self._entropy = db, table, clock, entropy

    def put(self, session: Session, reference: str, prepared: bytes) -> str:
        """Keep a prepared signature in the place of an earlier one of this session. Returns its identifier."""
        identifier = token_urlsafe(self._entropy, 32)
        with self._db.write() as tx:
            tx.execute(delete(self._table).where(self._table.c.session_hash == session.id_hash))
            tx.execute(
                insert(self._table).values(
                    id_hash=_hash(identifier),
                    session_hash=session.id_hash,
                    reference=reference,
                    prepared=prepared,
                    created_at=self._clock.now(),
                )
            )
        return identifier

    def get_and_remove(self, session: Session, identifier: str) -> tuple[str, bytes]:
        """The reference and the prepared signature, once. Raises: Conflict `signing.not_pending`."""
        t = self._table.c
        with self._db.write() as tx:
            row = tx.execute(
                select(t.reference, t.prepared, t.created_at).where(
                    t.id_hash == _hash(identifier), t.session_hash == session.id_hash
                )
            ).one_or_none()
            tx.execute(delete(self._table).where(t.session_hash == session.id_hash))
        if row is None or self._clock.now() - row.created_at > PENDING_LIFETIME:
            raise Conflict(
                "signing.not_pending",
                "no signature waits for this session, it was used, or it is too old",
                public=N_("Signing took too long or was repeated. Start signing again."),
            )
        return row.reference, row.prepared

    def purge(self) -> None:
        """Remove what is too old. A timer calls it."""
        with self._db.write() as tx:
            tx.execute(delete(self._table).where(self._table.c.created_at < self._clock.now() - PENDING_LIFETIME))


@dataclass(frozen=True)
class CardSigning:
    """What a site needs to let people sign with their card.

    `get_to_sign(session, reference)` gives what the person is about to sign, as it was shown to them; it
    raises NotFound for what is not theirs. `on_signed(session, reference, signed)` keeps the container
    and returns the path of the page to show next. Both run on the pool for pages.
    """

    pending: PendingSignatures
    issuers: Sequence[x509.Certificate]
    trust: TrustServices
    get_to_sign: Callable[[Session, str], ToSign]
    on_signed: Callable[[Session, str, SignedContainer], str]
    early_status: EarlyStatus = field(default_factory=EarlyStatus)


def signing_handlers(signing: CardSigning) -> list[Any]:
    """The handlers of `/signing`: the certificate, and the signature. Both need a sign-in with a card."""

    @post("/signing/certificate", status_code=200)
    async def take_certificate(request: Request[Any, Any, Any]) -> dict[str, str]:
        session = require_session(request, kind="card")
        fields = _read(await request.body(), ("reference", "certificate"))
        prepared_id, prepared = await run(request, _prepare, signing, session, fields, site_of(request).clock.now())
        return {
            "id": prepared_id,
            "hash": base64.b64encode(prepared.digest).decode(),
            "hashFunction": _HASH_FUNCTIONS[prepared.hash_name],
        }

    @post("/signing/signature", status_code=200)
    async def take_signature(request: Request[Any, Any, Any]) -> dict[str, str]:
        session = require_session(request, kind="card")
        fields = _read(await request.body(), ("id", "signature"))
        target = await run(request, _complete, signing, session, fields)
        return {"next": target if is_own_path(target) else "/"}

    return [take_certificate, take_signature]


def _prepare(
    signing: CardSigning, session: Session, fields: dict[str, str], at: datetime
) -> tuple[str, PreparedSignature | PreparedPdfSignature]:
    # 1 the certificate is this person's own
    certificate = load_certificate(_base64(fields["certificate"], MAX_CERTIFICATE_BYTES))
    _check_person(certificate, session)
    # 2 what is to be signed, if it is theirs to sign
    wanted = signing.get_to_sign(session, fields["reference"])
    # 3 the hash that the card will see; the certificate is one for signing, valid, of a CA that we name
    prepared: PreparedSignature | PreparedPdfSignature
    if wanted.pdf is not None:
        prepared = prepare_pdf_signature(
            wanted.pdf, certificate=certificate, issuers=signing.issuers, trust=signing.trust.trust(), at=at
        )
    elif wanted.container is not None:
        prepared = prepare_additional_signature(
            wanted.container, certificate=certificate, issuers=signing.issuers, trust=signing.trust.trust(), at=at
        )
    else:
        prepared = prepare_signature(wanted.files, certificate=certificate, issuers=signing.issuers, at=at)
    # 4 the certificate is in force, as far as that can be known now: nobody types a PIN in vain
    trust = signing.trust
    signing.early_status.check(prepared.certificate, prepared.issuer, fetch=trust.ocsp.fetch, clock=trust.clock)
    # 5 it waits for this session only
    return signing.pending.put(session, fields["reference"], prepared.to_bytes()), prepared


def _complete(signing: CardSigning, session: Session, fields: dict[str, str]) -> str:
    # 1 what was prepared, taken once
    value = _base64(fields["signature"], _MAX_SIGNATURE_BYTES)
    reference, stored = signing.pending.get_and_remove(session, fields["id"])
    prepared = (
        PreparedPdfSignature.from_bytes(stored) if is_prepared_pdf(stored) else PreparedSignature.from_bytes(stored)
    )
    # 2 the value, the time stamp, the status, the container, our own verdict
    try:
        if isinstance(prepared, PreparedPdfSignature):
            content = finish_pdf_signature(prepared, value, trust=signing.trust).content
        else:
            content = complete_signature(prepared, value, trust=signing.trust)
    except Unavailable as error:
        raise Unavailable(
            error.code,
            error.detail,
            public=N_("No time stamp or no confirmation could be had, so nothing was signed. Try again in a minute."),
        ) from error
    # 3 the institution keeps it
    signed = SignedContainer(content, session.subject or "", prepared.prepared_at)
    return signing.on_signed(session, reference, signed)


def _check_person(certificate: x509.Certificate, session: Session) -> None:
    try:
        code = personal_code(certificate)
    except DigiidError as error:
        raise Refused(
            "signing.certificate",
            "the certificate names no person",
            public=N_("This certificate cannot be used to sign here. Choose the card again."),
        ) from error
    if code != session.subject:
        raise Refused(
            "signing.other_person",
            "the signing certificate is not of the person who signed in",
            public=N_("This card belongs to somebody else than the person who signed in. Use your own card."),
        )


def _read(body: bytes, names: tuple[str, ...]) -> dict[str, str]:
    try:
        if len(body) > MAX_REQUEST_BYTES:
            raise ValueError("too long")
        fields = json.loads(body)
        found = {name: fields[name] for name in names}
        if not all(isinstance(value, str) and len(value) > 0 for value in found.values()):
            raise ValueError("not texts")
        if len(found.get("reference", "")) > 100:
            raise ValueError("reference too long")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Malformed(
            "signing.request",
            f"not the JSON of a signing step: {error}",
            public=N_("The card's answer could not be read. Load the page again and retry."),
        ) from error
    return found


def _base64(text: str, limit: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("signing.base64", "not base64") from error
    if not 0 < len(data) <= limit:
        raise Malformed("signing.base64", f"not 1 to {limit} bytes")
    return data


def _hash(identifier: str) -> bytes:
    return hashlib.sha256(identifier.encode()).digest()
