"""Signatures inside PDF files, made with real trust services over HTTP and judged by our own validator; what other
programs say of them stands in tests/interop/test_pdf_referees.py."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pypdfium2
import pytest
from rich.console import Console

from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import Indication, Report, SubIndication
from digiid.formats.xades import ProductionPlace
from digiid.kernel.errors import Conflict, Malformed, Refused
from digiid.platform.clock import ManualClock
from digiid.platform.documents import KeySigner, Level
from digiid.platform.documents.commands import SigningWish
from digiid.platform.documents.extending import extend_due
from digiid.platform.documents.judging import validate_document
from digiid.platform.documents.pades import (
    PdfWish,
    PreparedPdfSignature,
    VisibleSignature,
    extend_pdf,
    finish_pdf_signature,
    prepare_pdf_signature,
    sign_pdf,
)
from digiid.platform.documents.pdf_commands import parse_visible, sign_pdf_command
from digiid.platform.entropy import SeededEntropy
from tests.support.pdf import pdf_with_empty_field, plain_pdf, simple_pdf
from tests.support.pki import AT
from tests.support.signing_room import SigningRoom, signing_room

PLACE = ProductionPlace(city="Tõrva", country_name="EE")


@pytest.fixture
def room(clock: ManualClock, entropy: SeededEntropy) -> Iterator[SigningRoom]:
    with signing_room(clock, entropy) as opened:
        yield opened


def sign(room: SigningRoom, content: bytes, signer: KeySigner | None = None, **wishes: object) -> bytes:
    return sign_pdf(content, signer=signer or room.signer(), issuers=room.issuers, trust=room.trust, **wishes)


def judge(room: SigningRoom, content: bytes) -> Report:
    now = room.trust.clock.now()
    return validate_document(io.BytesIO(content), trust=room.trust.trust(), at=now, file_name="leping.pdf")


def prepare(room: SigningRoom, content: bytes, signer: KeySigner) -> PreparedPdfSignature:
    return prepare_pdf_signature(
        content,
        certificate=signer.certificate,
        issuers=room.issuers,
        trust=room.trust.trust(),
        at=room.trust.clock.now(),
        method=signer.method,
    )


@pytest.mark.parametrize(
    ("kind", "pss"), [("p256", False), ("p384", False), ("p521", False), ("rsa", False), ("rsa", True)]
)
def test_every_kind_of_key_signs_at_lta(room: SigningRoom, kind: str, pss: bool) -> None:
    original = simple_pdf()
    signed = sign(room, original, room.signer(kind=kind, pss=pss), level=Level.LTA)

    assert signed.startswith(original)
    report = judge(room, signed)
    (signature,) = report.signatures
    assert report.is_valid
    assert report.form is None
    assert (signature.signature_format, signature.level) == ("PAdES_BASELINE_LTA", "QESIG")
    assert [stamp.indication for stamp in signature.archive_time_stamps] == ["PASSED"]
    assert signature.best_signature_at is not None


@pytest.mark.parametrize(("level", "form"), [(Level.B, "B"), (Level.T, "T"), (Level.LT, "LT")])
def test_the_level_is_the_one_asked_for(room: SigningRoom, level: Level, form: str) -> None:
    report = judge(room, sign(room, simple_pdf(), level=level))
    assert report.signatures[0].signature_format == f"PAdES_BASELINE_{form}"
    assert report.is_valid is (level is Level.LT)


def test_level_b_asks_nobody(room: SigningRoom) -> None:
    sign(room, simple_pdf(), level=Level.B)
    assert room.server.requests == []


def test_what_the_signer_says_is_in_the_report(room: SigningRoom) -> None:
    signed = sign(room, simple_pdf(), roles=["Notar"], place=PLACE, wish=PdfWish(reason="Kinnitan õigsust"))
    (signature,) = judge(room, signed).signatures
    assert signature.claimed_roles == ("Notar",)
    assert signature.reason == "Kinnitan õigsust"
    assert signature.place == (("city", "Tõrva, EE"),)
    assert signature.claimed_signing_at == AT
    assert signature.scopes[0].name == "Partial PDF"  # the security store stands behind it


def test_several_people_sign_one_after_the_other(room: SigningRoom) -> None:
    document = simple_pdf()
    for surname in ("ESIMENE", "TEINE", "KOLMAS"):
        signed = sign(room, document, room.signer(surname))
        assert signed.startswith(document)
        document = signed
    report = judge(room, document)
    assert report.is_valid
    assert [signature.file_name for signature in report.signatures] == ["Signature1", "Signature2", "Signature3"]
    assert [signature.signed_by.split(",")[0] for signature in report.signatures] == ["ESIMENE", "TEINE", "KOLMAS"]


def test_of_two_who_prepare_at_once_the_second_begins_again(room: SigningRoom) -> None:
    first, second = room.signer("ESIMENE"), room.signer("TEINE")
    original = simple_pdf()
    one, two = prepare(room, original, first), prepare(room, original, second)
    signed = finish_pdf_signature(one, first.sign(one.digest), trust=room.trust, present=original)
    with pytest.raises(Conflict) as conflict:
        finish_pdf_signature(two, second.sign(two.digest), trust=room.trust, present=signed.content)
    assert conflict.value.code == "documents.pdf.changed"


def test_a_prepared_signature_survives_being_kept(room: SigningRoom) -> None:
    signer = room.signer()
    kept = PreparedPdfSignature.from_bytes(prepare(room, simple_pdf(), signer).to_bytes())
    signed = finish_pdf_signature(kept, signer.sign(kept.digest), trust=room.trust)
    assert signed.report.is_valid
    assert signed.signature.is_valid


@pytest.mark.parametrize("cut", [0, 5, 40, 200])
def test_a_prepared_signature_that_was_cut_is_refused(room: SigningRoom, cut: int) -> None:
    kept = prepare(room, simple_pdf(), room.signer()).to_bytes()
    with pytest.raises(Malformed) as malformed:
        PreparedPdfSignature.from_bytes(kept[:cut])
    assert malformed.value.code == "documents.prepared"


def test_a_value_of_somebody_else_is_refused(room: SigningRoom) -> None:
    prepared = prepare(room, simple_pdf(), room.signer())
    with pytest.raises(Refused) as refused:
        finish_pdf_signature(prepared, room.signer("OTHER").sign(prepared.digest), trust=room.trust)
    assert refused.value.code == "xades.signature_value"
    assert room.server.requests == []


def test_signing_may_not_take_longer_than_fifteen_minutes(room: SigningRoom, clock: ManualClock) -> None:
    signer = room.signer()
    prepared = prepare(room, simple_pdf(), signer)
    clock.advance(timedelta(minutes=16))
    with pytest.raises(Refused) as refused:
        finish_pdf_signature(prepared, signer.sign(prepared.digest), trust=room.trust)
    assert refused.value.code == "documents.prepared.expired"


def test_nothing_is_signed_with_a_revoked_certificate(room: SigningRoom) -> None:
    signer = room.signer()
    room.server.status = "revoked"
    with pytest.raises(Refused) as refused:
        sign(room, simple_pdf(), signer)
    assert refused.value.code == "documents.certificate.revoked"


def test_nobody_signs_a_document_whose_signature_is_not_valid(room: SigningRoom) -> None:
    with pytest.raises(Refused) as refused:
        sign(room, sign(room, simple_pdf(), level=Level.T))
    assert refused.value.code == "documents.container.not_valid"


def test_a_field_that_waits_is_used(room: SigningRoom) -> None:
    signed = sign(room, pdf_with_empty_field("Direktor"), wish=PdfWish(field_name="Direktor"))
    report = judge(room, signed)
    assert report.is_valid
    assert report.signatures[0].file_name == "Direktor"


def test_a_field_that_is_not_there_is_refused(room: SigningRoom) -> None:
    with pytest.raises(Refused) as refused:
        sign(room, plain_pdf(), wish=PdfWish(field_name="Direktor"))
    assert refused.value.code == "pdf.field"


def test_a_visible_signature_is_seen_and_shows_no_personal_code(room: SigningRoom) -> None:
    wish = PdfWish(visible=VisibleSignature(1, (40, 40, 240, 100)), reason="Kinnitan õigsust")
    signed = sign(room, simple_pdf(), room.signer("МАНН"), wish=wish)
    assert judge(room, signed).is_valid
    document = pypdfium2.PdfDocument(signed)
    document.init_forms()
    page = document[0].render(scale=1).to_pil().convert("L")
    box = page.crop((42, page.height - 98, 238, page.height - 42))
    assert box.getextrema()[0] < 120  # ink where the field is
    assert b"38001085718" not in signed[: signed.index(b"/ByteRange")]


@pytest.mark.parametrize(
    ("page", "box"), [(0, (0, 0, 100, 50)), (1, (0, 0, 10, 50)), (1, (50, 50, 20, 20)), (1, (-5, 0, 100, 50))]
)
def test_a_visible_signature_needs_a_place(page: int, box: tuple[int, int, int, int]) -> None:
    with pytest.raises(Malformed) as malformed:
        VisibleSignature(page, box)
    assert malformed.value.code == "documents.pdf.box"


def test_a_page_that_is_not_there_is_refused(room: SigningRoom) -> None:
    with pytest.raises(Refused) as refused:
        sign(room, simple_pdf(), wish=PdfWish(visible=VisibleSignature(2, (0, 0, 100, 50))))
    assert refused.value.code == "pdf.page"


def test_a_seal_signs_too(room: SigningRoom) -> None:
    report = judge(room, sign(room, simple_pdf(), room.seal()))
    assert report.signatures[0].level == "QESEAL"


@pytest.mark.parametrize("content", [b"%PDF-1.7\n", b"%PDF-1.7\nnothing", b"%PDF-" + bytes(1000)])
def test_what_is_no_pdf_file_is_told(room: SigningRoom, content: bytes) -> None:
    with pytest.raises(Malformed) as malformed:
        sign(room, content)
    assert malformed.value.code == "pdf.unreadable"


# ------------------------------------------------------------------ made to last


def test_level_t_becomes_lt_and_lta_and_lta_again(room: SigningRoom, clock: ManualClock) -> None:
    document = sign(room, simple_pdf(), level=Level.T)
    steps = []
    for level in (Level.LT, Level.LTA, Level.LTA):
        clock.advance(timedelta(minutes=1))
        extended = extend_pdf(document, services=room.trust, level=level)
        assert extended.startswith(document)
        document = extended
        (signature,) = judge(room, document).signatures
        assert signature.is_valid
        steps.append((signature.signature_format[-3:].strip("_"), len(signature.archive_time_stamps)))
    assert steps == [("LT", 0), ("LTA", 1), ("LTA", 2)]


def test_level_b_cannot_be_extended(room: SigningRoom) -> None:
    with pytest.raises(Refused) as refused:
        extend_pdf(sign(room, simple_pdf(), level=Level.B), services=room.trust)
    assert refused.value.code == "documents.extend.level"


def test_a_document_without_a_signature_is_not_extended(room: SigningRoom) -> None:
    with pytest.raises(Refused) as refused:
        extend_pdf(simple_pdf(), services=room.trust)
    assert refused.value.code == "documents.extend.level"


def test_a_revoked_signer_is_not_completed(room: SigningRoom, clock: ManualClock) -> None:
    signer = room.signer()
    document = sign(room, simple_pdf(), signer, level=Level.T)
    room.server.status = "revoked"
    clock.advance(timedelta(minutes=1))
    with pytest.raises(Refused) as refused:
        extend_pdf(document, services=room.trust)
    assert refused.value.code == "documents.certificate.not_good"


def test_the_job_renews_what_ages(room: SigningRoom, clock: ManualClock, tmp_path: Path) -> None:
    path = tmp_path / "leping.pdf"
    path.write_bytes(sign(room, simple_pdf(), level=Level.LTA))
    before = path.read_bytes()
    (fresh,) = extend_due([path], services=room.trust)
    assert not fresh.is_renewed
    unit = judge(room, before).signatures[0].archive_time_stamps[0].tsu
    assert unit is not None
    clock.advance((unit.not_valid_after_utc - clock.now()) / 2 + timedelta(hours=1))
    services = replace(room.trust, trust=room.server.pki.trust)  # a list that lasts as long
    (due,) = extend_due([path], services=services, ahead=timedelta(days=20 * 365))
    assert due.is_renewed, due.problem
    assert path.read_bytes().startswith(before)
    report = validate_document(io.BytesIO(path.read_bytes()), trust=services.trust(), at=clock.now())
    assert len(report.signatures[0].archive_time_stamps) == 2


def test_one_signs_after_an_archive_time_stamp(room: SigningRoom) -> None:
    document = sign(room, sign(room, simple_pdf(), level=Level.LTA), room.signer("TEINE"))
    report = judge(room, document)
    assert report.is_valid
    assert [one.signature_format for one in report.signatures] == ["PAdES_BASELINE_LTA", "PAdES_BASELINE_LT"]


# ------------------------------------------------------------------ judged later


def test_it_is_valid_after_the_signers_certificate_ran_out(room: SigningRoom) -> None:
    document = sign(room, simple_pdf(), level=Level.LTA)
    later = AT + timedelta(days=365 * 6)
    report = validate_document(io.BytesIO(document), trust=room.trust.trust(), at=later)
    assert report.signatures[0].is_valid, report.signatures[0].messages


def test_a_byte_that_changed_is_found(room: SigningRoom) -> None:
    document = sign(room, plain_pdf())
    report = judge(room, document.replace(b"100 EUR", b"900 EUR"))
    (signature,) = report.signatures
    assert signature.indication is Indication.TOTAL_FAILED
    assert signature.sub_indication is SubIndication.HASH_FAILURE


def test_a_document_without_signatures_is_not_valid(room: SigningRoom) -> None:
    report = judge(room, simple_pdf())
    assert not report.is_valid
    assert [message.code for message in report.messages] == ["validation.no_signature"]


def test_whose_list_is_not_trusted_is_indeterminate(room: SigningRoom) -> None:
    document = sign(room, simple_pdf())
    nobody = VerifiedTrust([], at=AT)
    report = validate_document(io.BytesIO(document), trust=nobody, at=AT)
    assert report.signatures[0].indication is Indication.INDETERMINATE


def test_the_digest_in_the_report_is_that_of_the_byte_range(room: SigningRoom) -> None:
    document = sign(room, simple_pdf())
    (signature,) = judge(room, document).signatures
    (scope,) = signature.scopes
    numbers = [int(number) for number in scope.content.split("[")[1].rstrip("]").split(",")]
    covered = document[: numbers[1]] + document[numbers[2] : numbers[2] + numbers[3]]
    assert scope.digest == hashlib.new(scope.hash_name, covered).digest()


# ------------------------------------------------------------------ the command


def run(
    room: SigningRoom,
    paths: list[Path],
    output: Path | None = None,
    folder: Path | None = None,
    *,
    as_json: bool = False,
) -> int:
    signer = room.signer()
    return sign_pdf_command(
        paths,
        output,
        folder,
        signer=lambda: signer,
        issuers=room.issuers,
        trust=room.trust,
        wish=SigningWish(),
        pdf=PdfWish(reason="Kinnitan"),
        console=Console(file=io.StringIO(), width=200),
        as_json=as_json,
    )


def test_the_folder_for_signed_files_is_made_when_it_is_not_there(room: SigningRoom, tmp_path: Path) -> None:
    paper, folder = tmp_path / "leping.pdf", tmp_path / "new" / "signed"
    paper.write_bytes(simple_pdf("leping"))
    assert run(room, [paper], folder=folder) == 0
    assert judge(room, (folder / "leping-signed.pdf").read_bytes()).is_valid
    (tmp_path / "file").write_bytes(b"no folder")
    assert run(room, [paper], folder=tmp_path / "file") == 2


def test_the_command_signs_each_file_into_one_beside_it(room: SigningRoom, tmp_path: Path) -> None:
    paths = [tmp_path / "esimene.pdf", tmp_path / "teine.pdf"]
    for path in paths:
        path.write_bytes(simple_pdf(path.stem))
    assert run(room, paths) == 0
    for path in paths:
        assert judge(room, (tmp_path / f"{path.stem}-signed.pdf").read_bytes()).is_valid
    assert run(room, paths) == 1  # they are there already, and stay as they are


def test_the_command_signs_the_file_itself_when_told_so(room: SigningRoom, tmp_path: Path) -> None:
    path = tmp_path / "leping.pdf"
    path.write_bytes(simple_pdf())
    assert run(room, [path], output=path) == 0
    assert run(room, [path], output=path) == 0
    assert judge(room, path.read_bytes()).valid_count == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_one_file_that_cannot_be_read_does_not_stop_the_others(
    room: SigningRoom, tmp_path: Path, as_json: bool
) -> None:
    good, bad, folder = tmp_path / "good.pdf", tmp_path / "bad.pdf", tmp_path / "out"
    folder.mkdir()
    good.write_bytes(simple_pdf())
    bad.write_bytes(b"not a PDF file")
    assert run(room, [bad, good], folder=folder, as_json=as_json) == 2
    assert [path.name for path in folder.iterdir()] == ["good-signed.pdf"]


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "a,b,c,d,e", "1,0,0,10,10"])
def test_a_place_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Malformed) as malformed:
        parse_visible(text)
    assert malformed.value.code == "documents.pdf.box"
