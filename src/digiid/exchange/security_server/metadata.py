"""Service metadata (X-Road pr-meta, pr-mrest): who is there, what they offer, what of it the asker may use.

`listClients` is asked of the own security server by its information systems. `listMethods`, `allowedMethods` and
`getOpenAPI` are services of every client of a security server: signed and logged like any other. X-Road answers them to
any registered client; ours follow the rights, because its own threat model names the other way as a leak:

* `listMethods`: the services on which the asker has a right to anything, with all their endpoints;
* `allowedMethods`: the same services, with the endpoints that the asker may use;
* `getOpenAPI`: of such a service only.

A provider sees all that it offers itself. docs/protocols/metadata-and-monitoring.md is the specification.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Protocol
from xml.sax.saxutils import escape, quoteattr

import httpx

from digiid.exchange.security_server.local_conf import EVERYTHING, Endpoint, LocalConf, LocalService, Target
from digiid.exchange.security_server.own_answers import OwnAnswer, json_answer, parse_query
from digiid.formats.exchange.faults import wants_xml
from digiid.formats.global_conf.model import Member, OptionalParts, SharedParams
from digiid.formats.yaml_as_json import parse_yaml_as_json
from digiid.kernel.errors import DigiidError, Malformed, Refused, Unavailable
from digiid.kernel.identifiers import ClientId, Party, ServiceId, parse_service_path

LIST_METHODS: Final = "listMethods"
ALLOWED_METHODS: Final = "allowedMethods"
GET_OPENAPI: Final = "getOpenAPI"
METADATA_CODES: Final = frozenset((LIST_METHODS, ALLOWED_METHODS, GET_OPENAPI))

MAX_DESCRIPTION_BYTES: Final = 2 * 1024 * 1024
DESCRIPTION_SECONDS: Final = 10.0
_MAX_DEPTH: Final = 100
_MAX_VALUES: Final = 200_000  # of a description in YAML
_FETCHED_AT_ONCE: Final = 4
_NS_XROAD = "http://x-road.eu/xsd/xroad.xsd"
_NS_IDENTIFIERS = "http://x-road.eu/xsd/identifiers"
_VERBS: Final = frozenset(("get", "put", "post", "delete", "options", "head", "patch", "trace"))

FetchDescription = Callable[[LocalService], Awaitable[bytes]]


class Directory(Protocol):
    """The part of a global configuration (exchange.global_conf.GlobalConf) that is told, or says who may be told."""

    shared: SharedParams
    optional: OptionalParts

    @property
    def instance(self) -> str: ...
    def is_in_group(self, client: Party, code: str) -> bool: ...


# ------------------------------------------------------------------ listClients


def list_clients(conf: Directory, *, query: str = "", accept: str | None = None) -> OwnAnswer:
    """`GET /listClients[?xRoadInstance=X]`: all members and subsystems, as JSON, or as XML if `accept` asks for it.

    Raises: Malformed `exchange.metadata.query`; Refused `exchange.metadata.instance`, another instance.
    """
    wanted = parse_query(query, known=frozenset(("xRoadInstance",))).get("xRoadInstance", conf.instance)
    if wanted != conf.instance:
        raise Refused("exchange.metadata.instance", f"nothing is known of the instance {wanted[:100]!r}")
    entries = [entry for member in conf.shared.members for entry in _entries(member)]
    if wants_xml(accept):
        return OwnAnswer(200, "text/xml; charset=utf-8", _clients_xml(entries))
    return json_answer({"member": [_client_json(*entry) for entry in entries]})


def _entries(member: Member) -> Iterator[tuple[Party, str, str | None]]:
    """(identifier, the member's name, the subsystem's name) of a member and what is below it."""
    names = {each.code: each.name for each in member.subsystems}
    for party in member.parties():
        yield party, member.name, names.get(party.subsystem) if isinstance(party, ClientId) else None


def _client_json(party: Party, name: str, subsystem_name: str | None) -> dict[str, Any]:
    is_subsystem = isinstance(party, ClientId)
    identifier = {
        "object_type": "SUBSYSTEM" if is_subsystem else "MEMBER",
        "xroad_instance": party.instance,
        "member_class": party.member_class,
        "member_code": party.member_code,
    }
    if isinstance(party, ClientId):
        identifier["subsystem_code"] = party.subsystem
    entry: dict[str, Any] = {"id": identifier, "name": name}
    if is_subsystem and subsystem_name is not None:
        entry["subsystem_name"] = subsystem_name
    return entry


def _clients_xml(entries: list[tuple[Party, str, str | None]]) -> bytes:
    parts = [
        f'<?xml version="1.0" encoding="UTF-8"?><xrd:clientList xmlns:xrd="{_NS_XROAD}" xmlns:id="{_NS_IDENTIFIERS}">'
    ]
    for party, name, subsystem_name in entries:
        kind = "SUBSYSTEM" if isinstance(party, ClientId) else "MEMBER"
        parts.append(f"<xrd:member><xrd:id id:objectType={quoteattr(kind)}>")
        fields = [("xRoadInstance", party.instance), ("memberClass", party.member_class)]
        fields.append(("memberCode", party.member_code))
        if isinstance(party, ClientId):
            fields.append(("subsystemCode", party.subsystem))
        parts += [f"<id:{field}>{escape(value)}</id:{field}>" for field, value in fields]
        parts.append(f"</xrd:id><xrd:name>{escape(name)}</xrd:name>")
        if subsystem_name is not None:
            parts.append(f"<xrd:subsystemName>{escape(subsystem_name)}</xrd:subsystemName>")
        parts.append("</xrd:member>")
    parts.append("</xrd:clientList>")
    return "".join(parts).encode("utf-8", "replace")


# ------------------------------------------------------------------ services that every client has


class MetadataService:
    """Answers the three metadata services of this server's clients."""

    def __init__(self, fetch_description: FetchDescription) -> None:
        self._fetch = fetch_description
        self._fetching = asyncio.Semaphore(_FETCHED_AT_ONCE)

    async def answer(
        self, client: Party, service: ServiceId, method: str, target: str, *, local: LocalConf, conf: Directory
    ) -> OwnAnswer:
        """`client` is who asks, established; `target` is the signed one, path and query.

        Raises: Refused `exchange.unknown_service`, `exchange.access_denied`, `exchange.metadata.method`; Malformed
            `exchange.metadata.query`, `exchange.metadata.path`; Unavailable `exchange.information_system`.
        """
        # 1 one way to ask
        path, _, query = target.partition("?")
        if method != "GET":
            raise Refused("exchange.metadata.method", "metadata is asked for with GET")
        if parse_service_path(path) != (service, "") or service.service_code not in METADATA_CODES:
            raise Malformed("exchange.metadata.path", "nothing stands below a metadata service")
        # 2 the provider is here
        provider = local.find_client(service.provider)
        if provider is None or not provider.is_enabled:
            raise Refused("exchange.unknown_service", f"{service.provider} is no client of this server")
        # 3 what the asker may know of
        if service.service_code == GET_OPENAPI:
            return await self._describe(client, service.provider, query, local=local, conf=conf)
        parse_query(query, known=frozenset())
        only_allowed = service.service_code == ALLOWED_METHODS
        listed = [
            _service_json(each, endpoints)
            for each in local.services_of(service.provider)
            if (endpoints := _endpoints(each, client, local, conf, only_allowed=only_allowed)) is not None
        ]
        return json_answer({"service": listed})

    async def _describe(
        self, client: Party, provider: ClientId, query: str, *, local: LocalConf, conf: Directory
    ) -> OwnAnswer:
        # 1 which service
        code = parse_query(query, known=frozenset(("serviceCode",))).get("serviceCode", "")
        if not code:
            raise Malformed("exchange.metadata.query", "the parameter serviceCode is missing")
        service = local.find_service(ServiceId(provider, code))
        if service is None:
            raise Refused("exchange.unknown_service", f"no service {code[:100]!r} of {provider}")
        # 2 may they know of it
        if _endpoints(service, client, local, conf, only_allowed=False) is None:
            raise Refused("exchange.access_denied", f"{client} has no right to {service.id}")
        if service.type != "OPENAPI":
            raise Refused("exchange.metadata.no_description", f"{service.id} has no OpenAPI description")
        # 3 its description, leading through the exchange instead of around it
        try:
            async with self._fetching:
                description = await self._fetch(service)
        except TimeoutError as error:
            raise Unavailable("exchange.information_system.description", "no description in time") from error
        try:
            return json_answer(await asyncio.to_thread(replace_servers, description, url=service.id.path))
        except DigiidError as error:
            raise Unavailable("exchange.information_system.description", f"{service.id}: {error.detail}") from error


