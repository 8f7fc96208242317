"""Who signed a list, whether it is current, and which lists a list of lists vouches for."""

import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from digiid.formats.hardened_xml import (
    C14N_10,
    base64_of,
    canonicalize,
    canonicalize_root_without,
    is_c14n,
)
from digiid.formats.trusted_list.model import (
    MAX_CERTIFICATE_BYTES,
    NS_DS,
    NS_XADES,
    TYPE_LIST_OF_LISTS,
    Pointer,
    TrustedList,
    VerifiedTrustedList,
)
from digiid.formats.trusted_list.parse import parse_document, parse_root, parse_trusted_list
from digiid.formats.xades.algorithms import (
    DIGEST_METHODS,
    SIGNATURE_METHODS,
    hash_bytes,
    verify_value,
)
from digiid.formats.xades.parse import TYPE_SIGNED_PROPERTIES
from digiid.kernel.errors import Malformed, Refused


def verify_trusted_list(xml: bytes, *, signers: Sequence[x509.Certificate]) -> VerifiedTrustedList:
    """Verify the enveloped signature (TS 119 612 §5.7, annex B) with one of the pinned certificates, byte for byte.

    Whether the list is still current is another question: `check_current`.

    Raises:
        Malformed: `trusted_list.…`.
        Refused: `trusted_list.unsigned`, `.signer` (not a pinned one), `.digest`, `.signature_value`, `.reference`.
    """
    root = parse_document(xml)
    # 1 exactly one signature, a child of the document element
    signatures = root.findall(f"{{{NS_DS}}}Signature")
    if not signatures:
        raise Refused("trusted_list.unsigned", "the list is not signed")
    if len(signatures) > 1:
        raise Refused("trusted_list.reference", "the list has more than one signature")
    signature = signatures[0]
    signed_info = _ds(signature, "SignedInfo")

    # 2 by a pinned signer
    wanted = {certificate.public_bytes(Encoding.DER): certificate for certificate in signers}
    found = [
        base64_of(element, code="trusted_list", max_bytes=MAX_CERTIFICATE_BYTES)
        for element in signature.iterfind(f"{{{NS_DS}}}KeyInfo/{{{NS_DS}}}X509Data/{{{NS_DS}}}X509Certificate")
    ]
    signer = next((wanted[der] for der in found if der in wanted), None)
    if signer is None:
        raise Refused("trusted_list.signer", "the list is not signed by a certificate that was named for it")

    # 3 the value over SignedInfo
    c14n = _algorithm(signed_info, "CanonicalizationMethod")
    method = SIGNATURE_METHODS.get(_algorithm(signed_info, "SignatureMethod"))
    if not is_c14n(c14n) or method is None or method.hash_name == "sha1":
        raise Refused("trusted_list.algorithm", "the list is signed by an algorithm that is not accepted")
    value = base64_of(_ds(signature, "SignatureValue"), code="trusted_list", max_bytes=2048)
    digest = hash_bytes(method.hash_name, canonicalize(signed_info, c14n))
    try:
        key = signer.public_key()
    except ValueError as error:
        raise Refused("trusted_list.signer", "the signer's key cannot be read") from error
    try:
        verify_value(method, key, value, digest=digest)
    except Refused as error:
        raise Refused("trusted_list.signature_value", "the list's signature does not verify") from error

    # 4 SignedInfo covers the whole document, and the signed properties when there are some
    document_transforms: tuple[str, str, bytes] | None = None
    for reference in signed_info.findall(f"{{{NS_DS}}}Reference"):
        hash_name = DIGEST_METHODS.get(_algorithm(reference, "DigestMethod"))
        expected = base64_of(_ds(reference, "DigestValue"), code="trusted_list", max_bytes=64)
        if hash_name is None or hash_name == "sha1":
            raise Refused("trusted_list.algorithm", "a reference is hashed by an algorithm that is not accepted")
        transforms = [
            element.get("Algorithm", "")
            for element in reference.iterfind(f"{{{NS_DS}}}Transforms/{{{NS_DS}}}Transform")
        ]
        if reference.get("Type") == TYPE_SIGNED_PROPERTIES:
            _check_properties(signature, reference.get("URI", ""), transforms, hash_name, expected)
            continue
        if reference.get("URI") not in ("", f"#{root.get('Id')}") or document_transforms is not None:
            raise Refused("trusted_list.reference", "a reference to something other than the whole list")
        if transforms[:1] != [NS_DS + "enveloped-signature"] or len(transforms) > 2:
            raise Refused("trusted_list.reference", "the list is not signed as an enveloped signature")
        document_c14n = transforms[1] if len(transforms) == 2 else C14N_10
        if not is_c14n(document_c14n):
            raise Refused("trusted_list.algorithm", "an unknown canonicalization")
        document_transforms = document_c14n, hash_name, expected
    if document_transforms is None:
        raise Refused("trusted_list.reference", "the signature does not cover the list")
    document_c14n, hash_name, expected = document_transforms
    document = canonicalize_root_without(root, signature, document_c14n)
    if not hmac.compare_digest(hash_bytes(hash_name, document), expected):
        raise Refused("trusted_list.digest", "the list was changed after it was signed")

    # 5 what is returned is read from the very tree that was hashed
    return VerifiedTrustedList(content=parse_root(root), signer=signer)


