"""What is still on its way: a device that was given a new order needs some minutes to get there.

    y_i  =  what device i lacks of its order:  p_i - d_i
    on the way  =  Σ_i  y_i, as far as it lies between its order of the last cycles and the present one        [kW]

An hour owes what did not come for that reason, but it is no reason to order more: a machine hall that takes ten minutes
to come down would be bought twice.  Who is not there after ``RAMP_TIME`` does not respond, and is learned as such.
"""

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray

RAMP_TIME = timedelta(minutes=10)
"""An order is reached within so long, or never; at least two cycles."""


class RampUp:
    """Remembers what was planned of each device of one event, by row of the live state."""

    __slots__ = ("_before", "_cycles")

    def __init__(self, cycle: timedelta = RAMP_TIME / 2) -> None:
        self._cycles = max(2, -(-RAMP_TIME // cycle))
        self._before: list[tuple[NDArray[np.int64], FloatArray]] = []

    def before_kw(self, rows: NDArray[np.int64], cycles: int = 1) -> FloatArray | None:
        """What was planned of each of ``rows`` so many cycles ago, (n,) kW, 0 of who was not there; None where nothing
        is remembered.
        """
        if cycles > len(self._before):
            return None
        known, kw = self._before[-cycles]
        table = np.zeros(max(int(known.max(initial=-1)), int(rows.max(initial=-1))) + 1)
        table[known] = kw
        return np.asarray(table[rows])

    def on_the_way_kw(self, rows: NDArray[np.int64], planned_kw: FloatArray, moved_kw: FloatArray) -> FloatArray:
        """What each of ``rows`` lacks of ``planned_kw`` because the order is new, (n,) kW, negative where it goes down;
        takes note of this cycle.  Before the first cycle nothing had been ordered.
        """
        low, high = planned_kw.copy(), planned_kw.copy()
        for k in range(self._cycles):
            known_kw = self.before_kw(rows, k + 1)
            before_kw = np.zeros(len(rows)) if known_kw is None else known_kw
            low, high = np.minimum(low, before_kw), np.maximum(high, before_kw)
        self._before = [*self._before[1 - self._cycles :], (rows, planned_kw.copy())]
        return np.asarray(np.clip(planned_kw - moved_kw, planned_kw - high, planned_kw - low))
