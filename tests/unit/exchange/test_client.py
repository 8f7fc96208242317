"""What the own security server tells a client of the instance: names, or something that is no list of them."""

import json
from typing import Any

import pytest

from digiid.exchange.client import _read_names
from digiid.kernel.errors import Broken
from digiid.kernel.identifiers import ClientId

PARTS = {"xroad_instance": "EE", "member_class": "COM", "member_code": "10000298"}
MEMBER: dict[str, Any] = {"id": {"object_type": "MEMBER", **PARTS}, "name": "Näidis OÜ"}
SHOP: dict[str, Any] = {"id": {"object_type": "SUBSYSTEM", **PARTS, "subsystem_code": "shop"}, "name": "Näidis OÜ"}


def listed(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"member": entries}).encode()


def test_a_subsystem_is_called_by_its_own_name_else_by_its_members() -> None:
    shop = ClientId("EE", "COM", "10000298", "shop")
    assert _read_names(listed(MEMBER, SHOP)) == {shop: "Näidis OÜ"}
    assert _read_names(listed(MEMBER, SHOP | {"subsystem_name": "Näidise pood"})) == {shop: "Näidise pood"}
    assert _read_names(listed()) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"member": 1}',
        b'{"member": [1]}',
        b'{"member": [{"id": {}}]}',
        b"[" * 100_000,
        listed({"id": {"object_type": "SUBSYSTEM", "xroad_instance": "EE"}, "name": "x"}),
        listed({"id": SHOP["id"]}),
        listed(SHOP | {"id": SHOP["id"] | {"member_code": 5}}),
        listed(SHOP | {"id": SHOP["id"] | {"subsystem_code": "a/b"}}),
    ],
)
def test_what_is_no_list_of_names_is_said_in_words(body: bytes) -> None:
    with pytest.raises(Broken, match=r"exchange\.reply"):
        _read_names(body)
