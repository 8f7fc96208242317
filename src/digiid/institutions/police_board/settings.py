"""Settings of the Police and Border Guard Board."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from digiid.platform.config import Settings as BaseSettings

TEST_LIST = Path(__file__).parent / "lists" / "test-list.xml"


class Settings(BaseSettings):
    """`lists`: sanctions lists in the UN consolidated format; `test_list` adds the one of invented names.

    `payment_secret_file` is shared with the payment provider; empty means `secrets/payments.key` in the
    state's folder, made when it is not there. `demonstration` accepts the specimen country UTO.
    `longest_delay_days`: for how long an officer's look may at most be kept back from the person.
    """

    database_url: str = ""
    demonstration: bool = False
    lists: tuple[Path, ...] = ()
    test_list: bool = False
    fee_cents: Annotated[int, Field(ge=0, le=10_000_000)] = 15_000
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    payment_merchant: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] = "police-board"
    longest_delay_days: Annotated[int, Field(ge=0, le=3650)] = 365
    payment_secret_file: Path | None = None

    def named_lists(self) -> list[tuple[str, Path]]:
        """Each list with the name under which officers see it."""
        named = [(file.stem, file) for file in self.lists]
        return [*named, ("TEST list", TEST_LIST)] if self.test_list else named
