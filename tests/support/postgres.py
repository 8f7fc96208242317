"""A throw-away PostgreSQL server for store tests: own data folder, unix socket only, gone at the end."""

import os
import pwd
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from digiid.platform.db import Database


def find_server_programs() -> Path | None:
    """The folder with `initdb` and `postgres`, or None."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if program := shutil.which("initdb"):
        candidates.append(Path(program).parent)
    return next(
        (folder for folder in candidates if (folder / "initdb").exists() and (folder / "postgres").exists()), None
    )


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """Start a server under `folder` and give its socket folder. PostgreSQL refuses root: then it runs as `postgres`."""
    programs = find_server_programs()
    if programs is None:
        raise FileNotFoundError("no PostgreSQL server programs")
    data, sockets = folder / "data", folder / "s"
    sockets.mkdir(parents=True)
    as_user: list[str] = []
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        for path in (folder, sockets):
            os.chown(path, account.pw_uid, account.pw_gid)
        as_user = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    subprocess.run(
        [*as_user, str(programs / "initdb"), "-D", str(data), "-U", "digiid", "-A", "trust", "-E", "UTF8", "--no-sync"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    server = subprocess.Popen(
        [*as_user, str(programs / "postgres"), "-D", str(data), "-k", str(sockets), "-c", "listen_addresses=", "-F"],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("w"),
        cwd="/",
    )
    try:
        ready = [*as_user, str(programs / "pg_isready"), "-q", "-h", str(sockets), "-t", "1"]
        for _ in range(100):
            if subprocess.run(ready, check=False, cwd="/").returncode == 0:
                break
            if server.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            subprocess.run(["sleep", "0.1"], check=False)
        else:
            raise RuntimeError("PostgreSQL did not become ready in 10 s")
        yield str(sockets)
    finally:
        server.send_signal(signal.SIGINT)  # at once, whoever is still connected
        server.wait(timeout=20)


class ThrowAwayDatabases:
    """Databases of one server, each a copy of one that was migrated before: most of a schema's cost is paid once."""

    def __init__(self, sockets: str) -> None:
        self._sockets = sockets
        self._admin = create_engine(
            self._url("postgres"),
            isolation_level="AUTOCOMMIT",
            pool_pre_ping=True,  # tests stop the server too
        )
        self._templates: dict[str, str] = {}
        self._made: list[str] = []

    def make(self, package: str) -> Database:
        """An empty database with the schema of `package`."""
        if package not in self._templates:
            name = self._create()
            template = Database(self._url(name))
            template.migrate(package)
            template.close()
            self._templates[package] = name
        name = self._create(self._templates[package])
        self._made.append(name)
        return Database(self._url(name))

    def drop_all(self) -> None:
        """Those that were made, not what they are copies of."""
        while self._made:
            self._run(f"DROP DATABASE {self._made.pop()} WITH (FORCE)")

    def close(self) -> None:
        self._admin.dispose()

    def _create(self, template: str = "template1") -> str:
        name = f"t{uuid.uuid4().hex}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _run(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://digiid@/{name}?host={self._sockets}"
