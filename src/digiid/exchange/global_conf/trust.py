"""Certificates judged by a global configuration: path to an approved CA, and OCSP at an instant (message transport).

A path and an OCSP response that verified once are remembered, bound to the configuration; what depends on time
(validity, freshness, nextUpdate) is compared at every use, so that nothing lives longer for having been remembered.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from cryptography import x509

from digiid.exchange.global_conf.members import read_member
from digiid.formats import ocsp
from digiid.formats.global_conf import ApprovedCa, CaInfo, OcspResponder, SharedParams
from digiid.formats.x509 import parts as x509_parts
from digiid.formats.x509.parts import CertificateParts, certificate_der, names_match, parts_of
from digiid.formats.x509.path import VerifiedPath, verify_path
from digiid.formats.x509.profile import EKU_CLIENT_AUTH
from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import MemberId

MAX_SKEW: Final = timedelta(minutes=2)
_MAX_LEVELS: Final = 6
_MAX_EXTRA: Final = 8
_MAX_RESPONSES: Final = 16
_MAX_REMEMBERED: Final = 4096
_MAX_REMEMBERED_BYTES: Final = 8192  # certificates can be added to a response unsigned: a peer could fill the memory
_KEY_ENCIPHERMENT, _DATA_ENCIPHERMENT = 2, 3  # RFC 5280 §4.2.1.3
_FOR_TLS: Final = frozenset({x509_parts.DIGITAL_SIGNATURE, _KEY_ENCIPHERMENT, _DATA_ENCIPHERMENT})

_K = TypeVar("_K")
_V = TypeVar("_V")


class _Remembered(Generic[_K, _V]):
    """A dict that forgets the oldest; what is read often costs one look-up."""

    def __init__(self) -> None:
        self._known: dict[_K, _V] = {}
        self._lock = threading.Lock()

    def get(self, key: _K) -> _V | None:
        return self._known.get(key)

    def put(self, key: _K, value: _V) -> None:
        with self._lock:
            while len(self._known) >= _MAX_REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = value


@dataclass(frozen=True, slots=True)
class _Authority:
    info: CaInfo
    parts: CertificateParts
    is_top: bool


@dataclass(frozen=True, slots=True)
class _Step:
    """A certificate of a path and who issued it, taken apart and encoded once."""

    certificate: x509.Certificate
    parts: CertificateParts
    issuer: x509.Certificate
    der: bytes = field(repr=False)
    issuer_der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class JudgedPath:
    """A verified path, leaf first, and when all of it is valid."""

    certificates: tuple[x509.Certificate, ...]
    steps: tuple[_Step, ...] = field(repr=False)
    borrowed: frozenset[x509.Certificate]  # those between that only came along, and have to come along again
    ca: ApprovedCa
    not_before_at: datetime
    not_after_at: datetime
    member: MemberId | None


class TrustJudge:
    """Everything that shared parameters and the optional part NEXTUPDATE say about certificates."""

    def __init__(self, shared: SharedParams, *, verify_next_update: bool) -> None:
        self._instance = shared.instance
        self._freshness = timedelta(seconds=shared.ocsp_freshness_seconds)
        self._verify_next_update = verify_next_update
        self._cas = shared.approved_cas
        self._authorities = [
            _Authority(info, parts_of(info.certificate), info is ca.top)
            for ca in shared.approved_cas
            for info in ca.authorities
        ]
        self._listed = frozenset(one.info.certificate for one in self._authorities)
        self._by_subject: dict[bytes, list[_Authority]] = {}
        for authority in self._authorities:
            self._by_subject.setdefault(authority.parts.subject_der, []).append(authority)
        self._tsa_certificates = frozenset(tsa.certificate for tsa in shared.approved_tsas)
        self._paths: _Remembered[tuple[int, bool], JudgedPath]
        self._paths = _Remembered()
        self._responses: _Remembered[tuple[bytes, bytes, bytes], ocsp.VerifiedOcsp]
        self._responses = _Remembered()

    @property
    def ocsp_freshness(self) -> timedelta:
        return self._freshness

    # -------------------------------------------------------------- whom to trust

    def verify_signer(
        self,
        certificate: x509.Certificate,
        *,
        extra_certificates: Sequence[x509.Certificate],
        ocsp_ders: Sequence[bytes],
        member: MemberId,
        at: datetime,
    ) -> None:
        """See GlobalConf.verify_signer."""
        # 1 usage, path, and the member by the rule of its CA
        path = self._judge(certificate, is_signing=True, extra=extra_certificates, at=at)

        # 2 the member that the message names
        if path.member != member:
            raise Refused("exchange.trust.member", f"the certificate is {path.member}'s, the message is {member}'s")

        # 3 not revoked then
        self._check_status(path, ocsp_ders, at)

    def verify_authentication(self, certificate: x509.Certificate, *, ocsp_ders: Sequence[bytes], at: datetime) -> None:
        """Usage, path and status of an authentication certificate. Whose it is, is not looked at here."""
        path = self._judge(certificate, is_signing=False, extra=(), at=at)
        self._check_status(path, ocsp_ders, at)

    def check_path(self, certificate: x509.Certificate, *, is_signing: bool, at: datetime) -> JudgedPath:
        """Usage and path alone, before OCSP responses are at hand. Raises: Refused `exchange.trust.…`."""
        return self._judge(certificate, is_signing=is_signing, extra=(), at=at)

    def check_response(
        self, response_der: bytes, *, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
    ) -> ocsp.VerifiedOcsp:
        """One OCSP response about one certificate: good, and fresh at `at`. Raises: Refused `exchange.trust.…`."""
        try:
            verified = self._verified_response(response_der, _step(certificate, parts_of(certificate), issuer))
        except (Refused, Malformed) as error:
            raise Refused("exchange.trust.ocsp", f"the OCSP response is not accepted: {error}") from error
        self._check_answer(verified, at)
        return verified

    def verify_time_stamping_unit(self, certificate: x509.Certificate, at: datetime) -> None:
        """See GlobalConf.verify_time_stamping_unit."""
        if certificate not in self._tsa_certificates:
            raise Refused("exchange.trust.time_stamping_unit", "the unit is not an approved one")
        parts = parts_of(certificate)
        if not parts.not_before_at <= at <= parts.not_after_at:
            raise Refused("exchange.trust.time_stamping_unit", "the unit's certificate was not valid then")

    # -------------------------------------------------------------- who is above whom

    def chain_of(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """See GlobalConf.chain_of."""
        chain = [certificate]
        parts = parts_of(certificate)
        while len(chain) <= _MAX_LEVELS:
            above = self._named(parts.issuer_der)
            if not above:
                raise Refused("exchange.trust.authority", "the issuer is not an approved authority")
            if any(one.is_top for one in above):
                return chain
            chain.append(above[0].info.certificate)
            parts = above[0].parts
        raise Refused("exchange.trust.authority", "the authorities above do not end")

    def issuer_of(self, certificate: x509.Certificate) -> CaInfo:
        """See GlobalConf.issuer_of."""
        above = self._named(parts_of(certificate).issuer_der)
        if not above:
            raise Refused("exchange.trust.authority", "the issuer is not an approved authority")
        return above[0].info

    def tls_roots(self) -> list[x509.Certificate]:
        """Every approved authority, topmost and below."""
        return list(dict.fromkeys(one.info.certificate for one in self._authorities))

    def _named(self, subject_der: bytes) -> list[_Authority]:
        found = self._by_subject.get(subject_der)
        if found is not None:
            return found
        return [one for one in self._authorities if names_match(one.parts.subject_der, subject_der)]

    # -------------------------------------------------------------- paths

    def _judge(
        self, certificate: x509.Certificate, *, is_signing: bool, extra: Sequence[x509.Certificate], at: datetime
    ) -> JudgedPath:
        # By the object, which the path holds: hashing a certificate walks all of its names.
        key = (id(certificate), is_signing)
        path = self._paths.get(key)
        if path is None or path.certificates[0] is not certificate or not path.borrowed.issubset(extra):
            path = self._find_path(certificate, is_signing=is_signing, extra=extra, at=at)
            self._paths.put(key, path)
        if not path.not_before_at <= at <= path.not_after_at:
            raise Refused("exchange.trust.path", "a certificate of the path is not valid at this time")
        return path

    def _find_path(
        self, certificate: x509.Certificate, *, is_signing: bool, extra: Sequence[x509.Certificate], at: datetime
    ) -> JudgedPath:
        if len(extra) > _MAX_EXTRA:
            raise Refused("exchange.trust.path", f"more than {_MAX_EXTRA} certificates beside the signer's")
        try:
            # 1 what it is for
            subject = parts_of(certificate)
            _check_usage(subject, is_signing=is_signing)

            # 2 a path to an approved authority
            anchors, between = self._candidates(subject, extra)
            found = verify_path(certificate, intermediates=between, anchors=anchors, at=at, leaf_parts=subject)
            all_parts = [subject, *map(parts_of, found.certificates[1:])]
        except Malformed as error:
            raise Refused("exchange.trust.certificate", f"a certificate cannot be read: {error}") from error
        except Refused as error:
            if error.code.startswith("exchange."):
                raise
            raise Refused("exchange.trust.path", f"no path to an approved authority: {error}") from error

        # 3 may that authority issue such certificates, and whose is it
        ca = self._ca_of(found, is_signing=is_signing)
        member = None
        if is_signing:
            member = read_member(subject, profile=ca.certificate_profile, instance=self._instance)
        pairs = zip(found.certificates, all_parts, found.certificates[1:], strict=False)
        return JudgedPath(
            certificates=found.certificates,
            steps=tuple(_step(*each) for each in pairs),
            borrowed=frozenset(found.certificates[1:-1]) - self._listed,
            ca=ca,
            not_before_at=max(one.not_before_at for one in all_parts),
            not_after_at=min(one.not_after_at for one in all_parts),
            member=member,
        )

    def _candidates(
        self, subject: CertificateParts, extra: Sequence[x509.Certificate]
    ) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
        """Approved topmost authorities, and those between, that names lead to from the leaf upwards."""
        others = [(one, parts_of(one)) for one in extra]
        anchors: dict[x509.Certificate, None] = {}
        between: dict[x509.Certificate, None] = {}
        names = [subject.issuer_der]
        for _ in range(_MAX_LEVELS):
            above: list[bytes] = []
            for name in names:
                for authority in self._named(name):
                    into = anchors if authority.is_top else between
                    if authority.info.certificate not in into and not authority.is_top:
                        above.append(authority.parts.issuer_der)
                    into[authority.info.certificate] = None
                for certificate, parts in others:
                    if certificate not in between and names_match(parts.subject_der, name):
                        between[certificate] = None
                        above.append(parts.issuer_der)
            names = above
        if not anchors:
            raise Refused("exchange.trust.authority", "no approved authority has issued the certificate")
        return list(anchors), list(between)

    def _ca_of(self, path: VerifiedPath, *, is_signing: bool) -> ApprovedCa:
        if len(path.certificates) < 2:
            raise Refused("exchange.trust.path", "the certificate is itself an approved authority's")
        cas = [ca for ca in self._cas if ca.top.certificate == path.anchor]
        allowed = [ca for ca in cas if not (is_signing and ca.is_authentication_only)]
        if not allowed:
            raise Refused("exchange.trust.authority", "the authority is approved for authentication certificates only")
        return allowed[0]

    # -------------------------------------------------------------- status

    def _check_status(self, path: JudgedPath, ocsp_ders: Sequence[bytes], at: datetime) -> None:
        if len(ocsp_ders) > _MAX_RESPONSES:
            raise Refused("exchange.trust.ocsp", f"more than {_MAX_RESPONSES} OCSP responses")
        for position, step in enumerate(path.steps):
            # They come leaf first, so the one in its place is nearly always the right one.
            ordered = [*ocsp_ders[position : position + 1], *ocsp_ders[:position], *ocsp_ders[position + 1 :]]
            self._check_one(step, ordered, at)

    def _check_one(self, step: _Step, ocsp_ders: Iterable[bytes], at: datetime) -> None:
        reason = None
        for response_der in ocsp_ders:
            try:
                verified = self._verified_response(response_der, step)
            except Malformed as error:
                raise Refused("exchange.trust.ocsp", f"an OCSP response cannot be read: {error}") from error
            except Refused as error:
                if error.code != "ocsp.cert_id":  # about another certificate of the path
                    reason = Refused("exchange.trust.ocsp", f"an OCSP response is not accepted: {error}")
                continue
            try:
                self._check_answer(verified, at)
            except Refused as error:
                if verified.status is not ocsp.CertStatus.GOOD:
                    raise  # whatever lies beside it, and however old it is
                reason = error
            else:
                return
        missing = f"no OCSP response about certificate {step.parts.serial_number:x}"
        raise reason or Refused("exchange.trust.ocsp_missing", missing)

    def _verified_response(self, response_der: bytes, step: _Step) -> ocsp.VerifiedOcsp:
        key = (response_der, step.der, step.issuer_der)
        verified = self._responses.get(key)
        if verified is None:
            verified = ocsp.verify_response(
                response_der,
                certificate=step.certificate,
                issuer=step.issuer,
                extra_responders=self._responders_for(step.issuer),
                certificate_parts=step.parts,
            )
            if len(response_der) <= _MAX_REMEMBERED_BYTES:
                self._responses.put(key, verified)
        return verified

    def _responders_for(self, issuer: x509.Certificate) -> list[x509.Certificate]:
        return [
            one.certificate
            for authority in self._authorities
            if authority.info.certificate == issuer
            for one in authority.info.ocsp
            if one.certificate is not None
        ]

    def responders_of(self, certificate: x509.Certificate) -> tuple[OcspResponder, ...]:
        """The responders that the configuration names for the certificate's issuer."""
        return self.issuer_of(certificate).ocsp

    def _check_answer(self, verified: ocsp.VerifiedOcsp, at: datetime) -> None:
        # Its age first: an old answer about a certificate that was on hold then says nothing about now.
        if verified.this_update_at < at - self._freshness:
            raise Refused("exchange.trust.ocsp_outdated", f"the OCSP response of {verified.this_update_at} is too old")
        if verified.status is not ocsp.CertStatus.GOOD:
            raise Refused("exchange.trust.ocsp_status", f"the certificate is {verified.status}")
        if verified.this_update_at > at + MAX_SKEW:
            raise Refused("exchange.trust.ocsp_outdated", "the OCSP response comes from the future")
        next_update_at = verified.next_update_at
        if self._verify_next_update and next_update_at is not None and next_update_at < at:
            raise Refused("exchange.trust.ocsp_outdated", "the OCSP response is past its nextUpdate")


def _step(certificate: x509.Certificate, parts: CertificateParts, issuer: x509.Certificate) -> _Step:
    return _Step(certificate, parts, issuer, certificate_der(certificate), certificate_der(issuer))


def _check_usage(subject: CertificateParts, *, is_signing: bool) -> None:
    usage, extended = subject.key_usage() or frozenset(), subject.extended_key_usage()
    if is_signing:
        if x509_parts.CONTENT_COMMITMENT not in usage:
            raise Refused("exchange.trust.usage", "not a signing certificate: its key usage lacks nonRepudiation")
        return
    is_for_tls = EKU_CLIENT_AUTH in extended if extended is not None else bool(usage & _FOR_TLS)
    if not is_for_tls:
        raise Refused("exchange.trust.usage", "not an authentication certificate")
