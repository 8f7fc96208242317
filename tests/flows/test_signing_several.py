"""Every kind of key and level, several signers at once, seals, and taking a signature out again."""

import io
from collections.abc import Iterator
from dataclasses import replace

import pytest

from digiid.formats.asic import DataFile, build_container, parse_container
from digiid.formats.asic.hashcode import hash_file, parse_hashcode_container, restore_container, strip_container
from digiid.formats.validation import POLV3, Indication, SubIndication, validate_container
from digiid.formats.xades import ProductionPlace
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.platform.clock import ManualClock
from digiid.platform.documents import (
    KeySigner,
    Level,
    PreparedSignature,
    SignedDocument,
    finish_signature,
    prepare_additional_signature,
    prepare_hashcode_signature,
    prepare_signature,
    sign_container,
    sign_files,
)
from digiid.platform.documents.removing import remove_signature
from digiid.platform.entropy import SeededEntropy
from tests.support.pki import AT, FILES
from tests.support.signing_room import SigningRoom, packed_entries, signing_room, unpacked_entries


@pytest.fixture
def room(clock: ManualClock, entropy: SeededEntropy) -> Iterator[SigningRoom]:
    with signing_room(clock, entropy) as opened:
        yield opened


def sign(room: SigningRoom, signer: KeySigner, level: Level = Level.LT) -> SignedDocument:
    prepared = prepare_signature(
        FILES, certificate=signer.certificate, issuers=room.issuers, at=AT, method=signer.method
    )
    return finish_signature(prepared, signer.sign(prepared.digest), trust=room.trust, level=level)


def add(room: SigningRoom, container: bytes, signer: KeySigner) -> bytes:
    return sign_container(container, signer=signer, issuers=room.issuers, trust=room.trust)


def prepare(room: SigningRoom, container: bytes, signer: KeySigner) -> PreparedSignature:
    return prepare_additional_signature(
        container, certificate=signer.certificate, issuers=room.issuers, trust=room.trust.trust(), at=AT
    )


