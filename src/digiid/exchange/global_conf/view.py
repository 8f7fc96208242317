"""One verified global configuration, and everything that is asked of it. Immutable: a newer one is another object."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from digiid.exchange.global_conf.trust import JudgedPath, TrustJudge
from digiid.formats.global_conf import CaInfo, OptionalParts, PrivateParams, SecurityServer, SharedParams
from digiid.formats.ocsp import VerifiedOcsp
from digiid.formats.x509.parts import certificate_der
from digiid.formats.x509.remembered import once_per_certificate
from digiid.kernel.errors import Refused
from digiid.kernel.identifiers import ClientId, MemberId, Party, ServerId

SHARED_FILE: Final = "shared-params.xml"
PRIVATE_FILE: Final = "private-params.xml"
INSTANCE_FILE: Final = "instance-identifier"

_encoded = once_per_certificate(certificate_der)


class GlobalConf:
    """Members, servers and services of an instance; trust in certificates at an instant.

    `expires_at` is when it stops being good; `fetched_at` when it was last confirmed to be the newest. A configuration
    that was loaded from a folder without its signature has no end: it is for judging what was stored long ago.
    """

    def __init__(
        self,
        shared: SharedParams,
        *,
        shared_xml: bytes,
        version: int,
        expires_at: datetime,
        fetched_at: datetime,
        generated_at: datetime | None = None,
        private: PrivateParams | None = None,
        optional: OptionalParts | None = None,
        before: "GlobalConf | None" = None,
    ) -> None:
        """`before`: the configuration in hand; when it says the same, what was judged by it stays remembered."""
        self.shared, self.private = shared, private
        self.optional = optional or OptionalParts()
        self.shared_xml, self.version = shared_xml, version
        self.expires_at, self.fetched_at, self.generated_at = expires_at, fetched_at, generated_at
        verify_next_update = self.optional.verify_next_update
        self._judge: TrustJudge = (
            before._judge
            if before is not None
            and before.shared_xml == shared_xml
            and before.optional.verify_next_update == verify_next_update
            else TrustJudge(shared, verify_next_update=verify_next_update)
        )
        self._names: Mapping[Party, str] = {
            party: member.name for member in shared.members for party in member.parties()
        }
        self._subsystem_names: Mapping[Party, str | None] = {
            party: subsystem.name
            for member in shared.members
            for party, subsystem in zip(member.parties()[1:], member.subsystems, strict=True)
        }
        self._servers = {server.id: server for server in shared.servers}
        self._server_of_hash = {each: server for server in shared.servers for each in server.auth_certificate_hashes}
        self._servers_of: dict[Party, tuple[SecurityServer, ...]] = {}
        for server in shared.servers:
            for client in server.clients | {server.id.owner}:
                self._servers_of[client] = (*self._servers_of.get(client, ()), server)
        self._groups = {group.code: group.members for group in shared.groups}

    @property
    def instance(self) -> str:
        return self.shared.instance

    @property
    def ocsp_freshness(self) -> timedelta:
        """How old an OCSP response may be when it is used."""
        return self._judge.ocsp_freshness

    # -------------------------------------------------------------- who is there

    def is_member(self, party: Party) -> bool:
        """The member, or the subsystem, is registered."""
        return party in self._names

    def name_of(self, party: Party) -> str | None:
        """The name of the member, or of the member whose subsystem it is; None when it is not registered."""
        return self._names.get(party)

    def subsystem_name_of(self, client: ClientId) -> str | None:
        """A subsystem's own name, if it has one."""
        return self._subsystem_names.get(client)

    def find_server(self, server_id: ServerId) -> SecurityServer | None:
        return self._servers.get(server_id)

    def servers_of(self, client: Party) -> tuple[SecurityServer, ...]:
        """The servers at which the client is registered, or which it owns; those in maintenance as well."""
        return self._servers_of.get(client, ())

    def server_of_authentication_certificate(self, certificate_der: bytes) -> SecurityServer | None:
        """The server at which this certificate is registered, by its SHA-256."""
        return self._server_of_hash.get(hashlib.sha256(certificate_der).digest())

    def is_client_of(self, party: Party, server_id: ServerId) -> bool:
        """The party is registered at that server; its owner is, without being listed (X-Road's message transport)."""
        server = self._servers.get(server_id)
        return server is not None and (party in server.clients or party == server_id.owner)

    def is_in_group(self, party: Party, code: str) -> bool:
        """The party itself is listed in the global group: a member's subsystems are not, by that alone."""
        return party in self._groups.get(code, frozenset())

    # -------------------------------------------------------------- whom to trust

    def verify_signer(
        self,
        certificate: x509.Certificate,
        *,
        extra_certificates: Sequence[x509.Certificate] = (),
        ocsp_ders: Sequence[bytes],
        member: MemberId,
        at: datetime,
    ) -> None:
        """The certificate signs for `member`, and did so at `at`.

        `extra_certificates` may stand between it and an approved CA. `ocsp_ders`: one response for each certificate of
        the path but the topmost, in any order.

        Raises: Refused `exchange.trust.usage`, not for signing; `.authority`, no approved CA; `.path`; `.certificate`;
            `.profile`, `.member`, it is somebody else's; `.ocsp_missing`, `.ocsp`, `.ocsp_status` (revoked, unknown),
            `.ocsp_outdated`.
        """
        self._judge.verify_signer(
            certificate, extra_certificates=extra_certificates, ocsp_ders=ocsp_ders, member=member, at=at
        )

    def verify_authentication(
        self, certificate: x509.Certificate, *, ocsp_ders: Sequence[bytes], at: datetime
    ) -> SecurityServer:
        """The security server whose authentication certificate this is, and was good at `at`.

        Raises: Refused `exchange.trust.unregistered`, no server has it; and what verify_signer raises but for members.
        """
        server = self.server_of_authentication_certificate(_encoded(certificate))
        if server is None:
            text = "the certificate is registered at no security server; what is new is known everywhere in two minutes"
            raise Refused("exchange.trust.unregistered", text)
        self._judge.verify_authentication(certificate, ocsp_ders=ocsp_ders, at=at)
        return server

    def check_path(self, certificate: x509.Certificate, *, is_signing: bool, at: datetime) -> JudgedPath:
        """Usage and path of one of our own certificates, before there are OCSP responses. Raises: as verify_signer."""
        return self._judge.check_path(certificate, is_signing=is_signing, at=at)

    def check_response(
        self, response_der: bytes, *, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
    ) -> VerifiedOcsp:
        """One OCSP response by the rules of the exchange, before it is kept. Raises: Refused `exchange.trust.ocsp…`."""
        return self._judge.check_response(response_der, certificate=certificate, issuer=issuer, at=at)

    def verify_time_stamping_unit(self, certificate: x509.Certificate, at: datetime) -> None:
        """The certificate is an approved time-stamping unit's, byte for byte, and was valid at `at`.

        Raises: Refused `exchange.trust.time_stamping_unit`.
        """
        self._judge.verify_time_stamping_unit(certificate, at)

    def chain_of(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """The certificate and the approved authorities above it, leaf first, without the topmost: those that OCSP is
        asked about. By names alone; nothing is verified.

        Raises: Refused `exchange.trust.authority`.
        """
        return self._judge.chain_of(certificate)

    def issuer_of(self, certificate: x509.Certificate) -> CaInfo:
        """The approved authority that issued it, with its responders. Raises: Refused `exchange.trust.authority`."""
        return self._judge.issuer_of(certificate)

    def tls_roots(self) -> list[x509.Certificate]:
        """What a TLS context has to trust for handshakes to complete; everything else is judged after them."""
        return self._judge.tls_roots()

    # -------------------------------------------------------------- handing it on

    def verification_files(self) -> dict[str, bytes]:
        """The files of X-Road's `verificationconf`, by which others judge containers: `load_folder` reads them back."""
        metadata = {
            "contentIdentifier": "SHARED-PARAMETERS",
            "instanceIdentifier": self.instance,
            "expirationDate": self.expires_at.isoformat(),
            "configurationVersion": str(self.version),
        }
        return {
            INSTANCE_FILE: self.instance.encode(),
            f"{self.instance}/{SHARED_FILE}": self.shared_xml,
            f"{self.instance}/{SHARED_FILE}.metadata": json.dumps(metadata).encode(),
        }
