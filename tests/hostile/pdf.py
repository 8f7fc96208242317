"""What attackers do to signed PDF files: the classes of published attacks (universal forgery, incremental saving,
signature wrapping, shadow, certification), signatures that are wrong inside, and files that would exhaust a parser.

Each case starts from a document that is valid. The page's text is object 4 and says 100 EUR; forgers want more.
"""

import re
import zlib
from collections.abc import Iterator
from datetime import timedelta

from fpdf import FPDF

from digiid.formats import cms
from digiid.platform.pdf import Appearance, add_time_stamp_placeholder, fill_placeholder
from tests.hostile.case import Case, failed, odd, refused, unproven
from tests.support.pdf import (
    PLAIN_OBJECTS,
    good_pdf,
    last_startxref,
    object_with,
    pades_maker,
    plain_pdf,
    sign_inside,
    simple_pdf,
    update,
    with_store,
    with_time_stamp,
    written_by_hand,
)
from tests.support.pki import NATURAL_QSCD, SIGNED_AT, make_certificate, new_key, person, shared_pki

_FORGED = PLAIN_OBJECTS[4].replace(b"100 EUR", b"900 EUR")
_FORM = "FORMAT_FAILURE"
_STRUCTURE = "validation.pades.structure"
_CHANGED = "validation.pades.changed"


def all_cases() -> Iterator[Case]:
    yield from _universal()
    yield from _incremental()
    yield from _wrapping()
    yield from _shadow()
    yield from _certified()
    yield from _inside()
    yield from _stamps()
    yield from _parsers()


def _signature_object() -> tuple[int, bytes]:
    return object_with(good_pdf(), b"/ByteRange")


def _override(pattern: bytes, replacement: bytes) -> bytes:
    """The signature dictionary written once more, changed, in an update."""
    number, value = _signature_object()
    changed = re.sub(pattern, replacement, value, count=1, flags=re.DOTALL)
    assert changed != value
    return update(good_pdf(), {number: changed})


def _in_place(pattern: bytes, make: object) -> bytes:
    """The same bytes but for one place, which keeps its length."""

    def replaced(found: re.Match[bytes]) -> bytes:
        value = make(found) if callable(make) else make
        assert isinstance(value, bytes)
        return value[: len(found[0])].ljust(len(found[0]))

    content = re.sub(pattern, replaced, good_pdf(), count=1, flags=re.DOTALL)
    assert len(content) == len(good_pdf())
    assert content != good_pdf()
    return content


def _universal() -> Iterator[Case]:
    """Nothing to verify must not mean nothing to complain about."""
    kind, contents, ranges = "pdf forgery", rb"/Contents <[0-9A-Fa-f]*>", rb"/ByteRange \[[^\]]*\]"
    for name, pattern, value in (
        ("no contents", contents, b""),
        ("contents null", contents, b"/Contents null"),
        ("contents empty", contents, b"/Contents <>"),
        ("contents zeros", contents, b"/Contents <00000000>"),
        ("contents a number", contents, b"/Contents 1"),
        ("contents an array", contents, b"/Contents [<00>]"),
        ("no byte range", ranges, b""),
        ("byte range null", ranges, b"/ByteRange null"),
        ("byte range empty", ranges, b"/ByteRange []"),
        ("byte range a string", ranges, b"/ByteRange (0 1 2 3)"),
        ("byte range negative", ranges, b"/ByteRange [0 -1 -1 10]"),
        ("byte range of nothing", ranges, b"/ByteRange [0 0 0 0]"),
        ("byte range one pair", ranges, b"/ByteRange [0 1000]"),
        ("byte range three pairs", ranges, b"/ByteRange [0 10 20 10 40 10]"),
        ("byte range huge", ranges, b"/ByteRange [0 99999999999999999999 1 99999999999999999999]"),
        ("byte range of names", ranges, b"/ByteRange [/a /b /c /d]"),
    ):
        yield failed(kind, name, lambda p=pattern, v=value: _override(p, v), _FORM, "")
    yield failed(kind, "byte range not from the beginning", lambda: _override(rb"\[0 ", b"[1 "), _FORM, "")
    yield failed(
        kind, "sub-filter of another kind", lambda: _override(rb"ETSI\.CAdES\.detached", b"adbe.pkcs7.sha1"), _FORM, ""
    )
    yield failed(kind, "sub-filter missing", lambda: _override(rb"/SubFilter /ETSI\.CAdES\.detached", b""), _FORM, "")


