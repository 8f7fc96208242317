"""Settings of the population register."""

from typing import Annotated

from pydantic import Field

from digiid.platform.config import Settings as BaseSettings


class Settings(BaseSettings):
    """`first_order_number` keeps demonstration people apart from codes that may belong to somebody."""

    database_url: str = ""
    first_order_number: Annotated[int, Field(ge=1, le=999)] = 900
    demonstration: bool = True
