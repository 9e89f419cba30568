r"""Generators and photovoltaic plants.

    (O12)  running:  o_t ∈ [max(G_min, o_{t-1} - ramp Δ_t), min(G_max, o_{t-1} + ramp Δ_t)]
    (O13)  a start:  o_t ∈ [G_min, min(G_max, max(G_min, ramp Δ_t))] once it has stood still for its minimum
    (O14)  a stop:   o_{t-1} ≤ max(G_min, ramp Δ_t) once it has run for its minimum
    (O15)  sun:      0 ≤ o_t ≤ available_t

p = -o.  Who runs may always go on as it runs, who stands still may stay so, and the sun remembers nothing: any step
that is allowed now leaves a schedule for the rest of the horizon.  Undisturbed a unit follows what it wanted to do as
near as its ramps and its minimum times let it.
"""

import numpy as np

from models.dispatch.merit_order.offers import Ask, Offers, Table, limited
from models.intervals import FloatArray

_EPS_H = 1e-9
_STANDS_KW = 1e-6
"""Relative (and kW): so little is nothing."""


class Generators:
    """Gas peakers, CHP and backup sets, (n,) each."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._least, self._most = table.of("power_min_kw"), table.of("power_max_kw")
        self._ramp = table.of("ramp_kw_per_h")
        self._up_h, self._down_h = table.of("minimum_up_h"), table.of("minimum_down_h")
        self._on = table.known("on", 0.0) != 0
        before = np.clip(-table.known("power_kw", 0.0), self._least, self._most)
        self._output = np.where(self._on, before, 0.0)
        self._since_h = -np.where(np.isnan(table.states.hours_in_state_h), np.inf, table.states.hours_in_state_h)

    def cost(self, t: int) -> tuple[FloatArray, FloatArray]:
        """A start is paid with the first hour at full power."""
        table, full = self.table, np.maximum(self._most, _STANDS_KW)
        running = table.of("cost_per_kwh") + table.of("no_load_cost_per_h") / full - table.price(t)
        return running + np.where(self._on, 0.0, table.of("start_cost") / full), -running

    def offer(self, ask: Ask, offers: Offers) -> None:
        step = self._ramp * ask.hours
        edge = np.maximum(self._least, step)
        low = np.where(self._on, np.maximum(self._least, self._output - step), self._least)
        high = np.where(self._on, np.minimum(self._most, self._output + step), np.minimum(self._most, edge))
        been_h = ask.begin_h - self._since_h
        may_stop = self._on & (been_h >= self._up_h - _EPS_H) & (self._output <= edge)
        may_run = self._on | (been_h >= self._down_h - _EPS_H)
        wanted = -ask.wanted_kw
        wants = wanted > _STANDS_KW * np.maximum(1.0, self._most)
        runs = may_run & (wants | (self._on & ~may_stop))
        output = np.where(runs, limited(wanted, low, high), 0.0)
        offers.base_kw[:] = -output
        offers.down_kw[:] = np.where(may_run, np.maximum(high - output, 0.0), 0.0)
        offers.down_least_kw[:] = np.where(runs, 0.0, np.maximum(low, 10 * _STANDS_KW * np.maximum(1.0, self._most)))
        offers.up_kw[:] = np.where(runs, np.maximum(output - low, 0.0), 0.0)
        self._stops = may_stop

    def take(self, ask: Ask, power_kw: FloatArray) -> None:
        output = np.maximum(-power_kw, 0.0)
        runs = (output > _STANDS_KW * np.maximum(1.0, self._most)) | (self._on & ~self._stops)
        self._since_h = np.where(runs != self._on, ask.begin_h, self._since_h)
        self._on, self._output = runs, np.where(runs, output, 0.0)

    def energy_kwh(self) -> FloatArray:
        return np.full(len(self.table), np.nan)


class Photovoltaics:
    """Photovoltaic plants, (n,) each."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._profile, self._scale = table.profile("available_profile"), table.of("available_scale_kw")

    def cost(self, t: int) -> tuple[FloatArray, FloatArray]:
        curtailed = self.table.of("curtail_cost_per_kwh") + self.table.price(t)
        return -curtailed, curtailed

    def offer(self, ask: Ask, offers: Offers) -> None:
        available = np.maximum(self.table.setting.profiles[self._profile, ask.t] * self._scale, 0.0)
        offers.base_kw[:] = limited(ask.wanted_kw, -available, np.zeros_like(available))
        offers.down_kw[:] = available + offers.base_kw
        offers.up_kw[:] = -offers.base_kw

    def take(self, ask: Ask, power_kw: FloatArray) -> None:
        """The sun remembers nothing."""

    def energy_kwh(self) -> FloatArray:
        return np.full(len(self.table), np.nan)
