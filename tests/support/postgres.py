"""A throw-away PostgreSQL server for store tests: own data folder, unix socket only, gone at the end."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        server.terminate()
        server.wait(timeout=20)
