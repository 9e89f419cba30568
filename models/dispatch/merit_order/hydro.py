r"""Pumped hydro: off, pumping between two powers, or generating between two powers.

    (O16)  p_t ∈ {0} ∪ [P⁺_min, P⁺] ∪ [-P⁻, -P⁻_min],   e_t = e_{t-1} + Δ_t f(p_t),   low ≤ e ≤ high
    (O17)  e_t ≥ a_t = end - η⁺P⁺(horizon's end - end_t)            where high - end ≥ η⁺P⁺_min Δ_max, else
           e_t ≥ a_t = min(end, level after pumping as much as fits in every interval)

Why it stays feasible.  A unit below ``a`` after standing still pumps: with what it lacks, or P⁺_min if that is more.
In the first case of (O17) it lacks no more than η⁺P⁺Δ_t, and pumping at the minimum ends below high, for there is
room for it above ``end``.  In the second it follows the very schedule by which admission judged what can be reached.
At or above ``a`` it may stand still, so whatever else is picked must only end there.
"""

import numpy as np

from models.dispatch.merit_order.offers import Ask, Offers, Table
from models.intervals import FloatArray

_SLACK = 1e-9


class PumpedHydro:
    """Storage units with minimum powers or a cost of changing mode, (n,) each."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._charge, self._charge_min = table.of("charge_limit_kw"), table.of("charge_min_kw")
        self._discharge, self._discharge_min = table.of("discharge_limit_kw"), table.of("discharge_min_kw")
        self._stored, self._taken = table.of("charge_efficiency"), 1.0 / table.of("discharge_efficiency")
        self._level = table.known("energy_kwh", table.of("energy_start_kwh"))
        self._low = np.minimum(table.of("energy_min_kwh"), self._level)
        self._high = np.maximum(table.of("energy_max_kwh"), self._level)
        self._end = table.of("energy_end_min_kwh")
        hours = table.setting.hours
        self._roomy = self._high - self._end >= self._stored * self._charge_min * hours.max()
        self._horizon_h = float(table.setting.edges_h[-1])
        self._fullest = self._level.copy()

    def cost(self, t: int) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002 - what is drawn less now is drawn later
        wear = self.table.of("wear_cost_per_kwh") + self.table.of("mode_change_cost") / np.maximum(1.0, self._discharge)
        return wear, wear

    def _fill(self, level: FloatArray, hours: float) -> FloatArray:
        """Power of pumping as much as fits."""
        power = np.minimum(self._charge, (self._high - level) / (self._stored * hours))
        return np.where((power >= self._charge_min) & (power > 0), power, 0.0)

    def _least(self, moment_h: FloatArray | float, fullest: FloatArray) -> FloatArray:
        """The level a of (O17); ``fullest``: the level of the fullest schedule at that moment."""
        reach = self._end - self._stored * self._charge * np.maximum(0.0, self._horizon_h - np.asarray(moment_h))
        return np.maximum(self._low, np.where(self._roomy, reach, np.minimum(self._end, fullest)))

    def offer(self, ask: Ask, offers: Offers) -> None:
        hours, level = ask.hours, self._level
        after = self._fullest + self._stored * hours * self._fill(self._fullest, hours)
        least = self._least(ask.end_h, after)
        lacks = (least - level) / (self._stored * hours)
        must = lacks > _SLACK * np.maximum(1.0, self._charge)
        fill = self._fill(level, hours)
        needed = np.where(self._roomy, np.minimum(np.maximum(lacks, self._charge_min), self._charge), fill)
        spare = np.maximum(0.0, (level - least) / (self._taken * hours))
        turbine = np.minimum(self._discharge, spare)
        wanted = ask.wanted_kw
        pumps = np.minimum(np.minimum(np.maximum(wanted, self._charge_min), self._charge), fill)
        follows = np.where(
            (wanted >= 0.5 * self._charge_min) & (wanted > 0) & (pumps >= self._charge_min) & (fill > 0),
            pumps,
            np.where((wanted < 0) & (-wanted >= self._discharge_min) & (turbine >= -wanted), wanted, 0.0),
        )
        base = np.where(must, needed, follows)
        offers.base_kw[:] = base
        held = np.maximum(0.0, level - self._least(ask.till_h, self._end)) / (self._taken * ask.hold_h)
        held = np.minimum(turbine, held)
        gives = (held >= self._discharge_min) & (held > 0)
        stops = ~must & (base > 0)
        offers.down_kw[:] = np.where(stops, base, np.where(~must & (base <= 0) & gives, np.maximum(held + base, 0), 0))
        offers.down_least_kw[:] = np.where(stops, base, np.where(base < 0, 0.0, self._discharge_min))
        offers.up_kw[:] = np.where(~must & (base < 0), -base, np.where(base == 0, fill, 0.0))
        offers.up_least_kw[:] = np.where(base < 0, -base, self._charge_min)
        self._fullest = after

    def take(self, ask: Ask, power_kw: FloatArray) -> None:
        self._level = self._level + ask.hours * np.where(power_kw > 0, self._stored, self._taken) * power_kw

    def energy_kwh(self) -> FloatArray:
        return self._level
