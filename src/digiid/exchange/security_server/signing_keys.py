"""The members' signing keys on this server, and the signature of one message by them."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from digiid.exchange.security_server.own_status import OwnStatus
from digiid.exchange.security_server.settings import SigningSettings
from digiid.formats.exchange.hash_chain import HashChain
from digiid.formats.exchange.message_signature import build_message_signature, prepare_message_signature
from digiid.formats.xades import sign_digest
from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import MemberId
from digiid.platform.certificate_files import read_certificate
from digiid.platform.keys import SigningKey, load_signing_key
from digiid.platform.tokens import Pkcs11Key, Pkcs11RsaKey


@dataclass(frozen=True, slots=True)
class SigningIdentity:
    member: MemberId
    key: SigningKey = field(repr=False)
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class Signed:
    """A message's signature, and the chain that it stands for when it is of that form."""

    signature_xml: bytes = field(repr=False)
    hash_chain: HashChain | None


def load_signing_identity(settings: SigningSettings) -> SigningIdentity:
    """Raises: Malformed `keys.…`, `x509.…`; NotFound `certificate_file.absent`; Unavailable `keys.token`."""
    key = load_signing_key(settings.key, settings.passphrase_file)
    certificate = read_certificate(settings.certificate)
    if certificate.public_key() != key.public_key():
        raise Malformed("keys.unreadable", f"{settings.certificate} is not the certificate of {settings.member}'s key")
    return SigningIdentity(settings.member_id, key, certificate)


class Signers:
    """Signs for the members whose keys are here."""

    def __init__(self, identities: Iterable[SigningIdentity], status: OwnStatus, *, use_hash_chain: bool) -> None:
        self._identities = {identity.member: identity for identity in identities}
        self._status, self._use_hash_chain = status, use_hash_chain

    @property
    def identities(self) -> tuple[SigningIdentity, ...]:
        return tuple(self._identities.values())

    def replace(self, identities: Iterable[SigningIdentity]) -> None:
        """Sign with these from now on; what is being signed is finished with what it began with."""
        self._identities = {identity.member: identity for identity in identities}

    async def sign(self, member: MemberId, parts: Mapping[str, bytes], *, at: datetime) -> Signed:
        """Sign these parts: URI to SHA-512 digest, the message first.

        Raises: Refused `exchange.signing.member`, no key of this member is here; Unavailable `exchange.ocsp.…`, its
            certificate's status is not known now; `keys.token`.
        """
        identity = self._identities.get(member)
        if identity is None:
            raise Refused("exchange.signing.member", f"no signing key of {member} on this server")
        ocsp_der = self._status.responses_for(identity.certificate, at=at)
        prepared = prepare_message_signature(
            parts, certificate=identity.certificate, claimed_signing_at=at, use_hash_chain=self._use_hash_chain
        )
        if isinstance(identity.key, Pkcs11Key | Pkcs11RsaKey):  # a token may take its time; other messages go on
            value = await asyncio.to_thread(sign_digest, prepared.method, identity.key, prepared.digest)
        else:
            value = sign_digest(prepared.method, identity.key, prepared.digest)
        return Signed(build_message_signature(prepared, value, ocsp_der=ocsp_der), prepared.hash_chain)
