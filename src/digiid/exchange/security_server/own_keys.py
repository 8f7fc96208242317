"""This server's own keys and certificates, as they lie in their files now: taken up while it runs.

Whoever renews a certificate puts the new files in the place of the old ones, key first. They count when they can be
used: the certificate is that of the key, the authentication certificate is registered at this server in the
configuration in hand, and there is an OCSP response about each that says good. Until then the former ones go on, so a
file that was put there too early, or only half, stops nothing.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509

from digiid.exchange.global_conf import GlobalConf
from digiid.exchange.security_server.own_status import OwnStatus
from digiid.exchange.security_server.settings import KeySettings, SecurityServerSettings
from digiid.exchange.security_server.signing_keys import SigningIdentity, load_signing_identity
from digiid.formats.x509.parts import certificate_der
from digiid.kernel.errors import DigiidError, Malformed, Unavailable
from digiid.platform.certificate_files import read_certificates
from digiid.platform.clock import Clock
from digiid.platform.keys import load_signing_key

log = structlog.get_logger("exchange.security_server")


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """What was read at one moment. `digest`: of all files that were read."""

    authentication: x509.Certificate
    identities: tuple[SigningIdentity, ...]
    digest: bytes

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        return (self.authentication, *(each.certificate for each in self.identities))


def load_own_keys(settings: SecurityServerSettings) -> OwnKeys:
    """Raises: Malformed `keys.…`, `x509.…`; NotFound `certificate_file.absent`; Unavailable `keys.token`."""
    digest = _digest_of(settings)
    identities = tuple(load_signing_identity(each) for each in settings.signing)
    return OwnKeys(read_certificates(settings.authentication.certificate)[0], identities, digest)


class OwnKeysWatch:
    """Looks at the files from a thread; what it gives is taken up on the event loop."""

    def __init__(
        self,
        settings: SecurityServerSettings,
        current: OwnKeys,
        *,
        status: OwnStatus,
        find_conf: Callable[[], GlobalConf],
        clock: Clock,
    ) -> None:
        self._settings, self._status, self._find_conf, self._clock = settings, status, find_conf, clock
        self.current = current
        self._tried: tuple[bytes, datetime] | None = None  # these files at this time, and they could not be used

    @property
    def files_are_current(self) -> bool:
        """Whether the files hold what is in use: a TLS context is always made from files."""
        try:
            return _digest_of(self._settings) == self.current.digest
        except DigiidError:
            return False

    def look_again(self) -> None:
        """The next look tries files at once that could not be used a moment ago."""
        self._tried = None

    def look(self) -> OwnKeys | None:
        """What is in the files, when it is something else than what is in use and can be used. It is then `current`."""
        # 1 is there anything new; what could not be used a moment ago is not asked about all the time
        try:
            digest = _digest_of(self._settings)
        except DigiidError:
            return None  # half-way through a change; what is in memory goes on
        now = self._clock.now()
        retry = timedelta(seconds=self._settings.ocsp.retry_seconds)
        if digest == self.current.digest:
            self._tried = None
            return None
        if self._tried is not None and self._tried[0] == digest and now - self._tried[1] < retry:
            return None
        self._tried = digest, now
        try:
            # 2 read whole
            found = load_own_keys(self._settings)
            _check_authentication(self._settings)
            # 3 others will know it
            server = self._find_conf().server_of_authentication_certificate(certificate_der(found.authentication))
            if server is None or server.id != self._settings.server_id:
                raise Unavailable("exchange.keys.not_registered", "the new authentication certificate is not known")
            # 4 and believe it
            self._status.fetch_for(found.certificates)
        except DigiidError as error:
            log.warning("exchange.keys_not_taken_up", code=error.code, reason=error.detail)
            return None
        self.current, self._tried = found, None
        return found


def _check_authentication(settings: SecurityServerSettings) -> None:
    own = settings.authentication
    key = load_signing_key(Path(own.key), own.passphrase_file)
    if read_certificates(own.certificate)[0].public_key() != key.public_key():
        raise Malformed("keys.unreadable", f"{own.certificate} is not the certificate of {own.key}")


def _digest_of(settings: SecurityServerSettings) -> bytes:
    """Raises: Unavailable `exchange.keys.file` while a file is not there."""
    digest = hashlib.sha256()
    for each in (settings.authentication, *settings.signing):
        for file in _files_of(each):
            try:
                digest.update(hashlib.sha256(file.read_bytes()).digest())
            except OSError as error:
                raise Unavailable("exchange.keys.file", f"{file.name}: {type(error).__name__}") from error
    return digest.digest()


def _files_of(settings: KeySettings) -> tuple[Path, ...]:
    if settings.key.startswith("pkcs11:"):
        return (settings.certificate,)
    return Path(settings.key), settings.certificate
