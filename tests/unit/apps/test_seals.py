"""Seals of the state's own services, renewed before they end, with a clock that is moved through the years."""

import stat
import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from digiid.apps.seals import SealAuthority, ServiceSeal, certify_seal, load_or_make_seal, renewal
from digiid.formats.organization_seal import SealOwner, verify_seal_owner
from digiid.formats.x509.path import TrustAnchors
from digiid.formats.x509.profile import HierarchyNames, Organization
from digiid.institutions.trust_services.app import revoke_seal
from digiid.institutions.trust_services.hierarchy import Hierarchy, create_hierarchy
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.kernel.errors import Conflict, DigiidError, Malformed, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.documents.signers import signer_from_pkcs12
from digiid.platform.documents.signing import KeySigner
from digiid.platform.entropy import SystemEntropy
from digiid.platform.keys import FileIdentity, load_pkcs12_file, write_pkcs12_file

DAY = timedelta(days=1)
NUMBER = "SEAL-CONSENT"
OWNER = Organization("70000105", "TEST Information Authority", "TEST Consent Service e-seal")


@dataclass
class Room:
    """A CA in files, and the folder of the seals."""

    path: Path
    clock: ManualClock
    hierarchy: Hierarchy

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    @property
    def file(self) -> Path:
        return self.secrets / f"{NUMBER}.p12"

    @property
    def authority(self) -> SealAuthority:
        settings = TrustServicesSettings(
            hierarchy_folder=self.path / "hierarchy", passphrase_file=self.path / "hierarchy-passphrase"
        )
        return SealAuthority(settings, self.database, self.clock, SystemEntropy())

    def database(self, unit: str) -> Database:
        return Database.sqlite(self.path / f"{unit}.sqlite")

    def started(self) -> ServiceSeal:
        """As a state that starts has it."""
        return ServiceSeal(
            self.secrets, self.authority, seal_number=NUMBER, organization=OWNER, needed_for="consent receipts"
        )

    def on_disk(self) -> KeySigner:
        return signer_from_pkcs12(self.file, self.file.with_suffix(".password"))

    def wait_until_due(self, seal: ServiceSeal, after: timedelta = DAY) -> None:
        certificate = seal.open().certificate
        begins_at, ends_at = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        self.clock.advance(ends_at - (ends_at - begins_at) / 3 + after - self.clock.now())

    def wait_until_left(self, seal: ServiceSeal, left: timedelta) -> None:
        self.clock.advance(seal.open().certificate.not_valid_after_utc - left - self.clock.now())

    def revoke(self, number: str) -> None:
        revoke_seal(
            self.authority.settings,
            number,
            reason="keyCompromise",
            open_database=self.database,
            clock=self.clock,
            entropy=SystemEntropy(),
        )

    def ca_goes(self) -> None:
        (self.path / "hierarchy").rename(self.path / "away")

    def ca_comes_back(self) -> None:
        (self.path / "away").rename(self.path / "hierarchy")


def open_room(path: Path, clock: ManualClock) -> Room:
    hierarchy = create_hierarchy(
        path / "hierarchy",
        names=HierarchyNames(),
        base_url="http://127.0.0.1:8801",
        passphrase_path=path / "hierarchy-passphrase",
        clock=clock,
        entropy=SystemEntropy(),
    )
    return Room(path, clock, hierarchy)


@pytest.fixture
def room(tmp_path: Path, clock: ManualClock) -> Room:
    return open_room(tmp_path, clock)


def files(room: Room) -> list[str]:
    return sorted(file.name for file in room.secrets.iterdir())


def test_a_seal_is_made_when_it_is_first_needed_and_not_by_the_clock(room: Room) -> None:
    seal = room.started()
    seal.look()
    assert not room.secrets.exists()
    assert seal.health() == "not in use yet"
    made = seal.open()
    assert seal.open() is made
    assert room.on_disk().certificate == room.started().open().certificate == made.certificate
    seal.look()
    assert seal.health() == "until 2029-12-31, 1134 days left"


