"""What a XAdES signature proves by itself: files, signed properties, signature value, signer's certificate.

Trust in the certificate, time and revocation are the validator's (formats/validation).
"""

import hmac
from collections.abc import Callable
from typing import NamedTuple

from asn1crypto import core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import PublicKeyAlgorithmOID

from digiid.formats import der
from digiid.formats.x509.parts import parts_of
from digiid.formats.xades.algorithms import hash_bytes, verify_value
from digiid.formats.xades.parse import CertificateReference, Reference, UnverifiedSignature
from digiid.kernel.errors import Malformed, Refused


class _IssuerSerial(core.Sequence):  # RFC 5035 §5.4.1
    _fields = [  # noqa: RUF012 - asn1crypto's way to declare a structure
        ("issuer", asn1_x509.GeneralNames),
        ("serial_number", core.Integer),
    ]


class VerifiedSignature(NamedTuple):
    """The signature value is made by the key of `certificate` over these files and these properties."""

    signature: UnverifiedSignature
    certificate: x509.Certificate
    certificate_der: bytes


FindDigest = Callable[[Reference], bytes | None]


def find_signing_certificate(signature: UnverifiedSignature) -> tuple[x509.Certificate, bytes]:
    """The certificate in KeyInfo that the signed properties name (EN 319 102-1 §5.2.3).

    Raises:
        Refused: `xades.certificate.missing`, none in KeyInfo; `xades.certificate.unsigned`, the signed properties name
            none; `xades.certificate.mismatch`, another one is named.
        Malformed: `xades.certificate.der`.
    """
    if not signature.certificates_der:
        raise Refused("xades.certificate.missing", "there is no signing certificate in KeyInfo")
    if not signature.certificate_references:
        raise Refused("xades.certificate.unsigned", "the signed properties do not name the signing certificate")
    for reference in signature.certificate_references:
        for certificate_der in signature.certificates_der:
            if hmac.compare_digest(hash_bytes(reference.hash_name, certificate_der), reference.digest):
                try:
                    certificate = x509.load_der_x509_certificate(certificate_der)
                except (ValueError, x509.InvalidVersion) as error:
                    raise Malformed("xades.certificate.der", "the signing certificate cannot be read") from error
                _check_issuer_serial(reference, certificate)
                return certificate, certificate_der
    raise Refused("xades.certificate.mismatch", "the signed properties name another certificate than KeyInfo has")


def _check_issuer_serial(reference: CertificateReference, certificate: x509.Certificate) -> None:
    if reference.serial_number is None and reference.issuer_serial_der is None:
        return
    wrong = Refused("xades.certificate.mismatch", "issuer and serial number in the signed properties do not match")
    if reference.serial_number is not None and reference.serial_number != certificate.serial_number:
        raise wrong
    if reference.issuer_serial_der is not None:
        try:
            value = _IssuerSerial.load(reference.issuer_serial_der, strict=True)  # type: ignore[no-untyped-call]
            names = [name.chosen.untag().dump() for name in value["issuer"] if name.name == "directory_name"]
            serial_number = value["serial_number"].native
        except (ValueError, TypeError) as error:
            raise Malformed("xades.certificate.issuer_serial", "IssuerSerialV2 cannot be read") from error
        if serial_number != certificate.serial_number or parts_of(certificate).issuer_der not in names:
            raise wrong


def verify_signature(signature: UnverifiedSignature, find_digest: FindDigest) -> VerifiedSignature:
    """Verify one signature. `find_digest` gives the digest of a data file, or None if there is no such file.

    Raises:
        Refused: `xades.certificate.…` no signing certificate; `xades.reference.missing` a signed file is not there;
            `xades.reference.digest` a file or the signed properties were changed; `xades.key_mismatch`,
            `xades.signature_value` the value is not the certificate's.
        Malformed: `xades.certificate.der`.
    """
    # 1 who signed, in the signer's own signed words
    certificate, certificate_der = find_signing_certificate(signature)

    # 2 what was signed
    for reference in signature.references:
        digest = find_digest(reference)
        if digest is None:
            raise Refused("xades.reference.missing", f"the signed file {reference.name!r} is not there")
        if not hmac.compare_digest(digest, reference.digest):
            raise Refused("xades.reference.digest", f"the file {reference.name!r} is not the one that was signed")
    properties_digest = hash_bytes(signature.properties_hash_name, signature.signed_properties)
    if not hmac.compare_digest(properties_digest, signature.properties_digest):
        raise Refused("xades.reference.digest", "the signed properties were changed")

    # 3 the value
    key = signer_key(certificate)
    digest = hash_bytes(signature.method.hash_name, signature.signed_info)
    verify_value(signature.method, key, signature.signature_value, digest=digest)
    return VerifiedSignature(signature=signature, certificate=certificate, certificate_der=certificate_der)


def signer_key(certificate: x509.Certificate) -> PublicKeyTypes:
    """The signer's key. Chips of 2015-2017 in the field hold RSA certificates whose modulus lacks its leading zero
    octet, so that DER calls it negative; the number that was meant is not in doubt, and it is what verifies.

    Raises: Malformed `xades.certificate.der`.
    """
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        key = _read_rsa_with_negative_modulus(certificate)
        if key is None:
            raise Malformed("xades.certificate.der", "the signing certificate's key cannot be read") from error
        return key


def _read_rsa_with_negative_modulus(certificate: x509.Certificate) -> rsa.RSAPublicKey | None:
    parts = parts_of(certificate)
    if certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5:
        return None
    reader = der.read_whole(parts.public_key_bits, max_bytes=4096)
    modulus, exponent = reader.take(der.INTEGER), reader.take(der.INTEGER)
    reader.finish()
    try:
        numbers = rsa.RSAPublicNumbers(der.read_integer(exponent), int.from_bytes(modulus.content, "big"))
        return numbers.public_key()
    except ValueError:
        return None
