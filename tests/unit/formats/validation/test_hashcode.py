"""Verdicts where the data files stay with their owner."""

import hashlib
import io
from datetime import timedelta

import pytest
from lxml import etree

from digiid.formats.asic.container import add_signature_file, parse_container
from digiid.formats.asic.hashcode import FileHash, build_hashcode_container, hash_file
from digiid.formats.validation import (
    POLV3,
    POLV4,
    HashcodeFile,
    Policy,
    Report,
    validate_container,
    validate_hashcode,
)
from digiid.kernel.errors import Malformed
from tests.support.archived import YEAR, archived, make_unit
from tests.support.containers import SIGNATURES, changed, edited, unpack
from tests.support.pki import AT, FILES, SIGNED_AT, key_usage, person, policies, shared_pki

PKI = shared_pki()
TRUST = PKI.trust()
XML = PKI.sign(FILES)
HASHES = [HashcodeFile(file.name, "sha256", hashlib.sha256(file.content).digest()) for file in FILES]


def judge(xml: bytes, files: list[HashcodeFile] | None, policy: Policy = POLV4) -> Report:
    return validate_hashcode(xml, files, trust=TRUST, at=AT, policy=policy, file_name="signatures0.xml")


def verdict(xml: bytes, files: list[HashcodeFile] | None) -> tuple[str, str]:
    report = judge(xml, files)
    (signature,) = report.signatures
    assert report.is_valid == signature.is_valid
    return str(signature.indication), str(signature.sub_indication or "")


PASSED = ("TOTAL-PASSED", "")


def test_the_digests_that_were_signed() -> None:
    report = judge(XML, HASHES)
    assert report.is_valid
    assert report.form == "ASiC-E"
    assert report.data_files == tuple(file.name for file in FILES)
    scopes = report.to_simple_report()["signatures"][0]["signatureScopes"]
    assert {scope["scope"] for scope in scopes} == {"DIGEST"}


def test_without_digests_the_scopes_say_what_to_compare() -> None:
    report = judge(XML, None)
    (signature,) = report.signatures
    assert signature.is_valid
    assert [(scope.name, scope.digest) for scope in signature.scopes] == [(file.name, file.digest) for file in HASHES]


def test_a_signature_by_itself_is_a_signature_file_too() -> None:
    root = etree.fromstring(XML)
    alone = etree.tostring(root[0], with_tail=False)
    assert not alone.startswith(b"<asic:")
    assert verdict(alone, HASHES) == verdict(alone, None) == PASSED
    assert verdict(alone, [HashcodeFile(FILES[0].name, "sha256", bytes(32)), HASHES[1]])[1] == "HASH_FAILURE"
    with pytest.raises(Malformed):
        judge(etree.tostring(root[0][0]), HASHES)  # its SignedInfo


def test_a_signature_by_itself_is_none_of_a_container() -> None:
    alone = etree.tostring(etree.fromstring(XML)[0], with_tail=False)
    report = judge_container(changed(PKI.container(), {SIGNATURES: alone}))
    assert [str(signature.sub_indication) for signature in report.signatures] == ["FORMAT_FAILURE"]


def test_several_digests_of_one_file() -> None:
    more = [HashcodeFile(file.name, "sha512", hashlib.sha512(file.content).digest()) for file in FILES]
    assert verdict(XML, [*HASHES, *more]) == PASSED


def test_another_digest() -> None:
    other = HashcodeFile(FILES[0].name, "sha256", bytes(32))
    assert verdict(XML, [other, HASHES[1]]) == ("TOTAL-FAILED", "HASH_FAILURE")


def test_a_digest_by_another_hash_cannot_be_compared() -> None:
    other = [HashcodeFile(file.name, "sha512", hashlib.sha512(file.content).digest()) for file in FILES]
    assert verdict(XML, other) == ("INDETERMINATE", "SIGNED_DATA_NOT_FOUND")


