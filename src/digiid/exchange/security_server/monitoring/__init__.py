"""Operational monitoring (X-Road pr-opmon): which messages passed, when, how large, how they ended; not what
they said.

`records` is one message's record and its published names, `store` the database of its own, `service` who may read it,
`recorder` the buffer between messages and database, which no message ever waits for. `statistics` are the counters.
"""

from digiid.exchange.security_server.monitoring.recorder import Monitoring, MonitoringSettings
from digiid.exchange.security_server.monitoring.records import OperationalRecord
from digiid.exchange.security_server.monitoring.service import MONITORING_CODES, MonitoringService

__all__ = ["MONITORING_CODES", "Monitoring", "MonitoringService", "MonitoringSettings", "OperationalRecord"]