@pytest.mark.parametrize(
    ("kind", "pss", "method"),
    [
        ("p256", False, "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"),
        ("p384", False, "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"),
        ("p521", False, "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512"),
        ("rsa", False, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"),
        ("rsa", True, "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1"),
    ],
)
def test_every_kind_of_key_signs(room: SigningRoom, kind: str, pss: bool, method: str) -> None:
    signed = sign(room, room.signer(kind=kind, pss=pss))
    assert signed.report.is_valid
    assert signed.signature.method_uri == method
    assert signed.signature.level == "QESIG"


def test_level_b_leaves_with_the_verdict_that_nothing_can_be_said(room: SigningRoom) -> None:
    signed = sign(room, room.signer(), Level.B)
    assert room.server.requests == []
    assert not signed.report.is_valid
    report = validate_container(io.BytesIO(signed.content), trust=room.trust.trust(), at=AT, policy=POLV3)
    assert report.signatures[0].indication is Indication.INDETERMINATE
    assert report.signatures[0].signature_format.endswith("_B") or "_B_" in report.signatures[0].signature_format


def test_level_t_carries_a_time_stamp_and_no_verdict_of_validity(room: SigningRoom) -> None:
    signed = sign(room, room.signer(), Level.T)
    assert room.server.requests == ["/tsa"]
    assert not signed.report.is_valid and signed.signature.time_stamps
    report = validate_container(io.BytesIO(signed.content), trust=room.trust.trust(), at=AT, policy=POLV3)
    assert report.signatures[0].sub_indication is SubIndication.CERTIFICATE_CHAIN_GENERAL_FAILURE


def test_level_lta_carries_an_archive_time_stamp_over_this_signature_alone(room: SigningRoom) -> None:
    first = sign(room, room.signer("FIRST")).content
    second = room.signer("SECOND", kind="p521")
    prepared = prepare(room, first, second)
    signed = finish_signature(prepared, second.sign(prepared.digest), trust=room.trust, level=Level.LTA)
    assert signed.report.is_valid
    assert [len(found.archive_time_stamps) for found in signed.report.signatures] == [0, 1]
    before, after = packed_entries(first), packed_entries(signed.content)
    assert {name: after[name] for name in before} == before


def test_a_container_of_digests_is_signed_and_the_files_put_back(room: SigningRoom) -> None:
    hashes = [hash_file(io.BytesIO(file.content), name=file.name, media_type=file.media_type) for file in FILES]
    signers = [room.signer("FIRST"), room.signer("SECOND", kind="rsa", pss=True)]
    prepared = prepare_hashcode_signature(
        hashes, certificate=signers[0].certificate, issuers=room.issuers, at=AT, method=signers[0].method
    )
    assert all(file.content not in prepared.to_bytes() for file in FILES)
    signed = finish_signature(prepared, signers[0].sign(prepared.digest), trust=room.trust)
    both = sign_container(signed.content, signer=signers[1], issuers=room.issuers, trust=room.trust)
    hashcode = parse_hashcode_container(io.BytesIO(both))
    full = restore_container(hashcode, FILES, at=AT)
    report = validate_container(io.BytesIO(full), trust=room.trust.trust(), at=AT)
    assert report.is_valid and len(report.signatures) == 2
    assert report.data_files == tuple(file.name for file in FILES)
    # the signatures are the same bytes, and so they are on the way back
    names = [entry.name for entry in hashcode.container.signature_files]
    assert [packed_entries(full)[name] for name in names] == [packed_entries(both)[name] for name in names]
    again = strip_container(parse_container(io.BytesIO(full)), at=AT)
    assert parse_hashcode_container(io.BytesIO(again)).files == hashcode.files
    assert validate_container(io.BytesIO(again), trust=room.trust.trust(), at=AT).is_valid


def test_other_files_are_not_put_into_a_container_of_digests(room: SigningRoom) -> None:
    container = strip_container(parse_container(io.BytesIO(sign(room, room.signer()).content)), at=AT)
    hashcode = parse_hashcode_container(io.BytesIO(container))
    for files in (
        FILES[:1],
        [replace(FILES[0], content=b"J, the undersigned, agree.\n"), FILES[1]],
        [replace(FILES[0], name="Contract.txt"), FILES[1]],
        [*FILES, DataFile("more.txt", "text/plain", b"more")],
    ):
        with pytest.raises(Refused, match=r"asic\.hashcode\.other_file"):
            restore_container(hashcode, files, at=AT)


def test_a_container_that_nobody_signed_yet_can_be_signed(room: SigningRoom) -> None:
    signed = add(room, build_container(FILES, (), at=AT), room.signer())
    assert validate_container(io.BytesIO(signed), trust=room.trust.trust(), at=AT).is_valid


def test_a_seal_beside_a_signature(room: SigningRoom) -> None:
    sealed = add(room, sign(room, room.signer()).content, room.seal())
    report = validate_container(io.BytesIO(sealed), trust=room.trust.trust(), at=AT)
    assert report.is_valid
    assert [signature.level for signature in report.signatures] == ["QESIG", "QESEAL"]


def test_role_and_place_are_signed(room: SigningRoom) -> None:
    place = ProductionPlace(city="Tartu", country_name="EE")
    signer = room.signer()
    container = sign_files(
        FILES, signer=signer, issuers=room.issuers, trust=room.trust, roles=("Chair", "Õpetaja <1>"), place=place
    )
    both = sign_container(
        container, signer=room.signer("OTHER"), issuers=room.issuers, trust=room.trust, roles=("Auditor",)
    )
    first, second = validate_container(io.BytesIO(both), trust=room.trust.trust(), at=AT).signatures
    assert first.claimed_roles == ("Chair", "Õpetaja <1>") and dict(first.place)["city"] == "Tartu"
    assert second.claimed_roles == ("Auditor",) and second.place == ()


# ------------------------------------------------------------------ several at once


def test_two_people_who_prepare_at_once_both_end_in_the_container(room: SigningRoom) -> None:
    first, second = room.signer("FIRST"), room.signer("SECOND", kind="p256")
    start = sign(room, room.signer("BEGINNER")).content
    # both see the same container, and each waits for a device
    prepared = [prepare(room, start, first).without_container(), prepare(room, start, second).without_container()]
    kept = [PreparedSignature.from_bytes(one.to_bytes()) for one in prepared]
    after_second = finish_signature(kept[1], second.sign(kept[1].digest), trust=room.trust, present=start)
    after_first = finish_signature(kept[0], first.sign(kept[0].digest), trust=room.trust, present=after_second.content)
    report = validate_container(io.BytesIO(after_first.content), trust=room.trust.trust(), at=AT)
    assert report.is_valid and len(report.signatures) == 3
    assert len({signature.id for signature in report.signatures}) == 3
    assert after_second.signature_name == "META-INF/signatures1.xml"
    assert after_first.signature_name == "META-INF/signatures2.xml"
    kept_bytes = packed_entries(after_first.content)
    for earlier in (start, after_second.content):
        for name, packed in packed_entries(earlier).items():
            assert kept_bytes[name] == packed, name


def test_a_prepared_signature_does_not_end_in_a_container_with_other_files(room: SigningRoom) -> None:
    signer = room.signer()
    prepared = prepare(room, build_container(FILES, (), at=AT), signer)
    value = signer.sign(prepared.digest)
    for files in (
        FILES[:1],
        [*FILES, DataFile("more.txt", "text/plain", b"more")],
        [replace(FILES[0], content=b"I disagree.\n"), FILES[1]],
        [replace(FILES[0], media_type="text/html"), FILES[1]],
        [replace(FILES[0], name="other.txt"), FILES[1]],
    ):
        with pytest.raises(Conflict, match=r"documents\.container\.changed"):
            finish_signature(prepared, value, trust=room.trust, present=build_container(files, (), at=AT))
    assert room.server.requests == []  # nothing was asked for a signature that nobody gets


def test_an_invalid_signature_that_was_put_beside_it_meanwhile_is_not_handed_out(room: SigningRoom) -> None:
    first, second = room.signer("FIRST"), room.signer("SECOND")
    start = sign(room, first).content
    prepared = prepare(room, start, second)
    with pytest.raises(Refused, match=r"documents\.container\.not_valid"):
        finish_signature(
            prepared, second.sign(prepared.digest), trust=room.trust, present=_with_unfinished(room, start)
        )


def _with_unfinished(room: SigningRoom, container: bytes) -> bytes:
    signer = room.signer("UNFINISHED")
    prepared = prepare(room, container, signer)
    return finish_signature(prepared, signer.sign(prepared.digest), trust=room.trust, level=Level.B).content


# ------------------------------------------------------------------ taking out


def test_adding_and_removing_never_change_a_byte_of_anything_else(room: SigningRoom) -> None:
    signers = [room.signer(name, kind=kind) for name, kind in (("A", "p384"), ("B", "rsa"), ("C", "p256"))]
    grown = [sign(room, signers[0]).content]
    for signer in signers[1:]:
        grown.append(add(room, grown[-1], signer))
    names = [f"META-INF/signatures{number}.xml" for number in range(3)]
    for removed in names:
        left = remove_signature(grown[-1], removed)
        before, after = packed_entries(grown[-1]), packed_entries(left)
        assert after == {name: packed for name, packed in before.items() if name != removed}
        assert unpacked_entries(left) == {
            name: content for name, content in unpacked_entries(grown[-1]).items() if name != removed
        }
        report = validate_container(io.BytesIO(left), trust=room.trust.trust(), at=AT)
        assert report.is_valid and len(report.signatures) == 2
    # the other way round: taking the last ones out again gives the very container that was there before
    assert remove_signature(grown[2], names[2]) == grown[1]
    assert remove_signature(grown[1], names[1]) == grown[0]
    # and a name that became free is taken again
    again = add(room, remove_signature(grown[2], names[0]), room.signer("D"))
    assert set(names) <= set(packed_entries(again))


def test_a_signature_is_removed_by_its_id_and_the_container_signed_again(room: SigningRoom) -> None:
    container = sign(room, room.signer()).content
    bare = remove_signature(container, "S0")
    assert not parse_container(io.BytesIO(bare)).signature_files
    assert not validate_container(io.BytesIO(bare), trust=room.trust.trust(), at=AT).is_valid
    assert validate_container(io.BytesIO(add(room, bare, room.signer("B"))), trust=room.trust.trust(), at=AT).is_valid
    with pytest.raises(NotFound, match=r"documents\.signature"):
        remove_signature(container, "S1")
    with pytest.raises(NotFound):
        remove_signature(container, FILES[0].name)  # a data file is not a signature


def test_one_of_two_signatures_in_one_file_is_not_cut_out(room: SigningRoom) -> None:
    xml = unpacked_entries(sign(room, room.signer()).content)["META-INF/signatures0.xml"].decode()
    start, end = xml.index("<ds:Signature "), xml.index("</asic:XAdESSignatures>")
    twice = xml[:end] + xml[start:end].replace("S0", "S1") + xml[end:]
    container = build_container(FILES, [("META-INF/signatures0.xml", twice.encode())], at=AT)
    with pytest.raises(Refused, match=r"documents\.signature\.shared"):
        remove_signature(container, "S1")


def test_a_signature_that_cannot_be_read_is_removed_by_its_file(room: SigningRoom) -> None:
    container = build_container(FILES, [("META-INF/signatures0.xml", b"<broken")], at=AT)
    assert not parse_container(io.BytesIO(remove_signature(container, "META-INF/signatures0.xml"))).signature_files
