"""Settings of the consent service."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from digiid.platform.config import Settings as BaseSettings

DEMONSTRATION_FILE: Final = Path(__file__).parent / "demonstration.toml"


class Settings(BaseSettings):
    """Where declarations come from, and how much one client may ask of one person.

    `declarations`: TOML files of service and purpose declarations, read at each start; what they no longer call valid
    is invalidated with everything that rests on it. `max_links_a_day`: links for one person by one client.
    """

    database_url: str = ""
    declarations: tuple[Path, ...] = ()
    max_links_a_day: Annotated[int, Field(ge=1, le=1000)] = 50
    demonstration: bool = True
