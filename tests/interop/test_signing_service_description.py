"""schemathesis calls the signing service with what its own description allows and forbids: no undocumented answer."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SeededEntropy
from tests.flows.test_signing_service import PACKAGE, Desk, desk_over
from tests.support.pki import AT, FILES

schemathesis = pytest.importorskip("schemathesis")
pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    database = Database.sqlite(tmp_path_factory.mktemp("schemathesis") / "signing.sqlite")
    database.migrate(PACKAGE)
    with desk_over(database, ManualClock(AT), SeededEntropy(b"schemathesis"), max_containers=100_000) as opened:
        yield opened
    database.close()


@pytest.fixture(scope="module")
def schema(desk: Desk) -> Any:
    described = httpx.get(f"{desk.client.base_url}/signing/openapi.json").json()
    # Each request is signed here; without the scheme it does not try what happens to unsigned ones.
    del described["security"], described["components"]["securitySchemes"]
    loaded = schemathesis.openapi.from_dict(described)
    loaded.config.update(base_url=desk.client.base_url)
    return loaded


def test_no_answer_is_undocumented(desk: Desk, schema: Any) -> None:
    import requests
    from schemathesis import checks
    from schemathesis.specs.openapi import checks as openapi_checks

    session, numbers = requests.Session(), count()
    container_id = desk.client.create(FILES)
    wanted = [
        checks.not_a_server_error,
        openapi_checks.status_code_conformance,
        openapi_checks.content_type_conformance,
        openapi_checks.response_schema_conformance,
        openapi_checks.negative_data_rejection,
    ]

    def call(case: Any) -> None:
        if "container_id" in (case.path_parameters or {}) and next(numbers) % 2:
            case.path_parameters["container_id"] = container_id
        prepared = requests.Request(**case.as_transport_kwargs()).prepare()
        body = prepared.body or b""
        content = body.encode() if isinstance(body, str) else bytes(body)
        address = urlsplit(str(prepared.url))
        target = address.path + (f"?{address.query}" if address.query else "")
        for name, value in desk.client.headers_for(str(prepared.method), target, content).items():
            prepared.headers[name] = value
        case.validate_response(session.send(prepared), checks=wanted)

    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        modes = [schemathesis.GenerationMode.POSITIVE]
        if operation.body:  # any text is an identifier: only bodies can be wrong
            modes.append(schemathesis.GenerationMode.NEGATIVE)
        for mode in modes:
            asked += 1
            _search(operation.as_strategy(generation_mode=mode), call)
    assert asked >= 28, asked


def _search(strategy: Any, call: Callable[[Any], None]) -> None:
    @settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=strategy)
    def once(case: Any) -> None:
        call(case)

    once()
