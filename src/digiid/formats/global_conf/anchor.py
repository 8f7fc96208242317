"""The configuration anchor: where the configuration of an instance is, and who signs it (pr-gconf)."""

import hashlib
import re
from typing import Final
from urllib.parse import urlsplit

from lxml import etree

from digiid.formats.global_conf import elements as xml
from digiid.formats.global_conf.model import Anchor, AnchorSource
from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import check_existing_part

MAX_ANCHOR_BYTES: Final = 256 * 1024
_MAX_SOURCES: Final = 16
_PLAIN: Final = re.compile(r"[\x21-\x7e]{1,1024}")


def parse_anchor(data: bytes) -> Anchor:
    """Read an anchor. Raises: Malformed `exchange.global_conf.…`, `exchange.identifier`."""
    return read_anchor(xml.parse_root(data, "configurationAnchor", max_bytes=MAX_ANCHOR_BYTES))


def read_anchor(root: etree._Element) -> Anchor:
    """An anchor as a document of its own, or inside private parameters. Raises: as `parse_anchor`."""
    generated = xml.maybe_text(root, "generatedAt")
    sources = tuple(_read_source(source) for source in xml.children(root, "source"))
    if not 0 < len(sources) <= _MAX_SOURCES:
        raise Malformed("exchange.global_conf.anchor", f"{len(sources)} sources, one to {_MAX_SOURCES} are read")
    return Anchor(
        instance=check_existing_part(xml.text(root, "instanceIdentifier")),
        generated_at=None if generated is None else xml.parse_instant(generated),
        sources=sources,
    )


def _read_source(source: etree._Element) -> AnchorSource:
    url = xml.text(source, "downloadURL")
    check_source_url(url)
    certificates = xml.certificates(source, "verificationCert")
    if not certificates:
        raise Malformed("exchange.global_conf.anchor", "a source without a certificate to verify it by")
    return AnchorSource(url, certificates)


def check_source_url(url: str) -> None:
    """http or https, a host, no user, no query, no fragment. Raises: Malformed `exchange.global_conf.url`."""
    try:
        parts = urlsplit(url) if _PLAIN.fullmatch(url) else None
        port = parts.port if parts else None
    except ValueError as error:
        raise Malformed("exchange.global_conf.url", "an address that cannot be read") from error
    if (
        parts is None
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or port == 0
        or "@" in parts.netloc
        or "\\" in url
        or parts.query
        or parts.fragment
    ):
        raise Malformed("exchange.global_conf.url", "not an http(s) address of a configuration")


def build_anchor(anchor: Anchor) -> bytes:
    """The anchor as a file. Raises: Malformed `exchange.global_conf.url`, `xml.character`."""
    return xml.document("configurationAnchor", anchor_content(anchor))


def anchor_content(anchor: Anchor) -> str:
    """What stands inside the element of an anchor."""
    for source in anchor.sources:
        check_source_url(source.url)
    return "".join(
        (
            "" if anchor.generated_at is None else xml.element("generatedAt", xml.build_instant(anchor.generated_at)),
            xml.element("instanceIdentifier", anchor.instance),
            *(
                xml.wrap(
                    "source",
                    xml.element("downloadURL", source.url),
                    xml.certificate_elements("verificationCert", source.certificates),
                )
                for source in anchor.sources
            ),
        )
    )


def anchor_fingerprint(data: bytes) -> str:
    """SHA-224 of the file, as X-Road shows it to be compared over the telephone: `AB:CD:…`."""
    return hashlib.sha224(data).digest().hex(":").upper()
