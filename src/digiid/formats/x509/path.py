"""Certification path validation, RFC 5280 §6.1, for the hierarchies that we meet.

Checked: signatures, names (§7.1), key identifiers, validity at the given instant, CA flag, path
length, keyCertSign, policies (intersected along the path), unknown critical extensions.
Not supported, and refused when present: name constraints, policy mappings, policy constraints,
inhibitAnyPolicy. Revocation is apart: the caller asks OCSP or a CRL about each certificate.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from cryptography import x509

from digiid.formats.x509 import parts as x509_parts
from digiid.formats.x509.parts import CertificateParts, names_match, parts_of, public_key_of
from digiid.formats.x509.profile import ANY_POLICY
from digiid.formats.x509.signature import verify_signature
from digiid.kernel.errors import Refused

_MAX_PATH: Final = 6
_MAX_INTERMEDIATES: Final = 32
_MAX_SIGNATURE_CHECKS: Final = 24

_NAME_CONSTRAINTS: Final = "2.5.29.30"
_POLICY_MAPPINGS: Final = "2.5.29.33"
_POLICY_CONSTRAINTS: Final = "2.5.29.36"
_INHIBIT_ANY_POLICY: Final = "2.5.29.54"
_REFUSED: Final = frozenset({_NAME_CONSTRAINTS, _POLICY_MAPPINGS, _POLICY_CONSTRAINTS, _INHIBIT_ANY_POLICY})
_KNOWN: Final = frozenset(
    {
        x509_parts.BASIC_CONSTRAINTS,
        x509_parts.KEY_USAGE,
        x509_parts.EXTENDED_KEY_USAGE,
        x509_parts.CERTIFICATE_POLICIES,
        x509_parts.SUBJECT_ALTERNATIVE_NAME,
        x509_parts.SUBJECT_KEY_IDENTIFIER,
        x509_parts.AUTHORITY_KEY_IDENTIFIER,
        x509_parts.CRL_DISTRIBUTION_POINTS,
        x509_parts.AUTHORITY_INFORMATION_ACCESS,
        x509_parts.QC_STATEMENTS,
        x509_parts.OCSP_NO_CHECK,
    }
)


class VerifiedPath(NamedTuple):
    """A path from the leaf (first) to the anchor (last). `policies` are the leaf's that every CA between allows."""

    certificates: tuple[x509.Certificate, ...]
    policies: frozenset[str]

    @property
    def leaf(self) -> x509.Certificate:
        return self.certificates[0]

    @property
    def issuer(self) -> x509.Certificate:
        """Who issued the leaf; the leaf itself when it is the anchor."""
        return self.certificates[1] if len(self.certificates) > 1 else self.certificates[0]

    @property
    def anchor(self) -> x509.Certificate:
        return self.certificates[-1]


class _Link(NamedTuple):
    certificate: x509.Certificate
    parts: CertificateParts
    is_anchor: bool


class TrustAnchors:
    """Certificates trusted by themselves, taken apart once. Build it once, use it for every path."""

    def __init__(self, certificates: Iterable[x509.Certificate]) -> None:
        self._links = [_Link(certificate, parts_of(certificate), True) for certificate in certificates]

    def links(self) -> Sequence[_Link]:
        return self._links


