"""Key labels: how a recipient is named for people, and in a form that programs read (CDOC2, key label version 1).

    data:v=1&type=ID-card&serial_number=PNOEE-38001085718&cn=…
    data:;base64,<the same in base64>

Keys are compared without case, since the two programs of the field write them differently, and a comma after
`data:` (RFC 2397) is read and not written. Any other text is a label as well, written by a person.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote_plus

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from digiid.formats.x509.parts import parts_of

ID_CARD, DIGI_ID, E_RESIDENT = "ID-card", "Digi-ID", "Digi-ID E-RESIDENT"
CERTIFICATE, PASSWORD, SECRET, PUBLIC_KEY = "cert", "pw", "secret", "pub_key"
# Policies of the certificate's document: the state's real ones, and those of its test hierarchy.
_DOCUMENT_TYPES: Final = {
    f"{arc}.{number}": kind
    for arc in ("1.3.6.1.4.1.51361.1.1", "1.3.6.1.4.1.51361.1.2")
    for number, kind in ((1, ID_CARD), (3, DIGI_ID), (4, E_RESIDENT))
}
_MAX_FIELDS: Final = 32


def build_label(kind: str, fields: Mapping[str, str]) -> str:
    """The machine form; empty fields are left out."""
    pairs = {"v": "1", "type": kind, **fields}
    return "data:" + "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs.items() if value)


def parse_label(label: str) -> Mapping[str, str] | None:
    """The fields of a label in machine form, names in lower case; None for any other text."""
    if not label.startswith("data:"):
        return None
    body = label.removeprefix("data:")
    if body.startswith(";base64,"):
        try:
            body = base64.b64decode(body.removeprefix(";base64,"), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
    fields: dict[str, str] = {}
    for pair in body.removeprefix(",").split("&", _MAX_FIELDS)[:_MAX_FIELDS]:
        name, sign, value = pair.partition("=")
        if not sign or name.lower() in fields:
            return None
        fields[name.lower()] = unquote_plus(value, errors="replace")
    return fields


def describe_label(label: str) -> str:
    """A name for people: of the person, of the password or key, or the label itself."""
    fields = parse_label(label)
    if fields is None:
        return label
    words = [fields.get("type", ""), fields.get("cn") or fields.get("label") or fields.get("sn", "")]
    return " ".join(filter(None, words)) or label


def label_of_certificate(certificate: x509.Certificate) -> str:
    """The label of a recipient known by a certificate: a document of the state, or any other.

    Raises: Malformed `x509.…`, `der.…`.
    """
    common_name = _subject_value(certificate, NameOID.COMMON_NAME)
    kinds = [_DOCUMENT_TYPES[policy] for policy in parts_of(certificate).policies() if policy in _DOCUMENT_TYPES]
    if len(kinds) != 1:
        # SHA-1 is what the format has here; it names the certificate and proves nothing.
        fingerprint = certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303
        return build_label(CERTIFICATE, {"cn": common_name, "cert_sha1": fingerprint})
    return build_label(
        kinds[0],
        {
            "serial_number": _subject_value(certificate, NameOID.SERIAL_NUMBER),
            "cn": common_name,
            "last_name": _subject_value(certificate, NameOID.SURNAME),
            "first_name": _subject_value(certificate, NameOID.GIVEN_NAME),
        },
    )


def _subject_value(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    try:
        values = certificate.subject.get_attributes_for_oid(oid)
    except (ValueError, TypeError):  # the library decodes a stranger's names only now
        return ""
    return str(values[0].value) if values else ""
