"""What is decided at an instant is decided without what came later: blank the future, and nothing changes."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from adapters.feeds.load_file import read_load
from adapters.feeds.load_options import LoadOptions
from models.errors import InputError
from models.intervals import IntervalGrid
from simulations.replay import KnownLoad, ReplayOrder, replay_setup

ZONE = ZoneInfo("Asia/Shanghai")
DAY = date(2025, 7, 16)
OPTIONS = LoadOptions(time_zone="Asia/Shanghai", load_column="load_mw", time_column="time")


def _curve(days: int) -> pd.DataFrame:
    start = datetime(2025, 7, 18, tzinfo=ZONE) - timedelta(days=days)
    times = [start + timedelta(minutes=15) * k for k in range(days * 96)]
    hours = np.array([moment.hour + moment.minute / 60 for moment in times])
    number = np.arange(len(times)) / 96
    level = 15_000 + 120 * number + 900 * np.sin(number / 3)
    load = level * (1 + 0.18 * np.sin((hours - 8) / 24 * 2 * np.pi)) + 40 * np.sin(number * 97)
    return pd.DataFrame({"time": [moment.isoformat() for moment in times], "load_mw": load.round(3)})


def _written(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def _blanked(frame: pd.DataFrame, after: datetime) -> pd.DataFrame:
    """The same file as if nothing after the decision were known: other numbers stand there."""
    later = pd.to_datetime(frame.time, utc=True) >= after
    return frame.assign(load_mw=frame.load_mw.where(~later, 17_777.0))


@pytest.mark.parametrize("hours", [-6.5, 0.0, 9.25, 13.0, 20.0])
def test_the_forecast_of_every_decision_ignores_what_came_after_it(tmp_path: Path, hours: float) -> None:
    frame = _curve(40)
    decided = (datetime(2025, 7, 16, tzinfo=ZONE) + timedelta(hours=hours)).astimezone(UTC)
    grid = IntervalGrid.regular(decided.replace(minute=0), timedelta(minutes=30), 40)
    known = []
    for name, content in (("whole.csv", frame), ("blanked.csv", _blanked(frame, decided))):
        path = _written(content, tmp_path / name)
        order = ReplayOrder(load=path, day=DAY, options=OPTIONS)
        known.append(KnownLoad(read_load(path, **OPTIONS), ZONE, order)(decided, grid))
    np.testing.assert_array_equal(known[0], known[1])


def test_order_window_and_size_of_the_fleet_are_decided_the_evening_before(tmp_path: Path) -> None:
    frame = _curve(40)
    decided = datetime(2025, 7, 15, 17, 30, tzinfo=ZONE)
    setups = []
    for name, content in (("whole.csv", frame), ("blanked.csv", _blanked(frame, decided))):
        path = _written(content, tmp_path / name)
        setups.append(replay_setup(ReplayOrder(load=path, day=DAY, options=OPTIONS, resources=90)))
    whole, blanked = setups
    assert [(order.start, order.end) for order in whole.orders] == [
        (order.start, order.end) for order in blanked.orders
    ]
    assert whole.facts.scale == blanked.facts.scale
    grid = IntervalGrid.market_day(DAY, ZONE, timedelta(minutes=15))
    first, second = (setup.feed.forecast(whole.declare_at, grid) for setup in setups)
    np.testing.assert_array_equal(first.load_kw, second.load_kw)
    assert whole.facts.measured_peak_kw != blanked.facts.measured_peak_kw  # the truth is another one


def test_the_feed_gives_out_no_measurement_of_the_future(tmp_path: Path) -> None:
    path = _written(_curve(40), tmp_path / "load.csv")
    setup = replay_setup(ReplayOrder(load=path, day=DAY, options=OPTIONS, resources=90))
    past = IntervalGrid.regular(setup.declare_at - timedelta(hours=3), timedelta(hours=1), 3)
    ahead = IntervalGrid.regular(setup.declare_at - timedelta(hours=1), timedelta(hours=1), 2)
    assert setup.feed.measured(setup.declare_at, past) is not None
    assert setup.feed.measured(setup.declare_at, ahead) is None


def test_the_window_is_the_two_hours_of_highest_forecast_or_as_told(tmp_path: Path) -> None:
    path = _written(_curve(40), tmp_path / "load.csv")
    (order,) = replay_setup(ReplayOrder(load=path, day=DAY, options=OPTIONS, resources=90)).orders
    assert order.end - order.start == timedelta(hours=2)
    assert order.start.astimezone(ZONE).hour in (12, 13, 14)
    told = ReplayOrder(
        load=path,
        day=DAY,
        options=OPTIONS,
        resources=90,
        window=(datetime(2025, 1, 1, 19).time(), datetime(2025, 1, 1, 20).time()),  # noqa: DTZ001 - a clock time
    )
    (order,) = replay_setup(told).orders
    assert order.start == datetime(2025, 7, 16, 19, tzinfo=ZONE)


def test_a_day_that_is_not_in_the_file_is_refused_by_name(tmp_path: Path) -> None:
    path = _written(_curve(40), tmp_path / "load.csv")
    with pytest.raises(InputError, match="2025-08-01"):
        replay_setup(ReplayOrder(load=path, day=date(2025, 8, 1), options=OPTIONS, resources=90))


def test_a_day_with_a_hole_is_refused_with_from_and_to(tmp_path: Path) -> None:
    frame = _curve(40)
    times = pd.to_datetime(frame.time, utc=True)
    hole = (times >= datetime(2025, 7, 16, 10, tzinfo=ZONE)) & (times < datetime(2025, 7, 16, 14, tzinfo=ZONE))
    path = _written(frame[~hole], tmp_path / "load.csv")
    with pytest.raises(InputError, match="2025-07-16"):
        replay_setup(ReplayOrder(load=path, day=DAY, options=OPTIONS, resources=90))