def test_a_file_too_few_and_a_file_too_many() -> None:
    assert verdict(XML, HASHES[:1]) == ("INDETERMINATE", "SIGNED_DATA_NOT_FOUND")
    assert verdict(XML, []) == ("INDETERMINATE", "SIGNED_DATA_NOT_FOUND")
    assert verdict(XML, [*HASHES, HashcodeFile("more.txt", "sha256", bytes(32))]) == ("TOTAL-FAILED", "FORMAT_FAILURE")


def test_the_policy_counts_here_as_well() -> None:
    signer = PKI.issue(
        person("LEVEL", "38001085718"), extensions=(key_usage(content_commitment=True), policies("0.4.0.2042.1.2"))
    )
    xml = PKI.sign(FILES, signer=signer)
    assert judge(xml, HASHES, POLV3).is_valid
    assert not judge(xml, HASHES, POLV4).is_valid


def test_what_is_no_signature_file_is_malformed() -> None:
    for junk in (b"", b"<x/>", XML[:-5]):
        with pytest.raises(Malformed):
            judge(junk, HASHES)


def test_an_archive_time_stamp_cannot_be_judged_without_the_files() -> None:
    xml = unpack(archived(PKI.container(), PKI, at=SIGNED_AT + timedelta(minutes=5)))[SIGNATURES]
    (signature,) = judge(xml, HASHES).signatures
    assert signature.is_valid  # at level LT
    assert signature.archive_time_stamps[0].sub_indication == "SIGNED_DATA_NOT_FOUND"


def test_whose_archive_time_stamp_it_is_counts_without_the_files_too() -> None:
    stranger = make_unit(PKI, "TEST Stranger", since=AT - YEAR, until=AT + YEAR)
    xml = unpack(archived(PKI.container(), PKI, at=SIGNED_AT + timedelta(minutes=5), unit=stranger))[SIGNATURES]
    (signature,) = judge(xml, HASHES).signatures
    assert (str(signature.indication), str(signature.sub_indication)) == ("INDETERMINATE", "NO_CERTIFICATE_CHAIN_FOUND")
    assert [message.code for message in signature.messages][-1] == "validation.archive_time_stamp_not_qualified"


# ------------------------------------------------------------------ hashcode containers


def hashcode_container(files: tuple[FileHash, ...] | None = None) -> bytes:
    hashes = files or tuple(
        hash_file(io.BytesIO(file.content), name=file.name, media_type=file.media_type) for file in FILES
    )
    empty = build_hashcode_container(hashes, at=SIGNED_AT)
    return add_signature_file(parse_container(io.BytesIO(empty)), SIGNATURES, XML, at=SIGNED_AT)


def judge_container(container: bytes) -> Report:
    return validate_container(io.BytesIO(container), trust=TRUST, at=AT)


def test_a_hashcode_container_is_judged_and_says_what_it_is() -> None:
    report = judge_container(hashcode_container())
    assert report.is_valid
    assert [message.code for message in report.messages] == ["validation.hashcode"]
    assert report.data_files == tuple(file.name for file in FILES)
    assert {scope.kind for scope in report.signatures[0].scopes} == {"DIGEST"}


def test_a_hashcode_container_with_another_digest() -> None:
    name = "META-INF/hashcodes-sha256.xml"
    before = unpack(hashcode_container())[name].decode()
    start = before.index('hash="') + 6
    other = edited(hashcode_container(), lambda xml: xml[:start] + "A" * 43 + xml[start + 43 :], name)
    report = judge_container(other)
    assert not report.is_valid
    assert str(report.signatures[0].sub_indication) == "HASH_FAILURE"


def test_a_hashcode_container_with_another_media_type() -> None:
    other = edited(hashcode_container(), lambda xml: xml.replace("text/plain", "text/html"), "META-INF/manifest.xml")
    assert str(judge_container(other).signatures[0].sub_indication) == "FORMAT_FAILURE"


def test_a_hashcode_container_that_contradicts_itself_is_malformed() -> None:
    with pytest.raises(Malformed, match=r"asic\.hashcode"):
        judge_container(changed(hashcode_container(), {"META-INF/hashcodes-sha512.xml": None}))
