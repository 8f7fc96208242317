"""Who may call the signing service, and how a request proves it: HMAC-SHA256 in the manner of SiGa.

A client's secret is derived from the service's own one (a file of mode 0600), so that whoever reads the database
learns none. A request that changes something is good once, and every one within a minute of our clock.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError

from digiid.institutions.information_authority.signing_service import store
from digiid.institutions.information_authority.signing_service.domain import (
    CLOCK_WINDOW,
    KnownClient,
    canonical_request,
)
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy, new_id

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,11}(\.[0-9]{1,6})?")  # a fraction tells equal requests of a second apart
_SIGNATURE: Final = re.compile(r"[0-9a-fA-F]{64,128}")
_HASHES: Final = {"hmacsha256": "sha256", "hmacsha384": "sha384", "hmacsha512": "sha512"}
_MAX_NAME_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What a client is given once: its identifier and its secret, both text."""

    client_id: str
    name: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Registry:
    """The clients. `master_secret` has at least 32 bytes and never leaves this process."""

    db: Database
    clock: Clock
    entropy: Entropy
    master_secret: bytes = field(repr=False)

    def add(self, name: str, *, client_id: str | None = None) -> ClientCredentials:
        """A new client. Raises: Refused `signing.client.name`; Conflict `signing.client.taken`."""
        if not 1 <= len(name) <= _MAX_NAME_CHARS or not name.isprintable():
            raise Refused("signing.client.name", "a name is 1 to 200 printable characters")
        client_id = client_id or new_id(self.entropy)
        if not _UUID.fullmatch(client_id):
            raise Refused("signing.client.name", "a client's identifier is a UUID in lower case")
        at = self.clock.now()
        try:
            with self.db.write() as tx:
                store.insert_client(tx, client_id=client_id, name=name, at=at)
                journal.record(tx, store.JOURNAL, kind="client_added", payload={"client_id": client_id}, at=at)
        except IntegrityError as error:
            raise Conflict("signing.client.taken", f"client {client_id} is there already") from error
        return ClientCredentials(client_id, name, self._secret(client_id, 1))

    def find(self, client_id: str) -> ClientCredentials | None:
        """The present secret of an open client, for who administers this service."""
        with self.db.read() as tx:
            generation = store.find_generation(tx, client_id)
        return None if generation is None else ClientCredentials(client_id, "", self._secret(client_id, generation))

    def list_clients(self) -> list[KnownClient]:
        """Every client, the oldest first, without secrets."""
        with self.db.read() as tx:
            return store.list_clients(tx)

    def renew(self, client_id: str) -> ClientCredentials:
        """A new secret; the present one ends at once. Raises: NotFound `signing.client`."""
        at = self.clock.now()
        with self.db.write() as tx:
            if not store.renew_client(tx, client_id):
                raise NotFound("signing.client", "no such client")
            generation = store.find_generation(tx, client_id)
            journal.record(tx, store.JOURNAL, kind="client_renewed", payload={"client_id": client_id}, at=at)
        assert generation is not None
        return ClientCredentials(client_id, "", self._secret(client_id, generation))

    def close(self, client_id: str) -> None:
        """The client may call no more. Raises: NotFound `signing.client`."""
        at = self.clock.now()
        with self.db.write() as tx:
            if not store.close_client(tx, client_id, at=at):
                raise NotFound("signing.client", "no such client")
            journal.record(tx, store.JOURNAL, kind="client_closed", payload={"client_id": client_id}, at=at)

    def authenticate(self, headers: Mapping[str, str], *, method: str, path: str, body: bytes) -> str:
        """The client that sent this request. `headers` have lower-case names.

        Raises: Refused `signing.auth.missing`, `.clock`, `.refused`, `.replayed`, `.algorithm`.
        """
        # 1 what the headers say
        client_id = headers.get("x-authorization-serviceuuid", "").lower()
        timestamp = headers.get("x-authorization-timestamp", "")
        signature = headers.get("x-authorization-signature", "")
        hash_name = _HASHES.get(headers.get("x-authorization-hmac-algorithm", "HmacSHA256").lower())
        wrong = [
            name
            for name, is_right in (
                ("X-Authorization-ServiceUUID", _UUID.fullmatch(client_id)),
                ("X-Authorization-Timestamp", _TIMESTAMP.fullmatch(timestamp)),
                ("X-Authorization-Signature", _SIGNATURE.fullmatch(signature)),
            )
            if not is_right
        ]
        if wrong:
            raise _refused("missing", f"The request is not signed. Missing, or not in its form: {', '.join(wrong)}.")
        if hash_name is None:
            raise _refused("algorithm", "X-Authorization-Hmac-Algorithm is HmacSHA256, HmacSHA384 or HmacSHA512.")
        # 2 who is known, and signed this very request; strangers cost the same work
        with self.db.read() as tx:
            generation = store.find_generation(tx, client_id)
        secret = self._secret(client_id, generation or 0)
        message = canonical_request(
            client_id=headers["x-authorization-serviceuuid"], timestamp=timestamp, method=method, path=path, body=body
        )
        expected = hmac.new(secret.encode(), message, hash_name).hexdigest()
        if not hmac.compare_digest(expected, signature.lower()) or generation is None:
            raise _refused("refused", "The client is not known or the signature of the request is not right.")
        # 3 now, and not again
        now = self.clock.now()
        if abs(now.timestamp() - float(timestamp)) > CLOCK_WINDOW.total_seconds():
            raise _refused("clock", "X-Authorization-Timestamp is more than a minute from our clock.")
        if method == "GET":
            return client_id
        request_hash = hashlib.sha256(f"{client_id}:{signature.lower()}".encode()).digest()
        try:
            self.db.retry(lambda: self._record(request_hash, now))
        except IntegrityError as error:
            raise _refused("replayed", "This request came before.") from error
        return client_id

    def _record(self, request_hash: bytes, at: datetime) -> None:
        with self.db.write() as tx:
            if store.is_request_seen(tx, request_hash):
                raise _refused("replayed", "This request came before.")
            store.record_request(tx, request_hash, at=at)

    def _secret(self, client_id: str, generation: int) -> str:
        message = f"digiid signing client 1:{client_id}:{generation}".encode()
        return hmac.new(self.master_secret, message, "sha256").hexdigest()


def sign_request(
    credentials: ClientCredentials, *, method: str, path: str, body: bytes, at: datetime
) -> dict[str, str]:
    """The headers that a client adds to a request."""
    timestamp = f"{at.timestamp():.6f}"
    message = canonical_request(
        client_id=credentials.client_id, timestamp=timestamp, method=method, path=path, body=body
    )
    return {
        "X-Authorization-Timestamp": timestamp,
        "X-Authorization-ServiceUUID": credentials.client_id,
        "X-Authorization-Signature": hmac.new(credentials.secret.encode(), message, "sha256").hexdigest(),
        "X-Authorization-Hmac-Algorithm": "HmacSHA256",
    }


def _refused(rule: str, detail: str) -> Refused:
    return Refused(f"signing.auth.{rule}", detail)
