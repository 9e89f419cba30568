from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from models.intervals import IntervalGrid
from vpp.report.canvas import line_of, time_axis
from vpp.report.words import Speaker, Unit

NEW_YORK = ZoneInfo("America/New_York")
SPEAKER = Speaker(NEW_YORK, "×1")


@pytest.mark.parametrize(("day", "ones", "twos"), [("2025-03-09", 1, 0), ("2025-11-02", 2, 1), ("2025-07-16", 1, 1)])
def test_days_of_23_and_25_hours_are_drawn_as_long_as_they_were(day: str, ones: int, twos: int) -> None:
    grid = IntervalGrid.market_day(date.fromisoformat(day), NEW_YORK, timedelta(minutes=15))
    starts = pd.Series(pd.DatetimeIndex(grid.starts))
    axis = time_axis(SPEAKER, starts, 1)
    labels = [text.split("<br>")[0] for text in axis["ticktext"]]
    assert len(labels) == len(set(axis["tickvals"]))
    assert labels.count("01:00") == ones
    assert labels.count("02:00") == twos
    assert labels[0] == labels[-1] == "00:00"
    assert len(labels) == len(grid) // 4 + 1


def test_holes_and_infinities_are_left_open_in_a_line() -> None:
    grid = IntervalGrid.market_day(date(2025, 7, 16), NEW_YORK, timedelta(hours=6))
    starts = pd.Series(pd.DatetimeIndex(grid.starts))
    line = line_of(SPEAKER, starts, pd.Series([1500.0, float("nan"), float("inf"), -2000.0]), Unit.fit(2000.0), "x")
    assert line["y"] == [1.5, None, None, -2.0]
    assert line["customdata"][1] == "07-16 06:00"