def _incremental() -> Iterator[Case]:
    kind = "pdf update"
    page = PLAIN_OBJECTS[3]
    yield failed(kind, "another text", lambda: update(good_pdf(), {4: _FORGED}), _FORM, _CHANGED)
    yield failed(
        kind,
        "another page",
        lambda: update(good_pdf(), {90: page, 2: b"<< /Type /Pages /Kids [90 0 R 3 0 R] /Count 2 >>"}),
        _FORM,
        _CHANGED,
    )
    yield failed(
        kind,
        "another font",
        lambda: update(good_pdf(), {5: PLAIN_OBJECTS[5].replace(b"Helvetica", b"Symbol")}),
        _FORM,
        _CHANGED,
    )
    yield failed(
        kind,
        "an annotation over the text",
        lambda: update(
            good_pdf(),
            {
                91: b"<< /Type /Annot /Subtype /FreeText /Rect [0 0 300 200] /Contents (900 EUR) /DA (/Helv 9 Tf) >>",
                3: page.replace(b"/Contents", b"/Annots [91 0 R] /Contents"),
            },
        ),
        _FORM,
        _CHANGED,
    )
    yield Case(
        kind,
        "another catalogue",
        lambda: update(good_pdf(), {92: b"<< /Type /Catalog /Pages 93 0 R >>", 93: PLAIN_OBJECTS[2]}, root=92),
        "validation.no_signature",
        "",
        "",
    )
    yield Case(kind, "the form removed", _without_form, "validation.no_signature", "", "")
    orphan = b"4 0 obj\n" + _FORGED + b"\nendobj\n"
    footer = b"startxref\n%d\n%%%%EOF\n"
    yield refused(kind, "new objects without cross-references", lambda: good_pdf() + orphan, "pdf.trailing")
    yield refused(
        kind,
        "new objects under the old cross-references",
        lambda: good_pdf() + orphan + footer % last_startxref(good_pdf()),
        "pdf.trailing",
    )
    yield refused(kind, "garbage behind the end", lambda: good_pdf() + b"garbage\n%%EOF\n", "pdf.")
    yield refused(kind, "a comment behind the end", lambda: good_pdf() + b"% seen\n", "pdf.trailing")
    yield failed(kind, "an object freed", lambda: _free(4), _FORM, _CHANGED)
    yield failed(
        kind,
        "an open action",
        lambda: update(
            good_pdf(),
            {1: object_with(good_pdf(), b"/Catalog")[1][:-2] + b"/OpenAction << /S /JavaScript /JS (x) >> >>"},
        ),
        _FORM,
        _CHANGED,
    )


def _without_form() -> bytes:
    number, value = object_with(good_pdf(), b"/Catalog")
    return update(good_pdf(), {number: re.sub(rb"/AcroForm (<<.*?>>|\d+ 0 R)", b"", value, count=1, flags=re.DOTALL)})


def _free(number: int) -> bytes:
    content = good_pdf()
    start = len(content) + 1
    table = b"\nxref\n%d 1\n0000000000 00001 f \ntrailer\n<< /Size 99 /Root 1 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n"
    return content + table % (number, last_startxref(content), start)


def _wrapping() -> Iterator[Case]:
    """The second half of the byte range moved to the end, and in between what forgers want to be seen."""
    kind = "pdf wrapping"
    for name, more in (("objects and cross-references in the gap", True), ("cross-references alone in the gap", False)):
        yield refused(kind, name, lambda m=more: _wrapped(with_objects=m), "pdf.trailing")
    for name, before, behind in (
        ("a byte before the string", -1, 0),
        ("the string without its end", 0, -1),
        ("more than the string", 0, 40),
    ):
        yield failed(kind, name, lambda b=before, e=behind: _range_around(b, e), _FORM, "")


