import base64
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from digiid.exchange.message_log import ArchiveSettings, store
from digiid.exchange.message_log.archive_files import prepared_folder, read_archive
from digiid.exchange.message_log.archiving import Archiver, group_of
from digiid.exchange.message_log.entries import ArchivingState
from digiid.exchange.message_log.verifying import validate_evidence
from digiid.formats.exchange.archive_links import parse_archive_links
from digiid.kernel.errors import DigiidError, Malformed, Refused, Unavailable
from digiid.platform.documents.decryption_keys import key_of_private_key
from digiid.platform.documents.encryption import SecretKey
from tests.support.global_conf import LOANS, PKI, POLICE
from tests.support.logged import make_entry, read_conf, record_all
from tests.support.pki import key_usage, new_key

KEY = bytes(range(32))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "archives"


@pytest.fixture
def archiver(started, folder, clock, entropy):
    def make(**settings):
        log = started()
        told = ArchiveSettings(**({"folder": folder, "allow_plain": True} | settings))
        return log, Archiver(log.db, told, clock, entropy)

    return make


def archives(folder):
    return sorted(folder.glob("mlog-*"))


def linked(path):
    with zipfile.ZipFile(path) as archive:
        return parse_archive_links(archive.read("linkinginfo"))


def count(log):
    with log.db.read() as tx:
        return tx.execute(select(func.count()).select_from(store.RECORDS)).scalar_one()


def test_a_failing_archiver_says_so_until_it_succeeds_and_what_waits_is_told(archiver, folder, clock):
    log, archiving = archiver()
    [archive, _] = archiving.timers()
    assert archiving.describe() == ArchivingState(None, None, None, timedelta(hours=6))
    record_all(log, [make_entry("one")])
    assert archiving.describe().oldest_waiting_at is None  # nothing has a time stamp
    log.stamper.stamp_pending()
    assert archiving.describe().oldest_waiting_at == clock.now()
    folder.write_text("no folder")
    for _ in range(2):
        with pytest.raises(DigiidError):
            archive.run()
        assert archiving.describe().last_error.startswith("exchange.message_log.archive_folder: ")
    folder.unlink()
    clock.advance(timedelta(hours=6))
    archive.run()
    assert archiving.describe() == ArchivingState(None, clock.now(), None, timedelta(hours=6))


def test_stamped_messages_are_archived_once_and_the_archives_follow_one_another(archiver, folder, tmp_path, clock):
    log, archiving = archiver()
    record_all(log, [make_entry("one"), make_entry("one", is_response=True)])
    assert archiving.archive() == 0  # nothing has a time stamp
    log.stamper.stamp_pending()
    assert archiving.archive() == 1 and archiving.archive() == 0
    clock.advance(timedelta(hours=6))
    record_all(log, [make_entry("two", at=clock.now())])
    log.stamper.stamp_pending()
    record_all(log, [make_entry("three", at=clock.now())])  # not yet stamped, not yet archived
    assert archiving.archive() == 1
    first, second = archives(folder)
    assert first.name.startswith("mlog-20261123100000-20261123100000-") and first.suffix == ".zip"
    assert first.name[-20:-4] == linked(first).last_digest[:16]
    assert linked(first).previous is None
    assert linked(second).previous == (linked(first).last_digest, first.name)
    assert [name for _, name in linked(first).links] == ["one-request-ae.asice", "one-response-ai.asice"]
    assert [name for _, name in linked(second).links] == ["two-request-am.asice"]
    report = validate_evidence([second, first], read_conf(tmp_path / "conf"))
    assert report.is_valid and report.exit_code == 0


def test_an_archive_is_no_larger_than_it_may_be(archiver, folder):
    log, archiving = archiver(max_archive_bytes=64 * 1024)
    record_all(log, [make_entry(f"m{i}") for i in range(40)])
    log.stamper.stamp_pending()
    assert archiving.archive() > 1
    paths = archives(folder)
    assert all(path.stat().st_size <= 64 * 1024 for path in paths)
    assert sum(len(linked(path).links) for path in paths) == 40
    by_digest = {linked(path).last_digest: path for path in paths}
    assert sum(linked(path).previous is None for path in paths) == 1
    assert all(linked(path).previous is None or linked(path).previous[0] in by_digest for path in paths)


