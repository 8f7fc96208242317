"""Hash chains (namespace http://cyber.ee/hashchain): one signed value that stands for several inputs.

A chain is a tree of steps. The value of a step is the hash of a DER list of its children's digests; a child is an input
(`DataRef`), another step (`StepRef`), or the digest of a sibling that belongs to somebody else (`HashValue`). Not
supported, and refused: transforms, digests below SHA-256.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
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
_NAMESPACES = f'xmlns="{NS_HASH_CHAIN}" xmlns:ds="{NS_DS}"'
_SHA512_BYTES = 64


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


_ZEROS = bytes(_SHA512_BYTES)
_PAIR: Final = tuple(encode_digest_list([("sha512", _ZEROS)] * 2).split(_ZEROS))


def build_hash_chain(
    inputs: Mapping[str, bytes], *, chain_uri: str = "/sig-hashchain.xml", hash_name: str = "sha512"
) -> HashChain:
    """A chain of one step over these inputs: URI to digest by `hash_name`, in the order given."""
    top = hash_bytes(hash_name, encode_digest_list([(hash_name, digest) for digest in inputs.values()]))
    references = "".join(_data_ref(uri, digest) for uri, digest in inputs.items())
    return HashChain(_build_result(top, chain_uri, hash_name), _build_chain([references], hash_name))


def _build_result(top: bytes, chain_uri: str, hash_name: str) -> bytes:
    return (
        f'{_HEAD}<HashChainResult {_NAMESPACES} URI="{escape_attribute(chain_uri)}#STEP0"><ds:DigestMethod '
        f'Algorithm="{escape_attribute(DIGEST_URIS[hash_name])}"/><ds:DigestValue>{_b64(top)}</ds:DigestValue>'
        "</HashChainResult>"
    ).encode()


def _build_chain(steps: Sequence[str], hash_name: str) -> bytes:
    """`steps` as XML, the top one first."""
    inside = "".join(f'<HashStep id="STEP{i}">{children}</HashStep>' for i, children in enumerate(steps))
    method = escape_attribute(DIGEST_URIS[hash_name])
    return (f'{_HEAD}<HashChain {_NAMESPACES}><DefaultDigestMethod Algorithm="{method}"/>{inside}</HashChain>').encode()


def _data_ref(uri: str, digest: bytes) -> str:
    return f'<DataRef URI="{escape_attribute(uri)}"><ds:DigestValue>{_b64(digest)}</ds:DigestValue></DataRef>'


# ------------------------------------------------------------------ one result for many inputs


class HashTree:
    """A binary tree of SHA-512 over many inputs: one result, and for each input a chain of its own that leads to it.

    Neighbours are hashed in pairs, level by level; one that has no right neighbour goes up as it is. An input's chain
    holds nothing of the others but digests of whole subtrees.
    """

    def __init__(self, leaves: Sequence[bytes], *, uri: str, chain_uri: str) -> None:
        """`leaves`: the SHA-512 digests of the inputs, in order. In its own chain every input is called `uri`."""
        if not leaves or any(len(leaf) != _SHA512_BYTES for leaf in leaves):
            raise ValueError("a tree is over one SHA-512 digest or more")
        self._uri = uri
        self._levels = [list(leaves)]
        while len(self._levels[-1]) > 1:
            self._levels.append(_pair_up(self._levels[-1]))
        top = self._levels[-1][0]
        if len(leaves) == 1:  # also a single input has a step
            top = hash_bytes("sha512", encode_digest_list([("sha512", top)]))
        self.result = _build_result(top, chain_uri, "sha512")

    def chain_of(self, index: int) -> HashChain:
        """The chain of the input at this place among the leaves."""
        inner, steps = _data_ref(self._uri, self._levels[0][index]), []
        depth = sum(_has_neighbour(level, index >> up) for up, level in enumerate(self._levels))
        for level in self._levels:
            if _has_neighbour(level, index):
                neighbour = f"<HashValue><ds:DigestValue>{_b64(level[index ^ 1])}</ds:DigestValue></HashValue>"
                steps.append(neighbour + inner if index & 1 else inner + neighbour)
                depth -= 1
                inner = f'<StepRef URI="#STEP{depth}"/>'
            index >>= 1
        return HashChain(self.result, _build_chain(steps[::-1] or [inner], "sha512"))


def _has_neighbour(level: Sequence[bytes], index: int) -> bool:
    return index ^ 1 < len(level)


def _pair_up(level: Sequence[bytes]) -> list[bytes]:
    # The DER list of two SHA-512 digests is always of the same form; written out it is a tenth of the work.
    pairs = zip(level[::2], level[1::2], strict=False)
    above = [hashlib.sha512(_PAIR[0] + left + _PAIR[1] + right + _PAIR[2]).digest() for left, right in pairs]
    return above if len(level) % 2 == 0 else [*above, level[-1]]


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
