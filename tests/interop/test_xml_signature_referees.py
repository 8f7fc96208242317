"""signxml and python-xmlsec verify our signatures and lists; pyHanko verifies the time-stamps inside."""

import io

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from digiid.formats.asic import DataFile, decode_uri
from digiid.formats.hardened_xml import C14N_11
from digiid.formats.trusted_list import NS_DS
from digiid.formats.xades import choose_method, parse_signatures
from digiid.formats.xades.algorithms import hash_bytes
from tests.support.loops import run_async
from tests.support.pki import AT, FILES, Identity, person, shared_pki

pytestmark = pytest.mark.interop

KINDS = [("p256", False), ("p384", False), ("p521", False), ("rsa", False), ("rsa", True)]
CONTENTS = {file.name: file.content for file in FILES}


def signed(kind: str, *, pss: bool = False) -> tuple[bytes, Identity]:
    signer = shared_pki().issue(person("SIGNER", "38001085718"), kind=kind)
    method = choose_method(signer.certificate.public_key(), pss=pss)
    return shared_pki().sign(FILES, signer=signer, level="B", method=method), signer


@pytest.mark.parametrize(("kind", "pss"), KINDS)
def test_signxml_verifies_level_b(kind: str, pss: bool) -> None:
    signxml = pytest.importorskip("signxml")
    xml, signer = signed(kind, pss=pss)
    root = etree.fromstring(xml)

    def resolve(uri: str) -> bytes:
        return CONTENTS[decode_uri(uri)]

    configuration = signxml.SignatureConfiguration(
        require_x509=True, expect_references=len(FILES) + 1, location="./", default_reference_c14n_method=None
    )
    results = signxml.XMLVerifier().verify(
        etree.tostring(root[0]),
        x509_cert=signer.certificate.public_bytes(Encoding.PEM).decode(),
        uri_resolver=resolve,
        expect_config=configuration,
    )
    assert len(results) == len(FILES) + 1


@pytest.mark.parametrize(("kind", "pss"), KINDS)
def test_xmlsec_verifies_level_b_and_notices_a_change(kind: str, pss: bool) -> None:
    xmlsec = pytest.importorskip("xmlsec")
    xml, signer = signed(kind, pss=pss)

    def verify(document: bytes, contents: dict[str, bytes]) -> None:
        xmlsec.cleanup_callbacks()
        xmlsec.register_callbacks(
            lambda uri: decode_uri(uri.decode() if isinstance(uri, bytes) else uri) in contents,
            lambda uri: io.BytesIO(contents[decode_uri(uri.decode() if isinstance(uri, bytes) else uri)]),
            lambda stream, buffer: stream.readinto(buffer),
            lambda stream: stream.close(),
        )
        try:
            root = etree.fromstring(document)
            xmlsec.tree.add_ids(root, ["Id"])
            context = xmlsec.SignatureContext()
            context.key = xmlsec.Key.from_memory(
                signer.certificate.public_bytes(Encoding.PEM), xmlsec.KeyFormat.CERT_PEM
            )
            context.verify(root[0])
        finally:
            xmlsec.cleanup_callbacks()
            xmlsec.register_default_callbacks()

    verify(xml, CONTENTS)
    with pytest.raises(xmlsec.Error):
        verify(xml, {**CONTENTS, FILES[0].name: b"something else"})
    with pytest.raises(xmlsec.Error):
        verify(xml.replace(b"text/plain", b"text/html!"), CONTENTS)


def test_xmlsec_canonicalizes_as_we_do() -> None:
    """C14N 1.1 by libxml2 over our signed info is what our signer hashed."""
    xmlsec = pytest.importorskip("xmlsec")
    xml, signer = signed("p384")
    root = etree.fromstring(xml)
    info = root.find(f"{{{NS_DS}}}Signature/{{{NS_DS}}}SignedInfo")
    assert info is not None
    assert info[0].get("Algorithm") == C14N_11
    (signature,) = parse_signatures(xml)
    key = xmlsec.Key.from_memory(signer.certificate.public_bytes(Encoding.PEM), xmlsec.KeyFormat.CERT_PEM)
    context = xmlsec.SignatureContext()
    context.key = key
    context.verify_binary(signature.signed_info, xmlsec.Transform.ECDSA_SHA384, signature.signature_value)


def test_pyhanko_verifies_the_time_stamp_inside() -> None:
    pytest.importorskip("pyhanko")
    from asn1crypto import cms
    from asn1crypto import x509 as asn1_x509
    from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
    from pyhanko.sign.validation.status import TimestampSignatureStatus
    from pyhanko_certvalidator import ValidationContext

    pki = shared_pki()
    (signature,) = parse_signatures(pki.sign((DataFile("a.txt", "text/plain", b"x"),)))
    (stamp,) = signature.signature_time_stamps
    imprint = hash_bytes("sha256", signature.canonical_signature_value(stamp.c14n))
    roots = [asn1_x509.Certificate.load(pki.root.der)]
    context = ValidationContext(trust_roots=roots, moment=AT, allow_fetching=False)
    signed_data = cms.ContentInfo.load(stamp.token_der)["content"]
    found = run_async(validate_tst_signed_data(signed_data, context, expected_tst_imprint=lambda _: imprint))
    status = TimestampSignatureStatus(**found)
    assert status.intact and status.valid and status.trusted
    wrong = run_async(validate_tst_signed_data(signed_data, context, expected_tst_imprint=lambda _: bytes(32)))
    assert not TimestampSignatureStatus(**wrong).intact


def test_signxml_verifies_our_trusted_list() -> None:
    signxml = pytest.importorskip("signxml")
    pki = shared_pki()
    configuration = signxml.SignatureConfiguration(require_x509=True, expect_references=2, location="./")
    signer = pki.list_signer.certificate.public_bytes(Encoding.PEM).decode()
    results = signxml.XMLVerifier().verify(pki.trusted_list(), x509_cert=signer, expect_config=configuration)
    assert results[0].signed_xml.tag.endswith("TrustServiceStatusList")


def test_we_verify_level_b_of_signxml_as_a_list_signature() -> None:
    """An enveloped signature made by signxml over our list, with its own canonicalization choices."""
    signxml = pytest.importorskip("signxml")
    from digiid.formats.trusted_list import build_trusted_list, verify_trusted_list

    pki = shared_pki()
    certificate = pki.list_signer.certificate
    signer = signxml.XMLSigner(
        method=signxml.methods.enveloped, signature_algorithm="ecdsa-sha256", c14n_algorithm=C14N_11
    )
    root = signer.sign(
        etree.fromstring(build_trusted_list(pki.list_content())),
        key=pki.list_signer.key,
        cert=certificate.public_bytes(Encoding.PEM).decode(),
    )
    assert verify_trusted_list(etree.tostring(root), signers=[certificate]).content.territory == "EE"
