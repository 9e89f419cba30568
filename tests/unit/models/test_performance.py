from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputError
from models.events import Direction
from models.intervals import IntervalGrid
from models.resources import ResourceKind
from models.settlement.performance import (
    HourResult,
    JudgedEvent,
    Metered,
    by_hour,
    clock_hours,
    delivered_kw,
    in_band_share,
    judge_event,
    mean_over,
    price_alone_kw,
    rebound_by_hour,
    without_gaps,
)
from models.settlement.undispatched import from_start_at_full_power, undispatched_kw
from tests.fleets import random_problem

SHANGHAI, NEW_YORK = ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")
FIVE = timedelta(minutes=5)
START = datetime(2025, 7, 16, 12, tzinfo=SHANGHAI)
GRID = IntervalGrid.regular(START, FIVE, 12 * 10)
EVENT = (datetime(2025, 7, 16, 13, tzinfo=SHANGHAI), datetime(2025, 7, 16, 15, tzinfo=SHANGHAI))


def whole(power: np.ndarray) -> Metered:
    nothing = np.zeros(power.shape, dtype=bool)
    return Metered(power, nothing, nothing)


def judged(direction: Direction, ordered: float, members: list[bool], accepted: dict[str, float]) -> JudgedEvent:
    return JudgedEvent(
        event_id="e1",
        direction=direction,
        start=EVENT[0],
        end=EVENT[1],
        ordered_kw=np.where(GRID.inside(*EVENT), ordered, 0.0),
        members=np.array(members),
        accepted_kw={name: np.full(len(GRID), kw) for name, kw in accepted.items()},
    )


def test_delivery_is_baseline_less_meter_and_the_other_way_round_when_filling() -> None:
    b, m = np.array([[10.0]]), np.array([[7.0]])
    assert delivered_kw(b, m, Direction.SHAVE)[0, 0] == 3.0
    assert delivered_kw(b, m, Direction.FILL)[0, 0] == -3.0


def test_a_gap_of_a_quarter_hour_is_a_line_and_a_longer_one_delivers_nothing() -> None:
    baseline = np.full((2, len(GRID)), 100.0)
    power = np.full((2, len(GRID)), 60.0)
    power[0, 20] = 90.0
    power[0, 21:24] = np.nan  # 15 minutes
    power[1, 40:44] = np.nan  # 20 minutes
    done = without_gaps(power, baseline, GRID)
    np.testing.assert_allclose(done.power_kw[0, 21:24], [82.5, 75.0, 67.5])
    np.testing.assert_allclose(done.power_kw[1, 40:44], 100.0)
    assert done.interpolated.sum() == 3
    assert done.missing.sum() == 4
    assert np.isfinite(done.power_kw).all()


def test_a_gap_at_the_end_of_the_day_is_not_extrapolated() -> None:
    power = np.full((1, len(GRID)), 60.0)
    power[0, -1] = np.nan
    power[0, 0] = np.nan
    done = without_gaps(power, np.full((1, len(GRID)), 100.0), GRID)
    assert done.missing[0, [0, -1]].all()
    with pytest.raises(InputError, match="shapes must be"):
        without_gaps(power[:, 1:], power, GRID)


@pytest.mark.parametrize(
    ("day", "start", "hours"),
    [("2025-03-09", "01:00", 3), ("2025-11-02", "00:30", 5), ("2025-07-16", "00:30", 4)],
)
def test_clock_hours_cut_a_window_on_days_of_23_24_and_25_hours(day: str, start: str, hours: int) -> None:
    begin = datetime.fromisoformat(f"{day}T{start}").replace(tzinfo=NEW_YORK)
    end = begin.replace(hour=4, minute=0)  # on the clock
    cut = clock_hours(begin, end, NEW_YORK)
    assert cut[0][0] == begin
    assert cut[-1][1] == end
    assert all(a[1] == b[0] for a, b in pairwise(cut))
    full = [piece for piece in cut if piece[0].astimezone(NEW_YORK).minute == 0]
    assert all(b - a == timedelta(hours=1) for a, b in full)
    real = end.astimezone(UTC) - begin.astimezone(UTC)
    assert sum((b - a for a, b in cut), timedelta()) == real
    assert len(cut) == {3: 2, 5: 5, 4: 4}[hours]


