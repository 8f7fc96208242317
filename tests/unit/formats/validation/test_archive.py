"""EN 319 102-1 §5.6 over containers that we make: archive time-stamps across the decades, and what breaks them."""

import base64
import hashlib
import io
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from lxml import etree

from digiid.formats import cms, der
from digiid.formats.asic import DataFile, add_signature_file, parse_container
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import Report, SignatureReport, facts, validate_container
from digiid.formats.xades import parse_signatures, plan_archive_time_stamp
from digiid.kernel.errors import Malformed, Refused
from tests.support.archived import (
    YEAR,
    archived,
    list_with,
    make_unit,
    make_units_of_years,
    rsa_time_stamp,
    trust_in,
    with_unit,
)
from tests.support.containers import SIGNATURES, changed, edited, unpack
from tests.support.pki import (
    AT,
    DAY,
    FILES,
    SIGNED_AT,
    Identity,
    person,
    shared_pki,
)

PKI = shared_pki()
LT = PKI.container()
LTA = archived(LT, PKI, at=SIGNED_AT + DAY)
AUTHORITY, UNITS = make_units_of_years(PKI, 6)
DECADES = trust_in(PKI, AUTHORITY.certificate)
FIRST = with_unit(PKI, UNITS[0]).container(signed_at=AT)


def judge(container: bytes, *, at: datetime = AT + 2 * DAY, trust: VerifiedTrust | None = None) -> Report:
    return validate_container(io.BytesIO(container), trust=trust or DECADES, at=at)


def only(container: bytes, **how: object) -> SignatureReport:
    (signature,) = judge(container, **how).signatures  # type: ignore[arg-type]
    return signature


def verdict(container: bytes, **how: object) -> tuple[str, str]:
    signature = only(container, **how)
    return str(signature.indication), str(signature.sub_indication or "")


PASSED = ("TOTAL-PASSED", "")
REVOKED = ("INDETERMINATE", "REVOKED_NO_POE")


# ------------------------------------------------------------------ written and judged


def test_an_archive_time_stamp_is_judged_and_told() -> None:
    signature = only(LTA)
    assert signature.is_valid
    assert signature.messages == ()
    assert signature.signature_format == "XAdES_BASELINE_LTA"
    (stamp,) = signature.archive_time_stamps
    assert (stamp.indication, stamp.gen_at) == ("PASSED", SIGNED_AT + DAY)
    assert signature.best_signature_at == SIGNED_AT
    # what the first one covers is proven since then, the newest itself only now
    assert signature.time_stamps[0].proven_at == SIGNED_AT + DAY
    assert stamp.proven_at == AT + 2 * DAY
    simple = judge(LTA).to_simple_report()["signatures"][0]
    (told,) = simple["info"]["archiveTimeStamps"]
    assert told["signedTime"] == "2026-11-24T09:00:00Z"
    assert told["indication"] == "PASSED"
    assert told["country"] == "EE"
    assert base64.b64decode(told["content"]) == stamp.token_der
    assert [item["type"] for item in simple["certificates"]][-1] == "ARCHIVE_TIMESTAMP"


@pytest.mark.parametrize("after", [timedelta(0), timedelta(seconds=1), DAY])
def test_an_archive_time_stamp_does_not_stand_in_for_a_signature_time_stamp_that_does_not_hold(
    after: timedelta,
) -> None:
    """§5.6.3.4 would take its time; the validators of the field want the signature time-stamp to hold."""
    other = PKI.time_stamp(hashlib.sha256(b"another value").digest(), gen_at=SIGNED_AT)
    signature = only(archived(PKI.container(token_der=other), PKI, at=SIGNED_AT + after))
    assert (signature.indication, signature.sub_indication) == ("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE")
    assert [message.code for message in signature.messages] == [
        "validation.time_stamp",
        "validation.no_valid_time_stamp",
    ]
    assert signature.archive_time_stamps[0].indication == "PASSED"
    assert signature.best_signature_at is None


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_every_hash_of_the_imprint(hash_name: str) -> None:
    assert only(archived(LT, PKI, at=AT, hash_name=hash_name)).archive_time_stamps[0].indication == "PASSED"


