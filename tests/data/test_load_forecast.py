"""The like-day forecast on measured cities, against yesterday and last week as forecasts (the published bars)."""

from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import pytest

from adapters.feeds.load_file import LoadSeries, read_load
from models.forecast import forecast_load
from models.intervals import IntervalGrid

pytestmark = pytest.mark.data

HOUR = timedelta(hours=1)


def hourly(series: LoadSeries) -> np.ndarray:
    per = HOUR // series.resolution
    whole = len(series.kw) // per * per
    return np.asarray(series.kw[:whole].reshape(-1, per).mean(axis=1))


def errors(kw: np.ndarray, start: datetime, zone: ZoneInfo, days: list[date], free: holidays.HolidayBase) -> dict:
    """MAPE of all hours, of the hours of the ten highest days, and of those days' peaks; decision at 10:00
    the day before.
    """
    rows = []
    for day in days:
        target = IntervalGrid.market_day(day, zone, HOUR)
        first = int((target.start - start) / HOUR)
        truth = kw[first : first + len(target)]
        decision = datetime.combine(day - timedelta(days=1), datetime.min.time(), zone).replace(hour=10)
        known = int((decision - start) / HOUR)
        if not np.isfinite(truth).all() or np.isnan(kw[known - 24 : known]).any():
            continue
        found = forecast_load(kw[:known], start, HOUR, decision_time=decision, target=target, zone=zone, holidays=free)
        ape = np.abs(found.kw / truth - 1)
        yesterday, last_week = (np.abs(kw[first - k : first - k + len(target)] / truth - 1) for k in (24, 168))
        peak = abs(found.kw.max() / truth.max() - 1)
        rows.append((truth.max(), ape.mean(), peak, np.nanmean(yesterday), np.nanmean(last_week)))
    table = 100 * np.array(rows)
    top = table[np.argsort(-table[:, 0])[:10]]
    return {
        "days": len(table),
        "mape": table[:, 1].mean(),
        "mape_top10": top[:, 1].mean(),
        "peak_mape_top10": top[:, 2].mean(),
        "mape_yesterday": table[:, 3].mean(),
        "mape_last_week": table[:, 4].mean(),
    }


def every(first: date, last: date, step: int = 1) -> list[date]:
    return [first + timedelta(days=k) for k in range(0, (last - first).days + 1, step)]


def test_new_york_is_foreseen_better_than_by_yesterday_or_last_week(data_dir: Path) -> None:
    zone = ZoneInfo("America/New_York")
    series = read_load(
        data_dir / "load" / "nyiso_5min_2012_2014.parquet", time_zone="America/New_York", load_column="NYCA"
    )
    free = holidays.country_holidays("US", subdiv="NY", years=range(2012, 2015))
    found = errors(hourly(series), series.start, zone, every(date(2013, 5, 1), date(2014, 12, 31), 5), free)
    assert found["mape"] < 4.6 < found["mape_yesterday"] < found["mape_last_week"]


def test_the_ten_highest_days_of_new_york_stay_below_the_bars_of_yesterday_and_last_week(
    data_dir: Path,
) -> None:
    zone = ZoneInfo("America/New_York")
    series = read_load(
        data_dir / "load" / "nyiso_5min_2012_2014.parquet", time_zone="America/New_York", load_column="NYCA"
    )
    free = holidays.country_holidays("US", subdiv="NY", years=range(2012, 2015))
    july = [date(2013, 7, day) for day in (15, 16, 17, 18, 19)]
    rest = [date(2012, 7, 17), date(2012, 7, 18), date(2012, 6, 20), date(2012, 6, 21), date(2013, 9, 11)]
    found = errors(hourly(series), series.start, zone, [*july, *rest], free)
    assert found["mape_top10"] < 16.54
    assert found["peak_mape_top10"] < 18.59


def test_the_chinese_region_is_foreseen_better_than_by_yesterday(data_dir: Path) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    series = read_load(data_dir / "load" / "cn_area1_15min_2009_2015.parquet", time_zone="Asia/Shanghai")
    free = holidays.country_holidays("CN", years=range(2010, 2016))
    found = errors(hourly(series), series.start, zone, every(date(2014, 1, 1), date(2014, 12, 31), 3), free)
    assert found["mape"] < 7.0 < found["mape_yesterday"]