def test_hours_follow_the_clock_of_a_half_hour_zone() -> None:
    zone = ZoneInfo("Asia/Kolkata")
    begin = datetime(2025, 7, 16, 18, 30, tzinfo=zone)
    cut = clock_hours(begin, begin + timedelta(hours=2), zone)
    assert [piece[0].astimezone(zone).strftime("%H:%M") for piece in cut] == ["18:30", "19:00", "20:00"]


def test_the_ratio_of_each_hour_is_energy_over_ordered_energy() -> None:
    members = [True, True, False]
    baseline = np.full((3, len(GRID)), 100.0)
    metered = baseline.copy()
    metered[0] -= np.where(GRID.inside(EVENT[0], EVENT[0] + timedelta(hours=1)), 50.0, 38.0)
    metered[1, 12:24] -= 5.0
    metered[2] -= 99.0  # outside the scope
    event = judged(Direction.SHAVE, 50.0, members, {"north": 40.0, "south": 10.0})
    found = judge_event(event, GRID, baseline, whole(metered), ["north", "south", "south"], SHANGHAI)
    assert found.ratio_by_hour == pytest.approx((1.1, 0.76))
    assert [hour.in_band for hour in found.hours] == [True, False]
    assert in_band_share(found.hours) == 0.5
    assert found.delivered_kw == pytest.approx((55 + 38) / 2)
    assert [hour.delivered_kw for hour in found.by_aggregator["north"]] == pytest.approx([50.0, 38.0])
    assert [hour.ratio for hour in found.by_aggregator["south"]] == pytest.approx([0.5, 0.0])
    assert found.hours[0].accuracy == pytest.approx(0.9)


def test_missing_readings_are_counted_inside_the_window_only() -> None:
    baseline = np.full((1, len(GRID)), 100.0)
    power = np.full((1, len(GRID)), 90.0)
    power[0, 14:20] = np.nan  # 30 minutes, inside
    power[0, 100:110] = np.nan  # after it
    event = judged(Direction.SHAVE, 10.0, [True], {})
    found = judge_event(event, GRID, baseline, without_gaps(power, baseline, GRID), ["a"], SHANGHAI)
    assert found.missing == 6
    assert found.ratio_by_hour[0] == pytest.approx(0.5)


def test_an_hour_without_an_order_has_no_ratio_and_is_no_miss() -> None:
    hour = HourResult(EVENT[0].astimezone(UTC), EVENT[1].astimezone(UTC), 0.0, 3.0)
    assert hour.ratio is None
    assert not hour.in_band
    assert in_band_share([hour]) is None


@pytest.mark.parametrize(("ratio", "inside"), [(0.9, True), (1.1, True), (0.8999, False), (1.1001, False)])
def test_the_band_includes_its_edges(ratio: float, inside: bool) -> None:
    assert HourResult(EVENT[0], EVENT[1], 100.0, 100.0 * ratio).in_band is inside


def test_rebound_is_the_mean_by_hour_after_the_event_outside_other_windows() -> None:
    change = np.zeros(len(GRID))
    after_h = GRID.tau_h - 3.0  # the event ends three hours into the grid
    change[(after_h >= 0) & (after_h < 1)] = 30.0
    change[(after_h >= 1) & (after_h < 2)] = 12.0
    assert rebound_by_hour(change, GRID, EVENT[1])[:3] == pytest.approx((30.0, 12.0, 0.0))
    assert len(rebound_by_hour(change, GRID, EVENT[1])) == 6
    other = (EVENT[1] + timedelta(minutes=90), EVENT[1] + timedelta(hours=2))
    change[(after_h >= 1.5) & (after_h < 2)] = -500.0
    assert rebound_by_hour(change, GRID, EVENT[1], [other])[1] == pytest.approx(12.0)


