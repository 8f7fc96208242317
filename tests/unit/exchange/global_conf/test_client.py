"""TM-03 of X-Road's threat model: a forged, stale or downgraded configuration never comes into use."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType

import pytest

from digiid.exchange.global_conf import ConfigurationClient, folder, load_folder, read_anchor_file
from digiid.formats.global_conf import (
    FETCH_INTERVAL,
    MONITORING,
    NEXT_UPDATE,
    SHARED_PARAMETERS,
    Anchor,
    AnchorSource,
    build_anchor,
    build_fetch_interval,
    build_monitoring,
    build_next_update,
    build_shared_params,
)
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.entropy import SeededEntropy
from tests.support.global_conf import (
    HOST,
    INSTANCE,
    LOANS,
    POLICE,
    VALID_FOR,
    Central,
    Web,
    configuration_key,
    ocsp_of,
    params,
    signing,
)
from tests.support.pki import AT

MINUTE = timedelta(minutes=1)
OTHER_HOST = "http://cs2.test:8800"
NEXT_KEY, THIRD_KEY = configuration_key("p256"), configuration_key("p384")


class Room:
    """A client with its folder, its clock and its network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "conf"
        self.web = Web()
        self.central = Central(self.web)
        self.clock = ManualClock(AT)
        self.anchor = self.central.anchor
        self.client = self.start()

    def start(self, *, anchor: Anchor | None = None, seed: bytes = b"a") -> ConfigurationClient:
        """The client anew, as after a restart."""
        self.client = ConfigurationClient(self.folder, anchor or self.anchor, self.web, self.clock, SeededEntropy(seed))
        return self.client

    def refused(self, code: str) -> None:
        """A refresh fails with this code, and what was in use stays in use, also after a restart."""
        before = self.client.state()
        with pytest.raises(DigiidError) as refused:
            self.client.refresh()
        assert refused.value.code == code
        for client in (self.client, self.start()):
            after = client.state()
            assert (after.expires_at, after.generated_at) == (before.expires_at, before.generated_at)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_a_configuration_is_fetched_verified_and_used(room: Room) -> None:
    with pytest.raises(Unavailable) as none_yet:
        room.client.current()
    assert none_yet.value.code == "exchange.global_conf_outdated"
    room.central.publish()
    conf = room.client.refresh()
    assert room.client.current() is conf
    assert (conf.instance, conf.expires_at, conf.fetched_at, conf.version) == (INSTANCE, AT + VALID_FOR, AT, 6)
    assert conf.private is not None and conf.private.management.provider == POLICE


def test_optional_parts_are_used_and_unknown_ones_are_not_even_fetched(room: Room) -> None:
    room.central.publish(
        parts={
            MONITORING: ("monitoring-params.xml", build_monitoring(LOANS)),
            FETCH_INTERVAL: ("fetchinterval-params.xml", build_fetch_interval(600)),
            NEXT_UPDATE: ("nextupdate-params.xml", build_next_update(verify=False)),
            "NOVELTY": ("novelty.xml", b"?"),
        }
    )
    optional = room.client.refresh().optional
    assert (optional.monitoring_client, optional.ocsp_fetch_interval_seconds) == (LOANS, 600)
    assert optional.verify_next_update is False
    assert not any("novelty" in url for url in room.web.asked)


