"""What everybody fetches at the programs' address: certificates, revocation lists, the trusted list.

Held as bytes; jobs put the newest in the place of the former.
"""

import threading
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import structlog
from cryptography import x509

from digiid.formats.x509.parts import certificate_der
from digiid.formats.x509.profile import COMMON_NAME, SLUGS, CertificateKind, DocumentPolicy
from digiid.institutions.trust_services.ca import use_cases as ca
from digiid.institutions.trust_services.hierarchy import Hierarchy, renew_responder
from digiid.institutions.trust_services.ocsp.responder import Responder
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.institutions.trust_services.trusted_list import use_cases as trusted_list
from digiid.institutions.trust_services.web.programs import File
from digiid.platform.db import Database

CAS: Final = (CertificateKind.ROOT_CA, CertificateKind.ISSUING_CA, CertificateKind.TSA_CA)

log = structlog.get_logger("trust_services")


class Publishing:
    """The files of one hierarchy, which changes when the responder's certificate is renewed."""

    def __init__(
        self, hierarchy: Hierarchy, settings: TrustServicesSettings, *, ca_deps: ca.Deps, list_database: Database
    ) -> None:
        """Raises: Malformed or Broken when the key that signs the trusted list cannot be read."""
        self._hierarchy, self._settings, self._ca, self._list_database = hierarchy, settings, ca_deps, list_database
        self._list_key = hierarchy.load_key(CertificateKind.TRUSTED_LIST_SIGNER, settings.passphrase_file)
        self._lock = threading.Lock()
        self._files: dict[str, File] = {}

    def find(self, path: str) -> File | None:
        return self._files.get(path)

    def publish_list(self) -> None:
        """The trusted list, signed anew when what it tells has changed or its next update comes near."""
        now = self._hierarchy
        deps = trusted_list.Deps(
            db=self._list_database,
            clock=self._ca.clock,
            profile=now.profile,
            key=self._list_key,
            certificate=now.certificate(CertificateKind.TRUSTED_LIST_SIGNER),
            issuing=now.issuing,
            responder=now.certificate(CertificateKind.OCSP_RESPONDER),
            tsu=now.certificate(CertificateKind.TIME_STAMPING_UNIT),
        )
        self._put("/tl.xml", trusted_list.publish_list(deps).xml, b"application/vnd.etsi.tsl+xml")

    def publish_crls(self) -> None:
        for kind in CAS:
            crl = ca.find_crl(self._ca, kind)
            if crl is not None:
                self._put(f"/crl/{crl.ca}.crl", crl.crl_der, b"application/pkix-crl")

    def publish_certificates(self) -> None:
        for kind, certificate in self._hierarchy.certificates.items():
            self._put(f"/certs/{SLUGS[kind]}.crt", certificate_der(certificate), b"application/pkix-cert")

    def renew_responder(self, responder: Responder) -> None:
        """Renew the responder's certificate when it is time, where the CA's key is at hand, and tell of it."""
        if not self._hierarchy.has_key(CertificateKind.ISSUING_CA):
            return
        passphrase = self._settings.passphrase_file
        renewed = renew_responder(
            self._hierarchy, passphrase_path=passphrase, clock=self._ca.clock, entropy=self._ca.entropy
        )
        if renewed is self._hierarchy:
            return
        self._hierarchy = renewed
        certificate = renewed.certificate(CertificateKind.OCSP_RESPONDER)
        responder.use(certificate, renewed.load_key(CertificateKind.OCSP_RESPONDER, passphrase))
        self.publish_certificates()
        self.publish_list()
        log.info("trust_services.responder_renewed", valid_until=certificate.not_valid_after_utc.isoformat())

    def describe_crls(self) -> Mapping[str, bool]:
        """Whether each CA's revocation list is there."""
        return {kind.value: self.find(f"/crl/{SLUGS[kind]}.crl") is not None for kind in CAS}

    def page_context(self) -> Mapping[str, object]:
        """For the page that lists what there is to fetch."""
        hierarchy = self._hierarchy
        return {
            "organization": hierarchy.profile.names.organization,
            "base_url": hierarchy.profile.base_url,
            "certificates": [
                {
                    "name": _common_name(certificate),
                    "path": f"/certs/{SLUGS[kind]}.crt",
                    "valid_until": f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S}",
                    "fingerprint": sha256(certificate_der(certificate)).hexdigest(),
                }
                for kind, certificate in hierarchy.certificates.items()
            ],
            "crls": [
                {"name": _common_name(hierarchy.certificate(kind)), "path": f"/crl/{SLUGS[kind]}.crl"} for kind in CAS
            ],
            "policies": {policy.value: policy.oid for policy in DocumentPolicy},
        }

    def _put(self, path: str, content: bytes, media_type: bytes) -> None:
        with self._lock:
            self._files = {**self._files, path: (content, media_type)}


def _common_name(certificate: x509.Certificate) -> str:
    values = certificate.subject.get_attributes_for_oid(x509.ObjectIdentifier(COMMON_NAME))
    return str(values[0].value)
