"""Every measured load file can be read, by options at most; what is wrong with it is named."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from adapters.feeds.forecast_file import read_forecast
from adapters.feeds.load_file import read_load
from models.errors import InputError
from models.intervals import IntervalGrid

pytestmark = pytest.mark.data

FILES = [
    # file, options, rows, resolution in minutes, peak in MW
    (
        "load/nyiso_5min_2012_2014.parquet",
        {"time_zone": "America/New_York", "load_column": "NYCA"},
        315648,
        5,
        34025,
    ),
    ("load/cn_area1_15min_2009_2015.parquet", {"time_zone": "Asia/Shanghai"}, 211296, 15, 12297),
    (
        "load/eia930_ba_hourly_dayahead_2015_2019.parquet",
        {"time_zone": "America/Los_Angeles", "load_column": "mw", "only": {"ba": "CISO"}},
        35064,
        60,
        49899,
    ),
    (
        "load/eia930_zones_hourly_2020_2022.parquet",
        {"time_zone": "America/New_York", "load_column": "NYIS-ZONJ"},
        26304,
        60,
        10830,
    ),
    (
        "load/gb_halfhourly_2015_2019.parquet",
        {"time_zone": "Europe/London", "load_column": "ND"},
        87648,
        30,
        52516,
    ),
    ("load/pjm_east_hourly_2002_2018.parquet", {"time_zone": "America/New_York"}, 145391, 60, 62009),
    (
        "load/tetouan_10min_2017.parquet",
        {
            "time_zone": "Africa/Casablanca",
            "load_column": "zone1_kw",
            "unit": "kW",
            "column_zone": "Etc/GMT-1",
        },
        52416,
        10,
        52.2,
    ),
    ("load/vic_halfhourly_2012_2013.parquet", {"time_zone": "Australia/Melbourne"}, 35088, 30, 8897),
    (
        "market/cn_province_demand_price_15min_2021-12_2022.parquet",
        {"time_zone": "Asia/Shanghai"},
        38015,
        15,
        63063,
    ),
    (
        "market/isone_2017JanApr_ISONECA_load_price_temp_hourly.csv",
        {"time_zone": "America/New_York", "load_column": "DEMAND"},
        2879,
        60,
        19238,
    ),
]


@pytest.mark.parametrize(("name", "options", "rows", "minutes", "peak_mw"), FILES, ids=[row[0] for row in FILES])
def test_a_measured_load_file_is_read(
    data_dir: Path, name: str, options: dict, rows: int, minutes: int, peak_mw: float
) -> None:
    series = read_load(data_dir / name, **options)
    assert len(series) == rows
    assert series.resolution == timedelta(minutes=minutes)
    assert float(np.nanmax(series.kw)) / 1000 == pytest.approx(peak_mw, rel=1e-3)
    assert np.isfinite(series.kw).mean() > 0.999


def test_the_record_day_of_new_york_is_whole(data_dir: Path) -> None:
    zone = ZoneInfo("America/New_York")
    series = read_load(
        data_dir / "load" / "nyiso_5min_2012_2014.parquet", time_zone="America/New_York", load_column="NYCA"
    )
    grid = IntervalGrid.market_day(date(2013, 7, 19), zone, timedelta(minutes=5))
    assert series.kw_on(grid).max() / 1000 == pytest.approx(34024.6, abs=0.1)
    with pytest.raises(InputError, match="2014-03-20T"):
        series.kw_on(IntervalGrid.market_day(date(2014, 3, 20), zone, timedelta(minutes=5)))


def test_the_highest_day_of_the_chinese_region_is_whole_and_its_suspects_are_named(data_dir: Path) -> None:
    series = read_load(data_dir / "load" / "cn_area1_15min_2009_2015.parquet", time_zone="Asia/Shanghai")
    grid = IntervalGrid.market_day(date(2014, 7, 24), ZoneInfo("Asia/Shanghai"), timedelta(minutes=15))
    assert series.kw_on(grid).max() / 1000 == pytest.approx(12296.85)
    assert {repair.name: repair.count for repair in series.repairs}["suspect"] == 9


def test_a_file_of_several_areas_asks_which_one(data_dir: Path) -> None:
    path = data_dir / "load" / "eia930_ba_hourly_dayahead_2015_2019.parquet"
    with pytest.raises(InputError, match="load_column"):
        read_load(path, time_zone="America/Los_Angeles")
    with pytest.raises(InputError, match="stands twice"):
        read_load(path, time_zone="America/Los_Angeles", load_column="mw")


@pytest.mark.parametrize(("day", "hours"), [("2013-07-19", 24), ("2013-03-10", 23), ("2013-11-03", 25)])
def test_the_operators_forecast_is_the_one_issued_the_day_before(data_dir: Path, day: str, hours: int) -> None:
    zone = ZoneInfo("America/New_York")
    wanted = date.fromisoformat(day)
    decision = datetime.combine(wanted - timedelta(days=1), datetime.min.time(), zone).replace(hour=12)
    series = read_forecast(
        data_dir / "load" / "nyiso_forecast_2012_2014.parquet",
        time_zone="America/New_York",
        load_column="NYCA",
        decision_time=decision,
    )
    grid = IntervalGrid.market_day(wanted, zone, timedelta(hours=1))
    assert len(series.kw_on(grid)) == hours
    assert series.issued_at is not None
    assert series.issued_at.astimezone(UTC) <= decision
    assert series.issued_at.astimezone(zone).date() == wanted - timedelta(days=1)
