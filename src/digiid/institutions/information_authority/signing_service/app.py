"""Builds the signing service: its database, its clients, its application."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from digiid.institutions.information_authority.signing_service import use_cases
from digiid.institutions.information_authority.signing_service.api import PREFIX, build_signing_service_app
from digiid.institutions.information_authority.signing_service.clients import ClientCredentials, Registry
from digiid.institutions.information_authority.signing_service.settings import Settings
from digiid.institutions.information_authority.signing_service.use_cases import Deps
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.documents import TrustServices
from digiid.platform.entropy import Entropy
from digiid.platform.institution import Running, Surroundings
from digiid.platform.secret_file import read_or_make_secret
from digiid.platform.timers import Timer

PACKAGE: Final = "digiid.institutions.information_authority.signing_service"
UNIT: Final = "signing_service"
# The demonstration's provider: its secret lies beside the state's other secrets, for its own program to read.
TEST_CLIENT_ID: Final = "5b1a35e7-6a3c-4b8e-9d2f-7e57c11e4701"
TEST_CLIENT_FILE: Final = "signing-client-test.json"


@dataclass(frozen=True)
class SigningService:
    """A built service. `app` answers what begins with `prefix`."""

    app: Any
    prefix: str
    deps: Deps
    running: Running[Any]


def build(
    settings: Settings,
    around: Surroundings,
    *,
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    secrets_folder: Path,
) -> SigningService:
    """Open the database, make the service's secret and, in a demonstration, the TEST client. Not serving yet."""
    file = around.database_folder / f"{UNIT}.sqlite"
    database = Database(settings.database_url) if settings.database_url else Database.sqlite(file)
    registry = open_registry(database, secrets_folder=secrets_folder, clock=around.clock, entropy=around.entropy)
    deps = Deps(database, around.clock, around.entropy, registry, issuers, trust, settings)
    if settings.demonstration:
        make_test_client(registry, secrets_folder)
    return SigningService(
        app=build_signing_service_app(deps, around.pools),
        prefix=PREFIX,
        deps=deps,
        running=Running(
            name=UNIT,
            sites={},
            services=(),
            workers=(),
            timers=(Timer(UNIT, timedelta(minutes=5), lambda: _purge(deps)),),
            health=lambda: _health(deps),
            close=database.close,
        ),
    )


def open_registry(database: Database, *, secrets_folder: Path, clock: Clock, entropy: Entropy) -> Registry:
    """The clients of this service, for the service and for who administers it from beside."""
    database.migrate(PACKAGE)
    return Registry(database, clock, entropy, read_or_make_secret(secrets_folder / UNIT, entropy))


def add_client(registry: Registry, name: str, file: Path) -> ClientCredentials:
    """A new client whose credentials are written into `file`, mode 0600, for whoever runs its program.

    Raises: Refused `signing.client.name`.
    """
    credentials = registry.add(name)
    write_credentials(credentials, file)
    return credentials


def make_test_client(registry: Registry, secrets_folder: Path) -> ClientCredentials:
    """The demonstration's client, made at the first asking."""
    name = "TEST e-service provider"
    credentials = registry.find(TEST_CLIENT_ID) or registry.add(name, client_id=TEST_CLIENT_ID)
    file = secrets_folder / TEST_CLIENT_FILE
    if not file.exists():
        write_credentials(credentials, file)
    return credentials


def write_credentials(credentials: ClientCredentials, file: Path) -> None:
    """`serviceUuid` and `signingSecret` as JSON, mode 0600, whole or not at all."""
    text = json.dumps({"serviceUuid": credentials.client_id, "signingSecret": credentials.secret}, indent=1)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_name(file.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)


def read_credentials(file: Path) -> ClientCredentials:
    """What `write_credentials` wrote."""
    found = json.loads(file.read_text(encoding="ascii"))
    return ClientCredentials(str(found["serviceUuid"]), "", str(found["signingSecret"]))


def _health(deps: Deps) -> Mapping[str, Any]:
    deps.db.check()
    return {"name": "Signing service"}


def _purge(deps: Deps) -> None:
    use_cases.purge(deps)
