"""Settings of the central server."""

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from digiid.formats.global_conf import check_source_url
from digiid.kernel.identifiers import check_existing_part
from digiid.platform.config import Settings as BaseSettings


class Limits(BaseSettings):
    """A configuration is made anew every `generate_seconds` and whenever something changed, and holds for
    `lifetime_seconds`. A new signing key is published for `key_publication_seconds` before it may sign: at least as
    long as a configuration holds, so that whoever has a valid one knows the key.
    """

    generate_seconds: Annotated[int, Field(ge=5, le=24 * 3600)] = 60
    lifetime_seconds: Annotated[int, Field(ge=30, le=7 * 24 * 3600)] = 600
    key_publication_seconds: Annotated[int, Field(ge=30, le=90 * 24 * 3600)] = 900
    request_window_seconds: Annotated[int, Field(ge=30, le=3600)] = 300
    registrations_per_minute: Annotated[int, Field(ge=1, le=10_000)] = 10
    ocsp_freshness_seconds: Annotated[int, Field(ge=60, le=24 * 3600)] = 3600
    time_stamping_interval_seconds: Annotated[int, Field(ge=1, le=24 * 3600)] = 60

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.lifetime_seconds < 2 * self.generate_seconds:
            raise ValueError("lifetime_seconds is at least twice generate_seconds, or one failure stops the exchange")
        if self.key_publication_seconds < self.lifetime_seconds:
            raise ValueError("key_publication_seconds is at least lifetime_seconds")
        return self


class Settings(Limits):
    """`source_urls` are where this configuration is served, one for each node: the anchor names all of them."""

    instance: str = "EE"
    source_urls: Annotated[tuple[str, ...], Field(min_length=1, max_length=16)] = (
        "http://127.0.0.1:8800/internalconf",
    )
    registration_url: str = "http://127.0.0.1:8800/registration/requests"
    database_url: str = ""
    demonstration: bool = True

    @field_validator("instance")
    @classmethod
    def _plain(cls, value: str) -> str:
        return check_existing_part(value)

    @field_validator("source_urls")
    @classmethod
    def _addresses(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            check_source_url(value)
        if len(set(values)) != len(values):
            raise ValueError("an address stands twice")
        return values
