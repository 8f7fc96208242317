"""Settings of the bank."""

from typing import Annotated

from pydantic import Field

from digiid.platform.config import Settings as BaseSettings


class Settings(BaseSettings):
    """`accepted_policies` is the bank's condition: whose documents it accepts. `bank_code` is the IBAN's, invented.

    `address_purpose` is the bank's purpose declaration at the consent service, for customers' registered addresses.
    """

    database_url: str = ""
    name: str = "Test Bank"
    bank_code: Annotated[str, Field(pattern=r"^[0-9]{4}$")] = "9900"
    accepted_policies: frozenset[str] = frozenset({"citizen", "resident", "e_resident"})
    address_purpose: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")] = "bank-card-and-letters"
    demonstration: bool = True
