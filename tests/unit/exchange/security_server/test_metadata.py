import json
from dataclasses import dataclass, field

import pytest
from lxml import etree

from digiid.exchange.security_server.local_conf import LocalConf, load_local_conf
from digiid.exchange.security_server.metadata import MetadataService, list_clients, replace_servers
from digiid.formats.global_conf.model import Member, OptionalParts, SharedParams, Subsystem
from digiid.kernel.errors import DigiidError, Malformed, Unavailable
from digiid.kernel.identifiers import ClientId, MemberId, ServiceId
from tests.support.loops import run_async
from tests.unit.exchange.security_server.rooms import BANK, POPULATION, SHOP

FILE = """
[[clients]]
id = "EE/GOV/70000103/population"
mode = "NOSSL"

[[clients.services]]
code = "address"
type = "OPENAPI"
base_url = "http://127.0.0.1:8801"
description_url = "http://127.0.0.1:8801/openapi/address"
endpoints = [{ method = "GET", path = "/todo/*" }, { method = "POST", path = "/todo" }]

[[clients.services]]
code = "secret"
base_url = "http://127.0.0.1:8801"

[[clients.rights]]
client = "EE/COM/10000201/bank"
service = "address"
method = "GET"
path = "/todo/*"

[[clients.rights]]
global_group = "auditors"
service = "address"
"""
MEMBERS = (
    Member(
        MemberId("EE", "GOV", "70000103"), "Test member & sons", subsystems=(Subsystem("population", "Test <service>"),)
    ),
    Member(MemberId("EE", "COM", "10000201"), "Test Bank", subsystems=(Subsystem("bank"),)),
)
DESCRIPTION = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {}}


@dataclass
class Conf:
    instance: str = "EE"
    shared: SharedParams = field(default_factory=lambda: SharedParams("EE", members=MEMBERS))
    optional: OptionalParts = field(default_factory=OptionalParts)
    auditors: frozenset[ClientId] = frozenset()

    def is_in_group(self, client, code):
        return code == "auditors" and client in self.auditors


@pytest.fixture
def local(tmp_path) -> LocalConf:
    file = tmp_path / "local.toml"
    file.write_text(FILE, "utf-8")
    return load_local_conf(file)


def ask(
    local, code, *, client=BANK, query="", method="GET", conf=None, description=None, provider=POPULATION, below=""
):
    async def fetch(service):
        if isinstance(description, Exception):
            raise description
        assert service.description_url == "http://127.0.0.1:8801/openapi/address"
        return description if isinstance(description, bytes) else json.dumps(description or DESCRIPTION).encode()

    service = ServiceId(provider, code)
    target = service.path + below + (f"?{query}" if query else "")
    answer = MetadataService(fetch).answer(client, service, method, target, local=local, conf=conf or Conf())
    return run_async(answer)


def refusal(local, code, **options) -> str:
    with pytest.raises(DigiidError) as error:
        ask(local, code, **options)
    return error.value.code


# ------------------------------------------------------------------ listClients


def test_list_clients_is_the_published_json():
    answer = list_clients(Conf(), accept="application/json")
    assert answer.media_type == "application/json; charset=utf-8"
    assert answer.body.decode().startswith(
        '{"member":[{"id":{"object_type":"MEMBER","xroad_instance":"EE","member_class":"GOV","member_code":"70000103"},'
        '"name":"Test member & sons"},{"id":{"object_type":"SUBSYSTEM","xroad_instance":"EE","member_class":"GOV",'
        '"member_code":"70000103","subsystem_code":"population"},"name":"Test member & sons",'
        '"subsystem_name":"Test <service>"},'
    )


def test_list_clients_as_xml_by_accept():
    answer = list_clients(Conf(), accept="text/xml")
    root = etree.fromstring(answer.body)
    xrd, ident = "{http://x-road.eu/xsd/xroad.xsd}", "{http://x-road.eu/xsd/identifiers}"
    assert root.tag == f"{xrd}clientList"
    second = root[1]
    assert second[0].get(f"{ident}objectType") == "SUBSYSTEM"
    assert [(each.tag.rpartition("}")[2], each.text) for each in second[0]] == [
        ("xRoadInstance", "EE"),
        ("memberClass", "GOV"),
        ("memberCode", "70000103"),
        ("subsystemCode", "population"),
    ]
    assert second.findtext(f"{xrd}name") == "Test member & sons"
    assert second.findtext(f"{xrd}subsystemName") == "Test <service>"


def test_list_clients_of_this_instance_only():
    assert list_clients(Conf(), query="xRoadInstance=EE").status == 200
    with pytest.raises(DigiidError) as error:
        list_clients(Conf(), query="xRoadInstance=FI")
    assert error.value.code == "exchange.metadata.instance"


@pytest.mark.parametrize(
    "query",
    [
        "x=1",
        "xRoadInstance=EE&xRoadInstance=EE",
        "xRoadInstance=%ff",
        "&" * 5000,
        "&".join("a=1" for _ in range(50)),
        "a",
    ],
)
def test_hostile_queries_are_malformed(query):
    with pytest.raises(Malformed) as error:
        list_clients(Conf(), query=query)
    assert error.value.code == "exchange.metadata.query"


# ------------------------------------------------------------------ listMethods, allowedMethods


def test_list_methods_is_the_published_json(local):
    assert ask(local, "listMethods").body.decode() == (
        '{"service":[{"member_class":"GOV","member_code":"70000103","object_type":"SERVICE","service_code":"address",'
        '"service_type":"OPENAPI","subsystem_code":"population","xroad_instance":"EE",'
        '"endpoint_list":[{"method":"GET","path":"/todo/*"},{"method":"POST","path":"/todo"}]}]}'
    )


