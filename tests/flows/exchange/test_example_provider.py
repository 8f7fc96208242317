"""The example of docs/how-to/join-the-exchange.md: its provider and its consumer, with two security servers between."""

import functools
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from digiid.exchange.client import Client
from digiid.exchange.gate import RestAnswer
from digiid.exchange.openapi import description_path
from digiid.exchange.security_server.local_conf import Offer, build_local_conf, load_local_conf, write_local_conf
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.kernel.identifiers import ServiceId, parse_client_id
from digiid.platform.pools import Pools
from digiid.platform.ports import free_ports
from tests.support.exchange_room import CARDS, LOANS, PRIVATE, STATE, ExchangeRoom, exchange_room, self_signed
from tests.support.global_conf import POLICE
from tests.support.pki import Identity
from tests.support.serve import serving

FOLDER = Path(__file__).parents[3] / "docs" / "how-to" / "exchange-provider"
READER, NOBODY = "38001085718", "47101010033"
LIBRARY = str(POLICE)  # the room's one provider lends books here
WHY = "books back before the holidays"


@functools.cache
def load(name: str) -> ModuleType:
    """A file of the documentation as a module; it is in no package."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[f"example_{name}"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Example:
    room: ExchangeRoom
    library: Any
    shop_tls: Identity

    def offer(self, *, mode: str = "NOSSL") -> None:
        """Both servers' local configuration: who asks, in which way, and what is offered to whom."""
        certificates = (self.shop_tls.der,) if mode == "SSLAUTH" else ()
        asking = build_local_conf({LOANS: certificates, CARDS: certificates}, mode=mode)  # type: ignore[arg-type]
        write_local_conf(self.room.folder / PRIVATE.server_code / "local.toml", asking)
        service = ServiceId(POLICE, "loans")
        url = self.room.provider_url
        loans = Offer(service, (("POST", "/v1"),), frozenset({LOANS}), url, None, url + description_path(service))
        answering = build_local_conf({POLICE: ()}, [loans], mode="NOSSL")
        write_local_conf(self.room.folder / STATE.server_code / "local.toml", answering)

    def ask(self, code: str = READER, *, exchange: Client | None = None, purpose: str = WHY) -> int:
        client = exchange or Client.connect(str(LOANS), server=self.room.base_url)
        books: int = load("consumer").ask(client, code, library=LIBRARY, purpose=purpose)
        return books


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    provider, pools, port = load("provider"), Pools(pages=1, services=2), free_ports(1)[0]
    library = provider.Library({READER: 3})
    gate = provider.build_provider(library, POLICE, allowed=frozenset({LOANS}), pools=pools)
    made: list[Example] = []

    def prepare(room: ExchangeRoom) -> None:
        room.provider_url = f"http://127.0.0.1:{port}"
        made.append(Example(room, library, self_signed("shop")))
        made[0].offer()

    with serving(gate, port), exchange_room(tmp_path_factory.mktemp("example"), prepare=prepare):
        yield made[0]
    pools.close()


def test_three_lines_ask_over_two_security_servers(example: Example) -> None:
    exchange = Client.connect(str(LOANS), server=example.room.base_url)
    answer = exchange.rest(
        f"{LIBRARY}/loans",
        "POST",
        "/v1",
        json_body={"personal_code": READER},
        purpose="õppekava",
        user_id=f"EE{READER}",
    )
    assert answer.json() == {"books": 3}
    code, look = example.library.looks[-1]
    assert (code, look.receiver, look.purpose, look.receiver_user) == (READER, str(LOANS), "õppekava", f"EE{READER}")
    assert look.legal_basis.startswith("Public Libraries Act")


def test_the_same_contract_on_both_sides_gives_typed_messages(example: Example) -> None:
    provider = load("provider")
    operation = provider.count_loans_operation(POLICE, allowed=frozenset({LOANS}))
    exchange = Client.connect(LOANS, server=example.room.base_url)
    assert exchange.call(operation, provider.CountLoans(personal_code=READER), purpose=WHY).books == 3


def test_the_provider_says_no_in_its_own_words(example: Example) -> None:
    before = len(example.library.looks)
    with pytest.raises(NotFound, match=r"library\.reader") as caught:
        example.ask(NOBODY)
    assert caught.value.public == "Nobody with this code reads here."
    with pytest.raises(Refused, match=r"exchange\.no_purpose"):
        example.ask(purpose="")
    with pytest.raises(Malformed, match=r"exchange\.request"):
        example.ask("x")
    assert len(example.library.looks) == before


def test_who_has_no_right_is_refused_by_the_security_server_before_the_library_hears_of_it(example: Example) -> None:
    before = len(example.library.looks)
    with pytest.raises(Refused, match=r"exchange\.access_denied"):
        example.ask(exchange=Client.connect(str(CARDS), server=example.room.base_url))
    assert len(example.library.looks) == before


def test_a_security_server_that_is_not_there_is_said(example: Example) -> None:
    with pytest.raises(Unavailable, match=r"exchange\.unreachable"):
        example.ask(exchange=Client.connect(str(LOANS), server=f"http://127.0.0.1:{free_ports(1)[0]}"))


