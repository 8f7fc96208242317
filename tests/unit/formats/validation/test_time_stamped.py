"""Time-stamped ASiC-S: one case per rule, over containers that we make."""

import base64
import hashlib
import io
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats import der
from digiid.formats.asic import DataFile, Limits, build_container
from digiid.formats.asic.manifest import ARCHIVE_MANIFEST_NAME, DataObject, build_asic_manifest, parse_asic_manifest
from digiid.formats.asic.simple import TOKEN_NAME
from digiid.formats.trusted_list import GRANTED, TSA_QTST, WITHDRAWN, ListedService, VerifiedTrust
from digiid.formats.validation import POLV4, Report, list_findings, validate_container
from digiid.formats.validation.time_stamped import MAX_NESTED_DEPTH
from digiid.kernel.errors import Malformed
from tests.support.containers import changed, pack, unpack
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    DAY,
    FILES,
    RESPONDER_EXTENSIONS,
    SIGNED_AT,
    UNIT_EXTENSIONS,
    distinguished_name,
    make_certificate,
    new_key,
    person,
    shared_pki,
)
from tests.support.time_stamped import as_ber, renewed, stamped
from tests.unit.formats.fuzz import damaged

PKI = shared_pki()
TRUST = PKI.trust()
TEXT = b"I, the undersigned, agree.\n"
GOOD = stamped(TEXT)
TWICE = renewed(GOOD, at=SIGNED_AT + timedelta(minutes=1))
HOUR = timedelta(hours=1)
NOT_COVERING = "The time-stamp token does not cover container datafile!"


def judge(container: bytes, *, at: datetime = AT, trust: VerifiedTrust = TRUST) -> Report:
    report = validate_container(io.BytesIO(container), trust=trust, at=at, policy=POLV4, file_name="x.asics")
    report.to_simple_report()
    list_findings(report)
    return report


def verdicts(container: bytes, **how: object) -> list[str]:
    """INDICATION/SUB of each token, oldest first."""
    report = judge(container, **how)  # type: ignore[arg-type]
    if any(token.indication != "TOTAL-PASSED" for token in report.time_stamp_tokens):
        assert not report.is_valid
    return [f"{token.indication}/{token.sub_indication or ''}" for token in report.time_stamp_tokens]


def codes(report: Report) -> set[str]:
    return {message.code for message in report.messages}


PASSED = "TOTAL-PASSED/"


# ------------------------------------------------------------------ what is right


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_a_token_over_the_file(hash_name: str) -> None:
    report = judge(stamped(TEXT, hash_name=hash_name))
    (token,) = report.time_stamp_tokens
    assert report.is_valid
    assert report.form == "ASiC-S"
    assert report.messages == ()
    assert (token.indication, token.level, token.gen_at) == ("TOTAL-PASSED", "QTSA", SIGNED_AT)
    assert [(scope.name, scope.digest) for scope in token.scopes] == [
        ("letter.txt", hashlib.new(hash_name, TEXT).digest())
    ]


def test_a_token_in_ber_is_read() -> None:
    files = unpack(GOOD)
    loose = as_ber(files[TOKEN_NAME])
    assert loose[1] == 0x80
    assert verdicts(changed(GOOD, {TOKEN_NAME: loose})) == [PASSED]
    # The outermost length definite, the ones inside not.
    inner = der.read_whole(files[TOKEN_NAME], max_bytes=100_000)
    oid, rest = inner.take(der.OBJECT_IDENTIFIER).raw, inner.take(der.context(0)).raw
    mixed = der.sequence(oid, as_ber(rest))
    assert mixed != files[TOKEN_NAME]
    assert verdicts(changed(GOOD, {TOKEN_NAME: mixed})) == [PASSED]


def test_renewals_cover_all_before_them() -> None:
    thrice = renewed(TWICE, at=SIGNED_AT + timedelta(minutes=2))
    report = judge(thrice)
    assert report.is_valid
    assert report.messages == ()
    assert [token.level for token in report.time_stamp_tokens] == ["QTSA"] * 3
    newest = {scope.name for scope in report.time_stamp_tokens[-1].scopes}
    assert newest == {
        ARCHIVE_MANIFEST_NAME,
        "META-INF/ASiCArchiveManifest001.xml",
        "META-INF/timestamp.tst",
        "META-INF/timestamp002.tst",
        "letter.txt",
    }


