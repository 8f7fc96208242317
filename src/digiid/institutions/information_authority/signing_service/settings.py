"""Limits of the signing service."""

from typing import Annotated

from pydantic import Field

from digiid.platform.config import Settings as BaseSettings


class Limits(BaseSettings):
    """A container is forgotten `keep_minutes` after its last change; a client has `max_containers` at once."""

    keep_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 60
    max_containers: Annotated[int, Field(ge=1, le=100_000)] = 200
    max_files: Annotated[int, Field(ge=1, le=1000)] = 100
    max_body_bytes: Annotated[int, Field(ge=1024, le=512 * 1024 * 1024)] = 27 * 1024 * 1024


class Settings(Limits):
    """The limits, and where the service keeps what it knows."""

    database_url: str = ""
    demonstration: bool = True