def test_others_can_read_how_to_ask(example: Example) -> None:
    exchange = Client.connect(str(LOANS), server=example.room.base_url)
    answer = exchange.rest(f"{LIBRARY}/getOpenAPI", "GET", "", query={"serviceCode": "loans"})
    document = answer.json()
    assert document["openapi"] == "3.1.0"
    assert document["paths"]["/v1"]["post"]["summary"] == "How many books does this person have on loan?"


def test_the_consumer_runs_as_a_program(example: Example) -> None:
    def run(code: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(FOLDER / "consumer.py"), code, "--server", example.room.base_url]
        command += ["--subsystem", str(LOANS), "--library", LIBRARY]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    found, nobody = run(READER), run(NOBODY)
    assert (found.returncode, found.stdout) == (0, "3 on loan\n")
    assert (nobody.returncode, nobody.stderr) == (1, "Nobody with this code reads here.\n")


def test_with_a_registered_certificate_over_tls(example: Example, tmp_path: Path) -> None:
    key, certificate = tmp_path / "shop.key", tmp_path / "shop.pem"
    other_key, other = tmp_path / "other.key", tmp_path / "other.pem"
    stranger = self_signed("stranger")
    for identity, key_file, file in ((example.shop_tls, key, certificate), (stranger, other_key, other)):
        pem = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key_file.write_bytes(pem)
        file.write_bytes(identity.certificate.public_bytes(Encoding.PEM))
    settings = example.room.private.settings
    server, pinned = f"https://127.0.0.1:{settings.listeners.https_port}", settings.folder / "internal-tls.pem"
    example.offer(mode="SSLAUTH")
    example.room.private.reload()
    try:
        known = {"certificate": certificate, "key": key, "server_certificate": pinned}
        assert example.ask(exchange=Client.connect(str(LOANS), server=server, **known)) == 3
        # without a certificate, with another's, over http: the subsystem is not proven
        for refused in (
            Client.connect(str(LOANS), server=server, server_certificate=pinned),
            Client.connect(str(LOANS), server=server, certificate=other, key=other_key, server_certificate=pinned),
            Client.connect(str(LOANS), server=example.room.base_url),
        ):
            with pytest.raises(DigiidError) as caught:
                example.ask(exchange=refused)
            assert caught.value.code in ("exchange.unreachable", "exchange.refused", "exchange.unavailable")
        # another server than the one that is pinned
        with pytest.raises(Unavailable, match=r"exchange\.unreachable"):
            example.ask(exchange=Client.connect(str(LOANS), server=server, **{**known, "server_certificate": other}))
    finally:
        example.offer()
        example.room.private.reload()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"server": "10.0.0.5:8443"}, "exchange.client.address"),
        ({"server": "ftp://10.0.0.5"}, "exchange.client.address"),
        ({"server": "http://10.0.0.5", "certificate": "shop.pem"}, "exchange.client.address"),
        ({"server": "https://10.0.0.5"}, "exchange.client.certificate"),
        ({"server": "https://10.0.0.5", "server_certificate": "nowhere.pem"}, "exchange.client.certificate"),
        ({"server": "http://10.0.0.5", "me": "EE/COM/shop"}, "exchange.identifier"),
    ],
)
def test_what_cannot_work_is_said_at_once(options: dict[str, str], code: str) -> None:
    with pytest.raises(Malformed) as caught:
        Client.connect(options.pop("me", "EE/COM/10000299/shop"), **options)  # type: ignore[arg-type]
    assert caught.value.code == code


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_passphrase(tmp_path: Path) -> None:
    identity = self_signed("shop")
    key, certificate = tmp_path / "k", tmp_path / "c"
    key.write_bytes(identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    certificate.write_bytes(identity.certificate.public_bytes(Encoding.PEM))
    with pytest.raises(Malformed, match=r"exchange\.client\.certificate"):
        Client.connect(
            str(LOANS),
            server="https://10.0.0.5",
            certificate=certificate,
            key=key,
            server_certificate=certificate,
        )


def test_a_stranger_cannot_make_the_client_stumble_over_its_error() -> None:
    for body in (b"", b"[]", b"\xff", b"[" * 10_000, json.dumps({"code": "NO CODE"}).encode(), b'{"code": null}'):
        for status in (400, 403, 404, 409, 418, 500, 503):
            with pytest.raises(DigiidError):
                RestAnswer(status, "application/json", body).raise_for_status()
    RestAnswer(204, "", b"").raise_for_status()


def test_the_registration_of_the_how_to_is_one_that_a_security_server_takes(tmp_path: Path) -> None:
    page = (FOLDER.parent / "join-the-exchange.md").read_text("utf-8")
    [registration] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "local.toml"
    file.write_text(registration, "utf-8")
    library, school = parse_client_id("EE/COM/10000299/library"), parse_client_id("EE/COM/10000298/school")
    service = load_local_conf(file).find_service(ServiceId(library, "loans"))
    assert service is not None
    assert service.description_url == "http://127.0.0.1:8810" + description_path(service.id)
    operation = load("provider").count_loans_operation(library, allowed=frozenset({school}))
    assert [f"{service.id.path}{each.path}" for each in service.endpoints] == [operation.path]
