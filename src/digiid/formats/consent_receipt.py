"""Consent receipts, and statements of which of them no longer hold: two types of JWS sealed by a consent service.

The fields are named after the terms of ISO/IEC TS 27560:2023 (consent record information structure); conformance to
it is not claimed. A receipt is complete: the owner of the data can judge a question by it offline, up to one fact,
whether the consent has been withdrawn since. That fact travels in revocation statements, which are numbered for each
receiver without gaps: `after` 4 `up_to` 6 holds everything that happened to numbers 5 and 6, `head` is the last number
that there is. Who holds a row of statements from 0 to the head has missed nothing as of `issued_at`.

Specification: docs/protocols/consent.md §4 and §5.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats.jws import UnverifiedJws, parse_compact, sign_compact, verify_compact
from digiid.formats.organization_seal import SealOwner, verify_seal_owner
from digiid.formats.x509.parts import certificate_der
from digiid.formats.x509.path import TrustAnchors
from digiid.kernel.errors import Malformed, Refused

RECEIPT_TYPE: Final = "digiid-consent-receipt+jwt"
REVOCATIONS_TYPE: Final = "digiid-consent-revocations+jwt"
SCHEMA_VERSION: Final = "digiid-1"
MAX_RECEIPT_CHARS: Final = 8192  # what travels in a header
MAX_REVOCATIONS_CHARS: Final = 4_000_000
MAX_REVOCATIONS: Final = 5000
MIN_REFERENCE_CHARS: Final = 22  # 128 bits in base64url
_REFERENCE: Final = re.compile(r"[A-Za-z0-9_-]{22,64}")
_SUBJECT: Final = re.compile(r"[0-9]{11}|[1-9][0-9]{7}")  # a person, or a company
_PERSON: Final = re.compile(r"[0-9]{11}")
_DECLARATION: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")
_CATEGORY: Final = re.compile(r"[a-z][a-z0-9_]{0,39}(\.[a-z][a-z0-9_]{0,39}){0,3}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LOCALE: Final = re.compile(r"[a-z]{2}")
_URL: Final = re.compile(r"https?://[\x21-\x7e]{1,500}")
_REASON: Final = re.compile(r"[a-z_]{1,40}")
_MAX_LIST: Final = 50
_CLOCKS_APART: Final = timedelta(minutes=1)  # two machines never agree; what they exchange is never older than that
_LATEST: Final = 253402300799  # 9999-12-31, the last second that a datetime holds

T = TypeVar("T")
_LIST: Final = list  # below, `list` is a method


@dataclass(frozen=True, slots=True)
class Party:
    """An organisation by name and registry code."""

    name: str
    code: str


@dataclass(frozen=True, slots=True)
class ConsentReceipt:
    """What a person consented to. `subject_code` is a personal code, or a company's registry code.

    `client` and `provider` are subsystems (`EE/COM/10000201/bank`), `services` full service identifiers.
    `purpose_sha256` is of the purpose's text in `locale`, as it was shown; `snapshot_sha256` of everything shown, in
    both languages. `validation_cache_seconds`: how old the provider's knowledge of revocations may be.
    """

    receipt_id: str
    consent_reference: str
    issuer: str
    subject_code: str
    representative_code: str | None
    controller: Party
    processor: Party | None
    recipient: Party
    client: str
    provider: str
    service_declaration: str
    services: tuple[str, ...]
    data_categories: tuple[str, ...]
    purpose_declaration: str
    purpose_sha256: str
    snapshot_sha256: str
    locale: str
    granted_at: datetime
    expires_at: datetime
    withdrawal_url: str
    validation_cache_seconds: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """A consent that ended before its time. `reason`: withdrawn, inapplicable or replaced; more may come."""

    number: int
    consent_reference: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RevocationStatement:
    """All revocations that concern `audience` and are numbered after `after` up to `up_to`, in order."""

    issuer: str
    audience: str
    issued_at: datetime
    after: int
    up_to: int
    head: int
    revocations: tuple[Revocation, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing comes after it as of `issued_at`."""
        return self.up_to == self.head