@pytest.mark.parametrize(("grouping", "chains"), [("none", 1), ("member", 2), ("subsystem", 2)])
def test_each_group_has_a_chain_of_its_own(archiver, folder, grouping, chains, tmp_path):
    log, archiving = archiver(grouping=grouping)
    for turn in range(2):
        record_all(log, [make_entry(f"m{turn}"), make_entry(f"m{turn}", is_response=True)])
        log.stamper.stamp_pending()
        assert archiving.archive() == chains
    assert sum(linked(path).previous is None for path in archives(folder)) == chains
    assert validate_evidence(archives(folder), read_conf(tmp_path / "conf")).is_valid
    names = {path.name.split("-")[1] for path in archives(folder)}
    assert ("TEST_GOV_70000101" in names) == (grouping == "member")
    assert ("TEST_COM_10000201_loans" in names) == (grouping == "subsystem")


def test_groups():
    assert [group_of(str(LOANS), grouping) for grouping in ("none", "member", "subsystem")] == [
        "",
        "TEST/COM/10000201",
        str(LOANS),
    ]


def test_archives_are_encrypted_to_a_shared_key_and_to_certificates(archiver, folder, tmp_path):
    (tmp_path / "key").write_bytes(base64.b64encode(KEY))
    key = new_key("p384")
    usage = (key_usage(key_agreement=True),)
    keeper = PKI.issue(PKI.tsu.certificate.subject, extensions=usage)
    (tmp_path / "keeper.pem").write_bytes(base64_pem(keeper.der))
    log, archiving = archiver(
        allow_plain=False, key_file=tmp_path / "key", recipient_certificates=(tmp_path / "keeper.pem",)
    )
    record_all(log, [make_entry("one")])
    log.stamper.stamp_pending()
    archiving.archive()
    (path,) = archives(folder)
    assert path.name.endswith(".zip.cdoc2") and b"one-request" not in path.read_bytes()
    plain = read_archive(path, key=SecretKey(KEY))
    assert plain == read_archive(path, key=key_of_private_key(keeper.key))
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        assert archive.namelist() == ["linkinginfo", "one-request-ae.asice"]
    with pytest.raises(Refused):
        read_archive(path, key=SecretKey(bytes(32)))
    with pytest.raises(Refused):
        read_archive(path, key=key_of_private_key(key))
    with pytest.raises(Malformed) as refused:
        read_archive(path, key=None)
    assert refused.value.code == "exchange.message_log.key_needed"
    changed = bytearray(path.read_bytes())
    changed[-100] ^= 1
    path.write_bytes(changed)
    with pytest.raises(Refused) as refused:
        read_archive(path, key=SecretKey(KEY))
    assert refused.value.code == "cdoc2.payload.changed"


def base64_pem(der):
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def test_archives_that_anybody_can_read_are_only_made_on_purpose(folder):
    with pytest.raises(ValidationError, match="allow_plain"):
        ArchiveSettings(folder=folder)


def test_a_certificate_that_nobody_can_decrypt_with_stops_the_archiving_before_anything_is_written(
    archiver, folder, tmp_path
):
    (tmp_path / "signer.pem").write_bytes(base64_pem(PKI.signer.der))
    log, archiving = archiver(recipient_certificates=(tmp_path / "signer.pem",), allow_plain=False)
    record_all(log, [make_entry("one")])
    log.stamper.stamp_pending()
    with pytest.raises(Refused) as refused:
        archiving.archive()
    assert refused.value.code == "encryption.recipient.signing" and not folder.exists()


def test_a_folder_that_is_gone_stops_the_archiving_and_nothing_is_lost(archiver, folder):
    log, archiving = archiver(keep_days=0)
    record_all(log, [make_entry("one")])
    log.stamper.stamp_pending()
    folder.write_text("a file is in its place")
    with pytest.raises(Unavailable) as refused:
        archiving.archive()
    assert refused.value.code == "exchange.message_log.archive_folder"
    assert archiving.clean() == 0 and count(log) == 1
    folder.unlink()
    assert archiving.archive() == 1


def test_drafts_of_an_interrupted_run_are_removed(archiver, folder):
    log, archiving = archiver()
    folder.mkdir()
    (folder / ".mlog-draft-abc").write_text("half")
    record_all(log, [make_entry("one")])
    log.stamper.stamp_pending()
    archiving.archive()
    assert [path.suffix for path in archives(folder)] == [".zip"]


def test_two_processes_that_archive_take_turns(archiver, folder, clock, entropy):
    log, archiving = archiver()
    record_all(log, [make_entry("one")])
    log.stamper.stamp_pending()
    other = Archiver(log.db, ArchiveSettings(folder=folder, allow_plain=True), clock, entropy)
    with ThreadPoolExecutor(1) as threads:
        with prepared_folder(folder):
            waiting = threads.submit(other.archive)
            (draft := folder / ".mlog-draft-abc").write_text("half")
            assert wait([waiting], timeout=0.5).not_done and draft.exists() and archives(folder) == []
        assert waiting.result(timeout=30) == 1
    assert archiving.archive() == 0


