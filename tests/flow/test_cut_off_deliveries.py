"""A kill in the midst of a delivery, of a call or of a fault of our own: what had not left leaves after it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from models.errors import EventStateError
from models.life_cycle import EventStatus
from models.records import PlanKind
from tests.flow.conftest import MakeWorld, World
from tests.flow.small_city import CYCLE, EVENT_END, EVENT_START, MINUTE
from vpp.outgoing import Order

ORDER_KW = 300.0


def cut_after(world: World, monkeypatch: pytest.MonkeyPatch, batches: int) -> list[Order]:
    """From now on so many batches leave, then the service stops where it is; the orders that were tried."""
    outgoing, tried = world.service.runtime.delivery.outgoing, []
    assert outgoing is not None
    send = outgoing.send

    async def cut(order: Order, *more: Any) -> bool:
        tried.append(order)
        if len(tried) > batches:
            raise asyncio.CancelledError
        return await send(order, *more)

    monkeypatch.setattr(outgoing, "send", cut)
    return tried


async def restart(world: World) -> None:
    await world.kill_service()
    await world.start_service()
    await world.service.link.wait_connected()
    await world.until(world.clock.now() + timedelta(seconds=2))


def heard_after(world: World, count: dict[str, int]) -> set[str]:
    return {name for name, each in world.aggregators.items() if len(each.heard) > count[name]}


@pytest.mark.parametrize("batches", [0, 1])
async def test_a_cycle_that_was_killed_in_its_midst_is_run_again_at_once(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    world = await make_world()
    await world.order(ORDER_KW)
    await world.until(EVENT_START + 3 * CYCLE - MINUTE)
    tried = cut_after(world, monkeypatch, batches)
    await world.until(EVENT_START + 3 * CYCLE + MINUTE)
    assert len(tried) == batches + 1
    store = world.service.store
    facts = store.plan_facts(tried[0].plan_hash)
    assert facts is not None, "the plan is in the database before any order of it leaves"
    assert facts.delivered_at is None
    whole = store.latest_plan(PlanKind.REAL_TIME)
    assert whole is not None
    assert whole.plan_hash == tried[0].plan_hash
    count = {name: len(each.heard) for name, each in world.aggregators.items()}

    await restart(world)
    assert heard_after(world, count) == {"alpha", "beta", "gamma"}, "nobody waits for the next cycle"
    executed = world.service.runtime.delivery.executed_hash
    assert executed is not None
    known = world.service.store.plan_facts(executed)
    assert known is not None
    assert known.delivered_at is not None
    assert world.clock.now() - known.delivered_at <= timedelta(seconds=1)
    await world.until(EVENT_END)
    assert -world.fleet_kw(EVENT_START, EVENT_END) == pytest.approx(ORDER_KW, rel=0.1)


async def test_a_cycle_that_was_delivered_is_not_run_again(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(ORDER_KW)
    await world.until(EVENT_START + 3 * CYCLE + MINUTE)
    count = {name: len(each.heard) for name, each in world.aggregators.items()}
    await restart(world)
    assert heard_after(world, count) == set()


async def test_every_command_names_a_plan_whose_facts_are_known(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(ORDER_KW)
    await world.until(EVENT_START + 9 * CYCLE + MINUTE)
    store = world.service.store
    hashes = {record.plan_hash for _, record in store.commands(limit=1000)}
    assert len(hashes) > 6
    found = [store.plan_facts(each) for each in hashes]
    assert all(each is not None and each.delivered_at is not None for each in found)


async def test_an_emergency_that_was_approved_and_not_called_is_called_after_the_restart(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(until=EVENT_START - CYCLE + MINUTE)
    opening, end = EVENT_START - 3 * CYCLE, EVENT_START + 12 * CYCLE
    await world.declare(240.0, start=opening, end=end)
    tried = cut_after(world, monkeypatch, 0)
    with pytest.raises(asyncio.CancelledError):
        await world.service.approve(["night"], "approver-wang")
    assert len(tried) == 1
    assert world.service.store.event("night") is not None
    count = {name: len(each.heard) for name, each in world.aggregators.items()}
    await restart(world)
    assert world.event().status is EventStatus.EXECUTING
    assert heard_after(world, count), "nobody waits for the next cycle"
    await world.until(EVENT_START)
    assert -world.fleet_kw(EVENT_START - CYCLE + 2 * MINUTE, EVENT_START) == pytest.approx(240, rel=0.15)


async def test_a_fault_of_our_own_ends_one_step_and_not_the_service(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    await world.order(ORDER_KW)
    await world.until(EVENT_START + 3 * CYCLE - MINUTE)
    runtime = world.service.runtime
    conduct = runtime.conduct

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("nobody foresaw it")

    with monkeypatch.context() as patch:
        patch.setattr(conduct, "after_cycle", broken)
        await world.until(EVENT_START + 5 * CYCLE + MINUTE)
        assert world.service.runtime.plan_in_force() is not None
        assert -world.fleet_kw(EVENT_START + 3 * CYCLE, EVENT_START + 5 * CYCLE) == pytest.approx(ORDER_KW, rel=0.1)
    with monkeypatch.context() as patch:
        patch.setattr(runtime.events, "tick", broken)
        await world.until(EVENT_START + 6 * CYCLE + MINUTE)
        assert world.metric("vpp_step_failures_total", step="events") >= 1
    await world.until(EVENT_END + timedelta(minutes=1))
    assert world.event().status is EventStatus.ENDED
    assert -world.fleet_kw(EVENT_START, EVENT_END) == pytest.approx(ORDER_KW, rel=0.1)
    with pytest.raises(EventStateError):
        await world.service.cancel("night", "operator-li", "too late")
