"""kill -9 between any two lines of taking a signature's value: no container is lost, no value counts twice.

The victim is a forked process under sys.settrace that kills itself at its n-th statement of the service's use cases
and store. Then the same value is brought again, as a client does that had no answer. No hook in the product.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import validate_container
from digiid.institutions.information_authority.signing_service import store, use_cases
from digiid.institutions.information_authority.signing_service.app import PACKAGE
from digiid.institutions.information_authority.signing_service.clients import Registry
from digiid.institutions.information_authority.signing_service.domain import Form
from digiid.institutions.information_authority.signing_service.settings import Settings
from digiid.institutions.information_authority.signing_service.use_cases import Address, Deps, SigningRequest
from digiid.kernel.errors import Conflict, NotFound
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.documents import KeySigner, TrustServices
from digiid.platform.entropy import SeededEntropy, SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.trust import AllowedHosts, OcspClient, TsaClient
from tests.support import killed
from tests.support.killed import statements_of
from tests.support.pki import AT, FILES
from tests.support.signing_room import SigningRoom, signing_room

CLIENT = "11111111-1111-1111-1111-111111111111"
_STATEMENTS = statements_of((use_cases.__file__, store.__file__))


def is_traced(code: CodeType) -> bool:
    """The ladder itself, and what writes for it; reading a row back has nothing to interrupt."""
    writes = code.co_name.startswith(("move_", "change_"))
    steps = code.co_name in ("complete", "_take", "_finish")
    return (code.co_filename == use_cases.__file__ and steps) or (code.co_filename == store.__file__ and writes)


@dataclass
class Bench:
    """A database with one container and one signature that waits for its value, set back for each kill."""

    room: SigningRoom
    file: Path
    content: bytes
    where: Address
    signature_id: str
    value: bytes
    signer: KeySigner

    def open(self) -> Deps:
        """As a new process has it: connections of its own."""
        clock, http, entropy = ManualClock(AT), HttpClient(), SystemEntropy()
        hosts = AllowedHosts.of_urls(self.room.server.base)
        trust = self.room.trust.trust()
        services = TrustServices(
            tsa=TsaClient(http, entropy, clock, address=f"{self.room.server.base}/tsa"),
            ocsp=OcspClient(http, entropy, clock, hosts=hosts),
            trust=lambda: trust,
            clock=clock,
        )
        return deps_over(Database.sqlite(self.file), services, self.room)

    def reset(self) -> None:
        for end in ("-wal", "-shm"):
            self.file.with_name(self.file.name + end).unlink(missing_ok=True)
        self.file.write_bytes(self.content)


def deps_over(database: Database, services: TrustServices, room: SigningRoom) -> Deps:
    registry = Registry(database, services.clock, SystemEntropy(), b"m" * 32)
    return Deps(database, services.clock, SystemEntropy(), registry, room.issuers, services, Settings())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with signing_room(ManualClock(AT), SeededEntropy(b"killed")) as room:
        file = tmp_path_factory.mktemp("killed") / "signing.sqlite"
        database = Database.sqlite(file)
        database.migrate(PACKAGE)
        deps, signer = deps_over(database, room.trust, room), room.signer()
        where = Address(CLIENT, Form.ASICE, use_cases.create_container(deps, CLIENT, name="a.asice", files=FILES))
        to_sign = use_cases.prepare(deps, where, request_of(signer))
        database.close()
        value = signer.sign(to_sign.digest)
        yield Bench(room, file, file.read_bytes(), where, to_sign.signature_id, value, signer)


def request_of(signer: KeySigner) -> SigningRequest:
    return SigningRequest(signer.certificate.public_bytes(Encoding.DER))


def run_until(bench: Bench, *, kill_at: int | None) -> bool:
    """Complete in a child that kills itself before its `kill_at`-th statement. True when it was killed."""

    def work() -> Callable[[], object]:
        deps = bench.open()
        return lambda: use_cases.complete(deps, bench.where, bench.signature_id, bench.value)

    log = bench.file.with_name("log")
    return killed.run_until(work, statements=_STATEMENTS, is_traced=is_traced, kill_at=kill_at, log=log)


def signatures(deps: Deps, bench: Bench, trust: VerifiedTrust) -> int:
    """How many signatures the container has; all of them are valid, and it is there."""
    content = use_cases.get_container(deps, bench.where).content
    report = validate_container(io.BytesIO(content), trust=trust, at=AT)
    assert report.data_files == tuple(file.name for file in FILES)
    assert report.valid_count == len(report.signatures)
    return len(report.signatures)


def test_a_service_killed_before_any_line_loses_no_container_and_takes_no_value_twice(bench: Bench) -> None:
    bench.reset()
    assert not run_until(bench, kill_at=None)
    lines = int(bench.file.with_name("log").read_text())
    trust, ends = bench.room.trust.trust(), Counter[str]()
    for kill_at in range(1, lines + 1):
        bench.reset()
        assert run_until(bench, kill_at=kill_at)
        deps = bench.open()
        try:
            there = signatures(deps, bench, trust)
            try:
                use_cases.complete(deps, bench.where, bench.signature_id, bench.value)
                ends["finished before" if there else "taken now"] += 1
            except Conflict as error:
                assert error.code == "signing.prepared.used" and there == 0
                ends["used up"] += 1
                again = use_cases.prepare(deps, bench.where, request_of(bench.signer))
                use_cases.complete(deps, bench.where, again.signature_id, bench.signer.sign(again.digest))
            assert signatures(deps, bench, trust) == 1, f"killed before statement {kill_at}"
        finally:
            deps.db.close()
    # all three ends were met, or the kills were not where it matters
    assert set(ends) == {"finished before", "taken now", "used up"} and lines >= 20, (lines, ends)


def test_an_end_that_was_reached_is_never_undone(bench: Bench) -> None:
    bench.reset()
    assert not run_until(bench, kill_at=None)
    deps = bench.open()
    content = use_cases.get_container(deps, bench.where).content
    use_cases.complete(deps, bench.where, bench.signature_id, bench.value)
    assert use_cases.get_container(deps, bench.where).content == content
    stranger = replace(bench.where, client_id="22222222-2222-2222-2222-222222222222")
    with pytest.raises(NotFound, match=r"signing\.container"):
        use_cases.complete(deps, stranger, bench.signature_id, bench.value)
    deps.db.close()