def _range_around(before: int, behind: int) -> bytes:
    """A byte range that leaves out some bytes more or less; the offsets are made anew in the same room."""

    def moved(found: re.Match[bytes]) -> bytes:
        first, second, length = (int(found[place]) for place in (1, 2, 3))
        return b"/ByteRange [0 %d %d %d]" % (first + before, second + behind, length - behind)

    return _in_place(rb"/ByteRange \[0 (\d+) (\d+) (\d+)\] ", moved)


def _wrapped(*, with_objects: bool) -> bytes:
    """The signed startxref is left as it is; where it points lie the forger's cross-references."""
    content = sign_inside(plain_pdf(), pades_maker())
    ranges = re.search(rb"/ByteRange \[0 (\d+) (\d+) (\d+)\]", content)
    assert ranges
    second, target = int(ranges[2]), last_startxref(content)
    assert target > second
    entries = _entries(content, target)
    trailer = content[content.index(b"trailer", target) : content.index(b"startxref", target)]
    forged = b"\n4 0 obj\n" + _FORGED + b"\nendobj\n" if with_objects else b"\n"
    fake = forged.ljust(target - second)

    def table(shift: int) -> bytes:
        places = {number: offset + (shift if offset > second else 0) for number, offset in entries.items()}
        if with_objects:
            places[4] = second + 1
        rows = b"".join(b"%d 1\n%010d 00000 n \n" % (number, places[number]) for number in sorted(places))
        return b"xref\n" + rows + trailer + b"startxref\n%d\n%%%%EOF\n" % target

    shift = len(fake) + len(table(0))
    shifted = b"/ByteRange [0 %d %d %d]" % (int(ranges[1]), second + shift, len(content) - second)
    room = len(shifted) - len(ranges[0])  # the writer leaves spaces behind the array
    head = content[: ranges.start()] + shifted + content[ranges.end() + room : second]
    return head + fake + table(shift) + content[second:]


def _entries(content: bytes, at: int) -> dict[int, int]:
    """The cross-reference table at that place."""
    found: dict[int, int] = {}
    number = 0
    for line in content[at : content.index(b"trailer", at)].split(b"\n")[1:]:
        parts = line.split()
        if len(parts) == 2:
            number = int(parts[0])
        elif len(parts) == 3:
            if parts[2] == b"n":
                found[number] = int(parts[0])
            number += 1
    return found


def _shadow() -> Iterator[Case]:
    """Something prepared inside what was signed, and activated afterwards."""
    kind = "pdf shadow"
    hidden = {**PLAIN_OBJECTS, 7: _FORGED}

    def signed() -> bytes:
        return with_store(sign_inside(written_by_hand(hidden), pades_maker()))

    yield failed(
        kind,
        "hidden content put in place",
        lambda: update(signed(), {3: PLAIN_OBJECTS[3].replace(b"/Contents 4 0 R", b"/Contents 7 0 R")}),
        _FORM,
        _CHANGED,
    )
    yield failed(
        kind,
        "the cover taken away",
        lambda: update(signed(), {4: b"<< /Length 0 >>\nstream\n\nendstream"}),
        _FORM,
        _CHANGED,
    )
    yield failed(kind, "a form filled in", _filled, _FORM, "validation.pades.filled")


def _filled() -> bytes:
    """A text field that was there when it was signed gets a value."""
    objects = dict(PLAIN_OBJECTS)
    objects[1] = b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [6 0 R] >> >>"
    objects[3] = objects[3].replace(b"/Contents", b"/Annots [6 0 R] /Contents")
    field = b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (amount) /Rect [20 20 180 60] /P 3 0 R /F 4 %s>>"
    objects[6] = field % b""
    signed = with_store(sign_inside(written_by_hand(objects), pades_maker()))
    return update(signed, {6: field % b"/V (900 EUR) "})


def _certified() -> Iterator[Case]:
    kind = "pdf certification"

    def stranger() -> bytes:
        """Somebody whom no list knows signs once more, visibly, over the whole page."""
        identity = make_certificate(person("NOBODY", "38001085718"), new_key(), None, NATURAL_QSCD)
        drawn = Appearance(simple_pdf("900 EUR"), 0, (0, 0, 300, 200))
        return sign_inside(good_pdf(), pades_maker(signer=identity), appearance=drawn)

    yield unproven(
        kind, "a signature of a stranger behind it", stranger, "NO_CERTIFICATE_CHAIN_FOUND", "validation.no_chain"
    )
    yield failed(kind, "an empty visible field appended", _empty_field_appended, _FORM, "")


