import io
import zipfile
from pathlib import Path

import pytest

from digiid.formats.asic.archive import parse_archive
from digiid.formats.exchange.hash_chain import HashChain, digests_of, verify_hash_chain
from digiid.formats.exchange.message_container import (
    BatchTimeStamp,
    build_message_container,
    verify_message_container,
)
from digiid.formats.exchange.message_signature import verify_message_signature
from digiid.kernel.errors import DigiidError, Malformed, Refused
from tests.unit.formats.exchange.signing import NOW, sign

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "xroad" / "containers"
MAX = 10**6
BODY = frozenset(("/attachment1",))
PARTS = {"/message.xml": b"POST\r\n", "/attachment1": b'{"todo": true}'}


def read(name: str) -> bytes:
    return (VECTORS / f"{name}.asice").read_bytes()


def files(container: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(container)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def build(*, use_hash_chain: bool = True, batch: BatchTimeStamp | None = None) -> bytes:
    xml, chain = sign(PARTS, use_hash_chain=use_hash_chain)
    attachments = {"attachment1": PARTS["/attachment1"]}
    return build_message_container(PARTS["/message.xml"], attachments, xml, hash_chain=chain, batch=batch, at=NOW)


def batch_of(held: dict[str, bytes]) -> BatchTimeStamp:
    chain = HashChain(held["ts-hashchainresult.xml"], held["ts-hashchain.xml"])
    return BatchTimeStamp(chain, held["META-INF/timestamp.tst"])


def rebuilt(name: str, **changed: bytes) -> bytes:
    held = files(read(name))
    attachments = {key: value for key, value in held.items() if key.startswith("attachment")} | changed
    signature = held["META-INF/signatures.xml"]
    return build_message_container(
        held["message.xml"], attachments, signature, hash_chain=None, batch=batch_of(held), at=NOW
    )


@pytest.mark.parametrize(
    "name", ["valid-signed-message", "valid-batch-ts", "valid-non-batch-rest", "valid-non-batch-soap-attachments"]
)
def test_valid_containers_of_x_road_verify(name):
    verified = verify_message_container(read(name), max_part_bytes=MAX)
    assert verified.time_stamp is not None and not verified.signature.absent


def test_a_container_without_the_body_that_was_signed_verifies_only_for_a_log_without_bodies():
    verified = verify_message_container(read("valid-signed-hashchain"), max_part_bytes=MAX, may_be_absent=BODY)
    assert verified.signature.absent == BODY
    with pytest.raises(Refused):
        verify_message_container(read("valid-signed-hashchain"), max_part_bytes=MAX)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("invalid-not-signed-hashchain", "exchange.signature.coverage"),
        ("wrong-message", "xades.reference.digest"),
        ("invalid-digest", "xades.reference.digest"),
        ("invalid-signed-hashchain", "exchange.hash_chain.reference"),
        ("invalid-hashchain-modified-message", "exchange.signature.coverage"),
        ("invalid-incorrect-references", "xades.root"),  # the older namespace; see the next test
        ("invalid-ts-hashchainresult", "xades.root"),
        ("attachments", "exchange.container.structure"),
    ],
)
def test_invalid_containers_of_x_road_are_refused(name, code):
    with pytest.raises(DigiidError) as refused:
        verify_message_container(read(name), max_part_bytes=MAX, may_be_absent=BODY)
    assert refused.value.code == code


def test_a_reference_to_something_else_than_the_message_is_refused():
    xml = files(read("invalid-incorrect-references"))["META-INF/signatures.xml"]
    xml = xml.replace(b"http://uri.etsi.org/02918/v1.1.1#", b"http://uri.etsi.org/02918/v1.2.1#")
    with pytest.raises(Refused) as refused:
        verify_message_signature(xml, {"/message.xml": digests_of(b"")}, hash_chain=None)
    assert refused.value.code == "exchange.signature.coverage"


def test_a_time_stamp_chain_about_the_message_instead_of_its_signature_is_refused():
    held = batch_of(files(read("invalid-ts-hashchainresult"))).hash_chain
    with pytest.raises(DigiidError):
        verify_hash_chain(held, {"/META-INF/signatures.xml": digests_of(b"")}, chain_uri="/ts-hashchain.xml")


