"""The PostgreSQL databases of a state: which there must be, and whether they answer."""

import re
from typing import Final

from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from digiid.apps.state import StateSettings
from digiid.exchange.central_server.app import NAME as CENTRAL_SERVER
from digiid.institutions.information_authority.consents.app import UNIT as CONSENTS
from digiid.institutions.information_authority.signing_service.app import UNIT as SIGNING_SERVICE
from digiid.kernel.errors import Unavailable
from digiid.platform.checkpoints import DATABASE as CHECKPOINTS

NAMES: Final = (
    "trust_ca",
    "trust_tsa",
    "trust_list",
    "population_register",
    "business_register",
    "card_bureau",
    "police_board",
    "information_authority",
    CONSENTS,
    SIGNING_SERVICE,
    "bank",
    CENTRAL_SERVER,
    CHECKPOINTS,
    "exchange_state",
    "exchange_private",
)
"""What takes the place of `{institution}` in `database.url`, one after the other."""

_CONNECT_SECONDS: Final = 5
_NO_DATABASE: Final = re.compile(r'database "([^"]+)" does not exist')  # the driver has no code of it


def check_databases(settings: StateSettings) -> None:
    """Every database is there and lets this state in; nothing to do for SQLite, which makes its files.

    Raises: Unavailable `state.databases_missing`, naming all of them, `state.database_unreachable`.
    """
    if not settings.database.url:
        return
    missing = [name for each in NAMES if (name := _find_missing(settings.database.url.replace("{institution}", each)))]
    if missing:
        raise Unavailable(
            "state.databases_missing",
            f"PostgreSQL has no database {', '.join(missing)}. Every institution has its own: create them "
            f"(`createdb NAME` each, owned by the state's role; `digiid config databases` lists all) and start again",
        )


def _find_missing(url: str) -> str | None:
    """The name of the database when the server has none of it."""
    engine = create_engine(url, connect_args={"connect_timeout": _CONNECT_SECONDS})
    try:
        with engine.connect():
            return None
    except DBAPIError as error:  # an option in the address that the driver does not know is one, too
        told = str(error.orig)
        if found := _NO_DATABASE.search(told):
            return found.group(1)
        raise Unavailable("state.database_unreachable", f"a database cannot be reached: {told}") from error
    finally:
        engine.dispose()
