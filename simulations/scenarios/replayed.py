"""A scenario on somebody else's day: class mix, prices and buildings of a scenario, heat from a measured load.

The weather of a replayed day is not in its load file.  What the air-conditioning met is read off the load itself: the
hottest of the days was the one of the highest load, the mildest the one of the lowest, and the others lie between.
Weekends say little (offices are closed) and take the mean of the working days beside them.  An assumption, said so in
the report; the service is shown none of it.
"""

from collections.abc import Mapping
from datetime import date
from functools import cached_property

from simulations.scenarios.curve import Curve
from simulations.scenarios.scenario import TEMPERATURE_SHAPE, Scenario
from simulations.scenarios.types import ScenarioFile


class ReplayedScenario(Scenario):
    """``daily_load``: mean load of every day that is known, in any unit; only its order and spread matter."""

    def __init__(self, file: ScenarioFile, daily_load: Mapping[date, float]) -> None:
        super().__init__(file)
        self._daily_load = dict(daily_load)

    @cached_property
    def heat(self) -> dict[date, float]:
        """How hot every day of the scenario was: 0 the mildest, 1 the hottest of its working days."""
        days = [day for day, _ in self._days]
        known = {day: self._daily_load[day] for day in days if day in self._daily_load and day.weekday() < 5}
        if not known:
            return dict.fromkeys(days, 1.0)
        low, high = min(known.values()), max(known.values())
        level = {day: (load - low) / (high - low) if high > low else 1.0 for day, load in known.items()}
        return {day: level.get(day, self._beside(day, level)) for day in days}

    @staticmethod
    def _beside(day: date, level: Mapping[date, float]) -> float:
        """Mean of the nearest known day before and the nearest after (one of them at the ends)."""
        before = max((other for other in level if other < day), default=None)
        after = min((other for other in level if other > day), default=None)
        near = [level[other] for other in (before, after) if other is not None]
        return sum(near) / len(near)

    @cached_property
    def temperature_curve(self) -> Curve:
        """Outdoor temperature in °C over all days, between the scenario's mildest and hottest."""
        figures = self.file.weather
        seconds, values = [], []
        for day, _ in self._days:
            rise = self.heat[day]
            low = figures.first_day_minimum_celsius.value * (1 - rise) + figures.minimum_celsius.value * rise
            high = figures.first_day_maximum_celsius.value * (1 - rise) + figures.maximum_celsius.value * rise
            start = self.midnight(day).timestamp()
            for hour, share in TEMPERATURE_SHAPE:
                seconds.append(start + 3600 * hour)
                values.append(low + share * (high - low))
        return Curve(seconds, values)
