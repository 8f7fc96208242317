"""Checkpoints of journals: what is sealed, when, and what is noticed when somebody changes the past."""

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import MetaData, delete, insert, select, update

from digiid.formats import tsp
from digiid.formats.journal_checkpoint import JournalCheckpoint, digest_of, parse_checkpoint, sign_checkpoint
from digiid.formats.organization_seal import SealOwner
from digiid.formats.x509.path import TrustAnchors
from digiid.kernel.errors import Broken, Malformed, Refused, Unavailable
from digiid.platform import journal
from digiid.platform.checkpoints import PACKAGE, CheckpointKeeper, JournalReport, KeptJournal, verify_journal
from digiid.platform.checkpoints.store import CHECKPOINTS, StoredCheckpoint, list_checkpoints, metadata
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.disclosures import Look, disclosures_table, record_disclosure
from digiid.platform.documents.signing import KeySigner
from digiid.platform.trust import TsaClient
from tests.support.consents import ORGANIZATION_CODE, SEAL_NAME, Sealer, consent_sealer
from tests.support.pki import shared_pki
from tests.support.schema import schema_differences

HOUR = timedelta(hours=1)
UNIT = "bank"
tables = MetaData()
JOURNAL = journal.journal_table(tables)
DISCLOSURES = disclosures_table(tables)


