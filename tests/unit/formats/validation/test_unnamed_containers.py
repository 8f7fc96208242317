"""Containers whose `mimetype` does not say what they are: read by their other files, with a warning, never changed."""

import io

import pytest

from digiid.formats.asic import Container, parse_container
from digiid.formats.asic.container import add_signature_file
from digiid.formats.asic.hashcode import build_hashcode_container, hash_file, parse_hashcode_container
from digiid.formats.validation import Report, validate_container
from digiid.kernel.errors import Malformed
from digiid.platform.documents.removing import remove_signature
from tests.support.containers import MANIFEST, SIGNATURES, changed, pack, unpack
from tests.support.pki import AT, FILES, shared_pki
from tests.support.time_marked import TimeMarkMaker

PKI = shared_pki()
TRUST = PKI.trust()
GOOD = PKI.container()
MIMETYPE = b"application/vnd.etsi.asic-e+zip"


def judge(container: bytes) -> Report:
    return validate_container(io.BytesIO(container), trust=TRUST, at=AT)


def read(files: dict[str, bytes]) -> Container:
    return parse_container(io.BytesIO(pack(files)), may_be_unnamed=True)


def manifest(letter: str) -> bytes:
    """As it names one form or the other."""
    extended = unpack(GOOD)[MANIFEST].replace(b"contract.txt", b"a.txt")
    return extended.replace(b"asic-e+zip", f"asic-{letter}+zip".encode())


@pytest.mark.parametrize(
    ("mimetype", "code"),
    [
        (None, "asic.mimetype.absent"),
        (b"", "asic.mimetype.other"),
        (b"text/plain", "asic.mimetype.other"),
        (b"application/zip", "asic.mimetype.other"),
    ],
)
def test_signatures_hold_without_it_and_that_is_told(mimetype: bytes | None, code: str) -> None:
    report = judge(changed(GOOD, {"mimetype": mimetype}))
    assert (report.form, report.is_valid, report.valid_count) == ("ASiC-E", True, 1)
    assert [message.code for message in report.messages] == [code]


@pytest.mark.parametrize(("mimetype", "code"), [(None, "asic.mimetype.absent"), (b"text/plain", "asic.mimetype.other")])
def test_it_is_told_where_digests_stand_in_the_place_of_files_too(mimetype: bytes | None, code: str) -> None:
    hashes = [hash_file(io.BytesIO(file.content), name=file.name, media_type=file.media_type) for file in FILES]
    unsigned = parse_container(io.BytesIO(build_hashcode_container(hashes, at=AT)))
    hashcode = add_signature_file(unsigned, SIGNATURES, PKI.sign(FILES), at=AT)
    assert [message.code for message in judge(hashcode).messages] == ["validation.hashcode"]
    report = judge(changed(hashcode, {"mimetype": mimetype}))
    assert (report.form, report.is_valid) == ("ASiC-E", True)
    assert [message.code for message in report.messages] == [code, "validation.hashcode"]
    with pytest.raises(Malformed, match=r"asic\.mimetype\."):
        parse_hashcode_container(io.BytesIO(changed(hashcode, {"mimetype": mimetype})))


@pytest.mark.parametrize("name", ["Mimetype", "mimetype ", "MIMETYPE"])
def test_a_file_of_a_similar_name_is_a_file_that_nobody_signed(name: str) -> None:
    report = judge(changed(GOOD, {"mimetype": None, name: MIMETYPE}))
    assert not report.is_valid
    assert "asic.manifest.mismatch" in [message.code for message in report.messages]


@pytest.mark.parametrize("mimetype", [None, b"application/zip", b""])
def test_time_marks_are_not_judged_without_it(mimetype: bytes | None) -> None:
    with pytest.raises(Malformed, match=r"asic\.mimetype\."):
        judge(changed(TimeMarkMaker().container(), {"mimetype": mimetype}))


@pytest.mark.parametrize(
    "changes",
    [
        {"mimetype": b"application/vnd.oasis.opendocument.text"},
        {"mimetype": b"application/epub+zip"},
        {"mimetype": None, "META-INF/container.xml": b"<container/>"},
        {"mimetype": b"text/plain", "META-INF/container.xml": b"<container/>"},
        {"mimetype": None, "META-INF/MANIFEST.MF": b"Main-Class: a"},
        {"mimetype": None, "META-INF/manifest.mf": b"Main-Class: a"},
        {"mimetype": None, SIGNATURES: None},
        {"mimetype": b"text/plain", SIGNATURES: None},
        {"mimetype": None, SIGNATURES: None, "META-INF/documentsignatures.xml": b"<a/>"},
    ],
)
def test_files_of_other_formats_are_no_containers(changes: dict[str, bytes | None]) -> None:
    with pytest.raises(Malformed, match=r"asic\.mimetype\."):
        judge(changed(GOOD, changes))


@pytest.mark.parametrize(
    ("files", "form"),
    [
        ({"a.txt": b"a", "META-INF/timestamp.tst": b"x"}, "ASiC-S"),
        ({"a.txt": b"a", "META-INF/signature.p7s": b"x"}, "ASiC-S"),
        ({"a.txt": b"a", "META-INF/signatures.xml": b"x"}, "ASiC-S"),
        ({"a.txt": b"a", "META-INF/timestamp.tst": b"x", MANIFEST: manifest("s")}, "ASiC-S"),
        ({"a.txt": b"a", "META-INF/signatures.xml": b"x", MANIFEST: manifest("s")}, "ASiC-S"),
        ({"a.txt": b"a", "META-INF/signatures.xml": b"x", MANIFEST: manifest("e")}, "ASiC-E"),
        ({"a.txt": b"a", "META-INF/signature1.p7s": b"x", "META-INF/ASiCManifest1.xml": b"x"}, "ASiC-E"),
    ],
)
def test_the_form_follows_from_the_files(files: dict[str, bytes], form: str) -> None:
    container = read(files)
    assert (container.form, container.names_its_form) == (form, False)
    with pytest.raises(Malformed, match=r"asic\.mimetype\.missing"):
        parse_container(io.BytesIO(pack(files)))


def test_several_files_or_a_folder_are_the_extended_form_and_need_a_manifest() -> None:
    for files in ({"a.txt": b"a", "b.txt": b"b"}, {"sub/a.txt": b"a"}):
        with pytest.raises(Malformed, match=r"asic\.manifest\.missing"):
            read({**files, "META-INF/signatures.xml": b"x"})


def test_what_says_that_it_is_a_container_may_hold_a_file_of_another_format() -> None:
    report = judge(changed(GOOD, {"META-INF/MANIFEST.MF": b"Main-Class: a"}))
    assert report.is_valid
    assert [message.code for message in report.messages] == ["asic.unknown_meta_file"]


def test_what_names_one_form_is_never_read_as_the_other() -> None:
    with pytest.raises(Malformed, match=r"asic\.simple\.data_file"):
        read({**unpack(GOOD), "mimetype": b"application/vnd.etsi.asic-s+zip"})


def test_nothing_is_added_to_it_or_taken_away() -> None:
    with pytest.raises(Malformed, match=r"asic\.mimetype\.missing"):
        remove_signature(changed(GOOD, {"mimetype": None}), "S1")
