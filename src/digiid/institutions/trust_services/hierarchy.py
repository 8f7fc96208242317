"""The hierarchy on disk: one folder with certificates, encrypted keys, and what was fixed when it was made.

A hierarchy is made once, whole or not at all: everything is written into a folder beside it, which
is renamed at the end. Certificates name addresses, so the base URL never changes afterwards.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.x509.build import Plan, build_candidate, sign_tbs
from digiid.formats.x509.lint import lint_candidate
from digiid.formats.x509.parts import load_certificate
from digiid.formats.x509.path import verify_path
from digiid.formats.x509.profile import (
    PROFILES,
    SERIAL_NUMBER_BYTES,
    SLUGS,
    CertificateKind,
    HierarchyNames,
    HierarchyProfile,
    member_attributes,
    serial_number_from,
)
from digiid.kernel.errors import Broken, Conflict, DigiidError, Malformed
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy
from digiid.platform.keys import generate_ec_key, load_or_create_passphrase, load_private_key, write_private_key

_SETTINGS: Final = "hierarchy.json"
_YEARS: Final[Mapping[CertificateKind, int]] = {
    CertificateKind.ROOT_CA: 18,
    CertificateKind.ISSUING_CA: 12,
    CertificateKind.TSA_CA: 12,
    CertificateKind.OCSP_RESPONDER: 1,
    CertificateKind.TIME_STAMPING_UNIT: 6,
    CertificateKind.TRUSTED_LIST_SIGNER: 6,
}
_ISSUERS: Final[Mapping[CertificateKind, CertificateKind | None]] = {
    CertificateKind.ROOT_CA: None,
    CertificateKind.ISSUING_CA: CertificateKind.ROOT_CA,
    CertificateKind.TSA_CA: CertificateKind.ROOT_CA,
    CertificateKind.OCSP_RESPONDER: CertificateKind.ISSUING_CA,
    CertificateKind.TIME_STAMPING_UNIT: CertificateKind.TSA_CA,
    CertificateKind.TRUSTED_LIST_SIGNER: None,
}
# Every key is P-384 but the responder's: it signs for each question anew, and P-256 does that ten times as often.
_CURVE_NAMES: Final[Mapping[CertificateKind, str]] = {
    kind: "secp256r1" if kind is CertificateKind.OCSP_RESPONDER else "secp384r1" for kind in _YEARS
}
_BACKDATED: Final = timedelta(minutes=1)
RENEW_RESPONDER_BEFORE: Final = timedelta(days=60)


@dataclass(frozen=True)
class Hierarchy:
    """The certificates of a hierarchy and what was fixed with it. Keys are loaded one by one, by who needs them."""

    folder: Path
    profile: HierarchyProfile
    certificates: Mapping[CertificateKind, x509.Certificate]
    key_sources: Mapping[CertificateKind, str]

    def certificate(self, kind: CertificateKind) -> x509.Certificate:
        return self.certificates[kind]

    @property
    def root(self) -> x509.Certificate:
        return self.certificates[CertificateKind.ROOT_CA]

    @property
    def issuing(self) -> x509.Certificate:
        return self.certificates[CertificateKind.ISSUING_CA]

    def has_key(self, kind: CertificateKind) -> bool:
        """Whether the key is at hand here: an offline root's is not."""
        source = self.key_sources.get(kind)
        return source is not None and (source.startswith("pkcs11:") or (self.folder / source).exists())

    def load_key(self, kind: CertificateKind, passphrase_path: Path) -> ec.EllipticCurvePrivateKey:
        """The signing key of one member, checked against its certificate.

        Raises: Malformed or Unavailable `keys.…`; Broken `trust.hierarchy.key` when it is another key.
        """
        source = self.key_sources.get(kind)
        if source is None:
            raise Malformed("keys.unreadable", f"no key is configured for {kind}")
        key = load_private_key(source if source.startswith("pkcs11:") else self.folder / source, passphrase_path)
        if key.public_key() != self.certificates[kind].public_key():
            raise Broken("trust.hierarchy.key", f"the key of {kind} is not the one in its certificate")
        return key


def create_hierarchy(
    folder: Path,
    *,
    names: HierarchyNames,
    base_url: str,
    passphrase_path: Path,
    clock: Clock,
    entropy: Entropy,
    documents_url: str | None = None,
) -> Hierarchy:
    """Make root, issuing CA, TSA CA, OCSP responder, time-stamping unit and trusted-list signer in `folder`.

    `base_url` is written into certificates. `documents_url` (https) names the practice statement; by
    default it is `base_url` with https. Every certificate is linted before it is signed.

    Raises: Conflict `trust.hierarchy.exists`; Malformed `trust.hierarchy.base_url`.
    """
    if folder.exists():
        raise Conflict("trust.hierarchy.exists", f"{folder} is there already")
    profile = HierarchyProfile(names, _checked_url(base_url), documents_url or _documents_url(base_url))
    passphrase = load_or_create_passphrase(passphrase_path, entropy)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)

    now = clock.now().replace(microsecond=0)
    keys: dict[CertificateKind, ec.EllipticCurvePrivateKey] = {}
    certificates: dict[CertificateKind, x509.Certificate] = {}
    for kind, issuer_kind in _ISSUERS.items():
        keys[kind] = generate_ec_key(_CURVE_NAMES[kind])
        certificates[kind] = _certify(
            kind,
            profile,
            key=keys[kind],
            issuer=certificates[issuer_kind] if issuer_kind else None,
            issuer_key=keys[issuer_kind] if issuer_kind else keys[kind],
            serial_number=serial_number_from(entropy.token_bytes(SERIAL_NUMBER_BYTES)),
            at=now,
        )
        write_private_key(part / f"{SLUGS[kind]}.key", keys[kind], passphrase=passphrase)
        _write(part / f"{SLUGS[kind]}.crt", certificates[kind].public_bytes(Encoding.PEM))
    settings = {
        "names": asdict(names),
        "base_url": profile.base_url,
        "documents_url": profile.documents_url,
        "certificates": {SLUGS[kind]: f"{SLUGS[kind]}.crt" for kind in keys},
        "keys": {SLUGS[kind]: f"{SLUGS[kind]}.key" for kind in keys},
    }
    _write(part / _SETTINGS, json.dumps(settings, indent=1, ensure_ascii=False).encode())
    part.replace(folder)
    _sync_folder(folder.parent)
    return load_hierarchy(folder)


