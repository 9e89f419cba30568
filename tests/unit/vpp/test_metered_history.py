"""Readings on a grid: energy is kept, and what nobody measured is a gap."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.intervals import IntervalGrid
from tests.live import T0
from vpp.history import metered_on

GRID = IntervalGrid.regular(T0, timedelta(minutes=15), 8)


def frame(rows: Sequence[tuple[str, float, float]], unit: str = "us") -> pd.DataFrame:
    times = pd.to_datetime([T0 + timedelta(minutes=minutes) for _, minutes, _ in rows], utc=True)
    made = pd.DataFrame(
        {
            "resource_id": pd.Series([name for name, _, _ in rows], dtype=object),
            "measured_at": times,
            "power_kw": [float(power) for _, _, power in rows],
        }
    )
    return made.astype({"measured_at": f"datetime64[{unit}, UTC]"})


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_a_reading_is_the_mean_since_the_one_before(unit: str) -> None:
    rows = [("a", 15 * k, k) for k in range(1, 9)]
    assert metered_on(frame(rows, unit), ["a"], GRID)[0] == pytest.approx(np.arange(1.0, 9.0))


@given(
    st.lists(st.floats(4, 30), min_size=20, max_size=40),
    st.integers(0, 1000),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_energy_is_kept_whatever_the_rhythm_and_the_order_of_the_readings(
    steps: list[float], seed: int, dice: Random
) -> None:
    ends = np.cumsum([0.0, *steps])
    ends = np.append(ends[ends < 120], 120.0)  # from the first edge to the last
    power = np.random.default_rng(seed).uniform(-50, 50, len(ends))
    rows = [("a", end, value) for end, value in zip(ends, power, strict=True)]
    dice.shuffle(rows)
    made = metered_on(frame(rows), ["a"], GRID)[0]
    given_kwh = (power[1:] * np.diff(ends)).sum() / 60
    assert (made * GRID.hours).sum() == pytest.approx(given_kwh, abs=1e-6)


def test_what_nobody_measured_is_a_gap() -> None:
    rows = [("a", 15, 4.0), ("a", 30, 4.0), ("a", 105, 9.0), ("a", 120, 9.0)]  # silent for 75 minutes
    made = metered_on(frame(rows), ["a", "silent"], GRID)
    assert np.array_equal(made[0], [4, 4, np.nan, np.nan, np.nan, np.nan, 9, 9], equal_nan=True)
    assert np.isnan(made[1]).all()


def test_a_silence_of_up_to_an_hour_is_covered_by_the_mean_that_ends_it() -> None:
    made = metered_on(frame([("a", 15, 4.0), ("a", 75, 8.0)]), ["a"], GRID)[0]
    assert np.array_equal(made, [4, 8, 8, 8, 8, np.nan, np.nan, np.nan], equal_nan=True)


def test_devices_do_not_mix_and_strangers_do_not_count() -> None:
    rows = [("b", 15, 2.0), ("a", 15, 1.0), ("x", 15, 99.0), ("a", 30, 3.0), ("b", 30, 4.0)]
    made = metered_on(frame(rows), ["a", "b"], GRID)
    assert made[:, :2].tolist() == [[1.0, 3.0], [2.0, 4.0]]


def test_readings_outside_the_grid_and_none_at_all_are_fine() -> None:
    assert np.isnan(metered_on(frame([("a", -600, 5.0), ("a", 900, 5.0)]), ["a"], GRID)).all()
    assert np.isnan(metered_on(frame([]), ["a"], GRID)).all()
    assert metered_on(frame([("a", 15, 5.0)]), [], GRID).shape == (0, 8)


def test_a_reading_that_is_no_number_is_a_gap_and_spoils_nothing() -> None:
    made = metered_on(frame([("a", 15, 4.0), ("a", 30, np.nan), ("a", 45, 6.0)]), ["a"], GRID)[0]
    assert made[0] == 4.0
    assert np.isfinite(made[:3]).all()


def test_the_zone_of_the_grid_does_not_matter() -> None:
    start = datetime(2025, 7, 16, 12, tzinfo=ZoneInfo("Asia/Shanghai"))
    local = IntervalGrid.regular(start, timedelta(minutes=15), 8)
    assert local == GRID
    assert metered_on(frame([("a", 15, 5.0)]), ["a"], local)[0, 0] == 5.0
