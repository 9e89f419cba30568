"""Least cost of generators, photovoltaics and shiftable loads."""

import numpy as np

from models.dispatch.check.generation import Before, before
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.convex import Convex, hull, segments_of
from models.dispatch.check.oracles.prices import Prices, no_kinks
from models.dispatch.check.oracles.stores import Least
from models.dispatch.check.shifting import energy_range_kwh, preferred_kw, run_choices, window_share
from models.intervals import FloatArray
from models.resources import Generator, Pv, ShiftableLoad

_EPS_H = 1e-9


def least_pv(panel: Pv, prices: Prices, horizon: Horizon) -> Least:
    """Least cost of a photovoltaic plant: every interval by itself, at a corner of its cost."""
    available = horizon.profiles[panel.available_profile] * panel.available_scale_kw
    total = 0.0
    for t, hours in enumerate(horizon.hours):
        sun = float(available[t])
        total += float(hours) * min(
            prices.cost(t, power) + panel.curtail_cost_per_kwh * (sun + power) for power in prices.corners(t, -sun, 0.0)
        )
    return Least(total)


def least_shiftable(load: ShiftableLoad, prices: Prices, horizon: Horizon) -> Least:
    """Least cost of a shiftable load: the cheapest run, or the cheapest kWh first (each interval's cost is convex)."""
    preferred = preferred_kw(load, horizon)
    if load.run_profile is not None:
        return _least_run(load, prices, preferred, horizon)
    share = window_share(load, horizon)
    total = Convex(0.0, 0.0, [])
    for t, hours in enumerate(horizon.hours):
        low, high = load.power_min_kw * float(share[t]), load.power_max_kw * float(share[t])
        liked = None if preferred is None else float(preferred[t])
        points = []
        for power in prices.corners(t, low, high, *([] if liked is None else [liked])):
            cost = prices.cost(t, power)
            if liked is not None:
                cost += 0.5 * load.cost_per_kwh * abs(power - liked)
            points.append((float(hours) * power, float(hours) * cost))
        kept, _ = hull(points)
        total.convolve(kept[0][0], kept[0][1], segments_of(kept))
    low, high = energy_range_kwh(load, horizon)
    if not total.cut(low, high, 1e-6 * max(1.0, load.energy_kwh)):
        return Least(np.inf)
    return Least(total.least())


def _least_run(load: ShiftableLoad, prices: Prices, preferred: FloatArray | None, horizon: Horizon) -> Least:
    choices = run_choices(load, horizon)
    costs_something = preferred is not None and not horizon.state(load.resource_id).on
    costs_something = costs_something and any(choice.any() for choice in choices)
    best = np.inf
    for choice in choices:
        cost = sum(float(horizon.hours[t]) * prices.cost(t, float(choice[t])) for t in range(len(choice)))
        if preferred is not None and costs_something:
            cost += 0.5 * load.cost_per_kwh * float(horizon.hours @ np.abs(choice - preferred))
        best = min(best, cost)
    return Least(best)


def least_generator(unit: Generator, prices: Prices, horizon: Horizon) -> Least:
    """Least cost of a generator: for every start, output by a convex value function forward, stops where they fit.

    Exact: between a start and a stop the cost is linear and the ramps are convex; which runs follow each other is
    dynamic programming.  Straying costs of real time are left out (a relaxation).
    """
    return Least(_Runs(unit, prices, horizon).least(), no_kinks(prices))


class _Runs:
    """All runs of one generator: ``stopped[t]`` is the least cost of having stopped at edge t."""

    def __init__(self, unit: Generator, prices: Prices, horizon: Horizon) -> None:
        self.unit, self.was = unit, before(unit, horizon)
        self.edges = np.concatenate([horizon.tau_h, horizon.ends_h[-1:]]).tolist()
        self.count = len(horizon.hours)
        hours = horizon.hours
        self.per_kw = (hours * (unit.cost_per_kwh - prices.per_kwh)).tolist()
        self.idle = (hours * unit.no_load_cost_per_h).tolist()
        self.ramp = (unit.ramp_kw_per_h * hours).tolist()
        self.edge_ramp = [max(unit.power_min_kw, step) for step in self.ramp]
        self.stopped = [np.inf] * (self.count + 1)
        self.still_on = np.inf

    def least(self) -> float:
        best_off = np.inf
        if self.was.on:
            self._run(0, Convex(self.was.output_kw, 0.0, []), self.was)
            best_off = self.stopped[self.count]
        for start in range(self.count):
            ready = self._ready(start)
            if np.isfinite(ready):
                self._run(start, None, None, ready + self.unit.start_cost)
        never = 0.0 if not self.was.on else np.inf
        return float(min(never, self.still_on, best_off, *self.stopped))

    def _ready(self, start: int) -> float:
        """Least cost of being off and free to start with interval ``start``."""
        unit, edges = self.unit, self.edges
        best = np.inf
        if not self.was.on and edges[start] + self.was.hours >= unit.minimum_down_h - _EPS_H:
            best = 0.0
        for stop in range(start):
            if self.stopped[stop] < best and edges[start] - edges[stop] >= unit.minimum_down_h - _EPS_H:
                best = self.stopped[stop]
        return best

    def _run(self, start: int, output: Convex | None, was: Before | None, paid: float = 0.0) -> None:
        """Follow one run from its start (or from before the horizon) through every interval, stopping where it may."""
        unit, edges = self.unit, self.edges
        since = -was.hours if was is not None else edges[start]
        for t in range(start, self.count):
            if output is not None:
                self._stop(output, t, since)
            if output is None:
                high = min(unit.power_max_kw, self.edge_ramp[t])
                if high < unit.power_min_kw - 1e-12:
                    return
                output = Convex(
                    unit.power_min_kw, paid, [(0.0, high - unit.power_min_kw)] if high > unit.power_min_kw else []
                )
            else:
                step = self.ramp[t]
                if step > 0:
                    output.convolve(-step, 0.0, [(0.0, 2 * step)])
                if not output.cut(unit.power_min_kw, unit.power_max_kw):
                    return
            output.tilt(self.per_kw[t])
            output.value += self.idle[t]
        if output is not None:
            self.still_on = min(self.still_on, output.least())

    def _stop(self, output: Convex, t: int, since: float) -> None:
        """Stop at edge t, if the run is long enough and the output low enough."""
        if self.edges[t] - since < self.unit.minimum_up_h - _EPS_H:
            return
        if output.low > self.edge_ramp[t] + 1e-9:
            return
        if output.high <= self.edge_ramp[t]:
            cost = output.least()
        else:
            part = output.copy()
            part.cut(output.low, self.edge_ramp[t])
            cost = part.least()
        self.stopped[t] = min(self.stopped[t], cost)
