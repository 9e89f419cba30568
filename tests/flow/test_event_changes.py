"""What an operator does to an event under way: other targets, calling it off; and events that share resources."""

from datetime import timedelta

import numpy as np
import pytest

from models.errors import AccessError, EventStateError, InputError
from models.events import NoticeType, ScopeKind
from models.intervals import IntervalGrid
from models.life_cycle import EventStatus
from simulations.wire.gateway import Answer
from tests.flow.conftest import MakeWorld, World
from tests.flow.small_city import CYCLE, EVENT_END, EVENT_START, MINUTE

JUDGED = EVENT_END + timedelta(hours=6, minutes=31)


def delivered_kw(world: World, cycles: int, *, count: int = 1) -> float:
    """What all batteries really gave in cycles of the event, without the first minute's switching."""
    begin = EVENT_START + cycles * CYCLE
    return -world.fleet_kw(begin + MINUTE, begin + count * CYCLE)


def ratios(world: World, event_id: str = "night") -> list[float]:
    evaluation = world.event(event_id).evaluation
    assert evaluation is not None
    found = evaluation["ratio_by_hour"]
    assert isinstance(found, list)
    return found


async def test_a_running_event_is_lowered_at_once_in_steps_and_judged_by_what_was_ordered_then(
    make_world: MakeWorld,
) -> None:
    world = await make_world()
    before = await world.order(300.0)
    assert before.notice_type is NoticeType.DAY_AHEAD
    await world.until(EVENT_START + timedelta(minutes=22))
    record = await world.service.change("night", 150.0, "operator-li", "the line is back")
    assert (record.event.target_kw, record.status) == (150.0, EventStatus.ADJUSTED)
    (change,) = record.changes
    assert (change.before_kw, change.after_kw, change.by, change.reason) == (
        300,
        150,
        "operator-li",
        "the line is back",
    )
    assert change.effective_from == EVENT_START + 5 * CYCLE
    await world.clock.settle()
    for name, each in world.aggregators.items():
        assert [notice.status for notice in each.gateway.state.notices] == ["notified", "changed"]
        assert each.gateway.state.notices[-1].share_kw == pytest.approx(before.share_kw[name] / 2, abs=0.01)
        assert each.gateway.state.notices[-1].reason == "the line is back"

    await world.until(EVENT_START + 6 * CYCLE + MINUTE)
    assert world.event().status is EventStatus.EXECUTING  # the order stands where it was wanted
    assert [(each.status.value, each.by) for each in world.event().steps[-2:]] == [
        ("adjusted", "operator-li"),
        ("executing", "service"),
    ]
    await world.until(EVENT_END + CYCLE)
    steps = [delivered_kw(world, k) for k in range(4, 8)]
    assert steps == pytest.approx([300, 225, 150, 150], abs=40)
    await world.until(JUDGED)
    assert ratios(world) == pytest.approx([1.0], abs=0.1)
    evaluation = world.event().evaluation
    assert evaluation is not None
    assert evaluation["ordered_kw"] == pytest.approx((5 * 300 + 225 + 6 * 150) / 12)
    audit = [(line.actor, line.action) for line in world.service.store.audit_log(subject="night")]
    assert ("operator-li", "event change made") in audit
    assert world.metric("vpp_plan_violations_total") == 0