def test_nothing_that_was_there_changes_a_byte() -> None:
    before, once = unpack(LT)[SIGNATURES], unpack(LTA)[SIGNATURES]
    twice = unpack(archived(LTA, PKI, at=AT))[SIGNATURES]
    for old, new in ((before, once), (once, twice)):
        at = next(index for index, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
        added = len(new) - len(old)
        # one run of octets went in; the tag before and the tag behind begin alike, so its place is known to a few
        assert any(new[:place] + new[place + added :] == old for place in range(at - 16, at + 1))
    assert once.count(b"ArchiveTimeStamp xmlns") == 1
    assert twice.count(b"ArchiveTimeStamp xmlns") == 2


def test_the_imprint_is_what_the_standard_says() -> None:
    """EN 319 132-1 §5.5.2 put together by hand, element by element."""
    xml = unpack(LT)[SIGNATURES]
    root = etree.fromstring(xml)
    signature = root[0]

    def c14n(element: etree._Element) -> bytes:
        return etree.tostring(element, method="c14n")

    xades = "{http://uri.etsi.org/01903/v1.3.2#}"
    qualifying = signature[3][0]
    signed, unsigned = qualifying[0], qualifying[1][0]
    assert signed.tag == f"{xades}SignedProperties"
    octets = b"".join(file.content for file in FILES)
    octets += c14n(signed)
    octets += c14n(signature[0]) + c14n(signature[1]) + c14n(signature[2])
    octets += b"".join(c14n(element) for element in unsigned)
    contents = {file.name: file.content for file in FILES}
    plan = plan_archive_time_stamp(xml, "S0", stream=lambda name: iter([contents[name]]), hash_name="sha384")
    assert plan.imprint == hashlib.sha384(octets).digest()


def test_only_level_lt_and_above_can_be_archived() -> None:
    for level in ("B", "T"):
        with pytest.raises(Refused, match=r"xades\.archive\.level"):
            plan_archive_time_stamp(PKI.sign(FILES, level=level), "S0", stream=lambda _name: iter([b""]))
    with pytest.raises(Refused, match=r"xades\.archive\.signature"):
        plan_archive_time_stamp(PKI.sign(FILES), "S1", stream=lambda _name: iter([b""]))
    with pytest.raises(Refused, match=r"xades\.archive\.data"):
        plan_archive_time_stamp(PKI.sign(FILES), "S0", stream=lambda _name: None)


def test_a_file_that_grows_too_large_is_not_written() -> None:
    plan = plan_archive_time_stamp(PKI.sign(FILES), "S0", stream=lambda _name: iter([b""]))
    with pytest.raises(Malformed, match=r"xades\.too_large"):
        plan.apply(bytes(900_000))


def test_the_second_of_two_signatures_in_one_file() -> None:
    """Several signatures in one file, as other programs write them: each is stamped in its own place."""
    first, second = PKI.sign(FILES).decode(), PKI.sign(FILES, signature_id="S1").decode()
    head, end = second.index("<ds:Signature "), second.index("</asic:XAdESSignatures>")
    both = first.replace("</asic:XAdESSignatures>", second[head:end] + "</asic:XAdESSignatures>")
    container = archived(changed(LT, {SIGNATURES: both.encode()}), PKI, at=AT, signature_id="S1")
    left, right = judge(container).signatures
    assert (left.is_valid, right.is_valid) == (True, True)
    assert (len(left.archive_time_stamps), len(right.archive_time_stamps)) == (0, 1)
    assert right.archive_time_stamps[0].indication == "PASSED"


def test_a_name_of_an_id_that_is_taken() -> None:
    xml = unpack(LT)[SIGNATURES].replace(b'Id="S0-T0"', b'Id="S0-A0"')
    contents = {file.name: file.content for file in FILES}
    plan = plan_archive_time_stamp(xml, "S0", stream=lambda name: iter([contents[name]]))
    token = PKI.time_stamp(plan.imprint, gen_at=AT, hash_name="sha512")
    assert b'Id="S0-A1"' in plan.apply(token)
    parse_signatures(plan.apply(token))


# ------------------------------------------------------------------ decades


def renewed(container: bytes, count: int) -> bytes:
    """Stamped anew every two years, each time by the unit of that time."""
    for n in range(1, count + 1):
        container = archived(container, PKI, at=AT + n * 2 * YEAR, unit=UNITS[n])
    return container


def test_without_an_archive_time_stamp_a_units_end_is_the_end() -> None:
    assert verdict(FIRST, at=AT + 3 * YEAR - 2 * DAY) == PASSED
    assert verdict(FIRST, at=AT + 3 * YEAR + DAY) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")


def test_each_renewal_carries_the_proof_on() -> None:
    for count in range(1, 6):
        container, last = renewed(FIRST, count), AT + (count * 2 + 3) * YEAR
        assert verdict(container, at=last - DAY) == PASSED
        assert only(container, at=last - DAY).best_signature_at == AT
        assert verdict(container, at=last + DAY) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")


def test_a_renewal_that_came_too_late_proves_nothing() -> None:
    late = archived(FIRST, PKI, at=AT + 4 * YEAR, unit=UNITS[2])
    assert verdict(late, at=AT + 4 * YEAR + DAY) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")
    # a gap in the middle
    gap = archived(renewed(FIRST, 1), PKI, at=AT + 6 * YEAR, unit=UNITS[3])
    signature = only(gap, at=AT + 6 * YEAR + DAY)
    assert str(signature.sub_indication) == "OUT_OF_BOUNDS_NO_POE"
    assert [stamp.indication for stamp in signature.archive_time_stamps] == ["INDETERMINATE", "PASSED"]


def test_each_renewal_covers_the_former() -> None:
    container = renewed(FIRST, 2)

    def drop_first(xml: str) -> str:
        start = xml.index("<xades141:ArchiveTimeStamp")
        end = xml.index("</xades141:ArchiveTimeStamp>") + len("</xades141:ArchiveTimeStamp>")
        return xml[:start] + xml[end:]

    assert verdict(edited(container, drop_first), at=AT + 5 * YEAR) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")


def test_a_listed_unit_is_an_anchor_and_may_have_run_out() -> None:
    """§5.2.6: the list itself vouches for the unit, and its certificate's end does not matter."""
    assert verdict(LT, at=AT + 169 * DAY, trust=PKI.trust()) == PASSED
    ended = make_unit(PKI, "TEST Unit that ended", since=AT - YEAR, until=AT - DAY)
    early = with_unit(PKI, ended).container(
        signed_at=AT - 20 * DAY, signer=PKI.issue(person("EARLY", "38001085718"), not_before=AT - 30 * DAY)
    )
    assert verdict(early, at=AT, trust=trust_in(PKI, ended.certificate)) == PASSED


def rsa_stamped(unit: Identity) -> bytes:
    token: dict[str, bytes] = {}
    xml = PKI.sign(FILES, level="B").decode()
    value = etree.fromstring(xml.encode())[0][1]
    imprint = hashlib.sha256(etree.tostring(value, method="c14n")).digest()
    token["der"] = rsa_time_stamp(imprint, gen_at=SIGNED_AT, hash_name="sha256", unit=unit)
    ocsp = PKI.ocsp(PKI.signer.certificate, at=SIGNED_AT + timedelta(seconds=1))
    unsigned = (
        '<xades:UnsignedProperties><xades:UnsignedSignatureProperties><xades:SignatureTimeStamp Id="S0-T0">'
        '<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2006/12/xml-c14n11"/><xades:EncapsulatedTimeStamp>'
        f"{base64.b64encode(token['der']).decode()}</xades:EncapsulatedTimeStamp></xades:SignatureTimeStamp>"
        "<xades:RevocationValues><xades:OCSPValues><xades:EncapsulatedOCSPValue>"
        f"{base64.b64encode(ocsp).decode()}</xades:EncapsulatedOCSPValue></xades:OCSPValues>"
        "</xades:RevocationValues></xades:UnsignedSignatureProperties></xades:UnsignedProperties>"
        "</xades:QualifyingProperties>"
    )
    return changed(LT, {SIGNATURES: xml.replace("</xades:QualifyingProperties>", unsigned).encode()})


def test_a_key_that_ages_needs_a_proof_from_before() -> None:
    """RSA with 2048 bits is accepted until 2029, by the dated table of algorithms."""
    unit = make_unit(PKI, "TEST RSA Unit", since=AT - YEAR, until=AT + 20 * YEAR, kind="rsa")
    trust = trust_in(PKI, unit.certificate, AUTHORITY.certificate)
    container = rsa_stamped(unit)
    weak_at = datetime(2029, 1, 1, tzinfo=AT.tzinfo)

    def stamp_sub(container: bytes) -> str:
        # without a time-stamp there is nothing to put the signer's certificate into its time either
        signature = only(container, at=weak_at + YEAR, trust=trust)
        assert (str(signature.indication), str(signature.sub_indication)) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")
        return str(signature.time_stamps[0].sub_indication)

    assert verdict(container, at=weak_at - DAY, trust=trust) == PASSED
    assert stamp_sub(container) == "CRYPTO_CONSTRAINTS_FAILURE_NO_POE"
    in_time = archived(container, PKI, at=weak_at - DAY, unit=UNITS[1])
    assert verdict(in_time, at=weak_at + YEAR, trust=trust) == PASSED
    too_late = archived(container, PKI, at=weak_at + DAY, unit=UNITS[1])
    assert stamp_sub(too_late) == "CRYPTO_CONSTRAINTS_FAILURE_NO_POE"


# ------------------------------------------------------------------ what breaks one


def test_an_archive_time_stamp_over_something_else_is_never_passed_over() -> None:
    other = archived(LT, PKI, at=AT, imprint=bytes(64))
    assert verdict(other) == ("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE")
    assert only(other).archive_time_stamps[0].sub_indication == "HASH_FAILURE"
    assert [message.code for message in only(other).messages] == ["validation.archive_time_stamp_broken"]
    needed = archived(FIRST, PKI, at=AT + 2 * YEAR, unit=UNITS[1], imprint=bytes(64))
    assert verdict(needed, at=AT + 4 * YEAR) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")
    codes = [message.code for message in only(needed, at=AT + 4 * YEAR).messages if message.severity == "error"]
    assert codes == ["validation.time_stamp", "validation.out_of_bounds", "validation.archive_time_stamp_broken"]


def test_an_archive_time_stamp_by_a_unit_that_nobody_listed() -> None:
    stranger = make_unit(PKI, "TEST Stranger", since=AT - YEAR, until=AT + 20 * YEAR)
    signature = only(archived(LT, PKI, at=AT, unit=stranger))
    assert str(signature.sub_indication) == "NO_CERTIFICATE_CHAIN_FOUND"
    assert [message.code for message in signature.messages] == ["validation.archive_time_stamp_not_qualified"]
    both = archived(archived(LT, PKI, at=AT, unit=stranger), PKI, at=AT)  # one that is listed does not make up for it
    assert verdict(both) == ("INDETERMINATE", "NO_CERTIFICATE_CHAIN_FOUND")
    needed = archived(FIRST, PKI, at=AT + 2 * YEAR, unit=stranger)
    signature = only(needed, at=AT + 4 * YEAR)
    assert str(signature.sub_indication) == "OUT_OF_BOUNDS_NO_POE"
    assert signature.archive_time_stamps[0].sub_indication == "NO_CERTIFICATE_CHAIN_FOUND"


def test_an_archive_time_stamp_older_than_what_it_covers() -> None:
    assert verdict(archived(LT, PKI, at=SIGNED_AT - DAY)) == ("INDETERMINATE", "TIMESTAMP_ORDER_FAILURE")
    twice = archived(archived(LT, PKI, at=AT), PKI, at=AT - timedelta(hours=1) + timedelta(minutes=1))
    assert verdict(twice) == ("INDETERMINATE", "TIMESTAMP_ORDER_FAILURE")


def test_an_archive_time_stamp_from_the_future() -> None:
    signature = only(archived(LT, PKI, at=AT + 3 * DAY))
    assert signature.archive_time_stamps[0].indication == "INDETERMINATE"


@pytest.mark.parametrize(
    "part",
    [
        "SigningTime>",
        "X509Certificate>",
        "EncapsulatedX509Certificate ",
        "EncapsulatedOCSPValue ",
        "EncapsulatedTimeStamp>",
        "SignatureValue ",
        'Id="S0-T0"',
        "DigestValue>",
        "MimeType>",
    ],
)
def test_a_change_to_anything_that_is_covered_is_noticed(part: str) -> None:
    """One character inside each covered element."""

    def touch(xml: str) -> str:
        start = xml.index(part) + len(part)
        if part.endswith('"'):
            return xml[: start - 2] + ("1" if xml[start - 2] != "1" else "2") + xml[start - 1 :]
        at = xml.index(">", start - 1) + 6
        return xml[:at] + ("A" if xml[at] != "A" else "B") + xml[at + 1 :]

    assert not judge(edited(LTA, touch)).is_valid


def test_every_covered_octet_counts() -> None:
    """A white space between two unsigned properties is outside every one of them; inside one it is covered."""
    moved = edited(LTA, lambda xml: xml.replace("<xades:CertificateValues>", "<xades:CertificateValues> "))
    assert only(moved).archive_time_stamps[0].sub_indication == "HASH_FAILURE"
    swapped = edited(LTA, _swap_values)
    assert only(swapped).archive_time_stamps[0].sub_indication == "HASH_FAILURE"


def _swap_values(xml: str) -> str:
    start, middle = xml.index("<xades:CertificateValues>"), xml.index("<xades:RevocationValues>")
    end = xml.index("<xades141:ArchiveTimeStamp")
    return xml[:start] + xml[middle:end] + xml[start:middle] + xml[end:]


def test_a_changed_file_is_noticed_as_ever() -> None:
    assert verdict(changed(LTA, {"contract.txt": b"other\n"})) == ("TOTAL-FAILED", "HASH_FAILURE")


def test_a_token_that_is_none() -> None:
    broken = archived(LT, PKI, at=AT, edit_token=lambda token: token[:-1])
    signature = only(broken)
    assert signature.archive_time_stamps[0].sub_indication == "FORMAT_FAILURE"
    torn = archived(LT, PKI, at=AT, edit_token=lambda token: token[:-5] + bytes(5))
    assert only(torn).archive_time_stamps[0].indication == "FAILED"


def test_many_renewals_are_judged_in_bounded_time() -> None:
    container = LT
    for n in range(32):
        container = archived(container, PKI, at=AT + timedelta(minutes=n))
    assert only(container).is_valid
    with pytest.raises(Malformed, match=r"xades\.value_count"):
        archived(archived(container, PKI, at=AT + DAY), PKI, at=AT + DAY)


def test_what_is_read_again_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every signature of a container may ask for all of its files once more, and in another order each."""
    monkeypatch.setattr(facts, "MAX_ARCHIVED_BYTES", sum(len(file.content) for file in FILES))
    same = PKI.sign(FILES, signature_id="S1")
    other = PKI.sign(FILES[::-1], signature_id="S2")
    container = LTA
    for number, xml in ((1, same), (2, other)):
        name = f"META-INF/signatures{number}.xml"
        container = add_signature_file(parse_container(io.BytesIO(container)), name, xml, at=AT)
        container = archived(container, PKI, at=AT, signature_id=f"S{number}", name=name)
    stamps = [signature.archive_time_stamps[0] for signature in judge(container).signatures]
    assert [stamp.indication for stamp in stamps] == ["PASSED", "PASSED", "INDETERMINATE"]
    assert "to read again" in stamps[2].text


def test_a_property_that_is_not_read_is_told_of_whatever_the_verdict() -> None:
    """An archive time-stamp of XAdES 1.3.2 would have proven what is missing later."""

    def insert(xml: str) -> str:
        end = "</xades:UnsignedSignatureProperties>"
        return xml.replace(end, f"<xades:ArchiveTimeStamp/>{end}")

    for at, expected in ((AT + DAY, PASSED), (AT + 4 * YEAR, ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE"))):
        container = edited(FIRST, insert)
        assert verdict(container, at=at) == expected
        texts = [one.text for one in only(container, at=at).messages if one.code == "validation.property_ignored"]
        assert texts == ["The property ArchiveTimeStamp was not taken into account"]


def test_validation_data_about_time_stamps_is_read() -> None:
    """xades141:TimeStampValidationData, as other programs write it between two archive time-stamps."""
    unit = UNITS[0]
    response = PKI.ocsp(unit.certificate, at=AT + DAY, issuer=AUTHORITY, responder=AUTHORITY)
    revoked = PKI.ocsp(
        unit.certificate, at=AT + DAY, issuer=AUTHORITY, responder=AUTHORITY, status="revoked", revoked_at=AT + DAY
    )
    lists = list_with(unit, issuer=AUTHORITY, revoked_at=AT + DAY), list_with(UNITS[1], issuer=AUTHORITY, revoked_at=AT)
    about_units = (("OCSP", response, PASSED), ("OCSP", revoked, REVOKED), ("CRL", lists[1], PASSED))
    for kind, value, expected in (*about_units, ("CRL", lists[0], REVOKED)):
        data = (
            '<x:TimeStampValidationData xmlns:x="http://uri.etsi.org/01903/v1.4.1#"><xades:CertificateValues>'
            f"<xades:EncapsulatedX509Certificate>{base64.b64encode(unit.der).decode()}"
            f"</xades:EncapsulatedX509Certificate></xades:CertificateValues><xades:RevocationValues><xades:{kind}Values>"
            f"<xades:Encapsulated{kind}Value>{base64.b64encode(value).decode()}</xades:Encapsulated{kind}Value>"
            f"</xades:{kind}Values></xades:RevocationValues></x:TimeStampValidationData>"
        )

        def insert(xml: str, data: str = data) -> str:
            return xml.replace("</xades:UnsignedSignatureProperties>", data + "</xades:UnsignedSignatureProperties>")

        container = edited(FIRST, insert)
        assert verdict(container) == expected
        assert "validation.property_ignored" not in {message.code for message in only(container).messages}
    # revoked after an archive time-stamp of another unit had proven it: no matter
    proven = edited(archived(FIRST, PKI, at=AT + timedelta(hours=1)), insert)
    signature = only(archived(proven, PKI, at=AT + 2 * DAY), at=AT + 3 * DAY)
    assert signature.is_valid
    assert signature.time_stamps[0].indication == "PASSED"


def test_validation_data_between_two_archive_time_stamps() -> None:
    """EN 319 132-1 §5.5.1: the second one covers what a reader needs for the first; behind it nothing proves that."""

    def bare(token: bytes) -> bytes:
        outer = der.read_whole(token, max_bytes=100_000)
        outer.take(der.OBJECT_IDENTIFIER)
        parts = outer.take(der.CONTEXT_0).enter().take(der.SEQUENCE).enter().all(limit=8)
        kept = [one.raw for one in parts if one.tag != der.CONTEXT_0]
        return der.sequence(der.oid(cms.ID_SIGNED_DATA), der.tlv(der.CONTEXT_0, der.sequence(*kept)))

    def with_data(container: bytes, unit: Identity) -> bytes:
        return edited(container, lambda xml: xml.replace(end, data(unit) + end))

    def data(unit: Identity) -> str:
        return (
            '<x:TimeStampValidationData xmlns:x="http://uri.etsi.org/01903/v1.4.1#"><xades:CertificateValues>'
            f"<xades:EncapsulatedX509Certificate>{base64.b64encode(unit.der).decode()}"
            "</xades:EncapsulatedX509Certificate></xades:CertificateValues></x:TimeStampValidationData>"
        )

    def stamps(container: bytes, at: datetime) -> list[str]:
        return [stamp.indication for stamp in only(container, at=at).archive_time_stamps]

    end = "</xades:UnsignedSignatureProperties>"
    without = archived(FIRST, PKI, at=AT + 2 * YEAR, unit=UNITS[1], edit_token=bare)
    assert stamps(without, AT + 2 * YEAR + DAY) == ["INDETERMINATE"]
    assert stamps(with_data(without, UNITS[2]), AT + 2 * YEAR + DAY) == ["INDETERMINATE"]  # another unit's
    once = with_data(without, UNITS[1])
    assert stamps(once, AT + 2 * YEAR + DAY) == ["PASSED"]
    # certificates that cannot be read, which anybody may have put beside it
    junk = encapsulated("EncapsulatedX509Certificate", "CertificateValues")
    crowded = edited(without, lambda xml: xml.replace(end, junk + data(UNITS[1]) + end))
    assert stamps(crowded, AT + 2 * YEAR + DAY) == ["PASSED"]
    twice = archived(once, PKI, at=AT + 4 * YEAR, unit=UNITS[2])
    later = AT + 5 * YEAR + DAY  # when the second unit's certificate has run out as well
    assert (stamps(twice, later), verdict(twice, at=later)) == (["PASSED", "PASSED"], PASSED)
    # taken away, or moved behind what covers it
    for change in (
        lambda xml: xml.replace(data(UNITS[1]), ""),
        lambda xml: xml.replace(data(UNITS[1]), "").replace(end, data(UNITS[1]) + end),
    ):
        assert stamps(edited(twice, change), later)[1] == "FAILED"
        assert verdict(edited(twice, change), at=later) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")
    # put there after the second one: that one covers the token itself
    late = with_data(archived(without, PKI, at=AT + 4 * YEAR, unit=UNITS[2]), UNITS[1])
    assert verdict(late, at=later) == PASSED


def encapsulated(name: str, holder: str) -> str:
    return f"<xades:{holder}><xades:{name}>AAAA</xades:{name}></xades:{holder}>"


@pytest.mark.parametrize(
    "behind",
    [
        "<xades:CounterSignature/>",
        "<xades:RevocationValues/>",
        encapsulated("EncapsulatedX509Certificate", "CertificateValues"),
        encapsulated("EncapsulatedTimeStamp", "SignatureTimeStamp"),
    ],
)
def test_what_anybody_puts_behind_the_newest_archive_time_stamp_decides_nothing(behind: str) -> None:
    end = "</xades:UnsignedSignatureProperties>"
    container = edited(renewed(FIRST, 2), lambda xml: xml.replace(end, behind + end))
    assert verdict(container, at=AT + 6 * YEAR) == PASSED
    assert [stamp.indication for stamp in only(container, at=AT + 6 * YEAR).archive_time_stamps] == ["PASSED", "PASSED"]


def test_a_unit_whose_certificate_is_only_among_the_values() -> None:
    """RFC 3161 certReq false: the token does not carry its unit's certificate."""
    from digiid.formats import tsp

    xml = PKI.sign(FILES, level="B")
    value = etree.fromstring(xml)[0][1]
    imprint = hashlib.sha256(etree.tostring(value, method="c14n")).digest()
    request = tsp.TimeStampRequest("sha256", imprint, None, None, wants_certificate=False, has_extensions=False)
    builder = tsp.TokenBuilder(key=PKI.tsu.key, certificate=PKI.tsu.certificate)  # type: ignore[arg-type]
    token = builder.build(request, serial_number=1, gen_at=SIGNED_AT)
    bare = changed(LT, {SIGNATURES: PKI.sign(FILES, token_der=token)})
    (stamp,) = only(bare).time_stamps
    assert stamp.sub_indication == "NO_SIGNING_CERTIFICATE_FOUND"


def test_parallel_signatures_are_archived_one_by_one() -> None:
    second = PKI.sign([DataFile(file.name, file.media_type, file.content) for file in FILES], signature_id="S1")
    both = add_signature_file(parse_container(io.BytesIO(LTA)), "META-INF/signatures1.xml", second, at=AT)
    both = archived(both, PKI, at=AT, signature_id="S1", name="META-INF/signatures1.xml")
    report = judge(both)
    assert report.is_valid
    assert [len(signature.archive_time_stamps) for signature in report.signatures] == [1, 1]
    assert unpack(both)[SIGNATURES] == unpack(LTA)[SIGNATURES]


def test_a_certificate_of_the_chain_is_told_with_its_issuer() -> None:
    simple = judge(LTA).to_simple_report()["signatures"][0]
    signing = simple["certificates"][0]
    assert signing["issuer"]["commonName"] == "TEST EID CA"
    assert x509.load_der_x509_certificate(base64.b64decode(signing["issuer"]["content"])) == PKI.ca.certificate
    imprint = base64.b64decode(simple["info"]["timeAssertionMessageImprint"])
    assert imprint.endswith(only(LTA).time_stamps[0].imprint)
