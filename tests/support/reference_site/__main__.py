"""Serves the reference site, to look at it in a browser."""

import tempfile
from pathlib import Path

import uvicorn

from digiid.platform.clock import SystemClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from digiid.platform.web.dispatch import HostDispatch
from tests.support.reference_site import METADATA, build_reference_site

with tempfile.TemporaryDirectory() as folder:
    database = Database.sqlite(Path(folder) / "reference.sqlite")
    with database.write() as tx:
        METADATA.create_all(tx)
    reference = build_reference_site(database, SystemClock(), SystemEntropy())
    print("http://reference.localhost:8899/")
    app = HostDispatch({"reference.localhost:8899": reference.app}, programs={})
    uvicorn.run(app, host="127.0.0.1", port=8899, log_config=None)
