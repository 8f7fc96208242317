"""What is due: whatever a verdict rests on and no archive time-stamp covers is watched, revocation lists as answers.

The signer's CA has an RSA key of 2048 bits, which is accepted until 2029; it signs its lists and its answers itself.
"""

import base64
import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.validation import Report, validate_container
from digiid.formats.validation.pades import validate_pdf
from digiid.formats.xades import parse_signatures
from digiid.platform.documents.extending import find_due
from digiid.platform.documents.time_stamping import Due
from digiid.platform.pdf import read_pdf
from tests.support.archived import YEAR, archived, make_unit, rsa_time_stamp, trust_in
from tests.support.cades import CadesMaker
from tests.support.containers import SIGNATURES, edited, unpack
from tests.support.pdf import pades_maker, plain_pdf, sign_inside, with_store, with_stored_lists, with_time_stamp
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    DAY,
    FILES,
    SIGNED_AT,
    distinguished_name,
    make_certificate,
    new_key,
    person,
    shared_pki,
)

SECOND = timedelta(seconds=1)
STAMPED_AT = AT - 60 * SECOND
WEAK_AT = datetime(2029, 1, 1, tzinfo=UTC)
SHARED = shared_pki()
# Units that outlast everything else here, with keys that do not age.
LONG = make_unit(SHARED, "TEST Long Unit", since=AT - YEAR, until=AT + 30 * YEAR)
LATER = make_unit(SHARED, "TEST Later Unit", since=AT - YEAR, until=AT + 20 * YEAR)
RSA_UNIT = make_unit(SHARED, "TEST RSA Unit", since=AT - YEAR, until=AT + 30 * YEAR, kind="rsa")
RSA_CA = make_certificate(
    distinguished_name("TEST RSA CA", organization="TEST", identifier="NTREE-10000001"),
    new_key("rsa"),
    SHARED.root,
    CA_EXTENSIONS,
)
PKI = replace(SHARED, ca=RSA_CA, tsu=LONG)
SIGNER = PKI.issue(person("WATCHED", "38001085718"))
TRUST = trust_in(PKI, LONG.certificate, LATER.certificate, RSA_UNIT.certificate)


def crl(at: datetime = SIGNED_AT + SECOND) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(RSA_CA.certificate.subject)
        .last_update(at)
        .next_update(at + DAY)
        .add_extension(x509.CRLNumber(7), critical=False)
    )
    return builder.sign(RSA_CA.key, hashes.SHA384()).public_bytes(Encoding.DER)


LIST = crl()
ANSWER = PKI.ocsp(SIGNER.certificate, at=SIGNED_AT + SECOND, responder=RSA_CA, include=())
SHORT_LIVED = PKI.ocsp(SIGNER.certificate, at=SIGNED_AT - DAY, responder=RSA_CA, include=())  # says nothing of then


def maker(**changes: object) -> CadesMaker:
    return pades_maker(**{"pki": PKI, "signer": SIGNER, **changes})


def pdf(data: Callable[[bytes], bytes]) -> bytes:
    return data(sign_inside(plain_pdf(), maker()))


def with_list(content: bytes) -> bytes:
    return with_stored_lists(content, LIST)


def with_answer(content: bytes) -> bytes:
    return with_store(content, maker=maker(), ocsp_der=ANSWER)


def judge(content: bytes, *, at: datetime = AT) -> Report:
    if content.startswith(b"%PDF-"):
        return validate_pdf(read_pdf(content), trust=TRUST, at=at, file_name="x")
    return validate_container(io.BytesIO(content), trust=TRUST, at=at, file_name="x")


def due(content: bytes, *, at: datetime = AT) -> Due | None:
    report = judge(content, at=at)
    assert report.is_valid, report
    return find_due(report, at, ahead=10 * YEAR)


def test_a_ca_whose_list_clears_the_signer_is_watched_as_a_responder_is() -> None:
    for with_data in (with_list, with_answer):
        content = pdf(with_data)
        found = due(content)
        assert found is not None
        assert (found.due_at, found.code) == (WEAK_AT, "documents.due.weak_key")
        assert "status" in found.text
        assert find_due(judge(content), WEAK_AT - 366 * DAY) is None
        assert find_due(judge(content), WEAK_AT - 364 * DAY) == found


