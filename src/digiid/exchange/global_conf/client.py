"""Downloads the global configuration, verifies it, keeps the last good copy, never goes back (pr-gconf, TM-03)."""

import hashlib
import hmac
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from cryptography import x509

from digiid.exchange.global_conf.folder import (
    FILE_OF_PART,
    MAX_BYTES_OF_PART,
    Floor,
    StoredCopy,
    build_view,
    keys_text,
    load_folder,
    read_copy,
    read_floor,
    write_copy,
)
from digiid.exchange.global_conf.view import GlobalConf
from digiid.formats.global_conf import (
    MAX_ANCHOR_BYTES,
    MAX_DIRECTORY_BYTES,
    READ_VERSIONS,
    SHARED_PARAMETERS,
    Anchor,
    DirectoryPart,
    SharedParams,
    VerifiedDirectory,
    anchor_fingerprint,
    build_anchor,
    check_source_url,
    parse_anchor,
    parse_directory,
    verify_directory,
)
from digiid.formats.xades.algorithms import hash_bytes
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy
from digiid.platform.http import HttpClient

REFRESH_INTERVAL: Final = timedelta(seconds=60)
_AVOIDED_FOR: Final = timedelta(minutes=5)
_INTERNAL, _EXTERNAL = "/internalconf", "/externalconf"
_TICK: Final = timedelta(microseconds=1)
log = structlog.get_logger("global_conf")


@dataclass(frozen=True, slots=True)
class ConfigurationState:
    """How the configuration stands, for a status page. `problem` is the code of the last refresh that failed, if the
    last one did; `source` where the copy in use was last seen. `generated_at` is when its youngest part was made, which
    may be long ago; `life` how long it was to last when it came."""

    expires_at: datetime | None
    fetched_at: datetime | None
    generated_at: datetime | None
    version: int | None
    source: str | None
    problem: str | None
    problem_at: datetime | None
    life: timedelta | None = None


def read_anchor_file(path: Path) -> Anchor:
    """An anchor from its file. Raises: NotFound `exchange.global_conf.file`; Malformed `exchange.global_conf.…`."""
    try:
        with path.open("rb") as file:
            return parse_anchor(file.read(MAX_ANCHOR_BYTES + 1))
    except OSError as error:
        raise NotFound("exchange.global_conf.file", f"{path}: {error.strerror}") from error


