"""Many files with one key: order, restart, half outputs, single failures, services that stop answering."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from digiid.formats.validation import validate_container
from digiid.kernel.errors import Refused, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.documents import CallbackSigner, Level
from digiid.platform.documents.batch import BatchItem, BatchReport, Outcome, sign_batch
from digiid.platform.entropy import SeededEntropy
from tests.support.pki import AT, person
from tests.support.signing_room import SigningRoom, signing_room


@pytest.fixture
def room(clock: ManualClock, entropy: SeededEntropy) -> Iterator[SigningRoom]:
    with signing_room(clock, entropy) as opened:
        yield opened


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    made = [tmp_path / "in" / f"file {number:02}.txt" for number in range(20)]
    for number, path in enumerate(made):
        path.write_bytes(b"content %d\n" % number)
    return made


def run(room: SigningRoom, paths: list[Path], **how: object) -> BatchReport:
    signer = how.pop("signer", None) or room.signer(kind="p256")
    folder = paths[0].parent.parent / "out"
    return sign_batch(paths, signer, folder=folder, issuers=room.issuers, trust=room.trust, **how)  # type: ignore[arg-type]


def outcomes(report: BatchReport) -> list[str]:
    return [str(item.outcome) for item in report.items]


def test_every_file_gets_a_valid_container_of_its_own(room: SigningRoom, paths: list[Path]) -> None:
    seen: list[BatchItem] = []
    report = run(room, paths, progress=seen.append)
    assert report.is_complete and seen == list(report.items)
    assert [item.source for item in report.items] == paths  # in order, though finished side by side
    for item in report.items:
        verdict = validate_container(io.BytesIO(item.target.read_bytes()), trust=room.trust.trust(), at=AT)
        assert verdict.is_valid and verdict.data_files == (item.source.name,)
        assert item.verdict == "TOTAL-PASSED"
    assert not list(report.items[0].target.parent.glob(".*"))


def test_level_b_asks_nobody_and_says_no_verdict(room: SigningRoom, paths: list[Path]) -> None:
    report = run(room, paths, level=Level.B)
    assert report.is_complete and room.server.requests == []
    assert {item.verdict for item in report.items} == {None}


def test_what_is_finished_is_left_alone_and_the_rest_is_signed(room: SigningRoom, paths: list[Path]) -> None:
    first = run(room, paths[:12], level=Level.B)
    before = [item.target.read_bytes() for item in first.items]
    first.items[3].target.write_bytes(before[3][:100])  # as a power cut leaves it
    first.items[4].target.write_bytes(b"")
    second = run(room, paths, level=Level.B)
    assert outcomes(second) == ["skipped"] * 3 + ["signed"] * 2 + ["skipped"] * 7 + ["signed"] * 8
    assert [item.target.read_bytes() for item in second.items[5:12]] == before[5:]
    assert outcomes(run(room, paths, level=Level.B)) == ["skipped"] * 20


def test_one_file_that_cannot_be_signed_does_not_stop_the_others(room: SigningRoom, paths: list[Path]) -> None:
    paths[2].write_bytes(b"")
    paths[5].unlink()
    (paths[0].parent.parent / "out" / f"{paths[7].name}.asice").write_bytes(b"PK")
    run(room, [paths[8]], level=Level.B)
    paths[8].write_bytes(b"changed since")
    double = paths[0].parent.parent / paths[9].name
    double.write_bytes(b"the same name, from elsewhere")
    report = run(room, [*paths, double], level=Level.B)
    failed = {item.source: item.code for item in report.items if item.outcome is Outcome.FAILED}
    assert failed == {
        paths[2]: "asic.data_file.empty",
        paths[5]: "documents.file",
        paths[8]: "documents.output_exists",
        double: "documents.batch.same_target",
    }
    assert report.count(Outcome.SIGNED) == 17 and not report.is_complete


def test_a_service_that_is_down_stops_the_run_and_a_later_one_finishes_it(room: SigningRoom, paths: list[Path]) -> None:
    room.server.change = lambda _path, _body: (503, b"")
    report = run(room, paths, workers=1)
    codes = [item.code for item in report.items]
    assert report.count(Outcome.FAILED) == 20
    assert codes[-1] == "documents.batch.stopped" and len(room.server.requests) <= 12
    assert not list((paths[0].parent.parent / "out").iterdir())
    room.server.change = lambda _path, body: (200, body)
    assert run(room, paths).is_complete


def test_a_token_that_stops_answering_is_told_for_each_file(room: SigningRoom, paths: list[Path]) -> None:
    inner, left = room.signer(), iter(range(3))

    def sign(digest: bytes) -> bytes:
        if next(left, None) is None:
            raise Unavailable("keys.token", "the token was pulled out")
        return inner.sign(digest)

    report = run(room, paths, level=Level.B, signer=CallbackSigner(inner.certificate, sign))
    assert outcomes(report)[:3] == ["signed"] * 3
    assert {item.code for item in report.items[3:]} == {"keys.token", "documents.batch.stopped"}


def test_a_key_that_may_not_sign_signs_nothing(room: SigningRoom, paths: list[Path]) -> None:
    expired = room.pki.issue(
        person("OLD", "38001085718"), not_after=AT.replace(year=2025), not_before=AT.replace(year=2024)
    )
    with pytest.raises(Refused, match=r"documents\.certificate\.not_valid"):
        run(room, paths, signer=CallbackSigner(expired.certificate, lambda _digest: b""))
    assert not list((paths[0].parent.parent / "out").iterdir())
