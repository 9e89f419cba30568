"""The level of air-conditioning on a day that is hotter than its like days (V1, V2)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.settlement.level import LIMITS, level_factor

CITY = np.array([16.0, 16.4, 16.8, 17.2, 17.6, 18.0]) * 1e6


def test_a_hotter_day_is_found_on_the_line_through_its_like_days() -> None:
    """E = 100 + 20 (C - 16): at 17.9 GW the energy is 138 against a mean of 120 over the six days: a factor of 1.15."""
    energy = 100 + 20 * (CITY / 1e6 - 16)
    assert level_factor(energy, CITY, float(energy.mean()), 17.9e6) == pytest.approx(138 / 120)


def test_the_line_is_not_followed_beyond_what_was_seen() -> None:
    energy = 100 + 20 * (CITY / 1e6 - 16)
    assert level_factor(energy, CITY, 120.0, 25e6) == level_factor(energy, CITY, 120.0, 18e6)


def test_too_few_or_equal_days_tell_nothing() -> None:
    assert level_factor(np.arange(4.0) + 1, CITY[:4], 2.5, 17e6) == 1.0
    assert level_factor(np.arange(6.0) + 1, np.full(6, 17e6), 2.5, 17e6) == 1.0
    assert level_factor(np.arange(6.0) + 1, CITY, 0.0, 17e6) == 1.0
    unknown = np.where(np.arange(6) < 4, CITY, np.nan)
    assert level_factor(np.arange(6.0) + 1, unknown, 2.5, 17e6) == 1.0


def test_loads_that_fall_when_the_city_rises_are_left_alone() -> None:
    """β is not negative: the level stays the mean, however hot it gets."""
    energy = 100 - 20 * (CITY / 1e6 - 16)
    assert level_factor(energy, CITY, float(energy.mean()), 18e6) == pytest.approx(1.0)


@given(
    energy=st.lists(st.floats(0, 1e6), min_size=6, max_size=6),
    used=st.floats(0, 1e6),
    ahead=st.floats(1e6, 4e7),
)
def test_the_factor_stays_within_its_limits(energy: list[float], used: float, ahead: float) -> None:
    factor = level_factor(np.array(energy), CITY, used, ahead)
    assert LIMITS[0] <= factor <= LIMITS[1]