class _Search:
    """Counts signature checks over the whole search, so that a bundle of look-alikes stays cheap."""

    def __init__(self, anchors: Sequence[_Link], intermediates: Sequence[_Link], at: datetime) -> None:
        self.anchors, self.intermediates, self.at = anchors, intermediates, at
        self.checks = 0
        self.reason: Refused | None = None

    def extend(self, path: tuple[_Link, ...]) -> tuple[_Link, ...] | None:
        """The rest of the path above `path[-1]`, depth first; anchors are tried before others."""
        child = path[-1]
        if child.is_anchor:
            return path
        if len(path) >= _MAX_PATH:
            self.reason = Refused("x509.path.too_long", f"more than {_MAX_PATH} certificates")
            return None
        for candidate in self._issuers(child):
            if any(candidate.parts.spki_der == link.parts.spki_der for link in path):
                continue
            try:
                self._check_issuer(candidate, path)
            except Refused as error:
                self.reason = error
                continue
            found = self.extend((*path, candidate))
            if found is not None:
                return found
        return None

    def _issuers(self, child: _Link) -> Iterator[_Link]:
        # Names that are equal byte for byte come first: to compare the others costs more than all the rest.
        wanted = child.parts.issuer_der
        candidates = (*self.anchors, *self.intermediates)
        for candidate in candidates:
            if candidate.parts.subject_der == wanted and _key_identifiers_fit(candidate, child):
                yield candidate
        for candidate in candidates:
            subject_der = candidate.parts.subject_der
            if subject_der != wanted and names_match(subject_der, wanted) and _key_identifiers_fit(candidate, child):
                yield candidate

    def _check_issuer(self, issuer: _Link, path: tuple[_Link, ...]) -> None:
        child = path[-1].parts
        _check_validity(issuer.parts, self.at)
        if not issuer.is_anchor:  # §6.1: of an anchor only the name and the key count
            _check_extensions(issuer.parts)
        constraints = issuer.parts.basic_constraints()
        if constraints is None or not constraints.is_ca:
            raise Refused("x509.path.not_a_ca", "the issuer is not a CA")
        usage = issuer.parts.key_usage()
        if usage is not None and x509_parts.KEY_CERT_SIGN not in usage:
            raise Refused("x509.path.not_a_ca", "the issuer's key may not sign certificates")
        # §6.1.4 (l)-(m): self-issued certificates do not count, and neither does the leaf.
        between = sum(1 for link in path[1:] if not names_match(link.parts.issuer_der, link.parts.subject_der))
        if constraints.path_length is not None and between > constraints.path_length:
            raise Refused("x509.path.length", "more CAs below this one than it allows")
        if child.inner_algorithm_der != child.algorithm_der:
            raise Refused("x509.path.algorithm", "the two signature algorithms of a certificate differ")
        if self.checks >= _MAX_SIGNATURE_CHECKS:
            raise Refused("x509.path.too_many", "too many candidates for issuers")
        self.checks += 1
        verify_signature(
            public_key_of(issuer.certificate),
            algorithm_der=child.algorithm_der,
            signature=child.signature,
            message=child.tbs_der,
        )


def verify_path(
    leaf: x509.Certificate,
    *,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate] | TrustAnchors,
    at: datetime,
    leaf_parts: CertificateParts | None = None,
) -> VerifiedPath:
    """Build and verify a path from `leaf` to one of `anchors`, all of it valid at `at`.

    An anchor need not be self-signed: a trusted list names issuing CAs, and single units. A leaf
    that is itself an anchor is a path of one. `leaf_parts` spares a second reading of the leaf.

    Raises:
        Malformed: `der.…`, `x509.…`, one of the certificates cannot be read.
        Refused: `x509.path.no_anchor`, `.expired`, `.not_yet_valid`, `.not_a_ca`, `.length`, `.too_long`,
            `.too_many`, `.extension`, `.algorithm`, `x509.signature`, `x509.algorithm`, `x509.public_key`.
    """
    if len(intermediates) > _MAX_INTERMEDIATES:
        raise Refused("x509.path.too_many", f"more than {_MAX_INTERMEDIATES} intermediate certificates")
    trusted = (anchors if isinstance(anchors, TrustAnchors) else TrustAnchors(anchors)).links()
    first = _Link(leaf, leaf_parts or parts_of(leaf), any(link.certificate == leaf for link in trusted))
    _check_validity(first.parts, at)
    if not first.is_anchor:
        _check_extensions(first.parts)
    others = [_Link(certificate, parts_of(certificate), False) for certificate in intermediates]
    search = _Search(trusted, others, at)
    path = search.extend((first,))
    if path is None:
        raise search.reason or Refused("x509.path.no_anchor", "no trusted issuer is known")
    return VerifiedPath(tuple(link.certificate for link in path), _allowed_policies(path))


def _key_identifiers_fit(candidate: _Link, child: _Link) -> bool:
    wanted, offered = child.parts.authority_key_identifier(), candidate.parts.subject_key_identifier()
    return wanted is None or offered is None or wanted == offered


def _check_validity(parts: CertificateParts, at: datetime) -> None:
    if at < parts.not_before_at:
        raise Refused("x509.path.not_yet_valid", "a certificate of the path is not valid yet")
    if at > parts.not_after_at:
        raise Refused("x509.path.expired", "a certificate of the path has expired")


def _check_extensions(parts: CertificateParts) -> None:
    for identifier, (is_critical, _) in parts.extensions.items():
        if identifier not in _KNOWN and (is_critical or identifier in _REFUSED):
            raise Refused("x509.path.extension", f"extension {identifier} is not supported")


def _allowed_policies(path: tuple[_Link, ...]) -> frozenset[str]:
    # §6.1.3 (d) without mappings: the anchor itself does not constrain.
    allowed = frozenset(path[0].parts.policies())
    for link in path[1:-1]:
        above = link.parts.policies()
        if ANY_POLICY not in above:
            allowed &= frozenset(above)
    return allowed
