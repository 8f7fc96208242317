"""Clients of trust services: OCSP, time-stamps, trusted lists. Every answer is verified before it is handed on."""

from digiid.platform.trust.clients import OcspClient, TsaClient, find_ocsp_address
from digiid.platform.trust.hosts import AllowedHosts
from digiid.platform.trust.lists import ListSource, StoreState, TrustedListStore, read_location, read_trusted_lists

__all__ = [
    "AllowedHosts",
    "ListSource",
    "OcspClient",
    "StoreState",
    "TrustedListStore",
    "TsaClient",
    "find_ocsp_address",
    "read_location",
    "read_trusted_lists",
]
