"""The central server's tables and one function per question, in modules named for what they hold.

Every row is of one instance, which the settings name. Importing any module imports all, so that `schema.metadata`
always knows every table.
"""

from digiid.exchange.central_server.store import (
    configuration,
    groups,
    journal,
    members,
    officers,
    parameters,
    provisioned,
    requests,
    schema,
    servers,
    signing_keys,
    trust_services,
)

__all__ = [
    "configuration",
    "groups",
    "journal",
    "members",
    "officers",
    "parameters",
    "provisioned",
    "requests",
    "schema",
    "servers",
    "signing_keys",
    "trust_services",
]
