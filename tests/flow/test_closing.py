"""From the meters of an event to money: a statement by itself, disputed, corrected, settled, and what may not be."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from models.errors import AccessError, EventStateError, InputError
from models.life_cycle import EventStatus
from models.settlement.issued import IssuedStatement
from tests.flow.conftest import World, really
from tests.flow.small_city import EVENT_END, EVENT_START
from vpp.closing.desk import ClosingDesk, Correction
from vpp.closing.readings import MeterCorrection

MakeWorld = Callable[..., Awaitable[World]]
JUDGED = EVENT_END + timedelta(hours=6, minutes=31)
TERMS = {
    "settlement": {
        "direct_price_cny_per_kwh": "1.5",
        "contracts": {"alpha": {"price_share_fraction": "0.8"}},
        "objection_days": 0.0,
        "archive_after_days": 0.0,
    }
}


async def judged(make_world: MakeWorld, **changes: object) -> World:
    world = await make_world(**(TERMS | changes))
    await world.order(300.0)
    await world.until(JUDGED)
    assert world.event().status is EventStatus.EVALUATED
    return world


def newest(world: World) -> IssuedStatement:
    found = world.service.store.statement("night")
    assert found is not None
    return found


async def test_an_event_is_settled_from_its_own_record_and_goes_its_whole_way(make_world: MakeWorld) -> None:
    world = await judged(make_world)
    desk, store = world.service.runtime.closing, world.service.store
    one = newest(world)
    assert one.is_reproduced()
    assert (one.statement.version, one.made_by, one.rule.name) == (1, "service", "sichuan_market_v1@1")

    # what is awarded is what aggregators accepted, and what was delivered is what the evaluation says
    owned: dict[str, float] = {}
    for name, award_wh in zip(one.inputs.aggregator_ids, one.inputs.award_wh.sum(axis=1).tolist(), strict=True):
        assert name is not None
        owned[name] = owned.get(name, 0.0) + award_wh / 1000
    hours = (EVENT_END - EVENT_START) / timedelta(hours=1)
    accepted = {name: (kw or 0.0) * hours for name, kw in world.event().accepted_kw.items()}
    assert owned == pytest.approx(accepted, rel=1e-3)
    evaluation = world.event().evaluation
    assert evaluation is not None
    delivered_kwh = float((one.inputs.baseline_wh - one.inputs.metered_wh).sum()) / 1000
    assert delivered_kwh == pytest.approx(float(str(evaluation["delivered_kw"])) * hours, rel=0.05)
    # nearly the whole order at 1.5 CNY/kWh, of which users of alpha get four fifths
    assert one.lines.market_total_cny() == pytest.approx(Decimal(str(300 * hours * 1.5)), rel=Decimal("0.12"))
    assert one.lines.margins_cny()["alpha"] > 0
    assert one.lines.margins_cny()["beta"] == 0

    await disputed_and_corrected(world, desk, one)
    with pytest.raises(AccessError, match="second person"):
        await desk.settle("night", "operator-li")
    await desk.settle("night", "approver-wang")
    await desk.dispute("night", "alpha", "found in the yearly audit", aggregator_id="alpha")
    await desk.publish("night", "operator-li")
    await desk.settle("night", "approver-wang")
    await world.clock.settle()
    told = world.aggregators["alpha"].gateway.market.statements["night"][-1]
    assert (told.version, told.status, told.sha256) == (3, "settled", newest(world).sha256)
    assert world.event().status is EventStatus.SETTLED
    await desk.tick()
    assert world.event().status is EventStatus.ARCHIVED
    with pytest.raises(EventStateError, match="only nothing may follow"):
        await desk.dispute("night", "operator-li", "too late")
    (first, *_) = issued_lines = [
        line for line in store.audit_log(subject="night") if line.action == "statement issued"
    ]
    assert (first.actor, first.details["sha256"]) == ("service", one.sha256)
    assert [line.details["version"] for line in issued_lines] == [1, 2, 3]


async def disputed_and_corrected(world: World, desk: ClosingDesk, one: IssuedStatement) -> None:
    """A dispute ends in a version that names the one before, and never in another version of the same number."""
    store = world.service.store
    with pytest.raises(EventStateError, match="only published may follow"):
        await desk.dispute("night", "alpha", "before it was shown", aggregator_id="alpha")
    await desk.publish("night", "operator-li")
    mine = next(
        name for name, owner in zip(one.inputs.resource_ids, one.inputs.aggregator_ids, strict=True) if owner == "alpha"
    )
    others = next(
        name for name, owner in zip(one.inputs.resource_ids, one.inputs.aggregator_ids, strict=True) if owner == "beta"
    )
    with pytest.raises(InputError, match="and yours"):
        await desk.dispute("night", "alpha", "a stranger's", aggregator_id="alpha", resource_id=others)
    with pytest.raises(InputError, match="must be one that the statement pays"):
        await desk.dispute("night", "nobody", "whose?", aggregator_id="nobody")
    market = world.aggregators["alpha"].gateway.market
    await world.clock.settle()
    assert [(each.version, each.status) for each in market.statements["night"]] == [(1, "issued")]
    market.dispute("night", 1, "our meter says more", mine)
    await really(lambda: world.event().status is EventStatus.DISPUTED)
    await desk.dispute("night", "beta", "ours too", aggregator_id="beta")
    assert world.event().status is EventStatus.DISPUTED
    with pytest.raises(EventStateError, match="only published may follow"):
        await desk.settle("night", "approver-wang")

    start = one.inputs.grid.start
    row = one.inputs.resource_ids.index(mine)
    read = MeterCorrection(
        resource_id=mine,
        interval_start=start,
        metered_kwh=float(one.inputs.metered_kwh[row, 0]) - 1.0,
        source="read at the meter",
    )
    with pytest.raises(InputError, match="must be a resource of the statement"):
        await desk.correct(
            "night", "operator-li", Correction("x", meters=[read.model_copy(update={"resource_id": "no"})])
        )
    two = await desk.correct("night", "operator-li", Correction("read at the meter", meters=[read]))
    assert (two.statement.version, two.statement.corrects, two.statement.reason) == (2, 1, "read at the meter")
    changed = two.inputs.metered_wh != one.inputs.metered_wh
    assert changed.sum() == 1
    assert (two.inputs.metered_wh - one.inputs.metered_wh)[row, 0] == -1000
    assert world.event().status is EventStatus.PUBLISHED
    assert newest(world).sha256 == two.sha256
    first = store.statement("night", 1)
    assert first is not None
    assert first.sha256 == one.sha256
    assert [(each.answer, each.corrected_version) for each in store.disputes("night")] == [("read at the meter", 2)] * 2

    await desk.dispute("night", "alpha", "once more", aggregator_id="alpha")
    await desk.publish("night", "operator-li")  # it stands
    assert [each.answer for each in store.disputes("night")][-1] == "the statement stands as it was"
    again = await _corrected_again(desk)
    assert again.inputs.digests == one.inputs.digests  # what the database has gives what it gave


async def _corrected_again(desk: ClosingDesk) -> IssuedStatement:
    await desk.dispute("night", "operator-li", "are late readings in by now?")
    return await desk.correct("night", "operator-li", Correction("read again", again=True))


async def test_without_a_price_somebody_has_to_name_one_and_a_restart_forgets_nothing(make_world: MakeWorld) -> None:
    world = await judged(make_world, settlement={"objection_days": 0.02})
    desk = world.service.runtime.closing
    assert world.service.store.statements("night") == []
    with pytest.raises(EventStateError, match="issue one first"):
        await desk.publish("night", "operator-li")
    made = await desk.issue("night", Decimal(2), "operator-li")
    assert set(made.inputs.clearing_cny_per_kwh) == {Decimal(2)}
    with pytest.raises(InputError, match="has a statement already"):
        await desk.issue("night", Decimal(3), "operator-li")
    await desk.publish("night", "operator-li")
    with pytest.raises(EventStateError, match="it may be disputed until"):
        await desk.settle("night", "approver-wang")

    await world.kill_service()
    await world.start_service()
    await world.until(world.clock.now() + timedelta(minutes=30))
    desk = world.service.runtime.closing
    await desk.settle("night", "approver-wang")
    assert newest(world).sha256 == made.sha256
    with pytest.raises(InputError, match="names no event"):
        await desk.publish("no-such", "operator-li")
