"""Grids: market days of 23, 24 and 25 hours, the real-time horizon, means, overlaps and edges."""

import itertools
import math
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputError
from models.intervals import IntervalGrid

BERLIN, SHANGHAI, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")
T0 = datetime(2025, 7, 16, tzinfo=UTC)
QUARTER, HALF = timedelta(minutes=15), timedelta(minutes=30)
MICRO = timedelta(microseconds=1)


@st.composite
def grids(draw: st.DrawFn) -> IntervalGrid:
    start = T0 + timedelta(minutes=draw(st.integers(-600, 600)))
    lengths = draw(st.lists(st.integers(1, 120), min_size=1, max_size=12))
    return IntervalGrid(tuple(start + timedelta(minutes=sum(lengths[:k])) for k in range(len(lengths) + 1)))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        (BERLIN, date(2025, 3, 30), 23),
        (BERLIN, date(2025, 7, 16), 24),
        (BERLIN, date(2025, 10, 26), 25),
        (NEW_YORK, date(2025, 3, 9), 23),
        (NEW_YORK, date(2013, 7, 19), 24),
        (NEW_YORK, date(2025, 11, 2), 25),
        (SHANGHAI, date(2025, 3, 30), 24),
        (SHANGHAI, date(2025, 10, 26), 24),
    ],
)
def test_a_market_day_has_the_hours_of_its_zone(zone: ZoneInfo, day: date, hours: int) -> None:
    grid = IntervalGrid.market_day(day, zone, QUARTER)
    assert len(grid) == 4 * hours
    assert {edge.astimezone(zone).date() for edge in grid.starts} == {day}
    assert grid.start.astimezone(zone).replace(tzinfo=None) == datetime.combine(day, datetime.min.time())
    assert grid.end.astimezone(zone).replace(tzinfo=None) == datetime.combine(
        day + timedelta(days=1), datetime.min.time()
    )
    assert set(grid.hours) == {0.25}
    assert all(edge.tzinfo is UTC for edge in grid.edges)


@pytest.mark.parametrize("zone", [BERLIN, SHANGHAI, NEW_YORK])
def test_the_days_of_a_year_join_without_gap_or_overlap(zone: ZoneInfo) -> None:
    days = [IntervalGrid.market_day(date(2025, 1, 1) + timedelta(days=k), zone, QUARTER) for k in range(365)]
    assert all(before.end == after.start for before, after in itertools.pairwise(days))
    assert sum(len(day) for day in days) == 365 * 96


def test_a_market_day_goes_on_to_a_later_moment_and_never_ends_earlier() -> None:
    later = datetime(2025, 7, 17, 4, 50, tzinfo=SHANGHAI)
    grid = IntervalGrid.market_day(date(2025, 7, 16), SHANGHAI, QUARTER, until=later)
    assert grid.end == datetime(2025, 7, 17, 5, 0, tzinfo=SHANGHAI)
    same = IntervalGrid.market_day(date(2025, 7, 16), SHANGHAI, QUARTER, until=T0)
    assert len(same) == 96


def real_time_faults(grid: IntervalGrid, now: datetime, windows: list[tuple[datetime, datetime]]) -> list[str]:
    """The rules of the real-time horizon, written down a second time; what is broken, by name."""
    coarse_from = now + timedelta(hours=2)
    over = timedelta(minutes=coarse_from.minute % 30, seconds=coarse_from.second, microseconds=coarse_from.microsecond)
    coarse_from += (HALF - over) if over else timedelta()
    splits = {edge for window in windows for edge in window}
    broken = []
    if grid.start != now:
        broken.append("starts now")
    if coarse_from not in grid.edges:
        broken.append("changes at the half hour")
    for start, end in zip(grid.starts, grid.ends, strict=True):
        if end <= coarse_from:
            regular = (start - now) % timedelta(minutes=5) == timedelta() or start in splits
            whole = end - start == timedelta(minutes=5) or end in splits or start in splits or end == coarse_from
        else:
            regular = start.minute % 30 == start.second == start.microsecond == 0 or start in splits
            whole = end - start == HALF or end in splits or start in splits
        if not (regular and whole):
            broken.append(f"steps at {start}")
        if any(start < edge < end for edge in splits):
            broken.append(f"split inside {start}")
    if grid.end < now + timedelta(hours=14):
        broken.append("14 h")
    for begin, end in windows:
        if begin < grid.end and grid.end < end + timedelta(hours=6):
            broken.append(f"6 h past {end}")
    latest = max([now + timedelta(hours=14), *(end + timedelta(hours=6) for begin, end in windows if begin < grid.end)])
    if grid.end - latest >= HALF:
        broken.append("no further than that")
    return broken


