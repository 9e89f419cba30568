"""A cycle of one minute holds an order as one of five does, whether gateways report as often or not."""

import itertools
from datetime import timedelta

import pytest

from tests.flow.conftest import MakeWorld, World
from tests.flow.small_city import EVENT_END, EVENT_START, MINUTE

ORDERED_KW = 300.0
RAMPED = EVENT_START + 2 * MINUTE
FALLEN_SILENT = EVENT_START + 20 * MINUTE
BOUGHT_AGAIN = FALLEN_SILENT + 12 * MINUTE
"""Two cycles of five minutes and two minutes on the way."""


def _shares(world: World) -> dict[int, float]:
    """What was delivered of the order, by minute of the event."""
    minutes = range((EVENT_END - EVENT_START) // MINUTE)
    starts = {k: EVENT_START + k * MINUTE for k in minutes}
    return {k: -world.fleet_kw(start, start + MINUTE) / ORDERED_KW for k, start in starts.items()}


@pytest.mark.parametrize("often", [{"alpha"}, set()], ids=["some", "none"])
async def test_an_order_is_held_minute_by_minute(make_world: MakeWorld, often: set[str]) -> None:
    """``often``: whose devices report every minute, and not every five."""
    world = await make_world(step=timedelta(seconds=15), real_time={"cycle_s": 60.0})
    for name in often:
        world.aggregators[name].report_every = MINUTE
    await world.order(ORDERED_KW)
    await world.until(FALLEN_SILENT)
    called = sorted(name for name, device in world.devices.items() if device.wanted_kw(FALLEN_SILENT) < -30)
    for name in called[:2]:
        world.devices[name].is_silent = True
    await world.until(EVENT_END)

    by_minute = _shares(world)
    calm = [share for k, share in by_minute.items() if RAMPED <= EVENT_START + k * MINUTE < FALLEN_SILENT]
    assert 0.93 <= min(calm) <= max(calm) <= 1.07
    assert min(share for k, share in by_minute.items() if EVENT_START + k * MINUTE >= BOUGHT_AGAIN) >= 0.93
    assert sum(by_minute.values()) / len(by_minute) == pytest.approx(1.0, abs=0.04)

    # ten batteries are equally cheap, and plans a minute apart could each choose others
    moved_kw = 0.0
    for device in world.devices.values():
        powers = [kw for at, kw in device.power_kw if RAMPED <= at < FALLEN_SILENT]
        moved_kw += sum(abs(after - before) for before, after in itertools.pairwise(powers))
    assert moved_kw / len(calm) <= 0.05 * ORDERED_KW
