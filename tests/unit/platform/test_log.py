"""The process's log: secrets do not arrive, and a disk that is full fails nobody who logs."""

import json
import logging
import resource
from pathlib import Path

import pytest
import structlog

from digiid.platform.log import configure_logging


@pytest.fixture(autouse=True)
def as_before():
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_values_under_secret_names_and_whole_personal_codes_are_blanked(tmp_path):
    file = tmp_path / "log" / "digiid.log"
    configure_logging(file)
    structlog.get_logger("x").info("signed", pin1="1234", puk="12345678", passphrase="open", who="38001085718 asked")
    [line] = lines(file)
    assert (line["pin1"], line["puk"], line["passphrase"]) == ("[redacted]",) * 3
    assert line["who"] == "3800108**** asked"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_fails_nobody_who_logs(tmp_path):
    file = tmp_path / "digiid.log"
    configure_logging(file)
    log = structlog.get_logger("x")
    log.info("before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, before[1]))
    try:
        for number in range(200):
            log.error("full", number=number, text="x" * 200)
        logging.getLogger("other").error("full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.info("after")
    log.info("later")
    told = file.read_text("utf-8")
    assert '"before"' in told and '"log.lines_lost", "count": ' in told
    assert [json.loads(line)["event"] for line in told.splitlines()[-2:]] == ["after", "later"]
    assert json.loads(told.splitlines()[-3])["count"] > 190