def test_a_damaged_record_is_not_archived_and_not_deleted(archiver, folder, db):
    log, archiving = archiver(keep_days=0)
    record_all(log, [make_entry("one")])
    log.stamper.stamp_pending()
    with db.write() as tx:
        tx.execute(store.update(store.RECORDS).values(message=b"GET\r\n"))
    with pytest.raises(DigiidError) as broken:
        archiving.archive()
    assert broken.value.code == "exchange.message_log.damaged"
    assert archives(folder) == [] and archiving.clean() == 0


def test_a_record_that_was_stamped_and_is_gone_stops_the_archiving(archiver, folder, db):
    log, archiving = archiver()
    record_all(log, [make_entry("one"), make_entry("two"), make_entry("three")])
    log.stamper.stamp_pending()
    with db.write() as tx:
        tx.execute(store.delete(store.RECORDS).where(store.RECORDS.c.number == 2))
    with pytest.raises(DigiidError) as broken:
        archiving.archive()
    assert broken.value.code == "exchange.message_log.damaged" and "record 2" in broken.value.detail
    assert archives(folder) == []


# ------------------------------------------------------------------ retention


def test_rows_are_deleted_when_they_are_archived_and_old_and_never_before(archiver, clock):
    log, archiving = archiver()
    record_all(log, [make_entry("stamped", at=clock.now()), make_entry("b", body=b"x", at=clock.now())])
    log.stamper.stamp_pending()
    clock.advance(timedelta(days=31))
    assert archiving.clean() == 0  # not archived
    archiving.archive()
    record_all(log, [make_entry("new", at=clock.now())])
    log.stamper.stamp_pending()
    archiving.archive()
    record_all(log, [make_entry("unstamped", at=clock.now() - timedelta(days=60))])
    assert archiving.clean() == 2
    assert [bool(log.find(each)) for each in ("stamped", "b", "new", "unstamped")] == [False, False, True, True]
    assert archiving.clean() == 0


def test_exactly_the_stated_days_are_kept(archiver, clock):
    log, archiving = archiver(keep_days=30)
    record_all(log, [make_entry("one", at=clock.now())])
    log.stamper.stamp_pending()
    archiving.archive()
    clock.advance(timedelta(days=30))
    assert archiving.clean() == 0
    clock.advance(timedelta(microseconds=1))
    assert archiving.clean() == 1


def test_many_rows_are_deleted_in_short_transactions_and_the_rest_still_has_its_time_stamp(archiver, clock, tmp_path):
    log, archiving = archiver()
    record_all(log, [make_entry(f"m{i}", at=clock.now()) for i in range(450)])
    clock.advance(timedelta(days=20))
    record_all(log, [make_entry("late", at=clock.now())])
    log.stamper.stamp_pending()
    archiving.archive()
    clock.advance(timedelta(days=20))
    assert archiving.clean() == 450
    assert count(log) == 1
    # one time stamp is over the deleted and the one that is left
    with log.db.read() as tx:
        (left,) = store.get_messages(tx, [451])
        assert store.find_time_stamp(tx, left.number) is not None
    record_all(log, [make_entry("next", at=clock.now())])
    assert log.find("next")[0].number == 452


def test_bodies_go_with_their_messages(started, folder, clock, entropy):
    log = started(log_bodies_of=(str(POLICE),))
    archiving = Archiver(log.db, ArchiveSettings(folder=folder, allow_plain=True, keep_days=0), clock, entropy)
    record_all(log, [make_entry("one", body=b"{}")])
    log.stamper.stamp_pending()
    archiving.archive()
    clock.advance(timedelta(seconds=1))
    assert archiving.clean() == 1
    with log.db.read() as tx:
        assert tx.execute(select(func.count()).select_from(store.BODIES)).scalar_one() == 0


def test_the_timers_do_both(archiver, folder, clock):
    log, archiving = archiver(keep_days=0)
    record_all(log, [make_entry("one")])
    log.stamper.stamp_pending()
    clock.advance(timedelta(seconds=1))
    for timer in archiving.timers():
        timer.run()
    assert len(archives(folder)) == 1 and count(log) == 0
    assert [timer.every for timer in archiving.timers()] == [timedelta(hours=6), timedelta(hours=12)]