@dataclass(frozen=True, slots=True)
class ConsentSeal:
    """Whose seal counts: one organisation's, by one name, under these issuers. A renewed seal of that name counts too.

    `certificates`: when not empty, only these seals (DER); for who wants to name every one.
    """

    anchors: TrustAnchors
    organization_identifier: str
    seal_name: str
    certificates: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """A receipt that this consent service sealed for this audience. Whether it fits the question comes next."""

    receipt: ConsentReceipt
    seal: x509.Certificate


# ------------------------------------------------------------------ receipts


def sign_receipt(
    receipt: ConsentReceipt, *, key: ec.EllipticCurvePrivateKey, certificates: Sequence[x509.Certificate]
) -> str:
    """Seal a receipt. `certificates`: the seal's, then its issuers' if they shall travel with it.

    Raises: Refused `jws.key`; Malformed `consent_receipt.…`, the receipt is not one that could be read again.
    """
    token = sign_compact(build_receipt(receipt), typ=RECEIPT_TYPE, key=key, certificates=certificates)
    parse_receipt(token)
    return token


def build_receipt(receipt: ConsentReceipt) -> Mapping[str, Any]:
    """The receipt as the JSON object that is signed."""
    processors = [_build_party(receipt.processor)] if receipt.processor else []
    payload: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "record_id": receipt.receipt_id,
        "consent_reference": receipt.consent_reference,
        "iss": receipt.issuer,
        "aud": receipt.provider,
        "client": receipt.client,
        "pii_principal_id": receipt.subject_code,
        "pii_controller": _build_party(receipt.controller),
        "pii_processors": processors,
        "recipient_third_party": _build_party(receipt.recipient),
        "service_declaration": receipt.service_declaration,
        "services": list(receipt.services),
        "pii_categories": list(receipt.data_categories),
        "purpose_declaration": receipt.purpose_declaration,
        "purpose_sha256": receipt.purpose_sha256,
        "notice_sha256": receipt.snapshot_sha256,
        "language": receipt.locale,
        "event_type": "explicit_consent_given",
        "event_time": _seconds(receipt.granted_at),
        "valid_until": _seconds(receipt.expires_at),
        "withdrawal_method": receipt.withdrawal_url,
        "validation_cache_seconds": receipt.validation_cache_seconds,
    }
    if receipt.representative_code is not None:
        payload["representative_id"] = receipt.representative_code
    return payload


def parse_receipt(token: str | bytes) -> ConsentReceipt:
    """Read a receipt of which nothing is proven. Raises: Malformed `jws.…`, `consent_receipt.field`."""
    return _receipt_of(parse_compact(token, typ=RECEIPT_TYPE, max_chars=MAX_RECEIPT_CHARS).unverified_payload)


def verify_receipt(token: str | bytes, *, seal: ConsentSeal, audience: str, at: datetime) -> VerifiedReceipt:
    """Verify that this consent service sealed the receipt for this data provider, and that it is in its time.

    A seal that has ended still counts for a consent that was given before its end: receipts are renewed with a new seal
    when they are fetched, and who keeps one need not fetch it again for that.

    Raises:
        Malformed: `jws.…`, `consent_receipt.field`.
        Refused: `consent_receipt.seal` (another's seal, or one that had ended before the consent was given),
            `jws.signature`, `consent_receipt.audience`, `consent_receipt.expired`, `consent_receipt.not_yet_valid`.
    """
    # 1 the form
    unverified = parse_compact(token, typ=RECEIPT_TYPE, max_chars=MAX_RECEIPT_CHARS)
    # 2 whose seal, before its key is used: as of now, or of its end when it has ended since
    last_at = min(at, unverified.certificates[0].not_valid_after_utc)
    certificate = _verify_seal(unverified, seal, last_at)
    # 3 the signature over these bytes
    receipt = _receipt_of(verify_compact(unverified))
    if last_at < receipt.granted_at - _CLOCKS_APART:
        _verify_seal(unverified, seal, at)  # which had ended before there was anything to seal
    # 4 for whom, and when
    if receipt.provider != audience:
        raise Refused("consent_receipt.audience", f"for {receipt.provider}")
    if at < receipt.granted_at - _CLOCKS_APART:
        raise Refused("consent_receipt.not_yet_valid", "granted later than now")
    if at >= receipt.expires_at:
        raise Refused("consent_receipt.expired", "its time is over")
    return VerifiedReceipt(receipt, certificate)