def test_nothing_is_renewed_before_a_third_of_its_life_is_left(room: Room) -> None:
    seal = room.started()
    made = seal.open()
    room.wait_until_due(seal, after=-DAY)
    seal.look()
    assert seal.open() is made
    assert files(room) == [f"{NUMBER}.p12", f"{NUMBER}.password"]


def test_a_renewed_seal_is_taken_up_at_once_and_lies_where_the_former_lay(room: Room) -> None:
    seal = room.started()
    former = seal.open()
    room.wait_until_due(seal)
    seal.look()
    renewed = seal.open()
    assert renewed.certificate != former.certificate
    assert renewed.certificate.public_key() != former.certificate.public_key()
    assert renewed.certificate.not_valid_after_utc > former.certificate.not_valid_after_utc + 365 * DAY
    # whoever pins the owner's name has nothing to do
    owner = SealOwner(TrustAnchors([room.hierarchy.issuing]), "NTREE-70000105", OWNER.seal_name)
    assert verify_seal_owner([renewed.certificate], owner, at=room.clock.now()) == renewed.certificate
    # the former key is gone, and a state that starts finds the renewed one
    assert files(room) == [f"{NUMBER}.p12", f"{NUMBER}.password"]
    assert stat.S_IMODE(room.file.stat().st_mode) == 0o600
    assert room.started().open().certificate == renewed.certificate
    # once; and again when its own time comes
    room.clock.advance(DAY)
    seal.look()
    assert seal.open().certificate == renewed.certificate
    room.wait_until_due(seal)
    seal.look()
    assert seal.open().certificate not in (former.certificate, renewed.certificate)


def test_what_somebody_else_renewed_is_taken_up_without_a_restart(room: Room) -> None:
    running, beside = room.started(), room.started()
    former = running.open()
    room.wait_until_due(running)
    beside.look()
    assert running.open() is former
    running.look()
    assert running.open().certificate == beside.open().certificate != former.certificate


def test_a_renewal_that_fails_keeps_the_former_one_and_is_told(room: Room) -> None:
    seal = room.started()
    former = seal.open()
    health = renewal([seal]).health
    room.wait_until_due(seal)
    room.ca_goes()
    since = f"not renewed since {room.clock.now():%Y-%m-%d %H:%M} UTC"
    for _ in range(2):
        seal.look()
        assert seal.open() is former
        room.clock.advance(DAY)
    told = str(health()[NUMBER])
    assert told.startswith("until 2029-12-31, 375 days left; " + since)
    assert told.endswith("see that the CA issues seals")
    # with thirty days left it is a failure, which says what to do and what will be missing
    room.wait_until_left(seal, 30 * DAY)
    assert health()[NUMBER] != ""
    room.wait_until_left(seal, 30 * DAY - timedelta(hours=1))
    with pytest.raises(Unavailable, match=r"seal\.not_renewed") as failure:
        health()
    for part in (NUMBER, "29 days left", since, "CA issues seals", "consent receipts cannot be sealed"):
        assert part in failure.value.detail
    # and it is renewed when it can be
    room.ca_comes_back()
    seal.look()
    assert seal.open().certificate != former.certificate
    assert "not renewed" not in str(health()[NUMBER])


def test_a_file_that_cannot_be_read_keeps_what_is_in_memory_and_is_told(room: Room) -> None:
    seal = room.started()
    made, content = seal.open(), room.file.read_bytes()
    room.file.write_bytes(b"rubbish")
    seal.look()
    assert seal.open() is made
    assert "keys.unreadable" in seal.health()
    fresh = room.started()
    fresh.look()
    with pytest.raises(Unavailable, match=r"seal\.not_renewed.*cannot be used"):
        fresh.health()
    room.file.write_bytes(content)
    for each in (seal, fresh):
        each.look()
        assert each.health() == "until 2029-12-31, 1134 days left"


def test_a_full_disk_at_one_seal_keeps_no_other_from_being_renewed(room: Room) -> None:
    other = ServiceSeal(
        room.path / "others", room.authority, seal_number="SEAL-OTHER", organization=OWNER, needed_for="reports"
    )
    seal = room.started()
    seal.open()
    former = other.open()
    room.wait_until_due(seal)
    # where the next key would be written there is something that cannot be written over
    (room.secrets / f"{NUMBER}{room.clock.now():%Y}.next.p12.part").mkdir()
    both = renewal([seal, other])
    [timer] = both.timers
    timer.run()
    assert other.open().certificate != former.certificate
    assert "IsADirectoryError, see the log" in str(both.health()[NUMBER])