class Tsa(TsaClient):
    """The hierarchy's unit, without a network. `down`: it does not answer."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.down = clock, False
        self.unit = shared_pki().tsu

    def fetch(self, imprint: bytes, hash_name: str) -> tuple[bytes, tsp.VerifiedTimeStamp]:
        if self.down:
            raise Unavailable("trust.tsa.http", "no answer")
        token = shared_pki().time_stamp(imprint, gen_at=self.clock.now(), hash_name=hash_name, unit=self.unit)
        return token, tsp.verify_token(token)


@dataclass
class Room:
    clock: ManualClock
    db: Database
    checkpoints: Database
    tsa: Tsa
    sealer: Sealer

    @property
    def kept(self) -> KeptJournal:
        def open_seal() -> KeySigner:
            return KeySigner(self.sealer.identity.certificate, self.sealer.key)

        return KeptJournal(UNIT, self.db, open_seal)

    @property
    def keeper(self) -> CheckpointKeeper:
        return CheckpointKeeper([self.kept], db=self.checkpoints, tsa=self.tsa, clock=self.clock)

    def write(self, entries: int = 1) -> None:
        with self.db.write() as tx:
            for n in range(entries):
                journal.record(tx, JOURNAL, kind="test.done", payload={"n": n}, at=self.clock.now())

    def seal(self) -> StoredCheckpoint:
        made = self.keeper.keep(self.kept)
        assert made is not None
        return made

    def grow(self, *entries: int) -> None:
        """So many entries before each of several checkpoints, an hour apart."""
        for count in entries:
            self.write(count)
            self.seal()
            self.clock.advance(HOUR)

    def stored(self) -> list[StoredCheckpoint]:
        with self.checkpoints.read() as tx:
            return list_checkpoints(tx, UNIT)

    def verify(self, checkpoints: list[StoredCheckpoint] | None = None) -> JournalReport:
        pki = shared_pki()
        owner = SealOwner(TrustAnchors([pki.ca.certificate]), ORGANIZATION_CODE, SEAL_NAME)
        with self.db.read() as tx:
            return verify_journal(
                tx,
                UNIT,
                self.stored() if checkpoints is None else checkpoints,
                owner=owner,
                time_stamping=TrustAnchors([pki.root.certificate]),
            )

    def rewrite(self, first: int) -> None:
        """Change an entry and make the chain right again from there: what who can write to the database can do."""
        with self.db.write() as tx:
            rows = tx.execute(select(JOURNAL).where(JOURNAL.c.number >= first).order_by(JOURNAL.c.number)).all()
            tx.execute(delete(JOURNAL).where(JOURNAL.c.number >= first))
            for row in rows:
                kind = "test.undone" if row.number == first else row.kind
                journal.record(tx, JOURNAL, kind=kind, payload={}, at=row.at)


@pytest.fixture
def room(new_database: Callable[[str], Database], clock: ManualClock) -> Room:
    db = new_database("tests.support.empty_schema")
    with db.engine.begin() as connection:
        tables.create_all(connection)
    return Room(clock, db, new_database(PACKAGE), Tsa(clock), consent_sealer())


def test_the_migrated_schema_is_what_the_code_says(room: Room) -> None:
    assert schema_differences(room.checkpoints, metadata) == []


def test_what_a_journal_grew_by_is_sealed_once_an_hour(room: Room) -> None:
    assert room.keeper.keep(room.kept) is None  # nothing to seal
    room.write(3)
    first = room.seal()
    assert parse_checkpoint(first.statement).number == first.number == 3
    room.write()
    room.clock.advance(HOUR - timedelta(seconds=1))
    assert room.keeper.keep(room.kept) is None
    room.clock.advance(timedelta(seconds=1))
    second = room.seal()
    assert parse_checkpoint(second.statement).previous == digest_of(first.statement)
    room.clock.advance(HOUR)
    assert room.keeper.keep(room.kept) is None  # nothing new
    room.write(2)
    report = room.verify()
    assert (report.entries, report.checkpoints, report.sealed_entries, report.unsealed) == (6, 2, 4, 2)
    assert report.sealed_at == second.at


def test_records_of_disclosures_are_held_against_the_journal_too(room: Room) -> None:
    look = Look(receiver="EE/GOV/1/x", purpose="a test", legal_basis="a law", service="get-person")
    with room.db.write() as tx:
        record_disclosure(
            tx,
            DISCLOSURES,
            JOURNAL,
            None,
            personal_code="60001019906",
            look=look,
            categories=("name",),
            at=room.clock.now(),
        )
    room.seal()
    assert room.verify().disclosures == 1
    with room.db.write() as tx:
        tx.execute(update(DISCLOSURES).values(purpose="another"))
    with pytest.raises(Broken, match=r"disclosures\.altered"):
        room.verify()


def test_without_a_time_stamp_there_is_no_checkpoint_and_the_next_try_makes_it(room: Room) -> None:
    room.write()
    room.tsa.down = True
    room.keeper.keep_all()
    assert room.stored() == []
    room.tsa.down = False
    room.clock.advance(timedelta(minutes=5))
    room.keeper.keep_all()
    assert [each.number for each in room.stored()] == [1]


def test_a_journal_that_cannot_be_sealed_is_told_with_the_time_left_and_then_as_a_failure(room: Room) -> None:
    keeper = room.keeper
    assert keeper.health() == {"journals": 1}
    room.write()
    room.tsa.down = True
    since = f"since {room.clock.now():%Y-%m-%d %H:%M} UTC"
    keeper.keep_all()
    assert keeper.health() == {"journals": 1, "not sealed yet": {UNIT: f"{since}, 30 min left"}}
    for _ in range(5):
        room.clock.advance(timedelta(minutes=5))
        keeper.keep_all()
    assert keeper.health()["not sealed yet"] == {UNIT: f"{since}, 5 min left"}
    room.clock.advance(timedelta(minutes=5))
    keeper.keep_all()
    with pytest.raises(Unavailable, match=r"journal\.not_sealed") as told:
        keeper.health()
    assert f"{UNIT} {since} (trust.tsa.http: no answer)" in told.value.detail
    assert "time stamps" in told.value.detail
    room.tsa.down = False
    keeper.keep_all()
    assert keeper.health() == {"journals": 1}


def test_a_journal_that_does_not_follow_is_told_as_a_failure_at_once(room: Room) -> None:
    room.grow(2)
    room.write()
    room.rewrite(2)
    keeper = room.keeper
    keeper.keep_all()
    with pytest.raises(Unavailable, match=r"journal\.not_sealed") as told:
        keeper.health()
    assert "journal.chain" in told.value.detail
    assert "digiid journal verify" in told.value.detail


def test_a_journal_whose_fault_nobody_foresaw_keeps_no_other_from_being_sealed(room: Room) -> None:
    def no_space() -> KeySigner:
        raise OSError(errno.ENOSPC, "No space left on device")

    with room.db.write() as tx:
        journal.record(tx, JOURNAL, kind="test.done", payload={}, at=room.clock.now())
    faulty = KeptJournal("faulty", room.db, no_space)
    keeper = CheckpointKeeper([faulty, room.kept], db=room.checkpoints, tsa=room.tsa, clock=room.clock)
    since = f"since {room.clock.now():%Y-%m-%d %H:%M} UTC"
    keeper.keep_all()
    assert [each.number for each in room.stored()] == [1]
    assert keeper.health() == {"journals": 2, "not sealed yet": {"faulty": f"{since}, 30 min left"}}
    room.clock.advance(timedelta(minutes=30))
    keeper.keep_all()
    with pytest.raises(Unavailable, match=r"journal\.not_sealed") as told:
        keeper.health()
    assert f"faulty {since} (journal.fault: OSError, see the log)" in told.value.detail


def test_journals_that_nobody_looks_at_are_told_too(room: Room) -> None:
    keeper = room.keeper
    room.clock.advance(timedelta(minutes=29))
    assert keeper.health() == {"journals": 1}
    room.clock.advance(timedelta(minutes=1))
    with pytest.raises(Unavailable, match=r"journal\.not_sealed"):
        keeper.health()
    keeper.keep_all()
    assert keeper.health() == {"journals": 1}


# ------------------------------------------------------------------ somebody changes the past


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_a_journal_that_was_written_anew_does_not_contain_its_checkpoints(room: Room, first: int) -> None:
    room.grow(2, 2)
    room.rewrite(first)
    with room.db.read() as tx:
        journal.verify_chain(tx, JOURNAL)  # by itself it is right
    with pytest.raises(Broken, match=r"journal\.chain"):
        room.verify()
    # and is not sealed again
    room.write()
    with pytest.raises(Broken, match=r"journal\.chain"):
        room.keeper.keep(room.kept)
    assert len(room.stored()) == 2


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_journal_whose_end_was_cut_off_is_noticed(room: Room, kept: int) -> None:
    room.grow(2, 2)
    with room.db.write() as tx:
        tx.execute(delete(JOURNAL).where(JOURNAL.c.number > kept))
    with room.db.read() as tx:
        journal.verify_chain(tx, JOURNAL)
    with pytest.raises(Broken, match=r"journal\.chain"):
        room.verify()
    with pytest.raises(Broken, match=r"journal\.chain"):
        room.keeper.keep(room.kept)


def test_a_checkpoint_that_is_missing_in_between_is_noticed(room: Room) -> None:
    room.grow(1, 1, 1)
    first, second, third = room.stored()
    for left in ([first, third], [second, third], [third]):
        with pytest.raises(Broken, match=r"journal\.checkpoints"):
            room.verify(left)
    assert room.verify([first, second]).checkpoints == 2  # an end that is missing shows in a copy only


def test_a_checkpoint_of_another_journal_or_entry_is_none_of_this_one(room: Room) -> None:
    room.grow(1)
    [stored] = room.stored()
    with pytest.raises(Broken, match=r"journal\.checkpoints"):
        room.verify([replace(stored, number=2)])
    with room.checkpoints.write() as tx:
        tx.execute(update(CHECKPOINTS).values(unit="other"))
    with room.checkpoints.read() as tx:
        [other] = list_checkpoints(tx, "other")
    with room.db.read() as tx, pytest.raises(Broken, match=r"journal\.checkpoints"):
        verify_journal(
            tx,
            "other",
            [other],
            owner=SealOwner(TrustAnchors([shared_pki().ca.certificate]), ORGANIZATION_CODE, SEAL_NAME),
            time_stamping=TrustAnchors([shared_pki().root.certificate]),
        )


def made_by(
    room: Room,
    sealer: Sealer,
    *,
    stamped_at: datetime | None = None,
    unit: object = None,
    previous: bytes | None = None,
) -> StoredCheckpoint:
    """A checkpoint of the journal's right head, by somebody."""
    with room.db.read() as tx:
        head = journal.verify_since(tx, JOURNAL, None)
    assert head is not None
    at = room.clock.now()
    said = JournalCheckpoint(UNIT, head[0], head[1], at, previous)
    statement = sign_checkpoint(said, key=sealer.key, certificates=sealer.certificates)
    token = shared_pki().time_stamp(digest_of(statement), gen_at=stamped_at or at, unit=unit)  # type: ignore[arg-type]
    return StoredCheckpoint(UNIT, head[0], statement, token, at)


