"""What a file is, is read from its content; its name says nothing."""

import io

import pytest

from digiid.kernel.errors import Malformed
from digiid.platform.documents.judging import validate_document
from tests.support.ddoc import DdocMaker
from tests.support.pki import AT, shared_pki
from tests.support.time_stamped import stamped

PKI = shared_pki()


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (PKI.container(), "ASiC-E"),
        (stamped(b"x"), "ASiC-S"),
        (DdocMaker().document(), "DIGIDOC_XML_1.3"),
        (DdocMaker(version="1.0", hashcode=True).document(), "DIGIDOC_XML_1.0_hashcode"),
    ],
)
def test_each_form_is_judged_by_its_content(content: bytes, form: str) -> None:
    report = validate_document(io.BytesIO(content), trust=PKI.trust(), at=AT, file_name="anything.txt")
    assert report.form == form
    assert report.is_valid


@pytest.mark.parametrize("content", [b"", b"x", b"<a/>", b"\x89PNG", b"SignedDoc"])
def test_what_is_no_signed_document(content: bytes) -> None:
    with pytest.raises(Malformed, match="unknown_form"):
        validate_document(io.BytesIO(content), trust=PKI.trust(), at=AT)
