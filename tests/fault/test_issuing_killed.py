"""kill -9 between any two lines of the issuing ladder: the restart resumes, and nothing is lost or doubled.

The victim is a forked process under sys.settrace that kills itself at its n-th executed line of the
CA's use cases and store. Then another process's worth of objects opens the same database, resumes,
and asks again. No hook in the product: lines are counted from outside.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import CodeType

import pytest
from cryptography import x509

from digiid.formats.x509.build import tbs_of
from digiid.institutions.trust_services.ca import store, use_cases
from digiid.institutions.trust_services.ca.domain import Order
from digiid.institutions.trust_services.ca.store import Step
from digiid.institutions.trust_services.domain import CertificateState
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from tests.support import killed
from tests.support.killed import statements_of
from tests.unit.institutions.trust_services.ca_setup import CA_PACKAGE, ca_over, order_for, shared_hierarchy


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """In memory where there is such a folder: a killed process leaves what it wrote, flushed to a disk or not."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


_STATEMENTS = statements_of((use_cases.__file__, store.__file__))


def is_traced(code: CodeType) -> bool:
    """The ladder itself, and what writes for it; reading a row back has nothing to interrupt."""
    writes = code.co_name.startswith(("record_", "store_"))
    return code.co_filename == use_cases.__file__ or (code.co_filename == store.__file__ and writes)


@dataclass
class Bench:
    """One database file, set back to its empty schema for each kill. One engine: its compiled SQL is kept."""

    folder: Path
    db: Database
    empty: bytes

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def reset(self) -> None:
        self.db.close()
        for end in ("", "-wal", "-shm"):
            (self.folder / f"ca.sqlite{end}").unlink(missing_ok=True)
        (self.folder / "ca.sqlite").write_bytes(self.empty)

    def open_ca(self) -> use_cases.Deps:
        return ca_over(self.db, at_noon(), SystemEntropy())


@pytest.fixture(scope="module")
def bench(folder: Path) -> Bench:
    db = Database.sqlite(folder / "ca.sqlite")
    db.migrate(CA_PACKAGE)
    db.close()
    return Bench(folder, db, (folder / "ca.sqlite").read_bytes())


def run_until(bench: Bench, order: Order, *, kill_at: int | None) -> bool:
    """Issue in a child that kills itself before its `kill_at`-th line. True when it was killed."""
    bench.db.close()

    def work() -> Callable[[], object]:
        deps = bench.open_ca()
        return lambda: use_cases.issue_certificates(deps, order)

    return killed.run_until(work, statements=_STATEMENTS, is_traced=is_traced, kill_at=kill_at, log=bench.log)


def signed_by_the_ca(deps: use_cases.Deps) -> list[store.StoredCertificate]:
    with deps.db.read() as tx:
        serials = tx.execute(store.CERTIFICATES.select()).all()
        return [store.get_certificate(tx, serial_number=int(row.serial_number, 16)) for row in serials]


@pytest.fixture(scope="module")
def line_count(bench: Bench) -> int:
    """How many lines an undisturbed issuing executes."""
    bench.reset()
    assert not run_until(bench, order_for(), kill_at=None)
    return int(bench.log.read_text())


def at_noon() -> ManualClock:
    clock = ManualClock(shared_hierarchy().issuing.certificate.not_valid_before_utc)
    clock.advance(timedelta(hours=2))
    return clock


def test_an_issuing_killed_before_any_line_is_finished_by_the_restart(bench: Bench, line_count: int) -> None:
    assert line_count > 60
    steps_met: Counter[str] = Counter()
    for kill_at in range(1, line_count + 1):
        bench.reset()
        steps_met[_check_one(bench, kill_at)] += 1
    # The table is worth something only if the kills fell on every step of the ladder.
    assert set(steps_met) >= {"nothing", "recorded+recorded", "stored+recorded", "signed+recorded", "signed+stored"}


def _check_one(bench: Bench, kill_at: int) -> str:
    order = order_for()
    assert run_until(bench, order, kill_at=kill_at)

    # what the crash left: serials recorded before anything was signed
    deps = bench.open_ca()
    left = signed_by_the_ca(deps)
    before = {one.serial_number: one for one in left}
    found = "+".join(sorted((one.step.value for one in left), key=_ORDER.index)) or "nothing"

    # the restart resumes, and asking again gives the whole pair
    assert use_cases.resume_orders(deps) == (1 if any(one.step is not Step.SIGNED for one in left) else 0)
    issued = use_cases.issue_certificates(deps, order)

    # no serial is used twice, none that was taken is dropped, and what was stored is what was signed
    after = signed_by_the_ca(deps)
    assert len(after) == 2 and set(before) <= {one.serial_number for one in after}
    assert {one.certificate_der for one in after} == {issued.authentication_der, issued.signature_der}
    for one in after:
        assert one.step is Step.SIGNED and one.certificate_der is not None
        certificate = x509.load_der_x509_certificate(one.certificate_der)
        assert certificate.serial_number == one.serial_number
        certificate.verify_directly_issued_by(shared_hierarchy().issuing.certificate)
        earlier = before.get(one.serial_number)
        if earlier is not None and earlier.tbs_der is not None:
            assert tbs_of(one.certificate_der) == earlier.tbs_der
        if earlier is not None and earlier.certificate_der is not None:
            assert one.certificate_der == earlier.certificate_der

    # each certificate is journaled once and on hold
    with deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)
        kinds = Counter(row.kind for row in tx.execute(store.JOURNAL.select()))
    assert kinds == {"serials_recorded": 1, "certificate_issued": 2}
    statuses = use_cases.get_statuses(deps, order.document_number)
    assert [status.state for status in statuses] == [CertificateState.ISSUED_ON_HOLD] * 2
    return found


_ORDER = ["signed", "stored", "recorded"]


def test_the_tracer_counts_the_same_lines_each_time(bench: Bench, line_count: int) -> None:
    bench.reset()
    assert not run_until(bench, order_for(), kill_at=line_count + 1)
    assert int(bench.log.read_text()) == line_count
