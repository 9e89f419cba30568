"""The level of weather-driven loads follows the day by a rule that is frozen with the table, and nobody can move it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from adapters.store import Store
from models.intervals import FloatArray, IntervalGrid
from models.records import BaselineTable
from models.settlement.level import LevelLine
from tests.live import battery, plan_made, registered, thermal
from vpp.forecasting import CityFeed, CityForecast
from vpp.levels import DayLevels
from vpp.state import LiveState

ZONE = ZoneInfo("Asia/Shanghai")
DAY = date(2025, 7, 16)
MIDNIGHT = datetime(2025, 7, 15, 16, tzinfo=UTC)
HOUR = timedelta(hours=1)
LINE = LevelLine((100.0, 110.0, 120.0, 130.0, 140.0), (10.0, 11.0, 12.0, 13.0, 14.0), 120.0, 12.0)
"""E = 10 C: a day of 12 kW has 120 kWh."""
GRID = IntervalGrid.regular(MIDNIGHT, timedelta(minutes=15), 120)
NAMES = ("battery", "cool")


class Feed:
    """A city that draws ``real_kw`` and is forecast to draw ``ahead_kw`` from now on."""

    def __init__(self, real_kw: float, ahead_kw: float, *, has_meters: bool = True) -> None:
        self.real_kw, self.ahead_kw, self.has_meters = real_kw, ahead_kw, has_meters

    def forecast(self, _: datetime, grid: IntervalGrid) -> CityForecast:
        return CityForecast(("z",), np.full((1, len(grid)), self.ahead_kw), np.full((1, len(grid)), np.inf), {}, {})

    def measured(self, decision_time: datetime, grid: IntervalGrid) -> FloatArray | None:
        assert grid.end <= decision_time
        return np.full(len(grid), self.real_kw) if self.has_meters else None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as made:
        made.migrate()
        yield made


def levels_of(store: Store, feed: Feed) -> DayLevels:
    state = LiveState([registered(battery("battery")), registered(thermal("cool"))])
    return DayLevels(store=store, state=state, feed=cast(CityFeed, feed), zone=ZONE)


def table() -> BaselineTable:
    return BaselineTable(DAY, GRID, NAMES, np.full((2, len(GRID)), 6.0), "hash")


async def test_it_follows_what_the_meters_show_and_only_air_conditioning_from_then_on(store: Store) -> None:
    levels = levels_of(store, Feed(real_kw=13.0, ahead_kw=12.0))
    levels.note(DAY, LINE)
    noon = MIDNIGHT + 12 * HOUR
    assert levels.applied(table()) is not None
    assert np.array_equal(levels.applied(table()).baseline_kw, table().baseline_kw)
    await levels.update(noon)
    counts = levels.applied(table())
    at_noon = GRID.index_at(noon)
    assert counts.baseline_hash == "hash"
    assert np.array_equal(counts.baseline_kw[0], table().baseline_kw[0]), "a battery is not driven by the weather"
    assert np.array_equal(counts.baseline_kw[1, :at_noon], table().baseline_kw[1, :at_noon]), "what has been stays"
    assert counts.baseline_kw[1, at_noon:] == pytest.approx(6.0 * 12.5 / 12)  # half a day of 13 kW, half of 12


async def test_one_step_an_hour_and_what_was_judged_stays(store: Store) -> None:
    feed = Feed(real_kw=13.0, ahead_kw=12.0)
    levels = levels_of(store, feed)
    levels.note(DAY, LINE)
    for quarter in range(8):
        await levels.update(MIDNIGHT + 12 * HOUR + quarter * timedelta(minutes=15))
    feed.real_kw = 14.0
    await levels.update(MIDNIGHT + 12 * HOUR)
    steps = store.levels(DAY)
    assert [step.valid_from for step in steps] == [MIDNIGHT + 12 * HOUR, MIDNIGHT + 13 * HOUR]
    assert [step.factor for step in steps] == pytest.approx([12.5 / 12, (13 * 13 + 12 * 11) / 24 / 12])


async def test_a_restart_finds_the_same(store: Store) -> None:
    before = levels_of(store, Feed(real_kw=13.0, ahead_kw=12.0))
    before.note(DAY, LINE)
    await before.update(MIDNIGHT + 12 * HOUR)
    after = levels_of(store, Feed(real_kw=1.0, ahead_kw=1.0))
    assert np.array_equal(after.applied(table()).baseline_kw, table().baseline_kw)
    after.restore(DAY)
    assert np.array_equal(after.applied(table()).baseline_kw, before.applied(table()).baseline_kw)


async def test_without_the_citys_meters_the_table_counts_as_it_is(store: Store) -> None:
    levels = levels_of(store, Feed(real_kw=13.0, ahead_kw=13.0, has_meters=False))
    levels.note(DAY, LINE)
    await levels.update(MIDNIGHT + 12 * HOUR)
    assert store.levels(DAY) == []
    unknown = levels_of(store, Feed(real_kw=13.0, ahead_kw=13.0))
    await unknown.update(MIDNIGHT + 36 * HOUR)  # a day without a line
    assert np.array_equal(unknown.applied(table()).baseline_kw, table().baseline_kw)


async def test_the_day_plan_moves_with_its_baseline_and_never_below_nothing(store: Store) -> None:
    levels = levels_of(store, Feed(real_kw=11.0, ahead_kw=11.0))
    levels.note(DAY, LINE)
    await levels.update(MIDNIGHT + 12 * HOUR)
    power_kw = np.full((2, len(GRID)), 4.0)
    power_kw[1, -1] = 0.1
    plan = plan_made(NAMES, power_kw, step=timedelta(minutes=15), start=MIDNIGHT)
    moved_kw = levels.moved(plan, table())
    assert np.array_equal(moved_kw[0], power_kw[0])
    assert moved_kw[1, 60] == pytest.approx(4.0 - 6.0 / 12)
    assert moved_kw[1, -1] == 0.0
    assert np.array_equal(levels.moved(plan, BaselineTable(DAY, GRID, ("x", "y"), power_kw, "h")), power_kw)
