"""Containers whose signatures have archive time-stamps, by any units at any times, right and wrong."""

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from digiid.formats.asic import parse_container
from digiid.formats.trusted_list import GRANTED, TSA_QTST, ListedService, VerifiedTrust
from digiid.formats.x509.crl import RevokedEntry, build_crl
from digiid.formats.xades import plan_archive_time_stamp
from tests.support.containers import SIGNATURES, changed
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    DAY,
    UNIT_EXTENSIONS,
    Identity,
    Pki,
    distinguished_name,
    make_certificate,
    new_key,
)

YEAR = 365 * DAY


def make_unit(
    pki: Pki, name: str, *, issuer: Identity | None = None, since: datetime, until: datetime, kind: str = "p384"
) -> Identity:
    """A time-stamping unit of its own years."""
    return make_certificate(
        distinguished_name(name, organization="TEST"),
        new_key(kind),
        issuer or pki.root,
        UNIT_EXTENSIONS,
        not_before=since,
        not_after=until,
    )


def make_units_of_years(pki: Pki, count: int) -> tuple[Identity, list[Identity]]:
    """A CA that lists may name, and units of it, each in use for three years and one every two: nothing but a later
    time-stamp proves what one did in its time."""
    authority = make_certificate(
        distinguished_name("TEST TSA CA"),
        new_key(),
        pki.root,
        CA_EXTENSIONS,
        not_before=AT - YEAR,
        not_after=AT + 40 * YEAR,
    )
    units = [
        make_unit(pki, f"TEST Unit {n}", issuer=authority, since=AT + n * 2 * YEAR - DAY, until=AT + (n * 2 + 3) * YEAR)
        for n in range(count)
    ]
    return authority, units


def list_with(unit: Identity, *, issuer: Identity, revoked_at: datetime) -> bytes:
    """A revocation list with a unit in it, made when the unit was revoked."""
    return build_crl(
        issuer=issuer.certificate,
        key=issuer.key,  # type: ignore[arg-type]
        entries=[RevokedEntry(unit.certificate.serial_number, revoked_at, "keyCompromise")],
        number=1,
        this_update_at=revoked_at,
        next_update_at=revoked_at + DAY,
    )


def with_unit(pki: Pki, unit: Identity) -> Pki:
    """The same hierarchy, stamping with another unit."""
    return replace(pki, tsu=unit)


def trust_in(pki: Pki, *listed: x509.Certificate) -> VerifiedTrust:
    """The hierarchy's list with more time-stamping services."""
    services = [
        ListedService(TSA_QTST, f"TEST TSA {n}", certificate, GRANTED, AT - 390 * DAY)
        for n, certificate in enumerate(listed)
    ]
    return pki.trust(services=[*pki.services(), *services])


def archived(
    container: bytes,
    pki: Pki,
    *,
    at: datetime,
    unit: Identity | None = None,
    hash_name: str = "sha512",
    signature_id: str = "S0",
    imprint: bytes | None = None,
    name: str = SIGNATURES,
    edit_token: Callable[[bytes], bytes] = lambda token: token,
) -> bytes:
    """The container with an archive time-stamp more; `imprint` makes one over something else."""
    parsed = parse_container(io.BytesIO(container))
    entry = parsed.archive.find(name)
    assert entry is not None
    xml = parsed.read_signature_file(entry)

    def stream(file_name: str) -> object:
        return parsed.archive.stream(parsed.find_data_file(file_name))  # type: ignore[arg-type]

    plan = plan_archive_time_stamp(xml, signature_id, stream=stream, hash_name=hash_name)  # type: ignore[arg-type]
    token = rsa_time_stamp if unit is not None and isinstance(unit.key, rsa.RSAPrivateKey) else pki.time_stamp
    token_der = token(imprint or plan.imprint, gen_at=at, hash_name=hash_name, unit=unit)
    return changed(container, {name: plan.apply(edit_token(token_der))})


def rsa_time_stamp(imprint: bytes, *, gen_at: datetime, hash_name: str, unit: Identity | None) -> bytes:
    """A token by a unit with an RSA key, put together with another library."""
    from asn1crypto import algos, cms, core, tsp
    from asn1crypto import x509 as asn1_x509

    assert unit is not None
    certificate = asn1_x509.Certificate.load(unit.der)
    info = tsp.TSTInfo(
        {
            "version": "v1",
            "policy": "0.4.0.2023.1.1",
            "message_imprint": {"hash_algorithm": {"algorithm": hash_name}, "hashed_message": imprint},
            "serial_number": 1,
            "gen_time": gen_at,
        }
    )
    content = info.dump()
    digest = hashes.Hash(hashes.SHA256())
    digest.update(content)
    own = hashes.Hash(hashes.SHA256())
    own.update(unit.der)
    attributes = cms.CMSAttributes(
        [
            {"type": "content_type", "values": ["tst_info"]},
            {"type": "message_digest", "values": [digest.finalize()]},
            {
                "type": "signing_certificate_v2",
                "values": [tsp.SigningCertificateV2({"certs": [{"cert_hash": own.finalize()}]})],
            },
        ]
    )
    from cryptography.hazmat.primitives.asymmetric import padding

    assert isinstance(unit.key, rsa.RSAPrivateKey)
    signer = {
        "version": "v1",
        "sid": cms.SignerIdentifier(
            "issuer_and_serial_number",
            {"issuer": certificate.issuer, "serial_number": certificate.serial_number},
        ),
        "digest_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
        "signed_attrs": attributes,
        "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_rsa"}),
        "signature": unit.key.sign(attributes.dump(), padding.PKCS1v15(), hashes.SHA256()),
    }
    signed_data = cms.SignedData(
        {
            "version": "v3",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {
                "content_type": "tst_info",
                "content": core.ParsableOctetString(content),
            },
            "certificates": [certificate],
            "signer_infos": [signer],
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed_data}).dump())
