"""What a car was ordered says nothing of the next one at its charger."""

from datetime import timedelta

import pytest

from simulations.wire import codec
from tests.flow.conftest import MakeWorld, World
from tests.flow.small_city import CYCLE, EVENT_START, MINUTE

QUIET = timedelta(minutes=30)
NEXT_CAR = {"session_id": "next", "energy_needed_kwh": 20.0}


async def in_a_quiet_cycle(make_world: MakeWorld) -> World:
    """A car stands at c0 and has an order for half an hour."""
    world = await make_world("embedded")
    await world.until(EVENT_START - QUIET + MINUTE)
    begins, until, kw = world.devices["c0"].orders[-1]
    assert begins <= world.clock.now() < until - QUIET + CYCLE
    assert kw is not None
    return world


@pytest.mark.parametrize("says_nothing_between", [True, False])
@pytest.mark.parametrize("killed", [True, False])
async def test_the_next_car_is_not_held_by_the_order_of_the_one_before(
    make_world: MakeWorld, says_nothing_between: bool, killed: bool
) -> None:
    world = await in_a_quiet_cycle(make_world)
    device = world.devices["c0"]
    told, until = len(device.orders), device.orders[-1][1]
    if killed:
        await world.kill_service()
        await world.start_service()
        await world.service.link.wait_connected()
    if not says_nothing_between:
        device.session, device.told = None, False
        await world.until(world.clock.now() + CYCLE)
        assert len(device.orders) == told, "nobody is there who could want to charge"
    arrival = world.clock.now() + CYCLE
    departure = arrival + timedelta(hours=4)
    device.session = {"arrival": codec.stamp(arrival), "departure": codec.stamp(departure), **NEXT_CAR}
    device.told = False
    await world.until(arrival + MINUTE)
    begins, ends, kw = device.orders[-1]
    assert kw is None
    assert begins <= world.clock.now()
    assert ends == until
    others = [order for name in ("c1", "g0") for order in world.devices[name].orders]
    assert all(kw is not None for _, _, kw in others)
    told, device.told = len(device.orders), False
    await world.until(arrival + CYCLE + MINUTE)
    assert len(device.orders) == told, "once"


async def test_a_car_that_comes_to_a_free_place_is_not_held_by_what_was_sent_ahead_for_the_one_before(
    make_world: MakeWorld,
) -> None:
    world = await make_world("embedded")
    await world.order(300.0, end=EVENT_START + 3 * CYCLE)
    # around an event the next stretch is sent along, of the last cycle an hour that begins when the car has left
    last_busy = EVENT_START + 5 * CYCLE
    await world.until(last_busy + MINUTE)
    device = world.devices["c0"]
    begins, until, _ = device.orders[-1]
    assert begins > last_busy
    assert until >= begins + QUIET
    device.session, device.told = None, False
    await world.until(begins + MINUTE)
    arrival = begins + CYCLE
    session = {"arrival": codec.stamp(arrival), "departure": codec.stamp(arrival + timedelta(hours=4)), **NEXT_CAR}
    device.session, device.told = session, False
    await world.until(arrival + MINUTE)
    _, ends, kw = device.orders[-1]
    assert kw is None
    assert ends >= until


async def test_a_car_that_stays_keeps_its_order(make_world: MakeWorld) -> None:
    world = await in_a_quiet_cycle(make_world)
    device = world.devices["c0"]
    told = len(device.orders)
    device.told = False  # the same stay once more
    await world.until(world.clock.now() + 2 * CYCLE)
    assert len(device.orders) == told


async def test_near_an_event_the_next_cycle_has_an_order_for_it(make_world: MakeWorld) -> None:
    world = await make_world("embedded")
    await world.order(300.0)
    await world.until(EVENT_START + 2 * CYCLE + MINUTE)
    device = world.devices["c0"]
    device.session, device.told = {**(device.session or {}), "session_id": "next"}, False
    told = len(device.orders)
    await world.until(EVENT_START + 3 * CYCLE + timedelta(seconds=10))
    assert all(kw is not None for _, _, kw in device.orders[told:])
    await world.until(EVENT_START + 3 * CYCLE + MINUTE)
    assert len(device.orders) > told