def test_the_simple_report_tells_what_each_token_is_over() -> None:
    scopes = [token["timestampScopes"] for token in judge(TWICE).to_simple_report()["timeStampTokens"]]
    assert [[(scope["name"], scope["content"]) for scope in each] for each in scopes] == [
        [("letter.txt", "Full document")],
        [
            (ARCHIVE_MANIFEST_NAME, "Manifest document"),
            (TOKEN_NAME, "Full document"),
            ("letter.txt", "Full document"),
        ],
    ]


def test_the_simple_report_tells_errors_by_both_names_that_the_service_has_given_them() -> None:
    (token,) = judge(changed(GOOD, {"letter.txt": b"another"})).to_simple_report()["timeStampTokens"]
    assert token["error"] == token["errors"] == [{"content": "The time-stamp message imprint is not intact!"}]
    assert "warning" not in token and "warnings" not in token
    assert "error" not in judge(GOOD).to_simple_report()["timeStampTokens"][0]


def test_renewals_within_one_second() -> None:
    report = judge(renewed(renewed(GOOD, at=SIGNED_AT), at=SIGNED_AT))
    assert report.is_valid
    assert [len(token.scopes) for token in report.time_stamp_tokens] == [1, 3, 5]
    assert not any(token.messages for token in report.time_stamp_tokens)


def test_a_hundred_tokens() -> None:
    container = GOOD
    for number in range(100):
        container = renewed(container, at=SIGNED_AT + timedelta(seconds=number + 1))
    assert verdicts(container) == [PASSED] * 101


def test_a_token_stays_valid_when_its_unit_has_run_out() -> None:
    unit = make_certificate(
        distinguished_name("TEST Short Unit"), new_key(), PKI.root, UNIT_EXTENSIONS, not_after=AT + DAY
    )
    services = [*PKI.services(), ListedService(TSA_QTST, "TEST Short", unit.certificate, GRANTED, AT - 390 * DAY)]
    trust = PKI.trust(services=services)
    assert verdicts(stamped(TEXT, unit=unit), trust=trust, at=AT + 100 * DAY) == [PASSED]


# ------------------------------------------------------------------ what is not


def test_another_file_than_the_one_that_was_stamped() -> None:
    assert verdicts(changed(GOOD, {"letter.txt": b"other"})) == ["TOTAL-FAILED/HASH_FAILURE"]
    assert verdicts(stamped(TEXT, over=b"other")) == ["TOTAL-FAILED/HASH_FAILURE"]


def test_a_file_changed_after_the_first_renewal() -> None:
    assert verdicts(changed(TWICE, {"letter.txt": b"other"})) == ["TOTAL-FAILED/HASH_FAILURE"] * 2


def test_a_manifest_that_was_changed() -> None:
    manifest = unpack(TWICE)[ARCHIVE_MANIFEST_NAME]
    spaced = manifest.replace(b"<asic:SigReference", b" <asic:SigReference")
    assert verdicts(changed(TWICE, {ARCHIVE_MANIFEST_NAME: spaced})) == [PASSED, "TOTAL-FAILED/HASH_FAILURE"]


def test_a_manifest_entry_that_is_not_there() -> None:
    manifest = parse_asic_manifest(unpack(TWICE)[ARCHIVE_MANIFEST_NAME])
    elsewhere = replace(manifest.objects[-1], name="elsewhere.txt")
    xml = build_asic_manifest(manifest.signature_name, [*manifest.objects, elsewhere])
    container = renewed(GOOD, at=SIGNED_AT + HOUR, manifest=xml)
    assert verdicts(container) == [PASSED, "INDETERMINATE/SIGNED_DATA_NOT_FOUND"]
    token = judge(container).time_stamp_tokens[1]
    [told] = [message.text for message in token.messages if message.code == "validation.token.object_missing"]
    assert told == "The manifest entry object has not been found! (elsewhere.txt)"


def test_a_manifest_entry_that_is_another() -> None:
    manifest = parse_asic_manifest(unpack(TWICE)[ARCHIVE_MANIFEST_NAME])
    wrong = replace(manifest.objects[-1], digest=bytes(64))
    xml = build_asic_manifest(manifest.signature_name, [*manifest.objects[:-1], wrong])
    assert verdicts(renewed(GOOD, at=SIGNED_AT + HOUR, manifest=xml)) == [PASSED, "TOTAL-FAILED/HASH_FAILURE"]