def _ds(parent: etree._Element, name: str) -> etree._Element:
    found = parent.findall(f"{{{NS_DS}}}{name}")
    if len(found) != 1:
        raise Malformed("trusted_list.structure", f"{len(found)} elements {name} in {etree.QName(parent).localname}")
    return found[0]


def _algorithm(parent: etree._Element, name: str) -> str:
    element = _ds(parent, name)
    if len(element):
        raise Refused("trusted_list.algorithm", f"{name} with parameters")
    return element.get("Algorithm", "")


def _check_properties(
    signature: etree._Element, uri: str, transforms: list[str], hash_name: str, expected: bytes
) -> None:
    path = f"{{{NS_DS}}}Object/{{{NS_XADES}}}QualifyingProperties/{{{NS_XADES}}}SignedProperties"
    found = signature.findall(path)
    if len(found) != 1 or uri != f"#{found[0].get('Id')}" or len(transforms) > 1:
        raise Refused("trusted_list.reference", "the reference to the signed properties is wrong")
    c14n = transforms[0] if transforms else C14N_10
    if not is_c14n(c14n):
        raise Refused("trusted_list.algorithm", "an unknown canonicalization")
    if not hmac.compare_digest(hash_bytes(hash_name, canonicalize(found[0], c14n)), expected):
        raise Refused("trusted_list.digest", "the signed properties of the list were changed")


def check_current(verified: VerifiedTrustedList, *, at: datetime) -> None:
    """The list has not run out (TS 119 612 §5.3.15).

    Raises: Refused `trusted_list.expired`, `trusted_list.not_yet`.
    """
    check_period(verified.content, at=at)


def check_period(content: TrustedList, *, at: datetime) -> None:
    """As `check_current`, by what a list says of itself: for who looks at a list without believing it."""
    if content.next_update_at is None or content.next_update_at < at:
        raise Refused("trusted_list.expired", f"list {content.territory} {content.sequence_number} has run out")
    if content.issued_at > at:
        raise Refused("trusted_list.not_yet", f"list {content.territory} {content.sequence_number} is from the future")


def resolve_trusted_lists(
    documents: Sequence[bytes], *, signers: Sequence[x509.Certificate], at: datetime
) -> tuple[VerifiedTrustedList, ...]:
    """Verify several lists that may point to one another: `signers` are pinned for the first ones, a verified list of
    lists pins the signers of those that it points to (by territory). Every document must be verified in the end.

    Raises:
        Malformed: `trusted_list.…`.
        Refused: `trusted_list.…`, for the first document that nobody vouches for, is changed, or has run out.
    """
    waiting = [(document, parse_trusted_list(document)) for document in documents]
    verified: list[VerifiedTrustedList] = []
    pins: list[tuple[str | None, x509.Certificate]] = [(None, certificate) for certificate in signers]
    while waiting:
        progress = False
        problem: Refused | None = None
        for item in list(waiting):
            document, unverified = item
            usable = [pin for territory, pin in pins if territory in (None, unverified.territory)]
            try:
                result = verify_trusted_list(document, signers=usable)
            except Refused as error:
                if error.code != "trusted_list.signer":
                    raise
                problem = problem or error
                continue
            check_current(result, at=at)
            verified.append(result)
            waiting.remove(item)
            progress = True
            if result.content.list_type == TYPE_LIST_OF_LISTS:
                pins += _pins(result.content.pointers)
        if not progress and problem is not None:
            raise problem
    return tuple(verified)


def _pins(pointers: Iterable[Pointer]) -> list[tuple[str | None, x509.Certificate]]:
    found: list[tuple[str | None, x509.Certificate]] = []
    for pointer in pointers:
        if pointer.territory is None:  # a pin for every territory is what --tl-cert is for, not a pointer
            continue
        for der in pointer.signers_der:
            try:
                found.append((pointer.territory, x509.load_der_x509_certificate(der)))
            except (ValueError, x509.InvalidVersion) as error:
                raise Malformed("trusted_list.certificate", "a pointer's certificate cannot be read") from error
    return found
