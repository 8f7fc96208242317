"""One's own list from a TOML file, and what is wrong with lists."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.trusted_list import build_trusted_list, parse_trusted_list, sign_trusted_list
from digiid.kernel.errors import DigiidError, Malformed
from digiid.platform.trust.list_files import check_list, read_list_file
from tests.support.pki import AT, shared_pki

PKI = shared_pki()
TOML = """
[scheme]
name = "EE:TEST list of Example Ltd"
territory = "EE"
operator = "Example Ltd"
information_uri = "https://example.org/tl"
legal_notice = "For tests only."
distribution_point = "https://example.org/tl.xml"
electronic_address = "mailto:tl@example.org"
sequence_number = 7
valid_days = 30
address = { street = "Street 1", locality = "Tallinn", postal_code = "10111", country = "EE" }

[[provider]]
name = "Example CA Ltd"
trade_name = "Example"
address = { street = "Street 1", locality = "Tallinn", postal_code = "10111", country = "EE" }
electronic_address = "mailto:ca@example.org"
information_uri = "https://example.org/ca"

[[provider.service]]
type = "CA/QC"
name = "Example issuing CA"
certificate = "ca.crt"
starting_at = 2020-01-01T00:00:00Z
history = [{ status = "withdrawn", starting_at = 2019-01-01T00:00:00Z }]
additional = ["ForeSignatures"]
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    (tmp_path / "ca.crt").write_bytes(PKI.ca.certificate.public_bytes(Encoding.PEM))
    file = tmp_path / "list.toml"
    file.write_text(TOML, encoding="utf-8")
    return file


def signed(file: Path) -> bytes:
    xml = build_trusted_list(read_list_file(file, now=AT))
    return sign_trusted_list(xml, key=PKI.list_signer.key, certificate=PKI.list_signer.certificate)


def codes(xml: bytes, **how: object) -> list[str]:
    values: dict[str, object] = {"signers": [PKI.list_signer.certificate], "at": AT, **how}
    return [problem.code for problem in check_list(xml, **values)]  # type: ignore[arg-type]


def test_a_list_says_what_its_file_says(toml: Path) -> None:
    content = parse_trusted_list(signed(toml))
    assert (content.sequence_number, content.territory, content.version) == (7, "EE", 6)
    assert content.next_update_at == AT.replace(microsecond=0) + timedelta(days=30)
    (service,) = content.services
    assert [period.status.rsplit("/", 1)[-1] for period in service.periods] == ["granted", "withdrawn"]
    assert codes(signed(toml)) == []


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('territory = "EE"', 'territory = "Estonia"', "scheme.territory"),
        ('type = "CA/QC"', 'type = "CA"', "provider.0.service.0.type"),
        ("valid_days = 30", "valid_days = 300", "scheme.valid_days"),
        ("valid_days = 30", "valid_dais = 30", "scheme.valid_dais"),
        ("2019-01-01", "2021-01-01", "history"),
        ("[scheme]", "[scheme", "line"),
        ('"ca.crt"', '"list.toml"', "certificate"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(toml: Path, old: str, new: str, named: str) -> None:
    toml.write_text(TOML.replace(old, new), encoding="utf-8")
    with pytest.raises(Malformed) as refused:
        read_list_file(toml, now=AT)
    assert named in refused.value.detail


def test_what_is_wrong_with_a_list_is_told(toml: Path) -> None:
    good = signed(toml)
    (unchecked,) = check_list(good, signers=[], at=AT)
    assert unchecked.code == "trusted_list.not_checked" and unchecked.is_error, "nobody believes a list on its own word"
    late = codes(good, signers=[], at=AT + timedelta(days=31))
    assert late == ["trusted_list.not_checked", "trusted_list.expired"]
    assert codes(good, signers=[PKI.ca.certificate]) != []
    assert codes(good, at=AT + timedelta(days=31)) != []
    assert codes(good, former=good) == ["trusted_list.rollback"]
    assert codes(good.replace(b"Example Ltd", b"Another Ltd")) != []
    toml.write_text(TOML.replace("sequence_number = 7", "sequence_number = 8").split("[[provider]]")[0])
    assert codes(signed(toml), former=good) == ["trusted_list.dropped"]


def test_something_else_than_a_list_is_malformed() -> None:
    with pytest.raises(DigiidError):
        check_list(b"<x/>", signers=[], at=AT)
