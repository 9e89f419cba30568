"""What the doors show as the plan in force is, by its fingerprint, the plan of the orders that gateways received."""

from datetime import UTC, datetime

import httpx
import pytest

from models.plan import PlanSource
from models.roles import Role
from simulations.wire import codec
from simulations.wire.gateway import AggregatorGateway
from tests.flow.conftest import FlakySolver, MakeWorld, World, really
from tests.flow.small_city import CITY_KW, CYCLE, EVENT_START, MINUTE
from vpp.api import create_app
from vpp.security import new_token


@pytest.fixture(autouse=True)
def received(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[codec.ReceivedSetpoints]]:
    """Every batch that a gateway was handed by its broker, in order, by aggregator."""
    found: dict[str, list[codec.ReceivedSetpoints]] = {}
    take = AggregatorGateway._take_setpoints

    def noted(self: AggregatorGateway, batch: codec.ReceivedSetpoints) -> None:
        found.setdefault(self.aggregator_id, []).append(batch)
        take(self, batch)

    monkeypatch.setattr(AggregatorGateway, "_take_setpoints", noted)
    return found


@pytest.fixture
async def shown(make_world: MakeWorld, flaky: FlakySolver) -> "Shown":
    world = await make_world(solver=flaky)
    return Shown(world)


class Shown:
    """Looks at the plan in force through the HTTP door and the live view of whatever service is running."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tokens = 0

    async def get(self, path: str) -> httpx.Response:
        service = self.world.service
        self.tokens += 1
        made = new_token(f"engineer-{self.tokens}", Role.ENGINEER, datetime(2025, 7, 15, tzinfo=UTC), None)
        service.store.add_user(made.user)
        transport = httpx.ASGITransport(create_app(service))
        headers = {"Authorization": f"Bearer {made.token}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://vpp", headers=headers) as client:
            return await client.get(path)

    async def hashes(self) -> set[str]:
        """The plan's fingerprint as every view gives it."""
        summary, setpoints = await self.get("/api/v1/plan/current"), await self.get("/api/v1/plan/current/setpoints")
        snapshot = await self.world.service.live()
        return {summary.json()["plan_hash"], setpoints.json()["plan_hash"], snapshot["plan"]["plan_hash"]}

    async def hash(self) -> str:
        (one,) = await self.hashes()
        return one


Received = dict[str, list[codec.ReceivedSetpoints]]


def last_of_each(received: Received) -> set[str]:
    return {batches[-1].plan_hash for batches in received.values()}


async def test_over_cycles_and_a_fallback_the_hash_shown_is_the_hash_received(
    shown: Shown, flaky: FlakySolver, received: Received
) -> None:
    world = shown.world
    await world.order(300.0)
    seen = []
    for cycle in range(-3, 3):
        await world.until(EVENT_START + cycle * CYCLE + MINUTE)
        assert last_of_each(received) == {await shown.hash()}
        seen.append(await shown.hash())
    assert len(set(seen)) == len(seen)  # a new plan in every cycle
    flaky.failing = True
    await world.until(EVENT_START + 3 * CYCLE + MINUTE)
    plan = await world.service.current_plan()
    assert plan is not None
    assert plan.source is PlanSource.LAST_GOOD
    assert last_of_each(received) == {await shown.hash()} != {seen[-1]}
    flaky.failing, flaky.spoiling = False, True  # a plan that the checker faults is neither shown nor sent
    await world.until(EVENT_START + 4 * CYCLE + MINUTE)
    assert last_of_each(received) == {await shown.hash()}
    flaky.spoiling = False
    world.city_kw = float("nan")  # not even a problem
    await world.until(EVENT_START + 5 * CYCLE + MINUTE)
    assert last_of_each(received) == {await shown.hash()}
    world.city_kw = CITY_KW
    await world.until(EVENT_START + 6 * CYCLE + MINUTE)
    assert last_of_each(received) == {await shown.hash()}
    ours = (await shown.get("/api/v1/commands?limit=1000")).json()["items"]
    said = {batch.command_id: batch.plan_hash for batches in received.values() for batch in batches}
    assert {row["command_id"]: row["plan_hash"] for row in ours} == said


async def test_the_schedule_shown_is_what_the_setpoints_say(shown: Shown, received: Received) -> None:
    world = shown.world
    await world.order(300.0)
    await world.until(EVENT_START + 2 * CYCLE + MINUTE)
    schedule = (await shown.get("/api/v1/plan/current/setpoints")).json()
    column = schedule["starts"].index((EVENT_START + 2 * CYCLE).isoformat().replace("+00:00", "Z"))
    planned = {row["resource_id"]: row["power_kw"][column] for row in schedule["items"]}
    (now_on,) = [each for each in received["alpha"][-2:] if each.valid_from == EVENT_START + 2 * CYCLE]
    ordered = {name: power_kw for name, power_kw in now_on.setpoints if power_kw is not None}
    assert ordered
    assert ordered == pytest.approx({name: planned[name] for name in ordered}, abs=1e-6)


async def test_after_a_kill_the_plan_that_devices_follow_is_shown_before_the_first_cycle(
    shown: Shown, received: Received
) -> None:
    world = shown.world
    await world.order(300.0)
    await world.until(EVENT_START + 2 * CYCLE + MINUTE)
    before = await shown.hash()
    await world.kill_service()
    await world.start_service()
    assert last_of_each(received) == {await shown.hash()} == {before}
    assert world.service.runtime.current is None  # no cycle has run
    await world.service.link.wait_connected()
    await world.until(EVENT_START + 3 * CYCLE + MINUTE)
    assert last_of_each(received) == {await shown.hash()} != {before}


async def test_after_a_kill_a_plan_that_is_not_known_any_more_is_not_replaced_by_another(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = shown.world
    monkeypatch.setattr("vpp.plan_in_force.MOST_RESOURCES_KEPT", 3)  # as if it had been too large to keep
    await world.until(EVENT_START - 5 * CYCLE)
    executed = await shown.hash()
    await world.kill_service()
    await world.start_service()
    newest = world.service.store.newest_delivery(world.clock.now())
    assert newest is not None
    assert newest[0] == executed
    assert (await shown.get("/api/v1/plan/current")).status_code == 404
    assert (await world.service.live())["plan"] is None


async def test_a_plan_whose_orders_nobody_took_is_not_shown_until_they_are_taken(
    shown: Shown, received: Received
) -> None:
    world = shown.world
    await world.order(300.0)
    await world.until(EVENT_START + 2 * CYCLE - MINUTE)
    before = await shown.hash()
    await world.kill_broker()
    await really(lambda: not world.service.link.connected)
    world.cut.update(world.aggregators)
    await world.until(EVENT_START + 2 * CYCLE + MINUTE)
    assert last_of_each(received) == {await shown.hash()} == {before}
    counts = {name: len(batches) for name, batches in received.items()}
    await world.broker_is_back()
    await really(lambda: all(len(batches) > counts[name] for name, batches in received.items()))
    assert last_of_each(received) == {await shown.hash()} != {before}
    world.cut.clear()
