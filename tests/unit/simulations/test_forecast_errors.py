"""Forecasts of a simulated city err as in the field, and are corrected by what its meters show."""

from datetime import timedelta

import numpy as np
import pytest

from models.intervals import IntervalGrid
from simulations.city_feed import ERROR_SD, REMEMBERED_H, with_forecast_error
from simulations.demo import demo_setup
from simulations.scenarios import Scenario

HOUR = timedelta(hours=1)
SEEDS = range(200)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return demo_setup(90).generated.scenario


def errors(scenario: Scenario, decided_h: float) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """(seeds, 24) relative errors of the hours of the day, as forecast so many hours after its midnight."""
    midnight = scenario.midnight(scenario.day)
    grid = IntervalGrid.regular(midnight, HOUR, 24)
    true_kw = scenario.mean_load_kw(grid)
    made = [with_forecast_error(scenario, midnight + decided_h * HOUR, grid, seed) for seed in SEEDS]
    return np.array(made) / true_kw - 1


def test_a_day_ahead_it_errs_by_three_percent_and_in_no_direction(scenario: Scenario) -> None:
    found = errors(scenario, -14.0)
    assert np.abs(found).mean() == pytest.approx(0.030, abs=0.003)
    assert found.std() == pytest.approx(ERROR_SD, rel=0.1)
    assert abs(found.mean()) < 0.005
    rolled = np.corrcoef(found[:, 14], found[:, 20])[0, 1]
    assert rolled == pytest.approx(np.exp(-6 / REMEMBERED_H), abs=0.15), "a day that is hotter stays so for hours"


def test_what_has_been_measured_is_known_and_what_is_near_nearly(scenario: Scenario) -> None:
    found = errors(scenario, 12.0)
    assert np.array_equal(found[:, :12], np.zeros((len(SEEDS), 12)))
    spread = found.std(axis=0)
    assert spread[12] < 0.01
    assert 0.009 < spread[13] < 0.02
    assert spread[12] < spread[14] < spread[18] < spread[23] < ERROR_SD


def test_the_same_moment_says_the_same_and_another_seed_something_else(scenario: Scenario) -> None:
    midnight = scenario.midnight(scenario.day)
    fine, coarse = (IntervalGrid.regular(midnight, HOUR / n, 24 * n) for n in (4, 1))
    once = with_forecast_error(scenario, midnight, fine, 7)
    assert np.array_equal(once, with_forecast_error(scenario, midnight, fine, 7))
    assert not np.array_equal(once, with_forecast_error(scenario, midnight, fine, 8))
    hourly = with_forecast_error(scenario, midnight, coarse, 7)
    assert once.reshape(24, 4).mean(axis=1) == pytest.approx(hourly, rel=0.01)
