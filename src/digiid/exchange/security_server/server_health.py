"""A running security server seen from its health port: where each clock and each check is read from."""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import make_url

from digiid.exchange.security_server.clocks import Clocks, ClockSources, HeldCertificate, KeptStatus
from digiid.exchange.security_server.health import Check, HealthCheck, HealthPort
from digiid.exchange.security_server.local_conf import LocalConfAlarm
from digiid.exchange.security_server.maintenance import MaintenanceSwitch
from digiid.exchange.security_server.server import SecurityServer
from digiid.exchange.security_server.signing_keys import SigningIdentity
from digiid.kernel.errors import DigiidError, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.tokens import Pkcs11Key, Pkcs11RsaKey

_KEY_CHECK_EVERY: Final = timedelta(seconds=60)
_KEY_CHECK: Final = bytes(32)  # no digest of anything: what is signed here is of no use to anybody


def health_port_of(server: SecurityServer, clock: Clock) -> HealthPort:
    """What `server.listen_also("health", port.answer, settings.listeners.health_port)` listens with."""
    settings = server.settings
    switch = server.deps.maintenance
    clocks = Clocks(_sources(server, switch, clock), clock)
    health = HealthCheck(_checks(server, clock), switch, clock)
    return HealthPort(settings.server_id, health, clocks, server.monitoring.statistics, clock)


def _checks(server: SecurityServer, clock: Clock) -> Sequence[Check]:
    keys = KeyChecks(lambda: server.signers.identities, clock)

    def check_keys() -> None:
        for _, problem in keys.read():
            if problem is not None:
                raise Unavailable("keys.token", problem)
        for certificate in server.own_certificates:
            server.status.responses_for(certificate, at=clock.now())

    return (
        ("configuration", server.configuration.current),
        ("keys", check_keys),
        ("log", lambda: _check_log(server)),
        ("time_stamps", lambda: server.log.check_accepting(clock.now())),
    )


def _sources(server: SecurityServer, switch: MaintenanceSwitch, clock: Clock) -> ClockSources:
    settings = server.settings
    keys = KeyChecks(lambda: server.signers.identities, clock)
    return ClockSources(
        configuration=server.configuration.state,
        ocsp=lambda: [_own_status(server)],
        ocsp_freshness=lambda: server.configuration.current().ocsp_freshness,
        stamping=server.log.describe_stamping,
        stamping_grace=timedelta(seconds=settings.message_log.acceptable_timestamp_failure_seconds),
        check_log=lambda: _check_log(server),
        certificates=lambda: [*_held_by_server(server), *_of_information_systems(server)],
        list_keys=keys.read,
        disk=lambda: _disk_of(settings.folder, settings.database),
        rights_alarm=lambda: _rights_alarm(server),
        maintenance=switch.message,
        monitoring_is_failing=lambda: server.monitoring.is_failing,
        archiving=server.log.describe_archiving,
    )


def _own_status(server: SecurityServer) -> KeptStatus:
    # whether nextUpdate counts is the configuration's to say; where that has run out, the careful answer is shown
    counts = True
    with contextlib.suppress(DigiidError):
        counts = server.configuration.current().optional.verify_next_update
    next_update_at = server.status.first_next_update() if counts else None
    return KeptStatus("", server.status.oldest_update(), next_update_at)


def _check_log(server: SecurityServer) -> None:
    with server.log.db.read() as tx:
        tx.exec_driver_sql("SELECT 1")


def _rights_alarm(server: SecurityServer) -> LocalConfAlarm | None:
    server.local.current()
    return server.local.alarm


# ------------------------------------------------------------------ certificates


def _held_by_server(server: SecurityServer) -> tuple[HeldCertificate, ...]:
    authentication, *_ = server.own_certificates
    internal = x509.load_der_x509_certificate(server.internal_identity.certificate_der)
    return (
        _held("certificate_authentication", str(server.settings.server_id), authentication),
        *(_held("certificate_signing", str(each.member), each.certificate) for each in server.signers.identities),
        _held("certificate_internal", str(server.settings.server_id), internal),
    )


def _of_information_systems(server: SecurityServer) -> list[HeldCertificate]:
    """Each once: an information system often asks and answers by the same certificate."""
    found: dict[bytes, str] = {}
    local = server.local.current()
    for client in local.clients:
        for der in client.certificates:
            found.setdefault(der, str(client.id))
        for service in local.services_of(client.id):
            if service.target.tls_certificate is not None:
                found.setdefault(service.target.tls_certificate, str(client.id))
    return [
        _held("certificate_information_system", subject, x509.load_der_x509_certificate(der))
        for der, subject in found.items()
    ]


def _held(kind: str, subject: str, certificate: x509.Certificate) -> HeldCertificate:
    return HeldCertificate(kind, subject, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


# ------------------------------------------------------------------ keys, disk


class KeyChecks:
    """Whether the signing keys can be used: keys in tokens are tried once a minute, those in memory are there."""

    def __init__(self, list_identities: Callable[[], Sequence[SigningIdentity]], clock: Clock) -> None:
        self._list_identities, self._clock = list_identities, clock
        self._kept: tuple[datetime, tuple[tuple[str, str | None], ...]] | None = None

    def read(self) -> tuple[tuple[str, str | None], ...]:
        """(member, what is wrong or None)."""
        now = self._clock.now()
        if self._kept is None or not self._kept[0] <= now < self._kept[0] + _KEY_CHECK_EVERY:
            self._kept = now, tuple((str(each.member), _try_key(each)) for each in self._list_identities())
        return self._kept[1]


def _try_key(identity: SigningIdentity) -> str | None:
    try:
        if isinstance(identity.key, Pkcs11Key):
            identity.key.sign(_KEY_CHECK, ec.ECDSA(Prehashed(SHA256())))
        elif isinstance(identity.key, Pkcs11RsaKey):
            identity.key.sign(_KEY_CHECK, PKCS1v15(), Prehashed(SHA256()))
    except Exception as error:  # the edge: drivers of tokens raise what they like
        return f"the key in the token cannot be used: {type(error).__name__}"
    return None


def _disk_of(folder: Path, database: str) -> tuple[int, int]:
    """Free and all bytes where the message log lies: the fuller one of its database's and the server's folder."""
    url = make_url(database)
    places = [folder]
    if url.get_backend_name() == "sqlite" and url.database:
        places.append(Path(url.database).parent)
    usages = [shutil.disk_usage(place) for place in places]
    least = min(usages, key=lambda usage: usage.free)
    return least.free, least.total