@given(
    st.integers(0, 24 * 12 - 1),
    st.lists(st.tuples(st.integers(-60, 300), st.integers(1, 72)), max_size=3),
)
@settings(max_examples=80, deadline=None)
def test_the_real_time_horizon_keeps_its_rules(five_minutes: int, raw: list[tuple[int, int]]) -> None:
    now = T0 + timedelta(minutes=5 * five_minutes)
    windows = [
        (now + timedelta(minutes=5 * first), now + timedelta(minutes=5 * (first + length))) for first, length in raw
    ]
    grid = IntervalGrid.real_time(now, windows=windows)
    assert real_time_faults(grid, now, windows) == []


@given(st.integers(0, 86_400_000_000))
@settings(max_examples=40, deadline=None)
def test_the_real_time_horizon_may_begin_at_any_moment(microseconds: int) -> None:
    now = T0 + timedelta(microseconds=microseconds)
    assert real_time_faults(IntervalGrid.real_time(now), now, []) == []


def test_a_window_that_begins_in_the_part_added_for_another_counts_too() -> None:
    first = (T0 + timedelta(hours=13), T0 + timedelta(hours=15))  # reaches to 21:00
    second = (T0 + timedelta(hours=20), T0 + timedelta(hours=22))  # reaches to 28:00
    assert IntervalGrid.real_time(T0, windows=[second, first]).end == T0 + timedelta(hours=28)
    beyond = (T0 + timedelta(hours=14), T0 + timedelta(hours=15))  # begins at the end, not inside
    assert IntervalGrid.real_time(T0, windows=[beyond]).end == T0 + timedelta(hours=14)


def test_windows_may_be_told_in_any_zone() -> None:
    window = (datetime(2025, 7, 16, 13, 10, tzinfo=SHANGHAI), datetime(2025, 7, 16, 14, 10, tzinfo=SHANGHAI))
    grid = IntervalGrid.real_time(T0, windows=[window])
    assert {edge.astimezone(UTC) for edge in window} <= set(grid.edges)
    assert all(edge.tzinfo is UTC for edge in grid.edges)


