"""What is still on its way: a device that was given a new order needs some minutes to get there.

    y_i  =  what device i lacks of its order:  p_i - d_i
    on the way  =  Σ_i  y_i, as far as it lies between its order of the last cycles and the present one        [kW]

An hour owes what did not come for that reason, but it is no reason to order more: a machine hall that takes ten minutes
to come down would be bought twice.  Who is not there after two cycles does not respond, and is learned as such.
"""

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray

RAMP_CYCLES = 2
"""An order is reached within so many cycles, or never."""


class RampUp:
    """Remembers what was planned of each device of one event, by row of the live state."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before: list[tuple[NDArray[np.int64], FloatArray]] = []

    def on_the_way_kw(self, rows: NDArray[np.int64], planned_kw: FloatArray, moved_kw: FloatArray) -> FloatArray:
        """What each of ``rows`` lacks of ``planned_kw`` because the order is new, (n,) kW, negative where it goes down;
        takes note of this cycle.  Before the first cycle nothing had been ordered.
        """
        low, high = planned_kw.copy(), planned_kw.copy()
        for k in range(RAMP_CYCLES):
            before_kw = np.zeros(len(rows))
            if k < len(self._before):
                known, kw = self._before[-1 - k]
                table = np.zeros(max(int(known.max(initial=-1)), int(rows.max(initial=-1))) + 1)
                table[known] = kw
                before_kw = table[rows]
            low, high = np.minimum(low, before_kw), np.maximum(high, before_kw)
        self._before = [*self._before[1 - RAMP_CYCLES :], (rows, planned_kw.copy())]
        return np.asarray(np.clip(planned_kw - moved_kw, planned_kw - high, planned_kw - low))
