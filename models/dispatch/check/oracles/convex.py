"""Convex piecewise-linear functions of one variable as sorted slopes: the value functions of stores.

A function on [low, low + Σ length] is its value at ``low`` and its slopes in rising order.  The minimum over
a step
(infimal convolution) merges two lists of slopes; a bound on the level cuts them at the ends; a leak scales
them.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

Segment = tuple[float, float]
"""(slope, length), length positive."""

_SMALL = 1e-12


class Convex:
    """A convex piecewise-linear function; changed in place."""

    __slots__ = ("low", "segments", "value")

    def __init__(self, low: float, value: float, segments: list[Segment]) -> None:
        self.low, self.value, self.segments = low, value, segments

    @property
    def high(self) -> float:
        """Right end of the domain."""
        return self.low + sum(length for _, length in self.segments)

    def convolve(self, low: float, value: float, segments: Sequence[Segment]) -> None:
        """F(y) ← min over x of f(y − x) + g(x), g given by its left end, its value there, and its slopes."""
        self.low += low
        self.value += value
        for segment in segments:
            self.segments.insert(bisect_right(self.segments, segment), segment)

    def cut(self, low: float, high: float, slack: float = 1e-9) -> bool:
        """Restrict the domain to [low, high]; False if nothing is left (a miss by ``slack`` is forgiven)."""
        end = self.high
        if end < low - slack or self.low > high + slack:
            return False
        if end <= low:
            self.value += sum(slope * length for slope, length in self.segments)
            self.low, self.segments = low, []
            return True
        while self.segments and end > high + _SMALL:
            slope, length = self.segments.pop()
            over = end - high
            if length > over:
                self.segments.append((slope, length - over))
                break
            end -= length
        start = 0
        missing = low - self.low
        while start < len(self.segments) and missing > 0:
            slope, length = self.segments[start]
            if length > missing:
                self.value += slope * missing
                self.segments[start] = (slope, length - missing)
                break
            self.value += slope * length
            missing -= length
            start += 1
        if start:
            del self.segments[:start]
        self.low = max(self.low, low)
        self.low = min(self.low, high)
        return True

    def stretch(self, factor: float) -> None:
        """F(y) ← f(factor · y)."""
        self.low /= factor
        self.segments = [(slope * factor, length / factor) for slope, length in self.segments]

    def tilt(self, slope: float) -> None:
        """F(y) ← f(y) + slope · y."""
        self.value += slope * self.low
        self.segments = [(old + slope, length) for old, length in self.segments]

    def at(self, where: float) -> float:
        """Value at a point of the domain (the nearest end outside it)."""
        value, left = self.value, where - self.low
        for slope, length in self.segments:
            if left <= 0:
                break
            value += slope * min(length, left)
            left -= length
        return value

    def least(self) -> float:
        """The minimum."""
        return self.value + sum(slope * length for slope, length in self.segments if slope < 0)

    def copy(self) -> "Convex":
        """An independent copy."""
        return Convex(self.low, self.value, list(self.segments))


def hull(points: Sequence[tuple[float, float]]) -> tuple[list[tuple[float, float]], bool]:
    """Lower convex hull of points in rising order of x, and whether it passes through all of them."""
    kept: list[tuple[float, float]] = []
    exact = True
    for point in points:
        if kept and point[0] - kept[-1][0] <= _SMALL:
            kept[-1] = (kept[-1][0], min(kept[-1][1], point[1]))
            continue
        while len(kept) > 1:
            (x0, y0), (x1, y1) = kept[-2:]
            line = y0 + (point[1] - y0) * (x1 - x0) / (point[0] - x0)
            if y1 <= line:
                break
            exact = exact and y1 - line <= 1e-9 * max(1.0, abs(y1))
            kept.pop()
        kept.append(point)
    return kept, exact


def segments_of(points: Sequence[tuple[float, float]]) -> list[Segment]:
    """Slopes and lengths between points in rising order of x."""
    return [((y1 - y0) / (x1 - x0), x1 - x0) for (x0, y0), (x1, y1) in pairwise(points) if x1 > x0]