# ------------------------------------------------------------------ revocations


def sign_revocations(
    statement: RevocationStatement, *, key: ec.EllipticCurvePrivateKey, certificates: Sequence[x509.Certificate]
) -> str:
    """Seal a statement. Raises: as `sign_receipt`."""
    payload = {
        "iss": statement.issuer,
        "aud": statement.audience,
        "iat": _seconds(statement.issued_at),
        "after": statement.after,
        "up_to": statement.up_to,
        "head": statement.head,
        "revoked": [
            [revocation.number, revocation.consent_reference, revocation.reason, _seconds(revocation.at)]
            for revocation in statement.revocations
        ],
    }
    token = sign_compact(payload, typ=REVOCATIONS_TYPE, key=key, certificates=certificates)
    parse_revocations(token)
    return token


def parse_revocations(token: str | bytes) -> RevocationStatement:
    """Read a statement of which nothing is proven. Raises: Malformed `jws.…`, `consent_receipt.field`."""
    unverified = parse_compact(token, typ=REVOCATIONS_TYPE, max_chars=MAX_REVOCATIONS_CHARS)
    return _statement_of(unverified.unverified_payload)


def verify_revocations(token: str | bytes, *, seal: ConsentSeal, audience: str, at: datetime) -> RevocationStatement:
    """Verify that this consent service sealed the statement for this receiver.

    Raises: Malformed `jws.…`, `consent_receipt.field`; Refused `consent_receipt.seal`, `jws.signature`,
        `consent_receipt.audience`.
    """
    unverified = parse_compact(token, typ=REVOCATIONS_TYPE, max_chars=MAX_REVOCATIONS_CHARS)
    _verify_seal(unverified, seal, at)
    statement = _statement_of(verify_compact(unverified))
    if statement.audience != audience:
        raise Refused("consent_receipt.audience", f"for {statement.audience}")
    return statement


# ------------------------------------------------------------------ helpers


def _verify_seal(unverified: UnverifiedJws, seal: ConsentSeal, at: datetime) -> x509.Certificate:
    if seal.certificates and certificate_der(unverified.certificates[0]) not in seal.certificates:
        raise Refused("consent_receipt.seal", "not one of the seals that count")
    owner = SealOwner(seal.anchors, seal.organization_identifier, seal.seal_name)
    try:
        return verify_seal_owner(unverified.certificates, owner, at=at)
    except Refused as error:
        raise Refused("consent_receipt.seal", error.detail) from error


def _receipt_of(payload: Mapping[str, Any]) -> ConsentReceipt:
    fields = _Fields(payload)
    if fields.text("schema_version", 20) != SCHEMA_VERSION:
        raise Malformed("consent_receipt.field", "schema_version is not one that we read")
    if fields.text("event_type", 40) != "explicit_consent_given":
        raise Malformed("consent_receipt.field", "event_type is not that of a consent")
    processors = fields.list("pii_processors", _read_party, at_least=0)
    if len(processors) > 1:
        raise Malformed("consent_receipt.field", "pii_processors: at most one")
    receipt = ConsentReceipt(
        receipt_id=fields.match("record_id", _REFERENCE),
        consent_reference=fields.match("consent_reference", _REFERENCE),
        issuer=fields.match("iss", _URL),
        subject_code=fields.match("pii_principal_id", _SUBJECT),
        representative_code=fields.match("representative_id", _PERSON) if "representative_id" in payload else None,
        controller=_read_party(fields.take("pii_controller")),
        processor=processors[0] if processors else None,
        recipient=_read_party(fields.take("recipient_third_party")),
        client=fields.text("client", 420),
        provider=fields.text("aud", 420),
        service_declaration=fields.match("service_declaration", _DECLARATION),
        services=fields.list("services", lambda value: _text(value, 520)),
        data_categories=fields.list("pii_categories", lambda value: _match(value, _CATEGORY)),
        purpose_declaration=fields.match("purpose_declaration", _DECLARATION),
        purpose_sha256=fields.match("purpose_sha256", _SHA256),
        snapshot_sha256=fields.match("notice_sha256", _SHA256),
        locale=fields.match("language", _LOCALE),
        granted_at=_instant(fields.number("event_time", _LATEST)),
        expires_at=_instant(fields.number("valid_until", _LATEST)),
        withdrawal_url=fields.match("withdrawal_method", _URL),
        validation_cache_seconds=fields.number("validation_cache_seconds", 7 * 24 * 3600),
    )
    fields.finish()
    if receipt.expires_at <= receipt.granted_at:
        raise Malformed("consent_receipt.field", "valid_until is not after event_time")
    return receipt