def test_the_rebound_list_ends_where_the_grid_ends() -> None:
    short = IntervalGrid.regular(START, FIVE, 12 * 5)
    assert len(rebound_by_hour(np.ones(60), short, EVENT[1])) == 2


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    resources=st.integers(1, 12),
    start=st.integers(0, 60),
    length=st.integers(1, 48),
    direction=st.sampled_from(Direction),
)
def test_sums_agree_and_directions_mirror(
    seed: int, resources: int, start: int, length: int, direction: Direction
) -> None:
    dice = np.random.default_rng(seed)
    b = dice.normal(50, 20, (resources, len(GRID)))
    m = dice.normal(50, 20, (resources, len(GRID)))
    window = (GRID.edges[start], GRID.edges[start + length])
    owners = [f"a{k % 3}" for k in range(resources)]
    order = dice.uniform(10, 50)
    event = JudgedEvent(
        *("e", direction, *window, np.full(len(GRID), order), np.ones(resources, dtype=bool)),
        {name: np.full(len(GRID), order / 3) for name in set(owners)},
    )
    found = judge_event(event, GRID, b, whole(m), owners, SHANGHAI)
    mirror = JudgedEvent(*("e", direction, *window, event.ordered_kw, event.members), event.accepted_kw)
    reversed_found = judge_event(mirror, GRID, m, whole(b), owners, SHANGHAI)
    assert found.delivered_kw == pytest.approx(-reversed_found.delivered_kw, abs=1e-9)
    for k, hour in enumerate(found.hours):
        total = sum(parts[k].delivered_kw for parts in found.by_aggregator.values())
        assert hour.delivered_kw == pytest.approx(total, abs=1e-6)
    energy = sum(hour.delivered_kw * ((hour.end - hour.start) / timedelta(hours=1)) for hour in found.hours)
    assert energy == pytest.approx(found.delivered_kw * length / 12, abs=1e-6)
    fill = Direction.FILL if direction is Direction.SHAVE else Direction.SHAVE
    assert price_alone_kw(m, b, GRID, window, direction) == pytest.approx(
        -price_alone_kw(m, b, GRID, window, fill), abs=1e-9
    )


@settings(max_examples=30, deadline=None)
@given(zone=st.sampled_from([NEW_YORK, SHANGHAI]), month_day=st.sampled_from([(3, 9), (11, 2), (7, 16)]))
def test_hours_of_a_whole_market_day_partition_it(zone: ZoneInfo, month_day: tuple[int, int]) -> None:
    grid = IntervalGrid.market_day(date(2025, *month_day), zone, FIVE)
    values = np.arange(len(grid), dtype=float)
    found = by_hour(values, np.ones(len(grid)), grid, (grid.start, grid.end), zone)
    assert len(found) == round(float(grid.hours.sum()))
    weighted = sum(hour.delivered_kw * ((hour.end - hour.start) / timedelta(hours=1)) for hour in found)
    assert weighted == pytest.approx(float(values @ grid.hours))
    assert mean_over(values, grid, grid.start, grid.end) == pytest.approx(values.mean())


def test_an_undispatched_car_charges_at_once_and_then_stops() -> None:
    grid = IntervalGrid.regular(START, timedelta(minutes=30), 8)
    power = from_start_at_full_power(grid, 0.25, 3.0, 7.0, 7.0 * 1.5)
    np.testing.assert_allclose(power, [3.5, 7.0, 7.0, 3.5, 0, 0, 0, 0])
    cut_off = from_start_at_full_power(grid, 0.25, 1.0, 7.0, 7.0 * 1.5)
    np.testing.assert_allclose(cut_off, [3.5, 7.0, 0, 0, 0, 0, 0, 0])
    assert not from_start_at_full_power(grid, 0.0, 3.0, 0.0, 5.0).any()


def test_undispatched_devices_of_all_kinds_do_what_their_definition_says() -> None:
    problem = random_problem(7, resources=24)
    table = undispatched_kw(problem)
    row_of = {name: row for row, name in enumerate(problem.fleet.resource_ids)}
    assert table.shape == (len(problem.fleet.resource_ids), len(problem.grid))
    seen = set()
    for resource in problem.fleet.rows():
        power = table[row_of[resource.resource_id]]
        seen.add(resource.kind)
        if resource.kind in (ResourceKind.STORAGE, ResourceKind.GENERATOR):
            assert not power.any()
        elif resource.kind is ResourceKind.PV:
            assert (power <= 0).all()
        elif resource.kind in (ResourceKind.EV_SESSION, ResourceKind.SHIFTABLE_LOAD):
            limit = getattr(resource, "charge_limit_kw", None) or resource.power_max_kw
            assert (power >= 0).all()
            assert (power <= limit + 1e-9).all()
        else:
            expected = problem.profiles[resource.baseline_profile] * resource.baseline_scale_kw
            np.testing.assert_allclose(power, expected)
    assert seen == set(ResourceKind)


def test_a_battery_that_discharges_at_the_dear_hour_was_already_helping() -> None:
    baseline = np.where(GRID.inside(*EVENT), -40.0, 10.0)[None, :]
    assert price_alone_kw(np.zeros_like(baseline), baseline, GRID, EVENT) == pytest.approx(40.0)
