import re

import pytest
from typer.testing import CliRunner

from digiid.apps.cli import app
from digiid.institutions.information_authority.consents.settings import DEMONSTRATION_FILE
from digiid.kernel.errors import Malformed
from tests.unit.exchange.security_server.test_local_conf import FILE

DECLARED = DEMONSTRATION_FILE.read_text("utf-8")


def check(file):
    return CliRunner().invoke(app, ["config", "check", str(file)], env={"COLUMNS": "200"})


def test_a_local_configuration_is_known_by_its_clients(tmp_path):
    file = tmp_path / "local.toml"
    file.write_text(FILE, "utf-8")
    checked = check(file)
    assert checked.exit_code == 0
    assert "2 clients, 2 services, 4 rights" in checked.output


def test_what_is_wrong_in_it_is_named(tmp_path):
    file = tmp_path / "local.toml"
    file.write_text(FILE.replace('"/v1/open/**"\n', '"/v1/opne/**"\n'), "utf-8")
    error = check(file).exception
    assert isinstance(error, Malformed)
    assert "address has no endpoint * /v1/opne/**" in error.detail


@pytest.mark.parametrize("content", [b"\xff", b"a = [", b"= 1", b"a = " + b"[" * 100_000])
def test_what_is_no_toml_is_unreadable(tmp_path, content):
    file = tmp_path / "settings.toml"
    file.write_bytes(content)
    error = check(file).exception
    assert isinstance(error, Malformed)
    assert error.code == "config.unreadable"


def test_a_file_of_a_state_is_still_checked_as_one(tmp_path):
    file = tmp_path / "state.toml"
    file.write_text('name = "TEST digiid"\nprot = 8800\n')
    error = check(file).exception
    assert isinstance(error, Malformed)
    assert "prot" in error.detail


def test_what_is_wrong_in_the_declarations_of_a_state_is_named(tmp_path):
    declared, state = tmp_path / "declared.toml", tmp_path / "state.toml"
    state.write_text(f'consent_declarations = ["{declared}"]\n')
    for content, named in {
        DECLARED: None,
        DECLARED.replace("max_days =", "most_days =", 1): "unknown: most_days",
        DECLARED.replace("{bank}", "{banc}", 1): "banc",
        re.sub(r"max_days = \d+", 'max_days = "a year"', DECLARED, count=1): "TypeError",
        re.sub(r"max_days = \d+", "max_days = 0", DECLARED, count=1): "max_days or validation_cache_seconds",
        "service = " + "[" * 100_000: "",
    }.items():
        declared.write_text(content, "utf-8")
        checked = check(state)
        if named is None:
            assert checked.exit_code == 0, checked.output
            continue
        assert isinstance(checked.exception, Malformed), named
        assert checked.exception.code == "consent.declaration"
        assert str(declared) in checked.exception.detail and named in checked.exception.detail
    declared.unlink()
    assert "No such file" in check(state).exception.detail


def test_a_file_of_declarations_is_checked_alone(tmp_path):
    told = check(DEMONSTRATION_FILE)
    assert told.exit_code == 0 and re.search(r"\d+ service declarations? and \d+ purpose declarations?", told.output)