def test_allowed_methods_names_only_what_the_asker_may_use(local):
    (service,) = json.loads(ask(local, "allowedMethods").body)["service"]
    assert service["endpoint_list"] == [{"method": "GET", "path": "/todo/*"}]


def test_a_right_to_the_whole_service_names_all_its_endpoints(local):
    conf = Conf(auditors=frozenset((SHOP,)))
    (service,) = json.loads(ask(local, "allowedMethods", client=SHOP, conf=conf).body)["service"]
    assert len(service["endpoint_list"]) == 2


@pytest.mark.parametrize("code", ["listMethods", "allowedMethods"])
def test_who_has_no_right_learns_no_service_code(local, code):
    assert json.loads(ask(local, code, client=SHOP).body) == {"service": []}


def test_a_provider_sees_all_that_it_offers(local):
    listed = json.loads(ask(local, "listMethods", client=POPULATION).body)["service"]
    assert [each["service_code"] for each in listed] == ["address", "secret"]


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "get"])
def test_metadata_is_asked_with_get(local, method):
    assert refusal(local, "listMethods", method=method) == "exchange.metadata.method"


def test_nothing_else_is_a_metadata_service(local):
    assert refusal(local, "listMethods", below="/x") == "exchange.metadata.path"
    assert refusal(local, "listMethods", below="/../address") == "exchange.metadata.path"
    assert refusal(local, "address") == "exchange.metadata.path"
    assert refusal(local, "listMethods", query="a=1") == "exchange.metadata.query"
    assert refusal(local, "listMethods", provider=BANK) == "exchange.unknown_service"


# ------------------------------------------------------------------ getOpenAPI


def test_the_description_leads_through_the_exchange(local):
    description = DESCRIPTION | {
        "servers": [{"url": "https://inside.example:8443"}],
        "paths": {
            "/todo": {
                "servers": [{"url": "https://inside.example"}],
                "get": {
                    "servers": [{"url": "https://inside.example"}],
                    "responses": {"200": {"links": {"next": {"server": {"url": "https://inside.example"}}}}},
                    "callbacks": {"on": {"{$url}": {"post": {"servers": [{"url": "https://inside.example"}]}}}},
                },
            }
        },
        "components": {"schemas": {"Farm": {"properties": {"servers": {"type": "array"}}}}},
    }
    answer = ask(local, "getOpenAPI", query="serviceCode=address", description=description)
    document = json.loads(answer.body)
    assert document["servers"] == [{"url": "/r1/EE/GOV/70000103/population/address"}]
    assert b"inside.example" not in answer.body
    assert "servers" in document["components"]["schemas"]["Farm"]["properties"]  # a field of that name is no address


YAML = b"""
openapi: 3.0.3
servers:
  - url: https://inside.example:8443
paths:
  /todo:
    servers: [{url: https://inside.example}]
    get:
      responses:
        200:
          description: done
          links: {next: {operationId: x, server: {url: https://inside.example}}}
"""


def test_a_description_in_yaml_is_answered_in_json_and_leads_through_the_exchange_too(local):
    answer = ask(local, "getOpenAPI", query="serviceCode=address", description=YAML)
    assert answer.media_type.startswith("application/json")
    assert b"inside.example" not in answer.body
    document = json.loads(answer.body)
    assert document["servers"] == [{"url": "/r1/EE/GOV/70000103/population/address"}]
    assert document["paths"]["/todo"]["get"]["responses"]["200"]["description"] == "done"


def test_a_version_2_description_too():
    document = replace_servers(
        b'{"swagger": "2.0", "host": "inside.example", "schemes": ["http"], "paths": {}}', url="/r1/x"
    )
    assert document == {"swagger": "2.0", "paths": {}, "basePath": "/r1/x"}


def test_a_description_is_for_who_may_use_the_service(local):
    assert refusal(local, "getOpenAPI", query="serviceCode=address", client=SHOP) == "exchange.access_denied"
    assert refusal(local, "getOpenAPI", query="serviceCode=nothing") == "exchange.unknown_service"
    assert refusal(local, "getOpenAPI") == "exchange.metadata.query"
    assert (
        refusal(local, "getOpenAPI", query="serviceCode=secret", client=POPULATION)
        == "exchange.metadata.no_description"
    )


@pytest.mark.parametrize(
    "description",
    [
        b"",
        b"\xff",
        b"[]",
        b"openapi: 2.0.0\n",
        b"openapi: 3.0.0\npaths: []\n",
        b"openapi: 3.0.0\na: &x [1]\nb: *x\n",
        b"openapi: 3.0.0\na: !!python/name:os.system x\n",
        b"openapi: 3.0.0\na: " + b"[" * 500 + b"]" * 500,
        b"openapi: 3.0.0\na: [" + b"1," * 300_000 + b"]",
        b'{"openapi": "1"}',
        b'{"openapi": "3.0.0", "paths": []}',
        b"[" * 100_000,
        b'{"openapi": "3.0.0", "x": ' + b"[" * 500 + b"]" * 500 + b"}",
        b" " * 3_000_000,
    ],
)
def test_a_hostile_description_is_malformed(description):
    with pytest.raises(Malformed) as error:
        replace_servers(description, url="/r1/x")
    assert error.value.code == "exchange.metadata.description"


@pytest.mark.parametrize("failure", [Unavailable("exchange.information_system.description", "gone"), TimeoutError()])
def test_an_information_system_that_does_not_answer_is_the_providers_failure(local, failure):
    code = refusal(local, "getOpenAPI", query="serviceCode=address", description=failure)
    assert code == "exchange.information_system.description"
