"""Settings of the card bureau."""

from typing import Annotated

from pydantic import Field

from digiid.platform.config import Settings as BaseSettings


class Settings(BaseSettings):
    """`auto_ship` lets a demonstration's cards travel at once; otherwise officers record each movement."""

    database_url: str = ""
    e_resident_prefix: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "NS"
    citizen_prefix: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "AS"
    validity_years: Annotated[int, Field(ge=1, le=10)] = 5
    collect_within_days: Annotated[int, Field(ge=30, le=365)] = 183
    auto_ship: bool = False
    demonstration: bool = True
