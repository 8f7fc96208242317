"""What the CA does: certify a document's two keys, a seal's one or a key for the exchange, change their status, sign
revocation lists."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from digiid.contracts.trust_services import CERTIFICATE_STATUS
from digiid.formats.x509.build import (
    Plan,
    build_candidate,
    rebuild_candidate,
    sign_tbs,
    tbs_of,
)
from digiid.formats.x509.crl import RevokedEntry, build_crl
from digiid.formats.x509.lint import LintedTbs, lint_candidate
from digiid.formats.x509.parts import certificate_der as der_of
from digiid.formats.x509.profile import (
    SERIAL_NUMBER_BYTES,
    SLUGS,
    CertificateKind,
    HierarchyProfile,
    Holder,
    serial_number_from,
)
from digiid.formats.x509.request import VerifiedRequest, verify_certificate_request
from digiid.formats.x509.signature import load_public_key
from digiid.institutions.trust_services import status as statuses
from digiid.institutions.trust_services.ca import store
from digiid.institutions.trust_services.ca.domain import (
    EXCHANGE_KINDS,
    ISSUED_GOOD,
    LIFECYCLE,
    PAIR,
    SEAL_LIFECYCLE,
    SEALS,
    Event,
    ExchangeOrder,
    Order,
    SealOrder,
    decide_change,
    decide_validity,
    issued_good,
    issued_on_hold,
)
from digiid.institutions.trust_services.ca.store import Step, StoredCertificate, StoredCrl, StoredOrder
from digiid.institutions.trust_services.domain import CertificateState, CertificateStatus
from digiid.institutions.trust_services.status import StatusBoard
from digiid.kernel.errors import Broken, Conflict, DigiidError, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.disclosures import Disclosed, Look, record_disclosures
from digiid.platform.entropy import Entropy
from digiid.platform.keys import generate_ec_key

CRL_LIFETIME: Final = timedelta(hours=12)
_CRL_RENEWED_BEFORE: Final = timedelta(hours=6)
_OFFLINE_CRL_LIFETIME: Final = timedelta(days=90)
_OFFLINE_CRL_RENEWED_BEFORE: Final = timedelta(days=45)
_CRLS_KEPT: Final = 20
_EXPIRED_AT_ONCE: Final = 1000
_CAS: Final = (CertificateKind.ROOT_CA, CertificateKind.ISSUING_CA, CertificateKind.TSA_CA)

log = structlog.get_logger("trust_services.ca")


@dataclass(frozen=True)
class CaCertificate:
    """A CA's certificate and, where it is at hand, its key: an offline root has none here."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | None


@dataclass(frozen=True)
class Deps:
    """What the CA works with. `cas` holds root, issuing CA and TSA CA; `board` is told after each commit."""

    db: Database
    clock: Clock
    entropy: Entropy
    profile: HierarchyProfile
    cas: dict[CertificateKind, CaCertificate]
    board: StatusBoard


@dataclass(frozen=True, slots=True)
class IssuedPair:
    order_id: str
    document_number: str
    authentication_der: bytes
    signature_der: bytes


@dataclass(frozen=True, slots=True)
class IssuedSeal:
    order_id: str
    seal_number: str
    certificate_der: bytes


@dataclass(frozen=True, slots=True)
class IssuedExchangeCertificate:
    order_id: str
    number: str
    certificate_der: bytes


# ---------------------------------------------------------------------------------------------- issuing


def issue_certificates(deps: Deps, order: Order) -> IssuedPair:
    """Certify the two keys of a document, both on hold. The same order gives the same certificates.

    Every step is committed before the next begins, so that an interrupted order is finished by
    asking again or by `resume_orders`, with the serial numbers that it took first.

    Raises:
        Malformed: a request that cannot be read.
        Refused: `trust.profile.…`, the order does not fit the profile, or a key does not.
        Conflict: `trust.issue.order_differs`, `trust.issue.document_taken`.
    """
    # 1 profile and proof of possession, before anything is written
    validity = decide_validity(order.expires_on, at=deps.clock.now())
    requests = {kind: verify_certificate_request(order.request_der(kind)) for kind in PAIR}
    if len({request.spki_der for request in requests.values()}) != len(PAIR):
        raise Refused("trust.profile.key_blocked", "both certificates of a document for the same key")

    # 2 serial numbers recorded
    try:
        with deps.db.write() as tx:
            _record_order(deps, tx, order, requests, validity)
    except IntegrityError:
        # Somebody recorded the same order, document or key at the same moment: now it can be seen.
        with deps.db.write() as tx:
            _record_order(deps, tx, order, requests, validity)

    # 3 to 7 for each certificate
    return _finish_order(deps, order.order_id)


