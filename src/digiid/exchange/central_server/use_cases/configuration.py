"""The signed global configuration: made, signed, kept, handed to whoever serves it; and the keys that sign it.

Its anchor is what an operator of a security server gets out of band. A new key is published for as long as any valid
configuration lasts before it signs, so that no server meets a signature by a key that it could not have learned of.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from sqlalchemy.engine import Connection

from digiid.exchange.central_server import store
from digiid.exchange.central_server.domain import KEY_LIFE, Action, KeyEvent, KeyState, StoredKey
from digiid.exchange.central_server.store.configuration import DirectoryRow, PartRow
from digiid.exchange.central_server.use_cases.deps import Deps, approved_cas, note, ocsp_freshness, officer_for
from digiid.exchange.central_server.use_cases.members import OWNERS_GROUP
from digiid.formats.global_conf import (
    PRIVATE_PARAMETERS,
    SHARED_PARAMETERS,
    WRITTEN_VERSION,
    Anchor,
    AnchorSource,
    ApprovedTsa,
    ConfigurationSource,
    GlobalGroup,
    ManagementService,
    Member,
    MemberClass,
    PrivateParams,
    SecurityServer,
    SharedParams,
    Subsystem,
    build_anchor,
    build_directory,
    build_location,
    build_private_params,
    build_shared_params,
    parse_directory,
    part_of,
    sign_directory,
)
from digiid.formats.x509.parts import certificate_der, load_certificate
from digiid.formats.x509.profile import SERIAL_NUMBER_BYTES, serial_number_from
from digiid.formats.xades.algorithms import hash_bytes
from digiid.kernel.errors import Broken, Conflict, NotFound, Refused
from digiid.kernel.identifiers import Party
from digiid.kernel.states import take_edge
from digiid.platform.keys import generate_ec_key, load_private_key, write_private_key
from digiid.platform.secret_file import read_passphrase

_KEY_CURVE: Final = "secp384r1"
_KEY_YEARS: Final = 10
_FILES: Final = {SHARED_PARAMETERS: "shared-params.xml", PRIVATE_PARAMETERS: "private-params.xml"}
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TRUSTED: Final = (KeyState.PUBLISHED, KeyState.SIGNING, KeyState.REPLACED)


@dataclass(frozen=True, slots=True)
class Published:
    """What is served: the directory, and every part that a client may still be about to fetch, by location."""

    directory: DirectoryRow
    parts: dict[str, bytes]


# ------------------------------------------------------------------ making it


def publish_configuration(deps: Deps) -> Published:
    """Make and sign the configuration of now, and keep it. Unchanged parts keep their location.

    Raises: Broken `central.no_key`; Conflict `central.clock` when a newer one is there already: a clock that went back
        makes nothing, the newer one goes on until its end.
    """
    # 1 one consistent view
    at = deps.clock.now()
    with deps.db.read() as tx:
        present = store.configuration.find_directory(tx, version=WRITTEN_VERSION)
        contents = {
            SHARED_PARAMETERS: build_shared_params(_shared(deps, tx)),
            PRIVATE_PARAMETERS: build_private_params(_private(deps)),
        }
        keys = store.signing_keys.list_keys(tx)
        kept = {part.location: part for part in store.configuration.list_parts(tx)}
    if present is not None and at <= present.generated_at:
        raise Conflict("central.clock", f"the one of {present.generated_at} is newer than {at}")

    # 2 parts: what is as it was stays where it was
    listed = {part.content_id: part.location for part in parse_directory(present.content).parts} if present else {}
    parts: list[PartRow] = []
    for content_id, content in contents.items():
        before = kept.get(listed.get(content_id, ""))
        if before is not None and before.content == content:
            parts.append(before)
        else:
            parts.append(PartRow(build_location(WRITTEN_VERSION, at, _FILES[content_id]), content_id, content))
    is_changed = any(part.location not in kept for part in parts)

    # 3 signed
    signing = [key for key in keys if key.state is KeyState.SIGNING]
    if len(signing) != 1:
        raise Broken("central.no_key", f"{len(signing)} keys sign the configuration, not one")
    expires_at = (at + timedelta(seconds=deps.settings.lifetime_seconds)).replace(microsecond=0)
    to_sign = build_directory(
        version=WRITTEN_VERSION,
        expires_at=expires_at,
        parts=[part_of(part.content_id, deps.instance, part.location, part.content) for part in parts],
        boundary=_boundary(deps),
    )
    content = sign_directory(
        to_sign,
        key=load_private_key(_source(deps, signing[0]), deps.passphrase_file),
        certificate=load_certificate(signing[0].certificate_der),
        boundary=_boundary(deps),
    )
    directory = DirectoryRow(WRITTEN_VERSION, at, expires_at, content)

    # 4 kept; parts that no valid directory lists any more are forgotten
    with deps.db.write() as tx:
        latest = store.configuration.find_directory(tx, version=WRITTEN_VERSION)
        if latest is not None and latest.generated_at >= at:
            raise Conflict("central.clock", "another process has published a newer one meanwhile")
        for part in parts:
            store.configuration.put_part(tx, part, at=at)
        store.configuration.forget_parts(
            tx, not_listed_since=at - timedelta(seconds=2 * deps.settings.lifetime_seconds)
        )
        store.configuration.put_directory(tx, directory)
        if is_changed:
            hashed = [f"{part.content_id} {hash_bytes('sha256', part.content).hex()}" for part in parts]
            note(deps, tx, "configuration.changed", by="central server", parts=hashed, key=signing[0].number)
        retired = _retire_replaced(deps, tx, at)
        remaining = {part.location: part.content for part in store.configuration.list_parts(tx)}
    for key in retired:
        _destroy_key(deps, key)
    return Published(directory, remaining)


def find_published(deps: Deps) -> Published | None:
    """What was published last, also by another process. It may have run out."""
    with deps.db.read() as tx:
        directory = store.configuration.find_directory(tx, version=WRITTEN_VERSION)
        if directory is None:
            return None
        return Published(directory, {part.location: part.content for part in store.configuration.list_parts(tx)})


def find_generation(deps: Deps) -> tuple[datetime | None, int]:
    """When the last one was made, and the number of the newest entry of the journal: what has changed since?"""
    with deps.db.read() as tx:
        directory = store.configuration.find_directory(tx, version=WRITTEN_VERSION)
        newest = store.journal.recent_journal(tx, limit=1)
    return directory.generated_at if directory else None, newest[0].number if newest else 0


def _shared(deps: Deps, tx: Connection) -> SharedParams:
    instance = deps.instance
    classes = dict(store.members.list_classes(tx))
    members = store.members.list_members(tx, instance)
    servers = store.servers.list_servers(tx, instance)
    clients: dict[int, set[Party]] = {}
    for number, client, enabled in store.servers.list_clients(tx, instance):
        if enabled:
            clients.setdefault(number, set()).add(client)
    hashed: dict[int, set[bytes]] = {}
    for number, certificate in store.servers.list_auth_certificates(tx):
        hashed.setdefault(number, set()).add(hash_bytes("sha256", certificate))
    trusted = [
        load_certificate(key.certificate_der) for key in store.signing_keys.list_keys(tx) if key.state in _TRUSTED
    ]
    groups = [
        GlobalGroup(code, words, frozenset(inside)) for code, words, inside in store.groups.list_groups(tx, instance)
    ]
    owners = GlobalGroup(OWNERS_GROUP, "Security server owners", frozenset(server.id.owner for server in servers))
    return SharedParams(
        instance=instance,
        sources=tuple(ConfigurationSource(urlsplit(url).netloc, tuple(trusted)) for url in deps.settings.source_urls),
        approved_cas=approved_cas(tx),
        approved_tsas=tuple(
            ApprovedTsa(tsa.name, tsa.url, load_certificate(tsa.certificate_der), "FREE")
            for tsa in store.trust_services.list_tsas(tx)
        ),
        members=tuple(
            Member(
                member.id,
                member.name,
                classes.get(member.id.member_class, ""),
                tuple(Subsystem(code, name) for code, name in member.subsystems),
            )
            for member in members
        ),
        servers=tuple(
            SecurityServer(
                server.id,
                server.address,
                frozenset(hashed.get(server.number, ())),
                frozenset(clients.get(server.number, ())),
                server.maintenance,
            )
            for server in servers
        ),
        groups=(owners, *groups),
        member_classes=tuple(MemberClass(code, words) for code, words in classes.items()),
        ocsp_freshness_seconds=ocsp_freshness(deps, tx),
    )


def _private(deps: Deps) -> PrivateParams:
    return PrivateParams(
        deps.instance,
        management=ManagementService(registration_address=deps.settings.registration_url),
        time_stamping_interval_seconds=deps.settings.time_stamping_interval_seconds,
    )


def _boundary(deps: Deps) -> str:
    # 20 letters as X-Road has it; the bias of a byte over 52 letters does no harm to a delimiter
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in deps.entropy.token_bytes(20))


# ------------------------------------------------------------------ keys


def ensure_signing_key(deps: Deps) -> None:
    """The first key, when there is none yet: made and at work at once, since nobody trusts another one."""
    with deps.db.read() as tx:
        if store.signing_keys.list_keys(tx):
            return
    key = _make_key(deps, 1)
    with deps.db.write() as tx:
        if store.signing_keys.list_keys(tx):
            return
        edge = take_edge(KEY_LIFE, KeyState.PUBLISHED, KeyEvent.ACTIVATE, actor="central_server")
        store.signing_keys.insert_key(
            tx, StoredKey(key.number, key.source, key.certificate_der, edge.to, key.changed_at)
        )
        note(deps, tx, "signing_key.first", by="central server", key=key.number)


def add_signing_key(deps: Deps, *, by: str) -> StoredKey:
    """A new key, published in the next configuration. It signs nothing yet. Raises: Refused; Conflict `central.key`."""
    with deps.db.read() as tx:
        officer_for(tx, by, Action.MANAGE_SIGNING_KEYS)
        known = store.signing_keys.list_keys(tx)
    if any(key.state is KeyState.PUBLISHED for key in known):
        raise Conflict("central.key", "one waits already", public="A new key is waiting for its turn already.")
    key = _make_key(deps, 1 + max((key.number for key in known), default=0))
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_SIGNING_KEYS)
        if any(other.number >= key.number for other in store.signing_keys.list_keys(tx)):
            raise Conflict("central.key", "another was made meanwhile", public="Another key was made meanwhile.")
        store.signing_keys.insert_key(tx, key)
        note(deps, tx, "signing_key.published", by=officer, key=key.number)
    return key


def activate_signing_key(deps: Deps, number: int, *, by: str) -> None:
    """A published key signs from the next configuration on; the one before it ends.

    Raises: Refused `central.key_too_new` when not every server can have learned of it; NotFound `central.key`;
        Conflict `state.illegal_event`.
    """
    at = deps.clock.now()
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_SIGNING_KEYS)
        keys = store.signing_keys.list_keys(tx)
        key = next((one for one in keys if one.number == number), None)
        if key is None:
            raise NotFound("central.key", "no such key", public="There is no such key.")
        edge = take_edge(KEY_LIFE, key.state, KeyEvent.ACTIVATE, actor="officer")
        # counted from the first configuration that names it, which is at most one round later
        ready_at = key.changed_at + timedelta(
            seconds=deps.settings.key_publication_seconds + deps.settings.generate_seconds
        )
        if at < ready_at:
            raise Refused("central.key_too_new", f"until {ready_at}", public="Not every server knows this key yet.")
        for other in keys:
            if other.state is KeyState.SIGNING:
                end = take_edge(KEY_LIFE, other.state, KeyEvent.REPLACE, actor="officer")
                store.signing_keys.change_key(tx, other.number, before=other.state, after=end.to, at=at)
        store.signing_keys.change_key(tx, number, before=key.state, after=edge.to, at=at)
        note(deps, tx, "signing_key.activated", by=officer, key=number)


def withdraw_signing_key(deps: Deps, number: int, *, by: str) -> None:
    """A published key will not sign after all. Raises: Refused; NotFound `central.key`; Conflict `….illegal_event`."""
    with deps.db.write() as tx:
        officer = officer_for(tx, by, Action.MANAGE_SIGNING_KEYS)
        key = next((one for one in store.signing_keys.list_keys(tx) if one.number == number), None)
        if key is None:
            raise NotFound("central.key", "no such key", public="There is no such key.")
        edge = take_edge(KEY_LIFE, key.state, KeyEvent.RETIRE, actor="officer")
        store.signing_keys.change_key(tx, number, before=key.state, after=edge.to, at=deps.clock.now())
        note(deps, tx, "signing_key.withdrawn", by=officer, key=number)
    _destroy_key(deps, key)


def list_keys(deps: Deps) -> list[StoredKey]:
    with deps.db.read() as tx:
        return store.signing_keys.list_keys(tx)


def _retire_replaced(deps: Deps, tx: Connection, at: datetime) -> list[StoredKey]:
    """What a replaced key signed has run out: it is named no more."""
    retired: list[StoredKey] = []
    for key in store.signing_keys.list_keys(tx):
        if key.state is KeyState.REPLACED and at >= key.changed_at + timedelta(seconds=deps.settings.lifetime_seconds):
            edge = take_edge(KEY_LIFE, key.state, KeyEvent.RETIRE, actor="central_server")
            store.signing_keys.change_key(tx, key.number, before=key.state, after=edge.to, at=at)
            note(deps, tx, "signing_key.retired", by="central server", key=key.number)
            retired.append(key)
    return retired


def _destroy_key(deps: Deps, key: StoredKey) -> None:
    """Nobody signs with it again. A key inside a token is its operator's to destroy."""
    if not key.source.startswith("pkcs11:"):
        (deps.keys_folder / key.source).unlink(missing_ok=True)


