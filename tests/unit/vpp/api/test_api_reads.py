import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.plan import Setpoint, SetpointBatch
from models.records import DeadLetter
from vpp.api.facade import ConductRow, PromiseRow

NOW = datetime(2025, 7, 16, 3, tzinfo=UTC)
SPAN = {"start": "2025-07-16T10:00:00+08:00", "end": "2025-07-16T12:00:00+08:00"}


async def test_resources_are_filtered_and_paged(client: Any, bearer: Any) -> None:
    seen, cursor = [], None
    while True:
        params = {"limit": 3, "zone_id": "zone-0"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/v1/resources", params=params, headers=bearer("engineer"))).json()
        seen += [view["resource"]["resource_id"] for view in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"{name}-{number}" for name in ("batteries", "buildings") for number in (0, 2, 4)]


@pytest.mark.parametrize("cursor", ["x", "bnVsbA", "W251bGxd", "WzFd", "W1tdXQ", "%00"])
async def test_a_cursor_of_somebody_elses_making_is_refused(client: Any, bearer: Any, cursor: str) -> None:
    for path in ("resources", "events"):
        answer = await client.get(f"/api/v1/{path}", params={"cursor": cursor}, headers=bearer("engineer"))
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "cursor"


async def test_a_test_result_becomes_the_tested_capacity_and_is_audited(client: Any, bearer: Any) -> None:
    path, key = "/api/v1/resources/batteries-0/tests", {"Idempotency-Key": "t1"}
    answer = await client.post(path, json={"tested_kw": 41.5}, headers=bearer("engineer", **key))
    assert answer.status_code == 201
    assert answer.json()["tested_kw"] == 41.5
    rows = (await client.get("/api/v1/capacity?group_by=aggregator", headers=bearer("operator"))).json()
    assert {row["group"]: row["tested_kw"] for row in rows} == {"batteries": 41.5, "buildings": 0.0}
    (line,) = (await client.get("/api/v1/audit", headers=bearer("auditor"))).json()["items"]
    assert (line["actor"], line["action"], line["subject"]) == ("a-engineer", "resource.tested", "batteries-0")
    state = (await client.get("/api/v1/audit/state", headers=bearer("auditor"))).json()
    assert state == {"entries": 1, "last_hash": line["entry_hash"]}
    answer = await client.post(
        path.replace("-0", "-9"), json={"tested_kw": 1}, headers=bearer("engineer", **{"Idempotency-Key": "t2"})
    )
    assert answer.status_code == 404


async def test_who_is_in_quarantine_is_listed_page_by_page_and_an_aggregator_sees_its_own(
    client: Any, bearer: Any, service: Any
) -> None:
    since = datetime(2025, 7, 16, 4, 0, tzinfo=UTC)
    for name in ("batteries-0", "batteries-1", "batteries-2", "buildings-0"):
        row = {"resource_id": name, "reliability_fraction": 0.4, "state_of_health": 0.8, "quarantined_since": since}
        service.behaviour[name] = ConductRow.model_validate({**row, "reason": "silent", "reason_zh": "失联"})
    free = {"resource_id": "batteries-3", "reliability_fraction": 0.97, "state_of_health": None}
    at_liberty = {"reason": None, "reason_zh": None, "quarantined_since": None}
    service.behaviour["batteries-3"] = ConductRow.model_validate({**free, **at_liberty})
    first = (await client.get("/api/v1/quarantine?limit=2", headers=bearer("operator"))).json()
    assert [row["resource_id"] for row in first["items"]] == ["batteries-0", "batteries-1"]
    params = {"limit": 2, "cursor": first["next_cursor"]}
    second = (await client.get("/api/v1/quarantine", params=params, headers=bearer("operator"))).json()
    assert [row["resource_id"] for row in second["items"]] == ["batteries-2", "buildings-0"]
    assert second["next_cursor"] is None
    own = (await client.get("/api/v1/quarantine", headers=bearer("aggregator"))).json()["items"]
    assert own
    assert len({row["resource_id"].rpartition("-")[0] for row in own}) == 1
    shown = await client.get("/api/v1/resources/batteries-3/conduct", headers=bearer("engineer"))
    assert shown.json() == {**free, **at_liberty}
    unknown = await client.get("/api/v1/resources/batteries-99/conduct", headers=bearer("engineer"))
    assert unknown.status_code == 404


async def test_promises_at_risk_are_listed_page_by_page_and_an_aggregator_sees_its_own(
    client: Any, bearer: Any, service: Any
) -> None:
    service.at_risk = [
        PromiseRow(
            resource_id=f"{owner}-{k}",
            aggregator_id=owner,
            session_id="s1",
            limit="energy_needed_kwh",
            limit_zh="离场前所需电量",
            asked=20.0,
            granted=12.5,
            reason="cannot be charged by departure",
            due=datetime(2025, 7, 16, 9, 0, tzinfo=UTC),
            since=datetime(2025, 7, 16, 4, 0, tzinfo=UTC),
        )
        for owner in ("batteries", "buildings")
        for k in range(2)
    ]
    first = (await client.get("/api/v1/promises?limit=3", headers=bearer("operator"))).json()
    assert [row["resource_id"] for row in first["items"]] == ["batteries-0", "batteries-1", "buildings-0"]
    assert first["items"][0]["granted"] == 12.5
    params = {"limit": 3, "cursor": first["next_cursor"]}
    second = (await client.get("/api/v1/promises", params=params, headers=bearer("operator"))).json()
    assert [row["resource_id"] for row in second["items"]] == ["buildings-1"]
    assert second["next_cursor"] is None
    own = (await client.get("/api/v1/promises", headers=bearer("aggregator"))).json()["items"]
    assert len(own) == 2
    assert len({row["aggregator_id"] for row in own}) == 1


async def test_readings_come_in_pages_without_gap_or_repeat(client: Any, bearer: Any) -> None:
    seen, cursor = [], None
    while True:
        params = {"resource_id": "batteries-0", "limit": 4, **SPAN} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/v1/readings", params=params, headers=bearer("engineer"))).json()
        seen += [(reading["measured_at"], reading["power_kw"]) for reading in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [power for _, power in seen] == [float(k) for k in reversed(range(10))]
    assert seen[0][0] == "2025-07-16T02:15:00Z"


async def test_a_span_that_ends_before_it_starts_is_refused(client: Any, bearer: Any) -> None:
    params = {"resource_id": "batteries-0", "start": SPAN["end"], "end": SPAN["start"]}
    for path in ("readings", "quote"):
        answer = await client.get(f"/api/v1/{path}", params=params, headers=bearer("engineer"))
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "end"


async def test_the_plan_shown_has_the_hash_of_the_plan_in_force(client: Any, bearer: Any, service: Any) -> None:
    summary = (await client.get("/api/v1/plan/current", headers=bearer("operator"))).json()
    assert summary["plan_hash"] == service.plan.plan_hash
    assert summary["power_kw"] == service.plan.power_kw.sum(axis=0).tolist()
    assert summary["lower_bound_cny"] is None  # there is none: JSON knows no infinity
    assert summary["age_s"] == 60
    seen, cursor = [], None
    while True:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/v1/plan/current/setpoints", params=params, headers=bearer("operator"))).json()
        assert page["plan_hash"] == service.plan.plan_hash
        seen += [row["resource_id"] for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert tuple(seen) == service.plan.resource_ids
    service.plan = None
    assert (await client.get("/api/v1/plan/current", headers=bearer("operator"))).status_code == 404


async def test_dead_letters_are_shown_newest_first_and_only_ones_own(client: Any, bearer: Any, service: Any) -> None:
    for number, owner in enumerate(["batteries", "buildings", "batteries"]):
        letter = DeadLetter(service.clock.now(), "up/telemetry", f"rule {number}", owner, payload=b"\xff{")
        service.store.add_dead_letter(letter)
    everything = (await client.get("/api/v1/dead-letters?limit=2", headers=bearer("engineer"))).json()
    assert [letter["reason"] for letter in everything["items"]] == ["rule 2", "rule 1"]
    params = {"cursor": everything["next_cursor"]}
    rest = (await client.get("/api/v1/dead-letters", params=params, headers=bearer("engineer"))).json()
    assert [letter["reason"] for letter in rest["items"]] == ["rule 0"]
    own = (await client.get("/api/v1/dead-letters", headers=bearer("aggregator"))).json()["items"]
    assert [letter["reason"] for letter in own] == ["rule 2", "rule 0"]


async def test_quotes_say_for_what_they_are(client: Any, bearer: Any) -> None:
    params = {**SPAN, "scope_kind": "zone", "scope_id": "zone-1"}
    quote = (await client.get("/api/v1/quote", params=params, headers=bearer("operator"))).json()
    assert (quote["scope_id"], quote["firm_kw"], quote["start"]) == ("zone-1", 90.0, "2025-07-16T02:00:00Z")
    answer = await client.get("/api/v1/quote", params={**params, "scope_id": ""}, headers=bearer("operator"))
    assert answer.json()["errors"][0]["field"] == "scope_id"


async def test_live_snapshots_arrive_as_server_sent_events(client: Any, bearer: Any) -> None:
    params = {"count": 2, "every_s": 0.2}
    answer = await client.get("/api/v1/live", params=params, headers=bearer("operator"))
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    assert [block[:2] for block in blocks] == [["id: 0", "event: snapshot"], ["id: 1", "event: snapshot"]]
    assert json.loads(blocks[0][2].removeprefix("data: "))["resources"] == 10


async def test_health_needs_no_token_and_readiness_names_what_is_missing(client: Any, service: Any) -> None:
    assert (await client.get("/healthz")).json()["status"] == "ok"
    assert (await client.get("/readyz")).json()["parts"] == {"store": True, "broker": True}
    service.parts["broker"] = "connection refused"
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "not ready: broker: connection refused"
    assert 'vpp_ready{part="broker"} 0.0' in (await client.get("/metrics")).text


async def test_metrics_count_requests_by_route_not_by_path(client: Any, bearer: Any) -> None:
    for number in range(3):
        await client.get(f"/api/v1/resources/batteries-{number}", headers=bearer("operator"))
    await client.get("/no/such/thing")
    text = (await client.get("/metrics")).text
    route = "/api/v1/resources/{resource_id}"
    assert f'vpp_http_requests_total{{method="GET",route="{route}",status="200"}} 3.0' in text
    assert 'route="unknown",status="404"' in text
    assert "batteries-1" not in text


async def test_a_database_that_does_not_answer_is_a_temporary_problem(client: Any, bearer: Any, service: Any) -> None:
    headers = bearer("operator")
    with service.store._db.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE events RENAME TO elsewhere")
    answer = await client.get("/api/v1/events", headers=headers)
    assert answer.status_code == 503
    assert answer.json()["retryable"] is True
    assert "retry-after" in answer.headers


async def test_a_bug_is_told_without_its_insides(client: Any, bearer: Any, service: Any) -> None:
    service.plan = "not a plan"
    answer = await client.get("/api/v1/plan/current", headers=bearer("operator"))
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "attribute" not in answer.text


async def test_times_at_the_end_of_the_calendar_are_refused_not_fatal(client: Any, bearer: Any) -> None:
    params = {"resource_id": "batteries-0", "start": "0001-01-01T00:00:00+14:00", "end": "9999-12-31T23:59:59-14:00"}
    answer = await client.get("/api/v1/readings", params=params, headers=bearer("engineer"))
    assert answer.status_code == 422


async def test_commands_show_their_plan_their_tries_and_what_was_answered(
    client: Any, bearer: Any, service: Any
) -> None:
    for number, owner in enumerate(("batteries", "buildings", "batteries"), 1):
        setpoints = tuple(Setpoint(resource_id=f"{owner}-{k}", power_kw=1.0) for k in range(3))
        made = SetpointBatch(
            command_id=f"c-{number}",
            aggregator_id=owner,
            sequence=service.store.next_sequence(owner),
            plan_hash=str(number) * 64,
            valid_from=NOW,
            valid_until=NOW + timedelta(minutes=10),
            setpoints=setpoints,
        )
        service.store.save_batch(made, NOW + timedelta(seconds=number))
    service.store.note_try("c-3", NOW + timedelta(seconds=50))
    service.store.save_ack("c-3", "batteries-1", "refused", "no", NOW)
    service.store.save_ack("c-3", "batteries-2", "taken", "", NOW)
    service.store.give_up(["c-1"], NOW + timedelta(minutes=3))
    page = (await client.get("/api/v1/commands", headers=bearer("auditor"), params={"limit": 2})).json()
    assert [row["command_id"] for row in page["items"]] == ["c-3", "c-2"]
    newest = page["items"][0]
    assert (newest["tries"], newest["plan_hash"], newest["given_up_at"]) == (2, "3" * 64, None)
    assert [newest[name] for name in ("setpoints", "taken", "refused", "unanswered")] == [3, 1, 1, 1]
    rest = await client.get("/api/v1/commands", headers=bearer("auditor"), params={"cursor": page["next_cursor"]})
    assert [row["given_up_at"] for row in rest.json()["items"]] == ["2025-07-16T03:03:00Z"]
    own = {"aggregator_id": "buildings"}
    mine = (await client.get("/api/v1/commands", headers=bearer("aggregator"), params=own)).json()
    assert {row["aggregator_id"] for row in mine["items"]} == {"batteries"}
