"""Settings of the information authority."""

from typing import Annotated

from pydantic import Field

from digiid.platform.config import Settings as BaseSettings


class Settings(BaseSettings):
    """What the portal keeps for a person, and how long.

    `keep_days`: how long a signed container stays unless its holder deletes it before. `max_documents`: how many
    may be there at once, signed or not, so that nobody fills the disk. `max_unpacked_bytes`: how much a container that
    somebody wants to sign again may hold. `tracker_patience_seconds`: how long the page "Who has looked at my data"
    waits for every institution, in each of two rounds, and then for the titles of purposes.
    """

    database_url: str = ""
    keep_days: Annotated[int, Field(ge=1, le=90)] = 14
    max_documents: Annotated[int, Field(ge=1, le=1000)] = 50
    max_files: Annotated[int, Field(ge=1, le=100)] = 20
    max_upload_bytes: Annotated[int, Field(ge=1024)] = 12 * 1024 * 1024
    max_unpacked_bytes: Annotated[int, Field(ge=1024)] = 48 * 1024 * 1024
    tracker_patience_seconds: Annotated[float, Field(ge=0.1, le=15)] = 3
    demonstration: bool = True
