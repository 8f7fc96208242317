"""Containers of the field with asserted verdicts: a table, and our verdict in the same words."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from digiid.formats.trusted_list import VerifiedTrust, resolve_trusted_lists
from digiid.formats.validation import POLICIES, POLV3, validate_container
from digiid.kernel.errors import Malformed
from digiid.platform.documents.expectations import verdict_word

JUDGED_AT = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    file: Path
    format: str
    expected: str
    reason: str
    policy: str

    def __str__(self) -> str:
        return f"{self.file.name}-{self.policy or 'any'}"


def read_manifest(folder: Path) -> Iterator[Row]:
    with (folder / "MANIFEST.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Row(folder / row["file"], row["format"], row["expected"], row["reason"], row["policy"])


def read_trust(folder: Path, national: str = "EE_T.xml") -> VerifiedTrust:
    signer = x509.load_pem_x509_certificate((folder / "TSL.crt").read_bytes())
    documents = [(folder / name).read_bytes() for name in (national, "TSL.xml")]
    return VerifiedTrust(resolve_trusted_lists(documents, signers=[signer], at=JUDGED_AT), at=JUDGED_AT)


def our_verdict(row: Row, trust: VerifiedTrust) -> str:
    """valid, invalid, indeterminate or error, under the policy that the row names."""
    policy = POLICIES.get(row.policy, POLV3)
    try:
        report = validate_container(io.BytesIO(row.file.read_bytes()), trust=trust, at=JUDGED_AT, policy=policy)
    except Malformed:
        return "error"
    return verdict_word(report)
