from typing import Any

import httpx

ORDER = {"start": "2025-07-16T13:00:00+08:00", "end": "2025-07-16T14:00:00+08:00", "ordered_kw": 900}
API = "/api/v1/events"


async def declared(client: httpx.AsyncClient, bearer: Any, key: str = "k1", **changes: Any) -> dict[str, Any]:
    answer = await client.post(API, json={**ORDER, **changes}, headers=bearer("operator", **{"Idempotency-Key": key}))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_an_event_is_declared_by_one_person_and_approved_by_another(client: Any, bearer: Any) -> None:
    record = await declared(client, bearer)
    assert record["status"] == "declared"
    assert record["event"]["start"] == "2025-07-16T05:00:00Z"
    event_id = record["event"]["event_id"]
    answer = await client.post(f"{API}/{event_id}/approve", headers=bearer("approver"))
    assert answer.json()["status"] == "approved"
    assert [step["by"] for step in answer.json()["steps"]] == ["a-operator", "a-approver"]


async def test_who_declared_an_event_may_not_approve_it(client: Any, bearer: Any) -> None:
    answer = await client.post(API, json=ORDER, headers=bearer("admin", **{"Idempotency-Key": "k"}))
    event_id = answer.json()["event"]["event_id"]
    answer = await client.post(f"{API}/{event_id}/approve", headers=bearer("admin"))
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert "second person" in answer.json()["detail"]


async def test_the_same_request_sent_twice_declares_one_event(client: Any, bearer: Any, service: Any) -> None:
    first = await declared(client, bearer)
    again = await client.post(API, json=ORDER, headers=bearer("operator", **{"Idempotency-Key": "k1"}))
    assert again.json() == first
    assert again.headers["Idempotent-Replayed"] == "true"
    assert service.declared == 1
    other = await client.post(
        API, json={**ORDER, "ordered_kw": 1}, headers=bearer("operator", **{"Idempotency-Key": "k1"})
    )
    assert other.status_code == 422
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_a_crash_between_creating_and_answering_creates_no_twin(client: Any, bearer: Any, service: Any) -> None:
    first = await declared(client, bearer)
    service.store.forget_answers(service.clock.now().replace(year=2026))  # as if the answer had not been kept
    assert await declared(client, bearer) == first
    assert service.declared == 1


async def test_a_creating_request_without_a_key_is_refused(client: Any, bearer: Any) -> None:
    answer = await client.post(API, json=ORDER, headers=bearer("operator"))
    assert answer.status_code == 422
    assert "idempotency" in answer.json()["errors"][0]["field"].lower()


async def test_an_impossible_order_is_refused_with_pointer_value_and_rule(client: Any, bearer: Any) -> None:
    headers = bearer("operator", **{"Idempotency-Key": "k"})
    answer = await client.post(API, json={**ORDER, "ordered_kw": -5}, headers=headers)
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], fault["field"], fault["value"]) == ("/ordered_kw", "ordered_kw", -5)
    assert "greater than or equal to 0" in fault["rule"]
    for broken in (
        {**ORDER, "end": ORDER["start"]},
        {**ORDER, "start": "2025-07-16T13:00:00"},
        {**ORDER, "kw": 1},
    ):
        answer = await client.post(API, json=broken, headers=headers)
        assert answer.status_code == 422, broken
    answer = await client.post(API, content=b'{"start": nope', headers={**headers, "Content-Type": "application/json"})
    assert answer.status_code == 422


async def test_an_unknown_event_is_not_found_and_a_finished_one_cannot_be_cancelled(client: Any, bearer: Any) -> None:
    answer = await client.post(f"{API}/nothing/cancel", json={"reason": "x"}, headers=bearer("operator"))
    assert answer.status_code == 404
    event_id = (await declared(client, bearer))["event"]["event_id"]
    why = {"reason": "rain"}
    assert (await client.post(f"{API}/{event_id}/cancel", json=why, headers=bearer("operator"))).status_code == 200
    answer = await client.post(f"{API}/{event_id}/cancel", json=why, headers=bearer("operator"))
    assert answer.status_code == 409
    assert "cancelled" in answer.json()["detail"]


async def test_pages_of_events_hold_each_event_once(client: Any, bearer: Any) -> None:
    for hour in range(5):
        start, end = f"2025-07-16T{10 + hour}:00:00Z", f"2025-07-16T{11 + hour}:00:00Z"
        await declared(client, bearer, key=f"k{hour}", start=start, end=end)
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(API, params=params, headers=bearer("auditor"))).json()
        seen += [record["event"]["start"] for record in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 5
    found = (await client.get(API, params={"status": "approved"}, headers=bearer("auditor"))).json()
    assert found["items"] == []


async def test_an_aggregator_sees_its_own_share_and_nobody_elses(client: Any, bearer: Any) -> None:
    event_id = (await declared(client, bearer))["event"]["event_id"]
    shown = (await client.get(f"{API}/{event_id}", headers=bearer("aggregator"))).json()
    assert shown["share_kw"] == {"batteries": 600.0}
    assert shown["callable_kw"] is None
    listed = (await client.get(API, headers=bearer("aggregator"))).json()["items"]
    assert [record["share_kw"] for record in listed] == [{"batteries": 600.0}]
