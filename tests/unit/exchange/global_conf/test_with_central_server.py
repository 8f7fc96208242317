"""What the central server publishes, a security server's client takes, through registrations and a change of keys."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.exchange.central_server.use_cases import configuration
from digiid.exchange.global_conf import ConfigurationClient, GlobalConf
from digiid.formats.global_conf import parse_anchor
from digiid.kernel.errors import Refused
from digiid.platform.clock import ManualClock
from digiid.platform.entropy import SeededEntropy
from tests.support.central import PORTAL, SECURITY, STATE, CentralRoom, central_room
from tests.support.global_conf import Web

ROUND = timedelta(seconds=60)


class Pair:
    def __init__(self, folder: Path, room: CentralRoom) -> None:
        self.room, self.web = room, Web()
        self.publish()
        anchor = parse_anchor(configuration.build_present_anchor(room.deps))
        self.url = anchor.sources[0].url
        self.publish()
        self.client = ConfigurationClient(folder, anchor, self.web, room.clock, room.deps.entropy)

    def publish(self) -> None:
        self.room.clock.advance(ROUND)
        published = configuration.publish_configuration(self.room.deps)
        if hasattr(self, "url"):
            self.web.answers[f"{self.url}?version=6"] = published.directory.content
            host = self.url.rpartition("/")[0]
            self.web.answers |= {host + location: content for location, content in published.parts.items()}

    def round(self) -> GlobalConf:
        self.publish()
        return self.client.refresh()


@pytest.fixture
def pair(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> Pair:
    return Pair(tmp_path / "conf", central_room(tmp_path, clock, entropy))


def test_registered_certificates_are_trusted_for_whom_they_are(pair: Pair) -> None:
    assert pair.round().servers_of(PORTAL) == ()
    pair.room.register_server()
    pair.room.register_client(PORTAL)
    conf = pair.round()
    assert [server.id for server in conf.servers_of(PORTAL)] == [STATE]
    now = pair.room.clock.now()

    key = pair.room.server_key(STATE.owner)
    server = conf.verify_authentication(key.certificate, ocsp_ders=[key.ocsp_der], at=now)
    assert (server.id, server.host, server.message_port, server.ocsp_port) == (STATE, "127.0.0.1", 5500, 5577)

    signer = pair.room.signer(STATE.owner)
    conf.verify_signer(signer.certificate, ocsp_ders=[signer.ocsp_der], member=STATE.owner, at=now)
    with pytest.raises(Refused):
        conf.verify_signer(key.certificate, ocsp_ders=[key.ocsp_der], member=STATE.owner, at=now)
    assert conf.server_of_authentication_certificate(signer.certificate.public_bytes(Encoding.DER)) is None


def test_keys_change_without_a_new_anchor_and_old_configurations_stay_refused(pair: Pair) -> None:
    deps = pair.room.deps
    pair.round()
    old = pair.web.answers[f"{pair.url}?version=6"]
    key = configuration.add_signing_key(deps, by=SECURITY)
    pair.round()
    pair.room.clock.advance(timedelta(seconds=deps.settings.key_publication_seconds))
    pair.round()
    configuration.activate_signing_key(deps, key.number, by=SECURITY)
    for _ in range(3):
        pair.round()
    pair.room.clock.advance(timedelta(seconds=deps.settings.lifetime_seconds))
    conf = pair.round()
    pair.round()
    assert pair.client.current().expires_at > conf.expires_at
    pair.web.answers[f"{pair.url}?version=6"] = old
    with pytest.raises(Refused):
        pair.client.refresh()
    assert pair.client.current().expires_at > conf.expires_at
