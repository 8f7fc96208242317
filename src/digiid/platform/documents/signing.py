"""Both steps of signing at once (`preparing`, `finishing`), with a signer at hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from digiid.formats.asic import DataFile
from digiid.formats.validation import POLV4, Policy
from digiid.formats.xades import ProductionPlace, SignatureMethod, choose_method, sign_digest
from digiid.platform.documents.finishing import finish_signature
from digiid.platform.documents.levels import Level
from digiid.platform.documents.preparing import prepare_additional_signature, prepare_signature
from digiid.platform.documents.services import TrustServices


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
    level: Level = Level.LT,
    policy: Policy = POLV4,
) -> bytes:
    """Both steps with a signer at hand: a container of level LT, or another asked for. Raises what the steps raise."""
    prepared = prepare_signature(
        files,
        certificate=signer.certificate,
        issuers=issuers,
        at=trust.clock.now(),
        roles=roles,
        place=place,
        method=signer.method,
    )
    value = signer.sign(prepared.digest)
    return finish_signature(prepared, value, trust=trust, level=level, policy=policy).content


def sign_container(
    container: bytes,
    *,
    signer: Signer,
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    level: Level = Level.LT,
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
    value = signer.sign(prepared.digest)
    return finish_signature(prepared, value, trust=trust, level=level, policy=policy).content
