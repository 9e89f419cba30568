"""Schemathesis reads the OpenAPI description and sends what nobody would think of."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from vpp.api import create_app

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def attack(operation: Any, headers: dict[str, str]) -> None:
    @settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    send()


@pytest.mark.slow
def test_whatever_is_sent_the_answer_is_as_described(service: Any, tokens: dict[str, str]) -> None:
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", create_app(service))
    tried = 0
    for found in schema.exclude(path="/api/v1/live").get_all_operations():  # that one has no end
        operation: Any = found.ok()  # type: ignore[union-attr]
        role = "admin" if operation.path.startswith(("/api/v1/audit", "/api/v1/events")) else "engineer"
        attack(operation, {"Authorization": f"Bearer {tokens[role]}"})
        tried += 1
    assert tried >= 18
