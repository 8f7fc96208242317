"""Telling the board of a card that is not what it says: through the site's own outbox, so that no report is lost."""

from sqlalchemy import Table

from digiid.contracts.police_board import REPORT_ANOMALY, ReportAnomaly
from digiid.exchange.client import Client
from digiid.platform import outbox
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.web.sign_in import AnomalousCard

KIND = "report_anomaly"


class AnomalyReports:
    """The reports of one institution's sites. `bell` wakes the worker of its outbox, the table `table`."""

    def __init__(self, db: Database, table: Table, exchange: Client, entropy: Entropy, bell: outbox.Bell) -> None:
        self._db, self._table, self._exchange, self._entropy, self._bell = db, table, exchange, entropy, bell

    def put(self, card: AnomalousCard, *, place: str) -> None:
        """Write the report down and wake the worker."""
        report = ReportAnomaly(
            report_id=new_id(self._entropy),
            kind=card.kind,
            place=place,
            observed_at=card.observed_at,
            personal_code=card.personal_code,
            certificate_sha256=card.certificate_sha256,
            note=card.note,
        )
        with self._db.write() as tx:
            outbox.put(
                tx,
                self._table,
                message_id=report.report_id,
                kind=KIND,
                payload=report.model_dump(mode="json"),
                at=card.observed_at,
            )
        self._bell()

    def deliver(self, message: outbox.OutboxMessage) -> None:
        """The outbox handler for `KIND`."""
        self._exchange.call(
            REPORT_ANOMALY, ReportAnomaly.model_validate(message.payload), message_id=message.message_id
        )
