"""How long devices take to follow an order, learned from their readings, and how much earlier they are ordered for it.

    s_i  =  (p_i - d_i) / step_i           what device i lacks of a step of its plan, mean of the first cycle after it
    lead_i  =  s_i Δ                       so much before the step it is told to begin

A device that follows in a straight line for D lacks D/2 of its cycle; begun D/2 earlier, half of its way lies before
the step and the mean is right.  Of whom nothing is known as much is expected as of others of its kind.  Only what grows
is led: who lets go too early would be missed.

Storage and chargers are not led: they follow within seconds, and what they give by an early beginning is in no plan: it
is missing when the car leaves.  Nor is who was led for this cycle and is not in its plan: where the next cycle is
always asked for more than this one, it would begin early for ever.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from vpp.heard import HeardColumns

LEAST_STEP_SHARE = 0.25
"""A step that is smaller than this share of what is planned says little beside the noise of a load."""
NEWEST_SHARE = 0.5
"""Weight of the newest step in what is known of a device."""
FINEST = 0.5
"""Leads are whole multiples of this share of a cycle, so that an aggregator gets few batches more."""

_KINDS = 1 << 3

Leads = Callable[[NDArray[np.int64], FloatArray, FloatArray], FloatArray]
"""Rows of the live state, what each is to draw less than its baseline and how much of that is new, kW; returns leads in
seconds, (n,).
"""


class ResponseTimes:
    """What is known of every device, by row of the live state; a restart forgets it, the next event teaches it."""

    def __init__(self, columns: HeardColumns, cycle: timedelta) -> None:
        self._columns = columns
        self._cycle = cycle
        self._share: FloatArray = np.empty(0)
        self._led_now: FloatArray = np.empty(0)
        self._led_next: FloatArray = np.empty(0)
        self._led_to_kw: FloatArray = np.empty(0)
        self._led_to_next_kw: FloatArray = np.empty(0)
        self._early_kw: FloatArray = np.empty(0)
        self._led_from: datetime | None = None

    def learn(
        self,
        rows: NDArray[np.int64],
        planned_kw: FloatArray,
        step_kw: FloatArray,
        moved_kw: FloatArray,
        counts: NDArray[np.bool_],
    ) -> None:
        """Take note of the cycle that has just ended: what an event's devices were to bring, how much more than in the
        cycle before that was, what they brought, kW, and whose reading ``counts``.
        """
        self._grow()
        is_step = counts & (planned_kw > 0) & (step_kw > 0) & (step_kw >= LEAST_STEP_SHARE * planned_kw)
        is_step &= ~self._is_quick(rows)
        stepped = rows[is_step]
        missing = np.clip((planned_kw - moved_kw)[is_step] / step_kw[is_step], 0.0, 1.0)
        found = np.clip(missing + self._led_now[stepped], 0.0, 1.0)
        known = self._share[stepped]
        self._share[stepped] = np.where(np.isnan(known), found, known + NEWEST_SHARE * (found - known))

    def early_kw(self, rows: NDArray[np.int64], planned_kw: FloatArray, moved_kw: FloatArray) -> float:
        """What those brought beyond their plan in the cycle that has just ended who were told to begin in it with what
        comes after it, kW: it is early, not too much.
        """
        self._grow()
        return float(np.clip(moved_kw - planned_kw, 0.0, self._early_kw[rows]).sum())

    def share(self, rows: NDArray[np.int64]) -> FloatArray:
        """Share of a cycle that each of ``rows`` lacks of a step, (n,), 0..1."""
        self._grow()
        kinds = self._kinds()
        known = np.flatnonzero(~np.isnan(self._share))
        counts = np.bincount(kinds[known], minlength=_KINDS)
        sums = np.bincount(kinds[known], weights=self._share[known], minlength=_KINDS)
        of_kind = np.divide(sums, counts, out=np.zeros(_KINDS), where=counts > 0)
        own = self._share[rows]
        return np.where(np.isnan(own), of_kind[kinds[rows]], own)

    def leads(self, start: datetime, sign: float) -> Leads:
        """Leads of the orders given in the cycle of ``start`` for the next; ``sign`` 1 where less power is more,
        -1 where more is, 0 where nobody is led.

        A cycle that plans again gives its orders again.  Who begins early is marked so (``HeardColumns.begins_early``):
        what its meter shows then is not what it drew before its order.
        """
        self._grow()
        if start != self._led_from:
            self._led_from, self._led_now, self._led_to_kw = start, self._led_next, self._led_to_next_kw
        count = len(self._share)
        self._led_next, self._led_to_next_kw, self._early_kw = np.zeros(count), np.zeros(count), np.zeros(count)
        self._columns.begins_early[:] = False

        def lead_s(rows: NDArray[np.int64], less_kw: FloatArray, new_kw: FloatArray) -> FloatArray:
            steps = np.round(self.share(rows) / FINEST) * FINEST
            is_step = (sign * new_kw > 0) & (sign * new_kw >= LEAST_STEP_SHARE * sign * less_kw)
            came = sign * (less_kw - new_kw) >= (1 - LEAST_STEP_SHARE) * sign * self._led_to_kw[rows]
            in_vain = (self._led_now[rows] > 0) & ~came
            share = np.where(is_step & ~in_vain & ~self._is_quick(rows), steps, 0.0)
            self._led_next[rows] = share
            self._led_to_next_kw[rows] = np.where(share > 0, less_kw, 0.0)
            self._early_kw[rows] = share * np.abs(new_kw)
            self._columns.begins_early[rows] = share > 0
            return np.asarray(share * self._cycle.total_seconds())

        return lead_s

    def _is_quick(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self._columns.is_charger[rows] | self._columns.is_storage[rows]

    def _kinds(self) -> NDArray[np.int64]:
        columns, count = self._columns, len(self._share)
        flags = (columns.is_thermal, columns.is_load, columns.is_process)
        return np.asarray(sum(flag[:count].astype(np.int64) << bit for bit, flag in enumerate(flags)))

    def _grow(self) -> None:
        count = len(self._columns.measured_us)
        self._share = _grown(self._share, count, np.nan)
        for name in ("_led_now", "_led_next", "_led_to_kw", "_led_to_next_kw", "_early_kw"):
            setattr(self, name, _grown(getattr(self, name), count, 0.0))


def _grown(table: FloatArray, count: int, nothing: float) -> FloatArray:
    return table if len(table) >= count else np.concatenate([table, np.full(count - len(table), nothing)])