@pytest.mark.parametrize("running", [False, True])
def test_after_its_end_a_seal_is_renewed_when_it_is_needed(room: Room, running: bool) -> None:
    """In a state that rested for years, and in one that could not renew it in time."""
    seal = room.started()
    former = seal.open()
    room.wait_until_left(seal, -700 * DAY)
    with pytest.raises(Unavailable, match=r"0 days left"):
        seal.health()
    renewed = (seal if running else room.started()).open()
    assert renewed.certificate != former.certificate
    assert renewed.certificate.not_valid_before_utc <= room.clock.now() < renewed.certificate.not_valid_after_utc
    # a CA that cannot issue one is told to who asks
    room.ca_goes()
    room.clock.advance(renewed.certificate.not_valid_after_utc + DAY - room.clock.now())
    with pytest.raises((DigiidError, OSError)):
        room.started().open()


def test_a_seal_from_a_clock_that_ran_ahead_is_replaced_when_the_clock_is_right_again(room: Room) -> None:
    ran_ahead = replace(room, clock=ManualClock(room.clock.now() + 800 * DAY)).started().open()
    seal = room.started()
    room.ca_goes()
    seal.look()
    with pytest.raises(Unavailable, match=r"not valid yet: is the clock right\?"):
        seal.health()
    room.ca_comes_back()
    seal.look()
    right = seal.open()
    assert right.certificate != ran_ahead.certificate
    assert right.certificate.not_valid_before_utc <= room.clock.now()
    assert seal.health() == f"until 2029-12-31, 1134 days left, its number is {NUMBER}2026"


def certify_for_a_lost_key(room: Room, number: str) -> None:
    load_or_make_seal(
        room.path / f"lost-{number}",
        room.authority.settings,
        seal_number=number,
        organization=OWNER,
        open_database=room.database,
        clock=room.clock,
        entropy=SystemEntropy(),
    )


def test_a_revoked_seal_is_not_handed_out_again(room: Room) -> None:
    certify_for_a_lost_key(room, NUMBER)
    room.revoke(NUMBER)
    with pytest.raises(Conflict, match=r"seal\.revoked: SEAL-CONSENT was revoked for good"):
        certify_for_a_lost_key(room, NUMBER)


def test_what_is_no_request_for_a_certificate_is_named(room: Room, tmp_path: Path) -> None:
    for content in (b"hello", b"-----BEGIN CERTIFICATE REQUEST-----\nhello"):
        (tmp_path / "seal.csr").write_bytes(content)
        with pytest.raises(Malformed) as caught:
            certify_seal(
                tmp_path / "seal.csr",
                tmp_path / "seal.crt",
                room.authority.settings,
                seal_number=NUMBER,
                organization=OWNER,
                on_device=False,
                open_database=room.database,
                clock=room.clock,
                entropy=SystemEntropy(),
            )
        assert (caught.value.code, caught.value.detail) == (
            "x509.request",
            f"{tmp_path / 'seal.csr'} is no PKCS#10 request",
        )
    assert not (tmp_path / "seal.crt").exists()


def test_a_number_that_was_certified_for_a_lost_key_is_passed_over(room: Room) -> None:
    seal = room.started()
    former = seal.open()
    room.wait_until_due(seal)
    certify_for_a_lost_key(room, f"{NUMBER}{room.clock.now():%Y}")
    seal.look()
    assert seal.open().certificate != former.certificate
    assert seal.health().startswith("until 2031-12-31")
    assert files(room) == [f"{NUMBER}.p12", f"{NUMBER}.password"]


def test_the_first_seal_too_is_made_when_its_number_was_certified_for_a_lost_key(room: Room) -> None:
    """As in a state whose secrets were lost, and whose CA was not."""
    certify_for_a_lost_key(room, NUMBER)
    seal = room.started()
    made = seal.open()
    assert room.started().open().certificate == made.certificate == room.on_disk().certificate
    seal.look()
    assert seal.health() == f"until 2029-12-31, 1134 days left, its number is {NUMBER}2026"
    assert files(room) == [f"{NUMBER}.p12", f"{NUMBER}.password"]


