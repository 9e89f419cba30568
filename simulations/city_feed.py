"""The city as the service sees it in a simulation: what was forecast, the limits, the tariffs; never the truth."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta

import numpy as np

from models.intervals import FloatArray, IntervalGrid
from simulations.devices.dice import keys_of, normal
from simulations.scenarios import Scenario
from vpp.forecasting import CityForecast, price_grid

Forecast = Callable[[datetime, IntervalGrid], FloatArray]
"""City load (T,) in kW on a grid as it was known at a decision time."""

Prices = Callable[[IntervalGrid], Mapping[str, FloatArray]]


class CurveFeed:
    """One load forecast for the whole city, spread over zones by fixed shares (answers to ``CityFeed``).

    ``scale`` is the size of the simulated fleet against the full portfolio: the city shrinks with its fleet.
    """

    def __init__(
        self,
        *,
        scale: float,
        zones: tuple[str, ...],
        zone_shares: FloatArray,
        zone_limits_kw: FloatArray,
        prices: Prices,
        forecast: Forecast,
        measured: Forecast,
        any_day: IntervalGrid,
    ) -> None:
        self._scale = scale
        self._zones = zones
        self._shares = zone_shares
        self._limits_kw = zone_limits_kw
        self._prices = prices
        self._forecast = forecast
        self._measured = measured
        self._priced: dict[date, Mapping[str, FloatArray]] = {}
        self._highest = {name: float(values.max()) for name, values in prices(any_day).items()}

    @property
    def zones(self) -> tuple[str, ...]:
        """Names of the zones."""
        return self._zones

    @property
    def tariff_ids(self) -> tuple[str, ...]:
        """Names of the tariffs."""
        return tuple(self._highest)

    def highest_price_per_kwh(self, tariff_id: str) -> float:
        """Highest price of the tariff on any day like ``any_day``, CNY per kWh."""
        return self._highest[tariff_id]

    def prices(self, tariff_id: str, day: date) -> FloatArray:
        """Five-minute prices of one tariff on a UTC day, (288,) CNY per kWh."""
        if day not in self._priced:
            self._priced[day] = self._prices(price_grid(day))
        return self._priced[day][tariff_id]

    def forecast(self, decision_time: datetime, grid: IntervalGrid) -> CityForecast:
        """What was known at ``decision_time``, at the scale of the fleet."""
        city_kw = self._scale * self._forecast(decision_time, grid)
        return CityForecast(
            zones=self._zones,
            load_kw=np.outer(self._shares, city_kw),
            limit_kw=np.repeat(self._scale * self._limits_kw[:, None], len(grid), axis=1),
            tariffs=self._prices(grid),
            areas={"east": frozenset(self._zones[::2]), "west": frozenset(self._zones[1::2])},
        )

    def measured(self, decision_time: datetime, grid: IntervalGrid) -> FloatArray | None:
        """The city's load as its meters had shown it by then, at the scale of the fleet."""
        if grid.end > decision_time:
            return None
        return self._scale * self._measured(decision_time, grid)


def scenario_feed(scenario: Scenario, scale: float, seed: int | None = None) -> CurveFeed:
    """The feed of a scenario; its forecast is the curve with the error of a good day-ahead forecast.

    ``seed``: another throw of that error.
    """
    return CurveFeed(
        scale=scale,
        zones=scenario.zone_ids,
        zone_shares=scenario.zone_shares,
        zone_limits_kw=scenario.zone_limits_kw,
        prices=scenario.prices,
        forecast=lambda decided, grid: with_forecast_error(scenario, decided, grid, seed),
        measured=lambda _, grid: scenario.mean_load_kw(grid),
        any_day=IntervalGrid.regular(scenario.midnight(scenario.day), timedelta(minutes=15), 96),
    )


LEVEL_ERROR = 0.010
SHAPE_ERROR = 0.008
"""Standard deviations of a day's level and of its six-hourly shape, relative: about 1 % MAPE, as good operators of
large cities report for the day ahead (an assumption, labelled so in the report)."""


def with_forecast_error(
    scenario: Scenario, decided: datetime, grid: IntervalGrid, seed: int | None = None
) -> FloatArray:
    """The scenario's load as it could have been forecast on the local day of ``decided``."""
    day = (decided.astimezone(scenario.zone).date() - scenario.day).days
    keys = keys_of([scenario.name], scenario.file.seed if seed is None else seed)
    level = LEVEL_ERROR * float(normal(keys, "forecast level", day)[0])
    knots = np.arange(-24.0, 24.0 * 4, 6.0)
    shape = SHAPE_ERROR * np.array([float(normal(keys, f"forecast shape {k}", day)[0]) for k in range(len(knots))])
    start_h = (grid.start - scenario.midnight(decided.astimezone(scenario.zone).date())).total_seconds() / 3600
    middles = start_h + grid.offsets_h[:-1] + grid.hours / 2
    return scenario.mean_load_kw(grid) * (1 + level + np.interp(middles, knots, shape))
