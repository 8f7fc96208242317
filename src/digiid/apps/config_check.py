"""What `digiid config check` says of a file: which kind of settings it is, and in a line what it sets up."""

import tomllib
from collections.abc import Callable
from pathlib import Path

from digiid.apps.counted import counted
from digiid.kernel.errors import Malformed

_MAX_BYTES = 8 * 1024 * 1024


def check_file(file: Path) -> str:
    """Read the file as what its keys say that it is, and everything that it names; nothing is started.

    Raises: Malformed `config.…`, `exchange.local_conf.…`, `consent.declaration`, naming what is wrong.
    """
    return _kind_of(file)(file)


def _kind_of(file: Path) -> Callable[[Path], str]:
    try:
        with file.open("rb") as stream:
            values = tomllib.loads(stream.read(_MAX_BYTES).decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Malformed("config.unreadable", f"{file}: {error}") from error
    if "clients" in values:
        return _check_local_conf
    if "server" in values:
        return _check_security_server
    if values.keys() and values.keys() <= {"service", "purpose"}:
        return _check_declarations
    return _check_state


def _check_state(file: Path) -> str:
    from digiid.apps.state import StateSettings
    from digiid.institutions.information_authority.consents.declarations import read_declarations
    from digiid.platform.config import load_settings

    settings = load_settings(file, StateSettings)
    for declarations in settings.consent_declarations:
        read_declarations(declarations, origins=settings.origins)
    return f"Sites below {settings.origin('portal')}, programs at {settings.base_url}."


def _check_declarations(file: Path) -> str:
    from digiid.apps.state import StateSettings
    from digiid.institutions.information_authority.consents.declarations import read_declarations

    found = read_declarations(file, origins=StateSettings().origins)
    told = (
        counted(len(found.services), "service declaration"),
        counted(len(found.purposes), "purpose declaration"),
    )
    return f"For the consent service: {' and '.join(told)}."


def _check_local_conf(file: Path) -> str:
    from digiid.exchange.security_server.local_conf import load_local_conf, parse_local_conf

    load_local_conf(file)  # the certificates that it names as well
    settings = parse_local_conf(file.read_bytes(), name=str(file))
    services = sum(len(client.services) for client in settings.clients)
    rights = sum(len(client.rights) for client in settings.clients)
    told = (counted(len(settings.clients), "client"), counted(services, "service"), counted(rights, "right"))
    return f"A security server's {', '.join(told)}."


def _check_security_server(file: Path) -> str:
    from digiid.exchange.security_server.local_conf import load_local_conf
    from digiid.exchange.security_server.settings import load_security_server_settings

    settings = load_security_server_settings(file)
    load_local_conf(file.parent / settings.local_conf)
    return f"Security server {settings.server}, messages at port {settings.listeners.message_port}."
