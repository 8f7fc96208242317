import base64
import hashlib

import pytest

from digiid.formats.exchange.hash_chain import (
    HashChain,
    HashTree,
    build_hash_chain,
    digests_of,
    encode_digest_list,
    verify_hash_chain,
)
from digiid.kernel.errors import Malformed, Refused

INPUTS = {"/message.xml": b"message", "/attachment1": b"one", "/attachment2": b""}
CHAIN = build_hash_chain({uri: hashlib.sha512(data).digest() for uri, data in INPUTS.items()})
FOUND = {uri: digests_of(data) for uri, data in INPUTS.items()}


def step(*digests: bytes) -> bytes:
    return hashlib.sha256(encode_digest_list([("sha256", digest) for digest in digests])).digest()


def test_the_published_vectors():
    one, two, three, four = (hashlib.sha256(word).digest() for word in (b"one", b"two", b"three", b"four"))
    top = step(step(one, two), step(three, four))
    assert base64.b64encode(top) == b"D7oIIfhfp4ToT729xyx991PvstI5XvpW+d7oeWvXw8E="
    assert base64.b64encode(step(b"\x0b", b"\x0c", b"\x0d", b"\x0e")) == b"v3CBVgjKmzZT5hnJ6vj6waqBazZe334tdEoNiL2oM5E="
    assert encode_digest_list([("sha256", one)]).hex() == (
        "304f304d04207692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed0c27"
        "687474703a2f2f7777772e77332e6f72672f323030312f30342f786d6c656e63237368613235363000"
    )


def test_a_chain_covers_what_it_was_built_over():
    assert verify_hash_chain(CHAIN, FOUND) == INPUTS.keys()


@pytest.mark.parametrize("uri", INPUTS)
def test_an_altered_or_missing_input_is_refused(uri):
    with pytest.raises(Refused):
        verify_hash_chain(CHAIN, FOUND | {uri: digests_of(b"other")})
    with pytest.raises(Refused):
        verify_hash_chain(CHAIN, {key: value for key, value in FOUND.items() if key != uri})


def test_a_chain_that_does_not_lead_to_its_result_is_refused():
    other = build_hash_chain({"/message.xml": hashlib.sha512(b"message").digest()})
    with pytest.raises(Refused) as refused:
        verify_hash_chain(HashChain(CHAIN.result, other.chain), FOUND)
    assert refused.value.code == "exchange.hash_chain.result"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"#sha512", b"#sha1"),
        (b'id="STEP0"', b'id="STEP1"'),
        (b"DataRef", b"Other"),
        (b"/attachment1", b"/message.xml"),
        (b"<HashStep ", b'<HashStep id="STEP0"/><HashStep '),
        (b"</HashStep>", b'<StepRef URI="#STEP0"/></HashStep>'),
        (b"</HashStep>", b'<StepRef URI="/other.xml#STEP0"/></HashStep>'),
        (b"</HashStep>", b"<!-- x --></HashStep>"),
        (b"<ds:DigestValue>", b"<ds:Transforms/><ds:DigestValue>"),
        (b"<ds:DigestValue>", b"<ds:DigestValue>AAAA</ds:DigestValue><ds:DigestValue>"),
        (b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>', b"<!DOCTYPE a>"),
    ],
)
def test_other_chains_are_malformed(old, new):
    chain = CHAIN.chain.replace(old, new)
    assert chain != CHAIN.chain
    with pytest.raises(Malformed):
        verify_hash_chain(HashChain(CHAIN.result, chain), FOUND)


SIGNATURE = "/META-INF/signatures.xml"
TS_CHAIN = "/ts-hashchain.xml"


def tree_over(count: int) -> tuple[list[bytes], HashTree]:
    inputs = [b"signature %d" % i for i in range(count)]
    return inputs, HashTree([hashlib.sha512(each).digest() for each in inputs], uri=SIGNATURE, chain_uri=TS_CHAIN)


@pytest.mark.parametrize("count", [*range(1, 18), 1000])
def test_every_input_of_a_tree_has_a_chain_to_the_one_result(count):
    inputs, tree = tree_over(count)
    for index, content in enumerate(inputs):
        chain = tree.chain_of(index)
        assert chain.result == tree.result
        assert verify_hash_chain(chain, {SIGNATURE: digests_of(content)}, chain_uri=TS_CHAIN) == {SIGNATURE}
        with pytest.raises(Refused):
            verify_hash_chain(chain, {SIGNATURE: digests_of(b"other")}, chain_uri=TS_CHAIN)


def test_a_tree_has_the_value_of_steps_over_steps():
    one, two, three = (hashlib.sha512(word).digest() for word in (b"one", b"two", b"three"))
    tree = HashTree([one, two, three], uri=SIGNATURE, chain_uri=TS_CHAIN)

    def sha512_step(*digests: bytes) -> bytes:
        return hashlib.sha512(encode_digest_list([("sha512", digest) for digest in digests])).digest()

    top = sha512_step(sha512_step(one, two), three)  # what has no neighbour goes up as it is
    assert base64.b64encode(top) in tree.result


def test_a_chain_tells_nothing_of_another_input_than_digests():
    _, tree = tree_over(10_000)
    assert len(tree.chain_of(4711).chain) < 8192


def test_a_tree_over_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="one SHA-512"):
        HashTree([], uri=SIGNATURE, chain_uri=TS_CHAIN)
