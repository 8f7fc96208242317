"""Trusted lists from files and from the network. The last copy that verified is kept.

What is stored is verified again at every load, so that whoever can write to the folder gains nothing: a list that the
pinned signers did not sign, or one older than what was seen, is refused.
"""

import hashlib
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509

from digiid.formats.trusted_list import (
    MAX_LIST_BYTES,
    TYPE_LIST_OF_LISTS,
    VerifiedTrust,
    VerifiedTrustedList,
    follow_pivots,
    parse_trusted_list,
    pivot_locations,
    resolve_trusted_lists,
)
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.http import HttpClient
from digiid.platform.trust.hosts import AllowedHosts

_MAX_LISTS = 64
log = structlog.get_logger("trusted_lists")


@dataclass(frozen=True, slots=True)
class ListSource:
    """Where a first list is, and who signs it."""

    address: str
    signers: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class ListState:
    """How a list stands: `left` is until its NextUpdate, none or less when it has run out."""

    territory: str
    sequence_number: int
    issued_at: datetime
    next_update_at: datetime | None
    left: timedelta | None

    @property
    def is_current(self) -> bool:
        return self.left is not None and self.left >= timedelta(0)


@dataclass(frozen=True, slots=True)
class StoreState:
    """The lists in use, when they were last fetched by this program, and why not since, if so."""

    lists: tuple[ListState, ...]
    fetched_at: datetime | None
    problem: str | None
    problem_at: datetime | None

    @property
    def is_good(self) -> bool:
        """There are lists, and none has run out. A failed refresh alone is no harm: the last good copies are in use."""
        return bool(self.lists) and all(found.is_current for found in self.lists)


class TrustedListStore:
    """The lists of one source, with those that a list of lists points to (as far as their hosts are allowed)."""

    def __init__(
        self, source: ListSource, *, folder: Path, http: HttpClient, clock: Clock, hosts: AllowedHosts | None = None
    ) -> None:
        self._source, self._folder, self._http, self._clock = source, folder, http, clock
        self._hosts = hosts or AllowedHosts.of_urls(source.address)
        self._lock = threading.Lock()
        self._trust: VerifiedTrust | None = None
        self._fetched_at: datetime | None = None
        self._problem: tuple[str, datetime] | None = None

    def state(self) -> StoreState:
        """How the lists stand that are in use; nothing is fetched for it."""
        now = self._clock.now()
        with self._lock:
            trust, fetched_at, problem = self._trust, self._fetched_at, self._problem
        lists = tuple(_state_of(verified, now) for verified in (trust.lists if trust else ()))
        code, problem_at = problem or (None, None)
        return StoreState(lists, fetched_at, code, problem_at)

    def keep_fresh(self, *, every: timedelta) -> None:
        """For a timer: fetch anew what was fetched longer ago than `every`. On any failure the last good copies stay in
        use, and `state` tells why."""
        now = self._clock.now()
        if self._fetched_at is not None and now - self._fetched_at < every:
            return
        try:
            self.refresh()
        except DigiidError as error:
            with self._lock:
                self._problem = error.code, now
            log.warning("trusted_lists.not_refreshed", code=error.code)

    def trust(self) -> VerifiedTrust:
        """The services of the last good copy, fetched if there is none yet.

        Raises:
            Unavailable: there is no copy and none can be fetched.
            Refused: `trusted_list.…`, the copy has run out and no newer one can be had, or was tampered with.
        """
        with self._lock:
            if self._trust is None:
                self._trust = self._load()
            trust = self._trust
        try:
            trust.check_current(at=self._clock.now())
        except Refused:
            self.refresh()
            with self._lock:
                trust = self._trust or trust
            trust.check_current(at=self._clock.now())
        return trust

    def refresh(self) -> VerifiedTrust:
        """Fetch, verify, compare with the last copy, store. On any failure the last copy stays as it was.

        Raises:
            Unavailable: `http.unreachable`, `trusted_list.http`.
            Malformed, Refused: `trusted_list.…`; `trusted_list.rollback` for a sequence number below the stored one.
        """
        # 1 fetch the first list, then those it points to
        now = self._clock.now()
        pivots, documents = self._fetch_all()
        # 2 verify them together
        lists = self._resolve(pivots, documents, at=now)
        # 3 never backwards
        with self._lock:
            for old in self._stored_lists():
                for new in lists:
                    same = new.content.territory == old.territory and new.content.list_type == old.list_type
                    if same and new.content.sequence_number < old.sequence_number:
                        raise Refused("trusted_list.rollback", f"list {old.territory} is older than the stored one")
            # 4 store, then use
            self._store(pivots, documents)
            self._trust = VerifiedTrust(lists, at=now)
            self._fetched_at, self._problem = now, None
            return self._trust

    def _load(self) -> VerifiedTrust:
        pivots, documents = _read_folder(self._pivots_folder), _read_folder(self._folder)
        if not documents:
            pivots, documents = self._fetch_all()
            lists = self._resolve(pivots, documents, at=self._clock.now())
            self._store(pivots, documents)
            self._fetched_at = self._clock.now()
            return VerifiedTrust(lists, at=self._clock.now())
        # A copy that has run out is still loaded, as of its last day; `trust` refuses it if there is no newer one.
        at = min(self._clock.now(), *(_expiry(document) for document in documents))
        return VerifiedTrust(self._resolve(pivots, documents, at=at), at=at)

    def _resolve(
        self, pivots: Sequence[bytes], documents: Sequence[bytes], *, at: datetime
    ) -> tuple[VerifiedTrustedList, ...]:
        """Verified by the pinned signers, or by those to whom the pivots lead from them. Who was interrupted while
        storing may have newer pivots than lists."""
        for count in range(len(pivots) + 1):
            signers = follow_pivots(pivots[:count], signers=self._source.signers)
            try:
                return resolve_trusted_lists(documents, signers=signers, at=at)
            except Refused as error:
                if error.code != "trusted_list.signer" or count == len(pivots):
                    raise
        raise AssertionError("the last round returns or raises")

    def _fetch_all(self) -> tuple[list[bytes], list[bytes]]:
        """The pivots that are needed, oldest first, and the lists."""
        first = self._fetch(self._source.address)
        documents = [first]
        content = parse_trusted_list(first)
        if content.list_type != TYPE_LIST_OF_LISTS:
            return [], documents
        # What the list says is believed only after the list is; until then pointers and pivots are just addresses.
        pivots: list[bytes] = []
        try:
            self._resolve((), documents, at=self._clock.now())
        except Refused as error:
            locations = pivot_locations(content)
            if error.code != "trusted_list.signer" or not locations:
                raise
            pivots = [self._fetch(location) for location in locations]
            self._resolve(pivots, documents, at=self._clock.now())
        for pointer in content.pointers[:_MAX_LISTS]:
            if pointer.list_type != TYPE_LIST_OF_LISTS:
                documents.append(self._fetch(pointer.location))
        return pivots, documents

    def _fetch(self, address: str) -> bytes:
        self._hosts.check(address)
        answer = self._http.request("GET", address, max_bytes=MAX_LIST_BYTES)
        if answer.status != 200:
            raise Unavailable("trusted_list.http", f"HTTP {answer.status} for a trusted list")
        return answer.body

    @property
    def _pivots_folder(self) -> Path:
        return self._folder / "pivots"

    def _stored_lists(self) -> list["_Seen"]:
        seen = []
        for document in _read_folder(self._folder):
            try:
                content = parse_trusted_list(document)
            except Malformed:
                continue  # a broken copy is replaced; it never vouched for anything
            seen.append(_Seen(content.territory, content.list_type, content.sequence_number))
        return seen

    def _store(self, pivots: Sequence[bytes], documents: Sequence[bytes]) -> None:
        # Pivots first: new lists without the pivots that lead to them could not be read again.
        _write_folder(self._pivots_folder, pivots)
        _write_folder(self._folder, documents)


