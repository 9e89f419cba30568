"""Orders of the same day: with three hours of notice, and calls that change or end while they run."""

import itertools
from datetime import datetime, timedelta

import pytest

from models.events import NoticeType
from models.life_cycle import EventStatus
from tests.flow.conftest import MakeWorld, World
from tests.flow.small_city import CYCLE, EVENT_START, MINUTE

HOUR = timedelta(hours=1)


def by_cycle_kw(world: World, start: datetime, end: datetime) -> list[float]:
    """What the fleet draws, mean of each cycle."""
    return [world.fleet_kw(start + k * CYCLE, start + (k + 1) * CYCLE) for k in range((end - start) // CYCLE)]


async def test_three_hours_of_notice_are_enough(make_world: MakeWorld) -> None:
    world = await make_world(until=EVENT_START + MINUTE)
    start, end = EVENT_START + 3 * HOUR, EVENT_START + 4 * HOUR
    declared = await world.declare(200.0, start=start, end=end)
    assert declared.notice_type is NoticeType.INTRADAY
    (record,) = await world.service.approve(["night"], "approver-wang")
    await world.clock.settle()
    for name in record.share_kw:
        (notice,) = world.aggregators[name].gateway.state.notices
        assert notice.notice_type == "intraday"
        assert notice.respond_by is not None
        assert notice.respond_by <= world.clock.now() + timedelta(minutes=10)
    await world.until(start)
    assert world.event().accepted_kw.keys() == record.share_kw.keys()
    await world.until(end + CYCLE + MINUTE)
    assert -world.fleet_kw(start, end) == pytest.approx(200, rel=0.1)
    assert world.event().status is EventStatus.ENDED
    assert world.metric("vpp_plan_violations_total") == 0


async def test_a_call_is_lowered_and_then_stopped_while_it_runs(make_world: MakeWorld) -> None:
    world = await make_world(until=EVENT_START - CYCLE + MINUTE)
    opening, end = EVENT_START - 3 * CYCLE, EVENT_START + 24 * CYCLE
    await world.declare(240.0, start=opening, end=end)
    await world.service.approve(["night"], "approver-wang")
    await world.until(EVENT_START + 6 * CYCLE + MINUTE)
    assert world.event().notice_type is NoticeType.EMERGENCY
    assert -world.fleet_kw(EVENT_START, EVENT_START + 6 * CYCLE) == pytest.approx(240, rel=0.1)

    await world.service.change("night", 120.0, "operator-li", "the line is back")
    await world.until(EVENT_START + 16 * CYCLE + MINUTE)
    levels = by_cycle_kw(world, EVENT_START + 6 * CYCLE, EVENT_START + 16 * CYCLE)
    assert levels[0] < levels[-1], "in steps, not at once"
    assert -sum(levels[4:]) / len(levels[4:]) == pytest.approx(120, rel=0.1)

    await world.service.terminate("night", "operator-li", "enough")
    await world.until(EVENT_START + 22 * CYCLE + MINUTE)
    record = world.event()
    assert record.status is EventStatus.TERMINATED
    down = by_cycle_kw(world, EVENT_START + 17 * CYCLE, EVENT_START + 22 * CYCLE)
    assert down[-1] > -20, "nothing is held any more"
    largest = max(later - earlier for earlier, later in itertools.pairwise(down))
    assert largest <= 0.25 * 120 + 15, "nobody returns all at once"
    for each in world.aggregators.values():
        assert each.gateway.state.counts["answers"] == 0, "a call is no question"