class ConfigurationClient:
    """Keeps the configuration of the anchor's instance. One per folder; safe to use from several threads.

    Until there is a configuration the anchor's keys verify it. After that the keys that the configuration in hand names
    do, which is how keys rotate; the anchor's own count again only when it names none, or when the anchor is replaced.
    """

    def __init__(self, folder: Path, anchor: Anchor, http: HttpClient, clock: Clock, entropy: Entropy) -> None:
        self._folder, self._anchor = folder, anchor
        self._http, self._clock, self._entropy = http, clock, entropy
        self._fingerprint = anchor_fingerprint(build_anchor(anchor))
        self._refreshing = threading.Lock()
        self._loading = threading.Lock()
        self._is_loaded = False
        self._conf: GlobalConf | None = None
        self._life: timedelta | None = None
        self._floor: Floor | None = None
        self._parts: dict[str, bytes] = {}
        self._ranks: dict[str, bytes] = {}  # by host: a random order, kept
        self._failed_at: dict[str, datetime] = {}
        self._source: str | None = None
        self._problem: tuple[str, datetime] | None = None
        self._tried_at: datetime | None = None

    # -------------------------------------------------------------- in use

    def current(self) -> GlobalConf:
        """The last good configuration. Nothing is fetched.

        Raises: Unavailable `exchange.global_conf_outdated`, there is none, or it has run out: at its expiry and after.
        """
        self._load_once()
        conf = self._conf
        if conf is None:
            raise Unavailable("exchange.global_conf_outdated", "there is no global configuration yet")
        if self._clock.now() >= conf.expires_at:
            raise Unavailable("exchange.global_conf_outdated", f"the global configuration ran out at {conf.expires_at}")
        return conf

    def state(self) -> ConfigurationState:
        """How it stands, also when it has run out."""
        self._load_once()
        conf, problem = self._conf, self._problem
        return ConfigurationState(
            expires_at=conf.expires_at if conf else None,
            fetched_at=conf.fetched_at if conf else None,
            generated_at=conf.generated_at if conf else None,
            version=conf.version if conf else None,
            source=self._source,
            problem=problem[0] if problem else None,
            problem_at=problem[1] if problem else None,
            life=self._life,
        )

    @staticmethod
    def load_folder(path: Path) -> GlobalConf:
        """See digiid.exchange.global_conf.load_folder."""
        return load_folder(path)

    # -------------------------------------------------------------- refreshing

    def keep_fresh(self, *, every: timedelta = REFRESH_INTERVAL) -> None:
        """For a timer: refresh when the last attempt is `every` ago. A failure is in `state` and in the log."""
        now = self._clock.now()
        if self._tried_at is not None and now - self._tried_at < every:
            return
        try:
            self.refresh()
        except DigiidError as error:
            log.warning("global_conf.not_refreshed", code=error.code, detail=error.detail)

    def refresh(self) -> GlobalConf:
        """Fetch the configuration from the first source that has a good one. The copy in hand stays on any failure.

        Raises: what the source said that came farthest: Refused `exchange.global_conf.…` (signer, signature, rollback,
            instance, hash, version), `exchange.global_conf_outdated`; Malformed `exchange.global_conf.…`; Unavailable
            `http.unreachable`, `exchange.global_conf.http`, `exchange.global_conf.store`.
        """
        with self._refreshing:
            self._load_once()
            self._tried_at = now = self._clock.now()
            problem: DigiidError | None = None
            for url in self._sources(now):
                try:
                    conf = self._fetch(url, now)
                except DigiidError as error:
                    self._failed_at[url] = now
                    if problem is None or isinstance(problem, Unavailable):
                        problem = error
                    continue
                self._failed_at.pop(url, None)
                self._source, self._problem = url, None
                return conf
            problem = problem or Malformed("exchange.global_conf.anchor", "there is no source")
            self._problem = (problem.code, now)
            raise problem

    def _fetch(self, url: str, now: datetime) -> GlobalConf:
        # 1 the directory, in the highest version that the source has, signed and not run out
        asked, raw = self._fetch_directory(url)
        directory = verify_directory(parse_directory(raw), self._keys(url), at=now)
        if directory.version != asked:
            raise Refused("exchange.global_conf.version", f"version {directory.version} instead of {asked}")

        # 2 of this instance, and not older than what was seen
        if any(part.instance not in (None, self._anchor.instance) for part in directory.parts):
            raise Refused("exchange.global_conf.instance", f"parts that are not of instance {self._anchor.instance}")
        shared_part = directory.find(SHARED_PARAMETERS)
        if shared_part is None or shared_part.instance is None:
            raise Malformed("exchange.global_conf.directory.structure", "there are no shared parameters")
        if self._floor is not None:
            self._floor.check_not_older(
                version=directory.version, generated_at=directory.generated_at, expires_at=directory.expires_at
            )

        # 3 its parts: those that changed from the same host, every one compared with its hash
        parts = {part.content_id: self._part(url, part) for part in directory.parts if part.content_id in FILE_OF_PART}

        # 4 read all of it before any of it is used
        conf = build_view(
            parts,
            instance=self._anchor.instance,
            version=directory.version,
            expires_at=directory.expires_at,
            fetched_at=now,
            generated_at=directory.generated_at,
            before=self._conf,
        )

        # 5 on the disk, unless it is there as it is, then in use
        floor = self._floor_of(raw, directory, self._keys(url), now)
        if self._conf is None or self._floor is None or floor.copy_name != self._floor.copy_name:
            try:
                write_copy(self._folder, floor, StoredCopy(raw, parts), conf)
            except OSError as error:
                raise Unavailable("exchange.global_conf.store", f"{self._folder}: {error.strerror}") from error
        if self._life is None or self._conf is None or self._conf.expires_at != conf.expires_at:
            self._life = conf.expires_at - now
        self._conf, self._floor, self._parts = conf, floor, parts
        return conf

    def _fetch_directory(self, url: str) -> tuple[int, bytes]:
        for version in READ_VERSIONS:
            answer = self._http.request("GET", f"{url}?version={version}", max_bytes=MAX_DIRECTORY_BYTES)
            if answer.status == 200:
                return version, answer.body
            if answer.status != 404:
                raise Unavailable("exchange.global_conf.http", f"{url} answered HTTP {answer.status}")
        raise Unavailable("exchange.global_conf.http", f"{url} has no configuration of a version that is read")

    def _part(self, url: str, part: DirectoryPart) -> bytes:
        held = self._parts.get(part.content_id)
        if held is not None and _has_hash(held, part):
            return held
        source = urlsplit(url)
        # The location is a plain path (formats/global_conf): it cannot lead to another host.
        answer = self._http.request(
            "GET", f"{source.scheme}://{source.netloc}{part.location}", max_bytes=MAX_BYTES_OF_PART[part.content_id]
        )
        if answer.status != 200:
            raise Unavailable("exchange.global_conf.http", f"{part.location} answered HTTP {answer.status}")
        if not _has_hash(answer.body, part):
            raise Refused("exchange.global_conf.hash", f"{part.location} is not what the directory says")
        return answer.body

    def _floor_of(
        self, raw: bytes, directory: VerifiedDirectory, keys: Sequence[x509.Certificate], now: datetime
    ) -> Floor:
        return Floor(
            anchor=self._fingerprint,
            version=directory.version,
            generated_at=directory.generated_at,
            expires_at=directory.expires_at,
            fetched_at=now,
            copy_name=hashlib.sha256(raw).hexdigest()[:32],
            keys=keys_text(keys),
        )

    # -------------------------------------------------------------- sources and keys

    def _keys(self, url: str) -> tuple[x509.Certificate, ...]:
        if self._conf is not None and self._floor is not None:  # without a floor the anchor is a new one
            named = _named_keys(self._conf.shared, is_external=url.endswith(_EXTERNAL))
            if named:
                return named
        return _distinct(one for source in self._anchor.sources for one in source.certificates)

    def _sources(self, now: datetime) -> list[str]:
        """Addresses in the order of trying: hosts by a random order that is kept, those that failed lately last; of one
        host HTTPS before HTTP."""
        urls = [source.url for source in self._anchor.sources]
        hosts = {urlsplit(url).netloc.lower() for url in urls}
        kind = _EXTERNAL if urls and all(url.endswith(_EXTERNAL) for url in urls) else _INTERNAL
        for source in self._conf.shared.sources if self._conf is not None else ():
            if source.address.lower() in hosts:
                continue  # the anchor knows by which scheme
            for url in (f"https://{source.address}{kind}", f"http://{source.address}{kind}"):
                try:
                    check_source_url(url)
                except Malformed:
                    log.warning("global_conf.source_passed_over", address=source.address[:80])
                    break
                urls.append(url)
        for url in urls:
            self._ranks.setdefault(urlsplit(url).netloc.lower(), self._entropy.token_bytes(8))

        def place(url: str) -> tuple[bool, bytes, bool]:
            failed_at, parts = self._failed_at.get(url), urlsplit(url)
            failed = failed_at is not None and now - failed_at < _AVOIDED_FOR
            return failed, self._ranks[parts.netloc.lower()], parts.scheme != "https"

        return sorted(dict.fromkeys(urls), key=place)

    # -------------------------------------------------------------- what was kept

    def _load_once(self) -> None:
        if self._is_loaded:
            return
        with self._loading:
            if not self._is_loaded:
                self._load()
                self._is_loaded = True

    def _load(self) -> None:
        """The copy of an earlier run, verified as if it were fetched now, except that it may have run out."""
        try:
            floor = read_floor(self._folder)
            if floor is None:
                return
            if floor.anchor == self._fingerprint:
                self._floor, keys = floor, floor.certificates()
            else:  # another anchor was put in place: only what its keys signed counts, and nothing is too old for it
                keys = _distinct(one for source in self._anchor.sources for one in source.certificates)
            copy = read_copy(self._folder, floor, instance=self._anchor.instance)
            unverified = parse_directory(copy.directory)
            at = min(self._clock.now(), unverified.expires_at - _TICK)
            directory = verify_directory(unverified, keys, at=at)
            parts = {}
            for part in directory.parts:
                if part.content_id not in FILE_OF_PART:
                    continue
                held = copy.parts.get(part.content_id)
                if held is None or not _has_hash(held, part):
                    raise Refused("exchange.global_conf.hash", f"the stored {part.content_id} was changed")
                parts[part.content_id] = held
            if SHARED_PARAMETERS not in parts:
                raise Malformed("exchange.global_conf.store", "the stored copy has no shared parameters")
            self._conf = build_view(
                parts,
                instance=self._anchor.instance,
                version=directory.version,
                expires_at=directory.expires_at,
                fetched_at=floor.fetched_at,
                generated_at=directory.generated_at,
            )
            self._life = directory.expires_at - floor.fetched_at
            self._parts = parts
        except DigiidError as error:
            log.warning("global_conf.copy_not_used", code=error.code, detail=error.detail)


def _has_hash(data: bytes, part: DirectoryPart) -> bool:
    return hmac.compare_digest(hash_bytes(part.hash_name, data), part.digest)


def _named_keys(shared: SharedParams, *, is_external: bool) -> tuple[x509.Certificate, ...]:
    return _distinct(
        one
        for source in shared.sources
        for one in (source.external_certificates if is_external else source.internal_certificates)
    )


def _distinct(certificates: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    return tuple(dict.fromkeys(certificates))
