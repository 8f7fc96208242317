"""kill -9 before every statement of logging and archiving: what was promised is there, and nothing is there twice."""

import hashlib
import itertools
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import pytest

from digiid.exchange.message_log import ArchiveSettings, archive_files, archiving, store
from digiid.exchange.message_log import log as log_module
from digiid.exchange.message_log.archiving import Archiver
from digiid.exchange.message_log.verifying import validate_evidence
from digiid.formats.exchange.archive_links import parse_archive_links, verify_archive_links
from digiid.platform import db as db_module
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from tests.support.killed import run_until, statements_of
from tests.support.logged import PACKAGE, Authority, make_entry, read_conf, reopen_log
from tests.support.pki import AT

RECORDING = [module.__file__ for module in (log_module, store, db_module)]
ARCHIVING = [module.__file__ for module in (archiving, archive_files, store)]


def traced(files: list[str]) -> Callable[[CodeType], bool]:
    return lambda code: code.co_filename in files and code.co_name != "<lambda>"


@pytest.fixture(scope="module")
def entries():
    return [make_entry(f"m{i}", is_response=bool(i % 2)) for i in range(6)]


def make_log(folder: Path) -> None:
    """An empty one, whole in its file: to be copied."""
    database = Database.sqlite(folder / "log.sqlite")
    database.migrate(PACKAGE)
    database.close()


def test_a_message_whose_logging_was_confirmed_is_there_after_kill_9(tmp_path, entries):
    statements = statements_of(RECORDING)
    make_log(tmp_path)

    def record_in(folder: Path) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            log = reopen_log(Database.sqlite(folder / "log.sqlite"), ManualClock(AT))
            confirmed = os.open(folder / "confirmed", os.O_WRONLY | os.O_CREAT)

            def record() -> None:
                for entry in entries[:2]:
                    for number in log._write([entry]):
                        os.write(confirmed, b"%d\n" % number)

            return record

        return prepare

    kill_at, was_unconfirmed, was_lost = 1, False, False
    while True:
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        shutil.copy(tmp_path / "log.sqlite", folder)
        killed = run_until(
            record_in(folder),
            statements=statements,
            is_traced=traced(RECORDING),
            kill_at=kill_at,
            log=folder / "count",
        )
        confirmed = [int(line) for line in (folder / "confirmed").read_text().split()]
        log = reopen_log(Database.sqlite(folder / "log.sqlite"), ManualClock(AT))
        with log.db.read() as tx:
            stored = [message.number for message in store.get_messages(tx, [1, 2, 3])]
        assert stored[: len(confirmed)] == confirmed and len(stored) <= len(confirmed) + 1
        assert log._write([entries[2]])[0] == len(stored) + 1  # and the log goes on
        was_unconfirmed |= len(stored) > len(confirmed)
        was_lost |= len(stored) == len(confirmed) < 2
        if not killed:
            break
        kill_at += 1
    assert kill_at > 30 and was_unconfirmed and was_lost  # killed on both sides of the commit


STEPS = frozenset(
    ("archive", "_plan", "_carry_out", "_archive_group", "prepared_folder", "write_archive", "_update_state")
)


def is_step(code: CodeType) -> bool:
    """What changes something; collecting what goes into an archive has nothing to interrupt."""
    return code.co_filename in ARCHIVING and (code.co_name in STEPS or code.co_name.startswith("record_"))


def read_chains(paths: list[Path]) -> list[str]:
    """The names of all messages in these archives, which are whole and follow one another without a fork."""
    names, ends, before = [], set(), []
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            files = {name: hashlib.sha512(archive.read(name)).digest() for name in archive.namelist()}
            links = parse_archive_links(archive.read("linkinginfo"))
        files.pop("linkinginfo")
        verify_archive_links(links, files)
        names += files
        ends.add(links.last_digest)
        before.append((path.name.split("-20")[0], links.previous and links.previous[0]))
    assert len(before) == len(set(before)) and all(digest is None or digest in ends for _, digest in before)
    return names


def test_an_archiver_killed_anywhere_leaves_whole_archives_and_one_chain(tmp_path, entries):
    statements = statements_of(ARCHIVING)

    def open_in(folder: Path) -> tuple[Archiver, log_module.MessageLog]:
        clock = ManualClock(AT)
        log = reopen_log(Database.sqlite(folder / "log.sqlite"), clock, Authority(clock))
        told = ArchiveSettings(folder=folder / "archives", allow_plain=True, grouping="member")
        return Archiver(log.db, told, clock, SystemEntropy()), log

    # 1 a log with two members' messages, stamped, to begin from each time
    make_log(tmp_path)
    _, log = open_in(tmp_path)
    log._write(entries[:4])
    log.stamper.stamp_pending()
    log.db.close()

    def archive_in(folder: Path) -> Callable[[], Callable[[], object]]:
        return lambda: open_in(folder)[0].archive

    # 2 killed before its first statement, its second, …, until it gets to its end
    for kill_at in itertools.count(1):
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        shutil.copy(tmp_path / "log.sqlite", folder)
        killed = run_until(
            archive_in(folder), statements=statements, is_traced=is_step, kill_at=kill_at, log=folder / "count"
        )
        read_chains(sorted((folder / "archives").glob("mlog-*")))
        # 3 more messages come before it runs again
        again, log = open_in(folder)
        log._write(entries[4:])
        log.stamper.stamp_pending()
        again.archive()
        paths = sorted((folder / "archives").glob("mlog-*"))
        names = read_chains(paths)
        assert len(names) == len(set(names)) == len(entries)  # each message once
        with log.db.read() as tx:
            assert {each.name for each in store.list_archives(tx)} == {path.name for path in paths}
        log.db.close()
        if not killed:
            break
    assert kill_at > 50
    assert validate_evidence(paths, read_conf(tmp_path / "conf")).is_valid