def issue_seal(deps: Deps, order: SealOrder) -> IssuedSeal:
    """Certify an organisation's seal key, good at once. The same order gives the same certificate.

    Whoever calls this has identified the organisation's representative; the request proves that they hold the key.

    Raises:
        Malformed: a request that cannot be read.
        Refused: `trust.profile.…`, the order does not fit the profile, or the key does not.
        Conflict: `trust.issue.order_differs`, `trust.issue.document_taken`.
    """
    # 1 profile and proof of possession, before anything is written
    validity = decide_validity(order.expires_on, at=deps.clock.now())
    request = verify_certificate_request(order.request_der)

    # 2 serial number recorded
    try:
        with deps.db.write() as tx:
            _record_seal_order(deps, tx, order, request, validity)
    except IntegrityError:
        # Somebody recorded the same order, number or key at the same moment: now it can be seen.
        with deps.db.write() as tx:
            _record_seal_order(deps, tx, order, request, validity)

    # 3 to 7 as for every certificate
    stored, [certificate_der] = _finish_certificates(deps, order.order_id)
    return IssuedSeal(stored.order_id, stored.document_number, certificate_der)


def issue_exchange_certificate(deps: Deps, order: ExchangeOrder) -> IssuedExchangeCertificate:
    """Certify a key for the exchange, good at once. The same order gives the same certificate.

    Whoever calls this has identified the member's representative; the request proves that they hold the key.

    Raises:
        Malformed: a request that cannot be read.
        Refused: `trust.profile.…`, the order does not fit the profile, or the key does not.
        Conflict: `trust.issue.order_differs`, `trust.issue.document_taken`.
    """
    # 1 profile and proof of possession, before anything is written
    validity = decide_validity(order.expires_on, at=deps.clock.now())
    request = verify_certificate_request(order.request_der, accepts_rsa=True)

    # 2 serial number recorded
    try:
        with deps.db.write() as tx:
            _record_exchange_order(deps, tx, order, request, validity)
    except IntegrityError:
        # Somebody recorded the same order or key at the same moment: now it can be seen.
        with deps.db.write() as tx:
            _record_exchange_order(deps, tx, order, request, validity)

    # 3 to 7 as for every certificate
    stored, [certificate_der] = _finish_certificates(deps, order.order_id)
    return IssuedExchangeCertificate(stored.order_id, stored.document_number, certificate_der)


def resume_orders(deps: Deps) -> int:
    """Finish what was interrupted. Returns how many orders were; one that cannot be finished is logged and stays."""
    with deps.db.read() as tx:
        unfinished = store.find_unfinished_orders(tx)
    finished = 0
    for order_id in unfinished:
        try:
            _finish_certificates(deps, order_id)
        except DigiidError as error:
            log.error("ca.order_stuck", order_id=order_id, code=error.code)
        else:
            finished += 1
    return finished


def _record_order(
    deps: Deps,
    tx: Connection,
    order: Order,
    requests: dict[CertificateKind, VerifiedRequest],
    validity: tuple[datetime, datetime],
) -> None:
    if _is_known(tx, order.order_id, order.digest):
        return
    _check_unused(tx, order.document_number, requests.values())
    at = deps.clock.now()
    store.record_order(
        tx,
        order_id=order.order_id,
        digest=order.digest,
        document_number=order.document_number,
        policy=order.policy,
        holder=order.holder,
        expires_on=order.expires_on,
        ordered_at=at,
    )
    _record_serials(deps, tx, order.order_id, requests, validity, at=at)


def _record_seal_order(
    deps: Deps, tx: Connection, order: SealOrder, request: VerifiedRequest, validity: tuple[datetime, datetime]
) -> None:
    if _is_known(tx, order.order_id, order.digest):
        _check_same_key(tx, order.order_id, request)
        return
    _check_unused(tx, order.seal_number, [request])
    at = deps.clock.now()
    store.record_seal_order(
        tx,
        order_id=order.order_id,
        digest=order.digest,
        seal_number=order.seal_number,
        kind=order.kind,
        organization=order.organization,
        expires_on=order.expires_on,
        ordered_at=at,
    )
    _record_serials(deps, tx, order.order_id, {order.kind: request}, validity, at=at)