def test_only_parts_that_changed_are_fetched(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    room.web.asked.clear()
    room.clock.advance(MINUTE)
    room.central.publish(AT + MINUTE)
    assert room.client.refresh().expires_at == AT + MINUTE + VALID_FOR
    assert room.web.asked == [f"{HOST}/internalconf?version=6"]
    room.central.publish(AT + 2 * MINUTE, shared=params(ocsp_freshness_seconds=60))
    room.client.refresh()
    assert [url.rpartition("/")[2] for url in room.web.asked[1:]] == ["internalconf?version=6", "shared-params.xml"]


def test_how_long_a_configuration_has_to_live_is_counted_from_when_it_came(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    assert room.client.state().life == VALID_FOR
    # the parts stay as they were for hours; the directory is signed anew each minute
    room.clock.advance(180 * MINUTE)
    room.central.publish(AT + 180 * MINUTE)
    for _ in range(2):
        room.client.refresh()
        room.clock.advance(MINUTE)
    assert room.client.state().life == VALID_FOR
    assert room.start().state().life == VALID_FOR


def test_what_was_judged_stays_remembered_while_the_parameters_are_the_same(room: Room) -> None:
    room.central.publish()
    before = room.client.refresh()
    room.central.publish(AT + MINUTE)
    same = room.client.refresh()
    room.central.publish(AT + 2 * MINUTE, shared=params(ocsp_freshness_seconds=1))
    other = room.client.refresh()
    assert same._judge is before._judge and other._judge is not before._judge


def test_versions_are_asked_for_from_the_highest_down(room: Room) -> None:
    room.central.publish(version=4)
    for version in (5, 6):
        room.central.serve(404, version=version)
    assert room.client.refresh().version == 4
    assert [url for url in room.web.asked if "version" in url] == [
        f"{HOST}/internalconf?version={version}" for version in (6, 5, 4)
    ]


# ------------------------------------------------------------------ TM-03


def test_tm03_a_bad_signature_is_refused_and_the_good_copy_stays(room: Room) -> None:
    signed = room.central.publish()
    room.client.refresh()
    room.central.serve(signed.replace(b"Expire-date: 2026", b"Expire-date: 2046"))
    room.refused("exchange.global_conf.signature")
    assert room.client.current().expires_at == AT + VALID_FOR


def test_tm03_somebody_elses_signature_is_refused(room: Room) -> None:
    room.central.publish(key=NEXT_KEY)
    room.refused("exchange.global_conf.signer")


def test_tm03_a_configuration_stops_at_the_instant_it_says(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    room.clock.advance(VALID_FOR - timedelta(microseconds=1))
    room.client.current()
    room.clock.advance(timedelta(microseconds=1))
    for client in (room.client, room.start()):
        with pytest.raises(Unavailable) as outdated:
            client.current()
        assert outdated.value.code == "exchange.global_conf_outdated"
    room.refused("exchange.global_conf_outdated")  # the source still has the old one
    room.central.publish(AT + VALID_FOR)
    room.client.refresh()  # and it recovers by itself
    room.client.current()


def test_tm03_an_older_configuration_is_refused_also_after_a_restart(room: Room) -> None:
    old = room.central.publish(AT)
    room.central.publish(AT + MINUTE)
    room.client.refresh()
    room.central.serve(old)
    room.refused("exchange.global_conf.rollback")
    room.start()
    room.refused("exchange.global_conf.rollback")


def test_tm03_an_older_configuration_is_refused_also_when_the_newer_one_has_run_out(room: Room) -> None:
    old = room.central.publish(AT, valid_for=timedelta(days=30))
    room.central.publish(AT + MINUTE)
    room.client.refresh()
    room.clock.advance(timedelta(hours=1))
    room.central.serve(old)
    room.refused("exchange.global_conf.rollback")


def test_tm03_an_older_configuration_is_refused_also_when_the_stored_copy_is_damaged(room: Room) -> None:
    old = room.central.publish(AT)
    room.central.publish(AT + MINUTE)
    room.client.refresh()
    next(room.folder.glob("*/directory")).write_bytes(b"")
    room.start()
    room.central.serve(old)
    with pytest.raises(Refused) as refused:
        room.client.refresh()
    assert refused.value.code == "exchange.global_conf.rollback"


def test_tm03_without_times_in_locations_the_expiry_tells_which_is_older(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undated(version: int, at: datetime, name: str) -> str:
        return f"/V{version}/{at:%M}/{name}"

    monkeypatch.setattr("tests.support.global_conf.build_location", undated)
    old = room.central.publish(AT)
    room.central.publish(AT + MINUTE)
    room.client.refresh()
    room.central.serve(old)
    room.refused("exchange.global_conf.rollback")


def test_tm03_of_two_with_the_same_parts_the_one_that_ends_earlier_is_older(room: Room) -> None:
    old = room.central.publish(AT)
    room.central.publish(AT + MINUTE, located_at=AT)
    room.client.refresh()
    room.central.serve(old)
    room.refused("exchange.global_conf.rollback")


def test_tm03_a_shorter_validity_alone_is_no_rollback(room: Room) -> None:
    room.central.publish(AT, valid_for=timedelta(days=1))
    room.client.refresh()
    room.central.publish(AT + MINUTE)
    assert room.client.refresh().expires_at == AT + MINUTE + VALID_FOR


def test_tm03_a_lower_version_than_the_one_in_hand_is_refused(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    room.central.serve(404)
    room.central.publish(AT + MINUTE, version=5)
    room.refused("exchange.global_conf.rollback")


def test_tm03_a_lower_version_under_a_higher_name_is_refused(room: Room) -> None:
    room.central.publish(version=3, asked_version=6)
    room.refused("exchange.global_conf.version")


@pytest.mark.parametrize("place", ["directory", "shared"])
def test_tm03_another_instance_is_refused(room: Room, place: str) -> None:
    if place == "directory":
        room.central.publish(instance="OTHER")
    else:
        other = build_shared_params(params()).replace(b"<instanceIdentifier>TEST<", b"<instanceIdentifier>OTHER<")
        room.central.publish(parts={SHARED_PARAMETERS: ("shared-params.xml", other)})
    room.refused("exchange.global_conf.instance")


def test_tm03_a_part_that_is_not_what_was_signed_is_refused(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    changed = params(ocsp_freshness_seconds=86400)
    room.central.publish(
        AT + MINUTE,
        shared=params(ocsp_freshness_seconds=60),
        served={SHARED_PARAMETERS: build_shared_params(changed)},
    )
    room.refused("exchange.global_conf.hash")


def test_tm03_signed_parameters_that_cannot_be_read_do_not_replace_good_ones(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    room.central.publish(AT + MINUTE, parts={SHARED_PARAMETERS: ("shared-params.xml", b"<conf/>")})
    room.refused("exchange.global_conf.root")


def test_tm03_a_missing_part_does_not_replace_the_good_copy(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    room.central.publish(AT + MINUTE, shared=params(ocsp_freshness_seconds=60))
    for url in list(room.web.answers):
        if url.endswith("shared-params.xml"):
            room.web.answers[url] = 503
    room.refused("exchange.global_conf.http")


# ------------------------------------------------------------------ rotation


def test_tm03_rotation_the_next_key_is_believed_because_the_configuration_in_hand_names_it(room: Room) -> None:
    central = room.central
    central.publish(shared=params(sources=(central.source(central.key, NEXT_KEY),)))
    room.client.refresh()
    central.publish(AT + MINUTE, key=NEXT_KEY, shared=params(sources=(central.source(NEXT_KEY),)))
    room.client.refresh()
    room.start()
    assert room.client.current().expires_at == AT + MINUTE + VALID_FOR
    central.publish(AT + 2 * MINUTE, key=NEXT_KEY, shared=params(sources=(central.source(NEXT_KEY, THIRD_KEY),)))
    room.client.refresh()
    central.publish(AT + 3 * MINUTE, key=THIRD_KEY, shared=params(sources=(central.source(THIRD_KEY),)))
    assert room.client.refresh().expires_at == AT + 3 * MINUTE + VALID_FOR


def test_tm03_rotation_a_key_that_was_rotated_away_signs_nothing_any_more(room: Room) -> None:
    central = room.central
    central.publish(shared=params(sources=(central.source(central.key, NEXT_KEY),)))
    room.client.refresh()
    central.publish(AT + MINUTE, key=NEXT_KEY, shared=params(sources=(central.source(NEXT_KEY),)))
    room.client.refresh()
    central.publish(AT + 2 * MINUTE)  # with the anchor's key
    room.refused("exchange.global_conf.signer")


def test_tm03_rotation_nobody_names_a_key_from_outside_the_chain(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    central = room.central
    central.publish(AT + MINUTE, key=NEXT_KEY, shared=params(sources=(central.source(NEXT_KEY),)))
    room.refused("exchange.global_conf.signer")


def test_tm03_rotation_a_new_anchor_begins_anew(room: Room) -> None:
    room.central.publish(AT + MINUTE)
    room.client.refresh()
    restored = Central(room.web, key=NEXT_KEY)
    restored.publish(AT)  # older than what was seen, by a key that nobody named
    room.refused("exchange.global_conf.signer")
    room.start(anchor=restored.anchor)
    assert room.client.state().expires_at is None
    assert room.client.refresh().expires_at == AT + VALID_FOR


def test_tm03_rotation_a_new_anchor_may_name_a_key_that_the_configuration_does_not(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    (source,) = room.anchor.sources
    both = replace(source, certificates=(*source.certificates, NEXT_KEY.certificate))
    room.start(anchor=replace(room.anchor, sources=(both,)))
    assert room.client.current().expires_at == AT + VALID_FOR
    room.central.publish(AT + MINUTE, key=NEXT_KEY)
    assert room.client.refresh().expires_at == AT + MINUTE + VALID_FOR


def test_without_named_keys_the_anchors_go_on_counting(room: Room) -> None:
    room.central.publish(shared=params(sources=()))
    room.client.refresh()
    room.central.publish(AT + MINUTE)
    assert room.client.refresh().expires_at == AT + MINUTE + VALID_FOR


# ------------------------------------------------------------------ sources


def with_two_sources(room: Room) -> Central:
    second = Central(room.web, host=OTHER_HOST, key=NEXT_KEY)
    room.anchor = replace(
        room.anchor, sources=(*room.anchor.sources, AnchorSource(f"{OTHER_HOST}/internalconf", (NEXT_KEY.certificate,)))
    )
    room.start()
    return second


def shared_of(*centrals: Central):
    return params(sources=tuple(one.source() for one in centrals))


def test_any_source_with_a_good_configuration_will_do(room: Room) -> None:
    second = with_two_sources(room)
    shared = shared_of(room.central, second)
    room.central.publish(shared=shared)
    room.client.refresh()
    room.central.serve(b"rubbish")
    second.publish(AT + MINUTE, shared=shared)
    room.client.refresh()
    assert room.client.state().source == f"{OTHER_HOST}/internalconf"
    assert room.client.state().problem is None


def test_the_order_is_random_by_client_and_kept(room: Room) -> None:
    second = with_two_sources(room)
    for central in (room.central, second):
        central.publish(shared=shared_of(room.central, second))
    first = set()
    for seed in range(16):
        client = room.start(seed=bytes([seed]))
        places = set()
        for _ in range(3):
            room.web.asked.clear()
            client.refresh()
            places.add(room.web.asked[0])
        assert len(places) == 1
        first |= places
    assert len(first) == 2


def test_a_source_that_failed_is_tried_last_for_a_while(room: Room) -> None:
    second = with_two_sources(room)
    for central in (room.central, second):
        central.publish(shared=shared_of(room.central, second))
    room.client.refresh()
    used = room.web.asked[0]
    good, room.web.answers[used] = room.web.answers[used], 500
    room.client.refresh()
    room.web.asked.clear()
    room.client.refresh()
    assert room.web.asked[0] != used
    room.web.answers[used] = good
    room.clock.advance(6 * MINUTE)
    room.web.asked.clear()
    room.client.refresh()
    assert room.web.asked[0] == used


def test_a_host_that_only_the_configuration_names_is_asked_by_https_first(room: Room) -> None:
    second = Central(room.web, host=OTHER_HOST, key=NEXT_KEY)
    room.central.publish(shared=shared_of(room.central, second))
    room.client.refresh()
    room.web.answers.clear()
    room.web.asked.clear()
    second.publish(AT + MINUTE, shared=shared_of(room.central, second))
    room.client.refresh()
    theirs = [url for url in room.web.asked if "cs2" in url and "version" in url]
    assert theirs == ["https://cs2.test:8800/internalconf?version=6", f"{OTHER_HOST}/internalconf?version=6"]


def test_tm08_an_address_that_is_more_than_a_host_is_passed_over(room: Room) -> None:
    source = replace(room.central.source(), address="user@169.254.169.254")
    room.central.publish(shared=params(sources=(source, room.central.source())))
    room.client.refresh()
    room.web.asked.clear()
    room.central.serve(500)
    with pytest.raises(Unavailable):
        room.client.refresh()
    assert not any("169.254" in url for url in room.web.asked)


def test_tm08_parts_are_fetched_from_the_sources_own_host_only(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    assert all(url.startswith(f"{HOST}/") for url in room.web.asked)


def test_the_most_telling_problem_is_told(room: Room) -> None:
    with_two_sources(room).publish(key=THIRD_KEY)
    with pytest.raises(Refused) as refused:
        room.client.refresh()
    assert refused.value.code == "exchange.global_conf.signer"
    assert room.client.state().problem == "exchange.global_conf.signer"
    assert room.client.state().problem_at == AT


# ------------------------------------------------------------------ on the disk


def test_it_is_there_again_after_a_restart_without_the_network(room: Room) -> None:
    room.central.publish()
    before = room.client.refresh()
    room.web.answers.clear()
    after = room.start().current()
    assert (after.shared, after.private, after.expires_at) == (before.shared, before.private, before.expires_at)
    assert after.fetched_at == AT


@pytest.mark.parametrize("name", ["shared-params.xml", "private-params.xml", "directory", "current"])
@pytest.mark.parametrize("damage", [b"", b"changed", None])
def test_a_damaged_copy_is_not_used_and_replaced_by_the_next_refresh(
    room: Room, name: str, damage: bytes | None
) -> None:
    room.central.publish()
    room.client.refresh()
    path = next(room.folder.rglob(name))
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(Unavailable):
        room.start().current()
    room.central.publish(AT + MINUTE)
    room.client.refresh()
    assert room.start().current().expires_at == AT + MINUTE + VALID_FOR


def test_a_damaged_copy_is_replaced_even_when_the_same_one_is_published(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    next(room.folder.rglob("shared-params.xml")).write_bytes(b"")
    room.start().refresh()
    assert room.start().current().expires_at == AT + VALID_FOR


def test_keys_that_somebody_wrote_into_the_folder_sign_only_what_they_signed(room: Room) -> None:
    """The folder is as trusted as the anchor beside it; the test holds that a copy is verified when it is read."""
    room.central.publish()
    room.client.refresh()
    current = room.folder / "current"
    held = json.loads(current.read_text())
    current.write_text(json.dumps(held | {"keys": []}))
    with pytest.raises(Unavailable):
        room.start().current()


def test_one_copy_is_kept_and_leftovers_go(room: Room) -> None:
    room.folder.mkdir()
    (room.folder / f"{'0' * 32}.new").mkdir()
    (room.folder / "of somebody else").mkdir()
    for minute in range(3):
        room.central.publish(AT + minute * MINUTE)
        room.client.refresh()
    names = sorted(path.name for path in room.folder.iterdir())
    assert len(names) == 3 and "current" in names and "of somebody else" in names


def test_a_full_disk_leaves_the_good_copy_in_use(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    room.central.publish(AT + MINUTE)
    (room.folder / "current.new").mkdir()  # stands in for a disk that takes no more
    with pytest.raises(Unavailable) as refused:
        room.client.refresh()
    assert refused.value.code == "exchange.global_conf.store"
    assert room.client.current().expires_at == AT + VALID_FOR
    (room.folder / "current.new").rmdir()
    assert room.client.refresh().expires_at == AT + MINUTE + VALID_FOR


class Killed(BaseException):
    """The process ends here."""


def _killed_at(step: int, run: Callable[[], object]) -> bool:
    """Run until the `step`-th line inside folder.py that writes; True if it got that far."""
    seen = 0

    def trace(frame: FrameType, event: str, _: object) -> object:
        nonlocal seen
        if frame.f_code.co_filename != folder.__file__ or frame.f_code.co_name not in WRITING:
            return None
        if event == "line":
            seen += 1
            if seen == step:
                raise Killed
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except Killed:
        return True
    finally:
        sys.settrace(before)
    return False


WRITING = ("write_copy", "_write_synced", "_sync_folder")


def test_a_process_that_ends_between_any_two_lines_leaves_a_good_copy(room: Room) -> None:
    room.central.publish()
    room.client.refresh()
    first, step = room.client.current().expires_at, 1
    seen = set()
    while True:
        shutil.rmtree(room.folder)
        room.central.publish()
        room.start().refresh()
        room.central.publish(AT + MINUTE, shared=params(ocsp_freshness_seconds=60))
        was_killed = _killed_at(step, room.client.refresh)
        conf = room.start().current()
        assert (conf.expires_at, conf.shared.ocsp_freshness_seconds) in (
            (first, 3600),
            (first + MINUTE, 60),
        )
        seen.add(conf.expires_at)
        assert room.client.refresh().expires_at == first + MINUTE
        if not was_killed:
            break
        step += 1
    assert seen == {first, first + MINUTE} and step > 40


def test_the_copy_serves_to_judge_evidence(room: Room, tmp_path: Path) -> None:
    room.central.publish()
    conf = room.client.refresh()
    loaded = load_folder(room.folder)
    assert loaded.shared == conf.shared and loaded.version == 6
    exported = tmp_path / "export" / "verificationconf"
    for name, data in conf.verification_files().items():
        (exported / name).parent.mkdir(parents=True, exist_ok=True)
        (exported / name).write_bytes(data)
    for path in (exported, exported.parent):
        again = load_folder(path)
        assert again.shared == conf.shared
        again.verify_signer(
            signing(POLICE.member).certificate,
            ocsp_ders=ocsp_of(signing(POLICE.member).certificate),
            member=POLICE.member,
            at=AT,
        )


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="none is no folder of a global configuration"):
        load_folder(tmp_path / "none")
    with pytest.raises(NotFound):
        load_folder(tmp_path)
    (tmp_path / "instance-identifier").write_text("../..\n")
    with pytest.raises(Malformed):
        load_folder(tmp_path)


def test_an_anchor_is_read_from_its_file(tmp_path: Path) -> None:
    anchor = Central(Web()).anchor
    (tmp_path / "anchor.xml").write_bytes(build_anchor(anchor))
    assert read_anchor_file(tmp_path / "anchor.xml") == anchor
    with pytest.raises(NotFound):
        read_anchor_file(tmp_path / "none.xml")


# ------------------------------------------------------------------ the timer


def test_a_timer_refreshes_when_it_is_due_and_survives_failures(room: Room) -> None:
    room.client.keep_fresh()
    assert room.client.state().problem == "http.unreachable"
    room.central.publish()
    room.client.keep_fresh()  # not due yet
    assert room.client.state().expires_at is None
    room.clock.advance(MINUTE)
    room.client.keep_fresh()
    assert room.client.current().fetched_at == AT + MINUTE
    assert room.client.state().problem is None
