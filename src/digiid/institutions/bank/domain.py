"""Accounts, applications and customers' addresses: what the bank decides itself."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from digiid.formats.asic import DataFile
from digiid.kernel.errors import Refused

PURPOSES = ("business", "personal", "savings")
CURRENCIES = ("EUR", "USD", "GBP")


@dataclass(frozen=True, slots=True)
class Application:
    """An application to open an account; `iban` is set when it was signed and the account opened."""

    application_id: str
    personal_code: str
    name: str
    purpose: Literal["business", "personal", "savings"]
    currency: Literal["EUR", "USD", "GBP"]
    expected_use: str
    created_at: datetime
    signed_at: datetime | None = None
    iban: str | None = None


@dataclass(frozen=True, slots=True)
class CustomerAddress:
    """A customer's registered address as the population register told it under a consent."""

    personal_code: str
    kind: str
    country: str
    region: str
    locality: str
    street: str
    postcode: str
    consent_reference: str
    fetched_at: datetime


def build_iban(*, bank_code: str, number: int) -> str:
    """An Estonian IBAN (ISO 13616): EE, check digits, bank code, account number with its own check digit (7-3-1).

    The bank's own two digits stand before the domestic account number, which alone the 7-3-1 digit covers.
    """
    account = f"{bank_code}{number:011d}"
    bban = account + str(_check_731(account[2:]))
    remainder = int(bban + "141400") % 97  # EE00 as digits: E is 14
    return f"EE{98 - remainder:02d}{bban}"


def is_iban(text: str) -> bool:
    """True when the check digits of an IBAN are right (ISO 7064 MOD 97-10)."""
    moved = text[4:] + text[:4]
    return (
        15 <= len(text) <= 34
        and moved.isalnum()
        and moved.isascii()
        and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1
    )


def _check_731(digits: str) -> int:
    total = sum(int(digit) * (7, 3, 1)[position % 3] for position, digit in enumerate(reversed(digits)))
    return -total % 10


def check_condition(policy: str, accepted: frozenset[str]) -> None:
    """Does the bank accept this kind of document? Raises: Refused `bank.document_not_accepted`."""
    if policy not in accepted:
        raise Refused(
            "bank.document_not_accepted",
            f"policy {policy}",
            public="The bank does not open accounts with this kind of document. Its conditions are on the front page.",
        )


def application_text(application: Application, *, bank: str) -> DataFile:
    """The application as the plain text that the customer reads and signs.

    A further line of what was typed is indented, so that it cannot pass for a line of the bank's.
    """
    expected_use = f"\n{' ' * 16}".join(application.expected_use.splitlines())
    lines = [
        f"{bank}: APPLICATION TO OPEN AN ACCOUNT (demonstration, no legal force)",
        "",
        f"Application:    {application.application_id}",
        f"Applicant:      {' '.join(application.name.split())}",
        f"Personal code:  {application.personal_code}",
        f"Purpose:        {application.purpose}",
        f"Currency:       {application.currency}",
        f"Expected use:   {expected_use}",
        f"Written:        {application.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "",
        "I ask the bank to open an account on its conditions, and I confirm that what stands above is true.",
        "",
    ]
    return DataFile(
        f"account-application-{application.application_id[:8]}.txt", "text/plain", "\n".join(lines).encode()
    )