def _endpoints(
    service: LocalService, client: Party, local: LocalConf, conf: Directory, *, only_allowed: bool
) -> tuple[Endpoint, ...] | None:
    if client == service.id.provider:
        return service.endpoints
    allowed = local.allowed_endpoints(client, service.id, conf)
    if allowed is None or not only_allowed or allowed == (EVERYTHING,):
        return None if allowed is None else service.endpoints
    return allowed


def _service_json(service: LocalService, endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    provider = service.id.provider
    return {
        "member_class": provider.member_class,
        "member_code": provider.member_code,
        "object_type": "SERVICE",
        "service_code": service.id.service_code,
        "service_type": service.type,
        "subsystem_code": provider.subsystem,
        "xroad_instance": provider.instance,
        "endpoint_list": [{"method": each.method, "path": each.path} for each in endpoints],
    }


# ------------------------------------------------------------------ descriptions


def replace_servers(description: bytes, *, url: str) -> dict[str, Any]:
    """An OpenAPI document, JSON or YAML, whose only server is `url`: addresses of information systems are nobody's
    business.

    Raises: Malformed `exchange.metadata.description`.
    """
    if len(description) > MAX_DESCRIPTION_BYTES:
        raise Malformed("exchange.metadata.description", f"more than {MAX_DESCRIPTION_BYTES} bytes")
    document = _parse(description)
    if not isinstance(document, dict) or not isinstance(document.get("paths", {}), dict):
        raise Malformed("exchange.metadata.description", "not an OpenAPI document")
    if "swagger" in document:  # version 2: RFC 3986 parts at the top
        return {k: v for k, v in document.items() if k not in ("host", "schemes")} | {"basePath": url}
    if not str(document.get("openapi", "")).startswith("3."):
        raise Malformed("exchange.metadata.description", "not an OpenAPI document")
    _check_depth(document)
    components = document.get("components")
    parts = components if isinstance(components, dict) else {}
    for item in (*_dicts(document.get("paths")), *_dicts(document.get("webhooks")), *_dicts(parts.get("pathItems"))):
        _drop_servers(item)
    for callback in _dicts(parts.get("callbacks")):
        for item in _dicts(callback):
            _drop_servers(item)
    for response in _dicts(parts.get("responses")):
        _drop_links(response)
    for link in _dicts(parts.get("links")):
        link.pop("server", None)
    return {**document, "servers": [{"url": url}]}


def _parse(description: bytes) -> Any:
    try:
        return json.loads(description.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        pass  # JSON is tried first: of two keys of one name it takes the last, as it always did
    try:
        return parse_yaml_as_json(description, max_depth=_MAX_DEPTH, max_nodes=_MAX_VALUES)
    except Malformed as error:
        raise Malformed("exchange.metadata.description", f"neither JSON nor such YAML: {error.detail}") from error


def _drop_servers(item: dict[str, Any]) -> None:
    item.pop("servers", None)
    for verb, operation in item.items():
        if verb in _VERBS and isinstance(operation, dict):
            operation.pop("servers", None)
            for response in _dicts(operation.get("responses")):
                _drop_links(response)
            for callback in _dicts(operation.get("callbacks")):
                for inner in _dicts(callback):
                    _drop_servers(inner)


def _drop_links(response: dict[str, Any]) -> None:
    for link in _dicts(response.get("links")):
        link.pop("server", None)


def _dicts(holder: object) -> list[dict[str, Any]]:
    return [each for each in holder.values() if isinstance(each, dict)] if isinstance(holder, dict) else []


def _check_depth(document: object) -> None:
    level: list[Any] = [document]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise Malformed("exchange.metadata.description", "nested too deep")


class DescriptionClient:
    """Fetches descriptions from the information systems of this server: bounded in size and time, no redirects."""

    def __init__(self, context_of: Callable[[bytes], ssl.SSLContext]) -> None:
        """`context_of` gives the TLS context for an information system with this certificate (DER)."""
        self._context_of = context_of

    async def fetch(self, service: LocalService) -> bytes:
        """The service's description. Raises: Unavailable `exchange.information_system.description`."""
        try:
            async with asyncio.timeout(DESCRIPTION_SECONDS), self._client(service.target) as client:
                return await self._read(client, service.description_url)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            raise Unavailable(
                "exchange.information_system.description", f"{service.id}: {type(error).__name__}"
            ) from error

    def _client(self, target: Target) -> contextlib.AbstractAsyncContextManager[httpx.AsyncClient]:
        verify = self._context_of(target.tls_certificate) if target.tls_certificate else False
        return httpx.AsyncClient(verify=verify, timeout=DESCRIPTION_SECONDS, follow_redirects=False, trust_env=False)

    async def _read(self, client: httpx.AsyncClient, url: str) -> bytes:
        body = bytearray()
        async with client.stream(
            "GET", url, headers={"Accept": "application/json, application/yaml;q=0.9, */*;q=0.1"}
        ) as response:
            if response.status_code != 200:
                raise Unavailable("exchange.information_system.description", f"answered {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_DESCRIPTION_BYTES:
                    raise Unavailable("exchange.information_system.description", "the description is too large")
        return bytes(body)