def test_a_manifest_with_sha1() -> None:
    manifest = parse_asic_manifest(unpack(TWICE)[ARCHIVE_MANIFEST_NAME])
    weak = replace(manifest.objects[-1], hash_name="sha1", digest=hashlib.sha1(TEXT, usedforsecurity=False).digest())
    xml = build_asic_manifest(manifest.signature_name, [*manifest.objects[:-1], weak])
    container = renewed(GOOD, at=SIGNED_AT + HOUR, manifest=xml)
    assert verdicts(container) == [PASSED, "INDETERMINATE/CRYPTO_CONSTRAINTS_FAILURE"]


def without(*names: str) -> bytes:
    """A renewal whose manifest leaves something out."""
    manifest = parse_asic_manifest(unpack(TWICE)[ARCHIVE_MANIFEST_NAME])
    kept = [item for item in manifest.objects if item.name not in names]
    return renewed(GOOD, at=SIGNED_AT + HOUR, manifest=build_asic_manifest(manifest.signature_name, kept))


def test_a_renewal_that_leaves_the_file_out_is_told() -> None:
    report = judge(without("letter.txt"))
    assert report.is_valid  # the first token still covers it
    assert [[message.text for message in token.messages] for token in report.time_stamp_tokens] == [[], [NOT_COVERING]]


def test_a_renewal_that_leaves_a_token_out_is_told() -> None:
    report = judge(without("META-INF/timestamp.tst"))
    (message,) = report.time_stamp_tokens[1].messages
    assert message.code == "validation.token.not_covering_all"


def test_nothing_is_proven_when_only_a_token_beside_the_file_holds() -> None:
    report = judge(changed(without("letter.txt"), {"letter.txt": b"other"}))
    assert not report.is_valid
    assert {"validation.token.none_covers", "validation.token.not_valid"} <= codes(report)


def test_that_another_token_covers_the_file_is_said_only_where_one_does() -> None:
    def told(report: Report) -> dict[str, str]:
        return {one.code: one.meaning for one in list_findings(report) if not one.matters}

    holding = judge(without("letter.txt"))
    assert holding.is_valid
    assert told(holding)["validation.token.not_covering"] == "Another time-stamp covers the file."
    nothing = judge(changed(without("letter.txt"), {"letter.txt": b"other"}))
    assert told(nothing)["validation.token.not_covering"] == ""


def test_a_renewal_older_than_what_it_covers() -> None:
    container = renewed(GOOD, at=SIGNED_AT - HOUR)
    assert sorted(verdicts(container)) == ["INDETERMINATE/TIMESTAMP_ORDER_FAILURE", PASSED]


def test_a_token_that_was_tampered_with() -> None:
    token = bytearray(unpack(GOOD)[TOKEN_NAME])
    token[-10] ^= 1
    assert verdicts(changed(GOOD, {TOKEN_NAME: bytes(token)})) == ["TOTAL-FAILED/SIG_CRYPTO_FAILURE"]


def test_a_certificate_that_is_not_for_time_stamping() -> None:
    unit = make_certificate(distinguished_name("TEST Odd Unit"), new_key(), PKI.root, RESPONDER_EXTENSIONS)
    assert verdicts(stamped(TEXT, unit=unit)) == ["INDETERMINATE/CHAIN_CONSTRAINTS_FAILURE"]


@pytest.mark.parametrize("junk", [b"", b"junk", b"\x30\x80", b"\x30\x80\x00\x00", unpack(PKI.container())["mimetype"]])
def test_a_token_that_is_none(junk: bytes) -> None:
    with pytest.raises(Malformed):
        judge(changed(GOOD, {TOKEN_NAME: junk}))


def test_a_manifest_without_its_token() -> None:
    report = judge(changed(TWICE, {"META-INF/timestamp002.tst": None}))
    assert "validation.token.missing" in codes(report)
    assert not report.is_valid


def test_two_manifests_for_one_token() -> None:
    manifest = unpack(TWICE)[ARCHIVE_MANIFEST_NAME]
    with pytest.raises(Malformed, match="duplicate"):
        judge(changed(TWICE, {"META-INF/ASiCArchiveManifest007.xml": manifest}))


