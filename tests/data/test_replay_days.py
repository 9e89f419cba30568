"""Two measured record days through the path that runs live (skipped without the data folder)."""

import asyncio
from datetime import date
from pathlib import Path

import pytest

from adapters.feeds.load_options import LoadOptions
from simulations.day import run_day
from simulations.replay import ReplayOrder, replay_setup
from vpp.report.result_folder import DayResult, read_result
from vpp.report.write import write_report

pytestmark = [pytest.mark.data, pytest.mark.slow]

DEVICES = 90


def _silently(_zh: str, _en: str, _share: float) -> None:
    """Nobody watches a test."""


def _replayed(order: ReplayOrder, out: Path) -> DayResult:
    asyncio.run(run_day(replay_setup(order), out, _silently))
    write_report(out)
    return read_result(out)


def _within(result: DayResult, low: float, high: float) -> None:
    (event,) = result.summary.events
    assert (event.end - event.start).total_seconds() == 7200
    for ratio in event.ratio_by_hour:
        assert ratio is not None
        assert low <= ratio <= high


def test_new_yorks_record_day_with_the_operators_own_forecast(data_dir: Path, tmp_path: Path) -> None:
    order = ReplayOrder(
        load=data_dir / "load" / "nyiso_5min_2012_2014.parquet",
        day=date(2013, 7, 19),
        options=LoadOptions(time_zone="America/New_York", load_column="NYCA"),
        forecast=data_dir / "load" / "nyiso_forecast_2012_2014.parquet",
        resources=DEVICES,
        response_was_called=True,
    )
    result = _replayed(order, tmp_path)
    summary = result.summary
    assert summary.labels.replayed
    assert summary.labels.demand_response_was_called
    assert summary.measured_peak_kw == pytest.approx(34_024_600 * summary.scale, rel=1e-3)
    assert summary.peak_before_kw == pytest.approx(summary.measured_peak_kw, rel=1e-3)
    assert summary.forecast_peak_kw is not None
    assert summary.events[0].five_percent_kw == pytest.approx(0.05 * summary.forecast_peak_kw, rel=1e-3)
    _within(result, 0.8, 1.2)


def test_the_highest_day_of_the_chinese_region(data_dir: Path, tmp_path: Path) -> None:
    order = ReplayOrder(
        load=data_dir / "load" / "cn_area1_15min_2009_2015.parquet",
        day=date(2014, 7, 24),
        options=LoadOptions(time_zone="Asia/Shanghai"),
        resources=DEVICES,
    )
    result = _replayed(order, tmp_path)
    assert result.summary.measured_peak_kw == pytest.approx(12_296_850 * result.summary.scale, rel=1e-3)
    assert result.summary.repairs  # the file's suspect values are named
    _within(result, 0.8, 1.2)
