"""Making the configuration by the clock, and soon after whatever changed, also from beside this process."""

from datetime import timedelta

import structlog

from digiid.exchange.central_server.publishing import Publishing
from digiid.exchange.central_server.use_cases import configuration
from digiid.exchange.central_server.use_cases.deps import Deps
from digiid.kernel.errors import Conflict
from digiid.platform.timers import Timer

_LOOK_EVERY = timedelta(seconds=2)
log = structlog.get_logger("central_server")


class Publisher:
    """Knows what the last configuration was made from."""

    def __init__(self, deps: Deps, publishing: Publishing) -> None:
        self._deps, self._publishing = deps, publishing
        self._seen_entry: int | None = None

    def run(self) -> None:
        """Make one when it is time, or when the journal has entries that it was not made from. Safe at any time."""
        generated_at, newest = configuration.find_generation(self._deps)
        served = self._publishing.published
        if served is not None and generated_at is not None and served.directory.generated_at < generated_at:
            self._take_over()  # a neighbour of this process has made it
        every = timedelta(seconds=self._deps.settings.generate_seconds)
        is_due = generated_at is None or self._deps.clock.now() - generated_at >= every
        if is_due or newest != self._seen_entry or self._publishing.published is None:
            self.publish()
            # as it was before: what was entered meanwhile, its own entry too, is looked at in the next round
            self._seen_entry = newest

    def publish(self) -> None:
        """Make one now. When a newer one is there, that one is served."""
        try:
            self._publishing.put(configuration.publish_configuration(self._deps))
        except Conflict as error:
            log.warning("central_server.not_published", detail=error.detail)
            self._take_over()

    def _take_over(self) -> None:
        published = configuration.find_published(self._deps)
        if published is not None:
            self._publishing.put(published)


def timers(publisher: Publisher) -> tuple[Timer, ...]:
    return (Timer("central.publish", _LOOK_EVERY, publisher.run),)
