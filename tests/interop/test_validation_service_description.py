"""schemathesis calls the validation service over HTTP as its description allows and forbids: nothing undocumented."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.flows.test_validation_service import Desk, desk

schemathesis = pytest.importorskip("schemathesis")
pytestmark = pytest.mark.interop
__all__ = ["desk"]


@pytest.fixture
def schema(desk: Desk) -> Iterator[Any]:
    loaded = schemathesis.openapi.from_dict(desk.client.get("/V3/openapi.json").json())
    loaded.config.update(base_url=str(desk.client.base_url))
    yield loaded


def test_no_answer_is_undocumented(schema: Any) -> None:
    from schemathesis import checks
    from schemathesis.specs.openapi import checks as openapi_checks

    wanted = [
        checks.not_a_server_error,
        openapi_checks.status_code_conformance,
        openapi_checks.content_type_conformance,
        openapi_checks.response_schema_conformance,
    ]
    asked = 0
    for found in schema.get_all_operations():
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            asked += 1
            _search(found.ok().as_strategy(generation_mode=mode), wanted)
    assert asked == 8


def _search(strategy: Any, wanted: Any) -> None:
    @settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=strategy)
    def once(case: Any) -> None:
        case.call_and_validate(checks=wanted)

    once()