@pytest.mark.parametrize("name", ["META-INF/my-timestamp.tst", "META-INF/timestamp1.tst", "META-INF/TIMESTAMP.TST"])
def test_a_token_under_another_name(name: str) -> None:
    report = judge(changed(GOOD, {TOKEN_NAME: None, name: unpack(GOOD)[TOKEN_NAME]}))
    assert "asic.simple.token_file" in codes(report)
    assert not report.is_valid


def test_a_second_token_over_nothing() -> None:
    extra = unpack(stamped(b"other"))[TOKEN_NAME]
    assert "TOTAL-FAILED/HASH_FAILURE" in verdicts(changed(GOOD, {"META-INF/timestamp9.tst": extra}))


# ------------------------------------------------------------------ whom we trust


def test_a_unit_that_is_not_listed() -> None:
    unit = make_certificate(distinguished_name("TEST Unlisted Unit"), new_key(), PKI.root, UNIT_EXTENSIONS)
    report = judge(stamped(TEXT, unit=unit))
    (token,) = report.time_stamp_tokens
    assert (token.indication, token.sub_indication) == ("INDETERMINATE", "NO_CERTIFICATE_CHAIN_FOUND")
    assert token.level == "N/A"
    assert not report.is_valid


def test_a_unit_of_a_listed_authority() -> None:
    authority = make_certificate(distinguished_name("TEST TSA CA"), new_key(), PKI.root, CA_EXTENSIONS)
    unit = make_certificate(distinguished_name("TEST Unit of a CA"), new_key(), authority, UNIT_EXTENSIONS)
    listed = ListedService(TSA_QTST, "TEST TSA CA", authority.certificate, GRANTED, AT - 390 * DAY)
    trust = PKI.trust(services=[*PKI.services(), listed])
    assert verdicts(stamped(TEXT, unit=unit), trust=trust) == [PASSED]
    (token,) = judge(stamped(TEXT, unit=unit), trust=trust).to_simple_report()["timeStampTokens"]
    (told,) = token["certificates"]
    assert (told["type"], told["commonName"]) == ("CONTENT_TIMESTAMP", "TEST Unit of a CA")
    assert told["issuer"] == {
        "commonName": "TEST TSA CA",
        "content": base64.b64encode(authority.der).decode(),
    }


def test_a_unit_that_a_list_names_itself_is_told_without_an_issuer() -> None:
    (token,) = judge(GOOD).to_simple_report()["timeStampTokens"]
    assert [sorted(told) for told in token["certificates"]] == [["commonName", "content", "type"]]


def test_a_service_that_is_listed_and_not_qualified() -> None:
    unit = make_certificate(distinguished_name("TEST Plain Unit"), new_key(), PKI.root, UNIT_EXTENSIONS)
    plain = "http://uri.etsi.org/TrstSvc/Svctype/TSA"
    listed = ListedService(plain, "TEST Plain", unit.certificate, GRANTED, AT - 390 * DAY)
    report = judge(stamped(TEXT, unit=unit), trust=PKI.trust(services=[*PKI.services(), listed]))
    (token,) = report.time_stamp_tokens
    assert (token.indication, token.level) == ("INDETERMINATE", "TSA")


def withdrawn_at(moment: datetime) -> VerifiedTrust:
    return PKI.trust(services=PKI.services(tsa_status=WITHDRAWN, since=moment))


def test_a_service_withdrawn_before_the_token() -> None:
    assert verdicts(GOOD, trust=withdrawn_at(SIGNED_AT - HOUR)) == ["INDETERMINATE/NO_CERTIFICATE_CHAIN_FOUND"]


def test_a_service_withdrawn_after_the_token() -> None:
    report = judge(GOOD, trust=withdrawn_at(SIGNED_AT + timedelta(minutes=30)))
    (token,) = report.time_stamp_tokens
    assert report.is_valid
    assert (token.indication, token.level) == ("TOTAL-PASSED", "TSA")
    assert "validation.token.not_granted_now" in codes(report)


