"""Profiles that aggregators register with their loads: per unit of the nameplate, 15 min over the days to be planned.

They are what an aggregator knows without any metering of the city's: rough shapes.  The service replaces them by
day-matching as soon as there are readings.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np

from models.intervals import FloatArray, IntervalGrid
from simulations.devices.industry import shift_share
from simulations.devices.lighting import lit_share
from simulations.scenarios.scenario import Scenario

BATCH_SHAPE = (1.0,) * 16
"""A batch: four hours at full power in quarter hours."""
STEP = timedelta(minutes=15)


def _cooling(scenario: Scenario, grid: IntervalGrid, opens: float, closes: float, level: float) -> FloatArray:
    values = []
    for start in grid.starts:
        middle = (start + STEP / 2).timestamp()
        around = scenario.surroundings(middle - 60, middle + 60)
        hour = around.hour
        is_open = opens >= closes or opens - 1 <= hour < closes
        weather = np.clip((around.outdoor_celsius - 20) / 20, 0, 1.2)
        values.append((0.25 + 0.75 * weather) * level if is_open else 0.05)
    return np.array(values)


def _home(scenario: Scenario, grid: IntervalGrid) -> FloatArray:
    hours = np.array([0, 5, 8, 12, 14, 17, 19, 21.5, 24])
    at_home = np.array([0.85, 0.85, 0.6, 0.5, 0.5, 0.5, 0.8, 0.93, 0.85])
    local = np.array([(start.astimezone(scenario.zone)).hour + start.minute / 60 for start in grid.starts])
    weather = _cooling(scenario, grid, 0, 0, 0.5)
    return np.asarray(np.interp(local, hours, at_home) * weather)


def _shifts(scenario: Scenario, grid: IntervalGrid, start: float, end: float) -> FloatArray:
    local = [moment.astimezone(scenario.zone) + STEP / 2 for moment in grid.starts]
    return np.array(
        [
            float(shift_share(moment.hour + moment.minute / 60, np.array([start]), np.array([end]))[0]) * 0.93
            for moment in local
        ]
    )


def _lamps(scenario: Scenario, grid: IntervalGrid) -> FloatArray:
    local = [moment.astimezone(scenario.zone) + STEP / 2 for moment in grid.starts]
    return np.array(
        [
            float(lit_share(moment.hour + moment.minute / 60, np.array([19.7]), np.array([0.5]))[0]) * 0.92
            for moment in local
        ]
    )


def _sun(scenario: Scenario, grid: IntervalGrid) -> FloatArray:
    middles = [(start + STEP / 2).timestamp() for start in grid.starts]
    return np.array([scenario.surroundings(middle - 60, middle + 60).sun_fraction * 0.9 for middle in middles])


def registered_profiles(
    scenario: Scenario, registrations: dict[str, list[dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """Every profile that the registrations name: id → {"interval_start": [RFC 3339], "values": [per unit]}.

    From midnight of the event day for 36 hours; a run profile has as many rows as the run has quarter hours.
    """
    named = {
        row[column]
        for rows in registrations.values()
        for row in rows
        for column in ("baseline_profile", "available_profile", "run_profile")
        if row.get(column)
    }
    grid = IntervalGrid.regular(scenario.midnight(scenario.day), STEP, 144)
    shapes: dict[str, Callable[[], FloatArray]] = {
        "hvac-office": lambda: _cooling(scenario, grid, 8, 18.5, 0.75),
        "hvac-shopping": lambda: _cooling(scenario, grid, 9.5, 22.5, 0.75),
        "hvac-round-the-clock": lambda: _cooling(scenario, grid, 0, 0, 0.75),
        "home-ac": lambda: _home(scenario, grid),
        "factory-one-shift": lambda: _shifts(scenario, grid, 8, 18.5),
        "factory-two-shifts": lambda: _shifts(scenario, grid, 7, 24),
        "lighting": lambda: _lamps(scenario, grid),
        "solar": lambda: _sun(scenario, grid),
        "batch-run": lambda: np.array(BATCH_SHAPE),
    }
    starts = [start.isoformat().replace("+00:00", "Z") for start in grid.starts]
    profiles: dict[str, dict[str, Any]] = {}
    for name in sorted(named):
        values = np.round(shapes[name](), 5)
        profiles[name] = {
            "interval_start": starts[: len(values)],
            "values": [float(value) for value in values],
        }
    return profiles
