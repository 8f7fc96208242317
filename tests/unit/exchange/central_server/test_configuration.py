"""The signed configuration: what is in it, when it is made, how long it is served, and the life of its keys."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from digiid.exchange.central_server import store
from digiid.exchange.central_server.domain import KeyState
from digiid.exchange.central_server.jobs import Publisher
from digiid.exchange.central_server.publishing import Publishing
from digiid.exchange.central_server.settings import Settings
from digiid.exchange.central_server.use_cases import configuration, members
from digiid.exchange.central_server.use_cases.configuration import Published
from digiid.formats.exchange.management import Operation
from digiid.formats.global_conf import (
    SHARED_PARAMETERS,
    SharedParams,
    VerifiedDirectory,
    anchor_fingerprint,
    parse_anchor,
    parse_directory,
    parse_private_params,
    parse_shared_params,
    verify_directory,
)
from digiid.formats.x509.parts import load_certificate
from digiid.formats.xades.algorithms import hash_bytes
from digiid.kernel.errors import Broken, Conflict, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from tests.support.central import (
    AUTHORITY,
    BANK,
    BANKING,
    BOARD,
    POLICE,
    PORTAL,
    PRIVATE,
    REGISTRAR,
    SECURITY,
    STATE,
    CentralRoom,
)
from tests.support.loops import run_async

MINUTE = timedelta(minutes=1)


def verified(room: CentralRoom, published: Published) -> VerifiedDirectory:
    """As a server with the present anchor sees it."""
    anchor = parse_anchor(configuration.build_present_anchor(room.deps))
    directory = parse_directory(published.directory.content)
    return verify_directory(directory, anchor.sources[0].certificates, at=room.clock.now())


def shared_of(published: Published) -> SharedParams:
    directory = parse_directory(published.directory.content)
    [part] = [one for one in directory.parts if one.content_id == SHARED_PARAMETERS]
    content = published.parts[part.location]
    assert hash_bytes(part.hash_name, content) == part.digest
    return parse_shared_params(content)


def full(room: CentralRoom) -> None:
    room.register_server()
    room.register_client(POLICE)
    room.register_client(PORTAL)
    room.register_server(PRIVATE, "127.0.0.1:5510")
    room.register_client(BANKING, PRIVATE)


def test_it_says_what_is_registered_and_verifies_with_the_anchor(any_room: CentralRoom) -> None:
    room = any_room
    full(room)
    members.add_group(room.deps, "banks", "Banks", by=REGISTRAR)
    members.add_to_group(room.deps, "banks", BANKING, by=REGISTRAR)
    room.submit(room.request(Operation.CLIENT_DISABLE, client=PORTAL))
    room.submit(room.request(Operation.MAINTENANCE_ON, message="until noon"))
    published = configuration.publish_configuration(room.deps)
    directory = verified(room, published)
    assert directory.version == 6
    assert directory.expires_at == (room.clock.now() + timedelta(seconds=600)).replace(microsecond=0)
    shared = shared_of(published)
    assert {member.id for member in shared.members} == {AUTHORITY, BOARD, BANK}
    state, private = shared.servers
    assert (state.id, state.address, state.clients, state.maintenance) == (
        STATE,
        "127.0.0.1:5500",
        frozenset({POLICE}),  # PORTAL is disabled
        "until noon",
    )
    assert (private.id, private.address, private.maintenance) == (PRIVATE, "127.0.0.1:5510", None)
    assert len(state.auth_certificate_hashes) == 1
    assert {group.code: group.members for group in shared.groups} == {
        "security-server-owners": frozenset({AUTHORITY, BANK}),
        "banks": frozenset({BANKING}),
    }
    assert shared.ocsp_freshness_seconds == 3600
    assert [ca.name for ca in shared.approved_cas] == ["TEST CA"]
    assert shared.approved_cas[0].top.ocsp[0].url == "http://127.0.0.1:8800/ocsp"
    assert [tsa.name for tsa in shared.approved_tsas] == ["TEST TSA"]
    assert shared.sources[0].address == "127.0.0.1:8800"
    [private_part] = [content for path, content in published.parts.items() if path.endswith("private-params.xml")]
    assert parse_private_params(private_part).management.registration_address == room.deps.settings.registration_url
    with room.deps.db.read() as tx:
        journal.verify_chain(tx, store.schema.JOURNAL)


def test_what_has_not_changed_stays_where_it_was_and_never_goes_back_to_an_old_path(room: CentralRoom) -> None:
    first = configuration.publish_configuration(room.deps)
    room.clock.advance(MINUTE)
    same = configuration.publish_configuration(room.deps)
    assert same.parts == first.parts and same.directory.content != first.directory.content
    assert same.directory.expires_at == first.directory.expires_at + MINUTE
    room.clock.advance(MINUTE)
    members.add_group(room.deps, "banks", "Banks", by=REGISTRAR)
    changed = configuration.publish_configuration(room.deps)
    assert len(changed.parts) == 3  # who has read the directory before still gets its parts
    room.clock.advance(MINUTE)
    members.remove_group(room.deps, "banks", by=REGISTRAR)
    back = configuration.publish_configuration(room.deps)
    # the content is the first one's again; under the first one's path it would look like a step back
    made = [
        part.generated_at for one in (first, changed, back) for part in parse_directory(one.directory.content).parts
    ]
    shared = [at for index, at in enumerate(made) if index % 2 == 0]
    assert shared == sorted(set(shared))


def test_parts_that_no_valid_directory_lists_are_forgotten(room: CentralRoom) -> None:
    configuration.publish_configuration(room.deps)
    members.add_group(room.deps, "banks", "Banks", by=REGISTRAR)
    room.clock.advance(MINUTE)
    assert len(configuration.publish_configuration(room.deps).parts) == 3
    room.clock.advance(timedelta(minutes=21))
    assert len(configuration.publish_configuration(room.deps).parts) == 2


def test_a_clock_that_goes_back_publishes_nothing(room: CentralRoom) -> None:
    published = configuration.publish_configuration(room.deps)
    with pytest.raises(Conflict, match=r"central\.clock"):
        configuration.publish_configuration(room.deps)
    assert configuration.find_published(room.deps) == published


# ------------------------------------------------------------------ keys


def test_a_new_key_is_published_before_it_signs_and_the_old_one_ends(room: CentralRoom) -> None:
    anchor = configuration.build_present_anchor(room.deps)
    old = parse_anchor(anchor).sources[0].certificates
    assert configuration.build_present_anchor(room.deps) == anchor
    new = configuration.add_signing_key(room.deps, by=SECURITY)
    with pytest.raises(Conflict, match=r"central\.key"):
        configuration.add_signing_key(room.deps, by=SECURITY)
    # 1 it is named where servers learn of it, and the old one still signs
    published = configuration.publish_configuration(room.deps)
    verify_directory(parse_directory(published.directory.content), old, at=room.clock.now())
    known = shared_of(published).sources[0].internal_certificates
    assert load_certificate(new.certificate_der) in known and len(known) == 2
    # 2 not before everybody can know
    for _ in range(2):
        with pytest.raises(Refused, match=r"central\.key_too_new"):
            configuration.activate_signing_key(room.deps, new.number, by=SECURITY)
        room.clock.advance(timedelta(seconds=479))
    room.clock.advance(timedelta(seconds=2))
    configuration.activate_signing_key(room.deps, new.number, by=SECURITY)
    # 3 it signs: who has the last configuration accepts that, who has only the old anchor does not
    published = configuration.publish_configuration(room.deps)
    directory = parse_directory(published.directory.content)
    verify_directory(directory, known, at=room.clock.now())
    with pytest.raises(Refused, match=r"exchange\.global_conf\.signer"):
        verify_directory(directory, old, at=room.clock.now())
    verified(room, published)
    assert len(shared_of(published).sources[0].internal_certificates) == 2
    assert parse_anchor(configuration.build_present_anchor(room.deps)).sources[0].certificates == (
        load_certificate(new.certificate_der),
    )
    # 4 when everything that it signed has run out, the old one is named no more
    room.clock.advance(timedelta(seconds=601))
    configuration.publish_configuration(room.deps)
    room.clock.advance(MINUTE)
    published = configuration.publish_configuration(room.deps)
    assert shared_of(published).sources[0].internal_certificates == (load_certificate(new.certificate_der),)
    assert [key.state for key in configuration.list_keys(room.deps)] == [KeyState.RETIRED, KeyState.SIGNING]
    assert [file.name for file in room.deps.keys_folder.iterdir()] == ["configuration-2.pem"]  # the old one is gone


def test_a_published_key_is_withdrawn_and_another_takes_its_place(room: CentralRoom) -> None:
    new = configuration.add_signing_key(room.deps, by=SECURITY)
    configuration.withdraw_signing_key(room.deps, new.number, by=SECURITY)
    with pytest.raises(Conflict, match=r"state\.illegal_event"):
        configuration.activate_signing_key(room.deps, new.number, by=SECURITY)
    with pytest.raises(NotFound, match=r"central\.key"):
        configuration.activate_signing_key(room.deps, 77, by=SECURITY)
    assert configuration.add_signing_key(room.deps, by=SECURITY).number == 3


def test_the_signing_key_cannot_be_withdrawn(room: CentralRoom) -> None:
    with pytest.raises(Conflict, match=r"state\.illegal_event"):
        configuration.withdraw_signing_key(room.deps, 1, by=SECURITY)


def test_without_a_key_that_fits_its_certificate_nothing_is_signed(room: CentralRoom) -> None:
    with room.deps.db.write() as tx:
        store.signing_keys.change_key(tx, 1, before=KeyState.SIGNING, after=KeyState.RETIRED, at=room.clock.now())
    with pytest.raises(Broken, match=r"central\.no_key"):
        configuration.publish_configuration(room.deps)
    with pytest.raises(Broken, match=r"central\.no_key"):
        configuration.build_present_anchor(room.deps)


def test_keys_lie_encrypted_and_unreadable_for_others(room: CentralRoom) -> None:
    [file] = list(room.deps.keys_folder.glob("*.pem"))
    assert b"ENCRYPTED PRIVATE KEY" in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0 and room.deps.passphrase_file.stat().st_mode & 0o077 == 0


def test_the_anchor_names_every_source(tmp_path: Path, clock: ManualClock, entropy: Any) -> None:
    from tests.support.central import central_room

    urls = ("http://a.example/internalconf", "https://b.example:4001/internalconf")
    room = central_room(tmp_path, clock, entropy, settings=Settings(source_urls=urls))
    anchor = configuration.build_present_anchor(room.deps)
    assert tuple(source.url for source in parse_anchor(anchor).sources) == urls
    assert len(anchor_fingerprint(anchor).split(":")) == 28
    shared = shared_of(configuration.publish_configuration(room.deps))
    assert [source.address for source in shared.sources] == ["a.example", "b.example:4001"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"lifetime_seconds": 60, "generate_seconds": 60},
        {"key_publication_seconds": 500},
        {"source_urls": ()},
        {"source_urls": ("ftp://a.example/internalconf",)},
        {"source_urls": ("http://a.example/x", "http://a.example/x")},
        {"instance": "E/E"},
    ],
)
def test_settings_that_would_stop_the_exchange_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"(?s).+"):
        Settings(**wrong)


# ------------------------------------------------------------------ serving


def ask(
    publishing: Publishing, path: str, query: bytes = b"", method: str = "GET"
) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": []}
    run_async(publishing(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_the_directory_and_its_parts_are_served_each_with_its_cache_headers(room: CentralRoom) -> None:
    publishing = Publishing(room.clock)
    assert ask(publishing, "/internalconf", b"version=6")[0] == 503
    published = configuration.publish_configuration(room.deps)
    publishing.put(published)
    status, headers, body = ask(publishing, "/internalconf", b"version=6")
    assert (status, body) == (200, published.directory.content)
    assert headers[b"cache-control"] == b"no-store"
    assert ask(publishing, "/V6/internalconf")[2] == body
    for part in parse_directory(body).parts:
        status, headers, content = ask(publishing, part.location)
        assert status == 200 and hash_bytes("sha512", content) == part.digest
        assert b"immutable" in headers[b"cache-control"]
        status, headers, nothing = ask(publishing, part.location, method="HEAD")
        assert (status, nothing, headers[b"content-length"]) == (200, b"", b"%d" % len(content))


@pytest.mark.parametrize(
    ("path", "query", "method", "status"),
    [
        ("/internalconf", b"version=5", "GET", 404),
        ("/internalconf", b"version=3", "GET", 404),
        ("/internalconf", b"version=7", "GET", 404),
        ("/internalconf", b"", "GET", 404),  # the second version, which is not written
        ("/internalconf", b"version=six", "GET", 400),
        ("/internalconf", b"version=6&version=5", "GET", 400),
        ("/internalconf", b"a=1&b=2&c=3&d=4&e=5", "GET", 400),
        ("/internalconf", b"version=%FF\xff", "GET", 400),
        ("/internalconf", b"version=6", "POST", 405),
        ("/V6/../../etc/passwd", b"", "GET", 404),
        ("/V6/20261123130000000000000/other.xml", b"", "GET", 404),
        ("/V5/internalconf", b"", "GET", 404),
    ],
)
def test_other_versions_paths_and_methods(room: CentralRoom, path: str, query: bytes, method: str, status: int) -> None:
    publishing = Publishing(room.clock)
    publishing.put(configuration.publish_configuration(room.deps))
    assert ask(publishing, path, query, method)[0] == status


def test_nothing_is_served_from_the_moment_of_expiry(room: CentralRoom) -> None:
    publishing = Publishing(room.clock)
    published = configuration.publish_configuration(room.deps)
    publishing.put(published)
    part = next(iter(published.parts))
    room.clock.advance(published.directory.expires_at - room.clock.now() - timedelta(microseconds=1))
    assert ask(publishing, "/internalconf", b"version=6")[0] == 200
    room.clock.advance(timedelta(microseconds=1))
    assert ask(publishing, "/internalconf", b"version=6")[0] == 503
    assert ask(publishing, part)[0] == 503


# ------------------------------------------------------------------ by the clock


def test_it_is_made_each_minute_and_at_once_after_a_change_also_from_beside(room: CentralRoom) -> None:
    publishing = Publishing(room.clock)
    publisher = Publisher(room.deps, publishing)

    def made() -> Any:
        publisher.run()
        assert publishing.published is not None
        return publishing.published.directory.generated_at

    first = made()
    room.clock.advance(timedelta(seconds=2))
    second = made()  # its own entry about the first one
    room.clock.advance(timedelta(seconds=2))
    assert made() == second  # nothing new
    members.add_group(room.deps, "banks", "Banks", by=REGISTRAR)  # as another process would
    room.clock.advance(timedelta(seconds=2))
    third = made()
    assert first < second < third
    assert any(group.code == "banks" for group in shared_of(publishing.published).groups)  # type: ignore[arg-type]
    room.clock.advance(timedelta(seconds=2))
    settled = made()
    room.clock.advance(timedelta(seconds=57))
    assert made() == settled
    room.clock.advance(timedelta(seconds=3))
    assert made() > settled


def test_what_a_neighbour_made_is_served_too(room: CentralRoom) -> None:
    publishing = Publishing(room.clock)
    publisher = Publisher(room.deps, publishing)
    publisher.run()
    room.clock.advance(timedelta(seconds=2))
    publisher.run()
    room.clock.advance(timedelta(seconds=2))
    neighbours = configuration.publish_configuration(room.deps)
    publisher.run()
    assert publishing.published == neighbours
