"""Logged messages as ASiC-E containers, for whoever they belong to, and the configuration that verifies them.

`/asic` and `/verificationconf` of a security server's inner side, as functions: parameters in, file out.
"""

import base64
import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy.engine import Connection

from digiid.exchange.global_conf.view import GlobalConf
from digiid.exchange.message_log import store
from digiid.exchange.message_log.database import LogDatabase
from digiid.exchange.message_log.entries import LoggedMessage
from digiid.exchange.message_log.time_stamping import build_tree
from digiid.formats.asic import MEDIA_TYPE_ASIC_E
from digiid.formats.asic.archive import build_archive, build_part
from digiid.formats.exchange.hash_chain import HashTree
from digiid.formats.exchange.message_container import BatchTimeStamp, build_message_container
from digiid.formats.exchange.message_signature import BODY
from digiid.kernel.errors import Broken, Conflict, Malformed, NotFound, Refused
from digiid.kernel.identifiers import Party

MAX_MESSAGES: Final = 200  # of one message id, in one answer
MAX_ANSWER_BYTES: Final = 128 * 1024**2
_MAX_TREES: Final = 8
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._+-]")
_MAX_NAME_CHARS: Final = 120
_PARTY: Final = ("xRoadInstance", "memberClass", "memberCode", "subsystemCode")
_FLAGS: Final = ("requestOnly", "responseOnly", "unique", "force")
QUERY_PARAMETERS: Final = frozenset(("queryId", *_PARTY, *_FLAGS))


@dataclass(frozen=True, slots=True)
class ContainerQuery:
    """What somebody asks for of their own messages. `force`: also those without a time stamp."""

    message_id: str
    request_only: bool = False
    response_only: bool = False
    unique: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """A file to give out."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


def parse_container_query(parameters: Mapping[str, Sequence[str]], *, client: Party) -> ContainerQuery:
    """Read the parameters of `/asic`. `client` is who has authenticated: nobody else's messages are given out.

    Raises: Malformed `exchange.message_log.query`; Refused `exchange.message_log.not_yours`.
    """
    # 1 only what is known, and once
    if not parameters.keys() <= QUERY_PARAMETERS or any(len(each) != 1 for each in parameters.values()):
        raise Malformed("exchange.message_log.query", "an unknown parameter, or one that is there twice")
    if "queryId" not in parameters or not all(name in parameters for name in _PARTY[:3]):
        raise Malformed("exchange.message_log.query", f"needed are queryId, {', '.join(_PARTY[:3])}")
    flags = [name in parameters and parameters[name][0].lower() != "false" for name in _FLAGS]
    if flags[0] and flags[1]:
        raise Malformed("exchange.message_log.query", "requestOnly and responseOnly exclude each other")
    # 2 whose they are
    named = "/".join(parameters[name][0] for name in _PARTY if name in parameters)
    if named != str(client):
        raise Refused("exchange.message_log.not_yours", "only the client itself gets its messages")
    return ContainerQuery(parameters["queryId"][0], *flags)


def get_containers(db: LogDatabase, query: ContainerQuery, *, client: Party) -> FileAnswer:
    """One container, when `unique` was said, else a ZIP of all.

    Raises:
        NotFound: `exchange.message_log.no_message`.
        Conflict: `exchange.message_log.not_stamped`, ask again in a minute, or with `force`;
            `exchange.message_log.not_unique`.
        Refused: `exchange.message_log.too_many`.
        Unavailable: `exchange.logging_failed`, `db.busy`. Broken: `exchange.message_log.damaged`.
    """
    is_response = False if query.request_only else True if query.response_only else None
    builder = ContainerBuilder()
    with db.read() as tx:
        # 1 which
        found = store.find_messages(
            tx, query.message_id, party=str(client), is_response=is_response, limit=MAX_MESSAGES + 1
        )
        if not found:
            raise NotFound("exchange.message_log.no_message", "no message of this client has this id")
        if query.unique and len(found) > 1:
            raise Conflict("exchange.message_log.not_unique", f"{len(found)} messages have this id")
        if len(found) > MAX_MESSAGES:
            raise Refused("exchange.message_log.too_many", f"more than {MAX_MESSAGES} messages have this id")
        # 2 with their evidence
        if not query.force and found[-1].number > store.find_stamped_through(tx):
            raise Conflict("exchange.message_log.not_stamped", "not all of these messages are time-stamped yet")
        files, size = {}, 0
        for message in store.get_messages(tx, [each.number for each in found]):
            container = builder.build(tx, message)
            size += len(container)
            if size > MAX_ANSWER_BYTES:
                raise Refused("exchange.message_log.too_many", f"more than {MAX_ANSWER_BYTES} bytes")
            files[name_of(message)] = (container, message.at)
    # 3 as a file
    if query.unique:
        ((name, (container, _)),) = files.items()
        return FileAnswer(name, MEDIA_TYPE_ASIC_E, container)
    parts = [build_part(name, container, at=at, compress=False) for name, (container, at) in files.items()]
    return FileAnswer(f"{_in_name(query.message_id)}.zip", "application/zip", build_archive(parts))


def build_verification_conf(conf: GlobalConf, *, at: datetime) -> FileAnswer:
    """The configuration that a verifier needs, in X-Road's layout."""
    parts = [build_part(f"verificationconf/{name}", data, at=at) for name, data in conf.verification_files().items()]
    return FileAnswer("verificationconf.zip", "application/zip", build_archive(parts))