@given(grids(), grids(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_mean_conserves_energy_wherever_the_other_grid_reaches(a: IntervalGrid, b: IntervalGrid, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-50, 50, (3, len(a)))
    means = b.mean_from(a, values)
    assert means.shape == (3, len(b))
    covered = np.array([a.overlap_h(s, e).sum() for s, e in zip(b.starts, b.ends, strict=True)])
    assert np.array_equal(np.isnan(means[0]), covered < 1e-9)
    got = np.nansum(means * covered, axis=1)
    shared = b.overlap_h(b.start, b.end).sum()
    assert shared == pytest.approx(b.hours.sum())
    inside_h = np.array([b.overlap_h(s, e).sum() for s, e in zip(a.starts, a.ends, strict=True)])
    assert got == pytest.approx(values @ inside_h)


def test_a_hole_or_an_infinity_spoils_only_what_it_touches() -> None:
    fine = IntervalGrid.regular(T0, QUARTER, 8)
    coarse = IntervalGrid.regular(T0, HALF, 4)
    values = np.array([1.0, 3.0, np.nan, 2.0, 5.0, 5.0, np.inf, 1.0])
    assert np.array_equal(coarse.mean_from(fine, values), [2.0, np.nan, 5.0, np.inf], equal_nan=True)
    limits = np.array([[np.inf, 4.0, -np.inf, 2.0]])
    finer = fine.mean_from(coarse, limits)
    assert np.array_equal(finer, np.repeat(limits, 2, axis=1))


@given(grids(), st.integers(-700, 1500), st.integers(0, 900))
@settings(max_examples=60, deadline=None)
def test_overlaps_sum_to_the_shared_time_and_follow_neighbours(grid: IntervalGrid, first: int, length: int) -> None:
    start, end = T0 + timedelta(minutes=first), T0 + timedelta(minutes=first + length)
    overlap = grid.overlap_h(start, end)
    shared = max(0.0, (min(end, grid.end) - max(start, grid.start)).total_seconds() / 3600)
    assert overlap.sum() == pytest.approx(shared, abs=1e-9)
    assert (overlap >= 0).all()
    assert (overlap <= grid.hours + 1e-9).all()
    middle = start + (end - start) / 2
    assert grid.overlap_h(start, middle) + grid.overlap_h(middle, end) == pytest.approx(overlap, abs=1e-9)
    inside = grid.inside(start, end)
    assert (np.abs(overlap[inside] - grid.hours[inside]) < 1e-9).all()
    assert not (overlap[~inside] >= grid.hours[~inside] - 1e-9).any()
    assert (grid.overlap_h(end, start) == 0).all()


@given(grids())
@settings(max_examples=40, deadline=None)
def test_an_interval_begins_at_its_edge_and_ends_before_the_next(grid: IntervalGrid) -> None:
    for k, (start, end) in enumerate(zip(grid.starts, grid.ends, strict=True)):
        assert grid.index_at(start) == grid.index_at(end - MICRO) == k
    assert grid.index_at(grid.start - MICRO) is None
    assert grid.index_at(grid.end) is None
    assert grid.hours.sum() == pytest.approx(grid.offsets_h[-1])
    assert np.array_equal(grid.tau_h, grid.offsets_h[:-1])


def test_intervals_of_equal_length_have_exactly_equal_hours() -> None:
    for minutes in (1, 5, 10, 15):
        assert len(set(IntervalGrid.regular(T0, timedelta(minutes=minutes), 500).hours)) == 1


def test_edges_of_an_autumn_night_are_ordered_by_the_instant_not_by_the_wall_clock() -> None:
    before = datetime(2025, 10, 26, 2, 45, tzinfo=BERLIN)
    after = datetime(2025, 10, 26, 2, 15, fold=1, tzinfo=BERLIN)
    assert IntervalGrid((before, after)).hours == pytest.approx([0.5])
    with pytest.raises(InputError, match="strictly rising"):
        IntervalGrid((after, datetime(2025, 10, 26, 2, 50, tzinfo=BERLIN)))


@pytest.mark.parametrize(
    ("edges", "rule"),
    [
        ((T0,), "needs at least two edges"),
        ((), "needs at least two edges"),
        ((T0, T0), "must be strictly rising"),
        ((T0, T0 - MICRO), "must be strictly rising"),
        ((T0.replace(tzinfo=None), T0), "must be aware times"),
        ((T0, T0.replace(tzinfo=None) + HALF), "must be aware times"),
    ],
)
def test_edges_that_make_no_grid_are_refused(edges: tuple[datetime, ...], rule: str) -> None:
    with pytest.raises(InputError, match=f"grid, edges: {rule}"):
        IntervalGrid(edges)


def test_naive_times_are_refused_wherever_a_grid_is_made() -> None:
    naive = T0.replace(tzinfo=None)
    with pytest.raises(InputError, match="start: must be aware"):
        IntervalGrid.regular(naive, QUARTER, 4)
    with pytest.raises(InputError, match="until: must be aware"):
        IntervalGrid.market_day(date(2025, 7, 16), SHANGHAI, QUARTER, until=naive)
    with pytest.raises(InputError, match="now: must be aware"):
        IntervalGrid.real_time(naive)
    with pytest.raises(InputError, match="windows: must be aware"):
        IntervalGrid.real_time(T0, windows=[(naive, naive + HALF)])


def test_a_part_of_a_grid_is_contiguous() -> None:
    grid = IntervalGrid.regular(T0, QUARTER, 6)
    assert grid.restrict([False, True, True, False, False, False]).edges == grid.edges[1:4]
    assert grid.restrict([True] * 6) == grid
    for keep in ([False] * 6, [True, False, True, False, False, False]):
        with pytest.raises(InputError, match="one contiguous part"):
            grid.restrict(keep)


def test_the_same_instants_in_other_zones_are_the_same_grid() -> None:
    east = timezone(timedelta(hours=8))
    here = IntervalGrid.regular(T0, QUARTER, 4)
    assert IntervalGrid(tuple(edge.astimezone(east) for edge in here.edges)) == here
    assert IntervalGrid.regular(T0.astimezone(east), QUARTER, 4) == here
    assert math.isclose(here.hours_since_start(T0.astimezone(east) - HALF), -0.5)