def test_what_was_ordered_before_new_year_is_finished_after_it(room: Room) -> None:
    load_or_make_seal(  # ordered and certified
        room.secrets,
        room.authority.settings,
        seal_number=NUMBER,
        organization=OWNER,
        open_database=room.database,
        clock=room.clock,
        entropy=SystemEntropy(),
    )
    sealed, password_file = room.on_disk(), room.file.with_suffix(".password")
    identity = load_pkcs12_file(room.file, password_file)
    # killed before the certificate was written beside its key
    bare, password = FileIdentity(identity.key, None), password_file.read_bytes()
    write_pkcs12_file(room.file, bare, password=password, name=NUMBER)
    room.clock.advance(60 * DAY)
    assert room.started().open().certificate == sealed.certificate


def test_a_revoked_seal_is_replaced_at_the_next_look_as_often_as_it_happens(room: Room) -> None:
    seal = room.started()
    seen = [seal.open().certificate]
    for number in (NUMBER, f"{NUMBER}2026", f"{NUMBER}2026b"):
        seal.look()
        assert seal.open().certificate == seen[-1]  # nothing happens before
        room.revoke(number)
        seal.look()
        assert seal.open().certificate not in seen
        seen.append(seal.open().certificate)
        assert files(room) == [f"{NUMBER}.p12", f"{NUMBER}.password"]
    assert room.started().open().certificate == seen[-1]
    assert seal.health().endswith(f"days left, its number is {NUMBER}2026c")  # what to revoke when its key is lost


def test_a_seal_that_its_ca_does_not_know_any_more_is_replaced(room: Room) -> None:
    """As when the CA came back from a backup that is older than the seal: its responder calls the seal unknown."""
    seal = room.started()
    forgotten = seal.open().certificate
    for file in room.path.glob("trust_ca.sqlite*"):
        file.unlink()
    seal.look()
    renewed = seal.open().certificate
    assert renewed != forgotten
    assert room.authority.answers_for(renewed)
    assert seal.health() == f"until 2029-12-31, 1134 days left, its number is {NUMBER}2026"
    seal.look()
    assert seal.open().certificate == renewed


@pytest.mark.parametrize("spoilt", ["revoked", "forgotten"])
def test_what_was_spoilt_before_it_was_put_in_its_place_never_comes_there(room: Room, spoilt: str) -> None:
    room.started().open()
    room.revoke(NUMBER)
    left_over = room.authority.complete(  # as whoever is killed in the middle of a renewal leaves it
        room.secrets / f"{NUMBER}2026.next.p12",
        room.file.with_suffix(".password"),
        seal_number=f"{NUMBER}2026",
        organization=OWNER,
        curve_name="secp256r1",
    )
    if spoilt == "revoked":
        room.revoke(f"{NUMBER}2026")
    else:
        for file in room.path.glob("trust_ca.sqlite*"):
            file.unlink()
    seal = room.started()
    seal.look()
    assert seal.open().certificate != left_over.certificate
    assert room.authority.answers_for(seal.open().certificate)
    assert files(room) == [f"{NUMBER}.p12", f"{NUMBER}.password"]


@pytest.mark.parametrize("renewing", [False, True])
def test_of_several_that_start_at_once_all_have_one_seal(room: Room, renewing: bool) -> None:
    if renewing:
        room.wait_until_due(room.started())
    starts = [room.started() for _ in range(5)]
    begin = threading.Barrier(len(starts))
    found: list[x509.Certificate] = []

    def start(seal: ServiceSeal) -> None:
        begin.wait()
        seal.look()
        found.append(seal.open().certificate)

    threads = [threading.Thread(target=start, args=(seal,)) for seal in starts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(found) == len(starts)
    assert set(found) == {room.on_disk().certificate}
    assert [seal.health()[:10] for seal in starts if "not renewed" in seal.health()] == []
    assert files(room) == [f"{NUMBER}.p12", f"{NUMBER}.password"]
