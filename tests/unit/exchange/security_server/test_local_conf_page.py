"""The example of docs/reference/local-conf.md is a file that works, and names every key there is."""

import re
from pathlib import Path

import pytest

from digiid.exchange.granted_rights import GrantedRight, load_granted_rights
from digiid.exchange.security_server.local_conf import RESERVED_CODES, LocalConfSettings, load_local_conf
from digiid.exchange.security_server.local_conf.shape import (
    ClientSettings,
    EndpointSettings,
    GroupSettings,
    RightSettings,
    ServiceSettings,
)
from digiid.kernel.identifiers import ServiceId
from tests.unit.exchange.security_server.rooms import BANK, POPULATION, GroupsOf, self_signed

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "local-conf.md").read_text("utf-8")
EXAMPLE, GRANTED = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_is_read(tmp_path):
    (tmp_path / "population-is.pem").write_bytes(self_signed("population")[0])
    file = tmp_path / "rights.toml"
    file.write_text(EXAMPLE, "utf-8")
    conf = load_local_conf(file)
    service = ServiceId(POPULATION, "address")
    assert conf.authorise(BANK, service, "GET", service.path + "/v1/persons/1", GroupsOf({}))


@pytest.mark.parametrize(
    "model",
    [LocalConfSettings, ClientSettings, GroupSettings, ServiceSettings, EndpointSettings, RightSettings],
    ids=lambda model: model.__name__,
)
def test_every_key_is_named(model):
    for name in model.model_fields:
        assert re.search(rf"\b{name}\b", EXAMPLE), name


def test_every_reserved_code_is_named():
    assert all(f"`{code}`" in PAGE for code in RESERVED_CODES)


def test_the_example_of_rights_that_the_operator_gave_is_read(tmp_path):
    file = tmp_path / "granted-rights.toml"
    file.write_text(GRANTED, "utf-8")
    [right] = load_granted_rights(file)
    assert (right.client, right.endpoint) == ("EE/COM/10000298/school", ("POST", "/v1"))
    assert all(re.search(rf"\b{name}\b", GRANTED) for name in GrantedRight.model_fields)
