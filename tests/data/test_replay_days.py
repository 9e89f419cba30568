"""Measured record days: one through the path that runs live, one as it is set up (skipped without the data folder)."""

import asyncio
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from adapters.feeds.load_options import LoadOptions
from models.intervals import IntervalGrid
from simulations.day import run_day
from simulations.replay import ReplayOrder, replay_setup
from vpp.report.result_folder import read_result
from vpp.report.write import write_report

pytestmark = pytest.mark.data

DEVICES = 90


def _silently(_zh: str, _en: str, _share: float) -> None:
    """Nobody watches a test."""


@pytest.mark.slow
@pytest.mark.timeout(900)  # a whole day of a city: minutes of work, on a busy machine many
def test_new_yorks_record_day_with_the_operators_own_forecast(data_dir: Path, tmp_path: Path) -> None:
    order = ReplayOrder(
        load=data_dir / "load" / "nyiso_5min_2012_2014.parquet",
        day=date(2013, 7, 19),
        options=LoadOptions(time_zone="America/New_York", load_column="NYCA"),
        forecast=data_dir / "load" / "nyiso_forecast_2012_2014.parquet",
        resources=DEVICES,
        response_was_called=True,
    )
    asyncio.run(run_day(replay_setup(order), tmp_path, _silently))
    write_report(tmp_path)
    summary = read_result(tmp_path).summary
    assert summary.labels.replayed
    assert summary.labels.demand_response_was_called
    assert summary.measured_peak_kw == pytest.approx(34_024_600 * summary.scale, rel=1e-3)
    assert summary.peak_before_kw == pytest.approx(summary.measured_peak_kw, rel=1e-3)
    assert summary.forecast_peak_kw is not None
    (event,) = summary.events
    assert event.five_percent_kw == pytest.approx(0.05 * summary.forecast_peak_kw, rel=1e-3)
    assert (event.end - event.start).total_seconds() == 7200
    for ratio in event.ratio_by_hour:
        assert ratio is not None
        assert 0.8 <= ratio <= 1.2


def test_the_highest_day_of_the_chinese_region_is_set_up_from_what_was_known(data_dir: Path) -> None:
    order = ReplayOrder(
        load=data_dir / "load" / "cn_area1_15min_2009_2015.parquet",
        day=date(2014, 7, 24),
        options=LoadOptions(time_zone="Asia/Shanghai"),
        resources=DEVICES,
    )
    setup = replay_setup(order)
    facts = setup.facts
    assert facts.measured_peak_kw == pytest.approx(12_296_850 * facts.scale, rel=1e-3)
    assert facts.repairs  # the file's suspect values are named
    grid = IntervalGrid.market_day(order.day, ZoneInfo("Asia/Shanghai"), timedelta(hours=1))
    forecast_kw = setup.feed.forecast(setup.declare_at, grid).load_kw.sum(axis=0)
    measured_kw = facts.scale * setup.city_kw(grid)
    error = np.abs(forecast_kw - measured_kw).mean() / measured_kw.mean()
    assert 1e-4 < error < 0.06  # made from like days: good, and no copy of what was measured
    (event,) = setup.orders
    two_hours_kw = forecast_kw[:-1] + forecast_kw[1:]
    assert (event.start, event.end) == (first := grid.edges[int(two_hours_kw.argmax())], first + timedelta(hours=2))