def _read_folder(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*.xml"))] if folder.is_dir() else []


def _write_folder(folder: Path, documents: Sequence[bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = set()
    for number, document in enumerate(documents):
        name = f"{number:03}-{hashlib.sha256(document).hexdigest()[:16]}.xml"
        names.add(name)
        _write(folder / name, document)
    for path in folder.glob("*.xml"):
        if path.name not in names:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Seen:
    territory: str
    list_type: str
    sequence_number: int


def _state_of(verified: VerifiedTrustedList, now: datetime) -> ListState:
    content = verified.content
    left = None if content.next_update_at is None else content.next_update_at - now
    return ListState(content.territory, content.sequence_number, content.issued_at, content.next_update_at, left)


def _expiry(document: bytes) -> datetime:
    content = parse_trusted_list(document)
    return content.next_update_at or content.issued_at


def _write(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".list-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_trusted_lists(
    locations: Sequence[str], *, signers: Sequence[x509.Certificate], http: HttpClient, at: datetime
) -> VerifiedTrust:
    """Lists that a person named on the command line: files or http(s) addresses. Pointers between them are resolved
    among the named ones first; a pointer to a list that was not named is left alone.

    Raises:
        NotFound: `trusted_list.file`.
        Unavailable, Malformed, Refused: as for a list from the network.
    """
    if not signers:
        raise Refused("trusted_list.no_signer", "name the certificate of the list's signer, --tl-cert")
    documents = [read_location(location, http) for location in locations]
    lists: tuple[VerifiedTrustedList, ...] = resolve_trusted_lists(documents, signers=signers, at=at)
    return VerifiedTrust(lists, at=at)


def read_location(location: str, http: HttpClient) -> bytes:
    """A list that a person named, unverified: a file, or an http(s) address, within the limits of a list.

    Raises:
        NotFound: `trusted_list.file`.
        Malformed: `trusted_list.too_large`, `http.too_large`.
        Unavailable: `trusted_list.http`; nobody answers.
    """
    if location.startswith(("http://", "https://")):
        answer = http.request("GET", location, max_bytes=MAX_LIST_BYTES)
        if answer.status != 200:
            raise Unavailable("trusted_list.http", f"HTTP {answer.status} for {location}")
        return answer.body
    try:
        with Path(location).open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
    except OSError as error:
        raise NotFound("trusted_list.file", f"{location}: {error.strerror}") from error
    if len(data) > MAX_LIST_BYTES:
        raise Malformed("trusted_list.too_large", f"{location} is larger than {MAX_LIST_BYTES} bytes")
    return data
