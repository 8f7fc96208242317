import pytest
from typer.testing import CliRunner

from digiid.apps.cli import app
from digiid.kernel.errors import Malformed
from tests.unit.exchange.security_server.test_local_conf import FILE


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
