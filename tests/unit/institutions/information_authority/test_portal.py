import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.contracts.members import INFORMATION_AUTHORITY
from digiid.contracts.police_board import ReportMisuse
from digiid.exchange.client import Client
from digiid.formats.asic import DataFile
from digiid.formats.validation.qualification import Qualification
from digiid.institutions.information_authority import jobs, store, use_cases
from digiid.institutions.information_authority.domain import clean_file_name
from digiid.institutions.information_authority.settings import Settings
from digiid.institutions.information_authority.use_cases import UNSIGNED_FILES_KEPT, Deps
from digiid.institutions.information_authority.web.tracker import split_purpose
from digiid.institutions.information_authority.web.words import KIND
from digiid.kernel.errors import Malformed, NotFound, Refused, Unavailable
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.documents import TrustServices
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.outbox import OutboxMessage, Worker
from digiid.platform.trust import AllowedHosts, OcspClient, TsaClient
from digiid.platform.web.sign_in import SignedInPerson
from tests.support.pki import FILES, shared_pki
from tests.support.schema import schema_differences

MARY, HUGO = "60001019906", "38001085718"
AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
LETTER = DataFile("letter.txt", "text/plain", b"Dear state,\n")
NOBODY_IS_ASKED = "http://127.0.0.1:9"


@pytest.fixture
def deps(new_database: Callable[[str], Database], clock: ManualClock) -> Deps:
    return Deps(
        new_database("digiid.institutions.information_authority"),
        clock,
        SystemEntropy(),
        Client(INFORMATION_AUTHORITY, server_url=NOBODY_IS_ASKED, http=HttpClient(), entropy=SystemEntropy()),
        TrustServices(
            TsaClient(HttpClient(), SystemEntropy(), clock, address=NOBODY_IS_ASKED),
            OcspClient(HttpClient(), SystemEntropy(), clock, hosts=AllowedHosts.of_urls(NOBODY_IS_ASKED)),
            shared_pki().trust,
            clock,
        ),
        Settings(keep_days=14, max_files=3, max_documents=5, max_upload_bytes=2000),
    )


def upload(deps: Deps, *files: DataFile, by: str = MARY) -> str:
    return use_cases.upload_files(deps, by, files or (LETTER,))


def test_the_migrated_schema_is_what_the_code_says(deps: Deps) -> None:
    assert schema_differences(deps.db, store.metadata) == []


def test_what_is_shown_is_what_will_be_signed(deps: Deps) -> None:
    document_id = upload(deps, LETTER, replace(LETTER, name="second.txt", content=b"2"))
    shown = use_cases.show_document(deps, MARY, document_id)
    document, seen = shown.document, shown.files
    assert (document.name, document.file_count, document.signed_at) == ("letter.txt", 2, None)
    assert [(file.name, file.size) for file in seen] == [("letter.txt", 12), ("second.txt", 1)]
    assert seen[1].sha256 == "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
    assert use_cases.open_to_sign(deps, MARY, document_id).files[0] == LETTER
    assert use_cases.read_file(deps, MARY, document_id, 0) == LETTER


def test_the_container_takes_the_place_of_the_files(deps: Deps) -> None:
    document_id = upload(deps)
    use_cases.keep_signed(deps, MARY, document_id, b"container")
    document, container = use_cases.read_container(deps, MARY, document_id)
    assert container == b"container"
    assert (document.signed_at, document.keep_until) == (AT, AT + timedelta(days=14))
    assert document.file_count == 0
    with pytest.raises(NotFound):
        use_cases.open_to_sign(deps, MARY, document_id)
    with deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)


def test_nobody_reaches_another_persons_document(deps: Deps) -> None:
    document_id = upload(deps)
    for question in (use_cases.show_document, use_cases.open_to_sign, use_cases.read_container):
        with pytest.raises(NotFound, match="no_document"):
            question(deps, HUGO, document_id)
    for act in (use_cases.delete_document, lambda *args: use_cases.keep_signed(*args, b"forged")):
        with pytest.raises(NotFound, match="no_document"):
            act(deps, HUGO, document_id)
    assert use_cases.own_documents(deps, HUGO) == []
    assert len(use_cases.own_documents(deps, MARY)) == 1


def test_a_file_that_is_not_there_is_not_found(deps: Deps) -> None:
    document_id = upload(deps)
    for position in (-1, 1, 10**6):
        with pytest.raises(NotFound):
            use_cases.read_file(deps, MARY, document_id, position)


def test_deleting_leaves_nothing_behind(deps: Deps) -> None:
    document_id = upload(deps)
    use_cases.delete_document(deps, MARY, document_id)
    assert use_cases.own_documents(deps, MARY) == []
    with deps.db.read() as tx:
        assert store.read_files(tx, document_id) == []
        assert store.read_container(tx, document_id) is None


