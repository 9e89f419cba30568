"""Whoever hears nothing more in the middle of an event stays at its baseline until it ends, and no longer."""

from datetime import datetime

from tests.flow.conftest import MakeWorld, World
from tests.flow.small_city import CYCLE, EVENT_END, EVENT_START, MINUTE
from vpp.cycle import GRACE
from vpp.standing_orders import LET_GO_OVER

ORDER_KW = 300.0
CARS = ("c0", "c1")


async def at_work(make_world: MakeWorld) -> World:
    world = await make_world("embedded")
    await world.order(ORDER_KW)
    await world.until(EVENT_START + 3 * CYCLE + MINUTE)
    return world


def drawn_kw(world: World, name: str, start: datetime, end: datetime) -> set[float]:
    return {round(kw, 6) for at, kw in world.devices[name].power_kw if start <= at < end}


async def test_cars_that_hear_nothing_more_do_not_charge_at_once_before_the_event_is_over(
    make_world: MakeWorld,
) -> None:
    world = await at_work(make_world)
    for name in CARS:
        world.devices[name].is_silent = True
        world.devices[name].own_kw = 7.0  # what it does by itself
    last = {name: world.devices[name].orders[-1] for name in CARS}
    await world.until(EVENT_END + LET_GO_OVER + CYCLE)
    for name, (begins, ends, stands_kw) in last.items():
        assert begins == EVENT_START + 5 * CYCLE + GRACE  # where this stretch, the next and its grace end
        assert EVENT_END <= ends <= EVENT_END + LET_GO_OVER
        assert stands_kw is not None
        assert drawn_kw(world, name, begins, ends) == {round(stands_kw, 6)}
        assert drawn_kw(world, name, ends, ends + CYCLE) == {7.0}
    assert len({ends for _, ends, _ in last.values()}) == 2, "not all at once"


async def test_they_are_let_go_when_the_event_ends_early(make_world: MakeWorld) -> None:
    world = await at_work(make_world)
    await world.service.terminate("night", "operator-li", "enough")
    await world.until(EVENT_START + 12 * CYCLE)
    for name in CARS:
        device = world.devices[name]
        device.is_silent = True
        device.own_kw = 7.0
        assert device.wanted_kw(EVENT_START + 16 * CYCLE) == 7.0
        assert any(end >= EVENT_END and kw is None for _, end, kw in device.orders)