def test_a_token_renewed_before_its_service_was_withdrawn() -> None:
    unit = make_certificate(distinguished_name("TEST Later Unit"), new_key(), PKI.root, UNIT_EXTENSIONS)
    services = PKI.services(tsa_status=WITHDRAWN, since=SIGNED_AT + timedelta(minutes=30))
    later = ListedService(TSA_QTST, "TEST Later", unit.certificate, GRANTED, AT - 390 * DAY)
    trust = PKI.trust(services=[*services, later])
    container = renewed(GOOD, at=SIGNED_AT + timedelta(minutes=20), unit=unit)
    assert [token.level for token in judge(container, trust=trust).time_stamp_tokens] == ["QTSA", "QTSA"]
    late = renewed(GOOD, at=SIGNED_AT + timedelta(minutes=40), unit=unit)
    assert [token.level for token in judge(late, trust=trust).time_stamp_tokens] == ["TSA", "QTSA"]


# ------------------------------------------------------------------ age


def aging() -> tuple[bytes, VerifiedTrust]:
    """A container stamped by a unit of a listed CA whose certificate runs out a day later."""
    authority = make_certificate(distinguished_name("TEST TSA CA"), new_key(), PKI.root, CA_EXTENSIONS)
    name = distinguished_name("TEST Unit of a CA")
    unit = make_certificate(name, new_key(), authority, UNIT_EXTENSIONS, not_after=AT + DAY)
    listed = ListedService(TSA_QTST, "TEST TSA CA", authority.certificate, GRANTED, AT - 390 * DAY)
    return stamped(TEXT, unit=unit), PKI.trust(services=[*PKI.services(), listed])


def test_a_unit_of_a_listed_authority_that_has_run_out_proves_nothing_any_more() -> None:
    container, trust = aging()
    assert verdicts(container, trust=trust) == [PASSED]
    assert verdicts(container, trust=trust, at=AT + 2 * DAY) == ["INDETERMINATE/OUT_OF_BOUNDS_NO_POE"]


def test_a_renewal_in_time_keeps_what_it_covers() -> None:
    container, trust = aging()
    in_time = renewed(container, at=AT + DAY / 2)
    assert verdicts(in_time, trust=trust, at=AT + 100 * DAY) == [PASSED, PASSED]
    late = renewed(container, at=AT + 2 * DAY)
    assert verdicts(late, trust=trust, at=AT + 100 * DAY) == ["INDETERMINATE/OUT_OF_BOUNDS_NO_POE", PASSED]


def test_a_token_from_the_future_proves_nothing() -> None:
    assert verdicts(stamped(TEXT, at=AT + HOUR)) == ["INDETERMINATE/SIG_CONSTRAINTS_FAILURE"]
    assert verdicts(stamped(TEXT, at=AT + timedelta(minutes=1))) == [PASSED]


# ------------------------------------------------------------------ what is inside


SIGNED = PKI.container(FILES[:1])


def test_a_container_inside_is_judged() -> None:
    report = judge(stamped(SIGNED, name="signed.asice"))
    assert report.is_valid
    assert [signature.level for signature in report.signatures] == ["QESIG"]
    bad = changed(SIGNED, {FILES[0].name: b"other"})
    report = judge(stamped(bad, name="signed.asice"))
    assert not report.is_valid
    assert [signature.sub_indication for signature in report.signatures] == ["HASH_FAILURE"]


def test_what_stands_in_a_container_inside_is_told_of_every_token_that_holds_over_it() -> None:
    once = stamped(SIGNED, name="signed.asice")
    (token,) = judge(once).to_simple_report()["timeStampTokens"]
    archived = [
        {"name": name, "scope": "ARCHIVED", "content": "ASiCS archive content"}
        for name in ("mimetype", "META-INF/manifest.xml", FILES[0].name, "META-INF/signatures0.xml")
    ]
    whole = {"name": "signed.asice", "scope": "FULL", "content": "ASiCS archive"}
    assert token["timestampScopes"][0] == whole
    assert sorted(token["timestampScopes"][1:], key=str) == sorted(archived, key=str)
    bad_first = renewed(stamped(SIGNED, name="signed.asice", over=b"other"), at=SIGNED_AT + HOUR)
    first, second = judge(bad_first).to_simple_report()["timeStampTokens"]
    assert [scope["content"] for scope in first["timestampScopes"]] == ["Full document"]
    assert second["timestampScopes"][2:] == token["timestampScopes"]
    plain = judge(stamped(pack({"a.txt": b"x"}), name="plain.zip")).to_simple_report()["timeStampTokens"][0]
    assert plain["timestampScopes"] == [{"name": "plain.zip", "scope": "FULL", "content": "Full document"}]


