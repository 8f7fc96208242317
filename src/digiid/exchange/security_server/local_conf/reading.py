"""Reading the file and compiling it; certificates that it names by path lie beside it."""

import hashlib
import tomllib
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from digiid.exchange.security_server.local_conf.globs import ANY_METHOD, compile_glob
from digiid.exchange.security_server.local_conf.rights import (
    EVERYTHING,
    Endpoint,
    Grant,
    LocalClient,
    LocalConf,
    LocalService,
    Rights,
    Target,
)
from digiid.exchange.security_server.local_conf.shape import (
    MAX_CERTIFICATE_BYTES,
    ClientSettings,
    LocalConfSettings,
    ServiceSettings,
    read_party,
)
from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import Party, ServiceId, parse_client_id

MAX_FILE_BYTES: Final = 4 * 1024 * 1024


def load_local_conf(file: Path) -> LocalConf:
    """Read and compile a file; certificates that it names by path are read beside it.

    Raises: Malformed `exchange.local_conf.unreadable`, `….invalid` (naming each wrong key), `….certificate`.
    """
    return read_file(file)[0]


def parse_local_conf(content: bytes, *, name: str = "local configuration") -> LocalConfSettings:
    """The settings in a file's content. Raises: Malformed `exchange.local_conf.unreadable`, `….invalid`."""
    if len(content) > MAX_FILE_BYTES:
        raise Malformed("exchange.local_conf.unreadable", f"{name} is larger than {MAX_FILE_BYTES} bytes")
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise Malformed("exchange.local_conf.unreadable", f"{name}: {error}") from error
    try:
        return LocalConfSettings.model_validate(values)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in wrong[:20])
        more = f"; and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise Malformed("exchange.local_conf.invalid", f"{name}: {problems}{more}") from error


def read_file(file: Path) -> tuple[LocalConf, tuple[Path, ...]]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Malformed("exchange.local_conf.unreadable", f"{file}: {error.strerror}") from error
    settings = parse_local_conf(content, name=str(file))
    certificates = CertificateFiles(file.parent)
    return compile_settings(settings, certificates, content), tuple(certificates.files)


class CertificateFiles:
    """Reads certificates that stand in the file (PEM) or beside it, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, bytes] = {}
        self.files: list[Path] = []

    @property
    def seen(self) -> bytes:
        return b"".join(self._known.values())

    def read(self, place: str) -> bytes:
        if place not in self._known:
            self._known[place] = self._read(place)
        return self._known[place]

    def _read(self, place: str) -> bytes:
        name = "a certificate in the file"
        if "-----BEGIN" in place:
            content = place.encode("utf-8")
        else:
            name = place
            file = self._folder / place
            self.files.append(file)
            try:
                with file.open("rb") as stream:
                    content = stream.read(MAX_CERTIFICATE_BYTES + 1)
            except (OSError, ValueError) as error:
                raise Malformed("exchange.local_conf.certificate", f"{name}: {error}") from error
        try:
            if len(content) > MAX_CERTIFICATE_BYTES:
                raise ValueError("too large")
            load = x509.load_pem_x509_certificate if b"-----BEGIN" in content else x509.load_der_x509_certificate
            return load(content).public_bytes(Encoding.DER)
        except ValueError as error:
            raise Malformed("exchange.local_conf.certificate", f"{name} is not a certificate: {error}") from error


def compile_settings(settings: LocalConfSettings, certificates: CertificateFiles, content: bytes) -> LocalConf:
    clients, services = [], []
    for client in settings.clients:
        ders = frozenset(certificates.read(each) for each in client.certificates)
        clients.append(LocalClient(read_party(client.id), client.mode, ders, client.enabled))
        services += [_compile_service(client, each, certificates) for each in client.services]
    return LocalConf(clients, services, digest=hashlib.sha256(content + certificates.seen).digest())


def _compile_service(client: ClientSettings, service: ServiceSettings, certificates: CertificateFiles) -> Rights:
    certificate = certificates.read(service.tls_certificate) if service.tls_certificate else None
    target = Target(service.base_url, certificate, service.timeout_seconds, EVERYTHING)
    members = {group.code: tuple(map(read_party, group.members)) for group in client.groups}
    by_client: dict[Party, list[Grant]] = {}
    by_global_group: dict[str, list[Grant]] = {}
    for right in client.rights:
        if right.service != service.code:
            continue
        allowed = Target(
            target.base_url, target.tls_certificate, target.timeout_seconds, Endpoint(right.method, right.path)
        )
        grant = Grant(None if right.method == ANY_METHOD else right.method, compile_glob(right.path), allowed)
        if right.global_group:
            by_global_group.setdefault(right.global_group, []).append(grant)
            continue
        for party in (read_party(right.client),) if right.client else members[right.local_group]:
            by_client.setdefault(party, []).append(grant)
    compiled = LocalService(
        id=ServiceId(parse_client_id(client.id), service.code),
        type=service.type,
        target=target,
        endpoints=tuple(Endpoint(each.method, each.path) for each in service.endpoints),
        description_url=service.description_url,
        disabled_notice=service.disabled_notice or None,
    )
    return Rights(
        compiled,
        compiled.id.path,
        {party: tuple(grants) for party, grants in by_client.items()},
        {code: tuple(grants) for code, grants in by_global_group.items()},
    )