def _record_exchange_order(
    deps: Deps, tx: Connection, order: ExchangeOrder, request: VerifiedRequest, validity: tuple[datetime, datetime]
) -> None:
    if _is_known(tx, order.order_id, order.digest):
        _check_same_key(tx, order.order_id, request)
        return
    _check_unused(tx, order.number, [request])
    at = deps.clock.now()
    store.record_exchange_order(
        tx,
        order_id=order.order_id,
        digest=order.digest,
        number=order.number,
        kind=order.kind,
        subject=order.subject,
        expires_on=order.expires_on,
        ordered_at=at,
    )
    _record_serials(deps, tx, order.order_id, {order.kind: request}, validity, at=at)


def _check_same_key(tx: Connection, order_id: str, request: VerifiedRequest) -> None:
    [certificate] = store.find_certificates(tx, order_id=order_id)
    if certificate.spki_der != request.spki_der:
        raise Conflict("trust.issue.order_differs", "the same order id came before with another key")


def _is_known(tx: Connection, order_id: str, digest: bytes) -> bool:
    known = store.find_order(tx, order_id=order_id)
    if known is not None and known.digest != digest:
        raise Conflict("trust.issue.order_differs", "the same order id came before with another content")
    return known is not None


def _check_unused(tx: Connection, document_number: str, requests: Collection[VerifiedRequest]) -> None:
    if store.find_order_of_document(tx, document_number=document_number) is not None:
        raise Conflict("trust.issue.document_taken", "another order certified this number")
    if store.find_key_uses(tx, spki_sha256s=[sha256(request.spki_der).digest() for request in requests]):
        raise Refused("trust.profile.key_blocked", "a key was certified before, or is blocked")


def _record_serials(
    deps: Deps,
    tx: Connection,
    order_id: str,
    requests: Mapping[CertificateKind, VerifiedRequest],
    validity: tuple[datetime, datetime],
    *,
    at: datetime,
) -> None:
    order = store.find_order(tx, order_id=order_id)
    assert order is not None
    serials: list[str] = []
    for kind in order.kinds:
        serial_number = serial_number_from(deps.entropy.token_bytes(SERIAL_NUMBER_BYTES))
        store.record_serial(
            tx,
            serial_number=serial_number,
            order_id=order_id,
            kind=kind,
            spki_der=requests[kind].spki_der,
            spki_sha256=sha256(requests[kind].spki_der).digest(),
            not_before_at=validity[0],
            not_after_at=validity[1],
        )
        serials.append(statuses.serial_text(serial_number))
        # The profile refuses here what it would refuse later, while nothing is written yet.
        _lint(deps, _plan(deps, order, store.get_certificate(tx, serial_number=serial_number)))
    payload: dict[str, journal.JsonValue] = {
        "order_id": order_id,
        "document_number": order.document_number,
        "serial_numbers": serials,
    }
    journal.record(tx, store.JOURNAL, kind="serials_recorded", payload=payload, at=at)


def _finish_order(deps: Deps, order_id: str) -> IssuedPair:
    order, issued = _finish_certificates(deps, order_id)
    return IssuedPair(order_id, order.document_number, *issued)


def _finish_certificates(deps: Deps, order_id: str) -> tuple[StoredOrder, list[bytes]]:
    with deps.db.read() as tx:
        order = store.find_order(tx, order_id=order_id)
        certificates = store.find_certificates(tx, order_id=order_id)
    if order is None or tuple(one.kind for one in certificates) != order.kinds:
        raise Broken("trust.issue.order", f"order {order_id} is not stored whole")
    return order, [_finish_certificate(deps, order, certificate) for certificate in certificates]