def load_hierarchy(folder: Path) -> Hierarchy:
    """Read a hierarchy and check that its parts belong together.

    Raises: Malformed `trust.hierarchy.unreadable`; Broken `trust.hierarchy.path`.
    """
    try:
        settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        profile = HierarchyProfile(
            HierarchyNames(**settings["names"]), str(settings["base_url"]), str(settings["documents_url"])
        )
        sources: dict[str, Any] = dict(settings["keys"])
        files = dict(settings["certificates"])
        certificates = {kind: _read_certificate(folder / str(files[slug])) for kind, slug in SLUGS.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Malformed("trust.hierarchy.unreadable", f"{folder}: {type(error).__name__}") from error
    for kind, issuer_kind in _ISSUERS.items():
        anchor = certificates[issuer_kind or kind]
        try:
            verify_path(
                certificates[kind], intermediates=[], anchors=[anchor], at=certificates[kind].not_valid_before_utc
            )
        except DigiidError as error:
            raise Broken("trust.hierarchy.path", f"{kind} does not belong to {folder}: {error.code}") from error
    return Hierarchy(
        folder, profile, certificates, {kind: sources[slug] for kind, slug in SLUGS.items() if slug in sources}
    )


def renew_responder(hierarchy: Hierarchy, *, passphrase_path: Path, clock: Clock, entropy: Entropy) -> Hierarchy:
    """A new key and certificate for the OCSP responder when the present one ends within 60 days; else no change."""
    kind = CertificateKind.OCSP_RESPONDER
    now = clock.now().replace(microsecond=0)
    if hierarchy.certificate(kind).not_valid_after_utc - now > RENEW_RESPONDER_BEFORE:
        return hierarchy
    key = generate_ec_key(_CURVE_NAMES[kind])
    certificate = _certify(
        kind,
        hierarchy.profile,
        key=key,
        issuer=hierarchy.issuing,
        issuer_key=hierarchy.load_key(CertificateKind.ISSUING_CA, passphrase_path),
        serial_number=serial_number_from(entropy.token_bytes(SERIAL_NUMBER_BYTES)),
        at=now,
    )
    # The new pair lies under names of its own until the settings name it: a crash leaves the old pair in use.
    slug = f"{SLUGS[kind]}-{now:%Y%m%d%H%M%S}"
    passphrase = load_or_create_passphrase(passphrase_path, entropy)
    write_private_key(hierarchy.folder / f"{slug}.key", key, passphrase=passphrase)
    settings = json.loads((hierarchy.folder / _SETTINGS).read_text(encoding="utf-8"))
    settings["keys"][SLUGS[kind]] = f"{slug}.key"
    settings["certificates"][SLUGS[kind]] = f"{slug}.crt"
    _write(hierarchy.folder / f"{slug}.crt", certificate.public_bytes(Encoding.PEM))
    _write(hierarchy.folder / _SETTINGS, json.dumps(settings, indent=1, ensure_ascii=False).encode())
    return load_hierarchy(hierarchy.folder)


def _certify(
    kind: CertificateKind,
    profile: HierarchyProfile,
    *,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    serial_number: int,
    at: datetime,
) -> x509.Certificate:
    plan = Plan(
        kind=kind,
        subject_attributes=member_attributes(profile, kind),
        public_key=key.public_key(),
        serial_number=serial_number,
        # A little before now: the first relying party's clock may be behind ours.
        not_before_at=max(at - _BACKDATED, issuer.not_valid_before_utc) if issuer else at - _BACKDATED,
        not_after_at=at + timedelta(days=365 * _YEARS[kind]),
        issuer=issuer,
        issuer_kind=_ISSUERS[kind],
    )
    candidate = build_candidate(plan, profile, throwaway_key=generate_ec_key(issuer_key.curve.name))
    linted = lint_candidate(candidate, plan.expected(profile))
    assert PROFILES[kind].is_self_signed == (issuer is None)
    return load_certificate(sign_tbs(linted, key=issuer_key))


def _checked_url(base_url: str) -> str:
    scheme, separator, rest = base_url.partition("://")
    if scheme != "http" or not separator or not rest or not rest.isascii() or rest.endswith("/") or " " in rest:
        # RFC 5280 §8: addresses in certificates are plain http, or whoever fetches them needs a certificate first.
        raise Malformed("trust.hierarchy.base_url", "the base URL is http://host[:port][/path], no slash at the end")
    return base_url


def _documents_url(base_url: str) -> str:
    return "https" + base_url.removeprefix("http") + "/repository"


def _read_certificate(file: Path) -> x509.Certificate:
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    return load_certificate(certificate.public_bytes(Encoding.DER))


def _write(file: Path, content: bytes) -> None:
    part = file.with_name(file.name + ".part")
    with part.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
