"""A signing key in a token that is no longer there: nothing is signed, and it goes on when the key is back."""

import os
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from digiid.kernel.identifiers import MemberId
from tests.support.exchange_processes import both, process_room
from tests.support.global_conf import BANK, PRIVATE
from tests.support.pki import new_key
from tests.support.soft_token import SoftToken, in_child, token_or_skip


@pytest.fixture
def token(tmp_path, monkeypatch) -> SoftToken:
    token = token_or_skip(tmp_path / "softhsm")
    monkeypatch.setenv("SOFTHSM2_CONF", str(token.configuration))
    return token


def put_into(token: SoftToken, key, label: str) -> None:
    file = token.folder / "key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    command = [
        "softhsm2-util",
        "--import",
        str(file),
        "--token",
        "test",
        "--label",
        label,
        "--id",
        "01",
        "--pin",
        "5678",
    ]
    subprocess.run(command, check=True, capture_output=True, env=os.environ)
    file.unlink()


def test_tm10_without_the_key_in_its_token_a_member_signs_nothing_and_goes_on_when_it_is_back(tmp_path, token):
    """xroad.md §2.4: signer or token logged out, no grace."""

    def prepare(room) -> None:
        put_into(token, room.keys[PRIVATE].signing[BANK].key, "bank")
        running = room.servers[PRIVATE]
        signing = running.settings.signing[0]
        assert signing.member_id == MemberId(*str(BANK).split("/"))
        in_token = signing.model_copy(update={"key": token.uri(";object=bank"), "passphrase_file": None})
        running.settings = running.settings.model_copy(update={"signing": (in_token,)})

    with process_room(tmp_path / "room", prepare=prepare) as room:
        asker, _ = both(room)
        assert room.ask(verify=False).status_code == 200
        in_child(token.destroy_keys)
        answer = room.ask(headers={"X-Road-Id": "no-token"}, verify=False)
        assert answer.json()["type"] == "server.clientproxy.cannot_sign"
        assert asker.directions("no-token") == []
        assert len(room.provider.asked) == 1
        # another key in its place is not taken for it
        put_into(token, new_key("p256"), "bank")
        assert room.ask(verify=False).json()["type"] == "server.clientproxy.cannot_sign"
        in_child(token.destroy_keys)
        put_into(token, room.keys[PRIVATE].signing[BANK].key, "bank")
        assert room.ask(headers={"X-Road-Id": "again"}, verify=False).status_code == 200
        assert asker.directions("again") == ["request", "response"]
