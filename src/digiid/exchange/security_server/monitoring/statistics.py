"""Counters of the messages that passed: per service for the last ten minutes, and for Prometheus since the start."""

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from digiid.exchange.security_server.monitoring.records import OperationalRecord
from digiid.kernel.identifiers import ServiceId

PERIOD_SECONDS: Final = 600
_BUCKET_SECONDS: Final = 10
_BUCKETS: Final = PERIOD_SECONDS // _BUCKET_SECONDS
_MAX_SERVICES: Final = 10_000
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(slots=True)
class _Spread:
    """Count, smallest, largest, mean and deviation of what was added."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    smallest: float = math.inf
    largest: float = -math.inf

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value
        self.smallest, self.largest = min(self.smallest, value), max(self.largest, value)

    def merge(self, other: "_Spread") -> None:
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.smallest, self.largest = min(self.smallest, other.smallest), max(self.largest, other.largest)

    def told(self, what: str) -> dict[str, Any]:
        if not self.count:
            return {}
        mean = self.total / self.count
        deviation = math.sqrt(max(0.0, self.squares / self.count - mean * mean))
        return {
            f"requestMin{what}": round(self.smallest),
            f"requestAverage{what}": round(mean, 3),
            f"requestMax{what}": round(self.largest),
            f"request{what}StdDev": round(deviation, 3),
        }


@dataclass(slots=True)
class _Bucket:
    number: int
    succeeded: int = 0
    failed: int = 0
    milliseconds: _Spread = field(default_factory=_Spread)
    request_bytes: _Spread = field(default_factory=_Spread)


@dataclass(slots=True)
class _OfService:
    buckets: list[_Bucket] = field(default_factory=list)
    last_success: datetime | None = None
    last_failure: datetime | None = None


class Statistics:
    """Counts records. Thread-safe; takes microseconds."""

    def __init__(self, started_at: datetime) -> None:
        self._started_at = started_at
        self._services: dict[ServiceId, _OfService] = {}
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._messages = Counter(
            "digiid_exchange_messages", "Messages by role and outcome.", ("role", "outcome"), registry=self._registry
        )
        self._seconds = Histogram(
            "digiid_exchange_message_seconds",
            "Time in this server.",
            ("role",),
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._dropped = Counter(
            "digiid_exchange_monitoring_dropped", "Records lost for want of room.", registry=self._registry
        )
        self._left = Gauge(
            "digiid_exchange_clock_left_seconds",
            "Until a clock stops the exchange.",
            ("clock", "subject"),
            registry=self._registry,
        )
        self._state = Gauge(
            "digiid_exchange_clock_state", "0 ok, 1 warning, 2 stopped.", ("clock", "subject"), registry=self._registry
        )

    def count(self, record: OperationalRecord) -> None:
        outcome = "succeeded" if record.succeeded else "failed"
        self._messages.labels(record.role, outcome).inc()
        seconds = record.seconds
        if seconds is not None:
            self._seconds.labels(record.role).observe(seconds)
        # services that are not there are not counted: anybody could invent more of them than fit here
        if record.role != "Producer" or record.service is None or record.service_type is None:
            return
        at = record.response_out_at or record.request_in_at
        number = int(at.timestamp()) // _BUCKET_SECONDS
        with self._lock:
            if record.service not in self._services and len(self._services) >= _MAX_SERVICES:
                return
            found = self._services.setdefault(record.service, _OfService())
            if not found.buckets or found.buckets[-1].number < number:
                found.buckets = [each for each in found.buckets if each.number > number - _BUCKETS]
                found.buckets.append(_Bucket(number))
            bucket = found.buckets[-1]
            if record.succeeded:
                bucket.succeeded, found.last_success = bucket.succeeded + 1, at
                if seconds is not None:
                    bucket.milliseconds.add(seconds * 1000)
                if record.request_size is not None:
                    bucket.request_bytes.add(record.request_size)
            else:
                bucket.failed, found.last_failure = bucket.failed + 1, at

    def count_dropped(self) -> None:
        self._dropped.inc()

    def health_data(self, now: datetime, *, provider: str | None) -> dict[str, Any]:
        """What getSecurityServerHealthData tells; `provider` narrows to the services of one subsystem."""
        with self._lock:
            events = [
                self._events(service, found, now)
                for service, found in self._services.items()
                if provider is None or str(service.provider) == provider
            ]
        return {
            "monitoringStartupTimestamp": int(self._started_at.timestamp() * 1000),
            "statisticsPeriodSeconds": PERIOD_SECONDS,
            "servicesEvents": events,
        }

    def _events(self, service: ServiceId, found: _OfService, now: datetime) -> dict[str, Any]:
        first = int(now.timestamp()) // _BUCKET_SECONDS - _BUCKETS
        whole = _Bucket(0)
        for bucket in found.buckets:
            if bucket.number > first:
                whole.succeeded += bucket.succeeded
                whole.failed += bucket.failed
                whole.milliseconds.merge(bucket.milliseconds)
                whole.request_bytes.merge(bucket.request_bytes)
        provider = service.provider
        told: dict[str, Any] = {
            "service": {
                "object_type": "SERVICE",
                "xroad_instance": provider.instance,
                "member_class": provider.member_class,
                "member_code": provider.member_code,
                "subsystem_code": provider.subsystem,
                "service_code": service.service_code,
            }
        }
        if found.last_success is not None:
            told["lastSuccessfulRequestTimestamp"] = int(found.last_success.timestamp() * 1000)
        if found.last_failure is not None:
            told["lastUnsuccessfulRequestTimestamp"] = int(found.last_failure.timestamp() * 1000)
        told["lastPeriodStatistics"] = {
            "successfulRequestCount": whole.succeeded,
            "unsuccessfulRequestCount": whole.failed,
            **whole.milliseconds.told("Duration"),
            **whole.request_bytes.told("Size"),
        }
        return told

    def set_clocks(self, clocks: Iterable[tuple[str, str, float | None, int]]) -> None:
        """Tell Prometheus of all clocks there are (clocks.py): name, subject, seconds left, state."""
        self._state.clear()
        self._left.clear()
        for name, subject, left_seconds, state in clocks:
            self._state.labels(name, subject).set(state)
            if left_seconds is not None:
                self._left.labels(name, subject).set(left_seconds)

    def prometheus(self) -> bytes:
        """All counters in Prometheus' text format."""
        return generate_latest(self._registry)