def name_of(message: LoggedMessage) -> str:
    """`{message id}-request|response-{record number in base 32}.asice`; the number makes it unique in this log."""
    number = base64.b32encode(message.number.to_bytes(8, "big").lstrip(b"\0")).decode().rstrip("=").lower()
    return f"{_in_name(message.message_id)}-{message.direction}-{number}.asice"


def _in_name(message_id: str) -> str:
    return _NOT_IN_NAMES.sub("_", message_id)[:_MAX_NAME_CHARS].lstrip(".-") or "message"


class ContainerBuilder:
    """Puts a message and its evidence together. Trees of time stamps are kept for the messages that come next."""

    def __init__(self) -> None:
        self._trees: OrderedDict[int, tuple[store.TimeStampRecord, HashTree, dict[int, int]]] = OrderedDict()

    def build(self, tx: Connection, message: LoggedMessage) -> bytes:
        """The container; without a time stamp if the message has none yet.

        Raises: Broken `exchange.message_log.damaged`, what is stored is not what was logged or stamped.
        """
        _check_digests(message)
        return build_message_container(
            None if message.is_reduced else message.message,
            {} if message.body is None else {BODY[1:]: message.body},
            message.signature_xml,
            hash_chain=message.hash_chain,
            batch=self._find_batch(tx, message),
            at=message.at,
            reduced=message.message if message.is_reduced else None,
        )

    def _find_batch(self, tx: Connection, message: LoggedMessage) -> BatchTimeStamp | None:
        stamped = next((each for each in self._trees.values() if message.number in each[2]), None)
        if stamped is None:
            stamp = store.find_time_stamp(tx, message.number)
            if stamp is None:
                return None
            stamped = stamp, build_tree(stamp.leaves), {number: at for at, number in enumerate(stamp.numbers)}
            self._trees[stamp.numbers[-1]] = stamped
            if len(self._trees) > _MAX_TREES:
                self._trees.popitem(last=False)
        stamp, tree, places = stamped
        if tree.result != stamp.result or message.number not in places:
            raise Broken("exchange.message_log.damaged", f"record {message.number} has not the time stamp that it had")
        place = places[message.number]
        if stamp.leaves[place] != message.signature_sha512:
            raise Broken("exchange.message_log.damaged", f"record {message.number} was changed after its time stamp")
        return BatchTimeStamp(tree.chain_of(place), stamp.token_der)


def _check_digests(message: LoggedMessage) -> None:
    kept = [(message.signature_xml, message.signature_sha512)]
    kept += [] if message.is_reduced else [(message.message, message.message_sha512)]
    kept += [] if message.body is None else [(message.body, message.body_sha512 or b"")]
    if any(hashlib.sha512(content).digest() != digest for content, digest in kept):
        raise Broken("exchange.message_log.damaged", f"record {message.number} is not what was logged")
