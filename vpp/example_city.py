"""The example portfolio's city, day after day from today: enough to try ``vpp serve`` with a fleet of one's own."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from adapters.feeds.city_folder import CityTables
from models.intervals import FloatArray, IntervalGrid
from vpp.example_portfolio import example_problem

ZONE = ZoneInfo("Asia/Shanghai")
QUARTER = timedelta(minutes=15)
FIRST_QUARTER = 24
"""The example's day begins at 06:00."""


def example_city(now: datetime, days: int) -> CityTables:
    """Load, limits and tariffs of the example from today's midnight in Chengdu, six hours longer than ``days``."""
    problem = example_problem()
    midnight = now.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    grid = IntervalGrid.regular(midnight, QUARTER, 96 * days + 24)

    def repeated(values: FloatArray) -> FloatArray:
        day = np.roll(values, FIRST_QUARTER, axis=-1)
        return np.concatenate([day] * days + [day[..., :24]], axis=-1)

    return CityTables(
        grid=grid,
        zones=problem.zones,
        zone_load_kw=repeated(problem.zone_load_kw),
        zone_limit_kw=repeated(problem.zone_limit_kw),
        tariffs={name: repeated(values) for name, values in problem.tariffs.items()},
        areas=problem.areas,
    )
