"""``kill -9`` in mid-event: after the restart the same event goes on, as if nothing had been."""

import asyncio
import json
import signal
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.mqtt.broker import BrokerSettings, open_broker
from models.life_cycle import EventStatus
from simulations.wire.gateway import Answer
from tests.flow.conftest import MakeWorld, ThreadSolver, World, both_databases
from tests.flow.small_city import CYCLE, EVENT_END, EVENT_START, MINUTE, PLANNED
from vpp.feedback import OWED_LIMIT

DAY = date(2025, 7, 16)
pytestmark = both_databases


def remembered(world: World) -> dict[str, Any]:
    """What the service knows of every device and every event."""
    runtime = world.service.runtime
    grid = runtime.real_time.grid(EVENT_START + 5 * CYCLE, runtime.events.planned(EVENT_START + 5 * CYCLE))
    return {
        "devices": {
            live.resource_id: {
                name: getattr(live, name)
                for name in (
                    "record",
                    "latest",
                    "session",
                    "refused_until",
                    "curtailed",
                    "opted_out_of",
                )
            }
            for live in world.service.state
        },
        "delivered_kwh": {live.resource_id: pytest.approx(live.session_delivered_kwh) for live in world.service.state},
        "comfort_kwh": {
            live.resource_id: pytest.approx(live.comfort_store_kwh, abs=2.0) for live in world.service.state
        },
        "ordered_until": {live.resource_id: live.ordered_until for live in world.service.state if live.ordered_kw},
        "ordered_kw": {live.resource_id: pytest.approx(live.ordered_kw, abs=1e-6) for live in world.service.state},
        "events": runtime.events.records(),
        "planned": runtime.events.planned(world.clock.now()),
        "commitments": [
            (each.event_id, each.aggregator_id, each.interval_start, pytest.approx(each.accepted_kw, abs=0.01))
            for each in runtime.events.commitments(grid)
        ],
        "delivered": {
            name: [(each.start, each.ordered_kw, pytest.approx(each.delivered_kw, abs=2.0)) for each in known.measured]
            for name, known in runtime.real_time.feedback.items()
        },
        "due": runtime.events.next_due(world.clock.now()),
        "baselines": {day: made.baseline.baseline_hash for day, made in runtime.day_ahead.days.items()},
        "plans": {day: made.plan.plan_hash for day, made in runtime.day_ahead.days.items()},
        "stays": {
            name: runtime.sessions.on(name, runtime.day_ahead.days[DAY].plan.grid).tolist() for name in ("c0", "c1")
        },
    }


async def restart(world: World) -> None:
    await world.kill_service()
    await world.start_service()
    await world.service.link.wait_connected()


async def test_everything_is_known_again_after_a_restart(make_world: MakeWorld) -> None:
    world = await make_world(with_loads=True)
    world.aggregators["beta"].policy = lambda _: Answer("accept_part", accepted_kw=40.0, opted_out_resource_ids=("b2",))
    await world.order(520.0)
    await world.until(EVENT_START + 3 * CYCLE + MINUTE)
    world.devices["a3"].refuses = True
    await world.until(EVENT_START + 5 * CYCLE + MINUTE)
    before = remembered(world)
    assert before["commitments"]
    assert len(before["delivered"]["night"]) == 5
    assert any(values["curtailed"] for values in before["devices"].values())
    assert before["devices"]["a3"]["refused_until"] is not None
    assert before["devices"]["b2"]["opted_out_of"] == {"night"}
    assert before["devices"]["c0"]["session"] is not None
    kept = {each.resource_id: each for each in world.service.store.charged()}
    assert kept.keys() == {"c0", "c1"}
    assert all(each.measured_at >= EVENT_START + 4 * CYCLE for each in kept.values()), "with every cycle"

    await restart(world)
    after = remembered(world)
    for part in before:
        assert after[part] == before[part], part


