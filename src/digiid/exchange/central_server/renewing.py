"""Renewal of the certificates of an exchange whose keys are all at hand, long before they end.

A signing certificate needs nothing but the CA. An authentication certificate is registered first, beside the one in
use; only when every server has had time to fetch the configuration that names it are the files exchanged, which the
running server takes up by itself (`security_server/own_keys`); the former one is deleted a day later. `renew` takes the
step that is due, whenever it is called and wherever it was interrupted.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from digiid.exchange.central_server import store
from digiid.exchange.central_server.registering import (
    Certifier,
    KeyFiles,
    KeyOrder,
    Plan,
    ProvisionedServer,
    Registrar,
    exchange_files,
    finish_exchange,
    following_files,
    make_key,
    subject_of,
    write_file,
)
from digiid.exchange.central_server.use_cases import members, provisioned
from digiid.exchange.central_server.use_cases.deps import Deps
from digiid.formats.x509.parts import certificate_der
from digiid.formats.x509.profile import CertificateKind
from digiid.kernel.errors import DigiidError, NotFound, Unavailable
from digiid.kernel.identifiers import MemberId
from digiid.platform.certificate_files import read_certificate

_KNOWN_AFTER: Final = timedelta(minutes=15)  # longer than any configuration in use may be old
_FORMER_DELETED_AFTER: Final = timedelta(days=1)
_LATE: Final = timedelta(days=30)  # with so little time left what fails is told as a failure
log = structlog.get_logger("exchange.central_server")


@dataclass(frozen=True)
class Renewer:
    """`officer` approves the new authentication certificates, as in `provision`."""

    deps: Deps
    plan: Plan
    servers: Sequence[ProvisionedServer]
    certify: Certifier
    fetch_ocsp: Callable[[x509.Certificate], bytes]
    officer: str

    _failures: dict[str, tuple[datetime, str]] = field(default_factory=dict, init=False)  # since when, and why

    def renew(self) -> None:
        """Renew what has less than a third of its time left. What fails at one server is told and tried again later."""
        for server in self.servers:
            try:
                for member in server.signing:
                    self._renew_signing(server, member)
                self._renew_authentication(server)
            except DigiidError as error:
                log.error("central.not_renewed", server=str(server.id), code=error.code, reason=error.detail)
                self._failed(server, f"{error.code}: {error.detail}")
            except Exception as error:  # the loop's edge: a full disk must be told too, and keep no other server back
                log.exception("central.not_renewed", server=str(server.id))
                self._failed(server, f"{type(error).__name__}, see the log")
            else:
                self._failures.pop(str(server.id), None)

    def health(self) -> Mapping[str, str]:
        """Of each server until when its certificates can be used, and what keeps them from being renewed.

        Raises: Unavailable `central.not_renewed`: renewal fails, and there is less time left than _LATE; NotFound or
            Malformed, a certificate cannot be read.
        """
        told, late = {}, []
        for server in self.servers:
            ends_at = min(read_certificate(each.certificate).not_valid_after_utc for each in _files_of(server))
            told[str(server.id)] = f"until {ends_at:%Y-%m-%d}"
            if (failure := self._failures.get(str(server.id))) is None:
                continue
            told[str(server.id)] += (
                f"; not renewed since {failure[0].astimezone(UTC):%Y-%m-%d %H:%M} UTC ({failure[1]})"
            )
            if ends_at - self.deps.clock.now() < _LATE:
                late.append(f"{server.id} {told[str(server.id)]}")
        if late:
            remedy = "See that the CA issues certificates and the disk has space; it is tried again by itself"
            raise Unavailable("central.not_renewed", f"{'; '.join(late)}. {remedy}")
        return told

    def _failed(self, server: ProvisionedServer, why: str) -> None:
        self._failures.setdefault(str(server.id), (self.deps.clock.now(), why))

    def _renew_signing(self, server: ProvisionedServer, member: MemberId) -> None:
        files = server.signing[member]
        following = following_files(files)
        finish_exchange(files)
        if not following.key.exists() and not self._is_due(files):
            return
        # 1 another key with a certificate, beside those in use
        order = self._order(server, files, CertificateKind.EXCHANGE_SIGNING, member, self.plan.names[member])
        make_key(self.deps, following, server.passphrase_file, order, certify=self.certify)
        # 2 in their place
        exchange_files(files)
        log.info("central.renewed", server=str(server.id), member=str(member), kind="signing")

    def _renew_authentication(self, server: ProvisionedServer) -> None:
        files = server.authentication
        following = following_files(files)
        finish_exchange(files)
        self._delete_former(server)
        if not following.key.exists() and not self._is_due(files):
            return
        # 1 a server that somebody took off the register stays off
        view = next((view for view in members.list_servers(self.deps) if view.server.id == server.id), None)
        if view is None or certificate_der(read_certificate(files.certificate)) not in view.certificates:
            log.warning("central.stays_removed", server=str(server.id), removed="authentication certificate")
            return
        # 2 another key with a certificate
        name = str(server.id)
        order = self._order(server, files, CertificateKind.EXCHANGE_AUTHENTICATION, server.id.owner, name)
        make_key(self.deps, following, server.passphrase_file, order, certify=self.certify)
        # 3 registered beside the one in use
        certificate = certificate_der(read_certificate(following.certificate))
        registrar = Registrar(self.deps, server, fetch_ocsp=self.fetch_ocsp, officer=self.officer)
        item = provisioned.certificate_item(certificate)
        register = partial(registrar.register_certificate, following, address=view.server.address)
        if not provisioned.enter_once(self.deps, item, register):
            log.warning("central.stays_removed", server=str(server.id), removed=item)
            return
        # 4 known to every server
        if not self._is_registered_for(certificate, _KNOWN_AFTER):
            return
        # 5 in their place; the former certificate is remembered
        write_file(_former(files), files.certificate.read_bytes(), 0o644)
        exchange_files(files)
        log.info("central.renewed", server=str(server.id), kind="authentication")

    def _delete_former(self, server: ProvisionedServer) -> None:
        """Nobody shows it any more: what began with it a day ago has ended."""
        file = _former(server.authentication)
        present = certificate_der(read_certificate(server.authentication.certificate))
        if not file.exists() or not self._is_registered_for(present, _FORMER_DELETED_AFTER):
            return
        former = read_certificate(file)
        if certificate_der(former) != present:
            registrar = Registrar(self.deps, server, fetch_ocsp=self.fetch_ocsp, officer=self.officer)
            try:
                registrar.delete_certificate(former)
            except NotFound:
                log.info("central.certificate_gone_already", server=str(server.id))
        file.unlink()

    def _is_due(self, files: KeyFiles) -> bool:
        certificate = read_certificate(files.certificate)
        begins_at, ends_at = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return self.deps.clock.now() >= ends_at - (ends_at - begins_at) / 3

    def _is_registered_for(self, der: bytes, least: timedelta) -> bool:
        with self.deps.db.read() as tx:
            since = store.servers.find_registered_at(tx, hashlib.sha256(der).hexdigest())
        return since is not None and self.deps.clock.now() - since >= least

    def _order(
        self, server: ProvisionedServer, files: KeyFiles, kind: CertificateKind, member: MemberId, common_name: str
    ) -> KeyOrder:
        """One order for each certificate that comes to its end."""
        former = read_certificate(files.certificate).serial_number
        order_id = f"{server.id.server_code}:{files.key.stem}:{f'{former:x}'[-16:]}"
        return KeyOrder(order_id, kind, subject_of(self.plan, member, common_name))


def _files_of(server: ProvisionedServer) -> tuple[KeyFiles, ...]:
    return server.authentication, *server.signing.values()


def _former(files: KeyFiles) -> Path:
    return files.certificate.with_suffix(".former.crt")
