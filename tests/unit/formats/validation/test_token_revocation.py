"""What a document carries about the unit that made a time-stamp (EN 319 102-1 §5.4): inside the token, inside the
signature, or beside it. A word that the unit was revoked is heeded wherever it stands, if its CA says so; it needs no
proof of time, as it takes trust away. What proves that the token is older than the revocation saves it.
"""

import base64
import io
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from digiid.formats import cms, der
from digiid.formats.cades import ID_SIGNATURE_TIME_STAMP
from digiid.formats.validation import Report, validate_container
from digiid.formats.validation.pades import validate_pdf
from digiid.kernel.errors import Malformed
from digiid.platform.pdf import read_pdf
from tests.support.archived import archived, list_with, make_units_of_years, trust_in, with_unit
from tests.support.cades import (
    CadesMaker,
    add_unsigned,
    attribute,
    basic_of,
    with_choices,
    with_lists_inside,
)
from tests.support.containers import edited
from tests.support.pdf import pades_maker, plain_pdf, sign_inside, with_store, with_time_stamp
from tests.support.pki import AT, DAY, FILES, shared_pki
from tests.support.time_stamped import renewed, stamped

Edit = Callable[[bytes], bytes]
PKI = shared_pki()
HOUR = timedelta(hours=1)
AUTHORITY, UNITS = make_units_of_years(PKI, 2)
UNIT = UNITS[0]
TRUST = trust_in(PKI, AUTHORITY.certificate)
BY_UNIT = with_unit(PKI, UNIT)
EMPTY = der.sequence()
REVOKED_AT = AT + DAY
LATER = AT + 2 * DAY
LIST = list_with(UNIT, issuer=AUTHORITY, revoked_at=REVOKED_AT)
OTHER_UNITS = list_with(UNITS[1], issuer=AUTHORITY, revoked_at=AT)
STRANGERS = list_with(UNIT, issuer=PKI.ca, revoked_at=REVOKED_AT)
ANSWER = PKI.ocsp(
    UNIT.certificate, at=REVOKED_AT, issuer=AUTHORITY, responder=AUTHORITY, status="revoked", revoked_at=REVOKED_AT
)
# The signer's own CA knows the unit's number too, and may not speak about it.
UNAUTHORISED = PKI.ocsp(
    UNIT.certificate, at=REVOKED_AT, issuer=AUTHORITY, responder=PKI.ca, status="revoked", revoked_at=REVOKED_AT
)


def beside(token: bytes, *lists: bytes) -> bytes:
    return with_lists_inside(token, *lists)


def in_attribute(token: bytes, *lists: bytes) -> bytes:
    return with_lists_inside(token, *lists, in_attribute=True)


def answer_beside(token: bytes, answer: bytes) -> bytes:
    return with_choices(token, der.tlv(der.CONTEXT_1, der.oid(cms.ID_RI_OCSP_RESPONSE), answer))


def answer_in_attribute(token: bytes, answer: bytes) -> bytes:
    values = der.sequence(der.tlv(der.context(1), der.sequence(basic_of(answer))))
    return add_unsigned(token, attribute(cms.ID_REVOCATION_VALUES, values))


def judge(document: bytes, *, at: datetime) -> Report:
    if document.startswith(b"%PDF-"):
        return validate_pdf(read_pdf(document), trust=TRUST, at=at)
    return validate_container(io.BytesIO(document), trust=TRUST, at=at)


# ------------------------------------------------------------------ documents whose one time-stamp is by that unit


def pdf(edit: Edit, **changes: object) -> bytes:
    maker = pades_maker(pki=BY_UNIT, signed_at=AT, edit_token=edit, **changes)
    return with_store(sign_inside(plain_pdf(), maker), maker=maker)


def pdf_under_document_stamp(edit: Edit) -> bytes:
    """Level B: nothing but the document time-stamp proves when it was signed."""
    maker = pades_maker(level="B", signed_at=AT)
    return with_store(with_time_stamp(sign_inside(plain_pdf(), maker), at=AT, unit=UNIT, edit_token=edit), maker=maker)


def xades(edit: Edit) -> bytes:
    def edit_first(xml: str) -> str:
        found = re.search("<xades:EncapsulatedTimeStamp>(.*?)</", xml)
        assert found is not None
        token = base64.b64encode(edit(base64.b64decode(found[1]))).decode()
        return xml.replace(found[1], token)

    container = BY_UNIT.container(signed_at=AT)
    return container if edit is same else edited(container, edit_first)


