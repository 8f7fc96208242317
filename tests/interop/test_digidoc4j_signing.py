"""digidoc4j judges what the signing functions make: every key, level and way of growing and shrinking a container."""

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from digiid.formats.asic.hashcode import hash_file, parse_hashcode_container, restore_container
from digiid.formats.xades import ProductionPlace
from digiid.platform.clock import ManualClock
from digiid.platform.documents import (
    KeySigner,
    Level,
    finish_signature,
    prepare_additional_signature,
    prepare_hashcode_signature,
    sign_container,
    sign_files,
)
from digiid.platform.documents.removing import remove_signature
from digiid.platform.entropy import SystemEntropy
from tests.interop.test_digidoc4j import anchors, classes, referee
from tests.support.pki import FILES
from tests.support.signing_room import SigningRoom, signing_room

pytestmark = pytest.mark.interop
__all__ = ["classes"]


def _one(room: SigningRoom, signer: KeySigner, level: Level = Level.LT) -> bytes:
    place = ProductionPlace(city="Tartu", country_name="EE")
    return sign_files(
        FILES, signer=signer, issuers=room.issuers, trust=room.trust, level=level, roles=("Chair",), place=place
    )


def _more(room: SigningRoom, container: bytes, signer: KeySigner) -> bytes:
    return sign_container(container, signer=signer, issuers=room.issuers, trust=room.trust)


def _at_once(room: SigningRoom) -> bytes:
    container = _one(room, room.signer("FIRST"))
    for signer, prepared in [
        (
            signer,
            prepare_additional_signature(
                container,
                certificate=signer.certificate,
                issuers=room.issuers,
                trust=room.trust.trust(),
                at=room.trust.clock.now(),
            ),
        )
        for signer in (room.signer("SECOND"), room.signer("THIRD", kind="p256"))
    ]:
        value = signer.sign(prepared.digest)
        container = finish_signature(prepared, value, trust=room.trust, present=container).content
    return container


def _put_back(room: SigningRoom) -> bytes:
    hashes = [hash_file(io.BytesIO(file.content), name=file.name, media_type=file.media_type) for file in FILES]
    signer = room.signer()
    prepared = prepare_hashcode_signature(
        hashes, certificate=signer.certificate, issuers=room.issuers, at=room.trust.clock.now()
    )
    signed = finish_signature(prepared, signer.sign(prepared.digest), trust=room.trust).content
    return restore_container(parse_hashcode_container(io.BytesIO(signed)), FILES, at=room.trust.clock.now())


MAKERS: dict[str, tuple[Callable[[SigningRoom], bytes], list[str]]] = {
    "p521": (lambda room: _one(room, room.signer(kind="p521")), ["LT"]),
    "rsa": (lambda room: _one(room, room.signer(kind="rsa")), ["LT"]),
    "rsa-pss": (lambda room: _one(room, room.signer(kind="rsa", pss=True)), ["LT"]),
    "seal": (lambda room: _one(room, room.seal()), ["LT"]),
    "lta": (lambda room: _one(room, room.signer(), Level.LTA), ["LTA"]),
    "seal-beside": (lambda room: _more(room, _one(room, room.signer()), room.seal()), ["LT", "LT"]),
    "at-once": (_at_once, ["LT", "LT", "LT"]),
    "one-removed": (lambda room: remove_signature(_at_once(room), "META-INF/signatures1.xml"), ["LT", "LT"]),
    "put-back": (_put_back, ["LT"]),
}


@pytest.fixture(scope="module")
def judged(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder, found = tmp_path_factory.mktemp("signing"), dict[str, list[str]]()
    clock = ManualClock(datetime.now(UTC).replace(microsecond=0))
    with signing_room(clock, SystemEntropy()) as room:
        for name, (make, _) in MAKERS.items():
            (folder / f"{name}.asice").write_bytes(make(room))
        files = os.pathsep.join(str(folder / f"{name}.asice") for name in MAKERS)
        lines = referee(classes, "validate", files, *anchors(room.pki, folder))
    for line in lines:
        if line.startswith("container "):
            found[Path(line).stem] = said = []
        else:
            said.append(line)
    return found


@pytest.mark.parametrize("name", list(MAKERS))
def test_digidoc4j_accepts(judged: dict[str, list[str]], name: str) -> None:
    profiles = MAKERS[name][1]
    assert judged[name][0] == "valid", judged[name]
    assert [line.removeprefix("profile ") for line in judged[name][1 : 1 + len(profiles)]] == profiles
