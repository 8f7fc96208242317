"""The trust services that signing, stamping and extending need."""

from collections.abc import Callable
from dataclasses import dataclass

from digiid.formats.trusted_list import VerifiedTrust
from digiid.platform.clock import Clock
from digiid.platform.trust import OcspClient, TsaClient


@dataclass(frozen=True, slots=True)
class TrustServices:
    """Who stamps, who confirms, and whom we trust when we judge the result."""

    tsa: TsaClient
    ocsp: OcspClient
    trust: Callable[[], VerifiedTrust]
    clock: Clock
