"""CAdES signatures in ASiC containers of the test hierarchy, right unless told otherwise. Put together by hand, so that
wrong ones can be made as easily as right ones."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from asn1crypto import cms as asn1_cms
from asn1crypto import tsp as asn1_tsp  # noqa: F401 - names its attributes in `cms`, which is too late after a first use
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats import cms, der
from digiid.formats.asic import MEDIA_TYPE_ASIC_E, MEDIA_TYPE_ASIC_S, DataFile
from digiid.formats.asic.manifest import DataObject, build_asic_manifest
from digiid.formats.cades import ID_DATA, ID_SIGNATURE_TIME_STAMP
from digiid.formats.x509.parts import parts_of
from digiid.formats.x509.signature import hash_identifier
from tests.support.containers import pack
from tests.support.pki import SIGNED_AT, Identity, Pki, shared_pki

_ALGORITHMS = {"p256": "1.2.840.10045.4.3.2", "p384": "1.2.840.10045.4.3.3", "p521": "1.2.840.10045.4.3.4"}
_RSA_SHA256 = der.sequence(der.oid("1.2.840.113549.1.1.11"), b"\x05\x00")
P7S = "application/pkcs7-signature"


@dataclass
class CadesMaker:
    """What to leave out or to change."""

    signer: Identity | None = None
    level: str = "LT"
    signed_at: datetime = SIGNED_AT
    hash_name: str = "sha384"
    over: bytes | None = None  # signed instead of the content
    token_der: bytes | None = None
    ocsp_der: bytes | None = None
    crl_der: bytes | None = None  # in the place of the response
    without: Sequence[str] = ()  # OIDs of signed attributes
    extra: Mapping[str, bytes] = field(default_factory=dict)  # OID to value
    ess_of: x509.Certificate | None = None
    revocation_in_attribute: bool = False
    edit_token: Callable[[bytes], bytes] = lambda token: token
    more_certificates: Sequence[bytes] = ()
    pki: Pki = field(default_factory=shared_pki)

    def sign(self, content: bytes) -> bytes:
        """A detached signature file."""
        signer = self.signer or self.pki.signer
        parts = parts_of(signer.certificate)
        named = (self.ess_of or signer.certificate).public_bytes(Encoding.DER)
        ess = der.sequence(der.sequence(der.sequence(der.octet_string(hashlib.sha256(named).digest()))))
        digest = hashlib.new(self.hash_name, content if self.over is None else self.over).digest()
        values = {
            cms.ID_CONTENT_TYPE: der.oid(ID_DATA),
            cms.ID_MESSAGE_DIGEST: der.octet_string(digest),
            cms.ID_SIGNING_TIME: der.utc_time(self.signed_at),
            cms.ID_SIGNING_CERTIFICATE_V2: ess,
            **self.extra,
        }
        attributes = der.set_of(*(attribute(oid, value) for oid, value in values.items() if oid not in self.without))
        algorithm, signature = self._sign(signer, attributes)
        unsigned, revocation = b"", b""
        if self.level != "B":
            imprint = hashlib.sha256(signature).digest()
            token = self.token_der or self.pki.time_stamp(imprint, gen_at=self.signed_at)
            unsigned = attribute(ID_SIGNATURE_TIME_STAMP, self.edit_token(token))
        if self.level == "LT":
            response = self.ocsp_der or self.pki.ocsp(signer.certificate, at=self.signed_at + timedelta(seconds=1))
            if self.revocation_in_attribute and self.crl_der:
                lists = der.tlv(der.context(0), der.sequence(self.crl_der))
                unsigned += attribute(cms.ID_REVOCATION_VALUES, der.sequence(lists))
            elif self.revocation_in_attribute:
                basic = der.sequence(basic_of(response))
                unsigned += attribute(cms.ID_REVOCATION_VALUES, der.sequence(der.tlv(der.context(1), basic)))
            elif self.crl_der:
                revocation = der.tlv(der.context(1), self.crl_der)
            else:
                inner = der.oid(cms.ID_RI_OCSP_RESPONSE) + response
                revocation = der.tlv(der.context(1), der.tlv(der.context(1), inner))
        info = der.sequence(
            der.integer(1),
            der.sequence(parts.issuer_der, parts.serial_der),
            hash_identifier(self.hash_name),
            b"\xa0" + attributes[1:],
            algorithm,
            der.octet_string(signature),
            der.tlv(der.context(1), unsigned) if unsigned else b"",
        )
        signed_data = der.sequence(
            der.integer(1),
            der.set_of(hash_identifier(self.hash_name)),
            der.sequence(der.oid(ID_DATA)),
            der.tlv(der.context(0), signer.der, self.pki.ca.der, *self.more_certificates),
            revocation,
            der.tlv(der.SET, info),
        )
        return der.sequence(der.oid(cms.ID_SIGNED_DATA), der.tlv(der.context(0), signed_data))

    def _sign(self, signer: Identity, message: bytes) -> tuple[bytes, bytes]:
        key = signer.key
        if isinstance(key, rsa.RSAPrivateKey):
            return _RSA_SHA256, key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        kinds = {256: ("p256", hashes.SHA256()), 384: ("p384", hashes.SHA384()), 521: ("p521", hashes.SHA512())}
        kind, algorithm = kinds[key.curve.key_size]
        return der.sequence(der.oid(_ALGORITHMS[kind])), key.sign(message, ec.ECDSA(algorithm))

    def simple(self, file: DataFile) -> bytes:
        """ASiC-S: one file and its signature."""
        return pack(
            {
                "mimetype": MEDIA_TYPE_ASIC_S.encode(),
                file.name: file.content,
                "META-INF/signature.p7s": self.sign(file.content),
            }
        )

    def extended(self, files: Sequence[DataFile], **changes: bytes) -> bytes:
        """ASiC-E: files, a manifest over them, and its signature."""
        manifest = changes.get("manifest") or manifest_of(files)
        return pack(
            {
                "mimetype": MEDIA_TYPE_ASIC_E.encode(),
                **{file.name: file.content for file in files},
                "META-INF/ASiCManifest001.xml": manifest,
                "META-INF/signature001.p7s": self.sign(manifest),
            }
        )


def manifest_of(files: Sequence[DataFile], *, hash_name: str = "sha256") -> bytes:
    objects = [
        DataObject(file.name, file.media_type, hash_name, hashlib.new(hash_name, file.content).digest())
        for file in files
    ]
    return build_asic_manifest("META-INF/signature001.p7s", objects, signature_media_type=P7S)


def attribute(identifier: str, value: bytes) -> bytes:
    return der.sequence(der.oid(identifier), der.tlv(der.SET, value))


ATS_V3 = "0.4.0.1733.2.4"  # EN 319 122-1 §5.5.3
INDEX_V3 = "0.4.0.19122.1.5"  # §5.5.2
INDEX_OLD = "0.4.0.1733.2.5"  # TS 101 733 §6.4.2
_SIGNED_FIELDS = ("version", "sid", "digest_algorithm", "signed_attrs", "signature_algorithm", "signature")


@dataclass
class Archiver:
    """Puts archive time-stamps into signature files; what to leave out or to change. What is covered is read with
    another library than ours."""

    pki: Pki = field(default_factory=shared_pki)
    unit: Identity | None = None
    hash_name: str = "sha512"
    index_hash_name: str | None = None  # when it is another than the imprint's
    index_oid: str = INDEX_V3
    index_count: int = 1
    names_hash: bool = True
    keeps: Callable[[bytes], bool] = lambda _octets: True  # whether the index names this
    also: Sequence[bytes] = ()  # what it names besides, as certificates
    fields: Sequence[str] = _SIGNED_FIELDS
    edit_token: Callable[[bytes], bytes] = lambda token: token

    def stamp(self, cms_der: bytes, content: bytes, *, at: datetime) -> bytes:
        """The file with one archive time-stamp more."""
        return add_unsigned(cms_der, attribute(ATS_V3, self.token(cms_der, content, at=at)))

    def token(self, cms_der: bytes, content: bytes, *, at: datetime) -> bytes:
        """The archive time-stamp by itself."""
        signed_data = asn1_cms.ContentInfo.load(cms_der)["content"]
        signer = signed_data["signer_infos"][0]
        index = self._index(signed_data, signer)
        octets = signed_data["encap_content_info"]["content_type"].dump()
        octets += hashlib.new(self.hash_name, content).digest()
        octets += b"".join(signer[name].dump() for name in self.fields)
        imprint = hashlib.new(self.hash_name, octets + index).digest()
        token = self.pki.time_stamp(imprint, gen_at=at, hash_name=self.hash_name, unit=self.unit)
        return self.edit_token(add_unsigned(token, *[attribute(self.index_oid, index)] * self.index_count))

    def _index(self, signed_data: asn1_cms.SignedData, signer: asn1_cms.SignerInfo) -> bytes:
        hash_name = self.index_hash_name or self.hash_name
        certificates = [one.dump() for one in signed_data["certificates"]] + list(self.also)
        revocation = [one.dump() for one in signed_data["crls"]] if signed_data["crls"].native else []
        attributes = []
        for one in signer["unsigned_attrs"]:
            if self.index_oid == INDEX_OLD:
                attributes.append(one.dump())
            else:
                attributes += [one["type"].dump() + value.dump() for value in one["values"]]
        lists = (
            der.sequence(
                *(der.octet_string(hashlib.new(hash_name, one).digest()) for one in members if self.keeps(one))
            )
            for members in (certificates, revocation, attributes)
        )
        return der.sequence(hash_identifier(hash_name) if self.names_hash else b"", *lists)


def with_lists_inside(token_der: bytes, *crls_der: bytes, in_attribute: bool = False) -> bytes:
    """A token, or another message, that carries revocation lists; its signature does not cover them."""
    if in_attribute:
        lists = der.tlv(der.context(0), der.sequence(*crls_der))
        return add_unsigned(token_der, attribute(cms.ID_REVOCATION_VALUES, der.sequence(lists)))
    return with_choices(token_der, *crls_der)


def with_choices(token_der: bytes, *choices: bytes) -> bytes:
    """The same message with RevocationInfoChoices beside its certificates."""
    outer = der.read_whole(token_der, max_bytes=1_000_000)
    outer.take(der.OBJECT_IDENTIFIER)
    *parts, signers = outer.take(der.CONTEXT_0).enter().take(der.SEQUENCE).enter().all(limit=8)
    held = (*(one.raw for one in parts), der.tlv(der.CONTEXT_1, *choices), signers.raw)
    return der.sequence(der.oid(cms.ID_SIGNED_DATA), der.tlv(der.CONTEXT_0, der.sequence(*held)))


def add_unsigned(cms_der: bytes, *attributes: bytes) -> bytes:
    """The same message, with more unsigned attributes at its only signer."""
    return with_unsigned(cms_der, lambda there: [*there, *attributes])


def with_unsigned(cms_der: bytes, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """The same message with other unsigned attributes at its only signer."""
    outer = der.read_whole(cms_der, max_bytes=1_000_000)
    outer.take(der.OBJECT_IDENTIFIER)
    parts = outer.take(der.CONTEXT_0).enter().take(der.SEQUENCE).enter().all(limit=8)
    fields = parts.pop().only(der.SEQUENCE).enter().all(limit=8)
    there = [one.raw for one in fields.pop().enter().all(limit=64)] if fields[-1].tag == der.CONTEXT_1 else []
    unsigned = change(there)
    signer = der.sequence(*(one.raw for one in fields), der.tlv(der.CONTEXT_1, *unsigned) if unsigned else b"")
    signed_data = der.sequence(*(one.raw for one in parts), der.tlv(der.SET, signer))
    return der.sequence(der.oid(cms.ID_SIGNED_DATA), der.tlv(der.CONTEXT_0, signed_data))


def basic_of(response_der: bytes) -> bytes:
    """The BasicOCSPResponse inside an OCSPResponse."""
    outer = der.read_whole(response_der, max_bytes=100_000)
    outer.take(der.ENUMERATED)
    inner = outer.take(der.context(0)).enter().take(der.SEQUENCE).enter()
    inner.take(der.OBJECT_IDENTIFIER)
    return inner.take(der.OCTET_STRING).content
