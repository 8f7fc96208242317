"""Settings of the business register."""

from typing import Annotated

from pydantic import Field

from digiid.platform.config import Settings as BaseSettings


class Settings(BaseSettings):
    """`first_number` keeps demonstration companies apart from codes that may belong to somebody."""

    database_url: str = ""
    first_number: Annotated[int, Field(ge=1_000_000, le=9_999_999)] = 1_999_900
    demonstration: bool = True
