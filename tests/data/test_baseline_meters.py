"""The day-matching methods on forty real meters, by the protocol of the published bars."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from models.intervals import IntervalGrid
from models.settlement.baseline import METHODS, adjusted, baseline_profiles, placebo_errors
from models.settlement.days import ClockDays

pytestmark = pytest.mark.data

HOUR = timedelta(hours=1)
HOLIDAYS = {date(2012, 5, 28), date(2012, 7, 4), date(2012, 9, 3)}
EVENT = np.isin(np.arange(24), [14, 15, 16, 17])
BEFORE = np.isin(np.arange(24), [10, 11, 12])


def site_days(readings: "pd.Series[float]", zone: ZoneInfo) -> ClockDays:
    """Hourly means of one site on its own clock, whole weekdays only."""
    series = readings.dropna()
    series.index = pd.DatetimeIndex(series.index) - pd.Timedelta(minutes=5)  # labels are interval ends
    local = series.tz_localize("UTC").tz_convert(zone)
    hourly = local.resample("1h").mean()["2012-05-01":"2012-09-30"]
    start = hourly.index[0].to_pydatetime().astimezone(zone)
    grid = IntervalGrid.regular(start, HOUR, len(hourly))
    days = ClockDays.from_grid(grid, np.asarray(hourly, dtype=np.float64)[None, :], zone, HOUR)
    keep = [
        k
        for k, day in enumerate(days.days)
        if day.weekday() < 5 and day not in HOLIDAYS and np.isfinite(days.values[0, k]).all()
    ]
    return ClockDays(tuple(days.days[k] for k in keep), days.values[:, keep], HOUR, zone)


def errors_of(days: ClockDays, method_id: str, limit: float | None) -> tuple[float, float]:
    in_season = np.array([date(2012, 6, 15) <= day <= date(2012, 9, 15) for day in days.days])
    level = np.where(in_season, days.values[0][:, EVENT].mean(axis=1), -np.inf)
    placebo = np.zeros(len(days.days), dtype=bool)
    placebo[np.argsort(-level)[:10]] = True
    method = replace(METHODS[method_id], look_back_days=1000)
    expected, measured = [], []
    for k in np.flatnonzero(placebo):
        found = baseline_profiles(days, days.days[k], method, excluded=placebo, event_slots=EVENT)
        if not found.enough[0]:
            continue
        profile = found.profile
        if limit is not None:
            profile, _ = adjusted(profile, days.values[:, k], BEFORE, limit)
        expected.append(profile[0, EVENT])
        measured.append(days.values[0, k, EVENT])
    return placebo_errors(expected, measured)


@pytest.fixture(scope="module")
def sites(data_dir: Path) -> list[ClockDays]:
    frame = pd.read_parquet(data_dir / "meters" / "enernoc_5min_kw_2012.parquet")
    table = pd.read_csv(data_dir / "meters" / "enernoc_sites.csv", dtype=str)
    column = next(name for name in table.columns if "zone" in name.lower() or "tz" in name.lower())
    zones = dict(zip(table.iloc[:, 0], table[column], strict=True))
    found = [site_days(frame[name], ZoneInfo(zones[str(name).removeprefix("s")])) for name in frame.columns]
    return [days for days in found if len(days.days) >= 60]


@pytest.mark.parametrize(
    ("method_id", "limit", "cvrmse", "bias"),
    [
        ("ten_of_ten", None, 15.56, -14.59),
        ("caiso_10_10", 0.2, 8.24, -3.37),
        ("pjm_high_4_5", None, 12.27, -10.48),
    ],
)
def test_our_methods_reproduce_the_published_errors(
    sites: list[ClockDays], method_id: str, limit: float | None, cvrmse: float, bias: float
) -> None:
    found = 100 * np.array([errors_of(days, method_id, limit) for days in sites])
    assert len(sites) == 40
    assert float(np.median(found[:, 0])) == pytest.approx(cvrmse, abs=0.3)
    assert float(np.median(found[:, 1])) == pytest.approx(bias, abs=0.3)
    assert datetime(2012, 5, 1, tzinfo=sites[0].zone).date() <= sites[0].days[0]
