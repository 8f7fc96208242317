"""PDF files for tests: made by fpdf2, or by hand so that wrong ones can be made as easily as right ones."""

import functools
import hashlib
import io
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from fpdf import FPDF

from digiid.formats.cms import ID_SIGNING_TIME
from digiid.platform.pdf import (
    add_signature_placeholder,
    add_store,
    add_time_stamp_placeholder,
    fill_placeholder,
)
from tests.support.cades import CadesMaker
from tests.support.pki import AT, SIGNED_AT, Identity, shared_pki


def simple_pdf(text: str = "Leping / Agreement", *, pages: int = 1, at: datetime = AT) -> bytes:
    """A PDF file with a line of text on each page."""
    document = FPDF()
    document.set_creation_date(at)
    document.set_font("Helvetica", size=20)
    for number in range(1, pages + 1):
        document.add_page()
        document.cell(0, 10, f"{text} {number}")
    return bytes(document.output())


def written_by_hand(objects: Mapping[int, bytes], *, root: int = 1) -> bytes:
    """A PDF file with these numbered objects and a cross-reference table."""
    return b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + _section(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", objects, root=root, first=True)


def appended(content: bytes, objects: Mapping[int, bytes], *, root: int, previous: int, size: int) -> bytes:
    """An incremental update with these objects; `previous` is where the last cross-reference section lies."""
    return content + _section(content, objects, root=root, previous=previous, size=size)


def last_startxref(content: bytes) -> int:
    return int(content[content.rindex(b"startxref") + 9 :].split()[0])


def _section(
    before: bytes,
    objects: Mapping[int, bytes],
    *,
    root: int,
    first: bool = False,
    previous: int | None = None,
    size: int | None = None,
) -> bytes:
    body, offsets = b"", {}
    if not before.endswith(b"\n"):
        body = b"\n"
    for number, value in sorted(objects.items()):
        offsets[number] = len(before) + len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, value)
    start = len(before) + len(body)
    table = b"xref\n"
    if first:
        table += b"0 1\n0000000000 65535 f \n"
    for number, offset in offsets.items():
        table += b"%d 1\n%010d 00000 n \n" % (number, offset)
    trailer = b"/Size %d /Root %d 0 R" % (size or max(objects) + 1, root)
    if previous is not None:
        trailer += b" /Prev %d" % previous
    return body + table + b"trailer\n<< %s >>\nstartxref\n%d\n%%%%EOF\n" % (trailer, start)


_TEXT = b"BT /F1 18 Tf 20 100 Td (I owe you 100 EUR) Tj ET"
PLAIN_OBJECTS = {
    1: b"<< /Type /Catalog /Pages 2 0 R >>",
    2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R "
    b"/Resources << /Font << /F1 5 0 R >> >> >>",
    4: b"<< /Length %d >>\nstream\n%s\nendstream" % (len(_TEXT), _TEXT),
    5: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
}


def plain_pdf() -> bytes:
    """One page by hand; its content stream is object 4, its text says 100 EUR."""
    return written_by_hand(PLAIN_OBJECTS)


def pdf_with_empty_field(name: str = "Direktor") -> bytes:
    """One page with a signature field that waits."""
    objects = dict(PLAIN_OBJECTS)
    objects[1] = b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [6 0 R] /SigFlags 1 >> >>"
    objects[3] = objects[3].replace(b"/Contents", b"/Annots [6 0 R] /Contents")
    objects[6] = (
        b"<< /Type /Annot /Subtype /Widget /FT /Sig /T (%s) /Rect [20 20 180 60] /P 3 0 R /F 4 >>" % name.encode()
    )
    return written_by_hand(objects)


# ------------------------------------------------------------------ signed ones, right unless told otherwise


def sign_inside(content: bytes, maker: CadesMaker, **wishes: Any) -> bytes:
    """A signature appended as the maker makes it; `maker.level` is B or T, validation data stands in no CMS here."""
    place = add_signature_placeholder(content, claimed_at=maker.signed_at, reserved_bytes=12_000, **wishes)
    covered = place.content[: place.start] + place.content[place.end :]
    return fill_placeholder(place, maker.sign(covered))


def pades_maker(**changes: Any) -> CadesMaker:
    """Level T, without the signing time that PAdES says elsewhere."""
    return CadesMaker(**{"level": "T", "without": (ID_SIGNING_TIME,), **changes})


def with_store(content: bytes, *, maker: CadesMaker | None = None, ocsp_der: bytes | None = None) -> bytes:
    """The validation data of the maker's signer appended: level LT."""
    maker = maker or pades_maker()
    signer, pki = maker.signer or maker.pki.signer, maker.pki
    response = ocsp_der or pki.ocsp(signer.certificate, at=maker.signed_at + timedelta(seconds=1))
    return add_store(content, certificates_der=[pki.ca.der], ocsp_der=[response])


def with_stored_lists(content: bytes, *crls_der: bytes) -> bytes:
    """Revocation lists appended, in the security store that is there or in a new one; written by pyHanko."""
    from asn1crypto.crl import CertificateList
    from pyhanko.sign.validation.dss import DocumentSecurityStore

    out = io.BytesIO(content)
    DocumentSecurityStore.add_dss(out, None, crls=[CertificateList.load(crl_der) for crl_der in crls_der])
    return out.getvalue()


def with_time_stamp(
    content: bytes,
    *,
    at: datetime = SIGNED_AT,
    over: bytes | None = None,
    unit: Identity | None = None,
    edit_token: Callable[[bytes], bytes] = lambda token: token,
) -> bytes:
    """A document time-stamp appended: level LTA. `over` is stamped in place of the document."""
    place = add_time_stamp_placeholder(content, reserved_bytes=10_000)
    covered = place.content[: place.start] + place.content[place.end :]
    imprint = hashlib.sha256(covered if over is None else over).digest()
    return fill_placeholder(place, edit_token(shared_pki().time_stamp(imprint, gen_at=at, unit=unit)))


@functools.cache
def good_pdf() -> bytes:
    """`plain_pdf` signed at level LT."""
    return with_store(sign_inside(plain_pdf(), pades_maker()))


def update(content: bytes, objects: Mapping[int, bytes], *, root: int | None = None) -> bytes:
    """An incremental update over whatever is there, well-formed."""
    trailer = content[content.rindex(b"trailer") :]
    found = re.search(rb"/Size (\d+)", trailer), re.search(rb"/Root (\d+) 0 R", trailer)
    assert found[0] and found[1]
    size = max(int(found[0][1]), max(objects, default=0) + 1)
    return appended(content, objects, root=root or int(found[1][1]), previous=last_startxref(content), size=size)


def object_with(content: bytes, mark: bytes) -> tuple[int, bytes]:
    """Number and content of the last object that has this mark."""
    at = content.rindex(mark)
    start = list(re.finditer(rb"(\d+) 0 obj\s", content[:at]))[-1]
    end = content.index(b"endobj", at)
    return int(start[1]), content[start.end() : end].strip()