def test_a_container_inside_with_very_many_files_is_told_as_a_whole() -> None:
    many = PKI.container([DataFile(f"{number}.txt", "text/plain", b"x") for number in range(900)])
    container = stamped(many, name="many.asice")
    assert len(judge(container).time_stamp_tokens[0].scopes) == 1 + 900 + 3
    for number in range(11):
        container = renewed(container, at=SIGNED_AT + timedelta(seconds=number + 1))
    assert {scope.kind for token in judge(container).time_stamp_tokens for scope in token.scopes} == {"FULL"}


def test_a_container_inside_that_is_larger_than_the_usual_is_judged_where_larger_ones_are() -> None:
    many = PKI.container([DataFile(f"{number}.txt", "text/plain", b"x") for number in range(999)])
    container = io.BytesIO(stamped(many, name="many.asice"))
    report = validate_container(container, trust=TRUST, at=AT, limits=Limits(max_entries=1100))
    assert report.is_valid and len(report.signatures) == 1
    assert [scope.name for token in report.time_stamp_tokens for scope in token.scopes] == ["many.asice"]


def test_a_container_inside_is_judged_as_of_the_proven_time() -> None:
    signer = PKI.issue(person("SHORT", "38001085718"), not_after=AT + DAY)
    level_b = PKI.container(FILES[:1], signer=signer, level="B")
    early = judge(stamped(level_b, name="b.asice"), at=AT + 100 * DAY).signatures[0]
    alone = judge_signed(level_b, AT + 100 * DAY)
    # Alone nothing proves that the certificate was still valid; the stamp around it proves just that, though no more.
    assert alone.sub_indication == "OUT_OF_BOUNDS_NO_POE"
    assert early.sub_indication == "CERTIFICATE_CHAIN_GENERAL_FAILURE"


def judge_signed(container: bytes, at: datetime):  # type: ignore[no-untyped-def]
    return validate_container(io.BytesIO(container), trust=TRUST, at=at).signatures[0]


def test_nothing_inside_is_judged_without_a_token_that_covers_it() -> None:
    report = judge(stamped(SIGNED, name="signed.asice", over=b"other"))
    assert report.signatures == ()


def test_a_container_inside_without_signatures_is_only_stamped() -> None:
    unsigned = build_container(FILES[:1], [], at=SIGNED_AT)
    report = judge(stamped(unsigned, name="unsigned.asice"))
    assert report.is_valid
    assert "validation.no_signature" in codes(report)


def test_containers_inside_containers_end() -> None:
    container = GOOD
    for depth in range(MAX_NESTED_DEPTH):
        container = stamped(container, name=f"{depth}.asics", at=SIGNED_AT + timedelta(minutes=depth + 1))
    report = judge(container)
    assert len(report.time_stamp_tokens) == MAX_NESTED_DEPTH + 1
    assert "validation.nested.depth" not in codes(report)
    deeper = judge(stamped(container, name="deeper.asics", at=SIGNED_AT + HOUR))
    assert len(deeper.time_stamp_tokens) == MAX_NESTED_DEPTH + 1
    assert "validation.nested.depth" in codes(deeper)


@pytest.mark.parametrize("name", ["zip.asice", "plain.zip"])
def test_an_archive_that_is_no_container_is_only_stamped(name: str) -> None:
    report = judge(stamped(pack({"a.txt": b"x"}), name=name))
    assert report.is_valid
    assert report.signatures == ()


def test_a_pdf_inside_is_named_and_not_judged() -> None:
    report = judge(stamped(b"%PDF-1.7\n", name="a.pdf"))
    assert report.is_valid
    assert "validation.nested.pdf" in codes(report)


def test_a_container_inside_that_can_be_read_in_two_ways_is_refused() -> None:
    with pytest.raises(Malformed):
        judge(stamped(SIGNED + b"x", name="signed.asice"))


def test_a_container_inside_is_read_in_place_when_it_is_stored() -> None:
    outer = stamped(SIGNED, name="signed.asice")
    assert SIGNED in outer
    packed = changed(outer, {})  # deflates what shrinks
    assert judge(packed).is_valid


# ------------------------------------------------------------------ signatures in ASiC-S


def simple(files: dict[str, bytes]) -> bytes:
    return pack({"mimetype": b"application/vnd.etsi.asic-s+zip", **files})


XML = PKI.sign(FILES[:1])


