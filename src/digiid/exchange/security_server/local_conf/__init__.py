"""Whose servers stand behind this security server, and who may ask them what: one TOML file, read anew when it changes.

The rules of X-Road (reference: access rights): a right belongs to a provider, names a service, an endpoint (method or
`*`, path glob) and a subject (client, global group, local group); what no right allows is refused. Ours differ where
theirs could be left: the path is matched as it was signed and as it is sent on, and what two programs could read
differently was refused before (formats/exchange/paths).

The file is docs/reference/local-conf.md; the `…Settings` classes are its shape, `LocalConf` is what they compile to.

* `shape` is what stands in the file, `globs` the paths in it;
* `reading` compiles it to `rights`, by which requests are judged;
* `watched` gives the file as it is now;
* `writing` makes one.
"""

from digiid.exchange.security_server.local_conf.globs import ANY_METHOD, ANY_PATH
from digiid.exchange.security_server.local_conf.reading import (
    MAX_FILE_BYTES,
    load_local_conf,
    parse_local_conf,
)
from digiid.exchange.security_server.local_conf.rights import (
    EVERYTHING,
    Endpoint,
    Groups,
    LocalClient,
    LocalConf,
    LocalService,
    Target,
)
from digiid.exchange.security_server.local_conf.shape import (
    MAX_CERTIFICATE_BYTES,
    RESERVED_CODES,
    LocalConfSettings,
    Mode,
    RightSettings,
)
from digiid.exchange.security_server.local_conf.watched import LocalConfAlarm, LocalConfFile
from digiid.exchange.security_server.local_conf.writing import (
    Offer,
    add_rights,
    build_local_conf,
    dump_local_conf,
    write_local_conf,
)

__all__ = [
    "ANY_METHOD",
    "ANY_PATH",
    "EVERYTHING",
    "MAX_CERTIFICATE_BYTES",
    "MAX_FILE_BYTES",
    "RESERVED_CODES",
    "Endpoint",
    "Groups",
    "LocalClient",
    "LocalConf",
    "LocalConfAlarm",
    "LocalConfFile",
    "LocalConfSettings",
    "LocalService",
    "Mode",
    "Offer",
    "RightSettings",
    "Target",
    "add_rights",
    "build_local_conf",
    "dump_local_conf",
    "load_local_conf",
    "parse_local_conf",
    "write_local_conf",
]