def _finish_certificate(deps: Deps, order: StoredOrder, certificate: StoredCertificate) -> bytes:
    serial_number = certificate.serial_number
    plan = _plan(deps, order, certificate)

    if certificate.step is Step.RECORDED:
        # 3 certificate built and signed with a throw-away key, 4 linted
        linted = _lint(deps, plan)
        # 5 to-be-signed bytes stored
        with deps.db.write() as tx:
            store.store_tbs(tx, serial_number=serial_number, tbs_der=linted.tbs_der)
        with deps.db.read() as tx:
            certificate = store.get_certificate(tx, serial_number=serial_number)

    if certificate.step is Step.STORED:
        # 6 the CA's key signs what is stored, linted once more as it came back
        if certificate.tbs_der is None:
            raise Broken("trust.issue.tbs", "stored without to-be-signed bytes")
        linted = _lint_stored(deps, plan, certificate.tbs_der)
        certificate_der = sign_tbs(linted, key=_issuing_key(deps))
        # 7 what was signed is what was stored; a document is on hold from its first moment
        if tbs_of(certificate_der) != certificate.tbs_der:
            raise Broken("trust.issue.signed_differs", "the signed bytes are not the stored ones")
        with deps.db.write() as tx:
            _record_issued(deps, tx, order, certificate, certificate_der)
        deps.board.refresh()
        with deps.db.read() as tx:
            certificate = store.get_certificate(tx, serial_number=serial_number)

    if certificate.certificate_der is None:
        raise Broken("trust.issue.certificate", "signed without a certificate")
    return certificate.certificate_der


def _record_issued(
    deps: Deps, tx: Connection, order: StoredOrder, certificate: StoredCertificate, certificate_der: bytes
) -> None:
    if not store.store_certificate(tx, serial_number=certificate.serial_number, certificate_der=certificate_der):
        return  # two callers finished the same order; the signature is deterministic, so nothing is lost
    at = deps.clock.now()
    payload: dict[str, journal.JsonValue] = {
        "order_id": order.order_id,
        "document_number": order.document_number,
        "serial_number": statuses.serial_text(certificate.serial_number),
        "sha256": sha256(certificate_der).hexdigest(),
    }
    entry = journal.record(tx, store.JOURNAL, kind="certificate_issued", payload=payload, at=at)
    first_status = issued_good if certificate.kind in ISSUED_GOOD else issued_on_hold
    status = first_status(
        serial_number=certificate.serial_number,
        document_number=order.document_number,
        kind=certificate.kind,
        at=at,
        not_after_at=certificate.not_after_at,
    )
    statuses.record_status(tx, status, change_number=entry.number)


def _plan(deps: Deps, order: StoredOrder, certificate: StoredCertificate) -> Plan:
    key = load_public_key(certificate.spki_der)
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise Refused("trust.profile.key_type", "this type of key is not certified")
    return Plan(
        kind=certificate.kind,
        subject_attributes=order.holder.subject_attributes,
        public_key=key,
        serial_number=certificate.serial_number,
        not_before_at=certificate.not_before_at,
        not_after_at=certificate.not_after_at,
        issuer=deps.cas[CertificateKind.ISSUING_CA].certificate,
        issuer_kind=CertificateKind.ISSUING_CA,
        document_policy=order.policy,
    )


def _lint(deps: Deps, plan: Plan) -> LintedTbs:
    throwaway_key = generate_ec_key(_issuing_key(deps).curve.name)
    return lint_candidate(build_candidate(plan, deps.profile, throwaway_key=throwaway_key), plan.expected(deps.profile))


def _lint_stored(deps: Deps, plan: Plan, tbs_der: bytes) -> LintedTbs:
    throwaway_key = generate_ec_key(_issuing_key(deps).curve.name)
    return lint_candidate(rebuild_candidate(tbs_der, throwaway_key=throwaway_key), plan.expected(deps.profile))


def _issuing_key(deps: Deps) -> ec.EllipticCurvePrivateKey:
    key = deps.cas[CertificateKind.ISSUING_CA].key
    if key is None:
        raise Broken("trust.issue.no_key", "the issuing CA's key is not at hand")
    return key


# ---------------------------------------------------------------------------------------------- status


def activate_certificates(deps: Deps, document_number: str, *, actor: str) -> list[CertificateStatus]:
    """The document was handed over: good from now on. Raises: NotFound, Conflict, Refused."""
    return _change(deps, document_number, Event.ACTIVATE, actor=actor)


def suspend_certificates(deps: Deps, document_number: str, *, actor: str) -> list[CertificateStatus]:
    """On hold from now on. Raises: NotFound, Conflict, Refused."""
    return _change(deps, document_number, Event.SUSPEND, actor=actor)


def resume_certificates(deps: Deps, document_number: str, *, actor: str) -> list[CertificateStatus]:
    """A suspension is lifted. Raises: NotFound, Conflict, Refused."""
    return _change(deps, document_number, Event.RESUME, actor=actor)


def revoke_certificates(deps: Deps, document_number: str, *, reason: str, actor: str) -> list[CertificateStatus]:
    """Revoked for good; a key revoked as compromised is never certified again. Raises: NotFound, Conflict, Refused."""
    return _change(deps, document_number, Event.REVOKE, actor=actor, reason=reason)


