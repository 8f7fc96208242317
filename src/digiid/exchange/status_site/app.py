"""Builds the site `exchange`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData

from digiid.exchange.security_server.status import read_status_addresses
from digiid.exchange.status_site.site import handlers
from digiid.platform.db import Database
from digiid.platform.institution import Running, Surroundings
from digiid.platform.web import N_
from digiid.platform.web.sessions import SessionStore, sessions_table
from digiid.platform.web.site import Site, SiteSettings

_HERE = Path(__file__).parent

metadata = MetaData()
SESSIONS = sessions_table(metadata)  # every site has one; here nobody signs in and none is kept


def build(around: Surroundings, *, addresses_file: Path, csrf_secret: str, demonstration: bool = True) -> Running[Any]:
    """`addresses_file` is what write_status_addresses keeps; it is read at every look."""
    db = Database.sqlite(around.database_folder / "exchange_status.sqlite")
    with db.write() as tx:
        metadata.create_all(tx)
    site = Site.within(
        around,
        SiteSettings(
            name="exchange",
            title=N_("The exchange"),
            origin=around.origins["exchange"],
            agent_origin=around.origins["agent"],
            folders=(_HERE, _HERE.parent / "security_server"),  # what the clocks say is there
            demonstration=demonstration,
        ),
        SessionStore("exchange", db, SESSIONS, around.clock, around.entropy),
        csrf_secret,
    )

    def health() -> Mapping[str, Any]:
        return {"name": "Status of the exchange", "servers": len(read_status_addresses(addresses_file))}

    return Running(
        name="exchange_status",
        sites={"exchange": site.build(handlers(addresses_file), health=health)},
        services=(),
        workers=(),
        timers=(),
        health=health,
        close=db.close,
    )