async def test_the_same_event_goes_on_after_a_kill(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(300.0)
    await world.until(EVENT_START + 3 * CYCLE + 2 * MINUTE)
    runtime = world.service.runtime
    table, plan = runtime.day_ahead.days[DAY].baseline.baseline_hash, runtime.day_ahead.days[DAY].plan.plan_hash
    sequence = dict(runtime.delivery.last_sequence)
    notices = {name: len(each.gateway.state.notices) for name, each in world.aggregators.items()}
    await world.kill_service()
    await world.until(EVENT_START + 4 * CYCLE + 2 * MINUTE)  # six minutes in which nobody is there
    await world.start_service()
    await world.service.link.wait_connected()
    assert world.event().status is EventStatus.EXECUTING
    await world.until(EVENT_END + MINUTE)

    runtime = world.service.runtime
    assert world.event().status is EventStatus.ENDED
    assert world.event().baseline_hash == table
    assert runtime.day_ahead.days[DAY].baseline.baseline_hash == table
    assert runtime.day_ahead.days[DAY].plan.plan_hash == plan
    for name, each in world.aggregators.items():
        assert runtime.delivery.last_sequence[name] > sequence[name]
        assert each.gateway.state.counts["out_of_order"] == each.gateway.state.counts["duplicates"] == 0
        assert [notice.status for notice in each.gateway.state.notices[notices[name] :]] == ["ended"]
    minutes = (world.clock.now() - PLANNED) // MINUTE
    assert world.service.store.reading_count() == len(world.devices) * (minutes // 5 + 4)  # every one once
    assert -world.fleet_kw(EVENT_START + CYCLE, EVENT_END) == pytest.approx(300, rel=0.1)
    assert -world.fleet_kw(EVENT_START + 4 * CYCLE, EVENT_START + 6 * CYCLE) == pytest.approx(300, rel=0.1)
    assert world.service.store.verify_audit()


async def test_a_deadline_to_answer_and_a_ramp_survive(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.aggregators["alpha"].gateway.stop()
    world.cut.add("alpha")
    await world.order(150.0)
    due = world.service.runtime.events.next_due(world.clock.now())
    assert due == PLANNED + timedelta(minutes=10)
    await restart(world)
    assert world.service.runtime.events.next_due(world.clock.now()) == due
    await world.until(PLANNED + timedelta(minutes=20))
    assert world.event().accepted_kw["alpha"] == 0

    await world.until(EVENT_START + 4 * CYCLE + 2 * MINUTE)
    await world.service.terminate("night", "operator-li", "enough")
    planned = world.service.runtime.events.planned(world.clock.now())
    assert [event.event_id for event in planned] == ["night", "night~ramp1", "night~ramp2", "night~ramp3"]
    await restart(world)
    assert world.service.runtime.events.planned(world.clock.now()) == planned
    await world.until(EVENT_START + 7 * CYCLE)
    steps = [-world.fleet_kw(EVENT_START + k * CYCLE + MINUTE, EVENT_START + (k + 1) * CYCLE) for k in (4, 5, 6)]
    assert steps == pytest.approx([150, 112.5, 75], abs=25)


CHILD = """
import asyncio, json, sys
from pathlib import Path
from adapters.mqtt.broker import BrokerSettings, open_broker
from tests.flow.conftest import ThreadSolver, World
from tests.flow.small_city import CYCLE, EVENT_END, EVENT_START, PLANNED

async def main(folder, store_url):
    async with open_broker(BrokerSettings(broker="embedded", folder=folder / "broker")) as broker:
        world = World(folder, broker, ThreadSolver(), {}, store_url=store_url or None)
        await world.start_service()
        await world.service.link.wait_connected()
        await world.start_aggregators()
        await world.until(PLANNED)
        await world.order(300.0)
        await world.until(EVENT_START + 3 * CYCLE)
        (day,) = world.service.runtime.day_ahead.days.values()
        facts = {
            "baseline": day.baseline.baseline_hash,
            "plan": day.plan.plan_hash,
            "sequence": world.service.runtime.delivery.last_sequence,
            "accepted": world.event().accepted_kw,
            "readings": world.service.store.reading_count(),
        }
        print("FACTS", json.dumps(facts), flush=True)
        await world.until(EVENT_END)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_a_process_that_is_killed_leaves_a_database_from_which_the_event_goes_on(
    tmp_path: Path, solver: ThreadSolver, store_url: str | None
) -> None:
    root = Path(__file__).parents[2]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(tmp_path), store_url or "", cwd=root, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    facts: dict[str, Any] = {}
    async with asyncio.timeout(90):
        async for line in child.stdout:
            if line.startswith(b"FACTS"):
                facts = json.loads(line[5:])
                break
    assert facts, "the child did not come so far"
    await asyncio.sleep(0.05)  # into the work on the next cycles
    child.kill()
    assert await child.wait() == -signal.SIGKILL

    async with open_broker(BrokerSettings(broker="embedded", folder=tmp_path / "other-broker")) as broker:
        world = World(tmp_path, broker, solver, {}, start=EVENT_START + 6 * CYCLE + MINUTE, store_url=store_url)
        await world.start_service()
        try:
            record = world.event()
            assert record.status is EventStatus.EXECUTING
            assert record.accepted_kw == facts["accepted"]
            (day,) = world.service.runtime.day_ahead.days.values()
            assert (day.baseline.baseline_hash, day.plan.plan_hash) == (facts["baseline"], facts["plan"])
            assert world.service.store.reading_count() >= facts["readings"]
            await world.service.link.wait_connected()
            await world.start_aggregators()
            await world.until(EVENT_END + MINUTE)
            assert world.event().status is EventStatus.ENDED
            for name, sequence in world.service.runtime.delivery.last_sequence.items():
                assert sequence > facts["sequence"][name]
            # nothing was measured for half an hour: its hour is owed more than can be given back, and no more is tried
            mean_kw = -world.fleet_kw(EVENT_START + 8 * CYCLE, EVENT_END)
            assert mean_kw == pytest.approx(300 * (1 + OWED_LIMIT), rel=0.06)
            assert world.service.store.verify_audit()
        finally:
            await world.close()