def revoke_seal(deps: Deps, seal_number: str, *, reason: str) -> CertificateStatus:
    """A seal is revoked for good. Again is the same. Raises: NotFound `trust.document`, Conflict, Refused."""
    with deps.db.write() as tx:
        changed = _revoke_single(deps, tx, seal_number, SEALS, reason=reason)
    deps.board.refresh()
    return changed


def revoke_exchange_certificate(deps: Deps, certificate: x509.Certificate, *, reason: str) -> CertificateStatus:
    """A certificate for the exchange is revoked for good. Again is the same.

    Raises: NotFound `trust.document` for a certificate that is not ours, or of another kind.
    """
    with deps.db.write() as tx:
        number = store.find_number_of(tx, certificate_der=der_of(certificate), serial_number=certificate.serial_number)
        if number is None:
            raise NotFound("trust.document", "this certificate was not issued here")
        changed = _revoke_single(deps, tx, number, EXCHANGE_KINDS, reason=reason)
    deps.board.refresh()
    return changed


def _revoke_single(
    deps: Deps, tx: Connection, number: str, kinds: Collection[CertificateKind], *, reason: str
) -> CertificateStatus:
    present = [one for one in statuses.find_statuses(tx, document_number=number) if one.purpose in kinds]
    if not present:
        raise NotFound("trust.document", "no certificate of this kind was issued under this number")
    at, actor = deps.clock.now(), "trust_services"
    [status] = present
    changed = decide_change(status, Event.REVOKE, actor=actor, at=at, reason=reason, lifecycle=SEAL_LIFECYCLE)
    if changed != status:
        _record_change(tx, [changed], Event.REVOKE, actor=actor, reason=reason, at=at)
    return changed


def is_revoked(deps: Deps, certificate: x509.Certificate) -> bool:
    """Whether this certificate was revoked for good. Raises: NotFound `trust.document`: it was not issued here."""
    number = get_number(deps, certificate)
    with deps.db.read() as tx:
        present = statuses.find_statuses(tx, document_number=number)
    return any(
        one.serial_number == certificate.serial_number and one.state is CertificateState.REVOKED for one in present
    )


def get_number(deps: Deps, certificate: x509.Certificate) -> str:
    """The number by which this certificate is revoked. Raises: NotFound `trust.document`: it was not issued here."""
    with deps.db.read() as tx:
        number = store.find_number_of(tx, certificate_der=der_of(certificate), serial_number=certificate.serial_number)
    if number is None:
        raise NotFound("trust.document", "this certificate was not issued here")
    return number


def get_statuses(deps: Deps, document_number: str) -> list[CertificateStatus]:
    """The certificates of a document as they are now. Raises: NotFound `trust.document`."""
    with deps.db.read() as tx:
        found = statuses.find_statuses(tx, document_number=document_number)
    if not found:
        raise NotFound("trust.document", "no certificates were issued for this document number")
    return found


def tell_statuses(deps: Deps, document_number: str, *, look: Look) -> Disclosed[list[CertificateStatus]]:
    """The same for somebody else, with the look at the holder on record. Raises: NotFound `trust.document`."""

    def work() -> Disclosed[list[CertificateStatus]]:
        with deps.db.write() as tx:
            found = statuses.find_statuses(tx, document_number=document_number)
            if not found:
                raise NotFound("trust.document", "no certificates were issued for this document number")
            order = store.find_order_of_document(tx, document_number=document_number)
            # a seal has an organisation for its holder: nobody's personal data
            persons = (order.holder.personal_code,) if order and isinstance(order.holder, Holder) else ()
            return record_disclosures(
                tx,
                store.DISCLOSURES,
                store.JOURNAL,
                found,
                personal_codes=persons,
                look=look,
                categories=CERTIFICATE_STATUS.discloses,
                at=deps.clock.now(),
            )

    return deps.db.retry(work)


