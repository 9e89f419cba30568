"""What was tried against a running service, and must stay refused."""

import asyncio
import json
from typing import Any

import pytest

from vpp.api import limits

WINDOW = {"start": "2025-07-16T05:00:00Z", "end": "2025-07-16T06:00:00Z"}


@pytest.mark.parametrize("reason", ["\ud800", "a\x00b", "x" * 501])
async def test_a_reason_that_no_database_can_hold_is_refused(client: Any, bearer: Any, reason: str) -> None:
    headers = bearer("operator", **{"Idempotency-Key": "k", "Content-Type": "application/json"})
    answer = await client.post("/api/v1/events", content=json.dumps({**WINDOW, "reason": reason}), headers=headers)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    ("test", "rule"),
    [
        ({"tested_kw": 1e9}, "times what is connected"),
        ({"tested_kw": 1, "tested_at": "2031-01-01T00:00:00Z"}, "future"),
    ],
)
async def test_a_capability_test_that_cannot_have_been_is_refused(
    client: Any, bearer: Any, test: dict[str, Any], rule: str
) -> None:
    headers = bearer("engineer", **{"Idempotency-Key": "k"})
    answer = await client.post("/api/v1/resources/batteries-0/tests", json=test, headers=headers)
    assert answer.status_code == 422
    assert rule in answer.json()["errors"][0]["rule"]


async def test_orders_of_one_request_have_different_names(client: Any, bearer: Any, service: Any) -> None:
    twice = {"orders": [{**WINDOW, "event_id": "e"}, {**WINDOW, "event_id": "e"}]}
    headers = bearer("operator", **{"Idempotency-Key": "k"})
    answer = await client.post("/api/v1/events:declare-many", json=twice, headers=headers)
    assert (answer.status_code, service.declared) == (422, 0)


async def test_nobody_is_sent_to_an_address_out_of_the_host_header(client: Any, bearer: Any) -> None:
    answer = await client.get("/api/v1/events/", headers=bearer("operator", Host="evil.example"))
    assert answer.status_code == 404
    assert "location" not in answer.headers


async def test_answers_are_not_kept_and_not_guessed_at(client: Any, bearer: Any) -> None:
    answer = await client.get("/api/v1/events", headers=bearer("operator", Origin="https://evil.example"))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_body_that_does_not_come_is_not_waited_for(
    client: Any, bearer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_PATIENCE_S", 0.05)

    async def never() -> Any:
        yield b"{"
        await asyncio.sleep(3)
        yield b"}"

    headers = bearer("operator", **{"Idempotency-Key": "k", "Content-Type": "application/json"})
    answer = await client.post("/api/v1/events", content=never(), headers=headers)
    assert answer.status_code == 408
