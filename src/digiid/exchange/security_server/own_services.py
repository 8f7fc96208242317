"""The services that every client of a security server has without offering them: metadata and operational data.

They come and go like any other message, signed and logged; only the information system is this server itself.
"""

import asyncio
from typing import Final

from digiid.exchange.security_server.local_conf import LocalConf
from digiid.exchange.security_server.metadata import METADATA_CODES, Directory, MetadataService
from digiid.exchange.security_server.monitoring import MONITORING_CODES, MonitoringService
from digiid.exchange.security_server.own_answers import OwnAnswer
from digiid.kernel.errors import Refused
from digiid.kernel.identifiers import Party, ServiceId

OWN_CODES: Final = METADATA_CODES | MONITORING_CODES


class OwnServices:
    """Answers whatever has a service code of `OWN_CODES`."""

    def __init__(self, metadata: MetadataService, monitoring: MonitoringService | None) -> None:
        self._metadata, self._monitoring = metadata, monitoring

    async def answer(
        self,
        client: Party,
        service: ServiceId,
        method: str,
        target: str,
        *,
        local: LocalConf,
        conf: Directory,
    ) -> OwnAnswer:
        """`client` is who asks, established; `target` the signed path and query.

        Raises: as MetadataService.answer and MonitoringService.answer.
        """
        if service.service_code in METADATA_CODES:
            return await self._metadata.answer(client, service, method, target, local=local, conf=conf)
        if service.service_code not in MONITORING_CODES or self._monitoring is None:
            raise Refused("exchange.unknown_service", f"no service {service}")
        provider = local.find_client(service.provider)
        if provider is None or not provider.is_enabled:
            raise Refused("exchange.unknown_service", f"{service.provider} is no client of this server")
        return await asyncio.to_thread(
            self._monitoring.answer, client, service, method, target, monitoring_client=conf.optional.monitoring_client
        )
