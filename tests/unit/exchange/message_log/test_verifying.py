import base64
import hashlib
import io
import json
import shutil
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from digiid.apps.cli import app
from digiid.exchange.global_conf.folder import load_folder
from digiid.exchange.message_log import ArchiveSettings
from digiid.exchange.message_log.archiving import Archiver
from digiid.exchange.message_log.containers import ContainerQuery, get_containers
from digiid.exchange.message_log.verifying import validate_evidence
from digiid.formats.asic.archive import build_archive, build_part
from digiid.formats.exchange.archive_links import build_archive_links
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from tests.support.global_conf import LOANS
from tests.support.logged import Authority, make_entry, open_log, record_all, write_conf
from tests.support.pki import AT

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "xroad"
KEY = base64.b64encode(bytes(range(32)))
# What X-Road's own test of its verifier asserts, and by our coverage rule.
EXPECTED = {
    "attachments": "exchange.container.structure",
    "invalid-digest": "xades.reference.digest",
    "invalid-hashchain-modified-message": "exchange.signature.coverage",
    "invalid-incorrect-references": "xades.root",
    "invalid-not-signed-hashchain": "exchange.signature.coverage",
    "invalid-signed-hashchain": "exchange.hash_chain.reference",
    "invalid-ts-hashchainresult": "xades.root",
    "valid-batch-ts": None,
    "valid-non-batch-rest": None,
    "valid-non-batch-soap-attachments": None,
    "valid-signed-hashchain": None,
    "valid-signed-message": None,
    "wrong-message": "xades.reference.digest",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three archives in a row, of two messages each, encrypted and plain; the `/asic` answer of one message."""
    folder = tmp_path_factory.mktemp("verifying")
    clock = ManualClock(AT)
    (folder / "key").write_bytes(KEY)
    log = open_log(Database.sqlite(folder / "log.sqlite"), clock, Authority(clock), stamping_interval_seconds=3600)
    log.start()
    plain = Archiver(log.db, ArchiveSettings(folder=folder / "plain", allow_plain=True), clock, SystemEntropy())
    for turn in range(3):
        record_all(log, [make_entry(f"m{turn}", at=clock.now()), make_entry(f"n{turn}", body=b"{}", at=clock.now())])
        log.stamper.stamp_pending()
        plain.archive()
        clock.advance(timedelta(minutes=30))
    answer = get_containers(log.db, ContainerQuery("m0"), client=LOANS)
    (folder / answer.name).write_bytes(answer.content)
    record_all(log, [make_entry("late")])
    forced = get_containers(log.db, ContainerQuery("late", unique=True, force=True), client=LOANS)
    (folder / "late.asice").write_bytes(forced.content)
    log.stop()
    write_conf(folder / "conf")
    return folder


@pytest.fixture
def archives(made, tmp_path):
    shutil.copytree(made / "plain", tmp_path / "plain")
    return sorted((tmp_path / "plain").glob("mlog-*"))


@pytest.fixture(scope="module")
def conf(made):
    return load_folder(made / "conf")


def rewrite(path, change):
    """The same archive with other files in it, as somebody would write it who knows the format."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files = change(files)
    path.write_bytes(build_archive([build_part(name, data, at=AT, compress=False) for name, data in files.items()]))


# ------------------------------------------------------------------ X-Road's own


def test_the_thirteen_containers_of_x_road_have_their_verdicts():
    conf = load_folder(VECTORS / "globalconf")
    paths = sorted((VECTORS / "containers").iterdir())
    report = validate_evidence(paths, conf)
    found = {file.path.stem: file.messages[0].error and file.messages[0].error.code for file in report.files}
    assert found == EXPECTED and report.exit_code == 1


def test_an_archive_of_containers_of_x_road_verifies(tmp_path):
    conf = load_folder(VECTORS / "globalconf")
    files = {path.name: path.read_bytes() for path in (VECTORS / "containers").glob("valid-*.asice")}
    links = build_archive_links([(name, hashlib.sha512(data).digest()) for name, data in files.items()], previous=None)
    path = tmp_path / "mlog-20241205000000-20241205000000-0123456789abcdef.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("linkinginfo", links.encode())
    report = validate_evidence([path], conf)
    assert report.is_valid and len(report.files[0].messages) == 5


# ------------------------------------------------------------------ our archives, and what was done to them


def test_archives_in_a_row_are_valid_in_whatever_order_they_are_given(archives, conf):
    seen = []
    report = validate_evidence(archives[::-1], conf, progress=lambda done, known: seen.append((done, known)))
    assert report.is_valid and seen[-1] == (6, 6)
    assert validate_evidence(archives[1:], conf).is_valid  # the row may begin later


def test_tm06_an_archive_missing_in_between_is_noticed(archives, conf):
    report = validate_evidence([archives[0], archives[2]], conf)
    assert report.exit_code == 1 and "not here" in report.chain_errors[archives[2]].detail


def test_the_first_and_the_last_archive_are_held_to_what_is_known_of_them(archives, conf):
    ends = [file.links.last_digest for file in validate_evidence(archives, conf).files]
    assert validate_evidence(archives[1:], conf, after=ends[0], until=ends[2]).is_valid
    assert not validate_evidence(archives[2:], conf, after=ends[0]).is_valid
    assert not validate_evidence(archives[:2], conf, until=ends[2]).is_valid


def test_tm06_an_archive_given_twice_or_two_after_the_same_one_are_noticed(archives, conf, tmp_path):
    shutil.copy(archives[1], tmp_path / archives[1].name)
    assert not validate_evidence([*archives, tmp_path / archives[1].name], conf).is_valid

    def other(files):
        name, data = next(item for item in files.items() if item[0] != "linkinginfo")
        ends = validate_evidence(archives[:1], conf).files[0].links.last_digest
        links = build_archive_links([(name, hashlib.sha512(data).digest())], previous=(ends, archives[0].name))
        return {"linkinginfo": links.encode(), name: data}

    rewrite(tmp_path / archives[1].name, other)
    report = validate_evidence([*archives, tmp_path / archives[1].name], conf)
    assert report.exit_code == 1 and tmp_path / archives[1].name in report.chain_errors


def without_one(files):
    return {name: data for name, data in files.items() if not name.startswith("m")}


def with_one_more(files):
    name, data = next(item for item in files.items() if item[0].startswith("m"))
    return files | {f"x{name}": data}


def turned_round(files):
    links, first, second = files
    return {links: files[links], first: files[second], second: files[first]}


def altered(files):
    def changed(data):
        with zipfile.ZipFile(io.BytesIO(data)) as container:
            held = {name: container.read(name) for name in container.namelist()}
        held["message.xml"] = held["message.xml"].replace(b"38001010000", b"48001010000")
        return build_archive([build_part(name, each, at=AT) for name, each in held.items()])

    return {name: changed(data) if name.startswith("m") else data for name, data in files.items()}


def without_links(files):
    return {name: data for name, data in files.items() if name != "linkinginfo"}


def with_empty_links(files):
    return {"linkinginfo": b"- - SHA-512\n"}


def relinked(change):
    """The links made anew: only the next archive, or the message itself, tells."""

    def changed(files):
        files = without_links(change(files))
        digests = [(name, hashlib.sha512(data).digest()) for name, data in files.items()]
        return {"linkinginfo": build_archive_links(digests, previous=None).encode(), **files}

    return changed


@pytest.mark.parametrize(
    "change",
    [
        without_one,
        with_one_more,
        turned_round,
        altered,
        without_links,
        with_empty_links,
        relinked(without_one),
        relinked(altered),
    ],
)
def test_tm06_an_altered_archive_is_refused(archives, conf, change):
    rewrite(archives[0], change)
    assert validate_evidence(archives, conf).exit_code == 1


def test_tm06_a_cut_archive_is_refused(archives, conf):
    whole = archives[2].read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        archives[2].write_bytes(whole[:length])
        report = validate_evidence(archives, conf)
        assert not report.is_valid and report.exit_code == 2 and not report.files[2].is_valid


def test_tm06_a_message_without_a_time_stamp_is_no_evidence_of_when(made, conf):
    report = validate_evidence([made / "late.asice"], conf)
    assert report.exit_code == 1 and report.files[0].messages[0].error.code == "exchange.evidence.time_stamp"


def test_an_answer_of_asic_is_a_bundle_that_claims_no_chain(made, conf):
    report = validate_evidence([made / "m0.zip"], conf)
    assert report.is_valid and report.files[0].kind == "bundle"


# ------------------------------------------------------------------ the command


def run(*arguments):
    return CliRunner().invoke(app, ["exchange", "verify", *map(str, arguments)])


def test_the_command_tells_people_what_is_valid(made, archives):
    done = run(archives[0].parent, "--conf", made / "conf")
    assert done.exit_code == 0
    assert "6 of 6 messages valid in 3 files." in done.output
    assert "the first of its chain" in done.output and f"follows {archives[0].name}" in done.output
    assert "of 1 a part is known by its digest only" in done.output


def test_the_command_tells_people_what_is_wrong(made, archives):
    rewrite(archives[0], altered)
    done = run(*archives, "--conf", made / "conf")
    assert done.exit_code == 1
    assert "NOT VALID" in done.output and "(exchange.archive_links.digest)" in done.output
    assert "m0-request-ae.asice: " in done.output and "5 of 6 messages valid" in done.output


def test_the_command_tells_programs(made, archives):
    done = run(*archives, "--conf", made / "conf", "--json")
    told = json.loads(done.output)
    assert told["valid"] and len(told["files"]) == 3
    assert told["files"][0]["messages"][1] == {
        "name": "n0-request-ai.asice",
        "valid": True,
        "signed_by": "TEST/COM/10000201",
        "direction": "request",
        "time_stamped_at": "2026-11-23T10:00:00+00:00",
        "absent": ["/attachment1"],
    }
    assert told["files"][1]["follows"]["digest"] == told["files"][0]["last_digest"]


def test_the_command_opens_encrypted_archives_with_a_key(made, tmp_path):
    clock = ManualClock(AT)
    log = open_log(Database.sqlite(tmp_path / "log.sqlite"), clock, Authority(clock), stamping_interval_seconds=3600)
    log.start()
    record_all(log, [make_entry("one")])
    log.stop()
    log.stamper.stamp_pending()
    settings = ArchiveSettings(folder=tmp_path / "sealed", key_file=made / "key", key_label="keepers")
    Archiver(log.db, settings, clock, SystemEntropy()).archive()
    assert run(tmp_path / "sealed", "--conf", made / "conf", "--key", f"keepers:{made / 'key'}").exit_code == 0
    without = run(tmp_path / "sealed", "--conf", made / "conf")
    assert without.exit_code == 2 and "exchange.message_log.key_needed" in without.output
    (tmp_path / "other").write_bytes(base64.b64encode(bytes(32)))
    assert run(tmp_path / "sealed", "--conf", made / "conf", "--key", f"keepers:{tmp_path / 'other'}").exit_code == 1


def test_the_command_says_when_there_is_nothing_to_judge_by(made, archives, tmp_path):
    for arguments in (
        [archives[0], "--conf", tmp_path / "nothing"],
        [tmp_path / "nothing.zip", "--conf", made / "conf"],
        [archives[0], "--conf", made / "conf", "--key", "keepers:nothing"],
    ):
        assert run(*arguments).exit_code == 2
    (tmp_path / "empty").mkdir()
    nothing = run(tmp_path / "empty", "--conf", made / "conf")
    assert nothing.exit_code == 2 and "No archive or container lies there" in nothing.output
