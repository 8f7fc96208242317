"""Making such a file from what is offered, whole or not at all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from digiid.exchange.security_server.local_conf.globs import ANY_METHOD, ANY_PATH
from digiid.exchange.security_server.local_conf.reading import CertificateFiles, compile_settings, parse_local_conf
from digiid.exchange.security_server.local_conf.shape import (
    ClientSettings,
    EndpointSettings,
    LocalConfSettings,
    Mode,
    RightSettings,
    ServiceSettings,
)
from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import Party, ServiceId
from digiid.platform.config import Settings


@dataclass(frozen=True, slots=True)
class Offer:
    """Endpoints of a service and who may use them; several offers of one service are put together."""

    service: ServiceId
    endpoints: tuple[tuple[str, str], ...]  # (method, path below the service code); none: the whole service
    allowed: frozenset[Party]
    base_url: str
    tls_certificate: bytes | None = None  # DER
    description_url: str = ""
    timeout_seconds: float = 60.0


def build_local_conf(
    clients: Mapping[Party, Iterable[bytes]], offers: Iterable[Offer] = (), *, mode: Mode = "SSLAUTH"
) -> LocalConfSettings:
    """The settings of a server with these clients (certificates of their information systems, DER) and their offers.

    Raises: Malformed `exchange.local_conf.invalid`.
    """
    by_service: dict[ServiceId, list[Offer]] = {}
    for offer in offers:
        by_service.setdefault(offer.service, []).append(offer)
    unknown = [str(service) for service in by_service if service.provider not in clients]
    if unknown:
        raise Malformed("exchange.local_conf.invalid", f"services of no client of this server: {', '.join(unknown)}")
    try:
        return LocalConfSettings(
            clients=tuple(
                ClientSettings(
                    id=str(client),
                    mode=mode,
                    certificates=tuple(map(_pem, certificates)),
                    services=tuple(
                        _service_settings(service, found)
                        for service, found in by_service.items()
                        if service.provider == client
                    ),
                    rights=tuple(
                        right
                        for service, found in by_service.items()
                        if service.provider == client
                        for right in _right_settings(service, found)
                    ),
                )
                for client, certificates in clients.items()
            )
        )
    except ValidationError as error:
        raise Malformed("exchange.local_conf.invalid", str(error)) from error


def add_rights(settings: LocalConfSettings, rights: Iterable[tuple[ServiceId, RightSettings]]) -> LocalConfSettings:
    """The settings with these rights at services of theirs besides; one that is there already stays once.

    Raises: Malformed `exchange.local_conf.invalid`, no such service or endpoint.
    """
    by_provider: dict[str, list[RightSettings]] = {}
    for service, right in rights:
        by_provider.setdefault(str(service.provider), []).append(right)
    if unknown := by_provider.keys() - {client.id for client in settings.clients}:
        raise Malformed("exchange.local_conf.invalid", f"services of no client of this server: {', '.join(unknown)}")
    try:
        clients = [
            # made anew and not copied, so that it is checked
            ClientSettings(
                **{name: getattr(client, name) for name in ClientSettings.model_fields if name != "rights"},
                rights=tuple(dict.fromkeys((*client.rights, *by_provider.get(client.id, ())))),
            )
            for client in settings.clients
        ]
        return LocalConfSettings(version=settings.version, clients=tuple(clients))
    except ValidationError as error:
        raise Malformed("exchange.local_conf.invalid", str(error)) from error


def _service_settings(service: ServiceId, offers: Sequence[Offer]) -> ServiceSettings:
    first = offers[0]
    endpoints = dict.fromkeys(endpoint for offer in offers for endpoint in offer.endpoints)
    return ServiceSettings(
        code=service.service_code,
        type="OPENAPI" if first.description_url else "REST",
        base_url=first.base_url,
        tls_certificate=_pem(first.tls_certificate) if first.tls_certificate else "",
        timeout_seconds=first.timeout_seconds,
        endpoints=tuple(_endpoint_settings(each) for each in endpoints),
        description_url=first.description_url,
    )


def _right_settings(service: ServiceId, offers: Sequence[Offer]) -> Iterator[RightSettings]:
    for offer in offers:
        for client in sorted(offer.allowed, key=str):
            for method, path in offer.endpoints or ((ANY_METHOD, ANY_PATH),):
                # validated as what a file says, since a method is any text here
                yield RightSettings.model_validate(
                    {"client": str(client), "service": service.service_code, "method": method, "path": path}
                )


def _endpoint_settings(endpoint: tuple[str, str]) -> EndpointSettings:
    return EndpointSettings.model_validate({"method": endpoint[0], "path": endpoint[1]})


def _pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii")


def dump_local_conf(settings: LocalConfSettings) -> bytes:
    """The settings as TOML; what is as by default is left out."""
    lines = ["# Clients, services and rights of a security server: docs/reference/local-conf.md", "version = 1"]
    for client in settings.clients:
        lines += ["", "[[clients]]", *_pairs(client, ("id", "mode", "certificates", "enabled"))]
        for name, entries in (("groups", client.groups), ("services", client.services), ("rights", client.rights)):
            for entry in entries:
                lines += ["", f"[[clients.{name}]]", *_pairs(entry, type(entry).model_fields)]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _pairs(model: Settings, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        value, default = getattr(model, name), type(model).model_fields[name].default
        if value not in (default, ()):
            yield f"{name} = {_toml(value)}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, EndpointSettings):
        return f"{{ method = {_toml(value.method)}, path = {_toml(value.path)} }}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    text = str(value)
    if text.startswith("-----BEGIN") and "'" not in text:
        return f"'''\n{text}'''"
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in text) + '"'


def write_local_conf(file: Path, settings: LocalConfSettings, *, note: str = "") -> None:
    """Write the file whole or not at all; a running server takes it up with its next message. `note`: a line for who
    opens it.

    Raises: Malformed `exchange.local_conf.…` when what would be written cannot be read again.
    """
    content = dump_local_conf(settings)
    if note:
        content = f"# {note}\n".encode() + content
    compile_settings(parse_local_conf(content, name=str(file)), CertificateFiles(file.parent), content)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_bytes(content)
    part.replace(file)
