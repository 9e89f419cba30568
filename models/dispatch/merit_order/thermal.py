r"""Air-conditioning and cold stores: power around the baseline, and a comfort store that leaks.

    (O5)  s_t = k_t s_{t-1} + g_t u_t,   k(x) = exp(-δx),   g(x) = (1 - k(x))/δ,   p_t = b_t + u_t
    (O6)  a(x) = max(-low, (end - g(rem) U⁺)/k(rem)) ≤ s(x) ≤ high,   rem = horizon's end - x
    (O7)  u_t ∈ [max(-U⁻, -b_t, (a(end_t) - k_t s_{t-1})/g_t), min(U⁺, (high - k_t s_{t-1})/g_t)]
    (O8)  held from τ to x:  (a(x) - k(w) s)/g(w) ≤ u ≤ (high - k(w) s)/g(w),   w = x - τ

``a`` is the lowest level from which full cooling still reaches the end condition, so full cooling keeps it, and a
store that is left alone goes towards 0 and stays within -low and high: (O7) is never empty, whatever was picked
before. At constant u the level goes one way only, so that (O8) need look at its ends.  Outside events who is below
what the end condition asks for comes back at the constant power that gets there.
"""

import numpy as np

from models.dispatch.merit_order.offers import Ask, Offers, Table, limited
from models.intervals import FloatArray

_LEAST = 1e-300
"""Where nothing is kept of a level, any level will do."""


class ThermalLoads:
    """Thermal loads, (n,) each."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._level = table.known("store_kwh", 0.0)
        self._low = np.maximum(table.of("store_low_kwh"), -self._level)
        self._high = np.maximum(table.of("store_high_kwh"), self._level)
        self._end = table.of("store_end_min_kwh")
        self._increase, self._decrease = table.of("increase_limit_kw"), table.of("decrease_limit_kw")
        self._decay = table.of("decay_per_hour")
        self._profile, self._scale = table.profile("baseline_profile"), table.of("baseline_scale_kw")
        self._discomfort = table.of("discomfort_cost_per_kwh")
        self._horizon_h = float(table.setting.edges_h[-1])

    def cost(self, t: int) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002 - what is given up now returns
        return self._discomfort, np.zeros(len(self._level))

    def _steps(self, span_h: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """The factors k and g of (O5)."""
        leaks = self._decay > 0
        kept = np.exp(-self._decay * span_h)
        gain = np.where(leaks, -np.expm1(-self._decay * span_h) / np.where(leaks, self._decay, 1.0), span_h)
        return kept, gain

    def _least(self, moment_h: FloatArray | float) -> FloatArray:
        """The level a(x) of (O6)."""
        kept, gain = self._steps(self._horizon_h - np.asarray(moment_h))
        with np.errstate(over="ignore"):
            needed = (self._end - gain * self._increase) / np.maximum(kept, _LEAST)
        return np.maximum(-self._low, needed)

    def offer(self, ask: Ask, offers: Offers) -> None:
        baseline = self.table.setting.profiles[self._profile, ask.t] * self._scale
        kept, gain = self._steps(ask.hours)
        low = np.maximum(-np.minimum(self._decrease, baseline), (self._least(ask.end_h) - kept * self._level) / gain)
        low = np.minimum(low, self._increase)
        high = np.minimum(self._increase, (self._high - kept * self._level) / gain)
        wanted = ask.wanted_kw - baseline
        change = limited(np.where(ask.in_event, wanted, np.maximum(wanted, self._coming_back(ask))), low, high)
        offers.base_kw[:] = baseline + change
        kept, gain = self._steps(ask.hold_h)
        held_low = (self._least(ask.till_h) - kept * self._level) / gain
        held_high = (self._high - kept * self._level) / gain
        offers.down_kw[:] = np.maximum(change - np.maximum(low, held_low), 0.0)
        offers.up_kw[:] = np.maximum(np.minimum(high, held_high) - change, 0.0)

    def _coming_back(self, ask: Ask) -> FloatArray:
        kept, gain = self._steps(self._horizon_h - ask.begin_h)
        return np.maximum((self._end - kept * self._level) / gain, 0.0)

    def take(self, ask: Ask, power_kw: FloatArray) -> None:
        kept, gain = self._steps(ask.hours)
        baseline = self.table.setting.profiles[self._profile, ask.t] * self._scale
        self._level = kept * self._level + gain * (power_kw - baseline)

    def energy_kwh(self) -> FloatArray:
        return self._level