def cades(edit: Edit) -> bytes:
    return CadesMaker(pki=BY_UNIT, signed_at=AT, edit_token=edit).extended(FILES)


def stamp_alone(edit: Edit) -> bytes:
    return stamped(b"a letter", at=AT, unit=UNIT, edit_token=edit)


def same(token: bytes) -> bytes:
    return token


KINDS = pytest.mark.parametrize("make", [pdf, pdf_under_document_stamp, xades, cades, stamp_alone])


@KINDS
@pytest.mark.parametrize(
    "edit",
    [
        lambda token: beside(token, LIST),
        lambda token: in_attribute(token, LIST),
        lambda token: beside(token, STRANGERS, OTHER_UNITS, LIST),
        lambda token: answer_beside(token, ANSWER),
        lambda token: answer_in_attribute(token, ANSWER),
    ],
    ids=["list", "list in attribute", "among others", "answer", "answer in attribute"],
)
def test_a_word_inside_the_token_that_its_unit_was_revoked_is_heeded(make: Callable[[Edit], bytes], edit: Edit) -> None:
    document = make(edit)
    assert judge(document, at=REVOKED_AT - HOUR).is_valid
    report = judge(document, at=LATER)
    (judged,) = report.signatures or report.time_stamp_tokens
    assert (str(judged.indication), str(judged.sub_indication)) == ("INDETERMINATE", "REVOKED_NO_POE")


@KINDS
@pytest.mark.parametrize(
    "edit",
    [
        same,
        lambda token: beside(token, STRANGERS),
        lambda token: in_attribute(token, OTHER_UNITS),
        lambda token: answer_beside(token, UNAUTHORISED),
        lambda token: beside(token, b"\x30\x00", LIST[:-1] + bytes([LIST[-1] ^ 1])),
        lambda token: add_unsigned(token, attribute(cms.ID_REVOCATION_VALUES, der.integer(1))),
    ],
    ids=["nothing", "by a stranger", "about another", "unauthorised", "broken lists", "a broken attribute"],
)
def test_what_nobody_entitled_says_changes_nothing(make: Callable[[Edit], bytes], edit: Edit) -> None:
    assert judge(make(edit), at=LATER).is_valid


def test_a_time_stamp_over_the_token_from_before_the_revocation_saves_it() -> None:
    def edit(token: bytes) -> bytes:
        return beside(token, LIST)

    in_time = REVOKED_AT - HOUR
    assert judge(with_time_stamp(pdf(edit), at=in_time), at=LATER).is_valid
    assert judge(with_time_stamp(pdf_under_document_stamp(edit), at=in_time), at=LATER).is_valid
    assert judge(archived(xades(edit), PKI, at=in_time), at=LATER).is_valid
    assert judge(renewed(stamp_alone(edit), at=in_time), at=LATER).is_valid
    too_late = REVOKED_AT + HOUR
    assert not judge(with_time_stamp(pdf(edit), at=too_late), at=LATER).is_valid
    assert not judge(archived(xades(edit), PKI, at=too_late), at=LATER).is_valid
    assert not judge(renewed(stamp_alone(edit), at=too_late), at=LATER).is_valid


# ------------------------------------------------------------------ inside the signature, beside the token


@pytest.mark.parametrize("in_attribute", [False, True])
@pytest.mark.parametrize("values", [{"crl_der": LIST}, {"ocsp_der": ANSWER}], ids=["list", "answer"])
def test_a_word_inside_the_signature_of_a_pdf_file(values: dict[str, bytes], in_attribute: bool) -> None:
    document = pdf(same, level="LT", revocation_in_attribute=in_attribute, **values)
    document = with_store(document, maker=pades_maker(signed_at=AT))
    assert judge(document, at=REVOKED_AT - HOUR).is_valid
    (signature,) = judge(document, at=LATER).signatures
    assert str(signature.sub_indication) == "REVOKED_NO_POE"
    assert judge(with_time_stamp(document, at=REVOKED_AT - HOUR), at=LATER).is_valid


@pytest.mark.parametrize(("kind", "value"), [("OCSP", ANSWER), ("CRL", LIST)])
def test_a_word_among_the_revocation_values_of_an_xml_signature(kind: str, value: bytes) -> None:
    """Where other programs put what is about time-stamps too (EN 319 132-1 §5.4.2)."""
    inside = (
        f"<xades:{kind}Values><xades:Encapsulated{kind}Value>{base64.b64encode(value).decode()}"
        f"</xades:Encapsulated{kind}Value></xades:{kind}Values></xades:RevocationValues>"
    )
    document = edited(xades(same), lambda xml: xml.replace("</xades:RevocationValues>", inside))
    assert judge(document, at=REVOKED_AT - HOUR).is_valid
    (signature,) = judge(document, at=LATER).signatures
    assert str(signature.sub_indication) == "REVOKED_NO_POE"
    assert judge(archived(document, PKI, at=REVOKED_AT - HOUR), at=LATER).is_valid


