from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.feeds.city_folder import CityTables, read_city, write_city
from adapters.feeds.portfolio_folder import write_portfolio
from models.errors import InputError, PortfolioError
from models.intervals import IntervalGrid
from vpp.city_feed import FolderFeed, _on_like_hours
from vpp.example_city import example_city
from vpp.example_portfolio import example_problem

START = datetime(2025, 7, 16, tzinfo=UTC)
HOUR = timedelta(hours=1)


def city(start: datetime = START, hours: int = 48) -> CityTables:
    grid = IntervalGrid.regular(start, HOUR, hours)
    load = np.arange(2.0 * hours).reshape(2, hours)
    limit = np.where(load < 3, np.inf, load + 1)
    prices = {"flat": np.full(hours, 0.5), "hour": np.arange(hours) % 24 * 1.0}
    return CityTables(grid, ("east", "west"), load, limit, prices, {"all": frozenset({"east", "west"})})


def test_a_city_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_city(tmp_path / "city", city())
    read = read_city(tmp_path / "city")
    assert (read.grid, read.zones, read.areas) == (city().grid, city().zones, city().areas)
    assert np.array_equal(read.zone_load_kw, city().zone_load_kw)
    assert np.array_equal(read.zone_limit_kw, city().zone_limit_kw)
    assert all(np.array_equal(read.tariffs[name], city().tariffs[name]) for name in city().tariffs)


def test_a_portfolio_folder_serves_as_a_city_whatever_its_other_tables_hold(tmp_path: Path) -> None:
    write_portfolio(tmp_path, example_problem())
    (tmp_path / "storage.csv").write_text("not,a,table\n")
    assert read_city(tmp_path).zones == example_problem().zones
    with pytest.raises(PortfolioError, match="must be new, empty or an older city"):
        write_city(tmp_path, city())


def test_the_example_city_covers_today_and_all_that_plans_look_at(tmp_path: Path) -> None:
    write_city(tmp_path, example_city(datetime(2026, 1, 5, 17, 30, tzinfo=UTC), 2))
    feed = FolderFeed(tmp_path)
    assert feed.covers() == (datetime(2026, 1, 5, 16, tzinfo=UTC), datetime(2026, 1, 7, 22, tzinfo=UTC))
    noon = IntervalGrid.regular(datetime(2026, 1, 6, 5, tzinfo=UTC), HOUR, 1)
    night = IntervalGrid.regular(datetime(2026, 1, 6, 19, tzinfo=UTC), HOUR, 1)
    assert feed.forecast(START, noon).load_kw.sum() > 1.2 * feed.forecast(START, night).load_kw.sum()
    prices = feed.prices("industry", date(2026, 1, 6))
    assert prices[5 * 12] > 2 * prices[19 * 12]


def test_every_fault_of_the_tables_is_named(tmp_path: Path) -> None:
    write_city(tmp_path, city())
    (tmp_path / "areas.csv").write_text("area_id,zone_id\nall,nowhere\n")
    with pytest.raises(PortfolioError, match="must be a zone of the system table"):
        read_city(tmp_path)
    (tmp_path / "tariffs.csv").unlink()
    with pytest.raises(PortfolioError, match="table is required"):
        read_city(tmp_path)


def test_stays_before_and_after_the_tables_have_the_prices_of_the_same_hours(tmp_path: Path) -> None:
    write_city(tmp_path, city())
    feed = FolderFeed(tmp_path)
    for ahead in range(-3, 5):
        prices = feed.prices("hour", (START + timedelta(days=ahead)).date())
        assert np.array_equal(prices, np.repeat(np.arange(24.0), 12))


def test_newer_tables_have_newer_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_city(tmp_path, city())
    feed = FolderFeed(tmp_path)
    assert feed.prices("flat", START.date())[0] == pytest.approx(0.5)
    dearer = city()
    write_city(tmp_path, replace(dearer, tariffs={**dearer.tariffs, "flat": dearer.tariffs["flat"] + 1.25}))
    monkeypatch.setattr("vpp.city_feed.LOOK_EVERY_S", 0.0)
    assert feed.prices("flat", START.date())[0] == pytest.approx(1.75)


@given(st.integers(0, 46 * 60), st.lists(st.integers(1, 90), min_size=1, max_size=12))
def test_a_price_is_the_mean_over_its_interval(begin_min: int, lengths_min: list[int]) -> None:
    tables = city()
    edges = [START + timedelta(minutes=begin_min + sum(lengths_min[:k])) for k in range(len(lengths_min) + 1)]
    grid = IntervalGrid(tuple(edge for edge in edges if edge <= tables.grid.end))
    hourly = tables.tariffs["hour"]
    assert _on_like_hours(tables.grid, hourly, grid) == pytest.approx(grid.mean_from(tables.grid, hourly), abs=1e-9)
    flat = tables.tariffs["flat"] + 0.1  # 0.6: sums of it are no multiples of it
    assert set(_on_like_hours(tables.grid, flat, grid).tolist()) == set(flat.tolist()), "equal prices stay equal"


def test_a_forecast_that_ends_too_early_says_until_when_it_must_reach(tmp_path: Path) -> None:
    write_city(tmp_path, city())
    feed = FolderFeed(tmp_path)
    wanted = IntervalGrid.regular(START + 47 * HOUR, HOUR, 2)
    with pytest.raises(InputError, match="must cover 2025-07-17T23:00:00"):
        feed.forecast(START, wanted)
    write_city(tmp_path, city(hours=72))
    assert feed.forecast(START, wanted).load_kw.shape == (2, 2)


def test_tables_that_break_leave_the_last_good_ones(tmp_path: Path) -> None:
    write_city(tmp_path, city())
    feed = FolderFeed(tmp_path)
    (tmp_path / "system.csv").write_text("interval_start,zone_id\n")
    assert feed.zones == ("east", "west")
    (tmp_path / "system.csv").unlink()
    assert feed.covers() == (START, START + 48 * HOUR)
