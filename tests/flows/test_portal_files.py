"""The portal's pages that take files and give a file back: nobody signs in, nothing is kept."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.asic import DataFile, build_container
from digiid.formats.cdoc2 import DEFAULT_LIMITS
from digiid.formats.validation import validate_container
from digiid.institutions.information_authority.settings import Settings
from digiid.platform.clock import ManualClock
from digiid.platform.documents.encryption import AgreementKey, decrypt_contents
from tests.flows.provider_room import ProviderRoom, open_provider_room
from tests.flows.test_portal_and_bank_pages import altered, signed_container, words
from tests.support.ddoc import DdocMaker
from tests.support.page_client import PageClient
from tests.support.pki import person, shared_pki

PASSWORD = "correct horse battery staple"
LETTER = b"Only for you.\n"


@pytest.fixture
def room(tmp_path: Path, clock: ManualClock) -> Iterator[ProviderRoom]:
    with open_provider_room(tmp_path, clock) as opened:
        yield opened


def post(browser: PageClient, path: str, files: object, **fields: str) -> Any:
    browser.get(path)
    return browser.post_form(path, fields, files=files)


def one(content: bytes, name: str = "letter.txt") -> dict[str, tuple[str, bytes, str]]:
    return {"file": (name, content, "application/octet-stream")}


def test_a_valid_signature_is_made_to_last_and_an_altered_one_is_not(room: ProviderRoom) -> None:
    container = signed_container(room, room.browser("portal"))
    stranger = room.browser("portal")
    answer = post(stranger, "/files/prolong", one(container, "a.asice"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.etsi.asic-e+zip")
    report = validate_container(io.BytesIO(answer.content), trust=shared_pki().trust(), at=room.clock.now())
    (signature,) = report.signatures
    assert (signature.indication, signature.signature_format) == ("TOTAL-PASSED", "XAdES_BASELINE_LTA")

    refused = post(stranger, "/files/prolong", one(altered(container), "a.asice"))
    assert refused.status_code == 422
    unreadable = post(stranger, "/files/prolong", one(b"hello", "hello.txt"))
    assert unreadable.status_code == 422
    assert "or .pdf file" in unreadable.text  # the page takes PDF files too, and says so when it refuses
    assert "is not valid, so there is nothing to prolong" in words(refused.text)


def test_a_file_is_time_stamped_and_the_stamp_renewed(room: ProviderRoom) -> None:
    browser = room.browser("portal")
    stamped = post(browser, "/files/time-stamp", one(LETTER))
    assert stamped.headers["content-disposition"] == 'attachment; filename="letter.txt.asics"'
    renewed = post(browser, "/files/prolong", one(stamped.content, "letter.txt.asics"))
    for content, tokens in ((stamped.content, 1), (renewed.content, 2)):
        report = validate_container(io.BytesIO(content), trust=shared_pki().trust(), at=room.clock.now())
        assert [token.indication for token in report.time_stamp_tokens] == ["TOTAL-PASSED"] * tokens


def test_files_are_taken_out_of_a_container(room: ProviderRoom) -> None:
    container = signed_container(room, room.browser("portal"))
    answer = post(room.browser("portal"), "/files/take-out", one(container, "a.asice"))
    assert answer.content.startswith(b"%PDF-1.7")
    assert answer.headers["content-disposition"] == 'attachment; filename="agreement.pdf"'


def test_files_are_taken_out_of_a_digidoc_file_too(room: ProviderRoom) -> None:
    browser = room.browser("portal")
    several = [DataFile("õ.txt", "text/plain", b"one"), DataFile("b.bin", "application/octet-stream", bytes(3000))]
    answer = post(browser, "/files/take-out", one(DdocMaker(files=several).document(), "old.ddoc"))
    assert answer.status_code == 200, words(answer.text)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {f.name: f.content for f in several}
    single = post(browser, "/files/take-out", one(DdocMaker(files=several[1:]).document(), "old.ddoc"))
    assert (single.content, single.headers["content-disposition"]) == (bytes(3000), 'attachment; filename="b.bin"')
    assert ".ddoc" in browser.get("/files/take-out").text


def test_files_of_one_name_are_all_in_the_archive(room: ProviderRoom) -> None:
    names = ["3-a.txt", "a.txt", "a.txt", "A.TXT", "folder/a.txt"]
    files = [DataFile(name, "text/plain", str(number).encode()) for number, name in enumerate(names)]
    answer = post(room.browser("portal"), "/files/take-out", one(DdocMaker(files=files).document(), "old.ddoc"))
    assert answer.status_code == 200, words(answer.text)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        found = archive.namelist()
        assert [archive.read(info) for info in archive.infolist()] == [file.content for file in files]
    assert len({name.casefold() for name in found}) == len(names)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (DdocMaker(hashcode=True).document(), "not in this container, only their digests"),
        (DdocMaker().document()[:-20], "Choose an .asice, .asics, .bdoc or .ddoc file"),
        (b'<?xml version="1.0"?><!DOCTYPE x><SignedDoc/>', "Choose an .asice, .asics, .bdoc or .ddoc file"),
    ],
    ids=["digests", "cut", "doctype"],
)
def test_a_digidoc_file_that_gives_nothing_says_why(room: ProviderRoom, document: bytes, said: str) -> None:
    answer = post(room.browser("portal"), "/files/take-out", one(document, "old.ddoc"))
    assert answer.status_code == 422
    assert said in words(answer.text)


TOO_LARGE = (
    "The files in this container are together too large to be taken out here. Take them out on your own computer.",
    "Selle ümbriku failid on kokku liiga suured, et neid siin välja võtta. Võtke need välja oma arvutis.",
)
TOO_MANY = (
    "There are more files or signatures in this container than are read here. Take the files out on your own computer.",
    "Selles ümbrikus on rohkem faile või allkirju, kui siin loetakse. Võtke failid välja oma arvutis.",
)


def test_a_container_that_holds_too_much_is_told_apart_from_none(tmp_path: Path, clock: ManualClock) -> None:
    many = [DataFile(f"{number}.txt", "text/plain", b"x") for number in range(1001)]
    large = [DataFile("a.bin", "application/octet-stream", bytes(600)), DataFile("b.txt", "text/plain", b"b" * 600)]
    cases = [
        (DdocMaker(files=large).document(), "ddoc.too_large", TOO_LARGE),
        (build_container(large, [], at=clock.now()), "asic.zip.too_large", TOO_LARGE),
        (DdocMaker(files=many).document(), "ddoc.count", TOO_MANY),
        (build_container(many, [], at=clock.now()), "asic.zip.too_many_entries", TOO_MANY),
    ]
    with open_provider_room(tmp_path, clock, portal_settings=Settings(max_unpacked_bytes=1024)) as room:
        for number, language in enumerate(("en", "et")):
            browser = room.browser("portal", language=language)
            for document, code, said in cases:
                answer = post(browser, "/files/take-out", one(document, "full.ddoc"))
                assert answer.status_code == 422
                assert said[number] in words(answer.text)
                assert code in answer.text


def test_files_are_encrypted_to_a_password_and_opened_with_no_other(room: ProviderRoom) -> None:
    browser = room.browser("portal")
    files = [("file", ("a.txt", LETTER, "text/plain")), ("file", ("b.txt", b"b", "text/plain"))]
    sealed = post(browser, "/files/encrypt", files, password=PASSWORD)
    assert sealed.content.startswith(b"CDOC\x02")
    opened = post(browser, "/files/decrypt", one(sealed.content, "a.txt.cdoc2"), password=PASSWORD)
    with zipfile.ZipFile(io.BytesIO(opened.content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a.txt": LETTER, "b.txt": b"b"}
    refused = post(browser, "/files/decrypt", one(sealed.content, "a.txt.cdoc2"), password=PASSWORD + "r")
    assert refused.status_code == 422
    assert "This password does not open the file" in words(refused.text)
    assert PASSWORD not in refused.text


def test_files_are_encrypted_to_a_certificate_for_signing_in_only(room: ProviderRoom) -> None:
    browser = room.browser("portal")
    usage = x509.KeyUsage(True, False, False, False, True, False, False, False, False)
    wanted = shared_pki().issue(person("RECIPIENT", "38001085718"), extensions=[(usage, True)])
    signing = room.holder().signature

    def files(certificate: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
        return [("file", ("a.txt", LETTER, "text/plain")), ("certificate", ("her.pem", certificate, "text/plain"))]

    sealed = post(browser, "/files/encrypt", files(wanted.certificate.public_bytes(Encoding.PEM)))
    assert sealed.status_code == 200, words(sealed.text)
    assert isinstance(wanted.key, ec.EllipticCurvePrivateKey)
    key = wanted.key
    opener = AgreementKey(key.public_key(), lambda other: key.exchange(ec.ECDH(), other))
    assert [file.content for file in decrypt_contents(sealed.content, key=opener, limits=DEFAULT_LIMITS)] == [LETTER]
    refused = post(browser, "/files/encrypt", files(signing.certificate.public_bytes(Encoding.DER)))
    assert "certificate for signing" in words(refused.text)


@pytest.mark.parametrize(
    ("path", "content", "fields", "said"),
    [
        ("/files/prolong", b"", {}, "This file is empty"),
        ("/files/prolong", b"no container", {}, "not a container"),
        ("/files/prolong", b"PK\x03\x04 and nothing", {}, "not a container"),
        ("/files/take-out", b"no container", {}, "not a container"),
        ("/files/take-out", b"", {}, "This file is empty"),
        ("/files/time-stamp", b"", {}, "This file is empty"),
        ("/files/encrypt", LETTER, {}, "Add a recipient"),
        ("/files/encrypt", LETTER, {"password": "short"}, "20 to 64 characters"),
        ("/files/encrypt", b"", {"password": PASSWORD}, "A file is empty"),
        ("/files/decrypt", b"CDOC\x02 and nothing", {"password": PASSWORD}, "not an encrypted container"),
        ("/files/decrypt", b"", {}, "This file is empty"),
    ],
)
def test_what_cannot_be_used_gets_a_clear_answer(
    room: ProviderRoom, path: str, content: bytes, fields: dict[str, str], said: str
) -> None:
    answer = post(room.browser("portal"), path, one(content), **fields)
    assert answer.status_code == 422
    assert said in words(answer.text)


@pytest.mark.parametrize("path", ["/files/prolong", "/files/take-out", "/files/time-stamp", "/files/decrypt"])
def test_no_file_is_told_apart_from_an_empty_one(room: ProviderRoom, path: str) -> None:
    # what a browser sends for a field that nothing was chosen in: no name and no content
    answer = post(room.browser("portal"), path, {"file": ("", b"", "application/octet-stream")})
    assert answer.status_code == 422
    assert "Choose a file" in words(answer.text)
    assert "empty" not in words(answer.text)


def test_an_empty_file_to_validate_is_told_apart_from_none(room: ProviderRoom) -> None:
    browser = room.browser("portal")
    for name, said in (("", "Choose the signed file"), ("a.asice", "This file is empty")):
        answer = post(browser, "/validate", {"container": (name, b"", "application/octet-stream")})
        assert answer.status_code == 422
        assert said in words(answer.text)


def test_a_silent_time_stamping_service_is_told_as_what_it_is(room: ProviderRoom) -> None:
    room.trust.change = lambda path, body: (500, b"") if path == "/tsa" else (200, body)
    answer = post(room.browser("portal"), "/files/time-stamp", one(LETTER))
    assert answer.status_code == 503
    assert "does not answer now" in words(answer.text)


def test_the_pages_speak_estonian(room: ProviderRoom) -> None:
    browser = room.browser("portal", language="et")
    for path in ("", "/prolong", "/time-stamp", "/take-out", "/encrypt", "/decrypt"):
        assert browser.get(f"/files{path}").status_code == 200
    assert "Krüptige faile" in words(browser.get("/files/encrypt").text)
