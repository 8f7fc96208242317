"""Signatures made to last over real HTTP: LT to LTA, LTA again, T to LT, and the job that does it in time."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from digiid.formats.asic import add_signature_file, parse_container
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import Report, validate_container
from digiid.kernel.errors import Broken, DigiidError, NotFound, Refused, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.documents.extending import extend_container, extend_due, find_due
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.time_stamping import time_stamp_document
from digiid.platform.entropy import SeededEntropy
from digiid.platform.http import HttpClient
from digiid.platform.trust import AllowedHosts, OcspClient, TsaClient
from tests.support.archived import YEAR, make_unit, make_units_of_years, trust_in, with_unit
from tests.support.containers import SIGNATURES, changed, unpack
from tests.support.pki import (
    AT,
    DAY,
    FILES,
    Pki,
    shared_pki,
)
from tests.support.trust_server import TrustServer, running_trust_server

PKI = shared_pki()
AUTHORITY, UNITS = make_units_of_years(PKI, 4)
TRUST = trust_in(PKI, AUTHORITY.certificate)


@dataclass
class Desk:
    server: TrustServer
    clock: ManualClock
    services: TrustServices

    def judge(self, container: bytes) -> Report:
        now = self.clock.now()
        return validate_container(io.BytesIO(container), trust=TRUST, at=now, file_name="x.asice")

    def stamp_with(self, pki: Pki) -> None:
        self.server.pki = pki

    def at(self, moment: datetime) -> None:
        self.clock.advance(moment - self.clock.now())


def trust() -> VerifiedTrust:
    return TRUST


@pytest.fixture
def desk(clock: ManualClock, entropy: SeededEntropy) -> Iterator[Desk]:
    clock.advance(AT + DAY - clock.now())
    with running_trust_server(PKI, clock) as server:
        server.knows(PKI.signer.certificate)
        http = HttpClient(timeout_seconds=5)
        services = TrustServices(
            tsa=TsaClient(http, entropy, clock, address=f"{server.base}/tsa"),
            ocsp=OcspClient(
                http, entropy, clock, hosts=AllowedHosts.of_urls(server.base), address=f"{server.base}/ocsp"
            ),
            trust=trust,
            clock=clock,
        )
        yield Desk(server, clock, services)
        http.close()


def two_signatures() -> bytes:
    second = PKI.sign(FILES, signature_id="S1")
    container = parse_container(io.BytesIO(PKI.container()))
    return add_signature_file(container, "META-INF/signatures1.xml", second, at=AT)


# ------------------------------------------------------------------ extending


def test_lt_to_lta_and_lta_again(desk: Desk) -> None:
    container = PKI.container()
    for count in (1, 2, 3):
        desk.clock.advance(DAY)
        before = unpack(container)
        container = extend_container(container, services=desk.services)
        report = desk.judge(container)
        assert report.is_valid
        assert [stamp.indication for stamp in report.signatures[0].archive_time_stamps] == ["PASSED"] * count
        assert {name: data for name, data in unpack(container).items() if name != SIGNATURES} == {
            name: data for name, data in before.items() if name != SIGNATURES
        }
    assert report.signatures[0].signature_format == "XAdES_BASELINE_LTA"


def test_all_signatures_or_those_named(desk: Desk) -> None:
    both = two_signatures()
    extended = desk.judge(extend_container(both, services=desk.services))
    assert [len(signature.archive_time_stamps) for signature in extended.signatures] == [1, 1]
    one = extend_container(both, services=desk.services, signature_ids=["S1"])
    assert [len(signature.archive_time_stamps) for signature in desk.judge(one).signatures] == [0, 1]
    assert unpack(one)[SIGNATURES] == unpack(both)[SIGNATURES]
    with pytest.raises(NotFound, match=r"documents\.signature"):
        extend_container(both, services=desk.services, signature_ids=["S7"])


def test_level_t_gets_what_it_lacks(desk: Desk) -> None:
    stamped = PKI.container(level="T", stamped_at=AT)
    assert not desk.judge(stamped).is_valid
    confirmed = desk.judge(extend_container(stamped, services=desk.services, level="LT"))
    assert confirmed.is_valid
    assert confirmed.signatures[0].signature_format == "XAdES_BASELINE_LT"
    archived = desk.judge(extend_container(stamped, services=desk.services))
    assert archived.is_valid
    assert archived.signatures[0].signature_format == "XAdES_BASELINE_LTA"


def test_level_lt_is_left_alone_when_lt_is_asked_for(desk: Desk) -> None:
    container = PKI.container()
    assert extend_container(container, services=desk.services, level="LT") == container
    assert desk.server.requests == []


def test_what_is_not_valid_is_not_prolonged(desk: Desk) -> None:
    tampered = changed(PKI.container(), {"contract.txt": b"other\n"})
    with pytest.raises(Refused, match=r"documents\.container\.not_valid"):
        extend_container(tampered, services=desk.services)
    with pytest.raises(Refused, match=r"documents\.container\.not_valid"):
        extend_container(PKI.container(level="B"), services=desk.services)
    assert desk.server.requests == []


def test_a_revoked_certificate_is_not_confirmed(desk: Desk) -> None:
    desk.server.status = "revoked"
    with pytest.raises(Refused, match=r"documents\.certificate\.not_good"):
        extend_container(PKI.container(level="T", stamped_at=AT), services=desk.services)


def test_a_unit_that_nobody_listed_makes_nothing_that_leaves(desk: Desk) -> None:
    desk.stamp_with(with_unit(PKI, make_unit(PKI, "TEST Stranger", since=AT - YEAR, until=AT + YEAR)))
    with pytest.raises(Broken, match=r"documents\.not_valid"):
        extend_container(PKI.container(), services=desk.services)


def test_a_service_that_does_not_answer(desk: Desk) -> None:
    desk.server.change = lambda _path, _body: (503, b"")
    with pytest.raises(Unavailable):
        extend_container(PKI.container(), services=desk.services)


# ------------------------------------------------------------------ in time


def test_what_is_due_and_when(desk: Desk) -> None:
    first = with_unit(PKI, UNITS[0]).container(signed_at=AT)
    ends_at = UNITS[0].certificate.not_valid_after_utc
    report = desk.judge(first)
    assert find_due(report, ends_at - timedelta(days=366)) is None
    due = find_due(report, ends_at - timedelta(days=364))
    assert due is not None
    assert (due.due_at, due.code, due.file_name) == (ends_at, "documents.due.certificate", "x.asice")
    half = AT + (ends_at - AT) / 2  # however far ahead: not before half of the unit's time is over
    assert find_due(report, half - DAY, ahead=5 * YEAR) is None
    assert find_due(report, half + DAY, ahead=5 * YEAR) == due
    invalid = desk.judge(changed(first, {"contract.txt": b"other\n"}))
    assert find_due(invalid, ends_at) is None


def test_the_job_carries_a_folder_through_the_years(desk: Desk, tmp_path: Path) -> None:
    """A unit of three years, replaced every two: the job runs each year, and after eight years all is valid."""
    signed, stamped, broken = tmp_path / "a.asice", tmp_path / "b.asics", tmp_path / "c.asice"
    signed.write_bytes(with_unit(PKI, UNITS[0]).container(signed_at=AT))
    desk.stamp_with(with_unit(PKI, UNITS[0]))
    stamped.write_bytes(time_stamp_document(FILES[0], services=desk.services))
    broken.write_bytes(changed(signed.read_bytes(), {"contract.txt": b"other\n"}))
    paths = [signed, stamped, broken, tmp_path / "missing.asice"]
    renewals = {path.name: 0 for path in paths}
    for year in range(1, 8):
        desk.at(AT + year * YEAR + DAY * 2)
        desk.stamp_with(with_unit(PKI, UNITS[min(year // 2, 3)]))
        for done in extend_due(paths, services=desk.services, ahead=timedelta(days=400)):
            renewals[done.path.name] += done.is_renewed
            assert (done.problem is not None) == (done.path.name == "missing.asice")
        again = list(extend_due([signed, stamped], services=desk.services, ahead=timedelta(days=400)))
        assert not any(done.is_renewed for done in again), f"year {year}: a second run finds nothing to do"
    assert renewals == {"a.asice": 3, "b.asics": 3, "c.asice": 0, "missing.asice": 0}
    for path in (signed, stamped):
        assert desk.judge(path.read_bytes()).is_valid
    assert desk.judge(signed.read_bytes()).signatures[0].best_signature_at == AT
    assert not list(tmp_path.glob(".*"))


def test_a_unit_that_has_not_long_to_go_is_not_asked_every_day(desk: Desk, tmp_path: Path) -> None:
    """The only unit that there is ends soon, so each new time-stamp ends then too; a signature file holds few."""
    path = tmp_path / "a.asice"
    path.write_bytes(with_unit(PKI, UNITS[0]).container(signed_at=AT))
    desk.stamp_with(with_unit(PKI, UNITS[0]))
    ends_at = UNITS[0].certificate.not_valid_after_utc
    renewals = 0
    for days in range(400, 0, -10):
        desk.at(ends_at - days * DAY)
        (done,) = extend_due([path], services=desk.services)
        assert done.problem is None
        renewals += done.is_renewed
    assert renewals == 6  # with about 360, 180, 90, 40, 20 and 10 days left
    assert len(desk.judge(path.read_bytes()).signatures[0].archive_time_stamps) == 6


def test_a_file_that_somebody_changes_meanwhile_is_left_alone(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "a.asice"
    path.write_bytes(with_unit(PKI, UNITS[0]).container(signed_at=AT))

    other = two_signatures()

    def change(_path: str, body: bytes) -> tuple[int, bytes]:
        path.write_bytes(other)
        return 200, body

    desk.server.change = change
    desk.at(AT + 2 * YEAR)
    desk.stamp_with(with_unit(PKI, UNITS[1]))
    (done,) = extend_due([path], services=replace(desk.services), ahead=4 * YEAR)
    assert isinstance(done.problem, DigiidError)
    assert done.problem.code == "documents.container.changed"
    assert path.read_bytes() == other
