"""Real meters for the bench of baselines: whole weekdays of a summer, hour by hour on each site's own clock."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import pandas as pd

from models.errors import InputError, InputFault
from models.intervals import IntervalGrid
from models.settlement.days import ClockDays

HOUR = timedelta(hours=1)
ENOUGH_DAYS = 60
US_HOLIDAYS_2012 = frozenset({date(2012, 5, 28), date(2012, 7, 4), date(2012, 9, 3)})
UCAM_SUMMERS = (2018, 2019)
UCAM_ZONE = ZoneInfo("Europe/London")


@dataclass(frozen=True)
class MeterSite:
    """One meter in one summer, May to September; ``days``: (1, D, 24), whole weekdays that are no holidays."""

    name: str
    year: int
    days: ClockDays
    temperature_celsius: ClockDays | None = None


def enernoc_sites(folder: Path) -> list[MeterSite]:
    """The meters of the published bars (5-minute means, labels are interval ends in UTC)."""
    frame = pd.read_parquet(_there(folder / "meters" / "enernoc_5min_kw_2012.parquet"))
    table = pd.read_csv(_there(folder / "meters" / "enernoc_sites.csv"), dtype=str)
    zones = dict(zip(table["SITE_ID"], table["TIME_ZONE"], strict=True))
    sites = []
    for name in map(str, frame.columns):
        series = frame[name].dropna()
        series.index = pd.DatetimeIndex(series.index) - pd.Timedelta(minutes=5)
        zone = ZoneInfo(zones[name.removeprefix("s")])
        site = MeterSite(name, 2012, _summer(series, zone, 2012, US_HOLIDAYS_2012))
        if len(site.days.days) >= ENOUGH_DAYS:
            sites.append(site)
    return sites


def ucam_sites(folder: Path) -> list[MeterSite]:
    """University buildings with temperature, each summer a site of its own (hourly kWh, labels are starts in UTC)."""
    frame = pd.read_parquet(_there(folder / "meters" / "ucam_hourly_kwh_2017_2019.parquet"))
    sites = []
    for year in UCAM_SUMMERS:
        off = frozenset(holidays.country_holidays("GB", subdiv="ENG", years=[year]))
        weather = _summer(frame["temp_c"], UCAM_ZONE, year, frozenset(), whole=False)
        for name in map(str, frame.columns):
            if not name.removeprefix("b").isdigit():
                continue
            days = _summer(frame[name], UCAM_ZONE, year, off)
            if len(days.days) >= ENOUGH_DAYS and float(days.values.mean()) > 0:
                sites.append(MeterSite(f"{name}-{year}", year, days, weather))
    return sites


def _summer(
    series: "pd.Series[float]", zone: ZoneInfo, year: int, off: AbstractSet[date], *, whole: bool = True
) -> ClockDays:
    local = series.tz_localize("UTC").tz_convert(zone)
    hourly = local.resample("1h").mean()[f"{year}-05-01" : f"{year}-09-30"]
    start = hourly.index[0].to_pydatetime().astimezone(zone)
    grid = IntervalGrid.regular(start, HOUR, len(hourly))
    days = ClockDays.from_grid(grid, np.asarray(hourly, dtype=np.float64)[None, :], zone, HOUR)
    if not whole:
        return days
    known = np.isfinite(days.values[0]).all(axis=1)
    keep = [k for k, day in enumerate(days.days) if known[k] and day.weekday() < 5 and day not in off]
    return ClockDays(tuple(days.days[k] for k in keep), days.values[:, keep], HOUR, zone)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise InputError([InputFault(str(path), "", "absent", "must be a file of the measured data (VPP_DATA_DIR)")])
    return path