def _empty_field_appended() -> bytes:
    content = good_pdf()
    form_number, form = object_with(content, b"/Fields")
    page_number, page = object_with(content, b"/Type /Page\n") if b"/Type /Page\n" in content else (3, PLAIN_OBJECTS[3])
    field = b"<< /Type /Annot /Subtype /Widget /FT /Sig /T (More) /Rect [0 0 300 200] /P 3 0 R /F 4 >>"
    listed = re.sub(rb"/Fields \[([^\]]*)\]", rb"/Fields [\1 95 0 R]", form)
    annotated = re.sub(rb"/Annots \[([^\]]*)\]", rb"/Annots [\1 95 0 R]", page)
    return update(content, {95: field, form_number: listed, page_number: annotated})


def _inside() -> Iterator[Case]:
    """The document is as it was; the CMS is not what it should be."""
    kind, pki = "pdf signature", shared_pki()
    late = SIGNED_AT + timedelta(seconds=1)

    def made(**changes: object) -> bytes:
        maker = pades_maker(**changes)
        return with_store(sign_inside(plain_pdf(), maker), maker=maker)

    def stored(ocsp_der: bytes) -> bytes:
        return with_store(sign_inside(plain_pdf(), pades_maker()), ocsp_der=ocsp_der)

    other = pki.issue(person("OTHER", "38001085718"))
    no_ess = (cms.ID_SIGNING_TIME, cms.ID_SIGNING_CERTIFICATE_V2)
    yield failed(kind, "over something else", lambda: made(over=b"another document"), "HASH_FAILURE", "cms.digest")
    yield unproven(kind, "certificate not named", lambda: made(without=no_ess), "NO_SIGNING_CERTIFICATE_FOUND", "cms.")
    yield unproven(
        kind,
        "another certificate named",
        lambda: made(ess_of=other.certificate),
        "NO_SIGNING_CERTIFICATE_FOUND",
        "cms.",
    )
    yield failed(
        kind, "no message digest", lambda: made(without=(cms.ID_SIGNING_TIME, cms.ID_MESSAGE_DIGEST)), _FORM, "cms."
    )
    yield unproven(kind, "digest SHA-1", lambda: made(hash_name="sha1"), "CRYPTO_CONSTRAINTS_FAILURE", "cms.")
    yield unproven(
        kind,
        "time-stamp over something else",
        lambda: made(token_der=pki.time_stamp(b"\x00" * 32, gen_at=SIGNED_AT)),
        "SIG_CONSTRAINTS_FAILURE",
        "validation.",
    )
    yield unproven(
        kind, "no time-stamp", lambda: made(level="B"), "SIG_CONSTRAINTS_FAILURE", "validation.no_time_stamp"
    )
    yield unproven(
        kind,
        "OCSP of another certificate",
        lambda: stored(pki.ocsp(other.certificate, at=late)),
        "CERTIFICATE_CHAIN_GENERAL_FAILURE",
        "validation.no_revocation_data",
    )
    yield unproven(
        kind,
        "OCSP before the time-stamp",
        lambda: stored(pki.ocsp(pki.signer.certificate, at=SIGNED_AT - timedelta(minutes=1))),
        "TRY_LATER",
        "validation.ocsp_before_time_stamp",
    )
    yield unproven(
        kind,
        "revoked before",
        lambda: stored(
            pki.ocsp(pki.signer.certificate, at=late, status="revoked", revoked_at=SIGNED_AT - timedelta(hours=1))
        ),
        "REVOKED_NO_POE",
        "validation.revoked",
    )
    yield failed(kind, "something behind the CMS", _behind_the_cms, _FORM, "pades.contents")
    yield failed(kind, "no CMS at all", lambda: _other_contents(b"\x30\x03\x02\x01\x05"), _FORM, "")
    yield failed(kind, "not DER", lambda: _other_contents(b"\x30\x80\x00\x00"), "", "")
    yield failed(
        kind,
        "a time-stamp token in its place",
        lambda: _other_contents(pki.time_stamp(b"\x00" * 32, gen_at=SIGNED_AT)),
        "",
        "",
    )
    yield odd(kind, "signing time inside as well", lambda: made(without=()), "validation.pades.signing_time")
    yield unproven(kind, "two time-stamps, none right", _two_wrong_stamps, "SIG_CONSTRAINTS_FAILURE", "validation.")


