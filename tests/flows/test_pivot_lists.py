"""The signers of a list of lists change twice; whoever pinned the first ones finds the way through pivot lists, and is
led astray by nobody."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from digiid.formats.trusted_list import (
    TYPE_GENERIC,
    TYPE_LIST_OF_LISTS,
    ListedPointer,
    build_trusted_list,
    sign_trusted_list,
)
from digiid.formats.trusted_list.pivots import MAX_PIVOTS
from digiid.kernel.errors import Malformed, Refused, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.entropy import SeededEntropy
from digiid.platform.http import HttpClient
from digiid.platform.trust import AllowedHosts, ListSource, TrustedListStore
from tests.support.pki import AT, DAY, Identity, distinguished_name, make_certificate, new_key, shared_pki
from tests.support.trust_server import TrustServer, running_trust_server

FIRST, SECOND, THIRD, STRANGER = (
    make_certificate(distinguished_name(f"TEST list signer {number}"), new_key(), None, ()) for number in range(1, 5)
)


class Scheme:
    """A list of lists on a server, with pivots, as the tests want them."""

    def __init__(self, server: TrustServer, folder: Path, clock: ManualClock) -> None:
        self.server, self.folder, self.clock = server, folder, clock
        self.http = HttpClient(timeout_seconds=10)

    def publish(
        self,
        name: str,
        *,
        signer: Identity,
        announces: Identity,
        number: int,
        pivots: tuple[str, ...] = (),
        territory: str = "EU",
        list_type: str = TYPE_LIST_OF_LISTS,
        age: int = 0,
    ) -> None:
        pki, base = shared_pki(), self.server.base
        content = pki.list_content(
            list_type=list_type,
            territory=territory,
            scheme_name=f"{territory}:TEST list of lists",
            sequence_number=number,
            issued_at=AT - (10 + age) * DAY,
            next_update_at=AT + (170 - age) * DAY,
            providers=(),
            pivots=tuple(f"{base}{pivot}" for pivot in pivots),
            pointers=(
                ListedPointer(f"{base}/lotl.xml", territory, "TEST", (announces.certificate,), TYPE_LIST_OF_LISTS),
                ListedPointer(f"{base}/ee.xml", "EE", "TEST", (pki.list_signer.certificate,), TYPE_GENERIC),
            ),
        )
        self.server.lists[name] = sign_trusted_list(
            build_trusted_list(content), key=signer.key, certificate=signer.certificate, claimed_signing_at=AT
        )

    def rotate_twice(self) -> None:
        self.publish("/pivot-1.xml", signer=FIRST, announces=SECOND, number=10, age=400)
        self.publish("/pivot-2.xml", signer=SECOND, announces=THIRD, number=20, age=200)
        self.publish_newest()

    def publish_newest(self, pivots: tuple[str, ...] = ("/pivot-2.xml", "/pivot-1.xml"), **changes: object) -> None:
        values = {"signer": THIRD, "announces": THIRD, "number": 30, "pivots": pivots, **changes}
        self.publish("/lotl.xml", **values)  # type: ignore[arg-type]

    def store(self, pinned: Identity = FIRST) -> TrustedListStore:
        source = ListSource(f"{self.server.base}/lotl.xml", (pinned.certificate,))
        hosts = AllowedHosts.of_urls(self.server.base)
        return TrustedListStore(source, folder=self.folder, http=self.http, clock=self.clock, hosts=hosts)

    def fetched(self, path: str) -> int:
        return self.server.requests.count(path)


@pytest.fixture
def scheme(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> Iterator[Scheme]:
    with running_trust_server(shared_pki(), clock) as server:
        server.lists["/ee.xml"] = shared_pki().trusted_list()
        opened = Scheme(server, tmp_path / "lists", clock)
        yield opened
        opened.http.close()


def territories(store: TrustedListStore) -> list[str]:
    return [verified.content.territory for verified in store.trust().lists]


def test_two_changes_of_signers_are_followed_and_kept(scheme: Scheme) -> None:
    scheme.rotate_twice()
    assert territories(scheme.store()) == ["EU", "EE"]
    scheme.server.lists.clear()  # what is stored suffices, and is verified again
    assert territories(scheme.store()) == ["EU", "EE"]


def test_who_pinned_the_second_signer_passes_over_what_was_before(scheme: Scheme) -> None:
    scheme.rotate_twice()
    assert territories(scheme.store(SECOND)) == ["EU", "EE"]


def test_who_pinned_the_present_signer_needs_no_pivot(scheme: Scheme) -> None:
    scheme.rotate_twice()
    assert territories(scheme.store(THIRD)) == ["EU", "EE"]
    assert scheme.fetched("/pivot-1.xml") == 0


def test_signers_change_while_we_run(scheme: Scheme) -> None:
    scheme.publish("/lotl.xml", signer=FIRST, announces=FIRST, number=5)
    store = scheme.store()
    assert territories(store) == ["EU", "EE"]
    scheme.rotate_twice()
    assert store.refresh().lists[0].content.sequence_number == 30
    scheme.publish("/lotl.xml", signer=FIRST, announces=FIRST, number=29)
    with pytest.raises(Refused, match="rollback"):
        store.refresh()


def test_newer_pivots_than_lists_on_disk_are_read(scheme: Scheme) -> None:
    """As after a crash between the two."""
    scheme.publish("/lotl.xml", signer=FIRST, announces=FIRST, number=5)
    scheme.store().trust()
    pivots = scheme.folder / "pivots"
    scheme.rotate_twice()
    pivots.mkdir(exist_ok=True)
    for number in (1, 2):
        (pivots / f"{number:03}-x.xml").write_bytes(scheme.server.lists[f"/pivot-{number}.xml"])
    scheme.server.lists.clear()
    assert territories(scheme.store()) == ["EU", "EE"]


def test_a_stranger_is_pinned_in_vain(scheme: Scheme) -> None:
    scheme.rotate_twice()
    with pytest.raises(Refused, match=r"trusted_list\.signer"):
        scheme.store(STRANGER).trust()


def test_a_pivot_that_is_missing_leaves_us_where_we_were(scheme: Scheme) -> None:
    scheme.rotate_twice()
    del scheme.server.lists["/pivot-1.xml"]
    with pytest.raises(Unavailable):
        scheme.store().trust()


def test_a_pivot_left_out_leads_nowhere(scheme: Scheme) -> None:
    scheme.rotate_twice()
    scheme.publish_newest(pivots=("/pivot-2.xml",))
    with pytest.raises(Refused, match=r"trusted_list\.signer"):
        scheme.store().trust()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signer": STRANGER}, r"trusted_list\.signer"),
        ({"number": 10}, r"trusted_list\.pivot"),
        ({"number": 9}, r"trusted_list\.pivot"),
        ({"territory": "XX"}, r"trusted_list\.pivot"),
        ({"list_type": TYPE_GENERIC}, r"trusted_list\.pivot"),
    ],
    ids=["by a stranger", "the same number", "a lower number", "another scheme", "no list of lists"],
)
def test_a_second_pivot_that_is_not_right_is_refused(scheme: Scheme, changes: dict[str, object], code: str) -> None:
    scheme.rotate_twice()
    values = {"signer": SECOND, "announces": THIRD, "number": 20, **changes}
    scheme.publish("/pivot-2.xml", **values)  # type: ignore[arg-type]
    with pytest.raises(Refused, match=code):
        scheme.store().trust()


def test_a_pivot_that_was_changed_is_refused(scheme: Scheme) -> None:
    scheme.rotate_twice()
    body = scheme.server.lists["/pivot-1.xml"]
    scheme.server.lists["/pivot-1.xml"] = body.replace(b">TEST<", b">TEXT<", 1)
    assert scheme.server.lists["/pivot-1.xml"] != body
    with pytest.raises(Refused):
        scheme.store().trust()


def test_the_newest_list_by_a_former_signer_is_refused_when_it_cannot_be_read_without_pivots(scheme: Scheme) -> None:
    scheme.rotate_twice()
    scheme.publish_newest(signer=SECOND)
    # the second signer was announced once: such a list is theirs, and whoever wants to forget them pins the third
    with pytest.raises(Refused, match=r"trusted_list\.signer"):
        scheme.store(THIRD).trust()


@pytest.mark.parametrize("pivots", [("/p.xml", "/p.xml"), tuple(f"/p{n}.xml" for n in range(MAX_PIVOTS + 1))])
def test_pivots_have_a_limit(scheme: Scheme, pivots: tuple[str, ...]) -> None:
    scheme.publish_newest(pivots=pivots)
    with pytest.raises(Malformed, match="pivots"):
        scheme.store().trust()
    assert scheme.fetched("/p.xml") == scheme.fetched("/p0.xml") == 0


def test_a_pivot_on_another_host_is_not_fetched(scheme: Scheme) -> None:
    scheme.rotate_twice()
    scheme.server.base, base = "http://127.0.0.2:9", scheme.server.base
    scheme.publish_newest()
    scheme.server.base = base
    with pytest.raises(Refused):
        scheme.store().trust()