def _statement_of(payload: Mapping[str, Any]) -> RevocationStatement:
    fields = _Fields(payload)
    statement = RevocationStatement(
        issuer=fields.match("iss", _URL),
        audience=fields.text("aud", 420),
        issued_at=_instant(fields.number("iat", _LATEST)),
        after=fields.number("after", 10**12),
        up_to=fields.number("up_to", 10**12),
        head=fields.number("head", 10**12),
        revocations=fields.list("revoked", _read_revocation, at_least=0, at_most=MAX_REVOCATIONS),
    )
    fields.finish()
    numbers = [revocation.number for revocation in statement.revocations]
    if not statement.after <= statement.up_to <= statement.head or numbers != list(
        range(statement.after + 1, statement.up_to + 1)
    ):
        raise Malformed("consent_receipt.field", "the numbers of the statement have gaps")
    return statement


def _read_revocation(value: object) -> Revocation:
    if not isinstance(value, list) or len(value) != 4:
        raise Malformed("consent_receipt.field", "a revocation has four values")
    number, reference, reason, at = value
    return Revocation(
        _number(number, 10**12), _match(reference, _REFERENCE), _match(reason, _REASON), _instant(_number(at, _LATEST))
    )


def _build_party(party: Party) -> Mapping[str, str]:
    return {"name": party.name, "code": party.code}


def _read_party(value: object) -> Party:
    if not isinstance(value, dict) or value.keys() != {"name", "code"}:
        raise Malformed("consent_receipt.field", "a party has a name and a code")
    return Party(_text(value["name"], 200), _text(value["code"], 20))


class _Fields:
    """The members of a JSON object, each taken once; at the end none is left."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self._left = dict(payload)

    def take(self, name: str) -> object:
        if name not in self._left:
            raise Malformed("consent_receipt.field", f"{name} is missing")
        return self._left.pop(name)

    def text(self, name: str, max_chars: int) -> str:
        return _text(self.take(name), max_chars)

    def match(self, name: str, pattern: re.Pattern[str]) -> str:
        return _match(self.take(name), pattern)

    def number(self, name: str, at_most: int) -> int:
        return _number(self.take(name), at_most)

    def list(
        self, name: str, read: Callable[[object], T], *, at_least: int = 1, at_most: int = _MAX_LIST
    ) -> tuple[T, ...]:
        value = self.take(name)
        if not isinstance(value, _LIST) or not at_least <= len(value) <= at_most:
            raise Malformed("consent_receipt.field", f"{name} is not a list of {at_least} to {at_most}")
        return tuple(read(each) for each in value)

    def finish(self) -> None:
        if self._left:
            raise Malformed("consent_receipt.field", f"unknown fields: {len(self._left)}")


def _text(value: object, max_chars: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= max_chars or not value.isprintable():
        raise Malformed("consent_receipt.field", "a text is missing, too long or not printable")
    return value


def _match(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Malformed("consent_receipt.field", "a value is not of its form")
    return value


def _number(value: object, at_most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= at_most:
        raise Malformed("consent_receipt.field", "a number is out of its range")
    return value


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
