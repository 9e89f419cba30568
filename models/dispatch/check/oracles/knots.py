"""Functions of a level that are straight between knots, with jumps and gaps; what cost functions of modes need."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray

_STRAIGHT = 1e-13
"""Relative: a knot whose cost is this close to the line between its neighbours is left out."""
_CLOSE = 1e-12
"""Knots nearer than this part of the highest level are one."""
_Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Knots:
    """A function of the level, at n knots and straight between two of them; inf where it has no value.

    ``x``: (n,) rising, kWh.  ``at``: (n,) CNY there.  ``right``, ``left``: (n − 1,) CNY that every piece begins with at
    its first knot and ends with at its last; both inf for a gap.
    """

    x: FloatArray
    at: FloatArray
    right: FloatArray
    left: FloatArray

    @classmethod
    def point(cls, x: float, at: float) -> "Knots":
        """A value at one level and nowhere else."""
        return cls(np.array([x]), np.array([at]), np.empty(0), np.empty(0))

    def least(self) -> float:
        """The least value."""
        return float(min(self.at.min(), self.right.min(initial=np.inf), self.left.min(initial=np.inf)))

    def on(self, x: FloatArray) -> "Knots":
        """The same with knots ``x`` (rising), among which must be its own between the first and the last of them."""
        place = np.searchsorted(self.x, x, side="right") - 1
        own = self.x[np.maximum(place, 0)] == x
        at = np.where(own, self.at[np.maximum(place, 0)], self._inside(place, x))
        return Knots(x, at, self._inside(place[:-1], x[:-1]), self._inside(place[:-1], x[1:]))

    def _inside(self, piece: _Places, x: FloatArray) -> FloatArray:
        """Cost at ``x`` on the lines of some pieces."""
        found = np.full(len(x), np.inf)
        known = np.flatnonzero((piece >= 0) & (piece < len(self.right)))
        known = known[np.isfinite(self.right[piece[known]])]
        k = piece[known]
        share = (x[known] - self.x[k]) / (self.x[k + 1] - self.x[k])
        found[known] = self.right[k] + (self.left[k] - self.right[k]) * share
        return found

    def cut(self, low: float, high: float) -> "Knots":
        """The same from ``low`` to ``high`` and nowhere else."""
        inner = self.x[(self.x > low) & (self.x < high)]
        return self.on(np.concatenate([[low], inner, [high]]))

    def plus(self, constant: float, slope: float = 0.0) -> "Knots":
        """With ``constant`` and ``slope`` · level added."""
        line = constant + slope * self.x
        return Knots(self.x, self.at + line, self.right + line[:-1], self.left + line[1:])

    def moved(self, by: float) -> "Knots":
        """The function e ↦ f(e + by)."""
        return Knots(self.x - by, self.at, self.right, self.left)

    def spread(self, low: float, high: float) -> "Knots":
        """The least knot in [e + low, e + high], for every e."""
        since, until = self.x - high, self.x - low
        x = np.unique(np.concatenate([since, until]))
        first, last = np.searchsorted(until, x, side="left"), np.searchsorted(since, x, side="right")
        table = _table_of_minima(self.at)
        piece = _least_between(table, first[1:], last[:-1])
        return Knots(x, _least_between(table, first, last), piece, piece)

    def simpler(self) -> "Knots":
        """Without knots that are one with their neighbours or change nothing."""
        found, count = self.joined(), len(self.x) + 1
        while len(found.x) < count:
            count = len(found.x)
            found = found.thinned(0).thinned(1)
        return found

    def joined(self) -> "Knots":
        """Without knots that are one with their neighbours."""
        close = _CLOSE * max(1.0, float(np.abs(self.x).max()))
        first = np.flatnonzero(np.append(True, np.diff(self.x) > close))
        last = np.append(first[1:], len(self.x)) - 1
        return Knots(
            self.x[first], np.minimum.reduceat(self.at, first), self.right[last[:-1]], self.left[first[1:] - 1]
        )

    def thinned(self, parity: int) -> "Knots":
        """Without knots that change nothing, at most every other: they lie on a line, or in the middle of a gap."""
        if len(self.x) < 3:
            return self
        ends = [self.right[:-1], self.left[:-1], self.at[1:-1], self.right[1:], self.left[1:]]
        finite = [np.isfinite(each) for each in ends]
        known = np.logical_and.reduce(finite)
        first, *inner, last = (np.where(known, each, 0.0) for each in ends)
        line = first + (last - first) * ((self.x[1:-1] - self.x[:-2]) / (self.x[2:] - self.x[:-2]))
        near = _STRAIGHT * (1.0 + np.abs(line))
        idle = known & np.logical_and.reduce([np.abs(each - line) <= near for each in inner])
        idle |= ~np.logical_or.reduce(finite)
        idle &= np.arange(len(idle)) % 2 == parity
        kept = np.flatnonzero(np.concatenate([[True], ~idle, [True]]))
        return Knots(self.x[kept], self.at[kept], self.right[kept[:-1]], self.left[kept[1:] - 1])


def lowest(*functions: Knots) -> Knots:
    """The lowest of some functions, everywhere."""
    best, *others = functions
    for other in others:
        best = _lower(best, other)
    return best


def _lower(one: Knots, other: Knots) -> Knots:
    x = np.unique(np.concatenate([one.x, other.x]))
    a, b = one.on(x), other.on(x)
    both = np.flatnonzero(np.isfinite(a.right) & np.isfinite(b.right))
    before, after = a.right[both] - b.right[both], a.left[both] - b.left[both]
    cross = np.flatnonzero(before * after < 0)
    if cross.size:
        share = before[cross] / (before[cross] - after[cross])
        k = both[cross]
        x = np.unique(np.concatenate([x, x[k] + share * (x[k + 1] - x[k])]))
        a, b = one.on(x), other.on(x)
    found = (np.minimum(getattr(a, name), getattr(b, name)) for name in ("at", "right", "left"))
    return Knots(x, *found).joined()


def _table_of_minima(values: FloatArray) -> FloatArray:
    """Least of values[i : i + 2^k], in row k."""
    rows, length = [values], 1
    while 2 * length <= len(values):
        shifted = np.append(rows[-1][length:], np.full(length, np.inf))
        rows.append(np.minimum(rows[-1], shifted))
        length *= 2
    return np.array(rows)


def _least_between(table: FloatArray, first: _Places, last: _Places) -> FloatArray:
    """Least of values[first : last] for pairs of places, inf where there is none between them."""
    found = np.full(len(first), np.inf)
    some = np.flatnonzero(last > first)
    begin, end = first[some], last[some]
    row = np.frexp(end - begin)[1] - 1
    found[some] = np.minimum(table[row, begin], table[row, end - (1 << row)])
    return found
