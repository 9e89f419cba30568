import asyncio
from typing import Any

import pytest

EVERYBODY = {"operator", "approver", "engineer", "auditor", "admin", "aggregator"}
MAY = {
    ("GET", "/api/v1/events"): {"operator", "approver", "engineer", "auditor", "admin", "aggregator"},
    ("POST", "/api/v1/events"): {"operator", "admin"},
    ("POST", "/api/v1/events:declare-many"): {"operator", "admin"},
    ("POST", "/api/v1/events/e/approve"): {"approver", "admin"},
    ("POST", "/api/v1/events/e/change"): {"operator", "admin"},
    ("POST", "/api/v1/events/e/cancel"): {"operator", "approver", "admin"},
    ("POST", "/api/v1/events/e/terminate"): {"operator", "approver", "admin"},
    ("POST", "/api/v1/events/e/consult"): {"operator", "admin"},
    ("POST", "/api/v1/events/e/statements"): {"operator", "admin"},
    ("POST", "/api/v1/events/e/publish"): {"operator", "admin"},
    ("POST", "/api/v1/events/e/disputes"): {"operator", "aggregator", "admin"},
    ("POST", "/api/v1/events/e/corrections"): {"operator", "admin"},
    ("POST", "/api/v1/events/e/settle"): {"approver", "admin"},
    ("GET", "/api/v1/events/e/statements"): EVERYBODY,
    ("GET", "/api/v1/events/e/statements/1"): EVERYBODY,
    ("GET", "/api/v1/events/e/statements/1/difference"): EVERYBODY,
    ("GET", "/api/v1/events/e/evaluation"): EVERYBODY,
    ("GET", "/api/v1/events/e/disputes"): EVERYBODY,
    ("GET", "/api/v1/resources"): {"operator", "approver", "engineer", "auditor", "admin", "aggregator"},
    ("POST", "/api/v1/resources/batteries-0/tests"): {"operator", "engineer", "admin"},
    ("GET", "/api/v1/aggregators"): {"operator", "approver", "engineer", "auditor", "admin", "aggregator"},
    ("GET", "/api/v1/capacity"): {"operator", "approver", "engineer", "auditor", "admin"},
    ("GET", "/api/v1/quote"): {"operator", "approver", "engineer", "admin"},
    ("GET", "/api/v1/plan/current"): {"operator", "approver", "engineer", "auditor", "admin"},
    ("GET", "/api/v1/plan/current/setpoints"): {
        "operator",
        "approver",
        "engineer",
        "auditor",
        "admin",
        "aggregator",
    },
    ("GET", "/api/v1/readings"): {"operator", "approver", "engineer", "auditor", "admin", "aggregator"},
    ("GET", "/api/v1/promises"): {"operator", "approver", "engineer", "auditor", "admin", "aggregator"},
    ("GET", "/api/v1/commands"): {"operator", "approver", "engineer", "auditor", "admin", "aggregator"},
    ("GET", "/api/v1/quarantine"): {"operator", "approver", "engineer", "auditor", "admin", "aggregator"},
    ("GET", "/api/v1/resources/batteries-0/conduct"): {
        "operator",
        "approver",
        "engineer",
        "auditor",
        "admin",
        "aggregator",
    },
    ("GET", "/api/v1/dead-letters"): {"operator", "engineer", "auditor", "admin", "aggregator"},
    ("GET", "/api/v1/audit"): {"auditor", "admin"},
    ("GET", "/api/v1/audit/head"): {"auditor", "admin"},
    ("GET", "/api/v1/audit/state"): {"auditor", "admin"},
    ("GET", "/api/v1/about"): {"operator", "approver", "engineer", "auditor", "admin", "aggregator"},
    ("GET", "/api/v1/live"): {"operator", "approver", "engineer", "auditor", "admin"},
}


