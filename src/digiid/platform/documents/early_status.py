"""The status of a signer's certificate, asked before the signer types a PIN in vain.

It only spares the person the PIN: what decides is the OCSP response after the time-stamp, which goes into the
signature. So whatever is not a plain answer lets the signing go on, and the responder is not asked without measure.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography import x509

from digiid.formats.ocsp import VerifiedOcsp
from digiid.formats.x509.parts import certificate_der
from digiid.kernel.errors import DigiidError, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.documents.levels import check_status

Fetch = Callable[[x509.Certificate, x509.Certificate], tuple[bytes, VerifiedOcsp]]
_ANSWER_HOLDS: Final = timedelta(seconds=10)
_PAUSE: Final = timedelta(seconds=30)  # of a responder that did not answer
_ASKED_AT_ONCE: Final = 4
_MAX_REMEMBERED: Final = 1000
log = structlog.get_logger("documents")


@dataclass
class EarlyStatus:
    """For all who sign at one service or site. At most one request in ten seconds about a certificate, four at a time,
    and none for half a minute after one that was not answered."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asked: OrderedDict[bytes, tuple[datetime, VerifiedOcsp | None]] = field(default_factory=OrderedDict)
    _under_way: int = 0
    _paused_until: datetime | None = None

    def check(self, certificate: x509.Certificate, issuer: x509.Certificate, *, fetch: Fetch, clock: Clock) -> None:
        """Nothing when it is in force, or when nobody can say so now.

        Raises: Refused `documents.certificate.revoked`, `.suspended`, `.unknown`.
        """
        key, now = certificate_der(certificate), clock.now()
        with self._lock:
            asked_at, status = self._asked.get(key, (None, None))
            if asked_at is None or not timedelta(0) <= now - asked_at < _ANSWER_HOLDS:
                if self._under_way >= _ASKED_AT_ONCE or (self._paused_until is not None and now < self._paused_until):
                    return
                self._remember(key, now, None)  # who prepares the same at this moment does not ask as well
                self._under_way += 1
                is_asked = True
            else:
                is_asked = False
        if is_asked:
            status = self._ask(key, now, lambda: fetch(certificate, issuer))
        if status is not None:
            check_status(status, stamped_at=status.produced_at)

    def _ask(self, key: bytes, now: datetime, fetch: Callable[[], tuple[bytes, VerifiedOcsp]]) -> VerifiedOcsp | None:
        status, pauses = None, False
        try:
            _, status = fetch()
        except DigiidError as error:
            pauses = isinstance(error, Unavailable)
            log.warning("documents.no_early_status", code=error.code, detail=error.detail)
        finally:
            with self._lock:
                self._under_way -= 1
                self._remember(key, now, status)
                if pauses:
                    self._paused_until = now + _PAUSE
        return status

    def _remember(self, key: bytes, now: datetime, status: VerifiedOcsp | None) -> None:
        self._asked[key] = now, status
        self._asked.move_to_end(key)
        while len(self._asked) > _MAX_REMEMBERED:
            self._asked.popitem(last=False)