async def test_more_waits_for_a_second_person_and_then_goes_up_in_steps(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(150.0)
    await world.until(EVENT_START + timedelta(minutes=11))
    record = await world.service.change("night", 300.0, "operator-li", "another unit has tripped")
    assert record.event.target_kw == 150
    assert record.waiting_change is not None
    with pytest.raises(AccessError, match="second person"):
        await world.service.approve(["night"], "operator-li")
    await world.until(EVENT_START + timedelta(minutes=21))
    assert delivered_kw(world, 3) == pytest.approx(150, abs=25)  # nothing has happened yet
    (record,) = await world.service.approve(["night"], "approver-wang")
    assert (record.event.target_kw, record.status, record.steps[-1].by) == (300, EventStatus.ADJUSTED, "approver-wang")
    assert [(each.by, each.approved_by) for each in record.changes] == [("operator-li", "approver-wang")]
    with pytest.raises(EventStateError, match="nothing of it waits"):
        await world.service.approve(["night"], "approver-wang")
    await world.until(EVENT_END)
    assert [delivered_kw(world, k) for k in range(4, 8)] == pytest.approx([150, 225, 300, 300], abs=40)
    actions = [(line.actor, line.action) for line in world.service.store.audit_log(subject="night")]
    assert ("operator-li", "event change asked for") in actions
    assert ("approver-wang", "event change made") in actions


async def test_less_can_be_ordered_while_more_waits(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(150.0)
    await world.service.change("night", 300.0, "operator-li", "a slip of the hand")
    record = await world.service.change("night", 120.0, "operator-li", "meant was this")
    assert record.waiting_change is None
    assert record.event.target_kw == 120
    asked_again = [each.status.value for each in record.steps[-2:]]
    assert asked_again == ["preparing", "notified"]  # who had said yes to another amount is asked
    with pytest.raises(InputError, match="cancel the event instead"):
        await world.service.change("night", 0.0, "operator-li", "none at all")
    with pytest.raises(InputError, match="is the order already"):
        await world.service.change("night", 120.0, "operator-li", "the same")


async def test_an_event_to_come_is_shared_anew_and_who_declined_stays_out(make_world: MakeWorld) -> None:
    world = await make_world()
    world.aggregators["alpha"].policy = lambda _: Answer("decline")
    await world.order(150.0)
    await world.service.change("night", 210.0, "operator-li", "hotter than thought")
    await world.service.approve(["night"], "approver-wang")
    await world.clock.settle()
    await world.until(EVENT_START)
    record = world.event()
    assert record.accepted_kw["alpha"] == 0
    assert sum(kw or 0 for kw in record.accepted_kw.values()) == pytest.approx(210, rel=0.02)
    last = {name: each.gateway.state.notices[-1] for name, each in world.aggregators.items()}
    assert {notice.status for notice in last.values()} == {"changed"}
    await world.until(EVENT_END)
    assert -world.aggregators["alpha"].mean_kw(EVENT_START, EVENT_END) == pytest.approx(0, abs=3)
    assert -world.fleet_kw(EVENT_START + MINUTE, EVENT_END) == pytest.approx(210, rel=0.1)


async def test_after_a_kill_the_changed_order_goes_on(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(300.0)
    await world.until(EVENT_START + timedelta(minutes=22))
    await world.service.change("night", 150.0, "operator-li", "the line is back")
    await world.kill_service()
    await world.start_service()
    await world.service.link.wait_connected()
    grid = IntervalGrid.regular(EVENT_START, CYCLE, 12)
    assert world.event().event.target_kw == 150
    ordered = world.service.runtime.events.ordered_kw(world.event(), grid)
    assert ordered.tolist() == pytest.approx([300] * 5 + [225] + [150] * 6)
    accepted = sum(world.service.runtime.events.accepted_on("night", grid).values(), np.zeros(12))
    assert accepted == pytest.approx(ordered, rel=0.05)  # commitments follow the order
    await world.until(EVENT_END)
    assert delivered_kw(world, 7, count=4) == pytest.approx(150, abs=25)


async def test_calling_off_what_runs_names_the_way(make_world: MakeWorld) -> None:
    world = await make_world()
    await world.order(200.0)
    await world.until(EVENT_START + CYCLE + MINUTE)
    with pytest.raises(EventStateError, match="terminate it instead"):
        await world.service.cancel("night", "operator-li", "the heat breaks")
    assert world.event().status is EventStatus.EXECUTING
    await world.service.change("night", 100.0, "operator-li", "half will do")
    await world.until(EVENT_START + 3 * CYCLE + MINUTE)
    await world.service.terminate("night", "operator-li", "none will do")
    await world.until(EVENT_START + 8 * CYCLE)
    # changed at 10 min: 150, then 100; stopped at 16 min: held until 20, then 75, 50, 25 % of 100
    steps = [delivered_kw(world, k) for k in range(1, 8)]
    assert steps == pytest.approx([200, 150, 100, 75, 50, 25, 0], abs=35)
    with pytest.raises(EventStateError, match="only an event to come or running"):
        await world.service.change("night", 50.0, "operator-li", "too late")


@pytest.mark.parametrize(
    ("scope", "inner_kw", "outer_scope"),
    [
        ((ScopeKind.ZONE, "west"), 120.0, (ScopeKind.CITY, "")),
        ((ScopeKind.ZONE, "west"), 120.0, (ScopeKind.PILLAR, "source")),  # chargers are in one, the east in the other
    ],
)
async def test_two_events_that_share_resources_are_both_in_band_and_no_kw_is_paid_twice(
    make_world: MakeWorld, scope: tuple[ScopeKind, str], inner_kw: float, outer_scope: tuple[ScopeKind, str]
) -> None:
    world = await make_world()
    later = EVENT_START + 3 * CYCLE
    inner = {"event_id": "inner", "scope_kind": scope[0], "scope_id": scope[1], "start": later}
    outer = {"event_id": "outer", "scope_kind": outer_scope[0], "scope_id": outer_scope[1]}
    await world.order(inner_kw, **inner)
    await world.order(240.0, **outer)
    await world.until(JUDGED)
    for name in ("inner", "outer"):
        assert world.event(name).status is EventStatus.EVALUATED
        assert ratios(world, name) == pytest.approx([1.0], abs=0.1)
    assert world.metric("vpp_plan_violations_total") == 0
    first, second = world.event("inner").evaluation, world.event("outer").evaluation
    assert first is not None
    assert second is not None
    # a kW in the west is a kW of the wider event too: it is asked for once, and credited once
    both_kw = -world.fleet_kw(later, EVENT_END)
    assert both_kw == pytest.approx(240, rel=0.1)
    assert first["credited_kw"] == pytest.approx(first["delivered_kw"], abs=5)
    inner_share = (EVENT_END - later) / (EVENT_END - EVENT_START)
    total = second["credited_kw"] + inner_share * first["credited_kw"]  # type: ignore[operator]
    assert total == pytest.approx(second["delivered_kw"], abs=15)  # two chargers of 7 kW are in the inner one only
