"""What a security server answers itself, without an information system: metadata, operational data, health."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from digiid.kernel.errors import Malformed

JSON: Final = "application/json; charset=utf-8"
MAX_QUERY_CHARS: Final = 4096
_MAX_FIELDS = 16


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """One whole answer; `headers` are beside Content-Type and Content-Length."""

    status: int
    media_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def json_answer(content: object, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> OwnAnswer:
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return OwnAnswer(status, JSON, body, headers)


def parse_query(query: str, *, known: frozenset[str]) -> Mapping[str, str]:
    """The fields of a query string, each there once. Raises: Malformed `exchange.metadata.query`."""
    if len(query) > MAX_QUERY_CHARS:
        raise Malformed("exchange.metadata.query", "the query is too long")
    try:
        pairs: list[Any] = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError as error:  # also UnicodeDecodeError
        raise Malformed("exchange.metadata.query", "the query cannot be read") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known or name in found:
            raise Malformed("exchange.metadata.query", f"the parameter {name[:40]!r} is not known, or there twice")
        found[name] = value
    return found
