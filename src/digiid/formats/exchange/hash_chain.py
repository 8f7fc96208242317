"""Hash chains (namespace http://cyber.ee/hashchain): one signed value that stands for several inputs.

A chain is a tree of steps. The value of a step is the hash of a DER list of its children's digests; a child is an input
(`DataRef`), another step (`StepRef`), or the digest of a sibling that belongs to somebody else (`HashValue`). Not
supported, and refused: transforms, digests below SHA-256.
"""

import base64
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from digiid.formats import der
from digiid.formats.hardened_xml import base64_of, check_no_foreign_nodes, escape_attribute, parse_xml
from digiid.formats.xades.algorithms import DIGEST_METHODS, DIGEST_URIS, hash_bytes
from digiid.kernel.errors import Malformed, Refused

NS_HASH_CHAIN: Final = "http://cyber.ee/hashchain"
NS_DS: Final = "http://www.w3.org/2000/09/xmldsig#"
ACCEPTED_HASHES: Final = frozenset(("sha256", "sha384", "sha512"))
MAX_CHAIN_BYTES: Final = 256 * 1024
MAX_STEPS: Final = 128

FindDigest = Callable[[str], bytes | None]
"""The digest of an input by the hash of this name, or None when it was not computed."""

_UTF8_STRING = 0x0C
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


@dataclass(frozen=True, slots=True)
class HashChain:
    """The two files: the result, which is signed, and the chain, which leads from it to the inputs."""

    result: bytes = field(repr=False)
    chain: bytes = field(repr=False)


def encode_digest_list(digests: list[tuple[str, bytes]]) -> bytes:
    """SEQUENCE OF SEQUENCE { digest OCTET STRING, method UTF8String, transforms SEQUENCE }; hash names become URIs."""
    return der.sequence(
        *(
            der.sequence(der.octet_string(digest), der.tlv(_UTF8_STRING, DIGEST_URIS[name].encode()), der.sequence())
            for name, digest in digests
        )
    )


def build_hash_chain(
    inputs: Mapping[str, bytes], *, chain_uri: str = "/sig-hashchain.xml", hash_name: str = "sha512"
) -> HashChain:
    """A chain of one step over these inputs: URI to digest by `hash_name`, in the order given."""
    method = escape_attribute(DIGEST_URIS[hash_name])
    namespaces = f'xmlns="{NS_HASH_CHAIN}" xmlns:ds="{NS_DS}"'
    top = hash_bytes(hash_name, encode_digest_list([(hash_name, digest) for digest in inputs.values()]))
    references = "".join(
        f'<DataRef URI="{escape_attribute(uri)}"><ds:DigestValue>{_b64(digest)}</ds:DigestValue></DataRef>'
        for uri, digest in inputs.items()
    )
    return HashChain(
        result=(
            f'{_HEAD}<HashChainResult {namespaces} URI="{escape_attribute(chain_uri)}#STEP0">'
            f'<ds:DigestMethod Algorithm="{method}"/><ds:DigestValue>{_b64(top)}</ds:DigestValue></HashChainResult>'
        ).encode(),
        chain=(
            f'{_HEAD}<HashChain {namespaces}><DefaultDigestMethod Algorithm="{method}"/>'
            f'<HashStep id="STEP0">{references}</HashStep></HashChain>'
        ).encode(),
    )


def verify_hash_chain(
    hash_chain: HashChain,
    inputs: Mapping[str, FindDigest],
    *,
    chain_uri: str = "/sig-hashchain.xml",
    may_be_absent: frozenset[str] = frozenset(),
) -> frozenset[str]:
    """The URIs of the inputs that the result stands for. Whether these are all that there are is the caller's question.

    An input among `may_be_absent` that is not there counts as told, and is covered.

    Raises:
        Malformed: `exchange.hash_chain.…`.
        Refused: `exchange.hash_chain.reference`, an input was changed or is not there; `exchange.hash_chain.result`,
            the chain does not lead to the result.
    """
    result = _parse(hash_chain.result, "HashChainResult")
    target, _, step_id = (result.get("URI") or "").partition("#")
    if target != chain_uri or not step_id:
        raise Malformed("exchange.hash_chain.structure", "the result is of another chain")
    walk = _Walk(_parse(hash_chain.chain, "HashChain"), inputs, may_be_absent)
    name = _read_method(result, default=None)
    value = hash_bytes(name, walk.read_step(step_id))
    if not hmac.compare_digest(value, _read_digest(result, name)):
        raise Refused("exchange.hash_chain.result", "the chain does not lead to its result")
    return frozenset(walk.covered)


