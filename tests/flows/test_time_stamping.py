"""Time-stamps around files and old containers over real HTTP, their renewal, and when the next one is due."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from digiid.formats.asic import DataFile
from digiid.formats.validation import Report, validate_container
from digiid.kernel.errors import Broken, DigiidError, Malformed, Refused, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.time_stamping import (
    find_due_time_stamps,
    renew_time_stamp,
    time_stamp_document,
    time_stamp_files,
)
from digiid.platform.entropy import SeededEntropy
from digiid.platform.http import HttpClient
from digiid.platform.trust import AllowedHosts, OcspClient, TsaClient
from tests.support.containers import changed, unpack
from tests.support.pki import (
    AT,
    DAY,
    UNIT_EXTENSIONS,
    Pki,
    distinguished_name,
    make_certificate,
    new_key,
    shared_pki,
)
from tests.support.trust_server import TrustServer, running_trust_server

FILE = DataFile("õ ä+b.txt", "text/plain", b"agreed\n")


@dataclass(frozen=True)
class Desk:
    server: TrustServer
    clock: ManualClock
    pki: Pki
    services: TrustServices

    def judge(self, container: bytes) -> Report:
        now = self.clock.now()
        return validate_container(io.BytesIO(container), trust=self.services.trust(), at=now, file_name="x.asics")


@pytest.fixture
def desk(clock: ManualClock, entropy: SeededEntropy) -> Iterator[Desk]:
    pki = shared_pki()
    with running_trust_server(pki, clock) as server:
        http = HttpClient(timeout_seconds=5)
        services = TrustServices(
            tsa=TsaClient(http, entropy, clock, address=f"{server.base}/tsa"),
            ocsp=OcspClient(http, entropy, clock, hosts=AllowedHosts.of_urls(server.base)),
            trust=pki.trust,  # type: ignore[arg-type]
            clock=clock,
        )
        yield Desk(server, clock, pki, services)
        http.close()


def test_a_file_is_stamped(desk: Desk) -> None:
    container = time_stamp_document(FILE, services=desk.services)
    report = desk.judge(container)
    assert report.is_valid
    assert report.messages == ()
    assert report.data_files == (FILE.name,)
    (token,) = report.time_stamp_tokens
    assert token.level == "QTSA"
    assert token.gen_at == desk.clock.now().replace(microsecond=0)
    assert unpack(container)[FILE.name] == FILE.content


def test_several_files_become_several_containers(desk: Desk) -> None:
    files = [FILE, replace(FILE, name="b.txt"), replace(FILE, name="c.txt")]
    results = list(time_stamp_files(files, services=desk.services))
    assert [file.name for file, _ in results] == [file.name for file in files]
    assert all(desk.judge(container).is_valid for _, container in results)


def test_an_old_container_goes_in_whole(desk: Desk) -> None:
    old = desk.pki.container()
    container = time_stamp_document(
        DataFile("old.asice", "application/vnd.etsi.asic-e+zip", old), services=desk.services
    )
    report = desk.judge(container)
    assert report.is_valid
    assert len(report.signatures) == 1
    assert unpack(container)["old.asice"] == old


def test_renewals_prolong_and_change_nothing(desk: Desk) -> None:
    container = time_stamp_document(FILE, services=desk.services)
    for number in range(1, 4):
        before = unpack(container)
        desk.clock.advance(timedelta(days=1))
        container = renew_time_stamp(container, services=desk.services)
        after = unpack(container)
        assert set(before.values()) <= set(after.values())
        report = desk.judge(container)
        assert report.is_valid
        assert report.messages == ()
        assert len(report.time_stamp_tokens) == number + 1


def test_a_stamp_around_something_invalid_is_a_valid_stamp(desk: Desk) -> None:
    broken = changed(desk.pki.container(), {"contract.txt": b"other"})
    container = time_stamp_document(DataFile("b.asice", "application/zip", broken), services=desk.services)
    report = desk.judge(container)
    assert [token.is_valid for token in report.time_stamp_tokens] == [True]
    assert not report.is_valid
    assert len(desk.judge(renew_time_stamp(container, services=desk.services)).time_stamp_tokens) == 2


def code_of(kind: type[DigiidError], desk: Desk, container: bytes | None = None) -> str:
    with pytest.raises(kind) as caught:
        if container is None:
            time_stamp_document(FILE, services=desk.services)
        else:
            renew_time_stamp(container, services=desk.services)
    return caught.value.code


def test_nothing_is_delivered_that_is_not_trusted(desk: Desk) -> None:
    stranger = make_certificate(distinguished_name("TEST Stranger"), new_key(), desk.pki.root, UNIT_EXTENSIONS)
    desk.server.pki = replace(desk.pki, tsu=stranger)
    assert code_of(Broken, desk) == "documents.time_stamp.not_valid"


def test_a_service_that_does_not_answer(desk: Desk) -> None:
    desk.server.change = lambda _path, _body: (500, b"")
    assert code_of(Unavailable, desk) == "trust.tsa.http"


def test_a_proof_that_does_not_hold_is_not_prolonged(desk: Desk) -> None:
    container = time_stamp_document(FILE, services=desk.services)
    asked = len(desk.server.requests)
    assert code_of(Refused, desk, changed(container, {FILE.name: b"x"})) == "documents.time_stamp.not_valid"
    assert code_of(Malformed, desk, desk.pki.container()) == "asic.simple.not_time_stamped"
    assert len(desk.server.requests) == asked


def test_when_the_next_stamp_is_due(desk: Desk) -> None:
    report = desk.judge(time_stamp_document(FILE, services=desk.services))
    runs_out_at = desk.pki.tsu.certificate.not_valid_after_utc
    assert find_due_time_stamps([report], at=AT) == ()
    (due,) = find_due_time_stamps([report], at=runs_out_at - 100 * DAY)
    assert (due.code, due.due_at, due.file_name) == ("documents.due.certificate", runs_out_at, "x.asics")
    (weak,) = find_due_time_stamps([replace(report, time_stamp_tokens=(
        replace(report.time_stamp_tokens[0], level="TSA"),
    ))], at=AT)  # fmt: skip
    assert weak.code == "documents.due.not_granted"


def test_an_rsa_unit_is_due_before_its_key_is_too_weak(desk: Desk) -> None:
    unit = make_certificate(
        distinguished_name("TEST RSA Unit"), new_key("rsa"), desk.pki.root, UNIT_EXTENSIONS, not_after=AT + 4000 * DAY
    )
    report = desk.judge(time_stamp_document(FILE, services=desk.services))
    token = replace(report.time_stamp_tokens[0], tsu=unit.certificate)
    aged = replace(report, time_stamp_tokens=(token,))
    assert find_due_time_stamps([aged], at=AT) == ()
    (due,) = find_due_time_stamps([aged], at=AT + 700 * DAY)  # 2,048 bits are enough until 2029
    assert due.code == "documents.due.weak_key"


def test_a_renewal_by_a_unit_that_has_not_long_to_go_is_not_renewed_at_once(desk: Desk) -> None:
    unit = make_certificate(
        distinguished_name("TEST Short Unit"), new_key(), desk.pki.root, UNIT_EXTENSIONS, not_after=AT + 100 * DAY
    )
    report = desk.judge(time_stamp_document(FILE, services=desk.services))
    token = replace(report.time_stamp_tokens[0], tsu=unit.certificate, gen_at=AT)
    short = replace(report, time_stamp_tokens=(token,))
    assert find_due_time_stamps([short], at=AT + 49 * DAY) == ()
    assert len(find_due_time_stamps([short], at=AT + 51 * DAY)) == 1


def test_old_digidoc_documents_are_due() -> None:
    report = Report("DIGIDOC_XML_1.3", "POLv4", "", AT, "old.ddoc", (), (), ())
    (due,) = find_due_time_stamps([report], at=AT)
    assert due.code == "documents.due.sha1"
    assert find_due_time_stamps([replace(report, form="ASiC-E")], at=AT) == ()
