r"""Readings as stretches of time: a reading is the mean since the one before it, so its value holds for that time.

    (X1)  mean(x) = Σ_k w_k x_k / Σ_k w_k
    (X2)  low_α(x) = the largest level that x is below for no more than the share α of the time
    (X3)  high_α(x) = - low_α(-x)

======  =========  ====  ============================================================
symbol  name here  unit  meaning
======  =========  ====  ============================================================
x_k     values     any   of stretch k
w_k     lengths    µs    of stretch k, inside the window that is looked at
α       tail       -     0: the lowest and the highest there is
======  =========  ====  ============================================================

All is weighted by time: a reading that is taken between two others and says what they say changes nothing, however
unevenly readings come.  A reading that is not a number, or stands for longer than ``longest_us``, leaves a hole; the
first reading has none before it and only says from when on there is something to know.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray

IntArray = NDArray[np.int64]
ROUNDING_US = 1
"""What a share of a time may be short of by rounding."""


@dataclass(frozen=True, eq=False)
class Spans:
    """n stretches [start, end), in order and apart, µs; ``values`` (n,)."""

    start_us: IntArray
    end_us: IntArray
    values: FloatArray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def lengths(self) -> IntArray:
        """Of every stretch, µs."""
        return self.end_us - self.start_us

    @property
    def known_us(self) -> int:
        """Time that is known."""
        return int(self.lengths.sum())

    def within(self, start_us: int, end_us: int) -> "Spans":
        """What of them lies in [start, end), cut to it."""
        start, end = np.maximum(self.start_us, start_us), np.minimum(self.end_us, end_us)
        keep = end > start
        return Spans(start[keep], end[keep], self.values[keep])

    def times(self, factor: float) -> "Spans":
        """The same time, values times ``factor``."""
        return Spans(self.start_us, self.end_us, factor * self.values)

    def mean(self) -> float:
        """(X1); NaN of nothing."""
        known = self.known_us
        return float(self.lengths @ self.values / known) if known else float("nan")

    def low(self, tail: float) -> float:
        """(X2); NaN of nothing."""
        if not len(self):
            return float("nan")
        order = np.argsort(self.values, kind="stable")
        passed = np.cumsum(self.lengths[order])
        return float(self.values[order][np.argmax(passed > tail * passed[-1])])

    def high(self, tail: float) -> float:
        """(X3)."""
        return -self.times(-1.0).low(tail)

    def block_means(self, edges_us: IntArray, known_least: float) -> FloatArray:
        """(X1) of every block between two edges; NaN where less than the share ``known_least`` is known."""
        means = np.full(len(edges_us) - 1, np.nan)
        for number, (start, end) in enumerate(zip(edges_us[:-1].tolist(), edges_us[1:].tolist(), strict=True)):
            inside = self.within(start, end)
            if inside.known_us >= known_least * (end - start) - ROUNDING_US:
                means[number] = inside.mean()
        return means


def spans_of(measured_us: IntArray, values: FloatArray, longest_us: int) -> Spans:
    """The stretches that readings stand for."""
    start, end, value = measured_us[:-1], measured_us[1:], values[1:]
    keep = np.isfinite(value) & (end - start <= longest_us)
    return Spans(start[keep], end[keep], value[keep])


def block_edges(start_us: int, end_us: int, least_us: int) -> IntArray:
    """Edges of as many equal blocks of at least ``least_us`` as fit, one if none does."""
    length = end_us - start_us
    count = max(1, length // least_us)
    return start_us + np.arange(count + 1, dtype=np.int64) * length // count


def longest_run(flags: NDArray[np.bool_], edges_us: IntArray) -> int:
    """µs of the longest run of blocks that are true."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    runs = edges_us[changes[1::2]] - edges_us[changes[::2]]
    return int(runs.max(initial=0))
