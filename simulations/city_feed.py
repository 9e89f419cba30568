"""The city as the service sees it in a simulation: what was forecast, the limits, the tariffs; never the truth."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from models.intervals import FloatArray, IntervalGrid
from simulations.devices.dice import keys_of, uniform
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
    """The feed of a scenario; its forecast is the curve with errors as large as in the field.

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


ERROR_SD = 0.038
"""Standard deviation of the relative error of a day-ahead forecast of a large city: that of the New York ISO's for New
York City, June to September of 2012 to 2014 (MAPE 3.0 %; 3.3 % on the ten days with the highest peaks)."""
REMEMBERED_H = 14.0
"""Its correlation falls to 1/e over so many hours; measured on the same data: 0.95 after one hour, 0.64 after six."""
_REACH_H = 72
"""So many hours of throws make up an error: what lies further back is forgotten (e^-5)."""


def with_forecast_error(
    scenario: Scenario, decided: datetime, grid: IntervalGrid, seed: int | None = None
) -> FloatArray:
    """The scenario's load as the dispatch centre could have forecast it at ``decided``: corrected by the error that the
    meters show then, which is worth less and less for what is further ahead.

        ε(t | s) = ε(t) − e^{−(t−s)/τ} ε(s),   ε of one standard deviation with correlation e^{−h/τ}
    """
    keys = keys_of([scenario.name], scenario.file.seed if seed is None else seed)
    midnight = scenario.midnight(scenario.day)
    now_h = (decided - midnight).total_seconds() / 3600
    ahead_h = (grid.start - midnight).total_seconds() / 3600 + grid.offsets_h[:-1] + grid.hours / 2
    first, last = int(np.floor(min(now_h, ahead_h[0]))), int(np.ceil(max(now_h, ahead_h[-1])))
    hours = np.arange(first, last + 1)
    error = _error(keys, hours)
    known = float(np.interp(now_h, hours, error))
    lead_h = ahead_h - now_h
    made = np.interp(ahead_h, hours, error) - np.exp(-np.maximum(lead_h, 0.0) / REMEMBERED_H) * known
    return np.asarray(scenario.mean_load_kw(grid) * (1 + np.where(lead_h > 0, made, 0.0)))


def _error(keys: NDArray[np.uint64], hours: NDArray[np.int64]) -> FloatArray:
    """ε at whole hours that follow each other, (n,)."""
    kept = np.exp(-1 / REMEMBERED_H)
    thrown = ndtri(uniform(keys, "forecast error", np.arange(hours[0] - _REACH_H, hours[-1] + 1)))
    weights = ERROR_SD * np.sqrt(1 - kept**2) * kept ** np.arange(_REACH_H + 1)
    return np.asarray(np.convolve(thrown, weights, mode="valid"))