def test_a_seal_or_a_time_stamp_that_does_not_count_is_refused(room: Room) -> None:
    room.write()
    assert room.verify([made_by(room, consent_sealer())]).checkpoints == 1
    late = room.clock.now() + timedelta(days=1)
    stranger = shared_pki.__wrapped__().tsu
    for stored in (
        made_by(room, consent_sealer(organization="NTREE-70000101")),
        made_by(room, consent_sealer(name="TEST other seal")),
        made_by(room, consent_sealer(years=0), stamped_at=late),
    ):
        with pytest.raises(Refused, match=r"seal\.owner"):
            room.verify([stored])
    with pytest.raises(Refused, match=r"checkpoint\.time_stamp|tsp\."):
        room.verify([made_by(room, consent_sealer(), unit=stranger)])


def test_a_second_checkpoint_of_one_entry_does_not_replace_what_the_first_says(room: Room) -> None:
    room.grow(2)
    [first] = room.stored()
    room.rewrite(1)
    second = made_by(room, room.sealer, previous=digest_of(first.statement))
    assert room.verify([made_by(room, room.sealer)]).checkpoints == 1  # by itself what was written anew is right
    with pytest.raises(Broken, match=r"journal\.checkpoints"):
        room.verify([first, second])


def test_a_changed_statement_or_another_statements_time_stamp_is_refused(room: Room) -> None:
    room.grow(1, 1)
    first, second = room.stored()
    with pytest.raises(Refused, match=r"tsp\.imprint"):
        room.verify([replace(first, time_stamp_der=second.time_stamp_der)])
    head, body, signature = first.statement.split(".")
    forged = f"{head}.{body}.{second.statement.split('.')[2]}"
    stamp = shared_pki().time_stamp(digest_of(forged), gen_at=room.clock.now())
    with pytest.raises(Refused, match=r"jws\.signature"):
        room.verify([replace(first, statement=forged, time_stamp_der=stamp)])
    with pytest.raises((Malformed, Refused)):
        room.verify([replace(first, statement=f"{head}.{body}A.{signature}")])


@pytest.mark.parametrize(
    "changes",
    [{"number": 0}, {"number": -1}, {"journal": ""}, {"journal": "Ä"}, {"hash": b"x"}, {"previous": b"short"}],
)
def test_a_statement_with_a_field_that_cannot_be_is_not_signed(room: Room, changes: dict[str, object]) -> None:
    right = JournalCheckpoint(UNIT, 1, bytes(32), room.clock.now(), None)
    sealer = consent_sealer()
    with pytest.raises(Malformed, match=r"checkpoint\.field"):
        sign_checkpoint(replace(right, **changes), key=sealer.key, certificates=sealer.certificates)  # type: ignore[arg-type]


def test_a_checkpoint_of_an_empty_place_is_not_overwritten(room: Room) -> None:
    room.write()
    stored = room.seal()
    with pytest.raises(Exception, match=r"UNIQUE|unique"), room.checkpoints.write() as tx:
        tx.execute(insert(CHECKPOINTS).values(**{n: getattr(stored, n) for n in StoredCheckpoint.__dataclass_fields__}))