def test_so_is_one_in_xml_and_in_cms() -> None:
    xml = PKI.container(signer=SIGNER, ocsp_der=LIST)

    def as_list(text: str) -> str:
        text = text.replace("OCSPValues>", "CRLValues>")
        return text.replace("EncapsulatedOCSPValue", "EncapsulatedCRLValue")

    signed = CadesMaker(pki=PKI, signer=SIGNER, crl_der=LIST).extended(FILES)
    for container in (edited(xml, as_list), signed):
        found = due(container)
        assert found is not None
        assert (found.due_at, found.code) == (WEAK_AT, "documents.due.weak_key")
    assert due(archived(edited(xml, as_list), PKI, at=STAMPED_AT)) is None


def test_a_list_decides_where_an_answer_is_of_no_use() -> None:
    signature = judge(with_stored_lists(with_store(pdf(bytes), maker=maker(), ocsp_der=SHORT_LIVED), LIST)).signatures[
        0
    ]
    assert signature.is_valid
    assert (signature.responder, signature.ocsp_produced_at) == (None, None)
    assert signature.status_signers == (RSA_CA.certificate,)
    both = judge(with_stored_lists(pdf(with_answer), LIST)).signatures[0]
    assert both.responder == RSA_CA.certificate


@pytest.mark.parametrize("with_data", [with_list, with_answer])
def test_what_an_archive_time_stamp_covers_ages_no_more(with_data: Callable[[bytes], bytes]) -> None:
    assert due(with_time_stamp(pdf(with_data), at=STAMPED_AT, unit=LONG)) is None
    # appended behind it, nothing covers the data: it ages as before, whatever was stamped
    late = with_data(with_time_stamp(pdf(bytes), at=STAMPED_AT, unit=LONG))
    found = due(late)
    assert found is not None
    assert found.due_at == WEAK_AT
    assert due(with_time_stamp(late, at=STAMPED_AT, unit=LONG)) is None


def test_of_several_lists_the_one_that_is_proven_first_is_relied_on() -> None:
    covered = with_time_stamp(pdf(with_list), at=STAMPED_AT, unit=LONG)
    more = with_stored_lists(covered, crl(SIGNED_AT + 2 * SECOND))
    assert due(more) is None
    assert judge(more).signatures[0].status_proven_at == STAMPED_AT
    # one from the future beside it changes nothing
    assert judge(with_stored_lists(pdf(with_list), crl(AT + DAY))).is_valid


def stamped_twice() -> bytes:
    """Two signature time-stamps: the first by a unit with an ageing key, the second by one that lasts."""
    container = PKI.container(signer=SIGNER)
    (signature,) = parse_signatures(unpack(container)[SIGNATURES])
    imprint = hashlib.sha256(signature.canonical_signature_value(signature.c14n)).digest()
    stamps = ""
    for number, token in enumerate(
        (
            rsa_time_stamp(imprint, gen_at=SIGNED_AT, hash_name="sha256", unit=RSA_UNIT),
            PKI.time_stamp(imprint, gen_at=STAMPED_AT, unit=LATER),
        )
    ):
        stamps += (
            f'<xades:SignatureTimeStamp Id="S0-X{number}"><ds:CanonicalizationMethod Algorithm="{signature.c14n}"/>'
            f"<xades:EncapsulatedTimeStamp>{base64.b64encode(token).decode()}</xades:EncapsulatedTimeStamp>"
            "</xades:SignatureTimeStamp>"
        )

    def replace_stamp(xml: str) -> str:
        start, end = xml.index("<xades:SignatureTimeStamp"), xml.index("<xades:CertificateValues")
        return xml[:start] + stamps + xml[end:]

    return edited(container, replace_stamp)


def test_every_time_stamp_that_nothing_covers_is_watched_not_the_newest_alone() -> None:
    """When the first one cannot be relied on any more, the status between the two says nothing of the time proven."""
    first = stamped_twice()
    assert not judge(first, at=WEAK_AT + DAY).is_valid
    found = due(first, at=WEAK_AT - 364 * DAY)
    assert found is not None
    assert (found.due_at, found.code) == (WEAK_AT, "documents.due.weak_key")
    assert due(archived(first, PKI, at=STAMPED_AT, unit=LONG), at=WEAK_AT - 364 * DAY) is None
