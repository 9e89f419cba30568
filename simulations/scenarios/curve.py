"""Curves through given points: the load of the city and the temperature outdoors, smooth and without overshoot.

Monotone cubic interpolation (F. Fritsch, J. Butland 1984) keeps every anchor that is a local maximum a maximum of the
curve, so that published peaks are met in time and height exactly.
"""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

from models.intervals import FloatArray


class Curve:
    """A smooth curve over POSIX seconds."""

    def __init__(self, seconds: Sequence[float], values: Sequence[float]) -> None:
        self._origin = float(seconds[0])
        hours = (np.asarray(seconds, dtype=np.float64) - self._origin) / 3600
        self._curve = PchipInterpolator(hours, np.asarray(values, dtype=np.float64), extrapolate=False)
        self._integral = self._curve.antiderivative()
        self.first_s, self.last_s = float(seconds[0]), float(seconds[-1])

    def at(self, seconds: FloatArray | float) -> FloatArray:
        """Values at instants; NaN outside the curve."""
        return np.asarray(self._curve((np.asarray(seconds, dtype=np.float64) - self._origin) / 3600))

    def means(self, edges_s: FloatArray) -> FloatArray:
        """Exact means between consecutive edges, (T,) for (T+1,) edges."""
        hours = (np.asarray(edges_s, dtype=np.float64) - self._origin) / 3600
        return np.asarray(np.diff(self._integral(hours)) / np.diff(hours))
