r"""Processes of one contiguous run: they run as their baseline has them, and are never moved by rule.

    (O18)  begin ∈ {τ_t: opens ≤ τ_t, τ_t + length ≤ closes},   or a wait where a begin after the horizon fits

What has begun goes on, what is done rests.  One that still waits begins where its baseline begins, else at the first
edge after that which fits, else it waits if it may, else it begins at the first edge that fits at all.
"""

import numpy as np

from models.dispatch.merit_order.offers import Ask, Offers, Table
from models.intervals import FloatArray

_EPS = 1e-9


class Runs:
    """Shiftable loads with the shape of a run, (n,) each."""

    def __init__(self, table: Table) -> None:
        self.table = table
        setting, count = table.setting, len(table)
        self._power_kw = np.zeros((count, len(setting.hours)))
        on = table.known("on", 0.0) != 0
        left = table.of("energy_kwh") - table.known("delivered_kwh", 0.0)
        opens = setting.hours_since_start(table.columns["window_start"])
        closes = setting.hours_since_start(table.columns["window_end"])
        going = on | ((left > _EPS) & (closes > 0))
        begun_h = np.where(on, -table.known("hours_in_state_h", 0.0), 0.0)
        names = table.columns["run_profile"]
        for name in sorted(set(names)):
            rows = np.flatnonzero((names == name) & going)
            self._shape(rows, setting.run_profiles[name], on, begun_h, opens, closes)

    def _shape(
        self,
        rows: np.ndarray,
        run: FloatArray,
        on: np.ndarray,
        begun_h: FloatArray,
        opens: FloatArray,
        closes: FloatArray,
    ) -> None:
        """Write the power of the rows that have the profile ``run`` (K,)."""
        edges, table = self.table.setting.edges_h, self.table
        most, energy = table.of("power_max_kw")[rows], table.of("energy_kwh")[rows]
        full = most * float(run.sum())
        step_h = np.divide(energy, full, out=np.zeros_like(energy), where=full > 0)
        wanted = np.abs(table.wanted_kw[table.resource[rows]]) > 1e-6 * np.maximum(1.0, most)[:, None]
        first_h = np.where(wanted.any(axis=1), edges[:-1][wanted.argmax(axis=1)], np.inf)
        begin = edges[None, :-1]
        fits = (begin >= opens[rows, None] - _EPS) & (begin + (len(run) * step_h)[:, None] <= closes[rows, None] + _EPS)
        later = fits & (begin >= first_h[:, None] - _EPS)
        may_wait = np.maximum(edges[-1], opens[rows]) + len(run) * step_h <= closes[rows] + _EPS
        chosen = np.where(later.any(axis=1), later.argmax(axis=1), np.where(may_wait, -1, fits.argmax(axis=1)))
        takes_place = on[rows] | ((chosen >= 0) & fits.any(axis=1))
        at_h = np.where(on[rows], begun_h[rows], edges[np.maximum(chosen, 0)])
        used = np.concatenate([[0.0], np.cumsum(run)])
        steps = (edges[None, :] - at_h[:, None]) / np.where(step_h > 0, step_h, 1.0)[:, None]
        done = np.interp(steps.ravel(), np.arange(len(run) + 1), used).reshape(steps.shape)
        power = np.diff(done, axis=1) * (most * step_h)[:, None] / self.table.setting.hours
        self._power_kw[rows] = np.where((takes_place & (step_h > 0))[:, None], power, 0.0)

    def cost(self, t: int) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002 - it is never moved
        nothing = np.zeros(len(self.table))
        return nothing, nothing

    def offer(self, ask: Ask, offers: Offers) -> None:
        offers.base_kw[:] = self._power_kw[:, ask.t]

    def take(self, ask: Ask, power_kw: FloatArray) -> None:
        """It is as it was decided at the start."""

    def energy_kwh(self) -> FloatArray:
        return np.full(len(self.table), np.nan)
