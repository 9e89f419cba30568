"""Devices, gateways, the broker and the solver fail while an event runs."""

from datetime import timedelta

import pytest

from models.plan import PlanSource
from tests.flow.conftest import FlakySolver, MakeWorld, World, really
from tests.flow.small_city import CITY_KW, CYCLE, EVENT_END, EVENT_START, MINUTE, START
from vpp.feedback import OWED_LIMIT

ORDER_KW = 300.0


async def at_work(make_world: MakeWorld, broker: str = "embedded", **options: object) -> World:
    """A world whose event has been running for a quarter of an hour."""
    world = await make_world(broker, **options)
    await world.order(ORDER_KW)
    await world.until(EVENT_START + 3 * CYCLE - MINUTE)
    return world


def mean_kw(world: World, first: int, last: int) -> float:
    """Mean reduction from cycle ``first`` to the end of cycle ``last`` of the event."""
    return -world.fleet_kw(EVENT_START + first * CYCLE, EVENT_START + (last + 1) * CYCLE)


async def test_silent_devices_are_left_out_after_their_time_to_live_and_bought_elsewhere(make_world: MakeWorld) -> None:
    world = await at_work(make_world)
    alpha = world.aggregators["alpha"]
    for name in ("a0", "a1"):
        alpha.devices[name].is_silent = True
        alpha.devices[name].orders.clear()
    last = max(live.latest.measured_at for live in world.service.state if live.resource_id == "a0" and live.latest)
    stale_at = last + timedelta(seconds=400)
    following = EVENT_START + CYCLE * (-(-(stale_at - EVENT_START) // CYCLE))
    await world.until(following + MINUTE)
    assert {live.resource_id for live in world.service.state.stale(world.clock.now())} == {"a0", "a1"}
    assert world.metric("vpp_devices_stale", kind="storage") == 2
    sent = [each for each in world.service.store.setpoints_since(following) if each.resource_id in ("a0", "a1")]
    assert sent == []
    cycle = (following - EVENT_START) // CYCLE
    await world.until(following + 4 * CYCLE)
    assert mean_kw(world, cycle + 1, cycle + 3) == pytest.approx(ORDER_KW, rel=0.1)
    assert world.metric("vpp_setpoints_expired_total", aggregator="alpha") == 2


async def test_who_refuses_is_not_asked_again_for_half_an_hour_and_bought_elsewhere(make_world: MakeWorld) -> None:
    world = await at_work(make_world)
    for name in ("b0", "b1"):
        world.devices[name].refuses = True
        world.devices[name].orders.clear()
    await world.until(EVENT_START + 5 * CYCLE)
    refused_at = EVENT_START + 3 * CYCLE + timedelta(seconds=15)
    live = world.service.state.get("b0")
    assert live is not None
    assert live.refused_until == refused_at + timedelta(minutes=30)
    await world.until(EVENT_START + 10 * CYCLE)
    asked = {at for at, name, _, _, _ in world.aggregators["beta"].heard if name == "b0" and at >= refused_at}
    assert min(asked - {refused_at}) >= refused_at + timedelta(minutes=30)
    assert mean_kw(world, 5, 9) == pytest.approx(ORDER_KW, rel=0.1)
    assert world.metric("vpp_setpoints_answered_total", outcome="refused") > 0


async def test_a_gateway_that_is_cut_off_leaves_no_device_under_an_old_order(make_world: MakeWorld) -> None:
    world = await at_work(make_world)
    await world.until(EVENT_START + 3 * CYCLE + MINUTE)
    await world.aggregators["gamma"].gateway.stop()
    world.cut.add("gamma")
    orders = {name: device.orders for name, device in world.aggregators["gamma"].devices.items()}
    latest = max(end for each in orders.values() for _, end, _ in each if end < EVENT_END)
    assert latest <= EVENT_START + 6 * CYCLE  # this interval, the next one, and one of grace
    stand = {name for name, each in orders.items() if each[-1][1] >= EVENT_END}
    assert stand == {"c0", "c1"}
    await world.until(EVENT_START + 10 * CYCLE)
    for name in ("g0", "g1", "g2"):
        late = [abs(kw) for at, kw in world.devices[name].power_kw if at >= latest]
        assert late
        assert max(late) == 0
    assert mean_kw(world, 7, 9) == pytest.approx(ORDER_KW, rel=0.1)
    assert world.metric("vpp_aggregators_online") == 2


@pytest.mark.parametrize("kind", ["mosquitto", "embedded"])
async def test_the_broker_dies_in_mid_event_and_is_back_within_ten_seconds(make_world: MakeWorld, kind: str) -> None:
    world = await at_work(make_world, kind)
    before = world.service.store.reading_count()
    sequence = dict(world.service.runtime.delivery.last_sequence)
    await world.kill_broker()
    await really(lambda: not world.service.link.connected)
    assert world.service.ready()["broker"] is not None
    assert await world.broker_is_back() < 10
    await really(lambda: world.metric("vpp_broker_reconnects_total") == 1)
    assert world.service.ready()["broker"] is None
    await world.until(EVENT_START + 6 * CYCLE)
    readings = len(world.devices) * 3
    assert world.service.store.reading_count() == before + readings + len(world.devices)
    for name, aggregator in world.aggregators.items():
        assert world.service.runtime.delivery.last_sequence[name] > sequence[name]
        assert aggregator.gateway.state.counts["out_of_order"] == 0
        ours = [each for each in world.service.store.setpoints_since(START) if each.resource_id in aggregator.devices]
        assert len(aggregator.heard) == len(ours)  # every one, and every one once
    assert mean_kw(world, 3, 5) == pytest.approx(ORDER_KW, rel=0.1)


async def test_orders_wait_for_a_broker_that_is_away_while_a_cycle_runs(make_world: MakeWorld) -> None:
    world = await at_work(make_world)
    await world.kill_broker()
    await really(lambda: not world.service.link.connected)
    world.cut.update(world.aggregators)
    await world.until(EVENT_START + 3 * CYCLE + MINUTE)
    given = {name: len(each.heard) for name, each in world.aggregators.items()}
    assert await world.broker_is_back() < 10
    await really(lambda: all(len(each.heard) > given[name] for name, each in world.aggregators.items()))
    world.cut.clear()
    await world.until(EVENT_START + 6 * CYCLE)
    for each in world.aggregators.values():
        assert each.gateway.state.counts["out_of_order"] == 0
        assert each.gateway.state.counts["duplicates"] == 0
    assert mean_kw(world, 3, 5) == pytest.approx(ORDER_KW, rel=0.1)


async def test_when_the_solver_fails_the_last_good_plan_stands_and_says_so(
    make_world: MakeWorld, flaky: FlakySolver
) -> None:
    world = await at_work(make_world, solver=flaky)
    good = await world.service.current_plan()
    assert good is not None
    assert good.source is PlanSource.FAST
    flaky.failing = True
    sequence = dict(world.service.runtime.delivery.last_sequence)
    await world.until(EVENT_START + 6 * CYCLE)
    plan = await world.service.current_plan()
    assert plan is not None
    assert plan.source is PlanSource.LAST_GOOD
    assert all(world.service.runtime.delivery.last_sequence[name] > sequence[name] for name in sequence)
    assert mean_kw(world, 3, 5) == pytest.approx(ORDER_KW, rel=OWED_LIMIT + 0.02)
    assert world.metric("vpp_plans_made_total", kind="real_time", source="last_good") == 3
    flaky.failing = False
    await world.until(EVENT_START + 7 * CYCLE)
    plan = await world.service.current_plan()
    assert plan is not None
    assert plan.source is PlanSource.FAST


async def test_a_plan_that_breaks_a_limit_is_never_published(make_world: MakeWorld, flaky: FlakySolver) -> None:
    world = await at_work(make_world, solver=flaky)
    assert world.metric("vpp_plan_violations_total") == 0
    flaky.spoiling = True
    await world.until(EVENT_START + 5 * CYCLE)
    flaky.spoiling = False
    assert world.metric("vpp_plan_violations_total", kind="real_time") > 0
    plan = await world.service.current_plan()
    assert plan is not None
    assert plan.source is PlanSource.LAST_GOOD
    for each in world.aggregators.values():
        assert all(abs(kw or 0) <= 60 for _, _, kw, _, _ in each.heard)
    assert world.metric("vpp_setpoint_clamps_total") == 0
    assert mean_kw(world, 3, 4) == pytest.approx(ORDER_KW, rel=OWED_LIMIT + 0.02)


async def test_when_no_problem_can_be_put_together_the_last_orders_go_on(make_world: MakeWorld) -> None:
    world = await at_work(make_world)
    world.city_kw = float("nan")  # what the city's forecast says from now on
    await world.until(EVENT_START + 5 * CYCLE)
    world.city_kw = CITY_KW
    assert world.metric("vpp_plans_made_total", kind="real_time", source="last_good") == 2
    assert mean_kw(world, 3, 4) == pytest.approx(ORDER_KW, rel=OWED_LIMIT + 0.02)
    await world.until(EVENT_START + 6 * CYCLE)
    plan = await world.service.current_plan()
    assert plan is not None
    assert plan.source is PlanSource.FAST
