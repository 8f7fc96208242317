"""What the validation service may be told."""

from typing import Annotated

from pydantic import Field

from digiid.platform.config import Settings as BaseSettings

_MIB = 1024 * 1024
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(BaseSettings):
    """`workers` judge at once, `max_waiting` requests wait for them, one client has `max_per_client` at once.

    Sizes: of a JSON body, of a streamed one, of all that lie on the disk at once. Times: for one part of a body, for a
    JSON body, for a streamed one, for judging each. `sign_reports`: every detailed report is sealed, not only those
    asked for.
    """

    workers: Annotated[int, Field(ge=1, le=256)] = 2
    max_waiting: Annotated[int, Field(ge=0, le=10_000)] = 64
    max_per_client: Annotated[int, Field(ge=1, le=10_000)] = 32
    max_json_bytes: Annotated[int, Field(ge=1024, le=512 * _MIB)] = 27 * _MIB
    max_raw_bytes: Annotated[int, Field(ge=1024, le=16 * 1024 * _MIB)] = 1024 * _MIB
    max_spooled_bytes: Annotated[int, Field(ge=1024, le=1024 * 1024 * _MIB)] = 4 * 1024 * _MIB
    chunk_seconds: Seconds = 15.0
    json_seconds: Seconds = 60.0
    raw_seconds: Seconds = 600.0
    judge_seconds: Seconds = 30.0
    judge_raw_seconds: Seconds = 120.0
    sign_reports: bool = False