def test_a_unit_whose_certificate_stands_beside_the_signers_alone() -> None:
    """RFC 3161 certReq false: the certificate is in the SignedData of the signature, and nowhere else."""

    def bare(token: bytes) -> bytes:
        outer = der.read_whole(token, max_bytes=100_000)
        outer.take(der.OBJECT_IDENTIFIER)
        parts = outer.take(der.CONTEXT_0).enter().take(der.SEQUENCE).enter().all(limit=8)
        kept = [one.raw for one in parts if one.tag != der.CONTEXT_0]
        return der.sequence(der.oid(cms.ID_SIGNED_DATA), der.tlv(der.CONTEXT_0, der.sequence(*kept)))

    assert not judge(pdf(bare), at=LATER).is_valid
    assert judge(pdf(bare, more_certificates=(UNIT.der,)), at=LATER).is_valid


def test_many_answers_about_many_time_stamps_are_judged_in_bounded_time() -> None:
    """The same unit's time-stamp over and over, and answers about it whose signatures do not hold: each is held against
    the unit once. Some 4,000 signatures were verified for 7 KB before."""
    good = PKI.ocsp(UNIT.certificate, at=AT + HOUR, issuer=AUTHORITY, responder=AUTHORITY, include=())

    def spoilt(number: int) -> str:
        octets = bytearray(good)
        octets[-12] ^= number + 1  # in the signature's last integer
        return f"<xades:EncapsulatedOCSPValue>{base64.b64encode(octets).decode()}</xades:EncapsulatedOCSPValue>"

    def crowd(xml: str) -> str:
        (stamp,) = re.findall("<xades:SignatureTimeStamp.*?</xades:SignatureTimeStamp>", xml, re.DOTALL)
        stamps = "".join(stamp.replace('Id="', f'Id="N{number}') for number in range(31))
        answers = "".join(map(spoilt, range(62)))
        values = f"<xades:RevocationValues><xades:OCSPValues>{answers}</xades:OCSPValues></xades:RevocationValues>"
        about_units = f'<x:TimeStampValidationData xmlns:x="http://uri.etsi.org/01903/v1.4.1#">{values}</x:TimeStampValidationData>'
        end = "</xades:UnsignedSignatureProperties>"
        return xml.replace(end, stamps + values + about_units + end)

    document = edited(xades(same), crowd)
    started = time.process_time()
    (signature,) = judge(document, at=REVOKED_AT).signatures
    assert time.process_time() - started < 1.5
    assert signature.is_valid
    assert len(signature.time_stamps) == 32


class Crowded(CadesMaker):
    """With as many values as one signature may carry."""

    def sign(self, content: bytes) -> bytes:
        lists, answers = der.sequence(*[EMPTY] * 30), der.sequence(*[EMPTY] * 30)
        values = der.sequence(der.tlv(der.context(0), lists), der.tlv(der.context(1), answers))
        stamps = [attribute(ID_SIGNATURE_TIME_STAMP, EMPTY)] * 7
        return add_unsigned(super().sign(content), attribute(cms.ID_REVOCATION_VALUES, values), *stamps)


def test_what_signatures_are_held_against_is_bounded() -> None:
    maker = Crowded(level="T", without=(cms.ID_SIGNING_TIME,))
    one = sign_inside(plain_pdf(), maker)
    assert len(judge(one, at=LATER).signatures) == 1
    with pytest.raises(Malformed, match=r"validation\.too_many_proofs"):
        judge(sign_inside(one, maker), at=LATER)


def test_what_all_tokens_of_a_container_bring_about_their_units_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token may bring a few lists and answers, and a container hundreds of tokens."""
    container = stamped(b"a letter", at=AT, unit=UNIT, edit_token=lambda token: beside(token, OTHER_UNITS, STRANGERS))
    monkeypatch.setattr("digiid.formats.validation.time_stamped._MAX_ANSWERS", 2)
    assert judge(container, at=LATER).is_valid
    monkeypatch.setattr("digiid.formats.validation.time_stamped._MAX_ANSWERS", 1)
    with pytest.raises(Malformed, match=r"validation\.too_many_proofs"):
        judge(container, at=LATER)