def _two_wrong_stamps() -> bytes:
    token = shared_pki().time_stamp(b"\x01" * 32, gen_at=SIGNED_AT)
    maker = pades_maker(token_der=token + token)
    return with_store(sign_inside(plain_pdf(), maker), maker=maker)


def _contents_of(content: bytes) -> tuple[int, int]:
    start = content.index(b"/Contents <") + len(b"/Contents <")
    return start, content.index(b">", start)


def _behind_the_cms() -> bytes:
    content = bytearray(sign_inside(plain_pdf(), pades_maker()))
    _, end = _contents_of(bytes(content))
    content[end - 8 : end] = b"DEADBEEF"
    return bytes(content)


def _other_contents(value: bytes) -> bytes:
    content = sign_inside(plain_pdf(), pades_maker())
    start, end = _contents_of(content)
    return content[:start] + value.hex().encode().ljust(end - start, b"0") + content[end:]


def _stamps() -> Iterator[Case]:
    kind = "pdf time-stamp"
    late = SIGNED_AT + timedelta(minutes=5)
    yield unproven(
        kind,
        "something that is no token",
        lambda: _garbage_stamp(good_pdf()),
        "SIG_CONSTRAINTS_FAILURE",
        "validation.archive_time_stamp_broken",
    )
    yield odd(
        kind,
        "over another document, before anybody signed",
        lambda: with_store(sign_inside(with_time_stamp(plain_pdf(), over=b"x"), pades_maker())),
        "validation.archive_time_stamp",
        "does not hold",
    )
    yield unproven(
        kind,
        "over another document",
        lambda: with_time_stamp(good_pdf(), over=b"x"),
        "SIG_CONSTRAINTS_FAILURE",
        "validation.archive_time_stamp_broken",
    )
    yield unproven(
        kind,
        "older than what it covers",
        lambda: with_time_stamp(good_pdf(), at=SIGNED_AT - timedelta(hours=2)),
        "TIMESTAMP_ORDER_FAILURE",
        "validation.time_stamp_order",
    )
    yield failed(
        kind,
        "and the page changed behind it",
        lambda: update(with_time_stamp(good_pdf(), at=late), {4: _FORGED}),
        _FORM,
        _CHANGED,
    )
    yield Case(
        kind,
        "alone, and over something else",
        lambda: with_time_stamp(plain_pdf(), over=b"x"),
        "validation.time_stamp",
        "",
        "",
    )
    yield Case(
        kind,
        "alone, and changed behind it",
        lambda: update(with_time_stamp(plain_pdf()), {4: _FORGED}),
        "validation.time_stamp",
        "",
        "",
    )


def _garbage_stamp(content: bytes) -> bytes:
    place = add_time_stamp_placeholder(content, reserved_bytes=500)
    return fill_placeholder(place, b"no token at all")


