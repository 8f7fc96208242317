"""Settings of the information authority."""

from typing import Annotated

from pydantic import Field

from digiid.platform.config import Settings as BaseSettings


class Settings(BaseSettings):
    """`keep_days`: how long a signed container stays in the portal unless its holder deletes it before."""

    database_url: str = ""
    keep_days: Annotated[int, Field(ge=1, le=90)] = 14
    max_files: Annotated[int, Field(ge=1, le=100)] = 20
    max_upload_bytes: Annotated[int, Field(ge=1024)] = 12 * 1024 * 1024
    demonstration: bool = True