def test_what_was_kept_long_enough_goes_by_itself(deps: Deps, clock: ManualClock) -> None:
    unsigned, signed = upload(deps), upload(deps)
    use_cases.keep_signed(deps, MARY, signed, b"container")
    clock.advance(UNSIGNED_FILES_KEPT)
    assert use_cases.delete_past(deps) == 0
    clock.advance(timedelta(seconds=1))
    assert use_cases.delete_past(deps) == 1
    assert [document.document_id for document in use_cases.own_documents(deps, MARY)] == [signed]
    with deps.db.read() as tx:
        assert store.read_files(tx, unsigned) == []
    clock.advance(timedelta(days=14))
    assert use_cases.delete_past(deps) == 1


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "at least one"),
        ([replace(LETTER, name=f"{n}.txt") for n in range(4)], "too many"),
        ([replace(LETTER, content=b"x" * 2001)], "too large"),
        ([replace(LETTER, content=b"")], "empty"),
        ([LETTER, replace(LETTER, name="LETTER.TXT")], "same name"),
        ([replace(LETTER, name="ä.txt"), replace(LETTER, name="ä.txt")], "same name"),
        ([replace(LETTER, name="mimetype")], "same name"),
    ],
)
def test_files_that_cannot_be_signed_are_refused_with_the_reason(deps: Deps, files: list[DataFile], words: str) -> None:
    with pytest.raises(Refused, match=r"portal\.files") as error:
        use_cases.upload_files(deps, MARY, files)
    assert words in (error.value.public or "")
    assert use_cases.own_documents(deps, MARY) == []


def test_nobody_fills_the_portal(deps: Deps) -> None:
    kept = [upload(deps) for _ in range(5)]
    with pytest.raises(Refused, match=r"portal\.full"):
        upload(deps)
    upload(deps, by=HUGO)
    use_cases.delete_document(deps, MARY, kept[0])
    upload(deps)


def test_a_sign_in_is_seen_by_its_person_only(deps: Deps) -> None:
    person = SignedInPerson(MARY, "MARY ÄNN", "TEST", "e_resident", "0" * 64, "1f", AT)
    assert use_cases.admit(deps, person) == {}
    (seen,) = use_cases.own_sign_ins(deps, MARY)
    assert (seen.policy, seen.signed_in_at, seen.certificate_serial) == ("e_resident", AT, "1f")
    assert use_cases.own_sign_ins(deps, HUGO) == []


def test_a_report_of_misuse_waits_until_the_board_has_it(deps: Deps, clock: ManualClock) -> None:
    receipt = use_cases.report_misuse(
        deps, what_happened="Somebody uses my card", document_number="NS0000009", service="", contact=""
    )
    delivered: list[ReportMisuse] = []

    def board_is_away(_message: OutboxMessage) -> None:
        raise Unavailable("http.unreachable", "the board")

    def board(message: OutboxMessage) -> None:
        delivered.append(ReportMisuse.model_validate(message.payload))

    assert set(jobs.outbox_handlers(deps)) == {"report_misuse"}
    worker = Worker("portal", deps.db, store.OUTBOX, clock, {"report_misuse": board_is_away})
    assert worker.deliver_due() == 0
    clock.advance(timedelta(hours=1))
    later = Worker("portal", deps.db, store.OUTBOX, clock, {"report_misuse": board})
    assert later.deliver_due() == 1
    assert (delivered[0].report_id, delivered[0].what_happened) == (receipt, "Somebody uses my card")
    assert later.deliver_due() == 0


def test_a_container_is_judged_and_nothing_of_it_is_kept(deps: Deps) -> None:
    report = use_cases.validate(deps, shared_pki().container(FILES), "contract.asice")
    assert (report.is_valid, report.file_name) == (True, "contract.asice")
    assert use_cases.own_documents(deps, MARY) == []


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 300, shared_pki().container()[:-40]])
def test_what_is_no_container_is_malformed_and_nothing_else(deps: Deps, content: bytes) -> None:
    with pytest.raises(Malformed):
        use_cases.validate(deps, content, "x.asice")


# ------------------------------------------------------------------ names of files


@given(st.text(max_size=400))
def test_a_cleaned_name_is_flat_visible_and_short(name: str) -> None:
    clean = clean_file_name(name)
    assert 1 <= len(clean) <= 150
    assert not {"/", "\\", "\x00", "\n", "\u202e"} & set(clean)
    assert clean not in (".", "..")
    assert clean_file_name(clean) == clean


@pytest.mark.parametrize(
    ("given_name", "clean"),
    [
        ("C:\\Users\\Mary\\letter.pdf", "letter.pdf"),
        ("../../etc/passwd", "passwd"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("…/", "file"),
        ("  õ ä.txt ", "õ ä.txt"),
    ],
)
def test_names_show_what_a_file_is(given_name: str, clean: str) -> None:
    assert clean_file_name(given_name) == clean


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("application cfc16f74-fe88", ("application", "cfc16f74-fe88")),
        ("notice 1", ("notice", "1")),
        ("application", ("application", "")),
        ("background check", ("background check", "")),
    ],
)
def test_a_purpose_with_a_number_is_split_so_that_its_words_are_translated(action: str, said: tuple[str, str]) -> None:
    assert split_purpose(action) == said


def test_every_level_that_a_valid_signature_can_have_is_told_in_words() -> None:
    levels = {Qualification(*facts).level for facts in itertools.product((True, False), repeat=3)}
    assert KIND.keys() == levels