@pytest.mark.parametrize(("method", "path"), MAY)
async def test_every_route_lets_its_roles_in_and_nobody_else(
    client: Any, tokens: dict[str, str], method: str, path: str
) -> None:
    assert (await client.request(method, path)).status_code == 401
    for role, token in tokens.items():
        params = {"count": 1} if path.endswith("live") else {}
        headers = {"Authorization": f"Bearer {token}"}
        answer = await client.request(method, path, headers=headers, params=params)
        assert (answer.status_code != 403) == (role in MAY[method, path]), (role, answer.text)
        assert answer.status_code < 500
        assert answer.status_code != 401


def test_the_list_above_names_every_route(client: Any) -> None:
    paths = client._transport.app.openapi()["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    examples = {"{event_id}": "e", "{version}": "1", "{resource_id}": "batteries-0"}

    def filled(path: str) -> str:
        for name, value in examples.items():
            path = path.replace(name, value)
        return path

    private = {(method, filled(path)) for method, path in described if path.startswith("/api/")}
    one_of_a_list = {("GET", "/api/v1/events/e"), ("GET", "/api/v1/resources/batteries-0")}
    assert private - one_of_a_list == set(MAY)


@pytest.mark.parametrize("token", ["", "nonsense", "vpp_0123456789abcdef_" + "A" * 43])
async def test_a_wrong_token_is_refused(client: Any, token: str) -> None:
    answer = await client.get("/api/v1/events", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_revoked_token_is_worth_nothing_at_once(client: Any, bearer: Any, service: Any) -> None:
    assert (await client.get("/api/v1/events", headers=bearer("auditor"))).status_code == 200
    assert service.store.revoke_user("a-auditor", service.clock.now())
    assert (await client.get("/api/v1/events", headers=bearer("auditor"))).status_code == 401


async def test_guessing_tokens_is_slowed_down(client: Any, bearer: Any) -> None:
    wrong = {"Authorization": "Bearer vpp_0123456789abcdef_" + "A" * 43}
    statuses = [(await client.get("/api/v1/events", headers=wrong)).status_code for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    assert int((await client.get("/api/v1/events", headers=wrong)).headers["retry-after"]) >= 1
    answer = await client.get("/api/v1/events", headers=bearer("auditor"))
    assert answer.status_code == 200, "who has a token is not locked out by others behind the same address"


async def test_an_aggregator_cannot_see_what_belongs_to_another(client: Any, bearer: Any) -> None:
    mine = bearer("aggregator")
    listed = (await client.get("/api/v1/resources", headers=mine, params={"aggregator_id": "buildings"})).json()
    assert {view["resource"]["aggregator_id"] for view in listed["items"]} == {"batteries"}
    assert (await client.get("/api/v1/resources/buildings-0", headers=mine)).status_code == 404
    span = {"start": "2025-07-16T00:00:00Z", "end": "2025-07-17T00:00:00Z"}
    params = {"resource_id": "buildings-0", **span}
    assert (await client.get("/api/v1/readings", headers=mine, params=params)).status_code == 404
    own = (await client.get("/api/v1/plan/current/setpoints", headers=mine)).json()
    assert {row["resource_id"].split("-")[0] for row in own["items"]} == {"batteries"}
    named = {"resource_id": "buildings-0"}
    assert (await client.get("/api/v1/plan/current/setpoints", headers=mine, params=named)).json()["items"] == []
    assert [a["aggregator_id"] for a in (await client.get("/api/v1/aggregators", headers=mine)).json()["items"]] == [
        "batteries"
    ]


async def test_a_body_above_the_limit_is_refused_announced_or_not(client: Any, bearer: Any) -> None:
    async def pieces() -> Any:
        for _ in range(30):
            yield b" " * 1000
            await asyncio.sleep(0)

    headers = bearer("operator", **{"Idempotency-Key": "k", "Content-Type": "application/json"})
    for content in (b" " * 30_000, pieces()):
        answer = await client.post("/api/v1/events", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
