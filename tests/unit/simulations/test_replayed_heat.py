"""The heat of a replayed day is read off the measured load."""

from datetime import date, timedelta

import pytest

from simulations.scenarios import load_scenario
from simulations.scenarios.replayed import ReplayedScenario

FILE = load_scenario("chengdu-2025-07-16").file


def _scenario(load: dict[date, float]) -> ReplayedScenario:
    return ReplayedScenario(FILE, load)


def _days() -> list[date]:
    return [FILE.day + timedelta(days=k) for k in range(-FILE.days_before, 3)]


def test_the_day_of_the_highest_load_is_the_hottest_and_the_lowest_the_mildest() -> None:
    load = {day: 100.0 + 3 * k for k, day in enumerate(_days())}
    scenario = _scenario(load)
    working = [day for day in _days() if day.weekday() < 5]
    assert scenario.heat[working[0]] == 0.0
    assert scenario.heat[working[-1]] == 1.0
    hottest = scenario.outdoor_celsius(scenario.local(16, working[-1]))
    assert hottest == pytest.approx(FILE.weather.maximum_celsius.value, abs=0.01)
    mildest = scenario.outdoor_celsius(scenario.local(16, working[0]))
    assert mildest == pytest.approx(FILE.weather.first_day_maximum_celsius.value, abs=0.01)


def test_a_weekend_takes_the_mean_of_the_days_beside_it() -> None:
    load = {day: 100.0 + 3 * k if day.weekday() < 5 else 1.0 for k, day in enumerate(_days())}
    heat = _scenario(load).heat
    saturday = next(day for day in _days() if day.weekday() == 5)
    assert heat[saturday - timedelta(days=1)] <= heat[saturday] <= heat[saturday + timedelta(days=2)]


def test_an_unknown_load_makes_every_day_a_hot_one() -> None:
    assert set(_scenario({}).heat.values()) == {1.0}
