"""Trusted lists (ETSI TS 119 612 V2.1.1 as TLv5, V2.3.1 as TLv6): read, verify, look up at a time, build, sign.

A list is believed only after `verify_trusted_list` with pinned signer certificates; lists of lists bring the pins of
the lists that they point to. Not supported: lists signed by a key that is only named by a chain, and digital identities
without a certificate (services so named are listed but never trusted).
"""

from digiid.formats.trusted_list.build import (
    ListContent,
    ListedPeriod,
    ListedPointer,
    ListedProvider,
    ListedService,
    PostalAddress,
    build_trusted_list,
    sign_trusted_list,
)
from digiid.formats.trusted_list.model import (
    CA_QC,
    GRANTED,
    ID_TSL_KP_SIGNING,
    MAX_LIST_BYTES,
    NS_ADDITIONAL,
    NS_DS,
    NS_QUALIFICATIONS,
    NS_TSL,
    NS_XADES,
    NS_XML,
    OCSP,
    OCSP_QC,
    TSA_QTST,
    TYPE_GENERIC,
    TYPE_LIST_OF_LISTS,
    WITHDRAWN,
    Criteria,
    Pointer,
    Qualification,
    ServicePeriod,
    TrustedList,
    TrustService,
    VerifiedTrustedList,
)
from digiid.formats.trusted_list.parse import parse_trusted_list
from digiid.formats.trusted_list.pivots import follow_pivots, pivot_locations
from digiid.formats.trusted_list.trust import ServiceCertificate, VerifiedTrust, granted_period, qualifiers_for
from digiid.formats.trusted_list.verify import check_current, check_period, resolve_trusted_lists, verify_trusted_list

__all__ = [
    "CA_QC",
    "GRANTED",
    "ID_TSL_KP_SIGNING",
    "MAX_LIST_BYTES",
    "NS_ADDITIONAL",
    "NS_DS",
    "NS_QUALIFICATIONS",
    "NS_TSL",
    "NS_XADES",
    "NS_XML",
    "OCSP",
    "OCSP_QC",
    "TSA_QTST",
    "TYPE_GENERIC",
    "TYPE_LIST_OF_LISTS",
    "WITHDRAWN",
    "Criteria",
    "ListContent",
    "ListedPeriod",
    "ListedPointer",
    "ListedProvider",
    "ListedService",
    "Pointer",
    "PostalAddress",
    "Qualification",
    "ServiceCertificate",
    "ServicePeriod",
    "TrustService",
    "TrustedList",
    "VerifiedTrust",
    "VerifiedTrustedList",
    "build_trusted_list",
    "check_current",
    "check_period",
    "follow_pivots",
    "granted_period",
    "parse_trusted_list",
    "pivot_locations",
    "qualifiers_for",
    "resolve_trusted_lists",
    "sign_trusted_list",
    "verify_trusted_list",
]
