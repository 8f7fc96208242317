"""The command line as a whole: one table from a kind of error to an exit code, and what is printed stays what it is."""

import io
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console
from typer.testing import CliRunner, Result

from digiid.apps import cli
from digiid.apps.state import StateFolder, StatePorts, StateSettings
from digiid.apps.trusted_list_cli import tl_app
from digiid.apps.welcome import health_table, text
from digiid.formats.trusted_list import build_trusted_list, sign_trusted_list
from digiid.kernel.errors import NotFound
from digiid.platform.trust.list_files import read_list_file
from tests.support.pki import AT, shared_pki
from tests.unit.platform.trust.test_list_files import TOML

PKI = shared_pki()


@pytest.fixture
def trusted_list(tmp_path: Path) -> Path:
    (tmp_path / "ca.crt").write_bytes(PKI.ca.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "list.toml").write_text(TOML, encoding="utf-8")
    xml = build_trusted_list(read_list_file(tmp_path / "list.toml", now=AT))
    file = tmp_path / "tl.xml"
    file.write_bytes(sign_trusted_list(xml, key=PKI.list_signer.key, certificate=PKI.list_signer.certificate))
    return file


def exit_code(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["digiid", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def tl(*arguments: str) -> Result:
    return CliRunner().invoke(tl_app, list(arguments), env={"COLUMNS": "80"})


@pytest.mark.parametrize(
    ("options", "told"), [(("--port", "18900"), "keeps to its first port 18800"), (("--tls",), "made without --tls")]
)
def test_a_state_that_exists_says_that_its_ports_are_chosen(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: tuple[str, ...],
    told: str,
) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.create(StatePorts.from_first(18_800), tls=False)
    before = folder.settings_file.read_bytes()
    assert exit_code(monkeypatch, "up", "--state", str(folder.path), *options) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert told in said
    assert "another folder with --state" in said
    assert "(state.fixed)" in said
    assert folder.settings_file.read_bytes() == before
    assert not folder.log_file.exists(), "nothing was started"


@pytest.mark.parametrize(
    "arguments",
    [
        ("tl", "show", "none.xml"),
        ("tl", "build", "none.toml", "-o", "tl.xml"),
        ("extract", "none.asice"),
        ("sign", "paper.txt", "--state", "none"),
        ("timestamp", "paper.txt", "--state", "none"),
    ],
)
def test_what_is_not_there_is_unreadable_input_everywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code(monkeypatch, *arguments) == 2


def test_a_file_name_is_no_markup(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code(monkeypatch, "extract", "[/red]x[bold].asice") == 2
    assert "[/red]x[bold].asice" in capsys.readouterr().err


def test_what_a_list_says_is_not_cut_in_a_narrow_terminal(trusted_list: Path) -> None:
    shown = tl("show", str(trusted_list)).stdout
    assert "2020-01-01" in shown and "…" not in shown


def test_an_address_that_is_none_is_said_to_be_no_file(trusted_list: Path) -> None:
    told = tl("show", "ftp://example.org/tl.xml")
    assert isinstance(told.exception, NotFound) and "ftp://example.org/tl.xml" in told.exception.detail


def test_details_of_a_status_are_words_for_people() -> None:
    where = Console(file=io.StringIO(), width=120)
    where.print(health_table({"trust": {"status": "ok", "crls": {"root": True, "issuing": False}, "number": 2}}))
    assert isinstance(where.file, io.StringIO)
    assert "crls (root ok, issuing not ok), number 2" in where.file.getvalue()


def test_every_site_with_pages_is_in_the_welcome(tmp_path: Path) -> None:
    settings = StateSettings()
    where = Console(file=io.StringIO(), width=200)
    where.print(text(StateFolder(tmp_path), settings))
    assert isinstance(where.file, io.StringIO)
    sites = settings.origins.items() - {("pay", settings.origins["pay"])}  # one comes there with a fee to pay
    missing = [name for name, origin in sites if origin not in where.file.getvalue()]
    assert missing == []


@pytest.mark.parametrize("tls", [False, True])
def test_whoever_opens_a_state_with_tls_is_told_whose_certificates_it_has(tmp_path: Path, tls: bool) -> None:
    where = Console(file=io.StringIO(), width=200)
    where.print(text(StateFolder(tmp_path), StateSettings(tls=tls)))
    assert isinstance(where.file, io.StringIO)
    assert ("authority.pem" in where.file.getvalue()) is tls


def test_what_is_no_container_is_named_when_a_signature_is_to_be_taken_out(tmp_path: Path) -> None:
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.7\n")
    done = CliRunner().invoke(cli.app, ["remove-signature", str(tmp_path / "letter.pdf"), "S0"], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert done.output.replace("\n", "").startswith(f"{tmp_path / 'letter.pdf'}: ") and "asic.zip.end" in done.output
