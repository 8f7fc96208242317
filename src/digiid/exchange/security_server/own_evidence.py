"""`/asic` and `/verificationconf` on the inner side: a client's own messages as containers, and what verifies them."""

import asyncio
from collections.abc import Callable
from typing import Final

from digiid.exchange.global_conf.view import GlobalConf
from digiid.exchange.message_log import MessageLog
from digiid.exchange.message_log.containers import (
    QUERY_PARAMETERS,
    FileAnswer,
    build_verification_conf,
    get_containers,
    parse_container_query,
)
from digiid.exchange.security_server.own_answers import OwnAnswer, parse_query
from digiid.exchange.security_server.wire_codes import RequestError
from digiid.kernel.errors import Conflict, Malformed, NotFound, Refused
from digiid.kernel.identifiers import Party
from digiid.platform.clock import Clock

ASIC: Final = "/asic"
VERIFICATION_CONF: Final = "/verificationconf"


async def answer_asic(log: MessageLog, query: str, client: Party) -> OwnAnswer:
    """`client` has authenticated.

    Raises: RequestError around what parse_container_query and get_containers refuse; Unavailable, Broken as they do.
    """
    try:
        parameters = {name: [value] for name, value in parse_query(query, known=QUERY_PARAMETERS).items()}
        wanted = parse_container_query(parameters, client=client)
        return _download(await asyncio.to_thread(get_containers, log.db, wanted, client=client))
    except (Malformed, Refused, NotFound, Conflict) as error:
        raise RequestError(error) from error


async def answer_verification_conf(find_conf: Callable[[], GlobalConf], clock: Clock) -> OwnAnswer:
    """Raises: Unavailable `exchange.global_conf_outdated`."""
    return _download(await asyncio.to_thread(build_verification_conf, find_conf(), at=clock.now()))


def _download(file: FileAnswer) -> OwnAnswer:
    disposition = ("Content-Disposition", f'attachment; filename="{file.name}"')
    return OwnAnswer(200, file.media_type, file.content, (disposition,))