def _change(
    deps: Deps, document_number: str, event: Event, *, actor: str, reason: str | None = None
) -> list[CertificateStatus]:
    with deps.db.write() as tx:
        # 1 both certificates of the document
        present = statuses.find_statuses(tx, document_number=document_number)
        if not present:
            raise NotFound("trust.document", "no certificates were issued for this document number")
        if len(present) != len(PAIR):
            raise Conflict("trust.issue.unfinished", "only one certificate of this document is issued yet")
        # 2 the step, taken by both or by neither
        at = deps.clock.now()
        changed = [decide_change(status, event, actor=actor, at=at, reason=reason) for status in present]
        if changed == present:
            return present
        # 3 journal and status in one commit
        _record_change(tx, changed, event, actor=actor, reason=reason, at=at)
    # 4 said by OCSP from here on
    deps.board.refresh()
    return changed


def _record_change(
    tx: Connection, changed: list[CertificateStatus], event: Event, *, actor: str, reason: str | None, at: datetime
) -> None:
    payload: dict[str, journal.JsonValue] = {
        "document_number": changed[0].document_number,
        "serial_numbers": [statuses.serial_text(status.serial_number) for status in changed],
        "actor": actor,
        "reason": reason,
    }
    entry = journal.record(tx, store.JOURNAL, kind=f"certificates_{event.value}", payload=payload, at=at)
    for status in changed:
        statuses.record_status(tx, status, change_number=entry.number)


def expire_certificates(deps: Deps) -> int:
    """Mark what is past its notAfter. OCSP goes on saying what was true at the end. Returns how many documents."""
    at = deps.clock.now()
    with deps.db.write() as tx:
        ended = statuses.find_ended(tx, at=at, limit=_EXPIRED_AT_ONCE)
        by_document: dict[str, list[CertificateStatus]] = {}
        for status in ended:
            if Event.EXPIRE in LIFECYCLE[status.state]:
                changed = decide_change(status, Event.EXPIRE, actor="trust_services", at=at)
                by_document.setdefault(status.document_number, []).append(changed)
        for changed_pair in by_document.values():
            _record_change(tx, changed_pair, Event.EXPIRE, actor="trust_services", reason=None, at=at)
    deps.board.refresh()
    return len(by_document)


# ------------------------------------------------------------------------------------------ revocation lists


def issue_crls(deps: Deps) -> int:
    """Sign a new list for every CA whose key is at hand and whose list is old or out of date. Returns how many."""
    return sum(_issue_crl(deps, ca) for ca in _CAS if deps.cas[ca].key is not None)


def find_crl(deps: Deps, ca: CertificateKind) -> StoredCrl | None:
    """The newest list of one CA."""
    with deps.db.read() as tx:
        return store.find_latest_crl(tx, ca=SLUGS[ca])


def _issue_crl(deps: Deps, ca: CertificateKind) -> bool:
    key = deps.cas[ca].key
    assert key is not None
    is_issuing = ca is CertificateKind.ISSUING_CA
    lifetime = CRL_LIFETIME if is_issuing else _OFFLINE_CRL_LIFETIME
    renewed_before = _CRL_RENEWED_BEFORE if is_issuing else _OFFLINE_CRL_RENEWED_BEFORE
    at = deps.clock.now().replace(microsecond=0)
    with deps.db.write() as tx:
        latest = store.find_latest_crl(tx, ca=SLUGS[ca])
        change_number = store.get_last_change(tx) if is_issuing else 0
        if latest and latest.change_number == change_number and latest.next_update_at - at > renewed_before:
            return False
        # An entry stays on one list beyond the end of its certificate (RFC 5280 §3.3).
        revoked = statuses.find_revoked(tx, not_expired_at=at - 2 * lifetime) if is_issuing else []
        number = latest.number + 1 if latest else 1
        crl_der = build_crl(
            issuer=deps.cas[ca].certificate,
            key=key,
            entries=[RevokedEntry(one.serial_number, one.revoked_at or at, one.reason) for one in revoked],
            number=number,
            this_update_at=at,
            next_update_at=at + lifetime,
        )
        stored = StoredCrl(SLUGS[ca], number, change_number, at, at + lifetime, crl_der)
        store.record_crl(tx, stored, keep=_CRLS_KEPT)
    return True


def block_key(deps: Deps, spki_der: bytes, *, reason: str) -> None:
    """Never certify this key: it was reported as compromised, or is known to be weak."""
    load_public_key(spki_der)
    with deps.db.write() as tx:
        at = deps.clock.now()
        digest = sha256(spki_der).digest()
        store.block_key(tx, spki_sha256=digest, reason=reason, at=at)
        payload: dict[str, journal.JsonValue] = {"spki_sha256": digest.hex(), "reason": reason}
        journal.record(tx, store.JOURNAL, kind="key_blocked", payload=payload, at=at)
