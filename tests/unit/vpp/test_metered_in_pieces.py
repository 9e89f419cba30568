"""Metered power from pieces: the same whatever the pieces, and the same as from all readings at once."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.store.readings import PowerColumns
from models.intervals import IntervalGrid
from models.moments import microseconds
from vpp.metered import metered_kw

START = datetime(2025, 7, 16, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
GRID = IntervalGrid.regular(START, QUARTER, 8)


def piece(*readings: tuple[int, float, float]) -> PowerColumns:
    """Readings as (resource, minutes from the start, kW)."""
    return PowerColumns(
        np.array([row for row, _, _ in readings], dtype=np.int64),
        np.array([microseconds(START + timedelta(minutes=at)) for _, at, _ in readings], dtype=np.int64),
        np.array([kw for _, _, kw in readings], dtype=np.float64),
    )


def test_an_hourly_reading_covers_its_hour() -> None:
    found = metered_kw([piece((0, 0, 9.0)), piece((0, 60, 4.0), (0, 120, 6.0))], 1, GRID)
    assert found[0] == pytest.approx([4.0] * 4 + [6.0] * 4)


def test_a_reading_after_a_long_silence_covers_one_step_only() -> None:
    found = metered_kw([piece((0, 15, 4.0)), piece((0, 105, 6.0))], 1, GRID)
    assert found[0] == pytest.approx([4.0, *[np.nan] * 5, 6.0, np.nan], nan_ok=True)


def test_an_interval_covered_by_less_than_half_is_not_measured() -> None:
    found = metered_kw([piece((0, 15, 4.0), (0, 22, 6.0), (1, 15, 4.0), (1, 23, 6.0))], 2, GRID)
    assert np.isnan(found[0, 1])
    assert found[1, 1] == pytest.approx(6.0)
    assert np.isnan(metered_kw([], 2, GRID)).all()
    assert np.isnan(metered_kw([piece((0, 15, np.nan))], 1, GRID)).all()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(-30, 150), st.floats(-9, 9)), max_size=25, unique_by=lambda r: r[:2]
    ),
    st.integers(1, 7),
)
def test_it_does_not_matter_how_readings_are_cut_into_pieces(
    readings: list[tuple[int, float, float]], most: int
) -> None:
    readings = sorted(readings, key=lambda each: each[1])
    whole = metered_kw([piece(*readings)], 3, GRID)
    parts = [piece(*readings[first : first + most]) for first in range(0, len(readings), most)]
    assert metered_kw(parts, 3, GRID) == pytest.approx(whole, nan_ok=True)