def test_xades_in_asic_s() -> None:
    report = judge(simple({FILES[0].name: FILES[0].content, "META-INF/signatures.xml": XML}))
    assert report.is_valid
    assert report.form == "ASiC-S"
    assert [signature.level for signature in report.signatures] == ["QESIG"]


def test_xades_in_asic_s_under_another_name() -> None:
    report = judge(simple({FILES[0].name: FILES[0].content, "META-INF/signatures0.xml": XML}))
    assert not report.is_valid
    assert "asic.simple.signature_file" in codes(report)


def test_an_asic_s_container_with_neither_signature_nor_token() -> None:
    report = judge(simple({"a.txt": b"x"}))
    assert not report.is_valid
    assert "validation.no_signature" in codes(report)


# ------------------------------------------------------------------ ASiC-E


def extended(*, over: tuple[str, ...] = tuple(file.name for file in FILES), token_over: bytes | None = None) -> bytes:
    """ASiC-E with a token over a manifest over files, and no signature."""
    objects = [
        DataObject(file.name, file.media_type, "sha256", hashlib.sha256(file.content).digest())
        for file in FILES
        if file.name in over
    ]
    manifest = build_asic_manifest(TOKEN_NAME, objects)
    imprint = hashlib.sha256(manifest if token_over is None else token_over).digest()
    files = {"mimetype": b"application/vnd.etsi.asic-e+zip", **{file.name: file.content for file in FILES}}
    token = PKI.time_stamp(imprint, gen_at=SIGNED_AT)
    return pack({**files, "META-INF/ASiCManifest1.xml": manifest, TOKEN_NAME: token})


def test_a_token_over_the_files_of_asic_e() -> None:
    report = judge(extended())
    assert report.is_valid
    assert report.form == "ASiC-E"
    assert set(report.data_files) == {file.name for file in FILES}


def test_a_token_that_leaves_a_file_of_asic_e_out() -> None:
    report = judge(extended(over=(FILES[0].name,)))
    assert not report.is_valid
    assert "validation.token.none_covers" in codes(report)


def test_tokens_of_asic_e_that_are_over_something_else() -> None:
    assert verdicts(extended(token_over=b"other")) == ["TOTAL-FAILED/HASH_FAILURE"]
    assert verdicts(changed(extended(), {FILES[0].name: b"other"})) == ["TOTAL-FAILED/HASH_FAILURE"]
    alone = changed(extended(), {"META-INF/ASiCManifest1.xml": build_asic_manifest("META-INF/timestamp9.tst", [
        DataObject(FILES[0].name, "text/plain", "sha256", bytes(32)),
    ])})  # fmt: skip
    assert verdicts(alone) == ["TOTAL-FAILED/FORMAT_FAILURE"]


# ------------------------------------------------------------------ cost


def test_manifests_are_bounded_together() -> None:
    objects = [DataObject(f"META-INF/timestamp{n}.tst", "x/x", "sha256", bytes(32)) for n in range(2000)]
    files = unpack(GOOD)
    token = files[TOKEN_NAME]
    for number in range(60):
        files[f"META-INF/timestamp{number}.tst"] = token
        files[f"META-INF/ASiCArchiveManifest{number}.xml"] = build_asic_manifest(
            f"META-INF/timestamp{number}.tst", objects
        )
    with pytest.raises(Malformed, match="too_large"):
        judge(pack(files))


def test_tokens_are_counted() -> None:
    files = {**unpack(GOOD), **{f"META-INF/timestamp{n}.tst": b"x" for n in range(501)}}
    with pytest.raises(Malformed, match="too_many_tokens"):
        judge(pack(files))


# ------------------------------------------------------------------ damage


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_damaged_tokens_and_manifests(data: st.DataObject) -> None:
    files = unpack(TWICE)
    name = data.draw(st.sampled_from([TOKEN_NAME, ARCHIVE_MANIFEST_NAME, "META-INF/timestamp002.tst", "letter.txt"]))
    bad = data.draw(damaged(files[name]))
    try:
        report = judge(changed(TWICE, {name: bad}))
    except Malformed:
        return
    if not name.endswith(".tst"):  # of a token only what is signed is sealed
        assert not report.is_valid or bad == files[name]


@settings(max_examples=60, deadline=None)
@given(damaged(stamped(SIGNED, name="signed.asice")))
def test_damaged_nested_containers(data: bytes) -> None:
    try:
        judge(data)
    except Malformed:
        pass
