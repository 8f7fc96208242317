"""Declarations from a TOML file: how the information authority enters what it has approved.

A declaration never changes: who consented, consented to its words. What may change is whether it is valid; another
text or scope is another declaration, with another identifier.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from digiid.institutions.information_authority.consents.domain import (
    DataCategory,
    PurposeDeclaration,
    ServiceDeclaration,
    Texts,
    check_purpose_declaration,
    check_service_declaration,
)
from digiid.kernel.errors import Malformed

_MAX_BYTES: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Declarations:
    services: tuple[ServiceDeclaration, ...]
    purposes: tuple[PurposeDeclaration, ...]


def read_declarations(file: Path, *, origins: Mapping[str, str]) -> Declarations:
    """Read `[[service]]` and `[[purpose]]` tables. `{site}` in a callback stands for that site's origin.

    Raises: Malformed `consent.declaration`, naming the file.
    """
    try:
        data = file.read_bytes()
        if len(data) > _MAX_BYTES:
            raise ValueError("too long")
        content = tomllib.loads(data.decode())
        if content.keys() - {"service", "purpose"}:
            raise ValueError("only [[service]] and [[purpose]] tables are read")
        services = tuple(_service(table) for table in content.get("service", []))
        purposes = tuple(_purpose(table, origins) for table in content.get("purpose", []))
        for service in services:
            check_service_declaration(service)
        for purpose in purposes:
            check_purpose_declaration(purpose)
    except OSError as error:
        raise Malformed("consent.declaration", f"{file}: {error.strerror}") from error
    except Malformed as error:
        raise Malformed("consent.declaration", f"{file}: {error.detail}") from error
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise Malformed("consent.declaration", f"{file}: {type(error).__name__}: {error}") from error
    return Declarations(services, purposes)


def _service(table: dict[str, Any]) -> ServiceDeclaration:
    _only(table, ServiceDeclaration)
    values = table | {name: Texts(**table[name]) for name in ("name", "description")}
    values["categories"] = tuple(
        DataCategory(category["code"], Texts(category["en"], category["et"])) for category in table["categories"]
    )
    return ServiceDeclaration(**(values | {"expires_at": _instant(table["expires_at"])}))


def _purpose(table: dict[str, Any], origins: Mapping[str, str]) -> PurposeDeclaration:
    _only(table, PurposeDeclaration)
    values = table | {name: Texts(**table[name]) for name in ("service_name", "name", "purpose", "refusal")}
    values["callbacks"] = tuple(callback.format_map(origins) for callback in table["callbacks"])
    return PurposeDeclaration(**(values | {"expires_at": _instant(table["expires_at"])}))


def _only(table: dict[str, Any], kind: type[ServiceDeclaration] | type[PurposeDeclaration]) -> None:
    if unknown := table.keys() - {field.name for field in fields(kind)}:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("expires_at is an instant with its time zone")
    return value.astimezone(UTC)