def _parsers() -> Iterator[Case]:
    kind = "pdf parser"

    def with_objects(more: dict[int, bytes], root: bytes = b"") -> bytes:
        return written_by_hand({**PLAIN_OBJECTS, 1: b"<< /Type /Catalog /Pages 2 0 R %s >>" % root, **more})

    deep = b"[" * 50_000 + b"]" * 50_000
    bomb = zlib.compress(bytes(300 * 1024 * 1024), 9)
    twice = zlib.compress(zlib.compress(bytes(900 * 1024 * 1024), 9), 9)
    yield refused(kind, "encrypted", _encrypted, "pdf.encrypted")
    yield refused(kind, "hybrid cross-references", _hybrid, "pdf.")
    yield refused(kind, "nothing but a header", lambda: b"%PDF-1.7\n", "pdf.unreadable")
    yield refused(kind, "cross-references in a circle", _circle, "pdf.")
    yield refused(kind, "startxref beyond the end", lambda: _startxref(10**9), "pdf.unreadable")
    yield refused(kind, "startxref negative", lambda: _startxref(-5), "pdf.unreadable")
    yield refused(
        kind, "a billion cross-references", lambda: plain_pdf().replace(b"xref\n0 1\n", b"xref\n0 999999999\n"), "pdf."
    )
    yield refused(kind, "nested too deeply", lambda: with_objects({8: deep}, b"/AcroForm 8 0 R"), "pdf.")
    yield refused(
        kind,
        "a field tree in a circle",
        lambda: with_objects({8: b"<< /Fields [9 0 R] >>", 9: b"<< /T (a) /Kids [9 0 R] >>"}, b"/AcroForm 8 0 R"),
        "pdf.",
    )
    yield refused(kind, "a catalogue that is a number", lambda: written_by_hand({**PLAIN_OBJECTS, 1: b"5"}), "pdf.")
    yield refused(
        kind,
        "a security store that unpacks to 300 MB",
        lambda: with_objects(
            {
                8: b"<< /Certs [9 0 R] >>",
                9: b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(bomb), bomb),
            },
            b"/DSS 8 0 R",
        ),
        "pdf.",
        seconds=8,
    )
    yield refused(
        kind,
        "packed twice",
        lambda: with_objects(
            {
                8: b"<< /OCSPs [9 0 R] >>",
                9: b"<< /Filter [/FlateDecode /FlateDecode] /Length %d >>\nstream\n%s\nendstream" % (len(twice), twice),
            },
            b"/DSS 8 0 R",
        ),
        "pdf.",
        seconds=8,
    )
    yield refused(
        kind,
        "ten thousand stored values",
        lambda: with_objects(
            {8: b"<< /OCSPs [%s] >>" % (b"9 0 R " * 10_000), 9: b"<< /Length 1 >>\nstream\nx\nendstream"}, b"/DSS 8 0 R"
        ),
        "pdf.limits",
    )
    yield refused(
        kind,
        "a thousand signature fields",
        lambda: with_objects(
            {
                8: b"<< /Fields [%s] >>" % b" ".join(b"%d 0 R" % n for n in range(100, 1100)),
                **{n: b"<< /FT /Sig /T (f%d) /V 99 0 R >>" % n for n in range(100, 1100)},
                99: b"<< /Type /Sig >>",
            },
            b"/AcroForm 8 0 R",
        ),
        "pdf.limits",
        seconds=6,
    )
    yield refused(kind, "three hundred revisions", _revisions, "pdf.limits", seconds=8)


def _startxref(value: int) -> bytes:
    return re.sub(rb"startxref\n\d+", b"startxref\n%d" % value, plain_pdf())


def _encrypted() -> bytes:
    document = FPDF()
    document.set_encryption(owner_password="owner", user_password="user")
    document.add_page()
    return bytes(document.output())


def _hybrid() -> bytes:
    """A table, and beside it a stream that other readers prefer."""
    content = plain_pdf()
    at = content.rindex(b"xref\n0 1")
    rows = b"\x00\x00\x00\xff" + b"".join(b"\x01" + (9).to_bytes(2, "big") + b"\x00" for _ in range(3))
    stream = b"98 0 obj\n<< /Type /XRef /Size 4 /W [1 2 1] /Length %d >>\nstream\n%s\nendstream\nendobj\n" % (
        len(rows),
        rows,
    )
    shifted = content[:at] + stream + content[at:]
    shifted = shifted.replace(b"trailer\n<< ", b"trailer\n<< /XRefStm %d " % at)
    return re.sub(rb"startxref\n\d+", b"startxref\n%d" % (at + len(stream)), shifted)


def _circle() -> bytes:
    content = plain_pdf()
    return content.replace(b"trailer\n<< ", b"trailer\n<< /Prev %d " % last_startxref(content))


def _revisions() -> bytes:
    content = plain_pdf()
    for _ in range(300):
        content = update(content, {5: PLAIN_OBJECTS[5]})
    return content
