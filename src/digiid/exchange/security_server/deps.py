"""What both directions of a security server work with."""

from collections.abc import Callable
from dataclasses import dataclass

from digiid.exchange.global_conf import GlobalConf
from digiid.exchange.message_log import MessageLog
from digiid.exchange.security_server.information_systems import InformationSystems
from digiid.exchange.security_server.local_conf import LocalConfFile
from digiid.exchange.security_server.maintenance import MaintenanceSwitch
from digiid.exchange.security_server.monitoring import Monitoring
from digiid.exchange.security_server.own_services import OwnServices
from digiid.exchange.security_server.peers import Peers
from digiid.exchange.security_server.places import Places
from digiid.exchange.security_server.settings import SecurityServerSettings
from digiid.exchange.security_server.signing_keys import Signers
from digiid.exchange.security_server.spool import SpoolFolder
from digiid.exchange.security_server.turns import Turns
from digiid.kernel.identifiers import ServerId
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy


@dataclass(frozen=True, slots=True)
class Deps:
    """`find_conf` gives the configuration that is good now, or raises Unavailable `exchange.global_conf_outdated`;
    `own_responses` the OCSP responses about our authentication certificate, or raises Unavailable `exchange.ocsp.…`.
    """

    server: ServerId
    settings: SecurityServerSettings
    clock: Clock
    entropy: Entropy
    find_conf: Callable[[], GlobalConf]
    own_responses: Callable[[], tuple[bytes, ...]]
    local: LocalConfFile
    log: MessageLog
    monitoring: Monitoring
    maintenance: MaintenanceSwitch
    signers: Signers
    peers: Peers
    systems: InformationSystems
    own_services: OwnServices
    spools: SpoolFolder
    outgoing: Places
    incoming: Places
    turns: Turns
