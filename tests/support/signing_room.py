"""What signing needs over real HTTP on loopback: trust services of the test hierarchy, signers of any kind."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from cryptography import x509

from digiid.formats.asic import parse_container
from digiid.formats.trusted_list import VerifiedTrust, verify_trusted_list
from digiid.platform.clock import Clock
from digiid.platform.documents import KeySigner, TrustServices
from digiid.platform.entropy import Entropy
from digiid.platform.http import HttpClient
from digiid.platform.trust import AllowedHosts, OcspClient, TsaClient
from tests.support.pki import NATURAL_QSCD, SEAL_QSCD, Identity, Pki, distinguished_name, person, shared_pki
from tests.support.trust_server import TrustServer, running_trust_server


@dataclass(frozen=True)
class SigningRoom:
    server: TrustServer
    pki: Pki
    trust: TrustServices

    @property
    def issuers(self) -> list[x509.Certificate]:
        return [self.pki.ca.certificate]

    def signer(self, surname: str = "SIGNER", *, kind: str = "p384", pss: bool = False) -> KeySigner:
        return self._known(self.pki.issue(person(surname, "38001085718"), kind=kind, extensions=NATURAL_QSCD), pss)

    def seal(self, name: str = "TEST Pagariäri OÜ", *, kind: str = "p256") -> KeySigner:
        subject = distinguished_name(f"{name} e-tempel", organization=name, identifier="NTREE-12345678")
        return self._known(self.pki.issue(subject, kind=kind, extensions=SEAL_QSCD), False)

    def _known(self, identity: Identity, pss: bool) -> KeySigner:
        self.server.knows(identity.certificate)
        return KeySigner(identity.certificate, identity.key, pss=pss)


@contextmanager
def signing_room(clock: Clock, entropy: Entropy) -> Iterator[SigningRoom]:
    with running_trust_server(shared_pki(), clock) as server:
        pki = replace(shared_pki(), aia_base=server.base)
        http = HttpClient(timeout_seconds=10)
        hosts = AllowedHosts.of_urls(server.base)
        verified = verify_trusted_list(pki.trusted_list(), signers=[pki.list_signer.certificate])
        services = TrustServices(
            tsa=TsaClient(http, entropy, clock, address=f"{server.base}/tsa"),
            ocsp=OcspClient(http, entropy, clock, hosts=hosts),
            trust=lambda: VerifiedTrust([verified], at=clock.now()),
            clock=clock,
        )
        yield SigningRoom(server, pki, services)
        http.close()


def packed_entries(container: bytes) -> Mapping[str, tuple[bytes, int, int]]:
    """Every file of a container as it lies there: packed bytes, method, CRC."""
    archive = parse_container(io.BytesIO(container)).archive
    return {entry.name: (archive.read_packed(entry), entry.method, entry.crc) for entry in archive.entries}


def unpacked_entries(container: bytes) -> Mapping[str, bytes]:
    """The same, read by another program's ZIP reader."""
    with zipfile.ZipFile(io.BytesIO(container)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
