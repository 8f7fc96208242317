"""Renewal of the exchange's certificates before they end, with a clock that is moved through the years."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from digiid.exchange.central_server.domain import RequestState
from digiid.exchange.central_server.registering import (
    KeyFiles,
    ProvisionedServer,
    load_identity,
    provision,
)
from digiid.exchange.central_server.renewing import Renewer
from digiid.exchange.central_server.use_cases import members, provisioned, requests
from digiid.formats.exchange.management import Operation
from digiid.formats.x509.build import Plan
from digiid.formats.x509.parts import certificate_der
from digiid.formats.x509.profile import CertificateKind, member_attributes
from digiid.kernel.errors import Unavailable
from digiid.platform.certificate_files import read_certificate
from digiid.platform.clock import ManualClock
from digiid.platform.entropy import SeededEntropy
from tests.support.central import PLAN, REGISTRAR, SECURITY, STATE, CentralRoom, central_room
from tests.unit.institutions.trust_services.ca_setup import shared_hierarchy

DAY = timedelta(days=1)
MINUTES = timedelta(minutes=16)


class Room:
    def __init__(self, central: CentralRoom, folder: Path) -> None:
        self.central, self.folder = central, folder
        self.responder_ends_at: datetime | None = None
        self.made = self.provision()
        self.clock = central.clock

    def provision(self) -> tuple[ProvisionedServer, ...]:
        return provision(self.central.deps, PLAN, officer=REGISTRAR, folder=self.folder, **self.authority())

    def authority(self) -> dict[str, Any]:
        return {"certify": self.central.certify, "fetch_ocsp": self.fetch_ocsp}

    def fetch_ocsp(self, certificate: x509.Certificate) -> bytes:
        """By a responder's certificate of now: the hierarchy's own lasts for a year."""
        pki, now = shared_hierarchy(), self.central.clock.now()
        if self.responder_ends_at is None or now > self.responder_ends_at:
            key = ec.generate_private_key(ec.SECP256R1())
            begins_at, self.responder_ends_at = now.replace(microsecond=0), now.replace(microsecond=0) + 300 * DAY
            plan = Plan(
                kind=CertificateKind.OCSP_RESPONDER,
                subject_attributes=member_attributes(pki.profile, CertificateKind.OCSP_RESPONDER),
                public_key=key.public_key(),
                serial_number=pki.next_serial(),
                not_before_at=begins_at,
                not_after_at=self.responder_ends_at,
                issuer=pki.issuing.certificate,
                issuer_kind=CertificateKind.ISSUING_CA,
            )
            self.central.responder.use(pki.certify(plan, key, pki.issuing).certificate, key)
        return self.central.fetch_ocsp(certificate)

    def renewer(self, **changes: Any) -> Renewer:
        values = {"officer": REGISTRAR} | self.authority() | changes
        return Renewer(self.central.deps, PLAN, self.made, **values)

    def renew(self, **changes: Any) -> None:
        self.renewer(**changes).renew()

    @property
    def state(self) -> ProvisionedServer:
        return self.made[0]

    def files(self) -> list[KeyFiles]:
        return [each for server in self.made for each in (server.authentication, *server.signing.values())]

    def certificates(self) -> list[x509.Certificate]:
        return [read_certificate(files.certificate) for files in self.files()]

    def registered(self) -> set[bytes]:
        [view] = [view for view in members.list_servers(self.central.deps) if view.server.id == STATE]
        return set(view.certificates)

    def due_at(self) -> datetime:
        certificate = read_certificate(self.state.authentication.certificate)
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return ends - (ends - begins) / 3

    def move_to(self, at: datetime) -> None:
        self.clock.advance(at - self.clock.now())


@pytest.fixture
def room(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> Room:
    return Room(central_room(tmp_path, clock, entropy, enters_members=False), tmp_path / "servers")


def test_nothing_is_renewed_before_a_third_of_the_time_is_left(room: Room) -> None:
    before = room.certificates()
    room.renew()
    room.move_to(room.due_at() - DAY)
    room.renew()
    assert room.certificates() == before
    assert not list(room.folder.rglob("*.next.*"))


def test_signing_certificates_are_exchanged_at_once_authentication_ones_when_everybody_knows_them(room: Room) -> None:
    before = room.certificates()
    old = certificate_der(read_certificate(room.state.authentication.certificate))
    room.move_to(room.due_at() + DAY)
    # 1 registered beside the one in use, and not shown yet
    room.renew()
    after = room.certificates()
    changed = [files for files, was, now in zip(room.files(), before, after, strict=True) if was != now]
    assert changed == [files for server in room.made for files in server.signing.values()]
    assert old in room.registered() and len(room.registered()) == 2
    # 2 nothing before everybody has had time to fetch the configuration
    room.clock.advance(timedelta(minutes=5))
    room.renew()
    assert certificate_der(read_certificate(room.state.authentication.certificate)) == old
    # 3 in use; the former one stays registered for a day
    room.clock.advance(MINUTES)
    room.renew()
    new = certificate_der(read_certificate(room.state.authentication.certificate))
    assert new != old
    room.clock.advance(DAY / 2)
    room.renew()
    assert room.registered() == {old, new}
    # 4 the former one is gone
    room.clock.advance(DAY)
    room.renew()
    assert room.registered() == {new}
    # 5 every key fits its certificate, which lasts, and a start finds nothing to do
    for files in room.files():
        assert read_certificate(files.certificate).not_valid_after_utc - room.clock.now() > 365 * DAY
        load_identity(files, files.key.with_name("passphrase"), room.fetch_ocsp)
    settled = room.certificates()
    room.provision()
    room.renew()
    assert room.certificates() == settled
    assert not list(room.folder.rglob("*.next.*")) and not list(room.folder.rglob("*.former.*"))


def test_a_server_that_was_removed_gets_no_new_certificate(room: Room) -> None:
    members.remove_server(room.central.deps, STATE, reason="it misbehaves", by=REGISTRAR)
    old = room.state.authentication.certificate.read_bytes()
    room.move_to(room.due_at() + DAY)
    room.renew()
    room.clock.advance(MINUTES)
    room.renew()
    assert room.state.authentication.certificate.read_bytes() == old
    assert STATE not in {view.server.id for view in members.list_servers(room.central.deps)}


def test_without_a_right_of_the_officer_the_registration_waits_for_another_one(room: Room) -> None:
    deps = room.central.deps
    room.move_to(room.due_at() + DAY)
    old = room.state.authentication.certificate.read_bytes()
    for _ in range(2):
        room.renew(officer=SECURITY)  # may not decide
    room.clock.advance(MINUTES)
    room.renew(officer=SECURITY)
    assert room.state.authentication.certificate.read_bytes() == old
    waiting = [each for each in requests.list_requests(deps, only_open=True) if each.request.server == STATE]
    assert [each.request.operation for each in waiting] == [Operation.AUTH_CERT_REGISTRATION]
    requests.approve_request(deps, waiting[0].request.request_id, by=REGISTRAR)
    room.renew(officer=SECURITY)
    room.clock.advance(MINUTES)
    room.renew(officer=SECURITY)
    assert room.state.authentication.certificate.read_bytes() != old


@pytest.mark.parametrize("error", [Unavailable("trust.down", "the CA does not answer"), OSError("no space left")])
def test_a_renewal_that_fails_is_told_until_it_succeeds_and_keeps_no_other_server_back(
    room: Room, error: Exception
) -> None:
    fails = True

    def certify(**order: Any) -> x509.Certificate:
        if fails and order["order_id"].startswith(f"{STATE.server_code}:"):
            raise error
        return room.central.certify(**order)

    renewer = room.renewer(certify=certify)
    assert set(renewer.health()) == {str(server.id) for server in room.made}
    room.move_to(room.due_at() + DAY)
    renewer.renew()
    room.clock.advance(MINUTES)
    renewer.renew()
    told = renewer.health()
    assert "not renewed since" in told[str(STATE)]
    assert "not renewed" not in told[str(room.made[1].id)]
    ends_at = min(read_certificate(each.certificate).not_valid_after_utc for each in room.files())
    room.move_to(ends_at - 20 * DAY)
    with pytest.raises(Unavailable, match=r"central\.not_renewed"):
        renewer.health()
    fails = False
    renewer.renew()
    assert "not renewed" not in str(renewer.health())


class _Crash(BaseException):
    pass


@pytest.mark.parametrize("step", range(14))
def test_what_was_interrupted_anywhere_goes_on(room: Room, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    room.move_to(room.due_at() + DAY)
    left = [step]

    def failing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                left[0] = -1
                raise _Crash
            left[0] -= 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(Path, "replace", failing(Path.replace))
    crashed = 0
    for _ in range(8):
        try:
            room.renew()
        except _Crash:
            crashed += 1
            room.provision()  # as the next start does
        for files in room.files():
            certificate = read_certificate(files.certificate)
            passphrase = files.key.with_name("passphrase").read_bytes().strip()
            key = load_pem_private_key(files.key.read_bytes(), passphrase)
            assert certificate.public_key() == key.public_key()
        room.clock.advance(MINUTES)
    room.clock.advance(DAY)
    room.renew()
    room.renew()
    assert all(each.not_valid_after_utc - room.clock.now() > 365 * DAY for each in room.certificates())
    assert len(room.registered()) == 1
    assert not list(room.folder.rglob("*.next.*")) and not list(room.folder.rglob("*.former.*"))
    open_ones = requests.list_requests(room.central.deps, only_open=True)
    assert open_ones == []
    assert {each.state for each in requests.list_requests(room.central.deps)} <= {
        RequestState.APPROVED,
        RequestState.APPLIED,
    }
    assert provisioned.certificate_item(next(iter(room.registered()))) in {
        item.name for item in provisioned.list_provisioned(room.central.deps) if item.is_there
    }
    assert crashed == (1 if left[0] < 0 else 0)
