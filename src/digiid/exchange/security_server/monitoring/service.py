"""Who may read the records, and how: two services that every client of a security server has, asked with GET.

X-Road asks for them in SOAP; ours are the same questions and answers in REST:

* `getSecurityServerOperationalData?recordsFrom=…&recordsTo=…[&client=…][&outputSpec=field,field][&compress=gzip]`
* `getSecurityServerHealthData[?client=…]`

The server's owner and the instance's central monitoring client read everything, all others what they took part in.
"""

import gzip
from datetime import datetime
from typing import Any, Final

from digiid.exchange.security_server.monitoring import store
from digiid.exchange.security_server.monitoring.recorder import Monitoring
from digiid.exchange.security_server.monitoring.records import FIELDS
from digiid.exchange.security_server.own_answers import OwnAnswer, json_answer, parse_query
from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import Party, ServerId, ServiceId, parse_party, parse_service_path
from digiid.platform.clock import Clock

OPERATIONAL_DATA: Final = "getSecurityServerOperationalData"
HEALTH_DATA: Final = "getSecurityServerHealthData"
MONITORING_CODES: Final = frozenset((OPERATIONAL_DATA, HEALTH_DATA))

MAX_RECORDS: Final = 10_000
HELD_BACK_SECONDS: Final = 60
_MAX_SECONDS: Final = 10**11
_KNOWN: Final = frozenset(("recordsFrom", "recordsTo", "recordsOffset", "client", "outputSpec", "compress"))
_GZIP_LEVEL: Final = 6
_FILE: Final = "operational-monitoring-data.json.gz"  # what X-Road calls the attachment


class MonitoringService:
    """Answers the two services; reads the database, so run it on a thread."""

    def __init__(
        self, monitoring: Monitoring, server: ServerId, clock: Clock, *, max_records: int = MAX_RECORDS
    ) -> None:
        self._monitoring, self._server, self._clock, self._max_records = monitoring, server, clock, max_records

    def answer(
        self, client: Party, service: ServiceId, method: str, target: str, *, monitoring_client: Party | None
    ) -> OwnAnswer:
        """`client` is who asks, established; `monitoring_client` is the central one, of the global configuration.

        Raises: Refused `exchange.metadata.method`; Malformed `exchange.metadata.…`; Unavailable `db.busy`.
        """
        path, _, query = target.partition("?")
        if method != "GET":
            raise Refused("exchange.metadata.method", "monitoring data is asked for with GET")
        if parse_service_path(path) != (service, "") or service.service_code not in MONITORING_CODES:
            raise Malformed("exchange.metadata.path", "nothing stands below a monitoring service")
        sees_all = client == self._server.owner or (monitoring_client is not None and client == monitoring_client)
        reader = None if sees_all else str(client)
        if service.service_code == OPERATIONAL_DATA:
            return self._operational_data(query, reader)
        wanted = _party(parse_query(query, known=frozenset(("client",))).get("client"))
        if reader is not None and wanted not in (None, reader):
            raise Refused("exchange.access_denied", f"{client} reads its own data only")
        return json_answer(self._monitoring.statistics.health_data(self._clock.now(), provider=reader or wanted))

    def _operational_data(self, query: str, reader: str | None) -> OwnAnswer:
        # 1 which records
        fields = parse_query(query, known=_KNOWN)
        first, last = _seconds(fields, "recordsFrom"), _seconds(fields, "recordsTo")
        if first > last:
            raise Malformed("exchange.metadata.query", "recordsFrom is after recordsTo")
        skip = _seconds(fields, "recordsOffset") if "recordsOffset" in fields else 0
        wanted = _party(fields.get("client"))
        output = _output(fields.get("outputSpec"))
        is_compressed = "compress" in fields
        if is_compressed and fields["compress"] != "gzip":
            raise Malformed("exchange.metadata.query", "compress is gzip, or is left out")
        # 2 none that another record of the same second may still follow
        settled = _settled(self._clock.now())
        with self._monitoring.db.read() as tx:
            found = store.list_records(
                tx,
                first=first,
                last=min(last, settled),
                reader=reader,
                client=wanted,
                skip=skip,
                limit=self._max_records + 1,
            )
        # 3 whole seconds, and from where to go on
        answer: dict[str, Any] = {}
        if len(found) > self._max_records:
            cut = found[self._max_records].stored_at
            whole = [record for record in found if record.stored_at < cut]
            if whole:
                found, answer["nextRecordsFrom"] = whole, cut
            else:  # more in one second than an answer holds
                found = found[: self._max_records]
                answer |= {"nextRecordsFrom": cut, "nextRecordsOffset": (skip if cut == first else 0) + len(found)}
        elif last > settled:
            answer["nextRecordsFrom"] = max(first, settled + 1)
        records = [_select({"monitoringDataTs": record.stored_at, **record.fields}, output) for record in found]
        told = json_answer({"recordsCount": len(records), "records": records, **answer})
        return _compressed(told) if is_compressed else told


def _compressed(told: OwnAnswer) -> OwnAnswer:
    """The same bytes as a gzip file: signed and logged so, whatever hops the message passes."""
    body = gzip.compress(told.body, compresslevel=_GZIP_LEVEL, mtime=0)
    return OwnAnswer(
        told.status, "application/gzip", body, (("Content-Disposition", f'attachment; filename="{_FILE}"'),)
    )


def _settled(now: datetime) -> int:
    return int(now.timestamp()) - HELD_BACK_SECONDS


def _seconds(fields: Any, name: str) -> int:
    text = fields.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) < _MAX_SECONDS):
        raise Malformed("exchange.metadata.query", f"{name} is missing or not a number")
    return int(text)


def _party(text: str | None) -> str | None:
    return None if text is None else str(parse_party(text))


def _output(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    names = frozenset(text.split(","))
    if unknown := names - set(FIELDS):
        raise Malformed("exchange.metadata.query", f"no such field: {min(unknown)[:40]!r}")
    return names | {"monitoringDataTs"}


def _select(record: dict[str, Any], output: frozenset[str] | None) -> dict[str, Any]:
    return record if output is None else {name: value for name, value in record.items() if name in output}