def _make_key(deps: Deps, number: int) -> StoredKey:
    """The key's file is written before anybody hears of the key; one left over from a crash is taken as it is."""
    at = deps.clock.now()
    file = deps.keys_folder / f"configuration-{number}.pem"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private_key(file, generate_ec_key(_KEY_CURVE), passphrase=read_passphrase(deps.passphrase_file))
    key = load_private_key(file, deps.passphrase_file)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, deps.instance),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Global configuration {deps.instance}, key {number}"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial_number_from(deps.entropy.token_bytes(SERIAL_NUMBER_BYTES)))
        .not_valid_before((at - timedelta(minutes=1)).replace(microsecond=0))
        .not_valid_after((at + timedelta(days=366 * _KEY_YEARS)).replace(microsecond=0))
        .sign(key, hashes.SHA384())
    )
    return StoredKey(number, file.name, certificate_der(certificate), KeyState.PUBLISHED, at)


def _source(deps: Deps, key: StoredKey) -> Path | str:
    return key.source if key.source.startswith("pkcs11:") else deps.keys_folder / key.source


# ------------------------------------------------------------------ the anchor


def build_present_anchor(deps: Deps) -> bytes:
    """The anchor for operators: every source, the keys that sign now or next. The same bytes until a key changes.

    Raises: Broken `central.no_key`.
    """
    with deps.db.read() as tx:
        keys = [key for key in store.signing_keys.list_keys(tx) if key.state in (KeyState.SIGNING, KeyState.PUBLISHED)]
    if not keys:
        raise Broken("central.no_key", "no key signs the configuration")
    certificates = tuple(load_certificate(key.certificate_der) for key in keys)
    return build_anchor(
        Anchor(
            deps.instance,
            max(key.changed_at for key in keys),
            tuple(AnchorSource(url, certificates) for url in deps.settings.source_urls),
        )
    )