def test_every_vector_is_held_to():
    assert len(list(VECTORS.glob("*.asice"))) == 13


@pytest.mark.parametrize("use_hash_chain", [False, True])
def test_our_container_verifies(use_hash_chain):
    verified = verify_message_container(build(use_hash_chain=use_hash_chain), max_part_bytes=MAX)
    assert verified.message == PARTS["/message.xml"]
    assert (verified.signature.covered, verified.time_stamp) == (PARTS.keys(), None)


def test_entries_stand_in_the_documented_order_and_mimetype_is_stored():
    held = files(read("valid-batch-ts"))
    archive = parse_archive(io.BytesIO(build(batch=batch_of(held))))
    assert [entry.name for entry in archive.entries] == [
        "mimetype",
        "message.xml",
        "META-INF/signatures.xml",
        "sig-hashchainresult.xml",
        "sig-hashchain.xml",
        "ts-hashchainresult.xml",
        "ts-hashchain.xml",
        "META-INF/manifest.xml",
        "META-INF/ASiCManifest.xml",
        "META-INF/timestamp.tst",
        "attachment1",
    ]
    assert archive.entries[0].method == 0
    assert archive.comment == b"mimetype=application/vnd.etsi.asic-e+zip"


@pytest.mark.parametrize("name", ["valid-batch-ts", "valid-non-batch-rest"])
def test_a_batch_time_stamp_goes_with_its_own_signature_only(name):
    assert verify_message_container(rebuilt(name), max_part_bytes=MAX).time_stamp is not None
    with pytest.raises(Refused):
        verify_message_container(build(batch=batch_of(files(read(name)))), max_part_bytes=MAX)


def test_a_token_of_another_batch_is_refused():
    held, other = files(read("valid-batch-ts")), files(read("valid-non-batch-rest"))
    batch = BatchTimeStamp(batch_of(held).hash_chain, other["META-INF/timestamp.tst"])
    data = build_message_container(
        held["message.xml"], {}, held["META-INF/signatures.xml"], hash_chain=None, batch=batch, at=NOW
    )
    with pytest.raises(Refused) as refused:
        verify_message_container(data, max_part_bytes=MAX)
    assert refused.value.code == "exchange.container.time_stamp"


@pytest.mark.parametrize("name", ["attachment1", "attachment2", "readme.txt"])
def test_nothing_lies_in_a_container_unsigned(name):
    with pytest.raises(Refused) as refused:
        verify_message_container(rebuilt("valid-batch-ts", **{name: b"added"}), max_part_bytes=MAX)
    assert refused.value.code == "exchange.signature.coverage"


def test_parts_have_a_limit():
    with pytest.raises(Malformed):
        verify_message_container(build(), max_part_bytes=5)


def test_only_our_errors_escape():
    data = build()
    for at in range(0, len(data), 97):
        with pytest.raises(DigiidError):
            verify_message_container(data[:at], max_part_bytes=MAX)


def reduced() -> bytes:
    xml, chain = sign(PARTS)
    return build_message_container(None, {}, xml, hash_chain=chain, batch=None, at=NOW, reduced=b"POST\r\n/r1/\r\n")


def test_a_message_of_which_only_the_digest_was_kept_is_told_as_absent_where_that_is_allowed():
    verified = verify_message_container(reduced(), max_part_bytes=MAX, may_be_absent=frozenset(PARTS))
    assert verified.message is None and verified.signature.absent == PARTS.keys()
    assert verified.unverified_reduced == b"POST\r\n/r1/\r\n"
    with pytest.raises(Refused) as refused:
        verify_message_container(reduced(), max_part_bytes=MAX, may_be_absent=BODY)
    assert refused.value.code == "exchange.signature.coverage"


def test_a_message_that_is_simply_gone_is_refused_also_where_digests_are_enough():
    held = files(build())
    held.pop("message.xml")
    container = io.BytesIO()
    with zipfile.ZipFile(container, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    with pytest.raises(Malformed):
        verify_message_container(container.getvalue(), max_part_bytes=MAX, may_be_absent=frozenset(PARTS))