class _Walk:
    """One way down the tree; each step is read once at most, so that neither a loop nor a bush costs anything."""

    def __init__(self, chain: etree._Element, inputs: Mapping[str, FindDigest], may_be_absent: frozenset[str]) -> None:
        steps = list(chain.iterchildren(_hc("HashStep")))
        self._steps = {step.get("id") or "": step for step in steps}
        if len(self._steps) != len(steps) or len(steps) > MAX_STEPS:
            raise Malformed("exchange.hash_chain.structure", "too many steps, or two of one name")
        defaults = list(chain.iterchildren(_hc("DefaultDigestMethod")))
        if len(defaults) > 1 or len(chain) != len(steps) + len(defaults):
            raise Malformed("exchange.hash_chain.structure", "HashChain does not hold what it must")
        self._default = _hash_name(defaults[0]) if defaults else None
        self._inputs = inputs
        self._may_be_absent = may_be_absent
        self.covered: set[str] = set()

    def read_step(self, step_id: str) -> bytes:
        """The DER list whose hash is the step's value."""
        step = self._steps.pop(step_id, None)
        if step is None:
            raise Malformed("exchange.hash_chain.structure", "a step that is not there, or is referred to twice")
        return encode_digest_list([self._read_child(child) for child in step])

    def _read_child(self, child: etree._Element) -> tuple[str, bytes]:
        name = _read_method(child, default=self._default)
        if child.tag == _hc("StepRef"):
            target, mark, step_id = (child.get("URI") or "").partition("#")
            if target or not mark:
                raise Malformed("exchange.hash_chain.structure", "a step of another chain")
            return name, hash_bytes(name, self.read_step(step_id))
        digest = _read_digest(child, name)
        if child.tag == _hc("DataRef"):
            self._check_input(child.get("URI") or "", name, digest)
        elif child.tag != _hc("HashValue"):
            raise Malformed("exchange.hash_chain.structure", "a step with something else in it")
        return name, digest

    def _check_input(self, uri: str, name: str, digest: bytes) -> None:
        if uri in self.covered:
            raise Malformed("exchange.hash_chain.structure", "an input is referred to twice")
        self.covered.add(uri)
        find_digest = self._inputs.get(uri)
        if find_digest is None and uri in self._may_be_absent:
            return
        found = find_digest(name) if find_digest else None
        if found is None or not hmac.compare_digest(found, digest):
            raise Refused("exchange.hash_chain.reference", f"the input {uri!r} is not there or was changed")


def digests_of(data: bytes) -> FindDigest:
    """Digests of bytes at hand, computed when asked for."""
    return lambda name: hash_bytes(name, data)


def _parse(data: bytes, tag: str) -> etree._Element:
    root = parse_xml(data, code="exchange.hash_chain", max_bytes=MAX_CHAIN_BYTES)
    check_no_foreign_nodes(root, code="exchange.hash_chain")
    if root.tag != _hc(tag):
        raise Malformed("exchange.hash_chain.structure", f"the root element is not {tag}")
    return root


def _read_method(element: etree._Element, *, default: str | None) -> str:
    own = list(element.iterchildren(f"{{{NS_DS}}}DigestMethod"))
    if len(own) > 1 or any(child.tag == f"{{{NS_DS}}}Transforms" for child in element):
        raise Malformed("exchange.hash_chain.structure", "two digest methods, or transforms")
    name = _hash_name(own[0]) if own else default
    if name is None:
        raise Malformed("exchange.hash_chain.structure", "no digest method")
    return name


def _hash_name(element: etree._Element) -> str:
    name = DIGEST_METHODS.get(element.get("Algorithm", ""))
    if name not in ACCEPTED_HASHES:
        raise Malformed("exchange.hash_chain.digest_method", "a digest method that is not accepted")
    return name


def _read_digest(element: etree._Element, name: str) -> bytes:
    values = list(element.iterchildren(f"{{{NS_DS}}}DigestValue"))
    if len(values) != 1:
        raise Malformed("exchange.hash_chain.structure", "not exactly one digest")
    digest = base64_of(values[0], code="exchange.hash_chain", max_bytes=64)
    if len(digest) != len(hash_bytes(name, b"")):
        raise Malformed("exchange.hash_chain.structure", "a digest of another length than its method's")
    return digest


def _hc(tag: str) -> str:
    return f"{{{NS_HASH_CHAIN}}}{tag}"


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
