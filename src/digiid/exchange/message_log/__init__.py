"""The message log: every message that a security server sends or receives, kept as evidence.

In the order in which things happen to a message:

* `log.MessageLog.record` writes it, in groups (`writer`), before it goes on its way;
* `time_stamping` stamps many at once over a hash tree, and says when no more may be accepted without;
* `containers` gives it out as ASiC-E, with the configuration that verifies it;
* `archiving` puts stamped messages into chained, encrypted archives (`archive_files`) and deletes old rows;
* `verifying` judges archives and containers offline.

docs/protocols/message-log.md is the specification.
"""

from digiid.exchange.message_log.entries import LogEntry, LoggedMessage, StampingState
from digiid.exchange.message_log.log import MessageLog
from digiid.exchange.message_log.settings import ArchiveSettings, MessageLogSettings
from digiid.exchange.message_log.time_stamping import TimeStampAuthority, authorities_of

__all__ = [
    "ArchiveSettings",
    "LogEntry",
    "LoggedMessage",
    "MessageLog",
    "MessageLogSettings",
    "StampingState",
    "TimeStampAuthority",
    "authorities_of",
]
