from pathlib import Path

import pytest

from digiid.exchange.central_server.use_cases import configuration, members, requests
from digiid.exchange.global_conf import ConfigurationClient
from digiid.exchange.security_server.announcing import announce_maintenance
from digiid.exchange.security_server.own_status import sha1_of
from digiid.exchange.security_server.settings import SecurityServerSettings
from digiid.formats.global_conf import parse_anchor
from digiid.kernel.errors import DigiidError, NotFound, Unavailable
from digiid.platform.http import HttpAnswer
from tests.support.central import STATE, CentralRoom, central_room
from tests.support.exchange_room import PASSPHRASE, write_identity
from tests.support.global_conf import Web


class CentralWeb(Web):
    """Serves a configuration, and takes requests in as the central server does."""

    def __init__(self, room: CentralRoom) -> None:
        super().__init__()
        self.room = room

    def request(self, method, url, *, content=None, headers=None, max_bytes=None) -> HttpAnswer:
        if method == "GET":
            return super().request(method, url)
        assert url == self.room.deps.settings.registration_url
        stored = requests.submit_request(self.room.deps, content)
        body = f'{{"requestId": "{stored.request_id}", "state": "{stored.state.value}", "reason": null}}'
        return HttpAnswer(200, {}, body.encode())


class Server:
    """A registered server's folder, with a configuration, the owner's key and the response about it."""

    def __init__(self, folder: Path, room: CentralRoom) -> None:
        self.folder, self.room, self.web = folder, room, CentralWeb(room)
        room.register_server()
        published = configuration.publish_configuration(room.deps)
        anchor_xml = configuration.build_present_anchor(room.deps)
        anchor = parse_anchor(anchor_xml)
        url = anchor.sources[0].url
        self.web.answers[f"{url}?version=6"] = published.directory.content
        host = url.rpartition("/")[0]
        self.web.answers |= {host + location: content for location, content in published.parts.items()}
        folder.mkdir()
        (folder / "anchor.xml").write_bytes(anchor_xml)
        ConfigurationClient(folder / "global-conf", anchor, self.web, room.clock, room.deps.entropy).refresh()
        owner = room.signer(STATE.owner)
        key, certificate = write_identity(folder, "owner", owner)
        (folder / "passphrase").write_bytes(PASSPHRASE)
        (folder / "ocsp").mkdir()
        self.response = folder / "ocsp" / f"{sha1_of(owner.certificate).hex()}.der"
        self.response.write_bytes(owner.ocsp_der)
        keys = {"key": str(key), "passphrase_file": folder / "passphrase", "certificate": certificate}
        self.settings = SecurityServerSettings.model_validate(
            {
                "server": str(STATE),
                "folder": folder,
                "database": "sqlite:///unused",
                "local_conf": folder / "local.toml",
                "configuration": {"anchor": folder / "anchor.xml"},
                "authentication": keys,
                "signing": [{"member": str(STATE.owner), **keys}],
            }
        )

    def announce(self, is_beginning: bool, message: str = ""):
        return announce_maintenance(
            self.settings,
            is_beginning=is_beginning,
            message=message,
            http=self.web,
            clock=self.room.clock,
            entropy=self.room.deps.entropy,
        )

    @property
    def announced(self) -> str | None:
        return next(view.server.maintenance for view in members.list_servers(self.room.deps) if view.server.id == STATE)


@pytest.fixture
def server(tmp_path, clock, entropy) -> Server:
    return Server(tmp_path / "server", central_room(tmp_path, clock, entropy))


def test_maintenance_is_announced_and_its_end_too(server):
    assert server.announced is None
    assert server.announce(True, "back at 12:00").state.value == "applied"
    assert server.announced == "back at 12:00"
    server.announce(False)
    assert server.announced is None


def test_without_a_response_about_the_key_nothing_is_sent(server):
    server.response.unlink()
    with pytest.raises(Unavailable) as error:
        server.announce(True)
    assert error.value.code == "exchange.announcing"


def test_without_the_owners_key_nothing_is_sent(server):
    signing = server.settings.signing[0].model_copy(update={"member": "EE/COM/10000201"})
    server.settings = server.settings.model_copy(update={"signing": (signing,)})
    with pytest.raises(NotFound):
        server.announce(True)


def test_a_configuration_that_has_run_out_names_no_address(server):
    server.room.clock.advance(server.room.clock.now() - server.room.clock.now().replace(hour=0))
    with pytest.raises(DigiidError) as error:
        server.announce(True)
    assert error.value.code == "exchange.global_conf_outdated"
